//! Webhooks: how they are called, what became of calls, calling again, and what callers must show.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::flows::deploy;
use super::lists::HOSTILE;
use super::{see, see_as, submit};
use crate::remote::Remote;
use crate::support::Server;

const CALL: &str = "/api/latest/webhook/orders/call";

async fn with_webhook() -> Server {
    let server = Server::local();
    deploy(&server, "takes", json!({})).await;
    let fields = json!({"flow_id": "takes", "is_enabled": true, "is_key_required": false, "methods": ["POST", "GET"]});
    server.create("webhooks", "orders", fields).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_webhook_the_list_says_how_to_make_one() {
    let page = see(&Server::local(), "/ui/webhooks").await;
    assert_eq!(page.text(".empty h2"), "There is no webhook yet");
    assert!(page.text(".empty .command").contains("surefoot webhook set"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_made_with_a_key_that_is_shown_once() {
    let server = Server::local();
    deploy(&server, "takes", json!({})).await;
    let fields = [
        ("name", "orders"),
        ("flow_id", "takes"),
        ("method.POST", "true"),
        ("is_key_required", "true"),
        ("is_enabled", "true"),
    ];
    let made = submit(&server, "/ui/webhooks/new", &fields).await;
    assert_eq!(made.status, 200, "{}", made.html);
    let key = made.text("#made");
    assert_eq!(key.len(), 64, "{}", made.html);
    let call = |key: &str| Request::post(CALL).header("x-surefoot-key", key).body(Body::empty()).unwrap();
    assert_eq!(server.request(call("wrong")).await.status, 401);
    assert_eq!(server.request(call(&key)).await.json(200), "ok");
    for below in ["", "/credentials", "/edit"] {
        let page = see(&server, &format!("/ui/webhooks/orders{below}")).await;
        assert!(page.status == 200 && !page.html.contains(&key), "{below}");
    }
    let again = submit(&server, "/ui/webhooks/new", &fields).await;
    assert_eq!(again.status, 422);
    assert!(again.text("[role=alert], .wrong").contains("orders"), "{}", again.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_and_the_old_one_is_good_for_a_while() {
    let server = with_webhook().await;
    server.patch("/api/v1/webhooks/orders", json!({"is_key_required": true})).await.json(200);
    let page = see(&server, "/ui/webhooks/orders").await;
    assert!(page.text("[role=alert]").contains("has none yet"), "{}", page.html);
    let change = |fields: &'static [(&str, &str)]| submit(&server, "/ui/webhooks/orders/credentials", fields);
    let first = change(&[("credential", "key"), ("do", "make")]).await.text("#made");
    let second = change(&[("credential", "key"), ("do", "make"), ("old_seconds", "3600")]).await.text("#made");
    let call = |key: &str| Request::post(CALL).header("x-surefoot-key", key).body(Body::empty()).unwrap();
    for key in [&first, &second] {
        assert_eq!(server.request(call(key)).await.status, 200);
    }
    change(&[("credential", "key"), ("do", "remove")]).await;
    assert_eq!(server.request(call(&second)).await.status, 403);
    for wrong in [
        &[("credential", "password"), ("do", "make")][..],
        &[("credential", "key"), ("do", "keep")],
        &[("credential", "key"), ("do", "make"), ("old_seconds", "99999999")],
        &[("credential", "signing-secret"), ("do", "set"), ("value", "short")],
        &[("credential", "key")],
    ] {
        assert_eq!(submit(&server, "/ui/webhooks/orders/credentials", wrong).await.status, 422, "{wrong:?}");
    }
    let secret = change(&[("credential", "signing-secret"), ("do", "make")]).await.text("#made");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let page = see(&server, "/ui/webhooks/orders").await;
    assert!(page.text("[aria-labelledby=h-examples] .command").contains("webhook-signature"), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_page_says_how_to_call_it_and_what_came() {
    let server = with_webhook().await;
    let page = see(&server, "/ui/webhooks/orders").await;
    assert_eq!(page.text("[aria-labelledby=h-url] .command"), format!("http://localhost{CALL}"));
    assert!(page.text(".warning").contains("Anybody who reaches the server"), "{}", page.html);
    assert!(page.text("#calls .none").contains("No call has started anything"));
    assert_eq!(page.count("[aria-labelledby=h-examples] .command"), 3);

    let request = Request::post(format!("{CALL}/customers/7?dry=1")).header("content-type", "application/json");
    server.request(request.body(Body::from("{\"order\": 7}")).unwrap()).await.json(200);
    let page = see(&server, "/ui/webhooks/orders").await;
    assert_eq!(
        (page.texts("#calls th a"), page.texts("#calls td.number")[0].as_str()),
        (vec!["POST /customers/7".into()], "200")
    );
    let call = page.attributes("#calls th a", "href").remove(0);
    let delivery = see(&server, &call).await;
    let request = delivery.text("[aria-labelledby=h-request]");
    assert!(
        request.contains("POST /customers/7") && request.contains("\"order\": 7") && request.contains("\"dry\": \"1\"")
    );
    let answer = delivery.text("[aria-labelledby=h-answer]");
    assert!(answer.contains("200 OK") && answer.contains("application/json"), "{answer}");
    assert_eq!(see(&server, "/ui/webhooks").await.texts("tbody .status"), ["Enabled", "Succeeded"]);
    let other = server.start_probe(json!({})).await;
    assert_eq!(see(&server, &format!("/ui/webhooks/orders/calls/{other}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_are_shown_with_why() {
    let server = with_webhook().await;
    let page = see(&server, "/ui/webhooks/orders").await;
    assert!(page.text("[aria-labelledby=h-refused] .none").contains("None since the server was started"));
    let refused = || Request::delete(CALL).body(Body::empty()).unwrap();
    for _ in 0..2 {
        assert_eq!(server.request(refused()).await.status, 405);
    }
    let page = see(&server, "/ui/webhooks/orders").await;
    assert_eq!(page.count("[aria-labelledby=h-refused] tbody tr"), 1, "{}", page.html);
    assert_eq!(page.texts("[aria-labelledby=h-refused] td.number"), ["405", "2"]);
    assert!(page.text("[aria-labelledby=h-refused] tbody th").contains("DELETE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_delivered_again() {
    let server = with_webhook().await;
    server.post(CALL, json!({"order": 7})).await.json(200);
    let came = json!("{\"order\":7}");
    let page = see(&server, "/ui/webhooks/orders").await;
    let call = page.attributes("#calls th a", "href").remove(0);
    let again = submit(&server, &format!("{call}/again"), &[]).await;
    assert_eq!(again.status, 303, "{}", again.html);
    let new = again.location.split(['/', '?']).nth(5).unwrap();
    let row = server.get(&format!("/api/v1/executions/{new}/wait")).await.json(200);
    assert_eq!((&row["status"], &row["input"]["body"]), (&json!("ENDED_SUCCESS"), &came));
    assert_eq!(see(&server, &again.location).await.text(".done"), "It was started. This page follows it.");
    assert_eq!(see(&server, "/ui/webhooks/orders").await.count("#calls tr[data-row]"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_failed_call_is_the_callers() {
    let server = Server::local();
    let fields = json!({"flow_id": "native:connect", "is_enabled": true, "is_key_required": false});
    server.create("webhooks", "orders", fields).await;
    server.post(CALL, json!({})).await.json(500);
    let page = see(&server, "/ui/webhooks/orders").await;
    let delivery = see(&server, &page.attributes("#calls th a", "href")[0]).await;
    assert!(delivery.text("[aria-labelledby=h-answer]").contains("500 Internal Server Error"), "{}", delivery.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_tells_what_is_wrong_beside_its_field() {
    let server = with_webhook().await;
    let form = see(&server, "/ui/webhooks/orders/edit").await;
    assert_eq!(form.attributes("[name^='method.'][checked]", "name"), ["method.GET", "method.POST"]);
    let revision = form.attributes("[name=revision]", "value").remove(0);
    let wrong = submit(&server, "/ui/webhooks/orders/edit", &[("flow_id", "tekes"), ("revision", &revision)]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.text("#flow_id-w").contains("did you mean `takes`"), "{}", wrong.html);
    assert!(wrong.html.contains("choose one method at least"), "{}", wrong.html);
    let right = [("flow_id", "takes"), ("method.PUT", "true"), ("is_key_required", "true"), ("revision", &revision)];
    assert_eq!(submit(&server, "/ui/webhooks/orders/edit", &right).await.status, 303);
    let record = server.get("/api/v1/webhooks/orders").await.json(200);
    assert_eq!((&record["methods"], &record["is_key_required"]), (&json!(["PUT"]), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_what_they_may_not_do() {
    let remote = Remote::new();
    deploy(&remote.server, "takes", json!({})).await;
    let fields = json!({"flow_id": "takes", "is_enabled": true, "is_key_required": false});
    remote.server.create("webhooks", "orders", fields).await;
    remote.server.post(CALL, json!({})).await.json(200);
    for (role, buttons, links) in [("viewer", 0, 0), ("operator", 1, 0), ("author", 1, 3)] {
        remote.user(role, json!({"role": role})).await;
        let session = remote.log_in(role).await;
        let page = see_as(&remote, &session, "/ui/webhooks/orders").await;
        assert_eq!((page.count(".head .actions button"), page.count(".head .actions a")), (buttons, links), "{role}");
        let call = page.attributes("#calls th a", "href").remove(0);
        assert_eq!(see_as(&remote, &session, &call).await.count(".head .actions button"), buttons, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_calls_and_answers_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        let fields =
            json!({"flow_id": "native:connect", "is_enabled": true, "is_key_required": false, "description": text});
        let webhook = server.create("webhooks", text, fields).await;
        let id = webhook["id"].as_str().unwrap();
        let input = json!({"connector": "type:probe", "inputs": {"fail": text}, text: text});
        let call = Request::post(format!("/api/latest/webhook/{id}/call")).header("x-test", "<b onload=1>");
        server.request(call.body(Body::from(input.to_string())).unwrap()).await;
        let page = see(&server, &format!("/ui/webhooks/{id}")).await;
        page.is_plain(text);
        for path in page.attributes("#calls th a", "href") {
            see(&server, &path).await.is_plain(text);
        }
        for below in ["/edit", "/credentials", "/delete"] {
            see(&server, &format!("/ui/webhooks/{id}{below}")).await.is_plain(text);
        }
        submit(&server, "/ui/webhooks/new", &[("name", text), ("flow_id", text), ("description", text)])
            .await
            .is_plain(text);
    }
    see(&server, "/ui/webhooks").await.is_plain("the list");
}
