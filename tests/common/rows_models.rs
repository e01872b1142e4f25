//! Model directories of the fixtures that look at rows already seen.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use pillion::engine::{Engine, Native, Shape};
use pillion::hot::features::FeatureSet;
use sha2::{Digest, Sha256};

/// A fixture with what its manifest says of it.
pub struct Fixture {
    /// Name of the file, and of the model.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// The manifest's lines that say so.
    pub keys: &'static str,
    /// Names of its values.
    pub outputs: &'static str,
}

/// Five rows, a state of two values, and a recurrent net of ten rows.
pub fn fixtures(set: &FeatureSet) -> [Fixture; 3] {
    let n = set.len();
    let state = Shape::vector("x", n, "next", 3).carrying(&[("s", "next")]);
    [
        Fixture {
            name: "window",
            shape: Shape::vector("x", n, "y", 3).window(5),
            keys: "takes = \"window\"\nwindow = 5\noutput = \"y\"",
            outputs: "\"oldest\", \"newest\", \"sum\"",
        },
        Fixture {
            name: "state",
            shape: Shape { outputs: vec!["next".into(), "z".into()], warmup: 3, ..state },
            keys: "takes = \"state\"\nwarmup = 3\nstates = { s = \"next\" }\noutput = [\"next\", \"z\"]",
            outputs: "\"first\", \"second\", \"third\"",
        },
        Fixture {
            name: "lstm",
            shape: Shape::vector("x", n, "y", 1).window(10),
            keys: "takes = \"window\"\nwindow = 10\nprecompute = true\noutput = \"y\"",
            outputs: "\"up\"",
        },
    ]
}

/// The file of a fixture.
pub fn onnx(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/model_fixtures/{name}.onnx", env!("CARGO_MANIFEST_DIR"))).expect("a fixture")
}

/// Writes a model directory for the set `book`, whose golden answers are our own kernels'.
pub fn write(into: &Path, set: &FeatureSet, fixture: &Fixture) -> PathBuf {
    let Fixture { name, shape, keys, outputs } = fixture;
    let dir = into.join(name);
    std::fs::create_dir(&dir).expect("a new folder");
    let onnx = onnx(name);
    let mut engine = Native::new(&onnx, shape).expect("a model for our kernels");
    let (mut inputs, mut answers) = (Vec::new(), Vec::new());
    for golden in 0..6 {
        let row = |i: usize| ((golden * 37 + i * 11) % 41) as f32 / 20.0 - 1.0;
        let rows: Vec<f32> = (0..shape.rows * shape.features).map(row).collect();
        rows.chunks(shape.features).for_each(|row| engine.take(0, row).expect("a row"));
        let mut answer = vec![0.0; shape.values];
        engine.infer(&[0], &mut answer).expect("a run");
        inputs.push(rows);
        answers.push(answer);
    }
    let golden = serde_json::json!({ "tolerance": 1e-4, "inputs": inputs, "outputs": answers }).to_string();
    let sha = |bytes: &[u8]| -> String { Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect() };
    let hash: String = set.hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let names: Vec<_> = set.names().iter().map(|name| format!("{name:?}")).collect();
    let manifest = format!(
        "schema = 1\nname = {name:?}\nrevision = 1\nonnx_sha256 = \"{}\"\ngolden_sha256 = \"{}\"\nfeature_set = \"book\"\n\
         features_hash = \"{hash}\"\nfeatures = [{}]\nmissing = \"never\"\ninput = \"x\"\n{keys}\noutputs = [{outputs}]\n\
         meaning = \"sums that a test can do\"\nhorizon_events = 1\n\
         [training]\ndata = \"none\"\nsplit = \"none\"\nrows = [0, 0, 0]\nseed = 1\nestimator = \"by hand\"\nlibraries = []\n\
         [scores.model]\nmacro_f1 = 0.0\naccuracy = 0.0\nlog_loss = 0.0\n",
        sha(&onnx),
        sha(golden.as_bytes()),
        names.join(", "),
    );
    for (file, bytes) in
        [("model.onnx", &onnx[..]), ("golden.json", golden.as_bytes()), ("manifest.toml", manifest.as_bytes())]
    {
        std::fs::write(dir.join(file), bytes).expect("writable");
    }
    dir
}
