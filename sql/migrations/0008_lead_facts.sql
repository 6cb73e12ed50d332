-- What is known of an address over all campaigns, and what a reconcile needs to know of a lead.

CREATE INDEX instantly_leads_by_address ON instantly_leads (lower(email));

ALTER TABLE instantly_leads
  -- A lead that was found in Instantly belongs to no run: nobody is billed for it.
  ALTER COLUMN run_id DROP NOT NULL,
  -- When the latest reconcile began that found the lead in Instantly.
  ADD COLUMN reconciled_at timestamptz;

CREATE INDEX instantly_lead_activity_by_address ON instantly_lead_activity (lead_email);

ALTER TABLE instantly_lead_activity
  -- When the latest event happened that names this lead and this step; NULL where the events were
  -- deleted before this was kept. Events that count nowhere leave it too, in a row of zeros.
  ADD COLUMN last_event_at timestamptz,
  -- What Instantly's own fields say of the lead, without an event (contacted, opened, …), at step 0.
  ADD COLUMN proved text[],
  ALTER COLUMN sent SET DEFAULT 0,
  ALTER COLUMN opened SET DEFAULT 0,
  ALTER COLUMN clicked SET DEFAULT 0,
  ALTER COLUMN replied SET DEFAULT 0,
  ALTER COLUMN bounced SET DEFAULT 0,
  ALTER COLUMN auto_replied SET DEFAULT 0,
  ALTER COLUMN not_interested SET DEFAULT 0,
  ALTER COLUMN out_of_office SET DEFAULT 0,
  ALTER COLUMN unsubscribed SET DEFAULT 0;
