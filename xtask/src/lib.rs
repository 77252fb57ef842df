//! The facts about this repository that its automation and its tests share: where things are, which flows there
//! are and where their components end up, which acceptance rows the tests cover.
//!
//! Nothing here prints, builds or installs: the commands in `main.rs` do. Nothing here depends on another crate
//! of the workspace, so that `cargo xtask` starts within seconds on a fresh machine.

pub mod flows;
pub mod repo;
pub mod rows;
