//! What forms show, and what they make of what is entered.

use serde_json::json;

use super::*;

fn entered(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(schema: &Value, values: &[(&str, &str)]) -> Result<Value, String> {
    SchemaForm::new(schema).read(&entered(values)).map_err(|wrong| in_one_text(&wrong))
}

#[test]
fn what_is_entered_gets_its_type() {
    let schema = json!({
        "type": "object",
        "properties": {
            "go": {"type": "boolean"}, "count": {"type": "integer"}, "share": {"type": "number"},
            "why": {"type": "string"}, "ring": {"enum": ["one", 2, null]}, "more": {"type": "array"},
            "note": {"type": ["null", "string"]}, "size": {"oneOf": [{"const": 1, "title": "small"}]},
            "hosts": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["why"],
    });
    let values = [("go", "true"), ("count", "3"), ("share", "0.5"), ("why", "a\r\nb"), ("ring", "1")];
    let expected = json!({"go": true, "count": 3, "share": 0.5, "why": "a\nb", "ring": 2});
    assert_eq!(read(&schema, &values), Ok(expected));
    let values = [("more", "[1]"), ("note", ""), ("size", "0"), ("count", ""), ("hosts", "a\r\n\r\nb c\r\n")];
    let expected = json!({"go": false, "why": "", "more": [1], "size": 1, "hosts": ["a", "b c"]});
    assert_eq!(read(&schema, &values), Ok(expected.clone()));
    let form = SchemaForm::new(&schema);
    assert_eq!(form.read(&form.entered(&expected)), Ok(expected), "what is there already comes back as it was");
    for (name, value, why) in [
        ("count", "3.5", "field `count`: it is no whole number"),
        ("share", "x", "field `share`: it is no number"),
        ("ring", "3", "field `ring`: it is none of the choices"),
        ("other", "1", "the form has no field `other`"),
    ] {
        assert_eq!(read(&schema, &[(name, value)]), Err(why.to_owned()));
    }
    assert!(read(&schema, &[("more", "[")]).unwrap_err().starts_with("field `more`: it is no JSON"));
}

#[test]
fn what_is_no_object_has_one_field_or_none() {
    assert_eq!(read(&json!({"enum": ["yes", "no"]}), &[("answer", "1")]), Ok(json!("no")));
    assert_eq!(read(&Value::Null, &[]), Ok(Value::Null));
    assert_eq!(read(&json!(true), &[("answer", "{}")]), Ok(json!({})));
}

#[test]
fn a_choice_that_must_be_made_is_not_made_before() {
    let schema =
        json!({"type": "object", "properties": {"answer": {"enum": ["go on", "stop"]}}, "required": ["answer"]});
    let html = SchemaForm::new(&schema).html(None, &[]).to_string();
    let first = "required><option value=\"\" selected>choose</option><option value=\"0\">go on</option>";
    assert!(html.contains(first), "{html}");
    let is_refused = match read(&schema, &[("answer", "")]) {
        Ok(value) => !wrong_with(&schema, &value).is_empty(),
        Err(_) => true,
    };
    assert!(is_refused);
}

#[test]
fn a_form_is_escaped_filled_and_in_order() {
    let schema = json!({
        "type": "object",
        "properties": {
            "a\"b": {"type": "string", "title": "<A>", "default": "'x'"},
            "z": {"enum": ["one", "two"], "default": "two"},
        },
        "required": ["z"],
    });
    let form = SchemaForm::new(&schema);
    let html = form.html(None, &[]).to_string();
    let first = "<p class=\"field\"><label for=\"f-0\">z</label><select id=\"f-0\" name=\"z\" required>";
    assert!(html.starts_with(&format!("{first}<option value=\"0\">one</option>")), "{html}");
    assert!(html.contains("<option value=\"1\" selected>two</option>"), "{html}");
    assert!(
        html.contains("&lt;A&gt;</label><input type=\"text\" id=\"f-1\" name=\"a&quot;b\" value=\"&#39;x&#39;\">"),
        "{html}"
    );
    let wrong = Wrong { field: "z".to_owned(), reason: "<no>".to_owned() };
    let html = form.html(Some(&entered(&[("a\"b", "<"), ("z", "0")])), &[wrong]).to_string();
    assert!(html.contains("value=\"&lt;\"") && html.contains("<option value=\"0\" selected>"), "{html}");
    assert!(html.contains("aria-invalid=\"true\" aria-describedby=\"f-0-w\""), "{html}");
    assert!(html.contains("<span class=\"wrong\" id=\"f-0-w\">&lt;no&gt;</span>"), "{html}");
}

#[test]
fn descriptions_have_code_and_stay_text() {
    let schema = json!({"properties": {"a": {"description": "as `<b>` or `x", "type": "object"}}});
    let html = SchemaForm::new(&schema).html(None, &[]).to_string();
    assert!(html.contains("as <code>&lt;b&gt;</code> or `x</small>"), "{html}");
    assert!(html.contains("a <span class=\"tag\">JSON</span></label>"), "{html}");
}

#[test]
fn of_a_part_nothing_is_required_and_the_rest_is_shown_on_demand() {
    let schema = json!({
        "type": "object",
        "properties": {
            "host": {"type": "string"}, "port": {"type": "integer", "maximum": 65535, "default": 22},
            "tls": {"enum": ["none", "all", null]}, "check": {"type": "boolean", "default": true},
            "password": {"type": ["string", "null"], "writeOnly": true},
            "headers": {"type": "object", "writeOnly": true},
            "to": {"anyOf": [{"anyOf": [{"type": "string"}, {"type": "array"}]}, {"type": "null"}]},
        },
        "required": ["host"],
    });
    let form = SchemaForm::partial(&schema, "c.", &["port"]);
    let html = form.html(None, &[]).to_string();
    assert!(
        !html.contains(" required") && html.contains("max=\"65535\"") && html.contains("placeholder=\"22\""),
        "{html}"
    );
    let (at_hand, more) = html.split_once("<details").unwrap();
    assert!(at_hand.contains("c.host") && at_hand.contains("c.port") && !at_hand.contains("c.tls"), "{html}");
    assert!(more.contains("c.tls") && more.contains("c.password"), "{html}");

    assert_eq!(form.read(&entered(&[("name", "mine"), ("c.port", "")])), Ok(json!({})));
    let value = json!({"tls": "all", "check": false, "password": "secret(p)", "to": ["a"], "headers": "***"});
    assert_eq!(form.read(&form.entered(&value)), Ok(value.clone()));
    assert_eq!(form.check(&value), []);
    let wrong = form.check(&json!({"port": 70_000, "password": 3}));
    assert_eq!(wrong.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), ["port"]);
}

#[test]
fn a_secret_is_not_shown_again_and_what_names_one_is() {
    let schema = json!({"type": "object", "properties": {"p": {"type": "string", "writeOnly": true}}});
    let form = SchemaForm::partial(&schema, "", &["p"]);
    let shown = |text: &str| form.html(Some(&entered(&[("p", text)])), &[]).to_string();
    assert!(!shown("hunter2").contains("hunter2"));
    assert!(shown("***").contains("type=\"password\"") && shown("***").contains("value=\"***\""));
    assert!(shown("secret(db)").contains("type=\"text\"") && shown("secret(db)").contains("value=\"secret(db)\""));
}

#[test]
fn what_the_schema_says_is_told_of_the_field_without_its_value() {
    let schema = json!({
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 3}, "list": {"type": "array", "items": {"type": "string"}}},
        "required": ["n", "name"],
    });
    let wrong = wrong_with(&schema, &json!({"n": 4711, "list": ["a", 815]}));
    let fields: Vec<_> = wrong.iter().map(|one| one.field.as_str()).collect();
    assert!(fields.contains(&"n") && fields.contains(&"name") && fields.contains(&"list"), "{wrong:?}");
    let text = in_one_text(&wrong);
    assert!(text.contains("field `name`: it is missing") && text.contains("at `1`: "), "{text}");
    assert!(!text.contains("4711") && !text.contains("815"), "{text}");
}
