-- What POST /campaigns/{campaignId}/reconcile needs to know of a lead.

ALTER TABLE instantly_leads
  -- A lead that was found in Instantly belongs to no run: nobody is billed for it.
  ALTER COLUMN run_id DROP NOT NULL,
  -- When the latest reconcile began that found the lead in Instantly.
  ADD COLUMN reconciled_at timestamptz;
