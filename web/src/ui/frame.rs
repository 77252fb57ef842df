//! What all pages share: who looks, what they may do, where they are, and the headers of every page.

use std::fmt::Write as _;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use surefoot_engine::{Entropy, Rights, Role, Timestamp};

use super::assets;
use super::words::{Moment, time};
use crate::app::App;
use crate::caller::Caller;
use crate::page::HTML;
use crate::peers::ClientAddress;
use crate::problem::{Answer, Problem};

/// See the module.
pub(crate) struct Frame {
    /// In the audit log's words.
    pub(crate) who: String,
    /// The name of a user; empty for who has no session.
    pub(crate) user: String,
    rights: Rights,
    /// Of the session, for forms; empty where there is none.
    pub(crate) csrf_token: String,
    /// Of this page alone: which scripts and styles are its own.
    pub(crate) nonce: String,
    pub(crate) now: Timestamp,
    /// The path of the page.
    pub(crate) path: String,
    /// The query of the page.
    pub(crate) query: String,
    /// How the server is reached, for commands to copy: `https://flows.example.com`.
    pub(crate) base: String,
}

/// An entry of the navigation.
pub(crate) struct Entry {
    pub(crate) path: &'static str,
    pub(crate) label: &'static str,
    pub(crate) icon: &'static str,
    /// Who sees it: the role, and whether it must be one in the whole workspace.
    role: Role,
    in_workspace: bool,
}

const fn entry(path: &'static str, label: &'static str, icon: &'static str, role: Role, in_workspace: bool) -> Entry {
    Entry { path, label, icon, role, in_workspace }
}

/// All of it, in groups.
static NAVIGATION: [(&str, &[Entry]); 3] = [
    (
        "Runs",
        &[
            entry("/ui", "Overview", "overview", Role::Viewer, false),
            entry("/ui/executions", "Executions", "executions", Role::Viewer, false),
            entry("/ui/approvals", "Approvals", "approvals", Role::Viewer, false),
        ],
    ),
    (
        "Workspace",
        &[
            entry("/ui/flows", "Flows", "flows", Role::Viewer, false),
            entry("/ui/schedules", "Schedules", "schedules", Role::Viewer, false),
            entry("/ui/webhooks", "Webhooks", "webhooks", Role::Viewer, false),
            entry("/ui/connectors", "Connectors", "connectors", Role::Viewer, false),
            entry("/ui/files", "Files", "files", Role::Viewer, false),
            entry("/ui/settings", "Settings", "settings", Role::Viewer, false),
            entry("/ui/projects", "Projects", "projects", Role::Viewer, false),
            entry("/ui/notifications", "Notifications", "notifications", Role::Viewer, false),
        ],
    ),
    (
        "Administration",
        &[
            entry("/ui/secrets", "Secrets", "secrets", Role::Admin, false),
            entry("/ui/users", "Users", "people", Role::Admin, true),
            entry("/ui/tokens", "Tokens", "tokens", Role::Admin, false),
            entry("/ui/audit", "Audit log", "audit", Role::Admin, true),
            entry("/ui/system", "System", "system", Role::Viewer, true),
        ],
    ),
];

impl Frame {
    fn new(caller: Option<&Caller>, now: Timestamp, path: &str, query: &str) -> Self {
        let session = caller.and_then(Caller::session);
        Self {
            who: caller.map(|caller| caller.who.clone()).unwrap_or_default(),
            user: session.map(|session| session.user_name().to_owned()).unwrap_or_default(),
            rights: caller.map(|caller| caller.rights.clone()).unwrap_or_default(),
            csrf_token: session.map(|session| session.csrf_token.clone()).unwrap_or_default(),
            nonce: hex::encode(&Entropy::System.bytes32()[..16]),
            now,
            path: path.to_owned(),
            query: query.to_owned(),
            base: String::new(),
        }
    }

    /// For tests of a page alone.
    #[cfg(test)]
    pub(crate) fn of(who: &str, rights: Rights, now: Timestamp) -> Self {
        Self { who: who.to_owned(), rights, ..Self::new(None, now, "/ui", "") }
    }

    /// For a page that tells what went wrong, which nobody may have been known at.
    pub(crate) fn for_problem(caller: Option<&Caller>) -> Self {
        Self::new(caller, Timestamp::default(), "", "")
    }

    /// For a page that nobody has to be known at.
    pub(crate) fn open(app: &App, path: &str) -> Self {
        Self::new(None, app.whole_engine().now(), path, "")
    }

    /// Whether somebody is known.
    pub(crate) fn is_known(&self) -> bool {
        !self.who.is_empty()
    }

    /// Whether who looks has that role somewhere: what it takes to be shown a way to do something.
    pub(crate) fn may(&self, role: &str) -> bool {
        role.parse().is_ok_and(|role: Role| self.rights.highest() >= Some(role))
    }

    /// Whether who looks has that role where a record is.
    pub(crate) fn may_for(&self, role: &str, record: &Value) -> bool {
        role.parse().is_ok_and(|role: Role| self.rights.in_project(record["project_id"].as_str()) >= Some(role))
    }

