//! What a SQL text can do, judged by its words alone, and always to the safe side: what is not proved is not claimed.
//!
//! PostgreSQL does every statement as a whole or not at all, but for the few that end a transaction themselves. What a
//! function does outside of the database is not undone by the server; no text tells of that.

use crate::sql::text::{PURE_FUNCTIONS, Statement, Syntax};

/// Words that change something in or behind a `SELECT`, or lock rows, which a transaction that only reads may not.
const BEYOND_SELECT: &[&str] = &["DELETE", "INSERT", "INTO", "MERGE", "NEXTVAL", "SETVAL", "SHARE", "UPDATE"];

/// Statements that happen as a whole or not at all.
const ATOMIC: &[&str] = &[
    "ALTER", "COMMENT", "CREATE", "DELETE", "DROP", "GRANT", "INSERT", "LOCK", "MERGE", "REVOKE", "SELECT", "SHOW",
    "TABLE", "TRUNCATE", "UPDATE", "VALUES", "WITH",
];

/// Words of statements that are done in steps, each of which stays.
const IN_STEPS: &[&str] = &["CONCURRENTLY", "DATABASE", "SUBSCRIPTION", "SYSTEM", "TABLESPACE"];

/// Statements that end the transaction in which they run.
const ENDS_TRANSACTION: &[&str] = &["ABORT", "COMMIT", "END", "PREPARE", "ROLLBACK"];

/// Functions that change nothing, beside [`PURE_FUNCTIONS`].
const PURE_HERE: &[&str] = &[
    "AGE",
    "ARRAY_AGG",
    "ARRAY_LENGTH",
    "ARRAY_POSITION",
    "ARRAY_TO_STRING",
    "BOOL_AND",
    "BOOL_OR",
    "BTRIM",
    "CARDINALITY",
    "CLOCK_TIMESTAMP",
    "CURRENT_DATABASE",
    "CURRENT_SCHEMA",
    "CURRENT_SETTING",
    "DATE",
    "DATE_PART",
    "DATE_TRUNC",
    "DECODE",
    "ENCODE",
    "EVERY",
    "FORMAT",
    "GENERATE_SERIES",
    "GEN_RANDOM_UUID",
    "INITCAP",
    "JSONB_AGG",
    "JSONB_ARRAY_ELEMENTS",
    "JSONB_ARRAY_ELEMENTS_TEXT",
    "JSONB_ARRAY_LENGTH",
    "JSONB_BUILD_ARRAY",
    "JSONB_BUILD_OBJECT",
    "JSONB_EACH",
    "JSONB_EACH_TEXT",
    "JSONB_OBJECT_AGG",
    "JSONB_OBJECT_KEYS",
    "JSONB_TYPEOF",
    "JSON_AGG",
    "JSON_ARRAY_ELEMENTS",
    "JSON_ARRAY_LENGTH",
    "JSON_BUILD_OBJECT",
    "MAKE_DATE",
    "MAKE_INTERVAL",
    "MAKE_TIMESTAMP",
    "PERCENTILE_CONT",
    "PERCENTILE_DISC",
    "PG_BACKEND_PID",
    "PG_SLEEP",
    "PG_TYPEOF",
    "QUOTE_IDENT",
    "QUOTE_LITERAL",
    "RANDOM",
    "REGEXP_MATCH",
    "REGEXP_MATCHES",
    "REGEXP_REPLACE",
    "REGEXP_SPLIT_TO_ARRAY",
    "REGEXP_SPLIT_TO_TABLE",
    "ROW_TO_JSON",
    "SPLIT_PART",
    "STARTS_WITH",
    "STATEMENT_TIMESTAMP",
    "STRING_AGG",
    "STRING_TO_ARRAY",
    "STRPOS",
    "TO_CHAR",
    "TO_DATE",
    "TO_JSON",
    "TO_JSONB",
    "TO_NUMBER",
    "TO_TIMESTAMP",
    "TRANSLATE",
    "TRUNC",
    "UNNEST",
    "WIDTH_BUCKET",
];

