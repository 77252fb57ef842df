//! The Python environment with test servers that are not in Debian.

use std::{fs, io, path::Path, process::Command};

use anyhow::{Context, Result, bail};
use xtask::repo;

use crate::run;

/// What pip installs, with pinned versions; relative to the checkout.
const REQUIREMENTS: &str = "tests/requirements.txt";

/// Inside the environment: a copy of the requirements that it was made from. Written last.
const STAMP: &str = "surefoot-requirements.txt";

/// Makes the environment anew when there is none or its requirements changed. True when it was made.
pub(super) fn install() -> Result<bool> {
    let requirements = repo::root().join(REQUIREMENTS);
    let wanted = super::read(&requirements)?;
    let venv = repo::venv()?;
    if is_current(&venv, &wanted)? {
        return Ok(false);
    }
    refuse_foreign_folder(&venv)?;
    run::say(format_args!("making the Python environment {}", venv.display()));
    run::visibly(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .context("cannot make a Python environment: install python3 and python3-venv")?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&requirements);
    run::visibly(&mut pip)?;
    fs::write(venv.join(STAMP), wanted).with_context(|| format!("cannot write {STAMP} in {}", venv.display()))?;
    Ok(true)
}

/// Whether the environment was made from these requirements, and its Python is still there.
fn is_current(venv: &Path, wanted: &str) -> Result<bool> {
    match fs::read_to_string(venv.join(STAMP)) {
        Ok(stamp) => Ok(stamp == wanted && venv.join("bin/python").exists()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read {STAMP} in {}", venv.display())),
    }
}

/// Making an environment empties its folder, so a folder that is none is left alone.
fn refuse_foreign_folder(venv: &Path) -> Result<()> {
    let is_empty = match fs::read_dir(venv) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", venv.display())),
    };
    if !is_empty && !venv.join("pyvenv.cfg").is_file() {
        bail!("{} is no Python environment: name another folder in SUREFOOT_TEST_VENV", venv.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("surefoot-xtask-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("bin")).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_environment_is_current_only_with_the_same_requirements_and_a_python() {
        let folder = Folder::new("current");
        assert!(!is_current(&folder.0, "a==1\n").unwrap(), "no stamp");
        fs::write(folder.0.join(STAMP), "a==1\n").unwrap();
        assert!(!is_current(&folder.0, "a==1\n").unwrap(), "no python");
        fs::write(folder.0.join("bin/python"), "").unwrap();
        assert!(is_current(&folder.0, "a==1\n").unwrap());
        assert!(!is_current(&folder.0, "a==2\n").unwrap(), "other requirements");
    }

    #[test]
    fn a_folder_with_other_things_is_not_emptied() {
        let folder = Folder::new("foreign");
        let error = refuse_foreign_folder(&folder.0).unwrap_err().to_string();
        assert!(error.contains("SUREFOOT_TEST_VENV"), "{error}");
        fs::write(folder.0.join("pyvenv.cfg"), "").unwrap();
        refuse_foreign_folder(&folder.0).unwrap();
        refuse_foreign_folder(&folder.0.join("not-there")).unwrap();
    }
}
