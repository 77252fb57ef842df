//! The numbered migrations, forward only.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

use super::{StoreError, StoreResult};

/// All migrations in order. A released one never changes; a test keeps its digest.
pub(super) const STEPS: &[&str] = &[
    include_str!("0001_initial.sql"),
    include_str!("0002_append_only_journal.sql"),
    include_str!("0003_retention.sql"),
    include_str!("0004_audit.sql"),
    include_str!("0005_schedules.sql"),
    include_str!("0006_journal_head.sql"),
    include_str!("0007_secrets.sql"),
    include_str!("0008_people.sql"),
    include_str!("0009_approvals.sql"),
    include_str!("0010_deliveries.sql"),
    include_str!("0011_deadlines.sql"),
    include_str!("0012_places.sql"),
    include_str!("0013_starters.sql"),
    include_str!("0014_notifications.sql"),
    include_str!("0015_restarts.sql"),
    include_str!("0016_digests.sql"),
    include_str!("0017_locks.sql"),
    include_str!("0018_answers.sql"),
];

/// Brings a database to the newest format, in one transaction: a failure leaves it as it was. A newer one is refused.
pub(super) fn run(connection: &mut Connection) -> StoreResult<()> {
    run_steps(connection, STEPS)
}

fn run_steps(connection: &mut Connection, steps: &[&str]) -> StoreResult<()> {
    let migrations = Migrations::new(steps.iter().map(|sql| M::up(sql)).collect());
    migrations.to_latest(connection).map_err(|error| {
        // Without the text of the step, which may have hundreds of lines.
        let cause = match error {
            rusqlite_migration::Error::RusqliteError { err: rusqlite::Error::SqlInputError { msg, .. }, .. } => msg,
            rusqlite_migration::Error::RusqliteError { err, .. } => match StoreError::from(err) {
                StoreError::Failed(cause) => cause,
                typed => return typed,
            },
            error => error.to_string(),
        };
        StoreError::Failed(format!("it could not be migrated, and is as it was: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::Rights;
    use crate::query::Kind;

    /// Databases out there were made by exactly these bytes.
    #[test]
    fn migrations_never_change() {
        let digests: Vec<String> = super::STEPS.iter().map(|sql| crate::files::sha256_hex(sql.as_bytes())).collect();
        assert_eq!(
            digests,
            [
                "996417ab40aeee1107539df62639058bf98ced19b7935aec03f4b649b6cfad00",
                "320f0406eaec844cf4ddc31e25329adbfec3a2d9df66d62be5440ab66a21e8cd",
                "ed546b0502edf5b3aebbaf0c5a8e7b9a300cf2383e36b66952fc1ca0ba12f84e",
                "97bb9e00659bf42f944c4156133d5562b13d2ca2263d64745baa53dd75dfb4a9",
                "80f9299ea560d82279287995f90284b3ad93e409657d958d255f4e9ac8a9041a",
                "d445915d88d3c4990672eebc5b10edad986f438e61df6ca37766a11f1d8ff5a7",
                "e1d1654d0bcd423585aa0b40af0f11b240280315395705ae4211e38612154c71",
                "d570da51a4ab1d49628d66bdd1a50cd823c8448c78dc39351d27b0917ba31fb9",
                "d8bf917c338971aa82959bdb3f2e24916e23bced08f2654ec2edcb1a21bcd127",
                "f6397921cebfc5c4fa5ecdf5bf56eeff29b03cab49fd6ba625c94687fa31c631",
                "5f618549fe3840bd082147e42f2c3d4874c42b96d3a9d65f6a247a6a37e86fb2",
                "fc7b93a14d6332dc74b3d73f555590ab69ccff0bd93cb0d3c8ef131edf2fa2bd",
                "ef19ab768570e23079fbbc9c5dc84d8ef0abfc5e698449ba9760cf40a2c72277",
                "eeee11af2a677e6e1026b9c74e4f862e9acc00a99433cda0c720cfab1528967e",
                "5b4d48dbdcd5ddd48e9b8a2cd9b5b1f240ab57b4ca362d52f42c87e2f00081c9",
                "cb8c6ce8ec7997b97a4721685a66fc5d09cf7a899821bc05f77aa14bcbfc125e",
                "bfb1a9b246c3ba838c7adfeedafdfc1c4c66c3ff5574a5f098388d9b14e734be",
                "42c8a50805158bb34ab20e087c940d471237217f8aa67997ff394c80ed59ce4f",
            ]
        );
    }

    /// Roles are given by the id of a project, so that it may get another name.
    #[test]
    fn records_name_their_project_by_its_id() {
        let people = STEPS.iter().position(|step| step.contains("users_made")).unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        run_steps(&mut connection, &STEPS[..people]).unwrap();
        let insert = "INSERT INTO records
             (kind, id, name, revision, created_at, created_by, modified_at, modified_by, deleted_at, data)
             VALUES (?1, ?2, ?3, 1, 1, '', 1, '', ?4, ?5)";
        let record = |kind: &str, id: &str, name: &str, deleted_at: Option<i64>, data: &str| {
            connection.execute(insert, (kind, id, name, deleted_at, data)).unwrap();
        };
        record("project", "1", "shop", None, "{}");
        record("project", "2", "gone", Some(1), "{}");
        record("flow", "f", "f", None, r#"{"project_id": "shop", "description": "kept"}"#);
        record("flow", "g", "g", None, r#"{"project_id": "1"}"#);
        record("flow", "h", "h", None, r#"{"project_id": "gone"}"#);
        record("flow", "i", "i", None, "{}");
        run_steps(&mut connection, STEPS).unwrap();
        let sql = "SELECT group_concat(coalesce(data ->> '$.project_id', '-'), ' ') FROM
             (SELECT data FROM records WHERE kind = 'flow' ORDER BY id)";
        let projects: String = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(projects, "1 1 gone -");
    }

    /// What an older engine let do everything goes on to do so, and nothing else has rights that nobody gave it.
    #[test]
    fn what_starts_flows_acts_as_before_until_it_is_saved_again() {
        let starters = STEPS.iter().position(|step| step.contains("acts_as")).unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        run_steps(&mut connection, &STEPS[..starters]).unwrap();
        for kind in ["webhook", "schedule", "flow"] {
            let insert =
                "INSERT INTO records (kind, id, name, revision, created_at, created_by, modified_at, modified_by,
                 data) VALUES (?1, 'x', 'x', 1, 1, '', 1, '', '{}')";
            connection.execute(insert, [kind]).unwrap();
        }
        run_steps(&mut connection, STEPS).unwrap();
        let rights = |kind: &str| {
            let record = crate::store::records::get(&connection, Kind::parse(kind).unwrap(), "x").unwrap().unwrap();
            Rights::of_saved(&record)
        };
        assert_eq!(rights("webhook"), Rights::of_executions());
        assert_eq!(rights("schedule"), Rights::of_executions());
        assert_eq!(rights("flow"), Rights::default());
    }

    /// Lists are filtered by it, also those of what ended before it was a column.
    #[test]
    fn answers_have_their_status_in_a_column() {
        let answers = STEPS.iter().position(|step| step.contains("response_status")).unwrap();
        let mut connection = Connection::open_in_memory().unwrap();
        run_steps(&mut connection, &STEPS[..answers]).unwrap();
        for response in [r#"{"status": 555, "body": ""}"#, r#"{"status": "x"}"#, "{worse", "null"] {
            let insert = "INSERT INTO executions
                 (id, type, name, status, flow_id, version, created_at, created_by, input, response)
                 VALUES (?1, 'FLOW', 'x', 'ENDED_SUCCESS', '', '', length(?1), '', 'null', ?1)";
            connection.execute(insert, [response]).unwrap();
        }
        run_steps(&mut connection, STEPS).unwrap();
        let sql =
            "SELECT group_concat(coalesce(response_status, '-'), ' ') FROM (SELECT * FROM executions ORDER BY rowid)";
        assert_eq!(connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap(), "555 - - -");
    }

    /// A step that fails takes those before it, of the same run, back with it.
    #[test]
    fn a_failed_migration_leaves_the_database_as_it_was() {
        let mut connection = Connection::open_in_memory().unwrap();
        run_steps(&mut connection, &STEPS[..1]).unwrap();
        connection.execute("INSERT INTO meta VALUES ('mark', 7)", []).unwrap();
        let look = |connection: &Connection| -> (i64, i64, String) {
            let sql =
                "SELECT (SELECT user_version FROM pragma_user_version), (SELECT value FROM meta WHERE key = 'mark'),
                (SELECT group_concat(coalesce(sql, name), char(10)) FROM (SELECT * FROM sqlite_schema ORDER BY name))";
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap()
        };
        let before = look(&connection);
        let good = "CREATE TABLE added (x INTEGER) STRICT; UPDATE meta SET value = 8 WHERE key = 'mark';";
        let bad = "CREATE TABLE added_too (x INTEGER) STRICT; INSERT INTO missing VALUES (1);";
        let error = run_steps(&mut connection, &[STEPS[0], good, bad]).unwrap_err().to_string();
        assert!(error.ends_with("is as it was: no such table: missing"), "{error}");
        assert_eq!(look(&connection), before);
        run_steps(&mut connection, &[STEPS[0], good]).unwrap();
        assert_eq!((look(&connection).0, look(&connection).1), (2, 8));
    }

    #[test]
    fn a_newer_database_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(run(&mut connection).is_err());
    }
}
