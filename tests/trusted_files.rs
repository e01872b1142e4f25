//! What decides what a process does comes from owners who count, from nowhere else, and within bounds; and no name in it
//! reaches a terminal raw.

mod common;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::*;
use pillion::engine::{EngineError, Native, OrtCpu, Runtime, RuntimeConfig, Shape};
use sha2::{Digest, Sha256};

const STRANGER: u32 = 65_534;
const INSTRUMENT: &str = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn check(config: &Path) -> Output {
    output(pillion().arg("check").arg("--config").arg(config))
}

#[track_caller]
fn refused(out: &Output, parts: &[&str]) {
    let said = stderr(out);
    assert_eq!(out.status.code(), Some(2), "{said}{}", stdout(out));
    for part in parts.iter().chain(&["mend: "]) {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

#[track_caller]
fn taken(out: &Output) {
    assert!(out.status.success(), "{}{}", stdout(out), stderr(out));
}

/// A copy of a bundled model in `dir`.
fn copy_of_model(dir: &Path) -> PathBuf {
    let copy = dir.join("model");
    fs::create_dir(&copy).unwrap();
    for name in ["manifest.toml", "model.onnx", "golden.json"] {
        fs::write(copy.join(name), fs::read(model("mlp-k10").join(name)).unwrap()).unwrap();
    }
    copy
}

/// Each file that decides, and the folders on the way to it: with a mode, then with an owner, that is not in order.
#[test]
fn files_that_others_could_have_written_are_refused_by_name() {
    if !has_onnxruntime() {
        return;
    }
    let dir = shm_dir();
    let (folder, outside) = (dir.path().join("etc"), shm_dir());
    fs::create_dir(&folder).unwrap();
    let model = copy_of_model(&folder);
    let set = folder.join("set.toml");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/features/book.toml"), &set).unwrap();
    let write = |trusted: &str| {
        let keys = format!("[process]\nshm_dir = {:?}\n{trusted}", dir.path());
        let lane = format!("[lane]\nmodels = [\"etc/model\"]\nfeatures = \"etc/set.toml\"\n{INSTRUMENT}");
        let path = dir.path().join("config.toml");
        fs::write(&path, format!("{keys}{lane}")).unwrap();
        path
    };
    let config = write("");
    taken(&check(&config));
    let files = [&config, &set, &model.join("manifest.toml"), &model.join("model.onnx"), &model.join("golden.json")];
    for path in files {
        mode(path, 0o666);
        let named = format!("{}", path.display());
        refused(&check(&config), &[&named, "is not trusted", "mode 0666", "chmod o-w"]);
        mode(path, 0o644);
    }
    for path in [&folder, &model] {
        mode(path, 0o777);
        refused(&check(&config), &[&format!("{} is not trusted", path.display()), "mode 0777", "chmod o-w"]);
        mode(path, 0o1777);
        taken(&check(&config));
        mode(path, 0o755);
    }
    // The same file in a folder that is in order is used.
    let moved = outside.path().join("config.toml");
    fs::copy(&config, &moved).unwrap();
    refused(&check(&moved), &["No such file"]);
    if chown(&set, Some(STRANGER), None).is_err() {
        return skip("only root gives files away");
    }
    refused(&check(&config), &["set.toml", "uid 65534", "trusted_uids = [65534]"]);
    chown(&model, Some(STRANGER), None).unwrap();
    write("trusted_uids = [65534]\n");
    taken(&check(&config));
    // Whom it names does not count for the file itself: whoever could write it could name himself.
    chown(&config, Some(STRANGER), None).unwrap();
    refused(&check(&config), &["config.toml", "uid 65534"]);
    let out = output(pillion().arg("check").arg("--config").arg(&config).env("PILLION_TRUSTED_UIDS", "65534"));
    taken(&out);
}

/// Under umask 002 a user's files are for his own group to write, which is nobody else; a group of others is not.
#[test]
fn a_group_may_write_where_nobody_else_is_in_it() {
    let dir = shm_dir();
    let path = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    if chown(&path, None, Some(4_242)).is_err() {
        return skip("only root gives files to any group");
    }
    mode(&path, 0o664);
    refused(&check(&path), &["config.toml", "group 4242", "chmod g-w"]);
    chown(&path, None, Some(0)).unwrap();
    refused(&check(&path), &["config.toml", "group 0 is not the own one of a user who counts", "chmod g-w"]);
    // A user of this machine with a group of his own.
    let (groups, users) = ["/etc/group", "/etc/passwd"].map(|list| fs::read_to_string(list).unwrap_or_default()).into();
    let alone =
        groups.lines().filter(|line| line.ends_with(':')).filter_map(|line| line.split(':').nth(2)).find_map(|gid| {
            let mut of: Vec<_> = users.lines().filter(|user| user.split(':').nth(3) == Some(gid)).collect();
            let uid = of.pop()?.split(':').nth(2)?;
            (of.is_empty() && !["0", "100"].contains(&gid)).then(|| (uid.to_owned(), gid.parse().ok()))
        });
    let Some((uid, gid)) = alone else { return skip("no user of this machine has a group of his own") };
    chown(&path, None, gid).unwrap();
    refused(&check(&path), &["config.toml", &format!("uid {uid} is in group")]);
    taken(&output(pillion().arg("check").arg("--config").arg(&path).env("PILLION_TRUSTED_UIDS", uid)));
}

/// A pipe is taken from whoever counts: a shell's, one's own by name, and no other.
#[test]
fn a_configuration_may_come_through_a_pipe_of_ones_own() {
    let dir = shm_dir();
    let path = config(dir.path(), &format!("[lane]\n{INSTRUMENT}"));
    let exe = env!("CARGO_BIN_EXE_pillion");
    for script in [
        "\"$0\" check --config <(cat \"$1\")",
        "cat \"$1\" | \"$0\" check --config /dev/stdin",
        "\"$0\" check --config /dev/stdin < \"$1\"",
        "\"$0\" check --config /dev/fd/3 3< \"$1\"",
    ] {
        match Command::new("bash").args(["-c", script, exe]).arg(&path).output() {
            Ok(out) => taken(&out),
            Err(error) => return skip(&format!("no bash: {error}")),
        }
    }
    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    if chown(&pipe, Some(STRANGER), None).is_ok() {
        // Nobody is at its other end: it is refused before anybody waits.
        refused(&check(&pipe), &["pipe", "a pipe of uid 65534", "a pipe of your own"]);
    }
}

/// `file` with one more initializer, which lies in `weights.bin` beside whoever loads it.
fn with_weights_outside(file: &[u8]) -> Vec<u8> {
    let field = |number: u8, inner: &[u8]| [&[number << 3 | 2, u8::try_from(inner.len()).unwrap()], inner].concat();
    let entry = [field(1, b"location"), field(2, b"weights.bin")].concat();
    let tensor = [vec![1 << 3, 1, 2 << 3, 1], field(8, b"outside"), field(13, &entry), vec![14 << 3, 1]].concat();
    // A message's parts may stand apart: this is more of the graph.
    [file, &field(7, &field(5, &tensor))].concat()
}

#[test]
fn weights_outside_the_file_are_refused_by_name_everywhere() {
    let dir = shm_dir();
    let model = copy_of_model(dir.path());
    let onnx = with_weights_outside(&fs::read(model.join("model.onnx")).unwrap());
    fs::write(model.join("model.onnx"), &onnx).unwrap();
    let hash: String = Sha256::digest(&onnx).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut manifest: toml::Table = fs::read_to_string(model.join("manifest.toml")).unwrap().parse().unwrap();
    manifest.insert("onnx_sha256".into(), hash.into());
    fs::write(model.join("manifest.toml"), manifest.to_string()).unwrap();
    // Where ONNX Runtime would find it.
    fs::write(dir.path().join("weights.bin"), [0; 4]).unwrap();
    let shape = Shape::vector("features", 8, "probabilities", 3);
    let said = Native::new(&onnx, &shape).err().unwrap().to_string();
    assert!(said.contains("initializer `outside` has its values outside the file"), "{said}");
    if !has_onnxruntime() {
        return;
    }
    let runtime =
        Runtime::open(&RuntimeConfig { onnxruntime: Some(onnxruntime()), ..RuntimeConfig::default() }).unwrap();
    let error = OrtCpu::new(runtime, &onnx, &shape).err().unwrap();
    assert!(matches!(&error, EngineError::Graph(why) if why.contains("`outside`")), "{error}");
    let config = config(dir.path(), &format!("[lane]\nmodels = [\"model\"]\n{INSTRUMENT}"));
    let named = ["model.onnx", "initializer `outside` has its values outside the file"];
    let (file, config) = (model.join("model.onnx").display().to_string(), config.display().to_string());
    for words in [
        &["check", "--config", &config][..],
        &["run", "--config", &config],
        &["model", "check", "model"],
        &["model", "check", &file],
        &["model", "new", &file, "--features", "book", "-o", "made"],
    ] {
        let out = output(pillion().args(words).current_dir(dir.path()).env("ORT_DYLIB_PATH", onnxruntime()));
        refused(&out, &named);
    }
    assert!(!dir.path().join("made").exists());
}

/// Names with an escape of a terminal, an end of line, or a mark of direction.
const NAMES: [&str; 4] = ["e\u{1b}[31ms", "a\nOK lane es RUN", "\u{9b}31m", "es\u{202e}4H"];

#[track_caller]
fn plain(out: &Output) {
    for text in [stdout(out), stderr(out)] {
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{7}']), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("OK lane es RUN")), "{text}");
    }
}

#[test]
fn names_that_steer_a_terminal_are_refused_where_they_are_made() {
    let dir = shm_dir();
    let input = dir.path().join("x_2012-06-21_1_2_message_1.csv");
    fs::write(&input, "34200.0,1,1,100,1000000,1\n").unwrap();
    let books = dir.path().join("books.csv");
    fs::write(&books, "9999999999,0,1000000,100\n").unwrap();
    for name in NAMES {
        let text = toml::Value::String(name.into()).to_string();
        let symbol = format!("[lane]\ninstruments = [{{ id = 1, symbol = {text}, tick_size = \"0.01\" }}]\n");
        let features = format!("[lane]\nfeatures = {text}\n{INSTRUMENT}");
        let lane = format!("[lane]\nname = {text}\n{INSTRUMENT}");
        for toml in [symbol, features, lane] {
            let out = check(&config(dir.path(), &toml));
            refused(&out, &["config.toml"].iter().filter(|_| !toml.contains("name =")).copied().collect::<Vec<_>>());
            plain(&out);
        }
        let mut convert = pillion();
        convert.args(["convert", "lobster", "--symbol", name, "--date", "2012-06-21", "-o"]);
        let out = output(convert.arg(dir.path().join("out.dbn")).args([&input, &books]));
        refused(&out, &["does not fit DBN"]);
        plain(&out);
        for key in ["name", "meaning", "outputs", "output", "input", "features", "feature_set"] {
            let model = copy_of_model(dir.path());
            let mut manifest: toml::Table = fs::read_to_string(model.join("manifest.toml")).unwrap().parse().unwrap();
            match manifest[key].as_array().cloned() {
                Some(mut list) => {
                    list[0] = name.into();
                    manifest.insert(key.into(), list.into());
                }
                None => drop(manifest.insert(key.into(), name.into())),
            }
            fs::write(model.join("manifest.toml"), manifest.to_string()).unwrap();
            let out = output(pillion().args(["model", "check"]).arg(&model));
            refused(&out, &["manifest.toml", key, "steers a terminal or cannot be seen"]);
            plain(&out);
            fs::remove_dir_all(&model).unwrap();
        }
    }
}

#[test]
fn names_of_others_are_escaped_where_they_are_printed() {
    let dir = shm_dir();
    for name in NAMES {
        for kind in ["cnc", "signals", "ticks"] {
            fs::write(dir.path().join(format!("pillion.{name}.{kind}")), "").unwrap();
        }
    }
    let at = dir.path().display().to_string();
    for words in [
        &["shm", "ls", "--dir", &at][..],
        &["shm", "ls", "--json", "--dir", &at],
        &["status", "--shm-dir", &at],
        &["status", "--json", "--shm-dir", &at],
        &["shm", "rm", "--all", "--dir", &at],
    ] {
        let out = output(pillion().args(words));
        plain(&out);
        assert!(stdout(&out).len() + stderr(&out).len() > 20, "{words:?}");
        if words.contains(&"ls") && words.contains(&"--json") {
            let lines: Vec<serde_json::Value> =
                stdout(&out).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
            let named = |name: &str| lines.iter().any(|line| line["path"].as_str().unwrap().contains(name));
            assert!(NAMES.iter().all(|name| named(name)), "{lines:?}");
        }
    }
    for name in NAMES {
        let long = format!("{name}{}", "x".repeat(100_000));
        for words in [
            &[name][..],
            &["check", "--config", name],
            &["book", name],
            &["ctl", name, "halt"],
            &["status", name],
            &[&long],
        ] {
            let out = output(pillion().args(words));
            assert_eq!(out.status.code(), Some(2), "{words:?}");
            plain(&out);
            assert!(stderr(&out).len() < 4_000, "{} bytes", stderr(&out).len());
        }
    }
}

/// Runs with at most so many KiB of address space; nothing it says is long.
#[track_caller]
fn bounded(kib: u64, words: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {kib}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_pillion")]).args(words);
    let out = shell.env("ORT_DYLIB_PATH", onnxruntime()).stdin(Stdio::null()).output().unwrap();
    assert!(stderr(&out).len() + stdout(&out).len() < 4_000, "{words:?}: {} bytes", stderr(&out).len());
    out
}

/// A file that has no end, or hardly one, costs neither memory nor a screen.
#[test]
fn files_without_an_end_are_refused_within_bounds() {
    let dir = shm_dir();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let sparse = |name: &str, gib: u64| File::create(at(name)).unwrap().set_len(gib << 30).unwrap();
    ["big.toml", "big.json", "big.csv"].iter().for_each(|name| sparse(name, 20));
    let big_model = copy_of_model(dir.path());
    let (big, json, csv) = (at("big.toml"), at("big.json"), at("big.csv"));
    let mib = 400 << 10;
    for (file, said) in [(&*big, "at most 16777216"), ("/dev/zero", "at most 1048576 of a device")] {
        refused(&bounded(mib, &["check", "--config", file]), &[file, said]);
    }
    for file in [&*json, "/dev/zero"] {
        refused(&bounded(mib, &["report", file, "--html", &at("x.html")]), &[file, "at most"]);
        refused(&bounded(mib, &["compare", file, file]), &[file, "at most"]);
    }
    refused(&bounded(mib, &["features", "--list", "--set", &big]), &["big.toml", "at most 1048576"]);
    refused(
        &bounded(mib, &["convert", "lobster", &csv, &csv, "--symbol", "A", "--date", "2012-06-21", "-o", &at("o.dbn")]),
        &["big.csv:1", "is longer than 1048576 bytes"],
    );
    refused(&bounded(mib, &["convert", "binance", &csv, "-o", &at("o.dbn")]), &["big.csv", "longer than"]);
    for name in ["manifest.toml", "golden.json", "model.onnx"] {
        let whole = fs::read(big_model.join(name)).unwrap();
        File::options().write(true).open(big_model.join(name)).unwrap().set_len(20 << 30).unwrap();
        refused(&bounded(mib, &["model", "check", &big_model.display().to_string()]), &[name, "at most"]);
        fs::write(big_model.join(name), whole).unwrap();
    }
    refused(&bounded(mib, &["model", "check", &csv]), &["big.csv", "at most"]);
}

/// The line of 100 MB that a zip of 100 KB unpacks to, and names and cells of a megabyte.
#[test]
fn a_bomb_in_a_zip_and_long_values_end_within_bounds() {
    let dir = shm_dir();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let mut zip = zip::ZipWriter::new(File::create(at("bomb.zip")).unwrap());
    let (options, mega) = (zip::write::SimpleFileOptions::default(), vec![b'1'; 1 << 20]);
    for name in ["A_2012-06-21_1_2_message_1.csv", "A_2012-06-21_1_2_orderbook_1.csv"] {
        zip.start_file(name, options.compression_method(zip::CompressionMethod::Deflated)).unwrap();
        (0..100).for_each(|_| zip.write_all(&mega).unwrap());
    }
    zip.finish().unwrap();
    let out = bounded(400 << 10, &["convert", "lobster", &at("bomb.zip"), "-o", &at("o.dbn")]);
    refused(&out, &["_1.csv:1: ", "is longer than 1048576 bytes"]);
    let long = "x".repeat(1_000_000);
    fs::write(at("m.csv"), format!("{},1,1,100,1000000,1\n", &long[..900_000])).unwrap();
    fs::write(at("b.csv"), "9999999999,0,1000000,100\n").unwrap();
    let lobster =
        ["convert", "lobster", &at("m.csv"), &at("b.csv"), "--symbol", "A", "--date", "2012-06-21", "-o", &at("o.dbn")];
    refused(&bounded(400 << 10, &lobster), &["m.csv:1", "characters left out"]);
    for toml in [
        format!("[lane]\nname = {long:?}\n{INSTRUMENT}"),
        format!("[lane]\n{long} = 1\n"),
        format!("[lane]\nmodels = [{long:?}]\n{INSTRUMENT}"),
        format!("[lane]\nengine = {long:?}\n"),
        format!("[lane]\n{long}\n"),
    ] {
        refused(&bounded(800 << 10, &["check", "--config", &config(dir.path(), &toml).display().to_string()]), &[]);
    }
    let model = copy_of_model(dir.path());
    let whole: toml::Table = fs::read_to_string(model.join("manifest.toml")).unwrap().parse().unwrap();
    for key in ["name", "meaning", "feature_set", "input", "output", "onnx_sha256", "features_hash"] {
        let mut manifest = whole.clone();
        manifest.insert(key.into(), long[..1_000_000 - 100_000].into());
        fs::write(model.join("manifest.toml"), manifest.to_string()).unwrap();
        refused(&bounded(800 << 10, &["model", "check", &model.display().to_string()]), &["manifest.toml"]);
    }
}

/// Numbers that would make a model useless, or are none.
#[test]
fn numbers_of_a_manifest_are_bounded_and_finite() {
    let dir = shm_dir();
    let model = copy_of_model(dir.path());
    let text = fs::read_to_string(model.join("manifest.toml")).unwrap();
    let whole: toml::Table = text.parse().unwrap();
    let scores = |macro_f1: f64, accuracy: f64, log_loss: f64| {
        let of = [("macro_f1", macro_f1), ("accuracy", accuracy), ("log_loss", log_loss)];
        let of: toml::Table = of.into_iter().map(|(key, x)| (key.to_owned(), x.into())).collect();
        toml::Value::Table([("model".to_owned(), toml::Value::Table(of))].into_iter().collect())
    };
    let cases: [(&str, toml::Value, &str); 10] = [
        ("warmup", i64::MAX.into(), "warmup = 9223372036854775807"),
        ("warmup", 1_048_577.into(), "up to 1048576 rows"),
        ("revision", 0.into(), "revision = 0"),
        ("revision", i64::MAX.into(), "revision"),
        ("horizon_events", u32::MAX.into(), "horizon_events = 4294967295"),
        ("scores", scores(f64::NAN, 0.5, 1.0), "macro_f1 = NaN"),
        ("scores", scores(0.5, 1.5, 1.0), "accuracy = 1.5"),
        ("scores", scores(0.5, 0.5, f64::INFINITY), "log_loss = inf"),
        ("scores", scores(0.5, 0.5, -1.0), "log_loss = -1"),
        ("window", i64::MAX.into(), "window"),
    ];
    for (key, value, said) in cases {
        let mut manifest = whole.clone();
        manifest.insert(key.into(), value);
        fs::write(model.join("manifest.toml"), manifest.to_string()).unwrap();
        refused(&output(pillion().args(["model", "check"]).arg(&model)), &["manifest.toml", said]);
    }
}
