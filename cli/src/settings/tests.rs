//! What counts more than what, and that the table and the fields agree.

use super::*;

struct Given {
    folder: tempfile::TempDir,
    variables: Vec<(&'static str, &'static str)>,
    flags: Flags,
}

impl Given {
    fn file(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("surefoot.toml"), text).unwrap();
        Self { folder, variables: Vec::new(), flags: Flags::default() }
    }

    fn load(&self) -> Result<Effective> {
        let variable = |name: &str| {
            let found = self.variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let file = self.folder.path().join("surefoot.toml");
        Effective::load(&Sources { file: &file, is_chosen: false, flags: &self.flags, variable: &variable })
    }

    fn settings(&self) -> Result<Settings> {
        self.load()?.settings()
    }

    /// What is said of a value that cannot be used.
    fn refusal(&self) -> String {
        let report = crate::failure::report(&self.settings().unwrap_err());
        assert_eq!(report.exit_code, crate::exit_codes::USAGE);
        format!("{}; {}", report.message, report.hint.unwrap_or_default())
    }
}

#[test]
fn a_limit_of_nothing_is_refused() {
    for key in KEYS.iter().filter(|key| key.name.starts_with("limits.") && key.shape != Shape::Switch) {
        let mut given = Given::file("");
        given.flags = Flags::with(&[(key.name, "0")]);
        let refusal = given.refusal();
        assert!(refusal.contains(key.name) && refusal.contains("nothing could be done"), "{refusal}");
    }
}

#[test]
fn the_defaults_are_good_and_those_of_the_engine_and_the_web() {
    let settings = Given::file("").settings().unwrap();
    assert_eq!(settings.retention.of_engine(), surefoot_engine::Retention::default());
    let options = surefoot_web::Options::new(surefoot_web::Access::Local);
    assert_eq!(settings.limits.body_bytes_max, options.body_bytes_max);
    assert_eq!(u64::from(settings.limits.webhook_seconds_max), options.webhook_deadline.as_secs());
    let connections = surefoot_web::Connections::default();
    assert_eq!(settings.limits.head_bytes_max, connections.head_bytes_max);
    assert_eq!(settings.limits.headers_max, connections.headers_max);
    assert_eq!(u64::from(settings.limits.idle_seconds_max), connections.idle_max.as_secs());
    assert_eq!(u64::from(settings.limits.write_seconds_max), connections.write_max.as_secs());
    assert_eq!(u64::from(settings.server.drain_seconds), connections.drain_max.as_secs());
}

