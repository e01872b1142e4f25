//! The gap probe: a thread pinned to the CPU reads the counter without pause; a long step between two reads is a hole in
//! which something else had the CPU.
//!
//! The counter is read raw and converted with a calibration of this probe alone: the lanes' clock is a file that others
//! would then use, and a diagnosis leaves nothing behind. Ten milliseconds against CLOCK_MONOTONIC are good to some
//! ten parts per million, which no hole needs.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::host::{Measured, Roots, Sample};
use super::{GapProbe, Verdict};
use crate::host::cores;

/// The verdict is good below this largest hole, ns.
pub const LARGEST_GOOD_NS: u64 = 10_000;
/// The verdict is good below this share of time lost in holes, parts per million.
pub const LOST_GOOD_PPM: f64 = 100.0;
/// A step longer than this is a hole, ns.
pub const HOLE_NS: u64 = 1_000;
/// Steps from this on are in the histogram, ns: a read of the counter itself stays below.
const RECORDED_NS: u64 = 250;
const CALIBRATION: Duration = Duration::from_millis(10);
/// Longest step that the histogram tells from a longer one, ns.
const LONGEST_NS: u64 = 100_000_000_000;

/// Good when both the largest hole and the lost time are below their bounds.
pub(super) fn verdict(probe: &GapProbe) -> Verdict {
    let good = probe.reads > 1 && probe.largest_hole_ns < LARGEST_GOOD_NS && probe.lost_ppm < LOST_GOOD_PPM;
    if good { Verdict::Good } else { Verdict::Poor }
}

/// Holes as they come. Time is in ns of the probe's own calibration.
struct Holes {
    histogram: Histogram<u64>,
    above: [u64; 6],
    largest_ns: u64,
    lost_ns: u64,
}

/// Bounds of [`Holes::above`], ns.
const BOUNDS_NS: [u64; 6] = [HOLE_NS, 5_000, 10_000, 50_000, 100_000, 1_000_000];

impl Holes {
    fn new() -> Result<Self, String> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, 2).map_err(|e| e.to_string())?;
        Ok(Self { histogram, above: [0; 6], largest_ns: 0, lost_ns: 0 })
    }

    fn record(&mut self, ns: u64) {
        self.histogram.saturating_record(ns);
        self.largest_ns = self.largest_ns.max(ns);
        for (count, bound) in self.above.iter_mut().zip(BOUNDS_NS) {
            *count += u64::from(ns > bound);
        }
        self.lost_ns += if ns > HOLE_NS { ns } else { 0 };
    }

    fn report(self, span_ns: u64, reads: u64, longest_step_ns: u64, preempted: Option<u64>) -> GapProbe {
        let [above_1us, above_5us, above_10us, above_50us, above_100us, above_1000us] = self.above;
        let steps = reads.saturating_sub(1 + above_1us).max(1);
        GapProbe {
            span_ns,
            reads,
            step_ns: span_ns.saturating_sub(self.lost_ns) as f64 / steps as f64,
            largest_hole_ns: self.largest_ns.max(longest_step_ns),
            above_1us,
            above_5us,
            above_10us,
            above_50us,
            above_100us,
            above_1000us,
            lost_ns: self.lost_ns,
            lost_ppm: self.lost_ns as f64 * 1e6 / span_ns.max(1) as f64,
            preempted,
            histogram: self.histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect(),
        }
    }
}

/// Spins on `core` for `length` in a thread of its own, and samples the kernel's counts right before and after. The
/// error says why that could not be.
pub(super) fn measure(roots: &Roots, core: usize, length: Duration) -> Result<Measured, String> {
    let work = || {
        cores::pin(core, "the gap probe").map_err(|error| error.problem)?;
        let counter = quanta::Clock::new();
        let mut holes = Holes::new()?;
        let ns_per_count = calibrate(&counter);
        let (before, switched) = (Sample::take(roots), switches());
        let (span_ns, reads, longest_ns) = spin(&counter, ns_per_count, length, &mut holes);
        let preempted = switches().zip(switched).map(|(now, then)| now.saturating_sub(then));
        let after = Sample::take(roots);
        Ok(Measured { probe: holes.report(span_ns, reads, longest_ns, preempted), before, after })
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("gap-probe".into()).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| format!("no thread could be started: {e}"))?;
        thread.join().unwrap_or_else(|_| Err("the probe's thread panicked".into()))
    })
}

