//! `pillion ctl`: halt, resume or stop lanes. A HALT is recorded first and given second, so that it holds whatever becomes
//! of the lane meanwhile; what is printed is what was seen on its control page.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pillion_shm::leftovers;
use pillion_shm::{CncClient, Command, Kind, Lane, Outcome};

use crate::cold::config::Config;
use crate::cold::halt::{self, Aside, MOST_REASON, Places, Record};
use crate::error::{Error, Result};

/// Directory of the regions where none is named.
const SHM_DIR: &str = "/dev/shm";
/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a stopped lane may take to let go of its page: its report is written first.
const LETTING_GO: Duration = Duration::from_secs(10);
/// How long a sidecar takes at most to find a HALT that is recorded.
const OBEYS: Duration = Duration::from_secs(1);

/// Arguments of `pillion ctl`.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Args {
    /// Lane name
    #[arg(required_unless_present = "all")]
    lane: Option<String>,
    /// What to do
    #[arg(value_enum)]
    order: Order,
    /// Every lane that has a control page or a recorded HALT, and those of --config
    #[arg(long, conflicts_with = "lane")]
    all: bool,
    /// Why, for the record of a HALT
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Directory of the regions [default: /dev/shm]
    #[arg(long, value_name = "DIR")]
    shm_dir: Option<PathBuf>,
    /// Directory of the HALT records, as the lane's process.state_dir; without it the one that the lane has said, or the
    /// default
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The lane's configuration, for both directories
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shm_dir", "state_dir"])]
    config: Option<PathBuf>,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Order {
    /// Keep books and features warm, publish nothing tradable; outlives restarts and reboots until resumed. Works on a lane
    /// that is down too
    Halt,
    /// End a halt
    Resume,
    /// End the lane; other lanes of its process go on
    Stop,
}

fn reason(text: &str) -> std::result::Result<String, String> {
    match text {
        _ if text.len() > MOST_REASON => Err(format!("{} bytes, at most {MOST_REASON} are kept", text.len())),
        _ if text.chars().any(char::is_control) => Err("it has control characters in it".into()),
        _ => Ok(text.to_owned()),
    }
}

/// Where the regions and the records are.
struct Where {
    shm_dir: PathBuf,
    state_dir: Option<PathBuf>,
    /// With its lanes, and whom they trust.
    config: Option<Config>,
}

impl Where {
    fn lane(&self, name: &str) -> Result<Lane> {
        match &self.config {
            Some(config) => config.place(name),
            None => Ok(Lane::in_dir(&self.shm_dir, name)?),
        }
    }
}

/// Gives the order and says what came of it.
pub fn run(args: &Args) -> Result<()> {
    let place = place(args)?;
    if let Some(lane) = &args.lane {
        return one(args, &place, lane).map(|text| crate::outln!("{text}"));
    }
    let mut failed: Option<Error> = None;
    let mut count = 0;
    for lane in all_lanes(args.order, &place)? {
        match one(args, &place, &lane) {
            Ok(text) => crate::outln!("{text}"),
            Err(error) => {
                crate::errln!("error: {error}");
                count += 1;
                failed = Some(failed.unwrap_or(error));
            }
        }
    }
    failed.map_or(Ok(()), |first| {
        Err(Error { problem: format!("{} ({count} lanes in all; each is told above)", first.problem), ..first })
    })
}

fn place(args: &Args) -> Result<Where> {
    let Some(path) = &args.config else {
        let shm_dir = args.shm_dir.clone().unwrap_or_else(|| SHM_DIR.into());
        return Ok(Where { shm_dir, state_dir: args.state_dir.clone(), config: None });
    };
    let config = Config::load(path)?;
    let state_dir = Places::of_sidecar(&config.process.state_dir).first().to_owned();
    Ok(Where { shm_dir: config.process.shm_dir.clone(), state_dir: Some(state_dir), config: Some(config) })
}

