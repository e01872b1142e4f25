//! `manifest.toml`: what a model was made from, what it takes, and what its numbers mean.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;

use pillion_shm::text::{Shown, unprintable};
use pillion_shm::trust::Trust;
use serde::{Deserialize, Serialize};

use super::{MAX_OUTPUTS, MOST_OF_MANIFEST, REEXPORT, read_file};
use crate::cold::config::TickSize;
use crate::engine::adapt::{Fitting, ROW};
use crate::engine::admission::{Rules, Tolerance};
use crate::engine::{Shape, Weights};
use crate::error::{Error, Result};
use crate::hot::Trigger;
use crate::hot::decode::{Instrument, Instruments};

/// The only layout of `manifest.toml` there is so far.
const SCHEMA: u32 = 1;

/// Most rows of a window.
const MOST_ROWS: usize = 4096;
/// Most rows of a warm-up, and most events that a model may look ahead: beyond either no signal of a day would count.
const MOST_WARMUP: usize = 1 << 20;
const MOST_HORIZON: u32 = 100_000_000;
/// Most features, states and published outputs, and most bytes of a name in the graph or of a word about training.
const MOST_NAMES: usize = 1 << 16;
const MOST_NAME_BYTES: usize = 1023;
const MOST_WORDS_BYTES: usize = 4095;

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
    #[serde(default = "one")]
    pub size_unit: f64,
}

fn one() -> f64 {
    1.0
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
            let mut own =
                self.instruments.iter().filter(|own| own.symbol.eq_ignore_ascii_case(&instrument.symbol)).peekable();
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

    fn check(&self) -> std::result::Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema = {}, this build reads {SCHEMA}", self.schema));
        }
        let count = self.outputs.len();
        if count == 0 || count > MAX_OUTPUTS {
            return Err(format!("outputs has {count} names; a signal carries 1 to {MAX_OUTPUTS} values"));
        }
        if self.name.is_empty() || self.features.is_empty() {
            return Err("name and features must not be empty".into());
        }
        self.check_lengths()?;
        self.check_names()?;
        self.check_numbers()?;
        self.check_takes()?;
        check_unique("output", &self.output.list())?;
        check_unique("features", &self.features)?;
        check_unique("outputs", &self.outputs)?;
        if let Some(bad) = self.instruments.iter().find(|i| !(i.size_unit.is_finite() && i.size_unit > 0.0)) {
            return Err(format!(
                "instruments: size_unit {} of {}; a positive number is meant",
                bad.size_unit, bad.symbol
            ));
        }
        if !self.scores.is_empty() && !self.scores.contains_key("model") {
            return Err("[scores.model] is missing, and there are [scores]".into());
        }
        if self.decides == Some(Decides::Argmax) && !self.may_decide() {
            return Err("decides = \"argmax\" needs one output with two values or more".into());
        }
        Ok(())
    }
}

impl Manifest {
    /// What the signal region's table of models has room for.
    fn check_lengths(&self) -> std::result::Result<(), String> {
        fits("name", &self.name, 63)?;
        fits("meaning", &self.meaning, 255)?;
        self.outputs.iter().try_for_each(|name| fits("outputs", name, 31))
    }

    /// Names of the graph and words about training, which are printed and kept.
    fn check_names(&self) -> std::result::Result<(), String> {
        let (outputs, states) = (self.output.list(), self.states.iter().flat_map(|(input, next)| [input, next]));
        for (key, count) in
            [("features", self.features.len()), ("output", outputs.len()), ("states", self.states.len())]
        {
            if count > MOST_NAMES {
                return Err(format!("{key} has {count} names; up to {MOST_NAMES} are taken"));
            }
        }
        self.input.list().iter().try_for_each(|name| fits("input", name, MOST_NAME_BYTES))?;
        fits("feature_set", &self.feature_set, MOST_NAME_BYTES)?;
        self.features.iter().try_for_each(|name| fits("features", name, MOST_NAME_BYTES))?;
        outputs.iter().try_for_each(|name| fits("output", name, MOST_NAME_BYTES))?;
        states.into_iter().try_for_each(|name| fits("states", name, MOST_NAME_BYTES))?;
        self.scores.keys().try_for_each(|name| fits("scores", name, MOST_NAME_BYTES))?;
        let Some(training) = &self.training else { return Ok(()) };
        let words = [&training.data, &training.split, &training.estimator];
        words.into_iter().chain(&training.libraries).try_for_each(|text| fits("training", text, MOST_WORDS_BYTES))
    }

