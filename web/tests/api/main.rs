//! The REST API in process: each route when all is well, when nothing is there, and when it is asked wrongly.

mod access;
mod bulk;
mod conformance;
mod connectors;
mod events;
mod executions;
mod files;
mod flows;
mod fuzz;
mod problems;
mod records;
mod roles;
mod secrets;
mod serve;
mod support;
mod webhooks;
