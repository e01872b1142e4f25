//! Whole real days through the hot line, each bundled model on ONNX Runtime and on our own kernels side by side: the
//! signals of both are the same within the tolerance that admission holds, and so are the classes they name.

mod common;
#[path = "common/line.rs"]
mod line;

use common::*;
use line::line;
use pillion::data::{self, Feed, lobster};
use pillion::engine::admission::Tolerance;
use pillion::engine::{Engine, RuntimeConfig};
use pillion::hot::Turn;
use pillion::hot::features::FeatureSet;
use pillion::models::{EngineChoice, Model};
use pillion_shm::{Poll, Signal};

const MODELS: [&str; 4] = ["mlp-k10", "mlp-k50", "lgbm-k10", "lgbm-k50"];
/// Records between two looks at the signals; the ring holds those of all of them.
const CHUNK: usize = 4_096;

fn engines() -> Vec<Box<dyn Engine>> {
    let runtime = RuntimeConfig { onnxruntime: Some(onnxruntime()), ..RuntimeConfig::default() };
    let load = |name: &str, choice| Model::load(&model(name), &runtime, choice).expect("a bundled model").engine;
    MODELS.iter().flat_map(|name| [load(name, EngineChoice::OrtCpu), load(name, EngineChoice::Native)]).collect()
}

/// What two engines said to the same row.
struct Difference {
    worst: f32,
    pairs: u64,
    ties: u64,
}

fn hold(theirs: &Signal, ours: &Signal, so_far: &mut Difference) {
    let tolerance = Tolerance::default();
    let name = MODELS[usize::from(theirs.model) / 2];
    assert_eq!(
        (theirs.ring_seq, theirs.instrument, theirs.flags),
        (ours.ring_seq, ours.instrument, ours.flags),
        "{name}"
    );
    let allowed = |x: f32| tolerance.absolute + tolerance.relative * x.abs();
    for (theirs, ours) in theirs.outputs().iter().zip(ours.outputs()) {
        assert!((theirs - ours).abs() <= allowed(*theirs), "{name}: {ours}, ONNX Runtime {theirs}");
        so_far.worst = so_far.worst.max((theirs - ours).abs());
    }
    let class = |outputs: &[f32]| outputs.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
    let (a, b) = (class(theirs.outputs()), class(ours.outputs()));
    if a != b {
        let gap = (theirs.outputs()[a] - theirs.outputs()[b]).abs();
        assert!(gap <= allowed(theirs.outputs()[a]), "{name}: class {b}, ONNX Runtime {a} by {gap}");
        so_far.ties += 1;
    }
    so_far.pairs += 1;
}

fn goog_day() -> Option<Feed> {
    let zip = shared("lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip")?;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("goog.dbn");
    lobster::convert_file(
        &[zip],
        &to,
        lobster::Options { symbol: None, date: None, instrument_id: 1, facts: Default::default() },
    )
    .unwrap();
    Some(data::load(to).unwrap())
}

fn day(name: &str, feed: &Feed) -> u64 {
    let set = FeatureSet::load("book").expect("bundled");
    let mut line = line(feed, &set, engines(), 1 << 13);
    let mut reader = line.reader();
    let mut differences = Difference { worst: 0.0, pairs: 0, ties: 0 };
    let (mut words, mut waiting) = ([0; 14], None);
    for chunk in feed.iter().collect::<Vec<_>>().chunks(CHUNK) {
        chunk.iter().for_each(|record| _ = line.ticks.publish(record));
        while line.lane.turn() != Turn::Idle {}
        loop {
            match reader.poll(&mut words) {
                Poll::Record { .. } => {}
                Poll::Empty => break,
                other => panic!("{other:?}"),
            }
            let signal = Signal::from_words(&words);
            match waiting.take() {
                None => waiting = Some(signal),
                Some(theirs) => hold(&theirs, &signal, &mut differences),
            }
        }
    }
    let Difference { worst, pairs, ties } = differences;
    println!("{name}: {pairs} signals of each engine, {worst:.1e} apart at most, {ties} ties named otherwise");
    assert_eq!((pairs, line.lane.counts().lost), (line.lane.counts().events * MODELS.len() as u64, 0));
    pairs
}

#[test]
fn signals_of_both_engines_agree_on_whole_days() {
    if !has_onnxruntime() {
        return;
    }
    if let Some(feed) = goog_day() {
        assert_eq!(day("GOOG", &feed), 4 * 147_915);
    }
    if let Some(es) = shared(ES) {
        assert!(day("ES", &load_settled(es)) > 4 * 40_000);
    }
}
