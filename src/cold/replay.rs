//! `pillion replay`: the sidecar as its own process on its own CPU, this process as its feed and the reader of its
//! signals on another, and a report of both sides.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pillion_shm::Clock;
use pillion_shm::{CncClient, Command as Order, State};
use pillion_shm::{From, RingReader, RingSpec, RingWriter};
use pillion_shm::{Kind, Lane as LaneName};

use super::config::{Config, InstrumentEntry, TickSize};
use super::cores;
use super::data::{Feed, limits};
use super::inject::{Injected, Peer, inject};
use super::pace::Rate;
use super::prepare::access;
use super::progress::Progress;
pub use super::report::ReplayReport;
use super::report::{Reader, SCHEMA_VERSION, SidecarReport, Verdict, hex};
use super::signals::SignalTap;
use crate::error::{Error, Result};
use crate::hot::decode::Instruments;
use crate::hot::poll::MAX_RECORD_WORDS;

/// How long the sidecar may take to load its models and start, and to finish what is in the ring.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to replay.
pub struct Replay<'a> {
    /// Configuration of exactly one lane; its instruments are taken from the input.
    pub config: Config,
    /// The loaded recording.
    pub feed: &'a Feed,
    /// Path of the recording, for the report.
    pub input: &'a Path,
    /// Rate.
    pub rate: Rate,
    /// The binary that is the sidecar.
    pub binary: PathBuf,
}

