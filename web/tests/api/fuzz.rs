//! Random requests, made from the OpenAPI document: whatever is asked, the server answers as the document says, and
//! never with an error of its own.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a seed and a request are what repeats a finding")]

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::conformance;
use crate::support::Server;

/// Requests in the short form. The long one goes on for `SUREFOOT_FUZZ_SECONDS`.
const REQUESTS: u32 = 1500;

/// An answer that takes longer waits for something.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names that hurt where something is done with them that should not be.
const ODD: [&str; 18] = [
    "",
    " ",
    "a/b",
    "..",
    "%00",
    "\u{0}",
    "\u{202e}",
    "💥",
    "'; DROP TABLE records; --",
    "\"",
    "{}",
    "null",
    "-1",
    "native:connect",
    "native:cron",
    "type:probe",
    "nothing-has-this-name",
    "9999-12-31T23:59:59.999999Z",
];

/// What a request that failed was, for who reads the test's output.
struct Said(String);

impl Drop for Said {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last request, with SUREFOOT_FUZZ_SEED as said above: {}", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_requests_meet_no_error_of_the_server_soak() {
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (seed, seconds) = (number("SUREFOOT_FUZZ_SEED", 1), number("SUREFOOT_FUZZ_SECONDS", 0));
    println!("SUREFOOT_FUZZ_SEED={seed}");
    let server = Server::local();
    server.create("settings", "limits", json!({"value": {"cron": "0 3 * * *"}})).await;
    server.create("connectors", "probe", json!({"type": "probe", "config": {"password": "hunter2"}})).await;
    server.create("webhooks", "hook", json!({"flow_id": "native:connect", "is_key_required": false})).await;
    let mut fuzz = Fuzz::new(seed);
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut asked, mut fine) = (0, 0);
    while asked < REQUESTS || Instant::now() < until {
        let (method, path, body) = fuzz.request();
        let said = Said(format!("{method} {path} {}", String::from_utf8_lossy(&body)));
        let request = Request::builder().method(method.clone()).uri(&path).body(Body::from(body));
        let Ok(request) = request else { continue };
        asked += 1;
        let path = request.uri().path().to_owned();
        let response = tokio::time::timeout(PATIENCE, server.router.clone().oneshot(request)).await;
        let (parts, body) = response.unwrap_or_else(|_| panic!("no answer: {}", said.0)).unwrap().into_parts();
        let (status, kind) = (parts.status, parts.headers.get("content-type"));
        fine += u32::from(status.is_success());
        // An event stream has no end.
        if kind.is_some_and(|kind| kind == "text/event-stream") {
            continue;
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_documented = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&status);
        // A flow that failed is no failure of the server: the answer names its execution.
        let is_of_a_flow = path.contains("/webhook/") && answer["execution_id"].is_string();
        let is_own = status.is_server_error() && !is_documented && !is_of_a_flow;
        assert!(!is_own, "{status}: {}", String::from_utf8_lossy(&body));
        conformance::check(&method, &path, status, &parts.headers, &body);
        fuzz.learn(&answer);
    }
    println!("{asked} requests, {fine} of them good");
    assert!(fine > asked / 20, "it asks for nothing that can be done: {fine} of {asked}");
}

struct Fuzz {
    random: ChaCha8Rng,
    document: Value,
    /// Those of the document: method and path.
    operations: Vec<(Method, String)>,
    /// Names and ids that were met.
    known: Vec<String>,
}

