//! Who may call. Checked before anything else: the host that a request names, against web pages that reach a loopback
//! port by DNS rebinding; then the token or the session of the caller. Keys of webhooks are checked where webhooks are.

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::Access;
use crate::app::App;
use crate::caller::Caller;
use crate::cookies;
use crate::problem::{Answer, Problem};
use crate::ui;

/// Under these paths the token is needed, also for what does not exist there.
pub(crate) const GUARDED: [&str; 3] = ["/api/v1", "/metrics", ui::PATH];

/// Hosts that are always allowed, with any port.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Lets a request through, with who calls, or says why not.
pub(crate) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let found = match &app.options().access {
        Access::Local => Ok(Some(Caller::owner())),
        Access::Remote { hosts, token_sha256 } => {
            check_host(&request, hosts).and_then(|()| caller(&app, &request, token_sha256))
        }
    };
    match found {
        Ok(caller) => {
            let Some(caller) = caller else { return next.run(request).await };
            note_seen(&app, &caller).await;
            let for_page = ui::is_at(request.uri().path()).then(|| caller.clone());
            request.extensions_mut().insert(caller);
            let mut response = next.run(request).await;
            // Where that is refused, the page that says so is one for this caller.
            if let Some(caller) = for_page {
                response.extensions_mut().insert(caller);
            }
            response
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

/// Who calls. A problem where that must be known and is not, but for what is open to everybody.
fn caller(app: &App, request: &Request, token_sha256: &str) -> Answer<Option<Caller>> {
    if !is_guarded(request.uri().path()) {
        return Ok(None);
    }
    if app.is_open(request.method(), request.uri().path()) {
        return refuse_cross_site(request.headers()).map(|()| None);
    }
    if let Some(token) = bearer_token(request.headers()) {
        return match has_digest(token, token_sha256) {
            true => Ok(Some(Caller::of_file())),
            false => Caller::of_token(app, token).map(Some),
        };
    }
    let secret = cookies::session(request.headers()).ok_or_else(Problem::no_token)?;
    let caller = Caller::of_session(app, secret)?;
    let only_looks = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    // Forms of pages show the token in a field: `ui::forms` looks there.
    if let Some(session) = caller.session().filter(|_| !only_looks && !ui::is_at(request.uri().path())) {
        check_csrf(request.headers(), &session.csrf_token)?;
    }
    Ok(Some(caller))
}

async fn note_seen(app: &App, caller: &Caller) {
    let Some(session) = caller.session().filter(|session| session.is_unseen) else { return };
    if let Err(error) = app.whole_engine().note_seen(&session.id).await {
        // It is over sooner then, and that is all.
        tracing::debug!(%error, "it could not be noted that a session is used");
    }
}

/// A browser sends the cookie along with whatever a page makes it send; the token only a page of this server knows.
fn check_csrf(headers: &HeaderMap, expected: &str) -> Answer<()> {
    let shown = headers.get(cookies::CSRF_HEADER).map_or(&b""[..], HeaderValue::as_bytes);
    match bool::from(shown.ct_eq(expected.as_bytes())) {
        true => Ok(()),
        false => {
            let problem = Problem::forbidden("a change by a session needs its CSRF token");
            Err(problem.hint("send it as header `X-CSRF-Token`; `GET /api/v1/me` tells it"))
        }
    }
}

/// What needs no credentials another site could have sent, to log somebody in as somebody else. Browsers say so; older
/// ones, and all where there is no TLS, only say from where. What says neither is no browser.
pub(crate) fn refuse_cross_site(headers: &HeaderMap) -> Answer<()> {
    let is_other = match (headers.get("sec-fetch-site"), headers.get(ORIGIN)) {
        (Some(site), _) => matches!(site.as_bytes(), b"cross-site" | b"same-site"),
        (None, Some(origin)) => !is_of_host(origin, headers.get(HOST)),
        (None, None) => false,
    };
    match is_other {
        true => Err(Problem::forbidden("this request comes from a page of another site")),
        false => Ok(()),
    }
}

/// Whether an origin, such as `https://flows.example.com`, is that of the host that the request names.
fn is_of_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let named = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let origin = named(origin).and_then(|origin| Some(origin.split_once("://")?.1.to_owned()));
    origin.is_some() && origin == host.and_then(named)
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
    fn what_another_site_sends_is_known_by_what_browsers_say() {
        let is_refused = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            refuse_cross_site(&pairs.collect()).is_err()
        };
        let host = ("host", "flows.example:8443");
        let origin = |origin: &'static str| is_refused(&[host, ("origin", origin)]);
        assert!(!is_refused(&[host]) && !origin("https://flows.example:8443") && !origin("http://FLOWS.example:8443"));
        for other in ["https://evil.example", "https://flows.example", "https://flows.example:8443.evil", "null", ""] {
            assert!(origin(other), "{other}");
        }
        assert!(is_refused(&[("origin", "https://flows.example")]), "nothing says that it is this one");
        // What the browser says itself counts more: a proxy may have another host than the browser knows.
        assert!(!is_refused(&[host, ("sec-fetch-site", "same-origin"), ("origin", "https://other.example")]));
        assert!(is_refused(&[host, ("sec-fetch-site", "same-site"), ("origin", "https://flows.example:8443")]));
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
