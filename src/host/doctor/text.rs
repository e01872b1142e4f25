//! A diagnosis for a person: worst first, one line for what is good, the mend ready to paste.

use std::fmt::Write;

use super::{Check, Diagnosis, GapProbe, RULE, Verdict};
use crate::report::table::{columns, thousands};

/// Narrowest text that is still laid out, columns.
const NARROWEST: usize = 40;

/// The whole report, lines of at most `width` columns, save commands to paste, which are never broken.
pub fn report(diagnosis: &Diagnosis, host: &str, width: usize) -> String {
    let width = width.max(NARROWEST);
    let count = |verdict| diagnosis.checks.iter().filter(|check| check.verdict == verdict).count();
    let [poor, unknown, good] = [Verdict::Poor, Verdict::Unknown, Verdict::Good].map(count);
    let mut text = wrapped("", &format!("CPU {} of {host}", diagnosis.core), width);
    text.push_str(&format!("grade {}: {poor} poor, {unknown} unknown, {good} good\n", diagnosis.grade));
    text.push_str(&wrapped("rule  ", RULE, width));
    if let Some(probe) = &diagnosis.probe {
        text.push('\n');
        text.push_str(&holes(probe, width));
    }
    for verdict in [Verdict::Poor, Verdict::Unknown, Verdict::Good] {
        let checks = in_order(&diagnosis.checks, verdict);
        if !checks.is_empty() {
            text.push('\n');
        }
        let name = diagnosis.checks.iter().map(|check| check.id.len()).max().unwrap_or(0);
        for check in checks {
            let head = format!("{:<8}{:<name$}  {:<9} ", verdict.word(), check.id, check.weight);
            text.push_str(&wrapped(&head, &check.value, width));
            if verdict == Verdict::Poor {
                text.push_str(&wrapped("        why   ", &check.why, width));
                let _ = writeln!(text, "        mend  {}", check.mend);
            }
        }
    }
    text
}

/// Checks of a verdict, those that count most first.
fn in_order(checks: &[Check], verdict: Verdict) -> Vec<&Check> {
    let weights = ["critical", "major", "minor", "info"];
    let rank = |check: &&Check| weights.iter().position(|weight| *weight == check.weight);
    let mut found: Vec<_> = checks.iter().filter(|check| check.verdict == verdict).collect();
    found.sort_by_key(rank);
    found
}

/// `head`, then the words of `text`, further lines below the first word.
fn wrapped(head: &str, text: &str, width: usize) -> String {
    let indent = head.chars().count();
    let (mut out, mut column, mut first) = (head.to_owned(), indent, true);
    for word in text.split_whitespace() {
        let long = word.chars().count();
        if !first && column + 1 + long > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if !first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        (column, first) = (column + long, false);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// Holes above each bound, as a small table.
fn holes(probe: &GapProbe, width: usize) -> String {
    let counts = [
        ("1 us", probe.above_1us),
        ("5 us", probe.above_5us),
        ("10 us", probe.above_10us),
        ("50 us", probe.above_50us),
        ("100 us", probe.above_100us),
        ("1 ms", probe.above_1000us),
    ];
    let seconds = probe.span_ns as f64 / 1e9;
    let widest = counts.iter().map(|(_, n)| thousands(*n).len().max(6)).max().unwrap_or(6);
    let cell = |text: &str| format!("{text:>widest$}");
    let head = std::iter::once("holes above".to_owned()).chain(counts.iter().map(|(bound, _)| cell(bound)));
    let row = std::iter::once(format!("in {seconds:.1} s")).chain(counts.iter().map(|(_, n)| cell(&thousands(*n))));
    let mut text = columns(&[head.collect(), row.collect()]);
    let lost = format!(
        "largest {} ns; {} ns lost above 1 us ({} ppm); {:.1} ns a read",
        thousands(probe.largest_hole_ns),
        thousands(probe.lost_ns),
        thousands(probe.lost_ppm.round() as u64),
        probe.step_ns
    );
    text.push_str(&wrapped("", &lost, width));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_hang_below_the_first_one_and_none_is_lost() {
        assert_eq!(wrapped("ab  ", "one two three four", 12), "ab  one two\n    three\n    four\n");
        assert_eq!(wrapped("ab  ", "", 12), "ab\n");
        assert_eq!(wrapped("", "longer-than-the-width x", 5), "longer-than-the-width\nx\n");
    }
}
