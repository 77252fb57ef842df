//! Files and folders: one of them is one record.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Map, Value};
use surefoot_engine::query::Kind;

use super::{Item, KINDS, fields_in_files};
use crate::failure::Failure;

/// All records in a folder, in the order in which they are to be made.
pub(crate) fn read(folder: &Path) -> Result<Vec<Item>> {
    let mut kinds: Vec<(usize, PathBuf)> = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match KINDS.iter().position(|kind| kind.plural() == name) {
            Some(position) if path.is_dir() => kinds.push((position, path)),
            // A README or a licence may stand beside.
            None if path.is_file() => {}
            _ => {
                let known = KINDS.map(Kind::plural).join(", ");
                let failure = Failure::usage(format!("{} is no folder of a kind", path.display()));
                return Err(failure.hint(format!("Folders are {known}.")).into());
            }
        }
    }
    kinds.sort();
    let mut items = Vec::new();
    for (position, folder) in kinds {
        for path in entries(&folder)? {
            items.extend(read_item(KINDS[position], path)?);
        }
    }
    Ok(items)
}

/// Writes a record into its place below the folder. `component` is what a flow runs.
pub(crate) fn write(folder: &Path, item: &Item, component: Option<&[u8]>) -> Result<PathBuf> {
    let folder = folder.join(item.kind.plural());
    fs::create_dir_all(&folder).map_err(|error| Failure::place("make", &folder, &error))?;
    let stem = file_stem(&item.name);
    let mut fields = item.fields.clone();
    if let Some(component) = component {
        let path = folder.join(format!("{stem}.wasm"));
        fs::write(&path, component).map_err(|error| Failure::place("write", &path, &error))?;
        fields.insert("component".into(), format!("{stem}.wasm").into());
    }
    if stem != item.name {
        fields.insert("name".into(), item.name.as_str().into());
    }
    // TOML has no null; a document with one inside is written as JSON.
    let (extension, text) = match toml::to_string_pretty(&fields) {
        Ok(text) => ("toml", text),
        Err(_) => ("json", format!("{:#}\n", Value::Object(fields))),
    };
    let path = folder.join(format!("{stem}.{extension}"));
    fs::write(&path, text).map_err(|error| Failure::place("write", &path, &error))?;
    Ok(path)
}

/// The files of a folder that are not hidden, by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Failure::place("read", folder, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The record in a file; none in a component, which belongs to one.
fn read_item(kind: Kind, file: PathBuf) -> Result<Option<Item>> {
    let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
    let text = |path: &Path| fs::read_to_string(path).map_err(|error| Failure::place("read", path, &error));
    let parsed = match file.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::from_str::<Value>(&text(&file)?).map_err(|error| wrong(error.to_string()))?,
        Some("json") => serde_json::from_str(&text(&file)?).map_err(|error| wrong(error.to_string()))?,
        Some("wasm") if kind == Kind::Flow => return Ok(None),
        _ => {
            let hint = "Name it NAME.toml or NAME.json, or put it elsewhere.";
            return Err(wrong("it is neither TOML nor JSON".into()).hint(hint).into());
        }
    };
    let Value::Object(mut fields) = parsed else { return Err(wrong("it must be an object".into()).into()) };
    let name = match fields.remove("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(wrong(format!("`name` must be text, not {other}")).into()),
        None => file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let known = fields_in_files(kind);
    if let Some(unknown) = fields.keys().find(|field| !known.contains(&field.as_str())) {
        let hint = format!("Fields of a {} are name, {}.", kind.as_str(), known.join(", "));
        return Err(wrong(format!("there is no field `{unknown}`")).hint(hint).into());
    }
    let component = component(&mut fields, &file).map_err(wrong)?;
    Ok(Some(Item { kind, name, fields, component, file: file.clone() }))
}

