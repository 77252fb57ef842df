//! Connecting: the dialer's stream, TLS, login, and a limit on what the server may send.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use surefoot_connector_api::{CallError, Dialer, ErrorClass};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::errors;
use super::inputs::{Encrypt, Server, Trust};

/// A logged-in connection.
pub(super) struct Session {
    pub(super) client: Client<Compat<Metered>>,
    bytes_max: u64,
    exhausted: Arc<AtomicBool>,
}

impl Session {
    /// `error`, unless it came about because the server had sent too much.
    pub(super) fn explain(&self, error: CallError) -> CallError {
        if !self.exhausted.load(Ordering::Relaxed) {
            return error;
        }
        let message = format!("the server sent more than {} bytes; ask for less, or raise `bytes_max`", self.bytes_max);
        CallError { class: ErrorClass::InvalidInput, message, ..error }
    }
}

/// Connects and logs in, all of it within `server.connect_timeout`. Every failure is [`Sent::No`].
///
/// [`Sent::No`]: surefoot_connector_api::Sent::No
pub(super) async fn connect(dialer: &Dialer, server: &Server) -> Result<Session, CallError> {
    let limit = server.connect_timeout;
    let work = async {
        let stream = dialer.connect(&server.hostname, server.port, limit).await?;
        // Requests are small and wait for an answer each.
        stream.set_nodelay(true).map_err(|error| errors::before_statement(error.into()))?;
        let exhausted = Arc::new(AtomicBool::new(false));
        let metered = Metered { stream, bytes_left: server.bytes_max, exhausted: Arc::clone(&exhausted) };
        let client = Client::connect(config(server), metered.compat_write()).await;
        let client = client.map_err(errors::before_statement)?;
        Ok(Session { client, bytes_max: server.bytes_max, exhausted })
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(CallError::not_sent(
            ErrorClass::Timeout,
            format!("the server did not complete the login within {} s; see `connect_timeout`", limit.as_secs_f64()),
        ))
    })
}

fn config(server: &Server) -> Config {
    let mut config = Config::new();
    config.host(&server.hostname);
    config.port(server.port);
    config.authentication(AuthMethod::sql_server(&server.username, server.password.reveal()));
    config.application_name("surefoot");
    if let Some(database) = &server.database {
        config.database(database);
    }
    config.encryption(match server.encrypt {
        Encrypt::Required => EncryptionLevel::Required,
        Encrypt::Login => EncryptionLevel::Off,
        Encrypt::Off => EncryptionLevel::NotSupported,
    });
    match &server.trust {
        Trust::Machine => {}
        Trust::AlsoPem(pem) => config.trust_cert_ca_bundle(pem.as_bytes()),
        Trust::Any => config.trust_cert(),
    }
    // Time is limited outside of the driver, in one place for all steps.
    config.handshake_timeout(None);
    config.command_timeout(None);
    config
}

/// A stream from which no more than a number of bytes can be read. The driver has no limit of its own: one value
/// may take 2 GiB.
#[derive(Debug)]
pub(super) struct Metered {
    stream: TcpStream,
    bytes_left: u64,
    exhausted: Arc<AtomicBool>,
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
