//! Optimised graphs on disk: the same answers bit for bit, and no cache that cannot be trusted.

mod model_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model_support::{bundled, root, runtime_is_here};
use pillion::engine::ort::Graph;
use pillion::engine::{Engine, OrtCpu, Runtime, RuntimeConfig, Shape};
use pillion::models::Model;

fn start(onnx: &[u8], shape: &Shape, cache: Option<&Path>) -> OrtCpu {
    OrtCpu::cached(Runtime::open(&RuntimeConfig::default()).unwrap(), onnx, shape, cache).unwrap()
}

/// Every bundled model and every plain file of the zoo, with its shape.
fn models() -> Vec<(String, Vec<u8>, Shape)> {
    let mut models = Vec::new();
    for dir in bundled() {
        let model = Model::read(&dir).unwrap();
        let manifest = model.manifest();
        models.push((manifest.name.clone(), fs::read(dir.join("model.onnx")).unwrap(), manifest.shape()));
    }
    let index: toml::Table = fs::read_to_string(root().join("tests/zoo/index.toml")).unwrap().parse().unwrap();
    for model in index["model"].as_array().unwrap() {
        let number = |key: &str| model.get(key).and_then(toml::Value::as_integer).map(|n| n as usize);
        let name = model["name"].as_str().unwrap();
        if model.get("states").is_none() {
            let shape = Shape::vector("x", number("inputs").unwrap(), "y", number("outputs").unwrap());
            let onnx = fs::read(root().join(format!("tests/zoo/{name}.onnx"))).unwrap();
            models.push((name.into(), onnx, shape.window(number("rows").unwrap_or(1))));
        }
    }
    models
}

fn answers(engine: &mut OrtCpu) -> Vec<u32> {
    let (n, mut all) = (engine.info().inputs, Vec::new());
    for row in 0..24 {
        let scale = if row % 8 == 7 { 1e4 } else { 1.0 };
        let row: Vec<f32> = (0..n).map(|i| ((row * n + i) as f32 * 0.61).sin() * scale).collect();
        let mut outputs = vec![0.0; engine.info().outputs];
        engine.run(&row, &mut outputs).unwrap();
        all.extend(outputs.iter().map(|x| x.to_bits()));
    }
    all
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_cached_graph_answers_bit_for_bit_as_one_without() {
    if !runtime_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("made/by/us");
    let models = models();
    assert!(models.len() > 100, "{}", models.len());
    // Files of the same graph share a cached one.
    let mut graphs_seen = std::collections::HashSet::new();
    for (name, onnx, shape) in &models {
        if !graphs_seen.insert(onnx) {
            continue;
        }
        let mut engines = [None, Some(&*cache), Some(&*cache)].map(|cache| start(onnx, shape, cache));
        let graphs = engines.each_ref().map(|engine| engine.graph().clone());
        // A graph that is opened a second time at one start, since a run contradicts its declared dimensions, finds its own.
        let first = matches!(graphs[1], Graph::Written | Graph::Cached);
        assert!(first && graphs[0] == Graph::Optimised && graphs[2] == Graph::Cached, "{name}: {graphs:?}");
        assert!(entries(&cache).len() >= graphs_seen.len(), "{name}: nothing was written");
        let [plain, written, cached] = engines.each_mut().map(answers);
        assert_eq!(plain, written, "{name}");
        assert_eq!(plain, cached, "{name}");
    }
    let kept = entries(&cache);
    assert!(kept.len() <= 2 * graphs_seen.len(), "a file a graph, or two, and none that is half written");
    assert!(kept.iter().all(|path| path.extension().is_some_and(|end| end == "graph")), "{kept:?}");
}

fn one() -> (Vec<u8>, Shape) {
    let (_, onnx, shape) = models().swap_remove(0);
    (onnx, shape)
}

/// The reason why the cache was not used; the model answers all the same, and the description says so.
#[track_caller]
fn not_used(onnx: &[u8], shape: &Shape, cache: &Path) -> String {
    let mut engine = start(onnx, shape, Some(cache));
    assert_eq!(answers(&mut engine), answers(&mut start(onnx, shape, None)));
    let Graph::Uncached(reason) = engine.graph().clone() else { panic!("{:?}", engine.graph()) };
    assert_eq!(engine.remark(), Some(&*format!("model_cache not used: {reason}")));
    reason
}

#[test]
fn a_graph_that_was_changed_is_foreign_or_cut_is_not_used() {
    if !runtime_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (onnx, shape) = one();
    assert_eq!(*start(&onnx, &shape, Some(folder.path())).graph(), Graph::Written);
    let path = entries(folder.path()).remove(0);
    let good = fs::read(&path).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let line = good.iter().position(|&byte| byte == b'\n').unwrap();
    let of_another = String::from_utf8_lossy(&good[..line]).replacen("pillion graph of ", "pillion graph of 0", 1);
    for (bytes, said) in [
        (&flipped[..], "changed since it was written"),
        (&good[..good.len() / 2], "changed since it was written"),
        (&good[..line + 1], "changed since it was written"),
        (&good[..line], "not a graph of this cache"),
        (&onnx, "not a graph of this cache"),
        (b"", "not a graph of this cache"),
        (&[of_another.as_bytes(), &good[line..]].concat(), "not a graph of this cache"),
    ] {
        fs::write(&path, bytes).unwrap();
        let reason = not_used(&onnx, &shape, folder.path());
        assert!(reason.contains(said) && reason.contains(&path.display().to_string()), "{reason}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "left for a person to look at");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(*start(&onnx, &shape, Some(folder.path())).graph(), Graph::Cached);
}

#[test]
fn a_folder_that_is_none_or_everybodys_is_not_used() {
    if !runtime_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (onnx, shape) = one();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(not_used(&onnx, &shape, &file).contains(&file.display().to_string()));
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    for mode in [0o777, 0o770] {
        // A group of more than this user; his own group may write.
        if std::os::unix::fs::chown(&open, None, Some(4_242)).is_err() && mode == 0o770 {
            continue;
        }
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        let reason = not_used(&onnx, &shape, &open);
        assert!(reason.contains("is not trusted") && reason.contains("chmod"), "{reason}");
    }
    assert!(entries(&open).is_empty());
    // Not even the user who may do anything can make a file there.
    assert!(not_used(&onnx, &shape, Path::new("/proc/self/fd")).contains("/proc/self/fd"));
}

/// Several starts at once: each has its own file until it is whole, and the last one that gives it its name stays.
#[test]
fn starts_at_the_same_time_do_not_disturb_each_other() {
    if !runtime_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (onnx, shape) = one();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let graph = start(&onnx, &shape, Some(folder.path())).graph().clone();
                assert!(matches!(graph, Graph::Written | Graph::Cached), "{graph:?}");
            });
        }
    });
    assert_eq!(entries(folder.path()).len(), 1);
    assert_eq!(*start(&onnx, &shape, Some(folder.path())).graph(), Graph::Cached);
}

