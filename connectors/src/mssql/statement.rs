//! What a SQL text can do, judged by its words alone, and always to the safe side: what is not proved is not claimed.
//!
//! This is no parser of T-SQL. It finds the words outside of literals, comments and quoted names, and looks for those
//! that begin a statement.

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

/// One word or sign outside of literals and comments.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A bare word, in capitals: a keyword or an unquoted name.
    Word(String),
    /// A literal, a number or a quoted name.
    Other,
    Open,
    Close,
    Semicolon,
    /// Any other sign.
    Sign,
}

/// Whether `sql` is proved to be one `SELECT` that changes nothing.
pub(super) fn is_plain_select(sql: &str) -> bool {
    let Some(tokens) = single_statement(sql) else { return false };
    let selects = matches!(first_word(&tokens), Some("SELECT" | "WITH"));
    selects
        && !words(&tokens).any(|word| BEYOND_SELECT.contains(&word))
        && !has_pair(&tokens, "NEXT", "VALUE")
        && selects_once(&tokens)
}

/// Whether `sql` is proved to be one statement that the server does as a whole or not at all, so that its error proves
/// that nothing was done. (Run by itself: outside of a transaction of the caller.)
pub(super) fn is_atomic(sql: &str) -> bool {
    is_plain_select(sql) || single_statement(sql).is_some_and(|tokens| is_single_change(&tokens))
}

/// Whether `sql` is proved to leave the transaction in which it runs open, so that rolling that back undoes it.
pub(super) fn stays_in_transaction(sql: &str) -> bool {
    is_atomic(sql)
}

/// One `INSERT`, `UPDATE`, `DELETE` or `TRUNCATE`, or one simple statement that makes, alters or drops something.
fn is_single_change(tokens: &[Token]) -> bool {
    let Some(first) = first_word(tokens) else { return false };
    let count = |wanted: &str| words(tokens).filter(|word| *word == wanted).count();
    let outer = |wanted: &str| outer_words(tokens).filter(|word| *word == wanted).count();
    let others = |allowed: &[&str]| words(tokens).any(|word| BEYOND_SELECT.contains(&word) && !allowed.contains(&word));
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
fn selects_once(tokens: &[Token]) -> bool {
    let outer: Vec<&str> = outer_words(tokens).collect();
    let selects = outer.iter().filter(|word| **word == "SELECT").count();
    let joins = outer.iter().filter(|word| matches!(**word, "UNION" | "EXCEPT" | "INTERSECT")).count();
    selects == joins + 1
}

/// The tokens, unless the text ends inside of a literal or comment or a semicolon is followed by more.
fn single_statement(sql: &str) -> Option<Vec<Token>> {
    let mut tokens = tokens(sql)?;
    while tokens.last() == Some(&Token::Semicolon) {
        tokens.pop();
    }
    (!tokens.contains(&Token::Semicolon)).then_some(tokens)
}

fn first_word(tokens: &[Token]) -> Option<&str> {
    match tokens.first() {
        Some(Token::Word(word)) => Some(word),
        _ => None,
    }
}

fn words(tokens: &[Token]) -> impl Iterator<Item = &str> {
    tokens.iter().filter_map(|token| match token {
        Token::Word(word) => Some(word.as_str()),
        _ => None,
    })
}

/// The words outside of parentheses.
fn outer_words(tokens: &[Token]) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    tokens.iter().filter_map(move |token| {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 => return Some(word.as_str()),
            _ => {}
        }
        None
    })
}

fn has_pair(tokens: &[Token], first: &str, second: &str) -> bool {
    let is = |token: &Token, wanted: &str| matches!(token, Token::Word(word) if word == wanted);
    tokens.windows(2).any(|pair| is(&pair[0], first) && is(&pair[1], second))
}

/// Splits `sql` into tokens; none when a literal, a comment or a quoted name does not end.
fn tokens(sql: &str) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        rest = match next {
            _ if next.is_whitespace() => after,
            '-' if after.starts_with('-') => after.split_once('\n').map_or("", |(_, rest)| rest),
            '/' if after.starts_with('*') => after_comment(&after[1..])?,
            '\'' | '"' => push(&mut found, Token::Other, after_quoted(after, next)?),
            '[' => push(&mut found, Token::Other, after_quoted(after, ']')?),
            '(' => push(&mut found, Token::Open, after),
            ')' => push(&mut found, Token::Close, after),
            ';' => push(&mut found, Token::Semicolon, after),
            _ if is_word_char(next) => {
                let end = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
                let token =
                    if next.is_ascii_digit() { Token::Other } else { Token::Word(rest[..end].to_ascii_uppercase()) };
                push(&mut found, token, &rest[end..])
            }
            _ => push(&mut found, Token::Sign, after),
        };
    }
    Some(found)
}

fn push<'a>(found: &mut Vec<Token>, token: Token, rest: &'a str) -> &'a str {
    found.push(token);
    rest
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '#' | '$')
}

/// What follows a quoted text whose opening sign has been read; a doubled closing sign stands for itself.
fn after_quoted(text: &str, close: char) -> Option<&str> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find(close)? + close.len_utf8()..];
        match rest.strip_prefix(close) {
            Some(more) => rest = more,
            None => return Some(rest),
        }
    }
}

/// What follows a comment whose opening has been read. Comments nest in T-SQL.
fn after_comment(text: &str) -> Option<&str> {
    let mut rest = text;
    let mut depth = 1;
    while depth > 0 {
        let close = rest.find("*/")?;
        match rest.find("/*") {
            Some(open) if open < close => {
                depth += 1;
                rest = &rest[open + 2..];
            }
            _ => {
                depth -= 1;
                rest = &rest[close + 2..];
            }
        }
    }
    Some(rest)
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
