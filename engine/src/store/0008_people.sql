-- Who is logged in. What a browser shows is stored as its digest; `id` is for lists.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    secret_sha256 TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user_id, created_at);

-- Links that are good once: with a user to set the password of that one, without to make the first.
CREATE TABLE one_time_links (
    secret_sha256 TEXT PRIMARY KEY,
    user_id TEXT,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('users_made', 0);

-- Records name their project by its id from now on: roles are given by it.
UPDATE records SET data = json_set(data, '$.project_id', (
    SELECT project.id FROM records AS project
    WHERE project.kind = 'project' AND project.deleted_at IS NULL AND project.name = records.data ->> '$.project_id'
)) WHERE EXISTS (
    SELECT 1 FROM records AS project
    WHERE project.kind = 'project' AND project.deleted_at IS NULL AND project.name = records.data ->> '$.project_id'
);
