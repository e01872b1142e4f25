//! Regions: the files, their locks and their mapping. All unsafe code for mapping stands here.
//!
//! A region is made whole as a file without a name, locked, and only then linked to its name, so that nobody ever
//! sees half of one. Its owner holds a `flock` for life: the kernel drops it at death, whatever the pid namespace. Who
//! finds the name taken by a dead owner makes a new file, exchanges it with the old one while holding the old one's
//! lock, and marks the old header.

use crate::crash;
use crate::error::{Error, Result};
use crate::files::{check_owner, directory, failed, io, names, open, writers};
use crate::header::Header;
use crate::lane::{Access, LockMemory};
use crate::layout::{Kind, LAYOUT_VERSION, MOST_TABLE_BYTES, body_offset, header as at, layout_hash};
use crate::owner;
use crate::sync::{AtomicU64, Ordering, Words};
use crate::takeover::{self, Installed};
use crate::trust::Trust;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{AtFlags, CWD, FallocateFlags, FlockOperation, Gid, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Looks at a lock before its owner counts as alive: a reader's liveness probe holds it for a
/// microsecond, or for a time slice when it is descheduled just then.
const LOCK_LOOKS: u32 = 50;
const PAGE_WORDS: usize = 4096 / 8;

/// What a new region shall be.
pub(crate) struct Plan<'a> {
    pub path: PathBuf,
    /// Whose directory it may stand in, and whose region it may succeed.
    pub trust: &'a Trust,
    pub kind: Kind,
    pub clock_id: u64,
    pub created_ns: u64,
    pub stride: usize,
    pub capacity: u64,
    pub models: u32,
    pub table: &'a [u8],
    pub body_bytes: usize,
    pub access: &'a Access,
}

/// The dead owner's region, locked, while its successor takes the name over.
pub(crate) struct Predecessor {
    pub header: Header,
    file: File,
}

impl Predecessor {
    /// The `u64` at byte `offset` of its body; `None` when its layout is not ours.
    pub fn body_word(&self, path: &Path, kind: Kind, offset: usize) -> Option<u64> {
        self.header.check_layout(path, kind).ok()?;
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, self.header.body_offset.checked_add(offset as u64)?).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }
}

/// A mapped region.
#[derive(Debug)]
pub(crate) struct Region {
    map: MmapRaw,
    file: File,
    path: PathBuf,
    trust: Trust,
    header: Header,
    locked: bool,
    writable: bool,
}

impl Words for Region {
    #[inline(always)]
    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the map is page-aligned, `len` bytes long and lives as long as `self`; every process touches it only
        // through atomic words (or file calls of the kernel), and a read-only map is only loaded from, relaxed.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.map.len() / 8) }
    }
}

impl Region {
    /// Makes a whole region that has no name yet, locked by us, its memory allocated, mapped and, if asked, locked.
    pub fn build(plan: &Plan) -> Result<Self> {
        check_access(plan)?;
        let trust = plan.trust.in_dir(directory(&plan.path))?;
        refuse_if_held(plan, &trust)?;
        let body_offset = body_offset(plan.table.len());
        let header = Header {
            version: LAYOUT_VERSION,
            kind: plan.kind as u32,
            layout_hash: layout_hash(plan.kind),
            region_bytes: (body_offset + plan.body_bytes) as u64,
            generation: 1,
            clock_id: plan.clock_id,
            stride: plan.stride as u64,
            capacity: plan.capacity,
            table_offset: crate::layout::HEADER_BYTES as u64,
            table_bytes: plan.table.len() as u64,
            body_offset: body_offset as u64,
            created_ns: plan.created_ns,
            owner_pid: std::process::id(),
            models: plan.models,
            owner_start: owner::start_ticks(),
            boot_id: owner::boot_id()?,
        };
        let file = allocate(plan, header.region_bytes)?;
        let write = |bytes: &[u8], at| file.write_all_at(bytes, at).map_err(|e| io("write", &plan.path, e));
        write(&header.to_bytes(), 0)?;
        crash::point("build: header written");
        write(plan.table, crate::layout::HEADER_BYTES as u64)?;
        crash::point("build: table written");
        let mut options = MmapOptions::new();
        options.len(header.region_bytes as usize).populate();
        let map = options.map_raw(&file).map_err(|e| io("map", &plan.path, e))?;
        let mut region = Self { map, file, path: plan.path.clone(), trust, header, locked: false, writable: true };
        crash::point("build: mapped");
        region.touch_and_lock(plan.access.lock)?;
        crash::point("build: pages locked");
        Ok(region)
    }

