//! Files in both directions, streamed, and believed only when their length is right.

use std::io::ErrorKind;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use suppaftp::FtpError;
use suppaftp::tokio::{AsyncRustlsStream, TransferStream};
use surefoot_connector_api::{ByteStream, CallError, ErrorClass, FileAccess, FileSink, Sent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::FtpOutput;
use super::failure::{self, Step, within};
use super::session::Session;
use crate::remote_files::temporary_name;
use crate::tally::Tally;

/// How much is read or written at a time, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

type DataStream = TransferStream<AsyncRustlsStream>;

/// Copies a remote file into the workspace.
pub(super) async fn download(
    session: &mut Session,
    files: &dyn FileAccess,
    remote: &str,
    file: &str,
) -> Result<FtpOutput, CallError> {
    let announced = session.size(remote).await?;
    let stream = session.ftp.retr_as_stream(remote);
    let mut stream = within(session.limit, Step::Reading, "the download", stream).await?;
    let mut sink = files.write(file).await?;
    let mut tally = Tally::default();
    let broken = receive(session, &mut stream, sink.as_mut(), &mut tally).await?;
    let confirmed = within(session.limit, Step::Reading, "the download", stream.finish()).await;

    // The server's own words say more than a broken connection.
    confirmed?;
    let complete = announced == Some(tally.size_bytes());
    match (broken, announced) {
        // Many servers end a TLS data connection without a proper goodbye; then the length has to prove the end.
        (Some(error), _) if !(complete && error.kind() == ErrorKind::UnexpectedEof) => {
            return Err(failure::cut(Step::Reading, "downloading", &error));
        }
        (_, Some(announced)) if !complete => {
            let message = format!("the download ended after {} of {announced} bytes", tally.size_bytes());
            return Err(CallError::not_sent(ErrorClass::Network, message));
        }
        _ => {}
    }
    sink.finish().await?;
    Ok(transferred(tally))
}

/// Passes everything on until the end, or until the connection breaks: then the error is returned as a value.
async fn receive(
    session: &Session,
    stream: &mut DataStream,
    sink: &mut dyn FileSink,
    tally: &mut Tally,
) -> Result<Option<std::io::Error>, CallError> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        let read = tokio::time::timeout(session.limit, stream.read_buf(&mut buffer)).await;
        match read {
            Ok(Ok(0)) => return Ok(None),
            Ok(Ok(_)) => {
                let chunk = buffer.split().freeze();
                tally.add(&chunk);
                sink.write(chunk).await?;
            }
            Ok(Err(error)) => return Ok(Some(error)),
            Err(_) => return Err(failure::timed_out(Step::Reading, "waiting for data", session.limit)),
        }
    }
}

/// Copies a file of the workspace to the server: first under a temporary name, then renamed.
pub(super) async fn upload(
    session: &mut Session,
    files: &dyn FileAccess,
    file: &str,
    remote: &str,
    idempotency_key: &str,
) -> Result<FtpOutput, CallError> {
    let (size, content) = files.read(file).await?;
    let temporary = temporary_name(remote, idempotency_key);
    let mut tally = Tally::default();
    let outcome = match send(session, &temporary, content, &mut tally).await {
        Ok(()) => verify(session, &temporary, size, &tally).await,
        Err(error) => Err(error),
    };
    let outcome = match outcome {
        Ok(()) => replace(session, &temporary, remote).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => Ok(transferred(tally)),
        Err(error) => {
            remove_temporary(session, &temporary).await;
            Err(error)
        }
    }
}

async fn send(
    session: &mut Session,
    temporary: &str,
    mut content: ByteStream,
    tally: &mut Tally,
) -> Result<(), CallError> {
    let mut stream = open_for_writing(session, temporary).await?;
    while let Some(chunk) = content.next().await {
        // On an error of the file store the stream is dropped: the server keeps a part, under the temporary name.
        let chunk: Bytes = chunk?;
        for piece in chunk.chunks(CHUNK_BYTES) {
            tally.add(piece);
            match tokio::time::timeout(session.limit, stream.write_all(piece)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(why_cut(session, stream, &error).await),
                Err(_) => return Err(failure::timed_out(Step::Changing, "sending data", session.limit)),
            }
        }
    }
    within(session.limit, Step::Changing, "the upload", stream.finish()).await
}

async fn open_for_writing(session: &mut Session, temporary: &str) -> Result<DataStream, CallError> {
    let doing = "the upload";
    let limit = session.limit;
    match tokio::time::timeout(limit, session.ftp.put_with_stream(temporary)).await {
        Ok(Ok(stream)) => return Ok(stream),
        // Servers that forbid overwriting refuse what an interrupted attempt has left.
        Ok(Err(error)) if matches!(failure::reply_code(&error), Some(550 | 553)) => {
            if session.size(temporary).await?.is_none() {
                return Err(failure::failure(Step::Changing, doing, error));
            }
        }
        Ok(Err(error)) => return Err(failure::failure(Step::Changing, doing, error)),
        Err(_) => return Err(failure::timed_out(Step::Changing, doing, limit)),
    }
    session.delete(temporary).await?;
    within(limit, Step::Changing, doing, session.ftp.put_with_stream(temporary)).await
}

/// The server's own words about a data connection that broke, if it still has some; else the error itself.
async fn why_cut(session: &Session, stream: DataStream, error: &std::io::Error) -> CallError {
    match tokio::time::timeout(session.limit, stream.finish()).await {
        Ok(Err(said @ FtpError::UnexpectedResponse(_))) => failure::failure(Step::Changing, "the upload", said),
        _ => failure::cut(Step::Changing, "uploading", error),
    }
}

async fn verify(session: &mut Session, temporary: &str, size: u64, tally: &Tally) -> Result<(), CallError> {
    if tally.size_bytes() != size {
        let message = format!("the file of the workspace ended after {} of {size} bytes", tally.size_bytes());
        return Err(CallError::unknown(ErrorClass::Storage, message));
    }
    match session.size(temporary).await? {
        Some(stored) if stored != size => {
            let message = format!("the server has stored {stored} of {size} bytes");
            Err(CallError::unknown(ErrorClass::Network, message))
        }
        _ => Ok(()),
    }
}

async fn replace(session: &mut Session, temporary: &str, remote: &str) -> Result<(), CallError> {
    match session.rename(temporary, remote).await {
        // Some servers do not rename over an existing file. Without it there is a moment in which neither is there.
        Err(error) if error.sent == Sent::Rejected && session.size(remote).await?.is_some() => {
            tracing::debug!(%error, "the server does not replace files; the old one is deleted first");
            session.delete(remote).await?;
            session.rename(temporary, remote).await
        }
        other => other,
    }
}

/// Best effort: the call has failed for another reason, which is the one to report.
async fn remove_temporary(session: &mut Session, temporary: &str) {
    if let Err(error) = session.delete(temporary).await
        && error.class != ErrorClass::NotFound
    {
        tracing::warn!(%error, temporary, "a temporary file may be left at the server");
    }
}

fn transferred(tally: Tally) -> FtpOutput {
    FtpOutput { size_bytes: Some(tally.size_bytes()), sha256: Some(tally.sha256()), ..FtpOutput::default() }
}
