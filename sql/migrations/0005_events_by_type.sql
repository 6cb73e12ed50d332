-- Likewise, those of one type. By hashes here and in the next ones: the name of an event may be longer
-- than an index takes, and numbers are compared fast.

CREATE INDEX instantly_events_by_type
  ON instantly_events (campaign_id, hashtextextended(event_type, 0), id);
