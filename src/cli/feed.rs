//! `pillion feed`: a feed alone. Publishes a recording into a lane's tick ring for whichever sidecar is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pillion_shm::Clock;
use pillion_shm::CncClient;
use pillion_shm::{Kind, Lane};
use pillion_shm::{RingSpec, RingWriter};

use super::args::one_of;
use super::recording;
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::data::Feed;
use crate::data::contents::BookSchema;
use crate::error::{Error, Result};
use crate::host::cores;
use crate::lab::inject::{Load, Peer, Slack, inject};
use crate::lab::pace::Rate;
use crate::lab::replay::slot_words;
use crate::report::table;
use crate::sidecar::kernel_signals;
use crate::sidecar::prepare::access;

/// How long rate max waits for a sidecar.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `pillion feed`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Recording: .dbn or .dbn.zst
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Lane name
    #[arg(long = "lane", value_name = "NAME")]
    lane: String,
    /// realtime, xN, N/s, poisson:N/s, burst:N@M/s, flood (unpaced), max or closed (as fast as the lane's sidecar
    /// consumes, or one tick at a time; both need one)
    #[arg(long, default_value = "realtime")]
    rate: Rate,
    /// Interleave the instruments by each one's latest ts_event so far, as `replay --sort` does
    #[arg(long)]
    sort: bool,
    /// Which book schema counts, where the recording has several of an instrument
    #[arg(long, value_parser = one_of(&BookSchema::ALL, BookSchema::name, BookSchema::meaning))]
    schema: Option<BookSchema>,
    /// Seed of poisson's arrival times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Configuration file; its feed and process sections count. Defaults without it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the ring alive after the last tick until interrupted
    #[arg(long)]
    linger: bool,
}

/// Publishes the whole recording.
pub fn run(args: &Args) -> Result<()> {
    let config = match &args.config {
        Some(path) => Config::load(path)?,
        None => Config::parse("", "built-in defaults", std::path::Path::new("."))?,
    };
    let stop = Arc::new(AtomicBool::new(false));
    kernel_signals::interrupts(&stop)?;
    let lane = config.place(&args.lane)?;
    let cpu = cores::choose_feed(&config)?;
    let feed = recording::in_order(&args.input, args.schema, args.sort)?;
    one_instrument_a_number(&feed)?;
    let clock = Clock::attach_or_create_by(lane.dir(), lane.trust())?;
    let cnc = find_sidecar(&lane, &clock, args.rate, &stop)?;
    let spec = RingSpec { capacity: config.feed.slots, record_words: slot_words(&feed), table: Vec::new() };
    let mut writer = RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &access(&config, Kind::Ticks))?;
    let generation = writer.generation();
    crate::outln!("feed      lane {}, generation {generation}, {} ticks at {}", args.lane, feed.records, args.rate);
    let mut peer = Sidecar { cnc, generation, stop: Arc::clone(&stop), looked: Instant::now() };
    let progress = Progress::start(feed.records);
    cores::pin(cpu, "feed")?;
    let load = Load { feed: &feed, rate: args.rate, seed: args.seed, from_ns: 0, for_ns: u64::MAX };
    let injected = inject(load, &mut writer, &clock, &mut peer, &progress.done)?;
    drop(progress);
    let seconds = injected.span_ns as f64 / 1e9;
    crate::outln!(
        "published {} ticks in {seconds:.3} s, {} more than 1 ms late",
        table::thousands(injected.ticks),
        injected.late
    );
    while args.linger && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Refuses a recording in which a number stood for several instruments: a sidecar knows one of them.
fn one_instrument_a_number(feed: &Feed) -> Result<()> {
    let Some(later) = feed.identities.iter().position(|identity| identity.era > 0) else { return Ok(()) };
    let (symbol, id) = (&feed.instruments[later].symbol, feed.identities[later].id);
    let first = feed.identities.iter().position(|identity| identity.id == id).unwrap_or(later);
    let problem = format!(
        "number {id} is {} first and {symbol} later, and a lane knows a number as one",
        feed.instruments[first].symbol
    );
    let mend = "`pillion convert dbn` writes a file in which each has a number of its own, and `replay` plays this one";
    Err(Error::input(feed.path.display(), problem, mend))
}

/// The lane's live sidecar, booting ones included; rate max waits a while for one and refuses to go without.
fn find_sidecar(lane: &Lane, clock: &Clock, rate: Rate, stop: &AtomicBool) -> Result<Option<CncClient>> {
    let find = || CncClient::attach(lane, clock).ok().filter(CncClient::owner_alive);
    let mut cnc = find();
    let start = Instant::now();
    let sets_pace = matches!(rate, Rate::Max | Rate::Closed);
    while cnc.is_none() && sets_pace && start.elapsed() < PATIENCE && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        cnc = find();
    }
    if cnc.is_none() && sets_pace {
        let problem = format!("rate {rate} is the sidecar's pace, and no sidecar runs on this lane");
        let mend = "start one with `pillion run`, or name a rate such as 50000/s";
        return Err(Error::input(format!("lane {}", lane.name()), problem, mend));
    }
    Ok(cnc)
}

/// The sidecar that sets the pace where nothing else does.
struct Sidecar {
    cnc: Option<CncClient>,
    generation: u64,
    stop: Arc<AtomicBool>,
    looked: Instant,
}

impl Peer for Sidecar {
    fn consumed(&self) -> u64 {
        // Without a sidecar nobody falls behind: snapshots go out at once.
        self.cnc.as_ref().map_or(u64::MAX, |c| c.consumed_of(self.generation))
    }

    fn between(&mut self, slack: Slack) -> Result<()> {
        std::hint::spin_loop();
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::run("feed", "interrupted", "start it again; readers see a new generation"));
        }
        if slack == Slack::Sidecar && self.looked.elapsed() > Duration::from_millis(20) {
            self.looked = Instant::now();
            if self.cnc.as_ref().is_some_and(|c| !c.owner_alive() || c.superseded()) {
                let mend = "start the sidecar, then the feed again: readers see a new generation";
                return Err(Error::run("feed", "the sidecar that set its pace is gone", mend));
            }
        }
        Ok(())
    }
}