impl Replay<'_> {
    /// Runs it.
    pub fn run(mut self) -> Result<ReplayReport> {
        let interrupted = interrupt_flag()?;
        self.own_lane()?;
        let lane = LaneName::in_dir(&self.config.process.shm_dir, &self.config.lanes[0].name)?;
        let cores = cores::choose(&self.config, true)?;
        let cpu = cores.feed.expect("asked for with the injector's CPU");
        self.config.lanes[0].core = super::config::Core::Fixed(cores.lanes[0]);
        let clock = Clock::attach_or_create(&self.config.process.shm_dir)?;
        let spec =
            RingSpec { capacity: self.config.feed.slots, record_words: slot_words(self.feed), table: Vec::new() };
        let mut writer = RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &access(&self.config, Kind::Ticks))?;
        // From here on the name is ours, and so is what lies under it.
        let cleanup = Cleanup(lane.clone());
        let folder = tempfile::tempdir().map_err(|e| Error::input("temporary folder", e, "make TMPDIR writable"))?;
        let mut sidecar = Sidecar::start(&self, folder.path(), &interrupted)?;
        let cnc = sidecar.wait_for_run(&lane, &clock)?;
        let tap = SignalTap::new(RingReader::attach(&lane, Kind::Signals, From::Oldest, &clock)?);
        let progress = Progress::start(self.feed.records);
        // From here on this thread spins, so that it publishes on time.
        cores::pin(cpu, "injector")?;
        let mut peer = ReplayPeer {
            cnc,
            tap,
            sidecar,
            generation: writer.generation(),
            checked: Instant::now(),
            moved: Default::default(),
        };
        let injected = inject(self.feed, self.rate, &mut writer, &clock, &mut peer, &progress.done)?;
        peer.drain_all(writer.published())?;
        drop(progress);
        let ReplayPeer { cnc, mut tap, sidecar, .. } = peer;
        let report = sidecar.stop(&cnc)?;
        // The sidecar's last signals are in the ring now, whatever the counters said a moment ago.
        tap.drain();
        drop(cleanup);
        self.report(report, tap, injected)
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
            lane.instruments = self.feed.instruments.iter().map(entry).collect();
            let needed = limits::needed(self.feed, &Instruments::new(&self.feed.instruments)?);
            lane.max_orders = needed.iter().map(|l| l.max_orders).fold(lane.max_orders, usize::max);
            lane.max_levels = needed.iter().map(|l| l.max_levels).fold(lane.max_levels, usize::max);
        }
        let held = |id: u32| self.feed.instruments.iter().any(|i| i.id == id);
        if lane.instruments.iter().any(|i| held(i.id)) {
            return Ok(());
        }
        let ids: Vec<_> = self.feed.instruments.iter().map(|i| i.id).take(8).collect();
        let problem = format!("lane.instruments: none of them is in {}, which has {ids:?}", self.input.display());
        Err(Error::input(&self.config.origin, problem, "leave lane.instruments out to take them from the file"))
    }

    fn report(&self, sidecar: SidecarReport, mut tap: SignalTap, injected: Injected) -> Result<ReplayReport> {
        let mut lanes = sidecar.lanes;
        let lane = lanes.pop().ok_or_else(|| Error::run("sidecar report", "has no lane", "report this as a bug"))?;
        if tap.seen() + tap.lost() != lane.signals {
            let problem = format!(
                "published {} signals, of which {} were seen and {} lost",
                lane.signals,
                tap.seen(),
                tap.lost()
            );
            return Err(Error::run("signal ring", problem, "report this as a bug"));
        }
        let mut engines: Vec<_> = lane.models.iter().map(|m| m.engine.clone()).collect();
        engines.dedup();
        Ok(ReplayReport {
            schema_version: SCHEMA_VERSION,
            verdict: Verdict { held: true, reasons: Vec::new() },
            started: super::lab::now_utc(),
            doctor: None,
            input_ticks: self.feed.records,
            complete: true,
            seed: None,
            paced_ticks: 0,
            reader: Reader::default(),
            flood: None,
            ticks: lane.ticks,
            events: lane.events,
            signals: lane.signals,
            gaps: lane.gaps,
            lost: lane.lost,
            rejects: lane.rejects,
            conflated: lane.conflated,
            invalid: lane.invalid,
            signals_lost_by_reader: tap.lost(),
            signals_blake3: tap.blake3(),
            engine: if engines.is_empty() { "none".into() } else { engines.join("+") },
            host: sidecar.host,
            build: sidecar.build,
            config: serde_json::to_value(&self.config).unwrap_or_default(),
            models: lane.models.clone(),
            input: self.input.display().to_string(),
            input_blake3: hex(&self.feed.blake3),
            rate: self.rate.to_string(),
            span_ns: injected.span_ns,
            ticks_per_second: injected.ticks as f64 * 1e9 / injected.span_ns.max(1) as f64,
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

/// An instrument of a recording as a configuration entry.
pub fn entry(i: &crate::hot::decode::Instrument) -> InstrumentEntry {
    InstrumentEntry { id: i.id, symbol: i.symbol.clone(), tick_size: TickSize(i.tick_size), size_unit: i.size_unit }
}

fn interrupt_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .map_err(|e| Error::run("signal handler", e, "run where signal handlers are allowed"))?;
    }
    Ok(flag)
}

/// Removes the private lane's regions, however the replay ends.
struct Cleanup(LaneName);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for kind in [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc] {
            // Already gone, or never made.
            let _ = std::fs::remove_file(self.0.path(kind));
        }
    }
}

/// The sidecar process; killed if the replay gives up on it.
struct Sidecar {
    child: Child,
    report: PathBuf,
    interrupted: Arc<AtomicBool>,
}

impl Sidecar {
    fn start(replay: &Replay<'_>, folder: &Path, interrupted: &Arc<AtomicBool>) -> Result<Self> {
        let (config, report) = (folder.join("config.toml"), folder.join("report.json"));
        std::fs::write(&config, replay.config.to_toml())
            .map_err(|e| Error::run(config.display(), e, "make TMPDIR writable"))?;
        let mut command = Command::new(&replay.binary);
        command.arg("run").arg("--config").arg(&config).arg("--report").arg(&report).stdin(Stdio::null());
        command.args(["--child-of", &std::process::id().to_string()]);
        let child = command.spawn().map_err(|e| {
            Error::run(replay.binary.display(), format!("cannot be started: {e}"), "run an installed pillion")
        })?;
        Ok(Self { child, report, interrupted: Arc::clone(interrupted) })
    }