/// Whether `sql` is proved to be one `SELECT` that changes nothing: the server runs it in a transaction that only
/// reads, and functions that reach beyond that are not among those it may call.
pub(super) fn is_plain_select(sql: &str) -> bool {
    Statement::single(sql, Syntax::Postgres).is_some_and(|statement| {
        matches!(statement.first_word(), Some("SELECT" | "SHOW" | "TABLE" | "VALUES" | "WITH"))
            && !statement.has_any(BEYOND_SELECT)
            && statement.calls_only(&[PURE_FUNCTIONS, PURE_HERE])
    })
}

/// Whether `sql` is one statement for sure, as the protocol for parameters demands.
pub(super) fn is_single(sql: &str) -> bool {
    Statement::single(sql, Syntax::Postgres).is_some()
}

/// Whether `sql` is proved to be one statement that the server does as a whole or not at all, so that its error proves
/// that nothing was done. (Run by itself: outside of a transaction of the caller.)
pub(super) fn is_atomic(sql: &str) -> bool {
    Statement::single(sql, Syntax::Postgres).is_some_and(|statement| {
        statement.first_word().is_some_and(|word| ATOMIC.contains(&word)) && !statement.has_any(IN_STEPS)
    })
}

/// Whether `sql` is proved to leave the transaction in which it runs open, so that rolling that back undoes it. No
/// procedure can end a transaction that was begun outside of it.
pub(super) fn stays_in_transaction(sql: &str) -> bool {
    Statement::single(sql, Syntax::Postgres)
        .is_some_and(|statement| statement.first_word().is_some_and(|word| !ENDS_TRANSACTION.contains(&word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_selects_are_reads() {
        for sql in [
            "SELECT 1",
            "select count(*), max(a) from t where b = $1 and c = ANY($2) -- INSERT\n;",
            "WITH a AS (SELECT 1 AS n) SELECT n FROM a UNION ALL SELECT b FROM v",
            "SELECT \"update\", 'DELETE; DROP' FROM \"insert into\"",
            "SELECT data->>'a', data::text, t.a FROM t LIMIT 5",
            "SELECT to_char(now(), $$YYYY$$), date_trunc('day', a) FROM t GROUP BY 2",
            "TABLE t",
            "VALUES (1), (2)",
            "SHOW server_version",
        ] {
            assert!(is_plain_select(sql), "{sql}");
        }
    }

    #[test]
    fn what_may_change_something_is_no_read() {
        for sql in [
            "",
            "SELECT 1; DELETE FROM t",
            "SELECT * INTO u FROM t",
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM t FOR SHARE",
            "SELECT nextval('s')",
            "SELECT pg_terminate_backend(1)",
            "SELECT dblink_exec('', 'DELETE FROM t')",
            "SELECT mine.lower('A')",
            "SELECT \"lower\"('A')",
            "WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a",
            "EXPLAIN ANALYZE DELETE FROM t",
            "CALL p()",
            "DO $$ BEGIN DELETE FROM t; END $$",
            "COPY t TO PROGRAM 'mail'",
            r"SELECT 'a\'; DELETE FROM t; --'",
        ] {
            assert!(!is_plain_select(sql), "{sql}");
        }
    }

    #[test]
    fn changes_are_atomic_but_for_those_that_end_a_transaction() {
        for sql in [
            "INSERT INTO t (a) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id",
            "UPDATE t SET a = charge(b)",
            "CREATE TABLE t (id int PRIMARY KEY)",
            "WITH a AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM a",
        ] {
            assert!(is_atomic(sql) && stays_in_transaction(sql), "{sql}");
        }
        for sql in [
            "CALL p()",
            "DO $$ BEGIN COMMIT; END $$",
            "CREATE INDEX CONCURRENTLY i ON t (a)",
            "CREATE DATABASE d",
            "ALTER SYSTEM SET work_mem = '1GB'",
            "VACUUM",
            "COMMIT",
            "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)",
        ] {
            assert!(!is_atomic(sql), "{sql}");
        }
        for sql in ["COMMIT", "end", "ROLLBACK TO a", "PREPARE TRANSACTION 'x'", "SELECT 1; COMMIT", "/* open"] {
            assert!(!stays_in_transaction(sql), "{sql}");
        }
    }
}
