//! `pillion model new`: a model directory around an exported file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pillion_shm::text::{Shown, unprintable};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use toml::{Table, Value};

use super::choose::Case;
use super::evidence::{Evidence, columns_fit};
use super::guess::Told;
use super::taken::Taken;
use super::{EngineChoice, GOLDEN, Hash, MANIFEST, MAX_OUTPUTS, Missing, Model, ONNX, sha256};
use crate::engine::admission::{Rules, Tolerance};
use crate::engine::{Engine, RuntimeConfig, Weights};
use crate::error::{Error, Result};
use crate::hot::Trigger;
use crate::hot::features::FeatureSet;

/// Largest difference from the golden answers that is taken, absolute below 1 and relative above.
const GOLDEN_TOLERANCE: f32 = 1e-5;

/// What is to be made, and what the graph cannot tell.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The exported file.
    pub onnx: PathBuf,
    /// Feature set that it was trained on: bundled, or a file.
    pub features: String,
    /// The folder to make.
    pub folder: PathBuf,
    /// Name of the model; the folder's when `None`.
    pub name: Option<String>,
    /// Revision, from 1.
    pub revision: u32,
    /// Names of the values; made from the output's when empty.
    pub names: Vec<String>,
    /// What they are, in a sentence.
    pub meaning: Option<String>,
    /// How far ahead it looks, in book events; 0 when nobody said.
    pub horizon: u32,
    /// The graph's shape where it does not tell.
    pub told: Told,
    /// Whether a value of a row may be missing.
    pub missing: Missing,
    /// How the native engine may store weights.
    pub weights: Weights,
    /// Whether it computes between rows.
    pub precompute: bool,
    /// How near an engine must be.
    pub tolerance: Tolerance,
    /// Rows of the market, as `pillion features` writes them: all are asked, some become golden; made up when `None`.
    pub rows: Option<PathBuf>,
    /// The estimator's own answers to those rows.
    pub expect: Option<PathBuf>,
    /// Which events have the rows it was trained on; what the file of rows says when `None`.
    pub trigger: Option<Trigger>,
}

/// Writes the folder: whole under its name, or not at all. What was made of the file, a fact a line.
///
/// # Errors
/// Something of that name is there; a file that no engine takes; a shape that is unclear or does not fit the feature set; more
/// values than a signal carries; rows that do not fit; answers that are not the estimator's.
pub fn make(plan: &Plan) -> Result<Vec<(&'static str, String)>> {
    if fs::symlink_metadata(&plan.folder).is_ok() {
        return Err(exists(&plan.folder));
    }
    let set = FeatureSet::load(&plan.features)?;
    let config = RuntimeConfig::default();
    let told = Told { features: Some(set.len()), by_set: true, ..plan.told.clone() };
    let taken = Taken::read(&plan.onnx, &told, Some(set.names()), &config)?;
    let Names { names, note } = names(plan, &taken)?;
    let mut engine = taken.reference(&plan.onnx, &config)?;
    columns_fit(&plan.onnx, &taken.file, &set, &config)?;
    let evidence = Evidence::of(plan, &set, &taken.shape, &names, &taken.onnx, &mut engine)?;
    let rows = evidence.golden(&taken.shape);
    let golden = golden(plan, &mut engine, &rows)?;
    let manifest = manifest(plan, &set, &taken, &names, golden.as_bytes(), &evidence);
    let files: [(&str, &[u8]); 3] = [(ONNX, &taken.file), (GOLDEN, golden.as_bytes()), (MANIFEST, manifest.as_bytes())];
    // All that may fail first: a folder that is there is whole.
    let engines = engines(plan, &taken, &rows, &mut engine);
    write(&plan.folder, &files, &config)?;
    let mut said =
        vec![("made", format!("{}: `pillion model check` says what runs it, and how fast", plan.folder.display()))];
    said.extend(taken.said(&names));
    said.extend(note.map(|note| ("names", note)));
    said.push(("engines", engines));
    said.extend(evidence.said());
    Ok(said)
}

/// The engines that answer as ONNX Runtime does, and why others do not.
fn engines(plan: &Plan, taken: &Taken, golden: &[Vec<f32>], reference: &mut dyn Engine) -> String {
    let decides = taken.shape.outputs.len() == 1 && taken.shape.values > 1;
    let missing = plan.missing == Missing::Nan;
    let rules = Rules { tolerance: plan.tolerance, decides, missing, batch: 1 };
    let (shape, weights, precompute) = (taken.shape.clone(), plan.weights, plan.precompute);
    let case = Case { onnx: &taken.onnx, shape, golden, weights, precompute, rules };
    let tried = case.natives(reference).into_iter().map(|tried| match tried.made {
        Ok(_) => tried.name.to_owned(),
        Err(why) => format!("not {}: {why}", tried.name),
    });
    std::iter::once("ort-cpu".to_owned()).chain(tried).collect::<Vec<_>>().join(", ")
}

