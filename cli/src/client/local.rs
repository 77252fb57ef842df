//! No server runs: this process opens the workspace and answers its own requests, through the router that a server has.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures::{StreamExt as _, TryStreamExt as _};
use surefoot_engine::Engine;
use surefoot_web::Access;
use tokio_util::io::ReaderStream;
use tower::ServiceExt as _;

use super::{Answer, Call, Content};
use crate::failure::Failure;
use crate::settings::Settings;
use crate::{server, workspace};

/// How long connector calls that are under way may take when the command is done.
const GRACE: Duration = Duration::from_secs(30);

pub(super) struct Local {
    engine: Engine,
    router: Router,
}

impl Local {
    /// Opens the workspace. What has not ended there goes on, as it would in a server.
    pub(super) fn open(data: &Path, settings: &Settings) -> Result<Self> {
        let engine = workspace::open(data, settings)?;
        let router = surefoot_web::router(engine.clone(), server::options(settings, Access::Local));
        Ok(Self { engine, router })
    }

    /// Lets connector calls end. Ctrl-C cuts that short: what was under way is taken up when the workspace is opened
    /// next.
    pub(super) async fn close(self) -> Result<()> {
        drop(self.router);
        tokio::select! {
            stopped = self.engine.shutdown(GRACE) => Ok(stopped.map_err(Failure::from)?),
            signal = tokio::signal::ctrl_c() => Ok(signal?),
        }
    }

    pub(super) async fn send(&self, call: Call) -> Result<Answer> {
        let mut request =
            Request::builder().method(call.method.clone()).uri(call.path.as_str()).header("host", "localhost");
        for (name, value) in call.all_headers() {
            request = request.header(name, value);
        }
        let body = match call.content {
            Content::None => Body::empty(),
            Content::Json(value) => Body::from(value.to_string()),
            Content::Bytes(bytes) => Body::from(bytes),
            Content::File(file) => Body::from_stream(ReaderStream::new(file)),
            Content::Stdin => Body::from_stream(ReaderStream::new(tokio::io::stdin())),
        };
        let request = request.body(body).context("cannot make the request")?;
        let Ok(response) = self.router.clone().oneshot(request).await;
        let status = response.status().as_u16();
        let content =
            response.into_body().into_data_stream().map_err(|error| anyhow::anyhow!("the answer was cut off: {error}"));
        Ok(Answer { status, content: content.boxed() })
    }
}
