//! The language by examples, and both evaluations against each other.

use serde_json::json;

use super::*;

fn parse(filter: Value) -> Result<Filter, QueryError> {
    Filter::parse(Kind::Execution, &filter)
}

#[test]
fn unknown_field_and_op_are_errors_that_help() {
    let error = parse(json!({"field": "statsu", "op": "eq", "value": "x"})).unwrap_err();
    assert_eq!(error.0, "the kind execution has no field `statsu`; did you mean `status`?");
    let error = parse(json!({"field": "status", "op": "equals", "value": "x"})).unwrap_err();
    assert!(error.0.starts_with("there is no op `equals`; ops are eq, neq"), "{error}");
    assert!(parse(json!({"field": "status", "op": "eq", "value": 1})).is_err());
    assert!(parse(json!({"field": "created_at", "op": "gt", "value": "yesterday"})).is_err());
    assert!(parse(json!({"and": {}})).is_err());
    assert!(parse(json!({"and": [], "or": []})).is_err());
}

#[test]
fn in_memory_matching() {
    let row = json!({"status": "SCHEDULED", "parent_id": null, "created_at": "2026-01-01T00:00:00.000002Z"});
    let cases = [
        (json!({"field": "status", "op": "eq", "value": "SCHEDULED"}), true),
        (json!({"field": "status", "op": "like", "value": "SCH%D"}), true),
        (json!({"field": "status", "op": "like", "value": "sch%"}), false),
        (json!({"field": "status", "op": "like", "value": "%D%D"}), true),
        (json!({"field": "status", "op": "in", "value": ["QUEUED", "SCHEDULED"]}), true),
        (json!({"field": "parent_id", "op": "is_null", "value": true}), true),
        (json!({"field": "parent_id", "op": "neq", "value": "x"}), true),
        (json!({"not": {"field": "parent_id", "op": "eq", "value": "x"}}), true),
        (json!({"field": "parent_id", "op": "lt", "value": "x"}), false),
        (json!({"field": "created_at", "op": "gt", "value": "2026-01-01T00:00:00.000001Z"}), true),
        (json!({"field": "created_at", "op": "gt", "value": "2026-01-01T00:00:00.000002Z"}), false),
        (json!({"and": []}), true),
        (json!({"or": []}), false),
    ];
    for (filter, expected) in cases {
        assert_eq!(parse(filter.clone()).unwrap().matches(&row), expected, "{filter}");
    }
}

#[test]
fn limits_hold() {
    let mut deep = json!({"field": "status", "op": "eq", "value": "x"});
    for _ in 0..40 {
        deep = json!({"not": deep});
    }
    assert!(parse(deep).unwrap_err().0.contains("nested"));
    let many: Vec<_> = (0..401).map(|n| n.to_string()).collect();
    assert!(parse(json!({"field": "status", "op": "in", "value": many})).unwrap_err().0.contains("terms"));
    assert!(Query::parse(Kind::Flow, None, None, Some(1001), None).is_err());
    assert!(Query::parse(Kind::Setting, None, Some("value"), None, None).is_err());
}

/// Documents that look a little like filters, and orders and cursors that look like none: refused or evaluated, never
/// a panic.
#[test]
fn soak_random_filters_are_refused_or_evaluated() {
    use rand_core::{Rng, SeedableRng};
    let cases = std::env::var("SUREFOOT_FUZZ_CASES").map_or(5_000, |cases| cases.parse().expect("a number"));
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut below = |end: usize| random.next_u32() as usize % end;
    let row =
        json!({"status": "QUEUED", "orphan": false, "created_at": "2026-01-01T00:00:00.000002Z", "input": {"a": []}});
    let mut evaluated = 0;
    for _ in 0..cases {
        let filter = random_document(&mut below, 0);
        let order = ["-created_at", "status", "--", "", "-\u{0}"][below(5)];
        let cursor = [None, Some("5b6e756c6c2c2261225d"), Some("zz"), Some("")][below(4)];
        let Ok(query) = Query::parse(Kind::Execution, Some(&filter), Some(order), Some(10), cursor) else { continue };
        let plan = plan(&query);
        assert!(plan.sql.contains("LIMIT"), "{}", plan.sql);
        query.filter.map(|filter| filter.matches(&row));
        evaluated += 1;
    }
    assert!(evaluated > cases / 100, "only {evaluated} were filters at all");
}

#[test]
fn a_cursor_is_a_place_in_the_list_that_gave_it() {
    let parse = |kind, order, cursor: &str| Query::parse(kind, None, order, None, Some(cursor));
    let of = Query::parse(Kind::Setting, None, Some("-name"), None, None).unwrap().list();
    let cursor = Cursor(json!("b"), "id".into(), Some(of)).to_text();
    assert_eq!(parse(Kind::Setting, Some("-name"), &cursor).unwrap().cursor.unwrap().1, "id");
    for (kind, order) in [(Kind::Setting, Some("name")), (Kind::Setting, None), (Kind::Flow, Some("-name"))] {
        let error = parse(kind, order, &cursor).unwrap_err().to_string();
        assert!(error.contains("a page of setting by -name, not of "), "{error}");
    }
    // Of version 0.1.0.
    let old = hex::encode(r#"["b","id"]"#);
    assert_eq!(parse(Kind::Setting, Some("name"), &old).unwrap().cursor, Some(Cursor(json!("b"), "id".into(), None)));
}

fn random_document(below: &mut impl FnMut(usize) -> usize, depth: usize) -> Value {
    const FIELDS: [&str; 6] = ["status", "created_at", "orphan", "parent_id", "input", "no such"];
    const OPS: [&str; 10] = ["eq", "neq", "lt", "lte", "gt", "gte", "like", "in", "is_null", "no such"];
    let value = |below: &mut dyn FnMut(usize) -> usize| {
        let text = ["QUEUED", "%\\_%", "2026-01-01T00:00:00Z", "", "\u{0}\u{202e}"][below(5)];
        [json!(text), json!(null), json!(true), json!(-1), json!(1e300), json!([text, 1, [text]]), json!({"a": text})]
            [below(7)]
        .clone()
    };
    match below(if depth > 6 { 2 } else { 8 }) {
        0 | 3 | 4 => json!({"field": FIELDS[below(6)], "op": OPS[below(10)], "value": value(below)}),
        1 => value(below),
        2 => json!({"field": FIELDS[below(6)], "op": OPS[below(10)]}),
        5 => json!({"not": random_document(below, depth + 1)}),
        choice => {
            let parts: Vec<Value> = (0..below(4)).map(|_| random_document(below, depth + 1)).collect();
            json!({ if choice == 6 { "and" } else { "or" }: parts })
        }
    }
}