    /// Whether who looks has that role in the whole workspace.
    pub(crate) fn may_everywhere(&self, role: &str) -> bool {
        role.parse().is_ok_and(|role: Role| self.rights.in_workspace() >= Some(role))
    }

    /// A time in a record, as pages show it.
    pub(super) fn moment(&self, record: &Value, field: &str) -> Moment {
        self.moment_at(time(record, field))
    }

    pub(super) fn moment_at(&self, at: Option<Timestamp>) -> Moment {
        Moment { at, now: self.now }
    }

    /// When what the page shows was read.
    pub(super) fn as_of(&self) -> Moment {
        self.moment_at(Some(self.now))
    }

    /// The highest role of who looks.
    pub(crate) fn role(&self) -> &'static str {
        self.rights.highest().map_or("no role", Role::as_str)
    }

    /// What is shown of the navigation.
    pub(crate) fn navigation(&self) -> Vec<(&'static str, Vec<&'static Entry>)> {
        let is_shown = |entry: &&Entry| {
            let role = if entry.in_workspace { self.rights.in_workspace() } else { self.rights.highest() };
            role >= Some(entry.role)
        };
        let groups = NAVIGATION.iter().map(|(name, entries)| (*name, entries.iter().filter(is_shown).collect()));
        groups.filter(|(_, entries): &(_, Vec<_>)| !entries.is_empty()).collect()
    }

    /// For a page that belongs to the entry with that path, and is not below it.
    pub(crate) fn within(self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self }
    }

    /// Whether the page is that entry, or below it.
    pub(crate) fn is_in(&self, entry: &Entry) -> bool {
        let below = self.path.strip_prefix(entry.path);
        below.is_some_and(|below| below.is_empty() || (entry.path != super::PATH && below.starts_with('/')))
    }

    /// The path of something that pages load.
    pub(crate) fn asset(&self, name: &str) -> String {
        assets::path(name)
    }

    /// What was done, when another page led here after doing it.
    pub(crate) fn done(&self) -> Option<&'static str> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        let (_, code) = pairs.find(|(name, _)| name == "done")?;
        DONE.iter().find(|(known, _)| *known == code).map(|(_, text)| *text)
    }
}

/// What pages say after something was done, by the code in their address: nobody can make them say something else.
const DONE: [(&str, &str); 19] = [
    ("answered", "The answer is recorded."),
    ("cancelled", "It was asked to end. It does at its next call."),
    ("created", "It was made."),
    ("deleted", "It is in the trash."),
    ("disabled", "It is disabled."),
    ("enabled", "It is enabled."),
    ("ended", "That session is over."),
    ("gone", "It was deleted for good."),
    ("logged-out", "That user is logged out everywhere."),
    ("password", "Your password is another one now. Your other sessions are over."),
    ("paused", "It is paused. Nothing reaches it until it is resumed."),
    ("restored", "It is back from the trash."),
    ("resumed", "It goes on."),
    ("rotated", "The new value is set. Calls that start from now on use it."),
    ("saved", "It was saved."),
    ("signalled", "The signal is kept until it asks for it."),
    ("started", "It was started. This page follows it."),
    ("stored", "The file is stored."),
    ("unlocked", "The lock was taken away, and given to the next one that waited."),
];

impl FromRequestParts<App> for Frame {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Answer<Self> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let base = base(&parts.headers, parts.extensions.get().copied().unwrap_or_default());
        Ok(Self { base, ..Self::new(Some(&caller), app.whole_engine().now(), path, query) })
    }
}

/// The address that the browser used.
fn base(headers: &HeaderMap, client: ClientAddress) -> String {
    let scheme = if client.is_https { "https" } else { "http" };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// A page: what it shows, in its frame.
pub(crate) trait View: Template {
    fn frame(&self) -> &Frame;
}

/// The answer with a page.
pub(crate) fn page(view: &impl View) -> Response {
    page_with(StatusCode::OK, view)
}

/// The answer with a page and another status.
pub(crate) fn page_with(status: StatusCode, view: &impl View) -> Response {
    match view.render() {
        Ok(html) => response(status, &view.frame().nonce, html),
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// Pages load what this server has, and nothing else; they run no script but ours, and are shown in no other page.
fn response(status: StatusCode, nonce: &str, html: String) -> Response {
    let mut policy = String::from("default-src 'none'; img-src 'self' data:; connect-src 'self'; form-action 'self'; ");
    policy.push_str("base-uri 'none'; frame-ancestors 'none'; ");
    let _ = write!(policy, "script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'");
    let mut response = (status, [(CONTENT_TYPE, HTML)], html).into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: Frame,
    title: &'a str,
    problem: &'a Problem,
}

impl View for ProblemPage<'_> {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// What went wrong, and the way on.
pub(crate) fn of_problem(frame: Frame, problem: &Problem) -> Response {
    let title = match problem.status() {
        StatusCode::NOT_FOUND => "This is not here",
        StatusCode::FORBIDDEN => "You may not do this",
        StatusCode::SERVICE_UNAVAILABLE => "Not at the moment",
        status if status.is_server_error() => "Something failed",
        StatusCode::CONFLICT => "Somebody was faster",
        _ => "This cannot be done",
    };
    page_with(problem.status(), &ProblemPage { frame, title, problem })
}
