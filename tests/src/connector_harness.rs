//! Calls one connector without an engine: a file store in memory, an egress policy, a time limit.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use serde_json::Value;
use sha2::{Digest, Sha256};
use surefoot_connector_api::{
    ByteStream, CallContext, CallError, Connector, Dialer, EgressPolicy, ErrorClass, FileAccess, FileSink, InputRules,
    Inputs, StoredFile,
};

/// How one call is made. The default reaches 127.0.0.1 and `localhost`, and takes at most 60 seconds.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Rules of the egress policy, as a workspace owner writes them.
    pub allow: Vec<String>,
    /// After which the call is dropped, as the engine does it.
    pub timeout: Duration,
    /// The same for every attempt of one call.
    pub idempotency_key: String,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            allow: vec!["127.0.0.1".into(), "localhost".into()],
            timeout: Duration::from_secs(60),
            idempotency_key: "a test's key".into(),
        }
    }
}

/// `inputs` with `more` on top.
pub fn merged(mut inputs: Value, more: Value) -> Value {
    let (Value::Object(all), Value::Object(more)) = (&mut inputs, more) else { panic!("inputs are objects") };
    all.extend(more);
    inputs
}

/// `inputs` without those that are null, as the engine passes them on.
pub fn without_nulls(mut inputs: Value) -> Value {
    inputs.as_object_mut().expect("inputs are an object").retain(|_, value| !value.is_null());
    inputs
}

/// Calls `connector` with the default options.
pub async fn call(connector: &dyn Connector, files: &dyn FileAccess, inputs: Value) -> Result<Value, CallError> {
    call_with(connector, files, inputs, &CallOptions::default()).await
}

/// Does what the engine does: validates `inputs`, performs the call within its time, drops it then.
///
/// Panics when the connector breaks its own contract: an output that its schema does not allow, or an error that
/// contains an input which the schema marks as secret.
pub async fn call_with(
    connector: &dyn Connector,
    files: &dyn FileAccess,
    inputs: Value,
    options: &CallOptions,
) -> Result<Value, CallError> {
    let Value::Object(inputs) = inputs else { panic!("inputs are an object, not {inputs}") };
    let rules = InputRules::new(connector.input_schema());
    rules
        .validate(&Value::Object(inputs.clone()))
        .map_err(|error| CallError::not_sent(ErrorClass::InvalidInput, error.to_string()))?;
    let allow = options.allow.iter().map(|rule| rule.parse().expect("a rule of the egress policy")).collect();
    let dialer = Dialer::new(EgressPolicy { allow });
    let context =
        CallContext { dialer: &dialer, files, idempotency_key: &options.idempotency_key, timeout: options.timeout };
    let mut result = match tokio::time::timeout(options.timeout, connector.call(&context, inputs.clone())).await {
        Ok(result) => result,
        Err(_) => Err(CallError::unknown(ErrorClass::Timeout, "the call took too long")),
    };
    match &mut result {
        Ok(output) => assert_output(connector, output),
        Err(error) => {
            assert_no_secret(&rules, &inputs, error);
            // As the engine does then.
            error.put_on_a_line();
            error.shorten();
        }
    }
    result
}

fn assert_output(connector: &dyn Connector, output: &Value) {
    assert!(output.is_object(), "an output is an object, not {output}");
    if let Err(error) = InputRules::new(connector.output_schema()).validate(output) {
        panic!("{output} is not what the output schema of {} says: {error}", connector.type_name());
    }
}

fn assert_no_secret(rules: &InputRules, inputs: &Inputs, error: &CallError) {
    let shown = format!("{error:?}");
    for (name, value) in inputs {
        if rules.is_secret(name)
            && let Some(secret) = value.as_str()
            && !secret.is_empty()
        {
            assert!(!shown.contains(secret), "the secret `{name}` stands in an error");
        }
    }
}

/// A file store in memory. Files may also be *generated*, and what is written may be *hashed only*, so that large
/// files can pass through without being held.
#[derive(Clone, Debug, Default)]
pub struct TestFiles {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    contents: BTreeMap<String, Content>,
    stored: BTreeMap<String, StoredFile>,
    hash_only: bool,
    received_bytes: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Held(Bytes),
    Generated(u64),
    Failing(Bytes),
}

impl TestFiles {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn put(&self, name: &str, content: impl Into<Bytes>) -> &Self {
        self.lock().contents.insert(name.into(), Content::Held(content.into()));
        self
    }

    /// Adds a file of that many bytes which exists nowhere; see [`generated_chunk`].
    pub fn put_generated(&self, name: &str, size_bytes: u64) -> &Self {
        self.lock().contents.insert(name.into(), Content::Generated(size_bytes));
        self
    }

    /// Adds a file that yields `content` and then fails, although it claims to be longer.
    pub fn put_failing(&self, name: &str, content: impl Into<Bytes>) -> &Self {
        self.lock().contents.insert(name.into(), Content::Failing(content.into()));
        self
    }

