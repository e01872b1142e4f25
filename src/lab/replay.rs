//! `pillion replay`: the sidecar as its own process on its own CPU, this process as its feed and the reader of its
//! signals on another, and a report of both sides.

mod child;
mod flood;
mod peer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use pillion_shm::records::View;
use pillion_shm::{Clock, From, Kind, Lane as LaneName, RingReader, RingSpec, RingWriter};

use super::inject::{Injected, Load, inject};
use super::pace::Rate;
use super::signals::SignalTap;
use crate::config::{Config, InstrumentEntry, TickSize};
use crate::data::{Feed, facts, limits, order};
use crate::error::{Error, Result};
use crate::host::cores;
use crate::host::doctor;
use crate::hot::decode::{Instrument, Instruments};
use crate::hot::poll::MAX_RECORD_WORDS;
use crate::lab::sent::{self, Sent};
use crate::lab::verdict::{Shown, judge};
use crate::lab::worst;
pub use crate::report::ReplayReport;
use crate::report::{SCHEMA_VERSION, SidecarReport, hex, now_utc};
use crate::sidecar::kernel_signals;
use crate::sidecar::prepare::access;
use child::Sidecar;
use flood::FloodWatch;
use peer::{Left, ReplayPeer};

/// What to replay.
pub struct Replay<'a> {
    /// Configuration of exactly one lane; its instruments are taken from the input where it lists none.
    pub config: Config,
    /// The loaded recording.
    pub feed: &'a Feed,
    /// Path of the recording, for the report.
    pub input: &'a Path,
    /// Load model.
    pub rate: Rate,
    /// Seed of `poisson`'s arrivals.
    pub seed: u64,
    /// The play starts with the first live tick of this time of the recording or later, ns since the epoch.
    pub from_ns: u64,
    /// Ends the play this long after its first tick, ns; `u64::MAX`: at the recording's end.
    pub for_ns: u64,
    /// The binary that is the sidecar.
    pub binary: PathBuf,
    /// Ticks published so far; another thread may show it to a person.
    pub done: &'a AtomicU64,
}

/// What this process saw of a run.
struct Outcome {
    started: String,
    injected: Injected,
    left: Left,
    tap: SignalTap,
    sent: Sent,
    flood: Option<FloodWatch>,
    /// CPU of the feed.
    cpu: usize,
}

