//! The durable core of Surefoot: journal, replay, store, executor.
//!
//! It knows neither HTTP nor terminals nor any protocol; connectors come in through [`surefoot_connector_api`].
//! Reading order: [`engine`]
//! (the public face), [`executor`] (the loop), [`session`] (one run against its journal), [`store`].

mod approvals;
mod audit;
mod bells;
mod calls;
mod catalog;
mod clock;
mod collection;
mod core;
mod deadline;
mod doctor;
mod dry_run;
mod endings;
mod engine;
mod executor;
mod files;
mod grant;
mod host;
mod id;
pub mod journal;
mod key;
mod metrics;
mod native;
mod notifications;
mod overview;
mod passwords;
mod people;
mod planted;
mod policy;
pub mod query;
mod references;
mod reserve;
mod restarts;
mod retention;
mod runs;
#[cfg(test)]
mod scenarios;
mod schedules;
mod secrets;
pub mod session;
#[cfg(test)]
mod simulation;
mod storage;
mod store;
mod tallies;
mod times;
mod upkeep;

pub use approvals::ANSWER_BYTES_MAX;
pub use clock::{Clock, ManualClock, Timestamp};
pub use core::{Change, CommitMoment, Config, DiesAt};
pub use deadline::{Deadline, InvalidDeadline};
pub use doctor::{Examination, Finding, Severity, examine};
pub use dry_run::{Cut, DryRun, Problem, Start};
pub use engine::{
    Attachment, Attachments, Engine, EngineError, EngineResult, FlowVersion, JournalPlace, JournalReader, KnownSession,
    Link, LinkFor, Origin, Session, StartRequest, Watch, WebhookCredential,
};
pub use host::{ComponentError, Maker, check_component, made_with};
pub use id::Entropy;
pub use journal::Status;
pub use metrics::{Calls, Distribution, Ended, Figures, Histogram};
pub use native::NativeFlow;
pub use notifications::Links;
pub use overview::{ListNews, ListPlace, ListWatch};
pub use people::{Rights, Role, UnknownRole};
pub use policy::{CallPolicy, Retry};
pub use restarts::RestartVersion;
pub use retention::Retention;
pub use secrets::{Redaction, SecretsKey, WeakKey};
pub use storage::Storage;
pub use store::logs::LogLine;
pub use store::records::check_fields;
pub use store::{Refusal, StoreError};
pub use tallies::Tallied;
pub use times::{Explanation, NamedTime, Times, TimesError};
pub use upkeep::{BackupFile, Manifest, MissingContent, Restored, restore};
