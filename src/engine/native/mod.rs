//! Our own kernels for the small graphs that trading runs, compiled from the ONNX file when a model is loaded.
//!
//! `graph` reads and checks the file, `lower` fixes every shape, computes what is constant and turns operators into the
//! steps of a `plan`, and a run walks that list over buffers made once: no allocation, no dispatch but one match a step.
//! The kernels are written once and compiled for AVX-512, AVX2 and plain arrays; the widest that the machine has is taken.

mod dense;
mod graph;
mod lower;
mod maps;
mod math;
mod plan;
mod reduce;
mod simd;
mod tensor;
mod trees;
mod wire;

use super::{Engine, EngineError, EngineInfo, Shape};
use graph::Graph;
use plan::Plan;
#[cfg(target_arch = "x86_64")]
use simd::{Avx2, Avx512};
use simd::{Portable, Simd, Task};

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

/// A model on the native engine.
#[derive(Debug)]
pub struct Native {
    plan: Plan,
    isa: Isa,
    info: EngineInfo,
}

impl Native {
    /// Compiles the model for the widest instruction set of this machine.
    ///
    /// # Errors
    /// What it does not take, with the operator and the node.
    pub fn new(onnx: &[u8], shape: Shape<'_>) -> Result<Self, Refusal> {
        let widest = ISAS.into_iter().find(|name| Isa::named(name).is_some()).unwrap_or("portable");
        Self::with_isa(onnx, shape, widest)
    }

    /// [`Native::new`] for one of [`ISAS`].
    ///
    /// # Errors
    /// Also when the machine does not have it.
    pub fn with_isa(onnx: &[u8], shape: Shape<'_>, isa: &str) -> Result<Self, Refusal> {
        let isa = Isa::named(isa).ok_or_else(|| Refusal::File(format!("this machine has no {isa}")))?;
        let graph = Graph::read(onnx)?;
        let plan = lower::lower(&graph, shape.input, shape.inputs, shape.output, shape.outputs)?;
        let info = EngineInfo {
            engine: "native",
            isa: isa.name().to_owned(),
            runtime: format!("pillion {}", env!("CARGO_PKG_VERSION")),
            inputs: shape.inputs,
            outputs: shape.outputs,
        };
        Ok(Self { plan, isa, info })
    }

    /// Bytes of weights that a run reads.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.plan.weight_bytes()
    }
}

/// One run of a plan.
struct Run<'a> {
    plan: &'a mut Plan,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Task for Run<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        self.plan.run(s, self.input, self.output);
    }
}

impl Engine for Native {
    fn run(&mut self, input: &[f32], output: &mut [f32]) -> Result<(), EngineError> {
        for (what, expected, got) in
            [("input", self.info.inputs, input.len()), ("output", self.info.outputs, output.len())]
        {
            if expected != got {
                return Err(EngineError::Length { what, expected, got });
            }
        }
        let plan = &mut self.plan;
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.run(Run { plan, input, output }),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.run(Run { plan, input, output }),
            Isa::Portable => plan.run(Portable, input, output),
        }
        Ok(())
    }

    fn info(&self) -> &EngineInfo {
        &self.info
    }
}
