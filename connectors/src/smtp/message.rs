//! The text of a mail. Headers and bodies stand in memory; attachments stay streams from the workspace's file store
//! and are put into base64 while they are sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use futures::StreamExt;
use lettre::address::{Address, Envelope};
use lettre::message::header::{ContentDisposition, ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{MultiPart, SinglePart};
use sha2::{Digest, Sha256};
use surefoot_connector_api::{ByteStream, CallError, ErrorClass, FileAccess};

use super::inputs::Mail;
use crate::inputs::invalid;

/// Bytes that make one line of 76 characters in base64.
const LINE_BYTES: usize = 57;
/// Headers that have an input of their own, or that follow from the others.
const RESERVED_HEADERS: &[&str] = &[
    "bcc",
    "cc",
    "date",
    "from",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
];

/// A mail, ready to be sent.
pub(super) struct Message {
    /// With its angle brackets.
    pub(super) message_id: String,
    pub(super) from: Option<Address>,
    pub(super) recipients: Vec<Address>,
    /// Length in bytes, before dots are doubled.
    pub(super) size_bytes: u64,
    /// What comes before the attachments; all of the mail when there are none.
    head: Vec<u8>,
    attachments: Vec<Attachment>,
    /// What ends the last part.
    tail: Vec<u8>,
}

struct Attachment {
    name: String,
    header: Vec<u8>,
    size_bytes: u64,
    content: ByteStream,
}

impl Message {
    /// Puts the mail together and opens its attachments.
    pub(super) async fn compose(mail: &Mail, files: &dyn FileAccess, key: &str) -> Result<Self, CallError> {
        // The key is a secret and the header is not; the digest tells the mail and nothing of the key.
        let digest = hex::encode(&Sha256::digest(format!("surefoot smtp {key}"))[..16]);
        let message_id = format!("<{digest}@{}>", mail.from.email.domain());
        let boundary = format!("surefoot-{digest}");
        let attachments = open_attachments(mail, files, &boundary).await?;
        let (envelope, mut head) = text_of(mail, &message_id, &boundary, !attachments.is_empty())?;
        let tail = format!("--{boundary}--\r\n").into_bytes();
        if !attachments.is_empty() {
            // What was made is complete in itself; its end moves behind the attachments.
            head.truncate(head.len() - tail.len());
        }
        let tail = if attachments.is_empty() { Vec::new() } else { tail };
        let size_of = |part: &Attachment| part.header.len() as u64 + encoded_bytes(part.size_bytes);
        let size_bytes = (head.len() + tail.len()) as u64 + attachments.iter().map(size_of).sum::<u64>();
        let (from, recipients) = (envelope.from().cloned(), envelope.to().to_vec());
        Ok(Self { message_id, from, recipients, size_bytes, head, attachments, tail })
    }

    /// Whether an address has letters beyond ASCII, which the server must be able to take.
    pub(super) fn needs_utf8(&self) -> bool {
        let ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        !self.from.iter().chain(&self.recipients).all(ascii)
    }

    /// The parts of the mail in order.
    pub(super) fn into_parts(self) -> impl Iterator<Item = Part> {
        let attachments = self.attachments.into_iter().flat_map(|attachment| {
            let Attachment { name, header, size_bytes, content } = attachment;
            let encoder = Encoder { name, content, bytes_left: size_bytes, carry: BytesMut::new() };
            [Part::Text(header), Part::File(encoder)]
        });
        std::iter::once(Part::Text(self.head)).chain(attachments).chain(std::iter::once(Part::Text(self.tail)))
    }
}

/// A piece of a mail.
pub(super) enum Part {
    Text(Vec<u8>),
    File(Encoder),
}

/// A file on its way into base64.
pub(super) struct Encoder {
    name: String,
    content: ByteStream,
    bytes_left: u64,
    carry: BytesMut,
}

impl Encoder {
    /// The next lines; none at the end of the file. A file that is not as long as was said is [`ErrorClass::Storage`].
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, CallError> {
        while let Some(chunk) = self.content.next().await {
            let chunk = chunk?;
            let wrong = || wrong_length(&self.name);
            self.bytes_left = self.bytes_left.checked_sub(chunk.len() as u64).ok_or_else(wrong)?;
            self.carry.extend_from_slice(&chunk);
            let whole_lines = self.carry.len() / LINE_BYTES * LINE_BYTES;
            if whole_lines > 0 {
                return Ok(Some(lines(&self.carry.split_to(whole_lines))));
            }
        }
        if self.bytes_left > 0 {
            return Err(wrong_length(&self.name));
        }
        let rest = self.carry.split();
        Ok((!rest.is_empty()).then(|| lines(&rest)))
    }
}

fn wrong_length(name: &str) -> CallError {
    CallError::not_sent(ErrorClass::Storage, format!("file `{name}` is not as long as the file store says"))
}

fn lines(bytes: &[u8]) -> Vec<u8> {
    let mut text = String::with_capacity(bytes.len().div_ceil(LINE_BYTES) * 78);
    for line in bytes.chunks(LINE_BYTES) {
        STANDARD.encode_string(line, &mut text);
        text.push_str("\r\n");
    }
    text.into_bytes()
}

/// How long `bytes` become in base64, with line ends.
fn encoded_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4 + bytes.div_ceil(LINE_BYTES as u64) * 2
}

