//! `pillion shm`: which regions lie in a directory, and the removal of those that nobody uses any more.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pillion_shm::leftovers::{self, Allow, Found, Refusal, Region};
use pillion_shm::text::{printable, printable_path};
use pillion_shm::{Kind, Lane, State};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::report::table::{self, thousands};
use crate::sidecar::halt::{self, Recorded, note};

/// Arguments of `pillion shm`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List every region, whether it is in use, and what killed processes left behind
    Ls(LsArgs),
    /// Remove regions that nobody uses; never one whose owner lives or that a process maps
    Rm(RmArgs),
}

#[derive(Debug, clap::Args)]
struct LsArgs {
    /// Directory of the regions
    #[arg(long, alias = "shm-dir", default_value = "/dev/shm", value_name = "DIR")]
    dir: PathBuf,
    /// One JSON object per file
    #[arg(long)]
    json: bool,
    /// Directory of the HALT records; without it the one that each lane has said, or the default
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Args {
    /// Whether JSON is asked for.
    pub fn json(&self) -> bool {
        matches!(&self.what, What::Ls(args) if args.json)
    }
}

#[derive(Debug, clap::Args)]
struct RmArgs {
    /// Directory of the regions
    #[arg(long, alias = "shm-dir", default_value = "/dev/shm", value_name = "DIR")]
    dir: PathBuf,
    /// Lanes, or files by path (pillion.LANE.KIND alone stands for the one in DIR)
    #[arg(value_name = "LANE|PATH", conflicts_with = "all")]
    targets: Vec<String>,
    /// Everything in DIR that is not in use; says what it keeps and why
    #[arg(long)]
    all: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Also a control page with a HALT in force: the page's word goes with it, the HALT's record stays until resumed
    #[arg(long)]
    halted: bool,
    /// Also the clock of this boot: a process that has read it refuses regions on the next one
    #[arg(long)]
    clock: bool,
}

/// Lists or removes.
pub fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Ls(args) => ls(args),
        What::Rm(args) => rm(args),
    }
}

/// One file, as `--json` says it.
#[derive(Debug, Default, Serialize)]
struct Row {
    path: String,
    bytes: u64,
    uid: u32,
    gid: u32,
    /// Permission bits, octal.
    mode: String,
    /// Why it is not used, for its owner or mode, by whoever lists it.
    distrust: Option<String>,
    /// Whether whoever lists it may not open it.
    denied: bool,
    in_use: bool,
    owner_alive: bool,
    /// Processes seen to map it, the owner among them.
    mapped_by: Vec<u32>,
    /// Why it is no region, or why nobody of this version would attach to it.
    problem: Option<String>,
    lane: Option<String>,
    kind: Option<&'static str>,
    /// Left beside the name by a take-over.
    beside: bool,
    layout_version: Option<u32>,
    generation: Option<u64>,
    owner_pid: Option<u32>,
    created_ns: Option<u64>,
    age_s: Option<u64>,
    this_boot: Option<bool>,
    clock_id: Option<String>,
    capacity: Option<u64>,
    /// Rings: records published.
    head: Option<u64>,
    /// Control page.
    state: Option<String>,
    /// Control page: whether a HALT is in force, by the page or a record.
    halted: Option<bool>,
    /// Control page: the file in which its HALT is recorded; of a lane without one, the file is listed by itself.
    halt_record: Option<String>,
}

impl Row {
    fn of(found: &Found) -> Self {
        let row = Self {
            path: found.path.display().to_string(),
            bytes: found.bytes,
            uid: found.uid,
            gid: found.gid,
            mode: format!("{:04o}", found.mode),
            distrust: found.distrust.clone(),
            denied: found.denied,
            in_use: found.in_use(),
            owner_alive: found.owner_alive,
            mapped_by: found.mapped_by.clone(),
            ..Self::default()
        };
        match &found.what {
            Err(reason) => {
                let (lane, kind) = found.named().map_or((None, None), |(lane, kind)| (lane, Some(kind.name())));
                Self { problem: Some(reason.clone()), lane, kind, ..row }
            }
            Ok(region) => row.with(region),
        }
    }

