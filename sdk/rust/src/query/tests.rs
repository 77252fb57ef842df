//! Filters as JSON, and how pages are asked for.

use std::cell::RefCell;

use super::*;
use crate::error::Error;

#[test]
fn the_builder_writes_the_json_form() {
    let filter = field("type").eq("SCHEDULE")
        & field("schedule_id").eq("0197")
        & field("created_at").gt("2026-01-01T00:00:00.000000Z")
        & field("status").eq("SCHEDULED");
    let expected = json!({ "and": [
        { "field": "type", "op": "eq", "value": "SCHEDULE" },
        { "field": "schedule_id", "op": "eq", "value": "0197" },
        { "field": "created_at", "op": "gt", "value": "2026-01-01T00:00:00.000000Z" },
        { "field": "status", "op": "eq", "value": "SCHEDULED" },
    ]});
    assert_eq!(filter.as_value(), &expected);
}

#[test]
fn operators_nest_as_written() {
    let filter = field("a").eq(1) & (field("b").lt(2) | field("b").is_null(true) | field("c").is_in(["x", "y"]));
    let expected = json!({ "and": [
        { "field": "a", "op": "eq", "value": 1 },
        { "or": [
            { "field": "b", "op": "lt", "value": 2 },
            { "field": "b", "op": "is_null", "value": true },
            { "field": "c", "op": "in", "value": ["x", "y"] },
        ]},
    ]});
    assert_eq!(filter.as_value(), &expected);
    assert_eq!(
        (!field("name").like("my-%")).as_value(),
        &json!({ "not": { "field": "name", "op": "like", "value": "my-%" } })
    );
}

#[test]
fn every_comparison_has_its_name() {
    let cases = [
        (field("f").eq(1), "eq"),
        (field("f").neq(1), "neq"),
        (field("f").lt(1), "lt"),
        (field("f").lte(1), "lte"),
        (field("f").gt(1), "gt"),
        (field("f").gte(1), "gte"),
    ];
    for (filter, op) in cases {
        assert_eq!(filter.as_value(), &json!({ "field": "f", "op": op, "value": 1 }));
    }
}

#[test]
fn filters_of_one_query_add_up() {
    let query = Query::new(Kind::Flow).filter(field("a").eq(1)).filter(json!({ "field": "b", "op": "eq", "value": 2 }));
    assert_eq!(query.filter, Some(field("a").eq(1) & field("b").eq(2)));
}

/// Serves `rows` numbered rows in pages and records the limits that were asked for.
fn read_all(query: Query, rows: u32) -> (usize, Vec<u32>) {
    let asked = RefCell::new(Vec::new());
    let serve = |query: &host::QuerySpec| {
        asked.borrow_mut().push(query.limit);
        let start: u32 = query.cursor.as_deref().map_or(0, |cursor| cursor.parse().unwrap());
        let end = rows.min(start + query.limit);
        let next = (end < rows).then(|| end.to_string());
        Ok(host::Page { rows: (start..end).map(|row| row.to_string()).collect(), next })
    };
    let mut iterator = query.into_iter();
    let mut seen = Vec::new();
    while let Some(row) = iterator.next_row(serve).unwrap() {
        seen.push(row);
    }
    assert!(seen.iter().enumerate().all(|(index, row)| *row == index.to_string()), "in order, none twice: {seen:?}");
    (seen.len(), asked.into_inner())
}

#[test]
fn pages_follow_each_other_until_the_last() {
    assert_eq!(read_all(Query::new(Kind::File).page_rows(2), 5), (5, vec![2, 2, 2]));
    assert_eq!(read_all(Query::new(Kind::File), 0), (0, vec![100]));
}

#[test]
fn a_limit_of_one_reads_one_row() {
    assert_eq!(read_all(Query::new(Kind::File).limit(1), 5), (1, vec![1]));
    assert_eq!(read_all(Query::new(Kind::File).limit(3).page_rows(2), 5), (3, vec![2, 1]));
    assert_eq!(read_all(Query::new(Kind::File).limit(0), 5), (0, vec![]));
}

#[test]
fn an_empty_page_is_not_the_end() {
    let serve = |query: &host::QuerySpec| match query.cursor.as_deref() {
        None => Ok(host::Page { rows: vec![], next: Some("more".into()) }),
        Some(_) => Ok(host::Page { rows: vec!["{}".into()], next: None }),
    };
    let mut rows = Query::new(Kind::File).into_iter();
    assert_eq!(rows.next_row(serve), Ok(Some("{}".into())));
    assert_eq!(rows.next_row(serve), Ok(None));
}

#[test]
fn nothing_comes_after_an_error() {
    let mut rows = Query::new(Kind::File).into_iter();
    let denied = Error::PermissionDenied("viewer".into());
    assert_eq!(rows.next_row(|_| Err(denied.clone())), Err(denied.clone()));
    assert_eq!(rows.next_row(|_| panic!("asked again after an error")), Ok(None));
}
