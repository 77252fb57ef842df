//! A server as callers over TCP meet it, on a clock that the test sets, with tokens, users and their sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use surefoot_engine::{Clock, ManualClock};
use surefoot_web::{Access, Options};

use crate::support::{Reply, Server, send};

/// SHA-256 of `right`.
const TOKEN_SHA256: &str = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9";

/// The password of every user here.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// See the module.
pub(crate) struct Remote {
    /// The same workspace, for its owner.
    pub(crate) server: Server,
    pub(crate) router: Router,
    clock: Arc<ManualClock>,
}

/// A session as a browser has it.
#[derive(Clone)]
pub(crate) struct Cookie {
    pub(crate) id: String,
    pub(crate) cookie: String,
    pub(crate) csrf_token: String,
}

impl Remote {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(Clock::System.now());
        let server = Server::at(Options::new(Access::Local), Clock::Manual(clock.clone()));
        let access = Access::Remote { hosts: Vec::new(), token_sha256: TOKEN_SHA256.to_owned() };
        Self { router: server.with(Options::new(access)), server, clock }
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.set(self.server.engine().now().after(by));
    }

    pub(crate) fn in_a_minute(&self) -> String {
        self.server.engine().now().after(Duration::from_secs(60)).to_string()
    }

    /// Makes a token with these fields.
    pub(crate) async fn token(&self, name: &str, mut fields: Value) -> String {
        fields["name"] = name.into();
        let made = self.server.post("/api/v1/tokens", fields).await.json(201);
        made["token"].as_str().unwrap().to_owned()
    }

    /// Makes a user who has a password.
    pub(crate) async fn user(&self, name: &str, mut fields: Value) -> Value {
        fields["name"] = name.into();
        fields["password"] = PASSWORD.into();
        self.server.post("/api/v1/users", fields).await.json(201)["record"].clone()
    }

    pub(crate) async fn send(&self, method: Method, path: &str, token: &str, body: &str) -> Reply {
        self.with(method, path, &[("authorization", &format!("Bearer {token}"))], body).await
    }

    /// Asks with these headers. A little time passes, so that what happened before comes before in lists.
    pub(crate) async fn with(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.advance(Duration::from_millis(1));
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        send(&self.router, request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn by_session(
        &self,
        method: Method,
        path: &str,
        session: &Cookie,
        with_token: bool,
        body: &str,
    ) -> Reply {
        let token = if with_token { session.csrf_token.as_str() } else { "" };
        self.with(method, path, &[("cookie", &session.cookie), ("x-csrf-token", token)], body).await
    }

    pub(crate) async fn try_log_in(&self, name: &str, password: &str) -> Reply {
        let body = json!({"name": name, "password": password}).to_string();
        self.with(Method::POST, "/api/v1/sessions", &[("user-agent", "a test")], &body).await
    }

    pub(crate) async fn log_in(&self, name: &str) -> Cookie {
        Cookie::of(&self.try_log_in(name, PASSWORD).await)
    }
}

impl Cookie {
    /// Of an answer to a login.
    #[track_caller]
    pub(crate) fn of(reply: &Reply) -> Self {
        let answer = reply.json(201);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&answer["session"]["id"]),
            csrf_token: text(&answer["csrf_token"]),
            cookie: reply.header("set-cookie").split(';').next().unwrap().to_owned(),
        }
    }
}
