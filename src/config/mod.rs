//! Configuration: the embedded `config/default.toml`, one overlay file over it, unknown keys refused.

use std::path::{Path, PathBuf};

use pillion_shm::Trust;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::engine::CudaOptions;
use crate::error::{Error, Result};
use crate::files;

mod feature_sets;
mod trust;

/// The embedded defaults: every key, with its unit and reason.
pub const DEFAULT: &str = include_str!("../../config/default.toml");

/// Longest configuration, bytes: a hundred thousand instruments fit.
const MOST_BYTES: u64 = 16 * files::MIB;

/// A whole configuration.
#[derive(Clone, Debug, Serialize)]
pub struct Config {
    /// What concerns the process.
    pub process: Process,
    /// What concerns the injector of `feed`, `replay` and `demo`.
    pub feed: Feed,
    /// At least one lane.
    pub lanes: Vec<Lane>,
    /// Where the overlay came from, for messages.
    #[serde(skip)]
    pub origin: String,
}

/// `[process]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Path of the ONNX Runtime library, empty to search.
    pub onnxruntime: PathBuf,
    /// Take an ONNX Runtime that is of no pinned wheel.
    pub allow_unpinned: bool,
    /// Folder of ONNX Runtime's optimised graphs, empty for none.
    pub model_cache: PathBuf,
    /// Directory of the regions.
    pub shm_dir: PathBuf,
    /// Directory of the HALT records, empty for this user's own: see [`crate::sidecar::halt`].
    pub state_dir: PathBuf,
    /// Users whose files and regions are used besides root's, the own user's, the binary's owner's and the `shm_dir`'s owner's.
    pub trusted_uids: Vec<u32>,
    /// Permission bits of the signal ring and the board.
    pub shm_mode: u32,
    /// Permission bits of the control page.
    pub control_mode: ControlMode,
    /// Group of created regions, -1 for the process's own.
    pub shm_gid: i64,
    /// Memory locking.
    pub lock: Lock,
    /// Time between two looks at what the kernel counts for a hot thread, ms: 1 to 1000, 0 for none.
    pub sample_ms: u64,
}

/// `process.lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lock {
    /// Refuse to run when memory cannot be locked.
    Require,
    /// Lock if possible and say whether it was.
    Try,
    /// Do not lock.
    No,
}

/// `[feed]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Feed {
    /// CPU of the injector.
    pub core: Core,
    /// Slots of the tick ring.
    pub slots: u64,
    /// Permission bits of the tick ring.
    pub shm_mode: u32,
}

/// Permission bits, or "auto": those of the signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum ControlMode {
    /// Whoever reads signals reads the control page.
    Auto,
    /// These.
    Fixed(u32),
}

impl From<ControlMode> for Value {
    fn from(mode: ControlMode) -> Self {
        match mode {
            ControlMode::Auto => Self::String("auto".into()),
            ControlMode::Fixed(mode) => Self::Integer(i64::from(mode)),
        }
    }
}

impl TryFrom<Value> for ControlMode {
    type Error = String;

    fn try_from(value: Value) -> std::result::Result<Self, String> {
        match &value {
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            Value::Integer(mode @ (0o600 | 0o640 | 0o660)) => Ok(Self::Fixed(*mode as u32)),
            Value::Integer(mode) => Err(format!("0o{mode:o} is none of 0o600, 0o640, 0o660 and \"auto\"")),
            other => Err(format!("{other} is none of 0o600, 0o640, 0o660 and \"auto\"")),
        }
    }
}

/// A CPU number, or "auto".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Core {
    /// Chosen at start.
    Auto,
    /// This CPU.
    Fixed(usize),
}

impl From<Core> for Value {
    fn from(core: Core) -> Self {
        match core {
            Core::Auto => Self::String("auto".into()),
            Core::Fixed(cpu) => Self::Integer(cpu as i64),
        }
    }
}

impl TryFrom<Value> for Core {
    type Error = String;

    fn try_from(value: Value) -> std::result::Result<Self, String> {
        match &value {
            Value::String(text) if text == "auto" => Ok(Self::Auto),
            Value::Integer(n) if (0..=4095).contains(n) => Ok(Self::Fixed(*n as usize)),
            other => Err(format!("{other} is neither a CPU number nor \"auto\"")),
        }
    }
}

