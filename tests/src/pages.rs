//! Every page of the web UI, at an address where there is something to see. Screenshots, axe-core and the journeys take
//! their pages from here, and the pages themselves come from the table of routes: one that is added is looked at, or
//! the tests say which sample it lacks.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Map, Value, json};
use surefoot_engine::StartRequest;
use surefoot_engine::query::Kind;
use surefoot_fixtures::Targets;

use crate::browser::Browser;
use crate::workspace::{Server, Workspace, id};

/// The user who looks, an admin.
pub const USER: &str = "root";

/// The password of that user.
pub const PASSWORD: &str = "correct horse battery";

/// What stands for the parameter below a folder of pages: for `/ui/executions/{id}` the name is `executions`.
pub type Samples = BTreeMap<&'static str, String>;

/// Pages that show nothing without a query.
const QUERIES: [(&str, &str); 3] = [
    ("/ui/compare", "?b={executions}"),
    ("/ui/executions/{id}/restart", "?from=1"),
    ("/ui/bulk/executions/cancel", "?filter=status%3DWAITING"),
];

/// What is no page to look at: pictures and styles, and what only leads elsewhere.
const NO_PAGES: [&str; 2] = ["/", "/assets/{digest}/{name}"];

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// For files: `ui-executions-id-log`.
    pub name: String,
    /// With samples in place of its parameters.
    pub path: String,
}

/// All pages for which the samples are good; without samples, those that need none.
///
/// # Errors
/// When there are samples, and none for a parameter.
pub fn all(samples: &Samples) -> Result<Vec<Page>> {
    let templates = surefoot_web::pages().into_iter().filter(|page| page.method == "GET").map(|page| page.path);
    let mut pages = Vec::new();
    for template in templates.filter(|template| !NO_PAGES.contains(&template.as_str())) {
        let query = QUERIES.iter().find(|(known, _)| *known == template).map_or("", |(_, query)| *query);
        let needs_samples = format!("{template}{query}").contains('{');
        if needs_samples && samples.is_empty() {
            continue;
        }
        let name = template.trim_start_matches('/').replace(['/', '{', '}'], "-").replace("--", "-");
        let path = filled(&template, samples)? + &query_of(query, samples);
        pages.push(Page { name: name.trim_end_matches('-').to_owned(), path });
    }
    Ok(pages)
}

fn filled(template: &str, samples: &Samples) -> Result<String> {
    let parts: Vec<&str> = template.split('/').collect();
    let part = |(index, part): (usize, &&str)| -> Result<String> {
        if !part.starts_with('{') {
            return Ok((*part).to_owned());
        }
        let folder = parts[index - 1];
        let missing = || format!("{template}: `fill` in tests/src/pages.rs makes no sample for `{folder}`");
        samples.get(folder).cloned().with_context(missing)
    };
    Ok(parts.iter().enumerate().map(part).collect::<Result<Vec<_>>>()?.join("/"))
}

fn query_of(query: &str, samples: &Samples) -> String {
    samples.iter().fold(query.to_owned(), |query, (folder, sample)| query.replace(&format!("{{{folder}}}"), sample))
}

/// Makes the user who looks.
///
/// # Errors
/// When the server refuses.
pub async fn make_user(server: &Server, name: &str, role: &str) -> Result<()> {
    let user = json!({"name": name, "password": PASSWORD, "role": role});
    let made = server.api(Method::POST, "users").json(&user).send().await?;
    made.error_for_status().map(drop).context("a user is made")
}

/// Logs in as people do.
///
/// # Errors
/// When there is no way in.
pub async fn log_in(browser: &Browser, server: &Server, name: &str) -> Result<()> {
    browser.open(&format!("{}/login", server.url())).await?;
    browser.write("#name", name).await?;
    browser.write("#password", PASSWORD).await?;
    browser.click("button", "Log in").await?;
    browser.until_text("h1", "Overview").await
}

