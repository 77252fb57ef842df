//! A workspace in process: a temporary folder, an engine with all connectors, and the target systems that the example
//! flows test. With [`Workspace::serve`] it is reached over real HTTP.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use surefoot_connector_api::{Connector, EgressPolicy};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_engine::{Clock, Config, Engine, ManualClock, StartRequest, Timestamp};
use surefoot_fixtures::{System, Targets};
use surefoot_web::{Access, Connections, Options};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes that long unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A condition is looked at again after that long, if no change was announced before.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// See the module.
pub struct Workspace {
    /// The engine at work.
    pub engine: Engine,
    config: Config,
    folder: Arc<tempfile::TempDir>,
}

impl Workspace {
    /// A new, empty workspace.
    pub fn open() -> Result<Self> {
        Self::open_with(|_| {})
    }

    /// A new, empty workspace with another configuration.
    pub fn open_with(configure: impl FnOnce(&mut Config)) -> Result<Self> {
        let folder = Arc::new(tempfile::tempdir()?);
        let mut config = Config::new(folder.path().join("data"));
        config.egress = EgressPolicy { allow: vec!["127.0.0.1".parse()?] };
        configure(&mut config);
        Self::open_in(folder, config)
    }

    /// A new, empty workspace where time stands still until [`advance`](Self::advance) moves it. It begins at a full
    /// hour.
    pub fn open_in_still_time() -> Result<Self> {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse()?;
        Self::open_with(|config| config.clock = Clock::Manual(ManualClock::new(start)))
    }

    /// A workspace whose data folder `prepare` makes, and another configuration.
    pub fn open_prepared(
        prepare: impl FnOnce(&Path) -> Result<()>,
        configure: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        let folder = Arc::new(tempfile::tempdir()?);
        let mut config = Config::new(folder.path().join("data"));
        prepare(&config.data)?;
        configure(&mut config);
        Self::open_in(folder, config)
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.config.data
    }

    fn open_in(folder: Arc<tempfile::TempDir>, config: Config) -> Result<Self> {
        Compiled::share_key(&config)?;
        let engine = Engine::open(config.clone(), surefoot_connectors::all())?;
        Ok(Self { engine, config, folder })
    }

    /// Stops the engine in order and opens the workspace anew.
    pub async fn reopen(self) -> Result<Self> {
        self.reopen_after(|_| Ok(())).await
    }

    /// Stops the engine in order, does something with the data folder, and opens the workspace anew.
    pub async fn reopen_after(self, meanwhile: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let Self { engine, config, folder } = self;
        engine.shutdown(Duration::from_secs(10)).await?;
        meanwhile(&config.data)?;
        Self::open_in(folder, config)
    }

    /// Moves the time of a workspace that was [opened in still time](Self::open_in_still_time).
    pub fn advance(&self, duration: Duration) -> Result<()> {
        let Clock::Manual(clock) = &self.config.clock else { anyhow::bail!("this workspace has the machine's clock") };
        clock.set(self.config.clock.now().after(duration));
        Ok(())
    }

    /// Serves the workspace over HTTP, as a remote caller sees it.
    pub async fn serve(&self) -> Result<Server> {
        self.serve_with(|_| {}).await
    }

    /// Serves the workspace over HTTP with other options.
    pub async fn serve_with(&self, configure: impl FnOnce(&mut Options)) -> Result<Server> {
        self.serve_at("127.0.0.1:0", configure).await
    }