    fn with(self, region: &Region) -> Self {
        Self {
            problem: region.problem.clone(),
            lane: region.lane.clone(),
            kind: Some(region.kind.name()),
            beside: region.beside,
            layout_version: Some(region.layout_version),
            generation: Some(region.generation),
            owner_pid: Some(region.owner_pid),
            created_ns: Some(region.created_ns),
            age_s: Some(region.age_s),
            this_boot: Some(region.this_boot),
            clock_id: Some(format!("{:#018x}", region.clock_id)),
            capacity: Some(region.capacity),
            head: region.head,
            state: region.state.map(|state| state.to_string()),
            halted: (region.kind == Kind::Cnc).then_some(region.halted),
            ..self
        }
    }
}

fn ls(args: &LsArgs) -> Result<()> {
    let found = leftovers::list(&args.dir)?;
    let halts = halts(args, &found);
    if args.json {
        return json(&found, &halts);
    }
    if found.is_empty() {
        crate::outln!("no region in {}", args.dir.display());
    } else {
        let head = ["file", "uid:gid", "mode", "gen", "owner", "mapped by", "age", "bytes", "holds"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(found.iter().map(|found| columns(found, &halts)));
        crate::out!("{}", table::columns(&rows));
    }
    for (lane, record) in &halts {
        let page = found.iter().filter(|file| file.owner_alive).filter_map(|file| file.sound());
        let trades =
            page.into_iter().any(|page| page.lane.as_ref() == Some(lane) && page.kind == Kind::Cnc && !page.halted);
        let force = if trades { "recorded, NOT in force," } else { "in force" };
        crate::outln!("lane {lane}: HALT {force} {record}");
    }
    Ok(())
}

/// HALTs that stand in a record, by lane.
type Halts = BTreeMap<String, Recorded>;

fn halts(args: &LsArgs, found: &[Found]) -> Halts {
    let state_dir = args.state_dir.as_deref();
    let of_regions = found.iter().filter_map(|found| found.what.as_ref().ok()?.lane.clone());
    let lanes: BTreeSet<_> = of_regions.chain(halt::recorded_lanes(&args.dir, state_dir)).collect();
    let first = |lane: String| Some((lane.clone(), halt::standing(&args.dir, state_dir, &lane).into_iter().next()?));
    lanes.into_iter().filter_map(first).collect()
}

fn json(found: &[Found], halts: &Halts) -> Result<()> {
    let mut rows: Vec<_> = found.iter().map(Row::of).collect();
    let mut left: BTreeSet<_> = halts.keys().collect();
    for row in rows.iter_mut().filter(|row| row.halted.is_some()) {
        let Some((lane, record)) = row.lane.as_ref().and_then(|lane| halts.get_key_value(lane)) else { continue };
        // A live lane's page is its word; a dead one's successor also finds the record.
        row.halted = Some(row.halted == Some(true) || !row.owner_alive);
        row.halt_record = Some(record.path.display().to_string());
        left.remove(lane);
    }
    rows.extend(left.into_iter().map(|lane| Row {
        path: halts[lane].path.display().to_string(),
        lane: Some(lane.clone()),
        kind: Some("halt"),
        halted: Some(true),
        ..Row::default()
    }));
    for row in rows {
        let line = serde_json::to_string(&row);
        crate::outln!("{}", line.map_err(|e| Error::run("shm ls", e, "report this as a bug"))?);
    }
    Ok(())
}

fn columns(found: &Found, halts: &Halts) -> Vec<String> {
    let name = found.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pids: Vec<_> = found.mapped_by.iter().map(u32::to_string).collect();
    let mapped = if pids.is_empty() { "-".to_owned() } else { pids.join(" ") };
    let (ids, mode) = (format!("{}:{}", found.uid, found.gid), format!("{:04o}", found.mode));
    let refused = found.distrust.as_ref().map_or(String::new(), |reason| format!("; not used: {reason}"));
    match &found.what {
        Err(reason) => {
            let owner = if found.owner_alive { "alive" } else { "-" };
            let dash = || "-".to_owned();
            // What this user may not open may be a region as good as any.
            let said = if found.denied { "not known" } else { "no region" };
            let holds = format!("{said}: {reason}{refused}");
            vec![name, ids, mode, dash(), owner.to_owned(), mapped, dash(), thousands(found.bytes), holds]
        }
        Ok(region) => {
            // Whoever makes the clock lets go of it at once: it has no owner that could live.
            let owner = match (region.kind, found.owner_alive) {
                (Kind::Clock, _) => "-".to_owned(),
                (_, true) => format!("{} alive", region.owner_pid),
                (_, false) => format!("{} dead", region.owner_pid),
            };
            let (generation, bytes) = (region.generation.to_string(), thousands(found.bytes));
            vec![
                name,
                ids,
                mode,
                generation,
                owner,
                mapped,
                age(region.age_s),
                bytes,
                holds(region, found.owner_alive, halts) + &refused,
            ]
        }
    }
}

fn holds(region: &Region, owner_alive: bool, halts: &Halts) -> String {
    let beside = if region.beside { "left beside its name by a take-over; " } else { "" };
    let boot = if region.this_boot { "" } else { " (of another boot)" };
    let text = match (&region.problem, region.kind) {
        (Some(problem), _) => format!("layout {}: {problem}", region.layout_version),
        (None, Kind::Cnc) => {
            let state = region.state.map_or_else(String::new, |state| state.to_string());
            let recorded = region.lane.as_ref().is_some_and(|lane| halts.contains_key(lane));
            match region.halted {
                true if region.state == Some(State::Halt) => "HALT in force".to_owned(),
                true => format!("{state}, HALT in force"),
                false if recorded && owner_alive => format!("{state}, HALT recorded, NOT in force"),
                false if recorded => format!("{state}, HALT recorded"),
                false => state,
            }
        }
        (None, Kind::Ticks | Kind::Signals) => {
            let head = thousands(region.head.unwrap_or(0));
            format!("{head} published, {} slots", thousands(region.capacity))
        }
        (None, Kind::Board) => format!("{} cells", thousands(region.capacity)),
        (None, Kind::Clock) => format!("clock {:#018x}", region.clock_id),
    };
    format!("{beside}{text}{boot}")
}

/// Seconds as a person says them.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn rm(args: &RmArgs) -> Result<()> {
    let allow = Allow { halted: args.halted, clock: args.clock, broken: false };
    if args.all {
        return rm_all(args, &allow);
    }
    if args.targets.is_empty() {
        return Err(Error::input("shm rm", "nothing is named", "name lanes or files, or write --all"));
    }
    let chosen = chosen(args)?;
    let all = leftovers::list(&args.dir)?;
    let allowed = |by_path: bool| Allow { broken: by_path, ..allow };
    // All or nothing: what is refused is refused before anything is gone.
    for (found, by_path) in &chosen {
        let checked = leftovers::check(found, &all, &allowed(*by_path));
        checked.map_err(|refusal| refused(&in_words(found, &refusal), false))?;
    }
    for (found, by_path) in &chosen {
        if !args.dry_run {
            let removed = leftovers::remove(&found.path, &all, &allowed(*by_path));
            removed.map_err(|refusal| refused(&in_words(found, &refusal), true))?;
            forget(found);
        }
        crate::outln!("{}", removed(found, args.dry_run));
    }
    Ok(())
}

