//! What fits as an answer, who may give it, and what hides a token. Without an engine.

use serde_json::json;

use super::*;

fn question(schema: Value) -> Question {
    Question { message: String::new(), schema: Some(schema), roles: Vec::new(), users: Vec::new() }
}

#[test]
fn a_refused_answer_names_field_and_reason() {
    let question = question(json!({
        "type": "object",
        "properties": {"reason": {"type": "string"}, "contact": {"type": "string", "format": "email"}},
        "required": ["reason"],
        "additionalProperties": false,
    }));
    question.check().unwrap();
    let refused = |answer: Value| question.check_answer(&answer).unwrap_err().to_string();
    assert_eq!(refused(json!({"reason": 7})), r#"field `reason`: the value is not of type "string""#);
    assert_eq!(refused(json!({})), r#""reason" is a required property"#);
    assert!(refused(json!({"reason": "x", "contact": "nobody"})).starts_with("field `contact`: "));
    assert!(refused(json!({"reason": "x", "raeson": 1})).contains("raeson"));
    question.check_answer(&json!({"reason": "x", "contact": "a@example.com"})).unwrap();
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let refused = |schema: Value| matches!(question(schema).check(), Err(HostError::InvalidInput(_)));
    assert!(refused(json!({"type": "no such type"})));
    assert!(refused(json!({"$ref": "https://example.com/schema.json"})), "nothing is fetched");
    assert!(refused(json!({"description": "x".repeat(SCHEMA_BYTES_MAX)})));
    assert!(!refused(json!({"type": "object"})));
}

#[test]
fn who_may_answer() {
    let sender = |who: &str, role| Sender { who: who.into(), role };
    let question = |roles: &[Role], users: &[&str]| Question {
        roles: roles.to_vec(),
        users: users.iter().map(|user| (*user).into()).collect(),
        ..super::tests::question(json!({}))
    };
    let may = |question: &Question, sender: &Sender| question.check_sender(sender).is_ok();
    let (viewer, operator) = (sender("token v", Some(Role::Viewer)), sender("token o", Some(Role::Operator)));
    let (author, unknown) = (sender("token a", Some(Role::Author)), sender("somebody", None));
    let anybody = question(&[], &[]);
    assert_eq!([&viewer, &operator, &author, &unknown].map(|one| may(&anybody, one)), [false, true, true, false]);
    let authors = question(&[Role::Author], &["token o"]);
    assert_eq!([&viewer, &operator, &author, &unknown].map(|one| may(&authors, one)), [false, true, true, false]);
    let one = question(&[], &["token v"]);
    assert_eq!([&viewer, &operator, &author, &unknown].map(|sender| may(&one, sender)), [true, false, false, false]);
    let refusal = authors.check_sender(&viewer).unwrap_err().to_string();
    assert_eq!(refusal, "token v may not answer; this asks for the role author or `token o`");
}

#[test]
fn tokens_are_not_shown() {
    let token = format!("{PREFIX}{}", "0123456789abcdef".repeat(2));
    let text = format!("see https://example.com/approve/{token}?x=1 and {token}, not sfa_ alone");
    let expected = "see https://example.com/approve/sfa_***?x=1 and sfa_***, not sfa_ alone";
    assert_eq!(text_without_tokens(&text), expected);
    let mut members = serde_json::Map::new();
    members.insert(token.clone(), json!([text, 7]));
    assert!(may_hold_token(&Value::Object(members.clone())));
    let mut shown = Value::Object(members);
    hide_tokens(&mut shown);
    assert_eq!(shown, json!({"sfa_***": [expected, 7]}));
    assert_eq!(token_sha256("sft_x"), None);
}
