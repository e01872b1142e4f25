//! Regions from any bytes: refused with a reason, or read on without a crash, a hang or a cursor that goes back.

use crate::input::Input;
use crate::regions::{self, Bench, Template};
use crate::tables;
use pillion_shm::layout::{HEADER_BYTES, header as at, slot};
use pillion_shm::{
    BoardReader, BoardSpec, BoardWriter, Clock, CncClient, CncOwner, Command, Error, From, Kind, LockMemory, Outcome,
    Poll, Reading, RingReader, RingSpec, RingWriter, leftovers,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// No region of the bench grows past this.
const MAX_BYTES: usize = 1 << 20;
/// What is done to one region, at most.
const STEPS: usize = 64;

const WORDS: [usize; 12] = [
    at::LAYOUT_HASH,
    at::REGION_BYTES,
    at::GENERATION,
    at::CLOCK_ID,
    at::STRIDE,
    at::CAPACITY,
    at::TABLE_OFFSET,
    at::TABLE_BYTES,
    at::BODY_OFFSET,
    at::CREATED_NS,
    at::SUCCESSOR,
    at::HEAD,
];
const HALVES: [usize; 4] = [at::VERSION, at::KIND, at::OWNER_PID, at::MODELS];
const KINDS: [Kind; 5] = [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc, Kind::Clock];

/// Makes a region of `data` and does with it what its readers, operators and next owner do.
pub fn run(data: &[u8]) {
    regions::with_bench(|bench| {
        let mut input = Input(data);
        let (template, bytes) = region(bench, &mut input);
        let kind = if input.byte() & 7 == 7 { KINDS[input.below(KINDS.len())] } else { template.kind };
        match kind {
            Kind::Clock => return clock(bench, template, &bytes),
            Kind::Ticks | Kind::Signals => ring(bench, kind, &bytes, &mut input),
            Kind::Board => board(bench, &bytes, &mut input),
            Kind::Cnc => cnc(bench, &bytes, &mut input),
        }
        let _ = std::fs::remove_file(bench.lane.path(kind));
    });
}

/// An honest region with patches, or none of it: `data` alone.
fn region<'a>(bench: &'a Bench, input: &mut Input) -> (&'a Template, Vec<u8>) {
    let choice = input.below(bench.templates.len() + 1);
    let Some(template) = bench.templates.get(choice) else {
        let template = &bench.templates[input.below(bench.templates.len())];
        let mut bytes = input.bytes(4 * HEADER_BYTES).to_vec();
        bytes.resize(input.below(MAX_BYTES / 64) * 64, 0);
        return (template, bytes);
    };
    let mut bytes = template.bytes.clone();
    for _ in 0..input.below(8) {
        patch(&mut bytes, input);
    }
    (template, bytes)
}

fn patch(bytes: &mut Vec<u8>, input: &mut Input) {
    match input.byte() % 8 {
        0..=2 => put(bytes, WORDS[input.below(WORDS.len())], &input.word().to_ne_bytes()),
        3 => put(bytes, HALVES[input.below(HALVES.len())], &(input.word() as u32).to_ne_bytes()),
        4 => {
            let at = usize::from(input.half()) % bytes.len().max(1);
            put(bytes, at, input.bytes(16));
        }
        5 => put(bytes, at::BOOT_ID, input.bytes(16)),
        6 => {
            bytes.resize(input.below(MAX_BYTES / 64) * 64 + usize::from(input.byte() % 8), 0);
            // A file that is as long as it says comes further than one that is not.
            if input.byte() & 1 == 0 {
                let length = bytes.len() as u64;
                put(bytes, at::REGION_BYTES, &length.to_ne_bytes());
            }
        }
        _ => far(bytes, input.word()),
    }
}

/// The ring as it would look after `head` records.
fn far(bytes: &mut [u8], head: u64) {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 8).map_or(0, |word| u64::from_ne_bytes(word.try_into().expect("8 bytes")))
    };
    let (stride, capacity) = (word(bytes, at::STRIDE) as usize, word(bytes, at::CAPACITY));
    let body = word(bytes, at::BODY_OFFSET) as usize;
    if !capacity.is_power_of_two() || capacity > 64 || stride > 4096 || body > MAX_BYTES {
        return;
    }
    put(bytes, at::HEAD, &head.to_ne_bytes());
    for n in (1..=capacity).filter_map(|back| head.checked_sub(back)) {
        let seq = n.wrapping_mul(2).wrapping_add(2);
        put(bytes, body + (n % capacity) as usize * stride + slot::SEQ, &seq.to_ne_bytes());
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let end = (at + value.len()).min(bytes.len());
    if at < end {
        bytes[at..end].copy_from_slice(&value[..end - at]);
    }
}

