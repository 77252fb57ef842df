//! What has to change so that a workspace is as the files say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use surefoot_connector_api::InputRules;
use surefoot_engine::Role;
use surefoot_engine::query::Kind;

use super::{Item, KINDS, PROJECT_ROLES, REFERENCES, SECRET, name_in_file};
use crate::client::{Call, Client, Content, Method, Path};
use crate::failure::Failure;
use crate::{commands, records};

/// The records of a workspace that are configuration.
pub(crate) struct Workspace {
    records: BTreeMap<(usize, String), Value>,
    /// By kind and id.
    names: BTreeMap<(usize, String), String>,
    /// Whether users are among them: only admins of the workspace see those.
    pub(crate) has_users: bool,
}

/// What is to be done with one record.
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) action: Action,
    /// Field, before, after; of what is made or changed.
    pub(crate) differences: Vec<(String, Value, Value)>,
    /// The fields that change, by their names in files.
    fields: Map<String, Value>,
    component: Option<PathBuf>,
    /// Of the record as it was looked at.
    revision: Value,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    /// To the trash.
    Delete,
}

/// All changes, in the order in which they are made.
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    /// Records that are as the files say.
    pub(crate) unchanged: usize,
}

impl Action {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

fn position(kind: Kind) -> usize {
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

impl Workspace {
    /// Reads all of them.
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        let (mut records, mut names) = (BTreeMap::new(), BTreeMap::new());
        let users = Path::api([Kind::User.plural().as_str()]).query("limit", 1);
        let has_users = client.send(Call::new(Method::GET, users)).await?.status != 403;
        let seen = KINDS.into_iter().enumerate().filter(|(_, kind)| has_users || *kind != Kind::User);
        for (position, kind) in seen {
            for record in records::all(client, &kind.plural()).await? {
                let text = |field: &str| record[field].as_str().unwrap_or_default().to_owned();
                names.insert((position, text("id")), text("name"));
                records.insert((position, text("name")), record);
            }
        }
        Ok(Self { records, names, has_users })
    }

    /// All records as they stand in files.
    pub(crate) fn items(&self) -> Vec<Item> {
        let item = |((position, name), record): (&(usize, String), &Value)| {
            let kind = KINDS[*position];
            let fields = self.in_files(kind, record);
            Item { kind, name: name.clone(), fields, component: None, file: PathBuf::new() }
        };
        self.records.iter().filter(|(_, record)| !is_built_in(record)).map(item).collect()
    }

    /// The fields of a record that users may set and that are set.
    fn in_files(&self, kind: Kind, record: &Value) -> Map<String, Value> {
        let mut fields = Map::new();
        for field in kind.fields().filter(|field| field.writable) {
            let value = &record[field.name];
            if value.is_null() || field.name == "name" {
                continue;
            }
            let reference = REFERENCES.iter().find(|(id, ..)| *id == field.name);
            let shown = match (reference, value) {
                (Some((.., kind)), Value::String(id)) => self.name_of(*kind, id).into(),
                (None, Value::Object(roles)) if field.name == PROJECT_ROLES => {
                    let by_name = |(id, role): (&String, &Value)| (self.name_of(Kind::Project, id), role.clone());
                    roles.iter().map(by_name).collect::<Map<_, _>>().into()
                }
                _ => value.clone(),
            };
            fields.insert(name_in_file(field.name).to_owned(), shown);
        }
        fields
    }

    /// The name of a record; its id if it is in the trash, where it has no name here.
    fn name_of(&self, kind: Kind, id: &str) -> String {
        self.names.get(&(position(kind), id.to_owned())).map_or(id, String::as_str).to_owned()
    }

    /// What makes it as the files say. With `prune`, records without a file go; of people only if any of them has one,
    /// since a folder may say nothing of people.
    pub(crate) async fn plan(&self, items: Vec<Item>, prune: bool, client: &Client) -> Result<Plan> {
        if let Some(user) = items.iter().find(|item| item.kind == Kind::User && !self.has_users) {
            let failure = Failure::usage(format!("{}: only an admin of the workspace sets roles", user.file.display()));
            return Err(failure.hint("Pass an admin's --token, or leave the folder `users` out.").into());
        }
        let known: Vec<(usize, String)> = items.iter().map(|item| (position(item.kind), item.name.clone())).collect();
        let mut seen = BTreeMap::new();
        let mut plan = Plan { changes: Vec::new(), unchanged: 0 };
        for item in items {
            let key = (position(item.kind), item.name.clone());
            if let Some(other) = seen.insert(key.clone(), item.file.clone()) {
                let (one, two) = (other.display(), item.file.display());
                return Err(Failure::usage(format!("{one} and {two} are the same {}", item.kind.as_str())).into());
            }
            self.check_references(&item, &known, prune)?;
            self.check_fields(&item)?;
            check_config(&item, self.records.get(&key), client).await?;
            match self.change(item)? {
                Some(change) => plan.changes.push(change),
                None => plan.unchanged += 1,
            }
        }
        if prune {
            let has_file_of_people = known.iter().any(|(kind, _)| *kind == position(Kind::User));
            let may_go = |kind: usize| KINDS[kind] != Kind::User || has_file_of_people;
            let gone = self.records.iter().rev().filter(|(key, record)| !known.contains(key) && !is_built_in(record));
            let gone = gone.filter(|((kind, _), _)| may_go(*kind));
            plan.changes.extend(gone.map(|((position, name), record)| Change {
                kind: KINDS[*position],
                name: name.clone(),
                action: Action::Delete,
                differences: Vec::new(),
                fields: Map::new(),
                component: None,
                revision: record["revision"].clone(),
            }));
        }
        self.keep_an_admin(&plan.changes)?;
        // Whoever becomes an admin does before another one is none any more.
        plan.changes.sort_by_key(|change| change.action != Action::Delete && self.takes_an_admin(change));
        Ok(plan)
    }

    /// Whether somebody is an admin before a change, and after it.
    fn admin_before_and_after(&self, change: &Change) -> (bool, bool) {
        if change.kind != Kind::User {
            return (false, false);
        }
        let user = self.records.get(&(position(Kind::User), change.name.clone())).unwrap_or(&Value::Null);
        (is_admin(user, &Map::new()), change.action != Action::Delete && is_admin(user, &change.fields))
    }

    fn takes_an_admin(&self, change: &Change) -> bool {
        self.admin_before_and_after(change) == (true, false)
    }

    /// Refuses changes after which nobody would be an admin, before any is made. The server looks, too.
    fn keep_an_admin(&self, changes: &[Change]) -> Result<()> {
        let users = self.records.iter().filter(|((kind, _), _)| *kind == position(Kind::User));
        let admins = users.filter(|(_, user)| is_admin(user, &Map::new())).count();
        let gone = changes.iter().filter(|change| self.takes_an_admin(change)).count();
        let is_made = |change| self.admin_before_and_after(change) == (false, true);
        if admins == 0 || gone < admins || changes.iter().any(is_made) {
            return Ok(());
        }
        let failure = Failure::usage("after these changes nobody would be an admin of the workspace");
        Err(failure.hint("Keep a user with `role = \"admin\"` and without `is_enabled = false`.").into())
    }

    /// Refuses what the workspace would refuse, before anything is changed.
    fn check_fields(&self, item: &Item) -> Result<()> {
        let present = self.records.get(&(position(item.kind), item.name.clone()));
        let mut fields = present.map(|record| self.in_files(item.kind, record)).unwrap_or_default();
        fields.extend(item.fields.clone());
        let in_api = |(name, value): (String, Value)| {
            let reference = REFERENCES.iter().find(|(_, in_file, _)| *in_file == name);
            (reference.map_or(name, |(field, ..)| (*field).to_owned()), value)
        };
        let fields = fields.into_iter().map(in_api).collect();
        let checked = surefoot_engine::check_fields(item.kind, &item.name, &fields);
        Ok(checked.map_err(|error| Failure::usage(format!("{}: {error}", item.file.display())))?)
    }

    /// With `prune`, what has no file is on its way out.
    fn check_references(&self, item: &Item, known: &[(usize, String)], prune: bool) -> Result<()> {
        let stays = |record: &Value| !prune || is_built_in(record);
        let named = REFERENCES.iter().filter_map(|(_, field, kind)| {
            let name = item.fields.get(*field)?.as_str()?;
            Some((*field, name, *kind))
        });
        let roles = item.fields.get(PROJECT_ROLES).and_then(Value::as_object).into_iter().flatten();
        for (field, name, kind) in named.chain(roles.map(|(name, _)| (PROJECT_ROLES, name.as_str(), Kind::Project))) {
            let key = (position(kind), name.to_owned());
            if !known.contains(&key) && !self.records.get(&key).is_some_and(stays) {
                let (file, kind) = (item.file.display(), kind.as_str());
                let failure = Failure::usage(format!("{file}: there is no {kind} `{name}`, here or in the workspace"));
                return Err(failure.hint(format!("Add a file for it, or correct `{field}`.")).into());
            }
        }
        Ok(())
    }

    /// What changes; none when the record is as its file says. A field that the file does not name stays as it is.
    fn change(&self, item: Item) -> Result<Option<Change>> {
        let present = self.records.get(&(position(item.kind), item.name.clone()));
        let before = present.map(|record| self.in_files(item.kind, record)).unwrap_or_default();
        let mut fields = Map::new();
        let mut differences = Vec::new();
        for (name, after) in item.fields {
            let before = before.get(&name).cloned().unwrap_or_default();
            if !is_same(&before, &after) {
                differences.extend(differing(&name, &before, &after));
                fields.insert(name, after);
            }
        }
        let component = match item.component {
            Some(path) => {
                let bytes = std::fs::read(&path).map_err(|error| Failure::place("read", &path, &error))?;
                surefoot_engine::check_component(&bytes)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                let digest = hex::encode(Sha256::digest(&bytes));
                let version = present.map(|record| record["version"].clone()).unwrap_or_default();
                let is_other = version != digest.as_str();
                if is_other {
                    differences.push(("component".into(), version, digest.into()));
                }
                is_other.then_some(path)
            }
            None if present.is_none() && item.kind == Kind::Flow => {
                let failure = Failure::usage(format!("{}: the flow has no component", item.file.display()));
                return Err(failure.hint("Add `component = \"NAME.wasm\"`, or deploy it first.").into());
            }
            None => None,
        };
        let action = if present.is_some() { Action::Update } else { Action::Create };
        let revision = present.map(|record| record["revision"].clone()).unwrap_or_default();
        let is_needed = action == Action::Create || !differences.is_empty();
        let (kind, name) = (item.kind, item.name);
        Ok(is_needed.then_some(Change { kind, name, action, differences, fields, component, revision }))
    }
}

/// Whether a user with these fields changed is an admin of the workspace who may log in.
fn is_admin(user: &Value, changed: &Map<String, Value>) -> bool {
    let field = |name: &str| changed.get(name).unwrap_or(&user[name]);
    field("role") == Role::Admin.as_str() && field("is_enabled") != false
}

impl Change {
    /// Makes it so. A record that somebody changed since it was looked at is left alone, with an error.
    pub(crate) async fn make(&self, client: &Client) -> Result<()> {
        let plural = self.kind.plural();
        if self.action == Action::Delete {
            let path = Path::api([plural.as_str(), &self.name]);
            return client.ask(Call::new(Method::DELETE, path)).await.map(drop);
        }
        let mut revision = self.revision.clone();
        if let Some(component) = &self.component {
            let bytes = std::fs::read(component).map_err(|error| Failure::place("read", component, &error))?;
            let call = Call::new(Method::POST, Path::api([plural.as_str(), &self.name, "deploy"]));
            revision = client.ask(call.content(Content::Bytes(bytes.into()))).await?["revision"].take();
        }
        let mut fields = Map::new();
        for (name, value) in &self.fields {
            match REFERENCES.iter().find(|(_, in_file, _)| in_file == name) {
                Some((field, _, kind)) => {
                    let Some(key) = value.as_str() else {
                        return Err(Failure::usage(format!("`{name}` must be a name, not {value}")).into());
                    };
                    let id = records::id_of(client, &kind.plural(), key).await?;
                    fields.insert((*field).to_owned(), id.into());
                }
                None => {
                    fields.insert(name.clone(), value.clone());
                }
            }
        }
        if self.action == Action::Create && self.kind != Kind::Flow {
            fields.insert("name".into(), self.name.as_str().into());
            return client.post(Path::api([plural.as_str()]), Value::Object(fields)).await.map(drop);
        }
        if fields.is_empty() {
            return Ok(());
        }
        fields.insert("revision".into(), revision);
        let call = Call::new(Method::PATCH, Path::api([plural.as_str(), &self.name]));
        client.ask(call.content(Content::Json(Value::Object(fields)))).await.map(drop)
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let differences: Vec<Value> = self
            .differences
            .iter()
            .map(|(field, before, after)| json!({"field": field, "before": before, "after": after}))
            .collect();
        json!({
            "kind": self.kind.as_str(), "name": self.name, "action": self.action.as_str(), "differences": differences,
        })
    }
}

/// Whether the engine brings it: every workspace has it.
fn is_built_in(record: &Value) -> bool {
    record["flow_id"].as_str().is_some_and(|flow| flow.starts_with("native:"))
}

/// Files are read by many. A secret in one is refused, and what cannot be left as it is, too; and what the connector
/// type does not take.
async fn check_config(item: &Item, present: Option<&Value>, client: &Client) -> Result<()> {
    let (Kind::Connector, Some(config)) = (item.kind, item.fields.get("config").and_then(Value::as_object)) else {
        return Ok(());
    };
    let ty = item.fields.get("type").or_else(|| present?.get("type")).and_then(Value::as_str).unwrap_or_default();
    let schema = commands::connector::input_schema(client, ty).await?;
    let checked = InputRules::new(schema.clone()).validate_stored(config);
    checked.map_err(|error| Failure::usage(format!("{}: `config`: {error}", item.file.display())))?;
    for (name, value) in config {
        if schema["properties"][name]["writeOnly"] != true {
            continue;
        }
        let (file, text) = (item.file.display(), value.as_str().unwrap_or_default());
        if text == SECRET {
            if present.is_none_or(|present| present["config"][name].is_null()) {
                let failure =
                    Failure::usage(format!("{file}: there is no `{name}` in the workspace to be left as it is"));
                let hint = format!("Write {name} = \"secret(NAME)\", and store that secret in the workspace.");
                return Err(failure.hint(hint).into());
            }
        } else if !(text.starts_with("secret(") && text.ends_with(')')) {
            let failure = Failure::usage(format!("{file}: `{name}` is secret, and a file is no place for it"));
            let hint = format!("Store it as a secret in the workspace, and write {name} = \"secret(NAME)\" here.");
            return Err(failure.hint(hint).into());
        }
    }
    Ok(())
}

/// Whether two values are the same for a user: numbers may be written as whole or not.
fn is_same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Number(before), Value::Number(after)) => before.as_f64() == after.as_f64(),
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before.iter().all(|(name, value)| after.get(name).is_some_and(|after| is_same(value, after)))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| is_same(before, after))
        }
        _ => before == after,
    }
}

