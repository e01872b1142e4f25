//! What a lane believes of its feed: snapshots after gaps and restarts, why a book is not whole, and what is only history.

mod common;
#[path = "common/line.rs"]
mod line;

use common::*;
use line::{Line, Options, access, function, line_with, signals, synthetic_feed};
use pillion::data::Feed;
use pillion::hot::book::{Applied, NotWhole};
use pillion::hot::features::FeatureSet;
use pillion::hot::{StageSet, Turn};
use pillion_shm::records::{MboMsg, Mbp1Msg, Mbp10Msg, TradeMsg, View, flags, rtype};
use pillion_shm::{BoardReader, From, Kind, RingReader, RingSpec, RingWriter, Signal, signal_flags};

const SLOTS: u64 = 256;

fn mbo(record: &[u64]) -> MboMsg {
    *bytemuck::from_bytes(bytemuck::cast_slice(record))
}

fn words(mbo: MboMsg) -> Vec<u64> {
    bytemuck::cast::<MboMsg, [u64; 7]>(mbo).to_vec()
}

/// The snapshot of an instrument as a feed may send it: with its clear or without, its end marked or not.
fn snapshot(feed: &Feed, instrument: u32, clear: bool, marked: bool) -> Vec<Vec<u64>> {
    let of_it = |m: &MboMsg| m.hd.instrument_id == instrument && m.flags & flags::SNAPSHOT != 0;
    let records: Vec<_> = feed.iter().map(mbo).filter(|m| of_it(m) && (clear || m.action != b'R')).collect();
    assert!(records.len() > 4, "{} records", records.len());
    let last = records.len() - 1;
    let flagged = |(i, m): (usize, MboMsg)| {
        let end = if marked && i == last { flags::LAST } else { 0 };
        words(MboMsg { flags: m.flags & !flags::LAST | end, ..m })
    };
    records.into_iter().enumerate().map(flagged).collect()
}

fn live(feed: &Feed) -> Vec<&[u64]> {
    feed.iter().filter(|record| !View(record).is_snapshot()).collect()
}

fn set() -> FeatureSet {
    FeatureSet::load("book").expect("bundled")
}

/// A lane as a sidecar has it, whose model sums its row.
fn lane(feed: &Feed, slots: u64) -> (Line, RingReader) {
    let set = set();
    let sum = function(set.len(), 1, |row, out| out[0] = row.iter().sum());
    let options = Options { await_beginning: true, ..Options::default() };
    let line = line_with(feed, &set, vec![sum], slots, options);
    let reader = line.reader();
    (line, reader)
}

fn play<R: AsRef<[u64]>>(line: &mut Line, records: &[R]) {
    for record in records {
        line.ticks.publish(record.as_ref());
        turn(line);
    }
}

fn turn(line: &mut Line) {
    while line.lane.turn() == Turn::Worked {}
}

fn reasons(line: &Line) -> Vec<(NotWhole, u64)> {
    let counts = line.lane.counts();
    NotWhole::ALL.into_iter().map(|why| (why, counts.not_whole[why.index()])).filter(|(_, n)| *n > 0).collect()
}

/// Laps the lane: it loses some records and finds itself in a live market.
fn lap(line: &mut Line, records: &[&[u64]]) {
    assert!(records.len() as u64 > SLOTS);
    records.iter().for_each(|record| _ = line.ticks.publish(record));
    turn(line);
}

