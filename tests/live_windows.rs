//! Models of rows already seen, as `pillion replay` runs them: the same signals at every rate, on either engine the same
//! within tolerance, what was prepared is accounted for, and a configuration that would lose steps is refused.

mod common;
#[path = "common/rows_models.rs"]
mod rows_models;

use std::path::{Path, PathBuf};

use common::*;
use pillion::data::{self, synth};
use pillion::hot::features::FeatureSet;
use pillion::lab::replay::ReplayReport;

fn replay(dir: &Path, config: &Path, input: &Path, rate: &str) -> ReplayReport {
    let json = dir.join("report.json");
    let mut command = pillion();
    command.arg("replay").arg("--config").arg(config).arg("--input").arg(input).args(["--rate", rate]);
    let out = output(command.arg("--json").arg(&json));
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    serde_json::from_str(&std::fs::read_to_string(&json).expect("written")).expect("its own schema")
}

fn with_models(dir: &Path, models: &[PathBuf], more: &str) -> PathBuf {
    let models: Vec<_> = models.iter().map(|m| format!("{:?}", m.display().to_string())).collect();
    config(dir, &format!("[lane]\nmodels = [{}]\n{more}", models.join(", ")))
}

#[test]
fn windows_and_states_give_the_same_signals_at_any_rate() {
    if !has_onnxruntime() {
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn.zst");
    let plan = synth::Plan { seed: 9, instruments: 4, events: 6_000, events_per_second: 5_000 };
    synth::write(&input, &plan).expect("writable");
    let set = FeatureSet::load("book").expect("bundled");
    let models = rows_models::fixtures(&set).map(|fixture| rows_models::write(dir.path(), &set, &fixture));
    for engine in ["native", "ort-cpu"] {
        let config = with_models(dir.path(), &models, &format!("engine = \"{engine}\"\n"));
        let reports = ["max", "50000/s", "max"].map(|rate| replay(dir.path(), &config, &input, rate));
        for report in &reports {
            assert_eq!((report.ticks, report.invalid), (data::load(&input).unwrap().records, 0));
            assert_eq!(report.signals, 3 * report.events);
            assert_eq!(report.signals_blake3, reports[0].signals_blake3, "{engine}");
            assert!(report.lane.models.iter().all(|model| model.engine == engine));
            // Only the recurrent net prepares: none of its runs on ONNX Runtime, and at full speed it has no time to.
            assert!(report.lane.unprepared <= report.events);
            assert_eq!(report.lane.unprepared > 0, engine == "native", "{}", report.lane.unprepared);
        }
    }
}

#[test]
fn a_state_and_conflation_do_not_go_together() {
    if !has_onnxruntime() {
        return;
    }
    let dir = shm_dir();
    let set = FeatureSet::load("book").expect("bundled");
    let [_, state, _] = rows_models::fixtures(&set);
    let models = [rows_models::write(dir.path(), &set, &state)];
    let instrument = "instruments = [{ id = 1, symbol = \"A\", tick_size = \"0.01\" }]\nconflate = true\n";
    let config = with_models(dir.path(), &models, instrument);
    let out = output(pillion().arg("check").arg("--config").arg(&config));
    let said = stderr(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    for text in ["lane \"main\"", "conflate = true", "`state`, which carries a state", "mend: set conflate = false"] {
        assert!(said.contains(text), "no {text:?} in: {said}");
    }
}
