-- outside a transaction
-- What the statistics say of people and their labels, kept where they read, and the indexes they read.

ALTER TABLE instantly_lead_activity
  -- The latest interest label and when the lead got it, at step 0. Unlike a lead's status it stays what
  -- it is when the lead unsubscribes, and it is known of leads that we do not hold.
  ADD COLUMN IF NOT EXISTS label text,
  ADD COLUMN IF NOT EXISTS labelled_at timestamptz;

-- The labels that are recorded already, and who completed a campaign without a reply.
INSERT INTO instantly_lead_activity AS activity (
  campaign_id, lead_email, step, label, labelled_at
)
SELECT DISTINCT ON (campaign_id, lead_email)
  campaign_id,
  lead_email,
  0,
  CASE event_type WHEN 'lead_won' THEN 'closed' ELSE substr(event_type, length('lead_') + 1) END,
  occurred_at
FROM instantly_events
WHERE event_type IN (
    'lead_interested', 'lead_neutral', 'lead_not_interested', 'lead_meeting_booked',
    'lead_meeting_completed', 'lead_closed', 'lead_won', 'lead_out_of_office', 'lead_wrong_person',
    'lead_no_show', 'lead_lost', 'lead_skipped'
  )
  AND lead_email <> coalesce(account_email, '')
ORDER BY campaign_id, lead_email, occurred_at DESC, id DESC
ON CONFLICT (campaign_id, lead_email, step) DO UPDATE
SET label = excluded.label, labelled_at = excluded.labelled_at
WHERE activity.labelled_at IS NULL;

INSERT INTO instantly_lead_activity AS activity (campaign_id, lead_email, step, proved)
SELECT DISTINCT campaign_id, lead_email, coalesce(step, 0), ARRAY['completed', 'contacted']
FROM instantly_events
WHERE event_type = 'campaign_completed_for_lead_without_reply'
  AND lead_email <> coalesce(account_email, '')
ON CONFLICT (campaign_id, lead_email, step) DO UPDATE
SET proved = ARRAY(SELECT unnest(activity.proved) UNION SELECT unnest(excluded.proved));

-- The leads of a campaign by their addresses, as instantly_leads_by_email, which it replaces. With the
-- address itself PostgreSQL answers from the index alone which addresses a campaign holds.
DROP INDEX CONCURRENTLY IF EXISTS instantly_leads_by_campaign_and_address;

CREATE UNIQUE INDEX CONCURRENTLY instantly_leads_by_campaign_and_address
  ON instantly_leads (campaign_id, lower(email)) INCLUDE (email);
