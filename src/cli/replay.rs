//! `pillion replay`.

use std::path::PathBuf;

use super::args::{OutputArgs, one_of};
use super::recording::{self, FactsArgs};
use crate::cli::progress::Progress;
use crate::config::Config;
use crate::data;
use crate::data::contents::BookSchema;
use crate::data::facts::tell;
use crate::error::{Error, Result};
use crate::lab::pace::Rate;
use crate::lab::replay::{Replay, ReplayReport};
use crate::lab::start::PlayStart;
use crate::report::Flood;
use crate::report::table::{self, thousands};
use crate::report::tail_text::tail_text;

/// What to play and through what: common to `replay`, `sweep` and `lab`.
#[derive(Clone, Debug, clap::Args)]
pub struct PlayArgs {
    /// Configuration file of one lane
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Recording: .dbn or .dbn.zst
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Seed of poisson's arrival times: the same seed gives the same times
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Start the play at this time of the recording (23:00:00 on its day, UTC, or 2023-12-25T23:00:00Z); what comes before
    /// goes ahead of it as fast as the sidecar takes it and is in no column of the reader
    #[arg(long, value_name = "TIME")]
    pub from: Option<PlayStart>,
    /// Interleave the instruments by each one's latest ts_event so far, where the recording is out of order (a merged or
    /// raw capture); an instrument's events keep their order
    #[arg(long)]
    pub sort: bool,
    /// Which book schema counts, where the recording has several of an instrument
    #[arg(long, value_parser = one_of(&BookSchema::ALL, BookSchema::name, BookSchema::meaning))]
    pub schema: Option<BookSchema>,
    /// Where tick sizes come from.
    #[command(flatten)]
    pub facts: FactsArgs,
    /// End each run this many seconds after its first tick, instead of at the recording's end
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub for_ns: Option<u64>,
}

/// Positive seconds, as ns.
pub fn seconds(text: &str) -> std::result::Result<u64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite() && *s > 0.0 && *s < 1e9);
    let bad = || format!("\"{text}\" is no time: write seconds, such as 10 or 0.5");
    seconds.map(|s| (s * 1e9) as u64).filter(|ns| *ns > 0).ok_or_else(bad)
}

impl PlayArgs {
    /// Reads configuration and recording, makes the instruments' units known, and says what of the recording is not as it
    /// should be.
    pub fn load(&self) -> Result<(Config, data::Feed)> {
        let config = Config::load(&self.config)?;
        let mut feed = recording::in_order(&self.input, self.schema, self.sort)?;
        self.settle(&config, &mut feed)?;
        Ok((config, feed))
    }

    /// Tick size and size unit of the instruments that will be played: all of the recording, or those that the lane lists.
    fn settle(&self, config: &Config, feed: &mut data::Feed) -> Result<()> {
        let facts = self.facts.read()?;
        let listed = config.lanes.iter().flat_map(|lane| &lane.instruments);
        let facts = facts.and_configuration(&config.origin, listed);
        if config.lanes.iter().all(|lane| lane.instruments.is_empty()) {
            facts.settle(feed)?;
        } else {
            let listed: Vec<u32> = config.lanes.iter().flat_map(|lane| &lane.instruments).map(|i| i.id).collect();
            facts.lay_on_played(feed, |identity| listed.contains(&identity.id))?;
        }
        tell(feed).iter().for_each(|line| crate::errln!("{line}"));
        Ok(())
    }

    /// One run of it.
    pub fn replay(&self, config: &Config, feed: &data::Feed, rate: Rate) -> Result<ReplayReport> {
        let (seed, for_ns) = (self.seed, self.for_ns.unwrap_or(u64::MAX));
        let (config, input, binary) = (config.clone(), self.input.as_path(), this_binary()?);
        let from_ns = self.from.map_or(Ok(0), |from| from.in_feed(feed))?;
        let progress = Progress::start(feed.records);
        Replay { config, feed, input, rate, seed, from_ns, for_ns, binary, done: &progress.done }.run()
    }
}

/// The binary that is running: the sidecar of a replay is another process of it.
pub fn this_binary() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::run("pillion's own path", e, "run an installed pillion"))
}

/// Arguments of `pillion replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    play: PlayArgs,
    /// Load model: max (as fast as the sidecar consumes, lossless), flood (unpaced, loses), closed (one tick at a time),
    /// realtime, xN (x200), N/s (50000/s), poisson:N/s, burst:N@M/s (N ticks at once, M times a second)
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// Exit with 1 when the run did not hold its rate (verdict FAIL)
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    outputs: OutputArgs,
}

/// Replays and prints the table.
pub fn run(args: &ReplayArgs) -> Result<()> {
    let (config, feed) = args.play.load()?;
    let opened = args.outputs.open()?;
    let report = args.play.replay(&config, &feed, args.rate)?;
    crate::out!("{}", summary(&report));
    opened.write(&report)?;
    if args.strict && !report.verdict.held {
        return Err(not_held(&report));
    }
    Ok(())
}

