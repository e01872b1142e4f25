//! `manifest.toml`: what a model was made from, what it takes, and what its numbers mean.

use std::collections::BTreeMap;
use std::path::Path;

use pillion_shm::trust::Trust;
use serde::{Deserialize, Serialize};

use super::{MOST_OF_MANIFEST, REEXPORT, read_file};
use crate::config::TickSize;
use crate::engine::adapt::{Fitting, ROW};
use crate::engine::admission::{Rules, Tolerance};
use crate::engine::{Shape, Weights};
use crate::error::{Error, Result};
use crate::hot::Trigger;
use crate::hot::decode::{Instrument, Instruments};

mod check;
mod hash;

pub use hash::Hash;

/// A model's manifest. Unknown keys are refused.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout of this file: 1.
    pub schema: u32,
    /// Name that signals, reports and people call the model by.
    pub name: String,
    /// Counts retrainings of the same name, from 1.
    pub revision: u32,
    /// SHA-256 of `model.onnx`.
    pub onnx_sha256: Hash,
    /// SHA-256 of `golden.json`.
    pub golden_sha256: Hash,
    /// Name of the feature set it was trained on.
    pub feature_set: String,
    /// BLAKE3 of the canonical form of that set.
    pub features_hash: Hash,
    /// Names of its features, in input order.
    pub features: Vec<String>,
    /// Whether a feature may be missing.
    pub missing: Missing,
    /// Name of the graph's input: float32 `[features]` or `[batch, features]`, with a window `[rows, features]` or
    /// `[batch, rows, features]`; raw features. Or a name for each feature, in their order: inputs of `[batch, 1]`.
    pub input: Names,
    /// What a run takes there.
    #[serde(default)]
    pub takes: Takes,
    /// Rows of the window, from 2; only with `takes = "window"`.
    pub window: Option<usize>,
    /// How the graph wants a window.
    #[serde(default)]
    pub layout: Layout,
    /// Only with `takes = "state"`: further inputs, each with the output that is its next value; 0 at first and after a gap.
    #[serde(default)]
    pub states: BTreeMap<String, String>,
    /// Which events have the rows it was trained on, in the words of a lane's `trigger`; none where nobody has said so.
    pub trigger: Option<Trigger>,
    /// Rows from a reset on whose signals are flagged as warming; a window's length when left out.
    pub warmup: Option<usize>,
    /// Name of the graph's output that is published, or of several; others are dropped.
    pub output: Names,
    /// Names of its values, in order.
    pub outputs: Vec<String>,
    /// What the values are, in a sentence.
    pub meaning: String,
    /// How far an engine's answers may be from ONNX Runtime's.
    #[serde(default)]
    pub tolerance: Tolerance,
    /// How the native engine may store weights: more than `"f32"` needs a tolerance that allows for it.
    #[serde(default)]
    pub weights: Weights,
    /// The native engine computes between ticks what hangs only on earlier rows.
    #[serde(default)]
    pub precompute: bool,
    /// How far ahead it looks, in book events.
    pub horizon_events: u32,
    /// Whether the largest value is a decision; `"argmax"` when left out and one output has several values, else `"none"`.
    pub decides: Option<Decides>,
    /// How the graph was held against the estimator's own answers, where that was done.
    pub expected: Option<Expected>,
    /// The instruments it was trained on with their units, where someone has said so.
    #[serde(default)]
    pub instruments: Vec<Trained>,
    /// How it was trained, where someone has said so.
    pub training: Option<Training>,
    /// Out-of-sample scores: `model` and its baselines; none where nobody has said so.
    #[serde(default)]
    pub scores: BTreeMap<String, Scores>,
}

/// What a run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Takes {
    /// The latest row.
    #[default]
    Vector,
    /// The latest rows, oldest first.
    Window,
    /// The latest row, and what the run before it left.
    State,
}

/// Which dimension of a window comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// `[rows, features]`.
    #[default]
    RowsFirst,
    /// `[features, rows]`, as convolutions have it; the engine turns the window.
    ChannelsFirst,
}

/// One name or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// One.
    One(String),
    /// In the order they are published.
    Several(Vec<String>),
}

impl Names {
    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name.clone()],
            Self::Several(names) => names.clone(),
        }
    }
}

/// What the values say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decides {
    /// The class with the largest one.
    Argmax,
    /// Nothing: each stands for itself.
    None,
}

