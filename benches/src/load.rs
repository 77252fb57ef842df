//! The load generator: a number of callers, each on a connection of its own that it keeps, each with one request at a
//! time. It knows nothing of Surefoot, so that the same calls load anything that answers HTTP.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::pairs::percentile;
use crate::timing::{Stopwatch, millis};

/// What is called: always `POST`, always with the same JSON.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    authority: String,
    path: String,
    body: Bytes,
}

impl Target {
    /// Of an address that begins with `http://`.
    pub(crate) fn new(url: &str, body: String) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no address"))?;
        let authority = uri.authority().with_context(|| format!("`{url}` names no host"))?.to_string();
        ensure!(uri.scheme_str() == Some("http"), "`{url}` must begin with http://");
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { authority, path, body: body.into() })
    }
}

/// How much is to be called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// So many calls in all.
    Calls(u64),
    /// For so long.
    Elapsed(Duration),
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Of every call, milliseconds.
    pub(crate) latencies: Vec<f64>,
    seconds: f64,
    processor_seconds: f64,
}

impl Load {
    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency at that percentile, milliseconds.
    pub(crate) fn latency(&self, percent: f64) -> f64 {
        percentile(&self.latencies, percent)
    }

    /// Processors that this process kept busy meanwhile: what the one called did not have.
    pub(crate) fn processors(&self) -> f64 {
        self.processor_seconds / self.seconds
    }
}

/// Calls. Any answer but a 2xx is an error.
pub(crate) async fn call(target: &Target, callers: u64, until: Until) -> Result<Load> {
    let mut tasks = JoinSet::new();
    let (watch, before) = (Stopwatch::start(), processor_seconds()?);
    for caller in 0..callers {
        let target = target.clone();
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await?;
            let mut latencies = Vec::new();
            while until.goes_on(caller, callers, latencies.len() as u64, watch) {
                let watch = Stopwatch::start();
                connection.call(&target).await?;
                latencies.push(millis(watch.elapsed()));
            }
            Ok::<_, anyhow::Error>(latencies)
        });
    }
    let mut load = Load::default();
    while let Some(latencies) = tasks.join_next().await {
        load.latencies.extend(latencies??);
    }
    load.seconds = watch.seconds();
    load.processor_seconds = processor_seconds()? - before;
    Ok(load)
}

impl Until {
    fn goes_on(self, caller: u64, callers: u64, called: u64, watch: Stopwatch) -> bool {
        match self {
            Self::Calls(count) => called * callers + caller < count,
            Self::Elapsed(lasting) => watch.elapsed() < lasting,
        }
    }
}

/// A kept connection. What drives it ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<hyper::Result<()>>,
}

impl Connection {
    async fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(&target.authority).await;
        let stream = stream.with_context(|| format!("nobody listens on {}", target.authority))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { sender, _driver: driver })
    }

    async fn call(&mut self, target: &Target) -> Result<()> {
        let request = Request::builder().method(Method::POST).uri(&target.path);
        let request = request.header(HOST, &target.authority).header(CONTENT_TYPE, "application/json");
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(target.body.clone()))?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        ensure!(status.is_success(), "{} answered {status}: {}", target.path, String::from_utf8_lossy(&body));
        Ok(())
    }
}

/// Processor time of this process so far.
fn processor_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every request on every connection, which must fit into one read, with that status line.
    async fn server(status: &'static str) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path?query", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                        let text = String::from_utf8_lossy(&buffer);
                        assert!(text.starts_with("POST /path?query HTTP/1.1\r\n") && text.contains("{\"a\":1}"));
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        (url, tasks)
    }

    #[tokio::test]
    async fn calls_are_shared_among_callers() {
        let (url, _server) = server("200 OK").await;
        let target = Target::new(&url, "{\"a\":1}".to_owned()).unwrap();
        let load = call(&target, 4, Until::Calls(10)).await.unwrap();
        assert_eq!(load.latencies.len(), 10);
        assert!(load.rate() > 0.0 && load.latency(99.0) > 0.0);
    }

    #[tokio::test]
    async fn a_refusal_is_an_error_that_shows_the_answer() {
        let (url, _server) = server("500 Internal Server Error").await;
        let target = Target::new(&url, "{\"a\":1}".to_owned()).unwrap();
        let error = call(&target, 1, Until::Calls(1)).await.unwrap_err().to_string();
        assert!(error.contains("500") && error.ends_with("ok"), "{error}");
    }
}
