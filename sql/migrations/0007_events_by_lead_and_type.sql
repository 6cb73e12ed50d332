-- Likewise, those of one lead and type.

CREATE INDEX instantly_events_by_lead_and_type ON instantly_events (
  campaign_id, hashtextextended(lead_email, hashtextextended(event_type, 0)), id
);
