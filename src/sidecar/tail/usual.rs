//! What is usual in a run: the medians that an excess is measured against, and how often the machine interrupts a thread.

use hdrhistogram::Histogram;

use crate::hot::stamp::{STAGES, Stage};
use crate::hot::tail::SlowTick;
use crate::report::Totals;

/// Stages of a turn that stamps see.
const IN_TURN: [Stage; 5] = [Stage::Decode, Stage::Book, Stage::Features, Stage::Infer, Stage::Publish];

/// From a tick's publish to the start of its turn, ns; 0 for a turn that answers no tick.
pub fn wait_ns(tick: &SlowTick) -> u64 {
    tick.begun_ns.saturating_sub(tick.tick_ns)
}

/// End of what a tick's latency counts, ns on the host's clock.
pub fn ended_ns(tick: &SlowTick) -> u64 {
    tick.begun_ns.saturating_add(tick.latency_ns.saturating_sub(wait_ns(tick)))
}

/// Medians of a run so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usual {
    /// By stage, ns, of one run of a model.
    pub stages_ns: [u64; STAGES],
    /// Models that run in a turn.
    pub models: u64,
}

impl Usual {
    /// The medians of `totals`; `models` run on each event.
    pub fn of(totals: &Totals, models: u64) -> Self {
        let median = |h: &Histogram<u64>| if h.is_empty() { 0 } else { h.value_at_quantile(0.5) };
        Self { stages_ns: std::array::from_fn(|stage| median(totals.stage(stage))), models }
    }

    /// Of a whole turn's stage, ns: each model runs and publishes once.
    pub fn stage_ns(&self, stage: Stage) -> u64 {
        let times = if matches!(stage, Stage::Infer | Stage::Publish) { self.models.max(1) } else { 1 };
        self.stages_ns[stage as usize].saturating_mul(times)
    }

    /// Of a tick like this one, ns: one that made a signal, or one that ended after certain stages.
    pub fn latency_ns(&self, tick: &SlowTick) -> u64 {
        let passed = |stage: &Stage| tick.stages_ns[*stage as usize] > 0;
        let stages: u64 = IN_TURN.iter().filter(|stage| passed(stage)).map(|stage| self.stage_ns(*stage)).sum();
        let stages = stages.saturating_add(self.stages_ns[Stage::Wait as usize]);
        match tick.stages_ns[Stage::TickToSignal as usize] {
            0 => stages,
            // The last model's signal comes later than the median one; its own publish comes after its stamp.
            _ if self.models > 1 => {
                self.signal_ns().max(stages.saturating_sub(self.stages_ns[Stage::Publish as usize]))
            }
            _ => self.signal_ns(),
        }
    }

    fn signal_ns(&self) -> u64 {
        self.stages_ns[Stage::TickToSignal as usize]
    }

    /// Of a turn from its start to its signal, ns.
    pub fn turn_ns(&self) -> u64 {
        let stages: u64 = IN_TURN.iter().map(|stage| self.stage_ns(*stage)).sum();
        stages.max(self.signal_ns().saturating_sub(self.stages_ns[Stage::Wait as usize]))
    }

    /// What a tick's stages took beyond this, ns: those of a model's run, and Pillion's own.
    pub fn stage_excess(&self, tick: &SlowTick) -> (u64, u64) {
        let over = |stage: Stage| tick.stages_ns[stage as usize].saturating_sub(self.stage_ns(stage));
        let all: u64 = IN_TURN.into_iter().map(over).fold(0, u64::saturating_add);
        (over(Stage::Infer), all - over(Stage::Infer))
    }
}

/// Sizes of interruptions that are told apart: from 1 us on, each band to twice as much.
const BANDS: usize = 6;

/// Stalls of an interruption's size, ns.
pub const INTERRUPTION_NS: std::ops::RangeInclusive<u64> = 1_000..=50_000;

/// How often the idle loop stood still, by size: it has nothing to do, so what stops it is the machine, and that stops
/// work as often in the same time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interruptions {
    holes: [u64; BANDS],
    /// Spans of working stages that took as much longer than usual.
    seen: [u64; BANDS],
    idle_ns: u64,
    working_ns: u64,
}

/// What the idle loop says about a stall in a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Interruptions explain half of such stalls or more; the count, for people.
    Yes(String),
    /// They do not.
    No,
    /// The loop was idle too little to say.
    Unknown,
}

impl Interruptions {
    /// From the holes of the idle loop, the stages of working turns and the hot thread's time by regime, ns: idle, working.
    pub fn of(holes: &Histogram<u64>, totals: &Totals, usual: &Usual, regimes_ns: [u64; 2]) -> Self {
        let [idle_ns, working_ns] = regimes_ns;
        let within = |h: &Histogram<u64>, base: u64, band: usize| {
            let (from, to) = bounds(band);
            if h.is_empty() { 0 } else { h.count_between(base.saturating_add(from), base.saturating_add(to - 1)) }
        };
        let longer = |band| {
            let spans = |stage: &Stage| {
                let at = *stage as usize;
                within(totals.stage(at), usual.stages_ns[at], band)
            };
            IN_TURN.iter().map(spans).sum()
        };
        let seen = std::array::from_fn(longer);
        Self { holes: std::array::from_fn(|band| within(holes, 0, band)), seen, idle_ns, working_ns }
    }

    /// Whether they explain a stall of `ns`, of [`INTERRUPTION_NS`]. `turns` is how many slow turns of each band were seen, this
    /// one among them: with `stamps = "ends"` nobody else counts them.
    pub fn explain(&self, ns: u64, turns: &[u64; BANDS]) -> Expected {
        let Some(band) = band(ns) else { return Expected::No };
        // From a tenth of the working time on; less would be stretched too far.
        if self.idle_ns < self.working_ns / 10 || self.idle_ns == 0 {
            return Expected::Unknown;
        }
        let expected = self.holes[band] as f64 * self.working_ns as f64 / self.idle_ns as f64;
        let seen = self.seen[band].max(turns[band]).max(1);
        if expected < seen as f64 / 2.0 {
            return Expected::No;
        }
        let (from, to) = bounds(band);
        let second = |ns: u64| ns as f64 / 1e9;
        Expected::Yes(format!(
            "interruptions of {}-{} us: {} in {:.1} s of idling, so {:.0} expected in {:.1} s of work; {seen} seen",
            from / 1000,
            to / 1000,
            self.holes[band],
            second(self.idle_ns),
            expected,
            second(self.working_ns),
        ))
    }
}

/// Slow turns by the size of their excess.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlowTurns([u64; BANDS]);

impl SlowTurns {
    /// Counts one, and gives the counts.
    pub fn count(&mut self, ns: u64) -> &[u64; BANDS] {
        if let Some(band) = band(ns) {
            self.0[band] += 1;
        }
        &self.0
    }
}

fn band(ns: u64) -> Option<usize> {
    INTERRUPTION_NS.contains(&ns).then(|| (ns / 1000).ilog2() as usize)
}

fn bounds(band: usize) -> (u64, u64) {
    (1000 << band, 2000 << band)
}
