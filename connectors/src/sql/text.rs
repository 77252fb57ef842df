//! The words of a SQL text outside of literals, comments and quoted names, and what follows from them alone.
//!
//! This is no parser. What it says is used for proofs, so it is always on the safe side: a text that the dialects of
//! servers, or the settings of one, could read in two ways has no tokens at all.

/// Whose rules for literals, names and comments hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Microsoft SQL Server: `[names]`, comments nest.
    Tsql,
    /// PostgreSQL: `$tag$ text $tag$`, comments nest. A backslash in a literal depends on the server's settings.
    Postgres,
    /// MySQL and MariaDB: `` `names` ``, comments from `#`, comments that are executed. A backslash in a literal
    /// depends on the server's settings.
    Mysql,
}

/// One word or sign outside of literals and comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A bare word, in capitals: a keyword or an unquoted name.
    Word(String),
    /// A literal, a number or a quoted name.
    Other,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `;`
    Semicolon,
    /// `.`
    Dot,
    /// Any other sign.
    Sign,
}

/// The tokens of a text that is one statement, with or without a semicolon at its end.
#[derive(Debug)]
pub(crate) struct Statement {
    tokens: Vec<Token>,
}

impl Statement {
    /// None for a text that may be several statements, or that does not end where it seems to.
    pub(crate) fn single(sql: &str, syntax: Syntax) -> Option<Self> {
        let mut tokens = tokens(sql, syntax)?;
        while tokens.last() == Some(&Token::Semicolon) {
            tokens.pop();
        }
        (!tokens.contains(&Token::Semicolon)).then_some(Self { tokens })
    }

    /// The first word, if the text begins with one.
    pub(crate) fn first_word(&self) -> Option<&str> {
        match self.tokens.first() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// All words.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().filter_map(|token| match token {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        })
    }

    /// The words outside of parentheses.
    pub(crate) fn outer_words(&self) -> impl Iterator<Item = &str> {
        let mut depth = 0_usize;
        self.tokens.iter().filter_map(move |token| {
            match token {
                Token::Open => depth += 1,
                Token::Close => depth = depth.saturating_sub(1),
                Token::Word(word) if depth == 0 => return Some(word.as_str()),
                _ => {}
            }
            None
        })
    }

    /// Whether any word is one of these.
    pub(crate) fn has_any(&self, wanted: &[&str]) -> bool {
        self.words().any(|word| wanted.contains(&word))
    }

    /// Whether these two words stand side by side.
    pub(crate) fn has_pair(&self, first: &str, second: &str) -> bool {
        let is = |token: &Token, wanted: &str| matches!(token, Token::Word(word) if word == wanted);
        self.tokens.windows(2).any(|pair| is(&pair[0], first) && is(&pair[1], second))
    }

    /// Whether each word before a parenthesis is one of `functions`, or a keyword or name that calls nothing there. A
    /// function of the database's users may do anything.
    pub(crate) fn calls_only(&self, functions: &[&[&str]]) -> bool {
        self.tokens.iter().enumerate().filter(|(_, token)| **token == Token::Open).all(|(open, _)| {
            let before = |distance: usize| open.checked_sub(distance).map(|index| &self.tokens[index]);
            match before(1) {
                Some(Token::Word(word)) => match before(2) {
                    // Of a schema that anybody may have made.
                    Some(Token::Dot) => false,
                    // A name that the text itself gives: `AS t(a)`, `WITH t(a)`.
                    Some(Token::Word(introducing)) if matches!(introducing.as_str(), "AS" | "WITH" | "RECURSIVE") => {
                        true
                    }
                    _ => {
                        let word = word.as_str();
                        BEFORE_PARENTHESES.contains(&word) || functions.iter().any(|list| list.contains(&word))
                    }
                },
                Some(Token::Other) => false,
                _ => true,
            }
        })
    }
}

/// Keywords and types before a parenthesis that begins no list of arguments of a function.
const BEFORE_PARENTHESES: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "CHAR",
    "CHARACTER",
    "CUBE",
    "DECIMAL",
    "DISTINCT",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "FETCH",
    "FILTER",
    "FROM",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INTERSECT",
    "INTERVAL",
    "JOIN",
    "LATERAL",
    "LIKE",
    "LIMIT",
    "MATERIALIZED",
    "NOT",
    "NUMERIC",
    "OFFSET",
    "ON",
    "OR",
    "OVER",
    "ROLLUP",
    "ROW",
    "SELECT",
    "SETS",
    "SOME",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "UNION",
    "USING",
    "VALUES",
    "VARCHAR",
    "VARYING",
    "WHEN",
    "WHERE",
    "WITHIN",
];

