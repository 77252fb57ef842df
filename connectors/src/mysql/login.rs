//! Connecting: the dialer's stream, the server's greeting, TLS, login.

use std::time::Duration;

use surefoot_connector_api::{CallError, Dialer, ErrorClass};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};

use super::Server;
use super::auth::{self, Method};
use super::client::{Answer, Client};
use super::errors::{Failure, ServerError};
use super::packet::{Bytes, Wire, put_value};
use crate::sql;
use crate::sql::inputs::Encrypt;
use crate::sql::stream::{self, ByteLimit, Metered, Stream};

/// Where commands and answers go once the server has been greeted.
pub(super) type Line = BufReader<Box<dyn Stream>>;

/// `utf8mb4_general_ci`, which every server knows.
const CHARACTER_SET: u8 = 45;
/// The longest content that we would take, in the words of the protocol; our own limit is one of all bytes.
const CONTENT_BYTES_MAX: u32 = 1 << 30;

const FOUND_ROWS: u32 = 1 << 1;
const CONNECT_WITH_DATABASE: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const ENCRYPTION: u32 = 1 << 11;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const MULTI_RESULTS: u32 = 1 << 17;
const PREPARED_MULTI_RESULTS: u32 = 1 << 18;
const METHODS: u32 = 1 << 19;
const LONG_PROOFS: u32 = 1 << 21;

/// What is always asked for. `FOUND_ROWS`: an `UPDATE` counts the rows that it found, as in other databases. Not among
/// them is the permission to ask for files of this machine.
const CAPABILITIES: u32 = 1
    | FOUND_ROWS
    | PROTOCOL_41
    | TRANSACTIONS
    | SECURE_CONNECTION
    | MULTI_RESULTS
    | PREPARED_MULTI_RESULTS
    | METHODS
    | LONG_PROOFS;
/// What a server must offer.
const NEEDED: u32 = PROTOCOL_41 | SECURE_CONNECTION | METHODS;

/// Connects and logs in, all of it within `server.connect_timeout`; the whole call takes `total_timeout`.
/// Every failure is [`Sent::No`].
///
/// [`Sent::No`]: surefoot_connector_api::Sent::No
pub(super) async fn connect(
    dialer: &Dialer,
    server: &Server,
    total_timeout: Duration,
) -> Result<(Client, ByteLimit), CallError> {
    sql::login_within(server.connect_timeout, async {
        let stream = dialer.connect(&server.hostname, server.port, server.connect_timeout).await?;
        let (metered, limit) = Metered::new(stream, server.bytes_max);
        match open(metered, server, total_timeout).await {
            Ok(client) => Ok((client, limit)),
            Err(failure) => Err(limit.explain(failure.before_statement())),
        }
    })
    .await
}

async fn open(stream: Metered, server: &Server, total_timeout: Duration) -> Result<Client, Failure> {
    let mut wire = Wire::new(stream);
    let greeting = Greeting::read(&wire.receive().await?)?;
    let encrypted = server.encrypt == Encrypt::Required;
    let mut wire = if encrypted {
        if greeting.capabilities & ENCRYPTION == 0 {
            return Err(stream::no_encryption().into());
        }
        wire.send(&opening(capabilities(server))).await?;
        wire.replace(async |stream| match stream::encrypt(stream, &server.hostname, &server.trust).await {
            Ok(stream) => Ok(line(stream)),
            Err(error) => Err(Failure::from(error)),
        })
        .await?
    } else {
        wire.replace(async |stream| Ok::<_, Failure>(line(stream))).await?
    };
    let status = authenticate(&mut wire, &greeting, server, encrypted).await?;
    let mut client = Client::new(wire);
    client.prepare_session(&greeting.version, status, total_timeout).await?;
    Ok(client)
}

fn line(stream: impl Stream + 'static) -> Line {
    BufReader::new(Box::new(stream))
}

/// What the server says first.
struct Greeting {
    version: String,
    capabilities: u32,
    /// None for a method that is not known here; the server may agree to another one.
    method: Option<Method>,
    challenge: Vec<u8>,
}

