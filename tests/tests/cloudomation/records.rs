//! Records and the query language.

use anyhow::Result;
use serde_json::{Value, json};
use surefoot_engine::query::Kind;
use surefoot_engine::session::QueryCall;
use surefoot_fixtures::Targets;
use surefoot_tests::workspace::{Workspace, ensure_success, id};

/// Saving a schedule twice is one record, with one id.
#[tokio::test(flavor = "multi_thread")]
async fn c_15_a_schedule_saved_twice_is_one_record() -> Result<()> {
    let workspace = Workspace::open_in_still_time()?;
    let fields = workspace.prepare_scheduler(json!({"interval_seconds": 3600})).await?;
    let first = workspace.save(Kind::Schedule, "my-test-schedule", fields.clone()).await?;
    let second = workspace.save(Kind::Schedule, "my-test-schedule", fields.clone()).await?;
    assert_eq!(first["id"], second["id"]);
    for (field, value) in fields.as_object().unwrap() {
        assert_eq!(&second[field], value, "{field}");
    }
    let by_name = json!({"field": "name", "op": "eq", "value": "my-test-schedule"});
    assert_eq!(workspace.rows("schedule", by_name).await?.len(), 1);
    let of_schedule = json!({"field": "schedule_id", "op": "eq", "value": first["id"]});
    assert_eq!(workspace.rows("execution", of_schedule).await?.len(), 1, "the same terms begin no new iteration");
    Ok(())
}

/// The filter that the example sends is, as JSON, exactly the documented one.
#[tokio::test(flavor = "multi_thread")]
async fn c_17_the_examples_filter_is_the_documented_json() -> Result<()> {
    let targets = Targets::start().await?;
    let workspace = Workspace::open_in_still_time()?;
    workspace.prepare_upgrade_check(&targets).await?;
    let row = workspace.run_upgrade_check().await?;
    ensure_success(&row)?;
    let schedule = workspace.record(Kind::Schedule, "my-test-schedule").await?;
    let queries = workspace.calls(id(&row), "record_query").await?;
    assert_eq!(queries.len(), 1);
    let expected = json!({
        "kind": "execution", "limit": 1, "order": "-created_at",
        "filter": {
            "and": [
                {"field": "type", "op": "eq", "value": "SCHEDULE"},
                {"field": "schedule_id", "op": "eq", "value": schedule["id"]},
                {"field": "created_at", "op": "gt", "value": row["created_at"]},
                {"field": "status", "op": "eq", "value": "SCHEDULED"},
            ],
        },
    });
    assert_eq!(queries[0]["args"], expected);
    Ok(())
}

/// Every operator, order and limit gives the rows that it should, to flows as to the API.
#[tokio::test(flavor = "multi_thread")]
async fn c_17_operators_order_and_limit() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    for name in ["a-1", "a-2", "b-1"] {
        let description = if name == "b-1" { json!(null) } else { json!("described") };
        workspace.save(Kind::Setting, name, json!({"value": name, "description": description})).await?;
    }
    let leaf = |field: &str, op: &str, value: Value| json!({"field": field, "op": op, "value": value});
    let name = |op: &str, value: &str| leaf("name", op, json!(value));
    let cases = [
        (name("eq", "a-1"), vec!["a-1"]),
        (name("neq", "a-1"), vec!["b-1", "a-2"]),
        (name("lt", "a-2"), vec!["a-1"]),
        (name("lte", "a-2"), vec!["a-2", "a-1"]),
        (name("gt", "a-2"), vec!["b-1"]),
        (name("gte", "a-2"), vec!["b-1", "a-2"]),
        (name("like", "a-%"), vec!["a-2", "a-1"]),
        (name("like", "A-%"), vec![]),
        (leaf("name", "in", json!(["a-1", "b-1", "c-1"])), vec!["b-1", "a-1"]),
        (leaf("description", "is_null", json!(true)), vec!["b-1"]),
        (leaf("description", "is_null", json!(false)), vec!["a-2", "a-1"]),
        (json!({"not": name("eq", "a-1")}), vec!["b-1", "a-2"]),
        (json!({"or": [name("eq", "a-1"), name("eq", "b-1")]}), vec!["b-1", "a-1"]),
        (json!({"and": [name("gt", "a-1"), name("lt", "b-1")]}), vec!["a-2"]),
    ];
    for (filter, expected) in cases {
        let query = json!({"mode": "query", "kind": "setting", "filter": filter, "order": "-name", "limit": 3});
        let row = workspace.run("test-guest", query).await?;
        ensure_success(&row)?;
        let names: Vec<&Value> = row["output"]["rows"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
        assert_eq!(names, expected, "{filter}");
        let call = QueryCall {
            kind: "setting".into(),
            filter: Some(filter),
            order: Some("-name".into()),
            ..QueryCall::default()
        };
        let page = workspace.engine.query(call).await?;
        assert_eq!(page.rows.iter().map(|row| &row["name"]).collect::<Vec<_>>(), expected);
    }
    Ok(())
}