    /// Serves the workspace over HTTP where another server did before.
    pub async fn serve_at(&self, address: &str, configure: impl FnOnce(&mut Options)) -> Result<Server> {
        let token = "the-token-of-the-tests";
        let token_sha256 = hex::encode(Sha256::digest(token));
        let mut options = Options::new(Access::Remote { hosts: Vec::new(), token_sha256 });
        configure(&mut options);
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let stopping = CancellationToken::new();
        let mut serving = JoinSet::new();
        let router = surefoot_web::router(self.engine.clone(), options);
        serving.spawn(surefoot_web::serve_tcp(listener, router, Connections::default(), stopping.clone()));
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Server { url, token, client, stopping, serving })
    }

    /// Makes a webhook for a flow: enabled, without a key, unless `fields` say otherwise.
    pub async fn webhook(&self, name: &str, flow: &str, fields: Value) -> Result<Value> {
        let mut all = json!({"flow_id": flow, "is_enabled": true, "is_key_required": false});
        let fields: Map<String, Value> = serde_json::from_value(fields)?;
        all.as_object_mut().context("it is an object")?.extend(fields);
        self.save(Kind::Webhook, name, all).await
    }

    /// Deploys example flows and guests.
    pub async fn deploy(&self, flows: &[&str]) -> Result<()> {
        for name in flows {
            self.deploy_as(name, name).await?;
        }
        Ok(())
    }

    /// Deploys the component of an example flow or guest under another name. Returns the flow.
    pub async fn deploy_as(&self, name: &str, package: &str) -> Result<Value> {
        let component = std::fs::read(xtask::flows::component(package)?)?;
        let code = format!("components/{}.cwasm", hex::encode(Sha256::digest(&component)));
        Compiled::put(&self.config, &code)?;
        let flow = self.engine.deploy(name, component, "test").await?;
        Compiled::keep(&self.config, &code)?;
        Ok(flow)
    }

    /// Starts a flow and waits for its end.
    pub async fn run(&self, flow: &str, input: Value) -> Result<Value> {
        let id = self.start(flow, input).await?;
        self.ended(&id).await
    }

    /// Starts a flow.
    pub async fn start(&self, flow: &str, input: Value) -> Result<String> {
        let request = StartRequest { flow: flow.into(), input, by: "test".into(), ..StartRequest::default() };
        Ok(self.engine.start(request).await?.0)
    }

    /// Waits for an end.
    pub async fn ended(&self, id: &str) -> Result<Value> {
        self.engine.wait_ended(id, Some(PATIENCE)).await?.with_context(|| format!("execution {id} has not ended"))
    }

    /// Saves a record.
    pub async fn save(&self, kind: Kind, name: &str, fields: Value) -> Result<Value> {
        let fields: Map<String, Value> = serde_json::from_value(fields)?;
        Ok(self.engine.save(kind, name, fields, "test").await?)
    }

    /// Rows of a query.
    pub async fn rows(&self, kind: &str, filter: Value) -> Result<Vec<Value>> {
        let query = QueryCall {
            kind: kind.into(),
            filter: Some(filter),
            order: Some("created_at".into()),
            ..QueryCall::default()
        };
        Ok(self.engine.query(query).await?.rows)
    }

    /// Waits until `condition` holds for an execution's row.
    pub async fn until(&self, id: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        let look = async || Ok(Some(self.engine.execution(id).await?).filter(&condition));
        self.eventually(look).await.with_context(|| format!("execution {id} never met the condition"))
    }

    /// Waits until `condition` holds for the rows of a query, oldest first.
    pub async fn until_rows(
        &self,
        kind: &str,
        filter: Value,
        condition: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let look = async || Ok(Some(self.rows(kind, filter.clone()).await?).filter(|rows| condition(rows)));
        self.eventually(look).await.with_context(|| format!("the rows of {filter} never met the condition"))
    }

    /// Waits until `look` finds something. It looks whenever something happened to an execution, and now and then.
    pub async fn eventually<T>(&self, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
        let mut changes = self.engine.changes();
        let looking = async {
            loop {
                if let Some(found) = look().await? {
                    return Ok(found);
                }
                // A change of another execution, or a missed one, is a reason to look again too.
                let _ = tokio::time::timeout(LOOK_AGAIN, changes.recv()).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.context("it did not happen in time")?
    }

    /// What an execution's journal has of one kind of host call, in order.
    pub async fn calls(&self, id: &str, kind: &str) -> Result<Vec<Value>> {
        let journal = self.engine.journal(id).await?;
        Ok(journal.into_iter().filter(|record| record["record"] == "call" && record["kind"] == kind).collect())
    }

    /// The checks that an execution made, in order: `{name, outcome, message, duration_ms, data}`.
    pub async fn checks(&self, id: &str) -> Result<Vec<Value>> {
        Ok(self.calls(id, "check").await?.into_iter().map(|mut call| call["args"].take()).collect())
    }

    /// The connections that an execution made, in order.
    pub async fn connections(&self, id: &str) -> Result<Vec<Value>> {
        let of_parent = json!({"field": "parent_id", "op": "eq", "value": id});
        let is_connection = json!({"field": "type", "op": "eq", "value": "CONNECTION"});
        self.rows("execution", json!({"and": [of_parent, is_connection]})).await
    }

    /// A record by name or id.
    pub async fn record(&self, kind: Kind, key: &str) -> Result<Value> {
        Ok(self.engine.record(kind, key).await?)
    }

    /// Stores a file.
    pub async fn put_file(&self, name: &str, content: impl Into<bytes::Bytes>) -> Result<Value> {
        let content = futures::stream::iter([Ok::<_, std::io::Error>(content.into())]);
        Ok(self.engine.put_file(name, content, "test").await?)
    }

    /// Stores a connector for each of the target systems: `my-ftp-connector` and so on.
    pub async fn save_connectors(&self, targets: &Targets) -> Result<()> {
        for system in System::ALL {
            let config = targets.connection(system)?;
            let fields = json!({"type": system.to_string(), "config": config});
            self.save(Kind::Connector, &format!("my-{system}-connector"), fields).await?;
        }
        Ok(())
    }

    /// Calls a stored connector. Returns the ended execution of the flow that did it.
    pub async fn connect(&self, connector: &str, inputs: Value) -> Result<Value> {
        self.run("native:connect", json!({"connector": connector, "inputs": inputs})).await
    }

    /// What a self-built scheduler needs, with this setting: scheduler, setting, project and the flow it would start.
    /// Returns the fields of a schedule that joins them and is enabled.
    pub async fn prepare_scheduler(&self, setting: Value) -> Result<Value> {
        self.deploy(&["my-self-build-scheduler", "my-test-flow"]).await?;
        let scheduler = json!({"flow_id": "my-self-build-scheduler"});
        let scheduler = self.save(Kind::Scheduler, "my-self-build-scheduler", scheduler).await?;
        let setting = self.save(Kind::Setting, "my-test-setting", json!({"value": setting})).await?;
        let project = self.save(Kind::Project, "my-test-project", json!({})).await?;
        let flow = self.record(Kind::Flow, "my-test-flow").await?;
        Ok(json!({
            "scheduler_id": scheduler["id"], "setting_id": setting["id"], "flow_id": flow["id"],
            "project_id": project["id"], "is_enabled": true,
        }))
    }

    /// All that `upgrade-safely` needs: connectors to `targets`, scheduler, setting, project, flows.
    pub async fn prepare_upgrade_check(&self, targets: &Targets) -> Result<()> {
        self.deploy(&UPGRADE_FLOWS).await?;
        self.save_connectors(targets).await?;
        self.prepare_scheduler(json!({"interval_seconds": 3600})).await?;
        Ok(())
    }

    /// Runs `upgrade-safely` in still time: the scheduler gets the time that it really needs, and the example sees
    /// five seconds.
    pub async fn run_upgrade_check(&self) -> Result<Value> {
        let check = self.start("upgrade-safely", json!({})).await?;
        let waits = |row: &Value| row["status"] == "WAITING" && row["message"] == SCHEDULER_WAIT;
        let row = self.until(&check, |row| row["ended_at"].is_string() || waits(row)).await?;
        if row["ended_at"].is_null() {
            let is_schedule = json!({"field": "type", "op": "eq", "value": "SCHEDULE"});
            let of_this_run = json!({"field": "created_at", "op": "gt", "value": row["created_at"]});
            // Either it waits for its time, or it failed, and the next one waits for its turn.
            let is_settled = |rows: &[Value]| rows.last().is_some_and(|row| row["scheduled_for"].is_string());
            self.until_rows("execution", json!({"and": [is_schedule, of_this_run]}), is_settled).await?;
            self.advance(Duration::from_secs(5))?;
        }
        self.ended(&check).await
    }

    /// Breaks one of the seven things that `upgrade-safely` tests.
    pub async fn break_one(&self, targets: &Targets, what: &str) -> Result<()> {
        match setting_of(what) {
            Some(setting) => self.save(Kind::Setting, setting, json!({"value": {"broken": true}})).await.map(drop),
            None => targets.break_system(what).await,
        }
    }

    /// Undoes [`break_one`](Self::break_one).
    pub async fn mend_one(&self, targets: &Targets, what: &str) -> Result<()> {
        match setting_of(what) {
            Some(setting) => {
                self.save(Kind::Setting, setting, json!({"value": {"interval_seconds": 3600}})).await.map(drop)
            }
            None => targets.mend_system(what).await,
        }
    }
}

/// The setting that breaks one of the seven things, if it is one that a setting breaks.
fn setting_of(what: &str) -> Option<&'static str> {
    match what {
        "scheduler" => Some("my-test-setting"),
        "flow-1" => Some("my-critical-flow-1"),
        "flow-2" => Some("my-critical-flow-2"),
        _ => None,
    }
}

