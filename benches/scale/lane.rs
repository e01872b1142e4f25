//! A whole lane at some scale: the hot line itself, over a real ring, in this process.

use std::hint::black_box;
use std::path::Path;
use std::rc::Rc;

use super::flow::Flow;
use super::measure::{Point, timed, timed_alone};
use hdrhistogram::Histogram;
use pillion::engine::{Engine, EngineError, EngineInfo};
use pillion::hot::book::{Book, Level, Limits};
use pillion::hot::decode::Instruments;
use pillion::hot::features::FeatureSet;
use pillion::hot::infer::Model;
use pillion::hot::publish::Publisher;
use pillion::hot::stamp::{STAGE_NAMES, Stage};
use pillion::hot::state::State;
use pillion::hot::{Lane, Parts, Stamps, Trigger};
use pillion_shm::records::MboMsg;
use pillion_shm::{
    Access, BoardSpec, BoardWriter, Clock, From, Kind, Lane as Name, LockMemory, RingReader, RingSpec, RingWriter,
};

/// Records of a batch, and slots of the tick ring: what is published before each batch, unclocked, is in the nearest cache then.
const BATCH: usize = 64;
/// Slots of the signal ring.
const SIGNALS: u64 = 4_096;
/// Bytes of a cache line, what an order costs to touch.
const LINE: usize = 64;

/// What is counted.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// Records.
    Tick,
    /// Ends of events: runs of all models.
    Event,
    /// One turn that finds that records were lost.
    Gap,
}

/// What a lane is made of.
pub struct Plan<'a> {
    pub flow: Rc<Flow>,
    pub set: &'a FeatureSet,
    pub limits: Limits,
    pub engines: Vec<Box<dyn Engine>>,
    /// Bytes of weights of all engines.
    pub weight_bytes: usize,
    pub unit: Unit,
    /// Ticks until the caches are as they are.
    pub warm: usize,
}

/// A lane and the flow that it is fed.
pub struct LanePoint {
    ticks: RingWriter,
    lane: Lane,
    flow: Rc<Flow>,
    at: usize,
    lap: u64,
    unit: Unit,
    warm: usize,
    bytes: u64,
    _folder: tempfile::TempDir,
}

/// Both rings and the board.
struct Regions {
    ticks: RingWriter,
    reader: RingReader,
    publisher: Publisher,
    clock: Clock,
}

impl Regions {
    fn new(folder: &Path, instruments: usize, models: usize) -> pillion_shm::Result<Self> {
        let name = Name::in_dir(folder, "scale")?;
        let clock = Clock::attach_or_create(folder)?;
        let access = Access { lock: LockMemory::No, ..Access::default() };
        let ring = |kind, capacity| {
            let spec = RingSpec { capacity, record_words: 14, table: Vec::new() };
            RingWriter::create(&name, kind, &spec, &clock, &access)
        };
        let (ticks, signals) = (ring(Kind::Ticks, BATCH as u64)?, ring(Kind::Signals, SIGNALS)?);
        let spec = BoardSpec { instruments: instruments as u32, models: models.max(1) as u32, table: Vec::new() };
        let board = BoardWriter::create(&name, &spec, &clock, &access)?;
        let reader = RingReader::attach(&name, Kind::Ticks, From::Oldest, &clock)?;
        Ok(Self { ticks, reader, publisher: Publisher::new(signals, board), clock })
    }
}

impl LanePoint {
    /// Makes it and plays the snapshot. What fails is the machine's (no shared memory), in words.
    pub fn new(plan: Plan) -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("pillion-scale-").tempdir_in("/dev/shm");
        let folder = folder.map_err(|error| format!("/dev/shm: {error}"))?;
        let instruments = plan.flow.instruments.len();
        let regions =
            Regions::new(folder.path(), instruments, plan.engines.len()).map_err(|error| error.to_string())?;
        let state = |tick_size| State::new(plan.limits, plan.set, tick_size);
        let states: Vec<_> = plan.flow.instruments.iter().map(|i| state(i.tick_size)).collect();
        let bytes = plan.weight_bytes as u64 + touched(&states[0], &plan.flow);
        let seated = |mut engine: Box<dyn Engine>| {
            engine.seat(instruments);
            Model { engine, revision: 1 }
        };
        let lane = Lane::new(Parts {
            depth: 0,
            ticks: regions.reader,
            instruments: Instruments::new(&plan.flow.instruments).map_err(|error| error.to_string())?,
            states,
            features: plan.set.len(),
            models: plan.engines.into_iter().map(seated).collect(),
            publisher: Some(regions.publisher),
            clock: regions.clock,
            trigger: Trigger::EventEnd,
            conflate: false,
            batch: 1,
            stamps: Stamps::Full,
            budget_ns: 0,
        });
        let (ticks, flow, unit, warm) = (regions.ticks, plan.flow, plan.unit, plan.warm);
        let mut point = Self { ticks, lane, flow, at: 0, lap: 0, unit, warm, bytes, _folder: folder };
        point.open();
        Ok(point)
    }

    fn open(&mut self) {
        let flow = Rc::clone(&self.flow);
        for record in &flow.snapshot {
            self.ticks.publish(words(record));
            self.lane.turn();
        }
        // Stages are those of the flow alone.
        self.lane.swap_stages(Box::default());
        let counts = self.lane.counts();
        assert!(counts.rejected() == 0 && counts.lost == 0, "the flow is refused: {counts:?}");
    }

    /// Publishes so many records of the circle; time goes on from lap to lap.
    fn publish(&mut self, records: usize) {
        for _ in 0..records {
            let mut record = self.flow.live[self.at];
            record.hd.ts_event += self.lap * self.flow.span_ns;
            self.ticks.publish(words(&record));
            self.at += 1;
            if self.at == self.flow.live.len() {
                (self.at, self.lap) = (0, self.lap + 1);
            }
        }
    }

    /// Lets the ring lap the lane, and times the turn that finds out.
    fn gap(&mut self) -> f64 {
        self.publish(2 * BATCH);
        let gaps = self.lane.counts().gaps;
        let ns = timed_alone(|| _ = black_box(self.lane.turn()));
        assert!(self.lane.counts().gaps == gaps + 1, "no gap was noticed");
        (0..2 * BATCH).for_each(|_| _ = self.lane.turn());
        ns
    }
}

