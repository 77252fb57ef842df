//! Makes the sample workspace of the present version, with the binary that `cargo xtask test` has built:
//! `cargo run --package surefoot-tests --bin make_sample_workspace`.
//!
//! It is run once for each release, before anything of the next one changes a format. See `surefoot_tests::samples`.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::collections::BTreeMap;
use std::path::Path;
use std::slice::from_ref;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use surefoot_tests::samples::{self, STORY, Story, UnderWay};
use surefoot_tests::server_process::SurefootProcess;

/// The flow of all executions: the guest of the tests, without what only debuggers read.
const FLOW: &str = "sample";

/// Everything sleeps that long: longer than making the sample takes, and over when it is opened.
const SLEEP_MS: u64 = 60_000;

/// A call that is certainly under way when the engine is killed.
const CALL_MS: u64 = 3_600_000;

/// A call that is under way when the engine is killed, and is performed again.
const BRIEF_CALL_MS: u64 = 4_000;

/// Files of a data folder that are of this machine or this process, or are made anew.
const LEFT_OUT: [&str; 5] = ["reserve", "token", "surefoot.sock", "workspace.lock", "surefoot.db-shm"];

#[tokio::main]
async fn main() -> Result<()> {
    let work = tempfile::tempdir()?;
    let data = work.path().join("data");
    let server = SurefootProcess::start(&data).await?;
    let engine = server.health().await?["version"].as_str().context("a version")?.to_owned();
    let sample = samples::folder().join(&engine);
    ensure!(!sample.exists(), "{} is there already: a sample never changes", sample.display());
    let mut maker = Maker { server, story: Story { engine, ..Story::default() }, waits: BTreeMap::new() };
    maker.prepare().await?;
    maker.ended().await?;
    maker.under_way().await?;
    maker.settle().await?;
    let Maker { server, story, .. } = maker;
    server.kill().await?;
    keep(&data, &sample)?;
    std::fs::write(sample.join(STORY), format!("{:#}\n", serde_json::to_value(&story)?))?;
    println!("{}", sample.display());
    Ok(())
}

struct Maker {
    server: SurefootProcess,
    story: Story,
    /// The host call that the journal of an execution must have before the engine may be killed, by id.
    waits: BTreeMap<String, &'static str>,
}

impl Maker {
    async fn prepare(&self) -> Result<()> {
        let component = std::fs::read(xtask::flows::component("test-guest")?)?;
        self.server.deploy_component(FLOW, stripped(&component)?).await?;
        self.put("connectors/slow", json!({"type": "echo", "config": {"delay_ms": 1}})).await?;
        self.put("settings/every-minute", json!({"value": {"cron": "* * * * *"}})).await?;
        let schedule = json!({
            "scheduler_id": "cron", "flow_id": FLOW, "is_enabled": true,
            "setting_id": self.get("settings/every-minute").await?["id"],
        });
        self.put("schedules/every-minute", schedule).await?;
        let webhook = json!({"flow_id": FLOW, "is_enabled": true, "is_key_required": false});
        self.put("webhooks/hook", webhook).await
    }

    /// Executions that end before the engine does.
    async fn ended(&mut self) -> Result<()> {
        let write = json!({"do": "write", "file": "greeting.txt", "content": "hello"});
        let log = json!({"do": "log", "message": "a line of the log"});
        let good = script(&[write, log, json!({"do": "draw"})]);
        let cases = [
            ("success", good),
            ("error", json!({"mode": "fail", "code": "sample", "message": "failed on purpose"})),
            ("trap", json!({"mode": "trap"})),
            ("response", json!({"mode": "respond", "status": 201, "body": "made"})),
        ];
        for (name, input) in cases {
            let id = self.start(name, input).await?;
            let row = self.server.ended(&id).await?;
            self.story.ended.insert(name.to_owned(), row);
        }
        let id = self.start("cancelled", script(&[json!({"do": "signal", "name": "never"})])).await?;
        self.act(&id, "cancel").await?;
        let row = self.server.ended(&id).await?;
        self.story.ended.insert("cancelled".to_owned(), row);
        let body = json!({"mode": "respond", "status": 200, "body": "once"});
        self.server.call_webhook("hook", "the-key", &body).await.map(drop)
    }

