//! `pillion doctor`: whether a CPU of this host is fit for a lane, and what to do where it is not.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::config::Config;
use crate::data::calendar::Date;
use crate::error::{Error, Result};
use crate::host::cores;
use crate::host::doctor::{Check, Diagnosis, GapProbe, Roots, below, diagnose, text};
use crate::report::Host;

/// Longest time that the probe may take, s.
const LONGEST_S: f64 = 3600.0;

/// Arguments of `pillion doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CPU to look at; without it the one that a lane with core = "auto" gets
    #[arg(long, value_name = "N")]
    core: Option<usize>,
    /// Seconds that the gap probe spins on that CPU, 0 to 3600; 0 skips it
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// Exit with 1 where the grade is worse than this: F never does
    #[arg(long, value_name = "GRADE", default_value = "D", ignore_case = true, value_parser = ["A", "B", "C", "D", "F"])]
    at_least: String,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=LONGEST_S).contains(s));
    let length = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
    length.ok_or_else(|| format!("`{text}` is not a number of seconds from 0 to {LONGEST_S}"))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// A to F.
    grade: String,
    core: usize,
    /// When, UTC.
    date: String,
    host: Host,
    checks: Vec<Check>,
    probe: Option<GapProbe>,
}

/// Looks, measures and prints; an error where the grade is worse than asked for.
pub fn run(args: &Args) -> Result<()> {
    let core = match args.core {
        Some(core) => usable(core)?,
        None => lane_core()?,
    };
    let date = utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let host = Host::this();
    if !args.json && !args.seconds.is_zero() {
        crate::errln!("spinning on CPU {core} for {} s", args.seconds.as_secs_f64());
    }
    let found = diagnose(core, args.seconds);
    let grade = found.grade.clone();
    if args.json {
        let Diagnosis { grade, core, checks, probe } = found;
        let report = Report { grade, core, date, host, checks, probe };
        let text = serde_json::to_string_pretty(&report)
            .map_err(|e| Error::run("the diagnosis", e, "report this: it is a bug"))?;
        crate::outln!("{text}");
    } else {
        let kind = if host.virtualised { ", virtual" } else { "" };
        let line = format!("{} ({} CPUs{kind}), Linux {}, {date}", host.cpu, host.cpus, host.kernel);
        crate::out!("{}", text::report(&found, &line, width()));
    }
    if below(&grade, &args.at_least.to_uppercase()) {
        let problem = format!("grade {grade}, worse than {}", args.at_least.to_uppercase());
        let mend = "see the mends above, or ask for less with --at-least (F takes every host)";
        return Err(Error::run(format!("CPU {core}"), problem, mend).told());
    }
    Ok(())
}

/// The CPU that the first lane of the default configuration is pinned to.
fn lane_core() -> Result<usize> {
    let config = Config::parse("", "config/default.toml", std::path::Path::new("."))?;
    let chosen = cores::choose(&config, false)?.lanes.first().copied();
    chosen.ok_or_else(|| Error::input("--core", "this process may run on no CPU", "allow the process a CPU"))
}

/// `core`, if this process may run there.
fn usable(core: usize) -> Result<usize> {
    let allowed = cores::allowed();
    if allowed.contains(&core) {
        return Ok(core);
    }
    let cpu = Roots::default().sys.join(format!("devices/system/cpu/cpu{core}"));
    let online = std::fs::read_to_string(cpu.join("online"));
    let problem = match online {
        _ if !cpu.is_dir() => "this machine has no such CPU",
        Ok(text) if text.trim() == "0" => "that CPU is offline",
        _ => "this process may not run there",
    };
    let mend = format!("name one of the CPUs it may use: {allowed:?}");
    Err(Error::input(format!("--core {core}"), problem, mend))
}

/// Columns of the terminal; 100 where there is none.
fn width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let terminal = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    told.or_else(terminal).filter(|&columns| columns > 0).unwrap_or(100)
}

/// Seconds since the epoch as RFC 3339.
fn utc(seconds: u64) -> String {
    let days = (seconds / 86_400) as i64;
    let begun = |date: Option<Date>| date.filter(|date| date.days_since_epoch() <= days);
    // Years are never longer than 366 days nor shorter than 365; the last one that has begun is the one.
    let (least, most) = (1970 + days / 366, 1970 + days / 365);
    let year = (least..=most).rev().find(|&y| begun(Date::new(y, 1, 1)).is_some()).unwrap_or(least);
    let month = (1..=12).rev().find(|&m| begun(Date::new(year, m, 1)).is_some()).unwrap_or(1);
    let date = (1..=31).rev().find_map(|d| begun(Date::new(year, month, d)));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match date {
        Some(date) => format!("{date}T{hour:02}:{minute:02}:{second:02}Z"),
        None => format!("{seconds} s since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let text = |seconds| utc(seconds);
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(text(1_735_689_600), "2025-01-01T00:00:00Z");
        for day in (0..80_000_u64).step_by(7) {
            let date: Date = text(day * 86_400)[..10].parse().expect("a date");
            assert_eq!(date.days_since_epoch(), day as i64);
        }
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["-1", "NaN", "inf", "3601", "x", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
