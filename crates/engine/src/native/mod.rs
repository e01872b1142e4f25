//! Our own kernels for the small graphs that trading runs, compiled from the ONNX file when a model is loaded.
//!
//! `graph` reads and checks the file, `lower` fixes every shape, computes what is constant and turns operators into the
//! steps of a `plan`, and a run walks that list over buffers made once: no allocation, no dispatch but one match a step.
//! The kernels are written once and compiled for AVX-512, AVX2 and plain arrays; the widest that the machine has is taken.

mod ahead;
mod batch;
mod dense;
mod external;
mod graph;
mod lower;
mod maps;
mod math;
mod memory;
mod peak;
mod plan;
mod portable;
mod product;
mod recurrent;
mod reduce;
mod simd;
mod stack;
mod survey;
mod tensor;
mod trees;
mod weights;
pub(crate) mod wire;

use super::seats::Seats;
use super::{Engine, EngineError, EngineInfo, Shape, check_length};
use ahead::Ahead;
use batch::Batch;
pub use external::no_external_weights;
use graph::Graph;
pub use peak::peak_macs_per_ns;
use plan::Plan;
use portable::Portable;
#[cfg(target_arch = "x86_64")]
use simd::{Avx2, Avx512};
use simd::{Simd, Task};
pub use survey::{Survey, Work};

/// Why the native engine does not take a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The file as a whole.
    #[error("{0}")]
    File(String),
    /// One of its nodes.
    #[error("operator {op} (node `{node}`): {why}")]
    Node {
        /// Operator; those of `ai.onnx.ml` as `ml.…`.
        op: String,
        /// The node's name, or `#` and its place.
        node: String,
        /// What about it.
        why: String,
    },
}

/// Instruction set that the kernels run with.
#[derive(Clone, Copy, Debug)]
enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    Portable,
}

/// Instruction sets by name, as a model may be held to one: `"avx512"`, `"avx2"`, `"portable"`.
pub const ISAS: [&str; 3] = ["avx512", "avx2", "portable"];

impl Isa {
    /// The one of this name, if the machine has it.
    fn named(name: &str) -> Option<Self> {
        match name {
            #[cfg(target_arch = "x86_64")]
            "avx512" => Avx512::detect().map(Self::Avx512),
            #[cfg(target_arch = "x86_64")]
            "avx2" => Avx2::detect().map(Self::Avx2),
            "portable" => Some(Self::Portable),
            _ => None,
        }
    }

    /// Runs `task` with it.
    #[inline]
    fn run(self, task: impl Task) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => isa.run(task),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.run(task),
            Self::Portable => task.run(Portable),
        }
    }

    fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "x86_64 avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "x86_64 avx2+fma",
            Self::Portable => "portable",
        }
    }
}

/// The widest of this machine.
fn widest() -> Isa {
    ISAS.into_iter().find_map(Isa::named).unwrap_or(Isa::Portable)
}

/// How weights are stored. All but `F32` cost accuracy that the manifest must allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// As in the file.
    #[default]
    F32,
    /// The upper half of an f32: 8 bits of significand.
    Bf16,
    /// IEEE half precision: 11 bits of significand, magnitudes from 6e-8 to 65,504.
    F16,
    /// Whole numbers from -127 to 127 times one scale for each output.
    Int8,
}

impl Weights {
    /// The engine's name with weights stored so.
    #[must_use]
    pub const fn engine(self) -> &'static str {
        match self {
            Self::F32 => "native",
            Self::Bf16 => "native-bf16",
            Self::F16 => "native-f16",
            Self::Int8 => "native-int8",
        }
    }
}

/// What a native plan is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// One of [`ISAS`]; the widest of this machine when `None`.
    pub isa: Option<&'static str>,
    /// How weights are stored.
    pub weights: Weights,
    /// What hangs only on rows already seen is computed ahead, by [`Engine::prepare`].
    pub precompute: bool,
    /// Most instruments that come in one run.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { isa: None, weights: Weights::F32, precompute: false, batch: 1 }
    }
}

/// A model on the native engine.
#[derive(Debug)]
pub struct Native {
    plan: Plan,
    ahead: Option<Ahead>,
    /// For several instruments.
    batch: Option<Batch>,
    isa: Isa,
    seats: Seats,
    info: EngineInfo,
}

impl Native {
    /// Compiles the model for the widest instruction set of this machine, one instrument a run.
    ///
    /// # Errors
    /// What it does not take, with the operator and the node.
    pub fn new(onnx: &[u8], shape: &Shape) -> Result<Self, Refusal> {
        Self::with(onnx, shape, Options::default())
    }