impl Fuzz {
    fn new(seed: u64) -> Self {
        let document = surefoot_web::openapi();
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                operations.push((method.to_ascii_uppercase().parse().unwrap(), path.clone()));
            }
        }
        let known = ["limits", "probe", "hook"].map(str::to_owned).to_vec();
        Self { random: ChaCha8Rng::seed_from_u64(seed), document, operations, known }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.random.next_u32() as usize % limit
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// Keeps some of the names and ids in an answer, for later requests.
    fn learn(&mut self, answer: &Value) {
        match answer {
            Value::Array(items) => items.iter().take(3).for_each(|item| self.learn(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    match member.as_str() {
                        Some(text) if ["id", "name", "next", "revision"].contains(&name.as_str()) => {
                            let place = self.below(100);
                            match self.known.get_mut(place) {
                                Some(known) => *known = text.to_owned(),
                                None => self.known.push(text.to_owned()),
                            }
                        }
                        _ => self.learn(member),
                    }
                }
            }
            _ => {}
        }
    }

    fn request(&mut self) -> (Method, String, Vec<u8>) {
        let index = self.below(self.operations.len());
        let (method, template) = self.operations[index].clone();
        let operation = self.document["paths"][&template][method.as_str().to_ascii_lowercase()].clone();
        let mut path = String::new();
        for part in template.split('/').skip(1) {
            path.push('/');
            match part.starts_with('{') {
                true => path.push_str(&encoded(&self.text())),
                false => path.push_str(part),
            }
        }
        let mut sign = '?';
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if parameter["in"] == "query" && (parameter["required"] == true || self.one_in(3)) {
                let value = match self.value(&parameter["schema"], 0) {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                path.push_str(&format!("{sign}{}={}", parameter["name"].as_str().unwrap(), encoded(&value)));
                sign = '&';
            }
        }
        let body = match &operation["requestBody"]["content"]["application/json"] {
            Value::Null if operation["requestBody"].is_null() => Vec::new(),
            Value::Null => self.text().into_bytes(),
            content => self.value(&content["schema"], 0).to_string().into_bytes(),
        };
        (method, path, self.damaged(body))
    }

    /// A few bodies are not what they should be.
    fn damaged(&mut self, mut body: Vec<u8>) -> Vec<u8> {
        if !self.one_in(20) {
            return body;
        }
        match self.below(4) {
            0 => body.truncate(body.len() / 2),
            1 => body.push(0xff),
            2 => body = b"[".repeat(5000),
            _ => body.clear(),
        }
        body
    }

    fn text(&mut self) -> String {
        match self.below(8) {
            0 => ODD[self.below(ODD.len())].to_owned(),
            1 if self.one_in(10) => "x".repeat(300),
            _ => {
                let index = self.below(self.known.len());
                self.known[index].clone()
            }
        }
    }

    /// A value that a schema describes, or now and then one that it does not.
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if depth > 4 || self.one_in(12) {
            return self.anything(depth);
        }
        for choice in ["oneOf", "anyOf", "enum"] {
            if let Some(choices) = schema[choice].as_array().filter(|choices| !choices.is_empty()) {
                let chosen = choices[self.below(choices.len())].clone();
                return if choice == "enum" { chosen } else { self.value(&chosen, depth + 1) };
            }
        }
        let ty = match &schema["type"] {
            Value::Array(types) => types[self.below(types.len())].clone(),
            ty => ty.clone(),
        };
        match ty.as_str() {
            Some("object") => self.object(schema, depth),
            Some("array") => (0..self.below(3)).map(|_| self.value(&schema["items"], depth + 1)).collect(),
            Some("string") => self.text().into(),
            Some("integer" | "number") => [0, 1, 2, 10, 1000, -1, i64::MAX, i64::MIN][self.below(8)].into(),
            Some("boolean") => self.one_in(2).into(),
            Some("null") => Value::Null,
            _ => self.anything(depth),
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<String> = serde_json::from_value(schema["required"].clone()).unwrap_or_default();
        let mut object = Map::new();
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let is_wanted = if required.contains(name) { !self.one_in(15) } else { self.one_in(3) };
            if is_wanted {
                object.insert(name.clone(), self.value(member, depth + 1));
            }
        }
        if self.one_in(20) {
            object.insert(self.text(), self.anything(depth + 1));
        }
        Value::Object(object)
    }

    fn anything(&mut self, depth: usize) -> Value {
        match self.below(if depth > 4 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => self.one_in(2).into(),
            2 => json!(-0.5),
            3 => u64::MAX.into(),
            4 | 5 => self.text().into(),
            6 => (0..self.below(4)).map(|_| self.anything(depth + 1)).collect(),
            7 => json!({"field": self.text(), "op": "eq", "value": self.anything(depth + 1)}),
            _ => Value::Object((0..self.below(4)).map(|_| (self.text(), self.anything(depth + 1))).collect()),
        }
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