/// After a gap a snapshot in mid-stream makes its instrument's book whole, and nobody else's; half of one does not.
#[test]
fn a_snapshot_after_a_gap_mends_its_own_instrument() {
    let feed = synthetic_feed(17, 2, 4_000);
    let live = live(&feed);
    let (one, two) = (feed.instruments[0].id, feed.instruments[1].id);
    for (clear, marked) in [(true, true), (true, false), (false, true), (false, false)] {
        let (mut line, mut reader) = lane(&feed, SLOTS);
        assert_eq!(reasons(&line), [(NotWhole::Unseen, 2)]);
        play(&mut line, &snapshot(&feed, one, clear, marked));
        play(&mut line, &snapshot(&feed, two, clear, marked));
        play(&mut line, &live[..1_000]);
        assert_eq!(reasons(&line), [], "{clear} {marked}");
        lap(&mut line, &live[1_000..1_600]);
        assert_eq!((line.lane.counts().gaps, reasons(&line)), (1, vec![(NotWhole::Gap, 2)]));
        assert!(line.lane.counts().missed == line.lane.counts().lost && line.lane.counts().lost > 300);
        let whole = snapshot(&feed, one, clear, marked);
        // Its second half, behind another gap, is none.
        play(&mut line, &whole[..2]);
        let others: Vec<_> =
            live[1_600..].iter().copied().filter(|record| mbo(record).hd.instrument_id == two).collect();
        lap(&mut line, &others[..300]);
        play(&mut line, &whole[2..]);
        play(&mut line, &live[1_900..1_960]);
        assert_eq!(reasons(&line), [(NotWhole::Gap, 2)], "half a snapshot, {clear} {marked}");
        signals(&mut reader);
        play(&mut line, &whole);
        play(&mut line, &live[1_960..2_020]);
        assert_eq!(reasons(&line), [(NotWhole::Gap, 1)], "{clear} {marked}");
        let got = signals(&mut reader);
        assert!(got.iter().any(|s| s.instrument == 0) && got.iter().any(|s| s.instrument == 1));
        for signal in got {
            assert_eq!(signal.flags & signal_flags::AFTER_GAP != 0, signal.instrument == 1, "{clear} {marked}");
        }
        play(&mut line, &snapshot(&feed, two, clear, marked));
        play(&mut line, &live[2_020..2_080]);
        assert_eq!((reasons(&line), line.lane.counts().missed), (vec![], 0));
        let became = line.lane.counts().became_not_whole;
        assert_eq!((became[NotWhole::Unseen.index()], became[NotWhole::Gap.index()]), (2, 2));
    }
}

/// A feed that restarts under a live lane with a whole snapshot, without a clear, is trusted as a first one is: the lane says
/// what a lane says that has never seen the feed before, bit for bit, and nothing of the old book is left under it.
#[test]
fn a_restarted_feed_is_trusted_as_a_first_one() {
    let feed = synthetic_feed(17, 2, 3_000);
    let live = live(&feed);
    let records = |marked| -> Vec<Vec<u64>> {
        let snapshots = feed.instruments.iter().flat_map(|i| snapshot(&feed, i.id, false, marked));
        snapshots.chain(live.iter().map(|record| record.to_vec())).collect()
    };
    for marked in [true, false] {
        let records = records(marked);
        let (mut fresh, mut fresh_reader) = lane(&feed, 1 << 14);
        play(&mut fresh, &records);
        let (mut line, mut reader) = lane(&feed, 1 << 14);
        play(&mut line, &records);
        let expected = signals(&mut fresh_reader);
        let first = signals(&mut reader);
        let timeless = |signals: &[Signal]| signals.iter().map(Signal::normalised).collect::<Vec<_>>();
        assert!(timeless(&first) == timeless(&expected) && expected.iter().filter(|s| s.tradable()).count() > 1_000);
        restart(&mut line);
        assert_eq!(reasons(&line), [(NotWhole::FeedRestart, 2)]);
        play(&mut line, &records);
        assert!(timeless(&signals(&mut reader)) == timeless(&expected), "the second play is the first one's");
        let counts = line.lane.counts();
        assert_eq!((counts.generation_changes, counts.gaps, reasons(&line)), (1, 0, vec![]));
        assert_eq!(counts.applied[Applied::DuplicateAdd.index()], 0, "nothing of the old book is left");
    }
    // One that restarts in the middle of its market is not.
    let (mut line, mut reader) = lane(&feed, 1 << 14);
    play(&mut line, &records(true));
    restart(&mut line);
    signals(&mut reader);
    play(&mut line, &live[..200]);
    assert_eq!(reasons(&line), [(NotWhole::FeedRestart, 2)]);
    let got = signals(&mut reader);
    assert!(got.len() > 50 && got.iter().all(|s| s.flags & signal_flags::AFTER_GAP != 0));
}

/// The feed's next life: a ring of the next generation under the same name.
fn restart(line: &mut Line) {
    let spec = RingSpec { capacity: 1 << 14, record_words: 14, table: Vec::new() };
    // The old feed is dead: its name goes over.
    let spare = RingSpec { capacity: 2, record_words: 14, table: Vec::new() };
    let elsewhere = pillion_shm::Lane::in_dir(line.dir.path(), "spare").unwrap();
    line.ticks = RingWriter::create(&elsewhere, Kind::Ticks, &spare, &line.clock, &access()).unwrap();
    line.ticks = RingWriter::create(&line.name, Kind::Ticks, &spec, &line.clock, &access()).unwrap();
    let mut next = RingReader::attach(&line.name, Kind::Ticks, From::Start, &line.clock).unwrap();
    assert!(!line.lane.has_tick());
    line.lane.switch_ticks(&mut next);
}

