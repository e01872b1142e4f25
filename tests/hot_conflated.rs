//! Runs that backlog put off: each answers its own trigger with the row that this had, as offline rows have it, however far
//! the instrument has moved on; and one whose instrument has begun anew meanwhile is left out.

mod common;
#[path = "common/line.rs"]
mod line;
#[path = "common/rows_models.rs"]
mod rows_models;

use std::collections::{BTreeMap, HashMap};

use common::*;
use line::{Options, function, line_with, signals, synthetic_feed};
use pillion::data::Feed;
use pillion::engine::{Engine, Native};
use pillion::hot::Trigger;
use pillion::hot::book::Book;
use pillion::hot::decode::{Instruments, decode};
use pillion::hot::features::FeatureSet;
use pillion_shm::records::{MboMsg, UNDEF_PRICE, flags};
use pillion_shm::signal_flags;

/// Outputs of the test's model: the first columns of its row.
const SHOWN: usize = 8;

/// Records published before the lane turns again.
const CHUNK: usize = 40;

fn set() -> FeatureSet {
    FeatureSet::load("book").expect("bundled")
}

/// A model that shows the row it was given.
fn mirror(set: &FeatureSet) -> Box<dyn Engine> {
    function(set.len(), SHOWN, |row, out| out.copy_from_slice(&row[..SHOWN]))
}

/// An instrument's trigger, its row, and the flag of a state that is warming up.
struct Row {
    instrument: u32,
    values: Vec<f32>,
    warm: bool,
}

