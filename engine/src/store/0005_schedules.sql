-- What a schedule has under way, however much of it has ended.
CREATE INDEX executions_schedule_unended ON executions (schedule_id) WHERE schedule_id IS NOT NULL AND ended_at IS NULL;

-- The schedules that a changed setting concerns.
CREATE INDEX records_setting ON records (data ->> '$.setting_id') WHERE kind = 'schedule';