    /// Gives the region its name, taking it over from a dead owner if need be. False when `prepare` keeps the
    /// predecessor instead; it runs while the predecessor is locked, and is told of none when there is none.
    pub fn install(&mut self, mut prepare: impl FnMut(&Region, Option<&Predecessor>) -> bool) -> Result<bool> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.path.with_file_name(format!(".{name}.{}.next", std::process::id()));
        let mut names = Names { region: self, beside };
        match takeover::install(&mut names, |names, old| prepare(names.region, old))? {
            Installed::Ours => {
                sweep(&self.path);
                Ok(true)
            }
            Installed::Kept => Ok(false),
            Installed::Contended => Err(Error::Contended { path: self.path.clone(), attempts: takeover::ATTEMPTS }),
        }
    }

    fn link(&self, to: &Path) -> rustix::io::Result<()> {
        let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(CWD, from, CWD, to, AtFlags::SYMLINK_FOLLOW)
    }

    fn set_generation(&mut self, generation: u64) -> Result<()> {
        self.header.generation = generation;
        let bytes = generation.to_ne_bytes();
        self.file.write_all_at(&bytes, at::GENERATION as u64).map_err(|e| io("write", &self.path, e))?;
        crash::point("take-over: generation written");
        Ok(())
    }

    /// Maps the region at `path` for reading, or also for writing, after checking whose it is and all that its header says.
    pub fn attach(path: &Path, kind: Kind, clock_id: Option<u64>, writable: bool, trust: &Trust) -> Result<Self> {
        let flags = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let action = if writable { "open for writing" } else { "open" };
        let file = open(path, flags, action)?.ok_or_else(|| Error::Absent { path: path.to_owned() })?;
        check_owner(&file, path, writers(kind as u32, clock_id.is_some()), &trust.in_dir(directory(path))?)?;
        let header = Header::read(&file, path)?;
        let bytes = file.metadata().map_err(|e| io("stat", path, e))?.len();
        header.check(path, bytes, kind, clock_id)?;
        let mut options = MmapOptions::new();
        options.len(header.region_bytes as usize);
        let map = if writable { options.map_raw(&file) } else { options.map_raw_read_only(&file) };
        let map = map.map_err(|e| io("map", path, e))?;
        Ok(Self { map, file, path: path.to_owned(), trust: trust.clone(), header, locked: false, writable })
    }

    /// Takes the lock of a region whose owner is dead, as a creator does who takes its name over; nobody takes it over while
    /// the lock is held. `None` while somebody else holds it.
    pub fn lock_dead(&self) -> Result<Option<DeadLock<'_>>> {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DeadLock(self))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("lock", &self.path, error)),
        }
    }

    /// Touches every page, so that none faults later, and locks them as asked.
    pub fn touch_and_lock(&mut self, lock: LockMemory) -> Result<()> {
        for page in self.words().chunks(PAGE_WORDS) {
            std::hint::black_box(page[0].load(Ordering::Relaxed));
        }
        if lock == LockMemory::No {
            return Ok(());
        }
        match self.map.lock() {
            Ok(()) => self.locked = true,
            Err(source) if lock == LockMemory::Require => return Err(self.lock_refused(source)),
            Err(_) => {}
        }
        Ok(())
    }

    fn lock_refused(&self, source: std::io::Error) -> Error {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
        Error::Lock {
            path: self.path.clone(),
            bytes: self.header.region_bytes,
            limit: limit.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string()),
            source,
        }
    }

    /// Whether the pages are locked in memory.
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// Whether the mapping may be stored to; a store to a read-only one is a SIGSEGV.
    pub fn writable(&self) -> bool {
        self.writable
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose regions are used, the directory's owner apart.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Index of the body's first word.
    pub fn body_word(&self) -> usize {
        self.header.body_offset as usize / 8
    }

    /// The table's bytes: written before the region had a name, never again.
    pub fn table(&self) -> Vec<u8> {
        let first = crate::layout::HEADER_BYTES / 8;
        let words = &self.words()[first..self.body_word()];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        bytes.truncate(self.header.table_bytes as usize);
        bytes
    }

    /// Whether somebody holds the owner's lock (system call).
    pub fn owner_alive(&self) -> bool {
        match rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
                false
            }
            Err(error) => error == Errno::WOULDBLOCK,
        }
    }

    /// Whether a successor marked this region (no system call).
    #[inline]
    pub fn successor(&self) -> bool {
        // Relaxed: the mark says only that there is something to attach to; attaching is a system call of its own.
        self.words()[at::SUCCESSOR / 8].load(Ordering::Relaxed) != 0
    }

    /// Inode of the file (system call).
    pub fn file_number(&self) -> u64 {
        rustix::fs::fstat(&self.file).map_or(0, |stat| stat.st_ino)
    }

    /// Whether the name no longer stands for this file (system call).
    pub fn renamed(&self) -> bool {
        !names(&self.path, &self.file)
    }

    /// Removes the name, if it still stands for this file. Readers keep what they have mapped.
    pub fn unlink(&self) -> Result<()> {
        if self.renamed() {
            return Ok(());
        }
        rustix::fs::unlink(&self.path).map_err(|error| failed("remove", &self.path, error))
    }
}

