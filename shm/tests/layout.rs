//! Byte layouts: our records against the `dbn` crate's, and every offset of header, slot, signal and tables.
#![cfg(not(loom))]

use dbn::{FlagSet, RType};
use pillion_shm::layout::{self, HEADER_BYTES, Kind, LAYOUT_VERSION, MAGIC, header};
use pillion_shm::records;
use pillion_shm::signal::{InstrumentRow, ModelRow};
use pillion_shm::{Access, Clock, InstrumentEntry, Lane, ModelEntry, RingSpec, RingWriter, Signal, SignalTables};
use std::mem::{offset_of, size_of};

/// Same size, same place and same width of every named field.
macro_rules! same_layout {
    ($ours:ty, $theirs:ty: $($($field:ident).+),+ $(,)?) => {
        assert_eq!(size_of::<$ours>(), size_of::<$theirs>(), stringify!($ours));
        $(assert_eq!(offset_of!($ours, $($field).+), same_layout!(@last $theirs, $($field).+), stringify!($($field).+));)+
    };
    // MBP records keep the event in one struct of ours: `event.price` is `price` there.
    (@last $theirs:ty, event.$($field:ident).+) => { offset_of!($theirs, $($field).+) };
    (@last $theirs:ty, $($field:ident).+) => { offset_of!($theirs, $($field).+) };
}

#[test]
fn every_field_stands_where_dbn_has_it() {
    same_layout!(records::RecordHeader, dbn::RecordHeader: rtype, publisher_id, instrument_id, ts_event);
    same_layout!(records::MboMsg, dbn::MboMsg: hd, order_id, price, size, flags, channel_id, action, side, ts_recv,
        ts_in_delta, sequence);
    same_layout!(records::BidAskPair, dbn::BidAskPair: bid_px, ask_px, bid_sz, ask_sz, bid_ct, ask_ct);
    same_layout!(records::TradeMsg, dbn::TradeMsg: hd, price, size, action, side, flags, depth, ts_recv, ts_in_delta,
        sequence);
    same_layout!(records::Mbp1Msg, dbn::Mbp1Msg: event.hd, event.price, event.size, event.action, event.side,
        event.flags, event.depth, event.ts_recv, event.ts_in_delta, event.sequence, levels);
    same_layout!(records::Mbp10Msg, dbn::Mbp10Msg: event.hd, event.price, event.size, event.action, event.side,
        event.flags, event.depth, event.ts_recv, event.ts_in_delta, event.sequence, levels);
    same_layout!(records::StatusMsg, dbn::StatusMsg: hd, ts_recv, action, reason, trading_event, is_trading,
        is_quoting, is_short_sell_restricted, _reserved);
}

fn dbn_header<T: dbn::HasRType>(rtype: RType) -> dbn::RecordHeader {
    dbn::RecordHeader::new::<T>(rtype as u8, 0x0201, 0x0605_0403, 0x0e0d_0c0b_0a09_0807)
}

fn our_header(rtype: u8, bytes: usize) -> records::RecordHeader {
    let length = (bytes / 4) as u8;
    records::RecordHeader {
        length,
        rtype,
        publisher_id: 0x0201,
        instrument_id: 0x0605_0403,
        ts_event: 0x0e0d_0c0b_0a09_0807,
    }
}

#[test]
fn mbo_bytes_are_dbns() {
    let theirs = dbn::MboMsg {
        hd: dbn_header::<dbn::MboMsg>(RType::Mbo),
        order_id: 0x1817_1615_1413_1211,
        price: -42,
        size: 7,
        flags: FlagSet::new(0x82),
        channel_id: 9,
        action: b'A' as _,
        side: b'B' as _,
        ts_recv: 77,
        ts_in_delta: -5,
        sequence: 1234,
    };
    let ours = records::MboMsg {
        hd: our_header(records::rtype::MBO, 56),
        order_id: 0x1817_1615_1413_1211,
        price: -42,
        size: 7,
        flags: 0x82,
        channel_id: 9,
        action: b'A',
        side: b'B',
        ts_recv: 77,
        ts_in_delta: -5,
        sequence: 1234,
    };
    assert_eq!(bytemuck::bytes_of(&ours), theirs.as_ref());
}

