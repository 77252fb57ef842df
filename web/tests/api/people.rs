//! Logging in, sessions, and what ends them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::remote::{Cookie, PASSWORD, Remote};
use crate::support::Reply;

impl Remote {
    async fn me(&self, session: &Cookie) -> Reply {
        self.by_session(Method::GET, "/api/v1/me", session, false, "").await
    }

    async fn is_over(&self, session: &Cookie) {
        assert!(self.me(session).await.problem(401, "unauthorized").contains("the session is over"));
    }

    async fn own_sessions(&self, session: &Cookie) -> Vec<Value> {
        let listed = self.by_session(Method::GET, "/api/v1/sessions", session, false, "").await.json(200);
        listed["rows"].as_array().unwrap().clone()
    }

    /// What the audit log tells of actions, the oldest first.
    async fn deeds(&self) -> Vec<String> {
        let audit = self.server.get("/api/v1/audit?order=created_at&limit=1000").await.json(200);
        assert!(!audit.to_string().contains("argon2") && !audit.to_string().contains(PASSWORD), "{audit}");
        let told = |entry: &Value| format!("{} {} {}", entry["created_by"], entry["action"], entry["record_name"]);
        audit["rows"].as_array().unwrap().iter().map(|entry| told(entry).replace('"', "")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_a_cookie_that_only_the_server_reads() {
    let remote = Remote::new();
    let ada = remote.user("ada", json!({"role": "author", "display_name": "Ada L."})).await;
    let reply = remote.try_log_in("ada", PASSWORD).await;
    let cookie = reply.header("set-cookie").to_owned();
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let session = Cookie::of(&reply);
    let me = remote.me(&session).await.json(200);
    assert_eq!((&me["who"], &me["role"], &me["credential"]), (&json!("user ada"), &json!("author"), &json!("session")));
    assert_eq!((&me["csrf_token"], &me["user_id"]), (&json!(session.csrf_token), &ada["id"]));

    let create = json!({"name": "p"}).to_string();
    let forged = remote.by_session(Method::POST, "/api/v1/projects", &session, false, &create).await;
    assert!(forged.problem(403, "forbidden").contains("X-CSRF-Token"));
    let other = remote.log_in("ada").await;
    let mixed = Cookie { id: String::new(), cookie: session.cookie.clone(), csrf_token: other.csrf_token.clone() };
    remote.by_session(Method::POST, "/api/v1/projects", &mixed, true, &create).await.problem(403, "forbidden");
    let made = remote.by_session(Method::POST, "/api/v1/projects", &session, true, &create).await.json(201);
    assert_eq!(made["created_by"], "user ada");

    let out = remote.by_session(Method::DELETE, "/api/v1/sessions/current", &session, true, "").await;
    assert_eq!(out.json(200), json!({"ended": 1}));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    remote.is_over(&session).await;
    remote.me(&other).await.json(200);
    assert_eq!(
        remote.deeds().await,
        ["local create ada", "user ada login ada", "user ada login ada", "user ada create p", "user ada logout ada",]
    );
    let everything = remote.server.get("/api/v1/users/ada").await.json(200).to_string();
    assert!(!everything.contains("argon2") && everything.contains("Ada L."), "{everything}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_not_told_why() {
    let remote = Remote::new();
    remote.user("ada", json!({"role": "admin"})).await;
    remote.user("off", json!({"is_enabled": false})).await;
    remote.server.post("/api/v1/users", json!({"name": "new"})).await.json(201);
    let id = remote.server.get("/api/v1/users/ada").await.json(200)["id"].as_str().unwrap().to_owned();
    let mut answers = Vec::new();
    for (name, password) in [
        ("ada", "wrong horse battery"),
        ("ada", ""),
        ("nobody", PASSWORD),
        ("off", PASSWORD),
        ("new", PASSWORD),
        ("new", "nobody has this password"),
        (id.as_str(), PASSWORD),
        ("ADA", PASSWORD),
    ] {
        let reply = remote.try_log_in(name, password).await;
        assert!(reply.headers.get("set-cookie").is_none());
        answers.push(reply.problem(401, "unauthorized"));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let body = json!({"name": "ada", "password": PASSWORD}).to_string();
    for site in ["cross-site", "same-site"] {
        let forged = remote.with(Method::POST, "/api/v1/sessions", &[("sec-fetch-site", site)], &body).await;
        forged.problem(403, "forbidden");
    }
    let forged = remote.with(Method::POST, "/api/v1/sessions", &[("origin", "https://evil.example")], &body).await;
    forged.problem(403, "forbidden");
    let own = remote.with(Method::POST, "/api/v1/sessions", &[("sec-fetch-site", "same-origin")], &body).await;
    own.json(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_waits_and_nobody_is_locked_out() {
    let remote = Remote::new();
    remote.user("ada", json!({})).await;
    let mut refused = 0;
    for _ in 0..30 {
        let reply = remote.try_log_in("ada", "wrong horse battery").await;
        if reply.status == 429 {
            reply.problem(429, "too_many_tries");
            refused += 1;
            let wait: u64 = reply.header("retry-after").parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            // The right one has to wait as well, and not longer for having been tried.
            remote.try_log_in("ada", PASSWORD).await.problem(429, "too_many_tries");
            remote.advance(Duration::from_secs(wait));
        } else {
            reply.problem(401, "unauthorized");
        }
    }
    assert!(refused > 5, "{refused}");
    remote.advance(Duration::from_secs(60));
    remote.log_in("ada").await;
    let failed = remote.deeds().await.into_iter().filter(|deed| deed == "nobody login_failed ada").count();
    assert!((1..30).contains(&failed), "{failed}");

    for n in 0..40 {
        remote.try_log_in(&format!("x{n}"), PASSWORD).await.problem(401, "unauthorized");
    }
    let noted = remote.server.get("/api/v1/audit?limit=1000").await.json(200);
    let of_nobody = |entry: &&Value| entry["action"] == "login_failed" && entry["record_name"].is_null();
    let count = noted["rows"].as_array().unwrap().iter().filter(of_nobody).count();
    assert!((1..=10).contains(&count), "a flood is a few entries: {count}");
    assert!(!noted.to_string().contains("x17"), "a name that is nobody's may be a password");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended() {
    let remote = Remote::new();
    for (name, role) in [("ada", "viewer"), ("root", "admin"), ("eve", "author")] {
        remote.user(name, json!({"role": role})).await;
    }
    let (ada, ada_2, root, eve) = (
        remote.log_in("ada").await,
        remote.log_in("ada").await,
        remote.log_in("root").await,
        remote.log_in("eve").await,
    );
    let own = remote.own_sessions(&ada).await;
    assert_eq!(own.len(), 2);
    let current: Vec<&Value> = own.iter().filter(|row| row["is_current"] == true).collect();
    assert_eq!((current.len(), &current[0]["id"]), (1, &json!(ada.id)));
    assert_eq!((&own[0]["user_name"], &own[0]["user_agent"]), (&json!("ada"), &json!("a test")));
    assert_eq!(remote.own_sessions(&root).await.len(), 4);

    let end = async |by: &Cookie, id: &str| {
        let path = format!("/api/v1/sessions/{id}");
        remote.by_session(Method::DELETE, &path, by, true, "").await.json(200)["ended"].clone()
    };
    assert_eq!(end(&eve, &ada.id).await, 0, "somebody else's is not there");
    assert_eq!(end(&ada, &ada_2.id).await, 1);
    remote.is_over(&ada_2).await;
    assert_eq!(end(&root, &eve.id).await, 1);
    remote.is_over(&eve).await;
    let path = "/api/v1/users/ada/sessions";
    remote.by_session(Method::DELETE, path, &ada, true, "").await.problem(403, "forbidden");
    let ended = remote.by_session(Method::DELETE, path, &root, true, "").await.json(200);
    assert_eq!(ended, json!({"ended": 1}));
    remote.is_over(&ada).await;
    remote.me(&root).await.json(200);
    let token = remote.token("t", json!({"role": "viewer"})).await;
    remote.send(Method::GET, "/api/v1/sessions", &token, "").await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_by_themselves() {
    let remote = Remote::new();
    remote.user("ada", json!({})).await;
    let (idle, used) = (remote.log_in("ada").await, remote.log_in("ada").await);
    let hour = Duration::from_secs(3600);
    for _ in 0..12 {
        remote.me(&used).await.json(200);
        remote.advance(hour + Duration::from_secs(1));
    }
    remote.is_over(&idle).await;
    assert_eq!(remote.own_sessions(&used).await.len(), 1);
    for _ in 0..7 * 24 - 12 {
        remote.me(&used).await.json(200);
        remote.advance(hour);
    }
    remote.is_over(&used).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_what_one_may_do_is_felt_at_once() {
    let remote = Remote::new();
    remote.user("ada", json!({"role": "admin"})).await;
    remote.user("root", json!({"role": "admin"})).await;
    let (ada, other) = (remote.log_in("ada").await, remote.log_in("ada").await);
    let change = async |present: &str, new: &str| {
        let body = json!({"password": present, "new_password": new}).to_string();
        remote.by_session(Method::POST, "/api/v1/me/password", &ada, true, &body).await
    };
    change("wrong horse battery", "another horse battery").await.problem(403, "forbidden");
    change(PASSWORD, "short").await.problem(422, "invalid");
    change(PASSWORD, "another horse battery").await.json(200);
    remote.is_over(&other).await;
    remote.me(&ada).await.json(200);
    remote.try_log_in("ada", PASSWORD).await.problem(401, "unauthorized");
    let other = Cookie::of(&remote.try_log_in("ada", "another horse battery").await);

    remote.server.patch("/api/v1/users/ada", json!({"role": "viewer"})).await.json(200);
    remote.by_session(Method::GET, "/api/v1/users", &ada, false, "").await.problem(403, "forbidden");
    remote.server.patch("/api/v1/users/ada", json!({"role": null})).await.json(200);
    remote.by_session(Method::GET, "/api/v1/flows", &ada, false, "").await.problem(403, "forbidden");
    assert_eq!(remote.me(&ada).await.json(200)["role"], Value::Null);
    remote.server.post("/api/v1/users/ada/disable", json!({})).await.json(200);
    remote.is_over(&ada).await;
    remote.server.post("/api/v1/users/ada/enable", json!({})).await.json(200);
    remote.is_over(&other).await;
    let again = Cookie::of(&remote.try_log_in("ada", "another horse battery").await);
    remote.server.send(Method::DELETE, "/api/v1/users/ada", "").await.json(200);
    remote.is_over(&again).await;
    remote.try_log_in("ada", "another horse battery").await.problem(401, "unauthorized");
}

/// Otherwise nobody who logs in could let others in any more.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_stays_one() {
    let remote = Remote::new();
    remote.server.create("projects", "p", json!({})).await;
    remote.user("ada", json!({"role": "admin"})).await;
    remote.user("grace", json!({"role": "author", "project_roles": {"p": "admin"}})).await;
    let refused = async |who: &str| {
        let path = format!("/api/v1/users/{who}");
        for role in [json!("author"), Value::Null] {
            let text = remote.server.patch(&path, json!({"role": role})).await.problem(409, "conflict");
            assert!(text.contains(who) && text.contains("make another one first"), "{text}");
        }
        remote.server.patch(&path, json!({"is_enabled": false})).await.problem(409, "conflict");
        remote.server.post(&format!("{path}/disable"), json!({})).await.problem(409, "conflict");
        remote.server.send(Method::DELETE, &path, "").await.problem(409, "conflict");
        remote.server.send(Method::DELETE, &format!("{path}?permanently=true"), "").await.problem(409, "conflict");
        assert_eq!(remote.server.get(&path).await.json(200)["role"], "admin");
    };
    refused("ada").await;
    // Somebody who has no password yet cannot take the place.
    remote.server.post("/api/v1/users", json!({"name": "max", "role": "admin"})).await.json(201);
    refused("ada").await;
    remote.server.send(Method::DELETE, "/api/v1/users/max", "").await.json(200);
    // Somebody who is not let in is no admin.
    remote.user("joan", json!({"role": "admin", "is_enabled": false})).await;
    refused("ada").await;
    let ada = remote.log_in("ada").await;
    remote.by_session(Method::DELETE, "/api/v1/users/ada", &ada, true, "").await.problem(409, "conflict");
    remote.me(&ada).await.json(200);
    remote.server.patch("/api/v1/users/ada", json!({"display_name": "Ada"})).await.json(200);
    remote.server.post("/api/v1/users/joan/enable", json!({})).await.json(200);
    remote.server.send(Method::DELETE, "/api/v1/users/ada", "").await.json(200);
    refused("joan").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_would_be_none_is_refused() {
    let remote = Remote::new();
    for wrong in [
        json!({"name": ""}),
        json!({"name": "u", "role": "owner"}),
        json!({"name": "u", "project_roles": {"nowhere": "admin"}}),
        json!({"name": "u", "password": "too short"}),
        json!({"name": "u", "password": "x".repeat(2000)}),
        json!({"name": "u", "id": "mine"}),
        json!({"name": "u", "password_hash": "x"}),
    ] {
        let reply = remote.server.post("/api/v1/users", wrong.clone()).await;
        assert!(reply.status == 422 || reply.status == 404, "{wrong}: {}", reply.status);
    }
    remote.user("u", json!({"role": "viewer"})).await;
    remote.server.post("/api/v1/users", json!({"name": "u"})).await.problem(409, "conflict");
    for wrong in [json!({"password_hash": "x"}), json!({"has_password": true}), json!({"role": 1})] {
        remote.server.patch("/api/v1/users/u", wrong).await.problem(422, "invalid");
    }
    remote.server.create("projects", "p", json!({})).await;
    remote.server.patch("/api/v1/users/u", json!({"project_roles": {"p": "boss"}})).await.problem(422, "invalid");
    remote.server.patch("/api/v1/users/u", json!({"project_roles": ["p"]})).await.problem(422, "invalid");
    // Flows do not see users, whoever started them.
    let flow = remote.server.engine().save(surefoot_engine::query::Kind::User, "u", serde_json::Map::new(), "test");
    assert!(flow.await.is_err(), "users are made in one way");
}

/// Who listens hears nothing more once the session has ended, or the user may look no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_what_it_was_allowed_by() {
    let remote = Remote::new();
    remote.user("ada", json!({"role": "viewer"})).await;
    let id = remote.server.start_probe(json!({"hang": true})).await;
    let listen = async |headers: &[(&str, &str)]| {
        let request = Request::get(format!("/api/v1/executions/{id}/events")).header("host", "localhost");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = remote.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let mut stream = response.into_body().into_data_stream();
        stream.next().await.unwrap().unwrap();
        stream
    };
    let (first, second) = (remote.log_in("ada").await, remote.log_in("ada").await);
    let token = remote.token("t", json!({"role": "viewer"})).await;
    let mut by_first = listen(&[("cookie", &first.cookie)]).await;
    let mut by_second = listen(&[("cookie", &second.cookie)]).await;
    let mut by_token = listen(&[("authorization", &format!("Bearer {token}"))]).await;
    remote.server.send(Method::DELETE, &format!("/api/v1/sessions/{}", first.id), "").await.json(200);
    while by_first.next().await.is_some() {}
    remote.server.patch("/api/v1/users/ada", json!({"role": null})).await.json(200);
    while by_second.next().await.is_some() {}
    remote.server.send(Method::DELETE, "/api/v1/tokens/t", "").await.json(200);
    while by_token.next().await.is_some() {}
}
