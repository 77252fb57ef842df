//! Generated documents. A tidy test fails when one is stale.

use std::{fs, io};

use anyhow::{Context, Result};
use xtask::{repo, rows};

use crate::run;

/// Writes every generated document.
pub(crate) fn run() -> Result<()> {
    let text = rows::render(&rows::covered()?);
    let path = repo::root().join(rows::FILE);
    match fs::read_to_string(&path) {
        Ok(current) if current == text => run::say(format_args!("{} is up to date", rows::FILE)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
        _ => {
            fs::create_dir_all(path.parent().expect("the file lies in a folder"))
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
            run::say(format_args!("wrote {}", rows::FILE));
        }
    }
    Ok(())
}