/// Functions that change nothing, in PostgreSQL as in MySQL and MariaDB.
pub(crate) const PURE_FUNCTIONS: &[&str] = &[
    "ABS",
    "ACOS",
    "ASCII",
    "ASIN",
    "ATAN",
    "ATAN2",
    "AVG",
    "BIT_AND",
    "BIT_LENGTH",
    "BIT_OR",
    "BIT_XOR",
    "CAST",
    "CEIL",
    "CEILING",
    "CHAR_LENGTH",
    "CHARACTER_LENGTH",
    "COALESCE",
    "CONCAT",
    "CONCAT_WS",
    "COS",
    "COT",
    "COUNT",
    "CUME_DIST",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "DEGREES",
    "DENSE_RANK",
    "EXP",
    "EXTRACT",
    "FIRST_VALUE",
    "FLOOR",
    "GREATEST",
    "LAG",
    "LAST_VALUE",
    "LEAD",
    "LEAST",
    "LEFT",
    "LENGTH",
    "LN",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "LOG",
    "LOG10",
    "LOWER",
    "LPAD",
    "LTRIM",
    "MAX",
    "MD5",
    "MIN",
    "MOD",
    "NOW",
    "NTH_VALUE",
    "NTILE",
    "NULLIF",
    "OCTET_LENGTH",
    "PERCENT_RANK",
    "PI",
    "POSITION",
    "POWER",
    "RADIANS",
    "RANK",
    "REPEAT",
    "REPLACE",
    "REVERSE",
    "RIGHT",
    "ROUND",
    "ROW_NUMBER",
    "RPAD",
    "RTRIM",
    "SIGN",
    "SIN",
    "SQRT",
    "STDDEV",
    "STDDEV_POP",
    "STDDEV_SAMP",
    "SUBSTR",
    "SUBSTRING",
    "SUM",
    "TAN",
    "TRIM",
    "UPPER",
    "VAR_POP",
    "VAR_SAMP",
    "VARIANCE",
    "VERSION",
];

/// Splits `sql` into tokens; none when a literal, a comment or a quoted name does not end, or may end elsewhere.
fn tokens(sql: &str, syntax: Syntax) -> Option<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let after = &rest[next.len_utf8()..];
        let mut push = |token, rest| {
            found.push(token);
            rest
        };
        rest = match next {
            _ if next.is_whitespace() => after,
            '-' if after.starts_with('-') => after_dashes(&after[1..], syntax)?,
            '#' if syntax == Syntax::Mysql => after_line(after),
            '/' if after.starts_with('*') => after_comment(&after[1..], syntax)?,
            '\'' | '"' => push(Token::Other, after_quoted(after, next, syntax)?),
            '[' if syntax == Syntax::Tsql => push(Token::Other, after_quoted(after, ']', syntax)?),
            '`' if syntax == Syntax::Mysql => push(Token::Other, after_quoted(after, '`', syntax)?),
            '$' if syntax == Syntax::Postgres => push(Token::Other, after_dollar(after)?),
            '(' => push(Token::Open, after),
            ')' => push(Token::Close, after),
            ';' => push(Token::Semicolon, after),
            '.' => push(Token::Dot, after),
            _ if is_word_char(next) => {
                let end = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
                let token =
                    if next.is_ascii_digit() { Token::Other } else { Token::Word(rest[..end].to_ascii_uppercase()) };
                push(token, &rest[end..])
            }
            _ => push(Token::Sign, after),
        };
    }
    Some(found)
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '#' | '$')
}

fn after_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

/// What follows a comment that begins with two dashes. In MySQL they are two signs of minus, unless a space follows.
fn after_dashes(text: &str, syntax: Syntax) -> Option<&str> {
    let begins_comment = syntax != Syntax::Mysql || text.is_empty() || text.starts_with(char::is_whitespace);
    begins_comment.then(|| after_line(text))
}

