//! The numbered migrations, forward only.

use rusqlite_migration::{M, Migrations};

/// All migrations in order. A released one never changes; a test keeps its digest.
pub(super) const STEPS: &[&str] = &[include_str!("0001_initial.sql"), include_str!("0002_append_only_journal.sql")];

pub(super) fn all() -> Migrations<'static> {
    Migrations::new(STEPS.iter().map(|sql| M::up(sql)).collect())
}

#[cfg(test)]
mod tests {
    /// Databases out there were made by exactly these bytes.
    #[test]
    fn migrations_never_change() {
        let digests: Vec<String> = super::STEPS.iter().map(|sql| crate::files::sha256_hex(sql.as_bytes())).collect();
        assert_eq!(
            digests,
            [
                "996417ab40aeee1107539df62639058bf98ced19b7935aec03f4b649b6cfad00",
                "320f0406eaec844cf4ddc31e25329adbfec3a2d9df66d62be5440ab66a21e8cd",
            ]
        );
    }
}