impl Replay<'_> {
    /// Runs it.
    pub fn run(mut self) -> Result<ReplayReport> {
        let interrupted = interrupt_flag()?;
        self.own_lane()?;
        let lane = self.config.place(&self.config.lanes[0].name)?;
        let cores = cores::choose(&self.config, true)?;
        let cpu = cores.feed.expect("asked for with the injector's CPU");
        self.config.lanes[0].core = crate::config::Core::Fixed(cores.lanes[0]);
        let clock = Clock::attach_or_create_by(lane.dir(), lane.trust())?;
        let spec =
            RingSpec { capacity: self.config.feed.slots, record_words: slot_words(self.feed), table: Vec::new() };
        let mut writer = RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &access(&self.config, Kind::Ticks))?;
        // From here on the name is ours, and so is what lies under it.
        let cleanup = Cleanup(lane.clone());
        let folder = tempfile::tempdir().map_err(|e| Error::input("temporary folder", e, "make TMPDIR writable"))?;
        let mut sidecar = Sidecar::start(&self, folder.path(), &interrupted)?;
        let cnc = sidecar.wait_for_run(&lane)?;
        let expected = self.feed.records as usize * self.config.lanes[0].models.len();
        let tap = SignalTap::new(RingReader::attach(&lane, Kind::Signals, From::Oldest, &clock)?, clock, expected);
        let sent = Sent::with_room(self.feed.records as usize);
        let flood = (self.rate == Rate::Flood).then(|| FloodWatch::new(writer.capacity()));
        let started = now_utc();
        // From here on this thread spins, so that it publishes on time.
        let pinned = cores::Pinned::to(cpu, "injector")?;
        let mut peer = ReplayPeer::new(cnc, tap, sidecar, sent, flood, writer.generation());
        let load =
            Load { feed: self.feed, rate: self.rate, seed: self.seed, from_ns: self.from_ns, for_ns: self.for_ns };
        let injected = inject(load, &mut writer, &clock, &mut peer, self.done)?;
        let left = peer.drain_all(writer.published(), &clock)?;
        drop(pinned);
        let ReplayPeer { cnc, mut tap, sidecar, sent, flood, .. } = peer;
        let report = sidecar.stop(&cnc)?;
        // The sidecar's last signals are in the ring now, whatever the counters said a moment ago.
        tap.drain();
        drop(cleanup);
        self.report(report, Outcome { started, injected, left, tap, sent, flood, cpu })
    }

    /// A lane of the replay's own, so that it never meets a live one, with the recording's instruments.
    fn own_lane(&mut self) -> Result<()> {
        let [lane] = self.config.lanes.as_mut_slice() else {
            let problem = format!("has {} lanes", self.config.lanes.len());
            return Err(Error::input(
                &self.config.origin,
                problem,
                "replay one lane: keep a single [[lanes]] entry or none",
            ));
        };
        // Process ids repeat between containers that share a folder; the time makes the name this replay's own.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        lane.name = format!("replay-{}-{:06x}", std::process::id(), now.as_micros() & 0xff_ffff);
        if lane.instruments.is_empty() {
            lane.instruments = entries(self.feed)?;
            let needed = limits::needed(self.feed, &Instruments::new(&self.feed.instruments)?);
            lane.max_orders = needed.iter().map(|l| l.max_orders).fold(lane.max_orders, usize::max);
            lane.max_levels = needed.iter().map(|l| l.max_levels).fold(lane.max_levels, usize::max);
        }
        for entry in &mut lane.instruments {
            place(entry, self.feed, self.input)?;
        }
        let ahead = |record: &&[u64]| View(record).is_snapshot() || record[1] < self.from_ns;
        lane.tail_from = self.feed.iter().take_while(ahead).count() as u64;
        let held = |id: u32| self.feed.instruments.iter().any(|i| i.id == id);
        if lane.instruments.iter().any(|i| held(i.id)) {
            return Ok(());
        }
        let ids: Vec<_> = self.feed.instruments.iter().map(|i| i.id).take(8).collect();
        let problem = format!("lane.instruments: none of them is in {}, which has {ids:?}", self.input.display());
        Err(Error::input(&self.config.origin, problem, "leave lane.instruments out to take them from the file"))
    }

    fn report(&self, sidecar: SidecarReport, mut run: Outcome) -> Result<ReplayReport> {
        let mut lanes = sidecar.lanes;
        let mut lane =
            lanes.pop().ok_or_else(|| Error::run("sidecar report", "has no lane", "report this as a bug"))?;
        let blake3 = run.tap.blake3();
        let Outcome { injected, left, tap, sent, .. } = &run;
        if tap.seen() + tap.lost() != lane.signals {
            let (said, seen, lost) = (lane.signals, tap.seen(), tap.lost());
            let problem = format!("published {said} signals, of which {seen} were seen and {lost} lost");
            return Err(Error::run("signal ring", problem, "report this as a bug"));
        }
        let mut engines: Vec<_> = lane.models.iter().map(|m| m.engine.clone()).collect();
        engines.dedup();
        let shown = Shown {
            injected: *injected,
            lost: lane.lost,
            gaps: lane.gaps,
            signals_lost: tap.lost(),
            behind: left.behind,
            behind_ns: left.behind_ns,
            slots: self.config.feed.slots,
        };
        worst::charge_feed(&mut lane.tail, sent, tap.arrivals());
        let (played, play_ns) = sent.play();
        let served_ns = play_ns + left.behind_ns;
        Ok(ReplayReport {
            schema_version: SCHEMA_VERSION,
            live: false,
            verdict: judge(self.rate, &shown),
            started: run.started.clone(),
            ticks: lane.ticks,
            events: lane.events,
            signals: lane.signals,
            gaps: lane.gaps,
            lost: lane.lost,
            rejects: lane.rejects,
            conflated: lane.conflated,
            invalid: lane.invalid,
            signals_lost_by_reader: tap.lost(),
            reader: sent::reader(sent, tap.arrivals(), self.rate.open_loop(), run.cpu),
            flood: run.flood.as_ref().map(|flood| flood.report(sent, &lane, served_ns)),
            signals_blake3: blake3,
            engine: if engines.is_empty() { "none".into() } else { engines.join("+") },
            host: sidecar.host,
            doctor: Some(doctor::quick(lane.core)),
            build: sidecar.build,
            config: serde_json::to_value(&self.config).unwrap_or_default(),
            models: lane.models.clone(),
            input: self.input.display().to_string(),
            input_blake3: hex(&self.feed.blake3),
            input_ticks: self.feed.records,
            instruments: facts::used(self.feed),
            out_of_order: order::check(self.feed).between.count,
            sorted: self.feed.sorted,
            complete: injected.ticks == self.feed.records,
            rate: self.rate.to_string(),
            seed: matches!(self.rate, Rate::Poisson(_)).then_some(self.seed),
            span_ns: injected.span_ns,
            ticks_per_second: played.saturating_sub(1) as f64 * 1e9 / play_ns.max(1) as f64,
            paced_ticks: injected.paced,
            late_ticks: injected.late,
            max_late_ns: injected.max_late_ns,
            stages: lane.stages.clone(),
            lane,
        })
    }
}

