//! Which engine serves a model.

use serde::{Deserialize, Serialize};

use crate::engine::admission::{self, Agreement, Times, Tolerance};
use crate::engine::{Engine, Native, Shape};

pub(super) const MEND: &str = "set the lane's engine to \"auto\" or \"ort-cpu\"";

/// The configuration's word for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// The fastest at the 99th percentile of those that agree with ONNX Runtime.
    Auto,
    /// ONNX Runtime on the CPU.
    #[default]
    OrtCpu,
    /// Our own kernels, or a refusal.
    Native,
}

/// An engine that was tried.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name.
    pub engine: &'static str,
    /// What the comparison with ONNX Runtime found, or why the engine may not serve.
    pub admitted: Result<Agreement, String>,
    /// Its speed at load, if it was timed.
    pub times: Option<Times>,
}

/// The engine that serves, and all that were tried. With ONNX Runtime forced nothing else is.
pub(super) fn choose(
    choice: EngineChoice,
    mut reference: Box<dyn Engine>,
    onnx: &[u8],
    shape: &Shape,
    golden: &[Vec<f32>],
) -> Result<(Box<dyn Engine>, Vec<Candidate>), String> {
    let itself = Candidate { engine: reference.info().engine, admitted: Ok(Agreement::default()), times: None };
    if choice == EngineChoice::OrtCpu {
        return Ok((reference, vec![itself]));
    }
    let compared = Native::new(onnx, shape).map_err(|refusal| refusal.to_string()).and_then(|mut native| {
        let agreement = admission::compare(reference.as_mut(), &mut native, golden, Tolerance::default())?;
        Ok((native, agreement))
    });
    let (mut native, agreement) = match compared {
        Ok(both) => both,
        Err(reason) if choice == EngineChoice::Native => {
            return Err(format!("the native engine does not take it: {reason}"));
        }
        Err(reason) => {
            let refused = Candidate { engine: "native", admitted: Err(reason), times: None };
            return Ok((reference, vec![itself, refused]));
        }
    };
    let times = admission::time(&mut [reference.as_mut(), &mut native], golden);
    let candidates = vec![
        Candidate { times: Some(times[0]), ..itself },
        Candidate { engine: "native", admitted: Ok(agreement), times: Some(times[1]) },
    ];
    // At equal speed the one that does not allocate.
    let faster = times[1].p99_ns <= times[0].p99_ns;
    let engine = if choice == EngineChoice::Native || faster { Box::new(native) } else { reference };
    Ok((engine, candidates))
}