/// The feed's own doubt is a reason of its own, and a snapshot behind it mends it.
#[test]
fn a_feeds_doubt_is_said_and_mended() {
    let feed = synthetic_feed(17, 2, 2_000);
    let live = live(&feed);
    let (mut line, _) = lane(&feed, 1 << 13);
    for instrument in &feed.instruments {
        play(&mut line, &snapshot(&feed, instrument.id, true, true));
    }
    play(&mut line, &live[..500]);
    let mut doubt = mbo(live[500]);
    doubt.flags |= flags::MAYBE_BAD_BOOK;
    let instrument = doubt.hd.instrument_id;
    play(&mut line, &[words(doubt)]);
    assert_eq!(reasons(&line), [(NotWhole::FeedSaid, 1)]);
    let whole = snapshot(&feed, instrument, false, true);
    let (last, before) = whole.split_last().unwrap();
    play(&mut line, before);
    assert_eq!(reasons(&line), [(NotWhole::FeedSaid, 1)], "it is not over yet");
    play(&mut line, &[last]);
    assert_eq!(reasons(&line), []);
}

/// Signals are counted under each of their flags.
#[test]
fn flags_are_counted_by_kind() {
    let feed = synthetic_feed(17, 2, 3_000);
    let live = live(&feed);
    let (mut line, mut reader) = lane(&feed, SLOTS);
    play(&mut line, &live[..100]);
    for instrument in &feed.instruments {
        play(&mut line, &snapshot(&feed, instrument.id, true, true));
    }
    play(&mut line, &live[100..1_000]);
    line.lane.set_halted(true);
    play(&mut line, &live[1_000..1_050]);
    line.lane.set_halted(false);
    lap(&mut line, &live[1_050..1_500]);
    let seen = signals(&mut reader);
    let counted = line.lane.counts().flags;
    for (bit, name) in signal_flags::NAMES.iter().enumerate() {
        let with = seen.iter().filter(|signal| signal.flags >> bit & 1 != 0).count() as u64;
        assert_eq!(counted[bit], with, "{name}");
    }
    for flag in [signal_flags::WARMING, signal_flags::AFTER_GAP, signal_flags::HALTED] {
        assert!(counted[flag.trailing_zeros() as usize] > 0, "{counted:?}");
    }
}

/// A lane that starts behind its feed works through the ring's history: those signals say so and stay off the board, their
/// ticks are in no percentile; and but for stamps and that flag all is as if it had been there.
#[test]
fn history_is_flagged_and_stays_off_the_board() {
    let feed = synthetic_feed(17, 2, 2_000);
    let records: Vec<_> = feed.iter().collect();
    let (mut there, mut all) = lane(&feed, 1 << 13);
    play(&mut there, &records);
    let (mut line, mut reader) = lane(&feed, 1 << 13);
    let board = BoardReader::attach(&line.name, &line.clock).unwrap();
    let (history, news) = records.split_at(records.len() - 500);
    history.iter().for_each(|record| _ = line.ticks.publish(record));
    line.lane.start();
    turn(&mut line);
    let old = signals(&mut reader);
    assert!(old.len() > 500 && old.iter().all(|s| s.flags & signal_flags::CATCHING_UP != 0 && !s.tradable()));
    assert_eq!((board.get(0, 0), board.get(1, 0)), (None, None), "history is on no board");
    play(&mut line, news);
    let new = signals(&mut reader);
    assert!(new.len() > 100 && new.iter().all(|s| s.flags & signal_flags::CATCHING_UP == 0));
    assert!(board.get(0, 0).is_some() && board.get(1, 0).is_some());
    let timeless = |signals: &[Signal]| signals.iter().map(Signal::normalised).collect::<Vec<_>>();
    assert!(timeless(&[old, new.clone()].concat()) == timeless(&signals(&mut all)));
    let counts = *line.lane.counts();
    assert_eq!((counts.catching_up, counts.ticks), (history.len() as u64, records.len() as u64));
    assert_eq!(counts.flags[signal_flags::CATCHING_UP.trailing_zeros() as usize], counts.signals - new.len() as u64);
    let set = line.lane.swap_stages(Box::<StageSet>::default());
    let spans =
        |stage: &str| set.stage(pillion::hot::stamp::STAGE_NAMES.iter().position(|name| *name == stage).unwrap()).len();
    assert_eq!((spans("wait"), spans("tick_to_signal")), (news.len() as u64, new.len() as u64));
    assert_eq!((spans("decode"), spans("infer")), (counts.ticks, counts.signals), "what they took themselves counts");
    assert_eq!(set.counts, counts);
    assert!(set.slow.kept().iter().all(|tick| tick.ring_seq >= history.len() as u64), "nor are they its tail");
}