/// The differences of a field, member by member where it has some.
fn differing(name: &str, before: &Value, after: &Value) -> Vec<(String, Value, Value)> {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return vec![(name.to_owned(), before.clone(), after.clone())];
    };
    let mut members: Vec<&String> = before.keys().chain(after.keys()).collect();
    members.sort_unstable();
    members.dedup();
    let member = |map: &Map<String, Value>, member: &String| map.get(member).cloned().unwrap_or_default();
    members
        .into_iter()
        .map(|name| (name, member(before, name), member(after, name)))
        .filter(|(_, before, after)| !is_same(before, after))
        .flat_map(|(member, before, after)| differing(&format!("{name}.{member}"), &before, &after))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_by_their_members() {
        let before = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        let after = json!({"a": {"b": 1.0, "c": 3}, "d": [1, 2], "e": true});
        let expected = [
            ("config.a.c".to_owned(), json!(2), json!(3)),
            ("config.d".to_owned(), json!([1]), json!([1, 2])),
            ("config.e".to_owned(), Value::Null, json!(true)),
        ];
        assert_eq!(differing("config", &before, &after), expected);
        assert!(is_same(&json!({"a": [1, {"b": 2}]}), &json!({"a": [1.0, {"b": 2.0}]})));
        assert!(!is_same(&json!({"a": 1}), &json!({"a": 1, "b": null})));
    }
}
