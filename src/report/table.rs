//! Tables and histograms in a terminal.

use std::fmt::Write;

use pillion_shm::text::printable;

use crate::hot::stamp::STAGE_NAMES;
use crate::report::{LaneReport, Reader, Stages};

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
    let mut lines = vec![["count", "p50", "p90", "p99", "p99.9", "p99.99", "max"].map(str::to_owned).to_vec()];
    for (_, name) in rows {
        let s = stages.get(*name).copied().unwrap_or_default();
        let values = [s.p50_ns, s.p90_ns, s.p99_ns, s.p999_ns, s.p9999_ns, s.max_ns];
        lines.push(std::iter::once(s.count).chain(values).map(thousands).collect());
        if s.count == 0 {
            lines.last_mut().expect("just pushed").splice(1.., ["-".to_owned()]);
        }
    }
    // Values of the usual size fit a terminal of 80 columns; a longer one widens its column and never touches the next.
    let width = |column: usize| {
        let longest = lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
        (longest + 2).max(if column == 6 { 11 } else { 9 })
    };
    let mut text = String::new();
    for (label, line) in std::iter::once(title).chain(rows.iter().map(|row| row.0)).zip(&lines) {
        let cells = line.iter().enumerate().map(|(i, cell)| format!("{cell:>width$}", width = width(i)));
        let _ = writeln!(text, "{label:<15}{}", cells.collect::<String>());
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

/// Bytes as a person says them: 1.2 GB, 34 MB, 567 kB, 8 B.
pub fn bytes(n: u64) -> String {
    let in_units = |unit: f64, name: &str| format!("{:.1} {name}", n as f64 / unit);
    match n {
        0..10_000 => format!("{n} B"),
        10_000..1_000_000 => format!("{} kB", n / 1_000),
        1_000_000..1_000_000_000 => in_units(1e6, "MB"),
        _ => in_units(1e9, "GB"),
    }
}

/// A time as a person says it: 850 ns, 12 us, 3 ms, 41 s, 5 min, 3 h, 2 d.
pub fn span(ns: u64) -> String {
    let (us, s) = (1_000, 1_000_000_000);
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} us", ns / us),
        1_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => match ns / s {
            seconds @ 0..120 => format!("{seconds} s"),
            seconds @ 120..7_200 => format!("{} min", seconds / 60),
            seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
            seconds => format!("{} d", seconds / 86_400),
        },
    }
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
    fn no_two_columns_of_percentiles_touch() {
        let ns = u64::MAX / 2;
        let long = crate::report::Stage {
            count: ns,
            p50_ns: ns,
            p90_ns: ns,
            p99_ns: ns,
            p999_ns: ns,
            p9999_ns: ns,
            max_ns: ns,
        };
        let of = |stage| stages(&Stages::from([("infer".to_owned(), stage)]));
        let text = of(long);
        let line = text.lines().find(|line| line.starts_with("infer")).unwrap();
        assert_eq!(line.split_whitespace().skip(1).collect::<Vec<_>>(), vec![thousands(ns); 7], "{text}");
        let widths: std::collections::BTreeSet<_> = text.lines().filter(|l| !l.ends_with('-')).map(str::len).collect();
        assert_eq!(widths.len(), 1, "{text}");
        let usual = of(crate::report::Stage { count: 7, p50_ns: 1, ..Default::default() });
        assert_eq!(usual.lines().next().unwrap().len(), 15 + 6 * 9 + 11, "{usual}");
    }

    #[test]
    fn usual_percentiles_fit_a_terminal_of_80_columns() {
        let usual = crate::report::Stage {
            count: 403_813,
            p50_ns: 827,
            p90_ns: 1_215,
            p99_ns: 12_607,
            p999_ns: 95_743,
            p9999_ns: 978_943,
            max_ns: 6_127_615,
        };
        let text = stages(&STAGE_NAMES.map(|name| (name.to_owned(), usual)).into());
        assert!(text.lines().count() == 8 && text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn sizes_and_times_read() {
        assert_eq!([8, 34_000, 34_500_000, 1_230_000_000].map(bytes), ["8 B", "34 kB", "34.5 MB", "1.2 GB"]);
        let ns = [850, 12_345, 3_000_000, 41_000_000_000, 489_805_624_000, 90_000_000_000_000, 200_000_000_000_000];
        assert_eq!(ns.map(span), ["850 ns", "12 us", "3 ms", "41 s", "8 min", "25 h", "2 d"]);
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
