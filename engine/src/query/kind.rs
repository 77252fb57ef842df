//! The kinds of records and their fields: one table, used by queries and by saving.

use super::QueryError;
use crate::people::ACTS_AS;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// True or false.
    Bool,
    /// A time; RFC 3339 text outside, microseconds inside.
    Time,
    /// Any JSON; only `is_null` works on it.
    Json,
}

/// One field of a kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub ty: FieldType,
    /// Whether it is always there.
    pub required: bool,
    /// Whether users may set it.
    pub writable: bool,
    /// Whether it stands in a column of its own and not in the record's document.
    pub column: bool,
    /// Whether it is shown to nobody.
    pub hidden: bool,
}

const fn column(name: &'static str, ty: FieldType, required: bool) -> Field {
    Field { name, ty, required, writable: false, column: true, hidden: false }
}

const fn data(name: &'static str, ty: FieldType) -> Field {
    Field { name, ty, required: false, writable: true, column: false, hidden: false }
}

const fn computed(name: &'static str, ty: FieldType) -> Field {
    Field { name, ty, required: false, writable: false, column: false, hidden: false }
}

/// What users set and nobody sees. It is not stored in the record.
const fn write_only(name: &'static str, ty: FieldType) -> Field {
    Field { hidden: true, ..data(name, ty) }
}

/// What the engine alone sees. A document to queries: nobody compares it or orders by it.
const fn hidden(name: &'static str) -> Field {
    Field { hidden: true, ..computed(name, Json) }
}

use FieldType::{Bool, Integer, Json, Text, Time};

/// Fields of every record kind.
const COMMON: &[Field] = &[
    column("id", Text, true),
    column("name", Text, true),
    column("revision", Integer, true),
    column("created_at", Time, true),
    column("created_by", Text, true),
    column("modified_at", Time, true),
    column("modified_by", Text, true),
    column("deleted_at", Time, false),
];

const FLOW: &[Field] = &[
    data("description", Text),
    data("project_id", Text),
    computed("version", Text),
    computed("size_bytes", Integer),
    data("deadline_ms", Integer),
    data("max_concurrent", Integer),
    data("priority", Integer),
    data("role", Text),
    data("input_schema", Json),
];
const CONNECTOR: &[Field] = &[
    data("type", Text),
    data("config", Json),
    data("timeout_ms", Integer),
    data("retry", Json),
    data("cache_ms", Integer),
    data("description", Text),
    data("project_id", Text),
];
const FILE: &[Field] = &[computed("size_bytes", Integer), computed("sha256", Text), data("project_id", Text)];
const SCHEDULE: &[Field] = &[
    data("scheduler_id", Text),
    data("setting_id", Text),
    data("flow_id", Text),
    data("project_id", Text),
    data("is_enabled", Bool),
    computed("disabled_reason", Text),
    computed("last_error", Text),
    data("description", Text),
    hidden(ACTS_AS),
];
const SCHEDULER: &[Field] = &[data("flow_id", Text), data("description", Text), data("project_id", Text)];
const SETTING: &[Field] =
    &[data("value", Json), data("description", Text), data("project_id", Text), column("locked_by", Json, false)];
const WEBHOOK: &[Field] = &[
    data("flow_id", Text),
    data("is_enabled", Bool),
    computed("disabled_reason", Text),
    data("is_key_required", Bool),
    hidden("key_sha256"),
    hidden("old_key"),
    data("is_signature_required", Bool),
    hidden("signing_secret"),
    hidden("old_signing_secret"),
    data("methods", Json),
    data("description", Text),
    data("project_id", Text),
    hidden(ACTS_AS),
];
const NOTIFICATION: &[Field] = &[
    data("on", Json),
    data("flow_id", Text),
    data("connector_id", Text),
    data("to", Json),
    data("repeat_after_ms", Integer),
    data("is_link_sent", Bool),
    data("is_enabled", Bool),
    computed("disabled_reason", Text),
    data("description", Text),
    data("project_id", Text),
    hidden(ACTS_AS),
];
const PROJECT: &[Field] = &[data("description", Text)];
const TOKEN: &[Field] = &[
    data("role", Text),
    data("expires_at", Time),
    data("description", Text),
    data("project_id", Text),
    hidden("secret_sha256"),
];
const SECRET: &[Field] = &[
    write_only("value", Text),
    computed("version", Integer),
    computed("value_set_at", Time),
    data("description", Text),
    data("project_id", Text),
];
const USER: &[Field] = &[
    data("display_name", Text),
    data("role", Text),
    data("project_roles", Json),
    data("is_enabled", Bool),
    computed("has_password", Bool),
    hidden("password_hash"),
];
const AUDIT: &[Field] = &[
    computed("action", Text),
    computed("record_kind", Text),
    computed("record_id", Text),
    computed("record_name", Text),
    computed("before", Json),
    computed("after", Json),
];

const APPROVAL: &[Field] = &[
    column("id", Text, true),
    column("name", Text, true),
    column("status", Text, true),
    column("message", Text, true),
    column("schema", Json, false),
    column("roles", Json, true),
    column("users", Json, true),
    column("execution_id", Text, true),
    column("execution_name", Text, true),
    column("created_at", Time, true),
    column("expires_at", Time, false),
    column("answered_at", Time, false),
    column("answered_by", Text, false),
    column("answer", Json, false),
    column("deleted_at", Time, false),
];

