//! Looks for secrets in what a workspace stores and says, in each form in which a server may repeat one.

use std::path::Path;

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// The forms in which a text can be repeated: as it is, in base64 alone and within something longer, percent-encoded,
/// JSON-escaped.
pub fn forms(text: &str) -> Vec<String> {
    let mut forms = vec![text.to_owned(), percent(text, false), percent(text, true), escaped(text), ascii(text)];
    for before in ["", "x", "xy"] {
        forms.extend([&STANDARD, &URL_SAFE].map(|engine| engine.encode(format!("{before}{text}z"))));
    }
    forms.extend([STANDARD.encode(text), STANDARD.encode(format!("{{\"x\":\"{}\"}}", escaped(text)))]);
    forms
}

/// Where one of the texts stands in the bytes, in one of its forms; none where none does.
pub fn find_leak(bytes: &[u8], secrets: &[String]) -> Option<String> {
    let leaks = secrets.iter().flat_map(|secret| traces(secret).into_iter().map(move |trace| (secret, trace)));
    let leaks: Vec<(&String, String)> = leaks.collect();
    let traces = AhoCorasick::new(leaks.iter().map(|(_, trace)| trace)).expect("they are few and short");
    let found = traces.find(bytes)?;
    let (secret, trace) = &leaks[found.pattern()];
    let around = &bytes[found.start().saturating_sub(200)..(found.end() + 100).min(bytes.len())];
    Some(format!("{secret:?} as {trace:?} in {}", String::from_utf8_lossy(around)))
}

/// Searches every byte of a data folder but the contents of files. Returns how many bytes there were.
///
/// # Errors
/// When one of the texts stands in one of the files, or in its name.
pub fn search_data(data: &Path, secrets: &[String]) -> Result<usize> {
    let mut bytes = 0;
    for file in xtask::repo::files_under(data)?.into_iter().filter(|file| !file.starts_with("blobs")) {
        let mut content = std::fs::read(data.join(&file)).with_context(|| file.display().to_string())?;
        bytes += content.len();
        content.extend(file.to_string_lossy().bytes());
        if let Some(leak) = find_leak(&content, secrets) {
            anyhow::bail!("{} holds {leak}", file.display());
        }
    }
    Ok(bytes)
}

/// What of a text's forms does not depend on what stands around it.
fn traces(text: &str) -> Vec<String> {
    let mut traces = vec![text.to_owned(), percent(text, false), percent(text, true), escaped(text), ascii(text)];
    traces.push(escaped(text).replace('/', "\\/"));
    for text in [text.to_owned(), escaped(text)] {
        for (shift, before) in ["", "x", "xy"].into_iter().enumerate() {
            for engine in [&STANDARD, &URL_SAFE] {
                let encoded = engine.encode(format!("{before}{text}"));
                let signs = 8 * (shift + text.len()) / 6;
                traces.push(encoded[[0, 2, 3][shift]..signs].to_owned());
            }
        }
    }
    traces.sort();
    traces.dedup();
    traces
}

fn percent(text: &str, is_upper: bool) -> String {
    let encode = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ if is_upper => format!("%{byte:02X}"),
        _ => format!("%{byte:02x}"),
    };
    text.bytes().map(encode).collect()
}

fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn ascii(text: &str) -> String {
    let units = |character: char| {
        let mut units = [0; 2];
        character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>()
    };
    escaped(text).chars().map(|sign| if sign.is_ascii() { sign.to_string() } else { units(sign) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found() {
        let secrets = ["se\"cret/bä%41\n".to_owned()];
        for form in forms(&secrets[0]) {
            assert!(find_leak(format!("some {form} thing").as_bytes(), &secrets).is_some(), "{form}");
        }
        assert_eq!(find_leak(b"nothing of that sort, se cret", &secrets), None);
    }
}
