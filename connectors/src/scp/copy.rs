//! The SCP protocol as `scp -t` and `scp -f` have always spoken it.
//!
//! The sender gives a line (`C0644 SIZE NAME`, before it perhaps `T MTIME 0 ATIME 0`), the receiver confirms with a
//! zero
//! byte; then the content and a zero byte, again confirmed. In place of any zero byte may stand 1 or 2 and a line that
//! says what is wrong.

use bytes::Bytes;
use futures::StreamExt;
use surefoot_connector_api::{ByteStream, CallError, ErrorClass, FileAccess, FileSink, Sent};

use super::ScpOutput;
use super::inputs::ScpInputs;
use super::wire::{Sending, Wire};
use crate::inputs::invalid;
use crate::ssh_session::Session;
use crate::tally::Tally;

/// How much is read or sent at a time, in bytes.
const CHUNK_BYTES: usize = 32 * 1024;
const CONFIRM: &[u8] = &[0];

/// Copies a file of the workspace to the host.
pub(super) async fn upload(
    session: &Session,
    files: &dyn FileAccess,
    file: &str,
    remote: &str,
    inputs: &ScpInputs,
) -> Result<ScpOutput, CallError> {
    let (size, content) = files.read(file).await?;
    let mut wire = Wire::run(session, format!("scp -p -t {}", shell_argument(remote))).await?;
    confirmed(&mut wire, Stage::Harmless).await?;
    if let Some(mtime) = inputs.mtime {
        wire.say(format!("T{mtime} 0 {mtime} 0\n")).await;
        confirmed(&mut wire, Stage::Harmless).await?;
    }
    // The name counts only where the target is a directory.
    let name = file.rsplit('/').next().unwrap_or(file).replace(['\r', '\n'], "_");
    wire.say(format!("C{} {size} {name}\n", inputs.mode())).await;
    confirmed(&mut wire, Stage::Opening).await?;

    let mut tally = Tally::default();
    let sent = send_content(&mut wire, content, size, &mut tally).await?;
    confirmed(&mut wire, Stage::Writing).await?;
    if sent == Sending::Interrupted {
        let message = format!("the host confirmed the copy after {} of {size} bytes", tally.size_bytes());
        return Err(CallError::unknown(ErrorClass::Protocol, message));
    }
    wire.send_eof().await;
    expect_success(&mut wire, Stage::Writing).await?;
    let (size_bytes, mode, mtime) = (tally.size_bytes(), inputs.mode(), inputs.mtime);
    Ok(ScpOutput { size_bytes, sha256: tally.sha256(), mode, mtime, warning: None })
}

/// Sends the content and the zero byte behind it, as long as the host keeps quiet.
async fn send_content(
    wire: &mut Wire,
    mut content: ByteStream,
    size: u64,
    tally: &mut Tally,
) -> Result<Sending, CallError> {
    while let Some(chunk) = content.next().await {
        // The size has been announced already, so a store that fails now leaves a part of the file at the host.
        let mut chunk: Bytes = chunk.map_err(|error| CallError { sent: Sent::Unknown, ..error })?;
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(CHUNK_BYTES));
            tally.add(&piece);
            if tally.size_bytes() > size {
                return Err(wrong_length(tally.size_bytes(), size));
            }
            if wire.send(piece).await == Sending::Interrupted {
                return Ok(Sending::Interrupted);
            }
        }
    }
    if tally.size_bytes() != size {
        return Err(wrong_length(tally.size_bytes(), size));
    }
    Ok(wire.send(CONFIRM).await)
}

fn wrong_length(read: u64, size: u64) -> CallError {
    CallError::unknown(ErrorClass::Storage, format!("the file of the workspace has {read} bytes and not {size}"))
}

/// Copies a file from the host into the workspace.
pub(super) async fn download(
    session: &Session,
    files: &dyn FileAccess,
    remote: &str,
    file: &str,
) -> Result<ScpOutput, CallError> {
    let mut wire = Wire::run(session, format!("scp -p -f {}", shell_argument(remote))).await?;
    wire.say(CONFIRM).await;
    let header = read_header(&mut wire).await?;
    let mut sink = files.write(file).await?;
    wire.say(CONFIRM).await;
    let tally = receive_content(&mut wire, sink.as_mut(), header.size).await?;
    // A zero byte behind the content: the sender could read all of it.
    confirmed(&mut wire, Stage::Harmless).await?;
    wire.say(CONFIRM).await;
    if wire.byte().await.is_some() {
        return Err(not_scp("it sends more than the one file"));
    }
    expect_success(&mut wire, Stage::Harmless).await?;
    sink.finish().await?;
    let size_bytes = tally.size_bytes();
    Ok(ScpOutput { size_bytes, sha256: tally.sha256(), mode: header.mode, mtime: header.mtime, warning: None })
}

/// What the sender says about a file before its content.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    mode: String,
    size: u64,
    mtime: Option<u64>,
}

async fn read_header(wire: &mut Wire) -> Result<Header, CallError> {
    let mut mtime = None;
    loop {
        let kind = next_byte(wire, Stage::Harmless).await?;
        if let 1 | 2 = kind {
            return Err(complaint(wire, Stage::Harmless).await);
        }
        let Some(line) = wire.line().await else { return Err(not_scp("its answer is cut")) };
        match kind {
            b'C' => {
                let (mode, size) =
                    parse_file_line(&line).ok_or_else(|| not_scp("its answer is no header of a file"))?;
                return Ok(Header { mode, size, mtime });
            }
            b'T' => {
                let first = line.split(' ').next().and_then(|seconds| seconds.parse().ok());
                mtime = Some(first.ok_or_else(|| not_scp("its answer is no time"))?);
                wire.say(CONFIRM).await;
            }
            b'D' => return Err(invalid("input `src` is a directory; scp copies one file")),
            _ => return Err(strange_words(kind, &line)),
        }
    }
}

