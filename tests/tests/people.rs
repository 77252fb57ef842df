//! People meet the real binary: the first admin's link, the form behind it, a login in a browser's way, the commands.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use surefoot_tests::command::{surefoot, surefoot_json};
use surefoot_tests::server_process::{Launch, SurefootProcess, answer};
use surefoot_tests::workspace::PATIENCE;
use tokio::task::JoinSet;

const PASSWORD: &str = "correct horse battery";

/// A server, and what it wrote to its standard error.
struct Begun {
    server: SurefootProcess,
    log: std::path::PathBuf,
}

impl Begun {
    async fn at(data: &Path, log: &Path) -> Result<Self> {
        let launch = Launch { log: Some(File::create(log)?), ..Launch::new(data) };
        Ok(Self { server: launch.start().await?, log: log.to_owned() })
    }

    fn said(&self) -> Result<String> {
        let mut said = String::new();
        File::open(&self.log)?.read_to_string(&mut said)?;
        Ok(said)
    }

    /// The link that it printed.
    async fn link(&self) -> Result<String> {
        let looking = async {
            loop {
                let said = self.said()?;
                let found = said.split_whitespace().find(|word| word.contains("/setup/"));
                if let Some(link) = found.filter(|_| said.ends_with('\n')) {
                    return Ok(link.to_owned());
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.context("no link was printed")?
    }
}

fn client() -> Result<Client> {
    Ok(Client::builder().no_proxy().build()?)
}

async fn log_in(client: &Client, url: &str, name: &str, password: &str) -> Result<(StatusCode, Option<String>, Value)> {
    let body = json!({"name": name, "password": password});
    let response = client.post(format!("{url}/api/v1/sessions")).json(&body).send().await?;
    let cookie = response.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()?.split(';').next());
    let cookie = cookie.map(str::to_owned);
    Ok((response.status(), cookie, response.json().await?))
}

/// The first start prints a link that makes the admin; the next does not, and a link is good once. Nothing that
/// was secret is in the log or in the data folder.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_prints_a_link_that_makes_the_admin() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let begun = Begun::at(&data, &log).await?;
    let (link, client) = (begun.link().await?, client()?);
    let page = client.get(&link).send().await?;
    ensure!(page.status() == StatusCode::OK && page.text().await?.contains("<form"), "{link}");
    let form = "name=root&password=correct+horse+battery&repeated=correct+horse+battery";
    let send = || client.post(&link).header("content-type", "application/x-www-form-urlencoded").body(form).send();
    assert_eq!(send().await?.status(), StatusCode::OK);
    assert_eq!(send().await?.status(), StatusCode::NOT_FOUND);
    let url = begun.server.url().to_owned();
    let (status, cookie, session) = log_in(&client, &url, "root", PASSWORD).await?;
    assert_eq!((status, &session["session"]["address"]), (StatusCode::CREATED, &json!("127.0.0.1")));
    let cookie = cookie.context("a cookie")?;
    let me = client.get(format!("{url}/api/v1/me")).header(COOKIE, &cookie).send().await?;
    assert_eq!(me.json::<Value>().await?["role"], "admin");

    let said = begun.said()?;
    let token = link.rsplit('/').next().context("a token")?.to_owned();
    assert_eq!(said.matches(&token).count(), 1, "printed once, and in no line of the log: {said}");
    begun.server.stop().await?;
    let again = Begun::at(&data, &log).await?;
    let me = client.get(format!("{}/api/v1/me", again.server.url())).header(COOKIE, &cookie).send().await?;
    assert_eq!(me.status(), StatusCode::OK, "a session outlives a restart");
    again.server.stop().await?;
    assert!(!std::fs::read_to_string(&log)?.contains("/setup/"), "there is an admin");
    let secret = cookie.split_once('=').context("a value")?.1.to_owned();
    for file in xtask::repo::files_under(&data)? {
        let bytes = std::fs::read(data.join(&file))?;
        for secret in [&token, &secret, PASSWORD] {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{} holds a secret", file.display());
        }
    }
    Ok(())
}

/// Users are made, changed and disabled on the command line.
#[tokio::test(flavor = "multi_thread")]
async fn users_are_kept_on_the_command_line() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let begun = Begun::at(&data, &folder.path().join("log")).await?;
    let (client, url) = (client()?, begun.server.url().to_owned());
    surefoot_json(&data, &["project", "set", "shop"])?;
    let made = surefoot(&data, &["user", "create", "grace", "--project", "shop=operator"])?;
    ensure!(made.code == 0, "{}", made.stderr);
    let path = made.stdout.trim().to_owned();
    let body = json!({"token": path.trim_start_matches("/setup/"), "password": PASSWORD});
    let (status, said) = answer(client.post(format!("{url}/api/v1/setup")).json(&body)).await?;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (_, cookie, _) = log_in(&client, &url, "grace", PASSWORD).await?;
    let cookie = cookie.context("a cookie")?;
    let sees = async |kinds: &str| -> Result<usize> {
        let listed = client.get(format!("{url}/api/v1/{kinds}")).header(COOKIE, &cookie).send().await?;
        let listed: Value = listed.error_for_status()?.json().await?;
        Ok(listed["rows"].as_array().context("rows")?.len())
    };
    surefoot_json(&data, &["setting", "set", "elsewhere", "1"])?;
    assert_eq!((sees("projects").await?, sees("settings").await?), (1, 0));
    surefoot_json(&data, &["user", "set", "grace", "--role", "viewer", "--display-name", "Grace H."])?;
    assert_eq!(sees("settings").await?, 1);
    let listed = surefoot(&data, &["user", "list"])?.stdout;
    assert!(listed.contains("grace") && listed.contains("Grace H."), "{listed}");
    let shown = surefoot(&data, &["user", "show", "grace"])?.stdout;
    assert!(shown.contains("has_password") && !shown.contains("argon2"), "{shown}");
    ensure!(surefoot(&data, &["user", "disable", "grace"])?.code == 0);
    assert!(sees("settings").await.is_err());
    ensure!(surefoot(&data, &["user", "enable", "grace"])?.code == 0);
    let reset = surefoot(&data, &["user", "reset", "grace"])?;
    assert!(reset.stdout.starts_with("/setup/"), "{}", reset.stdout);
    assert_eq!(log_in(&client, &url, "grace", PASSWORD).await?.0, StatusCode::UNAUTHORIZED);
    ensure!(surefoot(&data, &["user", "delete", "grace"])?.code == 0);
    let wrong = surefoot(&data, &["user", "create", "x", "--project", "shop"])?;
    assert!(wrong.code == 64 && wrong.stderr.contains("PROJECT=ROLE"), "{}", wrong.stderr);
    begun.server.stop().await?;
    Ok(())
}

/// A flood of logins makes logins slow, and nothing else: everything else is answered meanwhile, and the flood too.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_logins_costs_the_others_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let begun = Begun::at(&folder.path().join("data"), &folder.path().join("log")).await?;
    let (client, url) = (client()?, begun.server.url().to_owned());
    let before = begun.server.resident_bytes()?;
    let mut flood = JoinSet::new();
    for n in 0..200 {
        let (client, url) = (client.clone(), url.clone());
        flood.spawn(async move { log_in(&client, &url, &format!("user {n}"), PASSWORD).await });
    }
    for _ in 0..50 {
        begun.server.api(Method::GET, "flows", None).await?;
    }
    let grown = begun.server.resident_bytes()?.saturating_sub(before);
    assert!(grown < 100 << 20, "{grown} bytes: each digest takes 19 MiB, and there are two at a time");
    let mut throttled = 0;
    while let Some(login) = flood.join_next().await {
        let (status, cookie, _) = login??;
        ensure!(cookie.is_none());
        ensure!(matches!(status.as_u16(), 401 | 429 | 503), "{status}");
        throttled += usize::from(status.as_u16() == 429);
    }
    assert!(throttled > 100, "{throttled}");
    begun.server.stop().await?;
    Ok(())
}