/// What a value that is not there looks like to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Every feature is always finite; the model is never run on anything else.
    Never,
    /// The model was trained to take NaN for a missing value.
    Nan,
}

/// An instrument that a model was trained on: its features counted in these units.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trained {
    /// The venue's symbol.
    pub symbol: String,
    /// Smallest price step.
    pub tick_size: TickSize,
    /// Units that a size of 1 stood for; 1 when left out.
    #[serde(default = "crate::data::instrument::one")]
    pub size_unit: f64,
}

impl Trained {
    fn counts_as(&self, instrument: &Instrument) -> bool {
        self.tick_size.0 == instrument.tick_size && self.size_unit == instrument.size_unit
    }
}

/// Where the weights come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Market data, by name and day.
    pub data: String,
    /// How the day was split.
    pub split: String,
    /// Rows (warm events with a label) in the train, validation and test parts.
    pub rows: [u64; 3],
    /// Seed of everything random.
    pub seed: u64,
    /// The estimator and the settings that the validation part chose.
    pub estimator: String,
    /// Libraries, with versions.
    pub libraries: Vec<String>,
}

/// Scores on the held-back part.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Mean F1 over the classes, 0 to 1.
    pub macro_f1: f64,
    /// Share of rows whose class was named, 0 to 1.
    pub accuracy: f64,
    /// Mean negative log-likelihood of the true class, nats.
    pub log_loss: f64,
}

/// How the graph's answers differ from those of the estimator that it was exported from.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Rows on which both were asked.
    pub rows: u64,
    /// Of these, rows with a value beyond the tolerance that whoever compared had set.
    pub differ: u64,
    /// Largest absolute difference of a value.
    pub largest: f64,
    /// Rows on which the largest value is another one; 0 of a model that does not decide.
    pub decisions: u64,
}

impl Manifest {
    pub(super) fn read(path: &Path, trust: &Trust) -> Result<Self> {
        let bytes = read_file(path, trust, MOST_OF_MANIFEST)?;
        let text = str::from_utf8(&bytes).map_err(|error| Error::input(path.display(), error, REEXPORT))?;
        let manifest: Self = toml::from_str(text).map_err(|error| {
            Error::input(
                path.display(),
                error.to_string().trim_end(),
                "see models/README.md for the keys of a manifest",
            )
        })?;
        manifest.check().map_err(|problem| Error::input(path.display(), problem, REEXPORT))?;
        Ok(manifest)
    }

