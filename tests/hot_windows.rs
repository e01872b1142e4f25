//! Models of rows already seen, on the hot line: what a window or a state holds is what the offline rows say, for each
//! instrument by itself, through gaps, restarts and backlog.

mod common;
#[path = "common/line.rs"]
mod line;
#[path = "common/rows_models.rs"]
mod rows_models;

use std::collections::HashMap;

use common::*;
use line::{Options, line, line_with, signals, synthetic_feed};
use pillion::data::Feed;
use pillion::engine::{Engine, Native, OrtCpu, Runtime, RuntimeConfig};
use pillion::hot::Trigger;
use pillion::hot::features::FeatureSet;
use pillion_shm::{Signal, signal_flags};
use rows_models::{fixtures, onnx};

const ROWS: usize = 5;

/// Both models on our engine, and where it is there on ONNX Runtime.
fn engines(set: &FeatureSet) -> Vec<Box<dyn Engine>> {
    let [window, state, _] = fixtures(set).map(|fixture| fixture.shape);
    let mut engines: Vec<Box<dyn Engine>> = vec![
        Box::new(Native::new(&onnx("window"), &window).unwrap()),
        Box::new(Native::new(&onnx("state"), &state).unwrap()),
    ];
    if has_onnxruntime() {
        let runtime =
            Runtime::open(&RuntimeConfig { onnxruntime: Some(onnxruntime()), ..RuntimeConfig::default() }).unwrap();
        engines.push(Box::new(OrtCpu::new(runtime, &onnx("window"), &window).unwrap()));
        engines.push(Box::new(OrtCpu::new(runtime, &onnx("state"), &state).unwrap()));
    }
    engines
}

/// What the models must say: the rows of each instrument since its features last began.
#[derive(Default)]
struct Twin {
    rows: Vec<Vec<f32>>,
}

impl Twin {
    fn window(&self) -> [f32; 3] {
        let mut rows = vec![vec![0.0; 3]; ROWS.saturating_sub(self.rows.len())];
        rows.extend(self.rows[self.rows.len().saturating_sub(ROWS)..].iter().cloned());
        let sum = rows.iter().zip(1_u8..).map(|(row, place)| f32::from(place) * row[1]).sum();
        [rows[0][0], rows[ROWS - 1][0], sum]
    }

    fn state(&self) -> [f32; 3] {
        let mut state = [0.0_f32; 2];
        for row in &self.rows {
            state = [state[0] / 2.0 + row[0], state[1] / 2.0 + row[1]];
        }
        [state[0], state[1], self.rows.last().map_or(0.0, |row| row[2])]
    }
}

/// Rows by the instrument's place and the number of the record (from 1) that ended their event.
fn offline_rows(feed: &Feed, set: &FeatureSet) -> HashMap<(u32, u64), Vec<f32>> {
    rows_on(Trigger::EventEnd, feed, set)
}

/// The same, of the events on which a trigger fires.
fn rows_on(trigger: Trigger, feed: &Feed, set: &FeatureSet) -> HashMap<(u32, u64), Vec<f32>> {
    let mut driver = feed.offline(set).unwrap().on(trigger);
    let place = |id: u32| feed.instruments.iter().position(|i| i.id == id).unwrap() as u32;
    let mut rows = HashMap::new();
    for (record, number) in feed.iter().zip(0..) {
        if let Some((event, row)) = driver.turn(record) {
            rows.insert((place(event.instrument_id), number), row.to_vec());
        }
    }
    rows
}

#[track_caller]
fn near(got: &[f32], want: &[f32]) {
    let near = got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs().max(1.0));
    assert!(near, "{got:?}, expected {want:?}");
}

/// Holds all signals against the twin, which begins anew for an instrument where `fresh` says so.
fn hold(
    signals: &[Signal],
    rows: &HashMap<(u32, u64), Vec<f32>>,
    first: u64,
    fresh: impl Fn(&Signal) -> bool,
) -> usize {
    let mut twins: HashMap<u32, Twin> = HashMap::new();
    let mut seen = 0;
    for signal in signals {
        let twin = twins.entry(signal.instrument).or_default();
        if signal.model == 0 {
            if fresh(signal) {
                twin.rows.clear();
            }
            twin.rows.push(rows[&(signal.instrument, signal.ring_seq - first)].clone());
            seen += 1;
        }
        let window = signal.model % 2 == 0;
        near(signal.outputs(), &if window { twin.window() } else { twin.state() });
        let filled = twin.rows.len() >= if window { ROWS } else { 3 };
        if !filled {
            assert_ne!(signal.flags & signal_flags::WARMING, 0, "row {} of {ROWS}", twin.rows.len());
        }
        assert_eq!(signal.flags & signal_flags::INVALID, 0);
    }
    seen
}

#[test]
fn windows_and_states_hold_the_offline_rows_of_their_own_instrument() {
    let (feed, set) = (synthetic_feed(23, 3, 2_000), FeatureSet::load("book").unwrap());
    let rows = offline_rows(&feed, &set);
    let mut line = line(&feed, &set, engines(&set), 1 << 14);
    let mut reader = line.reader();
    feed.iter().for_each(|record| _ = line.ticks.publish(record));
    line.turn_until_idle();
    let signals = signals(&mut reader);
    let first = signals[0].ring_seq - rows.keys().map(|(_, number)| *number).min().unwrap();
    assert_eq!(hold(&signals, &rows, first, |_| false), rows.len());
    assert!(rows.len() > 1_500, "{} rows", rows.len());
}

