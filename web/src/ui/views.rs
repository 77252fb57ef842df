//! Filters that somebody keeps under a name. The browser keeps them, in a cookie that goes to pages alone; the address
//! of a list is how others get one.

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};

use super::forms::Fields;
use crate::extract::percent_encoded;
use crate::operation::{Needs, Operation};
use crate::problem::{Answer, Problem};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::action("/ui/views/keep", keep).needs(Needs::Known),
        Operation::action("/ui/views/forget", forget).needs(Needs::Known),
    ]
}

const COOKIE_NAME: &str = "surefoot_views";

/// A cookie has a little more than this; what is encoded has up to three times its length.
const BYTES_MAX: usize = 3500;

const NAME_MAX: usize = 60;

/// A filter of the list of executions, and how somebody calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(rename = "n")]
    pub(super) name: String,
    #[serde(rename = "q")]
    pub(super) query: String,
}

/// What the browser kept; nothing where it is not what we gave it.
pub(super) struct Kept(pub(super) Vec<Saved>);

impl<S: Sync> FromRequestParts<S> for Kept {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let mut pairs = cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let kept = pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, value)| value).unwrap_or_default();
        Ok(Self(hex::decode(kept).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()))
    }
}

async fn keep(Kept(mut kept): Kept, fields: Fields) -> Answer<Response> {
    let name = fields.required("name", "The name of the view")?;
    if name.chars().count() > NAME_MAX {
        return Err(Problem::invalid(format!("the name of a view has {NAME_MAX} letters at most")));
    }
    let query = fields.get("filter").unwrap_or_default().to_owned();
    kept.retain(|saved| saved.name != name);
    kept.push(Saved { name: name.to_owned(), query: query.clone() });
    answer(&kept, &query)
}

async fn forget(Kept(mut kept): Kept, fields: Fields) -> Answer<Response> {
    let name = fields.required("name", "The name of the view")?;
    kept.retain(|saved| saved.name != name);
    answer(&kept, fields.get("filter").unwrap_or_default())
}

/// Gives the browser what to keep, and leads back to the list.
fn answer(kept: &[Saved], query: &str) -> Answer<Response> {
    let text = serde_json::to_vec(kept).map(hex::encode).map_err(|error| Problem::internal(&error))?;
    if text.len() > BYTES_MAX {
        return Err(Problem::invalid("a browser keeps no more views than that").hint("forget one first"));
    }
    let cookie = format!("{COOKIE_NAME}={text}; Path=/ui; HttpOnly; SameSite=Strict; Max-Age=31536000");
    let cookie = HeaderValue::from_str(&cookie).map_err(|error| Problem::internal(&error))?;
    let back = Redirect::to(&format!("/ui/executions?filter={}", percent_encoded(query)));
    Ok(([(SET_COOKIE, cookie)], back).into_response())
}
