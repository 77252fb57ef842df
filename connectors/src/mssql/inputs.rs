//! What is particular to SQL Server in what users write; the rest is in [`crate::sql::inputs`].

use schemars::JsonSchema;
use serde::Deserialize;
use tiberius::IsolationLevel;

use crate::sql::inputs::{self, SqlInputs, Wording};

/// Inputs of a call.
pub(super) type MssqlInputs = SqlInputs<Encrypt, Isolation>;
/// A call, ready to be performed.
pub(super) type Plan = inputs::Plan<Encrypt, Isolation>;
/// Where to connect, and as whom.
pub(super) type Server = inputs::Server<Encrypt>;

/// What the inputs are called here.
pub(super) const WORDING: Wording = Wording {
    port: 1433,
    params: "`@P1`, `@P2`, …",
    param_values: "null, booleans, numbers or text",
    login: "SQL Server authentication",
    database: "the one that the server gives the login",
    beside: "beside",
};

/// The description of [`Encrypt`].
pub(super) const ENCRYPT: &str = "What is encrypted: `required` (default): everything; `login`: the login only, as \
    the server wishes beyond; `off`: nothing, unless the server insists.";

/// What is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encrypt {
    #[default]
    Required,
    Login,
    Off,
}

/// Isolation level, by the names of T-SQL.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
    Snapshot,
}

impl Isolation {
    /// The level for a transaction.
    pub(super) fn level(self) -> IsolationLevel {
        match self {
            Self::ReadUncommitted => IsolationLevel::ReadUncommitted,
            Self::ReadCommitted => IsolationLevel::ReadCommitted,
            Self::RepeatableRead => IsolationLevel::RepeatableRead,
            Self::Serializable => IsolationLevel::Serializable,
            Self::Snapshot => IsolationLevel::Snapshot,
        }
    }

    /// The level for what the session does outside of a transaction.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
            Self::ReadCommitted => "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            Self::RepeatableRead => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            Self::Serializable => "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            Self::Snapshot => "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
        }
    }
}
