//! HTTP: the web UI under `/ui`, the REST API under `/api/v1`, webhooks under `/api/latest/webhook`, answers by token
//! under `/approve`, health and metrics.
//!
//! This crate reaches data only through the public API of [`surefoot_engine`]; it knows no store, no journal and no
//! terminal. Reading order: [`router`] (what is served, and to whom), `routes` (the one table), then one module an
//! area. Every answer that is not a success is a problem document (RFC 9457), made in `problem` and nowhere else.
//!
//! Invariant: a change, once asked for, is carried to its end whether or not the caller stays to hear of it; see
//! `App::complete`, and the engine's `start`, which does it by itself.

mod access;
mod app;
mod approvals;
mod approve;
mod bulk;
mod caller;
mod connectors;
mod cookies;
mod events;
mod executions;
mod extract;
mod files;
mod flows;
mod health;
mod metrics;
mod notifications;
mod observe;
mod openapi;
mod operation;
mod page;
mod peers;
mod problem;
mod public_url;
mod rate;
mod records;
mod routes;
mod schedules;
mod schema_form;
mod serve;
mod sessions;
mod settings;
mod setup;
mod system;
mod throttle;
mod tls;
mod tokens;
mod ui;
mod users;
mod webhooks;

use std::fmt;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use surefoot_engine::Engine;

use app::App;

pub use metrics::Metrics;
pub use peers::{ForwardedHeader, NoProxyNet, Peers, ProxyNet};
pub use public_url::{NoPublicUrl, PublicUrl};
pub use serve::{Connections, serve_tcp, serve_unix};
pub use setup::path as setup_path;
pub use tls::{Tls, TlsError};
pub use webhooks::Refused;

/// Who may call, and how it is checked.
#[derive(Clone)]
pub enum Access {
    /// Everybody who reaches the router, for everything: it is called in the same process, or through a socket file
    /// that only the owner of the workspace can open.
    Local,
    /// Callers over TCP. Every request must name an allowed host; `/api/v1` also needs `Authorization: Bearer TOKEN`.
    Remote {
        /// Hosts besides `localhost`, `127.0.0.1` and `[::1]`: `example.com` with any port, `example.com:8443` with
        /// that one alone.
        hosts: Vec<String>,
        /// Hexadecimal SHA-256 of the token. Empty: no token fits.
        token_sha256: String,
    },
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("Local"),
            Self::Remote { hosts, .. } => f.debug_struct("Remote").field("hosts", hosts).finish_non_exhaustive(),
        }
    }
}

/// How the router is to behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who may call.
    pub access: Access,
    /// Size of a request body, bytes. Components have a limit of their own, [`COMPONENT_BYTES_MAX`]; files have none.
    pub body_bytes_max: usize,
    /// How long the caller of a webhook is kept waiting for the end of its flow. Then the answer is 504, and the flow
    /// runs on.
    pub webhook_deadline: Duration,
    /// Requests of one address in a second, as far as `peers` limits it, with bursts of ten times as many.
    pub requests_per_second_max: Option<u32>,
    /// Who calls, behind proxies.
    pub peers: Peers,
    /// Where requests are counted; routers that share it are counted together.
    pub metrics: Metrics,
    /// Where refused calls of webhooks are remembered; routers that share it show those of all.
    pub refused: Refused,
}

impl Options {
    /// The defaults: bodies of 16 MiB, a webhook deadline of 10 minutes, as many requests as come, no proxies.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            body_bytes_max: 16 << 20,
            webhook_deadline: Duration::from_secs(600),
            requests_per_second_max: None,
            peers: Peers::default(),
            metrics: Metrics::default(),
            refused: Refused::default(),
        }
    }
}

/// Size of a component that is deployed, bytes.
pub const COMPONENT_BYTES_MAX: usize = 256 << 20;

/// The OpenAPI 3.1 document that describes what is served.
pub fn openapi() -> serde_json::Value {
    openapi::of_server().clone()
}

/// A page of the web UI, or what a form of one sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRoute {
    /// `GET` or `POST`.
    pub method: String,
    /// A template, with `{parameters}`.
    pub path: String,
    /// Who may ask: `none` for everybody, `any` for who is known, or a role.
    pub role: String,
    /// Where the role must be held: `project`, `workspace`, or `nowhere`.
    pub place: &'static str,
}

/// All pages and what their forms send, for who checks them all: they are not in the OpenAPI document.
pub fn pages() -> Vec<PageRoute> {
    let pages = routes::operations().into_iter().filter(|operation| operation.is_page);
    let route = |operation: operation::Operation| {
        let (role, place) = operation.needs.described();
        let method = operation.methods.iter().map(ToString::to_string).collect();
        PageRoute { method, path: operation.path, role, place }
    };
    pages.map(route).collect()
}

/// Everything that is served for an engine. Must be called within a tokio runtime.
pub fn router(engine: Engine, options: Options) -> Router {
    let operations = routes::operations();
    let app = App::new(engine, options, &operations);
    let mut router = Router::new();
    for operation in operations {
        router = router.route(&operation.path, operation.handlers);
    }
    // The last layer is the outermost: what access refuses is seen by `observe`, by what makes pages, and by nothing
    // else.
    router
        .fallback(routes::not_found)
        .method_not_allowed_fallback(routes::method_not_allowed)
        .layer(middleware::from_fn_with_state(app.clone(), health::refuse_while_degraded))
        .layer(middleware::from_fn_with_state(app.clone(), access::check))
        .layer(middleware::from_fn(ui::errors))
        .layer(middleware::from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}
