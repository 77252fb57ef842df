-- Journals become append-only: the rows of all executions stand in the order of commits, so that a commit writes full
-- pages however many executions it serves. Each row names the one before it of the same execution; the newest is named
-- by `journal_tail`, in `active` until the end and in `executions` after it.
CREATE TABLE journal_rows (
    id INTEGER PRIMARY KEY,
    execution INTEGER NOT NULL,
    previous INTEGER,
    records BLOB NOT NULL
) STRICT;
INSERT INTO journal_rows (id, execution, previous, records)
    SELECT row_number() OVER (ORDER BY execution, seq), execution,
        CASE WHEN lag(execution) OVER (ORDER BY execution, seq) = execution
            THEN row_number() OVER (ORDER BY execution, seq) - 1 END,
        record
    FROM journal ORDER BY execution, seq;
DROP TABLE journal;
ALTER TABLE journal_rows RENAME TO journal;

ALTER TABLE executions ADD COLUMN journal_tail INTEGER;
ALTER TABLE active ADD COLUMN journal_tail INTEGER;
UPDATE active SET journal_tail = tail.id
    FROM (SELECT execution, max(id) AS id FROM journal GROUP BY execution) AS tail
    WHERE tail.execution = active.execution;
UPDATE executions SET journal_tail = tail.id
    FROM (SELECT execution, max(id) AS id FROM journal GROUP BY execution) AS tail
    WHERE tail.execution = executions.rowid AND executions.ended_at IS NOT NULL;

-- Deaths are counted while the journal does not grow, which its tail tells now.
ALTER TABLE active RENAME COLUMN seq_at_death TO tail_at_death;
UPDATE active SET tail_at_death = -1;