/// By the number of the record that ended its event: every event's row, and whether the event holds a trade.
fn offline(feed: &Feed, set: &FeatureSet) -> BTreeMap<u64, (Row, bool)> {
    let mut driver = feed.offline(set).unwrap();
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let limits = pillion::hot::book::Limits { max_orders: 16_384, max_levels: 2_048 };
    let mut books: Vec<_> = feed.instruments.iter().map(|_| Book::new(limits)).collect();
    let mut rows = BTreeMap::new();
    for (record, number) in feed.iter().zip(0..) {
        let tick = decode(record, &instruments).unwrap();
        let book = &mut books[tick.instrument as usize];
        book.apply(&tick);
        if let Some((event, row)) = driver.turn(record) {
            let row = Row { instrument: tick.instrument, values: row.to_vec(), warm: event.warm };
            rows.insert(number, (row, book.event().trades > 0));
        }
    }
    rows
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Triggers at trades: between a trigger that waits and the end of the backlog come events that trigger nothing and move
/// every feature. The model sees the row of its trigger all the same.
#[test]
fn a_run_that_is_made_up_has_the_row_of_its_own_trigger() {
    let (feed, set) = (synthetic_feed(31, 3, 4_000), set());
    let rows = offline(&feed, &set);
    let options = Options { conflate: true, trigger: Trigger::Trade, ..Options::default() };
    let mut line = line_with(&feed, &set, vec![mirror(&set)], 1 << 14, options);
    let mut reader = line.reader();
    let (mut seen, mut moved_on, mut stood_for) = (0, 0, 0);
    for (chunk, part) in feed.iter().collect::<Vec<_>>().chunks(CHUNK).enumerate() {
        part.iter().for_each(|record| _ = line.ticks.publish(record));
        line.turn_until_idle();
        // By instrument: its last trigger of the chunk, how many it had, and whether an event came after.
        let mut last: HashMap<u32, (u64, usize, bool)> = HashMap::new();
        for number in (chunk * CHUNK) as u64..(chunk * CHUNK + part.len()) as u64 {
            let Some((row, trade)) = rows.get(&number) else { continue };
            match (last.get_mut(&row.instrument), trade) {
                (Some(waiting), true) => *waiting = (number, waiting.1 + 1, false),
                (None, true) => _ = last.insert(row.instrument, (number, 1, false)),
                (Some(waiting), false) => waiting.2 = true,
                (None, false) => {}
            }
        }
        let got = signals(&mut reader);
        assert_eq!(got.len(), last.len(), "one signal for each instrument that traded");
        for signal in got {
            let (number, triggers, events_after) = last[&signal.instrument];
            let row = &rows[&number].0;
            assert_eq!(signal.ring_seq, number);
            assert_eq!(bits(signal.outputs()), bits(&row.values[..SHOWN]), "the offline row of tick {number}");
            assert_eq!(signal.flags & signal_flags::WARMING != 0, !row.warm, "warm as it was then");
            assert_eq!(signal.flags & signal_flags::CONFLATED != 0, triggers > 1);
            seen += 1;
            moved_on += usize::from(events_after);
            stood_for += triggers - 1;
        }
    }
    assert!(seen > 100 && moved_on > 50, "{seen} signals, {moved_on} of instruments that had moved on");
    assert_eq!(line.lane.counts().conflated, stood_for as u64);
}

/// The same for a window: its rows are those of the instrument's triggers, the last of them that of the run's own trigger.
#[test]
fn a_window_that_is_made_up_ends_with_the_row_of_its_own_trigger() {
    let (feed, set) = (synthetic_feed(31, 3, 4_000), set());
    let rows = offline(&feed, &set);
    let [window, ..] = rows_models::fixtures(&set).map(|fixture| fixture.shape);
    let places = window.rows;
    for batch in [1, 2, 16] {
        let options = Options { conflate: true, batch, trigger: Trigger::Trade, ..Options::default() };
        let engine = Box::new(Native::new(&rows_models::onnx("window"), &window).unwrap());
        let mut line = line_with(&feed, &set, vec![engine], 1 << 14, options);
        let mut reader = line.reader();
        let mut windows: HashMap<u32, Vec<Vec<f32>>> = HashMap::new();
        let mut seen = 0;
        for (chunk, part) in feed.iter().collect::<Vec<_>>().chunks(CHUNK).enumerate() {
            part.iter().for_each(|record| _ = line.ticks.publish(record));
            line.turn_until_idle();
            for (_, (row, _)) in
                rows.range((chunk * CHUNK) as u64..(chunk * CHUNK + part.len()) as u64).filter(|(_, (_, trade))| *trade)
            {
                windows.entry(row.instrument).or_default().push(row.values.clone());
            }
            for signal in signals(&mut reader) {
                let taken = &windows[&signal.instrument];
                let newest = taken.last().unwrap();
                let oldest = taken.len().checked_sub(places).map_or(0.0, |at| taken[at][0]);
                // The fixture shows the first column of its oldest row and of its newest.
                assert_eq!(bits(&signal.outputs()[..2]), bits(&[oldest, newest[0]]), "tick {}", signal.ring_seq);
                seen += 1;
            }
        }
        assert!(seen > 100, "{seen} signals");
    }
}

/// A clear of this instrument, alone.
fn clear(feed: &Feed, instrument: usize) -> Vec<u64> {
    let first = feed.iter().find(|record| (record[0] >> 32) as u32 == feed.instruments[instrument].id).unwrap();
    let mut clear: MboMsg = *bytemuck::from_bytes(bytemuck::cast_slice(first));
    (clear.action, clear.side, clear.flags, clear.price) = (b'R', b'N', 0, UNDEF_PRICE);
    bytemuck::cast::<MboMsg, [u64; 7]>(clear).to_vec()
}

/// Instruments with the end of an event among these records, by their place.
fn waiting(feed: &Feed, records: &[&[u64]]) -> Vec<u32> {
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let ticks = records.iter().map(|record| decode(record, &instruments).unwrap());
    let mut ended: Vec<_> = ticks.filter(|tick| tick.is_last()).map(|tick| tick.instrument).collect();
    ended.sort_unstable();
    ended.dedup();
    assert!(ended.contains(&1) && ended.len() > 1, "{ended:?}");
    ended
}

/// What a waiting trigger was about ends with a clear, a gap and a feed's restart: it is left out, and counted. Others wait on.
#[test]
fn an_instrument_that_begins_anew_leaves_its_waiting_run_out() {
    let (feed, set) = (synthetic_feed(31, 3, 4_000), set());
    let records: Vec<_> = feed.iter().collect();
    for (what, slots) in [("clear", 1 << 14), ("gap", 256)] {
        let options = Options { conflate: true, ..Options::default() };
        let mut line = line_with(&feed, &set, vec![mirror(&set)], slots, options);
        let mut reader = line.reader();
        let (head, rest) = records.split_at(3_000);
        for record in head {
            line.ticks.publish(record);
            line.turn_until_idle();
        }
        signals(&mut reader);
        let before = line.lane.counts().conflated;
        // Instruments with an event wait while the ring is not empty.
        rest[..200].iter().for_each(|record| _ = line.ticks.publish(record));
        (0..190).for_each(|_| _ = line.lane.turn());
        assert!(signals(&mut reader).is_empty(), "all wait");
        let waited = line.lane.counts().conflated;
        if what == "clear" {
            line.ticks.publish(&clear(&feed, 1));
        } else {
            rest[200..].iter().take(600).for_each(|record| _ = line.ticks.publish(record));
        }
        line.turn_until_idle();
        let got = signals(&mut reader);
        if what == "clear" {
            let mut answered: Vec<_> = got.iter().map(|signal| signal.instrument).collect();
            answered.sort_unstable();
            let others: Vec<_> = waiting(&feed, &rest[..200]).into_iter().filter(|index| *index != 1).collect();
            assert_eq!(answered, others, "the cleared one has nothing to say of what it was");
            assert!(line.lane.counts().conflated > waited);
        } else {
            assert_eq!(line.lane.counts().gaps, 1);
            let lost_up_to = line.lane.counts().first_lost.unwrap() + line.lane.counts().lost;
            assert!(got.iter().all(|signal| signal.ring_seq >= lost_up_to), "none is about what was before");
            assert!(got.iter().all(|signal| signal.flags & signal_flags::AFTER_GAP != 0));
            let waiting = waiting(&feed, &rest[..190]).len() as u64;
            assert!(line.lane.counts().conflated >= waited + waiting, "those that waited were left out");
        }
        assert!(waited > before);
    }
}

/// A doubt that comes while a run waits is in its flags: what it is about is whole no more. So is a halt.
#[test]
fn what_comes_while_a_run_waits_is_in_its_flags() {
    let (feed, set) = (synthetic_feed(31, 3, 4_000), set());
    let records: Vec<_> = feed.iter().collect();
    let mut line =
        line_with(&feed, &set, vec![mirror(&set)], 1 << 14, Options { conflate: true, ..Options::default() });
    let mut reader = line.reader();
    for record in &records[..3_000] {
        line.ticks.publish(record);
        line.turn_until_idle();
    }
    let last = *signals(&mut reader).last().unwrap();
    assert!(last.tradable());
    for record in &records[3_000..3_200] {
        line.ticks.publish(record);
    }
    // Not the last of an event, so that it triggers nothing: the run that waits stays the one before.
    let mut doubt = clear(&feed, 1);
    let doubted: &mut MboMsg = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(&mut doubt));
    (doubted.action, doubted.flags) = (b'N', flags::MAYBE_BAD_BOOK);
    line.ticks.publish(&doubt);
    line.turn_until_idle();
    let got = signals(&mut reader);
    assert_eq!(got.len(), waiting(&feed, &records[3_000..3_200]).len());
    for signal in got {
        assert_eq!(signal.flags & signal_flags::AFTER_GAP != 0, signal.instrument == 1, "{signal:?}");
    }
}
