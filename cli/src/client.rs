//! The one way to a workspace: the HTTP API, spoken to a running server or to the same router in this process.
//!
//! What a command asks for is a [`Call`]; that it may be answered by two transports is nobody's business outside.

mod local;
mod path;
mod remote;

use std::path::{Path as FsPath, PathBuf};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
pub(crate) use reqwest::Method;
use serde_json::Value;
use tokio::fs::File;

use self::local::Local;
pub(crate) use self::path::Path;
use self::remote::Remote;
use crate::failure::Failure;
use crate::settings::Settings;

/// See the module.
pub(crate) struct Client {
    transport: Transport,
}

enum Transport {
    Remote(Remote),
    Local(Box<Local>),
}

/// One request.
pub(crate) struct Call {
    method: Method,
    path: Path,
    headers: Vec<(&'static str, String)>,
    content: Content,
}

/// What a request carries.
pub(crate) enum Content {
    /// Nothing.
    None,
    /// A document.
    Json(Value),
    /// Bytes.
    Bytes(Bytes),
    /// What is in the file, streamed from where it stands.
    File(File),
    /// What comes from standard input, streamed.
    Stdin,
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    content: BoxStream<'static, Result<Bytes>>,
}

impl Call {
    /// A request without content.
    pub(crate) fn new(method: Method, path: Path) -> Self {
        Self { method, path, headers: Vec::new(), content: Content::None }
    }

    /// With this content.
    #[must_use]
    pub(crate) fn content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    /// With this header too.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// All headers, with the one that says what the content is.
    fn all_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = self.headers.clone();
        match &self.content {
            Content::None => {}
            Content::Json(_) => headers.push(("content-type", "application/json".into())),
            _ => headers.push(("content-type", "application/octet-stream".into())),
        }
        headers
    }
}

impl Answer {
    /// Whether the status is 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The next part of the content; none after the last.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.content.try_next().await
    }

    /// The whole content.
    pub(crate) async fn bytes(mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Itself, or what the problem document says.
    pub(crate) async fn or_failure(self) -> Result<Self> {
        if self.is_success() {
            return Ok(self);
        }
        let status = self.status;
        let problem = serde_json::from_slice(&self.bytes().await?).unwrap_or_default();
        Err(Failure::from_problem(status, &problem).into())
    }
}

impl Client {
    /// To the server at `server`, else to the one on the socket of the data folder, else by opening the workspace, for
    /// which alone the settings are read.
    ///
    /// # Errors
    /// When another process holds the workspace and answers on no socket, or the workspace cannot be opened.
    pub(crate) async fn open(
        data: PathBuf,
        settings: impl FnOnce() -> Result<Settings>,
        server: Option<&str>,
        token: Option<&str>,
    ) -> Result<Self> {
        match Self::of_server(&data, server, token).await? {
            Some(client) => Ok(client),
            None => Ok(Self { transport: Transport::Local(Box::new(Local::open(&data, &settings()?)?)) }),
        }
    }

    /// To the server at `server`, else to the one on the socket of the data folder; none where none runs.
    ///
    /// # Errors
    /// When the address is none, or the socket cannot be asked.
    pub(crate) async fn of_server(data: &FsPath, server: Option<&str>, token: Option<&str>) -> Result<Option<Self>> {
        let remote = match server {
            Some(url) => Some(Remote::at(url, token)?),
            None => Remote::on_socket_of(data).await?,
        };
        Ok(remote.map(|remote| Self { transport: Transport::Remote(remote) }))
    }

    /// Whether this process does the work itself, so that what is started stops with it.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.transport, Transport::Local(_))
    }

    /// Leaves the workspace in order.
    pub(crate) async fn close(self) -> Result<()> {
        match self.transport {
            Transport::Remote(_) => Ok(()),
            Transport::Local(local) => local.close().await,
        }
    }

    /// Sends a request. An answer with any status is an answer.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer> {
        match &self.transport {
            Transport::Remote(remote) => remote.send(call).await,
            Transport::Local(local) => local.send(call).await,
        }
    }

    /// Sends a request; the answer must be a document.
    pub(crate) async fn ask(&self, call: Call) -> Result<Value> {
        document(self.send(call).await?).await
    }

    /// Reads a document.
    pub(crate) async fn get(&self, path: Path) -> Result<Value> {
        self.ask(Call::new(Method::GET, path)).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post(&self, path: Path, content: Value) -> Result<Value> {
        self.ask(Call::new(Method::POST, path).content(Content::Json(content))).await
    }

    /// Changes the record with that name or id; where there is none, creates one of that name.
    pub(crate) async fn save(&self, plural: &str, key: &str, mut fields: Value) -> Result<Value> {
        let change = Call::new(Method::PATCH, Path::api([plural, key])).content(Content::Json(fields.clone()));
        let answer = self.send(change).await?;
        if answer.status != 404 {
            return document(answer).await;
        }
        fields["name"] = key.into();
        self.post(Path::api([plural]), fields).await
    }
}

/// The document of an answer that is a success.
async fn document(answer: Answer) -> Result<Value> {
    let bytes = answer.or_failure().await?.bytes().await?;
    serde_json::from_slice(&bytes).context("the server's answer is not JSON")
}
