//! Write Surefoot flows in Rust.
//!
//! A flow is a function with the attribute [`macro@flow`]. It gets the workspace ([`System`]), its own
//! execution ([`Execution`]) and its inputs, and returns anything that can be serialised:
//!
//! ```no_run
//! use surefoot::prelude::*;
//!
//! #[surefoot::flow]
//! fn handler(system: &System, this: &Execution, inputs: Inputs) -> Result<Value> {
//!     let name: String = inputs.get("file")?;
//!     this.connect("my-ftp-connector")
//!         .name("download from FTP server")
//!         .input("src", format!("my/test/{name}"))
//!         .input("dst", format!("surefoot:{name}"))
//!         .run()?;
//!     let size = system.file(&name).stat()?.map(|stat| stat.size_bytes);
//!     info!(file = name; "downloaded");
//!     Ok(json!({ "size_bytes": size }))
//! }
//! # fn main() {}
//! ```
//!
//! The engine journals every call in this crate. After a crash it runs the flow again and answers the calls
//! that were made before from the journal, so a flow carries on where it was. The clock, the random numbers
//! and the order of a `HashMap` come from the journal too: a flow needs no care to be repeatable.
//!
//! A flow is built for `wasm32-wasip2`. Built for any other target it compiles as well, so its pure parts can
//! have unit tests; a call of the host panics there, because there is none.
//!
//! What a flow calls hangs on [`Execution`] (calls, waits, reports, ways to end) and on [`System`] (records,
//! queries, files). The contract's raw bindings are private, and only the module `host` uses them.

pub use serde_json::{self, Value, json};
/// Makes a function the entry of a flow.
///
/// ```no_run
/// use serde::{Deserialize, Serialize};
/// use surefoot::prelude::*;
///
/// #[derive(Deserialize)]
/// struct Request {
///     status: String,
/// }
///
/// #[derive(Serialize)]
/// struct Answer {
///     executions: usize,
/// }
///
/// #[surefoot::flow]
/// fn handler(system: &System, _this: &Execution, request: Request) -> Result<Answer> {
///     let executions = system.executions().filter(field("status").eq(request.status)).all()?;
///     Ok(Answer { executions: executions.len() })
/// }
/// # fn main() {}
/// ```
///
pub use surefoot_macros::flow;

pub use crate::ask::{Ask, Asked, Signal};
pub use crate::call::{Connection, FlowCall, OnInterrupt};
pub use crate::check::{CheckResult, Outcome};
pub use crate::dependency::{Dependency, Ended, ReturnWhen};
pub use crate::error::{Error, Failure, Result};
pub use crate::execution::Execution;
pub use crate::file::{File, FileReader, FileStat};
pub use crate::inputs::Inputs;
pub use crate::lock::Lock;
pub use crate::log::Level;
pub use crate::on_end::OnEnd;
pub use crate::query::{Field, Filter, Query, Rows, field};
pub use crate::record::{Kind, Record, RecordRef};
pub use crate::response::Response;
pub use crate::retry::Retry;
pub use crate::system::System;

mod ask;
mod call;
mod check;
mod dependency;
mod error;
mod execution;
mod file;
mod inputs;
mod lock;
mod log;
mod on_end;
mod query;
mod record;
mod response;
mod retry;
mod system;

#[doc(hidden)]
pub mod bindings;
mod entry;
mod host;
mod json_text;

/// What almost every flow needs: `use surefoot::prelude::*;`.
pub mod prelude {
    pub use std::time::Duration;

    pub use crate::{
        CheckResult, Dependency, Ended, Error, Execution, Failure, Filter, Inputs, Level, Lock, OnInterrupt, Record,
        Response, Result, Retry, ReturnWhen, System, Value, debug, ensure, error, field, info, json, warn,
    };
}

/// For the code that this crate's macros write; not part of its interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::entry::{enter, returned_result, returned_value};
    pub use crate::log::{field_value, write_line};
}