fn our_trade(rtype: u8, bytes: usize) -> records::TradeMsg {
    records::TradeMsg {
        hd: our_header(rtype, bytes),
        price: 1_000_000_007,
        size: 3,
        action: b'T',
        side: b'A',
        flags: 0x80,
        depth: 4,
        ts_recv: 99,
        ts_in_delta: -6,
        sequence: 55,
    }
}

fn our_levels<const N: usize>() -> [records::BidAskPair; N] {
    std::array::from_fn(|i| {
        let i = i as i64;
        let (sizes, orders) = ((10 + i as u32, 20 + i as u32), (30 + i as u32, 40 + i as u32));
        records::BidAskPair {
            bid_px: -i,
            ask_px: i << 40,
            bid_sz: sizes.0,
            ask_sz: sizes.1,
            bid_ct: orders.0,
            ask_ct: orders.1,
        }
    })
}

macro_rules! dbn_event {
    ($type:path, $rtype:expr $(, $levels:ident: $value:expr)?) => {{
        use $type as Msg;
        Msg {
            hd: dbn_header::<Msg>($rtype),
            price: 1_000_000_007,
            size: 3,
            action: b'T' as _,
            side: b'A' as _,
            flags: FlagSet::new(0x80),
            depth: 4,
            ts_recv: 99,
            ts_in_delta: -6,
            sequence: 55,
            $($levels: $value,)?
        }
    }};
}

fn dbn_levels<const N: usize>() -> [dbn::BidAskPair; N] {
    our_levels::<N>().map(|level| dbn::BidAskPair {
        bid_px: level.bid_px,
        ask_px: level.ask_px,
        bid_sz: level.bid_sz,
        ask_sz: level.ask_sz,
        bid_ct: level.bid_ct,
        ask_ct: level.ask_ct,
    })
}

#[test]
fn trade_and_mbp_bytes_are_dbns() {
    let trade = dbn_event!(dbn::TradeMsg, RType::Mbp0);
    assert_eq!(bytemuck::bytes_of(&our_trade(records::rtype::TRADE, 48)), trade.as_ref());
    let mbp_1 = dbn_event!(dbn::Mbp1Msg, RType::Mbp1, levels: dbn_levels());
    let ours = records::Mbp1Msg { event: our_trade(records::rtype::MBP_1, 80), levels: our_levels() };
    assert_eq!(bytemuck::bytes_of(&ours), mbp_1.as_ref());
    let mbp_10 = dbn_event!(dbn::Mbp10Msg, RType::Mbp10, levels: dbn_levels());
    let ours = records::Mbp10Msg { event: our_trade(records::rtype::MBP_10, 368), levels: our_levels() };
    assert_eq!(bytemuck::bytes_of(&ours), mbp_10.as_ref());
}

#[test]
fn status_bytes_are_dbns() {
    let theirs = dbn::StatusMsg {
        hd: dbn_header::<dbn::StatusMsg>(RType::Status),
        ts_recv: 5,
        action: 7,
        reason: 1,
        trading_event: 2,
        is_trading: b'Y' as _,
        is_quoting: b'N' as _,
        is_short_sell_restricted: b'~' as _,
        _reserved: [0; 7],
    };
    let ours = records::StatusMsg {
        hd: our_header(records::rtype::STATUS, 40),
        ts_recv: 5,
        action: 7,
        reason: 1,
        trading_event: 2,
        is_trading: b'Y',
        is_quoting: b'N',
        is_short_sell_restricted: b'~',
        _reserved: [0; 7],
    };
    assert_eq!(bytemuck::bytes_of(&ours), theirs.as_ref());
}

#[test]
fn flags_and_types_are_dbns() {
    use records::{flags, rtype};
    let ours = [flags::LAST, flags::TOB, flags::SNAPSHOT, flags::MBP, flags::BAD_TS_RECV, flags::MAYBE_BAD_BOOK];
    let theirs = [
        dbn::flags::LAST,
        dbn::flags::TOB,
        dbn::flags::SNAPSHOT,
        dbn::flags::MBP,
        dbn::flags::BAD_TS_RECV,
        dbn::flags::MAYBE_BAD_BOOK,
    ];
    assert_eq!(ours, theirs);
    let types = [rtype::TRADE, rtype::MBP_1, rtype::MBP_10, rtype::STATUS, rtype::MBO];
    let theirs = [RType::Mbp0, RType::Mbp1, RType::Mbp10, RType::Status, RType::Mbo];
    assert_eq!(types, theirs.map(|rtype| rtype as u8));
    assert_eq!(records::UNDEF_PRICE, dbn::UNDEF_PRICE);
}

