//! Approvals, where nothing is asked. Questions of flows are answered end to end, in `tests`.

use super::{see, submit};
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
