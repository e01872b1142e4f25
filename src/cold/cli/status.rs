//! `pillion status`: what a lane is doing, read from its regions without disturbing it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion_shm::Clock;
use pillion_shm::SignalTables;
use pillion_shm::text::{Shown, printable};
use pillion_shm::{CncClient, Counters};
use pillion_shm::{From, RingReader};
use pillion_shm::{Kind, Lane};
use serde::Serialize;

use crate::cold::report::{ModelInUse, Stages, hex};
use crate::cold::table;
use crate::error::{Error, Result};
use crate::hot::stamp::STAGE_NAMES;

/// Arguments of `pillion status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Lane name; without it every lane of the directory
    lane: Option<String>,
    /// One JSON object per lane and look
    #[arg(long)]
    json: bool,
    /// Look again every second until interrupted
    #[arg(long)]
    watch: bool,
    /// Directory of the regions
    #[arg(long, default_value = "/dev/shm", value_name = "DIR")]
    shm_dir: PathBuf,
}

/// One look at a lane.
#[derive(Debug, Serialize)]
struct Look {
    lane: String,
    state: String,
    /// Whether a process holds the control page.
    alive: bool,
    pid: u32,
    heartbeat_age_ns: u64,
    /// Whether a process holds the tick ring.
    feed_alive: bool,
    /// Ticks published and not yet consumed.
    backlog: u64,
    ticks: u64,
    events: u64,
    signals: u64,
    gaps: u64,
    lost: u64,
    rejects: u64,
    conflated: u64,
    invalid: u64,
    generation_changes: u64,
    /// Per second since the last look; over 200 ms at the first.
    ticks_per_second: f64,
    signals_per_second: f64,
    models: Vec<ModelInUse>,
    stages: Stages,
}

/// Looks once, or every second.
pub fn run(args: &Args) -> Result<()> {
    let names = match &args.lane {
        Some(name) => vec![name.clone()],
        None => lanes(&args.shm_dir)?,
    };
    let clock = Clock::attach_or_create(&args.shm_dir)?;
    let mut pause = Duration::from_millis(200);
    loop {
        let before: Vec<_> = names.iter().map(|n| before(&args.shm_dir, n, &clock)).collect();
        std::thread::sleep(pause);
        if args.watch && !args.json {
            crate::stdio::clear_screen();
        }
        for (name, before) in names.iter().zip(before) {
            let text =
                before.and_then(|before| look(&args.shm_dir, name, &clock, before)).and_then(|l| show(&l, args.json));
            match text {
                Ok(text) => crate::outln!("{text}"),
                // One lane asked for by name must be there; of all lanes, a broken one hides no other.
                Err(error) if args.lane.is_some() => return Err(error),
                Err(error) => crate::errln!("lane {}: {error}", Shown(name)),
            }
        }
        if !args.watch {
            return Ok(());
        }
        pause = Duration::from_secs(1);
    }
}

fn show(look: &Look, json: bool) -> Result<String> {
    if json { to_json(look) } else { Ok(to_text(look)) }
}

/// Names of the lanes that have a control page here.
fn lanes(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir)
        .map_err(|e| Error::input(dir.display(), e, "name the folder of the regions with --shm-dir"))?;
    let name = |e: std::io::Result<std::fs::DirEntry>| {
        let file = e.ok()?.file_name().into_string().ok()?;
        Some(file.strip_prefix("pillion.")?.strip_suffix(".cnc")?.to_owned())
    };
    let mut names: Vec<_> = entries.filter_map(name).collect();
    names.sort();
    if names.is_empty() {
        return Err(Error::input(
            dir.display(),
            "no lane has a control page here",
            "start a sidecar with `pillion run`",
        ));
    }
    Ok(names)
}

/// What rates are reckoned from.
struct Before {
    ns: u64,
    consumed: u64,
    counters: Counters,
}

fn before(dir: &Path, name: &str, clock: &Clock) -> Result<Before> {
    let cnc = CncClient::attach(&Lane::in_dir(dir, name)?, clock)?;
    Ok(Before { ns: clock.now_ns(), consumed: cnc.ticks_consumed(), counters: cnc.counters() })
}