/// The path of a flow's component, which stands in its file relative to that.
fn component(fields: &mut Map<String, Value>, file: &Path) -> Result<Option<PathBuf>, String> {
    match fields.remove("component") {
        None => Ok(None),
        Some(Value::String(path)) => Ok(Some(file.parent().unwrap_or(Path::new(".")).join(path))),
        Some(other) => Err(format!("`component` must be the path of a file, not {other}")),
    }
}

/// A name as part of a path, on every file system: what is not plain is percent-encoded.
fn file_stem(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let encoded: String = name
        .bytes()
        .enumerate()
        .map(|(at, byte)| match is_plain(byte) && !(at == 0 && byte == b'.') {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    // A name of 256 characters may be longer than a name of a file; the file says it, too.
    encoded.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(kind: Kind, name: &str, fields: Value) -> Item {
        let Value::Object(fields) = fields else { panic!("{fields}") };
        Item { kind, name: name.into(), fields, component: None, file: PathBuf::new() }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let long = "ä".repeat(256);
        for (kind, name, fields) in [
            (Kind::Webhook, "w", json!({"flow": "f", "methods": ["GET", "POST"], "is_enabled": true})),
            (Kind::Setting, "../a name/with \"signs\"", json!({"value": {"a": {"b": [1, 2.5, true]}}, "project": "p"})),
            (Kind::Setting, ".hidden", json!({"value": null})),
            (Kind::Setting, &long, json!({"value": {"deep": [null]}})),
            (Kind::Connector, "c", json!({"type": "ftp", "config": {"hostname": "h", "password": "***"}})),
            (Kind::Project, "p", json!({})),
            (Kind::User, "u", json!({"role": "viewer", "project_roles": {"a project": "author"}, "is_enabled": true})),
        ] {
            write(folder.path(), &item(kind, name, fields), None).unwrap();
        }
        let component = item(Kind::Flow, "f", json!({"description": "does it"}));
        write(folder.path(), &component, Some(b"\0asm")).unwrap();
        fs::write(folder.path().join("README.md"), "about this").unwrap();
        let read = read(folder.path()).unwrap();
        let names: Vec<_> = read.iter().map(|item| (item.kind.as_str(), item.name.as_str())).collect();
        let expected = [
            ("project", "p"),
            ("setting", "../a name/with \"signs\""),
            ("setting", &long),
            ("setting", ".hidden"),
            ("connector", "c"),
            ("flow", "f"),
            ("webhook", "w"),
            ("user", "u"),
        ];
        let mut sorted = names.clone();
        sorted.sort_by_key(|(kind, name)| expected.iter().position(|expected| expected == &(*kind, *name)));
        assert_eq!(sorted, expected);
        let value = |name: &str| read.iter().find(|item| item.name == name).unwrap().fields.clone();
        assert_eq!(value(&long)["value"], json!({"deep": [null]}));
        assert_eq!(
            value("w"),
            *json!({"flow": "f", "methods": ["GET", "POST"], "is_enabled": true}).as_object().unwrap()
        );
        let flow = read.iter().find(|item| item.kind == Kind::Flow).unwrap();
        assert_eq!(fs::read(flow.component.as_ref().unwrap()).unwrap(), b"\0asm");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (path, text, says) in [
            ("setting/s.toml", "", "setting is no folder of a kind"),
            ("settings/s.toml", "value = 1\nvalu = 2", "there is no field `valu`"),
            ("settings/s.toml", "value = ", "s.toml: TOML parse error at line 1"),
            ("settings/s.json", "{", "s.json: EOF"),
            ("settings/s.json", "[]", "it must be an object"),
            ("settings/s.yaml", "", "neither TOML nor JSON"),
            ("settings/s.toml", "name = 1", "`name` must be text"),
            ("flows/f.toml", "component = 1", "`component` must be the path"),
            ("flows/f.toml", "version = 'x'", "there is no field `version`"),
            ("users/u.toml", "password = 'x'", "there is no field `password`"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            let said = read(folder.path()).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains(says), "{text:?}: {said}");
        }
    }
}
