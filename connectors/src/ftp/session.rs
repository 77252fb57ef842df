//! One logged-in session: connecting, encrypting, logging in, and the commands without a data connection.

use std::sync::Arc;
use std::time::Duration;

use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::types::{FileType, Mode};
use suppaftp::{Encoding, FtpError, Status};
use surefoot_connector_api::{CallError, CompanionDialer, Dialer, ErrorClass};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::{self, Step, within};
use super::implicit;
use super::inputs::{FtpInputs, NameEncoding, Tls};
use crate::tls;

/// How long the goodbye may take; everything is done by then.
const QUIT_LIMIT: Duration = Duration::from_secs(1);
/// What servers answer to a command that they do not know, or not with such arguments.
const NOT_IMPLEMENTED: [u16; 4] = [500, 501, 502, 504];

/// A logged-in session in binary, passive mode.
pub(super) struct Session {
    pub(super) ftp: AsyncRustlsFtpStream,
    pub(super) encoding: NameEncoding,
    /// How long the server may take for each answer, read and write.
    pub(super) limit: Duration,
}

impl Session {
    /// Connects, encrypts where asked to, logs in.
    pub(super) async fn open(dialer: &Dialer, inputs: &FtpInputs) -> Result<Self, CallError> {
        let limit = inputs.socket_limit();
        let tls = match inputs.tls {
            Tls::None => None,
            // Before anything is sent, so that an unusable `server_ca` costs no connection.
            Tls::Explicit | Tls::Implicit => Some(Arc::new(tls::client_config(inputs.server_ca.as_deref())?)),
        };
        let control = dialer.connect(&inputs.hostname, inputs.port(), inputs.connect_limit()).await?;
        let peer_is_ipv6 = control.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_ipv6());
        let companion = dialer.companion(&control)?;

