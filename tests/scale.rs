//! What `cargo bench --bench scale` works out of its figures, and the order flow that it plays.

#[path = "../benches/scale/bends.rs"]
mod bends;
#[path = "../benches/scale/caches.rs"]
mod caches;
#[path = "../benches/scale/fit.rs"]
mod fit;
#[path = "../benches/scale/flow.rs"]
#[allow(dead_code)]
mod flow;

use caches::Cache;
use fit::Form;
use flow::{Choice, Flow, Ids, Mix, Placing, Spec};
use pillion::hot::book::{Applied, Book, Level, Limits};
use pillion::hot::decode::{Instruments, Side, decode};
use pillion::report::CurvePoint;
use pillion_shm::records::MboMsg;
use proptest::prelude::*;

const TENFOLDS: [f64; 5] = [1.0, 10.0, 100.0, 1_000.0, 8_000.0];

fn points(ys: &[f64], sets: &[u64]) -> Vec<CurvePoint> {
    let point = |((&x, &y), &working_set_bytes)| CurvePoint { x, y, low: y, high: y, working_set_bytes };
    TENFOLDS.iter().zip(ys).zip(sets).map(point).collect()
}

fn three_caches() -> Vec<Cache> {
    let cache = |name: &str, bytes| Cache { name: name.into(), bytes };
    vec![cache("L1d", 32 << 10), cache("L2", 1 << 20), cache("L3", 32 << 20)]
}

proptest! {
    /// The law that made the points is the one that is found, with its constants.
    #[test]
    fn the_law_behind_the_points_is_found(base in 50.0..500.0_f64, per in 5.0..100.0_f64) {
        let made = |law: fn(f64, f64, f64) -> f64| TENFOLDS.map(|x| (x, law(base, per, x)));
        let linear = fit::best(&made(|a, b, x| a + b * x)).expect("five points");
        prop_assert_eq!(linear.form, Form::Linear);
        prop_assert!((linear.base - base).abs() < 1e-3 * base && (linear.per - per).abs() < 1e-3 * per);
        let log = fit::best(&made(|a, b, x| a + b * x.log10())).expect("five points");
        // A slope that is hardly there is a constant.
        prop_assert!(log.form == Form::Log || (log.form == Form::Constant && log.residual <= 0.04));
        prop_assert!(log.form == Form::Constant || (log.per - per).abs() < 1e-3 * per);
        let constant = fit::best(&made(|a, _, _| a)).expect("five points");
        prop_assert_eq!(constant.form, Form::Constant);
        prop_assert!((constant.base - base).abs() < 1e-9 * base && constant.residual < 1e-9);
    }

    /// No law does better, by the measure that the fit takes for its own, than the fitted one with its constants moved.
    #[test]
    fn a_fit_is_a_minimum(ys in proptest::array::uniform5(10.0..1_000.0_f64), by in -0.2..0.2_f64) {
        let given: Vec<_> = TENFOLDS.into_iter().zip(ys).collect();
        let error = |law: &fit::Fit| given.iter().map(|&(x, y)| ((y - law.at(x)) / y).powi(2)).sum::<f64>();
        for form in [Form::Constant, Form::Linear, Form::Log] {
            let law = fit::fit(form, &given);
            let moved = fit::Fit { base: law.base * (1.0 + by), ..law };
            let turned = fit::Fit { per: law.per * (1.0 + by), ..law };
            prop_assert!(error(&law) <= error(&moved) + 1e-9 && error(&law) <= error(&turned) + 1e-9);
        }
    }
}

#[test]
fn two_points_and_a_zero_have_no_law() {
    assert_eq!(fit::best(&[(1.0, 5.0), (2.0, 6.0)]), None);
    assert_eq!(fit::best(&[(1.0, 5.0), (2.0, 0.0), (3.0, 1.0)]), None);
    assert_eq!(fit::best(&[(1.0, 5.0), (2.0, f64::NAN), (3.0, 1.0)]), None);
    // x = 0 is fine for a line, and leaves out the logarithm.
    let law = fit::best(&[(0.0, 10.0), (1.0, 20.0), (2.0, 30.0)]).expect("three points");
    assert_eq!((law.form, law.base.round(), law.per.round()), (Form::Linear, 10.0, 10.0));
    assert_eq!(law.to_string(), "linear: 10.0 ns each + 10.0 ns (off by 0 %)");
}

/// The bend is where the slope changes most, and the sentence names the cache that is left there.
#[test]
fn a_bend_names_the_cache_that_is_left() {
    let sets = [13_000, 130_000, 600_000, 6_000_000, 20_000_000];
    let said = bends::say(&points(&[100.0, 102.0, 105.0, 210.0, 230.0], &sets), &three_caches());
    let want = "flat to 100 (x1.05); bends between 100 and 1,000 (slope 0.01, then 0.30), where the working set goes from \
                600 kB to 6.0 MB, past L2 1.0 MB";
    assert!(said.ends_with(want), "{said}");
}

#[test]
fn a_bend_that_leaves_no_cache_says_so() {
    let ys = [100.0, 101.0, 500.0, 510.0, 520.0];
    let inside = bends::say(&points(&ys, &[1_000, 2_000, 3_000, 4_000, 5_000]), &three_caches());
    assert!(inside.contains("bends between 10 and 100"), "{inside}");
    assert!(inside.ends_with("all within L1d (33 kB): not a cache that is left"), "{inside}");
    let outside = bends::say(&points(&ys, &[1 << 30; 5]), &three_caches());
    assert!(outside.ends_with("beyond every cache already"), "{outside}");
    let unknown = bends::say(&points(&ys, &[1_000, 2_000, 3_000, 4_000, 5_000]), &[]);
    assert!(unknown.ends_with("the caches are unknown"), "{unknown}");
    let nothing = bends::say(&points(&ys, &[0; 5]), &three_caches());
    assert!(nothing.ends_with("the working set is not what changes"), "{nothing}");
}