/// The numbers of the table in shm/README.md; the C++ side asserts the same ones.
#[test]
fn signal_offsets() {
    let offsets = [
        offset_of!(Signal, ring_seq),
        offset_of!(Signal, ts_event),
        offset_of!(Signal, tick_ns),
        offset_of!(Signal, signal_ns),
        offset_of!(Signal, instrument),
        offset_of!(Signal, model),
        offset_of!(Signal, outputs_len),
        offset_of!(Signal, revision),
        offset_of!(Signal, flags),
        offset_of!(Signal, outputs),
        size_of::<Signal>(),
    ];
    assert_eq!(offsets, [0, 8, 16, 24, 32, 36, 38, 40, 44, 48, 112]);
    let instrument = [
        offset_of!(InstrumentRow, tick_size),
        offset_of!(InstrumentRow, size_unit),
        offset_of!(InstrumentRow, id),
        offset_of!(InstrumentRow, symbol),
        size_of::<InstrumentRow>(),
    ];
    assert_eq!(instrument, [0, 8, 16, 24, 96]);
    let model = [
        offset_of!(ModelRow, name),
        offset_of!(ModelRow, sha256),
        offset_of!(ModelRow, features_hash),
        offset_of!(ModelRow, revision),
        offset_of!(ModelRow, outputs_len),
        offset_of!(ModelRow, outputs),
        offset_of!(ModelRow, meaning),
        offset_of!(ModelRow, engine),
        offset_of!(ModelRow, isa),
        offset_of!(ModelRow, runtime),
        offset_of!(ModelRow, horizon_events),
        size_of::<ModelRow>(),
    ];
    assert_eq!(model, [0, 64, 96, 128, 132, 136, 648, 904, 936, 968, 1032, 1040]);
}

/// A layout once published never changes: whoever adds to a kind raises the version, and this kind's hash alone moves.
#[test]
fn layout_hash_of_this_version() {
    let hashes = [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc, Kind::Clock].map(layout::layout_hash);
    let pinned = [
        17_996_633_349_483_772_167,
        12_864_244_563_165_709_360,
        12_864_244_563_165_709_360,
        11_935_020_329_379_144_885,
        10_928_458_141_319_122_404,
    ];
    assert_eq!((LAYOUT_VERSION, hashes), (2, pinned));
}

/// The bytes of a fresh ring's file, field by field.
#[test]
fn header_bytes() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    let lane = Lane::in_dir(dir.path(), "layout").unwrap();
    let spec = RingSpec { capacity: 4, record_words: 14, table: (0..200).collect() };
    let mut ring = RingWriter::create(&lane, Kind::Ticks, &spec, &clock, &Access::default()).unwrap();
    ring.publish_at(&[7; 14], 5);
    ring.publish_at(&[8; 3], 6);
    let bytes = std::fs::read(lane.path(Kind::Ticks)).unwrap();
    let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    let half = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(&bytes[..8], b"PILLION1");
    assert_eq!(word(header::MAGIC), MAGIC);
    assert_eq!((half(8), half(12)), (LAYOUT_VERSION, Kind::Ticks as u32));
    assert_eq!((word(16), word(24), word(32)), (layout::layout_hash(Kind::Ticks), bytes.len() as u64, 1));
    assert_eq!((word(40), word(48), word(56)), (clock.id(), 128, 4));
    assert_eq!((word(64), word(72), word(80)), (HEADER_BYTES as u64, 200, 768));
    assert!(word(88) > 0 && word(104) > 0);
    assert_eq!((half(96), half(100)), (std::process::id(), 0));
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().replace(['-', '\n'], "");
    assert_eq!(bytes[112..128].iter().map(|byte| format!("{byte:02x}")).collect::<String>(), boot_id);
    assert_eq!((word(header::SUCCESSOR), word(header::HEAD)), (0, 2));
    assert!(bytes[128..192].iter().chain(&bytes[header::END..HEADER_BYTES]).all(|byte| *byte == 0));
    assert_eq!(&bytes[512..712], spec.table);
    assert_eq!(bytes.len(), 768 + 4 * 128);
    let slots: Vec<u64> = (768..bytes.len()).step_by(8).map(word).collect();
    assert_eq!(slots[..16], [&[2][..], &[7; 14], &[5]].concat());
    assert_eq!(slots[16..32], [&[4][..], &[8; 3], &[0; 11], &[6]].concat());
    assert!(slots[32..].iter().all(|word| *word == 0));
    assert_eq!(layout::body_offset(200), 768);
}

