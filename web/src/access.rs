//! Who may call. Checked before anything else: the host that a request names, against web pages that reach a loopback
//! port by DNS rebinding; then the token of the API. Keys of webhooks are checked where webhooks are.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use surefoot_engine::{Role, Timestamp};

use crate::Access;
use crate::app::App;
use crate::problem::Problem;

/// Under these paths the token is needed, also for what does not exist there.
pub(crate) const GUARDED: [&str; 2] = ["/api/v1", "/metrics"];

/// Hosts that are always allowed, with any port.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Who calls, as far as it is known. Routes that need a role look for it, and let nobody in without.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Recorded as the author of what is changed.
    pub(crate) who: String,
    pub(crate) role: Role,
}

impl Caller {
    /// Refuses one whose role is lower.
    pub(crate) fn require(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        let detail = format!("this needs the role {role}, and {} has the role {}", self.who, self.role);
        Err(Problem::forbidden(detail).hint("ask an admin of this workspace for the role"))
    }

    /// Refuses to start a built-in flow for one who may not try connectors: with inputs of its own such a flow would
    /// send what a connector keeps secret to any host.
    pub(crate) fn may_start(&self, flow: &str) -> Result<(), Problem> {
        if flow.starts_with("native:") { self.require(Role::Author) } else { Ok(()) }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::no_token)
    }
}

/// Lets a request through, with who calls, or says why not.
pub(crate) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let found = match &app.options().access {
        Access::Local => Ok(Some(Caller { who: "local".to_owned(), role: Role::Admin })),
        Access::Remote { hosts, token_sha256 } => {
            check_host(&request, hosts).and_then(|()| check_token(&app, &request, token_sha256))
        }
    };
    match found {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Whether `secret` has that hexadecimal SHA-256. Takes the same time whether it has or not.
pub(crate) fn has_digest(secret: &str, sha256: &str) -> bool {
    let digest = hex::encode(Sha256::digest(secret.as_bytes()));
    digest.as_bytes().ct_eq(sha256.to_ascii_lowercase().as_bytes()).into()
}

/// The token of the `Authorization: Bearer` header; none when there are several such headers.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Every name that the request gives must be allowed, and it must give one.
fn check_host(request: &Request, hosts: &[String]) -> Result<(), Problem> {
    let from_header = request.headers().get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let named: Vec<&str> = request.uri().authority().map(Authority::as_str).into_iter().chain(from_header).collect();
    match named.iter().find(|host| !is_allowed(host, hosts)) {
        None if !named.is_empty() => Ok(()),
        refused => {
            let detail = match refused {
                Some(host) => format!("the host `{host}` is not one of this server's"),
                None => "the request names no host".to_owned(),
            };
            let hint = "add the host to the server's list of allowed hosts, or call it as localhost";
            Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail).hint(hint))
        }
    }
}

fn is_allowed(named: &str, hosts: &[String]) -> bool {
    let Ok(authority) = named.parse::<Authority>() else {
        return false;
    };
    // Nothing before the host, such as `user@`, and nothing after it but a port.
    let after = named.strip_prefix(authority.host());
    let is_port = |text: &str| text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if !after.is_some_and(|after| after.is_empty() || is_port(after)) {
        return false;
    }
    let is_own = OWN_HOSTS.iter().any(|own| authority.host().eq_ignore_ascii_case(own));
    is_own || hosts.iter().any(|host| host.eq_ignore_ascii_case(authority.host()) || host.eq_ignore_ascii_case(named))
}

/// Whether a caller must be known there, also where nothing is; elsewhere nobody is asked.
pub(crate) fn is_guarded(path: &str) -> bool {
    let below = GUARDED.iter().find_map(|guarded| path.strip_prefix(guarded));
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

fn check_token(app: &App, request: &Request, token_sha256: &str) -> Result<Option<Caller>, Problem> {
    if !is_guarded(request.uri().path()) {
        return Ok(None);
    }
    let token = bearer_token(request.headers()).ok_or_else(Problem::no_token)?;
    if has_digest(token, token_sha256) {
        return Ok(Some(Caller { who: "api".to_owned(), role: Role::Admin }));
    }
    of_record(app, token).map(Some)
}

/// Who has been given that token.
fn of_record(app: &App, token: &str) -> Result<Caller, Problem> {
    let unknown = || Problem::unauthorized("the token is not this server's");
    let record = app.engine().token_for_call(token)?.ok_or_else(unknown)?;
    let text = |field: &str| record[field].as_str().unwrap_or_default();
    if !has_digest(token, text("secret_sha256")) {
        return Err(unknown());
    }
    // What cannot be read as a time is over.
    let is_good_until = |at: &str| at.parse::<Timestamp>().is_ok_and(|at| at > app.engine().now());
    if record["expires_at"].as_str().is_some_and(|at| !is_good_until(at)) {
        let detail = format!("the token `{}` expired at {}", text("name"), text("expires_at"));
        return Err(Problem::unauthorized(detail).hint("ask an admin of this workspace for a new one"));
    }
    let role = text("role").parse().map_err(|_| unknown())?;
    Ok(Caller { who: format!("token {}", text("name")), role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_as_names_and_not_as_text() {
        let hosts = ["surefoot.example".to_owned(), "proxy.example:8443".to_owned()];
        let allowed = |named: &str| is_allowed(named, &hosts);
        for named in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:65535", "[::1]", "Surefoot.Example:99"] {
            assert!(allowed(named), "{named}");
        }
        assert!(allowed("proxy.example:8443"));
        let refused = [
            "proxy.example",
            "proxy.example:8444",
            "evil.example",
            "localhost.evil.example",
            "evil.example@localhost",
            "user@127.0.0.1",
            "127.0.0.2",
            "[::2]",
            "",
            "localhost:port",
            "localhost/x",
        ];
        for named in refused {
            assert!(!allowed(named), "{named}");
        }
    }

    #[test]
    fn a_digest_fits_its_secret_alone() {
        let digest = hex::encode(Sha256::digest(b"right"));
        assert!(has_digest("right", &digest));
        assert!(has_digest("right", &digest.to_uppercase()));
        assert!(!has_digest("wrong", &digest));
        assert!(!has_digest("right", &digest[..63]));
        assert!(!has_digest("", ""));
    }
}
