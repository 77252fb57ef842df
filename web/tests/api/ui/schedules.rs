//! Schedules: what comes next, the form with its preview, and the calendar.

use serde_json::{Value, json};

use super::flows::deploy;
use super::lists::HOSTILE;
use super::{see, see_as, submit};
use crate::remote::Remote;
use crate::support::Server;

async fn with_flow() -> Server {
    let server = Server::local();
    deploy(&server, "report", json!({})).await;
    server
}

/// What a form for nine in the morning on working days sends.
const NINE: [(&str, &str); 7] = [
    ("name", "daily"),
    ("flow_id", "report"),
    ("scheduler_id", "cron"),
    ("rule", "cron"),
    ("expression", "0 9 * * MON-FRI"),
    ("time_zone", "Europe/Vienna"),
    ("overlap", "skip"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let others = NINE.into_iter().filter(|(name, _)| !more.iter().any(|(one, _)| one == name));
    others.chain(more.iter().copied()).collect()
}

async fn setting(server: &Server, name: &str) -> Value {
    server.get(&format!("/api/v1/settings/{name}")).await.json(200)["value"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_schedule_the_list_says_how_to_make_one() {
    let page = see(&Server::local(), "/ui/schedules").await;
    assert_eq!(page.text(".empty h2"), "There is no schedule yet");
    assert!(page.text(".empty .command").contains("surefoot schedule set"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_with_its_setting_and_shows_what_comes_next() {
    let server = with_flow().await;
    let made = submit(&server, "/ui/schedules/new", &with(&[("is_enabled", "true")])).await;
    assert_eq!(made.status, 303, "{}", made.html);
    let value = json!({"cron": "0 9 * * MON-FRI", "time_zone": "Europe/Vienna", "overlap": "skip"});
    assert_eq!(setting(&server, "daily").await, value);
    let page = see(&server, &made.location).await;
    assert_eq!((page.text("h1").as_str(), page.text(".standing .status").as_str()), ("daily", "Enabled"));
    assert!(page.text(".standing").contains("in Europe/Vienna"), "{}", page.html);
    assert_eq!(page.count("[aria-labelledby=h-next] tbody tr"), 10);
    let first = page.text("[aria-labelledby=h-next] tbody th");
    assert!(first.contains(" 09:00:00 CE"), "{first}");
    assert!(page.texts(".note").iter().any(|note| note.contains("the new one is left out")), "{}", page.html);
    let list = see(&server, "/ui/schedules").await;
    assert!(list.text("tbody .local").contains(" 09:00:00 CE"), "{}", list.html);
    assert_eq!(list.texts("tbody td:nth-child(4)"), ["report"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_stands_beside_its_field_and_nothing_is_made() {
    let server = with_flow().await;
    for (field, text, told) in [
        ("name", "", "missing"),
        ("flow_id", "", "missing"),
        ("flow_id", "reprot", "did you mean `report`"),
        ("scheduler_id", "corn", "corn"),
        ("expression", "61 * * * *", "61"),
        ("expression", "", "missing"),
        ("time_zone", "Europe/Vinena", "time zone"),
        ("missed_window", "soon", "missed_window"),
        ("project_id", "none", "none"),
    ] {
        let page = submit(&server, "/ui/schedules/new", &with(&[(field, text)])).await;
        assert_eq!(page.status, 422, "{field}: {text}");
        assert!(page.text(&format!("#{field}-w")).contains(told), "{field}: {text}: {}", page.html);
        assert_eq!(page.attributes("[name=description]", "value"), [""]);
        for (name, value) in with(&[(field, text)]).into_iter().filter(|(name, _)| !["rule", "overlap"].contains(name))
        {
            assert_eq!(page.attributes(&format!("input[name={name}]"), "value"), [value]);
        }
    }
    assert_eq!(server.get("/api/v1/settings").await.json(200)["rows"], json!([]));
    assert_eq!(server.get("/api/v1/schedules").await.json(200)["rows"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_told_in_words_before_anything_is_saved() {
    let server = with_flow().await;
    let page = submit(&server, "/ui/schedules/new", &with(&[("preview", "1")])).await;
    assert_eq!((page.status, page.count("#preview tbody tr")), (200, 5), "{}", page.html);
    assert!(page.text("#preview b").contains("09:00"), "{}", page.html);
    assert_eq!(page.attributes("[name=name]", "value"), ["daily"]);
    assert_eq!(server.get("/api/v1/schedules").await.json(200)["rows"], json!([]));

    let path = "/ui/schedules/preview?rule=every&expression=15m&time_zone=UTC&missed=skip";
    let page = see(&server, path).await;
    assert_eq!(
        (page.count("#preview tbody tr"), page.attributes("[name=expression]", "value")),
        (5, vec!["15m".into()])
    );
    assert!(page.text("#preview .note").contains("none gets a run"), "{}", page.html);
    let wrong = see(&server, "/ui/schedules/preview?rule=cron&expression=nonsense").await;
    assert_eq!((wrong.status, wrong.count("#preview .wrong")), (200, 1));
    assert_eq!(see(&server, "/ui/schedules/preview").await.count("#preview .none"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_changes_the_setting_and_names_who_shares_it() {
    let server = with_flow().await;
    submit(&server, "/ui/schedules/new", &with(&[("is_enabled", "true")])).await;
    let fields = json!({"flow_id": "report", "scheduler_id": "cron", "setting_id": "daily"});
    server.create("schedules", "other", fields).await;
    let form = see(&server, "/ui/schedules/daily/edit").await;
    assert_eq!(form.attributes("[name=expression]", "value"), ["0 9 * * MON-FRI"]);
    assert_eq!(form.texts("fieldset .warning a"), ["other"]);
    let kept = ["revision", "setting_was", "setting_id", "flow_id", "scheduler_id"];
    let kept: Vec<_> =
        kept.iter().map(|name| (*name, form.attributes(&format!("[name={name}]"), "value").remove(0))).collect();
    let mut fields: Vec<_> = kept.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fields.extend([("rule", "every"), ("expression", "2h"), ("description", "often")]);
    let saved = submit(&server, "/ui/schedules/daily/edit", &fields).await;
    assert_eq!(saved.status, 303, "{}", saved.html);
    assert_eq!(setting(&server, "daily").await, json!({"every": "2h"}));
    let late = submit(&server, "/ui/schedules/daily/edit", &fields).await;
    assert_eq!(late.status, 422, "somebody else was faster");

    // Another setting is taken as it is.
    server.create("settings", "weekly", json!({"value": {"cron": "@weekly"}})).await;
    let revision = see(&server, "/ui/schedules/daily/edit").await.attributes("[name=revision]", "value").remove(0);
    fields.retain(|(name, _)| !["setting_id", "revision"].contains(name));
    fields.extend([("setting_id", "weekly"), ("revision", revision.as_str())]);
    assert_eq!(submit(&server, "/ui/schedules/daily/edit", &fields).await.status, 303);
    assert_eq!(setting(&server, "weekly").await, json!({"cron": "@weekly"}));
    assert!(see(&server, "/ui/schedules/daily").await.text(".facts").contains("weekly"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_enabled_disabled_and_deleted() {
    let server = with_flow().await;
    let made = submit(&server, "/ui/schedules/new", &NINE).await;
    let page = see(&server, &made.location).await;
    assert_eq!(page.text(".standing .status"), "Disabled");
    assert!(page.text("[aria-labelledby=h-next] .none").contains("starts nothing"));
    let enabled = submit(&server, "/ui/schedules/daily/enable", &[]).await;
    assert_eq!(see(&server, &enabled.location).await.text(".done"), "It is enabled.");
    let disabled = submit(&server, "/ui/schedules/daily/disable", &[]).await;
    assert_eq!(see(&server, &disabled.location).await.text(".standing .status"), "Disabled");
    assert!(see(&server, "/ui/schedules/daily/delete").await.text(".card").contains("daily"));
    submit(&server, "/ui/schedules/daily/delete", &[]).await;
    assert_eq!(see(&server, "/ui/schedules?trash=1").await.texts("tbody th"), ["daily"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calendar_shows_what_would_start_on_each_day() {
    let server = with_flow().await;
    let all = [("is_enabled", "true"), ("expression", "0 9,10,11,12 * * *"), ("name", "often")];
    assert_eq!(submit(&server, "/ui/schedules/new", &with(&all)).await.status, 303);
    submit(&server, "/ui/schedules/new", &NINE).await;
    let page = see(&server, "/ui/schedules/calendar?month=2040-02&zone=Europe/Vienna").await;
    assert_eq!((page.status, page.text("h1").as_str()), (200, "February 2040"));
    assert_eq!((page.count(".calendar td:not(.other)"), page.count(".calendar .start")), (29, 29), "{}", page.html);
    assert_eq!(page.text(".calendar .start"), "often 4 times, 09:00 to 12:00");
    let next = page.attributes("a[rel=next]", "href").remove(0);
    assert_eq!(next, "?month=2040-03&zone=Europe%2FVienna");
    let one = see(&server, "/ui/schedules/calendar?month=2040-02&zone=UTC&schedule=daily").await;
    assert_eq!(one.count(".calendar .start"), 21, "it is not enabled, and asked for: {}", one.html);
    assert!(one.text(".calendar .start").contains("08:00"), "{}", one.html);
    assert_eq!(see(&server, "/ui/schedules/calendar").await.count(".calendar .today"), 1);
    // One that starts every minute leaves the others their days, and says that there is more of it.
    let minute = [("is_enabled", "true"), ("expression", "* * * * *"), ("name", "pulse")];
    assert_eq!(submit(&server, "/ui/schedules/new", &with(&minute)).await.status, 303);
    let page = see(&server, "/ui/schedules/calendar?month=2040-02&zone=UTC").await;
    let often = page.texts(".calendar .start").into_iter().filter(|start| start.starts_with("often ")).count();
    assert_eq!(often, 29, "{}", page.html);
    let cut = page.text(".box.warning");
    assert!(cut.starts_with("Of pulse the first 98") && cut.contains("at least 117 more"), "{cut}");
    assert_eq!(page.attributes(".box.warning a", "href"), ["?month=2040-02&zone=UTC&schedule=pulse"]);
    for wrong in ["month=2040-13", "zone=Mars", "schedule=nothing"] {
        let status = see(&server, &format!("/ui/schedules/calendar?{wrong}")).await.status;
        assert!((400..500).contains(&status), "{wrong}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_shown_what_they_may_not_do() {
    let remote = Remote::new();
    deploy(&remote.server, "report", json!({})).await;
    submit(&remote.server, "/ui/schedules/new", &NINE).await;
    for (role, buttons, links) in [("viewer", 0, 0), ("operator", 1, 1), ("author", 1, 3)] {
        remote.user(role, json!({"role": role})).await;
        let session = remote.log_in(role).await;
        let page = see_as(&remote, &session, "/ui/schedules/daily").await;
        assert_eq!((page.count(".head .actions button"), page.count(".head .actions a")), (buttons, links), "{role}");
        let list = see_as(&remote, &session, "/ui/schedules").await;
        assert_eq!(
            (list.count("td button"), list.count("a.primary")),
            (buttons, usize::from(role == "author")),
            "{role}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_settings_stay_text() {
    let server = with_flow().await;
    for text in HOSTILE {
        server.create("settings", text, json!({"value": {"cron": "0 9 * * *", "time_zone": "UTC"}})).await;
        let fields = json!({"flow_id": "report", "scheduler_id": "cron", "setting_id": text, "description": text});
        let schedule = server.create("schedules", text, fields).await;
        let id = schedule["id"].as_str().unwrap();
        for below in ["", "/edit", "/delete"] {
            see(&server, &format!("/ui/schedules/{id}{below}")).await.is_plain(&format!("{text} {below}"));
        }
        let fields: Vec<_> =
            ["name", "flow_id", "scheduler_id", "setting_id", "expression", "time_zone", "from", "missed_window"]
                .into_iter()
                .map(|name| (name, text))
                .collect();
        submit(&server, "/ui/schedules/new", &fields).await.is_plain(text);
    }
    see(&server, "/ui/schedules").await.is_plain("the list");
    see(&server, "/ui/schedules/calendar").await.is_plain("the calendar");
}
