//! Tables and histograms in a terminal.

use std::fmt::Write;

use pillion_shm::text::printable;

use super::report::{LaneReport, Reader, Stages};
use crate::hot::stamp::STAGE_NAMES;

/// Percentiles per stage, ns, in the order of the hot path.
pub fn stages(stages: &Stages) -> String {
    percentiles("stage (ns)", &STAGE_NAMES.map(|name| (name, name)), stages)
}

/// Percentiles of what the feed and the reader saw, ns.
pub fn reader(stages: &Stages) -> String {
    let labels = ["tick_to_signal", "  from due time", "seen by reader", "  from due time", "feed late"];
    let rows: Vec<_> = labels.into_iter().zip(Reader::NAMES).collect();
    percentiles("paced (ns)", &rows, stages)
}

/// Percentiles of the stages named second in `rows`, under the labels named first.
fn percentiles(title: &str, rows: &[(&str, &str)], stages: &Stages) -> String {
    let mut text = format!(
        "{title:<15}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}{:>14}\n",
        "count", "p50", "p90", "p99", "p99.9", "p99.99", "max"
    );
    for &(label, name) in rows {
        let s = stages.get(name).copied().unwrap_or_default();
        let mut line = format!("{label:<15}{:>12}", thousands(s.count));
        if s.count == 0 {
            line += &format!("{:>12}", "-");
        } else {
            for ns in [s.p50_ns, s.p90_ns, s.p99_ns, s.p999_ns, s.p9999_ns] {
                line += &format!("{:>12}", thousands(ns));
            }
            line += &format!("{:>14}", thousands(s.max_ns));
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Rows in columns as wide as their widest cell; the last cell of a row takes what it needs.
/// What would steer a terminal or begin a line of its own is escaped.
pub fn columns(rows: &[Vec<String>]) -> String {
    let plain = |row: &Vec<String>| row.iter().map(|cell| printable(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(plain).collect();
    let cell = |row: &Vec<String>, i: usize| row.get(i).filter(|_| i + 1 < row.len()).map(|cell| cell.chars().count());
    let width = |i: usize| rows.iter().filter_map(|row| cell(row, i)).max();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(i, cell)| format!("{cell:<width$}", width = width(i).unwrap_or(0)));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// 1234567 as 1,234,567.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Share of counts by doubling latency, as bars.
pub fn histogram(lane: &LaneReport, stage: &str) -> String {
    let Some(buckets) = lane.histograms.get(stage).filter(|b| !b.is_empty()) else { return String::new() };
    let total: u64 = buckets.iter().map(|b| b.1).sum();
    // Two rows an octave: 2^k and 1.5 * 2^k.
    let row_of = |ns: u64| {
        let octave = ns.max(1).ilog2();
        2 * octave + u32::from(ns >= 3 << octave >> 1)
    };
    let bound = |row: u32| if row.is_multiple_of(2) { 1u64 << (row / 2) } else { 3u64 << (row / 2) >> 1 };
    let mut rows = std::collections::BTreeMap::<u32, u64>::new();
    for &(ns, count) in buckets {
        *rows.entry(row_of(ns)).or_default() += count;
    }
    let most = rows.values().copied().max().unwrap_or(1);
    let mut text = format!("{stage}, ns\n");
    let (first, last) = (*rows.keys().next().unwrap_or(&0), *rows.keys().last().unwrap_or(&0));
    for row in first..=last {
        let count = rows.get(&row).copied().unwrap_or(0);
        let bar = "█".repeat((count * 48).div_ceil(most) as usize);
        let share = 100.0 * count as f64 / total as f64;
        let _ =
            writeln!(text, "{:>13} .. {:<13} {share:>7.3} % {bar}", thousands(bound(row)), thousands(bound(row + 1)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1000, 1234567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bcd", "e"], ["fgh", "i", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "a    bcd  e\nfgh  i\n");
        let uneven = [vec!["a", "takes what it needs"], vec!["bc", "d", "e"]];
        let uneven = uneven.map(|row| row.into_iter().map(str::to_owned).collect());
        assert_eq!(columns(&uneven), "a   takes what it needs\nbc  d  e\n");
    }

    #[test]
    fn a_histogram_shows_every_count_once() {
        let mut lane = LaneReport::default();
        lane.histograms.insert("infer".into(), vec![(2, 1), (3, 1), (1000, 2)]);
        let text = histogram(&lane, "infer");
        let shares: f64 = text
            .lines()
            .skip(1)
            .map(|l| l.split('%').next().unwrap().split_whitespace().last().unwrap().parse::<f64>().unwrap())
            .sum();
        assert!((shares - 100.0).abs() < 0.01, "{text}");
        assert!(text.contains("768 .. 1,024"), "{text}");
    }
}
