//! Whether a run held its rate. The figures of one that did not describe a machine that could not follow: they are marked,
//! and never averaged with others.

use crate::lab::inject::Injected;
use crate::lab::pace::Rate;
use crate::report::Verdict;
use crate::report::table::thousands;

/// Share of paced ticks that may leave over 1 ms late.
const LATE_SHARE: f64 = 0.01;
/// Share by which the paced ticks may take longer than their due times span.
const LONGER: f64 = 0.01;
/// Slack of that bound, ns: a short run may meet one bad moment.
const LONGER_NS: u64 = 2_000_000;
/// How long the sidecar may take to serve what waits when the last tick has left, as a share of the run ...
const BEHIND: f64 = 0.01;
/// ... and at least, ns.
const BEHIND_NS: u64 = 10_000_000;

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// The feed's side.
    pub injected: Injected,
    /// Ticks the sidecar lost, and the times it did.
    pub lost: u64,
    /// Times it did.
    pub gaps: u64,
    /// Signals its reader lost.
    pub signals_lost: u64,
    /// Ticks that waited when the last one left.
    pub behind: u64,
    /// How long the sidecar then took to serve them, ns.
    pub behind_ns: u64,
    /// Slots of the tick ring.
    pub slots: u64,
}

/// Judges a run. A flood has no rate to hold: it shows where losses begin.
pub fn judge(rate: Rate, run: &Shown) -> Verdict {
    let mut reasons = Vec::new();
    let ms = |ns: u64| format!("{:.1} ms", ns as f64 / 1e6);
    if run.lost > 0 && rate != Rate::Flood {
        let (lost, gaps, slots) = (thousands(run.lost), run.gaps, thousands(run.slots));
        reasons.push(format!(
            "{lost} ticks lost in {gaps} gaps: the sidecar fell {slots} ticks (the ring's slots) behind"
        ));
    }
    if run.signals_lost > 0 {
        reasons.push(format!("{} signals lost by their reader: its figures miss them", thousands(run.signals_lost)));
    }
    if rate.open_loop() {
        let Injected { paced, late, due_span_ns: due, paced_span_ns: took, .. } = run.injected;
        if paced == 0 {
            reasons.push("no tick of the recording had a due time: nothing was played".into());
        }
        let share = late as f64 / paced.max(1) as f64;
        if share > LATE_SHARE {
            let (share, bound) = (share * 100.0, LATE_SHARE * 100.0);
            reasons.push(format!("feed: {share:.1} % of ticks left over 1 ms late (bound {bound} %)"));
        }
        if took > due + (due as f64 * LONGER) as u64 + LONGER_NS {
            reasons.push(format!(
                "feed: {} of ticks took {} to publish (bound {:.0} % more)",
                ms(due),
                ms(took),
                LONGER * 100.0
            ));
        }
        let bound = BEHIND_NS.max((took as f64 * BEHIND) as u64);
        if run.behind_ns > bound {
            let (behind, took, bound) = (thousands(run.behind), ms(run.behind_ns), ms(bound));
            reasons.push(format!("sidecar: {behind} ticks behind at the end, served in {took} (bound {bound})"));
        }
    }
    Verdict { held: reasons.is_empty(), reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Shown {
        let injected = Injected {
            ticks: 1_000,
            paced: 1_000,
            due_span_ns: 1_000_000_000,
            paced_span_ns: 1_000_500_000,
            late: 9,
            ..Injected::default()
        };
        Shown { injected, slots: 64, behind_ns: 1_000_000, ..Shown::default() }
    }

    #[test]
    fn each_way_to_fail_is_named_with_its_figure() {
        let rate = Rate::PerSecond(1_000.0);
        assert_eq!(judge(rate, &good()), Verdict { held: true, reasons: vec![] });
        let reason = |run: Shown| {
            let verdict = judge(rate, &run);
            assert!(!verdict.held && verdict.reasons.len() == 1, "{verdict:?}");
            verdict.reasons[0].clone()
        };
        assert!(reason(Shown { lost: 1_234, gaps: 2, ..good() }).contains("1,234 ticks lost in 2 gaps"));
        assert!(reason(Shown { signals_lost: 5, ..good() }).contains("5 signals"));
        let late = Injected { late: 11, ..good().injected };
        assert!(reason(Shown { injected: late, ..good() }).contains("1.1 % of ticks left over 1 ms late"));
        let slow = Injected { paced_span_ns: 1_013_000_000, ..good().injected };
        assert!(reason(Shown { injected: slow, ..good() }).contains("took 1013.0 ms"));
        assert!(reason(Shown { injected: Injected::default(), ..good() }).contains("nothing was played"));
        assert!(reason(Shown { behind: 7, behind_ns: 11_000_000, ..good() }).contains("7 ticks behind"));
    }

    #[test]
    fn rates_without_due_times_have_fewer_bounds() {
        let run = Shown { behind_ns: 1 << 40, lost: 3, gaps: 1, ..good() };
        assert!(judge(Rate::Flood, &run).held, "a flood is meant to lose");
        assert!(!judge(Rate::Max, &run).held, "at rate max nothing may be lost");
        assert!(judge(Rate::Closed, &Shown { lost: 0, ..run }).held);
    }
}
