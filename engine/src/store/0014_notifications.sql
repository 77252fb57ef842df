-- What is bad, as a notification rule knows it: a flow, or a schedule that cannot start its flow. `since` is the first
-- failure, `told_at` the one that was told last. The next good end deletes the row, so there is none for what is well.
CREATE TABLE notified (
    subject TEXT NOT NULL,
    rule TEXT NOT NULL,
    since INTEGER NOT NULL,
    told_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (subject, rule)
) STRICT, WITHOUT ROWID;
-- Changes with the rules and with no other record, so that an end need not look whether there are any.
CREATE TABLE notification_changes (number INTEGER NOT NULL) STRICT;
INSERT INTO notification_changes VALUES (0);
CREATE TRIGGER notification_created AFTER INSERT ON records WHEN new.kind = 'notification' BEGIN
    UPDATE notification_changes SET number = number + 1;
END;
CREATE TRIGGER notification_updated AFTER UPDATE ON records WHEN new.kind = 'notification' BEGIN
    UPDATE notification_changes SET number = number + 1;
END;
CREATE TRIGGER notification_deleted AFTER DELETE ON records WHEN old.kind = 'notification' BEGIN
    UPDATE notification_changes SET number = number + 1;
END;
