//! What a page shows or does, as commands for a terminal.

use serde_json::Value;

use super::frame::Frame;

/// A text as one word of a POSIX shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "-_./:=@%+,".contains(sign);
    match !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A call of the API with the token of whoever copies it, which stands in a variable and not in the page.
pub(super) fn curl(frame: &Frame, method: &str, path: &str, body: Option<&Value>) -> String {
    let method = if method == "GET" { String::new() } else { format!(" -X {method}") };
    let url = quoted(&format!("{}{path}", frame.base));
    let body = body
        .map(|body| format!(" \\\n  -H 'content-type: application/json' \\\n  --data {}", quoted(&body.to_string())));
    format!(
        "curl --fail-with-body{method} {url} \\\n  -H \"authorization: Bearer $SUREFOOT_TOKEN\"{}",
        body.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_quoted() {
        for (text, word) in
            [("my-flow", "my-flow"), ("", "''"), ("-x", "'-x'"), ("a b", "'a b'"), ("$(id)'", r"'$(id)'\'''")]
        {
            assert_eq!(quoted(text), word);
        }
    }
}
