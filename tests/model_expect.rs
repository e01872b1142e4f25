//! `pillion model new` and `check` with rows of the market and the estimator's own answers: all rows are asked, what differs is
//! counted, named and refused, and the trigger of the rows becomes part of the model.

mod common;
#[path = "common/onnx.rs"]
mod onnx;
#[path = "common/rows_models.rs"]
mod rows_models;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::*;
use pillion::data::{self, synth};
use pillion::engine::{Engine, Native, Shape};
use pillion::hot::Trigger;
use pillion::hot::features::FeatureSet;
use serde_json::Value;

/// A recording, and a folder.
struct Bench {
    dir: tempfile::TempDir,
    input: PathBuf,
    set: FeatureSet,
}

impl Bench {
    fn new() -> Self {
        let dir = shm_dir();
        let input = dir.path().join("synth.dbn.zst");
        let plan = synth::Plan { seed: 5, instruments: 3, events: 3_000, events_per_second: 5_000 };
        synth::write(&input, &plan).expect("writable");
        Self { dir, input, set: FeatureSet::load("book").unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The rows of a trigger, written by the program; the instrument and values of each, computed here.
    fn rows(&self, name: &str, trigger: &str) -> (PathBuf, Vec<(u32, Vec<f32>)>) {
        let path = self.path(name);
        let out = output(pillion().arg("features").arg(&self.input).args(["--trigger", trigger, "-o"]).arg(&path));
        assert!(out.status.success(), "{}", stderr(&out));
        let feed = data::load(&self.input).unwrap();
        let trigger: Trigger = trigger.parse().unwrap();
        let mut offline = feed.offline(&self.set).unwrap().on(trigger);
        let mut rows = Vec::new();
        for record in &feed {
            rows.extend(offline.turn(record).map(|(event, row)| (event.instrument_id, row.to_vec())));
        }
        (path, rows)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// `np.save` of float64.
    fn npy(&self, name: &str, answers: &[Vec<f64>]) -> PathBuf {
        let shape = format!("({}, {})", answers.len(), answers[0].len());
        let head = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((head.len() as u16).to_le_bytes());
        bytes.extend(head.as_bytes());
        bytes.extend(answers.iter().flatten().flat_map(|x| x.to_le_bytes()));
        self.write(name, bytes)
    }

    fn csv(&self, name: &str, head: &str, answers: &[Vec<f64>]) -> PathBuf {
        let line = |row: &Vec<f64>| row.iter().map(f64::to_string).collect::<Vec<_>>().join(",") + "\n";
        self.write(name, format!("{head}{}", answers.iter().map(line).collect::<String>()))
    }

    fn new_model(&self, onnx: &Path, out: &str, rows: &Path, expect: &Path, more: &[&str]) -> std::process::Output {
        let mut command = pillion();
        command.args(["model", "new"]).arg(onnx).args(["--features", "book", "-o"]).arg(self.path(out));
        output(command.arg("--rows").arg(rows).arg("--expect").arg(expect).args(more))
    }

    fn manifest(&self, of: &str) -> toml::Table {
        std::fs::read_to_string(self.path(of).join("manifest.toml")).unwrap().parse().unwrap()
    }
}

/// What the bundled dense net answers, by our own kernels.
fn mlp(rows: &[(u32, Vec<f32>)]) -> Vec<Vec<f64>> {
    let onnx = std::fs::read(model("mlp-k10").join("model.onnx")).unwrap();
    let mut engine = Native::new(&onnx, &Shape::vector("features", rows[0].1.len(), "probabilities", 3)).unwrap();
    let mut answer = [0.0; 3];
    let mut of = |(_, row): &(u32, Vec<f32>)| {
        engine.run(row, &mut answer).unwrap();
        answer.iter().map(|&x| f64::from(x)).collect()
    };
    rows.iter().map(&mut of).collect()
}

fn mlp_onnx() -> PathBuf {
    model("mlp-k10").join("model.onnx")
}

#[track_caller]
fn refused(out: &std::process::Output, words: &[&str]) {
    let text = stderr(out);
    assert_eq!(out.status.code(), Some(2), "{}{text}", stdout(out));
    assert!(text.contains("mend: "), "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "`{word}` is not in: {text}"));
}

#[test]
fn every_row_is_held_against_the_estimator() {
    if !has_onnxruntime() {
        return;
    }
    let bench = Bench::new();
    let (rows, values) = bench.rows("rows.parquet", "event-end");
    let answers = mlp(&values);
    let expect = bench.npy("answers.npy", &answers);
    let out = bench.new_model(&mlp_onnx(), "made", &rows, &expect, &["--outputs", "down,flat,up"]);
    assert!(out.status.success(), "{}", stderr(&out));
    let said = stdout(&out);
    assert!(said.contains("expected   none of") && said.contains("0 decisions differ"), "{said}");
    assert!(said.contains("trigger    rows of \"event-end\""), "{said}");
    let manifest = bench.manifest("made");
    let expected = manifest["expected"].as_table().unwrap();
    assert_eq!(expected["rows"].as_integer(), Some(values.len() as i64));
    assert_eq!((expected["differ"].as_integer(), expected["decisions"].as_integer()), (Some(0), Some(0)));
    assert!((0.0..1e-5).contains(&expected["largest"].as_float().unwrap()), "{expected:?}");
    assert_eq!(manifest["trigger"].as_str(), Some("event-end"));
    assert_eq!(manifest["instruments"].as_array().map(Vec::len), Some(3), "what the rows count in: {manifest}");
    // Golden rows are rows of the file, spread over it.
    let golden: Value = serde_json::from_slice(&std::fs::read(bench.path("made/golden.json")).unwrap()).unwrap();
    let golden: Vec<Vec<f32>> = serde_json::from_value(golden["inputs"].clone()).unwrap();
    assert!((32..=64).contains(&golden.len()), "{}", golden.len());
    let places: Vec<_> = golden
        .iter()
        .map(|row| values.iter().position(|(_, other)| other == row).expect("a row of the file"))
        .collect();
    assert!(places.is_sorted() && places[0] < 100 && places.last().unwrap() * 10 > values.len() * 9, "{places:?}");
    // The same by name from text, in another order and with the rows' keys beside them.
    let by_name: Vec<_> = answers.iter().map(|row| vec![1.0, row[2], row[0], row[1]]).collect();
    let expect = bench.csv("answers.csv", "instrument_id,up,down,flat\n", &by_name);
    let mut check = pillion();
    check.args(["model", "check", "--json"]).arg(bench.path("made"));
    let out = output(check.arg("--rows").arg(&rows).arg("--expect").arg(&expect));
    assert!(out.status.success(), "{}", stderr(&out));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["asked"]["compared"]["rows"], values.len());
    assert_eq!((&found["asked"]["compared"]["differ"], &found["expected"]["differ"]), (&0.into(), &0.into()));
    assert_eq!(found["trigger"], "event-end");
}

#[test]
fn what_differs_is_counted_named_and_refused() {
    if !has_onnxruntime() {
        return;
    }
    let bench = Bench::new();
    let (rows, values) = bench.rows("rows.parquet", "event-end");
    let answers = mlp(&values);
    let refuse = |expect: &Path, words: &[&str]| {
        refused(&bench.new_model(&mlp_onnx(), "made", &rows, expect, &["--outputs", "down,flat,up"]), words);
        assert!(!bench.path("made").exists());
    };
    // Two rows of all, one of them with another decision.
    let mut wrong = answers.clone();
    wrong[1_234][2] += 0.01;
    wrong[700] = vec![answers[700][1], answers[700][2], answers[700][0]];
    let share = format!("2 ({:.2} %) of", 200.0 / answers.len() as f64);
    refuse(&bench.npy("two.npy", &wrong), &[&share, "row 700", "1234 ", "`", "1 decisions differ", "two.npy"]);
    // A NaN is no answer that the graph has given.
    let mut wrong = answers.clone();
    wrong[5][0] = f64::NAN;
    refuse(&bench.npy("nan.npy", &wrong), &["1 (", "(row 5, `down`", "NaN"]);
    // Faults that leave plain traces.
    type Change = fn(usize, &[Vec<f64>]) -> Vec<f64>;
    let changes: [(&str, Change, &str); 7] = [
        (
            "logistic",
            |i, all| all[i].iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
            "the logistic function of the graph's",
        ),
        ("raw", |i, all| all[i].iter().map(|x| (x / (1.0 - x)).ln()).collect(), "which are raw scores"),
        ("mean", |i, all| all[i].iter().map(|x| x / 12.0).collect(), "12.0000 times the estimator's"),
        ("base", |i, all| all[i].iter().map(|x| x - 0.5).collect(), "0.5000 more than"),
        ("turned", |i, all| all[i].iter().rev().copied().collect(), "in order, up, flat, down"),
        ("late", |i, all| all[i.saturating_sub(1)].clone(), "those to the row before"),
        ("noise", |i, all| all[i].iter().map(|x| x + ((i * 7919) % 101) as f64 / 1e3).collect(), "no plain relation"),
    ];
    for (name, change, words) in changes {
        let changed: Vec<_> = (0..answers.len()).map(|i| change(i, &answers)).collect();
        refuse(&bench.npy(&format!("{name}.npy"), &changed), &[words, "differ from the estimator's answers"]);
    }
    // Files that cannot be the answers to these rows.
    refuse(&bench.npy("short.npy", &answers[1..]), &["rows of answers where there are"]);
    let short = bench.csv("short.csv", "", &answers[1..]);
    refuse(&short, &["rows of answers where there are"]);
    let ones: Vec<_> = answers.iter().map(|row| vec![row[2]]).collect();
    refuse(
        &bench.npy("one.npy", &ones),
        &["has 1 columns; the graph gives 3 values: down, flat, up", "np.column_stack"],
    );
    refuse(&bench.path("none.npy"), &["none.npy", "cannot be read"]);
    // A directory that is there: the same answers, and exit code 2.
    let mut check = pillion();
    check.args(["model", "check"]).arg(model("mlp-k10")).arg("--rows").arg(&rows);
    refused(&output(check.arg("--expect").arg(bench.path("two.npy"))), &["row 700", "two.npy"]);
}

#[test]
fn a_csv_of_answers_is_taken_as_pandas_writes_it() {
    if !has_onnxruntime() {
        return;
    }
    let bench = Bench::new();
    let (rows, values) = bench.rows("rows.parquet", "every=40");
    let answers = mlp(&values);
    let indexed: Vec<_> =
        answers.iter().zip(0_u32..).map(|(row, i)| [vec![f64::from(i)], row.clone()].concat()).collect();
    let turned: Vec<_> = answers.iter().map(|row| vec![row[2], row[0], row[1]]).collect();
    for (name, head, answers) in [
        ("plain", "", &answers),
        ("columns", "0,1,2\n", &answers),
        ("index", ",0,1,2\n", &indexed),
        ("named", "9,7,8\n", &turned),
    ] {
        let expect = bench.csv(&format!("{name}.csv"), head, answers);
        let out = bench.new_model(&mlp_onnx(), name, &rows, &expect, &["--outputs", "7,8,9"]);
        assert!(out.status.success(), "{name}: {}", stderr(&out));
    }
    let expect = bench.csv("other.csv", "1,2,3\n", &answers);
    let out = bench.new_model(&mlp_onnx(), "other", &rows, &expect, &["--outputs", "7,8,9"]);
    refused(&out, &["its first line holds numbers, and was read as a row", "header=False"]);
}

#[test]
fn answers_that_never_change_are_not_called_shifted_and_a_row_without_an_answer_is_named() {
    if !has_onnxruntime() {
        return;
    }
    let bench = Bench::new();
    let n = bench.set.len();
    let rows = |of: [f32; 100]| of.map(|x| vec![f64::from(x); n]);
    let table = |name: &str, of| bench.csv(name, &(bench.set.names().join(",") + "\n"), &rows(of));
    let mut answers = mlp(&[0.25; 100].map(|x| (1, vec![x; n])));
    answers[99][0] += 0.5;
    let same = table("same.csv", [0.25; 100]);
    let out = bench.new_model(&mlp_onnx(), "made", &same, &bench.npy("same.npy", &answers), &[]);
    refused(&out, &["1 (1.00 %) of 100 rows"]);
    assert!(!stderr(&out).contains("row before"), "{}", stderr(&out));
    // A place in a table of three, which row 57 is beyond.
    let graph = onnx::Onnx::default()
        .input("x", &[onnx::Open("batch"), onnx::Is(n as i64)])
        .output("y", &[onnx::Open("batch")]);
    let graph =
        graph.floats("table", &[3], &[0.5, 1.5, 2.5]).node("Cast", &["x"], &["i"], &[("to", onnx::Attribute::Int(7))]);
    let graph = graph.node("Gather", &["table", "i"], &["g"], &[]);
    let axes = [("axes", onnx::Attribute::Ints(&[1])), ("keepdims", onnx::Attribute::Int(0))];
    let file = bench.write("places.onnx", graph.node("ReduceMax", &["g"], &["y"], &axes).bytes());
    let places = std::array::from_fn(|row| if row == 57 { 9.0 } else { 1.0 });
    let mut new = pillion();
    new.args(["model", "new"]).arg(&file).args(["--features", "book", "-o"]).arg(bench.path("places"));
    refused(
        &output(new.arg("--rows").arg(table("places.csv", places))),
        &["row 57 of it is not answered", "look at that row"],
    );
}

#[test]
fn rows_that_are_not_the_models_are_refused() {
    if !has_onnxruntime() {
        return;
    }
    let bench = Bench::new();
    let (rows, values) = bench.rows("rows.parquet", "trade");
    let expect = bench.npy("answers.npy", &mlp(&values));
    let made = bench.new_model(&mlp_onnx(), "made", &rows, &expect, &["--trigger", "event-end"]);
    refused(&made, &["rows.parquet", "rows of trigger \"trade\"", "--trigger says \"event-end\""]);
    // Another set, though its columns have the same names.
    let text = self::set_with_other_warmup();
    let other = bench.write("other.toml", text);
    let out = bench.path("other.parquet");
    let written = output(pillion().arg("features").arg(&bench.input).arg("--set").arg(&other).arg("-o").arg(&out));
    assert!(written.status.success(), "{}", stderr(&written));
    refused(
        &bench.new_model(&mlp_onnx(), "made", &out, &expect, &[]),
        &["rows of feature set", "the model's is `book`"],
    );
    // A graph that names its columns, in another order.
    let names = |names: &[String]| serde_json::to_string(names).unwrap();
    let mut turned = bench.set.names().to_vec();
    turned.swap(3, 4);
    for (columns, word) in [(names(&turned), "number 3 is `imbalance_5`"), ("spread".into(), "no JSON list")] {
        let mut onnx = std::fs::read(mlp_onnx()).unwrap();
        onnx.extend(metadata("pillion.features", &columns));
        let onnx = bench.write("named.onnx", onnx);
        refused(&bench.new_model(&onnx, "made", &rows, &expect, &[]), &["named.onnx", word]);
    }
    let mut onnx = std::fs::read(mlp_onnx()).unwrap();
    onnx.extend(metadata("pillion.features", &names(bench.set.names())));
    let named = bench.write("named.onnx", onnx);
    let out = bench.new_model(&named, "made", &rows, &expect, &[]);
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(bench.manifest("made")["trigger"].as_str(), Some("trade"));
}

/// The set `book` with another warm-up: the same names, another hash.
fn set_with_other_warmup() -> String {
    let book =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/features/book.toml")).unwrap();
    let line = book.lines().find(|line| line.starts_with("warmup_events")).unwrap().to_owned();
    book.replace(&line, "warmup_events = 7")
}

/// An entry of an ONNX file's metadata, which may follow what stands there.
fn metadata(key: &str, value: &str) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let (mut out, mut length) = (vec![number << 3 | 2], bytes.len());
        while length > 0x7f {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend(bytes);
        out
    }
    field(14, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
}

#[test]
fn a_model_that_overflows_on_every_row_is_refused() {
    if !has_onnxruntime() {
        return;
    }
    let bench = Bench::new();
    let line = vec!["3e38"; bench.set.len()].join(",") + "\n";
    let rows = bench.write("rows.csv", bench.set.names().join(",") + "\n" + &line.repeat(200));
    let onnx = bench.write("window.onnx", rows_models::onnx("window"));
    let mut new = pillion();
    new.args(["model", "new"]).arg(&onnx).args(["--features", "book", "-o"]).arg(bench.path("made"));
    refused(&output(new.arg("--rows").arg(&rows)), &["rows.csv", "each of 196 rows", "a NaN or an infinity"]);
    assert!(!bench.path("made").exists());
}

/// Windows and states are asked by instrument and in order; a lane with another trigger than the rows' is refused.
#[test]
fn windows_and_states_step_on_the_rows_of_their_trigger() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, bench) = (one_at_a_time(), Bench::new());
    let (rows, values) = bench.rows("rows.parquet", "every=3");
    let mut seen: HashMap<u32, Vec<Vec<f32>>> = HashMap::new();
    let (mut windows, mut states) = (Vec::new(), Vec::new());
    for (instrument, row) in &values {
        let seen = seen.entry(*instrument).or_default();
        seen.push(row.clone());
        let last: Vec<&Vec<f32>> = seen.iter().rev().take(5).rev().collect();
        // What stands before the window is full is nobody's answer.
        windows.push(match last[..] {
            [first, .., newest] if last.len() == 5 => {
                let sum = last.iter().zip(1_u8..).map(|(row, place)| f64::from(place) * f64::from(row[1])).sum();
                vec![f64::from(first[0]), f64::from(newest[0]), sum]
            }
            _ => vec![f64::NAN; 3],
        });
        let state = seen.iter().fold([0.0_f32; 2], |s, row| [s[0] / 2.0 + row[0], s[1] / 2.0 + row[1]]);
        states.push(vec![f64::from(state[0]), f64::from(state[1]), f64::from(row[2])]);
    }
    let [window, state, _] = rows_models::fixtures(&bench.set);
    for (fixture, answers, more) in
        [(window, windows, &[][..]), (state, states, &["--state", "s=next", "--output", "next,z"][..])]
    {
        let onnx = bench.write(&format!("{}.onnx", fixture.name), rows_models::onnx(fixture.name));
        let expect = bench.npy("answers.npy", &answers);
        let out = bench.new_model(&onnx, fixture.name, &rows, &expect, more);
        assert!(out.status.success(), "{}", stderr(&out));
        assert!(stdout(&out).contains("a lane with another is refused"), "{}", stdout(&out));
        let manifest = bench.manifest(fixture.name);
        assert_eq!(manifest["trigger"].as_str(), Some("every=3"));
        let before = if fixture.name == "window" { 3 * 4 } else { 0 };
        assert_eq!(manifest["expected"]["rows"].as_integer(), Some(values.len() as i64 - before));
        // The first answer of an instrument given to another: instruments are kept apart.
        let mut mixed = answers.clone();
        mixed.swap(600, 601);
        let expect = bench.npy("mixed.npy", &mixed);
        refused(&bench.new_model(&onnx, "mixed", &rows, &expect, more), &["2 (", "(row 60"]);
    }
    let models = ["window", "state"].map(|name| format!("{:?}", bench.path(name).display().to_string())).join(", ");
    let lane =
        |trigger: &str| config(bench.dir.path(), &format!("[lane]\ntrigger = {trigger:?}\nmodels = [{models}]\n"));
    let replay = |trigger: &str| {
        let mut command = pillion();
        command.arg("replay").arg("--config").arg(lane(trigger)).arg("--input").arg(&bench.input);
        output(command.args(["--rate", "max"]))
    };
    let out = replay("every=3");
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    for other in ["event-end", "trade", "every=4"] {
        let words = ["model `window`", "the latest 5 rows of trigger \"every=3\"", &format!("on \"{other}\"")];
        refused(&replay(other), &words);
    }
    let instruments = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";
    let text = format!("[lane]\ntrigger = \"trade\"\nmodels = [{models}]\n{instruments}");
    let out = output(pillion().arg("check").arg("--config").arg(config(bench.dir.path(), &text)));
    refused(&out, &["model `window`", "trigger = \"every=3\"", "features --trigger trade"]);
}

/// A vector model takes the latest row whenever it is: another trigger is said. A manifest that says none is one of every event.
#[test]
fn a_trigger_that_is_not_said_or_only_differs_is_told() {
    if !has_onnxruntime() {
        return;
    }
    let bench = Bench::new();
    let vector = bench.path("vector");
    std::fs::create_dir(&vector).unwrap();
    for file in ["model.onnx", "golden.json", "manifest.toml"] {
        std::fs::copy(model("mlp-k10").join(file), vector.join(file)).unwrap();
    }
    // Nobody says anything of a directory made without rows, and it says so itself.
    let onnx = bench.write("window.onnx", rows_models::onnx("window"));
    let mut new = pillion();
    new.args(["model", "new"]).arg(&onnx).args(["--features", "book", "-o"]).arg(bench.path("unsaid"));
    let out = output(&mut new);
    assert!(out.status.success(), "{}", stderr(&out));
    for words in
        ["trigger    not said (--trigger); a lane whose trigger is not", "nothing was compared with the estimator"]
    {
        assert!(stdout(&out).contains(words), "`{words}` is not in: {}", stdout(&out));
    }
    let manifest = bench.manifest("unsaid");
    assert!(manifest.get("trigger").is_none() && manifest.get("expected").is_none(), "{manifest}");
    let [window, ..] = rows_models::fixtures(&bench.set);
    let window = rows_models::write(bench.dir.path(), &bench.set, &window);
    let said = |models: &Path, trigger: &str| {
        let instruments = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\n";
        let models = format!("models = [{:?}]\n", models.display().to_string());
        let config = config(bench.dir.path(), &format!("[lane]\ntrigger = {trigger:?}\n{models}{instruments}"));
        output(pillion().arg("check").arg("--config").arg(config))
    };
    let text = |out: &std::process::Output| stdout(out) + &stderr(out);
    assert!(!text(&said(&vector, "event-end")).contains("trained on rows of"));
    let other = said(&vector, "trade");
    assert!(other.status.success(), "{}", text(&other));
    assert!(text(&other).contains("trained on rows of \"event-end\", run on \"trade\""), "{}", text(&other));
    let unsaid = said(&window, "event-end");
    assert!(unsaid.status.success(), "{}", text(&unsaid));
    assert!(text(&unsaid).contains("does not say on which trigger its rows are"), "{}", text(&unsaid));
    refused(&said(&window, "trade"), &["does not say", "write trigger = \"trade\" into manifest.toml"]);
    // A key of another word is refused with the words there are.
    let manifest = std::fs::read_to_string(vector.join("manifest.toml")).unwrap();
    let wrong = manifest.replace("missing = \"never\"", "missing = \"never\"\ntrigger = \"sometimes\"");
    let wrong = wrong.replacen("trigger = \"event-end\"\n", "", 1);
    std::fs::write(vector.join("manifest.toml"), wrong).unwrap();
    refused(&said(&vector, "trade"), &["manifest.toml", "sometimes", "every=N"]);
}