/// A record of quoted levels of an instrument.
fn quoted(feed: &Feed, ten: bool, price: i64, more: u8) -> Vec<u64> {
    let mut event: TradeMsg = bytemuck::Zeroable::zeroed();
    event.hd = mbo(feed.iter().next().unwrap()).hd;
    event.hd.instrument_id = feed.instruments[0].id;
    (event.action, event.side, event.price, event.size, event.flags) = (b'A', b'B', price, 1, flags::LAST | more);
    let level = |i: i64| pillion_shm::records::BidAskPair {
        bid_px: price - i,
        ask_px: price + 1 + i,
        bid_sz: 3,
        ask_sz: 4,
        bid_ct: 1,
        ask_ct: 1,
    };
    if ten {
        (event.hd.rtype, event.hd.length) = (rtype::MBP_10, (size_of::<Mbp10Msg>() / 4) as u8);
        let record = Mbp10Msg { event, levels: std::array::from_fn(|i| level(i as i64)) };
        bytemuck::cast_slice(bytemuck::bytes_of(&record)).to_vec()
    } else {
        (event.hd.rtype, event.hd.length) = (rtype::MBP_1, (size_of::<Mbp1Msg>() / 4) as u8);
        let record = Mbp1Msg { event, levels: [level(0)] };
        bytemuck::cast_slice(bytemuck::bytes_of(&record)).to_vec()
    }
}

/// A quoted book is whole again with the next record of its instrument, flagged as a snapshot or not; the other is not.
#[test]
fn quoted_books_are_whole_again_at_their_next_record() {
    let feed = synthetic_feed(17, 2, 100);
    for ten in [false, true] {
        let set = set();
        let options = Options { await_beginning: true, ..Options::default() };
        let sum = function(set.len(), 1, |row, out| out[0] = row.iter().sum());
        // Slots of the larger records.
        let mut line = line_with(&feed, &set, vec![sum], SLOTS, options);
        let spec = RingSpec { capacity: SLOTS, record_words: 46, table: Vec::new() };
        let name = pillion_shm::Lane::in_dir(line.dir.path(), "quotes").unwrap();
        line.ticks = RingWriter::create(&name, Kind::Ticks, &spec, &line.clock, &access()).unwrap();
        let mut ticks = RingReader::attach(&name, Kind::Ticks, From::Start, &line.clock).unwrap();
        line.lane.switch_ticks(&mut ticks);
        play(&mut line, &[quoted(&feed, ten, 1_000, 0)]);
        assert_eq!(reasons(&line), [(NotWhole::FeedRestart, 1)], "the other instrument has said nothing");
        let many: Vec<_> = (0..600).map(|i| quoted(&feed, ten, 1_000 + i, 0)).collect();
        many.iter().for_each(|record| _ = line.ticks.publish(record));
        let mut after_gap = 0;
        while line.lane.turn() == Turn::Worked {
            after_gap += u64::from(reasons(&line).contains(&(NotWhole::Gap, 2)));
        }
        assert_eq!((line.lane.counts().gaps, after_gap), (1, 1), "from the gap to the next record");
        assert_eq!(reasons(&line), [(NotWhole::Gap, 1)]);
        play(&mut line, &[quoted(&feed, ten, 1_000, flags::MAYBE_BAD_BOOK)]);
        assert_eq!(reasons(&line), [(NotWhole::Gap, 1), (NotWhole::FeedSaid, 1)]);
        play(&mut line, &[quoted(&feed, ten, 1_000, flags::SNAPSHOT)]);
        assert_eq!(reasons(&line), [(NotWhole::Gap, 1)]);
    }
}
