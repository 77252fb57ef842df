//! The commands: one file and one line in each table here.

mod apply;
mod approval;
mod audit;
mod backup;
mod build;
mod config;
pub(crate) mod connector;
#[cfg(feature = "demo")]
mod demo;
mod deploy;
mod doctor;
mod execution;
mod export;
mod file;
mod flow;
mod new;
mod notification;
mod openapi;
mod project;
mod restore;
mod run;
mod schedule;
mod scheduler;
mod secret;
mod serve;
mod setting;
mod system;
mod token;
mod user;
mod webhook;

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;
use crate::settings::{Log, LogFormat, LogLevel};

/// What can be done.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// See it work: build the example flows, start target systems, test an upgrade over HTTP
    #[cfg(feature = "demo")]
    Demo(demo::Arguments),
    /// Open the workspace, do its work, and answer HTTP
    Serve(serve::Arguments),
    /// What the server is told, and where each value comes from
    Config(config::Arguments),
    /// Make the folder of a new flow
    New(new::Arguments),
    /// Build a flow's component
    Build(build::Arguments),
    /// Make a component the present version of a flow
    Deploy(deploy::Arguments),
    /// Run a flow and wait for its end
    Run(run::Arguments),
    /// Look at executions and steer them
    #[command(subcommand, visible_alias = "executions")]
    Execution(execution::Command),
    /// What executions ask, and answering it
    #[command(subcommand, visible_alias = "approvals")]
    Approval(approval::Command),
    /// Deployed flows and their versions
    #[command(subcommand, visible_alias = "flows")]
    Flow(flow::Command),
    /// Stored configurations of connector types
    #[command(subcommand, visible_alias = "connectors")]
    Connector(connector::Command),
    /// Files of the workspace
    #[command(subcommand, visible_alias = "files")]
    File(file::Command),
    /// What starts flows at times
    #[command(subcommand, visible_alias = "schedules")]
    Schedule(schedule::Command),
    /// Flows that decide when
    #[command(subcommand, visible_alias = "schedulers")]
    Scheduler(scheduler::Command),
    /// Stored JSON documents
    #[command(subcommand, visible_alias = "settings")]
    Setting(setting::Command),
    /// Names under which HTTP callers start flows
    #[command(subcommand, visible_alias = "webhooks")]
    Webhook(webhook::Command),
    /// Who is told when a flow fails, works again, or asks something
    #[command(subcommand, visible_alias = "notifications")]
    Notification(notification::Command),
    /// Groups of records
    #[command(subcommand, visible_alias = "projects")]
    Project(project::Command),
    /// Values that connectors use and nobody sees
    #[command(subcommand, visible_alias = "secrets")]
    Secret(secret::Command),
    /// What programs and people show to the API
    #[command(subcommand, visible_alias = "tokens")]
    Token(token::Command),
    /// Bring the configuration of the workspace to what the files of a folder say
    Apply(apply::Arguments),
    /// Write the configuration of the workspace to files
    Export(export::Arguments),
    /// Who may log in, and what they may do
    #[command(subcommand, visible_alias = "users")]
    User(user::Command),
    /// Who changed what, and when
    #[command(subcommand)]
    Audit(audit::Command),
    /// Copy the workspace into a folder, while it is at work
    Backup(backup::Arguments),
    /// Make a new workspace from a backup; nothing in it goes on until you say so
    Restore(restore::Arguments),
    /// Look for what is damaged, and for what stands still and why
    Doctor(doctor::Arguments),
    /// What the workspace takes on the disk, and for how long what has ended is kept
    System,
    /// Print the OpenAPI document of the HTTP API
    Openapi,
}

impl Command {
    /// What of the inside is told without asking: of a server, as its settings say.
    ///
    /// # Errors
    /// When the settings are wrong.
    pub(crate) fn log(&self, context: &Context) -> Result<Log> {
        let level = match self {
            // What it breaks on purpose would come as warnings.
            #[cfg(feature = "demo")]
            Self::Demo(_) => LogLevel::Error,
            Self::Serve(arguments) => return Ok(context.settings(&arguments.flags)?.log),
            _ => LogLevel::Warn,
        };
        Ok(Log { level, format: LogFormat::Text })
    }
}

/// Does what was asked. The exit code is one of [`exit_codes`](crate::exit_codes).
pub(crate) async fn run(command: Command, context: &Context) -> Result<u8> {
    match command {
        #[cfg(feature = "demo")]
        Command::Demo(arguments) => demo::run(arguments, context).await,
        Command::Serve(arguments) => serve::run(arguments, context).await,
        Command::Config(arguments) => config::run(&arguments, context),
        Command::New(arguments) => new::run(&arguments, context),
        Command::Build(arguments) => build::run(&arguments, context).await,
        Command::Deploy(arguments) => deploy::run(arguments, context).await,
        Command::Run(arguments) => run::run(arguments, context).await,
        Command::Execution(command) => execution::run(command, context).await,
        Command::Approval(command) => approval::run(command, context).await,
        Command::Flow(command) => flow::run(command, context).await,
        Command::Connector(command) => connector::run(command, context).await,
        Command::File(command) => file::run(command, context).await,
        Command::Schedule(command) => schedule::run(command, context).await,
        Command::Scheduler(command) => scheduler::run(command, context).await,
        Command::Setting(command) => setting::run(command, context).await,
        Command::Webhook(command) => webhook::run(command, context).await,
        Command::Notification(command) => notification::run(command, context).await,
        Command::Project(command) => project::run(command, context).await,
        Command::Secret(command) => secret::run(command, context).await,
        Command::Token(command) => token::run(command, context).await,
        Command::User(command) => user::run(command, context).await,
        Command::Audit(command) => audit::run(command, context).await,
        Command::Apply(arguments) => apply::run(arguments, context).await,
        Command::Export(arguments) => export::run(arguments, context).await,
        Command::Backup(arguments) => backup::run(arguments, context).await,
        Command::Doctor(arguments) => doctor::run(&arguments, context).await,
        Command::Restore(arguments) => restore::run(&arguments, context).await,
        Command::System => system::run(context).await,
        Command::Openapi => openapi::run(context),
    }
}
