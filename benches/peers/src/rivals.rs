//! Other engines in Rust behind one small interface: a model file loaded, a window in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rten::{Dimension, RunOptions, ThreadPool, Value};
use rten_tensor::{AsView, Tensor as RtenTensor};
use tract_onnx::prelude::*;

/// Why an engine does not take a file, in its own words.
pub type Refusal = Box<dyn std::error::Error>;

/// Runs a model on a window of `rows` × `inputs` values, its states 0, and gives its first value.
pub type Run = Box<dyn FnMut(&[f32]) -> Result<f32, Refusal>>;

/// A model as the index of `target/bench-models` has it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Entry {
    /// File, without its ending.
    pub name: String,
    /// Values of a row.
    pub inputs: usize,
    /// Rows of the window.
    pub rows: usize,
    /// Further inputs, each with the output that is its next value.
    #[serde(default)]
    pub states: BTreeMap<String, String>,
}

impl Entry {
    /// The dimensions of `x` as models/zoo.py writes them: a window in a batch of one, or a row.
    fn dims(&self) -> Vec<usize> {
        if self.rows > 1 { vec![1, self.rows, self.inputs] } else { vec![1, self.inputs] }
    }
}

/// tract, optimised for fixed dimensions; it runs on the calling thread.
///
/// # Errors
/// What tract says of the file.
pub fn tract(path: &Path, entry: &Entry) -> Result<Run, Refusal> {
    let dims = entry.dims();
    let mut model = tract_onnx::onnx().model_for_path(path)?;
    model.set_input_fact(0, f32::fact(&dims).into())?;
    let mut states: Vec<TValue> = Vec::new();
    for i in 1..=entry.states.len() {
        let fixed = model.input_fact(i)?.shape.as_concrete_finite()?.ok_or("a state has no fixed shape")?;
        states.push(Tensor::zero::<f32>(&fixed)?.into());
    }
    let plan = model.into_optimized()?.into_runnable()?;
    Ok(Box::new(move |window| {
        let mut inputs: TVec<TValue> = tvec![Tensor::from_shape(&dims, window)?.into()];
        inputs.extend(states.iter().cloned());
        let outputs = plan.run(inputs)?;
        let values = outputs[0].try_as_plain_ram()?;
        Ok(values.as_slice::<f32>()?[0])
    }))
}

/// rten on a pool of one thread, weights packed beforehand.
///
/// # Errors
/// What rten says of the file.
pub fn rten(path: &Path, entry: &Entry) -> Result<Run, Refusal> {
    let dims = entry.dims();
    let mut options = rten::ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = options.load_file(path)?;
    let pool = Arc::new(ThreadPool::with_num_threads(1));
    let mut states = Vec::new();
    for &id in &model.input_ids()[1..] {
        let shape = model.node_info(id).and_then(|info| info.shape()).ok_or("a state has no shape")?;
        let size = |dim: &Dimension| if let Dimension::Fixed(n) = dim { *n } else { 1 };
        let fixed: Vec<usize> = shape.iter().map(size).collect();
        states.push((id, Value::from(RtenTensor::<f32>::zeros(&fixed))));
    }
    let (x, y) = (model.input_ids()[0], model.output_ids()[0]);
    Ok(Box::new(move |window| {
        let mut inputs = vec![(x, Value::from(RtenTensor::from_data(&dims, window.to_vec())).into())];
        inputs.extend(states.iter().map(|(id, state)| (*id, state.into())));
        let mut options = RunOptions::default();
        options.thread_pool = Some(pool.clone());
        let outputs = model.run(inputs, &[y], Some(options))?;
        let value: RtenTensor<f32> = outputs.into_iter().next().ok_or("no output")?.try_into()?;
        value.iter().next().copied().ok_or_else(|| "an empty output".into())
    }))
}
