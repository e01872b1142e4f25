//! Step 5, infer: one model's run on the feature vector, judged before anybody sees it.

use pillion_shm::signal::MAX_OUTPUTS;

use crate::engine::Engine;

/// A model as the hot thread holds it.
pub struct Model {
    /// The engine, loaded and warmed.
    pub engine: Box<dyn Engine>,
    /// Revision that its signals carry.
    pub revision: u32,
}

/// The lane's models and the vector they share.
pub(crate) struct Infer {
    models: Vec<Model>,
    pub(crate) vector: Box<[f32]>,
    outputs: [f32; MAX_OUTPUTS],
}

/// One run's result.
pub(crate) struct Run<'a> {
    pub(crate) outputs: &'a [f32],
    /// The engine ran and every output is finite.
    pub(crate) valid: bool,
    pub(crate) revision: u32,
}

impl Infer {
    pub(crate) fn new(models: Vec<Model>, features: usize) -> Self {
        Self { models, vector: vec![0.0; features].into(), outputs: [0.0; MAX_OUTPUTS] }
    }

    pub(crate) fn len(&self) -> usize {
        self.models.len()
    }

    /// Runs model `slot`. A failed run or a non-finite output is an outcome: it reads 0 and the
    /// signal is invalid.
    #[inline]
    pub(crate) fn run(&mut self, slot: usize) -> Run<'_> {
        let model = &mut self.models[slot];
        let outputs = &mut self.outputs[..model.engine.info().outputs];
        let ran = model.engine.run(&self.vector, outputs).is_ok();
        if !ran {
            outputs.fill(0.0);
        }
        let mut valid = ran;
        for x in outputs.iter_mut().filter(|x| !x.is_finite()) {
            (*x, valid) = (0.0, false);
        }
        Run { outputs, valid, revision: model.revision }
    }
}