/// What is no model is refused in the same words with a cache as without, and leaves nothing there.
#[test]
fn a_broken_model_is_refused_with_or_without_a_cache() {
    if !runtime_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::open(&RuntimeConfig::default()).unwrap();
    let refused = |cache| OrtCpu::cached(runtime, b"no model", &one().1, cache).err().expect("a refusal").to_string();
    assert_eq!(refused(Some(folder.path())), refused(None));
    assert!(entries(folder.path()).is_empty());
}

/// The key of the configuration: the first check writes, the second one reads, a broken cache is said to be one.
#[test]
fn the_banner_says_where_the_graph_came_from() {
    if !runtime_is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let text = |engine: &str| {
        format!(
            "[process]\nmodel_cache = \"graphs\"\nshm_dir = {:?}\nlock = \"no\"\n[lane]\nengine = {engine:?}\nmodels = [{:?}]\n\
         instruments = [{{ id = 1, symbol = \"A\", tick_size = \"0.01\" }}]\n",
            folder.path(),
            root().join("models/mlp-k10"),
        )
    };
    let check = |engine: &str| {
        fs::write(&config, text(engine)).unwrap();
        let mut pillion = std::process::Command::new(env!("CARGO_BIN_EXE_pillion"));
        let out = pillion.arg("check").arg("--config").arg(&config).current_dir(root()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let said = |engine: &str, text: &str| {
        let banner = check(engine);
        assert!(banner.contains(text), "no {text:?} in: {banner}");
    };
    said("ort-cpu", "remark optimised graph written to model_cache");
    said("ort-cpu", "remark optimised graph from model_cache");
    // ONNX Runtime starts beside our own kernels too: they are held against it.
    said("native", "remark optimised graph from model_cache");
    let path = entries(&folder.path().join("graphs")).remove(0);
    fs::write(&path, "broken").unwrap();
    said("ort-cpu", &format!("model_cache not used: {}: not a graph of this cache", path.display()));
}