/// A lane: `[lane]` merged with its `[[lanes]]` entry.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// Name of the regions.
    pub name: String,
    /// CPU of the hot thread.
    pub core: Core,
    /// Bundled feature set or path.
    pub features: String,
    /// Model directories in publishing order.
    pub models: Vec<PathBuf>,
    /// Which engine runs them.
    pub engine: EngineChoice,
    /// The GPU of `engine = "ort-cuda"`, or the CPU alone.
    pub device: Device,
    /// Run captured CUDA graphs.
    pub graphs: bool,
    /// Multiply with TF32 on the GPU.
    pub tf32: bool,
    /// What to do where the GPU is missing.
    pub on_missing: OnMissing,
    /// When models run.
    pub trigger: Trigger,
    /// Skip runs under backlog.
    pub conflate: bool,
    /// Most instruments of one run, where conflation left several waiting.
    pub batch: usize,
    /// Which stages are stamped.
    pub stamps: Stamps,
    /// Over-budget bound, 0 for none.
    pub budget_ns: u64,
    /// Ticks slower than this are the tail, ns: 1000 or more, 0 for the run's 99th percentile.
    pub tail_ns: u64,
    /// First tick, by its number in the ring, that may be part of the tail.
    pub tail_from: u64,
    /// Slots of the signal ring.
    pub signal_slots: u64,
    /// Orders per book.
    pub max_orders: usize,
    /// Levels per side.
    pub max_levels: usize,
    /// Instruments, fixed at start.
    pub instruments: Vec<InstrumentEntry>,
}

/// `lane.engine`: which engine runs a lane's models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// The fastest at the 99th percentile of those that agree with ONNX Runtime.
    #[default]
    Auto,
    /// ONNX Runtime on the CPU.
    OrtCpu,
    /// Our own kernels, or a refusal.
    Native,
    /// ONNX Runtime on the lane's GPU, or what `on_missing` says.
    OrtCuda,
}

pub use crate::data::instrument::{InstrumentEntry, TickSize};
pub use crate::engine::cuda::{Device, OnMissing};
pub use crate::hot::{Stamps, Trigger};

impl Lane {
    /// How the lane uses its GPU, if it names one.
    #[must_use]
    pub fn cuda(&self) -> Option<CudaOptions> {
        match self.device {
            Device::Cpu => None,
            Device::Cuda(device) => Some(CudaOptions { device, graphs: self.graphs, tf32: self.tf32 }),
        }
    }
}

impl Config {
    /// Reads an overlay file; relative model and feature paths are taken from its folder.
    ///
    /// # Errors
    /// It cannot be read, is longer than 16 MiB, or somebody who does not count could have written it; see
    /// [`Config::parse`] for what is in it.
    pub fn load(path: &Path) -> Result<Self> {
        let text = files::read_trusted_text(path, &Trust::own(), MOST_BYTES);
        let text = text.map_err(|unread| unread.refuse(path.display(), "name a readable config file"))?;
        // Absolute, so that the configuration means the same in another process that runs elsewhere.
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self::parse(&text, &path.display().to_string(), whole.parent().unwrap_or(Path::new("/")))
    }

    /// Parses an overlay's text; `origin` names it in messages, `base` is the folder of relative paths.
    pub fn parse(text: &str, origin: &str, base: &Path) -> Result<Self> {
        let overlay: Table = text.parse().map_err(|e: toml::de::Error| {
            Error::input(
                origin,
                e.to_string().trim_end(),
                "write the file as TOML; config/default.toml shows every key",
            )
        })?;
        let mut merged: Table = DEFAULT.parse().expect("the embedded default.toml is TOML: a test holds it");
        let lanes = take_lanes(&overlay, origin, text)?;
        merge(&mut merged, overlay, "", origin, text)?;
        merged.remove("lanes");
        let shared = merged.remove("lane").and_then(|v| v.try_into::<Table>().ok()).unwrap_or_default();
        let mut config = Self {
            process: section(&merged["process"], "process", origin, text)?,
            feed: section(&merged["feed"], "feed", origin, text)?,
            lanes: Vec::new(),
            origin: origin.to_owned(),
        };
        let process = &mut config.process;
        let paths = [&mut process.onnxruntime, &mut process.model_cache, &mut process.shm_dir, &mut process.state_dir];
        for path in paths {
            if !path.as_os_str().is_empty() {
                *path = base.join(&path);
            }
        }
        for lane in lanes.unwrap_or_else(|| vec![Table::new()]) {
            let mut whole = shared.clone();
            merge(&mut whole, lane, "lanes", origin, text)?;
            let mut lane: Lane = section(&Value::Table(whole), "lane", origin, text)?;
            lane.models.iter_mut().for_each(|dir| *dir = base.join(&dir));
            if lane.features.ends_with(".toml") {
                lane.features = base.join(&lane.features).display().to_string();
            }
            config.lanes.push(lane);
        }
        config.validate()?;
        Ok(config)
    }

