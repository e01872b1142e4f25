//! What speaks for a new model directory: on which events its rows are, what the graph answers to rows of the market, and
//! how near that is to the estimator's own answers.

use std::path::Path;

use super::check::made_rows;
use super::expect::{self, Asked, Found};
use super::manifest::{Expected, Manifest};
use super::new::Plan;
use super::rows_in::Rows;
use crate::engine::makeup::Makeup;
use crate::engine::{Engine, Runtime, RuntimeConfig, Shape, adapt, inspect};
use crate::error::{Error, Result};
use crate::hot::Trigger;
use crate::hot::features::FeatureSet;
use crate::report::table::thousands;

/// The key of a graph's metadata under which pillion_export keeps the names of its columns, a JSON list.
const COLUMNS: &str = "pillion.features";

/// All of it.
pub(super) struct Evidence {
    /// Which events have the rows, where somebody or the file of rows says so.
    pub(super) trigger: Option<Trigger>,
    /// A window or a state steps on those events alone.
    steps: bool,
    /// `[[instruments]]` of the manifest, where the file of rows says what features count in.
    pub(super) instruments: Option<toml::Value>,
    found: Option<Found>,
}

impl Evidence {
    /// Asks the graph on the plan's rows, if it names some.
    ///
    /// # Errors
    /// Those of [`expect::ask`]; a trigger other than the one that the rows are of.
    pub(super) fn of(
        plan: &Plan,
        set: &FeatureSet,
        shape: &Shape,
        names: &[String],
        onnx: &[u8],
        engine: &mut dyn Engine,
    ) -> Result<Self> {
        let steps = steps(shape);
        let Some(path) = &plan.rows else {
            return Ok(Self { trigger: plan.trigger, steps, instruments: None, found: None });
        };
        let rows = Rows::open(path, set.name(), set.names(), &set.hash())?;
        if let (Some(told), Some(found)) = (plan.trigger, rows.trigger())
            && told != found
        {
            let problem = format!("holds rows of trigger \"{found}\", and --trigger says \"{told}\"");
            let mend = format!("leave --trigger out, or make the rows with `pillion features --trigger {told}`");
            return Err(Error::input(path.display(), problem, mend));
        }
        let decides = shape.outputs.len() == 1 && shape.values > 1;
        let (tolerance, expect) = (plan.tolerance, plan.expect.as_deref());
        let (makeup, own) = (Makeup::of(onnx), own(onnx));
        let asked = Asked { rows: &rows, expect, shape, names, tolerance, decides, makeup, own };
        let found = expect::ask(&asked, engine)?;
        let instruments = rows.instruments().cloned();
        Ok(Self { trigger: plan.trigger.or(rows.trigger()), steps, instruments, found: Some(found) })
    }

    /// Rows for golden.json.
    pub(super) fn golden(&self, shape: &Shape) -> Vec<Vec<f32>> {
        self.found.as_ref().map_or_else(|| made_rows(shape), |found| found.golden.clone())
    }

    /// For the manifest.
    pub(super) fn expected(&self) -> Option<Expected> {
        Some(self.found.as_ref()?.compared.as_ref()?.expected())
    }

    /// What a person should know, a fact a line.
    pub(super) fn said(&self) -> Vec<(&'static str, String)> {
        let trigger = match (self.trigger, self.steps) {
            (Some(trigger), true) => format!("rows of \"{trigger}\"; a lane with another is refused"),
            (Some(trigger), false) => format!("rows of \"{trigger}\""),
            (None, true) => "not said (--trigger); a lane whose trigger is not \"event-end\" is refused".into(),
            (None, false) => "not said (--trigger)".into(),
        };
        let mut said = vec![("trigger", trigger)];
        match &self.found {
            Some(found) => said.extend(text(found)),
            None => said.push(("expected", UNCOMPARED.into())),
        }
        said
    }
}

/// A model directory's graph, asked on rows of the market.
///
/// # Errors
/// Those of [`expect::ask`]; rows of another set, or of another trigger than the manifest's.
pub(super) fn of_manifest(
    manifest: &Manifest,
    onnx: &[u8],
    path: &Path,
    expect: Option<&Path>,
    engine: &mut dyn Engine,
) -> Result<Found> {
    let rows = Rows::open(path, &manifest.feature_set, &manifest.features, &manifest.features_hash.0)?;
    let (shape, rules) = (manifest.shape(), manifest.rules(1));
    if let (true, Some(own), Some(found)) = (steps(&shape), manifest.trigger, rows.trigger())
        && own != found
    {
        let problem = format!("holds rows of trigger \"{found}\"; the model's rows are of \"{own}\"");
        return Err(Error::input(
            path.display(),
            problem,
            format!("make the rows with `pillion features --trigger {own}`"),
        ));
    }
    let (names, tolerance, decides) = (&manifest.outputs[..], manifest.tolerance, rules.decides);
    let (makeup, own) = (Makeup::of(onnx), own(onnx));
    expect::ask(&Asked { rows: &rows, expect, shape: &shape, names, tolerance, decides, makeup, own }, engine)
}

/// Whether it looks back on rows before its own.
fn steps(shape: &Shape) -> bool {
    shape.rows > 1 || !shape.states.is_empty()
}

const UNCOMPARED: &str = "golden answers are ONNX Runtime's own to rows that were made up: nothing was compared with the estimator \
                          (--rows FILE --expect FILE do that)";

/// What was found, a fact a line.
pub(super) fn text(found: &Found) -> Vec<(&'static str, String)> {
    let n = thousands;
    let mut rows = format!("{} of {} were asked", n(found.rows), found.rows_of);
    if found.unfilled > 0 {
        rows += &format!("; {} are left out: what the model looks back on was not whole yet", n(found.unfilled));
    }
    if found.not_finite > 0 {
        rows +=
            &format!("; {} are answered with a NaN or an infinity, and would be invalid signals", n(found.not_finite));
    }
    let expected = match &found.compared {
        Some(compared) => compared.text(),
        None => {
            "golden answers are ONNX Runtime's own: nothing was compared with the estimator (--expect FILE does that)"
                .into()
        }
    };
    vec![("rows", rows), ("expected", expected)]
}

/// True when pillion_export made the graph, or mended another exporter's.
fn own(onnx: &[u8]) -> bool {
    adapt::origin(onnx).producer == "pillion"
}

/// Refuses a graph that names its columns, where they are not the set's.
///
/// # Errors
/// The first column that differs.
pub(super) fn columns_fit(path: &Path, onnx: &[u8], set: &FeatureSet, config: &RuntimeConfig) -> Result<()> {
    let Ok(runtime) = Runtime::open(config) else { return Ok(()) };
    let Ok(Some(text)) = inspect::fact(runtime, onnx, COLUMNS) else { return Ok(()) };
    let bad = |problem: String| {
        let mend = format!(
            "train on the columns of `pillion features --set {}`, in their order, and export again",
            set.name()
        );
        Err(Error::input(path.display(), problem, mend))
    };
    let Ok(columns) = serde_json::from_str::<Vec<String>>(&text) else {
        return bad(format!("its metadata says {COLUMNS} = {text:.80?}, which is no JSON list of names"));
    };
    let name = |list: &[String], at: usize| list.get(at).map_or("nothing".into(), |name| format!("`{name}`"));
    match (0..columns.len().max(set.len())).find(|&at| columns.get(at) != set.names().get(at)) {
        None => Ok(()),
        Some(at) => bad(format!(
            "was exported with other columns: number {at} is {} there and {} in the set `{}`",
            name(&columns, at),
            name(set.names(), at),
            set.name()
        )),
    }
}