    /// Executions that do not.
    async fn under_way(&mut self) -> Result<()> {
        let sleep = json!({"do": "sleep", "ms": SLEEP_MS});
        let slow = |effect: &str| json!({"value": 7, "delay_ms": CALL_MS, "effect": effect});
        let call = |effect: &str| json!({"do": "connect", "connector": "type:echo", "inputs": slow(effect)});
        let brief = |ms: u64| json!({"do": "connect", "connector": "slow", "inputs": {"value": 7, "delay_ms": ms}});
        let idempotent = json!({"value": 7, "delay_ms": BRIEF_CALL_MS, "effect": "idempotent"});
        let idempotent = json!({"do": "connect", "connector": "slow", "inputs": idempotent});
        let read = json!({"do": "read", "file": "greeting.txt"});
        let signal = json!({"do": "signal", "name": "go"});
        let impatient = json!({"do": "signal", "name": "never", "timeout_ms": SLEEP_MS});
        let on_end = json!({"do": "on-end", "setting": "every-minute", "value": {"cron": "* * * * *"}});
        let child = json!({"do": "child", "flow": FLOW, "inputs": script(from_ref(&sleep))});
        let again = json!({"do": "continue-as-new", "inputs": script(from_ref(&sleep))});
        let nothing = || Some(json!([null]));
        self.wait("asleep", from_ref(&sleep), "sleep", nothing()).await?;
        self.wait(
            "between-calls",
            &[brief(1), sleep.clone(), brief(2)],
            "sleep",
            Some(json!([echoed(), null, echoed()])),
        )
        .await?;
        self.wait("with-a-file", &[read.clone(), sleep.clone(), read], "sleep", Some(json!(["hello", null, "hello"])))
            .await?;
        self.wait("with-an-undo", &[on_end, sleep.clone()], "sleep", Some(json!([null, null]))).await?;
        self.wait("signal", from_ref(&signal), "wait_signal", Some(json!([{"by": "hand"}]))).await?;
        self.wait("signal-timeout", &[impatient], "wait_signal", Some(json!([{"timeout": "never"}]))).await?;
        self.wait("parent", &[child], "wait", Some(json!([{"output": [null]}]))).await?;
        self.wait("write", &[call("write")], "start_connection", None).await?;
        self.wait("read", &[brief(BRIEF_CALL_MS)], "start_connection", Some(json!([echoed()]))).await?;
        self.wait("idempotent", &[idempotent], "start_connection", Some(json!([echoed()]))).await?;
        self.wait("continued", &[again], "sleep", nothing()).await?;
        self.wait("paused", from_ref(&sleep), "sleep", nothing()).await?;
        self.wait("signal-sent", &[sleep, signal], "sleep", Some(json!([null, {"by": "hand"}]))).await?;
        self.story.under_way.get_mut("signal").context("it was started")?.needs = Some("go".into());
        let id = self.story.under_way["signal-sent"].id.clone();
        self.signal(&id, "go").await?;
        for (name, input) in [
            ("runtime-asleep", json!({"mode": "sleep-std", "milliseconds": SLEEP_MS})),
            ("chance", json!({"mode": "chance", "sleep_seconds": SLEEP_MS / 1000})),
        ] {
            let expected = (name == "runtime-asleep").then(|| json!({"slept": true}));
            let id = self.start(name, input).await?;
            self.expect(name, id, if name == "chance" { "sleep" } else { "poll" }, expected);
        }
        Ok(())
    }

