//! The contract's numbers as the crate has them.

use crate::Facts;
use pillion_shm::layout::{self, Kind, clock, cnc, header, slot};
use pillion_shm::records::{self, BidAskPair, MboMsg, Mbp1Msg, Mbp10Msg, RecordHeader, StatusMsg, TradeMsg};
use pillion_shm::signal::{InstrumentRow, MAX_OUTPUTS, ModelRow};
use pillion_shm::{
    Command, Counters, InstrumentEntry, ModelEntry, Outcome, STAGES, Signal, SignalTables, StageSummary, State,
    mailbox, ring, signal_flags,
};
use std::mem::{offset_of, size_of};

/// Offsets in `layout`'s modules, under the same names in small letters.
macro_rules! offsets {
    ($facts:ident, $group:ident: $($name:ident)+) => {
        $($facts.insert(format!("{}.{}", stringify!($group), stringify!($name).to_lowercase()), $group::$name as u64);)+
    };
}

/// A struct's size, and each field's offset and size.
macro_rules! fields {
    ($facts:ident, $type:ident: $($field:ident)+) => {
        $facts.insert(concat!("sizeof ", stringify!($type)).to_owned(), size_of::<$type>() as u64);
        $(
            let name = concat!(stringify!($type), ".", stringify!($field));
            $facts.insert(name.to_owned(), offset_of!($type, $field) as u64);
            $facts.insert(format!("sizeof {name}"), size_of_field(|value: &$type| &value.$field));
        )+
    };
}

/// Constants or enum values, as `group.name`.
macro_rules! numbers {
    ($facts:ident, $group:literal: $($name:literal $value:expr),+ $(,)?) => {
        $($facts.insert(concat!($group, ".", $name).to_owned(), $value as u64);)+
    };
}

fn size_of_field<T, F>(_: impl Fn(&T) -> &F) -> u64 {
    size_of::<F>() as u64
}

/// All of them.
pub fn facts() -> Facts {
    let mut facts = Facts::new();
    regions(&mut facts);
    market_data(&mut facts);
    signals(&mut facts);
    tables_head(&mut facts);
    enums(&mut facts);
    facts
}

fn regions(facts: &mut Facts) {
    numbers!(facts, "layout": "version" layout::LAYOUT_VERSION, "v1_hash" layout::V1_HASH,
        "header_bytes" layout::HEADER_BYTES, "body_align" layout::BODY_ALIGN, "most_records" ring::MOST_RECORDS,
        "most_table_bytes" layout::MOST_TABLE_BYTES);
    for kind in [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc, Kind::Clock] {
        facts.insert(format!("layout.hash.{}", kind.name()), layout::layout_hash(kind));
        facts.insert(format!("Kind.{}", kind.name()), kind as u64);
    }
    offsets!(facts, header: MAGIC VERSION KIND LAYOUT_HASH REGION_BYTES GENERATION CLOCK_ID STRIDE CAPACITY TABLE_OFFSET
        TABLE_BYTES BODY_OFFSET CREATED_NS OWNER_PID MODELS OWNER_START BOOT_ID SUCCESSOR HEAD END);
    offsets!(facts, slot: SEQ RECORD OWN);
    offsets!(facts, cnc: STATE HEARTBEAT HALTED TICKS_CONSUMED TICKS_GENERATION TICKS_BEFORE COUNTERS REQUEST ANSWERS
        STAGES BYTES);
    offsets!(facts, clock: BASE_RAW BASE_NS MULT SHIFT COUNTER BYTES);
}

fn market_data(facts: &mut Facts) {
    fields!(facts, RecordHeader: length rtype publisher_id instrument_id ts_event);
    fields!(facts, MboMsg: hd order_id price size flags channel_id action side ts_recv ts_in_delta sequence);
    fields!(facts, BidAskPair: bid_px ask_px bid_sz ask_sz bid_ct ask_ct);
    fields!(facts, TradeMsg: hd price size action side flags depth ts_recv ts_in_delta sequence);
    assert_eq!(offset_of!(Mbp10Msg, event), 0);
    fields!(facts, Mbp1Msg: levels);
    fields!(facts, Mbp10Msg: levels);
    fields!(facts, StatusMsg: hd ts_recv action reason trading_event is_trading is_quoting is_short_sell_restricted);
}

