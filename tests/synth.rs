//! Synthetic files: same seed, same bytes; and an order flow that a book takes without a single doubt.

use std::path::Path;

use pillion::data::book_csv::crossed;
use pillion::data::synth::{self, Plan};
use pillion::data::{Feed, load};
use pillion::hot::book::{Applied, Book, Limits};
use pillion::hot::decode::{Instruments, Side, decode};

const PLAN: Plan = Plan { seed: 11, instruments: 5, events: 60_000, events_per_second: 5_000 };

fn made(folder: &Path, plan: &Plan) -> Feed {
    let path = folder.join(format!("{}.dbn.zst", plan.seed));
    let summary = synth::write(&path, plan).unwrap();
    let feed = load(&path).unwrap();
    assert_eq!((feed.records, summary.events), (summary.records, plan.events));
    feed
}

#[test]
fn same_seed_same_bytes() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [first, second] = folders.each_ref().map(|folder| made(folder.path(), &PLAN));
    assert_eq!(first.blake3, second.blake3);
    let other = made(folders[0].path(), &Plan { seed: 12, ..PLAN });
    assert_ne!(first.blake3, other.blake3);
}

#[test]
fn the_records_are_the_same_on_every_machine() {
    let folder = tempfile::tempdir().unwrap();
    let feed = made(folder.path(), &Plan { seed: 1, instruments: 3, events: 5_000, events_per_second: 1_000 });
    let hash = blake3::hash(bytemuck::cast_slice(&feed.words)).to_hex();
    assert_eq!(&hash[..16], "52a5e80d4b6dc565");
}

#[test]
fn the_flow_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let feed = made(folder.path(), &PLAN);
    assert_eq!(feed.instruments.len(), 5);
    assert!(feed.instruments.iter().all(|i| i.tick_size == synth::TICK_SIZE && i.symbol == format!("SYN{:04}", i.id)));
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let mut books: Vec<Book> = (0..5).map(|_| Book::new(Limits { max_orders: 4_096, max_levels: 512 })).collect();
    let (mut events, mut snapshots, mut trades, mut last_ns) = (0, 0, 0, 0);
    let mut flows = [0u32; 4];
    for record in &feed {
        let tick = decode(record, &instruments).unwrap();
        let book = &mut books[tick.instrument as usize];
        let applied = book.apply(&tick);
        assert!(matches!(applied, Applied::Changed | Applied::Unchanged), "{}", applied.name());
        assert!(tick.ts_event >= last_ns);
        last_ns = tick.ts_event;
        if tick.is_last() {
            let event = book.event();
            events += u64::from(!event.snapshot);
            snapshots += u32::from(event.snapshot);
            trades += event.trades;
            for (flow, sides) in flows.iter_mut().zip([event.added, event.cancelled, event.modified, event.filled]) {
                *flow += u32::from(!event.snapshot) * (sides[0].count + sides[1].count);
            }
            assert!(!crossed(book));
            assert!(
                Side::BOTH.iter().all(|&side| (4..200).contains(&book.depth(side))),
                "depth {}",
                book.depth(Side::Bid)
            );
        }
    }
    assert_eq!((events, snapshots), (PLAN.events, 5));
    assert!(trades > 3_000 && flows.iter().all(|&count| count > 3_000), "{trades} {flows:?}");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.dbn");
    for plan in [
        Plan { instruments: 0, ..PLAN },
        Plan { instruments: 10_001, ..PLAN },
        Plan { events_per_second: 0, ..PLAN },
        Plan { events: u64::MAX, ..PLAN },
    ] {
        assert_eq!(synth::write(&path, &plan).unwrap_err().exit_code, 2);
        assert!(!path.exists());
    }
}
