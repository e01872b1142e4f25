//! What a tick costs against scale: `cargo bench --bench scale [-- [--quick] [--only ID,..] [--core N] [--json FILE]]`.
//!
//! One pinned thread drives the hot line itself (instruments, gap, features, models), or decode and book alone (depth, orders,
//! clear), or one end of a ring (readers), over order flow that was laid out before. Points of a curve take turns, round by
//! round: each is warmed until its caches are as they would be alone, then worked in batches of 64 records between two reads of
//! the clock; a gap and a clear are timed one by one, long ones by the time that the thread had the CPU. A round's figure is
//! the median of its batches' means; the curve's is the median of the rounds, with the least and the most beside it. What bends
//! each line is worked out from the figures and the cache sizes of this machine.

#[path = "scale/bends.rs"]
mod bends;
#[path = "scale/books.rs"]
mod books;
#[path = "scale/caches.rs"]
mod caches;
#[path = "scale/fit.rs"]
mod fit;
#[path = "scale/flow.rs"]
mod flow;
#[path = "scale/lane.rs"]
mod lane;
#[path = "scale/lanes.rs"]
mod lanes;
#[path = "scale/measure.rs"]
mod measure;
#[path = "scale/readers.rs"]
mod readers;
#[path = "scale/show.rs"]
mod show;

use std::path::{Path, PathBuf};
use std::time::Instant;

use caches::Cache;
use measure::{Dimension, Effort};
use pillion::data::OutputFile;
use pillion::data::json::write_json;
use pillion::host::{cores, doctor};
use pillion::report::{Build, Curve, Host, LabReport, SCHEMA_VERSION, now_utc};

/// Curves by name, in the order they are measured.
const IDS: [&str; 8] = ["instruments", "gap", "features", "models", "readers", "depth", "orders", "clear"];

/// Where the kernel lists the caches.
const CACHES: &str = "/sys/devices/system/cpu/cpu0/cache";

struct Args {
    effort: Effort,
    only: Vec<String>,
    core: Option<usize>,
    json: Option<PathBuf>,
}

impl Args {
    fn parse() -> Result<Self, String> {
        let mut args = Self { effort: Effort::FULL, only: Vec::new(), core: None, json: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--quick" => args.effort = Effort::QUICK,
                "--only" => args.only.extend(value()?.split(',').map(str::to_owned)),
                "--core" => args.core = Some(value()?.parse().map_err(|_| "--core needs the number of a CPU")?),
                "--json" => args.json = Some(value()?.into()),
                _ => return Err(format!("unknown argument {word}: --quick, --only ID,.., --core N, --json FILE")),
            }
        }
        match args.only.iter().find(|id| !IDS.contains(&id.as_str())) {
            Some(id) => Err(format!("no curve is called \"{id}\": name some of {}", IDS.join(","))),
            None => Ok(args),
        }
    }

    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }
}

fn main() {
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(2);
    }
}

fn run() -> Result<(), String> {
    let args = Args::parse()?;
    let allowed = cores::allowed();
    let host = host();
    let core = args.core.or(allowed.last().copied()).ok_or("this process may run on no CPU that is known")?;
    cores::pin(core, "--core").map_err(|error| error.to_string())?;
    let caches = caches::read(Path::new(CACHES));
    println!("{host}; caches {}; CPU {core}", caches::text(&caches));
    println!("{} rounds of {} batches a point, in turn", args.effort.rounds, args.effort.batches);
    let other = allowed.iter().copied().find(|&cpu| cpu != core);
    let curves = curves_of(&args, other, &caches)?;
    let Some(path) = &args.json else { return Ok(()) };
    write(path, core, curves)
}

/// Measures, prints and gives every curve that is wanted. `other`: a second CPU, without which readers are not measured.
fn curves_of(args: &Args, other: Option<usize>, caches: &[Cache]) -> Result<Vec<Curve>, String> {
    let mut curves = Vec::new();
    for id in IDS.into_iter().filter(|id| args.wants(id)) {
        let start = Instant::now();
        let Some(mut dimension) = dimension(id, other)? else {
            println!("\nskipped: {id} needs a second CPU, and this process may run on one only");
            continue;
        };
        let measured = measure::interleaved(&mut dimension, args.effort);
        let curve = measure::curve_of(&mut dimension, measured, caches);
        show::print(&curve);
        println!("({:.0} s)", start.elapsed().as_secs_f64());
        curves.push(curve);
    }
    Ok(curves)
}

fn dimension(id: &str, other: Option<usize>) -> Result<Option<Dimension>, String> {
    Ok(Some(match (id, other) {
        ("instruments", _) => lanes::instruments()?,
        ("gap", _) => lanes::gap()?,
        ("features", _) => lanes::features()?,
        ("models", _) => lanes::models()?,
        ("depth", _) => books::depth()?,
        ("orders", _) => books::orders()?,
        ("clear", _) => books::clear()?,
        (_, Some(cpu)) => readers::readers(cpu)?,
        (_, None) => return Ok(None),
    }))
}

/// The curves as a report that `pillion report` makes a page of.
fn write(path: &Path, core: usize, curves: Vec<Curve>) -> Result<(), String> {
    let report = LabReport {
        schema_version: SCHEMA_VERSION,
        title: "Cost against scale".into(),
        made: now_utc(),
        host: Host::this(),
        doctor: Some(doctor::quick(core)),
        build: Build::this(),
        runs: Vec::new(),
        sweep: None,
        curves,
    };
    let file = OutputFile::create(path).map_err(|error| error.to_string())?;
    write_json(file, &report).map_err(|error| error.to_string())
}

/// What runs it.
fn host() -> String {
    let host = Host::this();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{}, {} CPUs, Linux {}, {}, load {load}", host.cpu, host.cpus, host.kernel, host.isa)
}
