//! What systemd is told, and the unit file for it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use surefoot_tests::server_process::Launch;
use surefoot_tests::workspace::PATIENCE;
use tokio::net::UnixDatagram;

/// Datagrams until one has this text.
async fn told(socket: &UnixDatagram, wanted: &str) -> Result<String> {
    let mut datagram = [0; 4096];
    let listen = async {
        loop {
            let length = socket.recv(&mut datagram).await?;
            let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
            if text.lines().any(|line| line == wanted) {
                return anyhow::Ok(text);
            }
        }
    };
    tokio::time::timeout(PATIENCE, listen).await.with_context(|| format!("`{wanted}` was never told"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_hears_of_the_beginning_the_life_and_the_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path)?;
    let variables = vec![
        ("NOTIFY_SOCKET".to_owned(), path.to_string_lossy().into_owned()),
        ("WATCHDOG_USEC".to_owned(), "600000".to_owned()),
    ];
    let server = Launch { variables, ..Launch::new(&folder.path().join("data")) }.start().await?;
    let ready = told(&socket, "READY=1").await?;
    ensure!(ready.contains(&format!("STATUS=answers at {}", server.url())), "{ready}");
    for _ in 0..3 {
        told(&socket, "WATCHDOG=1").await?;
    }
    // A server that hangs gives no sign of life: after what was on its way nothing comes.
    server.signal(Signal::SIGSTOP)?;
    let mut datagram = [0; 4096];
    while tokio::time::timeout(Duration::from_secs(1), socket.recv(&mut datagram)).await.is_ok() {}
    server.signal(Signal::SIGCONT)?;
    told(&socket, "WATCHDOG=1").await?;
    server.signal(Signal::SIGTERM)?;
    told(&socket, "STOPPING=1").await?;
    ensure!(server.exited().await? == Some(0));
    Ok(())
}

/// By systemd's own judgement; the binary of the tests stands for the one that is installed.
#[test]
fn the_unit_file_is_one() -> Result<()> {
    let unit = xtask::repo::root().join("docs/guides/surefoot.service");
    let text = std::fs::read_to_string(&unit)?;
    let binary = xtask::repo::binary();
    ensure!(text.contains("/usr/local/bin/surefoot serve"), "the unit starts something else");
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("surefoot.service");
    std::fs::write(&copy, text.replace("/usr/local/bin/surefoot", &binary.to_string_lossy()))?;
    let output = Command::new("systemd-analyze").arg("verify").arg(&copy).output();
    let output = output.context("systemd-analyze is missing: run `cargo xtask setup`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of the machine are looked at too, and are not ours.
    let ours: Vec<&str> = said.lines().filter(|line| is_about(line, &copy)).collect();
    ensure!(output.status.success() && ours.is_empty(), "{said}");
    Ok(())
}

fn is_about(line: &str, unit: &Path) -> bool {
    let name = unit.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    line.contains(name)
}
