//! Links that are good once.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::remote::{PASSWORD, Remote};
use crate::support::{Reply, percent_encoded};

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Remote {
    async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", percent_encoded(value));
        let pairs: Vec<String> = fields.iter().map(pair).collect();
        self.with(Method::POST, path, &[], &pairs.join("&")).await
    }

    async fn page(&self, path: &str) -> Reply {
        self.with(Method::GET, path, &[], "").await
    }

    /// The path of the link that makes the first user.
    async fn first_link(&self) -> Option<String> {
        let link = self.server.engine().new_setup_link().await.unwrap();
        link.map(|link| surefoot_web::setup_path(&link.token))
    }
}

fn text(reply: &Reply, status: u16) -> String {
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    assert_eq!(reply.status, status, "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_admin_is_made_by_a_form_without_scripts() {
    let remote = Remote::new();
    let before = remote.first_link().await.unwrap();
    let path = remote.first_link().await.unwrap();
    assert!(text(&remote.page(&before).await, 404).contains("good for nothing"), "a new start makes a new link");
    for _ in 0..3 {
        let page = remote.page(&path).await;
        assert!(text(&page, 200).contains("<form method=\"post\">"), "looking uses nothing up");
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "no-referrer"));
        remote.with(Method::HEAD, &path, &[], "").await;
    }
    let form = |name, password, repeated| [("name", name), ("password", password), ("repeated", repeated)];
    for (fields, why) in [
        (form("root", PASSWORD, "another one here"), "not the same"),
        (form("root", "too short", "too short"), "fewer than 12"),
        (form("", PASSWORD, PASSWORD), "is empty"),
    ] {
        let again = text(&remote.submit(&path, &fields).await, 422);
        assert!(again.contains(why) && again.contains("<form"), "{again}");
    }
    remote.submit(&path, &[("name", "root"), ("what", "?")]).await.problem(400, "invalid");
    let done = text(&remote.submit(&path, &form("<b>\"root", PASSWORD, PASSWORD)).await, 200);
    assert!(done.contains("&lt;b&gt;&quot;root"), "{done}");
    text(&remote.submit(&path, &form("other", PASSWORD, PASSWORD)).await, 404);
    text(&remote.page(&path).await, 404);
    assert_eq!(remote.first_link().await, None);

    let session = remote.log_in("<b>\"root").await;
    let me = remote.by_session(Method::GET, "/api/v1/me", &session, false, "").await.json(200);
    assert_eq!((&me["role"], &me["who"]), (&json!("admin"), &json!("user <b>\"root")));
    let audit = remote.server.get("/api/v1/audit").await.json(200);
    let setup = audit["rows"].as_array().unwrap().iter().find(|entry| entry["action"] == "setup").unwrap();
    assert_eq!(setup["after"]["role"], "admin");
    assert!(!audit.to_string().contains("argon2"), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_begin_is_good_for_a_day_and_while_nobody_is_there() {
    let remote = Remote::new();
    let path = remote.first_link().await.unwrap();
    let body = |path: &str, name: Value| {
        json!({"token": path.trim_start_matches("/setup/"), "name": name, "password": PASSWORD}).to_string()
    };
    let set_up = async |body: String| remote.with(Method::POST, "/api/v1/setup", &[], &body).await;
    set_up(body("/setup/none", "root".into())).await.problem(404, "not_found");
    set_up(body(&path, Value::Null)).await.problem(422, "invalid");
    remote.advance(DAY);
    set_up(body(&path, "root".into())).await.problem(404, "not_found");
    let path = remote.first_link().await.unwrap();
    // Whoever makes a user in another way has begun, also when that one is gone again.
    remote.user("someone", json!({})).await;
    remote.server.send(Method::DELETE, "/api/v1/users/someone?permanently=true", "").await.json(200);
    set_up(body(&path, "root".into())).await.problem(404, "not_found");
    assert_eq!(remote.first_link().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sets_a_password_with_the_link_that_an_admin_gives_them() {
    let remote = Remote::new();
    let made = remote.server.post("/api/v1/users", json!({"name": "ada", "role": "viewer"})).await.json(201);
    assert_eq!((&made["record"]["has_password"], &made["record"]["is_enabled"]), (&json!(false), &json!(true)));
    let path = made["link"]["path"].as_str().unwrap().to_owned();
    remote.try_log_in("ada", PASSWORD).await.problem(401, "unauthorized");
    assert!(text(&remote.page(&path).await, 200).contains("A password for ada"));
    text(&remote.submit(&path, &[("password", PASSWORD), ("repeated", PASSWORD)]).await, 200);
    text(&remote.page(&path).await, 404);
    let session = remote.log_in("ada").await;

    // A lost password: the old one is good no more, nor is what it began, nor the link before.
    let reset = async || remote.server.post("/api/v1/users/ada/reset", json!({})).await.json(200);
    let first = reset().await["link"]["path"].as_str().unwrap().to_owned();
    remote.by_session(Method::GET, "/api/v1/me", &session, false, "").await.problem(401, "unauthorized");
    remote.try_log_in("ada", PASSWORD).await.problem(401, "unauthorized");
    let second = reset().await;
    assert_eq!(second["record"]["has_password"], false);
    text(&remote.page(&first).await, 404);
    let second = second["link"]["path"].as_str().unwrap().to_owned();
    text(&remote.page(&second).await, 200);
    remote.advance(DAY);
    text(&remote.page(&second).await, 404);
    remote.server.post("/api/v1/users/nobody/reset", json!({})).await.problem(404, "not_found");
}
