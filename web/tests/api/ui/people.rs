//! Users, tokens, one's own account, and the audit log.

use axum::http::Method;
use serde_json::json;

use super::lists::HOSTILE;
use super::{ask, see, see_as, submit, submit_as};
use crate::remote::{PASSWORD, Remote};
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_with_a_link_that_is_shown_once() {
    let remote = Remote::new();
    remote.server.create("projects", "shop", json!({})).await;
    remote.user("root", json!({"role": "admin"})).await;
    let root = remote.log_in("root").await;
    let new = see_as(&remote, &root, "/ui/users/new").await;
    assert!(new.texts("label").contains(&"Role in the project shop".to_owned()), "{}", new.html);
    let form = [("name", "ada"), ("display_name", "Ada L."), ("role_in_0", "operator")];
    let made = submit_as(&remote, &root, "/ui/users/new", &form).await;
    assert_eq!(made.status, 200, "{}", made.html);
    let link = made.text("#secret");
    assert!(link.starts_with("/setup/"), "{link}");
    assert_eq!(ask(&remote, Method::GET, &link, "", String::new()).await.status, 200);
    let path = made.attributes("main .actions a", "href").remove(0);
    let page = see_as(&remote, &root, &path).await;
    assert!(
        !page.html.contains(&link) && page.texts("main dd").contains(&"operator in shop".to_owned()),
        "{}",
        page.html
    );
    assert!(page.text(".standing").contains("no password yet"), "{}", page.html);

    let edit = see_as(&remote, &root, &format!("{path}/edit")).await;
    assert_eq!(edit.attributes("select[name=role_in_0] option[selected]", "value"), ["operator"]);
    let revision = edit.attributes("input[name=revision]", "value").remove(0);
    let form = [("revision", revision.as_str()), ("name", "ada"), ("role", "viewer")];
    assert_eq!(submit_as(&remote, &root, &format!("{path}/edit"), &form).await.led(), path);
    let row = remote.server.get("/api/v1/users/ada").await.json(200);
    assert_eq!((&row["role"], &row["project_roles"]), (&json!("viewer"), &json!({})));

    let question = see_as(&remote, &root, &format!("{path}/reset")).await;
    assert!(question.text(".card").contains("ada"), "{}", question.html);
    let again = submit_as(&remote, &root, &format!("{path}/reset"), &[]).await.text("#secret");
    assert!(again.starts_with("/setup/") && again != link, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_user_are_ended() {
    let remote = Remote::new();
    remote.user("root", json!({"role": "admin"})).await;
    remote.user("ann", json!({"role": "viewer"})).await;
    let root = remote.log_in("root").await;
    let (first, second) = (remote.log_in("ann").await, remote.log_in("ann").await);
    let page = see_as(&remote, &root, "/ui/users/ann").await;
    let ends = page.attributes("main form[action$='/end']", "action");
    assert_eq!(ends.len(), 2);
    let end = ends.iter().find(|path| path.contains(&first.id)).unwrap();
    submit_as(&remote, &root, end, &[]).await.led();
    assert_eq!(see_as(&remote, &first, "/ui").await.status, 303);
    assert_eq!(see_as(&remote, &second, "/ui").await.status, 200);
    submit_as(&remote, &root, "/ui/users/ann/log-out", &[]).await.led();
    assert_eq!(see_as(&remote, &second, "/ui").await.status, 303);
    let third = remote.log_in("ann").await;
    submit_as(&remote, &root, "/ui/users/ann/disable", &[]).await.led();
    assert_eq!(see_as(&remote, &third, "/ui").await.status, 303);
    let last = submit_as(&remote, &root, "/ui/users/root/disable", &[]).await;
    assert!(last.status >= 400 && last.text("[role=alert]").contains("admin"), "{}", last.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_and_taken_back() {
    let remote = Remote::new();
    remote.user("root", json!({"role": "admin"})).await;
    let root = remote.log_in("root").await;
    let form = [("name", "ci"), ("role", "operator"), ("expires_at", "2099-01-31T12:00"), ("description", "of CI")];
    let made = submit_as(&remote, &root, "/ui/tokens/new", &form).await;
    let token = made.text("#secret");
    assert!(token.starts_with("sft_"), "{}", made.html);
    remote.send(Method::GET, "/api/v1/executions", &token, "").await.json(200);
    let list = see_as(&remote, &root, "/ui/tokens").await;
    assert!(!list.html.contains(&token) && list.text("tbody").contains("2099-01-31 12:00:00 UTC"), "{}", list.html);
    let own = see_as(&remote, &root, "/ui/account").await;
    assert!(own.texts("tbody th").contains(&"ci".to_owned()), "{}", own.html);
    for (form, says) in [
        ([("name", ""), ("role", "viewer"), ("expires_at", "")], "missing"),
        ([("name", "x"), ("role", "emperor"), ("expires_at", "")], "emperor"),
        ([("name", "x"), ("role", "viewer"), ("expires_at", "2001-01-01T00:00")], "past"),
        ([("name", "x"), ("role", "viewer"), ("expires_at", "soon")], "expires_at"),
    ] {
        let page = submit_as(&remote, &root, "/ui/tokens/new", &form).await;
        assert!(page.status == 422 && page.html.contains(says), "{says}: {}", page.html);
    }
    let take_back = list.attributes("tbody a.danger", "href").remove(0);
    assert!(see_as(&remote, &root, &take_back).await.text(".card").contains("ci"));
    submit_as(&remote, &root, &take_back, &[]).await.led();
    remote.send(Method::GET, "/api/v1/executions", &token, "").await.problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changes_ones_own_password_and_ends_ones_own_sessions() {
    let remote = Remote::new();
    remote.user("ann", json!({})).await;
    remote.user("bob", json!({})).await;
    let (here, there, bob) = (remote.log_in("ann").await, remote.log_in("ann").await, remote.log_in("bob").await);
    let account = see_as(&remote, &here, "/ui/account").await;
    assert_eq!((account.count("tbody tr"), account.texts("tbody .tag")), (2, vec!["this one".to_owned()]));
    assert_eq!(account.count("#h-tokens"), 0);
    let password = |old, new, again| [("password", old), ("new_password", new), ("repeated", again)];
    let new = "a new horse battery";
    for (form, says) in [
        (password("wrong horse battery", new, new), "not your present password"),
        (password(PASSWORD, "short", "short"), "12"),
        (password(PASSWORD, new, "another horse battery"), "not the same"),
        (password("", "", ""), "missing"),
    ] {
        let page = submit_as(&remote, &here, "/ui/account/password", &form).await;
        assert!(page.status == 422 && page.text("main").contains(says), "{says}: {}", page.html);
        assert!(!page.html.contains("horse"), "{}", page.html);
    }
    let bobs = format!("/ui/account/sessions/{}/end", bob.id);
    submit_as(&remote, &here, &bobs, &[]).await.led();
    assert_eq!(see_as(&remote, &bob, "/ui/account").await.status, 200, "nobody ends another one's");
    let done = submit_as(&remote, &here, "/ui/account/password", &password(PASSWORD, new, new)).await;
    assert_eq!(done.led(), "/ui/account");
    assert_eq!(see_as(&remote, &here, "/ui/account").await.status, 200);
    assert_eq!(see_as(&remote, &there, "/ui/account").await.status, 303);
    submit_as(&remote, &here, &format!("/ui/account/sessions/{}/end", here.id), &[]).await.led();
    assert_eq!(see_as(&remote, &here, "/ui/account").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_session_is_told_so() {
    let server = Server::local();
    let page = see(&server, "/ui/account").await;
    assert!(page.text("main").contains("You have no session here"), "{}", page.html);
    let refused =
        submit(&server, "/ui/account/password", &[("password", "a"), ("new_password", "b"), ("repeated", "b")]);
    assert_eq!(refused.await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_filtered_and_shows_what_changed() {
    let server = Server::local();
    server.create("connectors", "erp", json!({"type": "probe", "config": {"text": "a", "password": "hush"}})).await;
    server.create("settings", "s", json!({"value": 1})).await;
    server.patch("/api/v1/connectors/erp", json!({"config": {"text": "b", "password": "hush"}})).await.json(200);
    let all = see(&server, "/ui/audit").await;
    assert_eq!((all.count("tr[data-row]"), all.html.contains("hush")), (3, false));
    let changed = see(&server, "/ui/audit?action=update").await;
    assert_eq!(changed.texts(".diff th[scope=row]"), ["config.text"]);
    assert_eq!((changed.text("del"), changed.text("ins")), ("a".to_owned(), "b".to_owned()));
    let count = async |query: &str| see(&server, &format!("/ui/audit?{query}")).await.count("tr[data-row]");
    assert_eq!(count("kind=connector").await, 2);
    assert_eq!(count("name=er&who=local").await, 2);
    assert_eq!(count("who=somebody").await, 0);
    assert_eq!((count("from=2001-01-01T00:00").await, count("until=2001-01-01T00:00").await), (3, 0));
    let wrong = see(&server, "/ui/audit?from=soon").await;
    assert!(wrong.text("#from-w").contains("no time"), "{}", wrong.html);
    assert_eq!(wrong.attributes("input[name=from]", "value"), ["soon"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_pages_that_keep_the_filter() {
    let server = Server::local();
    for number in 0..51 {
        server.create("settings", &format!("s{number}"), json!({"value": number})).await;
    }
    let first = see(&server, "/ui/audit?kind=setting").await;
    let next = first.attributes(".pager a[rel=next]", "href").remove(0);
    assert!(next.contains("kind=setting"), "{next}");
    assert_eq!(
        (first.count("tr[data-row]"), see(&server, &format!("/ui/audit{next}")).await.count("tr[data-row]")),
        (50, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_programs_stay_text() {
    let remote = Remote::new();
    remote.user("root", json!({"role": "admin"})).await;
    let root = remote.log_in("root").await;
    for text in HOSTILE {
        remote.user(text, json!({"display_name": text})).await;
        remote.token(text, json!({"role": "viewer", "description": text})).await;
    }
    for path in ["/ui/users", "/ui/tokens", "/ui/audit", "/ui/account"] {
        see_as(&remote, &root, path).await.is_clean();
    }
    for path in see_as(&remote, &root, "/ui/users").await.attributes("tbody th a", "href") {
        for below in ["", "/edit", "/reset", "/delete"] {
            see_as(&remote, &root, &format!("{path}{below}")).await.is_clean();
        }
    }
    let made = submit_as(&remote, &root, "/ui/users/new", &[("name", "<b>bo</b>")]).await;
    made.is_clean();
    let again = submit_as(&remote, &root, "/ui/users/new", &[("name", "<b>bo</b>")]).await;
    assert_eq!((again.status, again.count("main b")), (422, 0), "{}", again.html);
}
