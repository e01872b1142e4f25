//! What decode, book and features cost, in time and memory, on real days: `cargo bench --bench stages [-- [--quick] [--set=NAME_OR_PATH] [FILE..]]`.
//!
//! Means come from whole passes, each with one stage more than the one before, in turn, best of some; the median is of
//! single events with a clock read around each, whose own median cost is taken off and stated.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use pillion::data::limits;
use pillion::data::{self, Facts, Feed, lobster};
use pillion::hot::book::{Book, Limits};
use pillion::hot::decode::{Instruments, decode};
use pillion::hot::features::FeatureSet;
use pillion::hot::state::State;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data");

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let feeds: Vec<Feed> =
        if named.is_empty() { days() } else { named.iter().map(|path| settled(Path::new(path))).collect() };
    let option = |name: &str| std::env::args().find_map(|arg| arg.strip_prefix(name).map(str::to_string));
    let rounds = if option("--quick").is_some() { 1 } else { 7 };
    let sets = option("--set=").map_or(vec!["book".to_string(), "all".to_string()], |set| vec![set]);
    for set in sets {
        let set = FeatureSet::load(&set).unwrap();
        feeds.iter().for_each(|feed| stages(feed, &set, rounds));
    }
}

fn days() -> Vec<Feed> {
    let es = format!("{DATA}/dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst");
    let zip = format!("{DATA}/lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip");
    if !Path::new(&es).exists() {
        println!("skipped: {es} is not there; name a file");
        return Vec::new();
    }
    let folder = tempfile::tempdir().unwrap();
    let goog = folder.path().join("goog.dbn");
    let options = lobster::Options { symbol: None, date: None, instrument_id: 1, facts: Facts::default() };
    lobster::convert_file(&[zip.into()], &goog, options).unwrap();
    vec![settled(&goog), settled(Path::new(&es))]
}

/// A recording with its tick sizes: its own, the ES days', or, where nothing states one, a guess.
fn settled(path: &Path) -> Feed {
    let mut feed = data::load(path).unwrap();
    let es = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/instruments/es.toml");
    Facts::read(Some(&es), true).unwrap().settle(&mut feed).unwrap();
    feed
}

struct Day<'a> {
    feed: &'a Feed,
    set: &'a FeatureSet,
    instruments: Instruments,
    limits: Vec<Limits>,
}

/// Seconds that a pass over the day took, and its events.
type Pass = fn(&Day) -> (f64, u64);

fn stages(feed: &Feed, set: &FeatureSet, rounds: usize) {
    let instruments = Instruments::new(&feed.instruments).unwrap();
    let limits = limits::needed(feed, &instruments);
    let day = Day { feed, set, instruments, limits };
    let passes: [Pass; 4] = [decode_only, decode_book, update, write];
    let mut best = [f64::INFINITY; 4];
    let mut events = 0;
    for _ in 0..rounds {
        for (best, pass) in best.iter_mut().zip(passes) {
            let (seconds, n) = pass(&day);
            *best = best.min(seconds);
            events = n;
        }
    }
    let state = &states(&day)[0];
    let (bytes, of_features) = (state.state_bytes(), state.features.state_bytes());
    let per_event = best.map(|seconds| seconds * 1e9 / events as f64);
    println!(
        "{} · set {} ({} features) · {} records, {events} events",
        feed.path.display(),
        set.name(),
        set.len(),
        feed.records
    );
    println!(
        "  mean ns an event: decode {:.0}, book {:.0}, features {:.0} (update {:.0}, write {:.0}); together {:.0}; {:.2} M records/s",
        per_event[0],
        per_event[1] - per_event[0],
        per_event[3] - per_event[1],
        per_event[2] - per_event[1],
        per_event[3] - per_event[2],
        per_event[3],
        feed.records as f64 / best[3] / 1e6,
    );
    let (p50, p99, stamp) = (0..rounds.min(3)).map(|_| singles(&day)).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    println!("  state of an instrument: {bytes} bytes, of which features {of_features}");
    println!("  p50 {p50:.0} ns an event, p99 {p99:.0} (clock reads taken off: {stamp:.0} ns)");
}

fn timed(pass: impl FnOnce() -> u64) -> (f64, u64) {
    let start = Instant::now();
    let events = pass();
    (start.elapsed().as_secs_f64(), events)
}

fn decode_only(day: &Day) -> (f64, u64) {
    timed(|| {
        day.feed
            .iter()
            .filter(|record| decode(black_box(record), &day.instruments).is_ok_and(|tick| tick.is_last()))
            .count() as u64
    })
}

fn decode_book(day: &Day) -> (f64, u64) {
    let mut books: Vec<Book> = day.limits.iter().map(|limits| Book::new(*limits)).collect();
    timed(|| {
        let mut events = 0;
        for record in day.feed {
            let Ok(tick) = decode(record, &day.instruments) else { continue };
            black_box(books[tick.instrument as usize].apply(&tick));
            events += u64::from(tick.is_last() && !tick.is_snapshot());
        }
        events
    })
}

fn states(day: &Day) -> Vec<State> {
    let pairs = day.limits.iter().zip(&day.feed.instruments);
    pairs.map(|(limits, instrument)| State::new(*limits, day.set, instrument.tick_size)).collect()
}

fn update(day: &Day) -> (f64, u64) {
    let mut states = states(day);
    timed(|| {
        let mut events = 0;
        for record in day.feed {
            let Ok(tick) = decode(record, &day.instruments) else { continue };
            let state = &mut states[tick.instrument as usize];
            state.apply(&tick);
            events += u64::from(state.event_end(&tick));
        }
        events
    })
}

fn write(day: &Day) -> (f64, u64) {
    let mut states = states(day);
    let mut row = vec![0.0; day.set.len()];
    timed(|| {
        let mut events = 0;
        for record in day.feed {
            let Ok(tick) = decode(record, &day.instruments) else { continue };
            let state = &mut states[tick.instrument as usize];
            state.apply(&tick);
            if state.event_end(&tick) {
                state.features.write(&mut row);
                black_box(&row);
                events += 1;
            }
        }
        events
    })
}

/// Median and 99th percentile of all that one event costs, and the median cost of the clock that is taken off.
fn singles(day: &Day) -> (f64, f64, f64) {
    let mut empty: Vec<f64> = (0..10_000).map(|_| Instant::now().elapsed().as_nanos() as f64).collect();
    let stamp = quantile(&mut empty, 0.5);
    let mut states = states(day);
    let mut row = vec![0.0; day.set.len()];
    let mut costs = Vec::with_capacity(day.feed.records as usize);
    let mut start = Instant::now();
    for record in day.feed {
        let Ok(tick) = decode(record, &day.instruments) else { continue };
        let state = &mut states[tick.instrument as usize];
        state.apply(&tick);
        if state.event_end(&tick) {
            state.features.write(&mut row);
            black_box(&row);
            costs.push(start.elapsed().as_nanos() as f64 - stamp);
            start = Instant::now();
        } else if tick.is_last() {
            start = Instant::now();
        }
    }
    (quantile(&mut costs, 0.5), quantile(&mut costs, 0.99), stamp)
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q) as usize]
}
