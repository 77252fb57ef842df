//! A stream to the server of one hop, with TLS, that notices when nothing moves and when the first byte leaves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::pki_types::ServerName;
use surefoot_connector_api::{CallError, Dialer, ErrorClass};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsConnector;

use super::fate::Begun;
use super::inputs::Plan;
use super::redirect::Hop;
use crate::inputs::invalid;
use crate::tls::{self, Identity};

/// Plain or encrypted.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects, and encrypts where the address says so, within the connect timeout. Every error is
/// [`Sent::No`](surefoot_connector_api::Sent::No), as far as this hop is concerned.
pub(super) async fn open(dialer: &Dialer, plan: &Plan, hop: &Hop, begun: Begun) -> Result<Watched, CallError> {
    let limit = plan.connect_limit;
    let stream = tokio::time::timeout(limit, connect(dialer, plan, hop)).await.unwrap_or_else(|_| {
        let message = format!("connecting took longer than {} s; see `connect_timeout`", limit.as_secs_f64());
        Err(CallError::not_sent(ErrorClass::Timeout, message))
    })?;
    Ok(Watched { stream, begun, limit: plan.socket_limit, idle: Box::pin(tokio::time::sleep(limit)), waiting: false })
}

async fn connect(dialer: &Dialer, plan: &Plan, hop: &Hop) -> Result<Box<dyn Stream>, CallError> {
    let host = hop.url.host_str().ok_or_else(|| invalid("the address names no host"))?;
    let port = hop.url.port_or_known_default().ok_or_else(|| invalid("the address names no port"))?;
    if hop.url.scheme() != "https" {
        return Ok(Box::new(dialer.connect(host, port, plan.connect_limit).await?));
    }
    // Before the connection, so that an unusable certificate costs none.
    let identity = plan.identity.as_ref().filter(|_| hop.trusted);
    let identity = identity.map(|(certificate, key)| Identity { certificate, key });
    let mut config = tls::client_config_as(plan.server_ca.as_deref(), identity)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| invalid(format!("`{host}` is neither a host name nor an address")))?;
    let stream = dialer.connect(host, port, plan.connect_limit).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(Box::new(stream.map_err(|error| {
        tls::failure(&error).unwrap_or_else(|| {
            CallError::not_sent(ErrorClass::Network, format!("the connection broke during the TLS handshake: {error}"))
        })
    })?))
}

/// A stream that fails with [`io::ErrorKind::TimedOut`] when no byte has moved for a while although one could.
pub(super) struct Watched {
    stream: Box<dyn Stream>,
    begun: Begun,
    limit: Duration,
    idle: Pin<Box<Sleep>>,
    /// Whether `idle` runs: the last attempt to read or write had to wait.
    waiting: bool,
}

impl Watched {
    fn moved(&mut self) {
        self.waiting = false;
    }

    /// Nothing moves at the moment. Ready when that has lasted too long.
    fn stuck(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if !self.waiting {
            self.waiting = true;
            self.idle.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.idle.as_mut().poll(context));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                self.moved();
                Poll::Ready(result)
            }
            Poll::Pending => self.stuck(cx).map(Err),
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(result) => {
                if matches!(result, Ok(written) if written > 0) {
                    self.begun.set();
                }
                self.moved();
                Poll::Ready(result)
            }
            Poll::Pending => self.stuck(cx).map(Err),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.stuck(cx).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
