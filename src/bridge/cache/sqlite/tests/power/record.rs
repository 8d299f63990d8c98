//! A VFS that does what the operating system's does, and writes down every change of every file; and that can be told
//! to fail.
#![allow(unsafe_code)] // SQLite calls a VFS through C function pointers; there is no other way to stand below it.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use rusqlite::ffi;

use super::super::super::create::{Disk, READ_WRITE};
use super::*;

/// One change of the disk. Files are named by the last part of their path: there is one directory.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Create(String),
    Write {
        file: String,
        at: usize,
        bytes: Vec<u8>,
    },
    Resize {
        file: String,
        size: usize,
    },
    Sync(String),
    SyncDirectory,
    Delete(String),
    Rename {
        from: String,
        to: String,
    },
    /// Not of the disk: so many batches have been applied and acknowledged.
    Applied(usize),
}

/// What is shared with the callbacks.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) ops: Vec<Op>,
    /// The calls that write or sync, counted down; at 0 one of them fails with this code.
    pub(super) fail: Option<(usize, c_int)>,
}

impl Log {
    /// Whether this call is to fail.
    fn fails(&mut self) -> Option<c_int> {
        let (left, code) = self.fail.as_mut()?;
        let code = *code;
        if *left > 0 {
            *left -= 1;
            return None;
        }
        self.fail = None;
        Some(code)
    }
}

type Shared = Arc<Mutex<Log>>;

/// A registered VFS. Leaked like its name: SQLite may look at it at any time, and a test has few.
#[repr(C)]
struct Vfs {
    /// First, so that a pointer to it is a pointer to this.
    base: ffi::sqlite3_vfs,
    real: *mut ffi::sqlite3_vfs,
    methods: Mutex<HashMap<usize, &'static ffi::sqlite3_io_methods>>,
    log: Shared,
}

struct OpenFile {
    name: String,
    /// SQLite's own VFS syncs the directory with the first sync of a journal or WAL that it may have created.
    directory: bool,
    real: &'static ffi::sqlite3_io_methods,
    log: Shared,
}

/// By the address of SQLite's structure, which is all that a method is given.
static FILES: LazyLock<Mutex<HashMap<usize, OpenFile>>> = LazyLock::new(Mutex::default);
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Records what a cache does to its directory.
pub(super) struct Recorder {
    name: CString,
    pub(super) log: Shared,
}

impl Recorder {
    pub(super) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("recording-{number}")).unwrap();
        let log = Shared::default();
        // SAFETY: the default VFS is there for ever. The copy is leaked, so its address and its name stay valid; its
        // other methods are given the copy instead of the original, and use nothing of it that was changed.
        unsafe {
            let real = ffi::sqlite3_vfs_find(std::ptr::null());
            let mut base = *real;
            base.zName = name.clone().into_raw();
            base.pNext = std::ptr::null_mut();
            base.xOpen = Some(open);
            base.xDelete = Some(delete);
            let vfs = Box::leak(Box::new(Vfs { base, real, methods: Mutex::default(), log: log.clone() }));
            assert_eq!(ffi::sqlite3_vfs_register(&mut vfs.base, 0), ffi::SQLITE_OK);
        }
        Self { name, log }
    }

    pub(super) fn push(&self, op: Op) {
        self.log.lock().unwrap().ops.push(op);
    }
}

