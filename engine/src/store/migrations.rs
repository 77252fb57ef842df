//! The numbered migrations, forward only.

use rusqlite_migration::{M, Migrations};

/// All migrations in order. A released one never changes; a test keeps its digest.
pub(super) const STEPS: &[&str] = &[include_str!("0001_initial.sql")];

pub(super) fn all() -> Migrations<'static> {
    Migrations::new(STEPS.iter().map(|sql| M::up(sql)).collect())
}
