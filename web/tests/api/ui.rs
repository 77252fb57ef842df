//! The pages of the web UI, in process: what is on them, for whom, and that what comes from outside stays text.

mod access;
mod approvals;
mod compare;
mod connectors;
mod execution;
mod files;
mod flows;
mod lists;
mod notifications;
mod people;
mod schedules;
mod settings;
mod system;
mod webhooks;

use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::Response;
use scraper::{Html, Selector};
use tower::ServiceExt as _;

use crate::remote::{Cookie, Remote};
use crate::support::Server;

/// A page, as a browser has read it.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) location: String,
    pub(crate) policy: String,
    pub(crate) html: String,
    set_cookie: String,
    document: Html,
}

impl Page {
    async fn of(response: Response) -> Self {
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let (status, location, policy) =
            (response.status().as_u16(), header("location"), header("content-security-policy"));
        let set_cookie = header("set-cookie");
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let html = String::from_utf8(body.to_vec()).unwrap();
        Self { status, location, policy, set_cookie, document: Html::parse_document(&html), html }
    }

    /// The cookie that it gave, as a browser sends it back.
    pub(crate) fn cookie(&self) -> &str {
        self.set_cookie.split(';').next().unwrap_or_default()
    }

    /// The texts of what a selector finds, white space folded.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        let texts = self.document.select(&selector).map(|one| one.text().collect::<String>());
        texts.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// That one text; nothing where there is none.
    pub(crate) fn text(&self, selector: &str) -> String {
        self.texts(selector).into_iter().next().unwrap_or_default()
    }

    /// Where a form or a deletion led, without what it says was done.
    #[track_caller]
    pub(crate) fn led(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text("[role=alert], .wrong"));
        self.location.split('?').next().unwrap()
    }

    /// Whether what came from outside stayed text: the page has its own script, and nothing that would run.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        assert_eq!((self.status, self.count("script")), (200, 1), "{}", self.html);
        let runs = "main img, [onerror], [onmouseover], [onload], [style], a[href^='javascript:'], svg[onload]";
        assert_eq!(self.count(runs), 0, "{}", self.html);
    }

    pub(crate) fn count(&self, selector: &str) -> usize {
        self.document.select(&Selector::parse(selector).unwrap()).count()
    }

    /// What came from outside stayed text on it: no script but its own, no handler, no address that runs something.
    #[track_caller]
    pub(crate) fn is_plain(&self, what: &str) {
        assert!(self.status < 500, "{what}: {}", self.status);
        assert_eq!(self.count("script"), usize::from(self.status != 303), "{what}");
        let dangerous = "img, [onerror], [onmouseover], [onload], a[href^='javascript:'], main b[onload]";
        assert_eq!(self.count(dangerous), 0, "{what}: {}", self.html);
    }

    /// An attribute of everything that a selector finds.
    pub(crate) fn attributes(&self, selector: &str, name: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        self.document.select(&selector).filter_map(|one| one.value().attr(name)).map(str::to_owned).collect()
    }
}

/// As the owner sees a page.
pub(crate) async fn see(server: &Server, path: &str) -> Page {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    Page::of(server.router.clone().oneshot(request).await.unwrap()).await
}

/// As the owner sends a form.
pub(crate) async fn submit(server: &Server, path: &str, fields: &[(&str, &str)]) -> Page {
    let request = Request::builder().method(Method::POST).uri(path).body(Body::from(encoded(fields))).unwrap();
    Page::of(server.router.clone().oneshot(request).await.unwrap()).await
}

fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// As a browser with that session sees a page.
pub(crate) async fn see_as(remote: &Remote, cookie: &Cookie, path: &str) -> Page {
    ask(remote, Method::GET, path, &cookie.cookie, String::new()).await
}

/// As a browser with that session sends a form, with the token that its pages have.
pub(crate) async fn submit_as(remote: &Remote, cookie: &Cookie, path: &str, fields: &[(&str, &str)]) -> Page {
    let fields: Vec<_> = fields.iter().copied().chain([("csrf_token", cookie.csrf_token.as_str())]).collect();
    ask(remote, Method::POST, path, &cookie.cookie, encoded(&fields)).await
}

/// As whoever sends that cookie, or none, is answered.
pub(crate) async fn ask(remote: &Remote, method: Method, path: &str, cookie: &str, body: String) -> Page {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if !cookie.is_empty() {
        request = request.header("cookie", cookie);
    }
    Page::of(remote.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap()).await
}