/// Bytes of an instrument's state that its ticks may touch, times the instruments: all but the book's tables, of those a line
/// for each resting order (or the whole, if that is less), and its share of a level.
fn touched(state: &State, flow: &Flow) -> u64 {
    let instruments = flow.instruments.len();
    let orders = flow.snapshot.len() / instruments - 1;
    let tables = state.book.state_bytes() - size_of::<Book>();
    let of_tables = (orders * (LINE + size_of::<Level>() / 2)).min(tables);
    (instruments * (state.state_bytes() - tables + of_tables)) as u64
}

fn words(record: &MboMsg) -> &[u64] {
    bytemuck::cast_slice(std::slice::from_ref(record))
}

impl Point for LanePoint {
    fn batch(&mut self) -> (f64, u64) {
        if self.unit == Unit::Gap {
            return (self.gap(), 1);
        }
        self.publish(BATCH);
        let events = self.lane.counts().events;
        let ns = timed(|| (0..BATCH).for_each(|_| _ = black_box(self.lane.turn())));
        let events = self.lane.counts().events - events;
        (ns, if self.unit == Unit::Event { events.max(1) } else { BATCH as u64 })
    }

    fn warm_batches(&self) -> usize {
        if self.unit == Unit::Gap { 1 } else { self.warm.div_ceil(BATCH) }
    }

    fn batches(&self, usual: usize) -> usize {
        if self.unit == Unit::Gap { usual.min(9) } else { usual }
    }

    fn working_set_bytes(&self) -> u64 {
        self.bytes
    }

    /// Over all ticks since the snapshot, those that warm included; waiting is the bench's own doing and left out.
    fn stages(&mut self) -> Vec<(&'static str, f64)> {
        if self.unit == Unit::Gap {
            return Vec::new();
        }
        let filled = self.lane.swap_stages(Box::default());
        let units = if self.unit == Unit::Tick { Stage::Decode } else { Stage::Features };
        let units = filled.stage(units as usize).len().max(1) as f64;
        let own = STAGE_NAMES.iter().enumerate().filter(|(_, name)| !["wait", "tick_to_signal"].contains(name));
        own.map(|(at, name)| (*name, usual_sum(filled.stage(at)) / units)).collect()
    }
}

/// The sum of all but the longest hundredth, in which others had the CPU, ns.
fn usual_sum(stage: &Histogram<u64>) -> f64 {
    let most = stage.value_at_quantile(0.99);
    let usual = stage.iter_recorded().filter(|bucket| bucket.value_iterated_to() <= most);
    usual.map(|bucket| bucket.value_iterated_to() as f64 * bucket.count_since_last_iteration() as f64).sum()
}

/// A model that costs nothing: what is left is the line around it.
pub struct Nothing(EngineInfo);

impl Nothing {
    /// For rows of so many columns.
    pub fn boxed(inputs: usize) -> Box<dyn Engine> {
        let (isa, runtime) = ("none".into(), "none".into());
        Box::new(Self(EngineInfo { engine: "nothing", isa, runtime, inputs, outputs: 1, rows: 1, stateful: false }))
    }
}

impl Engine for Nothing {
    fn info(&self) -> &EngineInfo {
        &self.0
    }

    fn seat(&mut self, _: usize) {}

    fn take(&mut self, _: usize, row: &[f32]) -> Result<(), EngineError> {
        black_box(row);
        Ok(())
    }

    fn infer(&mut self, _: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        outputs.fill(0.5);
        Ok(())
    }

    fn reset(&mut self, _: usize) {}

    fn filled(&self, _: usize) -> bool {
        true
    }
}