fn signals(facts: &mut Facts) {
    fields!(facts, Signal: ring_seq ts_event tick_ns signal_ns instrument model outputs_len revision flags outputs);
    fields!(facts, InstrumentRow: tick_size size_unit id reserved symbol);
    fields!(facts, ModelRow: name sha256 features_hash revision outputs_len outputs meaning engine isa runtime horizon_events
        reserved2);
    fields!(facts, Counters: events signals gaps lost rejects conflated invalid generation_changes);
    fields!(facts, StageSummary: count p50 p90 p99 p999 p9999 max);
}

/// Private to the crate, so read from the bytes that it writes.
fn tables_head(facts: &mut Facts) {
    let instrument = InstrumentEntry { id: 0, symbol: String::new(), tick_size: 0, size_unit: 0.0 };
    let model = ModelEntry {
        name: String::new(),
        revision: 0,
        sha256: [0; 32],
        features_hash: [0; 32],
        outputs: Vec::new(),
        meaning: String::new(),
        engine: String::new(),
        isa: String::new(),
        runtime: String::new(),
        horizon_events: 0,
    };
    let bytes = SignalTables { instruments: vec![instrument; 3], models: vec![model; 5] }.to_bytes().unwrap();
    let rows = 3 * size_of::<InstrumentRow>() + 5 * size_of::<ModelRow>();
    let head: Vec<_> = bytes[..bytes.len() - rows].chunks_exact(4).collect();
    facts.insert("sizeof TablesHead".to_owned(), 4 * head.len() as u64);
    let fields = [
        ("instruments", 3),
        ("instrument_bytes", size_of::<InstrumentRow>()),
        ("models", 5),
        ("model_bytes", size_of::<ModelRow>()),
    ];
    for (name, value) in fields {
        let at = head.iter().position(|word| **word == (value as u32).to_ne_bytes()).unwrap();
        facts.insert(format!("TablesHead.{name}"), 4 * at as u64);
        facts.insert(format!("sizeof TablesHead.{name}"), 4);
    }
}

fn enums(facts: &mut Facts) {
    use records::{flags, rtype};
    numbers!(facts, "State": "boot" State::Boot, "run" State::Run, "halt" State::Halt, "fail" State::Fail,
        "stopped" State::Stopped);
    numbers!(facts, "Command": "halt" Command::Halt, "resume" Command::Resume, "stop" Command::Stop);
    numbers!(facts, "Outcome": "done" Outcome::Done, "refused" Outcome::Refused, "unknown" Outcome::Unknown);
    numbers!(facts, "signal_flags": "warming" signal_flags::WARMING, "after_gap" signal_flags::AFTER_GAP,
        "invalid" signal_flags::INVALID, "halted" signal_flags::HALTED, "over_budget" signal_flags::OVER_BUDGET,
        "conflated" signal_flags::CONFLATED, "shadow" signal_flags::SHADOW,
        "catching_up" signal_flags::CATCHING_UP);
    numbers!(facts, "record_flags": "last" flags::LAST, "tob" flags::TOB, "snapshot" flags::SNAPSHOT, "mbp" flags::MBP,
        "bad_ts_recv" flags::BAD_TS_RECV, "maybe_bad_book" flags::MAYBE_BAD_BOOK);
    numbers!(facts, "rtype": "trade" rtype::TRADE, "mbp_1" rtype::MBP_1, "mbp_10" rtype::MBP_10, "status" rtype::STATUS,
        "mbo" rtype::MBO);
    numbers!(facts, "mailbox": "answers" mailbox::ANSWERS);
    numbers!(facts, "outputs": "max" MAX_OUTPUTS);
    for (i, name) in STAGES.into_iter().enumerate() {
        facts.insert(format!("Stage.{name}"), i as u64);
    }
    // The counters' numbers are the clock's own: by its text.
    let clock = crate::read("src/clock.rs");
    for name in ["tsc", "cntvct", "monotonic"] {
        let start = format!("const {}: u64 = ", name.to_uppercase());
        let (_, rest) = clock.split_once(&start).unwrap_or_else(|| panic!("src/clock.rs has no {start:?}"));
        facts.insert(format!("Counter.{name}"), rest.split(';').next().unwrap().parse().unwrap());
    }
}
