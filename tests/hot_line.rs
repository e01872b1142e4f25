//! The hot line in this process: what a strategy may rely on when outputs are bad, ticks are lost or a market halts.

mod common;
#[path = "common/line.rs"]
mod line;

use common::*;
use line::{function, line, signals, synthetic_feed};
use pillion::hot::features::FeatureSet;
use pillion_shm::records::{MboMsg, RecordHeader, StatusMsg, View, rtype};
use pillion_shm::{BoardReader, Signal, signal_flags};

fn book_set() -> FeatureSet {
    FeatureSet::load("book").expect("bundled")
}

/// A model that answers NaN now and then: that signal reads 0, is invalid, is counted, and the board keeps its value.
#[test]
fn a_bad_output_is_flagged_counted_and_kept_off_the_board() {
    let (feed, set) = (synthetic_feed(11, 2, 300), book_set());
    let mut runs = 0;
    let sometimes = function(set.len(), 2, move |_, out| {
        runs += 1;
        out[0] = if runs % 5 == 0 { f32::NAN } else { runs as f32 };
        out[1] = if runs % 7 == 0 { f32::INFINITY } else { 0.5 };
    });
    let mut line = line(&feed, &set, vec![sometimes], 1 << 13);
    let board = BoardReader::attach(&line.name, &line.clock).unwrap();
    let mut reader = line.reader();
    let mut last_good = [None; 2];
    let (mut total, mut invalid) = (0, 0);
    for record in &feed {
        line.ticks.publish(record);
        line.turn_until_idle();
        for signal in signals(&mut reader) {
            total += 1;
            let run = total;
            assert_eq!(signal.flags & signal_flags::INVALID != 0, run % 5 == 0 || run % 7 == 0, "run {run}");
            assert!(signal.outputs().iter().all(|x| x.is_finite()));
            if signal.flags & signal_flags::INVALID == 0 {
                last_good[signal.instrument as usize] = Some(signal);
            } else {
                invalid += 1;
            }
            assert_eq!(board.get(signal.instrument, 0), last_good[signal.instrument as usize]);
        }
    }
    assert!(total > 250 && invalid > 50, "{total} signals, {invalid} invalid");
    assert_eq!((line.lane.counts().signals, line.lane.counts().invalid), (total, invalid));
}

/// Bytes that are no record, and records of unknown instruments, are counted rejects; what follows is not disturbed.
#[test]
fn rejects_are_counted_and_harmless() {
    let (feed, set) = (synthetic_feed(11, 2, 200), book_set());
    let columns = set.len();
    let sum = || function(columns, 1, |input: &[f32], out: &mut [f32]| out[0] = input.iter().sum());
    let (mut clean, mut dirty) = (line(&feed, &set, vec![sum()], 1 << 13), line(&feed, &set, vec![sum()], 1 << 13));
    let mut rejects = 0;
    for (i, record) in feed.iter().enumerate() {
        clean.ticks.publish(record);
        dirty.ticks.publish(record);
        if i % 3 == 0 {
            let mut stranger = record.to_vec();
            stranger[0] = stranger[0] & 0xFFFF_FFFF | 0xDEAD << 32;
            dirty.ticks.publish(&stranger);
            dirty.ticks.publish(&[u64::MAX, i as u64, 3, 4, 5, 6, 7]);
            rejects += 2;
        }
    }
    clean.turn_until_idle();
    dirty.turn_until_idle();
    assert_eq!((clean.lane.counts().rejected(), dirty.lane.counts().rejected()), (0, rejects));
    let signals = |line: &line::Line| {
        let mut reader = line.reader();
        let timeless = |s: Signal| Signal { ring_seq: 0, ..s.normalised() };
        signals(&mut reader).into_iter().map(timeless).collect::<Vec<_>>()
    };
    let (a, b) = (signals(&clean), signals(&dirty));
    assert!(a.len() > 150);
    assert_eq!(a, b);
}

