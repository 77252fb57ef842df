//! Files in both directions, streamed, with several requests on the way at once, and believed only when their length is
//! right.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use russh_sftp::client::error::Error;
use russh_sftp::client::rawsession::SftpResult;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use surefoot_connector_api::{ByteStream, CallContext, CallError, ErrorClass, FileAccess, FileSink};

use super::SftpOutput;
use super::client::{Client, at};
use super::failure::{Step, failure, lost, within};
use super::inputs::SftpInputs;
use crate::remote_files::temporary_name;
use crate::tally::Tally;

/// How much is read or written by one request, in bytes: what every server takes.
const CHUNK_BYTES: u32 = 32 * 1024;
/// How many requests are on the way at once, so that the way's length costs little.
const REQUESTS_MAX: usize = 32;

/// Copies a remote file into the workspace.
pub(super) async fn download(
    client: &Client,
    files: &dyn FileAccess,
    remote: &str,
    file: &str,
) -> Result<SftpOutput, CallError> {
    let doing = "opening the file";
    let opening = client.raw.open(at(remote), OpenFlags::READ, FileAttributes::empty());
    let handle = within(client.limit, Step::Reading, doing, opening).await?.handle;
    let attributes = within(client.limit, Step::Reading, doing, client.raw.fstat(handle.as_str())).await?.attrs;
    if attributes.is_dir() {
        return Err(CallError::rejected(ErrorClass::Refused, "the path is a directory; a transfer copies one file"));
    }
    let announced = attributes.size.unwrap_or(0);
    let mut sink = files.write(file).await?;
    let tally = receive(client, &handle, announced, sink.as_mut()).await?;
    within(client.limit, Step::Reading, "closing the file", client.raw.close(handle)).await?;
    if tally.size_bytes() < announced {
        let message = format!("the download ended after {} of {announced} bytes", tally.size_bytes());
        return Err(CallError::not_sent(ErrorClass::Network, message));
    }
    sink.finish().await?;
    Ok(transferred(tally))
}

/// Passes everything on until the server says that the file has ended. Requests go beyond the announced end only once
/// all before it has come: a file may have grown, and some announce no length at all.
async fn receive(client: &Client, handle: &str, announced: u64, sink: &mut dyn FileSink) -> Result<Tally, CallError> {
    let mut tally = Tally::default();
    let mut next = 0;
    let mut answers = FuturesOrdered::new();
    loop {
        while answers.len() < REQUESTS_MAX && (next < announced || answers.is_empty()) {
            let from = next;
            next += u64::from(CHUNK_BYTES);
            answers.push_back(read_whole(client, handle, from).map(move |chunks| (from, chunks)));
        }
        let Some((from, chunks)) =
            tokio::time::timeout(client.limit, answers.next()).await.unwrap_or_else(|_| Some((0, Err(Error::Timeout))))
        else {
            return Ok(tally);
        };
        let chunks = match chunks {
            Err(Error::Timeout) => {
                let message = format!("no data came for {} s; see `socket_timeout`", client.limit.as_secs_f64());
                return Err(CallError::not_sent(ErrorClass::Timeout, message));
            }
            chunks => chunks.map_err(|error| failure(Step::Reading, "downloading", &error))?,
        };
        let length: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        debug_assert_eq!(from, tally.size_bytes(), "answers come in order");
        for chunk in chunks {
            tally.add(&chunk);
            sink.write(chunk).await?;
        }
        if length < u64::from(CHUNK_BYTES) {
            return Ok(tally);
        }
    }
}

/// The bytes from `from` on that one request asks for; fewer at the end of the file. A server may answer with a part.
async fn read_whole(client: &Client, handle: &str, from: u64) -> SftpResult<VecDeque<Bytes>> {
    let mut chunks = VecDeque::new();
    let mut got = 0;
    while got < CHUNK_BYTES {
        let data = match client.raw.read(handle, from + u64::from(got), CHUNK_BYTES - got).await {
            Ok(answer) => answer.data,
            Err(Error::Status(status)) if status.status_code == StatusCode::Eof => break,
            Err(error) => return Err(error),
        };
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if length == 0 || length > CHUNK_BYTES - got {
            return Err(Error::UnexpectedPacket);
        }
        got += length;
        chunks.push_back(Bytes::from(data));
    }
    Ok(chunks)
}

