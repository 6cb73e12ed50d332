-- Whoever records events announces it, so that a reader knows which ids may still appear.
--
-- Ids are drawn before transactions end: a smaller one may become visible after a greater one was read.
-- So each transaction holds, from before it draws an id to its end, an advisory lock whose key says the
-- last id that was drawn before. certain_event_id in sql/functions.sql reads these keys. The locks are
-- shared and taken for nothing else: nobody ever waits for one. A trigger, so that it holds for whatever
-- records an event, older versions of this service included.
CREATE FUNCTION announce_events() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  -- The keys are negative, as no others here are.
  IF pg_current_xact_id_if_assigned() IS NULL THEN
    PERFORM pg_advisory_xact_lock_shared(~last_value)
    FROM instantly_events_id_seq;
  -- A transaction that has written before may be one of thousands of statements, each with another key:
  -- what its first two lock is enough. Deliveries are not asked this, since a setting costs them 3 %.
  ELSIF current_setting('instantly.announced', true) IS DISTINCT FROM 'yes' THEN
    PERFORM pg_advisory_xact_lock_shared(~last_value), set_config('instantly.announced', 'yes', true)
    FROM instantly_events_id_seq;
  END IF;
  RETURN NULL;
END
$$;

-- It waits for deliveries under way, and new ones wait for it: rather no migration than no deliveries.
SET LOCAL lock_timeout = '2s';

-- For each statement: it fires before the statement draws its first id.
CREATE TRIGGER instantly_events_announced
  BEFORE INSERT ON instantly_events
  FOR EACH STATEMENT EXECUTE FUNCTION announce_events();
