//! A server in another process: over the socket in the data folder, or over TCP with a token.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::{Body, Url};
use tokio_util::io::ReaderStream;

use super::{Answer, Call, Content};
use crate::failure::Failure;
use crate::workspace;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Remote {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Remote {
    /// The server at an address such as `http://127.0.0.1:7070`.
    pub(super) fn at(url: &str, token: Option<&str>) -> Result<Self> {
        let wrong = |why: &str| Failure::usage(format!("`{url}` is not a server's address: {why}"));
        let parsed = Url::parse(url).map_err(|error| wrong(&format!("{error}; write http://HOST:PORT")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("write http://HOST:PORT").into());
        }
        let base = parsed.as_str().trim_end_matches('/').to_owned();
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if is_loopback(&parsed) {
            // What a proxy calls localhost is another machine.
            http = http.no_proxy();
        }
        let http = http.build()?;
        Ok(Self { http, base, token: token.map(str::to_owned) })
    }

    /// The server that listens on the socket of the data folder; none when nobody does.
    pub(super) async fn on_socket_of(data: &Path) -> Result<Option<Self>> {
        let socket = workspace::socket(data);
        match tokio::net::UnixStream::connect(&socket).await {
            Ok(_) => {}
            // A crash leaves the socket's file behind, and nobody listens.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            // Nor is one where the data folder is none.
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(None),
            // A path that is too long for a socket has none.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(None),
            Err(error) => {
                let message = format!("cannot talk to the server on {}: {error}", socket.display());
                return Err(Failure::unavailable(message)
                    .hint("Only the user who runs the server may use its socket.")
                    .into());
            }
        }
        let http = reqwest::Client::builder().unix_socket(socket).build()?;
        // The name does not matter on a socket, but HTTP wants one.
        Ok(Some(Self { http, base: "http://localhost".into(), token: None }))
    }

    pub(super) async fn send(&self, call: Call) -> Result<Answer> {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.base, call.path.as_str()));
        for (name, value) in call.all_headers() {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request = match call.content {
            Content::None => request,
            Content::Json(value) => request.body(value.to_string()),
            Content::Bytes(bytes) => request.body(bytes),
            Content::File(file) => request.body(Body::wrap_stream(ReaderStream::new(file))),
            Content::Stdin => request.body(Body::wrap_stream(ReaderStream::new(tokio::io::stdin()))),
        };
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status().as_u16();
        let content = response.bytes_stream().map_err(|error| anyhow::Error::from(lost(error)));
        Ok(Answer { status, content: content.boxed() })
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        if error.is_builder() {
            return anyhow::Error::from(error).context("cannot make the request");
        }
        let base = &self.base;
        let doing = if error.is_connect() { "cannot reach the server at" } else { "lost the server at" };
        let failure = Failure::unavailable(format!("{doing} {base}: {}", innermost(&error)));
        failure.hint("Start one with `surefoot serve`, or see whether the address is right.").into()
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn lost(error: reqwest::Error) -> Failure {
    Failure::unavailable(format!("the server's answer was cut off: {}", innermost(&error)))
        .hint("The server's log says why, if it still runs.")
}

/// The cause that says most, without the layers of the library.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
