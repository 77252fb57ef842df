//! Connecting: the dialer's stream, TLS, login; and driving the connection while it is used.

use surefoot_connector_api::{CallError, Dialer, ErrorClass};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Client, Config, Connection, NoTls};

use super::{Server, errors};
use crate::sql;
use crate::sql::inputs::Encrypt;
use crate::sql::stream::{self, ByteLimit, Metered, Stream};

/// A request for encryption: its length and the number that stands for it.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// Lets the server end a statement, and give back its locks, soon after its caller is gone; versions before 14 do not
/// know it.
const NOTICE_THE_END: &str = "SET client_connection_check_interval = '2s'";

/// A logged-in connection.
pub(super) struct Session {
    client: Client,
    connection: Connection<Box<dyn Stream>, NoTlsStream>,
    limit: ByteLimit,
}

impl Session {
    /// Gives the client to `work` and drives the connection until that has ended.
    pub(super) async fn perform<T>(
        self,
        work: impl AsyncFnOnce(Client) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let Self { client, mut connection, limit } = self;
        let work = async {
            if let Err(error) = client.batch_execute(NOTICE_THE_END).await
                && error.as_db_error().is_none()
            {
                return Err(errors::before_statement(&error));
            }
            work(client).await
        };
        tokio::pin!(work);
        let broken = tokio::select! {
            biased;
            result = &mut work => {
                if result.as_ref().err().is_none_or(|error| error.peer_code.is_some()) {
                    // The answer is complete; that the server hears our good-bye changes nothing.
                    let _ = connection.await;
                }
                return result.map_err(|error| limit.explain(error));
            }
            ended = &mut connection => ended.err(),
        };
        // Without its connection the client gives up at once, and does not know why.
        drop(connection);
        let result = work.await;
        result.map_err(|error| match broken {
            Some(broken) if error.peer_code.is_none() => limit.explain(errors::cause(&broken, error)),
            _ => limit.explain(error),
        })
    }
}

/// Connects and logs in, all of it within `server.connect_timeout`. Every failure is [`Sent::No`].
///
/// [`Sent::No`]: surefoot_connector_api::Sent::No
pub(super) async fn connect(dialer: &Dialer, server: &Server) -> Result<Session, CallError> {
    sql::login_within(server.connect_timeout, async {
        let stream = dialer.connect(&server.hostname, server.port, server.connect_timeout).await?;
        let (metered, limit) = Metered::new(stream, server.bytes_max);
        let stream: Box<dyn Stream> = match server.encrypt {
            Encrypt::Off => Box::new(metered),
            Encrypt::Required => {
                Box::new(stream::encrypt(agree(metered).await?, &server.hostname, &server.trust).await?)
            }
        };
        let (client, connection) =
            config(server).connect_raw(stream, NoTls).await.map_err(|error| errors::before_statement(&error))?;
        Ok(Session { client, connection, limit })
    })
    .await
}

/// Has the server agree to encrypt. One byte is read and no more: what came after it unencrypted would have been put in
/// by somebody else, and fails the handshake.
async fn agree(mut stream: Metered) -> Result<Metered, CallError> {
    stream.write_all(&SSL_REQUEST).await.map_err(|error| stream::broken(&error))?;
    match stream.read_u8().await.map_err(|error| stream::broken(&error))? {
        b'S' => Ok(stream),
        b'N' => Err(stream::no_encryption()),
        _ => Err(CallError::not_sent(ErrorClass::Protocol, "the server's answer is not one of PostgreSQL")),
    }
}

fn config(server: &Server) -> Config {
    let mut config = Config::new();
    config.user(&server.username);
    config.password(server.password.reveal());
    config.dbname(server.database.as_deref().unwrap_or(&server.username));
    config.application_name("surefoot");
    // Encryption is agreed on before the driver gets the stream.
    config.ssl_mode(SslMode::Disable);
    config
}
