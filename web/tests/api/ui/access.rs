//! Who gets which page: logins, roles, forms that other sites send, and the headers of pages.

use axum::http::Method;
use serde_json::json;
use surefoot_web::PageRoute;

use super::{ask, see, see_as, submit, submit_as};
use crate::remote::{PASSWORD, Remote};
use crate::support::Server;

const ROLES: [&str; 4] = ["viewer", "operator", "author", "admin"];

/// Parameters become names that nothing has.
fn path_of(template: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "nothing-has-this-name".to_owned() } else { part.to_owned() };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn guarded() -> Vec<PageRoute> {
    surefoot_web::pages().into_iter().filter(|page| page.role != "none").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_asks_for_its_role_and_no_other() {
    let remote = Remote::new();
    let mut sessions = Vec::new();
    for role in ROLES {
        remote.user(role, json!({"role": role})).await;
        sessions.push(remote.log_in(role).await);
    }
    assert!(guarded().len() > 2);
    for page in guarded() {
        let path = path_of(&page.path);
        if page.path == "/ui/logout" {
            continue;
        }
        let needed = ROLES.iter().position(|role| *role == page.role);
        for (rank, session) in sessions.iter().enumerate() {
            let answer = match page.method.as_str() {
                "GET" => see_as(&remote, session, &path).await,
                _ => submit_as(&remote, session, &path, &[]).await,
            };
            let is_refused = answer.status == 403;
            assert_eq!(is_refused, needed.is_some_and(|needed| rank < needed), "{page:?} as {}", ROLES[rank]);
            assert!(answer.status < 500, "{page:?}: {}", answer.status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_logged_in_is_led_to_the_login_and_back() {
    let remote = Remote::new();
    remote.user("ann", json!({"role": "viewer"})).await;
    for page in guarded().into_iter().filter(|page| page.method == "GET") {
        let path = path_of(&page.path);
        let answer = ask(&remote, Method::GET, &path, "", String::new()).await;
        assert_eq!(answer.status, 303, "{path}");
        assert!(answer.location.starts_with("/login?next=%2Fui"), "{path}: {}", answer.location);
    }
    let led = ask(&remote, Method::GET, "/ui/executions?filter=a%20b", "", String::new()).await;
    assert_eq!(led.location, "/login?next=%2Fui%2Fexecutions%3Ffilter%3Da%2520b");
    let login = ask(&remote, Method::GET, &led.location, "", String::new()).await;
    let next = login.attributes("input[name=next]", "value");
    assert_eq!((login.status, next), (200, vec!["/ui/executions?filter=a%20b".to_owned()]));

    let body = |password: &str| format!("name=ann&password={password}&next=%2Fui%2Fexecutions");
    let wrong = ask(&remote, Method::POST, "/login", "", body("wrong")).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text("[role=alert]").contains("the password is another one"), "{}", wrong.html);
    let right = ask(&remote, Method::POST, "/login", "", body(&PASSWORD.replace(' ', "+"))).await;
    assert_eq!((right.status, right.location.as_str()), (303, "/ui/executions"));
}

/// What another site makes a browser send has the cookie, and not the token.
#[tokio::test(flavor = "multi_thread")]
async fn every_form_must_come_from_a_page_of_the_session() {
    let remote = Remote::new();
    remote.user("root", json!({"role": "admin"})).await;
    let session = remote.log_in("root").await;
    for page in guarded().into_iter().filter(|page| page.method == "POST") {
        for body in ["", "csrf_token=", "csrf_token=0000"] {
            let path = path_of(&page.path);
            let answer = ask(&remote, Method::POST, &path, &session.cookie, body.to_owned()).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(answer.text("[role=alert]").contains("made for your session"), "{path}: {}", answer.html);
        }
    }
    assert_eq!(see_as(&remote, &session, "/ui").await.status, 200);
    let out = submit_as(&remote, &session, "/ui/logout", &[]).await;
    assert_eq!((out.status, out.location.as_str()), (303, "/login"));
    assert_eq!(see_as(&remote, &session, "/ui").await.location, "/login?next=%2Fui");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_load_nothing_from_elsewhere_and_run_nothing_but_their_script() {
    let server = Server::local();
    let page = see(&server, "/ui").await;
    let nonce = page.attributes("script", "nonce");
    assert_eq!(nonce.len(), 1);
    assert_ne!(nonce, see(&server, "/ui").await.attributes("script", "nonce"));
    assert!(page.policy.contains("default-src 'none'") && page.policy.contains("frame-ancestors 'none'"));
    assert!(page.policy.contains(&format!("script-src 'nonce-{}'", nonce[0])), "{}", page.policy);
    for (selector, attribute) in [("[src]", "src"), ("link", "href"), ("a", "href"), ("form", "action")] {
        for target in page.attributes(selector, attribute) {
            assert!(target.starts_with('/') || target.starts_with('?') || target.starts_with('#'), "{target}");
        }
    }
    for handler in ["onclick", "onload", "onerror", "style"] {
        assert_eq!(page.count(&format!("[{handler}]")), 0, "{handler}");
    }
    for asset in page.attributes("link", "href").into_iter().chain(page.attributes("script", "src")) {
        assert_eq!(see(&server, &asset).await.status, 200, "{asset}");
    }
    assert_eq!(see(&server, "/").await.location, "/ui");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_a_page_with_a_way_on() {
    let server = Server::local();
    let page = see(&server, "/ui/nothing-is-here").await;
    assert_eq!((page.status, page.text("h1").as_str()), (404, "This is not here"));
    assert!(page.attributes("main a", "href").contains(&"/ui".to_owned()), "{}", page.html);
    let refused = submit(&server, "/ui", &[]).await;
    assert_eq!(refused.status, 405);
}