/// What a window or a state model sees of a lane with another trigger is what `features --trigger` writes.
#[test]
fn windows_and_states_hold_the_rows_of_every_trigger() {
    let (feed, set) = (synthetic_feed(23, 3, 4_000), FeatureSet::load("book").unwrap());
    let every_event = offline_rows(&feed, &set).len();
    for trigger in ["bbo-change", "trade", "every=10", "every=1", "event-end"] {
        let trigger: Trigger = trigger.parse().unwrap();
        let rows = rows_on(trigger, &feed, &set);
        let options = Options { trigger, ..Options::default() };
        let mut line = line_with(&feed, &set, engines(&set), 1 << 14, options);
        let mut reader = line.reader();
        feed.iter().for_each(|record| _ = line.ticks.publish(record));
        line.turn_until_idle();
        let signals = signals(&mut reader);
        let first = signals[0].ring_seq - rows.keys().map(|(_, number)| *number).min().unwrap();
        assert_eq!(hold(&signals, &rows, first, |_| false), rows.len(), "{trigger}");
        let all = matches!(trigger, Trigger::EventEnd | Trigger::Every(1));
        assert_eq!(rows.len() == every_event, all, "{trigger}: {} of {every_event} rows", rows.len());
        assert!(rows.len() > 100, "{trigger}: {} rows", rows.len());
    }
}

/// Lost ticks end what was kept: the first row after is the first of its window.
#[test]
fn a_gap_begins_windows_and_states_anew() {
    let (feed, set) = (synthetic_feed(23, 3, 3_000), FeatureSet::load("book").unwrap());
    let mut line = line(&feed, &set, engines(&set), 256);
    let mut reader = line.reader();
    let records: Vec<_> = feed.iter().collect();
    let (head, rest) = records.split_at(records.len() - 900);
    for record in head {
        line.ticks.publish(record);
        line.lane.turn();
    }
    let before = signals(&mut reader);
    let last = before.last().unwrap().ring_seq;
    rest.iter().for_each(|record| _ = line.ticks.publish(record));
    line.turn_until_idle();
    assert_eq!(line.lane.counts().gaps, 1);
    let after = signals(&mut reader);
    assert!(after.len() > 50 && after.iter().all(|signal| signal.ring_seq > last + 256));
    let mut runs = HashMap::<(u32, u16), usize>::new();
    for signal in &after {
        let runs = runs.entry((signal.instrument, signal.model)).or_default();
        *runs += 1;
        if signal.model == 0 {
            // Rows that the window has not seen are 0; all of them were, before the gap.
            let oldest_is_new = *runs >= ROWS;
            assert!(oldest_is_new || signal.outputs()[0] == 0.0, "{runs} runs, oldest {}", signal.outputs()[0]);
        }
    }
    assert!(runs.values().any(|&runs| runs > ROWS), "{runs:?}");
}

/// Under backlog a window takes the row of every trigger, also of those that are answered together; waiting instruments
/// share a run, and their signals come in the order in which they began to wait, by model.
#[test]
fn conflation_leaves_no_row_out_of_a_window_and_batches_in_order() {
    let (feed, set) = (synthetic_feed(23, 3, 2_000), FeatureSet::load("book").unwrap());
    let rows = offline_rows(&feed, &set);
    let [window, ..] = fixtures(&set).map(|fixture| fixture.shape);
    let two = || -> Vec<Box<dyn Engine>> {
        vec![
            Box::new(Native::new(&onnx("window"), &window).unwrap()),
            Box::new(Native::new(&onnx("window"), &window).unwrap()),
        ]
    };
    let mut of_batch = Vec::new();
    for batch in [1, 2, 16] {
        let mut line = line_with(&feed, &set, two(), 1 << 14, Options { conflate: true, batch, ..Options::default() });
        let mut reader = line.reader();
        let mut twins: HashMap<u32, Twin> = HashMap::new();
        let mut all = Vec::new();
        for (chunk, part) in feed.iter().collect::<Vec<_>>().chunks(40).enumerate() {
            part.iter().for_each(|record| _ = line.ticks.publish(record));
            line.turn_until_idle();
            let mut waiting: Vec<(u64, u32)> = Vec::new();
            for number in chunk * 40..chunk * 40 + part.len() {
                for instrument in 0..3 {
                    if let Some(row) = rows.get(&(instrument, number as u64)) {
                        twins.entry(instrument).or_default().rows.push(row.clone());
                        waiting.retain(|(_, other)| *other != instrument);
                        waiting.push((number as u64, instrument));
                    }
                }
            }
            let got = signals(&mut reader);
            assert_eq!(got.len(), 2 * waiting.len(), "one signal an instrument and model");
            for pair in got.chunks(2) {
                assert_eq!((pair[0].instrument, pair[0].model, pair[1].model), (pair[1].instrument, 0, 1));
                pair.iter().for_each(|signal| near(signal.outputs(), &twins[&signal.instrument].window()));
            }
            all.extend(got.iter().map(Signal::normalised));
        }
        assert!(line.lane.counts().conflated > 500, "{}", line.lane.counts().conflated);
        of_batch.push(all);
    }
    assert!(of_batch[0] == of_batch[1] && of_batch[1] == of_batch[2], "the size of a batch is in nobody's signals");
}
