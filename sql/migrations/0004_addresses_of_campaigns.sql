-- outside a transaction
-- The leads of a campaign by their addresses, as instantly_leads_by_email, which it replaces. With the
-- address itself PostgreSQL answers from the index alone which addresses a campaign holds.

DROP INDEX CONCURRENTLY IF EXISTS instantly_leads_by_campaign_and_address;
CREATE UNIQUE INDEX CONCURRENTLY instantly_leads_by_campaign_and_address
  ON instantly_leads (campaign_id, lower(email)) INCLUDE (email);
