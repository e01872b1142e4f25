//! Runs that are ended where they take too long: before a model serves nothing waits for it for ever.
#![forbid(unsafe_code)]

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ::ort::session::{NoSelectedOutputs, RunOptions};

use super::super::EngineError;

/// Longest run of a model that is tried out. A lane that waits so long for a run is of no use.
pub(in crate::engine) const LONGEST: Duration = Duration::from_secs(10);

/// Does `run` with these options, and ends it after `longest`: ONNX Runtime then stops between two nodes.
///
/// # Errors
/// Those of `run`; that it was ended.
pub(in crate::engine) fn within<T>(
    longest: Duration,
    options: &RunOptions<NoSelectedOutputs>,
    run: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let (done, waits) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = move || {
            let late = waits.recv_timeout(longest) == Err(RecvTimeoutError::Timeout);
            late && options.terminate().is_ok()
        };
        // Without a thread to be had nobody watches.
        let watch = thread::Builder::new().name("pillion-patience".into()).spawn_scoped(scope, watch);
        let result = run();
        drop(done);
        let ended = watch.ok().and_then(|watch| watch.join().ok()).unwrap_or(false);
        if !ended {
            return result;
        }
        options.unterminate().map_err(EngineError::run)?;
        result.map_err(|_| {
            let seconds = longest.as_secs_f64();
            EngineError::Run(format!("one run takes more than {seconds} s, and was ended"))
        })
    })
}

#[cfg(test)]
mod tests {
    use ::ort::session::Session;
    use ::ort::value::Tensor;

    use super::*;
    use crate::engine::{Runtime, RuntimeConfig};

    #[test]
    fn a_loop_without_an_end_is_ended_and_the_options_serve_again() {
        let Ok(runtime) = Runtime::open(&RuntimeConfig::default()) else { return };
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model_fixtures/endless.onnx");
        let open =
            || Session::builder(runtime.environment()).unwrap().commit_from_memory(&std::fs::read(&file).unwrap());
        let (mut session, options) = (open().unwrap(), RunOptions::new().unwrap());
        // The trip count is 2^62 where the first value is above 0, and 1 where it is not.
        let mut run = |first: f32| {
            let row = Tensor::from_array(([1_usize, 6], vec![first; 6])).unwrap();
            within(Duration::from_millis(200), &options, || {
                session.run_with_options(::ort::inputs![row], &options).map(drop).map_err(EngineError::run)
            })
        };
        run(-1.0).unwrap();
        let why = run(1.0).unwrap_err().to_string();
        assert!(why.contains("takes more than 0.2 s"), "{why}");
        run(-1.0).unwrap();
    }
}
