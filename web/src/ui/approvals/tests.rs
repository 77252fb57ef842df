//! Questions as pages show them. That real ones are answered is tested end to end, with flows that ask.

use scraper::{Html, Selector};
use surefoot_engine::Rights;

use super::*;

const HOSTILE: &str = "\"><script>alert(1)</script></textarea></title>";

fn row(more: Value) -> Value {
    let mut row = json!({
        "id": "a1", "name": "deploy", "status": "open", "message": "Deploy 7?", "schema": null, "roles": [],
        "users": [],
        "execution_id": "e1", "execution_name": "release", "created_at": "2026-01-31T12:00:00.000000Z",
        "expires_at": null, "answered_at": null, "answered_by": null, "answer": null,
    });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}

fn frame(role: Option<Role>) -> Frame {
    let rights = role.map(Rights::everywhere).unwrap_or_default();
    Frame::of("user ada", rights, "2026-01-31T13:00:00Z".parse().unwrap())
}

fn approval(frame: Frame, row: Value) -> Html {
    let asked = Asked::of(&row, frame.now);
    let may_answer = may_answer(&frame, &row, &Value::Null);
    let schema = Found { row: row.clone(), flow: Value::Null }.schema();
    let form = (asked.is_open && may_answer).then(|| SchemaForm::new(&schema).html(None, &[]));
    Html::parse_document(&Approval { frame, asked, row, may_answer, form, trouble: None }.render().unwrap())
}

fn count(html: &Html, selector: &str) -> usize {
    html.select(&Selector::parse(selector).unwrap()).count()
}

fn text_of(html: &Html, selector: &str) -> String {
    let found = html.select(&Selector::parse(selector).unwrap()).next();
    found.map(|one| one.text().collect::<String>()).unwrap_or_default()
}

#[test]
fn who_may_answer_gets_a_form_and_nobody_else() {
    let may = |role, row: Value| count(&approval(frame(role), row), "form[action$='/confirm']") == 1;
    assert!(!may(None, row(json!({}))) && !may(Some(Role::Viewer), row(json!({}))));
    assert!(may(Some(Role::Operator), row(json!({}))));
    assert!(!may(Some(Role::Operator), row(json!({"roles": ["author"]}))));
    assert!(may(Some(Role::Admin), row(json!({"roles": ["author"]}))));
    assert!(may(Some(Role::Operator), row(json!({"users": ["user ada"]}))));
    assert!(!may(Some(Role::Admin), row(json!({"users": ["token ci"]}))));
    for over in [json!({"status": "answered"}), json!({"expires_at": "2026-01-31T12:30:00Z"})] {
        assert!(!may(Some(Role::Admin), row(over)));
    }
}

#[test]
fn the_form_is_that_of_the_schema_and_json_without_one() {
    let schema = json!({
        "type": "object", "required": ["go"],
        "properties": {"go": {"type": "boolean"}, "why": {"type": "string"}, "ring": {"enum": ["one", "two"]}},
    });
    let html = approval(frame(Some(Role::Operator)), row(json!({ "schema": schema })));
    assert_eq!((count(&html, "input[type=checkbox]"), count(&html, "select option[value='1']")), (1, 1));
    let html = approval(frame(Some(Role::Operator)), row(json!({})));
    assert_eq!(text_of(&html, "textarea").trim(), "true");
}

#[test]
fn what_is_asked_stays_text() {
    let hostile = row(json!({
        "name": HOSTILE, "message": HOSTILE, "execution_name": HOSTILE, "answered_by": HOSTILE, "answer": HOSTILE,
        "users": [HOSTILE], "schema": {"properties": {HOSTILE: {"title": HOSTILE, "type": "string"}}},
    }));
    let html = approval(frame(Some(Role::Admin)), hostile.clone());
    assert_eq!(count(&html, "script"), 1);
    assert!(text_of(&html, "h1").contains("<script>"));
    let frame = frame(Some(Role::Admin));
    let asked = Asked::of(&hostile, frame.now);
    let entered = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
    let confirm = Confirm { frame, asked, answer: HOSTILE.into(), entered }.render().unwrap();
    assert_eq!(count(&Html::parse_document(&confirm), "script"), 1);
}

#[test]
fn who_is_asked_is_said_in_words() {
    assert_eq!(of_whom(&row(json!({}))), "the role operator");
    assert_eq!(of_whom(&row(json!({"roles": ["author"], "users": ["token ci"]}))), "the role author, or token ci");
}
