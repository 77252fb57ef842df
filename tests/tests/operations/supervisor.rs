//! What systemd is told, and the unit file for it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reqwest::Method;
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

/// A setting that holds at once, one that takes a restart, one that is wrong: and the supervisor hears of each reload.
#[tokio::test(flavor = "multi_thread")]
async fn settings_are_read_anew_when_the_server_is_told_to() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, data) = (folder.path().join("notify"), folder.path().join("data"));
    let socket = UnixDatagram::bind(&path)?;
    std::fs::create_dir(&data)?;
    let file = |text: &str| std::fs::write(data.join("surefoot.toml"), text);
    file("[log]\nformat = \"json\"\n[retention]\nage_days = 5\n")?;
    let log = folder.path().join("log");
    let variables = vec![("NOTIFY_SOCKET".to_owned(), path.to_string_lossy().into_owned())];
    let launch = Launch { variables, log: Some(std::fs::File::create(&log)?), ..Launch::new(&data) };
    let server = launch.start().await?;
    told(&socket, "READY=1").await?;
    let reload = async || {
        let before = monotonic()?;
        server.signal(Signal::SIGHUP)?;
        let reloading = told(&socket, "RELOADING=1").await?;
        let at = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).context("no time")?;
        ensure!((before..=monotonic()?).contains(&at.parse()?), "{reloading}");
        let status = told(&socket, "READY=1").await?;
        let storage = server.api(Method::GET, "system", None).await?;
        anyhow::Ok((status, storage["retention"]["age_seconds"].clone(), std::fs::read_to_string(&log)?))
    };
    let day = 24 * 60 * 60;
    let (_, age, said) = reload().await?;
    ensure!(age == 5 * day && said.contains("the settings were read anew"), "{age} {said}");

    file("[log]\nformat = \"json\"\nlevel = \"debug\"\n[retention]\nage_days = 6\n[server]\ndrain_seconds = 7\n")?;
    let (_, age, said) = reload().await?;
    ensure!(age == 6 * day, "{age}");
    let has = |said: &str, level: &str, key: &str| {
        said.lines().any(|line| line.contains(level) && line.contains(&format!("\"key\":\"{key}\"")))
    };
    ensure!(has(&said, "INFO", "retention.age_days") && has(&said, "INFO", "log.level"), "{said}");
    ensure!(has(&said, "WARN", "server.drain_seconds") && said.contains("takes a restart"), "{said}");

    file("[retention]\nage_days = 9\nage_dais = 1\n")?;
    let (status, age, said) = reload().await?;
    ensure!(age == 6 * day, "{age}: half of a wrong file holds");
    ensure!(status.contains("the new ones are wrong"), "{status}");
    ensure!(said.contains("age_dais") && said.contains("stay as they were"), "{said}");
    server.signal(Signal::SIGTERM)?;
    ensure!(server.exited().await? == Some(0));
    Ok(())
}

fn monotonic() -> Result<i64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
}

/// By systemd's own judgement; the binary of the tests stands for the one that is installed. With what is for a newer
/// systemd, too, where this one knows it.
#[test]
fn the_unit_file_is_one() -> Result<()> {
    let guides = xtask::repo::root().join("docs/guides");
    let text = std::fs::read_to_string(guides.join("surefoot.service"))?;
    let binary = xtask::repo::binary();
    ensure!(text.contains("/usr/local/bin/surefoot serve"), "the unit starts something else");
    let addition = std::fs::read_to_string(guides.join("surefoot-reload.conf"))?;
    let said = Command::new("systemd-analyze").arg("--version").output();
    let said = said.context("systemd-analyze is missing: run `cargo xtask setup`")?;
    let version = String::from_utf8_lossy(&said.stdout).split_whitespace().nth(1).map(str::parse::<u32>);
    let knows_reloads = version.context("systemd-analyze tells no version")?? >= 253;
    for addition in [None, Some(addition).filter(|_| knows_reloads)] {
        let folder = tempfile::tempdir()?;
        let copy = folder.path().join("surefoot.service");
        std::fs::write(&copy, text.replace("/usr/local/bin/surefoot", &binary.to_string_lossy()))?;
        if let Some(addition) = addition {
            std::fs::create_dir(folder.path().join("surefoot.service.d"))?;
            std::fs::write(folder.path().join("surefoot.service.d/reload.conf"), addition)?;
        }
        let output = Command::new("systemd-analyze").arg("verify").arg(&copy).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        // Other units of the machine are looked at too, and are not ours.
        let ours: Vec<&str> = said.lines().filter(|line| is_about(line, &copy)).collect();
        ensure!(output.status.success() && ours.is_empty(), "{said}");
    }
    Ok(())
}

fn is_about(line: &str, unit: &Path) -> bool {
    let name = unit.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    line.contains(name)
}