/// What one workspace of this process compiled is machine code for the others: compiling is most of the time that a
/// test takes. The code carries a MAC, so they share the key too.
#[derive(Default)]
struct Compiled {
    /// Contents by path in the data folder.
    files: HashMap<String, Arc<Vec<u8>>>,
}

static COMPILED: Mutex<Option<Compiled>> = Mutex::new(None);

impl Compiled {
    const KEY: &'static str = "key";

    /// Gives a data folder that is not there yet the key that the first one of this process got.
    fn share_key(config: &Config) -> Result<()> {
        if config.data.exists() {
            return Ok(());
        }
        std::fs::create_dir_all(config.data.join("components"))?;
        // Without a database, a key alone is what is left of a workspace, unless it says that it is being made.
        std::fs::write(config.data.join("unfinished"), "")?;
        Self::with(|compiled| {
            let key = || Arc::new(uuid::Uuid::new_v4().as_bytes().repeat(2));
            let key = compiled.files.entry(Self::KEY.to_owned()).or_insert_with(key);
            Ok(std::fs::write(config.data.join(Self::KEY), &**key)?)
        })
    }

    /// Puts a file into the data folder, if it is known.
    fn put(config: &Config, path: &str) -> Result<()> {
        match Self::with(|compiled| compiled.files.get(path).cloned()) {
            Some(content) => Ok(std::fs::write(config.data.join(path), &*content)?),
            None => Ok(()),
        }
    }

