//! `pillion ctl`: halt, resume or stop lanes. A HALT is recorded first and given second, so that it holds whatever becomes
//! of the lane meanwhile; what is printed is what was seen on its control page.

mod down;
mod stop;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pillion_shm::leftovers;
use pillion_shm::text::unprintable;
use pillion_shm::{CncClient, Command, Kind, Lane, Outcome};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::sidecar::halt::{Aside, MOST_REASON, Places, Record, SHM_DIR, recorded_lanes};
use crate::sidecar::kernel_signals::interrupts;

/// How long an order may take.
const PATIENCE: Duration = Duration::from_secs(5);
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
        _ => match unprintable(text) {
            Some(c) => Err(format!("it has the character {c:?}, which steers a terminal or cannot be seen")),
            None => Ok(text.to_owned()),
        },
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

    /// Refuses the name of a lane that the configuration does not have. `--all` takes the lanes of the directory
    /// instead.
    fn has(&self, name: &str) -> Result<()> {
        match &self.config {
            Some(config) if config.lanes.iter().all(|lane| lane.name != name) => {
                let lanes: Vec<_> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
                let problem = format!("has no lane {name:?}; its lanes: {}", lanes.join(", "));
                Err(Error::input(&config.origin, problem, "name one of them, or another --config"))
            }
            _ => Ok(()),
        }
    }
}

