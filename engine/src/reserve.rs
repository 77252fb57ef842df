//! Room on the disk that is kept for bad times: a file that is given up when the disk is full, so that the database can
//! be opened and what has happened outside can be recorded. Nothing new is begun until the file could be made again.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

/// See the module.
pub(crate) struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// Given up, and not made again yet.
    is_spent: AtomicBool,
}

impl Reserve {
    /// Makes the file in the data folder where it is missing. Without room for it the engine works without it.
    pub(crate) fn open(data: &Path, bytes: u64) -> Self {
        let reserve = Self { path: data.join("reserve"), bytes, is_spent: AtomicBool::new(false) };
        if let Err(error) = reserve.make() {
            tracing::warn!(path = %reserve.path.display(), bytes, %error, "no room on the disk is reserved");
        }
        reserve
    }

    /// Gives the file up if the disk has less room than the file is large.
    pub(crate) fn give_up_if_full(&self) {
        if self.has_no_room() && fs::remove_file(&self.path).is_ok() {
            tracing::error!(bytes = self.bytes, "the disk is full: the reserve was given up; make room");
            self.is_spent.store(true, Ordering::SeqCst);
        }
    }

    /// Whether the disk is full, or would be if the file had not been given up.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.is_spent.load(Ordering::SeqCst) || self.has_no_room()
    }

    fn has_no_room(&self) -> bool {
        self.free_bytes().is_ok_and(|free| free < self.bytes.max(1))
    }

    /// Whether new work may begin: always, but after the file was given up only when it could be made again.
    pub(crate) fn is_there_again(&self) -> bool {
        if !self.is_spent.load(Ordering::SeqCst) {
            return true;
        }
        // With as much to spare: the work that begins then needs room too.
        let has_room = self.free_bytes().is_ok_and(|free| free >= 2 * self.bytes) && self.make().is_ok();
        if has_room {
            tracing::info!("there is room on the disk again");
            self.is_spent.store(false, Ordering::SeqCst);
        }
        has_room
    }

    /// Makes the file with all of its blocks.
    fn make(&self) -> io::Result<()> {
        if self.bytes == 0 || fs::metadata(&self.path).is_ok_and(|found| found.len() == self.bytes) {
            return Ok(());
        }
        let made = File::options().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let length = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        let allocated = match fallocate(&made, FallocateFlags::empty(), 0, length) {
            Err(Errno::EOPNOTSUPP) => io::copy(&mut io::Read::take(io::repeat(1), self.bytes), &mut &made).map(drop),
            result => result.map_err(io::Error::from),
        };
        if allocated.is_err() {
            // Half of a reserve is none, and in the way.
            let _ = fs::remove_file(&self.path);
        }
        allocated
    }

    fn free_bytes(&self) -> nix::Result<u64> {
        let found = statvfs(self.path.parent().unwrap_or(Path::new("/")))?;
        #[expect(clippy::useless_conversion, reason = "not everywhere are these 64 bits wide")]
        Ok(u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_file_has_all_of_its_blocks_and_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(folder.path(), 1 << 20);
        let made = fs::metadata(&reserve.path).unwrap();
        assert_eq!((made.len(), made.blocks() * 512 >= 1 << 20), (1 << 20, true));
        Reserve::open(folder.path(), 1 << 20);
        assert_eq!(fs::metadata(&reserve.path).unwrap().ino(), made.ino());
        assert!(reserve.is_there_again(), "it was not given up");
    }

    /// No disk has that much room, so for this reserve every disk is full.
    #[test]
    fn a_full_disk_takes_the_file_and_keeps_new_work_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve { path: folder.path().join("reserve"), bytes: 1 << 60, is_spent: AtomicBool::new(false) };
        reserve.give_up_if_full();
        assert!(reserve.is_there_again(), "what was never there cannot be given up");
        fs::write(&reserve.path, "room").unwrap();
        reserve.give_up_if_full();
        assert!(!reserve.path.exists() && !reserve.is_there_again());
    }

    #[test]
    fn a_disk_with_room_keeps_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Reserve::open(folder.path(), 4096);
        reserve.give_up_if_full();
        assert!(reserve.path.exists());
        reserve.is_spent.store(true, Ordering::SeqCst);
        fs::remove_file(&reserve.path).unwrap();
        assert!(reserve.is_there_again() && reserve.path.exists(), "there is room: it is made again");
    }
}