/// What may go goes, the clock last, since it stays for those on it; the rest is kept with its reason.
fn rm_all(args: &RmArgs, allow: &Allow) -> Result<()> {
    let mut all = leftovers::list(&args.dir)?;
    let is_clock = |found: &Found| found.what.as_ref().is_ok_and(|region| region.kind == Kind::Clock && !region.beside);
    all.sort_by_key(is_clock);
    let (mut gone, mut kept, mut unable) = (0, 0, 0);
    for found in &all {
        let done = match args.dry_run {
            true => leftovers::check(found, &all, allow),
            false => leftovers::remove(&found.path, &all, allow).inspect(|()| forget(found)),
        };
        match done {
            Ok(()) => {
                gone += 1;
                crate::outln!("{}", removed(found, args.dry_run));
            }
            Err(refusal) => {
                kept += usize::from(!is_clock(found));
                unable += usize::from(is_failure(found, &refusal));
                crate::outln!("kept          {}", printable(&in_words(found, &refusal)));
            }
        }
    }
    if unable == 0 && (gone > 0 || kept == 0) {
        return Ok(());
    }
    let problem = match gone {
        0 => format!("nothing was removed: {kept} files are kept"),
        _ => format!("{unable} files could not be removed"),
    };
    Err(Error::run("shm rm", problem, "each is told above, with its mend").told())
}

