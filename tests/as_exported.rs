//! Models as each library's exporter writes them (`models/as_exported.py`): made a directory without a hand's help, with the
//! answers that Python's ONNX Runtime gives to the file itself, on both engines; or refused with a mend that can be followed.

#[path = "common/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};

use pillion::engine::admission::Tolerance;
use pillion::engine::{Runtime, RuntimeConfig, Weights};
use pillion::models::guess::Told;
use pillion::models::new::{Plan, make};
use pillion::models::{EngineChoice, Missing, Model};
use skip::skip;

#[derive(serde::Deserialize)]
struct Index {
    model: Vec<Exported>,
}

#[derive(serde::Deserialize)]
struct Exported {
    name: String,
    /// Flags of `pillion model new`.
    args: Vec<String>,
    /// Words of the refusal, for a file that is refused.
    words: Option<Vec<String>>,
    /// Whether the native engine takes it.
    #[serde(default)]
    native: bool,
    /// Names of its classes, where the file has them.
    #[serde(default)]
    labels: Vec<String>,
    /// Rows in the order of the set's features, or a window of them.
    #[serde(default)]
    rows: Vec<Vec<f32>>,
    /// What the file says to each.
    #[serde(default)]
    answers: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/as_exported")
}

/// A set whose features have the names that the files' columns have.
fn set(dir: &Path) -> PathBuf {
    let path = dir.join("set.toml");
    let feature = "[[feature]]\nkind = \"ofi_scaled\"\nlevels = [1]\nhalf_life_events = [1, 2, 3, 4, 5, 6]\n";
    std::fs::write(&path, format!("name = \"made\"\nwarmup_events = 100\n{feature}")).unwrap();
    path
}

impl Exported {
    fn plan(&self, dir: &Path) -> Plan {
        let value = |flag: &str| {
            let at = self.args.iter().position(|arg| arg == flag)?;
            self.args.get(at + 1).cloned()
        };
        let told = Told {
            outputs: value("--output").into_iter().collect(),
            channels_first: value("--layout").as_deref() == Some("channels-first"),
            ..Told::default()
        };
        Plan {
            onnx: folder().join(format!("{}.onnx", self.name)),
            features: set(dir).display().to_string(),
            folder: dir.join("made"),
            name: None,
            revision: 1,
            names: Vec::new(),
            meaning: None,
            horizon: 0,
            told,
            missing: Missing::Never,
            weights: Weights::F32,
            precompute: false,
            tolerance: Tolerance::default(),
            rows: None,
            expect: None,
            trigger: None,
        }
    }

    /// Makes the directory, and asks the engines that serve it.
    fn check(&self) -> Result<(), String> {
        let dir = tempfile::tempdir().unwrap();
        let plan = self.plan(dir.path());
        let made = make(&plan);
        if let Some(words) = &self.words {
            let error = made.err().ok_or("it is taken")?;
            let text = format!("{error} mend: {}", error.mend);
            return match words.iter().find(|word| !text.contains(*word)) {
                None if !plan.folder.exists() => Ok(()),
                None => Err("a folder is left".into()),
                Some(word) => Err(format!("`{word}` is not in: {text}")),
            };
        }
        let said = made.map_err(|error| format!("{error} mend: {}", error.mend))?;
        let engines = &said.iter().find(|(what, _)| *what == "engines").ok_or("nothing is said of engines")?.1;
        if (engines == "ort-cpu, native") != self.native {
            return Err(format!("engines: {engines}"));
        }
        let model = Model::read(&plan.folder).map_err(|error| error.to_string())?;
        if !self.labels.is_empty() && model.manifest().outputs != self.labels {
            return Err(format!("its outputs are called {:?}", model.manifest().outputs));
        }
        self.answers_by(&plan.folder, EngineChoice::OrtCpu)?;
        if self.native { self.answers_by(&plan.folder, EngineChoice::Native) } else { Ok(()) }
    }

    fn answers_by(&self, folder: &Path, choice: EngineChoice) -> Result<(), String> {
        let loaded = Model::load(folder, &RuntimeConfig::default(), choice).map_err(|error| error.to_string())?;
        let mut engine = loaded.engine;
        for (row, wanted) in self.rows.iter().zip(&self.answers) {
            let mut got = vec![0.0; engine.info().outputs];
            for row in row.chunks(engine.info().inputs) {
                engine.take(0, row).map_err(|error| error.to_string())?;
            }
            engine.infer(&[0], &mut got).map_err(|error| error.to_string())?;
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 + 1e-4 * b.abs();
            if got.len() != wanted.len() || !got.iter().zip(wanted).all(near) {
                return Err(format!("{choice:?} says {got:?} to {row:?}, the file {wanted:?}"));
            }
        }
        Ok(())
    }
}

#[test]
fn each_exporters_file_is_taken_as_it_comes_or_refused_with_a_mend() {
    if let Err(error) = Runtime::open(&RuntimeConfig::default()) {
        return skip(&error.to_string());
    }
    let index: Index = toml::from_str(&std::fs::read_to_string(folder().join("index.toml")).unwrap()).unwrap();
    assert!(index.model.len() > 40, "{} files", index.model.len());
    let wrong: Vec<String> =
        index.model.iter().filter_map(|model| Some(format!("{}: {}", model.name, model.check().err()?))).collect();
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), index.model.len(), wrong.join("\n"));
}

/// The file's own hash stays in the manifest, whatever is done to its graph at load.
#[test]
fn the_file_is_kept_as_it_is() {
    if let Err(error) = Runtime::open(&RuntimeConfig::default()) {
        return skip(&error.to_string());
    }
    let index: Index = toml::from_str(&std::fs::read_to_string(folder().join("index.toml")).unwrap()).unwrap();
    for name in ["frame", "cat_classifier", "channels_first"] {
        let dir = tempfile::tempdir().unwrap();
        let plan = index.model.iter().find(|model| model.name == name).unwrap().plan(dir.path());
        make(&plan).unwrap();
        assert_eq!(std::fs::read(plan.folder.join("model.onnx")).unwrap(), std::fs::read(&plan.onnx).unwrap());
        let manifest: toml::Table =
            std::fs::read_to_string(plan.folder.join("manifest.toml")).unwrap().parse().unwrap();
        match name {
            "frame" => assert_eq!(manifest["input"].as_array().unwrap().len(), 6),
            "channels_first" => assert_eq!(manifest["layout"].as_str(), Some("channels-first")),
            _ => assert_eq!(manifest["outputs"].as_array().unwrap()[1].as_str(), Some("up")),
        }
    }
}