/// The file of a region, to scribble over while it is mapped.
fn place(path: &Path, bytes: &[u8]) -> File {
    // A new file every time: a reader may still map the one before.
    let _ = std::fs::remove_file(path);
    let file = File::create_new(path).expect("the bench can be written");
    file.write_all_at(bytes, 0).expect("the bench has room");
    file
}

/// Writes one word or some bytes somewhere, as a broken peer would; never past the end.
fn scribble(file: &File, bytes: usize, input: &mut Input) {
    let (choice, word) = (input.byte(), input.word());
    let offset = match choice % 4 {
        0 => at::HEAD,
        1 => at::SUCCESSOR,
        _ => usize::from(input.half()) * 8,
    };
    if offset + 8 <= bytes {
        file.write_all_at(&word.to_ne_bytes(), offset as u64).expect("the bench has room");
    }
}

/// What an operator's list says of it; seldom, since it looks through /proc for those who map it.
fn listed(path: &Path, input: &mut Input) {
    if input.byte() & 63 == 63 {
        let found = leftovers::look_at(path).expect("a file that was just placed");
        assert!(found.regular && !found.in_use(), "nobody has it: {found:?}");
        assert!(found.what.is_ok() || found.sound().is_none(), "{found:?}");
        assert!(found.what.err().is_none_or(|reason| !reason.is_empty()), "no reason");
    }
}

fn refused(error: &Error, path: &Path) {
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("mend:"), "{text}");
}

fn ring(bench: &Bench, kind: Kind, bytes: &[u8], input: &mut Input) {
    let path = bench.lane.path(kind);
    let file = place(&path, bytes);
    listed(&path, input);
    let from = [From::Next, From::Oldest, From::Start][input.below(3)];
    let mut reader = match RingReader::attach(&bench.lane, kind, from, &bench.clock) {
        Ok(reader) => reader,
        Err(error) => {
            refused(&error, &path);
            return take_over_ring(bench, kind);
        }
    };
    tables::check(reader.table());
    reader.touch_and_lock(LockMemory::No).expect("pages that are there");
    for _ in 0..STEPS.min(input.0.len() + 1) {
        match input.byte() % 8 {
            0..=2 => poll(&mut reader),
            3 => batch(&mut reader, input.below(5)),
            4 | 5 => scribble(&file, bytes.len(), input),
            6 => said(&mut reader, input.byte() & 1 == 0),
            _ => {
                // Another region stands under the name.
                place(&path, &region(bench, input).1);
                if let Err(error) = reader.follow() {
                    refused(&error, &path);
                }
            }
        }
    }
    take_over_ring(bench, kind);
}

fn poll(reader: &mut RingReader) {
    let mut words = [0; 14];
    let cursor = reader.cursor();
    let moved = match reader.poll(&mut words) {
        Poll::Record { ring_seq, .. } => {
            assert_eq!(ring_seq, cursor);
            1
        }
        Poll::Lost(lost) => {
            assert!(lost > 0, "a loss of nothing");
            lost
        }
        Poll::Empty | Poll::Corrupt => 0,
    };
    assert_eq!(cursor.checked_add(moved), Some(reader.cursor()), "the cursor moves by what is told");
}

fn batch(reader: &mut RingReader, records: usize) {
    let mut words = vec![0; reader.record_words() * records];
    let mut stamps = vec![0; records];
    let cursor = reader.cursor();
    let batch = reader.poll_batch(&mut words, &mut stamps);
    assert!(batch.records <= records);
    assert_eq!(cursor.checked_add(batch.lost), Some(batch.first));
    assert!(!batch.corrupt || (batch.lost, batch.records) == (0, 0), "corrupt stands alone: {batch:?}");
    assert_eq!(batch.first.checked_add(batch.records as u64), Some(reader.cursor()));
}

/// Everything that a reader tells of its ring.
fn said(reader: &mut RingReader, give_up: bool) {
    assert!(reader.capacity().is_power_of_two() && reader.record_words() > 0);
    let _ = (reader.head(), reader.generation(), reader.owner_pid(), reader.created_ns(), reader.successor());
    assert!(!reader.owner_alive(), "nobody holds this file's lock");
    let _ = (reader.superseded(), reader.check());
    if give_up {
        let cursor = reader.cursor();
        let passed = reader.skip_to_next();
        assert!(reader.cursor() <= cursor || reader.cursor() - cursor == passed, "it says what it passed");
    }
}

/// The next owner takes the name over whatever stood there, or says why not.
fn take_over_ring(bench: &Bench, kind: Kind) {
    let spec = RingSpec { capacity: 2, record_words: 6, table: Vec::new() };
    match RingWriter::create(&bench.lane, kind, &spec, &bench.clock, &regions::access()) {
        Ok(mut ring) => {
            assert!(ring.generation() > 0);
            ring.publish(&[1; 6]);
            let mut reader = RingReader::attach(&bench.lane, kind, From::Oldest, &bench.clock).expect("an honest ring");
            assert!(matches!(reader.poll(&mut [0; 6]), Poll::Record { ring_seq: 0, .. }));
        }
        Err(error) => refused(&error, &bench.lane.path(kind)),
    }
}