/// Whether a file stays that should have gone.
fn is_failure(found: &Found, refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Io { .. }) || found.denied
}

/// A refusal, which takes what may not be opened for no region.
fn in_words(found: &Found, refusal: &Refusal) -> String {
    match &found.what {
        Err(reason) if found.denied => {
            format!("{}: {reason}; mend: run as its owner{}", found.path.display(), owner(&found.path))
        }
        _ => refusal.to_string(),
    }
}

/// ", uid N", where it can be told.
fn owner(path: &Path) -> String {
    std::fs::symlink_metadata(path).map_or_else(|_| String::new(), |m| format!(", uid {}", m.uid()))
}

/// What a lane's sidecar leaves beside its control page goes with it.
fn forget(found: &Found) {
    let page = found.what.as_ref().ok().filter(|region| region.kind == Kind::Cnc && !region.beside);
    if let (Some(lane), Some(dir)) = (page.and_then(|region| region.lane.as_ref()), found.path.parent()) {
        // It may have none; one that stays misleads nobody.
        let _ = std::fs::remove_file(note(dir, lane));
    }
}

fn removed(found: &Found, dry_run: bool) -> String {
    let word = if dry_run { "would remove " } else { "removed      " };
    format!("{word} {} ({} bytes)", printable_path(&found.path), thousands(found.bytes))
}

fn refused(text: &str, midway: bool) -> Error {
    let (problem, mend) = text.split_once("; mend: ").unwrap_or((text, "see `pillion shm ls`"));
    if midway { Error::run("shm rm", problem, mend) } else { Error::input("shm rm", problem, mend) }
}

/// The files that the targets stand for, and whether a path named them.
fn chosen(args: &RmArgs) -> Result<Vec<(Found, bool)>> {
    let mut chosen: Vec<(Found, bool)> = Vec::new();
    for target in &args.targets {
        let by_path = target.contains('/') || target.starts_with("pillion.") || target.starts_with(".pillion.");
        let found = if by_path { vec![at(&args.dir, target)?] } else { of_lane(&args.dir, target)? };
        for found in found {
            if !chosen.iter().any(|(known, _)| known.path == found.path) {
                chosen.push((found, by_path));
            }
        }
    }
    Ok(chosen)
}

fn at(dir: &Path, target: &str) -> Result<Found> {
    let path = if target.contains('/') { PathBuf::from(target) } else { dir.join(target) };
    leftovers::look_at(&path).ok_or_else(|| refused(&Refusal::Absent { path }.to_string(), false))
}

fn of_lane(dir: &Path, name: &str) -> Result<Vec<Found>> {
    Lane::in_dir(dir, name)?;
    // By its name: what this user may not open, or what is none, is there all the same.
    let of_it = |found: &Found| found.named().is_some_and(|(lane, _)| lane.as_deref() == Some(name));
    let found: Vec<_> = leftovers::list(dir)?.into_iter().filter(of_it).collect();
    if found.is_empty() {
        let problem = format!("no region of lane {name:?} in {}", dir.display());
        return Err(Error::input("shm rm", problem, "see `pillion shm ls`, or name the folder with --dir"));
    }
    Ok(found)
}
