-- The status of what an execution answered a webhook's caller, apart from the answer, so that lists can be filtered by
-- it: 500 and more says that what was tested does not work. An answer that cannot be read has none.
ALTER TABLE executions ADD COLUMN response_status INTEGER;
UPDATE executions SET response_status = json_extract(response, '$.status')
    WHERE CASE WHEN json_valid(response) THEN json_type(response, '$.status') = 'integer' END;
CREATE INDEX executions_answered ON executions (response_status, created_at)
    WHERE response_status IS NOT NULL AND deleted_at IS NULL;
