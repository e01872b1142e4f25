//! Files that HdrHistogram's own tools read: `.hgrm`, a percentile distribution as text, and `.hlog`, an interval log.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use time::OffsetDateTime;

use crate::data::{OutputFile, write_failed};
use crate::error::{Error, Result};
use crate::report::{Buckets, Interval, LaneReport, Reader, ReplayReport, hdr};

/// Steps on the way to each halving of what is left to 100 %, as HdrHistogram's tools print them by default.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// Writes `DIR/<run>-<stage>.hgrm` for every stage with counts and `DIR/<run>.hlog` for every run with intervals; `<run>` is
/// [`run_name`]. The folder must be there. Answers the files in the order in which they were written.
pub fn write(runs: &[ReplayReport], dir: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let name = run_name(runs, i);
        for (stage, buckets) in columns(run) {
            let thing = format!("run {}, histogram {stage}", i + 1);
            let text = hgrm(&hdr::of_buckets(buckets, &thing)?);
            written.push(put(&dir.join(format!("{name}-{}.hgrm", slug(&stage))), &text)?);
        }
        if run.reader.intervals.len() + run.lane.intervals.len() > 0 {
            let text = hlog(run, &format!("run {}", i + 1))?;
            written.push(put(&dir.join(format!("{name}.hlog")), &text)?);
        }
    }
    Ok(written)
}

fn put(path: &Path, text: &str) -> Result<PathBuf> {
    let mut file = OutputFile::create(path)?;
    file.write_all(text.as_bytes()).map_err(|e| write_failed(path, e))?;
    file.commit()?;
    Ok(path.to_owned())
}

/// A run's name in files: its rate, with its place before it where there are several.
pub fn run_name(runs: &[ReplayReport], i: usize) -> String {
    let rate = slug(&runs[i].rate);
    if runs.len() == 1 { rate } else { format!("{:02}-{rate}", i + 1) }
}

/// Letters, digits, `.`, `_` and `-` stay; all else is `-`. Never empty, hidden or longer than 80.
fn slug(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = text.chars().map(keep).take(80).collect();
    match name.trim_matches(['-', '.']) {
        "" => "run".into(),
        name => name.into(),
    }
}

/// The name of a lane's stage in files: its own, and `lane_…` where the reader has a column of that name, since the two count
/// different ticks (the lane all, the reader those with due times).
fn lane_name(stage: &str) -> String {
    if Reader::NAMES.contains(&stage) { format!("lane_{stage}") } else { stage.to_owned() }
}

/// Every histogram with counts: the lane's stages, then the reader's columns.
fn columns(run: &ReplayReport) -> impl Iterator<Item = (String, &Buckets)> {
    let LaneReport { histograms: lane, .. } = &run.lane;
    let lane = lane.iter().map(|(stage, buckets)| (lane_name(stage), buckets));
    let reader = run.reader.histograms.iter().map(|(stage, buckets)| (stage.clone(), buckets));
    lane.chain(reader).filter(|(_, buckets)| buckets.iter().any(|(_, count)| *count > 0))
}

/// The percentile distribution of a histogram of ns, in the columns and with the footer that HdrHistogram prints.
pub fn hgrm(h: &Histogram<u64>) -> String {
    let digits = usize::from(h.sigfig());
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for step in h.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += step.count_since_last_iteration();
        let (value, at) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        let _ = write!(text, "{value:>12.digits$} {at:>2.12} {total:>10}");
        let _ = if at < 1.0 { writeln!(text, " {:>14.2}", 1.0 / (1.0 - at)) } else { writeln!(text) };
    }
    let (mean, deviation, max, count) = (h.mean(), h.stdev(), h.max() as f64, h.len());
    let sub_buckets = (2 * 10_u64.pow(u32::from(h.sigfig()))).next_power_of_two();
    let _ = writeln!(text, "#[Mean    = {mean:>12.digits$}, StdDeviation   = {deviation:>12.digits$}]");
    let _ = writeln!(text, "#[Max     = {max:>12.digits$}, Total count    = {count:>12}]");
    let _ = writeln!(text, "#[Buckets = {:>12}, SubBuckets     = {sub_buckets:>12}]", h.buckets());
    text.push_str("#[Value, Mean, StdDeviation and Max are in nanoseconds, unscaled]\n");
    text
}

/// The interval log of a run: a line for each stage of each interval, tagged with the stage. Times are seconds since
/// the ms in which the first interval began, Interval_Max is in ms. `thing` names the run in errors.
pub fn hlog(run: &ReplayReport, thing: &str) -> Result<String> {
    let mut lines = Vec::new();
    for (side, intervals) in [("reader", &run.reader.intervals), ("lane", &run.lane.intervals)] {
        for (i, interval) in intervals.iter().enumerate() {
            for (stage, encoded) in &interval.hdr {
                let place = format!("{thing}, {side} interval {}, stage {stage}", i + 1);
                let max_ns = hdr::decode(encoded, &place)?.max();
                let tag = if side == "lane" { lane_name(stage) } else { stage.clone() };
                lines.push((interval, slug(&tag), max_ns, encoded));
            }
        }
    }
    lines.sort_by_key(|(interval, ..)| interval.start_ns); // readers stop at the first line past the end they look for
    let base = lines.first().map_or(0, |(interval, ..)| interval.start_ns / 1_000_000 * 1_000_000);
    let what = if run.live { format!(", live {}", run.rate) } else { format!(" at rate {}", run.rate) };
    let mut text = header(base, &what)?;
    for (Interval { start_ns, end_ns, .. }, tag, max_ns, encoded) in lines {
        let start = start_ns.saturating_sub(base) as f64 / 1e9;
        let length = end_ns.saturating_sub(*start_ns) as f64 / 1e9;
        let max_ms = max_ns as f64 / 1e6;
        let _ = writeln!(text, "Tag={tag},{start:.6},{length:.6},{max_ms:.6},{encoded}");
    }
    Ok(text)
}

/// The lines before the first interval. The base is a whole ms, since that is what is written of it.
fn header(base_ns: u64, what: &str) -> Result<String> {
    let refused =
        |e| Error::input("interval", format!("starts at {base_ns} ns: {e}"), "give the report as it was written");
    let start = OffsetDateTime::from_unix_timestamp_nanos(i128::from(base_ns)).map_err(refused)?;
    let seconds = base_ns as f64 / 1e9;
    let one_line: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Ok(format!(
        "#[Latencies of pillion{one_line}; histograms are in nanoseconds, Interval_Max in milliseconds]\n\
         #[Histogram log format version 1.3]\n\
         #[BaseTime: {seconds:.3} (seconds since epoch)]\n\
         #[StartTime: {seconds:.3} (seconds since epoch), {start}]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
    ))
}
