//! Tree ensembles of every shape, on each instruction set, against a twin that walks them node by node: equal to the bit,
//! because the weights are sixteenths, whose sums are exact.

#[path = "native_trees/forest.rs"]
mod forest;
#[path = "common/heap.rs"]
mod heap;

use forest::{Forest, Plan, Shape, value};
use pillion::engine::native::{ISAS, Native, Options};
use pillion::engine::{Engine, Shape as Row};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Rows that a forest is asked about.
const ROWS: usize = 40;

fn native(onnx: &[u8], plan: &Plan, isa: &'static str) -> Result<Native, String> {
    let shape = Row::vector("x", plan.features, "y", plan.targets);
    Native::with(onnx, &shape, Options { isa: Some(isa), ..Options::default() }).map_err(|refusal| refusal.to_string())
}

/// Rows that hit thresholds, and every kind of odd value.
fn row(plan: &Plan, odd: bool, rng: &mut impl Rng) -> Vec<f32> {
    let odds = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-42, -1e-42, f32::MAX, f32::MIN];
    let one = |rng: &mut dyn FnMut() -> usize, usual: f32| {
        if odd && rng().is_multiple_of(3) { odds[rng() % 9] } else { usual }
    };
    (0..plan.features)
        .map(|_| {
            let usual = value(rng, plan.grid);
            one(&mut || rng.random_range(0..900), usual)
        })
        .collect()
}

/// Each instruction set answers each row as the twin does, without a call to the heap.
fn holds(plan: &Plan, seed: u64) {
    let mut rng = Pcg64::seed_from_u64(seed);
    let forest = Forest::new(plan, &mut rng);
    let onnx = forest.onnx();
    let rows: Vec<_> = (0..ROWS).map(|i| row(plan, i % 2 == 1, &mut rng)).collect();
    let twin: Vec<_> = rows.iter().map(|row| forest.answer(row)).collect();
    let mut tried = 0;
    for isa in ISAS {
        let mut native = match native(&onnx, plan, isa) {
            Err(why) if why.starts_with("this machine has no") => continue,
            other => other.unwrap(),
        };
        tried += 1;
        let mut y = vec![0.0; plan.targets];
        for (row, want) in rows.iter().zip(&twin) {
            let before = heap::requests();
            native.run(row, &mut y).unwrap();
            assert_eq!(heap::requests(), before, "{isa} calls the heap");
            assert_eq!(&y, want, "{isa}: {plan:?}, seed {seed}, row {row:?}");
        }
    }
    assert!(tried > 0);
}

fn plan(trees: usize, leaves: usize, features: usize) -> Plan {
    Plan {
        trees,
        leaves,
        features,
        targets: 1,
        in_turn: false,
        shape: Shape::Random,
        grid: false,
        missing: true,
        modes: 6,
    }
}

#[test]
fn one_leaf_says_the_same_of_every_row() {
    holds(&plan(1, 1, 1), 1);
    holds(&plan(70, 1, 3), 2);
}

#[test]
fn groups_of_every_number_of_trees() {
    for trees in [1, 2, 15, 16, 17, 63, 64, 65, 128, 129, 192, 200, 256, 257, 300] {
        holds(&plan(trees, 12, 9), trees as u64);
    }
}

#[test]
fn a_leaf_number_fills_its_byte() {
    for leaves in [255, 256, 257, 258] {
        for shape in [Shape::Random, Shape::Full, Shape::Chain] {
            // The greatest tree of ten is about that large, and all of these have two in its place.
            holds(&Plan { shape, ..plan(10, leaves, 5) }, leaves as u64);
        }
    }
}

#[test]
fn thresholds_fill_a_column_and_more() {
    // One feature, and thousands of thresholds.
    for trees in [20, 21, 40, 200] {
        holds(&Plan { modes: 1, missing: false, ..plan(trees, 60, 1) }, trees as u64);
    }
}

#[test]
fn more_columns_than_a_byte_can_number() {
    for features in [31, 33, 64, 65, 127, 129, 255, 257, 300] {
        holds(&plan(90, 40, features), features as u64);
        holds(&Plan { modes: 1, missing: false, ..plan(90, 40, features) }, features as u64);
    }
}

#[test]
fn targets_in_turn_and_all_at_once() {
    for targets in [2, 3, 8, 9, 17, 40] {
        for in_turn in [false, true] {
            for trees in [5, 100, 280] {
                holds(&Plan { targets, in_turn, ..plan(trees, 10, 8) }, targets as u64);
            }
        }
    }
}

#[test]
fn a_tree_of_more_nodes_than_two_bytes_can_number() {
    holds(&Plan { shape: Shape::Full, ..plan(2, 70_000, 40) }, 8);
    holds(&Plan { shape: Shape::Chain, ..plan(1, 3_000, 40) }, 9);
}

#[test]
fn a_row_says_the_same_each_time_and_beside_others() {
    let plan = plan(150, 31, 20);
    let mut rng = Pcg64::seed_from_u64(3);
    let forest = Forest::new(&plan, &mut rng);
    let mut native = native(&forest.onnx(), &plan, "portable").unwrap();
    let rows: Vec<_> = (0..ROWS).map(|_| row(&plan, true, &mut rng)).collect();
    let mut answers = Vec::new();
    for _ in 0..3 {
        for row in &rows {
            let mut y = [0.0];
            native.run(row, &mut y).unwrap();
            answers.push(y[0].to_bits());
        }
    }
    assert_eq!(answers[..ROWS], answers[ROWS..2 * ROWS]);
    assert_eq!(answers[..ROWS], answers[2 * ROWS..]);
}

fn plans() -> impl Strategy<Value = Plan> {
    let shape = prop_oneof![Just(Shape::Random), Just(Shape::Full), Just(Shape::Chain)];
    let features = prop_oneof![Just(1_usize), 2..40_usize, Just(300)];
    let targets = prop_oneof![Just(1_usize), 2..12_usize];
    (1..150_usize, 1..200_usize, features, targets, any::<[bool; 3]>(), shape, 1..=6_usize).prop_map(
        |(trees, leaves, features, targets, [in_turn, grid, missing], shape, modes)| Plan {
            trees,
            leaves,
            features,
            targets,
            in_turn,
            shape,
            grid,
            missing,
            modes,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_forest_answers_as_its_twin(plan in plans(), seed in any::<u64>()) {
        holds(&plan, seed);
    }
}
