//! The binary as users have it: started as a process, told by arguments, judged by output and exit code.

mod configuration;
mod demo;
mod flows;
mod places;
mod records;
mod retention;
mod server;
mod support;
mod terminal;
mod usage;
