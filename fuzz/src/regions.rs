//! A bench to attach hostile regions on: a folder, its clock, and an honest region of every kind to spoil.

use pillion_shm::{
    Access, BoardSpec, BoardWriter, Clock, CncOwner, Counters, InstrumentEntry, Kind, Lane, LockMemory, ModelEntry,
    RingSpec, RingWriter, STAGES, Signal, SignalTables, StageSummary, State,
};
use std::cell::OnceCell;
use std::path::PathBuf;

/// An honest region, as its owner left it.
pub struct Template {
    /// What it is.
    pub kind: Kind,
    /// The whole file.
    pub bytes: Vec<u8>,
}

/// The folder, its clock and the honest regions.
pub struct Bench {
    dir: tempfile::TempDir,
    /// The clock of the folder.
    pub clock: Clock,
    /// The lane that hostile regions are put under.
    pub lane: Lane,
    /// Honest regions.
    pub templates: Vec<Template>,
}

/// Access of regions that are made by the thousand: no page is locked.
pub fn access() -> Access {
    Access { lock: LockMemory::No, ..Access::default() }
}

/// Runs `f` on this thread's bench.
pub fn with_bench(f: impl FnOnce(&Bench)) {
    thread_local!(static BENCH: OnceCell<Bench> = const { OnceCell::new() });
    BENCH.with(|bench| f(bench.get_or_init(Bench::new)));
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder for regions (TMPDIR)");
        let clock = Clock::attach_or_create(dir.path()).expect("a clock");
        let lane = Lane::in_dir(dir.path(), "fuzz").expect("a lane");
        let mut bench = Self { dir, clock, lane, templates: Vec::new() };
        bench.rings();
        bench.board();
        bench.cnc();
        let bytes = std::fs::read(bench.lane.path(Kind::Clock)).expect("the clock");
        bench.templates.push(Template { kind: Kind::Clock, bytes });
        bench
    }

    /// A file of this bench.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A lane in a folder of its own, for the clock's sake.
    pub fn clock_dir(&self) -> PathBuf {
        let dir = self.dir.path().join("clock");
        std::fs::create_dir_all(&dir).expect("a folder");
        dir
    }

    fn keep(&mut self, kind: Kind) {
        let path = self.lane.path(kind);
        let bytes = std::fs::read(&path).expect("what was just made");
        std::fs::remove_file(path).expect("what was just made");
        self.templates.push(Template { kind, bytes });
    }

    fn rings(&mut self) {
        let table = tables().to_bytes().expect("an honest table");
        let rings = [
            (Kind::Ticks, 8, 14, Vec::new(), 19),
            (Kind::Ticks, 8, 14, Vec::new(), 3),
            (Kind::Ticks, 1, 6, Vec::new(), 2),
            (Kind::Ticks, 4, 46, Vec::new(), 4),
            (Kind::Signals, 4, 14, table, 9),
        ];
        for (kind, capacity, record_words, table, records) in rings {
            let spec = RingSpec { capacity, record_words, table };
            let mut ring = RingWriter::create(&self.lane, kind, &spec, &self.clock, &access()).expect("a ring");
            for n in 0..records {
                ring.publish_at(&vec![n; record_words], n);
            }
            self.keep(kind);
        }
    }

    fn board(&mut self) {
        let spec = BoardSpec { instruments: 2, models: 2, table: tables().to_bytes().expect("an honest table") };
        let mut board = BoardWriter::create(&self.lane, &spec, &self.clock, &access()).expect("a board");
        let signal =
            Signal { instrument: 1, model: 1, outputs_len: 3, outputs: [0.5; 16], ..bytemuck::Zeroable::zeroed() };
        board.set(1, 1, &signal);
        self.keep(Kind::Board);
    }

    fn cnc(&mut self) {
        let page = CncOwner::create(&self.lane, &self.clock, &access()).expect("a page");
        page.set_state(State::Halt);
        page.beat(1);
        page.set_ticks_ring(1, 2);
        page.set_ticks_consumed(7);
        page.set_counters(&Counters { events: 3, ..Counters::default() });
        page.publish_stages(&[StageSummary { count: 1, ..StageSummary::default() }; STAGES.len()]);
        self.keep(Kind::Cnc);
    }
}

/// An honest table of two instruments and two models.
pub fn tables() -> SignalTables {
    let instrument =
        |id: u32| InstrumentEntry { id, symbol: format!("ES{id}"), tick_size: 250_000_000, size_unit: 1.0 };
    let model = |name: &str| ModelEntry {
        name: name.to_owned(),
        revision: 1,
        sha256: [1; 32],
        features_hash: [2; 32],
        outputs: ["down", "flat", "up"].map(str::to_owned).to_vec(),
        meaning: "probabilities".to_owned(),
        engine: "ort".to_owned(),
        isa: "any".to_owned(),
        runtime: "test".to_owned(),
        horizon_events: 10,
    };
    SignalTables { instruments: [1, 2].map(instrument).to_vec(), models: ["mlp", "lstm"].map(model).to_vec() }
}
