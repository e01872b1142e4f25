//! A model directory that is wrong in one place is refused with the file, the value and the mend.
#![allow(missing_docs)]

mod model_support;

use std::fs;
use std::path::{Path, PathBuf};

use pillion::engine::RuntimeConfig;
use pillion::models::{EngineChoice, Model};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A copy of a bundled model, to be broken.
struct Copy {
    dir: TempDir,
}

impl Copy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["manifest.toml", "model.onnx", "golden.json"] {
            fs::copy(model_support::root().join("models/mlp-k10").join(name), dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// A directory around one of the tiny exported models: three features, three classes.
    fn of_fixture(onnx: &str, output: &str) -> Self {
        let copy = Self::new();
        let golden =
            r#"{"tolerance": 1e-5, "inputs": [[1.0, 0.5, 0.0]], "outputs": [[0.30578342, 0.40950787, 0.2847087]]}"#;
        copy.edit_manifest(|manifest| {
            manifest.insert("input".into(), "X".into());
            manifest.insert("output".into(), output.into());
            manifest.insert("features".into(), vec!["a", "b", "c"].into());
        });
        copy.replace("model.onnx", "onnx_sha256", &fs::read(model_support::fixture(onnx)).unwrap());
        copy.replace("golden.json", "golden_sha256", golden.as_bytes());
        copy
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn edit_manifest(&self, edit: impl FnOnce(&mut toml::Table)) {
        let mut table: toml::Table = fs::read_to_string(self.file("manifest.toml")).unwrap().parse().unwrap();
        edit(&mut table);
        fs::write(self.file("manifest.toml"), table.to_string()).unwrap();
    }

    /// Writes a file with the manifest's blessing.
    fn replace(&self, name: &str, key: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).unwrap();
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        self.edit_manifest(|manifest| drop(manifest.insert(key.into(), hash.into())));
    }

    fn edit_golden(&self, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut golden = serde_json::from_slice(&fs::read(self.file("golden.json")).unwrap()).unwrap();
        edit(&mut golden);
        self.replace("golden.json", "golden_sha256", golden.to_string().as_bytes());
    }

    /// Refused on reading, before any runtime is needed.
    #[track_caller]
    fn unreadable(&self, file: &str, parts: &[&str]) {
        says(&Model::read(self.path()).unwrap_err(), &self.file(file), parts);
    }

    /// Readable, but refused when it is started.
    #[track_caller]
    fn unstartable(&self, file: &str, parts: &[&str]) {
        if model_support::runtime_is_here() {
            let refused = Model::read(self.path()).unwrap().start(&RuntimeConfig::default(), EngineChoice::OrtCpu);
            says(&refused.err().expect("must be refused"), &self.file(file), parts);
        }
    }
}

#[track_caller]
fn says(error: &pillion::Error, file: &Path, parts: &[&str]) {
    assert_eq!(error.exit_code, pillion::Error::INPUT);
    let text = error.to_string();
    assert!(text.starts_with(&file.display().to_string()), "{text}");
    assert!(!error.mend.is_empty());
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn an_untouched_copy_is_taken() {
    let copy = Copy::new();
    Model::read(copy.path()).unwrap();
    if model_support::runtime_is_here() {
        Model::load(copy.path(), &RuntimeConfig::default(), EngineChoice::OrtCpu).unwrap();
    }
}

#[test]
fn missing_files() {
    for name in ["manifest.toml", "model.onnx", "golden.json"] {
        let copy = Copy::new();
        fs::remove_file(copy.file(name)).unwrap();
        copy.unreadable(name, &["cannot be read: No such file", "models/README.md"]);
    }
}

#[test]
fn one_flipped_bit_in_either_file() {
    for (name, key) in [("model.onnx", "onnx_sha256"), ("golden.json", "golden_sha256")] {
        let copy = Copy::new();
        let mut bytes = fs::read(copy.file(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(copy.file(name), bytes).unwrap();
        copy.unreadable(name, &["its SHA-256 is ", &format!("manifest.toml says {key} = "), "restore the file"]);
    }
}

#[test]
fn manifest_keys() {
    let copy = Copy::new();
    copy.edit_manifest(|manifest| drop(manifest.insert("treshold".into(), 1.into())));
    copy.unreadable("manifest.toml", &["unknown field `treshold`", "line ", "models/README.md"]);
    for key in ["schema", "name", "onnx_sha256", "features_hash", "features", "output", "outputs"] {
        let copy = Copy::new();
        copy.edit_manifest(|manifest| drop(manifest.remove(key).unwrap()));
        copy.unreadable("manifest.toml", &[&format!("missing field `{key}`")]);
    }
}

#[test]
fn manifest_values() {
    type Edit = fn(&mut toml::Table);
    let cases: [(Edit, &str); 7] = [
        (|m| drop(m.insert("schema".into(), 2.into())), "schema = 2, this build reads 1"),
        (|m| drop(m.insert("onnx_sha256".into(), "12ab".into())), "`12ab` is not 64 hexadecimal digits"),
        (|m| drop(m.insert("outputs".into(), vec!["x"; 17].into())), "outputs has 17 names"),
        (|m| drop(m.insert("outputs".into(), vec!["x"; 2].into())), "outputs names `x` twice"),
        (|m| drop(m.insert("features".into(), vec!["f", "g", "f"].into())), "features names `f` twice"),
        (|m| drop(m.insert("missing".into(), "zero".into())), "unknown variant `zero`"),
        (|m| drop(m["scores"].as_table_mut().unwrap().remove("model")), "[scores.model] is missing"),
    ];
    for (edit, part) in cases {
        let copy = Copy::new();
        copy.edit_manifest(edit);
        copy.unreadable("manifest.toml", &[part]);
    }
}

#[test]
fn what_a_model_takes() {
    let cases: [(&[(&str, &str)], &str); 12] = [
        (&[("takes", "'window'")], "takes = \"window\" needs window"),
        (&[("window", "5")], "window goes with takes = \"window\" only"),
        (&[("takes", "'window'"), ("window", "1")], "window = 1; 2 to 4096 rows"),
        (&[("takes", "'window'"), ("window", "100000")], "window = 100000; 2 to 4096 rows"),
        (&[("takes", "'state'")], "takes = \"state\" and [states], input = output, go together"),
        (&[("states", "{ h = 'hn' }")], "go together"),
        (&[("takes", "'state'"), ("states", "{ features = 'hn' }")], "the input of the rows"),
        (&[("takes", "'state'"), ("states", "{ h = 'n', c = 'n' }")], "states names `n` twice"),
        (&[("precompute", "true")], "precompute = true needs takes"),
        (&[("layout", "'channels-first'")], "layout = \"channels-first\" goes with takes = \"window\" only"),
        (&[("input", "['a', 'b']")], "input names 2 inputs: a list needs one for each of the 41 features"),
        (&[("input", "['a', 'b', 'a']")], "input names `a` twice"),
    ];
    for (keys, part) in cases {
        let copy = Copy::new();
        copy.edit_manifest(|manifest| {
            for (key, value) in keys {
                let mut line: toml::Table = format!("v = {value}").parse().unwrap();
                manifest.insert((*key).into(), line.remove("v").unwrap());
            }
        });
        copy.unreadable("manifest.toml", &[part]);
    }
}

#[test]
fn golden_rows_that_do_not_fit_or_do_not_agree() {
    let copy = Copy::new();
    copy.edit_golden(|golden| drop(golden["inputs"][3].as_array_mut().unwrap().pop()));
    copy.unreadable("golden.json", &["inputs, row 3: "]);
    let copy = Copy::new();
    copy.edit_golden(|golden| drop(golden["outputs"].as_array_mut().unwrap().pop()));
    copy.unreadable("golden.json", &["32 input rows and 31 output rows"]);
    let copy = Copy::new();
    copy.edit_golden(|golden| golden["tolerance"] = 0.5.into());
    copy.unreadable("golden.json", &["tolerance 0.5 is not within"]);
    let copy = Copy::new();
    copy.edit_golden(|golden| golden["outputs"][7][1] = 0.9.into());
    copy.unstartable("golden.json", &["row 7: onnxruntime 1.31.", "0.9", "export the model again"]);
}

#[test]
fn a_file_that_is_no_model() {
    let copy = Copy::new();
    let mut bytes = fs::read(copy.file("model.onnx")).unwrap();
    bytes.truncate(bytes.len() / 2);
    copy.replace("model.onnx", "onnx_sha256", &bytes);
    copy.unstartable("model.onnx", &["it is no ONNX file: "]);
    copy.replace("model.onnx", "onnx_sha256", b"");
    copy.unstartable("model.onnx", &["ONNX Runtime does not take the file: "]);
}

#[test]
fn another_shape_than_the_manifest_says() {
    let copy = Copy::new();
    copy.edit_manifest(|manifest| drop(manifest["features"].as_array_mut().unwrap().pop()));
    copy.edit_golden(|golden| {
        golden["inputs"].as_array_mut().unwrap().iter_mut().for_each(|row| drop(row.as_array_mut().unwrap().pop()))
    });
    copy.unstartable("model.onnx", &["the model takes `features` of type", "is expected"]);

    let copy = Copy::new();
    copy.edit_manifest(|manifest| drop(manifest.insert("outputs".into(), vec!["down", "up"].into())));
    copy.edit_golden(|golden| {
        golden["outputs"].as_array_mut().unwrap().iter_mut().for_each(|row| drop(row.as_array_mut().unwrap().pop()))
    });
    copy.unstartable("model.onnx", &["the outputs give 3 values (`probabilities` 3), 2 are expected"]);

    let copy = Copy::new();
    copy.edit_manifest(|manifest| drop(manifest.insert("output".into(), "logits".into())));
    copy.unstartable("model.onnx", &["the model has no output `logits`; it has `probabilities`"]);
}

#[test]
fn labels_are_dropped_and_a_zipmap_is_the_tensor_before_it() {
    for (file, output) in [("labelled.onnx", "probabilities"), ("zipmap.onnx", "output_probability")] {
        let copy = Copy::of_fixture(file, output);
        if !model_support::runtime_is_here() {
            continue;
        }
        for engine in [EngineChoice::OrtCpu, EngineChoice::Native] {
            let mut model = Model::load(copy.path(), &RuntimeConfig::default(), engine).unwrap();
            let mut output = [0.0; 3];
            model.engine.run(&[1.0, 0.5, 0.0], &mut output).unwrap();
            assert!((output[1] - 0.409_507_87).abs() < 1e-5, "{file}: {output:?}");
        }
    }
    // A label that is named is published as a number, and is one value.
    let label = Copy::of_fixture("labelled.onnx", "label");
    label.unstartable("model.onnx", &["the outputs give 1 values (`label` 1), 3 are expected"]);
}

#[test]
fn other_features_than_it_was_trained_on() {
    let model = Model::read(&model_support::root().join("models/mlp-k10")).unwrap();
    let manifest = model.manifest();
    let (names, hash) = (manifest.features.clone(), manifest.features_hash.0);
    manifest.fits("book", &names, &hash).unwrap();

    let mut other = hash;
    other[0] ^= 1;
    let text = manifest.fits("book", &names, &other).unwrap_err().to_string();
    assert!(text.contains("model `mlp-k10`") && text.contains("a parameter or definition is not"), "{text}");
    let mut renamed = names.clone();
    renamed[4] = "moon_phase".into();
    let text = manifest.fits("sky", &renamed, &other).unwrap_err().to_string();
    let expected = format!("feature 4 is `{}` in the model and `moon_phase` in the lane", names[4]);
    assert!(text.contains(&expected) && text.contains("the lane computes `sky`"), "{text}");
    let text = manifest.fits("book", &names[..3], &other).unwrap_err().to_string();
    assert!(text.contains("and nothing in the lane"), "{text}");
}

#[test]
fn other_units_than_it_was_trained_in() {
    use pillion::hot::decode::{Instrument, Instruments};
    let model = Model::read(&model_support::root().join("models/mlp-k10")).unwrap();
    let fits = |symbol: &str, tick_size: i64, size_unit: f64| {
        let one = Instrument { id: 1, publisher: None, symbol: symbol.to_owned(), tick_size, size_unit };
        model.manifest().fits_units("main", &Instruments::new(&[one]).unwrap()).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(fits("GOOG", 10_000_000, 1.0), Ok(vec![]));
    let refusal = fits("GOOG", 50_000_000, 1.0).unwrap_err();
    for part in
        ["model `mlp-k10`", "GOOG with tick size 0.01 and size unit 1", "GOOG with tick size 0.05", "lane \"main\""]
    {
        assert!(refusal.contains(part), "no {part:?} in: {refusal}");
    }
    assert!(fits("goog", 10_000_000, 100.0).unwrap_err().contains("size unit 100"));
    // A replay of several publishers under one number calls each GOOG@N.
    assert!(fits("GOOG@41", 50_000_000, 1.0).unwrap_err().contains("GOOG@41 with tick size 0.05"));
    assert_eq!(fits("GOOG@41", 10_000_000, 1.0), Ok(vec![]));
    let [equal] = &fits("SYN0001", 10_000_000, 1.0).unwrap()[..] else { panic!("one line") };
    assert_eq!(equal, "mlp-k10 was trained on GOOG, not on SYN0001: the units are equal");
    let [other] = &fits("ESH4", 250_000_000, 1.0).unwrap()[..] else { panic!("one line") };
    assert!(
        other.starts_with(
            "WARNING: mlp-k10 was trained on GOOG (tick size x size unit 0.01 x 1), not on ESH4 (0.25 x 1)"
        )
    );
    // A model that does not say what it was trained on fits anything, as before.
    let copy = Copy::new();
    copy.edit_manifest(|manifest| drop(manifest.remove("instruments")));
    let silent = Model::read(copy.path()).unwrap();
    let one = Instrument { id: 1, publisher: None, symbol: "GOOG".to_owned(), tick_size: 1, size_unit: 1.0 };
    assert_eq!(silent.manifest().fits_units("main", &Instruments::new(&[one]).unwrap()).unwrap(), Vec::<String>::new());
    let copy = Copy::new();
    copy.edit_manifest(|manifest| manifest["instruments"][0]["size_unit"] = 0.0.into());
    let refusal = Model::read(copy.path()).unwrap_err().to_string();
    assert!(refusal.contains("size_unit 0 of GOOG"), "{refusal}");
}
