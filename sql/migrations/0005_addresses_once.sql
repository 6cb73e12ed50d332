-- outside a transaction
-- The index that 0004 has replaced. Not there: broken off between its statements and run again, it would
-- leave the leads without a unique index for a moment.

DROP INDEX CONCURRENTLY IF EXISTS instantly_leads_by_email;
