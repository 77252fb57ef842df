-- What executions ask people and programs. Whoever answers first sends a signal like others, which `signal` names;
-- `status` is `open`, `answered`, `expired` (nobody did in time) or `closed` (the execution ended without an answer).
-- Of the token that answers without an account there is its digest alone.
CREATE TABLE approvals (
    rowid INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    execution INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    schema TEXT,
    roles TEXT NOT NULL,
    users TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    token_sha256 TEXT UNIQUE,
    signal TEXT
) STRICT;
CREATE INDEX approvals_execution ON approvals (execution, name);
CREATE INDEX approvals_status ON approvals (status, created_at);
CREATE INDEX approvals_order ON approvals (created_at, id);
-- The role of the sender, where it is known; and what the signal answers, if anything.
ALTER TABLE signals ADD COLUMN role TEXT;
ALTER TABLE signals ADD COLUMN approval TEXT;
