//! Bytes that change while they are read.

use crate::common::{Process, WORDS, place, record};
use crate::*;

fn scribbler(place: &Place, kind: Kind, from_word: usize) -> Process {
    let mut process = place.child(&format!("{}:{from_word}", kind.name()));
    assert_eq!(process.hear(), "scribbling");
    process
}

fn for_a_while(mut what: impl FnMut()) {
    let until = Instant::now() + A_WHILE;
    while Instant::now() < until {
        what();
    }
}

/// A ring that is written by its owner and scribbled over by another, header and slots: its reader gets an answer from
/// every call, some say Corrupt, and once the scribbler is gone it reads every record again.
#[test]
fn a_ring_is_scribbled_over_while_it_is_read() {
    let place = place();
    let mut ring = place.writer(SLOTS).unwrap();
    publish(&mut ring, 5);
    let mut reader = place.reader(From::Start).unwrap();
    let scribbler = scribbler(&place, Kind::Ticks, 0);
    let (mut corrupt, mut refused) = (0, 0);
    for_a_while(|| {
        publish(&mut ring, 3);
        corrupt += poll_for_a_while(&mut reader);
        refused += u64::from(place.reader(From::Oldest).map(|mut late| poll_for_a_while(&mut late)).is_err());
        let _ = (reader.successor(), reader.superseded(), reader.owner_alive());
        // The file under the name is the one it has: however it is marked, there is nothing to go over to.
        assert!(!reader.follow().unwrap_or(false));
    });
    scribbler.kill();
    assert!(corrupt > 0 && refused > 0, "{corrupt} corrupt, {refused} refused");
    heals(&mut ring, &mut reader);

    // Nobody attaches to what is left of the header, and a creator that finds no region there does not take it for one.
    let path = place.lane.path(Kind::Ticks);
    open(&path).write_all_at(&[0; 16], 0).unwrap();
    assert!(matches!(place.reader(From::Next), Err(Error::NotARegion { .. })));
    drop((ring, reader));
    assert!(matches!(place.writer(SLOTS), Err(Error::NotARegion { .. })));
    leftovers::remove(&path, &[], &Allow { broken: true, ..Allow::default() }).unwrap();
    assert_eq!(place.writer(SLOTS).unwrap().generation(), 1);
}

/// A sound writer goes once around, the reader gives up what it cannot believe, and every record is whole again.
fn heals(ring: &mut RingWriter, reader: &mut RingReader) {
    publish(ring, 2 * SLOTS);
    reader.skip_to_next();
    let mut words = [0; WORDS];
    let n = ring.published();
    assert_eq!((reader.cursor(), reader.poll(&mut words), reader.check()), (n, Poll::Empty, true));
    for n in n..n + 3 * SLOTS {
        publish(ring, 1);
        assert_eq!((reader.poll(&mut words), words), (Poll::Record { ring_seq: n, stamp_ns: n + 7 }, record(n)));
    }
    publish(ring, SLOTS + 5);
    assert_eq!(reader.poll(&mut words), Poll::Lost(5));
}

/// Without giving up: a reader that only polls is healed by the writer that comes to its slot again.
#[test]
fn a_corrupt_slot_heals_when_its_writer_comes_by() {
    for scribbled in [u64::MAX, 1 << 63, 2 * 1_000_000 + 2, 2 * (6 + SLOTS) + 2, 2 * (6 + SLOTS) + 1] {
        let place = place();
        let mut ring = place.writer(SLOTS).unwrap();
        publish(&mut ring, 6);
        let mut reader = place.reader(From::Next).unwrap();
        let file = open(ring.path());
        let body = file.metadata().unwrap().len() - SLOTS * 128;
        file.write_all_at(&scribbled.to_ne_bytes(), body + 6 * 128 + slot::SEQ as u64).unwrap();
        let mut words = [0; WORDS];
        assert_eq!((reader.poll(&mut words), reader.cursor()), (Poll::Corrupt, 6), "{scribbled:#x}");
        let batch = reader.poll_batch(&mut [0; WORDS], &mut [0]);
        assert!(batch.corrupt && batch.records == 0, "{batch:?}");
        publish(&mut ring, 1);
        assert_eq!((reader.poll(&mut words), words), (Poll::Record { ring_seq: 6, stamp_ns: 13 }, record(6)));
        assert!(reader.check());
    }
}

