-- outside a transaction
-- A lead has a dozen events: those of a type are found among them, by instantly_events_by_lead.

DROP INDEX CONCURRENTLY IF EXISTS instantly_events_by_lead_and_type;
