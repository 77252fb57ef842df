//! A control connection that is encrypted from its first byte (implicit TLS).

use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream, AsyncRustlsStream, AsyncTlsConnector};
use suppaftp::{FtpError, FtpResult, Status};
use tokio::net::{TcpListener, TcpStream};

/// Encrypts `control` and reads the server's greeting; data connections will be encrypted, too.
///
/// Where TLS comes first the library insists on connecting by itself. So that the connection is the dialer's all the
/// same, the library connects to a socket of our own, which goes nowhere, and `control` takes its place before a byte
/// is sent.
pub(super) async fn connect(
    control: TcpStream,
    connector: AsyncRustlsConnector,
    domain: &str,
) -> FtpResult<AsyncRustlsFtpStream> {
    let nowhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(FtpError::ConnectionError)?;
    let address = nowhere.local_addr().map_err(FtpError::ConnectionError)?;
    let connector = ControlFirst { control: Mutex::new(Some(control)), connector };
    AsyncRustlsFtpStream::connect_secure_implicit(address, connector, domain).await
}

/// Asks for encrypted data connections (RFC 4217), which the library does for explicit TLS only.
pub(super) async fn protect_data(ftp: &mut AsyncRustlsFtpStream) -> FtpResult<()> {
    for command in ["PBSZ 0", "PROT P"] {
        ftp.custom_command(command, &[Status::CommandOk]).await?;
    }
    Ok(())
}

/// Encrypts the control connection in place of the first stream that it gets, and after that what it gets.
#[derive(Debug)]
struct ControlFirst {
    control: Mutex<Option<TcpStream>>,
    connector: AsyncRustlsConnector,
}

#[async_trait]
impl AsyncTlsConnector for ControlFirst {
    type Stream = AsyncRustlsStream;

    async fn connect(&self, domain: &str, stream: TcpStream) -> FtpResult<AsyncRustlsStream> {
        let control = self.control.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.connector.connect(domain, control.unwrap_or(stream)).await
    }
}