/// A dead owner's lock, let go of at the end of its life.
pub(crate) struct DeadLock<'a>(&'a Region);

impl Drop for DeadLock<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0.file, FlockOperation::Unlock);
    }
}

/// A region in the making, its name, and the name beside it.
struct Names<'a> {
    region: &'a mut Region,
    beside: PathBuf,
}

impl takeover::Names for Names<'_> {
    type Other = Predecessor;
    type Error = Error;

    fn open(&mut self) -> Result<Option<Predecessor>> {
        let path = &self.region.path;
        let Some(file) = open(path, OFlags::RDWR, "take over")? else { return Ok(None) };
        // The trust of a region that was built has its directory's owner already. What stands in a page that others wrote
        // is nothing to carry over.
        check_owner(&file, path, writers(self.region.header.kind, false), &self.region.trust)?;
        Ok(Some(Predecessor { header: Header::read(&file, path)?, file }))
    }

    fn lock(&mut self, other: &mut Predecessor) -> Result<()> {
        lock_dead(&other.file, &other.header, &self.region.path)
    }

    fn has_name(&self, other: &Predecessor) -> bool {
        names(&self.region.path, &other.file)
    }

    fn succeed(&mut self, other: Option<&Predecessor>) -> Result<()> {
        self.region.set_generation(other.map_or(1, |other| other.header.generation.saturating_add(1)))
    }

    fn link(&mut self) -> Result<bool> {
        match self.region.link(&self.region.path) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(failed("link", &self.region.path, error)),
        }
    }

    fn link_beside(&mut self) -> Result<()> {
        self.region.link(&self.beside).map_err(|error| failed("link", &self.beside, error))
    }

    fn exchange(&mut self) -> Result<bool> {
        match rustix::fs::renameat_with(CWD, &self.beside, CWD, &self.region.path, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed("replace", &self.region.path, error)),
        }
    }

    fn is_beside(&self, other: &Predecessor) -> bool {
        names(&self.beside, &other.file)
    }

    fn unlink_beside(&mut self) {
        let _ = rustix::fs::unlink(&self.beside);
    }

    fn mark(&mut self, other: &Predecessor) {
        let generation = self.region.header.generation.to_ne_bytes();
        let _ = other.file.write_all_at(&generation, at::SUCCESSOR as u64);
    }
}