    /// From now on, what is written is counted and hashed, and then forgotten.
    pub fn hash_only(&self) -> &Self {
        self.lock().hash_only = true;
        self
    }

    /// The content of a file that is held.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        match self.lock().contents.get(name) {
            Some(Content::Held(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// What was stored last under that name.
    pub fn stored(&self, name: &str) -> Option<StoredFile> {
        self.lock().stored.get(name).cloned()
    }

    /// How many bytes connectors have written so far, whether they finished or not.
    pub fn received_bytes(&self) -> u64 {
        self.lock().received_bytes
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no test panics while it holds this lock")
    }
}

/// Length of the chunks of generated files.
pub const GENERATED_CHUNK: usize = 64 * 1024;

/// Chunk number `index` of a generated file: recognisable, and different from its neighbours.
pub fn generated_chunk(index: u64) -> Bytes {
    let mut chunk = BytesMut::zeroed(GENERATED_CHUNK);
    for (position, word) in chunk.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(index << 16 | position as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    }
    chunk.freeze()
}

/// The chunks of a generated file of that many bytes.
pub fn generated_chunks(size_bytes: u64) -> impl Iterator<Item = Bytes> + Send {
    let chunk = GENERATED_CHUNK as u64;
    (0..size_bytes.div_ceil(chunk)).map(move |index| {
        let rest = usize::try_from((size_bytes - index * chunk).min(chunk)).expect("at most a chunk");
        generated_chunk(index).slice(..rest)
    })
}

/// The SHA-256 of a generated file of that many bytes, in lower-case hexadecimal.
pub fn generated_sha256(size_bytes: u64) -> String {
    hex::encode(generated_chunks(size_bytes).fold(Sha256::new(), |hash, chunk| hash.chain_update(chunk)).finalize())
}

/// The SHA-256 of `content`, in lower-case hexadecimal.
pub fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[async_trait]
impl FileAccess for TestFiles {
    async fn read(&self, name: &str) -> Result<(u64, ByteStream), CallError> {
        let content = self.lock().contents.get(name).cloned();
        match content {
            None => Err(CallError::not_sent(ErrorClass::NotFound, format!("no file `{name}` in the workspace"))),
            Some(Content::Held(bytes)) => Ok((bytes.len() as u64, stream::iter([Ok(bytes)]).boxed())),
            Some(Content::Generated(size)) => Ok((size, stream::iter(generated_chunks(size).map(Ok)).boxed())),
            Some(Content::Failing(bytes)) => {
                let broken = CallError::not_sent(ErrorClass::Storage, "the disk is broken");
                Ok((bytes.len() as u64 + 1, stream::iter([Ok(bytes), Err(broken)]).boxed()))
            }
        }
    }

    async fn write(&self, name: &str) -> Result<Box<dyn FileSink>, CallError> {
        let kept = (!self.lock().hash_only).then(BytesMut::new);
        Ok(Box::new(TestSink { files: self.clone(), name: name.into(), size_bytes: 0, hash: Sha256::new(), kept }))
    }
}

struct TestSink {
    files: TestFiles,
    name: String,
    size_bytes: u64,
    hash: Sha256,
    kept: Option<BytesMut>,
}

#[async_trait]
impl FileSink for TestSink {
    async fn write(&mut self, chunk: Bytes) -> Result<(), CallError> {
        self.size_bytes += chunk.len() as u64;
        self.files.lock().received_bytes += chunk.len() as u64;
        self.hash.update(&chunk);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&chunk);
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StoredFile, CallError> {
        let stored = StoredFile {
            name: self.name.clone(),
            size_bytes: self.size_bytes,
            sha256: hex::encode(self.hash.finalize()),
        };
        let mut shared = self.files.lock();
        if let Some(kept) = self.kept {
            shared.contents.insert(self.name.clone(), Content::Held(kept.freeze()));
        }
        shared.stored.insert(self.name, stored.clone());
        Ok(stored)
    }
}

/// Says in a process of its own that this test runs there alone.
const ALONE: &str = "SUREFOOT_TEST_ALONE";

/// How much more memory this process has needed at its peak than at the start of the measurement. Only a test that
/// [`runs_elsewhere`] measures its own.
#[derive(Debug)]
pub struct MemoryGrowth {
    resident_kib: u64,
}

/// Runs the test with that name in a process of its own, so that no other test is measured with it, and panics if it
/// fails. Returns false in that process: the test goes on there.
pub fn runs_elsewhere(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return false;
    }
    let binary = std::env::current_exe().expect("a test is a file");
    let output = Command::new(binary).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output();
    let output = output.expect("the test starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    true
}

impl MemoryGrowth {
    /// Begins to measure: the kernel forgets the peak so far.
    pub fn start() -> Self {
        // Where the kernel refuses, the old peak stands, and the growth is only overestimated.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { resident_kib: status_kib("VmRSS:") }
    }

    /// The growth since then at its peak, in KiB.
    pub fn peak_kib(&self) -> u64 {
        status_kib("VmHWM:").saturating_sub(self.resident_kib)
    }
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows a process its own status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of the status");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}
