//! What the figures were measured on: processor, system, disk, versions. Nothing that names the machine or its user.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use xtask::repo;

use crate::pairs::median;
use crate::timing::{Stopwatch, millis};

/// See the module.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    memory_gib: f64,
    system: String,
    filesystem: String,
    /// Of 4 KiB, the median of 200, milliseconds.
    fsync_ms: f64,
    load: String,
    surefoot: String,
    sqlite: String,
    wasmtime: String,
    /// Whether this program was compiled with optimisation.
    is_optimised: bool,
}

impl Machine {
    /// Looks at this machine and at the disk of `folder`.
    pub(crate) fn look_at(folder: &Path) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or("", |(_, value)| value.trim()).to_owned()
        };
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: f64 = memory_kib.trim_end_matches(" kB").parse().unwrap_or_default();
        Ok(Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: (memory_kib / f64::from(1 << 20)).round(),
            system: format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
            filesystem: filesystem(folder, &read("/proc/mounts"))?,
            fsync_ms: fsync_ms(folder)?,
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            surefoot: env!("CARGO_PKG_VERSION").to_owned(),
            sqlite: rusqlite::version().to_owned(),
            wasmtime: locked_version("wasmtime"),
            is_optimised: !cfg!(debug_assertions),
        })
    }

    /// A few lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("{} × {}, {} GiB, {}", self.processors, self.processor, self.memory_gib, self.system),
            format!("{}, fsync of 4 KiB {:.3} ms, load before {}", self.filesystem, self.fsync_ms, self.load),
            format!("surefoot {}, SQLite {}, wasmtime {}", self.surefoot, self.sqlite, self.wasmtime),
        ];
        if !self.is_optimised {
            lines.push("compiled without optimisation: the figures mean nothing".to_owned());
        }
        lines
    }
}

/// Type of the file system that holds `folder`, by the longest mount point above it.
fn filesystem(folder: &Path, mounts: &str) -> Result<String> {
    let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, point, ty) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(point).then(|| (point.len(), ty.to_owned()))
    });
    Ok(mounts.max().map_or_else(|| "unknown".to_owned(), |(_, ty)| ty))
}

fn fsync_ms(folder: &Path) -> Result<f64> {
    let path = folder.join("fsync");
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut durations = Vec::new();
    for _ in 0..200 {
        file.rewind()?;
        let watch = Stopwatch::start();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        durations.push(millis(watch.elapsed()));
    }
    fs::remove_file(&path)?;
    Ok(median(&durations))
}

/// The version of a dependency that this program was built with.
fn locked_version(package: &str) -> String {
    let lock = fs::read_to_string(repo::root().join("Cargo.lock")).unwrap_or_default();
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.split('"').nth(1));
    version.unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::look_at(folder.path()).unwrap();
        assert!(machine.fsync_ms > 0.0 && machine.processors > 0, "{machine:?}");
        assert_ne!((machine.filesystem.as_str(), machine.wasmtime.as_str()), ("unknown", "unknown"));
    }
}
