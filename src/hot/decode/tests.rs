use bytemuck::Zeroable;
use pillion_shm::records::UNDEF_PRICE;
use proptest::prelude::*;

use super::*;

fn instruments(ids: &[u32]) -> Instruments {
    let list: Vec<Instrument> = ids
        .iter()
        .map(|&id| Instrument { id, publisher: None, symbol: format!("S{id}"), tick_size: 10_000_000, size_unit: 1.0 })
        .collect();
    Instruments::new(&list).unwrap()
}

fn mbo_record(action: u8, side: u8) -> MboMsg {
    let hd = RecordHeader { length: 14, rtype: rtype::MBO, publisher_id: 1, instrument_id: 7, ts_event: 11 };
    MboMsg { hd, order_id: 5, price: 3, size: 2, flags: flags::LAST, action, side, sequence: 9, ..Zeroable::zeroed() }
}

fn words<T: Pod>(record: &T) -> Vec<u64> {
    bytemuck::bytes_of(record).chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().unwrap())).collect()
}

fn outcome(record: &MboMsg) -> Result<(), Reject> {
    decode(&words(record), &instruments(&[7])).map(drop)
}

#[test]
fn order_records_decode_field_by_field() {
    let record = words(&mbo_record(b'A', b'A'));
    let tick = decode(&record, &instruments(&[3, 7])).unwrap();
    assert_eq!(
        (tick.instrument, tick.ts_event, tick.sequence, tick.is_last(), tick.is_snapshot()),
        (1, 11, 9, true, false)
    );
    assert!(matches!(tick.body, Body::Add { side: Side::Ask, order_id: 5, price: 3, size: 2 }));
    for (action, side) in [(b'C', b'B'), (b'M', b'B'), (b'R', b'N'), (b'T', b'N'), (b'F', b'A'), (b'N', b'N')] {
        assert_eq!(outcome(&mbo_record(action, side)), Ok(()), "{}", action as char);
    }
}

#[test]
fn each_fault_has_its_reject() {
    let good = mbo_record(b'A', b'B');
    assert_eq!(outcome(&good), Ok(()));
    let header = |length, rtype| MboMsg { hd: RecordHeader { length, rtype, ..good.hd }, ..good };
    let cases = [
        (header(13, rtype::MBO), Reject::BadLength),
        (header(16, rtype::MBO), Reject::BadLength),
        (header(14, 0x13), Reject::UnknownType),
        (MboMsg { hd: RecordHeader { instrument_id: 8, ..good.hd }, ..good }, Reject::UnknownInstrument),
        (MboMsg { hd: RecordHeader { ts_event: u64::MAX, ..good.hd }, ..good }, Reject::BadTime),
        (MboMsg { action: b'X', ..good }, Reject::BadAction),
        (MboMsg { side: b'S', ..good }, Reject::BadSide),
        (MboMsg { side: b'N', ..good }, Reject::BadSide),
        (MboMsg { price: UNDEF_PRICE, ..good }, Reject::BadPrice),
        (MboMsg { size: 0, ..good }, Reject::BadSize),
        (MboMsg { size: u32::MAX, ..good }, Reject::BadSize),
        (MboMsg { flags: flags::TOB, ..good }, Reject::BadFlags),
    ];
    for (record, reject) in cases {
        assert_eq!(outcome(&record), Err(reject));
    }
    assert_eq!(decode(&words(&good)[..6], &instruments(&[7])).map(drop), Err(Reject::BadLength));
    assert_eq!(decode(&[], &instruments(&[7])).map(drop), Err(Reject::BadLength));
}

#[test]
fn levels_must_be_best_first() {
    let absent = BidAskPair { bid_px: UNDEF_PRICE, ask_px: UNDEF_PRICE, ..Zeroable::zeroed() };
    let pair = |bid_px, ask_px| BidAskPair { bid_px, ask_px, ..Zeroable::zeroed() };
    assert!(best_first(&[pair(9, 10), pair(8, 11), absent, absent]));
    assert!(best_first(&[pair(9, UNDEF_PRICE), pair(8, UNDEF_PRICE)]));
    assert!(!best_first(&[pair(9, 10), pair(9, 11)]));
    assert!(!best_first(&[pair(9, 10), pair(8, 9)]));
    assert!(!best_first(&[absent, pair(8, 9)]));
}