    /// Numbers that would make a model of no use, or are none.
    fn check_numbers(&self) -> std::result::Result<(), String> {
        if self.revision == 0 {
            return Err("revision = 0; the first is 1".into());
        }
        if self.horizon_events > MOST_HORIZON {
            return Err(format!("horizon_events = {}; up to {MOST_HORIZON} are taken", self.horizon_events));
        }
        if let Some(rows) = self.warmup.filter(|&rows| rows > MOST_WARMUP) {
            return Err(format!("warmup = {rows}; up to {MOST_WARMUP} rows are taken"));
        }
        for (of, Scores { macro_f1, accuracy, log_loss }) in &self.scores {
            let shares = [("macro_f1", *macro_f1), ("accuracy", *accuracy)];
            if let Some((key, x)) = shares.into_iter().find(|(_, x)| !(0.0..=1.0).contains(x)) {
                return Err(format!("scores.{of}: {key} = {x}; it is from 0 to 1"));
            }
            if !log_loss.is_finite() || *log_loss < 0.0 {
                return Err(format!("scores.{of}: log_loss = {log_loss}; it is 0 or more, and finite"));
            }
        }
        Ok(())
    }

    /// The keys that go with `takes`, and no others.
    fn check_takes(&self) -> std::result::Result<(), String> {
        let (window, states) = (self.takes == Takes::Window, self.takes == Takes::State);
        match self.window {
            None if window => return Err("takes = \"window\" needs window, its number of rows".into()),
            Some(_) if !window => return Err("window goes with takes = \"window\" only".into()),
            Some(rows) if !(2..=MOST_ROWS).contains(&rows) => {
                return Err(format!("window = {rows}; 2 to {MOST_ROWS} rows are taken"));
            }
            _ => {}
        }
        if states == self.states.is_empty() {
            return Err("takes = \"state\" and [states], input = output, go together".into());
        }
        let next: Vec<String> = self.states.values().cloned().collect();
        check_unique("states", &next)?;
        if self.input.list().iter().any(|input| self.states.contains_key(input)) {
            return Err(format!("states names `{}`, which is the input of the rows", self.input.list().join(", ")));
        }
        if self.layout == Layout::ChannelsFirst && !window {
            return Err("layout = \"channels-first\" goes with takes = \"window\" only".into());
        }
        if let Names::Several(columns) = &self.input {
            check_unique("input", columns)?;
            if columns.len() != self.features.len() || self.takes != Takes::Vector {
                let (inputs, features) = (columns.len(), self.features.len());
                return Err(format!(
                    "input names {inputs} inputs: a list needs one for each of the {features} features, and takes = \"vector\""
                ));
            }
        }
        if self.precompute && self.takes == Takes::Vector {
            return Err(
                "precompute = true needs takes = \"window\" or \"state\": a vector leaves nothing to know before"
                    .into(),
            );
        }
        let Tolerance { absolute, relative } = self.tolerance;
        if !(0.0..=1.0).contains(&absolute) || !(0.0..=1.0).contains(&relative) {
            return Err(format!("tolerance {absolute} absolute, {relative} relative; each is from 0 to 1"));
        }
        Ok(())
    }
}

/// Refuses a text that is too long or that could not be shown as it is.
fn fits(key: &str, text: &str, most: usize) -> std::result::Result<(), String> {
    if let Some(c) = unprintable(text) {
        return Err(format!(
            "{key}: \"{}\" has the character {c:?}, which steers a terminal or cannot be seen",
            Shown(text)
        ));
    }
    match text.len() <= most {
        true => Ok(()),
        false => Err(format!("{key}: \"{}\" has {} bytes; up to {most} fit", Shown(text), text.len())),
    }
}

fn check_unique(key: &str, names: &[String]) -> std::result::Result<(), String> {
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(twice) => Err(format!("{key} names `{}` twice", Shown(twice))),
    }
}

/// A 256-bit hash, in files as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hash(pub [u8; 32]);

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let bad = || format!("`{}` is not 64 hexadecimal digits", Shown(&text));
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(bad());
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
