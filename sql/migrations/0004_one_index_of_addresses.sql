-- outside a transaction
-- The index that 0003 has replaced. Not there: run again after it was broken off, it would leave the leads
-- without a unique index for a while.

DROP INDEX CONCURRENTLY IF EXISTS instantly_leads_by_email;
