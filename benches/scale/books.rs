//! Curves of the book alone (decode and book): depth, orders, and the clear.

use std::hint::black_box;
use std::rc::Rc;

use super::flow::{Choice, Flow, Ids, Mix, Placing, Spec};
use super::measure::{Dimension, Point, timed, timed_alone};
use pillion::hot::book::{Book, Level, Limits};
use pillion::hot::decode::{Instruments, decode};
use pillion_shm::records::MboMsg;

const LEVELS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const ORDERS: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
/// Levels that the orders of the orders curve are spread over, each side.
const ORDERS_LEVELS: usize = 20;
const ROOM: [usize; 5] = [512, 4_096, 16_384, 131_072, 1_048_576];
/// Orders that rest when the clear comes.
const CLEARED: usize = 100;
const BATCH: usize = 64;

/// A book and the flow it takes.
struct BookPoint {
    flow: Rc<Flow>,
    instruments: Instruments,
    book: Book,
    at: usize,
    warm: usize,
    bytes: usize,
}

impl BookPoint {
    fn new(spec: Spec, max_levels: usize) -> Self {
        let flow = Rc::new(Flow::new(spec));
        let limits = Limits { max_orders: spec.orders + spec.orders / 8 + 16, max_levels };
        let instruments = Instruments::new(&flow.instruments).expect("one instrument");
        let mut book = Book::new(limits);
        play(&mut book, &flow.snapshot, &instruments);
        assert!(book.orders() == spec.orders && !book.degraded(), "{} orders rest", book.orders());
        // A line for each order that is ever touched; levels are searched and moved whole.
        let levels = 2 * spec.levels * size_of::<Level>();
        let touched_levels = match spec.placing {
            Placing::BestFirst => levels * spec.active / spec.orders,
            Placing::AllLevels => levels,
        };
        let bytes = size_of::<Book>() + (spec.active * 64).min(book.state_bytes()) + touched_levels;
        Self { flow, instruments, book, at: 0, warm: (2 * spec.active).max(2_000), bytes }
    }
}

fn play(book: &mut Book, records: &[MboMsg], instruments: &Instruments) {
    for record in records {
        let words = bytemuck::cast_slice(std::slice::from_ref(record));
        if let Ok(tick) = decode(words, instruments) {
            black_box(book.apply(&tick));
        }
    }
}

impl Point for BookPoint {
    fn batch(&mut self) -> (f64, u64) {
        let end = (self.at + BATCH).min(self.flow.live.len());
        let records = &self.flow.live[self.at..end];
        let ns = timed(|| play(&mut self.book, records, &self.instruments));
        self.at = if end == self.flow.live.len() { 0 } else { end };
        (ns, records.len() as u64)
    }

    fn warm_batches(&self) -> usize {
        self.warm.div_ceil(BATCH)
    }

    fn working_set_bytes(&self) -> u64 {
        self.bytes as u64
    }
}

/// Decode and book against the levels of a side.
pub fn depth() -> Result<Dimension, String> {
    let line = |near: bool, mix, per_level: usize| {
        let at = move |levels: usize| -> (f64, Box<dyn Point>) {
            let orders = 2 * levels * per_level;
            let active = if near { orders.min(2 * 10 * per_level) } else { orders };
            let events = (orders * 4).clamp(20_000, 200_000);
            let (choice, ids) = (Choice::Even, Ids::Rising);
            let placing = Placing::BestFirst;
            let spec = Spec { instruments: 1, orders, levels, placing, active, choice, mix, ids, events };
            (levels as f64, Box::new(BookPoint::new(spec, levels + 1)))
        };
        LEVELS.into_iter().map(at).collect()
    };
    Ok(Dimension {
        id: "depth",
        title: "Decode and book against the price levels of a side".into(),
        x_label: "levels a side",
        y_label: "ns a tick, decode and book",
        x_log: true,
        y_log: true,
        series: vec![
            ("two orders a level, the ten best levels busy".into(), line(true, Mix::Usual, 2)),
            ("two orders a level, all levels busy".into(), line(false, Mix::Usual, 2)),
            ("one order a level, every tick makes or ends a level anywhere".into(), line(false, Mix::AddCancel, 1)),
        ],
    })
}

/// Decode and book against resting orders.
pub fn orders() -> Result<Dimension, String> {
    let line = |busy: Option<usize>, ids| {
        let at = move |orders: usize| -> (f64, Box<dyn Point>) {
            let active = busy.unwrap_or(orders).min(orders);
            let events = (active * 2).clamp(20_000, 1_000_000);
            let (choice, mix) = (Choice::Even, Mix::Usual);
            let (levels, placing) = (ORDERS_LEVELS, Placing::AllLevels);
            let spec = Spec { instruments: 1, orders, levels, placing, active, choice, mix, ids, events };
            (orders as f64, Box::new(BookPoint::new(spec, 2 * ORDERS_LEVELS)))
        };
        ORDERS.into_iter().map(at).collect()
    };
    Ok(Dimension {
        id: "orders",
        title: "Decode and book against the orders that rest (20 levels a side)".into(),
        x_label: "orders",
        y_label: "ns a tick, decode and book",
        x_log: true,
        y_log: false,
        series: vec![
            ("a hundred of them busy".into(), line(Some(100), Ids::Rising)),
            ("all busy, numbers rising".into(), line(None, Ids::Rising)),
            ("all busy, numbers of any 64 bits".into(), line(None, Ids::Random)),
        ],
    })
}

/// A book with much room and few orders, cleared again and again.
struct ClearPoint {
    flow: Rc<Flow>,
    instruments: Instruments,
    book: Book,
}

impl Point for ClearPoint {
    fn batch(&mut self) -> (f64, u64) {
        let (clear, adds) = self.flow.snapshot.split_at(1);
        let ns = timed_alone(|| play(&mut self.book, clear, &self.instruments));
        assert!(self.book.orders() == 0, "{} orders outlive the clear", self.book.orders());
        play(&mut self.book, adds, &self.instruments);
        (ns, 1)
    }

    fn warm_batches(&self) -> usize {
        1
    }

    fn batches(&self, usual: usize) -> usize {
        usual.min(9)
    }

    fn working_set_bytes(&self) -> u64 {
        self.book.state_bytes() as u64
    }
}

/// A clear against the room of the book.
pub fn clear() -> Result<Dimension, String> {
    let (choice, mix, ids) = (Choice::Even, Mix::Usual, Ids::Rising);
    let (orders, levels, placing) = (CLEARED, 25, Placing::BestFirst);
    let spec = Spec { instruments: 1, orders, levels, placing, active: orders, choice, mix, ids, events: 0 };
    let flow = Rc::new(Flow::new(spec));
    let at = |max_orders: usize| -> (f64, Box<dyn Point>) {
        let instruments = Instruments::new(&flow.instruments).expect("one instrument");
        let mut book = Book::new(Limits { max_orders, max_levels: 2_048 });
        play(&mut book, &flow.snapshot, &instruments);
        (max_orders as f64, Box::new(ClearPoint { flow: Rc::clone(&flow), instruments, book }))
    };
    Ok(Dimension {
        id: "clear",
        title: "A clear of 100 orders against the orders that the book has room for".into(),
        x_label: "max_orders",
        y_label: "ns a clear, decode and book",
        x_log: true,
        y_log: true,
        series: vec![("100 orders rest".into(), ROOM.into_iter().map(at).collect())],
    })
}
