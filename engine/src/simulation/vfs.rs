//! SQLite's file layer over [`Disk`]: the default one of this test process. A path in a folder that was given to
//! [`mount`] is on its simulated disk; every other path goes to the system's own layer, untouched. So the engine under
//! test needs no switch for it.
//!
//! All `unsafe` of the simulator is here. What every function relies on: SQLite calls the methods of a file only
//! between a successful open and its close, never two at a time, with pointers that are valid for the call.

#![expect(unsafe_code, reason = "SQLite's file layer is a C interface")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::ffi;

use super::disk::{Disk, DiskError, Handle, SECTOR};
use super::shared_memory::{HeldSlots, SharedMemory};
use crate::core::lock;

static MOUNTS: Mutex<Vec<(String, Disk)>> = Mutex::new(Vec::new());
static SYSTEM: OnceLock<System> = OnceLock::new();

/// A folder whose databases are on a simulated disk, until this is dropped.
pub(super) struct Mount(String);

/// Puts the databases in `folder` on `disk`.
pub(super) fn mount(folder: &Path, disk: &Disk) -> Mount {
    SYSTEM.get_or_init(register);
    let folder = Disk::folder(folder);
    lock(&MOUNTS).push((folder.clone(), disk.clone()));
    Mount(folder)
}

impl Drop for Mount {
    fn drop(&mut self) {
        lock(&MOUNTS).retain(|(folder, _)| *folder != self.0);
    }
}

/// The system's own file layer.
struct System(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's built-in layers are made to be called from every thread, and are never freed or changed.
unsafe impl Send for System {}
// SAFETY: as above.
unsafe impl Sync for System {}

fn register() -> System {
    // SAFETY: the default layer exists and lives for ever. A copy of it is valid: it has no links but `pNext`, which
    // registering sets. The copy is leaked, because SQLite keeps it.
    unsafe {
        let system = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut ours = *system;
        ours.szOsFile = ours.szOsFile.max(c_int::try_from(size_of::<File>()).expect("a few bytes"));
        ours.zName = c"surefoot-simulation".as_ptr();
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        ours.xAccess = Some(access);
        let status = ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1);
        assert_eq!(status, ffi::SQLITE_OK, "the simulated file layer is registered");
        System(system)
    }
}

fn system() -> *mut ffi::sqlite3_vfs {
    SYSTEM.get().expect("our functions are reachable only after `register`").0
}

/// What SQLite holds of an open file. `base` comes first: SQLite sees nothing else.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    open: *mut Open,
}