fn look(dir: &Path, name: &str, clock: &Clock, before: Before) -> Result<Look> {
    let lane = Lane::in_dir(dir, name)?;
    let cnc = CncClient::attach(&lane, clock)?;
    let (now_ns, c) = (clock.now_ns(), cnc.counters());
    let seconds = now_ns.saturating_sub(before.ns).max(1) as f64 / 1e9;
    let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
    let consumed = cnc.ticks_consumed();
    let ticks = RingReader::attach(&lane, Kind::Ticks, From::Next, clock).ok();
    Ok(Look {
        lane: name.to_owned(),
        state: cnc.state().to_string(),
        alive: cnc.owner_alive(),
        pid: cnc.pid(),
        heartbeat_age_ns: now_ns.saturating_sub(cnc.heartbeat_ns()),
        feed_alive: ticks.as_ref().is_some_and(RingReader::owner_alive),
        backlog: ticks.map_or(0, |r| r.head().saturating_sub(cnc.consumed_of(r.generation()))),
        ticks_per_second: rate(consumed, before.consumed),
        signals_per_second: rate(c.signals, before.counters.signals),
        ticks: consumed - c.lost.min(consumed),
        events: c.events,
        signals: c.signals,
        gaps: c.gaps,
        lost: c.lost,
        rejects: c.rejects,
        conflated: c.conflated,
        invalid: c.invalid,
        generation_changes: c.generation_changes,
        models: models(&lane, clock),
        stages: stages(&cnc),
    })
}

fn stages(cnc: &CncClient) -> Stages {
    let summaries = cnc.stages().into_iter().flatten();
    STAGE_NAMES.iter().map(|n| (*n).to_owned()).zip(summaries.map(Into::into)).collect()
}

fn models(lane: &Lane, clock: &Clock) -> Vec<ModelInUse> {
    let table = RingReader::attach(lane, Kind::Signals, From::Next, clock).ok();
    let tables = table.and_then(|r| SignalTables::from_bytes(r.table()).ok());
    let in_use = |m: pillion_shm::ModelEntry| ModelInUse {
        name: m.name,
        revision: m.revision,
        sha256: hex(&m.sha256),
        engine: m.engine,
        isa: m.isa,
        runtime: m.runtime,
        candidates: Vec::new(),
    };
    tables.map(|t| t.models.into_iter().map(in_use).collect()).unwrap_or_default()
}

fn to_json(look: &Look) -> Result<String> {
    serde_json::to_string(look).map_err(|e| Error::run("status", e, "report this as a bug"))
}

fn to_text(l: &Look) -> String {
    let n = table::thousands;
    let dead = if l.alive { "" } else { "  (no live process: regions are a past run's)" };
    let mut text = format!(
        "lane {}  {}  pid {}  heartbeat {} us ago{dead}\n\
         feed      {}, backlog {}\n\
         rates     {} ticks/s, {} signals/s\n\
         counts    {} ticks, {} events, {} signals\n\
         outcomes  {} gaps ({} lost), {} rejects, {} conflated, {} invalid, {} feed restarts\n",
        l.lane,
        l.state,
        l.pid,
        n(l.heartbeat_age_ns / 1000),
        if l.feed_alive { "alive" } else { "none" },
        n(l.backlog),
        n(l.ticks_per_second as u64),
        n(l.signals_per_second as u64),
        n(l.ticks),
        n(l.events),
        n(l.signals),
        n(l.gaps),
        n(l.lost),
        n(l.rejects),
        n(l.conflated),
        n(l.invalid),
        n(l.generation_changes),
    );
    for m in &l.models {
        let sha = &m.sha256[..m.sha256.len().min(12)];
        // As its region says, which anybody may have written.
        let line = format!("{} r{} ({sha}) on {}, {}, {}", m.name, m.revision, m.engine, m.isa, m.runtime);
        text.push_str(&format!("model     {}\n", printable(&line)));
    }
    text + &table::stages(&l.stages)
}