#[test]
fn a_straight_curve_has_no_bend() {
    let said = bends::say(&points(&[10.0, 100.0, 1_000.0, 10_000.0, 80_000.0], &[0; 5]), &three_caches());
    assert!(said.ends_with("no bend, x8000.00 from first to last"), "{said}");
    assert_eq!(bends::bend(&[]), None);
    assert_eq!(bends::bend(&points(&[1.0], &[0])), None);
    let from_zero = [0.0, 1.0, 2.0].map(|x| CurvePoint { x, y: 1.0 + x * x, ..CurvePoint::default() });
    assert_eq!(bends::bend(&from_zero), None);
}

/// Where the first reader costs and the others do not, the sentence says so.
#[test]
fn nothing_is_no_part_of_the_law() {
    let ys = [7.0, 112.0, 113.0, 111.0, 112.0];
    let point = |(x, y)| CurvePoint { x: x as f64, y, ..CurvePoint::default() };
    let said = bends::say(&ys.into_iter().enumerate().map(point).collect::<Vec<_>>(), &three_caches());
    let want = "7.00 ns at 0, the first adds 105 ns; constant: 112 ns (off by 1 %); no bend, x1.00 from first to last";
    assert_eq!(said, want);
    assert_eq!(bends::say(&[], &[]), "too few points for a law");
}

/// The kernel's own files, as it writes them; instruction caches and what cannot be read are left out.
#[test]
fn caches_are_read_as_the_kernel_lists_them() {
    let folder = tempfile::tempdir().unwrap();
    let listed =
        [("1", "Data", "32K"), ("1", "Instruction", "32K"), ("3", "Unified", "32M"), ("2", "Unified", "1024K")];
    for (i, (level, kind, size)) in listed.iter().enumerate() {
        let index = folder.path().join(format!("index{i}"));
        std::fs::create_dir(&index).unwrap();
        for (name, text) in [("level", level), ("type", kind), ("size", size)] {
            std::fs::write(index.join(name), format!("{text}\n")).unwrap();
        }
    }
    std::fs::create_dir(folder.path().join("power")).unwrap();
    assert_eq!(caches::read(folder.path()), three_caches());
    assert_eq!(caches::text(&three_caches()), "L1d 33 kB, L2 1.0 MB, L3 34 MB");
    assert_eq!(caches::read(&folder.path().join("nowhere")), []);
    assert_eq!(caches::text(&[]), "unknown");
    assert_eq!(
        (caches::size("512"), caches::size("1G"), caches::size(""), caches::size("K")),
        (Some(512), Some(1 << 30), None, None)
    );
}

fn spec(instruments: usize, choice: Choice, mix: Mix, ids: Ids) -> Spec {
    let placing = if instruments == 1 { Placing::BestFirst } else { Placing::AllLevels };
    Spec { instruments, orders: 60, levels: 15, placing, active: 40, choice, mix, ids, events: 3_000 }
}

/// Played twice, a flow leaves every book with the orders it began with, and the book takes every record as it was meant.
#[test]
fn a_flow_is_a_circle() {
    for (choice, mix, ids) in [
        (Choice::Even, Mix::Usual, Ids::Rising),
        (Choice::Zipf, Mix::Usual, Ids::Random),
        (Choice::Even, Mix::AddCancel, Ids::Rising),
    ] {
        let flow = Flow::new(spec(5, choice, mix, ids));
        let instruments = Instruments::new(&flow.instruments).unwrap();
        let mut books = vec![Book::new(Limits { max_orders: 80, max_levels: 64 }); 5];
        let mut play = |records: &[MboMsg]| {
            for record in records {
                let words = bytemuck::cast_slice(std::slice::from_ref(record));
                let tick = decode(words, &instruments).expect("a record of the flow");
                let applied = books[tick.instrument as usize].apply(&tick);
                assert!(matches!(applied, Applied::Changed | Applied::Unchanged), "{applied:?}: {record:?}");
            }
            let sum = |book: &Book| Side::BOTH.map(|s| book.top(s).iter().map(|l: &Level| l.orders).sum::<u32>());
            books.iter().map(|book| (book.orders(), sum(book))).collect::<Vec<_>>()
        };
        assert_eq!(play(&flow.snapshot), vec![(60, [30, 30]); 5]);
        assert_eq!(play(&flow.live), vec![(60, [30, 30]); 5]);
        assert_eq!(play(&flow.live), vec![(60, [30, 30]); 5]);
    }
}

/// The share of the busiest instrument is what its name says, and only the active orders change.
#[test]
fn a_flow_is_as_busy_as_asked_for() {
    let events_of_first = |choice| {
        let flow = Flow::new(spec(5, choice, Mix::AddCancel, Ids::Rising));
        let first = flow.instruments[0].id;
        flow.live.iter().filter(|record| record.hd.instrument_id == first).count()
    };
    // 1 / (1 + 1/2 + 1/3 + 1/4 + 1/5) of 3,000 events is 1,314; each as often, 600.
    assert!((1_200..1_430).contains(&events_of_first(Choice::Zipf)));
    assert!((500..700).contains(&events_of_first(Choice::Even)));
    let flow = Flow::new(spec(1, Choice::Even, Mix::Usual, Ids::Rising));
    let last_active = flow.snapshot[40].order_id;
    assert!(flow.live.iter().all(|record| record.order_id <= last_active));
}
