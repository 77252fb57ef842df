-- What has ended goes: to a trash first, out of the database later, whole trees of executions at a time. A tree is an
-- execution without a parent, with all its descendants.
ALTER TABLE executions ADD COLUMN deleted_at INTEGER;
-- Of a root: the tree is known to have ended no earlier than this. Null: than the root itself.
ALTER TABLE executions ADD COLUMN tree_ends_after INTEGER;

-- Lists do not wade through the trash, and counts do not read the table.
DROP INDEX executions_status;
DROP INDEX executions_flow;
CREATE INDEX executions_status ON executions (status, created_at, deleted_at) WHERE deleted_at IS NULL;
CREATE INDEX executions_flow ON executions (flow_id, created_at) WHERE deleted_at IS NULL;

-- Trees in the order in which they go. An index, so that it can never disagree with its table.
CREATE INDEX executions_trees ON executions (coalesce(tree_ends_after, ended_at))
    WHERE parent_id IS NULL AND ended_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX executions_continued ON executions (continued_as) WHERE continued_as IS NOT NULL;
CREATE INDEX signals_execution ON signals (execution);

-- Trees on their way into the trash (state 0), in it (1), on their way back (2), on their way out (3).
CREATE TABLE trash (
    root INTEGER PRIMARY KEY REFERENCES executions (rowid),
    state INTEGER NOT NULL,
    deleted_at INTEGER NOT NULL
) STRICT;
CREATE INDEX trash_order ON trash (state, deleted_at);

-- Contents that a journal reads again at replay. Journals that were written before this table are searched once: those
-- of the executions after `reads_searched` and up to `reads_unsearched`.
CREATE TABLE content_reads (
    execution INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (execution, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX content_reads_content ON content_reads (sha256);
CREATE INDEX records_content ON records (data ->> '$.sha256') WHERE kind = 'file';
INSERT INTO meta VALUES ('reads_searched', 0), ('collected_at', 0);
INSERT INTO meta SELECT 'reads_unsearched', coalesce(max(rowid), 0) FROM executions;

-- Contents (kind 0) and components (1) that nothing names, and since when.
CREATE TABLE unnamed (
    kind INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (kind, sha256)
) STRICT, WITHOUT ROWID;
