//! What a SQL text can do, judged by its words alone, and always to the safe side: what is not proved is not claimed.

use crate::sql::text::{PURE_FUNCTIONS, Statement, Syntax};

/// Words that change something in a `SELECT`, write a file, or lock rows.
const BEYOND_SELECT: &[&str] = &["DELETE", "INSERT", "INTO", "LOCK", "NEXT", "PROCEDURE", "SETVAL", "SHARE", "UPDATE"];

/// Statements that leave the transaction in which they run open. Others commit it, silently.
const IN_TRANSACTION: &[&str] = &["DELETE", "INSERT", "REPLACE", "SELECT", "UPDATE", "WITH"];

/// Functions that change nothing, beside [`PURE_FUNCTIONS`]. A function of the users cannot have the name of one.
const PURE_HERE: &[&str] = &[
    "ADDDATE",
    "BIN",
    "CONNECTION_ID",
    "CONV",
    "CONVERT",
    "CONVERT_TZ",
    "CRC32",
    "CURDATE",
    "CURTIME",
    "DATABASE",
    "DATE",
    "DATEDIFF",
    "DATE_ADD",
    "DATE_FORMAT",
    "DATE_SUB",
    "DAY",
    "DAYNAME",
    "DAYOFMONTH",
    "DAYOFWEEK",
    "DAYOFYEAR",
    "ELT",
    "FIELD",
    "FIND_IN_SET",
    "FORMAT",
    "FROM_BASE64",
    "FROM_UNIXTIME",
    "GROUP_CONCAT",
    "HEX",
    "HOUR",
    "IF",
    "IFNULL",
    "INET_ATON",
    "INET_NTOA",
    "INSTR",
    "ISNULL",
    "JSON_ARRAY",
    "JSON_ARRAYAGG",
    "JSON_CONTAINS",
    "JSON_EXTRACT",
    "JSON_KEYS",
    "JSON_LENGTH",
    "JSON_OBJECT",
    "JSON_OBJECTAGG",
    "JSON_TYPE",
    "JSON_UNQUOTE",
    "JSON_VALID",
    "JSON_VALUE",
    "LAST_DAY",
    "LCASE",
    "LOCATE",
    "LOG2",
    "MAKEDATE",
    "MICROSECOND",
    "MID",
    "MINUTE",
    "MONTH",
    "MONTHNAME",
    "OCT",
    "ORD",
    "PERIOD_DIFF",
    "QUARTER",
    "QUOTE",
    "RAND",
    "REGEXP_REPLACE",
    "REGEXP_SUBSTR",
    "SCHEMA",
    "SECOND",
    "SEC_TO_TIME",
    "SHA1",
    "SHA2",
    "SLEEP",
    "SOUNDEX",
    "SPACE",
    "STRCMP",
    "STR_TO_DATE",
    "SUBDATE",
    "SUBSTRING_INDEX",
    "SYSDATE",
    "TIME_FORMAT",
    "TIME_TO_SEC",
    "TIMEDIFF",
    "TIMESTAMPADD",
    "TIMESTAMPDIFF",
    "TO_BASE64",
    "TO_DAYS",
    "TRUNCATE",
    "UCASE",
    "UNHEX",
    "UNIX_TIMESTAMP",
    "USER",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
    "UUID",
    "WEEK",
    "WEEKDAY",
    "WEEKOFYEAR",
    "YEAR",
    "YEARWEEK",
];

/// Whether `sql` is proved to be one `SELECT` that changes nothing: the server runs it in a transaction that only
/// reads, and functions that reach beyond that are not among those it may call.
pub(super) fn is_plain_select(sql: &str) -> bool {
    Statement::single(sql, Syntax::Mysql).is_some_and(|statement| {
        matches!(statement.first_word(), Some("SELECT" | "SHOW" | "VALUES" | "WITH"))
            && !statement.has_any(BEYOND_SELECT)
            && statement.calls_only(&[PURE_FUNCTIONS, PURE_HERE])
    })
}

/// Whether `sql` is one statement for sure.
pub(super) fn is_single(sql: &str) -> bool {
    Statement::single(sql, Syntax::Mysql).is_some()
}

/// Whether `sql` is proved to leave the transaction in which it runs open, so that rolling that back undoes it.
pub(super) fn stays_in_transaction(sql: &str) -> bool {
    Statement::single(sql, Syntax::Mysql)
        .is_some_and(|statement| statement.first_word().is_some_and(|word| IN_TRANSACTION.contains(&word)))
}

/// Whether `sql` is proved to be one statement about a table, with no other inside: an error that comes before the
/// server did anything is not one of a statement inside.
pub(super) fn has_nothing_inside(sql: &str) -> bool {
    Statement::single(sql, Syntax::Mysql).is_some_and(|statement| {
        matches!(statement.first_word(), Some("ALTER" | "CREATE"))
            && statement.words().nth(1) == Some("TABLE")
            && !statement.has_any(&["SELECT"])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_selects_are_reads() {
        for sql in [
            "SELECT 1",
            "select count(*), max(a) from t where b = ? and c in (1, 2) -- INSERT\n;",
            "WITH a AS (SELECT 1 AS n) SELECT n FROM a UNION ALL SELECT b FROM v",
            "SELECT `update`, 'DELETE; DROP' FROM `insert into` # DELETE",
            "SELECT date_format(now(), '%Y'), IF(a > 1, replace(b, 'x', 'y'), ifnull(c, 0)) FROM t GROUP BY 2 LIMIT 5",
            "SHOW TABLES",
        ] {
            assert!(is_plain_select(sql), "{sql}");
        }
    }

    #[test]
    fn what_may_change_something_is_no_read() {
        for sql in [
            "",
            "SELECT 1; DELETE FROM t",
            "SELECT * FROM t INTO OUTFILE '/tmp/x'",
            "SELECT a INTO @b FROM t",
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM t LOCK IN SHARE MODE",
            "SELECT GET_LOCK('a', 1)",
            "SELECT charge_customer(1)",
            "SELECT NEXT VALUE FOR s",
            "SELECT 1 /*! INTO OUTFILE '/tmp/x' */",
            "WITH a AS (SELECT 1 AS n) DELETE FROM t",
            "EXPLAIN ANALYZE DELETE FROM t",
            "CALL p()",
            "DO f()",
            r"SELECT 'a\'; DELETE FROM t; -- '",
        ] {
            assert!(!is_plain_select(sql), "{sql}");
        }
    }

    #[test]
    fn what_commits_by_itself_does_not_stay_in_a_transaction() {
        for sql in ["INSERT INTO t VALUES (?)", "update t set a = f(1)", "REPLACE t VALUES (1)", "DELETE FROM t;"] {
            assert!(stays_in_transaction(sql), "{sql}");
        }
        for sql in [
            "CREATE TABLE t (a int)",
            "TRUNCATE t",
            "COMMIT",
            "CALL p()",
            "SET autocommit = 1",
            "INSERT INTO t VALUES (1); COMMIT",
            "/*! COMMIT */ INSERT INTO t VALUES (1)",
        ] {
            assert!(!stays_in_transaction(sql), "{sql}");
        }
    }

    #[test]
    fn statements_with_others_inside_are_told_apart() {
        assert!(has_nothing_inside("CREATE TABLE t (a int)"));
        for sql in ["CREATE TABLE t AS SELECT f(1)", "CREATE PROCEDURE p() SELECT 1", "CALL p()", "DROP TABLE t, u"] {
            assert!(!has_nothing_inside(sql), "{sql}");
        }
    }
}