    /// The shape that `model.onnx` must have.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let rows = self.window.unwrap_or(1);
        Shape {
            input: self.entry().to_owned(),
            features: self.features.len(),
            rows,
            outputs: self.output.list(),
            values: self.outputs.len(),
            states: self.states.iter().map(|(input, next)| (input.clone(), next.clone())).collect(),
            warmup: self.warmup.unwrap_or(rows),
        }
    }

    /// The input that takes the rows, once the graph is fitted.
    fn entry(&self) -> &str {
        match &self.input {
            Names::One(name) => name,
            Names::Several(_) => ROW,
        }
    }

    /// What `model.onnx` is fitted to.
    #[must_use]
    pub fn fitting(&self) -> Fitting {
        Fitting {
            input: self.entry().to_owned(),
            features: Some(self.features.len()),
            columns: if let Names::Several(columns) = &self.input { columns.clone() } else { Vec::new() },
            channels_first: self.layout == Layout::ChannelsFirst,
            outputs: self.output.list(),
        }
    }

    /// What another engine's answers are judged by.
    #[must_use]
    pub fn rules(&self, batch: usize) -> Rules {
        let by_default = if self.may_decide() { Decides::Argmax } else { Decides::None };
        Rules {
            tolerance: self.tolerance,
            decides: self.decides.unwrap_or(by_default) == Decides::Argmax,
            missing: self.missing == Missing::Nan,
            batch,
        }
    }

    fn may_decide(&self) -> bool {
        self.output.list().len() == 1 && self.outputs.len() > 1
    }

    /// Refuses a lane whose features are not, one by one and in every parameter, those the model was trained on.
    ///
    /// # Errors
    /// Another hash: the first name that differs, or the same names with other parameters.
    pub fn fits(&self, set: &str, names: &[String], hash: &[u8; 32]) -> Result<()> {
        if self.features_hash.0 == *hash && self.features == names {
            return Ok(());
        }
        let thing = format!("model `{}`", self.name);
        let problem = format!(
            "was trained on feature set `{}` {}, the lane computes `{set}` {}: {}",
            self.feature_set,
            self.features_hash,
            Hash(*hash),
            self.first_difference(names)
        );
        Err(Error::input(thing, problem, "set the lane's features to the model's, or train the model on the lane's"))
    }

    /// Refuses a lane that counts in other units than the model was trained in: the same symbol with another tick size or size
    /// unit. An instrument that the model does not list may be one it is carried over to, or a listed one under another
    /// name: what is returned says so, and how the units compare.
    ///
    /// # Errors
    /// A symbol of the model's with other units, both values named.
    pub fn fits_units(&self, lane: &str, instruments: &Instruments) -> Result<Vec<String>> {
        let mut others: Vec<(bool, &Instrument)> = Vec::new();
        for instrument in instruments.iter().filter(|_| !self.instruments.is_empty()) {
            let mut own = self
                .instruments
                .iter()
                .filter(|own| own.symbol.eq_ignore_ascii_case(base(&instrument.symbol)))
                .peekable();
            match own.peek().copied() {
                None => others.push((self.instruments.iter().any(|any| any.counts_as(instrument)), instrument)),
                // Trained on days of several tick sizes, it may run in any of them.
                Some(first) if !own.any(|own| own.counts_as(instrument)) => {
                    return Err(self.other_units(lane, first, instrument));
                }
                Some(_) => {}
            }
        }
        Ok([true, false].iter().filter_map(|&equal| self.said_of(&others, equal)).collect())
    }

    fn other_units(&self, lane: &str, own: &Trained, instrument: &Instrument) -> Error {
        let problem = format!(
            "was trained on {} with tick size {} and size unit {}, lane {lane:?} counts {} with tick size {} and size unit {}",
            own.symbol,
            own.tick_size.text(),
            own.size_unit,
            instrument.symbol,
            TickSize(instrument.tick_size).text(),
            instrument.size_unit
        );
        let mend = "give the lane's instrument the model's units, or train the model on rows in the lane's";
        Error::input(format!("model `{}`", self.name), problem, mend)
    }

    /// A line about instruments that the model does not list, of equal or of other units than those it does.
    fn said_of(&self, others: &[(bool, &Instrument)], equal: bool) -> Option<String> {
        const LISTED: usize = 6;
        let all: Vec<_> = others.iter().filter(|(same, _)| *same == equal).map(|(_, instrument)| *instrument).collect();
        let unit = |tick: TickSize, size: f64| format!("{} x {size}", tick.text());
        let first = all.first()?;
        let mut names: Vec<_> = all.iter().take(LISTED).map(|instrument| instrument.symbol.as_str()).collect();
        if all.len() > LISTED {
            names.push("...");
        }
        let names = names.join(", ");
        let own: Vec<_> = self.instruments.iter().take(LISTED).map(|own| own.symbol.as_str()).collect();
        let (model, own) = (&self.name, own.join(", "));
        Some(match equal {
            true => format!("{model} was trained on {own}, not on {names}: the units are equal"),
            false => format!(
                "WARNING: {model} was trained on {own} (tick size x size unit {}), not on {names} ({}): features in ticks and \
                 sizes mean other amounts; if it is the same instrument under another name, its units are wrong",
                unit(self.instruments[0].tick_size, self.instruments[0].size_unit),
                unit(TickSize(first.tick_size), first.size_unit),
            ),
        })
    }

    fn first_difference(&self, names: &[String]) -> String {
        match (0..self.features.len().max(names.len())).find(|&i| self.features.get(i) != names.get(i)) {
            None => "the names are the same, a parameter or definition is not".into(),
            Some(at) => {
                let name = |list: &[String]| list.get(at).map_or("nothing".into(), |name| format!("`{name}`"));
                format!("feature {at} is {} in the model and {} in the lane", name(&self.features), name(names))
            }
        }
    }
}

/// A lane's symbol without the publisher that a replay puts behind it where several share a number, as in `GOOG@41`.
fn base(symbol: &str) -> &str {
    let numbered = |(_, publisher): &(&str, &str)| publisher.parse::<u16>().is_ok();
    symbol.rsplit_once('@').filter(numbered).map_or(symbol, |(symbol, _)| symbol)
}
