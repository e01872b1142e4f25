//! Whether two replays, or two live runs, may be held against each other: what must be equal, unless told otherwise.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::report::ReplayReport;

/// What may differ when told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Allow {
    /// Another recording, a part of it, or its events in another order.
    Input,
    /// Another engine, instruction set, runtime or model.
    Engine,
    /// Another CPU, kernel or number of CPUs.
    Host,
    /// Another rate or seed of arrivals.
    Rate,
    /// Other stamps, trigger, feature set, conflation or batch.
    Config,
    /// Another cargo profile or target.
    Build,
    /// Other signals (`ab` only: `compare` says it and goes on).
    Signals,
    /// A run that did not hold its rate (`compare` only).
    Failed,
}

impl Allow {
    /// Every kind.
    pub const ALL: [Self; 8] =
        [Self::Input, Self::Engine, Self::Host, Self::Rate, Self::Config, Self::Build, Self::Signals, Self::Failed];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Engine => "engine",
            Self::Host => "host",
            Self::Rate => "rate",
            Self::Config => "config",
            Self::Build => "build",
            Self::Signals => "signals",
            Self::Failed => "failed",
        }
    }

    /// Description for `--help`.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Input => "Another recording, a part of it, or its events in another order",
            Self::Engine => "Another engine, instruction set, runtime or model",
            Self::Host => "Another CPU, kernel or number of CPUs",
            Self::Rate => "Another rate or seed of arrivals",
            Self::Config => "Other stamps, trigger, feature set, conflation or batch",
            Self::Build => "Another cargo profile or target",
            Self::Signals => "Other signals (`ab` only: `compare` says it and goes on)",
            Self::Failed => "A run that did not hold its rate (`compare` only)",
        }
    }

    fn mend(self) -> &'static str {
        match self {
            Self::Input => "replay the same recording, the whole of it, with or without --sort alike",
            Self::Engine => {
                "name the engine and the same models in the config (engine = \"auto\" chooses anew at each start)"
            }
            Self::Host => "run both on the same machine",
            Self::Rate => "replay both at the same --rate",
            Self::Config => "run both with the same config",
            Self::Build => "build both with the same profile",
            Self::Signals => "find out why first",
            Self::Failed => "replay at a rate that is held",
        }
    }
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Its kind.
    pub kind: Allow,
    /// What it is: `input_blake3`, `host.kernel`.
    pub what: String,
    /// In A.
    pub a: String,
    /// In B.
    pub b: String,
}

/// A field as people read it.
type Field = fn(&ReplayReport) -> String;

/// Everything that differs and would make a comparison speak of something else than the binaries.
pub fn differences(a: &ReplayReport, b: &ReplayReport) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut hold = |kind, what: &str, a: String, b: String| {
        if a != b {
            found.push(Difference { kind, what: what.to_owned(), a, b });
        }
    };
    let fields: [(Allow, &str, Field); 19] = [
        (Allow::Input, "input_blake3", |r| r.input_blake3.clone()),
        (Allow::Input, "complete", |r| r.complete.to_string()),
        (Allow::Input, "sorted", |r| r.sorted.to_string()),
        (Allow::Rate, "rate", |r| r.rate.clone()),
        (Allow::Rate, "seed", |r| r.seed.map_or("none".into(), |seed| seed.to_string())),
        (Allow::Engine, "engine", |r| r.engine.clone()),
        (Allow::Engine, "models", models),
        (Allow::Host, "host.cpu", |r| r.host.cpu.clone()),
        (Allow::Host, "host.cpus", |r| r.host.cpus.to_string()),
        (Allow::Host, "host.kernel", |r| r.host.kernel.clone()),
        (Allow::Host, "host.isa", |r| r.host.isa.clone()),
        // A replay's lane has a name of its own.
        (Allow::Config, "lane", |r| if r.live { r.lane.lane.clone() } else { String::new() }),
        (Allow::Config, "stamps", |r| r.lane.stamps.clone()),
        (Allow::Config, "trigger", |r| r.lane.trigger.clone()),
        (Allow::Config, "features", |r| format!("{} {}", r.lane.features.set, r.lane.features.hash)),
        (Allow::Config, "conflate", |r| of_lane(r, "conflate")),
        (Allow::Config, "batch", |r| of_lane(r, "batch")),
        (Allow::Build, "build.profile", |r| r.build.profile.clone()),
        (Allow::Build, "build.target", |r| r.build.target.clone()),
    ];
    for (kind, what, f) in fields {
        // A live run has no input and no rate, and a report may be written while it runs.
        if !(a.live && [Allow::Input, Allow::Rate].contains(&kind)) {
            hold(kind, what, f(a), f(b));
        }
    }
    found
}

/// A key of the lane in the effective configuration.
fn of_lane(r: &ReplayReport, key: &str) -> String {
    r.config.pointer(&format!("/lanes/0/{key}")).map_or("unknown".into(), ToString::to_string)
}

fn models(r: &ReplayReport) -> String {
    let model = |m: &crate::report::ModelInUse| {
        format!("{} sha256 {} on {} {} {}", m.name, m.sha256, m.engine, m.isa, m.runtime)
    };
    match r.models.as_slice() {
        [] => "none".into(),
        models => models.iter().map(model).collect::<Vec<_>>().join(", "),
    }
}

/// Refuses reports that differ in more than what is allowed, each difference with both values; else returns what differs.
pub fn demand(a: (&str, &ReplayReport), b: (&str, &ReplayReport), allow: &[Allow]) -> Result<Vec<Difference>> {
    let found = differences(a.1, b.1);
    let refused: Vec<_> = found.iter().filter(|d| !allow.contains(&d.kind)).collect();
    if refused.is_empty() {
        return Ok(found);
    }
    let lines: Vec<_> =
        refused.iter().map(|d| format!("{} is {:?} in {} and {:?} in {}", d.what, d.a, a.0, d.b, b.0)).collect();
    let mut kinds: Vec<Allow> = refused.iter().map(|d| d.kind).collect();
    kinds.dedup();
    let mends: Vec<_> = kinds.iter().map(|kind| kind.mend()).collect();
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let mend = format!("{}; or say --allow {} and mind what the ratio then means", mends.join("; "), names.join(","));
    Err(Error::input(b.0, format!("cannot be held against {}: {}", a.0, lines.join("; ")), mend))
}

/// Refuses a run whose verdict is FAIL.
pub fn demand_held(name: &str, r: &ReplayReport, allow: &[Allow]) -> Result<()> {
    if r.verdict.held || allow.contains(&Allow::Failed) {
        return Ok(());
    }
    let why = r.verdict.reasons.join("; ");
    let (problem, mend) = if r.live {
        (format!("the lane failed: {why}"), "give a report of a run that ended well, or say --allow failed")
    } else {
        (format!("its verdict is FAIL: {why}"), "replay at a rate that is held, or say --allow failed")
    };
    Err(Error::input(name, problem, mend))
}
