-- What callers ask of addresses and events, and the indexes that answer it.
-- Deliveries wait while these are built.

DROP INDEX instantly_events_by_campaign;
CREATE INDEX instantly_events_by_campaign ON instantly_events (campaign_id, id);
-- By hashes: the name of an event may be longer than an index takes, and numbers are compared fast.
CREATE INDEX instantly_events_by_type
  ON instantly_events (campaign_id, hashtextextended(event_type, 0), id);
CREATE INDEX instantly_events_by_lead
  ON instantly_events (campaign_id, hashtextextended(lead_email, 0), id);
CREATE INDEX instantly_events_by_lead_and_type ON instantly_events (
  campaign_id, hashtextextended(lead_email, hashtextextended(event_type, 0)), id
);

CREATE INDEX instantly_leads_by_address ON instantly_leads (lower(email));

-- When the latest event happened that names this lead and this step; NULL where the events were
-- deleted before this was kept. Events that count nowhere leave it too, in a row of zeros.
ALTER TABLE instantly_lead_activity ADD COLUMN last_event_at timestamptz;

INSERT INTO instantly_lead_activity AS activity (
  campaign_id, lead_email, step, sent, opened, clicked, replied, bounced, auto_replied,
  not_interested, out_of_office, unsubscribed, last_event_at
)
SELECT
  campaign_id, coalesce(lead_email, ''), coalesce(step, 0), 0, 0, 0, 0, 0, 0, 0, 0, 0,
  max(occurred_at)
FROM instantly_events
GROUP BY campaign_id, coalesce(lead_email, ''), coalesce(step, 0)
ON CONFLICT (campaign_id, lead_email, step) DO UPDATE
SET last_event_at = excluded.last_event_at;

CREATE INDEX instantly_lead_activity_by_address ON instantly_lead_activity (lead_email);