fn one(args: &Args, place: &Where, name: &str) -> Result<String> {
    let lane = place.lane(name)?;
    let owner = std::fs::symlink_metadata(lane.path(Kind::Cnc)).ok().map(|m| m.uid());
    let places = Places::of_operator(place.state_dir.as_deref(), &place.shm_dir, name, owner);
    match args.order {
        Order::Halt => halt(&lane, &places, args.reason.as_deref().unwrap_or_default()),
        Order::Resume => resume(&lane, &places),
        Order::Stop => stop(&lane),
    }
}

/// Lanes that an order to all concerns: for a stop, those that live.
fn all_lanes(order: Order, place: &Where) -> Result<Vec<String>> {
    let found = leftovers::list(&place.shm_dir)?;
    let pages = found.iter().filter_map(|file| Some((file, file.what.as_ref().ok()?)));
    let pages = pages.filter(|(_, region)| region.kind == Kind::Cnc && !region.beside);
    let pages = pages.filter(|(file, _)| order != Order::Stop || file.owner_alive);
    let mut lanes: Vec<_> = pages.filter_map(|(_, region)| region.lane.clone()).collect();
    if order != Order::Stop {
        lanes.extend(recorded_lanes(&place.shm_dir, place.state_dir.as_deref()));
        lanes.extend(place.config.iter().flat_map(|config| &config.lanes).map(|lane| lane.name.clone()));
    }
    lanes.sort();
    lanes.dedup();
    if lanes.is_empty() {
        let problem = "no lane has a control page here";
        let mend =
            "name the lanes, or their configuration with --config: they may not have started since the machine did";
        return Err(Error::input(place.shm_dir.display(), problem, mend));
    }
    Ok(lanes)
}

/// The record first: a sidecar that starts meanwhile finds it, whatever its page says.
fn halt(lane: &Lane, places: &Places, reason: &str) -> Result<String> {
    let name = lane.name();
    let (whole, first) = (format!("lane {name}"), places.first().display());
    let recorded = places.record(&Record::now(name, reason));
    match (recorded, give(lane, Command::Halt)) {
        (Ok(_), Ok(Some(page))) => Ok(format!("{whole}: HALT{}; {page}", in_force(lane, places))),
        (Ok(_), Ok(None)) => {
            let records = in_force(lane, places);
            Ok(format!(
                "{whole}: HALT{records}; it has no control page in {} and will come up halted",
                lane.dir().display()
            ))
        }
        (Ok(_), Err(error)) if seen_halted(lane) => {
            Ok(format!("{whole}: HALT{}; obeyed by its record, since {}", in_force(lane, places), error.problem))
        }
        (Ok(path), Err(error)) => {
            let path = path.display();
            let problem = format!(
                "{}; the HALT is recorded in {path} and stands: obeyed when the lane wakes or starts",
                error.problem
            );
            let mend = format!("look at its heartbeat (`pillion status {name}`); end a process that stays silent");
            Err(Error::run(whole, problem, mend))
        }
        // A member of the page's group may give orders and not write the record: the sidecar does.
        (Err(e), Ok(Some(page))) => match soon(|| places.find(name).is_ok_and(|found| !found.is_empty())) {
            true => Ok(format!("{whole}: HALT{}; {page}", in_force(lane, places))),
            false => {
                let problem = format!("halted ({page}), but not recorded in {first}: {e}; a reboot would forget it");
                Err(Error::run(whole, problem, "run as a user who may write there, or name --state-dir"))
            }
        },
        (Err(e), given) => {
            let code = given.as_ref().err().map_or(Error::RUN, |error| error.exit_code);
            let page = given.map_or_else(|error| error.problem, |_| "it has no control page".into());
            let problem = format!("not halted: {page}; and no record can be written in {first}: {e}");
            let error = Error::run(whole, problem, "run as the lane's user or root, or name --state-dir");
            Err(Error { exit_code: code, ..error })
        }
    }
}

