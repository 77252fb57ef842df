-- The first row of the journal of each execution that has not ended: a replay reads on from there, instead of following
-- the whole chain to its beginning first. Those that are under way now have none, and are read as before.
ALTER TABLE active ADD COLUMN journal_head INTEGER;
