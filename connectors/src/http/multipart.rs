//! Bodies of several parts, `multipart/form-data` (RFC 7578): fields of a form and files of the workspace, which are
//! streamed.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use hyper::header::HeaderValue;
use rustls::crypto::aws_lc_rs;
use schemars::JsonSchema;
use serde::Deserialize;
use surefoot_connector_api::{ByteStream, CallContext, CallError};

use super::inputs::{Scalar, file_name};
use crate::inputs::invalid;

/// Parts of one body. Files are opened before the first byte leaves.
const PARTS_MAX: usize = 100;

/// A part as users write it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartInput {
    /// Name of the field.
    name: String,
    /// The value of the field; or else there is a `file`.
    value: Option<Scalar>,
    /// A file of the workspace, `surefoot:NAME` (or `cloudomation:NAME`); it is streamed.
    file: Option<String>,
    /// What the server is told that the file is called; its name in the workspace if not given.
    file_name: Option<String>,
    /// Type of the content; of a file `application/octet-stream` if not given.
    content_type: Option<String>,
}

/// One part, with its head.
pub(super) struct Part {
    head: String,
    content: Content,
}

enum Content {
    Text(String),
    /// Name of the file in the workspace.
    File(String),
}

/// The parts that the inputs ask for.
pub(super) fn parts(inputs: Vec<PartInput>) -> Result<Vec<Part>, CallError> {
    if inputs.is_empty() || inputs.len() > PARTS_MAX {
        return Err(invalid(format!("input `multipart` has 1 to {PARTS_MAX} parts")));
    }
    inputs.into_iter().map(Part::new).collect()
}

impl Part {
    fn new(input: PartInput) -> Result<Self, CallError> {
        let name = input.name;
        let mut head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(&name));
        let (content, content_type) = match (input.value, input.file) {
            (Some(value), None) if input.file_name.is_none() => (Content::Text(value.into_text()), input.content_type),
            (Some(_), None) => {
                return Err(invalid(format!("the part `{name}` of `multipart` has a `file_name` and no `file`")));
            }
            (None, Some(file)) => {
                let file = file_name("file", &file)?;
                let shown = input.file_name.unwrap_or_else(|| file.clone());
                head.push_str(&format!("; filename=\"{}\"", quoted(&shown)));
                let default = || "application/octet-stream".to_owned();
                (Content::File(file), Some(input.content_type.unwrap_or_else(default)))
            }
            _ => return Err(invalid(format!("the part `{name}` of `multipart` has either a `value` or a `file`"))),
        };
        if let Some(content_type) = content_type {
            let is_one = HeaderValue::from_str(&content_type).is_ok();
            if !is_one {
                return Err(invalid(format!("the `content_type` of the part `{name}` cannot be sent")));
            }
            head.push_str(&format!("\r\nContent-Type: {content_type}"));
        }
        Ok(Self { head, content })
    }
}

/// As browsers write names: what would end the quotes or the line is percent-encoded.
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

/// A body that is ready to be sent.
pub(super) struct Sending {
    pub(super) content_type: String,
    pub(super) size_bytes: u64,
    pub(super) content: ByteStream,
}

/// Opens the files of all parts.
pub(super) async fn open(context: &CallContext<'_>, parts: &[Part]) -> Result<Sending, CallError> {
    let boundary = boundary();
    let mut pieces: Vec<ByteStream> = Vec::new();
    let mut size_bytes = 0;
    let mut add = |length: u64, piece: ByteStream| {
        size_bytes += length;
        pieces.push(piece);
    };
    let held = |text: String| {
        let bytes = Bytes::from(text);
        (bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())
    };
    for Part { head, content } in parts {
        let (length, piece) = held(format!("--{boundary}\r\n{head}\r\n\r\n"));
        add(length, piece);
        let (length, piece) = match content {
            Content::Text(text) => held(text.clone()),
            Content::File(name) => context.files.read(name).await?,
        };
        add(length, piece);
        let (length, piece) = held("\r\n".to_owned());
        add(length, piece);
    }
    let (length, piece) = held(format!("--{boundary}--\r\n"));
    add(length, piece);
    let content_type = format!("multipart/form-data; boundary={boundary}");
    Ok(Sending { content_type, size_bytes, content: stream::iter(pieces).flatten().boxed() })
}

/// What stands in no content but by chance, and in none that somebody wrote in order to add parts.
fn boundary() -> String {
    let mut random = [0; 16];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut random);
    filled.expect("the system gives random numbers");
    format!("surefoot-{}", hex::encode(random))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn part(input: Value) -> Result<Part, CallError> {
        Part::new(serde_json::from_value(input).unwrap())
    }

    #[test]
    fn a_head_says_what_the_part_is() {
        for (input, head) in [
            (json!({"name": "a", "value": 1}), "name=\"a\""),
            (json!({"name": "ä\"b\r\n", "value": "x"}), "name=\"ä%22b%0D%0A\""),
            (json!({"name": "a", "value": "{}", "content_type": "x/y"}), "name=\"a\"\r\nContent-Type: x/y"),
            (
                json!({"name": "f", "file": "surefoot:dir/a.pdf"}),
                "name=\"f\"; filename=\"dir/a.pdf\"\r\nContent-Type: application/octet-stream",
            ),
            (
                json!({"name": "f", "file": "surefoot:a", "file_name": "b\".txt", "content_type": "text/plain"}),
                "name=\"f\"; filename=\"b%22.txt\"\r\nContent-Type: text/plain",
            ),
        ] {
            assert_eq!(part(input).unwrap().head, format!("Content-Disposition: form-data; {head}"));
        }
    }

    #[test]
    fn what_is_no_part_is_refused_by_its_name() {
        for (input, says) in [
            (json!({"name": "a"}), "the part `a` of `multipart` has either"),
            (json!({"name": "a", "value": 1, "file": "surefoot:b"}), "either a `value` or a `file`"),
            (json!({"name": "a", "value": 1, "file_name": "b"}), "no `file`"),
            (json!({"name": "a", "file": "b"}), "as `surefoot:NAME`"),
            (json!({"name": "a", "value": 1, "content_type": "x\r\ny: z"}), "cannot be sent"),
        ] {
            let error = part(input.clone()).err().unwrap_or_else(|| panic!("{input} is a part"));
            assert!(error.message.contains(says), "{error}");
        }
        assert!(parts(Vec::new()).is_err());
    }

    #[test]
    fn boundaries_are_all_different() {
        let (one, two) = (boundary(), boundary());
        assert!(one != two && one.len() <= 70, "{one} {two}");
    }
}
