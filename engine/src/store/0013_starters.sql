-- What starts flows acts as who saved it, and no longer as everybody: what was saved before could do everything that flows
-- can, and goes on so until somebody saves it again. Of executions their journals say it.
UPDATE records SET data = json_set(data, '$.acts_as', json('{"workspace": "author"}'))
    WHERE kind IN ('schedule', 'webhook');
