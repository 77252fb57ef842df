-- Settings as locks: which execution holds one (place 1), and which wait for it (place 0), who came first first. `call` is
-- the holder's or waiter's call that asked; `depth` counts the calls of the holder that are not undone, and is 0 where
-- the lock was taken over. `said` is the message that an execution had before it began to wait.
CREATE TABLE locks (
    rowid INTEGER PRIMARY KEY,
    setting TEXT NOT NULL,
    execution INTEGER NOT NULL,
    place INTEGER NOT NULL,
    call INTEGER,
    depth INTEGER NOT NULL,
    since INTEGER NOT NULL,
    said TEXT NOT NULL,
    UNIQUE (execution, setting)
) STRICT;
CREATE UNIQUE INDEX locks_held ON locks (setting) WHERE place = 1;
CREATE INDEX locks_line ON locks (setting, place, rowid);
