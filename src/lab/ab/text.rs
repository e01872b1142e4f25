//! A session for people.

use std::fmt::Write;

use super::super::compare::{origin, range};
use super::super::finding::{FEWEST, Finding};
use super::super::stats::Range;
use super::judge;
use super::{AbReport, Change, Ended, Pair, Plan, StageResult};
use crate::report::table::{columns, thousands};

/// ns without a fraction, with thousands apart.
fn ns(value: f64) -> String {
    thousands(value.round().max(0.0) as u64)
}

/// ns with their sign.
fn signed(value: f64) -> String {
    let sign = if value.round() < 0.0 { "-" } else { "+" };
    format!("{sign}{}", ns(value.abs()))
}

/// `features +2,013 ns [+1,990, +2,040]`.
pub(super) fn change(c: &Change) -> String {
    format!("{} {} ns [{}, {}]", c.stage, signed(c.change_ns), signed(c.interval.low), signed(c.interval.high))
}

/// The line of a pair under way.
pub(super) fn progress(plan: &Plan, pairs: &[Pair]) -> String {
    let (Some(pair), (min, max)) = (pairs.last(), (plan.rule.min_pairs, plan.rule.max_pairs)) else {
        return String::new();
    };
    let order = if pair.first == super::Side::A { "A B" } else { "B A" };
    let mut line = format!("pair {:>2} of {min} to {max} ({order})", pairs.len());
    for metric in &plan.metrics {
        if let (Some(a), Some(b)) = (pair.a.get(metric.stage), pair.b.get(metric.stage)) {
            let (a, b) = (metric.percentile.of(a), metric.percentile.of(b));
            let ratio = super::super::compare::ratio(a, b);
            let _ = write!(line, "  {metric} A {} B {} ns, {ratio:.3}", thousands(a), thousands(b));
        }
    }
    line
}

impl AbReport {
    /// The tables and what stands around them.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.same_signals {
            text.push_str(
                "SIGNALS DIFFER: A and B do not compute the same, and what follows compares different work.\n\n",
            );
        }
        text.push_str(&self.counts());
        text.push_str(&self.metric_table());
        text.push_str(&self.changes());
        text.push_str(&self.stage_table());
        text.push_str(&self.origins());
        text
    }

    fn counts(&self) -> String {
        let ended = match self.ended {
            Ended::Decided => "everything is decided",
            Ended::Cap => "the most that were allowed",
            Ended::Interrupted => "interrupted",
            Ended::Error => "ended by an error",
        };
        let failed = match self.failed.len() {
            0 => "no run failed to hold its rate".to_owned(),
            n => format!("{n} runs failed to hold their rate and were repeated"),
        };
        format!("pairs      {} ({ended}), {} thrown away to warm up; {failed}\n", self.pairs.len(), self.warm_up_pairs)
            + &self.rule_text()
    }

    fn rule_text(&self) -> String {
        let looks: Vec<_> = self.looks.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "rule       {:.0} % bootstrap intervals of the median ratio of pairs, margin {} %, looked at after {} pairs, seed {}\n",
            self.level * 100.0,
            self.margin_percent,
            looks.join(", "),
            self.rule.seed
        );
        if !judge::enough(&self.pairs) {
            let _ = writeln!(
                text,
                "           fewer than {FEWEST} pairs cannot carry such an interval: nothing is decided, and intervals are too narrow"
            );
        }
        text
    }

    fn metric_table(&self) -> String {
        let interval = format!("{:.0} % interval", self.level * 100.0);
        let mut rows =
            vec![["metric (ns)", "A median", "B median", "B/A", &interval, "verdict"].map(String::from).to_vec()];
        for m in &self.metrics {
            rows.push(vec![
                m.metric.clone(),
                ns(m.a_ns),
                ns(m.b_ns),
                format!("{:.3}", m.ratio),
                range(m.interval),
                m.finding.name().into(),
            ]);
        }
        format!("\n{}", columns(&rows))
    }

    /// What slower and faster metrics owe it to, and what can be told from noise where the whole cannot.
    fn changes(&self) -> String {
        let mut text = String::new();
        for m in self.metrics.iter().filter(|m| m.finding != Finding::NoDifferenceSeen) {
            let stages: Vec<_> = m.changed.iter().map(change).collect();
            if m.finding == Finding::Undecided {
                if !stages.is_empty() {
                    let _ = writeln!(text, "{} is undecided, but steps changed: {}", m.metric, stages.join(", "));
                }
                continue;
            }
            let why = match stages.split_first() {
                None if self.stamps != "full" => {
                    "no stage can be named: the config says stamps = \"ends\"; say \"full\"".into()
                }
                None => "no single stage's change can be told from noise".into(),
                Some((first, [])) => first.clone(),
                Some((first, rest)) => format!("{first}; also {}", rest.join(", ")),
            };
            let _ = writeln!(text, "{} is {}: {why}", m.metric, m.finding.name());
        }
        if text.is_empty() { text } else { format!("\n{text}") }
    }

    fn stage_table(&self) -> String {
        let header = ["stage (ns)", "", "A median", "B median", "B/A", "interval", "B - A", "interval"];
        let mut rows = vec![header.map(String::from).to_vec()];
        let mut last = "";
        for s in &self.stages {
            let StageResult { stage, percentile, a_ns, b_ns, ratio, ratio_interval, change_ns, change_interval } = s;
            let name = if stage == last { "" } else { stage };
            last = stage;
            let changes = |r: Range| format!("[{}, {}]", signed(r.low), signed(r.high));
            rows.push(vec![
                name.into(),
                percentile.clone(),
                ns(*a_ns),
                ns(*b_ns),
                format!("{ratio:.3}"),
                range(*ratio_interval),
                signed(*change_ns),
                change_interval.map_or("-".into(), changes),
            ]);
        }
        format!("\n{}\n", columns(&rows))
    }

    fn origins(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key:<11}{value}");
        };
        let mut host = String::new();
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let [build, machine] = origin(&side.build, &self.host, self.grade.as_deref());
            line(name, &format!("{}: {build}", side.path));
            host = machine;
        }
        line("host", &host);
        line(
            "replay",
            &format!(
                "{} at {}, engine {}, stamps {}, config {}",
                self.input, self.rate, self.engine, self.stamps, self.config
            ),
        );
        if self.same_signals {
            line("signals", &format!("the same in every run (BLAKE3 {})", self.a.signals_blake3));
        } else {
            line(
                "signals",
                &format!(
                    "NOT THE SAME: BLAKE3 {} in A's first run, {} in B's",
                    self.a.signals_blake3, self.b.signals_blake3
                ),
            );
        }
        for d in &self.differences {
            line("allowed", &format!("{} differs: A {}, B {}", d.what, d.a, d.b));
        }
        text
    }
}
