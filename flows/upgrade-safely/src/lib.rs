//! Tests the critical parts of a workspace. Run it before and after an upgrade, or give its webhook to whoever
//! upgrades.
//!
//! Seven checks in three sections:
//!
//! 1. *connections*: an FTP server, a remote host by SCP, a database, a mail server;
//! 2. *scheduler*: a self-built scheduler gets a schedule, and must have an execution waiting soon;
//! 3. *critical processes*: two flows, in their test mode.
//!
//! A failed check never ends the test. At the end the caller gets `Test successful.` with status 200, or status 500
//! and one line for each failed check, in the order of the flow. The reasons are in the checks.
//!
//! Before the first run there must be: the file `my/test/file.txt` on the FTP server; the connectors
//! `my-ftp-connector`, `my-scp-connector`, `my-mssql-connector` and `my-smtp-connector`; the scheduler, setting, flow
//! and project that [`Request`] names; the flows `my-critical-flow-1` and `my-critical-flow-2`.
//!
//! Whatever its end, the test leaves no file and no enabled schedule behind.

mod connections;
mod processes;
mod report;
mod schedule;

use serde::Deserialize;
use surefoot::prelude::*;

use crate::report::Report;

/// What may be asked for. Every input has a default, so a webhook's caller need not send any.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Request {
    /// Name or id of the scheduler to test.
    pub scheduler: String,
    /// Name or id of the setting that the schedule gets.
    pub setting: String,
    /// Name or id of the flow that the schedule would start.
    pub flow: String,
    /// Name or id of the project that the schedule belongs to.
    pub project: String,
    /// How long the system has to start the schedule.
    pub schedule_wait_seconds: u64,
    /// What happens to the mail if the host crashes while it is sent: `retry` sends it again, perhaps twice;
    /// otherwise the check fails.
    pub mail_on_interrupt: MailOnInterrupt,
}

/// The choices of [`Request::mail_on_interrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailOnInterrupt {
    /// The check fails.
    Fail,
    /// The mail is sent again.
    Retry,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            scheduler: "my-self-build-scheduler".into(),
            setting: "my-test-setting".into(),
            flow: "my-test-flow".into(),
            project: "my-test-project".into(),
            schedule_wait_seconds: 5,
            mail_on_interrupt: MailOnInterrupt::Fail,
        }
    }
}

#[surefoot::flow]
fn handler(system: &System, this: &Execution, request: Request) -> ! {
    let mut report = Report::default();

    this.section("connections");
    report.add("my-ftp-connector", |name| this.check(name, || connections::download(system, this)));
    report.add("my-scp-connector", |name| this.check(name, || connections::upload(system, this)));
    report.add("my-mssql-connector", |name| this.check(name, || connections::query(this)));
    report.add("my-smtp-connector", |name| this.check(name, || connections::mail(this, request.mail_on_interrupt)));

    this.section("scheduler");
    report.add("my-self-build-scheduler", |name| this.check(name, || schedule::starts(system, this, &request)));

    this.section("critical processes");
    report.add("my-critical-flow-1", |name| this.check(name, || processes::works(this, name)));
    report.add("my-critical-flow-2", |name| this.check(name, || processes::works(this, name)));

    this.webhook_response(report.body(), report.status())
}
