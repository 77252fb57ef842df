//! 100 MB from an FTP server to the file store and on to a remote host, in memory that does not grow with the file.
//! Servers and engine share this process, so its memory bounds theirs together; for the same reason this is the only
//! test here.
#![cfg(target_os = "linux")]

use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use surefoot_engine::query::Kind;
use surefoot_fixtures::{REMOTE_FOLDER, Targets};
use surefoot_tests::workspace::{Workspace, ensure_success};

const CHUNK_BYTES: usize = 100_000;
const TOTAL_BYTES: u64 = 100_000_000;

/// How much more memory the process may hold at its peak than after a file of a tenth of the size went the same way.
/// What it really takes is buffers and the noise of the allocator; the file as a whole would be twice as much.
const GROWTH_BYTES_MAX: u64 = 50_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_file() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open()?;
    workspace.save_connectors(&targets).await?;
    // What the first use of each part takes once for all is not growth.
    move_on(&targets, &workspace, "small", TOTAL_BYTES / 10).await?;
    let before = peak()?;
    move_on(&targets, &workspace, "large", TOTAL_BYTES).await?;
    let growth = peak()? - before;
    ensure!(growth < GROWTH_BYTES_MAX, "the process grew by {growth} bytes");
    Ok(())
}

/// Makes a file at the FTP server and moves it on to the remote host.
async fn move_on(targets: &Targets, workspace: &Workspace, name: &str, bytes: u64) -> Result<()> {
    let source = targets.ftp.root().join(name);
    tokio::task::spawn_blocking({
        let source = source.clone();
        move || fill(&source, bytes)
    })
    .await??;
    let expected = digest(&source)?;

    let download = json!({"src": name, "dst": format!("surefoot:{name}")});
    ensure_success(&workspace.connect("my-ftp-connector", download).await?)?;
    let stored = workspace.record(Kind::File, name).await?;
    assert_eq!((&stored["size_bytes"], &stored["sha256"]), (&json!(bytes), &json!(expected)));

    let remote = format!("{REMOTE_FOLDER}/{name}");
    let upload = json!({"src": format!("surefoot:{name}"), "dst": remote});
    ensure_success(&workspace.connect("my-scp-connector", upload).await?)?;
    assert_eq!(digest(&targets.scp.file(&remote))?, expected);
    Ok(())
}

/// Writes bytes of which no two chunks are the same.
fn fill(path: &Path, bytes: u64) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..bytes / CHUNK_BYTES as u64 {
        for word in chunk.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&chunk)?;
    }
    Ok(())
}

fn digest(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(&chunk[..read]),
        }
    }
}

/// The most memory that this process ever held, bytes.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("the kernel counts it")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).context("it has a value")?.parse()?;
    Ok(kibibytes * 1024)
}