fn exists(folder: &Path) -> Error {
    Error::input(folder.display(), "is there already", "name a folder that is not, or remove this one")
}

/// Longest name of a value that a signal's table has room for.
const LONGEST: usize = 31;

/// Names of the values, in order, and what a person should know of them.
struct Names {
    names: Vec<String>,
    note: Option<String>,
}

fn names(plan: &Plan, taken: &Taken) -> Result<Names> {
    let refused = |problem: String, mend: &str| Err(Error::input(plan.onnx.display(), problem, mend));
    let Taken { shape, counts, .. } = taken;
    let count = shape.values;
    let ports = shape.outputs.iter().chain([&shape.input]).chain(shape.states.iter().map(|(input, _)| input));
    if let Some((name, c)) = ports.into_iter().find_map(|name| Some((name, unprintable(name)?))) {
        let problem = format!("\"{}\" has the character {c:?}, which steers a terminal or cannot be seen", Shown(name));
        return refused(problem, "rename that input or output in the file, and the nodes that read or write it");
    }
    if !(1..=MAX_OUTPUTS).contains(&count) {
        let problem = format!("its outputs {} give {count} values", shape.outputs.join(", "));
        let most = format!("1 to {MAX_OUTPUTS} values, which a signal carries");
        return match &shape.outputs[..] {
            [_] if count > 0 => {
                refused(problem, &format!("cut that output in the graph, with Slice or Gather, to {most}"))
            }
            _ => refused(problem, &format!("name outputs of {most}, with --output")),
        };
    }
    if plan.names.is_empty() {
        let (labels, note) = labels(taken);
        let names = labels.unwrap_or_else(|| of_outputs(&shape.outputs, counts));
        if let Some(twice) = names.iter().enumerate().find_map(|(i, name)| names[..i].contains(name).then_some(name)) {
            return refused(format!("two of its values would be called `{twice}`"), "name the values with --outputs");
        }
        return Ok(Names { names, note });
    }
    if plan.names.len() != count {
        let problem = format!("it gives {count} values, and --outputs names {}", plan.names.len());
        return refused(problem, "name each value once, in order");
    }
    Ok(Names { names: plan.names.clone(), note: None })
}

/// Each output's name, with a number behind it where the output has several values.
fn of_outputs(outputs: &[String], counts: &[usize]) -> Vec<String> {
    let several = outputs.len() > 1;
    let named = outputs.iter().zip(counts).enumerate().map(|(place, (output, &count))| {
        // A name with a number behind it must fit a signal table.
        let output = match output.len() <= LONGEST - 3 {
            true => output.clone(),
            false if several => format!("y{place}"),
            false => "y".to_owned(),
        };
        (output, count)
    });
    let each = |(output, count): (String, usize)| -> Vec<String> {
        if count == 1 { vec![output] } else { (0..count).map(|i| format!("{output}_{i}")).collect() }
    };
    named.flat_map(each).collect()
}

/// The classes' own names, where the file has one for each value that a signal's table has room for; why not, where it has others.
fn labels(taken: &Taken) -> (Option<Vec<String>>, Option<String>) {
    let [output] = &taken.shape.outputs[..] else { return (None, None) };
    let Some((_, labels)) = taken.labels.iter().find(|(name, _)| name == output) else { return (None, None) };
    let unfit = |label: &&String| !(1..=LONGEST).contains(&label.len()) || unprintable(label).is_some();
    let twice = || labels.iter().enumerate().find_map(|(i, label)| labels[..i].contains(label).then_some(label));
    let why = if labels.len() != taken.shape.values {
        format!("there are {} of them for {} values", labels.len(), taken.shape.values)
    } else if let Some(label) = labels.iter().find(unfit) {
        format!("\"{}\" is empty, has more than {LONGEST} bytes or a character that cannot be shown", Shown(label))
    } else if let Some(label) = twice() {
        format!("\"{}\" stands twice", Shown(label))
    } else {
        return (Some(labels.clone()), None);
    };
    (None, Some(format!("the classes' names in the file are not taken, since {why}: --outputs gives others")))
}

/// `golden.json`: the rows with ONNX Runtime's answers.
fn golden(plan: &Plan, engine: &mut dyn Engine, rows: &[Vec<f32>]) -> Result<String> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::input(plan.onnx.display(), error, "give rows that the model is made for, with --rows")
    };
    let (width, mut output) = (engine.info().inputs, vec![0.0; engine.info().outputs]);
    let mut answers = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter().enumerate() {
        let taken = row.chunks(width).try_for_each(|row| engine.take(0, row));
        taken.and_then(|()| engine.infer(&[0], &mut output)).map_err(|error| failed(&error))?;
        if !output.iter().all(|x| x.is_finite()) {
            return Err(failed(&format!("golden row {i} is answered with {output:?}")));
        }
        answers.push(output.clone());
    }
    let golden = serde_json::json!({ "tolerance": GOLDEN_TOLERANCE, "inputs": rows, "outputs": answers });
    serde_json::to_string(&golden).map_err(|error| failed(&error))
}