    /// Keeps a file of the data folder for other workspaces.
    fn keep(config: &Config, path: &str) -> Result<()> {
        let content = std::fs::read(config.data.join(path)).context("the engine keeps machine code elsewhere")?;
        Self::with(|compiled| compiled.files.entry(path.to_owned()).or_insert_with(|| Arc::new(content)).len());
        Ok(())
    }

    fn with<T>(f: impl FnOnce(&mut Self) -> T) -> T {
        f(COMPILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
    }
}

/// A workspace that is served over HTTP, on a free port of `127.0.0.1`. It stops when this is dropped.
pub struct Server {
    url: String,
    token: &'static str,
    client: reqwest::Client,
    stopping: CancellationToken,
    serving: JoinSet<std::io::Result<()>>,
}

impl Server {
    /// A call of a webhook. `rest` is what comes after `call`: a path below it, a query.
    pub fn webhook(&self, method: Method, name: &str, rest: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/latest/webhook/{name}/call{rest}", self.url))
    }

    /// A request to the API, with its token.
    pub fn api(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/v1/{path}", self.url)).bearer_auth(self.token)
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Begins to stop: whoever waits for an execution is told so at once.
    pub fn begin_to_stop(&self) {
        self.stopping.cancel();
    }

    /// Stops in order: who waits for an execution is told so.
    pub async fn stop(mut self) -> Result<()> {
        self.stopping.cancel();
        while let Some(ended) = self.serving.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// The flows that `upgrade-safely` is made of.
pub const UPGRADE_FLOWS: [&str; 5] =
    ["upgrade-safely", "my-critical-flow-1", "my-critical-flow-2", "my-self-build-scheduler", "my-test-flow"];

/// What `upgrade-safely` says while it gives the scheduler its time.
pub const SCHEDULER_WAIT: &str = "give the system time to create schedule";

/// Names of what can be broken, in the order of the flow, each with its label in the answer.
pub const BREAKABLE: [(&str, &str); 7] = [
    ("ftp", "my-ftp-connector failed"),
    ("scp", "my-scp-connector failed"),
    ("mssql", "my-mssql-connector failed"),
    ("smtp", "my-smtp-connector failed"),
    ("scheduler", "my-self-build-scheduler failed"),
    ("flow-1", "my-critical-flow-1 failed"),
    ("flow-2", "my-critical-flow-2 failed"),
];

/// The answer that the seed's example gives when these checks failed.
pub fn expected_body(labels: &[&str]) -> String {
    match labels {
        [] => "Test successful.".to_owned(),
        labels => format!("Test unsuccessful. Errors: \n{}", labels.join("\n")),
    }
}

/// The connector type with that name.
pub fn connector(name: &str) -> Result<Arc<dyn Connector>> {
    let found = surefoot_connectors::all().into_iter().find(|connector| connector.type_name() == name);
    found.with_context(|| format!("there is no connector type {name}"))
}

/// That the execution failed with that code, and its message says all of these.
pub fn ensure_failed(row: &Value, code: &str, words: &[&str]) -> Result<()> {
    ensure!(row["status"] == "ENDED_ERROR" && row["error_code"] == code, "expected {code}: {row:#}");
    let message = row["error_message"].as_str().context("the message is text")?;
    ensure!(words.iter().all(|word| message.contains(word)), "expected {words:?} in {message:?}");
    Ok(())
}

/// Fails unless the execution ended well.
pub fn ensure_success(row: &Value) -> Result<()> {
    ensure!(row["status"] == "ENDED_SUCCESS", "the execution ended with {row:#}");
    Ok(())
}

/// Status and body of the answer that an execution gave.
pub fn response(row: &Value) -> Result<(u64, String)> {
    ensure_success(row)?;
    let status = row["response"]["status"].as_u64().with_context(|| format!("no response in {row:#}"))?;
    Ok((status, row["response"]["body"].as_str().context("the body is text")?.to_owned()))
}

/// A time that a row shows.
pub fn time(row: &Value, field: &str) -> Result<Timestamp> {
    let text = row[field].as_str().with_context(|| format!("`{field}` is no time in {row:#}"))?;
    Ok(text.parse()?)
}

/// The id of a row.
pub fn id(row: &Value) -> &str {
    row["id"].as_str().expect("every row has an id")
}