/// Copies a file of the workspace to the server: first under a temporary name, then renamed.
pub(super) async fn upload(
    client: &Client,
    context: &CallContext<'_>,
    file: &str,
    remote: &str,
    inputs: &SftpInputs,
) -> Result<SftpOutput, CallError> {
    let (size, content) = context.files.read(file).await?;
    let temporary = temporary_name(remote, context.idempotency_key);
    let outcome = match send(client, &temporary, size, content, inputs).await {
        Ok(tally) => client.replace(&temporary, remote).await.map(|()| tally),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(tally) => Ok(transferred(tally)),
        Err(error) => {
            remove_temporary(client, &temporary).await;
            Err(error)
        }
    }
}

async fn send(
    client: &Client,
    temporary: &str,
    size: u64,
    content: ByteStream,
    inputs: &SftpInputs,
) -> Result<Tally, CallError> {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let permissions = FileAttributes { permissions: Some(inputs.permissions()), ..FileAttributes::empty() };
    let opening = client.raw.open(at(temporary), flags, permissions.clone());
    let handle = within(client.limit, Step::Changing, "opening the file to write", opening).await?.handle;
    let tally = send_content(client, &handle, content).await?;
    if tally.size_bytes() != size {
        let message = format!("the file of the workspace ended after {} of {size} bytes", tally.size_bytes());
        return Err(CallError::unknown(ErrorClass::Storage, message));
    }
    let doing = "finishing the upload";
    // The file may be there from an attempt before this one, and then keeps its permissions.
    let attributes = FileAttributes { mtime: inputs.mtime, atime: inputs.mtime, ..permissions };
    within(client.limit, Step::Changing, doing, client.raw.fsetstat(handle.as_str(), attributes)).await?;
    let stored = within(client.limit, Step::Changing, doing, client.raw.fstat(handle.as_str())).await?.attrs.size;
    if stored.is_some_and(|stored| stored != size) {
        let message = format!("the server has stored {} of {size} bytes", stored.unwrap_or_default());
        return Err(CallError::unknown(ErrorClass::Network, message));
    }
    within(client.limit, Step::Changing, doing, client.raw.close(handle)).await?;
    Ok(tally)
}

async fn send_content(client: &Client, handle: &str, mut content: ByteStream) -> Result<Tally, CallError> {
    let mut tally = Tally::default();
    let mut answers = FuturesOrdered::new();
    while let Some(chunk) = content.next().await {
        let chunk: Bytes = chunk.map_err(|error| lost(Step::Changing, error.class, error.message))?;
        for piece in chunk.chunks(CHUNK_BYTES as usize) {
            if answers.len() == REQUESTS_MAX {
                confirmed(client, &mut answers).await?;
            }
            answers.push_back(
                client.raw.write(handle, tally.size_bytes(), piece.to_vec()).map(|answer| answer.map(|_| ())),
            );
            tally.add(piece);
        }
    }
    while !answers.is_empty() {
        confirmed(client, &mut answers).await?;
    }
    Ok(tally)
}

/// Waits for the oldest confirmation.
async fn confirmed(
    client: &Client,
    answers: &mut FuturesOrdered<impl Future<Output = SftpResult<()>>>,
) -> Result<(), CallError> {
    let answer = async { answers.next().await.unwrap_or(Ok(())) };
    within(client.limit, Step::Changing, "uploading", answer).await
}

/// Best effort: the call has failed for another reason, which is the one to report.
async fn remove_temporary(client: &Client, temporary: &str) {
    if let Err(error) = client.delete(temporary).await
        && error.class != ErrorClass::NotFound
    {
        tracing::warn!(%error, temporary, "a temporary file may be left at the server");
    }
}

fn transferred(tally: Tally) -> SftpOutput {
    SftpOutput { size_bytes: Some(tally.size_bytes()), sha256: Some(tally.sha256()), ..SftpOutput::default() }
}
