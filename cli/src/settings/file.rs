//! The settings file: what it says, and in which line.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};

use super::keys::{KEYS, Key};
use crate::failure::Failure;

/// What stands in a file, by the names of the keys: the value, and its line, counted from 1.
pub(super) type Values = BTreeMap<&'static str, (toml::Value, usize)>;

/// Reads the file. One that is not there says nothing, unless it `must_exist`.
///
/// # Errors
/// When it is no TOML, or has a key that does not exist: the failure names the line and the nearest key.
pub(super) fn read(path: &Path, must_exist: bool) -> Result<Values> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        // Where no folder is, opening the workspace says so.
        Err(error) if !must_exist && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Values::new());
        }
        Err(error) => return Err(Failure::place("read", path, &error).into()),
    };
    parse(&text).map_err(|Wrong { line, why, hint }| {
        let failure = Failure::usage(format!("{}, line {line}: {why}", path.display()));
        failure.hint(hint.unwrap_or_else(|| "`surefoot config --help` has all keys as options.".to_owned())).into()
    })
}

/// What is wrong with a file.
#[derive(Debug)]
struct Wrong {
    line: usize,
    why: String,
    hint: Option<String>,
}

fn parse(text: &str) -> Result<Values, Wrong> {
    let line_of = |span: Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
    let wrong = |span: Option<Range<usize>>, why: &str| Wrong {
        line: span.map_or(1, line_of),
        why: why.trim().to_owned(),
        hint: None,
    };
    let root = DeTable::parse(text).map_err(|error| wrong(error.span(), error.message()))?;
    let mut values = Values::new();
    for (table, entries) in root.into_inner() {
        let line = line_of(table.span());
        let DeValue::Table(entries) = entries.into_inner() else {
            return Err(unknown(table.get_ref(), line));
        };
        // A table that does not exist is wrong also when nothing is in it.
        if !KEYS.iter().any(|key| key.parts().0 == table.get_ref().as_ref()) {
            let first: Option<&Spanned<DeString<'_>>> = entries.keys().next();
            let name = first.map_or(String::new(), |first| format!(".{}", first.get_ref()));
            return Err(unknown(&format!("{}{name}", table.get_ref()), line));
        }
        for (entry, value) in entries {
            let line = line_of(entry.span());
            let name = format!("{}.{}", table.get_ref(), entry.get_ref());
            let key = Key::named(&name).ok_or_else(|| unknown(&name, line))?;
            let span = value.span();
            let value = toml::Value::deserialize(ValueDeserializer::from(value));
            values.insert(key.name, (value.map_err(|error| wrong(Some(span), error.message()))?, line));
        }
    }
    Ok(values)
}

fn unknown(name: &str, line: usize) -> Wrong {
    let near = KEYS.iter().min_by_key(|key| strsim::damerau_levenshtein(key.name, name));
    Wrong {
        line,
        why: format!("there is no key `{name}`"),
        hint: near.map(|near| format!("Did you mean `{}`? `surefoot config` lists all keys.", near.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_lines() {
        let values =
            parse("# first\n[server]\nlisten = \"a\"\n\n[limits]\nheaders_max = 7\nloopback = true\n").unwrap();
        assert_eq!(values["server.listen"], (toml::Value::from("a"), 3));
        assert_eq!(values["limits.headers_max"], (toml::Value::from(7), 6));
        assert_eq!(parse("server.listen = \"a\"").unwrap()["server.listen"].1, 1);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_key_is_named_with_its_line_and_its_nearest() {
        for (text, line, name, near) in [
            ("[server]\n\nlisen = \"a\"\n", 3, "server.lisen", "server.listen"),
            ("[limits]\nheaders_max = 1\nport = 2\n", 3, "limits.port", ""),
            ("\nx = 1\n", 2, "x", ""),
            ("[sever]\nlisten = \"a\"\n", 1, "sever.listen", "server.listen"),
            ("[nothing]\n", 1, "nothing", ""),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.line, line, "{text}");
            assert!(wrong.why.contains(&format!("`{name}`")), "{wrong:?}");
            assert!(wrong.hint.unwrap().contains(near), "{text}");
        }
        assert_eq!(parse("[server]\nlisten = \n").unwrap_err().line, 2);
    }
}
