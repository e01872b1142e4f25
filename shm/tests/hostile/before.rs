//! Bytes that were changed before anybody attached.

use crate::common::place;
use crate::*;

/// Every byte of every kind of region, one at a time, to values that matter.
#[test]
fn every_byte_before_the_attach() {
    for kind in [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc] {
        let place = place();
        make(&place, kind);
        let path = place.lane.path(kind);
        let whole = std::fs::read(&path).unwrap();
        let file = open(&path);
        let (mut refused, mut used) = (0, 0);
        for at in 0..whole.len() {
            for value in VALUES {
                file.write_all_at(&[value], at as u64).unwrap();
                match use_it(&place, kind) {
                    Ok(()) => used += 1,
                    Err(error) => {
                        refused += 1;
                        let text = error.to_string();
                        assert!(text.contains(path.to_str().unwrap()) && text.contains("mend: "), "{text}");
                    }
                }
            }
            file.write_all_at(&whole[at..=at], at as u64).unwrap();
            // The mailbox may have been asked meanwhile: the page's own words are not the file's any more.
            if kind == Kind::Cnc {
                file.write_all_at(&whole, 0).unwrap();
            }
        }
        use_it(&place, kind).unwrap();
        println!("{} of {} bytes, {refused} attaches refused, {used} used", kind.name(), whole.len());
        // Magic, version, kind, hash, sizes, clock: over fifty bytes, of which any other value is refused.
        assert!(refused > 50 * 5 && used > whole.len() / 2, "{refused} refused, {used} used");
    }
}

/// Many words at once, also those whose sum or product would lead outside.
#[test]
fn many_words_before_the_attach() {
    let fields = [header::STRIDE, header::CAPACITY, header::TABLE_BYTES, header::BODY_OFFSET, header::REGION_BYTES];
    for kind in [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc] {
        let place = place();
        make(&place, kind);
        let path = place.lane.path(kind);
        let whole = std::fs::read(&path).unwrap();
        let file = open(&path);
        let (mut random, mut refused) = (Random(7), 0);
        for round in 0..3_000 {
            let near = |field: usize, random: &mut Random| {
                let old = u64::from_ne_bytes(whole[field..field + 8].try_into().unwrap());
                match random.next() % 4 {
                    0 => old.wrapping_add(random.next() % 3 * 64).wrapping_sub(64),
                    1 => old.wrapping_mul(2),
                    2 => old / 2,
                    _ => random.word(),
                }
            };
            for _ in 0..=round % 4 {
                let word = (random.next() % (whole.len() as u64 / 8)) as usize * 8;
                let at = if round % 2 == 0 { fields[random.next() as usize % fields.len()] } else { word };
                file.write_all_at(&near(at, &mut random).to_ne_bytes(), at as u64).unwrap();
            }
            leftovers::look_at(&path).unwrap();
            refused += u32::from(use_it(&place, kind).is_err());
            file.write_all_at(&whole, 0).unwrap();
        }
        assert!(refused > 300, "{kind:?}: {refused} refused");
    }
}

/// The clock, which every process reads once: the same clock, or a refusal; never one that runs otherwise.
#[test]
fn every_byte_of_the_clock() {
    let place = place();
    let path = place.lane.path(Kind::Clock);
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut same) = (0, 0);
    for at in (0..whole.len()).filter(|at| !(header::BOOT_ID..header::BOOT_ID + 16).contains(at)) {
        for value in VALUES {
            open(&path).write_all_at(&[value], at as u64).unwrap();
            match Clock::attach_or_create(place.dir.path()) {
                Ok(clock) => {
                    same += 1;
                    assert_eq!((clock.id(), clock.ns(77 << 40)), (place.clock.id(), place.clock.ns(77 << 40)));
                    let _ = (clock.ns(0), clock.ns(u64::MAX), clock.span_ns(0, u64::MAX));
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains("pillion.clock"), "{error}");
                }
            }
        }
        open(&path).write_all_at(&whole, 0).unwrap();
    }
    println!("clock of {} bytes, {refused} attaches refused, {same} used", whole.len());
    assert!(refused > 70 * 5 && same > 0, "{refused} refused");
}

/// A successor's mark that no successor made: there is no other ring to go over to, and nothing is read twice.
#[test]
fn a_false_mark_of_a_successor_leads_nowhere() {
    let place = place();
    let mut ring = place.writer(SLOTS).unwrap();
    publish(&mut ring, 3);
    let mut reader = place.reader(From::Start).unwrap();
    assert_eq!(common::drain(&mut reader), (3, 0));
    open(ring.path()).write_all_at(&9_u64.to_ne_bytes(), header::SUCCESSOR as u64).unwrap();
    assert!(reader.successor() && !reader.follow().unwrap());
    publish(&mut ring, 2);
    assert_eq!(common::drain(&mut reader), (2, 0));
}

/// A file cut or grown behind its header's back is refused at attach.
#[test]
fn every_length_before_the_attach() {
    let place = place();
    make(&place, Kind::Ticks);
    let path = place.lane.path(Kind::Ticks);
    let file = open(&path);
    let whole = file.metadata().unwrap().len();
    for bytes in (0..whole).step_by(8).chain([whole + 1, whole + 4096]) {
        file.set_len(bytes).unwrap();
        assert!(use_it(&place, Kind::Ticks).is_err(), "{bytes} bytes");
    }
}
