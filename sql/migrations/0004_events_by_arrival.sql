-- A campaign's events by pages, the newest first. Deliveries wait while an index is built: these stand in
-- files of their own, so that those which wait get through between two of them.

CREATE INDEX instantly_events_by_arrival ON instantly_events (campaign_id, id);

DROP INDEX instantly_events_by_campaign;