impl Greeting {
    fn read(content: &[u8]) -> Result<Self, Failure> {
        if ServerError::is(content) {
            return Err(ServerError::read(content));
        }
        let mut bytes = Bytes::new(content);
        let protocol = bytes.u8()?;
        if protocol != 10 {
            return Err(Failure::Protocol(format!("it greets with protocol {protocol} and not with 10")));
        }
        let version = String::from_utf8_lossy(bytes.until_zero()).into_owned();
        let _connection = bytes.u32()?;
        let mut challenge = bytes.take(8)?.to_vec();
        let _filler = bytes.u8()?;
        let low = bytes.u16()?;
        let (_character_set, _status) = (bytes.u8()?, bytes.u16()?);
        let capabilities = u32::from(bytes.u16()?) << 16 | u32::from(low);
        if capabilities & NEEDED != NEEDED {
            return Err(Failure::Protocol(format!("version {version} of the server is too old")));
        }
        let challenge_length = usize::from(bytes.u8()?);
        bytes.take(10)?;
        let rest = bytes.take(challenge_length.saturating_sub(8).max(13))?;
        challenge.extend_from_slice(rest.strip_suffix(b"\0").unwrap_or(rest));
        Ok(Self { version, capabilities, method: Method::named(bytes.until_zero()), challenge })
    }
}

fn capabilities(server: &Server) -> u32 {
    let encryption = if server.encrypt == Encrypt::Required { ENCRYPTION } else { 0 };
    let database = if server.database.is_some() { CONNECT_WITH_DATABASE } else { 0 };
    CAPABILITIES | encryption | database
}

/// What begins the login, and is all that is said before encryption.
fn opening(capabilities: u32) -> Vec<u8> {
    let mut content = capabilities.to_le_bytes().to_vec();
    content.extend_from_slice(&CONTENT_BYTES_MAX.to_le_bytes());
    content.push(CHARACTER_SET);
    content.extend_from_slice(&[0; 23]);
    content
}

/// Logs in; gives the status of the session.
async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut Wire<S>,
    greeting: &Greeting,
    server: &Server,
    encrypted: bool,
) -> Result<u16, Failure> {
    let password = server.password.reveal();
    let method = greeting.method.unwrap_or(Method::Native);
    // Where the password would have to be shown, the server has to ask for it first.
    let proof = method.proof(password, &greeting.challenge, encrypted).unwrap_or_default();
    let mut content = opening(capabilities(server));
    content.extend_from_slice(server.username.as_bytes());
    content.push(0);
    put_value(&mut content, &proof);
    if let Some(database) = &server.database {
        content.extend_from_slice(database.as_bytes());
        content.push(0);
    }
    content.extend_from_slice(method.name().as_bytes());
    content.push(0);
    wire.send(&content).await?;
    loop {
        let answer = wire.receive().await?;
        match answer.split_first() {
            Some((0x00, _)) => return Ok(Answer::read_done(&answer)?.status),
            Some((0xFF, _)) => return Err(ServerError::read(&answer)),
            Some((0xFE, other)) => {
                let mut bytes = Bytes::new(other);
                let name = bytes.until_zero();
                let challenge = bytes.rest();
                let challenge = challenge.strip_suffix(b"\0").unwrap_or(challenge);
                let proof = other_method(name)?.proof(password, challenge, encrypted).ok_or_else(needs_encryption)?;
                wire.send(&proof).await?;
            }
            // The server remembers the password and is satisfied, or does not and has to see it.
            Some((0x01, [3])) => {}
            Some((0x01, [4])) if encrypted => wire.send(&auth::in_clear(password)).await?,
            Some((0x01, [4])) => return Err(needs_encryption()),
            _ => return Err(Failure::Protocol("an unknown step of the login".into())),
        }
    }
}

fn other_method(name: &[u8]) -> Result<Method, Failure> {
    Method::named(name).ok_or_else(|| {
        let name = String::from_utf8_lossy(name);
        let message = format!("the server wants a login by `{name}`, which is not supported; use one by password");
        CallError::not_sent(ErrorClass::Auth, message).into()
    })
}