    /// [`Native::new`] as `options` say.
    ///
    /// # Errors
    /// Also when the machine does not have the instruction set.
    pub fn with(onnx: &[u8], shape: &Shape, options: Options) -> Result<Self, Refusal> {
        let named = |isa| Isa::named(isa).ok_or_else(|| Refusal::File(format!("this machine has no {isa}")));
        let isa = options.isa.map_or(Ok(widest()), named)?;
        let graph = Graph::read(onnx)?;
        let mut plan = lower::lower(&graph, shape, options.weights, 1)?;
        let batch = Batch::new(&graph, shape, options.weights, options.batch, &plan);
        let ahead = if options.precompute { Ahead::split(&mut plan, shape) } else { None };
        let info = EngineInfo {
            engine: options.weights.engine(),
            isa: isa.name().to_owned(),
            runtime: format!("pillion {}, 1 thread{}", env!("CARGO_PKG_VERSION"), plan.kept(options.weights)),
            inputs: shape.features,
            outputs: shape.values,
            rows: shape.rows,
            stateful: !shape.states.is_empty(),
        };
        let seats = Seats::new(shape, plan.states());
        Ok(Self { plan, ahead, batch, isa, seats, info })
    }

    /// Most instruments of one run; each of more is answered in another, and 1 where rows cannot go together.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.as_ref().map_or(1, |batch| batch.most)
    }

    /// Bytes of weights that a run reads.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.plan.weight_bytes()
    }

    /// Whether [`Options::precompute`] found something to do ahead: recurrent layers over the window whose last row goes on,
    /// or steps of a model with states that do not hang on the row. Where it did not, it changes nothing.
    #[must_use]
    pub fn prepares(&self) -> bool {
        self.ahead.is_some()
    }
}

/// One run of a plan.
struct Run<'a> {
    plan: &'a mut Plan,
    seats: &'a mut Seats,
    seat: usize,
    ahead: Option<&'a mut Ahead>,
    output: &'a mut [f32],
}

impl Task for Run<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.plan.run(s, self.seats, self.seat, self.ahead, self.output);
    }
}

/// One piece of what is done ahead; whether there was any.
struct Prepare<'a> {
    ahead: &'a mut Ahead,
    plan: &'a mut Plan,
    seats: &'a Seats,
    done: &'a mut bool,
}

impl Task for Prepare<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        *self.done = self.ahead.prepare(s, self.plan, self.seats);
    }
}

/// One run of a plan for several instruments.
struct RunMany<'a> {
    batch: &'a mut Batch,
    seats: &'a Seats,
    of: &'a [usize],
    outputs: &'a mut [f32],
}

impl Task for RunMany<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.batch.run(s, self.seats, self.of, self.outputs);
    }
}

impl Engine for Native {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn seat(&mut self, instruments: usize) {
        self.seats.seat(instruments);
        if let Some(ahead) = &mut self.ahead {
            ahead.seat(&self.plan, instruments);
        }
    }

    #[inline]
    fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
        self.seats.take(seat, row)
    }

    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        let n = self.info.outputs;
        check_length("output", seats.len() * n, outputs.len())?;
        if seats.len() > 1
            && let Some(batch) = &mut self.batch
        {
            for (of, outputs) in seats.chunks(batch.most).zip(outputs.chunks_mut(batch.most * n)) {
                self.isa.run(RunMany { batch: &mut *batch, seats: &self.seats, of, outputs });
            }
            return Ok(());
        }
        for (&seat, output) in seats.iter().zip(outputs.chunks_exact_mut(n)) {
            let ahead = self.ahead.as_mut();
            self.isa.run(Run { plan: &mut self.plan, seats: &mut self.seats, seat, ahead, output });
        }
        Ok(())
    }

    fn reset(&mut self, seat: usize) {
        self.seats.reset(seat);
        if let Some(ahead) = &mut self.ahead {
            ahead.reset(seat);
        }
    }

    fn filled(&self, seat: usize) -> bool {
        self.seats.filled(seat)
    }

    fn prepare(&mut self) -> bool {
        let Some(ahead) = &mut self.ahead else { return false };
        let mut done = false;
        self.isa.run(Prepare { ahead, plan: &mut self.plan, seats: &self.seats, done: &mut done });
        done
    }

    fn unprepared(&self) -> u64 {
        self.ahead.as_ref().map_or(0, |ahead| ahead.unprepared)
    }
}
