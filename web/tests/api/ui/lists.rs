//! Lists: the overview and the executions, with nothing, something, too much and hostile things in them.

use serde_json::json;

use super::flows::{deploy_guest, run, start};
use super::{see, see_as, submit, submit_as};
use crate::remote::{Cookie, Remote};
use crate::support::{Server, encoded};

/// Names, texts and outputs that a browser must not take for anything but text.
pub(crate) const HOSTILE: [&str; 5] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{7*7}}</title></textarea></pre><svg onload=alert(1)>",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_workspace_teaches_the_first_step() {
    let server = Server::local();
    for path in ["/ui", "/ui/executions"] {
        let page = see(&server, path).await;
        assert_eq!(page.text(".empty h2"), "Nothing has run here yet", "{path}");
        assert!(page.text(".empty .command").contains("surefoot run"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_with_their_status_and_reason() {
    let server = Server::local();
    let good = server.start_probe(json!({"text": "a"})).await;
    let bad = server.start_probe(json!({"fail": "no such luck"})).await;
    for id in [&good, &bad] {
        server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    }
    let page = see(&server, "/ui/executions").await;
    assert_eq!(page.texts("tbody .status"), ["Failed", "Succeeded"]);
    assert!(page.text("tbody .reason").contains("no such luck"), "{}", page.html);
    let failed = see(&server, "/ui/executions?filter=status%3DENDED_ERROR").await;
    assert_eq!(failed.attributes("tbody th a", "href"), [format!("/ui/executions/{bad}")]);
    let overview = see(&server, "/ui").await;
    assert_eq!(overview.count("figure.plot"), 2);
    assert!(overview.texts("section h2").contains(&"Failed last".to_owned()));
}

/// A check that came to its end and says that what it checks does not work is what people look for, however many others
/// have answered since.
#[tokio::test(flavor = "multi_thread")]
async fn an_unsuccessful_check_is_among_those_that_failed() {
    let server = Server::local();
    deploy_guest(&server, "check").await;
    let good = run(&server, "check", json!(200)).await;
    let bad = run(&server, "check", json!(555)).await;
    assert_eq!((&bad["status"], &bad["response_status"]), (&json!("ENDED_SUCCESS"), &json!(555)), "{bad}");
    let mut later = Vec::new();
    for _ in 0..201 {
        later.push(start(&server, "check", json!(200)).await);
    }
    for id in later {
        server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    }
    let [good, bad] = [&good, &bad].map(|row| format!("/ui/executions/{}", row["id"].as_str().unwrap()));
    let failed = see(&server, "/ui/executions").await.attributes(".tabs a", "href");
    let failed = failed.into_iter().find(|path| path.contains("ENDED_ERROR")).unwrap();
    let page = see(&server, &format!("/ui/executions{}", failed.trim_start_matches("/ui/executions"))).await;
    assert_eq!(page.attributes("tbody th a", "href"), std::slice::from_ref(&bad), "{}", page.html);
    assert_eq!(page.texts(".tabs a[aria-current]"), ["Failed"]);
    let overview = see(&server, "/ui").await;
    assert_eq!(overview.attributes("[aria-labelledby=h-failed] tbody th a", "href"), std::slice::from_ref(&bad));
    // By the API as well; and what went well before it is found behind everything that did not.
    let filter = encoded(&json!({"field": "response_status", "op": "gte", "value": 500}));
    let found = server.get(&format!("/api/v1/executions?filter={filter}")).await.json(200);
    assert_eq!(found["rows"].as_array().map(Vec::len), Some(1), "{found}");
    assert!(see(&server, &bad).await.attributes("[aria-labelledby=h-since] a", "href").contains(&good));
}

/// Plots count all that there is, and where nothing ran there is no time that it took.
#[tokio::test(flavor = "multi_thread")]
async fn plots_count_everything_and_have_gaps() {
    let server = Server::local();
    let flow = deploy_guest(&server, "check").await;
    for status in [200, 200, 555] {
        run(&server, "check", json!(status)).await;
    }
    for path in ["/ui?range=hour".to_owned(), format!("/ui/flows/{flow}")] {
        let page = see(&server, &path).await;
        let outcomes = page.texts("figure:nth-of-type(1) tbody td");
        let count = |column: usize| outcomes.iter().skip(column).step_by(3).map(|n| n.parse::<u32>().unwrap()).sum();
        let counts: [u32; 3] = [0, 1, 2].map(count);
        assert_eq!(counts, [2, 1, 0], "{path}: {outcomes:?}");
        let medians = page.texts("figure:nth-of-type(2) tbody td");
        assert!(medians.len() == 24 && medians[..20].iter().all(|median| median == "–"), "{path}: {medians:?}");
        assert!(medians.iter().any(|median| median.ends_with("ms")), "{path}: {medians:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_filter_is_told_beside_it() {
    let server = Server::local();
    let page = see(&server, "/ui/executions?filter=statsu%3DRUNNING").await;
    assert_eq!(page.status, 200);
    assert!(page.text("#filter-wrong").contains("did you mean `status`?"), "{}", page.html);
    assert_eq!(page.attributes("#filter", "value"), ["statsu=RUNNING"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_filters_stay_text() {
    let server = Server::local();
    for text in HOSTILE {
        let body = json!({"input": {"connector": "type:probe", "inputs": {"fail": text}}, "name": text});
        let started = server.post("/api/v1/flows/native:connect/run", body).await.json(201);
        let id = started["id"].as_str().unwrap();
        server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let others = ["/ui/executions?filter=", "/ui/bulk/executions/pause?filter=", "/ui/compare?b="];
        let others = others.map(|path| format!("{path}{encoded}"));
        let own = ["", "/tree"].map(|below| format!("/ui/executions/{id}{below}"));
        for path in ["/ui", "/ui/executions"].map(str::to_owned).iter().chain(&others).chain(&own) {
            let page = see(&server, path).await;
            assert_eq!(page.count("script"), 1, "{path}");
            assert_eq!(page.count("img, [onerror], [onmouseover], [onload], a[href^='javascript:']"), 0, "{path}");
        }
    }
    let page = see(&server, "/ui/executions").await;
    assert!(page.texts("tbody th a").iter().any(|name| name.starts_with("<script>")), "{}", page.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_have_pages() {
    let server = Server::local();
    for _ in 0..51 {
        server.start_probe(json!({})).await;
    }
    let first = see(&server, "/ui/executions").await;
    assert_eq!(first.count("tr[data-row]"), 50);
    let next = first.attributes(".pager a[rel=next]", "href");
    let second = see(&server, &format!("/ui/executions{}", next[0])).await;
    assert_eq!((second.count("tr[data-row]"), second.count(".pager a[rel=next]")), (1, 0));
    assert_eq!(second.attributes(".pager a[rel=first]", "href"), ["?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_stands_above_what_was() {
    let server = Server::local();
    server.start_probe(json!({})).await;
    server.create("settings", "often", json!({"value": {"cron": "0 3 * * *"}})).await;
    server.create("flows", "f", json!({})).await;
    let schedule = json!({"scheduler_id": "cron", "flow_id": "f", "setting_id": "often"});
    server.create("schedules", "nightly", schedule).await;
    server.post("/api/v1/schedules/nightly/enable", json!(null)).await.json(200);
    let filter = json!({"field": "status", "op": "eq", "value": "SCHEDULED"});
    let scheduled = format!("/api/v1/executions?filter={}", encoded(&filter));
    while server.get(&scheduled).await.json(200)["rows"].as_array().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let page = see(&server, "/ui/executions").await;
    assert_eq!(page.texts("tbody.upcoming .status"), ["Scheduled"], "{}", page.html);
    assert_eq!(page.count("tbody:not(.upcoming) tr[data-row]"), 1);
    let coming = see(&server, "/ui/executions?filter=status%3DSCHEDULED").await;
    assert_eq!(coming.texts("tbody .status"), ["Scheduled"]);
    assert!(see(&server, "/ui").await.text("[aria-labelledby=h-upcoming] tbody").contains("nightly"));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_suggested_and_kept_under_a_name() {
    let remote = Remote::new();
    remote.user("ann", json!({"role": "viewer"})).await;
    let session = remote.log_in("ann").await;
    let page = see_as(&remote, &session, "/ui/executions?filter=backup").await;
    let terms = page.attributes("datalist option", "value");
    assert!(terms.contains(&"status=ENDED_ERROR".to_owned()) && terms.contains(&"created_at>".to_owned()), "{terms:?}");
    for name in [HOSTILE[0], "backups"] {
        let kept = submit_as(&remote, &session, "/ui/views/keep", &[("name", name), ("filter", "backup")]).await;
        assert_eq!((kept.status, kept.location.as_str()), (303, "/ui/executions?filter=backup"));
        let with_view = Cookie { cookie: format!("{}; {}", session.cookie, kept.cookie()), ..session.clone() };
        let page = see_as(&remote, &with_view, "/ui/executions?filter=backup").await;
        assert_eq!((page.texts(".tabs .own"), page.count("script")), (vec![name.to_owned()], 1));
        let fields = [("name", name), ("filter", "backup")];
        let forgotten = submit_as(&remote, &with_view, "/ui/views/forget", &fields).await;
        assert!(forgotten.cookie().ends_with(&hex::encode("[]")), "{}", forgotten.cookie());
    }
    let long = "x".repeat(4000);
    let refused = submit_as(&remote, &session, "/ui/views/keep", &[("name", "long"), ("filter", &long)]).await;
    assert_eq!(refused.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_match_are_acted_on_after_a_question() {
    let server = Server::local();
    for _ in 0..2 {
        server.start_probe(json!({"hang": true})).await;
    }
    let page = see(&server, "/ui/executions?filter=ended_at%3Dnull").await;
    let cancel = "/ui/bulk/executions/cancel?filter=ended_at%3Dnull";
    assert!(page.attributes(".all a", "href").contains(&cancel.to_owned()), "{}", page.html);
    let question = see(&server, cancel).await;
    assert_eq!((question.text("h1").as_str(), question.count(".card li")), ("Cancel 2 executions?", 2));
    let done = submit(&server, "/ui/bulk/executions/cancel", &[("filter", "ended_at=null")]).await;
    assert_eq!((done.status, done.text("h1").as_str()), (200, "Cancel: 2 of 2"));
    let again = see(&server, "/ui/bulk/executions/resume?filter=status%3DPAUSED").await;
    assert!(again.text("main").contains("Nothing matches"), "{}", again.html);
    assert_eq!(see(&server, "/ui/bulk/executions/cancel?filter=nothing%3D1").await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_offered_no_action_on_all() {
    let remote = Remote::new();
    remote.server.start_probe(json!({})).await;
    for (role, count) in [("viewer", 0), ("operator", 3), ("author", 4)] {
        remote.user(role, json!({"role": role})).await;
        let session = remote.log_in(role).await;
        assert_eq!(see_as(&remote, &session, "/ui/executions").await.count(".all a"), count, "{role}");
    }
}
