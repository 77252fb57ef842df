//! What forms of pages send.

use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::caller::Caller;
use crate::extract::read_body;
use crate::problem::{Answer, Problem};

/// The field with the token that only a page of this server knows.
pub(crate) const CSRF_FIELD: &str = "csrf_token";

/// Length of what a form sends, bytes.
const BYTES_MAX: usize = 4 << 20;

/// The fields of a form, in its order, as the browser sent them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

/// Reads what a form sends, and refuses what no page of this server made for the session that it comes with.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    match read(request).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn read(request: Request) -> Answer<Request> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(Request::new(body), BYTES_MAX).await?;
    let mut fields = Fields::parse(&bytes);
    // A field of that name that comes later belongs to the form.
    let token = fields.0.iter().position(|(name, _)| name == CSRF_FIELD).map(|at| fields.0.remove(at).1);
    check_token(parts.extensions.get(), token.as_deref().unwrap_or_default())?;
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(fields);
    Ok(request)
}

/// Refuses what does not show the token of the session that it comes with.
pub(crate) fn check_token(caller: Option<&Caller>, shown: &str) -> Answer<()> {
    match caller.and_then(Caller::session) {
        Some(session) if !bool::from(shown.as_bytes().ct_eq(session.csrf_token.as_bytes())) => {
            let problem = Problem::forbidden("this form is not one that was made for your session");
            Err(problem.hint("go back, load the page anew, and send it again"))
        }
        _ => Ok(()),
    }
}

impl Fields {
    /// Those of a form that has no file.
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// One more, the last.
    pub(crate) fn push(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    /// All of them.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The first field of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The first field of that name, without white space around it; none when nothing else is there.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// Like [`text`](Self::text), refusing when there is none. `label` is what the page calls it.
    pub(crate) fn required(&self, name: &str, label: &str) -> Answer<&str> {
        self.text(name).ok_or_else(|| Problem::invalid(format!("{label} is missing")))
    }
}

impl<S: Sync> FromRequestParts<S> for Fields {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.remove::<Self>().unwrap_or_default())
    }
}
