//! A sidecar that the tests play.

use crate::common::Place;
use pillion_shm::records::{MboMsg, flags};
use pillion_shm::{
    Access, BoardSpec, BoardWriter, Clock, CncOwner, From, InstrumentEntry, Kind, Lane, ModelEntry, Poll, RingReader,
    RingSpec, RingWriter, Signal, SignalTables, State, signal_flags,
};

/// Signals of each sidecar that say warming.
pub const WARMING: u64 = 500;

/// A sidecar of this test's own: a signal for each event end outside snapshots, whose outputs follow from its number.
pub struct Sidecar {
    pub page: CncOwner,
    pub signals: RingWriter,
    board: BoardWriter,
    ticks: Option<RingReader>,
    clock: Clock,
    pub consumed: u64,
    /// The model's revision: another after each restart.
    revision: u32,
    /// Signals there will be: the last of them turns round, so that whoever prints turns has read them all.
    all: u64,
}

impl Sidecar {
    pub fn start(place: &Place, all: u64) -> Self {
        Self::on(&place.lane, &place.clock, all)
    }

    pub fn on(lane: &Lane, clock: &Clock, all: u64) -> Self {
        let page = CncOwner::create(lane, clock, &Access::default()).unwrap();
        let revision = 3 + page.generation() as u32;
        let tables = SignalTables {
            instruments: vec![InstrumentEntry {
                id: 17_077,
                symbol: "ESH4".into(),
                tick_size: 250_000_000,
                size_unit: 1.0,
            }],
            models: vec![ModelEntry {
                name: "mock".into(),
                revision,
                sha256: [0; 32],
                features_hash: [0; 32],
                outputs: vec!["down".into(), "flat".into(), "up".into()],
                meaning: "probability that the test goes down, stays or goes up".into(),
                engine: "test".into(),
                isa: "none".into(),
                runtime: "test".into(),
                horizon_events: 7,
            }],
        };
        let table = tables.to_bytes().unwrap();
        let spec = RingSpec { capacity: 1 << 16, record_words: 14, table: table.clone() };
        let signals = RingWriter::create(lane, Kind::Signals, &spec, clock, &Access::default()).unwrap();
        let spec = BoardSpec { instruments: 1, models: 1, table };
        let board = BoardWriter::create(lane, &spec, clock, &Access::default()).unwrap();
        page.beat(clock.now_ns());
        page.set_state(State::Run);
        Self { page, signals, board, ticks: None, clock: *clock, consumed: 0, revision, all }
    }

    /// What output `up` less output `down` of signal `n` is: -1, 0 or 1.
    pub fn lean(n: u64, all: u64) -> i32 {
        let lean = (n / 100 % 3) as i32 - 1;
        if n + 1 < all { lean } else { 1 - 2 * i32::from(lean == 1) }
    }

    /// The next signal of many: warming at first.
    pub fn signal(&mut self, ring_seq: u64, ts_event: u64) {
        let n = self.signals.published();
        let flags = if n < WARMING { signal_flags::WARMING } else { 0 };
        self.publish(ring_seq, ts_event, Self::lean(n, self.all), flags);
    }

    /// A signal of this lean that nothing speaks against.
    pub fn say(&mut self, lean: i32) {
        self.publish(0, 0, lean, 0);
    }

    fn publish(&mut self, ring_seq: u64, ts_event: u64, lean: i32, flags: u32) {
        let mut signal: Signal = bytemuck::Zeroable::zeroed();
        (signal.ring_seq, signal.ts_event) = (ring_seq, ts_event);
        (signal.revision, signal.outputs_len, signal.flags) = (self.revision, 3, flags);
        signal.outputs[usize::try_from(lean + 1).unwrap()] = 1.0;
        signal.tick_ns = self.clock.now_ns();
        signal.signal_ns = signal.tick_ns;
        self.signals.publish(signal.words());
        self.board.set(0, 0, &signal);
    }

    pub fn beat(&self) {
        self.page.beat(self.clock.now_ns());
    }

    /// Takes the ticks that are there.
    pub fn turn(&mut self, place: &Place) {
        self.beat();
        if self.ticks.is_none() {
            self.ticks = place.reader(From::Start).ok();
            self.ticks.iter().for_each(|ring| self.page.set_ticks_ring(ring.generation(), 0));
        }
        let mut words = [0; 14];
        while let Some(Poll::Record { ring_seq, .. }) = self.ticks.as_mut().map(|ring| ring.poll(&mut words)) {
            let tick: MboMsg = bytemuck::pod_read_unaligned(&bytemuck::cast_slice::<u64, u8>(&words)[..56]);
            self.consumed += 1;
            if tick.flags & (flags::LAST | flags::SNAPSHOT) == flags::LAST {
                self.signal(ring_seq, tick.hd.ts_event);
            }
        }
        self.page.set_ticks_consumed(self.consumed);
    }
}
