//! A hot lane inside the test process, fed through a real ring.
#![allow(dead_code)]

use pillion::data::{self, Feed, synth};
use pillion::engine::{Engine, EngineError, EngineInfo};
use pillion::hot::book::Limits;
use pillion::hot::decode::Instruments;
use pillion::hot::features::FeatureSet;
use pillion::hot::infer::Model;
use pillion::hot::publish::Publisher;
use pillion::hot::state::State;
use pillion::hot::{Lane, Parts, Stamps, Trigger, Turn};
use pillion_shm::{
    Access, BoardSpec, BoardWriter, Clock, From, Kind, Lane as Name, LockMemory, Poll, RingReader, RingSpec,
    RingWriter, Signal,
};

/// Regions and a lane over them.
pub struct Line {
    /// Folder of the regions; removed when dropped.
    pub dir: tempfile::TempDir,
    /// Their name.
    pub name: Name,
    /// Their clock.
    pub clock: Clock,
    /// The feed's end.
    pub ticks: RingWriter,
    /// The hot side.
    pub lane: Lane,
}

/// Regions are small here and need no lock.
pub fn access() -> Access {
    Access { lock: LockMemory::No, ..Access::default() }
}

/// What few tests change.
pub struct Options {
    /// Runs under backlog are left out.
    pub conflate: bool,
    /// Most instruments of a run.
    pub batch: usize,
    /// When models run.
    pub trigger: Trigger,
    /// Books wait for a clear or a snapshot, as in a sidecar.
    pub await_beginning: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { conflate: false, batch: 1, trigger: Trigger::EventEnd, await_beginning: false }
    }
}

/// Builds a lane for a recording's instruments. `slots` bounds the tick ring.
pub fn line(feed: &Feed, set: &FeatureSet, engines: Vec<Box<dyn Engine>>, slots: u64) -> Line {
    line_with(feed, set, engines, slots, Options::default())
}

/// [`line`], otherwise than most.
pub fn line_with(feed: &Feed, set: &FeatureSet, engines: Vec<Box<dyn Engine>>, slots: u64, options: Options) -> Line {
    let dir = super::shm_dir();
    let name = Name::in_dir(dir.path(), "line").expect("a name");
    let clock = Clock::attach_or_create(dir.path()).expect("a clock");
    let spec = |capacity, record_words| RingSpec { capacity, record_words, table: Vec::new() };
    let words = pillion::lab::replay::slot_words(feed);
    let ticks = RingWriter::create(&name, Kind::Ticks, &spec(slots, words), &clock, &access()).expect("ticks");
    let signals = RingWriter::create(&name, Kind::Signals, &spec(1 << 16, 14), &clock, &access()).expect("signals");
    let models = engines.len().max(1) as u32;
    let board = BoardWriter::create(
        &name,
        &BoardSpec { instruments: feed.instruments.len() as u32, models, table: Vec::new() },
        &clock,
        &access(),
    )
    .expect("board");
    let seated = |mut engine: Box<dyn Engine>| {
        engine.seat(feed.instruments.len());
        Model { engine, revision: 1 }
    };
    let state = |tick| {
        let mut state = State::new(Limits { max_orders: 16_384, max_levels: 2_048 }, set, tick);
        if options.await_beginning {
            state.await_beginning();
        }
        state
    };
    let lane = Lane::new(Parts {
        depth: set.depth(),
        ticks: RingReader::attach(&name, Kind::Ticks, From::Oldest, &clock).expect("a reader"),
        instruments: Instruments::new(&feed.instruments).expect("instruments"),
        states: feed.instruments.iter().map(|i| state(i.tick_size)).collect(),
        features: set.len(),
        models: engines.into_iter().map(seated).collect(),
        publisher: Some(Publisher::new(signals, board)),
        clock,
        trigger: options.trigger,
        conflate: options.conflate,
        batch: options.batch,
        stamps: Stamps::Full,
        budget_ns: 0,
    });
    Line { dir, name, clock, ticks, lane }
}

/// An engine that is a function of its input.
pub struct Function<F>(EngineInfo, F, Vec<f32>);

/// Boxes `f`, from `inputs` features to `outputs` values, as an engine.
pub fn function<F>(inputs: usize, outputs: usize, f: F) -> Box<dyn Engine>
where
    F: FnMut(&[f32], &mut [f32]) + Send + 'static,
{
    let (isa, runtime) = ("none".into(), "test".into());
    let info = EngineInfo { engine: "test", isa, runtime, inputs, outputs, rows: 1, stateful: false };
    Box::new(Function(info, f, vec![0.0; inputs]))
}

impl<F> Engine for Function<F>
where
    F: FnMut(&[f32], &mut [f32]) + Send,
{
    fn info(&self) -> &EngineInfo {
        &self.0
    }

    fn seat(&mut self, _: usize) {}

    fn take(&mut self, _: usize, row: &[f32]) -> Result<(), EngineError> {
        self.2.copy_from_slice(row);
        Ok(())
    }

    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        assert_eq!(seats.len(), 1, "a function has one row");
        (self.1)(&self.2, outputs);
        Ok(())
    }

    fn reset(&mut self, _: usize) {}

    fn filled(&self, _: usize) -> bool {
        true
    }
}

/// A seeded recording that is never on disk for longer than it takes to read it.
pub fn synthetic_feed(seed: u64, instruments: u32, events: u64) -> Feed {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("synth.dbn");
    synth::write(&path, &synth::Plan { seed, instruments, events, events_per_second: 5_000 }).expect("writable");
    data::load(&path).expect("a recording")
}

impl Line {
    /// A reader of the lane's signals from its first on.
    pub fn reader(&self) -> RingReader {
        RingReader::attach(&self.name, Kind::Signals, From::Oldest, &self.clock).expect("signals")
    }

    /// Lets the lane turn until its ring is empty.
    pub fn turn_until_idle(&mut self) {
        while self.lane.turn() != Turn::Idle {}
    }
}

/// Every signal that the reader has not read yet. None may be lost.
pub fn signals(reader: &mut RingReader) -> Vec<Signal> {
    let mut words = [0; 14];
    let mut signals = Vec::new();
    loop {
        match reader.poll(&mut words) {
            Poll::Record { .. } => signals.push(Signal::from_words(&words)),
            Poll::Empty | Poll::Corrupt => return signals,
            Poll::Lost(n) => panic!("{n} signals lost"),
        }
    }
}
