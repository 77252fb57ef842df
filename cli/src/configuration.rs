//! The configuration of a workspace as files: what `export` writes and `apply` reads, so that it can be kept under
//! version control and brought to other workspaces.
//!
//! A record is a file `KIND/NAME.toml` with the fields that a user may set. Records are named, never by id. What is
//! secret is in no file.

mod files;
mod plan;

pub(crate) use files::{read, write};
pub(crate) use plan::{Action, Change, Plan, Workspace};

use std::path::PathBuf;

use serde_json::{Map, Value};
use surefoot_engine::query::Kind;

/// The kinds that are configuration. Each refers to those before it only.
pub(crate) const KINDS: [Kind; 9] = [
    Kind::Project,
    Kind::Setting,
    Kind::Connector,
    Kind::Flow,
    Kind::Scheduler,
    Kind::Schedule,
    Kind::Webhook,
    Kind::Notification,
    Kind::User,
];

/// The field of users with roles by project: by its id in the API, by its name in files.
const PROJECT_ROLES: &str = "project_roles";

/// Fields with the id of another record, and what they are called in a file, where its name stands.
const REFERENCES: [(&str, &str, Kind); 5] = [
    ("project_id", "project", Kind::Project),
    ("setting_id", "setting", Kind::Setting),
    ("flow_id", "flow", Kind::Flow),
    ("scheduler_id", "scheduler", Kind::Scheduler),
    ("connector_id", "connector", Kind::Connector),
];

/// What stands in place of a secret that is left as it is.
pub(crate) const SECRET: &str = "***";

/// A record in a file.
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// By their names in files.
    pub(crate) fields: Map<String, Value>,
    /// Of a flow.
    pub(crate) component: Option<PathBuf>,
    /// Where it was read; for errors.
    pub(crate) file: PathBuf,
}

/// The fields that a file of the kind may have.
fn fields_in_files(kind: Kind) -> Vec<&'static str> {
    let writable = kind.fields().filter(|field| field.writable).map(|field| name_in_file(field.name));
    let component = (kind == Kind::Flow).then_some("component");
    writable.filter(|name| *name != "id").chain(component).collect()
}

fn name_in_file(field: &'static str) -> &'static str {
    REFERENCES.iter().find(|(id, ..)| *id == field).map_or(field, |(_, name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_names_every_field_of_every_kind() {
        let guide = include_str!("../../docs/guides/configuration-as-files.md");
        for kind in KINDS {
            let row = format!("| `{}/` |", kind.plural());
            let row = guide.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("there is no {row}"));
            for field in fields_in_files(kind).into_iter().filter(|field| *field != "name") {
                assert!(row.contains(&format!("`{field}`")), "`{field}` is missing: {row}");
            }
        }
    }
}
