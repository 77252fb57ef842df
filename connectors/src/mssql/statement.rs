//! What a SQL text can do, judged by its words alone, and always to the safe side: what is not proved is not claimed.
//!
//! It looks for words that begin a statement. T-SQL has functions of users, but none that changes anything.

use crate::sql::text::{Statement, Syntax};

/// Words that begin a statement which changes something, or that change something inside of a `SELECT`, and words that
/// end one statement and begin another: T-SQL needs no semicolon between two.
const BEYOND_SELECT: &[&str] = &[
    "ADD",
    "ALTER",
    "BACKUP",
    "BEGIN",
    "BREAK",
    "BULK",
    "CHECKPOINT",
    "CLOSE",
    "COMMIT",
    "CONTINUE",
    "CONVERSATION",
    "CREATE",
    "DBCC",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DENY",
    "DISABLE",
    "DROP",
    "DUMP",
    "ENABLE",
    "EXEC",
    "EXECUTE",
    "GO",
    "GOTO",
    "GRANT",
    "IF",
    "INSERT",
    "INTO",
    "KILL",
    "LOAD",
    "MERGE",
    "MOVE",
    "OPEN",
    "OPENDATASOURCE",
    "OPENQUERY",
    "OPENROWSET",
    "PRINT",
    "RAISERROR",
    "READTEXT",
    "RECEIVE",
    "RECONFIGURE",
    "RENAME",
    "RESTORE",
    "RETURN",
    "REVERT",
    "REVOKE",
    "ROLLBACK",
    "SAVE",
    "SEND",
    "SET",
    "SETUSER",
    "SHUTDOWN",
    "THROW",
    "TRAN",
    "TRANSACTION",
    "TRUNCATE",
    "TRY",
    "UPDATE",
    "UPDATETEXT",
    "USE",
    "WAITFOR",
    "WHILE",
    "WRITETEXT",
];

/// Whether `sql` is proved to be one `SELECT` that changes nothing.
pub(super) fn is_plain_select(sql: &str) -> bool {
    Statement::single(sql, Syntax::Tsql).is_some_and(|statement| selects_only(&statement))
}

fn selects_only(statement: &Statement) -> bool {
    matches!(statement.first_word(), Some("SELECT" | "WITH"))
        && !statement.has_any(BEYOND_SELECT)
        && !statement.has_pair("NEXT", "VALUE")
        && selects_once(statement)
}

/// Whether `sql` is proved to be one statement that the server does as a whole or not at all, so that its error proves
/// that nothing was done. (Run by itself: outside of a transaction of the caller.)
pub(super) fn is_atomic(sql: &str) -> bool {
    Statement::single(sql, Syntax::Tsql)
        .is_some_and(|statement| selects_only(&statement) || is_single_change(&statement))
}

/// Whether `sql` is proved to leave the transaction in which it runs open, so that rolling that back undoes it.
pub(super) fn stays_in_transaction(sql: &str) -> bool {
    is_atomic(sql)
}

/// One `INSERT`, `UPDATE`, `DELETE` or `TRUNCATE`, or one simple statement that makes, alters or drops something.
fn is_single_change(statement: &Statement) -> bool {
    let Some(first) = statement.first_word() else { return false };
    let count = |wanted: &str| statement.words().filter(|word| *word == wanted).count();
    let outer = |wanted: &str| statement.outer_words().filter(|word| *word == wanted).count();
    let others =
        |allowed: &[&str]| statement.words().any(|word| BEYOND_SELECT.contains(&word) && !allowed.contains(&word));
    match first {
        // `INSERT … VALUES (1) SELECT 1/0` is two statements; `INSERT … SELECT` is one.
        "INSERT" => {
            !others(&["INSERT", "INTO"])
                && count("INSERT") == 1
                && outer("VALUES") + outer("SELECT") == 1
                && outer("WITH") == 0
        }
        "UPDATE" => {
            !others(&["UPDATE", "SET", "INTO"]) && count("UPDATE") == 1 && count("SET") == 1 && outer("SELECT") == 0
        }
        "DELETE" => !others(&["DELETE", "INTO"]) && count("DELETE") == 1 && outer("SELECT") == 0,
        "TRUNCATE" | "DROP" => !others(&[first]) && count(first) == 1 && count("SELECT") == 0,
        // A procedure, trigger, function or view has statements inside; a table has not.
        "CREATE" => !others(&["CREATE"]) && count("CREATE") == 1 && count("TABLE") == 1 && count("SELECT") == 0,
        "ALTER" => {
            !others(&["ALTER", "ADD", "DROP"]) && count("ALTER") <= 2 && count("TABLE") == 1 && count("SELECT") == 0
        }
        _ => false,
    }
}

