CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0), ('clean', 1);

-- Everything that users make. `data` holds the fields of the kind as JSON.
CREATE TABLE records (
    rowid INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    modified_at INTEGER NOT NULL,
    modified_by TEXT NOT NULL,
    deleted_at INTEGER,
    data TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_id ON records (kind, id);
CREATE UNIQUE INDEX records_name ON records (kind, name) WHERE deleted_at IS NULL;

-- One row an execution. Connections have none: they are a view over their parent's journal.
CREATE TABLE executions (
    rowid INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT '',
    flow_id TEXT NOT NULL,
    version TEXT NOT NULL,
    parent_id TEXT,
    orphan INTEGER NOT NULL DEFAULT 0,
    schedule_id TEXT,
    webhook_id TEXT,
    idempotency_key TEXT,
    created_at INTEGER NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    scheduled_for INTEGER,
    continued_as TEXT,
    input TEXT NOT NULL,
    output TEXT NOT NULL DEFAULT 'null',
    response TEXT
) STRICT;
CREATE INDEX executions_status ON executions (status, created_at);
CREATE INDEX executions_flow ON executions (flow_id, created_at);
CREATE INDEX executions_parent ON executions (parent_id, created_at) WHERE parent_id IS NOT NULL;
CREATE INDEX executions_schedule ON executions (schedule_id, created_at) WHERE schedule_id IS NOT NULL;
CREATE UNIQUE INDEX executions_idempotency ON executions (webhook_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- What has not ended, and nothing else: all that recovery, timers and the executor ever look at.
-- state: 0 runnable, 1 parked until due or an event, 2 paused, 3 asleep until due.
CREATE TABLE active (
    execution INTEGER PRIMARY KEY REFERENCES executions (rowid),
    state INTEGER NOT NULL,
    due_at INTEGER,
    cancel INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    seq_at_death INTEGER NOT NULL DEFAULT -1
) STRICT;

CREATE TABLE journal (
    execution INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (execution, seq)
) STRICT, WITHOUT ROWID;

-- `call` is the number of the next host call when the line was written, `line` counts within it: a replay writes the same keys.
CREATE TABLE logs (
    execution INTEGER NOT NULL,
    call INTEGER NOT NULL,
    line INTEGER NOT NULL,
    at INTEGER NOT NULL,
    level TEXT NOT NULL,
    source TEXT NOT NULL,
    message TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (execution, call, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE signals (
    rowid INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    execution INTEGER NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    sender TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    used_by_call INTEGER
) STRICT;
CREATE INDEX signals_unused ON signals (execution, name, rowid) WHERE used_by_call IS NULL;

-- Immutable versions of flows. `digest` is the component's SHA-256.
CREATE TABLE versions (
    flow_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    deployed_at INTEGER NOT NULL,
    deployed_by TEXT NOT NULL,
    PRIMARY KEY (flow_id, digest)
) STRICT, WITHOUT ROWID;

-- One row an enabled schedule: its live iteration.
CREATE TABLE schedule_states (
    schedule_id TEXT PRIMARY KEY,
    iteration INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    execution_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
