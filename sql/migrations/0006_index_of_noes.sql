-- outside a transaction
-- Whom not to write to again. An upload asks this of 10,000 addresses at once, of most of whom there is
-- nothing to say: this index is small enough to stay in memory.

DROP INDEX CONCURRENTLY IF EXISTS instantly_lead_activity_of_noes;

CREATE INDEX CONCURRENTLY instantly_lead_activity_of_noes
  ON instantly_lead_activity (lead_email)
  WHERE bounced > 0 OR unsubscribed > 0 OR proved && '{bounced,unsubscribed}';
