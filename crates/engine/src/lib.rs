//! The engine interface, what an engine keeps for each instrument, and our own kernels: fixed-shape f32 in, f32 out,
//! caller-owned buffers. A crate of its own, so that kernels are compiled again only when a kernel changes.

pub mod adapt;
pub mod native;
mod port;
pub mod seats;

use std::error::Error;
use std::fmt::Display;

pub use self::native::{Native, Options, Weights};
pub use self::port::Port;

/// One model, ready to run. An engine belongs to one hot thread.
///
/// It keeps a *seat* for each instrument: the rows of its window and the state it carries. Nothing here allocates on our side
/// but [`Engine::seat`]. What the model answers is handed on as it is, NaN and infinities included: they are the caller's to flag.
pub trait Engine: Send {
    /// What runs, on what, and its shape.
    fn info(&self) -> &EngineInfo;

    /// Makes seats for `instruments`, at least one, each as after [`Engine::reset`]. An engine begins with one. Cold: allocates.
    fn seat(&mut self, instruments: usize);

    /// The seat takes a row of [`EngineInfo::inputs`] values: the newest of its window.
    ///
    /// # Errors
    /// A row of another length. The seat is as it was.
    fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError>;

    /// Runs the model on what these seats have taken, each seat at most once: `outputs` has [`EngineInfo::outputs`] values for
    /// each, in that order. A model with state goes one step on.
    ///
    /// # Errors
    /// Outputs of another length, or a run that the engine itself refuses. `outputs` is then not meaningful.
    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError>;

    /// The seat forgets what it has seen: rows of its window and states read 0.
    fn reset(&mut self, seat: usize);

    /// Whether the seat has taken as many rows since its reset as the model needs.
    fn filled(&self, seat: usize) -> bool;

    /// Does a bounded piece of what can be known before the next row, for seats that have run. False when nothing is left.
    fn prepare(&mut self) -> bool {
        false
    }

    /// Runs whose preparation was not done in time, since seats were made: they did it on the clock. The first of a seat and
    /// of each reset are among them.
    fn unprepared(&self) -> u64 {
        0
    }

    /// What a person should know of how it started, for the banner: an optimised graph from disk, or why not.
    fn remark(&self) -> Option<&str> {
        None
    }

    /// [`Engine::take`] and [`Engine::infer`] for the first seat.
    ///
    /// # Errors
    /// Those of both.
    fn run(&mut self, row: &[f32], outputs: &mut [f32]) -> Result<(), EngineError> {
        self.take(0, row)?;
        self.infer(&[0], outputs)
    }
}

/// What an engine is, for the banner, the tables of the signal region and the reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineInfo {
    /// Engine by name: `"ort-cpu"`.
    pub engine: &'static str,
    /// Instruction set the engine may choose from on this machine, as in [`isa`].
    pub isa: String,
    /// Library, version and thread options: `"onnxruntime 1.31.1, 1 thread, no spinning"`.
    pub runtime: String,
    /// Values of a row.
    pub inputs: usize,
    /// Values a run gives for a seat.
    pub outputs: usize,
    /// Rows of the window; 1 for a model of the latest row alone.
    pub rows: usize,
    /// Whether a run changes what the next one answers.
    pub stateful: bool,
}

/// What a model takes and gives, as its manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Name of the graph's input: float32, `rows` × `features` values, with or without a leading batch of 1 or open.
    pub input: String,
    /// Values of a row.
    pub features: usize,
    /// Rows of the window, oldest first; 1 for a vector or a step.
    pub rows: usize,
    /// Float outputs that are published, one behind the other; every other output is dropped.
    pub outputs: Vec<String>,
    /// Values of all of them.
    pub values: usize,
    /// Names of further inputs, each with the output that is its next value; 0 at first.
    pub states: Vec<(String, String)>,
    /// Rows that a seat must have taken before its answers count.
    pub warmup: usize,
}

impl Shape {
    /// A model of the latest row with one output.
    #[must_use]
    pub fn vector(input: &str, features: usize, output: &str, values: usize) -> Self {
        Self {
            input: input.into(),
            features,
            rows: 1,
            outputs: vec![output.into()],
            values,
            states: Vec::new(),
            warmup: 1,
        }
    }

    /// The same, of the latest `rows` rows.
    #[must_use]
    pub fn window(self, rows: usize) -> Self {
        Self { rows, warmup: rows, ..self }
    }

    /// The same, carrying these inputs' next values from run to run.
    #[must_use]
    pub fn carrying(self, states: &[(&str, &str)]) -> Self {
        Self { states: states.iter().map(|&(input, output)| (input.into(), output.into())).collect(), ..self }
    }
}

/// Why an engine could not be made, or a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// ONNX Runtime is missing, foreign or of the wrong version.
    #[error(transparent)]
    Runtime(Box<dyn Error + Send + Sync>),
    /// The runtime does not take the model file; its own words.
    #[error("ONNX Runtime does not take the file: {0}")]
    Refused(String),
    /// The GPU that was asked for is missing, in whole or in part, or does not run this model: what is missing, and what mends it.
    #[error("{0}")]
    Device(String),
    /// The graph does not have the input or output it was said to have.
    #[error("{0}")]
    Graph(String),
    /// A buffer of the wrong length was handed to a run.
    #[error("{what} has {got} values where the model has {expected}")]
    Length {
        /// `"input"` or `"output"`.
        what: &'static str,
        /// Length the model has.
        expected: usize,
        /// Length that was given.
        got: usize,
    },
    /// A run failed; the runtime's own words.
    #[error("the run failed: {0}")]
    Run(String),
}

impl EngineError {
    /// [`EngineError::Refused`] in these words.
    pub fn refused(error: impl Display) -> Self {
        Self::Refused(error.to_string())
    }

    /// [`EngineError::Run`] in these words.
    pub fn run(error: impl Display) -> Self {
        Self::Run(error.to_string())
    }
}

/// The widest vector instruction set of this machine that numeric kernels choose by, as recorded with a run: results
/// are the same bytes only for one engine and one instruction set.
#[must_use]
pub fn isa() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            return "x86_64 avx512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "x86_64 avx2+fma";
        }
        "x86_64"
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}

/// Refuses a buffer of another length than the model's.
///
/// # Errors
/// [`EngineError::Length`] with both lengths.
pub fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got { Ok(()) } else { Err(EngineError::Length { what, expected, got }) }
}
