//! Listening: the socket file, and the end of the server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use surefoot_web::{Connections, serve_unix};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::Server;

struct Listening {
    shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Listening {
    async fn start(server: &Server, path: &Path) -> Self {
        let (shutdown, path, router) = (CancellationToken::new(), path.to_owned(), server.router.clone());
        let stop = shutdown.clone();
        let socket = path.clone();
        let task =
            TaskTracker::new().spawn(async move { serve_unix(&socket, router, Connections::default(), stop).await });
        while UnixStream::connect(&path).await.is_err() && !task.is_finished() {
            tokio::task::yield_now().await;
        }
        Self { shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap().unwrap();
    }
}

async fn get(path: &Path, target: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_alone_and_goes_with_the_server() {
    let (server, folder) = (Server::local(), tempfile::tempdir().unwrap());
    let path = folder.path().join("surefoot.sock");
    let listening = Listening::start(&server, &path).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(get(&path, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(&path, "/api/v1/flows").await.contains(r#"{"rows":[]"#));
    listening.stop().await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_socket_is_replaced_and_nothing_else_is() {
    let (server, folder) = (Server::local(), tempfile::tempdir().unwrap());
    let path = folder.path().join("surefoot.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the dead server left its file");
    let listening = Listening::start(&server, &path).await;
    assert!(get(&path, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));

    let second =
        serve_unix(&path, server.router.clone(), Connections::default(), CancellationToken::new()).await.unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::AddrInUse);
    assert!(get(&path, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"), "the first one still answers");
    listening.stop().await;

    std::fs::write(&path, "precious").unwrap();
    let refused =
        serve_unix(&path, server.router.clone(), Connections::default(), CancellationToken::new()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_that_the_server_stops() {
    let (server, folder) = (Server::local(), tempfile::tempdir().unwrap());
    let path = folder.path().join("surefoot.sock");
    let listening = Listening::start(&server, &path).await;
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let body = r#"{"inputs": {"hang": true}}"#;
    let head = "POST /api/v1/connectors/type:probe/test HTTP/1.1\r\nHost: localhost\r\nContent-Length";
    stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let id = loop {
        let rows = server.get("/api/v1/executions").await.json(200)["rows"].take();
        if let Some(id) = rows[0]["id"].as_str() {
            break id.to_owned();
        }
    };
    listening.stop().await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && answer.contains(&id), "{answer}");
    let row = server.get(&format!("/api/v1/executions/{id}")).await.json(200);
    assert!(row["ended_at"].is_null(), "the execution goes on");
}
