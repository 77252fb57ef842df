//! Webhooks up to the start of their flow, and of a flow that fails; what flows answer is in the end-to-end tests.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use surefoot_web::{Access, Options};

use crate::support::{Reply, Server, send as send_to};

const CALL: &str = "/api/latest/webhook/w/call";

/// A server with the webhook `w`, which starts a flow that fails: it calls a connector without a name.
async fn server(fields: Value) -> Server {
    let server = Server::local();
    let mut all = json!({"flow_id": "native:connect"});
    all.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
    server.create("webhooks", "w", all).await;
    server
}

async fn executions(server: &Server) -> usize {
    server.get("/api/v1/executions").await.json(200)["rows"].as_array().unwrap().len()
}

async fn with_header(server: &Server, name: &str, value: &str) -> Reply {
    server.request(Request::post(CALL).header(name, value).body(Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_not_enabled_is_not_there() {
    let server = server(json!({ "is_key_required": false })).await;
    let disabled = server.post(CALL, json!({})).await.problem(404, "not_found");
    let unknown = server.post("/api/latest/webhook/v/call", json!({})).await.problem(404, "not_found");
    assert_eq!(disabled.replace("`w`", "`v`"), unknown, "nothing tells the two apart");
    assert_eq!(executions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_without_the_key_that_it_requires_says_how_to_set_one() {
    let server = server(json!({ "is_enabled": true })).await;
    let text = server.post(CALL, json!({})).await.problem(403, "forbidden");
    assert!(text.contains("/api/v1/webhooks/NAME/key"), "{text}");
    assert_eq!(executions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_starts_nothing() {
    let server = server(json!({ "is_enabled": true })).await;
    server.post("/api/v1/webhooks/w/key", json!({"key": "right"})).await.json(200);
    server.post(CALL, json!({})).await.problem(401, "unauthorized");
    server.post(&format!("{CALL}?key=wrong"), json!({})).await.problem(401, "unauthorized");
    with_header(&server, "x-surefoot-key", "wrong").await.problem(401, "unauthorized");
    with_header(&server, "authorization", "Bearer wrong").await.problem(401, "unauthorized");
    with_header(&server, "authorization", "Basic right").await.problem(401, "unauthorized");
    let malformed = Request::post(CALL).header("content-type", "application/json").body(Body::from("{")).unwrap();
    server.request(malformed).await.problem(401, "unauthorized");
    assert_eq!(executions(&server).await, 0);

    with_header(&server, "x-surefoot-key", "right").await.json(500);
    with_header(&server, "authorization", "Bearer right").await.json(500);
    server.post(&format!("{CALL}?key=right"), json!({})).await.json(500);
    assert_eq!(executions(&server).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_are_those_of_the_record() {
    let server = server(json!({"is_enabled": true, "is_key_required": false})).await;
    let reply = server.get(CALL).await;
    reply.problem(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), "POST");
    server.patch("/api/v1/webhooks/w", json!({"methods": ["GET", "put"]})).await.json(200);
    for methods in [json!(["GTE"]), json!([]), json!("GET"), json!([""])] {
        server.patch("/api/v1/webhooks/w", json!({ "methods": methods })).await.problem(422, "invalid");
    }
    let reply = server.post(CALL, json!({})).await;
    reply.problem(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), "GET,PUT");
    server.send(Method::OPTIONS, CALL, "").await.problem(405, "method_not_allowed");
    server.send(Method::HEAD, CALL, "").await;
    assert_eq!(executions(&server).await, 0);
    server.get(CALL).await.json(500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_fails_is_a_problem_with_its_code_and_the_execution() {
    let server = server(json!({"is_enabled": true, "is_key_required": false, "methods": ["POST", "HEAD"]})).await;
    let reply = server.post(CALL, json!({})).await;
    let problem = reply.json(500);
    let id = problem["execution_id"].as_str().unwrap();
    let row = server.get(&format!("/api/v1/executions/{id}")).await.json(200);
    assert_eq!((&problem["code"], &problem["detail"]), (&row["error_code"], &row["error_message"]));
    assert_eq!((&row["status"], &row["created_by"]), (&json!("ENDED_ERROR"), &json!("webhook w")));
    assert_eq!(reply.header("x-surefoot-execution"), id);
    assert_eq!(reply.header("content-security-policy"), "sandbox");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");

    let head = server.send(Method::HEAD, CALL, "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (500, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_cannot_start_is_never_a_success() {
    let server = server(json!({"is_enabled": true, "is_key_required": false})).await;
    server.create("flows", "never-deployed", json!({})).await;
    server.patch("/api/v1/webhooks/w", json!({"flow_id": "never-deployed"})).await.json(200);
    for query in ["", "?async=1"] {
        let reply = server.post(&format!("{CALL}{query}"), json!({})).await;
        let text = reply.problem(503, "start_failed");
        assert!(text.contains("log says why") && !text.contains("never-deployed"), "{text}");
        // Nothing says that it will be better soon.
        assert!(!reply.headers.contains_key("retry-after"));
    }
    assert_eq!(executions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_start_nothing() {
    let server = server(json!({"is_enabled": true, "is_key_required": false})).await;
    let malformed = Request::post(CALL).header("content-type", "application/json").body(Body::from("{")).unwrap();
    server.request(malformed).await.problem(400, "invalid");
    server.post(&format!("{CALL}?async=perhaps"), json!({})).await.problem(400, "invalid");
    with_header(&server, "idempotency-key", "").await.problem(400, "invalid");
    with_header(&server, "idempotency-key", &"k".repeat(256)).await.problem(400, "invalid");
    assert_eq!(executions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_idempotency_key_joins_and_gets_the_same_answer() {
    let server = server(json!({"is_enabled": true, "is_key_required": false})).await;
    let first = with_header(&server, "idempotency-key", "release-7").await;
    let again = with_header(&server, "idempotency-key", "release-7").await;
    assert_eq!(first.json(500), again.json(500));
    assert_eq!(first.header("x-surefoot-execution"), again.header("x-surefoot-execution"));
    assert_eq!(executions(&server).await, 1);
    with_header(&server, "idempotency-key", "release-8").await.json(500);
    assert_eq!(executions(&server).await, 2);
}

/// As the specification's libraries sign; the library itself is the caller in the end-to-end tests.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_a_signing_secret_an_unsigned_call_starts_nothing() {
    let server = server(json!({"is_enabled": true, "is_key_required": false})).await;
    let set = async |body: Value| server.post("/api/v1/webhooks/w/signing-secret", body).await;
    for wrong in [json!({"secret": "whsec_dG9vIHNob3J0"}), json!({"secret": 1}), json!({}), json!({"secret": ""})] {
        set(wrong).await.problem(422, "invalid");
    }
    let record = set(json!({ "secret": SECRET })).await.json(200);
    let shown = [record, server.get("/api/v1/webhooks/w").await.json(200), server.get("/api/v1/audit").await.json(200)];
    assert!(shown.iter().all(|shown| !shown.to_string().contains(&SECRET[6..])), "{shown:?}");
    assert_eq!(shown[2]["rows"][0]["action"], "set_signing_secret");

    let text = server.post(CALL, json!({})).await.problem(401, "unauthorized");
    assert!(text.contains("webhook-id") && text.contains("Standard Webhooks"), "{text}");
    // Who cannot sign learns nothing of the body either.
    let malformed = Request::post(CALL).header("content-type", "application/json").body(Body::from("{")).unwrap();
    server.request(malformed).await.problem(401, "unauthorized");
    let old = Request::post(CALL)
        .header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
        .header("webhook-timestamp", "1614265330")
        .header("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        .body(Body::from(r#"{"test": 2432232314}"#))
        .unwrap();
    assert!(server.request(old).await.problem(401, "unauthorized").contains("300 s before"));
    assert_eq!(executions(&server).await, 0);

    set(json!({ "secret": null })).await.json(200);
    server.post(CALL, json!({})).await.json(500);
    server.patch("/api/v1/webhooks/w", json!({"is_signature_required": true})).await.json(200);
    assert!(server.post(CALL, json!({})).await.problem(403, "forbidden").contains("signing-secret"));
    set(json!({ "secret": SECRET })).await.json(200);
    server.patch("/api/v1/webhooks/w", json!({"is_signature_required": false})).await.json(200);
    server.post(CALL, json!({})).await.json(500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_can_be_good_for_a_while() {
    let server = server(json!({"is_enabled": true})).await;
    let set = async |body: Value| server.post("/api/v1/webhooks/w/key", body).await;
    set(json!({"key": "first"})).await.json(200);
    set(json!({"key": "second", "old_seconds": 2_592_001})).await.problem(422, "invalid");
    set(json!({"key": "second", "old_seconds": 3600})).await.json(200);
    for good in ["first", "second"] {
        with_header(&server, "x-surefoot-key", good).await.json(500);
    }
    set(json!({"key": "third"})).await.json(200);
    for over in ["first", "second"] {
        with_header(&server, "x-surefoot-key", over).await.problem(401, "unauthorized");
    }
    with_header(&server, "x-surefoot-key", "third").await.json(500);
    let shown = server.get("/api/v1/webhooks/w").await.json(200).to_string();
    assert!(!shown.contains("old_key") && !shown.contains("sha256"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_read_start_nothing() {
    let server = server(json!({"is_enabled": true, "is_key_required": false})).await;
    let send = async |header: (&str, &str), body: &'static str| {
        server.request(Request::post(CALL).header(header.0, header.1).body(Body::from(body)).unwrap()).await
    };
    let form = "multipart/form-data; boundary=x";
    let nameless = "--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n";
    assert!(send(("content-type", form), nameless).await.problem(400, "invalid").contains("part 1"));
    send(("content-type", form), "--x\r\n").await.problem(400, "invalid");
    let gzip = send(("content-encoding", "gzip"), "x").await;
    gzip.problem(415, "unsupported_media_type");
    assert_eq!(gzip.header("accept-encoding"), "identity");
    let small = server.with(Options { body_bytes_max: 4, ..Options::new(Access::Local) });
    let long = Request::post(CALL).body(Body::from("12345")).unwrap();
    send_to(&small, long).await.problem(413, "payload_too_large");
    assert_eq!(executions(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_calls_is_listed_and_a_call_is_delivered_again() {
    let server = server(json!({"is_enabled": true, "is_key_required": false})).await;
    for path in ["a", "b", "c"] {
        let call = Request::post(format!("{CALL}/{path}?key=mine")).header("content-length", "7");
        let call = call.header("content-type", "text/plain").body(Body::from("secrets")).unwrap();
        server.request(call).await.json(500);
    }
    server.patch("/api/v1/webhooks/w", json!({"is_enabled": false})).await.json(200);
    server.post(CALL, json!({})).await.problem(404, "not_found");
    let list = async |query: &str| server.get(&format!("/api/v1/webhooks/w/deliveries{query}")).await;
    let newest = list("?limit=2").await.json(200);
    let rows = newest["rows"].as_array().unwrap();
    let paths: Vec<_> = rows.iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["c", "b"]);
    let next = format!("?limit=2&cursor={}", newest["next"].as_str().unwrap());
    let oldest = list(&next).await.json(200);
    assert_eq!((&oldest["next"], oldest["rows"].as_array().unwrap().len()), (&Value::Null, 1));
    let mut first = oldest["rows"][0].clone();
    let id = first["execution_id"].as_str().unwrap().to_owned();
    assert!(first["duration_ms"].take().is_u64() && first["created_at"].take().is_string());
    assert!(!first["error_code"].take().as_str().unwrap().is_empty());
    let expected = json!({
        "execution_id": id, "created_at": null, "created_by": "webhook w", "method": "POST", "path": "a",
        "content_type": "text/plain", "content_length": 7, "files": 0, "status": "ENDED_ERROR", "answer_status": 500,
        "error_code": null, "duration_ms": null, "continued_as": null,
    });
    assert_eq!(first, expected, "neither query nor body");

    let replay = format!("/api/v1/webhooks/w/deliveries/{id}/replay");
    for path in [replay.as_str(), &format!("/api/v1/executions/{id}/rerun")] {
        let again = server.post(path, json!({})).await.json(201);
        let row = list("?limit=1").await.json(200)["rows"][0].clone();
        assert_eq!((&row["execution_id"], &row["path"]), (&again["id"], &json!("a")), "{path}");
        assert_eq!(row["created_by"], "local");
    }
    let other = server.start_probe(json!({"text": "a"})).await;
    for id in [other.as_str(), "nothing"] {
        let path = format!("/api/v1/webhooks/w/deliveries/{id}/replay");
        server.post(&path, json!({})).await.problem(404, "not_found");
    }
    list("?limit=101").await.problem(422, "invalid");
    server.get("/api/v1/webhooks/none/deliveries").await.problem(404, "not_found");
}

/// The rows of the list, without their times.
async fn refusals(server: &Server) -> Vec<Value> {
    let list = server.get("/api/v1/webhooks/w/refusals").await.json(200);
    assert!(list["since"].is_string());
    let mut rows = list["rows"].as_array().unwrap().clone();
    for row in &mut rows {
        assert!(row["first_at"].take().as_str() <= row["at"].take().as_str());
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_are_listed_without_what_was_sent() {
    let server = server(json!({})).await;
    server.post(CALL, json!({})).await.problem(404, "not_found");
    server.post("/api/v1/webhooks/w/key", json!({"key": "right-key"})).await.json(200);
    server.patch("/api/v1/webhooks/w", json!({"is_enabled": true})).await.json(200);
    server.get(&format!("{CALL}/secret-path?key=secret-query")).await.problem(405, "method_not_allowed");
    for _ in 0..3 {
        let call = Request::post(format!("{CALL}/secret-path?key=secret-query"))
            .header("x-surefoot-key", "secret-header")
            .header("content-type", "application/json")
            .body(Body::from(r#"{"key": "secret-body"}"#));
        server.request(call.unwrap()).await.problem(401, "unauthorized");
    }
    let long = Request::post(CALL).header("x-surefoot-key", "right-key").header("content-length", "17000000");
    server.request(long.body(Body::empty()).unwrap()).await.problem(413, "payload_too_large");
    server.post("/api/v1/webhooks/w/signing-secret", json!({ "secret": SECRET })).await.json(200);
    with_header(&server, "x-surefoot-key", "right-key").await.problem(401, "unauthorized");

    let rows = refusals(&server).await;
    let shown: Vec<_> = rows.iter().map(|row| (&row["status"], &row["times"], &row["method"])).collect();
    let expected = [(401, 1, "POST"), (413, 1, "POST"), (401, 3, "POST"), (405, 1, "GET"), (404, 1, "POST")];
    let expected = expected.map(|(status, times, method)| (json!(status), json!(times), json!(method)));
    assert_eq!(shown, expected.each_ref().map(|(status, times, method)| (status, times, method)));
    assert!(rows[0]["detail"].as_str().unwrap().contains("webhook-id"), "{rows:?}");
    assert_eq!(rows[2]["detail"], "webhook `w` requires its key");
    let text = json!(rows).to_string();
    assert!(!text.contains("secret-") && !text.contains("right-key"), "{text}");
    assert_eq!(executions(&server).await, 0);
    server.get("/api/v1/webhooks/none/refusals").await.problem(404, "not_found");
}

/// What somebody without a key can make the server read.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_read_for_the_key_in_it_only_where_it_may_be_there_and_only_so_far() {
    let server = server(json!({ "is_enabled": true })).await;
    server.post("/api/v1/webhooks/w/key", json!({"key": "right"})).await.json(200);
    // A body that fails when it is read: who is refused without it is refused for the key.
    let unread = || Body::from_stream(futures::stream::once(async { Err::<&str, _>(std::io::Error::other("read")) }));
    let send = async |ty: &str, key: &str, body: Body| {
        let request = Request::post(CALL).header("content-type", ty).header("x-surefoot-key", key);
        server.request(request.body(body).unwrap()).await
    };
    send("text/plain", "wrong", unread()).await.problem(401, "unauthorized");
    send("text/plain", "right", unread()).await.problem(400, "invalid");
    send("application/json", "wrong", unread()).await.problem(400, "invalid");
    let long = |key: &str| Body::from(json!({"key": key, "text": "x".repeat(1 << 20)}).to_string());
    let text = send("application/json", "wrong", long("right")).await.problem(413, "payload_too_large");
    assert!(text.contains("X-Surefoot-Key"), "{text}");
    send("application/json", "right", long("wrong")).await.json(500);
    assert_eq!(executions(&server).await, 1);
    for ty in ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let body = match ty {
            "application/json" => r#"{"key": "right"}"#,
            "application/x-www-form-urlencoded" => "key=right",
            _ => "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nright\r\n--x--\r\n",
        };
        send(ty, "wrong", Body::from(body)).await.json(500);
    }
    server.post("/api/v1/webhooks/w/signing-secret", json!({ "secret": SECRET })).await.json(200);
    send("application/json", "right", unread()).await.problem(401, "unauthorized");
}
