-- Values that are stored encrypted and shown to nobody, of records (`kind`, `id`): of a secret its value, of a connector
-- the inputs that its type calls secret. `version` counts how often one was set.
CREATE TABLE sealed (
    rowid INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    UNIQUE (kind, id, name)
) STRICT;
CREATE TRIGGER records_sealed AFTER DELETE ON records BEGIN
    DELETE FROM sealed WHERE kind = OLD.kind AND id = OLD.id;
END;
-- Before this table connectors' secrets stood in their records: the next opening moves them here, and sets this to 1
-- when none of their bytes are left in the file.
INSERT INTO meta VALUES ('secrets_swept', 0);
