-- What the statistics say of people and their labels, kept where they read.

ALTER TABLE instantly_lead_activity
  -- The latest interest label and when the lead got it, at step 0. Unlike a lead's status it stays what
  -- it is when the lead unsubscribes, and it is known of leads that we do not hold.
  ADD COLUMN label text,
  ADD COLUMN labelled_at timestamptz;