/// What follows a quoted text whose opening sign has been read; a doubled closing sign stands for itself.
fn after_quoted(text: &str, close: char, syntax: Syntax) -> Option<&str> {
    let mut rest = text;
    loop {
        let end = rest.find(close)?;
        // Where a backslash may take the quote's meaning away, or not, nothing is certain.
        if syntax != Syntax::Tsql && rest[..end].contains('\\') {
            return None;
        }
        rest = &rest[end + close.len_utf8()..];
        match rest.strip_prefix(close) {
            Some(more) => rest = more,
            None => return Some(rest),
        }
    }
}

/// What follows `$1`, or a text between `$tag$` and `$tag$`; the first dollar has been read.
fn after_dollar(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (tag, rest) = text.split_at(end);
    if tag.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(rest);
    }
    let quoted = rest.strip_prefix('$')?;
    let close = format!("${tag}$");
    quoted.split_once(&close).map(|(_, rest)| rest)
}

/// What follows a comment whose opening has been read. In MySQL comments do not nest and some are executed.
fn after_comment(text: &str, syntax: Syntax) -> Option<&str> {
    if syntax == Syntax::Mysql {
        let (comment, rest) = text.split_once("*/")?;
        let plain = !comment.starts_with('!') && !comment.starts_with("M!") && !comment.contains("/*");
        return plain.then_some(rest);
    }
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

    fn words(sql: &str, syntax: Syntax) -> Option<Vec<String>> {
        Statement::single(sql, syntax).map(|statement| statement.words().map(str::to_owned).collect())
    }

    #[test]
    fn words_stand_outside_of_literals_names_and_comments() {
        for (syntax, sql) in [
            (Syntax::Tsql, "select [b c]]], 'x;''y' /* d /* e */ f */ FROM t -- g\n;"),
            (Syntax::Postgres, "select \"b c\", $1, $$;$$, $x$ ' $x$ /* d /* e */ f */ FROM t -- g\n;"),
            (Syntax::Mysql, "select `b;c`, 'x;''y', \"z\" # d\n FROM /* e */ t -- g\n;"),
        ] {
            assert_eq!(words(sql, syntax).unwrap(), ["SELECT", "FROM", "T"], "{sql}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_has_no_words() {
        for (syntax, sql) in [
            (Syntax::Tsql, "SELECT 'a"),
            (Syntax::Tsql, "SELECT 1; SELECT 2"),
            (Syntax::Tsql, "SELECT 1 /* open"),
            (Syntax::Postgres, r"SELECT 'a\'; DELETE FROM t; --'"),
            (Syntax::Postgres, r"SELECT E'a\'b'"),
            (Syntax::Postgres, "SELECT $x$ a $y$"),
            (Syntax::Mysql, r"SELECT 'a\'; DELETE FROM t; -- '"),
            (Syntax::Mysql, "SELECT 1 /*! INTO OUTFILE 'x' */"),
            (Syntax::Mysql, "SELECT 1 /*M!100100 INTO OUTFILE 'x' */"),
            (Syntax::Mysql, "SELECT 1 /* /* */ DELETE */"),
            (Syntax::Mysql, "SELECT 5--1"),
        ] {
            assert_eq!(words(sql, syntax), None, "{sql}");
        }
    }

    #[test]
    fn functions_that_nobody_vouches_for_are_found() {
        let calls_only = |sql: &str| Statement::single(sql, Syntax::Postgres).unwrap().calls_only(&[PURE_FUNCTIONS]);
        for sql in [
            "SELECT COUNT(*), max(a) FROM t WHERE id IN (1, 2) AND (a = 1 OR b = (2))",
            "WITH a(n) AS (SELECT 1) SELECT * FROM a AS b(m) JOIN c USING (m)",
            "SELECT CAST(a AS numeric(10, 2)), row_number() OVER (PARTITION BY b) FROM (VALUES (1)) AS v(a)",
        ] {
            assert!(calls_only(sql), "{sql}");
        }
        for sql in [
            "SELECT nextval('s')",
            "SELECT charge_customer (1)",
            "SELECT mine.count(1)",
            "SELECT \"count\"(1)",
            "SELECT 1 WHERE f(1) = 2",
            "SELECT (SELECT max(f(1)))",
        ] {
            assert!(!calls_only(sql), "{sql}");
        }
    }
}