/// Gives the order and says what came of it.
pub fn run(args: &Args) -> Result<()> {
    let place = place(args)?;
    if let Some(lane) = &args.lane {
        place.has(lane)?;
        return Asked::of(args, &place, lane)?.finish(until_obeyed()).map(|text| crate::outln!("{text}"));
    }
    let lanes = all_lanes(args.order, &place)?;
    let (mut failed, mut count): (Option<Error>, _) = (None, 0);
    for answer in everywhere(args, &place, &lanes) {
        match answer {
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

/// The order to every lane. Those of users who count are recorded and asked first, each on a thread of its own, so that none
/// waits for another that hangs; the pages of strangers, of which anybody may have made any number, wait for one time all
/// together.
fn everywhere(args: &Args, place: &Where, lanes: &AllLanes) -> Vec<Result<String>> {
    let ask = |name: &String| Asked::of(args, place, name);
    std::thread::scope(|scope| {
        let own: Vec<_> = lanes.own.iter().map(ask).collect();
        let spawn = |asked: Asked| scope.spawn(move || asked.finish(until_obeyed()));
        let threads: Vec<_> = own.into_iter().map(|asked| asked.map(spawn)).collect();
        let strangers: Vec<_> = lanes.strangers.iter().map(ask).collect();
        let until = until_obeyed();
        let strangers: Vec<_> = strangers.into_iter().map(|asked| asked?.finish(until)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<String>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(|thread| thread.and_then(join)).chain(strangers).collect()
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

/// An order that has been recorded, where it is a HALT: whatever its page says, a sidecar that starts meanwhile finds it.
struct Asked {
    order: Order,
    lane: Lane,
    places: Places,
    /// The record of a HALT.
    record: Record,
    /// The outcome of writing that record.
    recorded: std::io::Result<()>,
    /// True when a page, a note, a record or the configuration knew a lane of this name before the order.
    known: bool,
}

impl Asked {
    fn of(args: &Args, place: &Where, name: &str) -> Result<Self> {
        let (order, lane) = (args.order, place.lane(name)?);
        let places = Places::of_operator(place.state_dir.as_deref(), &place.shm_dir, name);
        let reason = args.reason.as_deref().unwrap_or_default();
        let known = down::is_known(place, &lane, &places);
        let record = Record::now(name, reason);
        let recorded = match order {
            Order::Halt => places.record(&record).map(|_| ()),
            _ => Ok(()),
        };
        Ok(Self { order, lane, places, record, recorded, known })
    }

    /// Gives it through the page; `until` a sidecar that cannot be asked may take to find the record.
    fn finish(self, until: Instant) -> Result<String> {
        match self.order {
            Order::Halt => halt(&self, until),
            Order::Resume => resume(&self.lane, &self.places),
            Order::Stop => stop::stop(&self.lane),
        }
    }
}

/// Lanes that an order to all concerns.
struct AllLanes {
    /// With a page of a user who counts, a record or a place in the configuration.
    own: Vec<String>,
    /// With nothing but the page of a user who does not count: root's orders alone concern them.
    strangers: Vec<String>,
}

/// Lanes that an order to all concerns: for a stop, those that live.
fn all_lanes(order: Order, place: &Where) -> Result<AllLanes> {
    let found = leftovers::list(&place.shm_dir)?;
    // By their names: a page of ours that holds something else is a lane that must be told of.
    let pages = found.iter().filter_map(|file| Some((file, down::page_of(file)?)));
    let pages = pages.filter(|(file, _)| order != Order::Stop || file.owner_alive);
    let (own, strangers): (Vec<_>, Vec<_>) = pages.partition(|(file, _)| file.distrust.is_none());
    let strangers = strangers.into_iter().filter(|(file, _)| file.sound().is_some() || file.denied);
    let mut own: Vec<_> = own.into_iter().map(|(_, lane)| lane).collect();
    if order != Order::Stop {
        own.extend(recorded_lanes(&place.shm_dir, place.state_dir.as_deref()));
    }
    let configured = place.config.iter().flat_map(|config| &config.lanes).map(|lane| lane.name.clone());
    let mut strangers: Vec<_> = strangers.map(|(_, lane)| lane).collect();
    own.extend(configured.filter(|lane| order != Order::Stop || strangers.contains(lane)));
    own.sort();
    own.dedup();
    strangers.retain(|lane| !own.contains(lane));
    if !rustix::process::geteuid().is_root() {
        for lane in strangers.drain(..) {
            crate::errln!(
                "lane {lane}: left alone, its page belongs to a user who does not count; `pillion shm ls` says who"
            );
        }
    }
    if own.is_empty() && strangers.is_empty() {
        let problem = "no lane of a user who counts has a control page here";
        let mend =
            "name the lanes, or their configuration with --config: they may not have started since the machine did";
        return Err(Error::input(place.shm_dir.display(), problem, mend));
    }
    Ok(AllLanes { own, strangers })
}

/// Until when a sidecar that cannot be asked may take to find a record.
fn until_obeyed() -> Instant {
    Instant::now() + OBEYS
}

/// The order through the page, after the record.
fn halt(asked: &Asked, until: Instant) -> Result<String> {
    let Asked { lane, places, known, record, recorded, .. } = asked;
    let (whole, first) = (format!("lane {}", lane.name()), places.first().display());
    match (recorded, give(lane, Command::Halt)) {
        (Ok(()), Ok(Some(page))) => {
            // Another operator's resume may have come between record and page: the page's HALT is recorded again.
            if places.find(lane.name()).is_ok_and(|found| found.is_empty()) {
                places.record(record).map_err(|e| {
                    let problem =
                        format!("halted ({page}), but its record was resumed away and cannot be renewed: {e}");
                    Error::run(&whole, problem, "halt it again")
                })?;
            }
            Ok(format!("{whole}: HALT{}; {page}", in_force(lane, places)))
        }
        (Ok(()), Ok(None)) => {
            // It may be starting at this moment.
            let known = *known || soon(until, || down::has_begun(lane));
            down::will_hold(lane, places, known)?;
            let (records, dir) = (in_force(lane, places), lane.dir().display());
            Ok(format!("{whole}: HALT{records}; it has no control page in {dir} and will come up halted"))
        }
        (Ok(()), Err(error)) => by_record(lane, places, error, until),
        // A member of the page's group may give orders and not write the record: the sidecar does.
        (Err(e), Ok(Some(page))) => match soon(until, || places.find(lane.name()).is_ok_and(|found| !found.is_empty()))
        {
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

/// A HALT that is recorded, and that the page did not take for `error`'s reason.
fn by_record(lane: &Lane, places: &Places, error: Error, until: Instant) -> Result<String> {
    let (whole, records) = (format!("lane {}", lane.name()), in_force(lane, places));
    let page = leftovers::look_at(&lane.path(Kind::Cnc));
    // Only a process can obey it now.
    if page.is_none_or(|page| !page.owner_alive && !page.denied) {
        down::will_hold(lane, places, true)?;
        return Ok(format!(
            "{whole}: HALT{records}; it has no live process and will come up halted ({})",
            error.problem
        ));
    }
    if seen_halted(lane, until) {
        return Ok(format!("{whole}: HALT{records}; obeyed by its record, since {}", error.problem));
    }
    let path = down::record(places, lane);
    let stands = "and stands: obeyed when the lane wakes or starts";
    let problem = format!("{}; the HALT is recorded in {} {stands}", error.problem, path.display());
    Err(Error::run(whole, problem, error.mend))
}

/// The records of a lane's HALT, in words.
fn in_force(lane: &Lane, places: &Places) -> String {
    let found = places.find(lane.name()).unwrap_or_default();
    found.iter().map(|found| format!(", in force {found}")).collect()
}

/// Waits until `fact` is true, at most until `until`; looks once at least. The last look.
fn soon(until: Instant, fact: impl Fn() -> bool) -> bool {
    loop {
        if fact() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the lane's page comes to say HALT by itself: its sidecar looks at the record too.
fn seen_halted(lane: &Lane, until: Instant) -> bool {
    soon(until, || {
        let found = leftovers::look_at(&lane.path(Kind::Cnc)).filter(|found| found.owner_alive);
        found.is_some_and(|found| found.what.is_ok_and(|region| region.problem.is_none() && region.halted))
    })
}

/// Both the record and the page, or neither.
fn resume(lane: &Lane, places: &Places) -> Result<String> {
    // Half a resume is none: an end that is asked for meanwhile waits until both are as they were, or both are gone.
    interrupts(&Arc::default())?;
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
                    "remove what is named",
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

/// A user who may give orders and not remove the record: a live sidecar removes it, or refuses because it may not either.
fn resume_by_its_sidecar(lane: &Lane, places: &Places, why: &str) -> Result<String> {
    let (name, whole) = (lane.name(), format!("lane {}", lane.name()));
    let mend = "resume it as the user whose record it is, or as root";
    let mut cnc = CncClient::attach_operator(lane)?;
    if !cnc.owner_alive() {
        return Err(Error::run(whole, format!("not resumed: {why}"), mend));
    }
    let refused = |error: Error| {
        let problem = format!("not resumed, the HALT stays in force: {why}; {}", error.problem);
        Error { problem, mend: mend.to_owned(), ..error }
    };
    answered(lane, &mut cnc, Command::Resume).map_err(refused)?;
    let gone = soon(until_obeyed(), || places.find(name).map_or(true, |found| found.is_empty()));
    // A sidecar that may not remove it halts again within that time.
    if !gone || cnc.halted() {
        // One that does neither knows of no records: the page must not say other than they do.
        answered(lane, &mut cnc, Command::Halt)?;
        return Err(Error::run(whole, format!("not resumed, the HALT stays in force: {why}"), mend));
    }
    Ok(format!("{whole}: resumed, its sidecar has removed the record; its page says {}", cnc.state()))
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
        Ok(Outcome::Refused) if command == Command::Resume => {
            let problem = "the sidecar refused: it may not remove the HALT's record, or another HALT came meanwhile";
            Err(Error::run(whole, problem, "resume it again, or as root; the sidecar's standard error says why"))
        }
        Ok(Outcome::Refused) => {
            Err(Error::run(whole, "the sidecar refused the order in its state", "stop it and start it again"))
        }
        Ok(Outcome::Unknown) => {
            Err(Error::run(whole, "the sidecar does not know this order", "use the pillion that the sidecar is"))
        }
        Err(pillion_shm::Error::NoAnswer { pid, .. }) => {
            let patience = PATIENCE.as_secs();
            let then = if command == Command::Resume { "the order is withdrawn" } else { "it may still obey" };
            let problem = format!("process {pid} did not answer within {patience} s: {then}");
            let mend = format!("look at its heartbeat (`pillion status {}`), or end process {pid}", lane.name());
            Err(Error::run(whole, problem, mend))
        }
        Err(e) => Err(e.into()),
    }
}
