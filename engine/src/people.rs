//! Who may do what: the four roles, in the whole workspace and in projects.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::passwords::Passwords;
use crate::query::Kind;
use crate::store::RecordCache;

/// What somebody may do. Each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything but secrets.
    Viewer,
    /// Run, cancel, pause, resume, signal, approve.
    Operator,
    /// Deploy flows; change records.
    Author,
    /// People, tokens, secrets; the workspace as a whole.
    Admin,
}

impl Role {
    /// All, the lowest first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Author, Self::Admin];

    /// The role that flows have at most, and that of a flow whose record names none.
    pub(crate) const OF_FLOWS: Self = Self::Author;

    /// What a flow's record says of it.
    pub(crate) fn of_flow(record: &Value) -> Self {
        let role = record["role"].as_str().and_then(|text| text.parse().ok());
        role.unwrap_or(Self::OF_FLOWS).min(Self::OF_FLOWS)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// The field of a record with the rights of who saved it.
pub(crate) const ACTS_AS: &str = "acts_as";

/// What somebody may do: a role in the whole workspace, and roles in projects. Where both say something the higher one
/// holds. Journals and records have them in this form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rights {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workspace: Option<Role>,
    /// By the id of the project.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    projects: BTreeMap<String, Role>,
}

impl Rights {
    /// A role in the whole workspace, or none, and roles in projects, by their ids.
    pub fn new(workspace: Option<Role>, projects: BTreeMap<String, Role>) -> Self {
        Self { workspace, projects }
    }

    /// That role, for everything.
    pub fn everywhere(role: Role) -> Self {
        Self::new(Some(role), BTreeMap::new())
    }

    /// What a record of a user says: `role`, and `project_roles` by project. What is no role is none.
    pub fn of_user(user: &Value) -> Self {
        let role = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let projects = user["project_roles"].as_object().into_iter().flatten();
        let projects = projects.filter_map(|(project, value)| Some((project.clone(), role(value)?)));
        Self::new(role(&user["role"]), projects.collect())
    }

    /// What a record of a token says: `role`, and the project, where it is for one.
    pub fn of_token(token: &Value) -> Self {
        let role: Option<Role> = token["role"].as_str().and_then(|text| text.parse().ok());
        match token["project_id"].as_str() {
            Some(project) => Self::new(None, role.map(|role| (project.to_owned(), role)).into_iter().collect()),
            None => Self::new(role, BTreeMap::new()),
        }
    }

    /// What a record says that acts with the rights of who saved it: a webhook, a schedule. What is no right is none.
    pub fn of_saved(record: &Value) -> Self {
        Self::deserialize(&record[ACTS_AS]).unwrap_or_default()
    }

    /// The most that an execution may have: nothing that flows ask for takes more.
    pub(crate) fn of_executions() -> Self {
        Self::everywhere(Role::OF_FLOWS)
    }

    pub(crate) fn are_of_executions(&self) -> bool {
        *self == Self::of_executions()
    }

    /// What is left of them for a flow: in its project alone if it is in one, and nowhere a higher role than that.
    #[must_use]
    pub(crate) fn capped(&self, project: Option<&str>, role: Role) -> Self {
        match project {
            Some(project) => {
                let has = self.in_project(Some(project)).map(|has| (project.to_owned(), has.min(role)));
                Self::new(None, has.into_iter().collect())
            }
            None => {
                let projects = self.projects.iter().map(|(project, has)| (project.clone(), role.min(*has)));
                Self::new(self.workspace.map(|has| has.min(role)), projects.collect())
            }
        }
    }

    /// The project in which all of them are, if it is one.
    pub(crate) fn only_project(&self) -> Option<&str> {
        match (self.workspace, self.projects.len()) {
            (None, 1) => self.projects.keys().next().map(String::as_str),
            _ => None,
        }
    }

    /// The role in the whole workspace.
    pub fn in_workspace(&self) -> Option<Role> {
        self.workspace
    }

    /// The role where a record is: in that project, by id, or in none.
    pub fn in_project(&self, project: Option<&str>) -> Option<Role> {
        self.workspace.max(project.and_then(|project| self.projects.get(project).copied()))
    }

    /// The roles in projects, by the id of the project.
    pub fn in_projects(&self) -> impl Iterator<Item = (&str, Role)> {
        self.projects.iter().map(|(project, role)| (project.as_str(), *role))
    }

    /// The highest role, wherever it holds.
    pub fn highest(&self) -> Option<Role> {
        self.workspace.max(self.projects.values().max().copied())
    }

    /// The projects in which there is that role, or a higher one, by itself.
    pub fn projects_with(&self, role: Role) -> Vec<String> {
        self.projects.iter().filter(|(_, has)| **has >= role).map(|(project, _)| project.clone()).collect()
    }
}

/// What is kept in memory of people.
pub(crate) struct People {
    pub(crate) tokens: RecordCache,
    pub(crate) users: RecordCache,
    pub(crate) passwords: Passwords,
    /// Told whenever somebody may do more or less than before.
    pub(crate) changes: watch::Sender<()>,
}

impl People {
    pub(crate) fn new() -> Self {
        Self {
            tokens: RecordCache::new(Kind::Token),
            users: RecordCache::new(Kind::User),
            passwords: Passwords::default(),
            changes: watch::Sender::default(),
        }
    }
}

/// Who sends something to an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The name under which the audit log knows them.
    pub(crate) who: String,
    /// Where the execution is; none where it is not known.
    pub(crate) role: Option<Role>,
}

#[cfg(test)]
impl From<&str> for Sender {
    fn from(who: &str) -> Self {
        Self { who: who.to_owned(), role: Some(Role::Admin) }
    }
}

/// A text that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role `{0}`; roles are viewer, operator, author, admin")]
pub struct UnknownRole(String);