struct Open {
    handle: Handle,
    memory: Option<Arc<SharedMemory>>,
    held: HeldSlots,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
    xCheckReservedLock: Some(check_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The disk that has this path, and the path as text.
///
/// # Safety
/// `name` is null or a string with a zero at its end.
unsafe fn disk_of(name: *const c_char) -> Option<(Disk, String)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: see above.
    let path = unsafe { CStr::from_ptr(name) }.to_str().ok()?.to_owned();
    let disk = lock(&MOUNTS).iter().find(|(folder, _)| path.starts_with(folder)).map(|(_, disk)| disk.clone())?;
    Some((disk, path))
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a name or null, and room for `szOsFile` bytes, which is enough for either kind of file.
    unsafe {
        let Some((disk, path)) = disk_of(name) else {
            let open = (*system()).xOpen.expect("every layer can open");
            return open(system(), name, file, flags, out_flags);
        };
        (*file).pMethods = std::ptr::null();
        let (create, temporary) = (flags & ffi::SQLITE_OPEN_CREATE != 0, flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0);
        let Ok(Some(handle)) = disk.open(&path, create, temporary) else {
            return ffi::SQLITE_CANTOPEN;
        };
        let open = Box::new(Open { handle, memory: None, held: HeldSlots::default() });
        let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
        file.cast::<File>().write(File { base, open: Box::into_raw(open) });
        if !out_flags.is_null() {
            *out_flags = flags;
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    // SAFETY: SQLite gives a name.
    unsafe {
        let Some((disk, path)) = disk_of(name) else {
            let delete = (*system()).xDelete.expect("every layer can delete");
            return delete(system(), name, sync);
        };
        match disk.delete(&path) {
            Ok(true) => ffi::SQLITE_OK,
            Ok(false) => ffi::SQLITE_IOERR_DELETE_NOENT,
            Err(_) => ffi::SQLITE_IOERR_DELETE,
        }
    }
}

unsafe extern "C" fn access(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives a name and where to put the answer.
    unsafe {
        let Some((disk, path)) = disk_of(name) else {
            let access = (*system()).xAccess.expect("every layer can look");
            return access(system(), name, flags, answer);
        };
        *answer = c_int::from(disk.exists(&path));
        ffi::SQLITE_OK
    }
}

/// # Safety
/// `file` is open and ours.
unsafe fn opened<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Open {
    // SAFETY: `open` wrote a valid pointer, which only `close` frees; SQLite makes one call at a time on a file.
    unsafe { &mut *(*file.cast::<File>()).open }
}

fn status(result: Result<(), DiskError>, down: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(DiskError::Down) => down,
        Err(DiskError::Write) => ffi::SQLITE_IOERR_WRITE,
        Err(DiskError::Full) => ffi::SQLITE_FULL,
        Err(DiskError::Sync) => ffi::SQLITE_IOERR_FSYNC,
        Err(DiskError::Busy) => ffi::SQLITE_BUSY,
    }
}

fn size(value: impl TryInto<usize>) -> usize {
    value.try_into().ok().expect("SQLite's sizes and offsets are not negative")
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: the file is open; the pointer came from `Box::into_raw` and is not used after this.
    unsafe {
        let mut open = Box::from_raw((*file.cast::<File>()).open);
        release(&mut open);
        (*file).pMethods = std::ptr::null();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: the file is open, and SQLite gives room for `amount` bytes.
    let (open, buffer) = unsafe { (opened(file), std::slice::from_raw_parts_mut(to.cast::<u8>(), size(amount))) };
    match open.handle.read(buffer, size(offset)) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(_) => ffi::SQLITE_IOERR_READ,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: the file is open, and SQLite gives `amount` bytes.
    let (open, bytes) = unsafe { (opened(file), std::slice::from_raw_parts(from.cast::<u8>(), size(amount))) };
    status(open.handle.write(bytes, size(offset)), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    // SAFETY: the file is open.
    let open = unsafe { opened(file) };
    status(open.handle.truncate(size(length)), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let open = unsafe { opened(file) };
    status(open.handle.sync(), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, answer: *mut i64) -> c_int {
    // SAFETY: the file is open, and SQLite gives where to put the answer.
    unsafe {
        match opened(file).handle.size() {
            Ok(bytes) => {
                *answer = i64::try_from(bytes).expect("it is in memory");
                ffi::SQLITE_OK
            }
            Err(_) => ffi::SQLITE_IOERR_FSTAT,
        }
    }
}

unsafe extern "C" fn lock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    let open = unsafe { opened(file) };
    status(open.handle.lock(level), ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: the file is open.
    unsafe { opened(file) }.handle.unlock(level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved(file: *mut ffi::sqlite3_file, answer: *mut c_int) -> c_int {
    // SAFETY: the file is open, and SQLite gives where to put the answer.
    unsafe {
        match opened(file).handle.is_reserved() {
            Ok(reserved) => {
                *answer = c_int::from(reserved);
                ffi::SQLITE_OK
            }
            Err(_) => ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
        }
    }
}

unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _op: c_int, _argument: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    c_int::try_from(SECTOR).expect("it is small")
}

unsafe extern "C" fn characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    // As the layer for Unix says: a torn write leaves the bytes beside it alone.
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    bytes: c_int,
    extend: c_int,
    answer: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open, and SQLite gives where to put the answer. The region is made of atomics, so writing
    // through its address is allowed; it lives as long as `memory`, which the file holds until it unmaps or closes.
    unsafe {
        let open = opened(file);
        let memory = match &open.memory {
            Some(memory) => memory.clone(),
            None => match open.handle.memory() {
                Ok(memory) => open.memory.insert(memory).clone(),
                Err(_) => return ffi::SQLITE_IOERR_SHMMAP,
            },
        };
        let region = memory.region(size(index), size(bytes), extend != 0);
        *answer = region.map_or(std::ptr::null_mut(), |region| region.cast_mut().cast::<c_void>());
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn shm_lock(file: *mut ffi::sqlite3_file, first: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let Open { memory, held, .. } = unsafe { opened(file) };
    let Some(memory) = memory else { return ffi::SQLITE_IOERR_SHMLOCK };
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        memory.give(held, size(first), size(count));
        return ffi::SQLITE_OK;
    }
    let alone = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    if memory.take(held, size(first), size(count), alone) { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: the file is open.
    release(unsafe { opened(file) });
    ffi::SQLITE_OK
}

/// The last connection to release takes the memory along.
fn release(open: &mut Open) {
    if let Some(memory) = open.memory.take() {
        memory.give_all(&mut open.held);
    }
}