/// Also that every key has a field, and every field a key: a missing one of either is an error of every load.
#[test]
fn options_count_more_than_variables_and_those_more_than_the_file() {
    let mut given = Given::file("[limits]\nheaders_max = 1\nhead_bytes_max = 1\nbody_bytes_max = 1\n");
    given.variables = vec![("SUREFOOT_LIMITS_HEADERS_MAX", "2"), ("SUREFOOT_LIMITS_HEAD_BYTES_MAX", "2")];
    given.flags = Flags::with(&[("limits.headers_max", "3")]);
    let limits = given.settings().unwrap().limits;
    assert_eq!((limits.headers_max, limits.head_bytes_max, limits.body_bytes_max), (3, 2, 1));
    let document = given.load().unwrap().document();
    let source = |name: &str| {
        let entry = document.as_array().unwrap().iter().find(|entry| entry["key"] == name).unwrap();
        (entry["source"].clone(), entry["line"].clone(), entry["value"].clone())
    };
    assert_eq!(source("limits.headers_max"), (json!("option"), Value::Null, json!(3)));
    assert_eq!(source("limits.head_bytes_max"), (json!("environment"), Value::Null, json!(2)));
    assert_eq!(source("limits.body_bytes_max"), (json!("file"), json!(4), json!(1)));
    assert_eq!(source("server.listen"), (json!("default"), Value::Null, json!("127.0.0.1:7070")));
    assert_eq!(source("tls.key"), (json!("default"), Value::Null, Value::Null));
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_its_place() {
    let text = Given::file("[server]\n\nlisten = 7\n").refusal();
    assert!(text.contains("`server.listen`") && text.contains("surefoot.toml:3"), "{text}");
    let text = Given::file("[egress]\nallow = [\"10.0.0.0/8\", \"a b\"]\n").refusal();
    assert!(text.contains("`egress.allow`") && text.contains("surefoot.toml:2"), "{text}");
    let mut given = Given::file("");
    given.variables = vec![("SUREFOOT_LIMITS_HEADERS_MAX", "many")];
    assert!(given.refusal().contains("(SUREFOOT_LIMITS_HEADERS_MAX)"));
    given.variables.clear();
    for (name, value, says) in [
        ("server.trusted_proxies", "10.0.0.0/8,nonsense", "nonsense"),
        ("server.forwarded_header", "x-real-ip", "x-forwarded"),
        ("log.level", "loud", "debug"),
        ("limits.loopback", "perhaps", "true or false"),
        ("limits.address_connections_max", "true", "false"),
        ("limits.headers_max", "-1", "-1"),
    ] {
        given.flags = Flags::with(&[(name, value)]);
        let text = given.refusal();
        assert!(text.contains(&format!("`{name}`")) && text.contains(says), "{text}");
    }
}

#[test]
fn lists_have_commas_and_limits_are_switched_off() {
    let mut given = Given::file("[retention]\nage_days = 2\nexecutions_max = 10\nbytes_max = false\n");
    given.variables = vec![("SUREFOOT_EGRESS_ALLOW", "10.0.0.0/8, db.example:1433")];
    given.flags = Flags::with(&[("retention.trash_age_days", "0")]);
    let settings = given.settings().unwrap();
    let allowed: Vec<String> = settings.egress.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.0.0.0/8", "db.example:1433"]);
    let retention = settings.retention.of_engine();
    assert_eq!(retention.age, Some(Duration::from_secs(2 * 86_400)));
    assert_eq!((retention.executions_max, retention.bytes_max), (Some(10), None));
    assert_eq!(retention.trash_age, Some(Duration::ZERO));
}

#[test]
fn a_file_that_was_chosen_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let load = |is_chosen| {
        let file = folder.path().join("none.toml");
        Effective::load(&Sources { file: &file, is_chosen, flags: &Flags::default(), variable: &|_| None })
    };
    assert!(load(false).is_ok());
    assert!(load(true).is_err());
}

#[test]
fn a_secret_is_set_or_not_and_never_shown() {
    let key: &'static Key = Box::leak(Box::new(Key { is_secret: true, ..*Key::named("server.listen").unwrap() }));
    let shown = |value| Setting { key, value, source: Source::Default }.shown();
    assert_eq!((shown(None), shown(Some("hunter2".into()))), (json!("not set"), json!("set")));
}

#[test]
fn a_reload_takes_over_what_holds_at_once_and_names_the_rest() {
    let load = |text: &str| Given::file(text).load().unwrap();
    let mut effective = load("[log]\nlevel = \"warn\"\n[tls]\nkey = \"a\"\n");
    let text = "[log]\nlevel = \"debug\"\nformat = \"json\"\n[tls]\nkey = \"b\"\n";
    let changes = |effective: &mut Effective| {
        let changes = effective.take_over(load(text), |table| table != "tls");
        changes.into_iter().map(|change| (change.key, change.now, change.holds)).collect::<Vec<_>>()
    };
    let rest = vec![("tls.key", json!("b"), false), ("log.format", json!("json"), false)];
    let mut all = rest.clone();
    all.insert(1, ("log.level", json!("debug"), true));
    assert_eq!(changes(&mut effective), all);
    assert_eq!(changes(&mut effective), rest, "what takes a restart is said until there was one");
}

#[test]
fn a_variable_that_nobody_reads_is_named_with_the_nearest() {
    let settings = Given::file("[secrets]\nkey_env = \"SUREFOOT_MY_KEY\"\n").settings().unwrap();
    let names = ["SUREFOOT_LOG_LEVL", "SUREFOOT_LOG_LEVEL", "SUREFOOT_DATA", "SUREFOOT_MY_KEY", "SURE", "HOME"];
    let [one] = &unknown(names.map(str::to_owned), &settings)[..] else { panic!("one is wrong") };
    assert!(one.contains("`SUREFOOT_LOG_LEVL`") && one.contains("`SUREFOOT_LOG_LEVEL`"), "{one}");
}
