//! Under a database's protocol: a limit on what the server may send, and encryption of a stream that began without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use surefoot_connector_api::{CallError, ErrorClass};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::inputs::Trust;
use crate::inputs::invalid;
use crate::tls;

/// What a protocol is spoken on, whether encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream from which no more than a number of bytes can be read. The drivers have no limit of their own: one value
/// may take gigabytes.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    bytes_left: u64,
    exhausted: Arc<AtomicBool>,
}

/// Tells whether the server had sent too much.
#[derive(Debug)]
pub(crate) struct ByteLimit {
    bytes_max: u64,
    exhausted: Arc<AtomicBool>,
}

impl Metered {
    /// Lets `bytes_max` bytes of `stream` through.
    pub(crate) fn new(stream: TcpStream, bytes_max: u64) -> (Self, ByteLimit) {
        let exhausted = Arc::new(AtomicBool::new(false));
        let limit = ByteLimit { bytes_max, exhausted: Arc::clone(&exhausted) };
        (Self { stream, bytes_left: bytes_max, exhausted }, limit)
    }
}

impl ByteLimit {
    /// `error`, unless it came about because the server had sent too much.
    pub(crate) fn explain(&self, error: CallError) -> CallError {
        if !self.exhausted.load(Ordering::Relaxed) {
            return error;
        }
        let message = format!("the server sent more than {} bytes; ask for less, or raise `bytes_max`", self.bytes_max);
        CallError { class: ErrorClass::InvalidInput, message, ..error }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = (buffer.filled().len() - before) as u64;
        match self.bytes_left.checked_sub(read) {
            Some(left) => {
                self.bytes_left = left;
                Poll::Ready(Ok(()))
            }
            None => {
                self.exhausted.store(true, Ordering::Relaxed);
                Poll::Ready(Err(io::Error::other("limit of bytes reached")))
            }
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Encrypts what follows on `stream`, once the server has agreed to that. Errors are [`Sent::No`]:
/// [`ErrorClass::Untrusted`] for a certificate that `trust` does not cover.
///
/// [`Sent::No`]: surefoot_connector_api::Sent::No
pub(crate) async fn encrypt(stream: Metered, hostname: &str, trust: &Trust) -> Result<TlsStream<Metered>, CallError> {
    let name = ServerName::try_from(hostname.trim().trim_matches(['[', ']']).to_owned())
        .map_err(|_| invalid(format!("input `hostname`: `{hostname}` is neither a host name nor an address")))?;
    let config = match trust {
        Trust::Machine => tls::client_config(None)?,
        Trust::Pem(pem) => tls::client_config(Some(pem))?,
        Trust::Any => tls::unchecked_client_config()?,
    };
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    stream.map_err(|error| tls::failure(&error).unwrap_or_else(|| broken(&error)))
}

/// The server does not encrypt although the call wants it to.
pub(crate) fn no_encryption() -> CallError {
    CallError::not_sent(
        ErrorClass::Untrusted,
        "the server does not offer encryption; where it must be so, set `encrypt` to `off`",
    )
}

/// A connection that broke before a statement was sent.
pub(crate) fn broken(error: &io::Error) -> CallError {
    let (class, message) = describe_io(error.kind(), error);
    CallError::not_sent(class, message)
}

/// What an error of the stream means.
pub(crate) fn describe_io(kind: io::ErrorKind, error: &dyn std::fmt::Display) -> (ErrorClass, String) {
    match kind {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            (ErrorClass::Network, "the server closed the connection before its answer was complete".to_owned())
        }
        io::ErrorKind::InvalidData => {
            (ErrorClass::Protocol, format!("the server's answer cannot be understood: {error}"))
        }
        _ => (ErrorClass::Network, format!("the connection to the server broke: {error}")),
    }
}
