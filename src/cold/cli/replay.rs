//! `pillion replay` and `pillion demo`.

use std::path::{Path, PathBuf};

use crate::cold::config::Config;
use crate::cold::data::{self, OutputFile};
use crate::cold::output::write_json;
use crate::cold::pace::Rate;
use crate::cold::replay::{Replay, ReplayReport};
use crate::cold::table::{self, thousands};
use crate::error::{Error, Result};

/// Arguments of `pillion replay`.
#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Configuration file of one lane
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Recording: .dbn or .dbn.zst
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// max (as fast as the sidecar consumes, lossless), realtime, xN (x200) or N/s (50000/s)
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Replays and prints the table.
pub fn run(args: &ReplayArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let json = args.json.as_ref().map(OutputFile::create).transpose()?;
    let report = replay(config, &args.input, args.rate)?;
    print!("{}", summary(&report));
    json.map_or(Ok(()), |file| write_json(file, &report))
}

/// Arguments of `pillion demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Recording to play; without one an order flow is synthesised
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Configuration file with the models to run
    #[arg(long, default_value = "config/demo.toml", value_name = "FILE")]
    config: PathBuf,
    /// Rate, as in `replay`
    #[arg(long, default_value = "50000/s")]
    rate: Rate,
}

/// Replays real or synthetic ticks and draws the latency histogram.
pub fn demo(args: &DemoArgs) -> Result<()> {
    let config = Config::load(&args.config)?;
    let folder = tempfile::tempdir().map_err(|e| Error::input("temporary folder", e, "make TMPDIR writable"))?;
    let input = match &args.input {
        Some(path) => path.clone(),
        None => {
            let path = folder.path().join("synth.dbn.zst");
            println!("input     synthetic order flow (INPUT=FILE.dbn.zst plays a recording)");
            data::synth::write(
                &path,
                &data::synth::Plan { seed: 1, instruments: 4, events: 150_000, events_per_second: 5_000 },
            )?;
            path
        }
    };
    let report = replay(config, &input, args.rate)?;
    print!("{}", summary(&report));
    for stage in ["infer", "tick_to_signal"] {
        print!("\n{}", table::histogram(&report.lane, stage));
    }
    Ok(())
}

fn replay(config: Config, input: &Path, rate: Rate) -> Result<ReplayReport> {
    let feed = data::load(input)?;
    let binary =
        std::env::current_exe().map_err(|e| Error::run("pillion's own path", e, "run an installed pillion"))?;
    Replay { config, feed: &feed, input, rate, binary }.run()
}

/// The report for people.
pub fn summary(r: &ReplayReport) -> String {
    let n = thousands;
    let mut text = format!("\n{}\n", table::stages(&r.stages).trim_end());
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
    let book: Vec<_> = r.lane.book.iter().map(|(k, v)| format!("{k} {}", n(*v))).collect();
    line("book", book.join(", "));
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
    text
}