/// A lapped reader: the loss is exact, books are suspect and features warm up anew until the next snapshot.
#[test]
fn a_lapped_lane_says_so_until_its_books_are_whole() {
    let (feed, set) = (synthetic_feed(11, 2, 3_000), book_set());
    let mut line = line(&feed, &set, vec![function(set.len(), 1, |_, out| out[0] = 1.0)], 256);
    let mut reader = line.reader();
    let records: Vec<_> = feed.iter().collect();
    let (head, rest) = records.split_at(records.len() - 600);
    for record in head {
        line.ticks.publish(record);
        line.lane.turn();
    }
    let before = signals(&mut reader);
    assert!(before.iter().all(|s| s.flags & signal_flags::AFTER_GAP == 0));
    assert!(before.last().unwrap().tradable());
    for record in rest {
        line.ticks.publish(record);
    }
    line.turn_until_idle();
    let counts = line.lane.counts();
    assert_eq!(counts.gaps, 1);
    assert_eq!(counts.ticks + counts.lost, records.len() as u64);
    assert!(counts.lost >= 600 - 256);
    let after = signals(&mut reader);
    assert!(!after.is_empty());
    assert!(after.iter().all(|s| s.flags & signal_flags::AFTER_GAP != 0 && !s.tradable()));
    // A snapshot rebuilds the books: the flag goes, and the features are warming.
    for record in records.iter().filter(|r| View(r).is_snapshot()) {
        line.ticks.publish(record);
        line.lane.turn();
    }
    for record in records.iter().filter(|r| !View(r).is_snapshot()).take(20) {
        line.ticks.publish(record);
        line.lane.turn();
    }
    let rebuilt = signals(&mut reader);
    assert!(!rebuilt.is_empty());
    assert!(rebuilt.iter().all(|s| s.flags & signal_flags::AFTER_GAP == 0 && s.flags & signal_flags::WARMING != 0));
}

/// A trading halt of the venue flags the instrument's signals, and only that instrument's.
#[test]
fn a_venue_halt_flags_its_instrument() {
    let (feed, set) = (synthetic_feed(11, 2, 400), book_set());
    let mut line = line(&feed, &set, vec![function(set.len(), 1, |_, out| out[0] = 1.0)], 1 << 13);
    let mut reader = line.reader();
    let records: Vec<_> = feed.iter().collect();
    let (first, second) = records.split_at(records.len() / 2);
    first.iter().for_each(|r| _ = line.ticks.publish(r));
    let mut status: StatusMsg = bytemuck::Zeroable::zeroed();
    status.hd = RecordHeader {
        length: 10,
        rtype: rtype::STATUS,
        publisher_id: 0, // of the synthetic recording, as all of its records
        instrument_id: feed.instruments[0].id,
        ts_event: 1,
    };
    (status.action, status.is_trading) = (8, b'N');
    line.ticks.publish(&bytemuck::cast::<StatusMsg, [u64; 5]>(status));
    second.iter().for_each(|r| _ = line.ticks.publish(r));
    line.turn_until_idle();
    let halted_from = first.len() as u64;
    let signals = signals(&mut reader);
    assert!(signals.iter().any(|s| s.flags & signal_flags::HALTED != 0));
    for signal in signals {
        let halted = signal.instrument == 0 && signal.ring_seq > halted_from;
        assert_eq!(
            signal.flags & signal_flags::HALTED != 0,
            halted,
            "instrument {}, tick {}",
            signal.instrument,
            signal.ring_seq
        );
    }
}

/// The feature vectors of the live lane are those of `pillion features`, bit for bit.
#[test]
fn live_vectors_equal_offline_rows() {
    let set = book_set();
    let mut feeds = vec![synthetic_feed(11, 2, 3_000)];
    if let Some(es) = shared(ES) {
        let dir = tempfile::tempdir().unwrap();
        feeds.push(slice(&load_settled(es), 10_000, 8_000, &dir.path().join("slice.dbn")));
    }
    for feed in feeds {
        let mut offline = Vec::new();
        let mut driver = feed.offline(&set).unwrap();
        for record in &feed {
            offline.extend(driver.turn(record).map(|(event, row)| (event.ts_event, bits(row))));
        }
        let mut line = line(&feed, &set, vec![function(set.len(), 1, |_, out| out[0] = 1.0)], 1 << 10);
        let mut live = Vec::new();
        for record in &feed {
            line.ticks.publish(record);
            let before = line.lane.counts().signals;
            line.lane.turn();
            if line.lane.counts().signals > before {
                let mbo: &MboMsg = bytemuck::from_bytes(bytemuck::cast_slice(record));
                live.push((mbo.hd.ts_event, bits(line.lane.vector())));
            }
        }
        assert!(live.len() > 2_000);
        assert!(live == offline, "{} live rows, {} offline", live.len(), offline.len());
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}