/// The records of a lane's HALT, in words.
fn in_force(lane: &Lane, places: &Places) -> String {
    let found = places.find(lane.name()).unwrap_or_default();
    found.iter().map(|found| format!(", in force {found}")).collect()
}

/// Whether something comes true while a sidecar has the time to look at its records.
fn soon(fact: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if fact() {
            return true;
        }
        if start.elapsed() > OBEYS {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the lane's page comes to say HALT by itself: its sidecar looks at the record too.
fn seen_halted(lane: &Lane) -> bool {
    soon(|| {
        let found = leftovers::look_at(&lane.path(Kind::Cnc)).filter(|found| found.owner_alive);
        found.is_some_and(|found| found.what.is_ok_and(|region| region.problem.is_none() && region.halted))
    })
}

/// Both the record and the page, or neither.
fn resume(lane: &Lane, places: &Places) -> Result<String> {
    let (name, whole) = (lane.name(), format!("lane {}", lane.name()));
    let records = match places.find(name) {
        Ok(records) => records,
        Err(e) => return resume_by_its_sidecar(lane, places, &format!("its record cannot be looked for: {e}")),
    };
    let aside = match Aside::put(&records) {
        Ok(aside) => aside,
        Err((path, e)) => {
            let why = format!("its HALT is recorded in {}, which cannot be removed: {e}", path.display());
            return resume_by_its_sidecar(lane, places, &why);
        }
    };
    match give(lane, Command::Resume) {
        Ok(None) if records.is_empty() => {
            let problem = format!("{} does not exist, and no HALT is recorded", lane.path(Kind::Cnc).display());
            Err(Error::input(whole, problem, "check the lane's name, --shm-dir and --state-dir"))
        }
        Ok(page) => {
            let gone = aside.remove().map_err(|e| {
                Error::run(
                    &whole,
                    format!("resumed, but what is left of its record cannot be removed: {e}"),
                    "remove it",
                )
            })?;
            let gone: Vec<_> = gone.iter().map(|path| path.display().to_string()).collect();
            let removed = if gone.is_empty() { String::new() } else { format!(", {} removed", gone.join(", ")) };
            Ok(format!("{whole}: resumed{removed}; {}", page.unwrap_or_else(|| "it has no control page".into())))
        }
        Err(error) => {
            let back = match aside.put_back() {
                Ok(()) => "the HALT stays in force".to_owned(),
                Err(e) => format!("and its record could not be put back ({e}): halt it again"),
            };
            Err(Error { problem: format!("not resumed, {back}: {}", error.problem), ..error })
        }
    }
}

/// A user who may give orders and not remove the record: a live sidecar removes it, or halts again because it may not either.
fn resume_by_its_sidecar(lane: &Lane, places: &Places, why: &str) -> Result<String> {
    let (name, whole) = (lane.name(), format!("lane {}", lane.name()));
    let mend = "resume it as the user whose record it is, or as root";
    let mut cnc = CncClient::attach_operator(lane)?;
    if !cnc.owner_alive() {
        return Err(Error::run(whole, format!("not resumed: {why}"), mend));
    }
    answered(lane, &mut cnc, Command::Resume)?;
    let gone = soon(|| places.find(name).map_or(true, |found| found.is_empty()));
    // A sidecar that may not remove it halts again within that time.
    if !gone || cnc.halted() {
        // One that does neither knows of no records: the page must not say other than they do.
        answered(lane, &mut cnc, Command::Halt)?;
        return Err(Error::run(whole, format!("not resumed, the HALT stays in force: {why}"), mend));
    }
    Ok(format!("{whole}: resumed, its sidecar has removed the record; its page says {}", cnc.state()))
}

/// Asks, and waits until nobody holds the page any more.
fn stop(lane: &Lane) -> Result<String> {
    let name = lane.name();
    let mut cnc = CncClient::attach_operator(lane)?;
    if !cnc.owner_alive() {
        let problem = format!("no live sidecar (state {})", cnc.state());
        return Err(Error::input(format!("lane {name}"), problem, "it has stopped already; see `pillion status`"));
    }
    let pid = cnc.pid();
    answered(lane, &mut cnc, Command::Stop)?;
    let start = Instant::now();
    while cnc.owner_alive() && start.elapsed() < LETTING_GO {
        std::thread::sleep(Duration::from_millis(2));
    }
    if cnc.owner_alive() {
        let problem =
            format!("took the stop, but process {pid} still holds it {LETTING_GO:?} later (state {})", cnc.state());
        return Err(Error::run(format!("lane {name}"), problem, format!("look at process {pid}")));
    }
    let others = others_of(lane, pid);
    let others = match others.len() {
        0 => String::new(),
        _ => format!(", which stays up with {}", others.join(", ")),
    };
    Ok(format!("lane {name}: {}; process {pid} has let go of it{others}", cnc.state()))
}

/// Other lanes that this process holds.
fn others_of(lane: &Lane, pid: u32) -> Vec<String> {
    let found = leftovers::list(lane.dir()).unwrap_or_default();
    let held = found.into_iter().filter(|file| file.owner_alive).filter_map(|file| file.what.ok());
    let pages = held.filter(|region| region.kind == Kind::Cnc && !region.beside && region.owner_pid == pid);
    pages.filter_map(|region| region.lane).filter(|other| other != lane.name()).collect()
}

/// Gives an order through the control page, a dead lane's too, and says what the page shows then; nothing where there is no
/// page.
fn give(lane: &Lane, command: Command) -> Result<Option<String>> {
    let mut cnc = match CncClient::attach_operator(lane) {
        Ok(cnc) => cnc,
        Err(e) if e.is_absent() => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    answered(lane, &mut cnc, command)?;
    let dead = if cnc.owner_alive() { "" } else { " (no live process: it holds for the next start)" };
    let halted = if cnc.halted() { ", HALT in force" } else { "" };
    Ok(Some(format!("its page says {}{halted}{dead}", cnc.state())))
}

/// The order, done; an error in the words of whoever gave it otherwise.
fn answered(lane: &Lane, cnc: &mut CncClient, command: Command) -> Result<()> {
    let whole = format!("lane {}", lane.name());
    match cnc.order(command, PATIENCE) {
        Ok(Outcome::Done) => Ok(()),
        Ok(Outcome::Refused) => {
            Err(Error::run(whole, "the sidecar refused the order in its state", "stop it and start it again"))
        }
        Ok(Outcome::Unknown) => {
            Err(Error::run(whole, "the sidecar does not know this order", "use the pillion that the sidecar is"))
        }
        Err(pillion_shm::Error::NoAnswer { pid, .. }) => {
            let patience = PATIENCE.as_secs();
            let problem = format!("process {pid} did not answer within {patience} s, and may still obey");
            let mend = format!("look at its heartbeat (`pillion status {}`), or end process {pid}", lane.name());
            Err(Error::run(whole, problem, mend))
        }
        Err(e) => Err(e.into()),
    }
}

/// HALTs of `lane` that stand in a record: for commands that show.
pub(super) fn standing(shm_dir: &Path, state_dir: Option<&Path>, lane: &str) -> Vec<halt::Recorded> {
    let page = shm_dir.join(format!("pillion.{lane}.{}", Kind::Cnc.name()));
    let owner = std::fs::symlink_metadata(page).ok().map(|m| m.uid());
    Places::of_operator(state_dir, shm_dir, lane, owner).find(lane).unwrap_or_default()
}

/// Lanes with a recorded HALT, page or not. The default folder speaks of the default directory's lanes alone.
pub(super) fn recorded_lanes(shm_dir: &Path, state_dir: Option<&Path>) -> Vec<String> {
    match state_dir {
        None if shm_dir != Path::new(SHM_DIR) => Vec::new(),
        _ => Places::of_operator(state_dir, shm_dir, "", None).lanes(),
    }
}
