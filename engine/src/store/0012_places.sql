-- How many executions of a flow may run at one time. Those of a flow without a limit have neither of the first two.
-- place: 1 it has one, 0 it waits for one, null it needs none of its own.
ALTER TABLE active ADD COLUMN limited_flow TEXT;
ALTER TABLE active ADD COLUMN place INTEGER;
ALTER TABLE active ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
CREATE INDEX active_places ON active (limited_flow, place, priority DESC, execution) WHERE limited_flow IS NOT NULL;
