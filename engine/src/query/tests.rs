//! The language by examples, and both evaluations against each other.

use serde_json::json;

use super::*;

fn parse(filter: Value) -> Result<Filter, QueryError> {
    Filter::parse(Kind::Execution, &filter)
}

#[test]
fn unknown_field_and_op_are_errors_that_help() {
    let error = parse(json!({"field": "statsu", "op": "eq", "value": "x"})).unwrap_err();
    assert_eq!(error.0, "a execution has no field `statsu`; did you mean `status`?");
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
