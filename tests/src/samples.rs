//! Sample workspaces: data folders that a released version left when it was killed, with executions under way of every
//! sort. They are test data, `tests/data/workspaces/VERSION`, kept byte for byte: never edited, never made anew.
//!
//! The program `make_sample_workspace` makes one for a new version, with that version's binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The file of a sample that says what is in it.
pub const STORY: &str = "story.json";

/// What a sample workspace holds, and what must become of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Story {
    /// The version of the engine that made it.
    pub engine: String,
    /// Executions that had not ended, by name.
    pub under_way: BTreeMap<String, UnderWay>,
    /// Rows of executions that had ended, as the API showed them, by name.
    pub ended: BTreeMap<String, Value>,
}

/// An execution that had not ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its id.
    pub id: String,
    /// Its status when the engine was killed.
    pub status: String,
    /// What it needs to go on: nothing, `resume`, or the signal of that name.
    pub needs: Option<String>,
    /// How it must end.
    pub expected_status: String,
    /// What its output must be; nothing where that depends on the moment.
    pub expected_output: Option<Value>,
}

/// The folder with all samples.
pub fn folder() -> PathBuf {
    xtask::repo::root().join("tests/data/workspaces")
}

/// The folders of all samples, the oldest version first.
///
/// # Errors
/// When there is none, or the folder cannot be read.
pub fn all() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder()).context("there are no sample workspaces")?;
    let mut samples = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    samples.sort();
    anyhow::ensure!(!samples.is_empty(), "{} is empty", folder().display());
    Ok(samples)
}

/// The story of a sample.
///
/// # Errors
/// When it cannot be read.
pub fn story(sample: &Path) -> Result<Story> {
    let path = sample.join(STORY);
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// Makes a data folder out of a sample. The folder must not be there.
///
/// # Errors
/// When something cannot be copied.
pub fn unpack(sample: &Path, data: &Path) -> Result<()> {
    for file in xtask::repo::files_under(&sample.join("data"))? {
        let (from, to) = (sample.join("data").join(&file), data.join(&file));
        std::fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}