/// `0644 1234 name`.
fn parse_file_line(line: &str) -> Option<(String, u64)> {
    let mut words = line.splitn(3, ' ');
    let (mode, size, _name) = (words.next()?, words.next()?, words.next()?);
    let octal = mode.len() == 4 && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    octal.then_some((mode.to_owned(), size.parse().ok()?))
}

async fn receive_content(wire: &mut Wire, sink: &mut dyn FileSink, size: u64) -> Result<Tally, CallError> {
    let mut tally = Tally::default();
    while tally.size_bytes() < size {
        let left = usize::try_from(size - tally.size_bytes()).unwrap_or(usize::MAX);
        let Some(chunk) = wire.some(left.min(CHUNK_BYTES)).await else {
            let message = format!("the download ended after {} of {size} bytes", tally.size_bytes());
            return Err(wire.early_end(CallError::not_sent(ErrorClass::Network, message)).await);
        };
        tally.add(&chunk);
        sink.write(chunk).await?;
    }
    Ok(tally)
}

/// What a failure leaves open about the target.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Nothing was asked for yet that changes anything.
    Harmless,
    /// The host was asked to open the target: it may refuse; if it says nothing, it may have emptied it.
    Opening,
    /// The target is being written: whatever happens, it may be incomplete.
    Writing,
}

impl Stage {
    /// What is known when the host has complained.
    fn after_complaint(self) -> Sent {
        match self {
            Self::Harmless | Self::Opening => Sent::Rejected,
            Self::Writing => Sent::Unknown,
        }
    }

    /// What is known when the host has said nothing, or nothing that makes sense.
    fn after_silence(self) -> Sent {
        match self {
            Self::Harmless => Sent::No,
            Self::Opening | Self::Writing => Sent::Unknown,
        }
    }
}

/// Reads a confirmation.
async fn confirmed(wire: &mut Wire, stage: Stage) -> Result<(), CallError> {
    match next_byte(wire, stage).await? {
        0 => Ok(()),
        1 | 2 => Err(complaint(wire, stage).await),
        other => {
            let line = wire.line().await.unwrap_or_default();
            Err(CallError { sent: stage.after_silence(), ..strange_words(other, &line) })
        }
    }
}

async fn next_byte(wire: &mut Wire, stage: Stage) -> Result<u8, CallError> {
    if let Some(byte) = wire.byte().await {
        return Ok(byte);
    }
    let message = "the connection broke before scp at the host had answered".to_owned();
    let sent = stage.after_silence();
    Err(wire.early_end(CallError { class: ErrorClass::Network, sent, message, peer_code: None }).await)
}

/// The line that follows a 1 or 2: what is wrong, in the host's words.
async fn complaint(wire: &mut Wire, stage: Stage) -> CallError {
    let said = wire.line().await.unwrap_or_default();
    let class = if said.contains("No such file") { ErrorClass::NotFound } else { ErrorClass::Refused };
    let said = said.trim();
    let message = format!("the host refused the copy: {}", if said.is_empty() { "without a word" } else { said });
    CallError { class, sent: stage.after_complaint(), message, peer_code: None }
}

async fn expect_success(wire: &mut Wire, stage: Stage) -> Result<(), CallError> {
    match wire.ended().await {
        // Some servers do not tell; every confirmation has come, though.
        None | Some(0) => Ok(()),
        Some(status) => {
            let message = format!("scp at the host ended with status {status}: {}", wire.said());
            let sent = stage.after_complaint();
            Err(CallError { class: ErrorClass::Refused, sent, message, peer_code: Some(status.to_string()) })
        }
    }
}

fn strange_words(first: u8, rest: &str) -> CallError {
    let said = format!("{}{rest}", char::from(first));
    not_scp(&format!("it says `{said}`; a login script that prints something disturbs scp"))
}

fn not_scp(why: &str) -> CallError {
    CallError::not_sent(ErrorClass::Protocol, format!("the host does not speak scp: {why}"))
}

/// A path as one word for the host's shell. `~/` at its start is dropped, since commands begin in the home directory.
fn shell_argument(path: &str) -> String {
    let path = path.strip_prefix("~/").filter(|rest| !rest.is_empty()).unwrap_or(path);
    let separator = if path.starts_with('-') { "-- " } else { "" };
    format!("{separator}'{}'", path.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        for (path, word) in [
            ("/a/b", "'/a/b'"),
            ("/a b;rm -rf *$(x)`y`", "'/a b;rm -rf *$(x)`y`'"),
            ("it's", r"'it'\''s'"),
            ("-rf", "-- '-rf'"),
            ("~/a", "'a'"),
            ("~/", "'~/'"),
        ] {
            assert_eq!(shell_argument(path), word);
        }
    }

    #[test]
    fn headers_of_files() {
        assert_eq!(parse_file_line("0644 12 a b"), Some(("0644".into(), 12)));
        for line in ["", "0644", "0644 12", "0999 1 a", "644 1 a", "0644 -1 a", "0644 99999999999999999999 a"] {
            assert_eq!(parse_file_line(line), None, "{line}");
        }
    }
}
