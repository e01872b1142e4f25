//! A comparison for people.

use std::fmt::Write;

use super::super::stats::Range;
use super::{Comparison, FEWEST_SPANS, Row, Side};
use crate::report::table::{columns, thousands};

/// A ratio's interval as people read it.
pub fn range(range: Option<Range>) -> String {
    range.map_or("-".into(), |r| format!("[{:.3}, {:.3}]", r.low, r.high))
}

/// What is over the bound, or cannot be held against it, in words.
pub(super) fn held_against(row: &Row, percent: f64) -> String {
    let grown = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
    let is = row.ratio.map_or("?".into(), grown);
    let (stage, percentile) = (&row.stage, &row.percentile);
    match row.interval.filter(|_| row.spans >= FEWEST_SPANS) {
        Some(r) => {
            let (low, high) = (grown(r.low), grown(r.high));
            format!(
                "{stage} {percentile} is {is} against A (95 % interval {low} to {high}), over the bound of {percent} %"
            )
        }
        None => format!(
            "{stage} {percentile} is {is} against A, and {} time intervals are too few to tell that from noise \
             ({FEWEST_SPANS} in each report are enough)",
            row.spans
        ),
    }
}

/// Build and host on two lines.
pub fn origin(build: &crate::report::Build, host: &crate::report::Host, grade: Option<&str>) -> [String; 2] {
    let virtualised = if host.virtualised { ", virtual" } else { "" };
    [
        format!("pillion {} ({}, {}, {}, {})", build.version, build.revision, build.profile, build.target, build.rustc),
        format!(
            "{}, {} CPUs{virtualised}, Linux {}, grade {}",
            host.cpu,
            host.cpus,
            host.kernel,
            grade.unwrap_or("not given")
        ),
    ]
}

impl Comparison {
    /// The table and what stands around it.
    pub fn text(&self) -> String {
        let mut text = self.head();
        let mut rows = vec![["stage (ns)", "", "A", "B", "B/A", "95 % interval"].map(String::from).to_vec()];
        let mut last = "";
        for row in &self.rows {
            let stage = if row.stage == last { "" } else { &row.stage };
            last = &row.stage;
            let ns = |ns: Option<u64>| ns.map_or("-".into(), thousands);
            let ratio = row.ratio.map_or("-".into(), |r| format!("{r:.3}"));
            rows.push(vec![
                stage.into(),
                row.percentile.clone(),
                ns(row.a_ns),
                ns(row.b_ns),
                ratio,
                range(row.interval),
            ]);
        }
        let _ = writeln!(text, "\n{}", columns(&rows).trim_end());
        text.push_str(
            "\nIntervals come from the noise within these two runs (their time intervals resampled); how one run of a binary\n\
             differs from its next is in neither. `pillion ab` runs both binaries in pairs: let it judge.\n",
        );
        if self.rows.iter().any(|r| r.ratio.is_some() && r.interval.is_none()) {
            text.push_str("No interval where a report has fewer than two time intervals with counts.\n");
        }
        if let Some(percent) = self.bound_percent.filter(|_| self.over_bound.is_empty()) {
            let _ = match self.undecided.as_slice() {
                [] => writeln!(text, "\nbound      nothing is shown to be over {percent} %"),
                undecided => writeln!(text, "\nbound      UNDECIDED against {percent} %: {}", undecided.join("; ")),
            };
        }
        text
    }

    fn head(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{key:<11}{value}");
        };
        line("signals", self.signals());
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let Side { file, started, build, host, grade, verdict, .. } = side;
            let held = match (verdict.held, side.live) {
                (true, true) => "a live run".into(),
                (true, false) => "PASS".into(),
                (false, _) => format!("FAIL ({})", verdict.reasons.join("; ")),
            };
            line(name, format!("{file}, {started}, {held}"));
            for more in origin(build, host, grade.as_deref()) {
                line("", more);
            }
        }
        for d in &self.differences {
            line("allowed", format!("{} differs: A {}, B {}", d.what, d.a, d.b));
        }
        match self.counts.as_slice() {
            [] => line("counts", "the same".into()),
            counts => {
                let count = |c: &super::Count| format!("{} A {}, B {}", c.name, thousands(c.a), thousands(c.b));
                line("counts", counts.iter().map(count).collect::<Vec<_>>().join("; "));
            }
        }
        text
    }

    fn signals(&self) -> String {
        let (a, b) = (&self.a, &self.b);
        let Some(same) = self.same_signals else {
            return "not hashed: live runs have other ticks each".into();
        };
        let lost = match a.signals_lost_by_reader + b.signals_lost_by_reader {
            0 => String::new(),
            n => format!("; {} were lost by a reader, so the hashes are not of all of them", thousands(n)),
        };
        if same {
            format!("the same in both (BLAKE3 {}){lost}", a.signals_blake3)
        } else {
            format!("NOT THE SAME: BLAKE3 {} in A, {} in B{lost}", a.signals_blake3, b.signals_blake3)
        }
    }
}
