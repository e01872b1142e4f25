//! An exported file as it comes: recognised, asked for its shape, and fitted to what engines take.

use std::path::Path;

use super::check::{made_rows, read_onnx};
use super::columns::{self, Named};
use super::guess::{self, Told, Unclear};
use super::{Hash, exporters, refused, sha256};
use crate::engine::adapt::{self, Fitting, Origin, ROW};
use crate::engine::inspect::{self, Port};
use crate::engine::{Engine, EngineError, OrtCpu, Runtime, RuntimeConfig, Shape};
use crate::error::{Error, Result};

/// A file that ONNX Runtime takes, and what was made of it.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    /// The file's bytes.
    pub file: Vec<u8>,
    /// The graph that engines get.
    pub onnx: Vec<u8>,
    /// SHA-256 of the file.
    pub sha256: Hash,
    /// Inputs and outputs of the graph that engines get.
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub shape: Shape,
    /// Number of values of each published output.
    pub counts: Vec<usize>,
    /// The file's statement about its columns.
    pub named: Named,
    /// What was done to the file's ends.
    pub fitting: Fitting,
    /// Names of the classes behind each output that was a ZipMap.
    pub labels: Vec<(String, Vec<String>)>,
    pub origin: Origin,
}

impl Taken {
    /// Reads and fits it. `set`: names of the features that it was trained on, where they are known.
    ///
    /// # Errors
    /// No ONNX model; one that ONNX Runtime does not take; a shape that is unclear; columns that are not the set's.
    pub fn read(path: &Path, told: &Told, set: Option<&[String]>, config: &RuntimeConfig) -> Result<Self> {
        let file = read_onnx(path)?;
        let origin = adapt::origin(&file);
        let plain = adapt::plain(&file);
        let labels = plain.labels;
        let (inputs, outputs) = ports(path, &plain.onnx, config)?;
        let unclear = |Unclear { problem, mend }| Error::input(path.display(), problem, mend);
        let mut named = Named::Inputs;
        let mut fitting =
            Fitting { features: told.features, channels_first: told.channels_first, ..Fitting::default() };
        if let Some(inputs) = columns::columns(&inputs, told).map_err(unclear)? {
            fitting.columns = match set {
                Some(set) => columns::arranged(&inputs, set).map_err(unclear)?,
                None => inputs,
            };
            fitting.features = Some(fitting.columns.len());
            fitting.input = ROW.into();
        } else {
            fitting.input = guess::row_input(&inputs, &outputs, told).map_err(unclear)?.to_owned();
            named = columns::order(origin.columns.as_deref(), set).map_err(unclear)?;
        }
        let fit = |bytes: &[u8], fitting: &Fitting| {
            let fitted = adapt::fit(bytes, fitting).map(|fitted| fitted.into_owned());
            fitted.map_err(|problem| Error::input(path.display(), problem, exporters::again(&origin.producer)))
        };
        let mut onnx = fit(&plain.onnx, &fitting)?;
        let (mut inputs, mut outputs) = ports(path, &onnx, config)?;
        let told = Told { channels_first: false, ..told.clone() };
        let mut shape = guess::shape(&inputs, &outputs, &told).map_err(unclear)?;
        let casts = outputs.iter().any(|port| shape.outputs.contains(&port.name) && !port.is_float());
        fitting.outputs = shape.outputs.clone();
        if casts {
            onnx = fit(&plain.onnx, &fitting)?;
            (inputs, outputs) = ports(path, &onnx, config)?;
        }
        let runtime = Runtime::open(config).map_err(|error| refused(path, error.into()))?;
        let dims = inspect::dims_of_a_run(runtime, &onnx, &guess::dims(&inputs, &shape));
        let dims = dims.map_err(|error| taken_by_none(path, &origin, &error))?;
        let values = |name: &String| dims.get(name).map_or(0, |dims| dims.iter().product::<usize>());
        let counts: Vec<usize> = shape.outputs.iter().map(values).collect();
        shape.values = counts.iter().sum();
        let sha256 = sha256(&file);
        Ok(Self { sha256, onnx, inputs, outputs, shape, counts, named, fitting, labels, origin, file })
    }

    /// The engine that all others are held against.
    ///
    /// # Errors
    /// It does not take the file, or answers the same row now so and now otherwise.
    pub fn reference(&self, path: &Path, config: &RuntimeConfig) -> Result<OrtCpu> {
        let runtime = Runtime::open(config).map_err(|error| refused(path, error.into()))?;
        let failed = |error| taken_by_none(path, &self.origin, &error);
        let mut engine = OrtCpu::new(runtime, &self.onnx, &self.shape).map_err(failed)?;
        let rows = made_rows(&self.shape);
        let mut answers = || -> std::result::Result<Vec<u32>, EngineError> {
            let mut answer = vec![0.0; self.shape.values];
            engine.reset(0);
            rows[0].chunks(self.shape.features).try_for_each(|row| engine.take(0, row))?;
            engine.infer(&[0], &mut answer)?;
            Ok(answer.into_iter().map(f32::to_bits).collect())
        };
        let (first, second) = (answers().map_err(failed)?, answers().map_err(failed)?);
        engine.reset(0);
        if first != second {
            let mend = "export the model as it answers, not as it trains: after model.eval(), without Random… nodes and dropout";
            return Err(Error::input(path.display(), "it answers the same row differently from run to run", mend));
        }
        Ok(engine)
    }

    /// What was made of the file, a fact each: what it takes, and what it gives.
    pub fn said(&self, names: &[String]) -> [(&'static str, String); 2] {
        let Shape { rows, features, .. } = self.shape;
        let carried = if self.shape.states.is_empty() {
            String::new()
        } else {
            format!(
                ", and carries {} of {}",
                if self.shape.states.len() == 1 { "a state" } else { "states" },
                self.shape.states.iter().map(|(input, _)| format!("`{input}`")).collect::<Vec<_>>().join(", ")
            )
        };
        let takes = match rows {
            1 => format!("the latest row of {features} features{carried}"),
            _ if self.fitting.channels_first => {
                format!(
                    "the latest {rows} rows of {features} features; in the file the channels, which are the features, come first{carried}"
                )
            }
            _ => format!("the latest {rows} rows of {features} features, rows first, oldest row first{carried}"),
        };
        let order = match self.named {
            Named::Inputs => "its inputs are the features, by name",
            Named::Same => "the file names its columns, in the set's order",
            Named::Others => {
                "the file names other columns than the set: that they mean its features, in its order, is not known"
            }
            Named::Not => "the file does not name its columns: that they stand in the set's order is not known",
        };
        let gives =
            format!("{} of {}: {}", count(names.len(), "value"), self.shape.outputs.join(", "), names.join(", "));
        [("takes", format!("{takes}; {order}")), ("gives", gives)]
    }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Inputs and outputs as ONNX Runtime sees them.
pub(super) fn ports(path: &Path, onnx: &[u8], config: &RuntimeConfig) -> Result<(Vec<Port>, Vec<Port>)> {
    let runtime = Runtime::open(config).map_err(|error| refused(path, error.into()))?;
    inspect::ports(runtime, onnx).map_err(|error| taken_by_none(path, &adapt::origin(onnx), &error))
}

/// No other engine serves what the reference does not take.
pub(super) fn taken_by_none(path: &Path, origin: &Origin, error: &EngineError) -> Error {
    Error::input(path.display(), format!("no engine takes it: {error}"), exporters::mend(error, &origin.producer))
}