/// One `SELECT` outside of parentheses, or several that are joined to one by a set operator.
fn selects_once(statement: &Statement) -> bool {
    let outer: Vec<&str> = statement.outer_words().collect();
    let selects = outer.iter().filter(|word| **word == "SELECT").count();
    let joins = outer.iter().filter(|word| matches!(**word, "UNION" | "EXCEPT" | "INTERSECT")).count();
    selects == joins + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_selects_are_reads() {
        for sql in [
            "SELECT 1 FROM tbl_my_table",
            "select 1;",
            "  SELECT * FROM t WHERE a = 'DELETE; DROP' -- INSERT\n ; ",
            "SELECT [delete], \"update\" FROM [insert into]",
            "SELECT 1 /* EXEC /* nested */ x */",
            "WITH a AS (SELECT 1 AS n) SELECT n FROM a",
            "SELECT a FROM t ORDER BY a OFFSET 10 ROWS FETCH NEXT 5 ROWS ONLY",
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u) UNION ALL SELECT b FROM v",
            "SELECT updated, into_stock, N'it''s; EXEC' FROM t WITH (NOLOCK)",
        ] {
            assert!(is_plain_select(sql), "{sql}");
            assert!(is_atomic(sql), "{sql}");
        }
    }

    #[test]
    fn whatever_may_change_something_is_no_read() {
        for sql in [
            "",
            "EXEC sp_who",
            "sp_who",
            "INSERT INTO t VALUES (1)",
            "SELECT * INTO copy FROM t",
            "SELECT 1; DELETE FROM t",
            "SELECT 1 DELETE FROM t",
            "SELECT 1 SELECT 2",
            "SELECT 1 EXEC('DROP TABLE t')",
            "SELECT NEXT VALUE FOR seq",
            "SELECT * FROM OPENROWSET('x', 'y', 'z')",
            "SELECT * FROM OPENQUERY(other, 'DELETE t OUTPUT deleted.*')",
            "WITH a AS (SELECT 1 AS n) DELETE FROM a",
            "WITH a AS (SELECT 1 AS n) UPDATE a SET n = 2",
            "(SELECT 1)",
            "SELECT 'unterminated",
            "SELECT [unterminated",
            "SELECT 1 /* open",
            "SELECT ']' ; ; SHUTDOWN",
            "DECLARE @a int SELECT 1",
            "IF 1 = 1 SELECT 1",
        ] {
            assert!(!is_plain_select(sql), "{sql}");
        }
    }

    #[test]
    fn single_changes_are_atomic() {
        for sql in [
            "INSERT INTO t (a) VALUES (@P1)",
            "insert t values ((select max(a) from u)), (2);",
            "INSERT INTO t (a) OUTPUT inserted.id VALUES (1)",
            "INSERT INTO t SELECT a FROM u WHERE b IN (SELECT c FROM v)",
            "UPDATE t SET a = 1, b = (SELECT 2) WHERE id = 3",
            "DELETE FROM t WHERE a IN (SELECT b FROM u)",
            "TRUNCATE TABLE t",
            "CREATE TABLE t (id int PRIMARY KEY, name nvarchar(50))",
            "ALTER TABLE t ADD b int",
            "DROP TABLE t",
        ] {
            assert!(is_atomic(sql), "{sql}");
        }
    }

    #[test]
    fn what_may_be_two_statements_is_not_atomic() {
        for sql in [
            "INSERT INTO t VALUES (1) SELECT 1/0",
            "INSERT INTO t VALUES (1); SELECT 1/0",
            "INSERT INTO t VALUES (1) INSERT INTO u VALUES (1)",
            "INSERT INTO t DEFAULT VALUES SELECT 1",
            "INSERT INTO t SELECT 1 SELECT 2",
            "INSERT INTO t EXEC p",
            "INSERT INTO t VALUES (1) WITH a AS (SELECT 1 AS n) SELECT n FROM a",
            "UPDATE t SET a = 1 SET NOCOUNT ON",
            "UPDATE t SET a = 1 SELECT 1/0",
            "DELETE FROM t SELECT 1/0",
            "DELETE FROM t COMMIT",
            "EXEC p",
            "BEGIN TRAN DELETE FROM t COMMIT",
            "CREATE TRIGGER x ON t AFTER INSERT AS DELETE FROM u",
            "CREATE TABLE t (a int) CREATE TABLE u (a int)",
            "DROP TABLE t DROP TABLE u",
            "MERGE t USING u ON 1 = 1 WHEN MATCHED THEN DELETE",
        ] {
            assert!(!is_atomic(sql), "{sql}");
        }
    }
}
