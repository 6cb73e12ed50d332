-- When the latest event happened, for those that are recorded already.

INSERT INTO instantly_lead_activity AS activity (campaign_id, lead_email, step, last_event_at)
SELECT campaign_id, coalesce(lead_email, ''), coalesce(step, 0), max(occurred_at)
FROM instantly_events
GROUP BY campaign_id, coalesce(lead_email, ''), coalesce(step, 0)
ON CONFLICT (campaign_id, lead_email, step) DO UPDATE
SET last_event_at = greatest(activity.last_event_at, excluded.last_event_at);