const EXECUTION: &[Field] = &[
    column("id", Text, true),
    column("type", Text, true),
    column("name", Text, true),
    column("status", Text, true),
    column("message", Text, true),
    column("error_code", Text, true),
    column("error_message", Text, true),
    column("flow_id", Text, true),
    column("version", Text, true),
    column("parent_id", Text, false),
    column("orphan", Bool, true),
    column("schedule_id", Text, false),
    column("webhook_id", Text, false),
    column("created_at", Time, true),
    column("created_by", Text, true),
    column("started_at", Time, false),
    column("ended_at", Time, false),
    column("scheduled_for", Time, false),
    column("deadline", Time, false),
    column("priority", Integer, true),
    column("input", Json, true),
    column("output", Json, true),
    column("response", Json, false),
    column("response_status", Integer, false),
    column("continued_as", Text, false),
    column("restarted_from", Text, false),
    column("restarted_from_call", Integer, false),
    column("deleted_at", Time, false),
];

/// What the rows of executions of type CONNECTION have besides. They are shown, and not to be asked for in a query.
pub const CONNECTION_FIELDS: &[Field] = &[
    computed("connector_id", Text),
    computed("connector_type", Text),
    computed("effect", Text),
    computed("attempts", Json),
    computed("cached_at", Time),
];

/// Longer names are compared with nothing, bytes.
const NAME_BYTES_MAX: usize = 64;

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words are the product's own, explained in docs/concepts")]
pub enum Kind {
    Flow,
    Connector,
    File,
    Schedule,
    Scheduler,
    Setting,
    Webhook,
    Notification,
    Project,
    Token,
    Secret,
    User,
    Audit,
    Approval,
    Execution,
}

impl Kind {
    /// All, with their names and own fields.
    pub const ALL: [(Self, &'static str, &'static [Field]); 15] = [
        (Self::Flow, "flow", FLOW),
        (Self::Connector, "connector", CONNECTOR),
        (Self::File, "file", FILE),
        (Self::Schedule, "schedule", SCHEDULE),
        (Self::Scheduler, "scheduler", SCHEDULER),
        (Self::Setting, "setting", SETTING),
        (Self::Webhook, "webhook", WEBHOOK),
        (Self::Notification, "notification", NOTIFICATION),
        (Self::Project, "project", PROJECT),
        (Self::Token, "token", TOKEN),
        (Self::Secret, "secret", SECRET),
        (Self::User, "user", USER),
        (Self::Audit, "audit", AUDIT),
        (Self::Approval, "approval", APPROVAL),
        (Self::Execution, "execution", EXECUTION),
    ];

    /// The name in the contract, the API and the CLI.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// What the API calls many of them.
    pub fn plural(self) -> String {
        match self {
            Self::Audit => self.as_str().to_owned(),
            _ => format!("{}s", self.as_str()),
        }
    }

    /// Whether it is for admins alone: who may do what, who did, and what is secret. Flows neither see nor change it.
    pub fn is_about_people(self) -> bool {
        matches!(self, Self::Token | Self::Secret | Self::User | Self::Audit)
    }

    /// Whether its records may be in a project.
    pub fn has_project(self) -> bool {
        self.fields().any(|field| field.name == "project_id")
    }

    /// Whether executions make it by what they do, and nobody else: it is neither saved nor deleted by itself.
    pub fn is_of_executions(self) -> bool {
        matches!(self, Self::Approval | Self::Execution)
    }

    /// The kind with that name, for a flow.
    pub(crate) fn parse_for_flow(name: &str) -> Result<Self, QueryError> {
        match Self::parse(name)? {
            kind if kind.is_about_people() => Err(QueryError(format!("flows have no access to the kind `{name}`"))),
            kind => Ok(kind),
        }
    }

    /// The kind with that name.
    pub fn parse(name: &str) -> Result<Self, QueryError> {
        Self::ALL.iter().find(|(_, candidate, _)| *candidate == name).map(|(kind, ..)| *kind).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|(_, name, _)| *name).collect();
            QueryError(format!("there is no kind `{name}`; kinds are {}", names.join(", ")))
        })
    }

    /// All fields.
    pub fn fields(self) -> impl Iterator<Item = &'static Field> {
        let own = Self::ALL.iter().find(|(kind, ..)| *kind == self).map_or(&[] as &[_], |(.., own)| own);
        let common = if self.is_of_executions() { &[] } else { COMMON };
        common.iter().chain(own)
    }

    /// The field with that name.
    pub fn field(self, name: &str) -> Result<&'static Field, QueryError> {
        self.fields().find(|field| field.name == name).ok_or_else(|| {
            let nearest = self
                .fields()
                .filter(|_| name.len() <= NAME_BYTES_MAX)
                .map(|field| (strsim::damerau_levenshtein(name, field.name), field.name))
                .min()
                .filter(|(distance, _)| *distance <= 3)
                .map(|(_, near)| format!("; did you mean `{near}`?"));
            let hint = nearest.unwrap_or_else(|| {
                let names: Vec<_> = self.fields().map(|field| field.name).collect();
                format!("; fields are {}", names.join(", "))
            });
            QueryError(format!("the kind {} has no field `{}`{hint}", self.as_str(), shortened(name)))
        })
    }
}

/// A name for a message, cut when it is long.
fn shortened(name: &str) -> String {
    name.chars().take(NAME_BYTES_MAX).collect()
}
