-- When an execution is ended that has not ended by itself. Shown from `executions`; the engine looks at `active` alone.
ALTER TABLE executions ADD COLUMN deadline INTEGER;
ALTER TABLE active ADD COLUMN deadline INTEGER;
