//! What a manifest may say: names that can be printed and fit, numbers in range, keys that go together.

use std::collections::HashSet;

use pillion_shm::text::{Shown, unprintable};

use super::{Decides, Layout, Manifest, Names, Scores, Takes};
use crate::engine::admission::Tolerance;
use crate::models::MAX_OUTPUTS;

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

impl Manifest {
    pub(super) fn check(&self) -> std::result::Result<(), String> {
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
