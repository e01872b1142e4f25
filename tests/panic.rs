//! A hot thread that panics: the lane's page says FAIL, other lanes go on, and the process ends with exit code 1.

mod common;
#[path = "common/line.rs"]
mod line;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use line::{access, function};
use pillion::config::Config;
use pillion::data::{self, synth};
use pillion::engine::Engine;
use pillion::hot::decode::Instruments;
use pillion::hot::features::FeatureSet;
use pillion::models::{LoadedModel, Model};
use pillion::sidecar;
use pillion::sidecar::prepare::{self, Prepared};
use pillion_shm::{Clock, Command, Kind, Lane, Outcome, RingSpec, RingWriter, State};

fn prepared(config: &Config, index: usize, feed: &data::Feed, engine: Box<dyn Engine>) -> Prepared {
    let manifest = Model::read(&model("mlp-k10")).expect("a bundled model").manifest().clone();
    let features = FeatureSet::load("book").unwrap();
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let models = vec![LoadedModel {
        dir: model("mlp-k10"),
        manifest,
        onnx_sha256: [0; 32],
        engine,
        candidates: Vec::new(),
        remark: None,
    }];
    Prepared {
        tables: prepare::tables(&instruments, &models, &features).to_bytes().unwrap(),
        config: config.lanes[index].clone(),
        name: Lane::in_dir(&config.process.shm_dir, &config.lanes[index].name).unwrap(),
        core: pillion::host::cores::allowed()[index],
        features,
        instruments,
        models,
        remarks: Vec::new(),
        claim: None,
    }
}

#[test]
fn a_panic_is_a_failed_lane() {
    if pillion::host::cores::allowed().len() < 2 {
        skip("two lanes need two CPUs");
        return;
    }
    let (_guard, dir) = (one_at_a_time(), shm_dir());
    let input = dir.path().join("synth.dbn");
    synth::write(&input, &synth::Plan { seed: 2, instruments: 1, events: 500, events_per_second: 5_000 }).unwrap();
    let feed = data::load(&input).unwrap();
    let text = format!(
        "[process]\nlock = \"no\"\nstate_dir = \"state\"\nshm_dir = {:?}\n[[lanes]]\nname = \"bad\"\n[[lanes]]\nname = \"good\"\n",
        dir.path().display().to_string()
    );
    let config = Config::parse(&text, "test.toml", dir.path()).unwrap();
    let columns = FeatureSet::load("book").unwrap().len();
    let mut runs = 0;
    let breaks = function(columns, 3, move |_, out| {
        runs += 1;
        assert!(runs < 100, "the hundredth run breaks");
        out.fill(0.0);
    });
    let works = function(columns, 3, |_, out| out.fill(0.0));
    let lanes = vec![prepared(&config, 0, &feed, breaks), prepared(&config, 1, &feed, works)];
    let stop = Arc::new(AtomicBool::new(false));
    let (cold_config, cold_stop) = (config.clone(), Arc::clone(&stop));
    let cold = std::thread::spawn(move || sidecar::serve_prepared(&cold_config, lanes, cold_stop, None));
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    let spec = RingSpec { capacity: 4096, record_words: 14, table: Vec::new() };
    let ring = |name: &str| {
        let lane = Lane::in_dir(dir.path(), name).unwrap();
        let mut writer = RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &access()).unwrap();
        feed.iter().for_each(|r| _ = writer.publish(r));
        writer
    };
    let _rings = [ring("bad"), ring("good")];
    let bad = cnc_in(dir.path(), "bad", State::Fail);
    let patience = std::time::Duration::from_secs(60);
    assert_eq!(bad.request(Command::Halt, patience).unwrap(), Outcome::Done, "a failed lane still answers");
    assert!(bad.halted() && bad.state() == State::Fail, "the HALT is for the next sidecar");
    assert_eq!(bad.request(Command::Resume, patience).unwrap(), Outcome::Done);
    assert!(!bad.halted() && bad.state() == State::Fail);
    let good = cnc_in(dir.path(), "good", State::Run);
    wait_for("the other lane to go on", || (good.ticks_consumed() == feed.records).then_some(()));
    assert_eq!(bad.request(Command::Stop, patience).unwrap(), Outcome::Done);
    wait_for("the failed lane to let go of its page", || (!bad.owner_alive()).then_some(()));
    assert_eq!((good.state(), good.owner_alive()), (State::Run, true), "a stop is its own lane's");
    assert!(!stop.load(Ordering::Relaxed));
    stop.store(true, Ordering::Relaxed);
    let error = cold.join().expect("the cold side never panics").expect_err("a failed lane is an error");
    assert_eq!(error.exit_code, 1);
    assert!(error.to_string().contains("lane bad") && error.to_string().contains("FAIL"), "{error}");
    assert_eq!(good.state(), State::Stopped);
}