/// Words of a ring slot's record that hold every record of the feed: 14 (128-byte slots) or 46 (384-byte slots).
pub fn slot_words(feed: &Feed) -> usize {
    if feed.max_record_words <= 14 { 14 } else { MAX_RECORD_WORDS }
}

/// The instruments of a recording as configuration entries. Where several publishers share a number, the symbol is followed
/// by `@` and the publisher's, since readers of signals tell instruments by symbol.
///
/// # Errors
/// An instrument whose tick size is not known.
pub fn entries(feed: &Feed) -> Result<Vec<InstrumentEntry>> {
    let entry = |i: &Instrument| {
        if i.tick_size <= 0 {
            let problem = format!("the tick size of {} (id {}) is not known", i.symbol, i.id);
            return Err(Error::input(feed.path.display(), problem, "state it with --instruments FILE"));
        }
        let shared = feed.instruments.iter().any(|other| other.id == i.id && other.publisher != i.publisher);
        let symbol = match i.publisher.filter(|_| shared) {
            Some(publisher) => format!("{}@{publisher}", i.symbol),
            None => i.symbol.clone(),
        };
        let tick_size = TickSize(i.tick_size);
        Ok(InstrumentEntry { id: i.id, publisher: i.publisher, symbol, tick_size, size_unit: i.size_unit })
    };
    feed.instruments.iter().map(entry).collect()
}

/// Makes a lane's entry mean one instrument of the recording, where the number alone would mean several.
///
/// # Errors
/// A number of several publishers without one in the entry, and one that stood for several instruments, none of which has the
/// entry's symbol.
fn place(entry: &mut InstrumentEntry, feed: &Feed, input: &Path) -> Result<()> {
    let all = feed.instruments.iter().zip(&feed.identities);
    // By the venue's number, or, once placed, by the feed's own.
    let of_number = all.filter(|(own, identity)| own.id == entry.id || identity.id == entry.id);
    let meant: Vec<_> = of_number.filter(|(own, _)| entry.publisher.is_none_or(|p| own.publisher == Some(p))).collect();
    let refuse = |problem: String, mend: &str| Err(Error::input(input.display(), problem, mend));
    if meant.iter().any(|(_, identity)| identity.era != meant[0].1.era) {
        let symbol =
            |own: &Instrument| own.symbol == entry.symbol || entry.symbol.starts_with(&format!("{}@", own.symbol));
        let Some((own, _)) =
            meant.iter().find(|(own, _)| own.id == entry.id && own.publisher == entry.publisher || symbol(own))
        else {
            let names: Vec<_> = meant.iter().map(|(own, _)| own.symbol.as_str()).collect();
            let problem = format!(
                "number {} is {} one after the other, the lane calls it {}",
                entry.id,
                names.join(", "),
                entry.symbol
            );
            return refuse(problem, "give lane.instruments the symbol of the one that is meant");
        };
        entry.id = own.id;
    }
    let publishers: Vec<u16> =
        meant.iter().filter(|(own, _)| own.id == entry.id).filter_map(|(own, _)| own.publisher).collect();
    if entry.publisher.is_none() && publishers.iter().any(|other| *other != publishers[0]) {
        let problem =
            format!("number {} is used by the publishers {publishers:?}, each for a book of its own", entry.id);
        return refuse(problem, "write publisher = N into the lane's instrument, and an entry for each that is wanted");
    }
    Ok(())
}

/// Set by whatever signal would end the process, once for all replays of this process.
pub fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(Arc::clone(flag));
    }
    let flag = Arc::new(AtomicBool::new(false));
    kernel_signals::interrupts(&flag)?;
    Ok(Arc::clone(FLAG.get_or_init(|| flag)))
}

/// Removes the private lane's regions, however the replay ends.
struct Cleanup(LaneName);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for kind in [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc] {
            // Already gone, or never made.
            let _ = std::fs::remove_file(self.0.path(kind));
        }
        let _ = std::fs::remove_file(crate::sidecar::halt::note(self.0.dir(), self.0.name()));
    }
}
