-- What was restarted from a call of another execution: that one, and the number of the call that was made anew first.
ALTER TABLE executions ADD COLUMN restarted_from TEXT;
ALTER TABLE executions ADD COLUMN restarted_from_call INTEGER;
CREATE INDEX executions_restarted ON executions (restarted_from) WHERE restarted_from IS NOT NULL;