async fn open_attachments(mail: &Mail, files: &dyn FileAccess, boundary: &str) -> Result<Vec<Attachment>, CallError> {
    let mut found = Vec::with_capacity(mail.attachments.len());
    let mut total_bytes = 0_u64;
    for name in &mail.attachments {
        let (size_bytes, content) = files.read(name).await?;
        total_bytes = total_bytes.saturating_add(size_bytes);
        if total_bytes > mail.attachments_bytes_max {
            return Err(invalid(format!(
                "the attachments up to `{name}` have {total_bytes} bytes, more than the {} of `attachments_bytes_max`",
                mail.attachments_bytes_max
            )));
        }
        let shown = name.rsplit('/').next().unwrap_or(name);
        let part = SinglePart::builder()
            .header(ContentType::parse("application/octet-stream").map_err(|error| invalid(error.to_string()))?)
            .header(ContentDisposition::attachment(shown))
            .header(ContentTransferEncoding::Base64)
            .body(Vec::new());
        // An empty body is an empty line, so that the boundary after it stands alone.
        let empty = if size_bytes == 0 { "\r\n" } else { "" };
        let header = format!("--{boundary}\r\n{}\r\n{empty}", part.headers()).into_bytes();
        found.push(Attachment { name: name.clone(), header, size_bytes, content });
    }
    Ok(found)
}

/// Envelope and text without attachments; with `mixed` as a list of parts to which more can be added.
fn text_of(mail: &Mail, message_id: &str, boundary: &str, mixed: bool) -> Result<(Envelope, Vec<u8>), CallError> {
    let mut builder = lettre::Message::builder().from(mail.from.clone()).message_id(Some(message_id.to_owned()));
    builder = mail.to.iter().cloned().fold(builder, |builder, mailbox| builder.to(mailbox));
    builder = mail.cc.iter().cloned().fold(builder, |builder, mailbox| builder.cc(mailbox));
    builder = mail.bcc.iter().cloned().fold(builder, |builder, mailbox| builder.bcc(mailbox));
    builder = mail.reply_to.iter().cloned().fold(builder, |builder, mailbox| builder.reply_to(mailbox));
    if let Some(subject) = &mail.subject {
        builder = builder.subject(one_line("subject", subject)?);
    }
    for (name, value) in &mail.headers {
        builder = builder.raw_header(header(name, value)?);
    }
    let message = match (&mail.text, &mail.html) {
        (Some(text), Some(html)) => {
            let both = MultiPart::alternative()
                .boundary(format!("{boundary}-body"))
                .singlepart(SinglePart::plain(text.clone()))
                .singlepart(SinglePart::html(html.clone()));
            let whole = MultiPart::mixed().boundary(boundary);
            builder.multipart(if mixed { whole.multipart(both) } else { both })
        }
        (text, html) => {
            let body = match html {
                Some(html) => SinglePart::html(html.clone()),
                None => SinglePart::plain(text.clone().unwrap_or_default()),
            };
            if mixed {
                builder.multipart(MultiPart::mixed().boundary(boundary).singlepart(body))
            } else {
                builder.singlepart(body)
            }
        }
    };
    let message = message.map_err(|error| invalid(format!("the mail cannot be put together: {error}")))?;
    Ok((message.envelope().clone(), message.formatted()))
}

fn header(name: &str, value: &str) -> Result<HeaderValue, CallError> {
    let lower = name.to_ascii_lowercase();
    if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("content-") {
        return Err(invalid(format!("input `headers`: `{name}` is made by the connector")));
    }
    let printable = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    let name = HeaderName::new_from_ascii(name.to_owned()).ok().filter(|_| printable);
    let name = name.ok_or_else(|| invalid("input `headers`: a name must be printable ASCII without a colon"))?;
    Ok(HeaderValue::new(name, one_line("headers", value)?))
}

/// A line end in a header would end the header.
fn one_line(input: &str, text: &str) -> Result<String, CallError> {
    if text.contains(['\r', '\n', '\0']) {
        return Err(invalid(format!("input `{input}` must be one line")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::stream;

    async fn encoded(size_bytes: u64, chunks: &[&'static [u8]]) -> Result<Vec<u8>, CallError> {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
        let content = stream::iter(chunks).boxed();
        let mut encoder = Encoder { name: "f".into(), content, bytes_left: size_bytes, carry: BytesMut::new() };
        let mut text = Vec::new();
        while let Some(lines) = encoder.next().await? {
            text.extend(lines);
        }
        Ok(text)
    }

    #[tokio::test]
    async fn a_file_becomes_lines_of_base64_whatever_its_chunks() {
        let bytes: &'static [u8] = &[7; 200];
        let whole = encoded(200, &[bytes]).await.unwrap();
        assert_eq!(encoded(200, &[&bytes[..1], &bytes[1..60], &bytes[60..]]).await.unwrap(), whole);
        assert_eq!(whole.len() as u64, encoded_bytes(200));
        let text = String::from_utf8(whole).unwrap();
        assert!(text.lines().all(|line| line.len() <= 76) && text.ends_with("\r\n"));
        assert_eq!(STANDARD.decode(text.replace("\r\n", "")).unwrap(), bytes);
        assert!(encoded(0, &[]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_file_of_the_wrong_length_is_an_error_before_the_mail_ends() {
        for (size_bytes, chunks) in [(3, &[b"four".as_slice()]), (5, &[b"four".as_slice()])] {
            let error = encoded(size_bytes, chunks).await.expect_err("wrong length");
            assert_eq!(error.class, ErrorClass::Storage);
        }
    }

    #[test]
    fn headers_cannot_be_smuggled_in() {
        assert!(header("X-Check", "plain").is_ok());
        assert!(header("Bcc", "x@y.z").is_err_and(|error| error.message.contains("made by the connector")));
        assert!(header("content-type", "text/html").is_err());
        assert!(header("X-A", "b\r\nBcc: x@y.z").is_err_and(|error| error.message.contains("one line")));
        assert!(header("X A", "b").is_err());
        assert!(header("X:A", "b").is_err());
    }
}
