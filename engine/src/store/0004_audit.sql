-- Who changed what. Entries have the form of records and a table of their own: writing one is no change of a record that
-- anybody has in memory, and old ones go from its beginning.
CREATE TABLE audit (
    rowid INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    modified_at INTEGER NOT NULL,
    modified_by TEXT NOT NULL,
    deleted_at INTEGER,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX audit_order ON audit (created_at, id);
