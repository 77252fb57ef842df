//! Connecting: the dialer's stream, TLS, login.

use surefoot_connector_api::{CallError, Dialer};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::errors;
use super::inputs::{Encrypt, Server};
use crate::sql;
use crate::sql::inputs::Trust;
use crate::sql::stream::{ByteLimit, Metered};

/// A logged-in connection.
pub(super) struct Session {
    pub(super) client: Client<Compat<Metered>>,
    pub(super) limit: ByteLimit,
}

/// Connects and logs in, all of it within `server.connect_timeout`. Every failure is [`Sent::No`].
///
/// [`Sent::No`]: surefoot_connector_api::Sent::No
pub(super) async fn connect(dialer: &Dialer, server: &Server) -> Result<Session, CallError> {
    sql::login_within(server.connect_timeout, async {
        let stream = dialer.connect(&server.hostname, server.port, server.connect_timeout).await?;
        let (metered, limit) = Metered::new(stream, server.bytes_max);
        let client = Client::connect(config(server), metered.compat_write()).await;
        Ok(Session { client: client.map_err(errors::before_statement)?, limit })
    })
    .await
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
        Trust::Pem(pem) => config.trust_cert_ca_bundle(pem.as_bytes()),
        Trust::Any => config.trust_cert(),
    }
    // Time is limited outside of the driver, in one place for all steps.
    config.handshake_timeout(None);
    config.command_timeout(None);
    config
}