fn board(bench: &Bench, bytes: &[u8], input: &mut Input) {
    let path = bench.lane.path(Kind::Board);
    let file = place(&path, bytes);
    listed(&path, input);
    match BoardReader::attach(&bench.lane, &bench.clock) {
        Ok(mut board) => {
            board.touch_and_lock(LockMemory::No).expect("pages that are there");
            let (rows, columns) = (board.instruments(), board.models());
            for _ in 0..STEPS.min(input.0.len() + 1) {
                let (instrument, model) = (input.word() as u32, input.word() as u32);
                let reading = board.read(instrument, model);
                assert!((instrument < rows && model < columns) || matches!(reading, Reading::Never), "no such cell");
                for (instrument, model) in [(rows.wrapping_sub(1), columns.wrapping_sub(1)), (0, 0), (1, 1)] {
                    if let Some(signal) = board.get(instrument, model) {
                        let _ = (signal.outputs(), signal.tradable(), signal.normalised());
                    }
                }
                scribble(&file, bytes.len(), input);
            }
            let _ = (board.generation(), board.superseded());
            assert!(!board.owner_alive(), "nobody holds this file's lock");
        }
        Err(error) => refused(&error, &path),
    }
    let spec = BoardSpec { instruments: 1, models: 1, table: Vec::new() };
    match BoardWriter::create(&bench.lane, &spec, &bench.clock, &regions::access()) {
        Ok(board) => assert!(board.generation() > 0),
        Err(error) => refused(&error, &path),
    }
}

fn cnc(bench: &Bench, bytes: &[u8], input: &mut Input) {
    let path = bench.lane.path(Kind::Cnc);
    let file = place(&path, bytes);
    listed(&path, input);
    match CncClient::attach_operator(&bench.lane) {
        Ok(mut page) => {
            page.touch_and_lock(LockMemory::No).expect("pages that are there");
            for _ in 0..STEPS.min(input.0.len() / 8 + 1) {
                read_page(&page, input.word());
                if let Err(error) = page.request(Command::Halt, Duration::ZERO) {
                    refused(&error, &path);
                }
                scribble(&file, bytes.len(), input);
            }
        }
        Err(error) => refused(&error, &path),
    }
    match CncOwner::create(&bench.lane, &bench.clock, &regions::access()) {
        Ok(page) => own_page(bench, &page, input),
        Err(error) => refused(&error, &path),
    }
}

fn read_page(page: &CncClient, generation: u64) {
    let _ = (page.state().to_string(), page.halted(), page.heartbeat_ns(), page.ticks_consumed());
    let _ = (page.consumed_of(generation), page.counters(), page.stages(), page.pid(), page.created_ns());
    let _ = (page.generation(), page.superseded(), page.owner_alive());
}

/// An owner whose operators scribble: they may write to its whole page.
fn own_page(bench: &Bench, page: &CncOwner, input: &mut Input) {
    let file = File::options().write(true).open(bench.lane.path(Kind::Cnc)).expect("just made");
    let bytes = file.metadata().expect("just made").len() as usize;
    for _ in 0..STEPS.min(input.0.len() / 8 + 1) {
        scribble(&file, bytes, input);
        if let Some(request) = page.poll_mailbox() {
            page.answer(&request, Outcome::Done);
            assert!(page.poll_mailbox().is_none_or(|next| next.ticket != request.ticket), "answered once");
        }
        let _ = (page.state(), page.halted(), page.last_counts(), page.start_halted());
    }
}

fn clock(bench: &Bench, template: &Template, bytes: &[u8]) {
    // A clock of another boot is made anew, which takes its time: not for the fuzzer.
    let boot = |bytes: &[u8]| bytes.get(at::BOOT_ID..at::BOOT_ID + 16).map(<[u8]>::to_vec);
    if template.kind != Kind::Clock || boot(bytes) != boot(&template.bytes) {
        return;
    }
    let dir = bench.clock_dir();
    let path = dir.join("pillion.clock");
    place(&path, bytes);
    match Clock::attach_or_create(&dir) {
        Ok(clock) => {
            let (now, later) = (clock.now_ns(), clock.now_ns());
            assert!(now <= later && clock.ns(0) <= now && clock.span_ns(9, 3) == 0);
            let _ = (clock.ns(u64::MAX), clock.span_ns(0, u64::MAX));
        }
        Err(error) => refused(&error, &path),
    }
}
