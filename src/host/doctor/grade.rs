//! The grade: one rule, stated once.

use super::checks::{CHECKS, Weight};
use super::{Check, GapProbe, Verdict};

/// The rule of the grade, in words. `grade` is the same in code.
pub const RULE: &str = "A from 90 points of 100, B 75, C 60, D 40; a critical check weighs 8, a major one 3, a minor \
    one 1; poor costs the weight, unknown half of it; a critical check poor: at most C, unknown: at most B; \
    gap probe: A needs holes < 10 us and < 100 ppm, B < 50 us and < 500, C < 1 ms and < 5,000, D < 10 ms and < 50,000; \
    none run: at most B";

/// Letters from the best to the worst.
const LETTERS: [&str; 5] = ["A", "B", "C", "D", "F"];
/// Fewest points of each letter but F.
const POINTS: [f64; 4] = [90.0, 75.0, 60.0, 40.0];
/// What the probe must stay below for each letter but F: largest hole in ns, lost parts per million.
const PROBE: [(u64, f64); 4] =
    [(super::LARGEST_GOOD_NS, super::LOST_GOOD_PPM), (50_000, 500.0), (1_000_000, 5_000.0), (10_000_000, 50_000.0)];
/// Whether grade `a` is worse than `b`; letters that are none of them are worse than all.
pub fn below(a: &str, b: &str) -> bool {
    let place = |letter: &str| LETTERS.iter().position(|l| *l == letter).unwrap_or(LETTERS.len());
    place(a) > place(b)
}

const B: usize = 1;
const C: usize = 2;

/// The letter of these checks and this probe, by [`RULE`].
pub(super) fn grade(checks: &[Check], probe: Option<&GapProbe>) -> &'static str {
    let (mut all, mut lost, mut worst) = (0.0, 0.0, 0);
    for row in CHECKS {
        let found = checks.iter().find(|check| check.id == row.id).map(|check| check.verdict);
        let weight = row.weight.points();
        let critical = row.weight == Weight::Critical;
        all += weight;
        match found.unwrap_or(Verdict::Unknown) {
            Verdict::Good => {}
            Verdict::Unknown => {
                lost += weight / 2.0;
                worst = worst.max(if critical { B } else { 0 });
            }
            Verdict::Poor => {
                lost += weight;
                // The probe has its own, finer cap.
                worst = worst.max(if critical && row.id != "gap_probe" { C } else { 0 });
            }
        }
    }
    let points = 100.0 * (all - lost) / all;
    let by_points = POINTS.iter().position(|&least| points >= least).unwrap_or(LETTERS.len() - 1);
    LETTERS[by_points.max(worst).max(cap(probe))]
}

/// The best that a probe allows.
fn cap(probe: Option<&GapProbe>) -> usize {
    let Some(probe) = probe else { return B };
    let below = |&(ns, ppm): &(u64, f64)| probe.reads > 1 && probe.largest_hole_ns < ns && probe.lost_ppm < ppm;
    PROBE.iter().position(below).unwrap_or(LETTERS.len() - 1)
}
