//! The versions of a flow, and with what the present one was made.

use askama::Template;
use axum::response::Response;
use surefoot_engine::{FlowVersion, Maker, Role, made_with};

use super::Head;
use crate::caller::InReach;
use crate::extract::InPath;
use crate::operation::Operation;
use crate::problem::{Answer, Problem};
use crate::ui::frame::{Frame, View, page};
use crate::ui::words::{Moment, Size};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::page("/ui/flows/{key}/versions", show).role(Role::Viewer)]
}

#[derive(Template)]
#[template(path = "flow-versions.html")]
struct Versions {
    frame: Frame,
    head: Head,
    versions: Vec<FlowVersion>,
    /// Of the present one.
    makers: Vec<Maker>,
}

impl View for Versions {
    fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Versions {
    fn size(&self, version: &FlowVersion) -> Size {
        Size(version.size_bytes)
    }

    fn deployed(&self, version: &FlowVersion) -> Moment {
        Moment { at: version.deployed_at.parse().ok(), now: self.frame.now }
    }
}

async fn show(InReach(engine): InReach, frame: Frame, InPath(key): InPath<String>) -> Answer<Response> {
    let head = Head::read(&engine, &key, &frame, "versions").await?;
    let versions = engine.versions(&head.id).await?;
    let makers = match head.is_deployed() {
        true => {
            let component = engine.component(&head.id).await?;
            let makers = tokio::task::spawn_blocking(move || made_with(&component)).await;
            makers.map_err(|error| Problem::internal(&error))?
        }
        false => Vec::new(),
    };
    Ok(page(&Versions { frame, head, versions, makers }))
}

/// What a role of a maker is called.
fn role_of(maker: &Maker) -> &str {
    match maker.role.as_str() {
        "language" => "Language",
        "sdk" => "SDK",
        _ => "Tool",
    }
}