impl Disk for Recorder {
    fn connect(&self, path: &Path) -> rusqlite::Result<Connection> {
        Connection::open_with_flags_and_vfs(path, READ_WRITE, &*self.name)
    }
    fn create(&self, path: &Path) -> std::io::Result<()> {
        if !path.exists() {
            self.push(Op::Create(name(path)));
        }
        super::super::super::create::Real.create(path)
    }
    fn sync(&self, path: &Path) -> std::io::Result<()> {
        self.push(Op::Sync(name(path)));
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::rename(from, to)?;
        self.push(Op::Rename { from: name(from), to: name(to) });
        Ok(())
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        std::fs::remove_file(path)?;
        self.push(Op::Delete(name(path)));
        Ok(())
    }
    fn sync_directory(&self, _: &Path) -> std::io::Result<()> {
        self.push(Op::SyncDirectory);
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// SAFETY: `path` must be null or a C string.
unsafe fn name_of(path: *const c_char) -> Option<String> {
    // SAFETY: as above.
    (!path.is_null()).then(|| name(Path::new(unsafe { CStr::from_ptr(path) }.to_str().unwrap())))
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over the VFS that was registered, whose first field it is; path and file are as the real
    // VFS is promised them. Its table of methods is static, and so is the changed copy.
    unsafe {
        let vfs = &*vfs.cast::<Vfs>();
        let name = name_of(path.cast());
        let is_new = !path.is_null() && !Path::new(CStr::from_ptr(path.cast()).to_str().unwrap()).exists();
        let code = (*vfs.real).xOpen.unwrap()(vfs.real, path, file, flags, out);
        let (ffi::SQLITE_OK, Some(name)) = (code, name) else { return code };
        if is_new {
            vfs.log.lock().unwrap().ops.push(Op::Create(name.clone()));
        }
        let real: &'static ffi::sqlite3_io_methods = &*(*file).pMethods;
        let mut tables = vfs.methods.lock().unwrap();
        let table = tables.entry(std::ptr::from_ref(real) as usize).or_insert_with(|| {
            let (x_write, x_truncate) = (Some(write as _), Some(truncate as _));
            Box::leak(Box::new(ffi::sqlite3_io_methods {
                xWrite: x_write,
                xTruncate: x_truncate,
                xSync: Some(sync),
                xClose: Some(close),
                ..*real
            }))
        });
        (*file).pMethods = *table;
        let journals = ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL;
        let directory = flags & journals != 0 && flags & ffi::SQLITE_OPEN_CREATE != 0;
        let open = OpenFile { name, directory, real, log: vfs.log.clone() };
        FILES.lock().unwrap().insert(file as usize, open);
        code
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, path: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: as in `open`.
    unsafe {
        let vfs = &*vfs.cast::<Vfs>();
        let code = (*vfs.real).xDelete.unwrap()(vfs.real, path, sync_directory);
        if let (ffi::SQLITE_OK, Some(name)) = (code, name_of(path)) {
            let mut log = vfs.log.lock().unwrap();
            log.ops.push(Op::Delete(name));
            if sync_directory != 0 {
                log.ops.push(Op::SyncDirectory);
            }
        }
        code
    }
}

/// Does a call and writes it down, or fails. A call that fails has done nothing.
fn recorded(
    file: *mut ffi::sqlite3_file,
    call: impl FnOnce(&'static ffi::sqlite3_io_methods) -> c_int,
    ops: impl FnOnce(&mut OpenFile) -> Vec<Op>,
) -> c_int {
    let mut files = FILES.lock().unwrap();
    let open = files.get_mut(&(file as usize)).unwrap();
    let log = open.log.clone();
    let mut log = log.lock().unwrap();
    if let Some(code) = log.fails() {
        return code;
    }
    let code = call(open.real);
    if code == ffi::SQLITE_OK {
        log.ops.extend(ops(open));
    }
    code
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, length: c_int, at: i64) -> c_int {
    // SAFETY: SQLite promises so many bytes there; the file is one that `open` opened.
    recorded(
        file,
        |real| unsafe { real.xWrite.unwrap()(file, bytes, length, at) },
        |open| {
            // SAFETY: as above.
            let bytes = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize) }.to_vec();
            vec![Op::Write { file: open.name.clone(), at: at as usize, bytes }]
        },
    )
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: the file is one that `open` opened.
    recorded(
        file,
        |real| unsafe { real.xTruncate.unwrap()(file, size) },
        |open| vec![Op::Resize { file: open.name.clone(), size: size as usize }],
    )
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    // The real sync would cost time and prove nothing: what is kept is decided afterwards.
    recorded(
        file,
        |_| ffi::SQLITE_OK,
        |open| {
            let mut ops = vec![Op::Sync(open.name.clone())];
            if std::mem::take(&mut open.directory) {
                ops.push(Op::SyncDirectory);
            }
            ops
        },
    )
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let open = FILES.lock().unwrap().remove(&(file as usize)).unwrap();
    // SAFETY: the file is one that `open` opened, and is closed once.
    unsafe {
        (*file).pMethods = open.real;
        open.real.xClose.unwrap()(file)
    }
}
