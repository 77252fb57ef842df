//! The REST API in process: each route when all is well, when nothing is there, and when it is asked wrongly.

mod access;
mod approvals;
mod bulk;
mod conformance;
mod connectors;
mod events;
mod executions;
mod files;
mod flows;
mod fuzz;
mod list_events;
mod notifications;
mod people;
mod problems;
mod projects;
mod records;
mod references;
mod remote;
mod roles;
mod secrets;
mod serve;
mod setup;
mod support;
mod ui;
mod webhooks;