fn calibrate(counter: &quanta::Clock) -> f64 {
    let (start, from) = (Instant::now(), counter.raw());
    let mut spent = Duration::ZERO;
    while spent < CALIBRATION {
        spent = start.elapsed();
    }
    let counts = counter.raw().saturating_sub(from).max(1);
    spent.as_nanos() as f64 / counts as f64
}

/// Span in ns, reads, longest step in ns.
fn spin(counter: &quanta::Clock, ns_per_count: f64, length: Duration, holes: &mut Holes) -> (u64, u64, u64) {
    let counts = |ns: f64| (ns / ns_per_count) as u64;
    let ns = |counts: u64| (counts as f64 * ns_per_count) as u64;
    let (recorded, whole) = (counts(RECORDED_NS as f64), counts(length.as_nanos() as f64));
    let start = counter.raw();
    let (mut last, mut reads, mut longest) = (start, 1_u64, 0);
    while last.saturating_sub(start) < whole {
        let now = counter.raw();
        let step = now.saturating_sub(last);
        reads += 1;
        longest = step.max(longest);
        if step >= recorded {
            holes.record(ns(step));
        }
        // A counter that steps back (another socket's) must not count the way forward twice.
        last = now.max(last);
    }
    (ns(last - start), reads, ns(longest))
}

/// Involuntary switches of the calling thread so far.
fn switches() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_counted_above_each_bound_and_add_up() {
        let steps = [300, 999, 1_000, 1_001, 5_001, 10_001, 50_001, 100_001, 1_000_001];
        let mut holes = Holes::new().expect("fixed bounds");
        steps.iter().for_each(|&ns| holes.record(ns));
        let probe = holes.report(1_000_000_000, 1_000_000, 1_000_001, Some(3));
        let naive = |bound: u64| steps.iter().filter(|&&ns| ns > bound).count() as u64;
        let above = [probe.above_1us, probe.above_5us, probe.above_10us];
        assert_eq!(above, [1_000, 5_000, 10_000].map(naive));
        let above = [probe.above_50us, probe.above_100us, probe.above_1000us];
        assert_eq!(above, [50_000, 100_000, 1_000_000].map(naive));
        assert_eq!(probe.lost_ns, steps.iter().filter(|&&ns| ns > 1_000).sum::<u64>());
        assert!((probe.lost_ppm - 1_166.006).abs() < 0.001, "{}", probe.lost_ppm);
        assert_eq!(probe.histogram.iter().map(|b| b.1).sum::<u64>(), steps.len() as u64);
        assert_eq!(verdict(&probe), Verdict::Poor);
    }

    #[test]
    fn the_verdict_turns_at_the_stated_bounds() {
        let mut holes = Holes::new().expect("fixed bounds");
        holes.record(9_999);
        let good = holes.report(1_000_000_000, 50_000_000, 9_999, None);
        assert_eq!(verdict(&good), Verdict::Good);
        let poor = |change: fn(&mut GapProbe)| {
            let mut probe = good.clone();
            change(&mut probe);
            verdict(&probe)
        };
        assert_eq!(poor(|p| p.largest_hole_ns = 10_000), Verdict::Poor);
        assert_eq!(poor(|p| p.lost_ppm = 100.0), Verdict::Poor);
        assert_eq!(poor(|p| p.reads = 1), Verdict::Poor);
    }

    #[test]
    fn a_spinning_thread_sees_its_own_time() {
        let core = *cores::allowed().last().expect("a CPU");
        let length = Duration::from_millis(30);
        let measured = measure(&Roots::default(), core, length).expect("a CPU that is allowed");
        let probe = measured.probe;
        assert!(probe.span_ns >= 29_000_000, "{probe:?}");
        assert!(probe.reads > 1 && probe.largest_hole_ns > 0 && probe.lost_ns <= probe.span_ns, "{probe:?}");
        assert!(probe.above_1us >= probe.above_5us && probe.above_5us >= probe.above_10us, "{probe:?}");
        let refused = measure(&Roots::default(), 1_000_000, length).expect_err("no such CPU");
        assert!(refused.contains("CPU 1000000"), "{refused}");
    }
}