    /// Waits until all of them are where they are meant to be.
    async fn settle(&mut self) -> Result<()> {
        for (id, call) in self.waits.clone() {
            loop {
                let last = self.server.last_of_chain(&id).await?;
                let journal = self.server.journal(last["id"].as_str().context("an id")?).await?;
                if journal.iter().any(|record| record["record"] == "call" && record["kind"] == call) {
                    break;
                }
                ensure!(last["ended_at"].is_null(), "it ended too early: {last:#}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let paused = self.story.under_way.get_mut("paused").context("it was started")?;
        paused.needs = Some("resume".into());
        let id = paused.id.clone();
        self.act(&id, "pause").await?;
        for execution in self.story.under_way.values_mut() {
            let row = self.server.last_of_chain(&execution.id).await?;
            ensure!(row["ended_at"].is_null(), "it ended too early: {row:#}");
            execution.status = row["status"].as_str().context("a status")?.to_owned();
        }
        Ok(())
    }

    /// Starts a script and notes how it must end.
    async fn wait(&mut self, name: &str, steps: &[Value], call: &'static str, expected: Option<Value>) -> Result<()> {
        let id = self.start(name, script(steps)).await?;
        self.expect(name, id, call, expected);
        Ok(())
    }

    fn expect(&mut self, name: &str, id: String, call: &'static str, expected_output: Option<Value>) {
        self.waits.insert(id.clone(), call);
        let expected_status = "ENDED_SUCCESS".to_owned();
        let execution = UnderWay { id, status: String::new(), needs: None, expected_status, expected_output };
        self.story.under_way.insert(name.to_owned(), execution);
    }

    async fn start(&self, name: &str, input: Value) -> Result<String> {
        let body = json!({"input": input, "name": name});
        let answer = self.server.api(Method::POST, &format!("flows/{FLOW}/run"), Some(body)).await?;
        Ok(answer["id"].as_str().context("an id")?.to_owned())
    }

    async fn signal(&self, id: &str, name: &str) -> Result<()> {
        let body = json!({"payload": {"by": "hand"}});
        self.server.api(Method::POST, &format!("executions/{id}/signals/{name}"), Some(body)).await.map(drop)
    }

    async fn act(&self, id: &str, action: &str) -> Result<()> {
        self.server.api(Method::POST, &format!("executions/{id}/{action}"), None).await.map(drop)
    }

    async fn put(&self, path: &str, fields: Value) -> Result<()> {
        self.server.save(path, fields).await.map(drop)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.server.api(Method::GET, path, None).await
    }
}

fn script(steps: &[Value]) -> Value {
    json!({"mode": "script", "steps": steps})
}

fn echoed() -> Value {
    json!({"output": {"value": 7}})
}

/// Keeps the data folder of an engine that was killed, without what is made anew. The log of writes is taken into the
/// database by SQLite, which any version would do first: it makes the sample small.
fn keep(data: &Path, sample: &Path) -> Result<()> {
    let database = rusqlite::Connection::open(data.join("surefoot.db"))?;
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    drop(database);
    for file in xtask::repo::files_under(data)? {
        let is_left_out = LEFT_OUT.iter().any(|name| file == Path::new(name));
        if is_left_out || file.extension().is_some_and(|extension| extension == "cwasm") {
            continue;
        }
        let to = sample.join("data").join(&file);
        std::fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        std::fs::copy(data.join(&file), to)?;
    }
    Ok(())
}

/// A component, or a module in one, without its custom sections: names and line tables.
fn stripped(wasm: &[u8]) -> Result<Vec<u8>> {
    const CUSTOM: u8 = 0;
    const MODULE: u8 = 1;
    const COMPONENT: u8 = 4;
    let (head, mut rest) = wasm.split_at_checked(8).context("a head")?;
    let is_component = head[4] == 0x0d;
    let mut kept = head.to_vec();
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = leb128(after)?;
        let (body, after) = after.split_at_checked(length).context("a section goes beyond the end")?;
        rest = after;
        let body = match id {
            CUSTOM => continue,
            MODULE | COMPONENT if is_component => stripped(body)?,
            _ => body.to_vec(),
        };
        kept.push(id);
        let mut length = body.len();
        while length >= 0x80 {
            kept.push(u8::try_from(length & 0x7f)? | 0x80);
            length >>= 7;
        }
        kept.push(u8::try_from(length)?);
        kept.extend(body);
    }
    Ok(kept)
}

/// A number as WebAssembly writes it, and what comes after it.
fn leb128(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    anyhow::bail!("a number does not end")
}
