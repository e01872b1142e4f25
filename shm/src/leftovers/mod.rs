//! What lies in a directory of regions: those in use, those that the dead left, and what a killed take-over left beside
//! them. Cold: every look is a handful of system calls, and nothing is mapped.
//!
//! A region is *in use* while its owner lives, which is the kernel's lock and holds across pid namespaces, or while a
//! process that this one can see in /proc maps it. A reader that cannot be seen (another user's, another pid
//! namespace's) loses nothing when a dead owner's region is removed under it: its mapping stays as long as it does, and
//! `follow` finds the next owner's region. Only the count of generations starts at 1 again: a lossless feed that comes back as
//! generation 1, while the sidecar's page still shows generation 1 of the removed tick ring, would read the old run's
//! consumed count as its own until the sidecar notices.

mod mapped;
mod remove;

pub use remove::{Allow, Refusal, check, remove};

use crate::State;
use crate::error::{Error, Result};
use crate::header::Header;
use crate::lane::Lane;
use crate::layout::{Kind, cnc, header as at};
use crate::owner;
use crate::trust::{Distrust, Trust, Writers};
use rustix::fs::{Access, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Looks at a lock before its owner counts as alive.
const LOOKS: u32 = 20;
const KINDS: [Kind; 5] = [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc, Kind::Clock];

/// A file whose name is a region's, or that of a take-over.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it stands.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// Whether it is a plain file: nothing else is ever removed.
    pub regular: bool,
    /// Whose it is.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Why nobody of [`Trust::own`] uses it: its owner does not count, or others may write it. `None` when it may be used.
    pub distrust: Option<String>,
    /// Whether this user may not open it, so that what it holds is not known.
    pub denied: bool,
    /// Processes that map it, as far as this one can see; the owner is among them.
    pub mapped_by: Vec<u32>,
    /// Whether somebody holds its owner's lock.
    pub owner_alive: bool,
    /// What it is, or why it is no region, as far as this user may tell: see [`Found::denied`].
    pub what: std::result::Result<Region, String>,
}

/// What a region's header says, and the words behind it that an operator asks for.
#[derive(Clone, Debug)]
pub struct Region {
    /// Its lane; `None` for the clock.
    pub lane: Option<String>,
    /// Its kind, by name.
    pub kind: Kind,
    /// Whether it is the file that a take-over makes beside the name, and leaves when it is killed.
    pub beside: bool,
    /// Version of its layout.
    pub layout_version: u32,
    /// Why nobody of this version would attach to it; `None` when the header is sound.
    pub problem: Option<String>,
    /// Life of the name.
    pub generation: u64,
    /// Id of its clock.
    pub clock_id: u64,
    /// Who made it, in its own pid namespace: for messages.
    pub owner_pid: u32,
    /// Seconds since it was made, by the wall clock.
    pub age_s: u64,
    /// ns since the epoch at creation, on its clock.
    pub created_ns: u64,
    /// Whether it was made since the machine started.
    pub this_boot: bool,
    /// Slots or cells.
    pub capacity: u64,
    /// Rings: records published.
    pub head: Option<u64>,
    /// Control page: its state.
    pub state: Option<State>,
    /// Control page: whether a HALT is in force. One that cannot be read counts as halted.
    pub halted: bool,
}

impl Found {
    /// Whether its owner lives or a process that can be seen maps it.
    pub fn in_use(&self) -> bool {
        self.owner_alive || !self.mapped_by.is_empty()
    }

    /// Its region, if it is one whose header is sound.
    pub fn sound(&self) -> Option<&Region> {
        self.what.as_ref().ok().filter(|region| region.problem.is_none())
    }
}

/// Every region of `dir`, every file that a take-over left there, and whatever else bears such a name; sorted by name.
/// Links are not followed.
pub fn list(dir: &Path) -> Result<Vec<Found>> {
    let entries = std::fs::read_dir(dir).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Absent { path: dir.to_owned() },
        _ => Error::Io { action: "list", path: dir.to_owned(), source },
    })?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut paths: Vec<_> = names.filter(|name| is_ours(name)).map(|name| dir.join(name)).collect();
    paths.sort();
    let mut found: Vec<_> = paths.iter().filter_map(|path| look(path)).collect();
    mapped::fill(&mut found);
    Ok(found.into_iter().map(|(found, _)| found).collect())
}

/// [`list`] of one file; `None` when there is none.
pub fn look_at(path: &Path) -> Option<Found> {
    numbered(path).map(|(found, _)| found)
}

/// [`look_at`], and the file's device and inode.
fn numbered(path: &Path) -> Option<(Found, (u64, u64))> {
    let mut found = [look(path)?];
    mapped::fill(&mut found);
    let [found] = found;
    Some(found)
}

fn is_ours(name: &str) -> bool {
    name.starts_with("pillion.") || (name.starts_with(".pillion.") && name.ends_with(".next"))
}