/// An unknown field or operator is an error that names it, never an empty result.
#[tokio::test(flavor = "multi_thread")]
async fn c_17_unknown_fields_and_ops_are_errors() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    for (wrong, filter) in [
        ("`nope`", json!({"field": "nope", "op": "eq", "value": 1})),
        ("`is`", json!({"field": "status", "op": "is", "value": "x"})),
        ("xor", json!({"xor": []})),
    ] {
        let error = workspace.rows("execution", filter.clone()).await.unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
        let row = workspace.run("test-guest", json!({"mode": "query", "kind": "execution", "filter": filter})).await?;
        ensure_success(&row)?;
        assert_eq!(row["output"]["error"], "invalid_input", "{row:#}");
    }
    Ok(())
}

/// A query is lazy: the first row of many reads one row, and a page is read only when its turn comes.
#[tokio::test(flavor = "multi_thread")]
async fn c_18_a_query_reads_no_more_than_is_asked_for() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    for n in 0..10 {
        workspace.save(Kind::Setting, &format!("setting-{n}"), json!({"value": n})).await?;
    }
    // What is asked for, and how many rows each page brings.
    for (asked, pages) in [
        (json!({"limit": 1}), vec![1]),
        (json!({"page_rows": 4, "take": 0}), vec![]),
        (json!({"page_rows": 4, "take": 4}), vec![4]),
        (json!({"page_rows": 4, "take": 5}), vec![4, 4]),
        (json!({"page_rows": 4, "limit": 6}), vec![4, 2]),
        (json!({"page_rows": 4}), vec![4, 4, 2]),
    ] {
        let mut query = json!({"mode": "query", "kind": "setting", "order": "name"});
        query.as_object_mut().unwrap().extend(asked.as_object().cloned().unwrap());
        let row = workspace.run("test-guest", query).await?;
        ensure_success(&row)?;
        let mut read = Vec::new();
        for call in workspace.calls(id(&row), "record_query").await? {
            let rows = call["reply"]["p"][0].as_array().unwrap().len();
            assert!(rows as u64 <= call["args"]["limit"].as_u64().unwrap(), "{call}");
            read.push(rows);
        }
        assert_eq!(read, pages, "{asked}");
    }
    Ok(())
}

/// A field that a flow reads of its execution, or of a record, is what the API shows, times to the microsecond.
#[tokio::test(flavor = "multi_thread")]
async fn c_19_fields_are_those_that_the_api_shows() -> Result<()> {
    let workspace = Workspace::open()?;
    workspace.deploy(&["test-guest"]).await?;
    for field in ["created_at", "id", "name", "type", "created_by"] {
        let row = workspace.run("test-guest", json!({"mode": "get", "field": field})).await?;
        ensure_success(&row)?;
        assert_eq!(row["output"]["value"], row[field], "{field}");
        assert!(row[field].is_string());
    }
    let row = workspace.run("test-guest", json!({"mode": "get", "field": "created_at"})).await?;
    let created_at = row["output"]["value"].as_str().unwrap();
    assert_eq!((created_at.len(), &created_at[26..]), ("2026-01-01T00:00:00.000000Z".len(), "Z"), "six decimals");

    let mut fields = workspace.prepare_scheduler(json!({"interval_seconds": 3600})).await?;
    fields["is_enabled"] = json!(false);
    let save = json!({"mode": "save-schedule", "name": "my-test-schedule", "fields": fields});
    let row = workspace.run("test-guest", save).await?;
    ensure_success(&row)?;
    let schedule = workspace.record(Kind::Schedule, "my-test-schedule").await?;
    assert_eq!(row["output"], json!({"saved": schedule["id"], "read": schedule["id"]}));
    Ok(())
}