fn not_held(report: &ReplayReport) -> Error {
    let mend = "lower the rate, give the ring more slots (feed.slots), or mend the host (`pillion doctor`)";
    Error::run(format!("rate {}", report.rate), report.verdict.reasons.join("; "), mend)
}

/// The report for people.
pub fn summary(r: &ReplayReport) -> String {
    let n = thousands;
    let mut text = format!("\n{}\n", table::stages(&r.stages).trim_end());
    if r.reader.stages.values().any(|s| s.count > 0) {
        text.push_str(&format!("\n{}\n", table::reader(&r.reader.stages).trim_end()));
    }
    let mut line = |key: &str, value: String| text.push_str(&format!("{key:<11}{value}\n"));
    line("stamps", format!("{} (latency from `wait` on is ns on the host's clock)", r.lane.stamps));
    line("counts", format!("{} ticks, {} events, {} signals", n(r.ticks), n(r.events), n(r.signals)));
    line(
        "outcomes",
        format!(
            "{} gaps ({} lost), {} rejects, {} conflated, {} invalid",
            n(r.gaps),
            n(r.lost),
            n(r.rejects),
            n(r.conflated),
            n(r.invalid)
        ),
    );
    if r.lane.regimes_ns[3] > 0 || r.lane.unprepared > 0 {
        let (ms, late) = (r.lane.regimes_ns[3] as f64 / 1e6, n(r.lane.unprepared));
        line("prepared", format!("{ms:.1} ms of work ahead of the next tick; {late} runs came before it was done"));
    }
    for (name, count) in r.lane.rejects_by_reason.iter().map(|(k, v)| (format!("reject {k}"), v)) {
        line("", format!("{name}: {}", n(*count)));
    }
    if r.lane.off_grid + r.lane.off_grid_trades > 0 {
        let (quotes, trades) = (n(r.lane.off_grid), n(r.lane.off_grid_trades));
        line("off grid", format!("{quotes} orders or quotes, {trades} trades at no multiple of the tick size"));
    }
    if r.lane.shallow_events > 0 {
        line("depth", format!("{} events with fewer levels than the features look at", n(r.lane.shallow_events)));
    }
    let book: Vec<_> = r.lane.book.iter().map(|(k, v)| format!("{k} {}", n(*v))).collect();
    line("book", book.join(", "));
    let listed = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(k, v)| format!("{k} {}", n(*v))).collect::<Vec<_>>().join(", ")
    };
    if !r.lane.flags.is_empty() {
        line("flags", format!("{} signals", listed(&r.lane.flags)));
    }
    if !r.lane.not_whole.is_empty() {
        line("not whole", format!("books at the end: {}", listed(&r.lane.not_whole)));
    }
    match (&r.flood, r.verdict.held) {
        (Some(flood), _) => line("flood", flood_text(flood)),
        (None, true) => line("verdict", "PASS: the rate was held".into()),
        (None, false) => line("verdict", format!("FAIL: {}", r.verdict.reasons.join("; "))),
    }
    let late = if r.late_ticks > 0 {
        format!(", {} ticks over 1 ms late (worst {} us)", n(r.late_ticks), n(r.max_late_ns / 1000))
    } else {
        String::new()
    };
    line(
        "rate",
        format!("{}: {} ticks/s over {:.3} s{late}", r.rate, n(r.ticks_per_second as u64), r.span_ns as f64 / 1e9),
    );
    line("input", format!("{} (BLAKE3 {})", r.input, &r.input_blake3[..16.min(r.input_blake3.len())]));
    line("signals", format!("BLAKE3 {}", r.signals_blake3));
    if r.signals_lost_by_reader > 0 {
        line(
            "",
            format!("{} signals were lost by the reader: the hash is not of all of them", n(r.signals_lost_by_reader)),
        );
    }
    text.push_str(&tail_text(&r.lane.tail));
    text
}

fn flood_text(flood: &Flood) -> String {
    let n = |per_second: f64| thousands(per_second as u64);
    let rates = format!("{} ticks/s offered, {} taken", n(flood.offered_per_second), n(flood.taken_per_second));
    match (flood.first_loss_tick, flood.first_loss_after_ns) {
        (Some(tick), Some(after)) => {
            let (tick, after_ms) = (thousands(tick), after as f64 / 1e6);
            format!("{rates}; first loss at tick {tick}, {after_ms:.2} ms in, with {} slots", thousands(flood.slots))
        }
        _ => {
            let (deepest, slots) = (thousands(flood.deepest_backlog), thousands(flood.slots));
            format!("{rates}; no loss: {deepest} ticks waited at most, {slots} slots")
        }
    }
}
