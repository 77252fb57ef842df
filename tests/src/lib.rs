//! What the end-to-end tests share: real servers, and a harness for each layer.

pub mod browser;
pub mod command;
pub mod connector_harness;
pub mod leaks;
pub mod namespace;
pub mod pages;
pub mod samples;
pub mod server_process;
pub mod servers;
pub mod workspace;