/// Fills a workspace with something of everything: an upgrade check that went well and one that failed since, what
/// waits, what comes, and a record of each kind.
///
/// # Errors
/// When something is refused.
pub async fn fill(workspace: &Workspace, targets: &Targets) -> Result<Samples> {
    workspace.prepare_upgrade_check(targets).await?;
    workspace.deploy(&["parallel", "hello", "ask-first"]).await?;
    workspace.run("upgrade-safely", json!({})).await?;
    workspace.break_one(targets, "smtp").await?;
    let failed = workspace.run("upgrade-safely", json!({"round": 2})).await?;
    workspace.run("parallel", json!({"n": 4})).await?;
    let asking = workspace.start("ask-first", json!({"version": "9.2"})).await?;
    workspace.until(&asking, |row| row["status"] == "WAITING").await?;
    let file = workspace.put_file("report.txt", "all is well\n").await?;
    let approvals = workspace.rows("approval", json!({"and": []})).await?;
    let mut samples = Samples::from([("executions", id(&failed).to_owned()), ("files", name_of(&file))]);
    if let Some(approval) = approvals.first() {
        samples.insert("approvals", id(approval).to_owned());
    }
    samples.extend(schedule_and_call(workspace).await?);
    samples.extend(people_and_secrets(workspace).await?);
    for (folder, kind) in [("flows", Kind::Flow), ("connectors", Kind::Connector), ("settings", Kind::Setting)] {
        let first = workspace.rows(kind.as_str(), json!({"and": []})).await?.into_iter().next();
        samples.insert(folder, name_of(&first.context("there is one")?));
    }
    Ok(samples)
}

/// A flow with a form, a schedule that starts it, a webhook and a call of that.
async fn schedule_and_call(workspace: &Workspace) -> Result<Samples> {
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "description": "Who is greeted"}, "loud": {"type": "boolean"}},
        "required": ["name"],
    });
    workspace.save(Kind::Flow, "hello", json!({ "input_schema": schema })).await?;
    let nightly = json!({"cron": "30 2 * * *", "time_zone": "Europe/Vienna"});
    workspace.save(Kind::Setting, "nightly", json!({ "value": nightly })).await?;
    let fields = json!({"scheduler_id": "cron", "setting_id": "nightly", "flow_id": "hello", "is_enabled": true});
    let schedule = workspace.save(Kind::Schedule, "report", fields).await?;
    let webhook = workspace.webhook("orders", "hello", json!({})).await?;
    let input = json!({"method": "POST", "path": "customers/7", "json": {"order": 7}, "headers": {"accept": "*/*"}});
    let request = StartRequest {
        flow: "hello".to_owned(),
        input,
        by: "webhook orders".to_owned(),
        webhook_id: Some(id(&webhook).to_owned()),
        ..StartRequest::default()
    };
    let (call, _) = workspace.engine.start(request).await?;
    workspace.ended(&call).await?;
    Ok(Samples::from([("schedules", name_of(&schedule)), ("webhooks", name_of(&webhook)), ("calls", call)]))
}

/// A project, somebody who is told, a secret, a user and a token.
async fn people_and_secrets(workspace: &Workspace) -> Result<Samples> {
    let project = workspace.save(Kind::Project, "shop", json!({"description": "what customers see"})).await?;
    let rule = json!({"on": ["failure", "recovery"], "connector_id": "my-smtp-connector", "to": ["ops@example.com"]});
    let rule = workspace.save(Kind::Notification, "ops", rule).await?;
    let secret =
        workspace.save(Kind::Secret, "erp-token", json!({"value": "hush", "description": "of the ERP"})).await?;
    let role = |role: &str| Map::from_iter([("role".to_owned(), Value::from(role))]);
    let (user, _) = workspace.engine.create_user("grace", role("operator"), None, "test").await?;
    let (token, _) = workspace.engine.create_token("ci", role("operator"), "test").await?;
    let named =
        [("projects", project), ("notifications", rule), ("secrets", secret), ("users", user), ("tokens", token)];
    Ok(named.into_iter().map(|(folder, row)| (folder, name_of(&row))).collect())
}

fn name_of(row: &Value) -> String {
    row["name"].as_str().unwrap_or_default().to_owned()
}