#[test]
fn a_trades_record_ends_its_event() {
    let hd = RecordHeader { length: 12, rtype: rtype::TRADE, publisher_id: 1, instrument_id: 7, ts_event: 11 };
    let trade = TradeMsg { hd, price: 4, size: 6, action: b'T', side: b'A', ..Zeroable::zeroed() };
    let record = words(&trade);
    let tick = decode(&record, &instruments(&[7])).unwrap();
    assert!(tick.is_last());
    assert!(matches!(tick.body, Body::Quotes { levels: [], action: b'T', side: Side::Ask, price: 4, size: 6 }));
}

#[test]
fn status_says_whether_there_is_trading() {
    let hd = RecordHeader { length: 10, rtype: rtype::STATUS, publisher_id: 1, instrument_id: 7, ts_event: 11 };
    let status = |is_trading, action| {
        let record = words(&StatusMsg { hd, is_trading, action, ..Zeroable::zeroed() });
        decode(&record, &instruments(&[7])).map(|tick| match tick.body {
            Body::Status { trading } => trading,
            _ => panic!("not a status"),
        })
    };
    assert_eq!(status(b'Y', 0), Ok(Some(true)));
    assert_eq!(status(b'N', 7), Ok(Some(false)));
    assert_eq!(status(b'~', 7), Ok(Some(true)));
    assert_eq!(status(b'~', 8), Ok(Some(false)));
    assert_eq!(status(b'~', 1), Ok(None));
    assert_eq!(status(b'?', 7), Err(Reject::BadStatus));
}

#[test]
fn rejects_count_under_their_own_index() {
    for (i, reject) in Reject::ALL.iter().enumerate() {
        assert_eq!(reject.index(), i);
    }
}

#[test]
fn bad_instrument_lists_are_refused() {
    let one = Instrument { id: 1, publisher: None, symbol: "A".to_owned(), tick_size: 1, size_unit: 1.0 };
    let refused = |list: &[Instrument]| Instruments::new(list).unwrap_err().to_string();
    assert!(refused(&[one.clone(), one.clone()]).contains("listed twice"));
    assert!(refused(&[Instrument { symbol: "x".repeat(72), ..one.clone() }]).contains("72 bytes"));
    assert!(refused(&[Instrument { tick_size: -1, ..one.clone() }]).contains("tick_size is -1"));
    assert!(refused(&[Instrument { size_unit: f64::NAN, ..one.clone() }]).contains("size_unit is NaN"));
    assert!(Instruments::new(&[]).unwrap().index(0, 0).is_none());
}

/// Any words, often with a header that fits one of the known types so that the fields behind it are reached.
fn any_words() -> impl Strategy<Value = Vec<u64>> {
    let kinds = prop::sample::select(vec![(14u8, 0xA0u8), (20, 0x01), (92, 0x0A), (12, 0x00), (10, 0x12)]);
    let plausible = prop::collection::vec(any::<u64>(), 0..50);
    (plausible, kinds, any::<bool>(), 0..4u32, any::<(u8, u8)>()).prop_map(
        |(mut words, (length, rtype), fit, id, pick)| {
            if let (true, Some(first)) = (fit, words.first_mut()) {
                *first = u64::from(length) | u64::from(rtype) << 8 | u64::from(id) << 32;
            }
            if let (true, Some(word)) = (fit, words.get_mut(if rtype == 0xA0 { 4 } else { 3 })) {
                let action = b"ACMRTFNX"[usize::from(pick.0 % 8)];
                let side = b"BANX"[usize::from(pick.1 % 4)];
                let at = if rtype == 0xA0 { 48 } else { 32 };
                *word = *word & !(0xFFFF << at) | u64::from(action) << at | u64::from(side) << (at + 8);
            }
            words
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_are_a_tick_or_a_reject(words in any_words()) {
        let known = instruments(&[0, 1, 2]);
        if let Ok(tick) = decode(&words, &known) {
            prop_assert!((tick.instrument as usize) < known.len());
            prop_assert!(tick.ts_event != u64::MAX);
        }
    }

    #[test]
    fn ids_find_their_index(ids in prop::collection::hash_set(any::<u32>(), 0..200), other in any::<u32>()) {
        let ids: Vec<u32> = ids.into_iter().collect();
        let known = instruments(&ids);
        for (i, &id) in ids.iter().enumerate() {
            prop_assert_eq!(known.index(id as u16, id), Some(i as u32));
            prop_assert_eq!(known.get(i as u32).id, id);
        }
        prop_assert_eq!(known.index(0, other).is_some(), ids.contains(&other));
    }
}
