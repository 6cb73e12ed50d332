-- outside a transaction
-- What figures of a range of days read: the events that count, by the time at which they happened, from the
-- index alone. Only these, since their names are short enough for an index, and addresses are.
DROP INDEX CONCURRENTLY IF EXISTS instantly_events_by_time;

CREATE INDEX CONCURRENTLY instantly_events_by_time
  ON instantly_events (campaign_id, occurred_at) INCLUDE (event_type, step, lead_email, account_email)
  WHERE event_type IN (
    'email_sent', 'email_opened', 'email_link_clicked', 'reply_received', 'email_bounced',
    'auto_reply_received', 'lead_not_interested', 'lead_out_of_office', 'lead_unsubscribed'
  );
