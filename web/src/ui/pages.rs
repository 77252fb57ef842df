//! Pages that need no template of their own: a form, a question before something that cannot be taken back, and what is
//! shown once.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::filled::Filled;
use super::frame::{Frame, View, page_with};
use crate::schema_form::FormHtml;

/// A form. It goes to the address that it is at.
#[derive(Template)]
#[template(path = "form.html")]
pub(super) struct FormPage {
    frame: Frame,
    title: String,
    /// What to know before it is filled in; may be empty.
    about: &'static str,
    inputs: Vec<FormHtml>,
    submit: &'static str,
    /// Where to go without sending it.
    back: String,
    /// What is wrong with all of it.
    trouble: Option<String>,
}

impl View for FormPage {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl FormPage {
    pub(super) fn new(frame: Frame, title: impl Into<String>, submit: &'static str, back: impl Into<String>) -> Self {
        let (title, back) = (title.into(), back.into());
        Self { frame, title, about: "", inputs: Vec::new(), submit, back, trouble: None }
    }

    pub(super) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// The answer, with these fields, and what is wrong with what stands in them.
    pub(super) fn show(self, filled: &Filled, inputs: Vec<FormHtml>) -> Response {
        let status = if filled.is_right() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        page_with(status, &Self { inputs, trouble: filled.trouble(), ..self })
    }
}

/// A question before something that cannot be taken back easily. It names what it is about.
#[derive(Template)]
#[template(path = "ask.html")]
pub(super) struct AskPage {
    pub(super) frame: Frame,
    /// A question.
    pub(super) title: &'static str,
    /// What it is about.
    pub(super) name: String,
    pub(super) id: String,
    /// What follows.
    pub(super) about: String,
    /// What the button says that does it.
    pub(super) submit: &'static str,
    /// Where to go without.
    pub(super) back: String,
}

impl View for AskPage {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// What is shown this once, and stored nowhere.
#[derive(Template)]
#[template(path = "once.html")]
pub(super) struct OncePage {
    pub(super) frame: Frame,
    pub(super) title: String,
    /// What to do with it.
    pub(super) about: String,
    pub(super) secret: String,
    pub(super) back: String,
}

impl View for OncePage {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}
