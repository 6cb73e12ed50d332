-- Likewise, those of one lead.

CREATE INDEX instantly_events_by_lead
  ON instantly_events (campaign_id, hashtextextended(lead_email, 0), id);