        let domain = inputs.hostname.trim_matches(['[', ']']);
        // One configuration for all connections: servers want data connections to resume the control's TLS session.
        let connector = tls.map(|config| AsyncRustlsConnector::from(TlsConnector::from(config)));
        let ftp = match connector {
            Some(connector) if inputs.tls == Tls::Implicit => {
                let connecting = implicit::connect(control, connector, domain);
                let mut ftp = within(limit, Step::Tls, "beginning with TLS", connecting).await?;
                let protecting = implicit::protect_data(&mut ftp);
                within(limit, Step::Tls, "encrypting data connections", protecting).await?;
                ftp
            }
            connector => {
                let greeting = AsyncRustlsFtpStream::connect_with_stream(control);
                let ftp = within(limit, Step::Greeting, "waiting for the server's greeting", greeting).await?;
                match connector {
                    Some(connector) => {
                        let secured = ftp.into_secure(connector, domain);
                        within(limit, Step::Tls, "switching to TLS", secured).await?
                    }
                    None => ftp,
                }
            }
        };
        let mut ftp = with_own_data_connections(ftp, companion, inputs.connect_limit(), peer_is_ipv6);
        ftp.set_encoding(inputs.encoding).await;
        let mut session = Self { ftp, encoding: inputs.encoding, limit };
        session.log_in(inputs).await?;
        Ok(session)
    }

    async fn log_in(&mut self, inputs: &FtpInputs) -> Result<(), CallError> {
        let password = inputs.password.as_ref().map_or("", |password| password.reveal());
        let login = self.ftp.login(inputs.username.as_str(), password);
        within(self.limit, Step::Login, "the login", login).await.map_err(|mut error| {
            // A server may quote what it got.
            if !password.is_empty() {
                error.message = error.message.replace(password, "***");
            }
            error
        })?;
        if inputs.encoding == NameEncoding::Utf8 && inputs.files.sends_special_characters() {
            // Some servers speak UTF-8 only when asked; most others do not know the command, and speak it anyway.
            self.optional("choosing UTF-8", "OPTS UTF8 ON", &[Status::CommandOk, Status::CommandNotImplemented])
                .await?;
        }
        within(self.limit, Step::Reading, "choosing binary mode", self.ftp.transfer_type(FileType::Binary)).await
    }

    /// Sends a command that the server need not know. Whether it did it.
    async fn optional(&mut self, doing: &str, command: &str, fine: &[Status]) -> Result<bool, CallError> {
        let answer = tokio::time::timeout(self.limit, self.ftp.custom_command(command, fine)).await;
        match answer {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(error)) if failure::reply_code(&error).is_some_and(|code| code >= 400) => Ok(false),
            Ok(Err(error)) => Err(failure::failure(Step::Reading, doing, error)),
            Err(_) => Err(failure::timed_out(Step::Reading, doing, self.limit)),
        }
    }

    /// Length of a file; none where the server cannot tell, or has no such file.
    pub(super) async fn size(&mut self, path: &str) -> Result<Option<u64>, CallError> {
        let doing = "asking for the length of the file";
        match tokio::time::timeout(self.limit, self.ftp.size(path)).await {
            Ok(Ok(size)) => Ok(Some(size as u64)),
            Ok(Err(error)) if failure::reply_code(&error).is_some_and(|code| code != 421 && code >= 400) => Ok(None),
            Ok(Err(error)) => Err(failure::failure(Step::Reading, doing, error)),
            Err(_) => Err(failure::timed_out(Step::Reading, doing, self.limit)),
        }
    }

    /// Removes a file, or, where the path ends with `/`, an empty directory.
    pub(super) async fn delete(&mut self, path: &str) -> Result<(), CallError> {
        match path.strip_suffix('/') {
            Some(directory) if !directory.is_empty() => {
                within(self.limit, Step::Changing, "deleting the directory", self.ftp.rmdir(directory)).await
            }
            _ => within(self.limit, Step::Changing, "deleting the file", self.ftp.rm(path)).await,
        }
    }

    /// Gives a file or directory another path.
    pub(super) async fn rename(&mut self, from: &str, to: &str) -> Result<(), CallError> {
        // Two steps, since only the second one changes anything.
        let first = self.ftp.custom_command(format!("RNFR {from}"), &[Status::RequestFilePending]);
        within(self.limit, Step::Reading, "renaming the file", first).await?;
        let fine = [Status::RequestedFileActionOk, Status::CommandOk];
        let second = self.ftp.custom_command(format!("RNTO {to}"), &fine);
        within(self.limit, Step::Changing, "renaming the file", second).await.map(|_| ())
    }

    /// Makes a directory.
    pub(super) async fn mkdir(&mut self, path: &str) -> Result<(), CallError> {
        within(self.limit, Step::Changing, "making the directory", self.ftp.mkdir(path)).await
    }

    /// Says goodbye. The outcome of the call stands already, so nothing that happens here matters to it.
    pub(super) async fn quit(mut self) {
        match tokio::time::timeout(self.limit.min(QUIT_LIMIT), self.ftp.quit()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the server did not say goodbye"),
            Err(_) => tracing::debug!("the server did not say goodbye in time"),
        }
    }
}

/// Whether the server does not know a command at all, so that another one may do.
pub(super) fn is_unknown_command(error: &FtpError) -> bool {
    failure::reply_code(error).is_some_and(|code| NOT_IMPLEMENTED.contains(&code))
}

/// Data connections are made by the dialer and go to the control peer, whatever address the server names.
fn with_own_data_connections(
    ftp: AsyncRustlsFtpStream,
    companion: CompanionDialer,
    limit: Duration,
    peer_is_ipv6: bool,
) -> AsyncRustlsFtpStream {
    let mut ftp = ftp.passive_stream_builder(move |address| {
        Box::pin(async move {
            let connected: Result<TcpStream, CallError> = companion.connect(address.port(), limit).await;
            connected.map_err(|error| FtpError::ConnectionError(std::io::Error::other(error)))
        })
    });
    ftp.set_passive_nat_workaround(true);
    // PASV can name IPv4 addresses only.
    ftp.set_mode(if peer_is_ipv6 { Mode::ExtendedPassive } else { Mode::Passive });
    ftp
}

impl Encoding for NameEncoding {
    fn decode(&self, bytes: &[u8]) -> String {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Latin1 => bytes.iter().copied().map(char::from).collect(),
        }
    }

    fn encode(&self, text: &str) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Utf8 => Ok(text.as_bytes().to_vec()),
            Self::Latin1 => text.chars().map(|character| u8::try_from(character).map_err(|_| not_latin1())).collect(),
        }
    }
}

fn not_latin1() -> std::io::Error {
    let error = CallError::not_sent(ErrorClass::InvalidInput, "a name has a character that latin-1 cannot express");
    std::io::Error::other(error)
}
