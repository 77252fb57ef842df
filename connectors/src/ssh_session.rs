//! One logged-in SSH connection, for every connector over SSH: connecting, trusting the host, logging in, opening
//! channels. What goes over a channel is the connectors' business.

mod host;
mod hostkey;

use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, decode_secret_key};
use russh::{AlgorithmKind, Channel, Disconnect, MethodSet, Preferred};
use surefoot_connector_api::{CallError, Dialer, ErrorClass};

pub(crate) use self::host::HostInputs;
use self::hostkey::{HostKeyCheck, SeenKey, TrustedKeys};
use crate::inputs::invalid;
use crate::schema::Secret;

/// How long the goodbye may take; everything is done by then.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(1);

/// A logged-in connection. Dropped, it ends.
pub(crate) struct Session {
    handle: Handle<HostKeyCheck>,
    seen: SeenKey,
    checked: bool,
}

impl Session {
    /// Connects, checks the host's key, logs in; all within the connect timeout. `work_limit` is how long the
    /// connection may be silent after that.
    pub(crate) async fn open(dialer: &Dialer, inputs: &HostInputs, work_limit: Duration) -> Result<Self, CallError> {
        if inputs.key.is_none() && inputs.password.is_none() {
            return Err(invalid("one of the inputs `key` and `password` is needed"));
        }
        let trusted = TrustedKeys::from_inputs(inputs)?;
        let key = inputs.key.as_ref().map(|key| private_key(key, inputs.passphrase.as_ref())).transpose()?;
        let limit = inputs.connect_limit();
        match tokio::time::timeout(limit, Self::establish(dialer, inputs, work_limit, trusted, key)).await {
            Ok(session) => session,
            Err(_) => {
                let message = format!("connecting and logging in took longer than {} s", limit.as_secs_f64());
                Err(CallError::not_sent(ErrorClass::Timeout, message))
            }
        }
    }

    async fn establish(
        dialer: &Dialer,
        inputs: &HostInputs,
        work_limit: Duration,
        trusted: TrustedKeys,
        key: Option<PrivateKey>,
    ) -> Result<Self, CallError> {
        let stream = dialer.connect(&inputs.hostname, inputs.port, inputs.connect_limit()).await?;
        let seen = SeenKey::default();
        let config = Arc::new(client_config(inputs.connect_limit() + work_limit, &trusted));
        let handler = HostKeyCheck { trusted, seen: seen.clone() };
        let handle = client::connect_stream(config, stream, handler).await.map_err(|error| {
            seen.rejection(&inputs.hostname).unwrap_or_else(|| failure("setting up the SSH connection", &error))
        })?;
        let mut session = Self { handle, seen, checked: inputs.hostkey_check };
        session.log_in(inputs, key).await?;
        Ok(session)
    }

    async fn log_in(&mut self, inputs: &HostInputs, key: Option<PrivateKey>) -> Result<(), CallError> {
        let mut offered = MethodSet::empty();
        if let Some(key) = key {
            match self.try_key(&inputs.username, key).await? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => offered = remaining_methods,
            }
        }
        if let Some(password) = &inputs.password {
            let attempt = self.handle.authenticate_password(inputs.username.as_str(), password.reveal());
            match attempt.await.map_err(|error| failure("logging in", &error))? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => offered = remaining_methods,
            }
        }
        if offered.is_empty() && self.handle.is_closed() {
            // The library calls a connection that breaks during the login a refusal.
            return Err(failure("logging in", &russh::Error::Disconnect));
        }
        let offered: Vec<String> = offered.iter().map(|method| <&str>::from(method).to_owned()).collect();
        let message = format!(
            "the host refused the login of `{}`; check `username` and `key` or `password` (it offers: {})",
            inputs.username,
            offered.join(", ")
        );
        Err(CallError::rejected(ErrorClass::Auth, message))
    }

    async fn try_key(&mut self, username: &str, key: PrivateKey) -> Result<AuthResult, CallError> {
        let hash = if key.algorithm().is_rsa() {
            let best = self.handle.best_supported_rsa_hash().await;
            best.map_err(|error| failure("logging in", &error))?.flatten()
        } else {
            None
        };
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        self.handle.authenticate_publickey(username, key).await.map_err(|error| failure("logging in", &error))
    }

    /// A new channel, on which nothing runs yet.
    pub(crate) async fn channel(&self) -> Result<Channel<Msg>, CallError> {
        self.handle.channel_open_session().await.map_err(|error| failure("opening a channel", &error))
    }

    /// What the output should warn of: a host key that nobody has checked.
    pub(crate) fn warning(&self) -> Option<String> {
        let fingerprint = self.seen.fingerprint().unwrap_or("unknown");
        (!self.checked).then(|| {
            format!("the host key was not checked; it is {fingerprint}: put it into `hostkey` and drop `hostkey_check`")
        })
    }

    /// Says goodbye. The outcome of the call stands already, so nothing that happens here matters to it.
    pub(crate) async fn disconnect(self) {
        let goodbye = self.handle.disconnect(Disconnect::ByApplication, "", "");
        match tokio::time::timeout(DISCONNECT_LIMIT, goodbye).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot say goodbye"),
            Err(_) => tracing::debug!("cannot say goodbye in time"),
        }
    }
}

fn client_config(silence_limit: Duration, trusted: &TrustedKeys) -> client::Config {
    let mut preferred = Preferred::default();
    if let Some(algorithms) = trusted.algorithms() {
        preferred.key = algorithms;
    }
    client::Config {
        preferred,
        // The library's task outlives a call that is dropped during the handshake; this ends it.
        inactivity_timeout: Some(silence_limit),
        ..client::Config::default()
    }
}

fn private_key(key: &Secret, passphrase: Option<&Secret>) -> Result<PrivateKey, CallError> {
    // What was pasted may have lost or won spaces at the ends of its lines.
    let text: Vec<&str> = key.reveal().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let passphrase = passphrase.map(Secret::reveal);
    // The library's own errors are left out: they are about the insides of a secret.
    decode_secret_key(&text.join("\n"), passphrase).map_err(|error| match (error, passphrase) {
        (russh::keys::Error::KeyIsEncrypted, None) => invalid("input `key` is encrypted; give `passphrase`"),
        (_, Some(_)) => invalid("input `key` is not a private key in OpenSSH or PEM form, or `passphrase` is wrong"),
        (_, None) => invalid("input `key` is not a private key in OpenSSH or PEM form"),
    })
}

/// What an error of the library means as long as nothing was asked for that changes anything. `doing` completes "while
/// …".
pub(crate) fn failure(doing: &str, error: &russh::Error) -> CallError {
    use russh::Error;
    let class = match error {
        Error::IO(_) | Error::HUP | Error::Disconnect | Error::SendError | Error::RecvError | Error::WrongChannel => {
            ErrorClass::Network
        }
        Error::ConnectionTimeout | Error::InactivityTimeout | Error::KeepaliveTimeout | Error::Elapsed(_) => {
            ErrorClass::Timeout
        }
        Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. } => ErrorClass::Untrusted,
        Error::UnknownKey | Error::WrongServerSig => ErrorClass::Untrusted,
        Error::ChannelOpenFailure(_) | Error::RequestDenied => ErrorClass::Refused,
        _ => ErrorClass::Protocol,
    };
    let message = match error {
        Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. } => {
            format!("the host has no key of the kind given in `hostkey`; it has {}", theirs.join(", "))
        }
        error => format!("the connection failed while {doing}: {error}"),
    };
    CallError::not_sent(class, message)
}
