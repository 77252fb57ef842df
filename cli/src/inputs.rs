//! What users pass as values: JSON, files, standard input, `KEY=VALUE`.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// A document: JSON text, `@FILE` for what a file holds, `-` for standard input.
pub(crate) fn json(text: &str) -> Result<Value> {
    let (source, text) = match text.strip_prefix('@') {
        Some(path) => (format!("the file {path}"), read_file(path)?),
        None if text == "-" => ("standard input".to_owned(), read_stdin()?),
        None => (format!("`{text}`"), text.to_owned()),
    };
    serde_json::from_str(&text).map_err(|error| {
        let failure = Failure::usage(format!("{source} is not JSON: {error}"));
        failure.hint("Pass JSON, such as '{\"a\": 1}' or '\"text\"', or `@FILE`, or `-` for standard input.").into()
    })
}

/// Like [`json`], and it must be an object.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>> {
    match json(text)? {
        Value::Object(object) => Ok(object),
        other => Err(Failure::usage(format!("a JSON object is needed, not {other}")).into()),
    }
}

/// A document, or null where there is none.
pub(crate) fn optional_json(text: Option<&str>) -> Result<Value> {
    text.map_or(Ok(Value::Null), json)
}

/// A whole number, or the null that removes one.
pub(crate) fn number_or_null(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(number @ (Value::Null | Value::Number(_))) if !number.is_f64() => Ok(number),
        _ => Err("a whole number is needed, or `null` for none".to_owned()),
    }
}

/// The `KEY` and the `VALUE` of `KEY=VALUE`. `@FILE` and `-` are read, so that secrets need not stand in the list of
/// processes; their last line feed does not count. `@@` is an `@` that begins a text.
pub(crate) fn pair(text: &str) -> Result<(&str, String)> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return Err(Failure::usage(format!("`{text}` is not KEY=VALUE")).into());
    };
    let value = match value.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => rest.to_owned(),
        Some(path) => without_line_feed(read_file(path)?),
        None if value == "-" => without_line_feed(read_stdin()?),
        None => value.to_owned(),
    };
    Ok((key, value))
}

fn read_file(path: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read the file {path}: {error}")).into())
}

fn read_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

fn without_line_feed(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_come_as_text_or_from_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input.json");
        std::fs::write(&path, "{\"a\": [1]}\n").unwrap();
        assert_eq!(json(r#"{"a": [1]}"#).unwrap(), json!({"a": [1]}));
        assert_eq!(json(&format!("@{}", path.display())).unwrap(), json!({"a": [1]}));
        assert_eq!(optional_json(None).unwrap(), Value::Null);
        for wrong in ["{", "@/no/such/file", "text"] {
            let error = json(wrong).unwrap_err();
            assert_eq!(crate::failure::report(&error).exit_code, crate::exit_codes::USAGE, "{wrong}");
        }
        assert!(object("[1]").is_err());
    }

    #[test]
    fn numbers_are_whole_or_null() {
        assert_eq!(number_or_null("-5"), Ok(json!(-5)));
        assert_eq!(number_or_null("null"), Ok(Value::Null));
        for wrong in ["", "1.5", "none", "\"1\"", "true"] {
            assert!(number_or_null(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_keep_everything_behind_the_first_equals_sign() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "p=w d\r\n").unwrap();
        assert_eq!(pair("a=b=c").unwrap(), ("a", "b=c".to_owned()));
        assert_eq!(pair("a=").unwrap(), ("a", String::new()));
        assert_eq!(pair("a=@@x").unwrap(), ("a", "@x".to_owned()));
        assert_eq!(pair(&format!("a=@{}", path.display())).unwrap(), ("a", "p=w d".to_owned()));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
