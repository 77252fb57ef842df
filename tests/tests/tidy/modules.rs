//! No Rust file is forgotten: each is a target of cargo, or reached from one through `mod`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use cargo_metadata::Metadata;
use xtask::repo;

use crate::{File, Finding};

/// Files below a `templates` folder are material for `surefoot new`, not modules.
pub(crate) fn check(files: &[File], metadata: &Metadata) -> Vec<Finding> {
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);
    let roots = targets.filter_map(|target| target.src_path.as_std_path().strip_prefix(repo::root()).ok());
    unreached(files, roots.map(Path::to_path_buf).collect())
        .into_iter()
        .map(|path| Finding::new(path, 0, "is reached by no `mod`: use it or remove it"))
        .collect()
}

fn unreached(files: &[File], roots: Vec<PathBuf>) -> Vec<&str> {
    let sources: BTreeMap<&Path, &str> = files
        .iter()
        .filter(|file| file.has_extension(&["rs"]))
        .map(|file| (Path::new(&*file.path), &*file.text))
        .collect();
    let mut reached = BTreeSet::new();
    let mut pending: Vec<(PathBuf, bool)> = roots.into_iter().map(|root| (root, true)).collect();
    while let Some((path, is_root)) = pending.pop() {
        let Some(text) = sources.get(path.as_path()) else { continue };
        let folder = folder_of_modules(&path, is_root);
        for module in declared(text, &path, &folder) {
            pending.extend(module.into_iter().map(|path| (path, false)));
        }
        reached.insert(path);
    }
    let is_reached = |file: &&File| reached.contains(Path::new(&file.path));
    let rust = files.iter().filter(|file| file.has_extension(&["rs"]) && !file.has_folder("templates"));
    rust.filter(|file| !is_reached(file)).map(|file| file.path.as_str()).collect()
}

/// Where the modules declared in a file lie.
fn folder_of_modules(path: &Path, is_root: bool) -> PathBuf {
    if is_root || path.file_name().is_some_and(|name| name == "mod.rs") {
        path.parent().unwrap_or(Path::new("")).to_path_buf()
    } else {
        path.with_extension("")
    }
}

/// For each `mod name;` in `text` the places where its file may be.
fn declared(text: &str, file: &Path, folder: &Path) -> Vec<Vec<PathBuf>> {
    let mut modules = Vec::new();
    let mut named: Option<&str> = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            named = rest.split('"').next();
        } else if let Some(name) = module_name(line) {
            modules.push(match named.take() {
                Some(path) => vec![file.parent().unwrap_or(Path::new("")).join(path)],
                None => vec![folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")],
            });
        }
    }
    modules
}

/// The name in `mod name;`, with any visibility.
fn module_name(line: &str) -> Option<&str> {
    let declaration = line.strip_suffix(';')?;
    let (visibility, name) = declaration.rsplit_once("mod ")?;
    let is_declaration = visibility.is_empty() || (visibility.starts_with("pub") && visibility.ends_with(' '));
    is_declaration.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_reached_through_modules() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file(
                "a/src/lib.rs",
                "mod one;\npub(crate) mod two;\n#[path = \"odd/place.rs\"]\nmod three;\n// mod four;\n",
            ),
            file("a/src/one.rs", "pub mod inner;\n"),
            file("a/src/one/inner.rs", ""),
            file("a/src/two/mod.rs", "mod deep;\n"),
            file("a/src/two/deep.rs", ""),
            file("a/src/odd/place.rs", ""),
            file("a/src/four.rs", ""),
            file("a/src/inner.rs", ""),
            file("a/templates/rust/src/lib.rs", ""),
        ];
        assert_eq!(unreached(&files, vec![PathBuf::from("a/src/lib.rs")]), ["a/src/four.rs", "a/src/inner.rs"]);
    }
}