    /// An error once the process is gone or the user wants an end.
    fn look(&mut self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::run("replay", "interrupted", "start it again to replay the whole file"));
        }
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            // The sidecar has said why on stderr; its exit code is the answer to the user's command too.
            Ok(Some(status)) => {
                let mut error =
                    Error::run("sidecar", format!("ended early ({status})"), "its own message stands above");
                error.exit_code =
                    status.code().and_then(|c| u8::try_from(c).ok()).filter(|c| *c != 0).unwrap_or(Error::RUN);
                Err(error)
            }
            Err(e) => Err(Error::run("sidecar", e, "start the replay again")),
        }
    }

    fn wait_for_run(&mut self, lane: &LaneName, clock: &Clock) -> Result<CncClient> {
        let start = Instant::now();
        loop {
            self.look()?;
            if let Ok(cnc) = CncClient::attach_operator(lane, clock)
                && matches!(cnc.state(), State::Run | State::Halt)
                && cnc.pid() == self.child.id()
                && cnc.owner_alive()
            {
                return Ok(cnc);
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::run(
                    "sidecar",
                    format!("not running after {PATIENCE:?}"),
                    "see what it printed above",
                ));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(mut self, cnc: &CncClient) -> Result<SidecarReport> {
        cnc.request(Order::Stop, PATIENCE)?;
        let start = Instant::now();
        let failed = |e: &dyn std::fmt::Display| Error::run("sidecar", e, "start the replay again");
        let status = loop {
            match self.child.try_wait().map_err(|e| failed(&e))? {
                Some(status) => break status,
                None if start.elapsed() > PATIENCE => {
                    return Err(failed(&format!("has not ended {PATIENCE:?} after its stop")));
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        if !status.success() {
            return Err(Error::run("sidecar", format!("ended with {status}"), "its own message stands above"));
        }
        let failed = |e: &dyn std::fmt::Display| Error::run("sidecar report", e, "report this as a bug");
        let text = std::fs::read_to_string(&self.report).map_err(|e| failed(&e))?;
        serde_json::from_str(&text).map_err(|e| failed(&e))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Only a replay that failed gets here with a child still running.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The other side of the injector's two rings.
struct ReplayPeer {
    cnc: CncClient,
    tap: SignalTap,
    sidecar: Sidecar,
    generation: u64,
    checked: Instant,
    /// Ticks consumed when the injector last waited for room, and since when they have not moved.
    moved: Option<(u64, Instant)>,
}

impl Peer for ReplayPeer {
    fn consumed(&self) -> u64 {
        self.cnc.consumed_of(self.generation)
    }

    fn between(&mut self, for_room: bool) -> Result<()> {
        self.tap.drain();
        std::hint::spin_loop();
        if self.checked.elapsed() > Duration::from_millis(20) {
            self.checked = Instant::now();
            self.sidecar.look()?;
            self.must_move(for_room)?;
        }
        Ok(())
    }
}

impl ReplayPeer {
    /// An error when everything waits for a sidecar that has stood still for too long.
    fn must_move(&mut self, for_it: bool) -> Result<()> {
        let consumed = self.consumed();
        match self.moved.filter(|(last, _)| for_it && *last == consumed) {
            None => self.moved = for_it.then(|| (consumed, Instant::now())),
            Some((_, since)) if since.elapsed() > PATIENCE => {
                let problem = format!("stuck after {consumed} ticks for {PATIENCE:?}");
                return Err(Error::run("sidecar", problem, "look at its state with `pillion status`"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Waits until the sidecar has read every tick and every signal has been read back.
    fn drain_all(&mut self, published: u64) -> Result<()> {
        loop {
            self.between(true)?;
            if self.consumed() >= published && self.tap.seen() + self.tap.lost() >= self.cnc.counters().signals {
                return Ok(());
            }
        }
    }
}
