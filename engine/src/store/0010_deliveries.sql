-- What became of a webhook's calls, the newest first.
CREATE INDEX executions_webhook ON executions (webhook_id, created_at) WHERE webhook_id IS NOT NULL;
