//! Records from any bytes, through decode, book and features: an applied tick or a counted reject, every one.

use crate::input::Input;
use pillion::hot::Counts;
use pillion::hot::book::Limits;
use pillion::hot::decode::{Instrument, Instruments, Side, decode};
use pillion::hot::features::FeatureSet;
use pillion::hot::state::State;
use pillion_shm::records::{MboMsg, Mbp1Msg, Mbp10Msg, StatusMsg, TradeMsg, rtype};
use std::sync::OnceLock;

const KINDS: [(u8, usize); 5] = [
    (rtype::MBO, size_of::<MboMsg>()),
    (rtype::TRADE, size_of::<TradeMsg>()),
    (rtype::MBP_1, size_of::<Mbp1Msg>()),
    (rtype::MBP_10, size_of::<Mbp10Msg>()),
    (rtype::STATUS, size_of::<StatusMsg>()),
];
/// Offsets of `action` and `side`, MBO and the others.
const ACTION: [usize; 2] = [38, 28];

/// Reads records off `data`, most of them with a header that fits.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let limits = Limits { max_orders: 1 + input.below(32), max_levels: 1 + input.below(16) };
    let list = [1, 2, 0x0100_0000].map(|id| Instrument {
        id,
        publisher: None,
        symbol: format!("I{id}"),
        tick_size: (input.word() as i64).max(1),
        size_unit: 1.0,
    });
    let mut checked = Checked::new(&list, limits).expect("an honest list");
    while !input.is_empty() {
        let words = record(&mut input, &list);
        checked.record(&words);
    }
    checked.finish();
}

fn record(input: &mut Input, list: &[Instrument]) -> Vec<u64> {
    let how = input.byte();
    let Some(&(kind, length)) = KINDS.get(usize::from(how % 8)) else {
        // Any bytes at all, of any length.
        let bytes = input.bytes(usize::from(how / 8) * 8);
        return bytes.chunks(8).map(word).collect();
    };
    let mut words = vec![0; length / 8];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    let given = input.bytes(length - 16);
    bytes[16..16 + given.len()].copy_from_slice(given);
    let id = list.get(usize::from(how / 8 % 4)).map_or(99, |one| one.id);
    bytes[0] = (length / 4) as u8;
    bytes[1] = kind;
    bytes[4..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..16].copy_from_slice(&input.word().to_le_bytes());
    if how & 32 == 0 && kind != rtype::STATUS {
        let at = ACTION[usize::from(kind != rtype::MBO)];
        bytes[at] = b"ACMRTFNX"[input.below(8)];
        bytes[at + 1] = b"BANX"[input.below(4)];
    }
    if how & 64 != 0 {
        words.truncate(input.below(words.len() + 1));
    }
    words
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// Instruments with their states, which checks after every record what must hold after every record.
pub struct Checked {
    instruments: Instruments,
    states: Vec<State>,
    limits: Limits,
    vector: Vec<f32>,
    counts: Counts,
    records: u64,
}

impl Checked {
    /// States for `list`, with every bundled feature.
    pub fn new(list: &[Instrument], limits: Limits) -> pillion::Result<Self> {
        let instruments = Instruments::new(list)?;
        static SET: OnceLock<FeatureSet> = OnceLock::new();
        let set = SET.get_or_init(|| FeatureSet::bundled("all").expect("a bundled set"));
        let states = list.iter().map(|one| State::new(limits, set, one.tick_size.max(1))).collect();
        let vector = vec![0.0; set.names().len()];
        Ok(Self { instruments, states, limits, vector, counts: Counts::default(), records: 0 })
    }

    /// Takes one record.
    pub fn record(&mut self, words: &[u64]) {
        self.records += 1;
        let tick = match decode(words, &self.instruments) {
            Ok(tick) => tick,
            Err(reject) => return self.counts.rejects[reject.index()] += 1,
        };
        let state = &mut self.states[tick.instrument as usize];
        if let Err(reject) = state.admit(&tick) {
            return self.counts.rejects[reject.index()] += 1;
        }
        self.counts.applied[state.apply(&tick).index()] += 1;
        if state.event_end(&tick) {
            self.counts.events += 1;
            state.features.write(&mut self.vector);
            assert!(self.vector.iter().all(|value| value.is_finite()), "features {:?}", self.vector);
        }
        let book = &state.book;
        assert!(book.orders() <= self.limits.max_orders);
        for side in Side::BOTH {
            let levels = book.top(side);
            assert!(levels.len() <= self.limits.max_levels.max(10), "{} levels", levels.len());
            let rising = if side == Side::Bid { 1 } else { -1 };
            assert!(levels.is_sorted_by(|a, b| (a.price.cmp(&b.price) as i32) * rising < 0), "{side:?} {levels:?}");
            if book.is_order_book() {
                assert!(levels.iter().all(|level| level.size > 0 && level.orders > 0), "{side:?} {levels:?}");
            }
        }
    }

    /// Every record was either applied or rejected.
    pub fn finish(&self) {
        assert_eq!(self.counts.rejected() + self.counts.applied.iter().sum::<u64>(), self.records);
    }
}
