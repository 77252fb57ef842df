//! Lines and replies on a stream that may become encrypted. Knows the form of the protocol, not its order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use surefoot_connector_api::{CallError, ErrorClass};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::inputs::invalid;
use crate::tls;

/// RFC 5321 allows 512 bytes; some servers greet at length.
const LINE_BYTES_MAX: u64 = 4_096;
const REPLY_LINES_MAX: usize = 256;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The connection to a mail server.
pub(super) struct Wire {
    stream: BufReader<BufWriter<Box<dyn Stream>>>,
    local_address: SocketAddr,
}

/// A reply of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) lines: Vec<String>,
}

impl Reply {
    /// Whether the server agrees (2xx) or waits for more (3xx).
    pub(super) fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// Code and text in one line.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.join(" ")).trim_end().to_owned()
    }

    /// The refusal that a negative reply is; it is certain that the server did not do what it was asked for.
    pub(super) fn refusal(&self, what: &str) -> CallError {
        let class = match self.code {
            // Too weak, failed, required, no encryption.
            530 | 534 | 535 | 538 => ErrorClass::Auth,
            // The service is closing down.
            421 => ErrorClass::Network,
            _ => ErrorClass::Refused,
        };
        CallError::rejected(class, format!("the server refused {what}: {}", self.text())).with_peer_code(self.code)
    }
}

impl Wire {
    /// Takes a fresh connection.
    pub(super) fn new(stream: TcpStream) -> Result<Self, CallError> {
        let local_address = stream.local_addr().map_err(broken)?;
        // Commands are small and wait for an answer each.
        stream.set_nodelay(true).map_err(broken)?;
        Ok(Self { stream: buffered(Box::new(stream)), local_address })
    }

    /// Where the connection starts, in the form that `EHLO` wants.
    pub(super) fn own_name(&self) -> String {
        match self.local_address {
            SocketAddr::V4(address) => format!("[{}]", address.ip()),
            SocketAddr::V6(address) => format!("[IPv6:{}]", address.ip()),
        }
    }

    /// Encrypts what follows.
    pub(super) async fn encrypt(self, hostname: &str, server_ca: Option<&str>) -> Result<Self, CallError> {
        // What came unencrypted after the server agreed to encrypt was put in by somebody else.
        if !self.stream.buffer().is_empty() {
            return Err(protocol("the server sent more than its answer to STARTTLS"));
        }
        let name = ServerName::try_from(hostname.trim_matches(['[', ']']).to_owned())
            .map_err(|_| invalid(format!("input `hostname`: `{hostname}` is neither a host name nor an address")))?;
        let config = tls::client_config(server_ca)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, self.stream.into_inner().into_inner()).await;
        Ok(Self { stream: buffered(Box::new(stream.map_err(tls_failed)?)), local_address: self.local_address })
    }

    /// Sends a command and reads its reply. `command` has no line end.
    pub(super) async fn command(&mut self, command: &str) -> Result<Reply, CallError> {
        self.write(command.as_bytes()).await?;
        self.write(b"\r\n").await?;
        self.flush().await?;
        self.reply().await
    }

    /// Queues bytes.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        self.stream.write_all(bytes).await.map_err(broken)
    }

    /// Sends what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), CallError> {
        self.stream.flush().await.map_err(broken)
    }

    /// Reads a reply of one or several lines.
    pub(super) async fn reply(&mut self) -> Result<Reply, CallError> {
        let mut lines = Vec::new();
        let mut code = None;
        loop {
            let line = self.line().await?;
            let (its_code, last, text) = parse_line(&line)
                .ok_or_else(|| protocol(format!("the server's answer is no reply of SMTP: `{line}`")))?;
            if *code.get_or_insert(its_code) != its_code {
                return Err(protocol("the lines of the server's answer have different codes"));
            }
            lines.push(text.to_owned());
            if last {
                return Ok(Reply { code: its_code, lines });
            }
            if lines.len() == REPLY_LINES_MAX {
                return Err(protocol("the server's answer does not end"));
            }
        }
    }

    async fn line(&mut self) -> Result<String, CallError> {
        let mut bytes = Vec::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).await.map_err(broken)?;
        if bytes.last() != Some(&b'\n') {
            return Err(if bytes.len() as u64 == LINE_BYTES_MAX {
                protocol("a line of the server's answer does not end")
            } else {
                network("the server closed the connection before its answer was complete")
            });
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn buffered(stream: Box<dyn Stream>) -> BufReader<BufWriter<Box<dyn Stream>>> {
    BufReader::new(BufWriter::new(stream))
}

/// Code, whether it is the last line, and text.
fn parse_line(line: &str) -> Option<(u16, bool, &str)> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let code = digits.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.as_bytes().first() {
        None => Some((code, true, "")),
        Some(b' ') => Some((code, true, &rest[1..])),
        Some(b'-') => Some((code, false, &rest[1..])),
        Some(_) => None,
    }
}

fn network(message: impl Into<String>) -> CallError {
    CallError::not_sent(ErrorClass::Network, message)
}

fn protocol(message: impl Into<String>) -> CallError {
    CallError::not_sent(ErrorClass::Protocol, message)
}

fn broken(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            network("the server closed the connection before its answer was complete")
        }
        _ => network(format!("the connection to the server broke: {error}")),
    }
}

fn tls_failed(error: io::Error) -> CallError {
    tls::failure(&error).unwrap_or_else(|| broken(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_three_digits_and_a_sign() {
        assert_eq!(parse_line("250 ok then"), Some((250, true, "ok then")));
        assert_eq!(parse_line("250-SIZE 10"), Some((250, false, "SIZE 10")));
        assert_eq!(parse_line("354"), Some((354, true, "")));
        for line in ["", "25", "2x0 ok", "HTTP/1.1 400", "+50 ok", "100 x", "999 x", "250ok", "äöü 1"] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }
}