fn manifest(
    plan: &Plan,
    set: &FeatureSet,
    taken: &Taken,
    names: &[String],
    golden: &[u8],
    evidence: &Evidence,
) -> String {
    let shape = &taken.shape;
    let mut table = Table::new();
    let mut put = |key: &str, value: Value| drop(table.insert(key.into(), value));
    let text = |text: &str| Value::String(text.into());
    let list = |names: &[String]| Value::Array(names.iter().map(|name| text(name)).collect());
    let folder = plan.folder.file_name().and_then(|name| name.to_str()).unwrap_or("model");
    put("schema", Value::Integer(1));
    put("name", text(plan.name.as_deref().unwrap_or(folder)));
    put("revision", Value::Integer(plan.revision.into()));
    put("onnx_sha256", Value::String(taken.sha256.to_string()));
    put("golden_sha256", Value::String(sha256(golden).to_string()));
    put("feature_set", text(set.name()));
    put("features_hash", Value::String(Hash(set.hash()).to_string()));
    put("features", list(set.names()));
    put("missing", text(if plan.missing == Missing::Nan { "nan" } else { "never" }));
    put("input", if taken.fitting.columns.is_empty() { text(&shape.input) } else { list(&taken.fitting.columns) });
    if !shape.states.is_empty() {
        put("takes", text("state"));
    } else if shape.rows > 1 {
        put("takes", text("window"));
        put("window", Value::Integer(shape.rows as i64));
        if taken.fitting.channels_first {
            put("layout", text("channels-first"));
        }
    }
    if let Some(trigger) = evidence.trigger {
        put("trigger", text(&trigger.to_string()));
    }
    put("output", if let [one] = &shape.outputs[..] { text(one) } else { list(&shape.outputs) });
    put("outputs", list(names));
    let unsaid = format!("values of {}, of which nobody has said what they are", shape.outputs.join(", "));
    put("meaning", text(plan.meaning.as_deref().unwrap_or(&unsaid)));
    put("horizon_events", Value::Integer(plan.horizon.into()));
    if plan.weights != Weights::F32 {
        put("weights", text(&format!("{:?}", plan.weights).to_lowercase()));
    }
    if plan.precompute {
        put("precompute", Value::Boolean(true));
    }
    if plan.tolerance != Tolerance::default() {
        // By their text, so that 0.001 is not written as the nearest f32 in full.
        let number = |x: f32| Value::Float(x.to_string().parse().unwrap_or(0.0));
        let Tolerance { absolute, relative } = plan.tolerance;
        let both = [("absolute", absolute), ("relative", relative)].map(|(key, x)| (key.to_owned(), number(x)));
        put("tolerance", Value::Table(both.into_iter().collect()));
    }
    if let Some(instruments) = &evidence.instruments {
        put("instruments", instruments.clone());
    }
    if let Some(expected) = evidence.expected().and_then(|expected| Value::try_from(expected).ok()) {
        put("expected", expected);
    }
    if !shape.states.is_empty() {
        let states = shape.states.iter().map(|(input, next)| (input.clone(), text(next)));
        put("states", Value::Table(states.collect()));
    }
    toml::to_string_pretty(&table).unwrap_or_default()
}

/// Into a folder beside it, which gets the name once a sidecar would take it.
fn write(folder: &Path, files: &[(&str, &[u8])], config: &RuntimeConfig) -> Result<()> {
    let beside = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error: &dyn std::fmt::Display| {
        Error::input(folder.display(), format!("cannot be made: {error}"), "name a folder in one that can be written")
    };
    let making = tempfile::Builder::new().prefix(".pillion-").suffix(".partial").tempdir_in(beside);
    let making = making.map_err(|error| failed(&error))?;
    for (name, bytes) in files {
        let path = making.path().join(name);
        // Whatever the umask: a model that others may write is refused.
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        let written = made.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        written.map_err(|error| failed(&error))?;
    }
    // What is refused here was told by flags, and its folder is about to go.
    let refused =
        |error: Error| Error::input(folder.display(), error.problem, "change what the flags say of the model");
    Model::load(making.path(), config, EngineChoice::OrtCpu).map_err(refused)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(making.path(), mode).map_err(|error| failed(&error))?;
    match renameat_with(CWD, making.path(), CWD, folder, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::EXIST) => Err(exists(folder)),
        Err(error) => Err(failed(&error)),
        Ok(()) => {
            // It has another name now: nothing is left to remove.
            let _ = making.keep();
            Ok(())
        }
    }
}