fn tables() -> SignalTables {
    let instrument = |id| InstrumentEntry {
        id,
        symbol: format!("{id}{}", "S".repeat(60)),
        tick_size: 250_000_000,
        size_unit: 0.001,
    };
    let model = |name: &str| ModelEntry {
        name: name.to_owned(),
        revision: 3,
        sha256: [0xab; 32],
        features_hash: [0xcd; 32],
        outputs: (0..16).map(|i| format!("p{i}")).collect(),
        meaning: "probability of down, flat, up".to_owned(),
        engine: "ort-cpu".to_owned(),
        isa: "avx512".to_owned(),
        runtime: "onnxruntime 1.31.1".to_owned(),
        horizon_events: 50,
    };
    SignalTables { instruments: (0..5).map(instrument).collect(), models: vec![model("mlp"), model("trees")] }
}

#[test]
fn tables_come_back_as_written() {
    for tables in [tables(), SignalTables::default()] {
        assert_eq!(SignalTables::from_bytes(&tables.to_bytes().unwrap()).unwrap(), tables);
    }
    assert_eq!(tables().to_bytes().unwrap().len(), 16 + 5 * 96 + 2 * 1040);
    assert_eq!(SignalTables::from_bytes(&tables().to_bytes().unwrap()).unwrap(), tables());
    // Version 1's rows end before the horizon: the same tables, which do not say it.
    let mut bytes = tables().to_bytes().unwrap();
    for end in [16 + 5 * 96 + 2 * 1040, 16 + 5 * 96 + 1040] {
        bytes.drain(end - 8..end);
    }
    bytes[12..16].copy_from_slice(&1032_u32.to_ne_bytes());
    let mut unsaid = tables();
    unsaid.models.iter_mut().for_each(|model| model.horizon_events = 0);
    assert_eq!(SignalTables::from_bytes(&bytes).unwrap(), unsaid);
}

#[test]
fn tables_refuse_what_does_not_fit() {
    let mut long = tables();
    long.instruments[2].symbol = "X".repeat(72);
    let error = long.to_bytes().unwrap_err().to_string();
    assert!(error.contains("symbol of instrument 2") && error.contains("72 bytes") && error.contains("71"), "{error}");
    let mut many = tables();
    many.models[1].outputs = vec!["p".to_owned(); 17];
    let error = many.to_bytes().unwrap_err().to_string();
    assert!(error.contains("outputs of model 1 (\"trees\")") && error.contains("17"), "{error}");
    let bytes = tables().to_bytes().unwrap();
    for cut in [0, 15, 16, 500, bytes.len() - 1] {
        assert!(SignalTables::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut huge = bytes;
    huge[..4].fill(0xff);
    assert!(SignalTables::from_bytes(&huge).is_err());
}

#[test]
fn signals_keep_their_bytes_and_say_what_may_be_traded() {
    use pillion_shm::signal_flags as flag;
    let mut signal: Signal = bytemuck::Zeroable::zeroed();
    (signal.tick_ns, signal.signal_ns, signal.outputs_len, signal.outputs[1]) = (5, 9, 2, 0.5);
    signal.flags = flag::OVER_BUDGET | flag::CONFLATED;
    assert_eq!(Signal::from_words(signal.words()), signal);
    assert_eq!(signal.outputs(), [0.0, 0.5]);
    assert!(signal.tradable());
    let normal = Signal { flags: signal.flags | flag::CATCHING_UP, ..signal }.normalised();
    assert_eq!((normal.tick_ns, normal.signal_ns, normal.flags), (0, 0, flag::CONFLATED));
    for flags in [flag::WARMING, flag::AFTER_GAP, flag::INVALID, flag::HALTED, flag::SHADOW, flag::CATCHING_UP] {
        assert!(!Signal { flags, ..signal }.tradable());
    }
}