/// Lane and kind by name, and whether it is a take-over's file: `pillion.es.ticks`, `.pillion.es.ticks.4711.next`.
fn parse(path: &Path) -> Option<(Option<String>, Kind, bool)> {
    let name = path.file_name()?.to_str()?;
    let (name, beside) = match name.strip_prefix('.').and_then(|name| name.strip_suffix(".next")) {
        // What tells one take-over from another stands behind the region's name.
        Some(inner) => (inner.rsplit_once('.')?.0, true),
        None => (name, false),
    };
    let rest = name.strip_prefix("pillion.")?;
    if rest == Kind::Clock.name() {
        return Some((None, Kind::Clock, beside));
    }
    let (lane, kind) = rest.split_once('.')?;
    let kind = KINDS.into_iter().find(|known| known.name() == kind && *known != Kind::Clock)?;
    Lane::new(lane).ok().map(|lane| (Some(lane.name().to_owned()), kind, beside))
}

impl Found {
    /// The lane and the kind that its name says, whatever it holds; the clock has no lane.
    pub fn named(&self) -> Option<(Option<String>, Kind)> {
        parse(&self.path).map(|(lane, kind, _)| (lane, kind))
    }
}

/// What one file is, without who maps it, and the file's device and inode.
fn look(path: &Path) -> Option<(Found, (u64, u64))> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let (mut owner_alive, file) = (false, open(path));
    let what = file.and_then(|file| {
        owner_alive = metadata.is_file() && is_locked(&file);
        let header = Header::read(&file, path).map_err(|error| reason(&error))?;
        let (lane, kind, beside) = parse(path).ok_or("its name is not that of a region")?;
        Ok(region(&file, path, &header, (lane, kind, beside)))
    });
    let (path, bytes, regular) = (path.to_owned(), metadata.len(), metadata.is_file());
    let denied = regular && rustix::fs::access(&path, Access::READ_OK).is_err_and(|error| error == Errno::ACCESS);
    let distrust = (regular && is_ours(&path.file_name().unwrap_or_default().to_string_lossy()))
        .then(|| distrust(&path, &metadata))
        .flatten();
    let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777);
    let mapped_by = Vec::new();
    let found = Found { path, bytes, regular, uid, gid, mode, distrust, denied, mapped_by, owner_alive, what };
    Some((found, (metadata.dev(), metadata.ino())))
}

/// Why an attach would not use the file, if it would not for its owner, its mode or its directory.
fn distrust(path: &Path, metadata: &Metadata) -> Option<String> {
    let writers = match parse(path) {
        Some((_, Kind::Cnc, _)) => Writers::AnyGroup,
        _ => Writers::Owner,
    };
    let dir = path.parent().unwrap_or(Path::new("/"));
    let checked = Trust::own().in_dir(dir).and_then(|trust| trust.check_file(path, metadata, writers));
    match checked.err()? {
        Distrust::Refused { path: at, found, .. } if at == path => Some(found),
        error => error.to_string().split_once("; mend: ").map(|(reason, _)| reason.to_owned()),
    }
}

fn region(file: &File, path: &Path, header: &Header, name: (Option<String>, Kind, bool)) -> Region {
    let (lane, kind, beside) = name;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let problem = header.check(path, bytes, kind, None).err().map(|error| reason(&error));
    let word = |offset: u64| problem.is_none().then(|| word(file, offset)).flatten();
    let body = |offset: usize| header.body_offset.checked_add(offset as u64).and_then(word);
    let is_cnc = kind == Kind::Cnc;
    Region {
        lane,
        kind,
        beside,
        layout_version: header.version,
        generation: header.generation,
        clock_id: header.clock_id,
        owner_pid: header.owner_pid,
        age_s: age_s(header.created_ns),
        created_ns: header.created_ns,
        this_boot: owner::boot_id().is_ok_and(|id| id == header.boot_id),
        capacity: header.capacity,
        head: matches!(kind, Kind::Ticks | Kind::Signals).then(|| word(at::HEAD as u64)).flatten(),
        state: is_cnc.then(|| body(cnc::STATE)).flatten().map(State::of),
        // As at a take-over: whose state cannot be read may have been halted.
        halted: is_cnc && body(cnc::HALTED).is_none_or(|halted| halted != 0),
        problem,
    }
}

fn age_s(created_ns: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(created_ns)).as_secs()
}

fn word(file: &File, offset: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

/// Opens without following links and without waiting for whoever is at the other end of a pipe.
fn open(path: &Path) -> std::result::Result<File, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from).map_err(|error| match error {
        Errno::LOOP => "a symbolic link, which is not followed".to_owned(),
        Errno::ACCESS => format!("not allowed to open it as uid {}", rustix::process::geteuid().as_raw()),
        error => format!("it cannot be opened: {}", std::io::Error::from(error)),
    })
}

/// Whether somebody holds the owner's lock, and does not let go of it: a look at a lock holds it for a moment, and so does
/// a child between fork and exec.
fn is_locked(file: &File) -> bool {
    for _ in 0..LOOKS {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                let _ = rustix::fs::flock(file, FlockOperation::Unlock);
                return false;
            }
            Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return false,
        }
    }
    true
}

/// An attach's refusal without the path and the mend: both stand beside it.
fn reason(error: &Error) -> String {
    match error {
        Error::NotARegion { found, .. } => found.clone(),
        error => {
            let text = error.to_string();
            text.split_once("; mend: ").map_or(text.as_str(), |(reason, _)| reason).to_owned()
        }
    }
}