#[test]
fn a_signal_ring_is_scribbled_over_while_it_is_read() {
    let place = place();
    let access = Access::default();
    let mut ring = RingWriter::create(&place.lane, Kind::Signals, &signals_spec(), &place.clock, &access).unwrap();
    let attach = || RingReader::attach(&place.lane, Kind::Signals, From::Start, &place.clock);
    let mut reader = attach().unwrap();
    let names = SignalTables::from_bytes(reader.table()).unwrap();
    let scribbler = scribbler(&place, Kind::Signals, header::END / 8);
    let (mut corrupt, mut bad_tables) = (0, 0);
    for_a_while(|| {
        publish(&mut ring, 3);
        corrupt += poll_for_a_while(&mut reader);
        if let Ok(late) = attach() {
            bad_tables += u64::from(SignalTables::from_bytes(late.table()).is_err());
        }
    });
    scribbler.kill();
    assert!(corrupt > 0 && bad_tables > 0, "{corrupt} corrupt, {bad_tables} tables refused");
    // The tables were copied at attach: nobody changes them under a reader.
    assert_eq!(SignalTables::from_bytes(reader.table()).unwrap(), names);
    heals(&mut ring, &mut reader);
}

#[test]
fn a_board_is_scribbled_over_while_it_is_read() {
    let place = place();
    let spec = board_spec();
    let mut writer = BoardWriter::create(&place.lane, &spec, &place.clock, &Access::default()).unwrap();
    let board = BoardReader::attach(&place.lane, &place.clock).unwrap();
    let scribbler = scribbler(&place, Kind::Board, 0);
    let (mut busy, mut values, mut n) = (0, 0, 0);
    for_a_while(|| {
        n += 1;
        writer.set(n % 3, n % 2, &signal(u64::from(n)));
        for (instrument, model) in [(0, 0), (1, 1), (2, 0), (2, 1)] {
            match board.read(instrument, model) {
                Reading::Busy => busy += 1,
                Reading::Value(_) => values += 1,
                Reading::Never => {}
            }
        }
        let _ = (board.superseded(), board.owner_alive(), SignalTables::from_bytes(&board.table()));
        let _ = BoardReader::attach(&place.lane, &place.clock).map(|late| late.read(0, 0));
    });
    scribbler.kill();
    assert!(busy > 0 && values > 0, "{busy} busy, {values} values");
    for (instrument, model) in [(0, 0), (1, 1), (2, 0), (2, 1)] {
        writer.set(instrument, model, &signal(5));
        // A number left so near its end that this write took it round to 0, never set: the next one starts anew.
        if board.read(instrument, model) == Reading::Never {
            writer.set(instrument, model, &signal(5));
        }
        assert_eq!(board.read(instrument, model), Reading::Value(signal(5)));
    }
}

/// Operators get an answer or an error in their time, the owner answers what it understands, and both go on.
#[test]
fn a_page_is_scribbled_over_while_it_is_used() {
    let place = place();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    page.set_state(State::Run);
    let operator = CncClient::attach_operator(&place.lane).unwrap();
    let obey = |page: &CncOwner| {
        if let Some(request) = page.poll_mailbox() {
            let outcome = if request.command.is_some() { Outcome::Done } else { Outcome::Unknown };
            page.answer(&request, outcome);
        }
    };
    let scribbler = scribbler(&place, Kind::Cnc, 0);
    let (mut told, mut refused) = (0, 0);
    for_a_while(|| {
        obey(&page);
        page.beat(1);
        let asked = operator.request(Command::Halt, Duration::from_millis(1));
        told += u64::from(!matches!(asked, Ok(Outcome::Done)));
        let _ = (operator.state(), operator.stages(), operator.counters(), operator.consumed_of(1));
        let _ = (page.last_counts(), page.halted(), operator.superseded());
        refused += u64::from(CncClient::attach(&place.lane, &place.clock).is_err());
    });
    scribbler.kill();
    assert!(told > 0 && refused > 0, "{told} told, {refused} refused");
    // With its header broken the page cannot be taken over: it is removed by hand, and the next owner's is whole.
    drop((page, operator));
    let path = place.lane.path(Kind::Cnc);
    open(&path).write_all_at(&[0; 8], header::MAGIC as u64).unwrap();
    assert!(CncOwner::create(&place.lane, &place.clock, &Access::default()).is_err());
    leftovers::remove(&path, &[], &Allow { broken: true, ..Allow::default() }).unwrap();
    let page = CncOwner::create(&place.lane, &place.clock, &Access::default()).unwrap();
    page.set_state(State::Run);
    let operator = CncClient::attach_operator(&place.lane).unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || operator.request(Command::Halt, Duration::from_secs(30)).unwrap());
        while !asked.is_finished() {
            obey(&page);
        }
        assert_eq!(asked.join().unwrap(), Outcome::Done);
    });
}