/// Removes what creators of `path` that died in mid-exchange left beside it. A living one's file is locked.
fn sweep(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return };
    let start = format!(".{}.", name.to_string_lossy());
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let pid = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(".next"));
        if pid.is_none_or(|pid| pid.is_empty() || !pid.bytes().all(|c| c.is_ascii_digit())) {
            continue;
        }
        let Ok(Some(file)) = open(&entry.path(), OFlags::RDWR, "sweep") else { continue };
        let dead = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if dead && names(&entry.path(), &file) {
            let _ = rustix::fs::unlink(entry.path());
        }
    }
}

fn check_access(plan: &Plan) -> Result<()> {
    if plan.table.len() as u64 > MOST_TABLE_BYTES {
        let (path, value) = (plan.path.clone(), format!("{} bytes", plan.table.len()));
        return Err(Error::Spec { path, what: "table", value, must: "at most 128 MiB" });
    }
    let mode = plan.access.mode;
    let by_group = if plan.kind == Kind::Cnc { 0 } else { mode & 0o020 };
    if mode & !0o777 == 0 && mode & 0o002 == 0 && by_group == 0 && mode & 0o600 == 0o600 {
        return Ok(());
    }
    let must = match plan.kind {
        Kind::Cnc => "readable and writable by its owner and not writable by everybody, such as 0o600 or 0o660",
        _ => "readable and writable by its owner and writable by nobody else, such as 0o600 or 0o640",
    };
    Err(Error::Spec { path: plan.path.clone(), what: "file mode", value: format!("{mode:#o}"), must })
}

/// A file without a name, of `bytes` that are really there, locked by us.
fn allocate(plan: &Plan, bytes: u64) -> Result<File> {
    let path = &plan.path;
    let dir = directory(path);
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file: File =
        rustix::fs::open(dir, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed("create", path, e))?.into();
    crash::point("build: file without a name");
    // Not ftruncate: that succeeds on a full tmpfs and faults at the first store.
    let allocated = retry_on_intr(|| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes));
    allocated.map_err(|error| match error {
        Errno::NOSPC | Errno::FBIG => no_space(path, &file, bytes),
        error => failed("allocate", path, error),
    })?;
    crash::point("build: allocated");
    if let Some(gid) = plan.access.gid {
        rustix::fs::fchown(&file, None, Some(Gid::from_raw(gid))).map_err(|e| failed("set the group of", path, e))?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(plan.access.mode)).map_err(|e| failed("set the mode of", path, e))?;
    crash::point("build: mode set");
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|e| failed("lock", path, e))?;
    crash::point("build: locked");
    Ok(file)
}

fn no_space(path: &Path, file: &File, needed: u64) -> Error {
    let free = rustix::fs::fstatvfs(file).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
    Error::NoSpace { path: path.to_owned(), needed, free }
}

/// Refuses early, before a large file is made for nothing.
fn refuse_if_held(plan: &Plan, trust: &Trust) -> Result<()> {
    let path = &plan.path;
    let Some(old) = open(path, OFlags::RDWR, "take over")? else { return Ok(()) };
    check_owner(&old, path, writers(plan.kind as u32, false), trust)?;
    lock_dead(&old, &Header::read(&old, path)?, path)
}

/// Locks `old`, whose owner must be dead.
fn lock_dead(old: &File, header: &Header, path: &Path) -> Result<()> {
    for _ in 0..LOCK_LOOKS {
        match rustix::fs::flock(old, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(failed("lock", path, error)),
        }
    }
    Err(Error::Held { path: path.to_owned(), maker: header.maker(), generation: header.generation })
}
