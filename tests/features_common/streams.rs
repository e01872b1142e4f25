//! Streams of ticks: written by hand, drawn at random, and read from real days.

#[path = "../common/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};

use pillion::cli::recording::FactsArgs;
use pillion::data::{Facts, Feed, lobster};
use pillion::hot::decode::{Body, Side, Tick};
use pillion_shm::records::{BidAskPair, UNDEF_PRICE, flags};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// 0.01 in 1e-9.
pub const CENT: i64 = 10_000_000;

pub fn tick(ts_event: u64, body: Body<'_>) -> Tick<'_> {
    Tick { instrument: 0, publisher: 0, ts_event, sequence: 0, flags: flags::LAST, body }
}

pub fn add(ts_event: u64, side: Side, order_id: u64, cents: i64, size: u32) -> Tick<'static> {
    tick(ts_event, Body::Add { side, order_id, price: cents * CENT, size })
}

pub fn cancel(ts_event: u64, side: Side, order_id: u64, cents: i64, size: u32) -> Tick<'static> {
    tick(ts_event, Body::Cancel { side, order_id, price: cents * CENT, size })
}

/// A random flow of orders around 100.00: many events at once, silences, clocks that go back, empty sides, crossings.
pub fn random_orders(seed: u64, ticks: usize) -> Vec<Tick<'static>> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let (mut live, mut out, mut ts, mut next_id) = (Vec::new(), Vec::new(), 1_000_000_000_000_u64, 1);
    let side = |rng: &mut Pcg64Mcg| if rng.random() { Side::Bid } else { Side::Ask };
    while out.len() < ticks {
        ts = match rng.random_range(0..20) {
            0..8 => ts,
            8..17 => ts + rng.random_range(1..5_000_000),
            17 => ts - rng.random_range(0..1_000_000),
            18 => ts + rng.random_range(0..3_000_000_000),
            _ => ts + rng.random_range(0..200_000),
        };
        let body = match rng.random_range(0..100) {
            0..50 => {
                let side = side(&mut rng);
                let away = rng.random_range(-1..15);
                let price = (if side == Side::Bid { 10_000 - away } else { 10_001 + away }) * CENT;
                let (order_id, size) = (next_id, rng.random_range(1..500));
                next_id += 1;
                live.push((side, order_id, price));
                Body::Add { side, order_id, price, size }
            }
            50..75 if !live.is_empty() => {
                let (side, order_id, price) = live.swap_remove(rng.random_range(0..live.len()));
                Body::Cancel { side, order_id, price, size: rng.random_range(1..600) }
            }
            75..83 if !live.is_empty() => {
                let (side, order_id, price) = live[rng.random_range(0..live.len())];
                Body::Modify { side, order_id, price, size: rng.random_range(1..500) }
            }
            83..91 => {
                let aggressor = [Side::Bid, Side::Ask, Side::None][rng.random_range(0..3)];
                Body::Trade { aggressor, price: rng.random_range(9_990..10_010) * CENT, size: rng.random_range(1..300) }
            }
            91..96 if !live.is_empty() => {
                let (resting, order_id, price) = live[rng.random_range(0..live.len())];
                Body::Fill { resting, order_id, price, size: rng.random_range(1..300) }
            }
            96 if rng.random_range(0..4) == 0 => {
                live.clear();
                Body::Clear
            }
            97 => Body::Status { trading: Some(rng.random()) },
            _ => Body::Nothing,
        };
        let last = if rng.random_range(0..4) > 0 { flags::LAST } else { 0 };
        out.push(Tick { instrument: 0, publisher: 0, ts_event: ts, sequence: 0, flags: last, body });
    }
    out
}

/// Random quoted levels: some absent, some of size 0, sides that vanish, crossed at times.
pub fn random_quotes(seed: u64, rows: usize) -> Vec<[BidAskPair; 10]> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut middle = 5_000;
    (0..rows)
        .map(|_| {
            middle += rng.random_range(-1..2);
            let shown = [rng.random_range(0..12_usize), rng.random_range(0..12_usize)];
            let (mut bid, mut ask) = (middle - rng.random_range(-1..3), middle + rng.random_range(0..3));
            std::array::from_fn(|i| {
                (bid, ask) = (bid - rng.random_range(1..3), ask + rng.random_range(1..3));
                let mut cell = |price: i64, shown: usize| match i < shown {
                    true => (price * CENT, rng.random_range(0..4) * rng.random_range(0..90), rng.random_range(0..9)),
                    false => (UNDEF_PRICE, 0, 0),
                };
                let ((bid_px, bid_sz, bid_ct), (ask_px, ask_sz, ask_ct)) = (cell(bid, shown[0]), cell(ask, shown[1]));
                BidAskPair { bid_px, ask_px, bid_sz, ask_sz, bid_ct, ask_ct }
            })
        })
        .collect()
}

/// The quotes as ticks, a fifth of them trades.
pub fn quote_ticks(seed: u64, quotes: &[[BidAskPair; 10]]) -> Vec<Tick<'_>> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut ts = 5_000_000_000;
    let mut one = |levels| {
        ts += rng.random_range(0..4) * rng.random_range(0..400_000_000_u64);
        let (action, side) =
            (b"ACMTR"[rng.random_range(0..5)], [Side::Bid, Side::Ask, Side::None][rng.random_range(0..3)]);
        let price = rng.random_range(4_990..5_010) * CENT;
        tick(ts, Body::Quotes { levels, action, side, price, size: rng.next_u32() >> rng.random_range(8..32) })
    };
    quotes.iter().map(|levels| one(&levels[..])).collect()
}

/// Folder of the market data, or `None` with a word about it.
pub fn data(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(path);
    if path.exists() {
        return Some(path);
    }
    skip::skip(&format!("{} is not there", path.display()));
    None
}

/// The ES day, or `None` with a word about it.
pub fn es_day() -> Option<Feed> {
    Some(es_settled(&data("dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst")?))
}

/// What states the tick sizes of the ES recordings, which have no definitions.
pub fn es_facts() -> FactsArgs {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/instruments/es.toml");
    FactsArgs { instruments: Some(file), guess: false }
}

/// A recording of ES with its tick size.
pub fn es_settled(path: &Path) -> Feed {
    let mut feed = pillion::data::load(path).unwrap();
    es_facts().read().unwrap().settle(&mut feed).unwrap();
    feed
}

/// The GOOG day, converted, or `None` with a word about it.
pub fn goog_day() -> Option<Feed> {
    let zip = data("lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip")?;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("goog.dbn");
    let options = lobster::Options { symbol: None, date: None, instrument_id: 1, facts: Facts::default() };
    lobster::convert_file(&[zip], &file, options).unwrap();
    Some(pillion::data::load(&file).unwrap())
}