fn needs_encryption() -> Failure {
    let message = "the server wants to see the password, which only an encrypted connection may carry; set `encrypt` \
        to `required`";
    CallError::not_sent(ErrorClass::Auth, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::inputs::{Isolation, Plan};
    use serde_json::json;
    use tokio::io::DuplexStream;

    fn server() -> Server {
        let inputs = json!({ "host": "h", "user": "u", "password": "secret", "fetchval": "SELECT 1" });
        let plan: Plan<Encrypt, Isolation> =
            Plan::new(serde_json::from_value(inputs).unwrap(), &super::super::WORDING).unwrap();
        plan.server
    }

    fn greeting(method: &str) -> Vec<u8> {
        let capabilities = (NEEDED | ENCRYPTION).to_le_bytes();
        let mut content = b"\x0A8.4.0\0\x01\0\0\0saltsalt\0".to_vec();
        content.extend_from_slice(&capabilities[..2]);
        content.extend_from_slice(&[45, 2, 0, capabilities[2], capabilities[3], 21]);
        content.extend_from_slice(&[0; 10]);
        content.extend_from_slice(b"more-salt-12\0");
        content.extend_from_slice(method.as_bytes());
        content.push(0);
        content
    }

    /// Logs in at a server that sends `answers`, one after each content that it gets; gives what it got.
    async fn log_in(method: &str, answers: &[&[u8]], encrypted: bool) -> (Result<u16, Failure>, Vec<Vec<u8>>) {
        let (ours, theirs) = tokio::io::duplex(4_096);
        let (mut ours, mut theirs): (Wire<DuplexStream>, _) = (Wire::new(ours), Wire::new(theirs));
        let (server, greeting) = (server(), Greeting::read(&greeting(method)).unwrap());
        let client = async move { authenticate(&mut ours, &greeting, &server, encrypted).await };
        let peer = async move {
            let mut got = Vec::new();
            for answer in answers {
                let Ok(content) = theirs.receive().await else { break };
                got.push(content);
                theirs.send(answer).await.unwrap();
            }
            got
        };
        tokio::join!(client, peer)
    }

    const DONE: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

    #[tokio::test]
    async fn a_server_that_remembers_the_password_needs_a_proof_only() {
        let (result, got) = log_in("caching_sha2_password", &[DONE], false).await;
        assert_eq!(result.unwrap(), 2);
        let proof = Method::CachingSha2.proof("secret", b"saltsaltmore-salt-12", false).unwrap();
        assert!(got[0].windows(proof.len()).any(|part| part == proof));
        assert!(!got[0].windows(6).any(|part| part == b"secret"));
    }

    #[tokio::test]
    async fn the_password_is_shown_when_asked_for_and_encrypted_only() {
        let (result, got) = log_in("caching_sha2_password", &[&[1, 4], DONE], true).await;
        assert_eq!(result.unwrap(), 2);
        assert_eq!(got[1], b"secret\0");
        let (result, got) = log_in("caching_sha2_password", &[&[1, 4]], false).await;
        let error = result.expect_err("not encrypted").before_statement();
        assert_eq!(error.class, ErrorClass::Auth);
        assert!(error.message.contains("`encrypt`") && got.len() == 1, "{error}");
    }

    #[tokio::test]
    async fn the_server_may_change_the_method() {
        let switch = b"\xFEmysql_native_password\0another-salt-of-20-b\0";
        let (result, got) = log_in("caching_sha2_password", &[switch, DONE], false).await;
        assert_eq!(result.unwrap(), 2);
        assert_eq!(got[1], Method::Native.proof("secret", b"another-salt-of-20-b", false).unwrap());
        for (switch, words) in [
            (&b"\xFEmysql_clear_password\0"[..], "`encrypt`"),
            (b"\xFEauthentication_kerberos\0", "authentication_kerberos"),
        ] {
            let error = log_in("mysql_native_password", &[switch], false).await.0.expect_err("refused");
            assert!(error.before_statement().message.contains(words));
        }
    }

    #[test]
    fn a_greeting_that_is_cut_is_an_error_and_no_panic() {
        let whole = greeting("mysql_native_password");
        // The name of the method may be missing, all before it may not.
        for length in 0..51 {
            assert!(Greeting::read(&whole[..length]).is_err(), "{length}");
        }
        assert!(matches!(Greeting::read(b"\xFF\x10\x04Too many connections"), Err(Failure::Server(_))));
    }
}
