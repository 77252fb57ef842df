//! Fills the demo's workspace with what the flow `upgrade-safely` needs. It may have been filled before.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use surefoot_fixtures::{System, Targets};

use crate::client::{Client, Path};
use crate::commands::deploy;
use crate::guest::Component;
use crate::{records, workspace};

/// The webhook that whoever upgrades would call.
pub(super) const WEBHOOK: &str = "upgrade-check";

/// Deploys the flows and saves all records. Returns the webhook's key.
pub(super) async fn set(client: &Client, targets: &Targets, flows: &[Component]) -> Result<String> {
    for flow in flows {
        let deployed = deploy::upload(client, &flow.flow, &flow.path).await;
        deployed.with_context(|| format!("cannot deploy the flow `{}`", flow.flow))?;
    }
    for system in System::ALL {
        let connector = json!({ "type": system.name(), "config": targets.connection(system)? });
        save(client, "connectors", &format!("my-{system}-connector"), connector).await?;
    }
    let scheduler = records::id_of(client, "flows", "my-self-build-scheduler").await?;
    save(client, "schedulers", "my-self-build-scheduler", json!({ "flow_id": scheduler })).await?;
    save(client, "settings", "my-test-setting", json!({ "value": { "interval_seconds": 3600 } })).await?;
    save(client, "projects", "my-test-project", json!({})).await?;
    for flow in ["my-critical-flow-1", "my-critical-flow-2"] {
        // An earlier demo in this workspace may have broken it.
        save(client, "settings", flow, json!({ "value": { "broken": false } })).await?;
    }
    let key = workspace::new_secret();
    let flow = records::id_of(client, "flows", "upgrade-safely").await?;
    save(client, "webhooks", WEBHOOK, json!({ "flow_id": flow, "is_key_required": true })).await?;
    client.post(Path::api(["webhooks", WEBHOOK, "key"]), json!({ "key": key })).await?;
    save(client, "webhooks", WEBHOOK, json!({ "is_enabled": true })).await?;
    Ok(key)
}

async fn save(client: &Client, plural: &str, name: &str, fields: Value) -> Result<()> {
    let saved = client.save(plural, name, fields).await;
    saved.map(drop).with_context(|| format!("cannot save `{name}` among the {plural}"))
}