    /// The whole configuration as TOML that [`Config::parse`] reads back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every part is a TOML value")
    }

    /// What serde cannot see: ranges and names that must differ.
    fn validate(&self) -> Result<()> {
        let bad = |key: String, problem: String, mend: &str| {
            Err(Error::input(&self.origin, format!("{key}: {problem}"), mend))
        };
        for (slots, key) in std::iter::once((self.feed.slots, "feed.slots".to_owned()))
            .chain(self.lanes.iter().map(|l| (l.signal_slots, format!("lane {:?} signal_slots", l.name))))
        {
            if !slots.is_power_of_two() || !(64..=1 << 28).contains(&slots) {
                return bad(key, format!("{slots} is not a power of two from 64 to 2^28"), "write for example 65536");
            }
        }
        // The group may read and never write: a ring has one writer. Group write is process.control_mode's.
        for (key, mode) in [("process.shm_mode", self.process.shm_mode), ("feed.shm_mode", self.feed.shm_mode)] {
            if ![0o600, 0o640].contains(&mode) {
                let mend = "write 0o600 or 0o640; a group that may halt the lane is process.control_mode = 0o660";
                return bad(key.into(), format!("0o{mode:o}"), mend);
            }
        }
        if !(-1..i64::from(u32::MAX)).contains(&self.process.shm_gid) {
            return bad(
                "process.shm_gid".into(),
                self.process.shm_gid.to_string(),
                "write a group's number, or -1 for the process's own",
            );
        }
        if self.process.sample_ms > 1000 {
            let mend = "write a number of ms from 1 to 1000, or 0 for no looks";
            return bad("process.sample_ms".into(), self.process.sample_ms.to_string(), mend);
        }
        for (i, lane) in self.lanes.iter().enumerate() {
            if (1..1000).contains(&lane.tail_ns) {
                let problem = format!("{} ns: a stamp alone costs some tens", lane.tail_ns);
                let mend = "write 1000 or more, or 0 for the run's 99th percentile";
                return bad(format!("lane {:?} tail_ns", lane.name), problem, mend);
            }
            if self.lanes[..i].iter().any(|other| other.name == lane.name) {
                return bad(
                    format!("lanes[{i}].name"),
                    format!("{:?} is taken by an earlier lane", lane.name),
                    "give each lane a name of its own",
                );
            }
            if let Some((key, problem)) = trust::unprintable_name(lane) {
                return bad(key, problem, "write the name without it");
            }
            if !(1..=1024).contains(&lane.batch) {
                let key = format!("lane {:?} batch", lane.name);
                return bad(key, lane.batch.to_string(), "write a number of instruments from 1 to 1024");
            }
            for (value, key) in [(lane.max_orders, "max_orders"), (lane.max_levels, "max_levels")] {
                if !(1..=1 << 24).contains(&value) {
                    return bad(
                        format!("lane {:?} {key}", lane.name),
                        format!("{value} is not between 1 and 16777216"),
                        "see config/default.toml for the memory it costs",
                    );
                }
            }
        }
        Ok(())
    }
}

/// The `[[lanes]]` of an overlay, if it has any.
fn take_lanes(overlay: &Table, origin: &str, text: &str) -> Result<Option<Vec<Table>>> {
    let Some(value) = overlay.get("lanes") else { return Ok(None) };
    let lanes =
        value.as_array().filter(|a| !a.is_empty()).and_then(|a| a.iter().map(|v| v.as_table().cloned()).collect());
    match lanes {
        Some(lanes) => Ok(Some(lanes)),
        None => Err(Error::input(
            origin,
            format!("{}lanes: not a list of tables", line_of(text, "lanes")),
            "write [[lanes]] once per lane",
        )),
    }
}

/// Lays `over` on `under`: tables key by key, everything else whole. Keys that `under` lacks are refused by name.
fn merge(under: &mut Table, over: Table, path: &str, origin: &str, text: &str) -> Result<()> {
    for (key, value) in over {
        let full = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (under.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value, &full, origin, text)?,
            (Some(slot), value) => *slot = value,
            (None, _) if full == "lanes" => {}
            (None, value) => {
                let known: Vec<_> = under.keys().cloned().collect();
                let problem = format!("{}unknown key `{full}` = {}", line_of(text, &key), value.to_string().trim_end());
                return Err(Error::input(origin, problem, format!("use one of: {}", known.join(", "))));
            }
        }
    }
    Ok(())
}

/// Reads one section into its type; a wrong value is named with its key and line.
fn section<T: serde::de::DeserializeOwned>(value: &Value, name: &str, origin: &str, text: &str) -> Result<T> {
    value.clone().try_into().map_err(|e: toml::de::Error| {
        let whole = e.to_string();
        let key = whole.rsplit_once("in `").map(|(_, k)| k.trim_end().trim_end_matches('`').to_owned());
        let last = key.as_deref().and_then(|k| k.rsplit('.').next()).unwrap_or(name).to_owned();
        let place = key.map_or(name.to_owned(), |k| format!("{name}.{k}"));
        let problem = format!("{}{place}: {}", line_of(text, &last), e.message());
        Error::input(origin, problem, "config/default.toml lists every key with its unit and range")
    })
}

/// "line N: " of the first line that sets `key`, or nothing.
fn line_of(text: &str, key: &str) -> String {
    let sets = |line: &str| {
        let line = line.trim_start().trim_start_matches('[');
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', '.', ']']))
    };
    text.lines().position(sets).map_or(String::new(), |i| format!("line {}: ", i + 1))
}
