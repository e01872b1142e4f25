//! Step 5, infer: the lane's models on the rows that triggers gave, judged before anybody sees what they say.

use pillion_shm::signal::MAX_OUTPUTS;

use crate::engine::Engine;

/// A model as the hot thread holds it.
pub struct Model {
    /// The engine, loaded, warmed and seated: a seat for each instrument of the lane.
    pub engine: Box<dyn Engine>,
    /// Revision that its signals carry.
    pub revision: u32,
}

/// The lane's models and the row they share.
pub(crate) struct Infer {
    models: Vec<Model>,
    pub(crate) vector: Box<[f32]>,
    /// What each model said to each instrument of the latest batch: `batch` results a model.
    outputs: Box<[[f32; MAX_OUTPUTS]]>,
    valid: Box<[bool]>,
    /// The engine's own, before it is dealt out.
    scratch: Box<[f32]>,
    batch: usize,
    /// A model whose window must see every trigger's row, also one that is put off.
    windows: bool,
    /// The model whose turn it is to prepare.
    preparing: usize,
}

/// One run's result.
pub(crate) struct Run<'a> {
    pub(crate) outputs: &'a [f32],
    /// The engine ran and every output is finite.
    pub(crate) valid: bool,
    /// The model has seen as many rows as it needs.
    pub(crate) filled: bool,
    pub(crate) revision: u32,
}

impl Infer {
    pub(crate) fn new(models: Vec<Model>, features: usize, batch: usize) -> Self {
        let results = models.len() * batch;
        Self {
            windows: models.iter().any(|model| model.engine.info().rows > 1),
            models,
            vector: vec![0.0; features].into(),
            outputs: vec![[0.0; MAX_OUTPUTS]; results].into(),
            valid: vec![false; results].into(),
            scratch: vec![0.0; MAX_OUTPUTS * batch].into(),
            batch,
            preparing: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether some model needs the row of every trigger.
    pub(crate) fn windows(&self) -> bool {
        self.windows
    }

    /// Every model takes the row for an instrument. `put_off`: now only those with a window do, the others take what is
    /// there once the run is made up; and `made_up`: the other way round.
    #[inline]
    pub(crate) fn take(&mut self, seat: usize, take: Take) {
        for model in &mut self.models {
            let window = model.engine.info().rows > 1;
            if take == Take::All || (take == Take::Windows) == window {
                // The row has the width that was checked at start.
                let _ = model.engine.take(seat, &self.vector);
            }
        }
    }

    /// Runs model `slot` for these instruments, at most a batch of them. A failed run or a non-finite output is an outcome: it
    /// reads 0 and its signal is invalid.
    #[inline]
    pub(crate) fn run(&mut self, slot: usize, seats: &[usize]) {
        let engine = &mut self.models[slot].engine;
        let n = engine.info().outputs;
        let values = &mut self.scratch[..n * seats.len()];
        let ran = engine.infer(seats, values).is_ok();
        let stateful = engine.info().stateful;
        let results = slot * self.batch..slot * self.batch + seats.len();
        let results = self.outputs[results.clone()].iter_mut().zip(&mut self.valid[results]);
        for ((outputs, valid), values) in results.zip(values.chunks_exact(n)) {
            *valid = ran;
            for (to, &x) in outputs.iter_mut().zip(values) {
                let fine = ran && x.is_finite();
                *to = if fine { x } else { 0.0 };
                *valid &= fine;
            }
        }
        if stateful {
            // A state with a NaN in it would never be rid of it.
            let bad = seats.iter().zip(&self.valid[slot * self.batch..]).filter(|(_, valid)| !**valid);
            bad.for_each(|(&seat, _)| self.models[slot].engine.reset(seat));
        }
    }

    /// What model `slot` said to the instrument in place `at` of the latest batch.
    #[inline]
    pub(crate) fn result(&self, slot: usize, at: usize, seat: usize) -> Run<'_> {
        let (model, place) = (&self.models[slot], slot * self.batch + at);
        Run {
            outputs: &self.outputs[place][..model.engine.info().outputs],
            valid: self.valid[place],
            filled: model.engine.filled(seat),
            revision: model.revision,
        }
    }

    /// Windows and states of an instrument begin anew.
    pub(crate) fn reset(&mut self, seat: usize) {
        self.models.iter_mut().for_each(|model| model.engine.reset(seat));
    }

    /// One bounded piece of what models can do before their next row; false when there is none.
    #[inline]
    pub(crate) fn prepare(&mut self) -> bool {
        for _ in 0..self.models.len() {
            if self.models[self.preparing].engine.prepare() {
                return true;
            }
            self.preparing = (self.preparing + 1) % self.models.len();
        }
        false
    }

    /// Runs that did on the clock what could have been prepared.
    pub(crate) fn unprepared(&self) -> u64 {
        self.models.iter().map(|model| model.engine.unprepared()).sum()
    }
}

/// Which models take a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// All: their run follows.
    All,
    /// Those with a window: the run is put off.
    Windows,
    /// Those without: the run that was put off is made up.
    Others,
}
