//! Approvals: where nothing is asked, and where a flow waits for an answer. Answers are given end to end, in `tests`.

use serde_json::json;

use super::flows::{deploy_guest, start};
use super::{see, see_as, submit};
use crate::remote::Remote;
use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_says_how_a_flow_asks() {
    let server = Server::local();
    let page = see(&server, "/ui/approvals").await;
    assert_eq!((page.status, page.text(".empty h2").as_str()), (200, "Nobody is asked anything"));
    assert!(page.text(".empty .command").contains("this.signal("), "{}", page.html);
    assert_eq!(page.texts(".tabs a[aria-current]"), ["Open"]);
    let answered = see(&server, "/ui/approvals?filter=status%3Danswered").await;
    assert_eq!(
        (answered.text(".empty h2").as_str(), answered.texts(".tabs a[aria-current]")),
        ("Nothing matches", vec!["Answered".to_owned()])
    );
    for below in ["confirm", "change", "answer"] {
        assert_eq!(submit(&server, &format!("/ui/approvals/none/{below}"), &[]).await.status, 404, "{below}");
    }
}

/// Who looks at what waits sees what it asks, and the way to answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_answer_shows_the_question() {
    let remote = Remote::new();
    deploy_guest(&remote.server, "asks").await;
    let id = start(&remote.server, "asks", json!("ask")).await;
    let asked = remote.server.until_waiting(&id).await;
    assert_eq!(asked["status"], "WAITING", "{asked}");
    for (role, offered) in [("viewer", "Look at the question"), ("operator", "Answer it")] {
        remote.user(role, json!({ "role": role })).await;
        let session = remote.log_in(role).await;
        let page = see_as(&remote, &session, &format!("/ui/executions/{id}")).await;
        page.is_clean();
        assert_eq!(page.text(".question b"), "Deploy 9.2 <b>now</b>?", "{}", page.html);
        assert_eq!(page.text(".question a"), offered, "{}", page.html);
        assert!(page.text(".question").contains("May be answered by the role operator"), "{}", page.html);
        let question = see_as(&remote, &session, &page.attributes(".question a", "href")[0]).await;
        assert_eq!(question.text("h1"), "Deploy 9.2 <b>now</b>?");
    }
    let session = remote.log_in("operator").await;
    let signal = see_as(&remote, &session, &format!("/ui/executions/{id}/signal")).await;
    assert_eq!(signal.text(".question a"), "Answer it", "{}", signal.html);
    remote.server.post(&format!("/api/v1/executions/{id}/cancel"), json!({})).await;
    remote.server.get(&format!("/api/v1/executions/{id}/wait")).await.json(200);
    assert_eq!(see_as(&remote, &session, &format!("/ui/executions/{id}")).await.count(".question"), 0);
}
