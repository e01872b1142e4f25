//! Several instruments in one run: each gets the very answer that it gets alone.

#[path = "common/heap.rs"]
mod heap;

use pillion::engine::native::{ISAS, Native};
use pillion::engine::{Engine, Options, Shape, Weights};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

const SEATS: usize = 70;

fn files() -> Vec<(String, Vec<u8>, Shape)> {
    let dir = format!("{}/tests/zoo", env!("CARGO_MANIFEST_DIR"));
    let index: toml::Table = std::fs::read_to_string(format!("{dir}/index.toml")).unwrap().parse().unwrap();
    let models = index["model"].as_array().unwrap().iter();
    let alone = models.filter(|model| model.get("rows").is_none() && model.get("states").is_none());
    alone
        .map(|model| {
            let name = model["name"].as_str().unwrap().to_owned();
            let width = |key: &str| usize::try_from(model[key].as_integer().unwrap()).unwrap();
            let onnx = std::fs::read(format!("{dir}/{name}.onnx")).unwrap();
            (name, onnx, Shape::vector("x", width("inputs"), "y", width("outputs")))
        })
        .collect()
}

fn options(isa: &'static str, weights: Weights, batch: usize) -> Options {
    Options { isa: Some(isa), weights, batch, ..Options::default() }
}

/// Takes a row on each seat of both, then asks for the answers of `order` together and alone.
fn compare(name: &str, together: &mut Native, alone: &mut Native, rng: &mut Pcg64, count: usize) {
    let (inputs, outputs) = (together.info().inputs, together.info().outputs);
    let mut order: Vec<usize> = (0..SEATS).collect();
    order.shuffle(rng);
    order.truncate(count);
    for &seat in &order {
        let row: Vec<f32> = (0..inputs).map(|_| rng.random_range(-2.0..2.0)).collect();
        together.take(seat, &row).unwrap();
        alone.take(seat, &row).unwrap();
    }
    let (mut got, mut want) = (vec![0.0; count * outputs], vec![0.0; outputs]);
    let before = heap::requests();
    together.infer(&order, &mut got).unwrap();
    assert_eq!(heap::requests(), before, "{name}: a run calls the heap");
    for (&seat, got) in order.iter().zip(got.chunks_exact(outputs)) {
        alone.infer(&[seat], &mut want).unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(got), bits(&want), "{name}: seat {seat} of {count}: {got:?}, alone {want:?}");
    }
}

#[test]
fn every_seat_gets_the_answer_that_it_gets_alone() {
    let mut rng = Pcg64::seed_from_u64(64);
    let mut batched = 0;
    for (name, onnx, shape) in files() {
        for isa in ISAS {
            let Ok(mut together) = Native::with(&onnx, &shape, options(isa, Weights::F32, 64)) else { continue };
            let mut alone = Native::with(&onnx, &shape, options(isa, Weights::F32, 1)).unwrap();
            assert_eq!(alone.batch(), 1);
            together.seat(SEATS);
            alone.seat(SEATS);
            batched += usize::from(together.batch() > 1);
            for count in [1, 2, 3, 5, 16, 17, 33, 70] {
                compare(&name, &mut together, &mut alone, &mut rng, count);
            }
        }
    }
    println!("{batched} plans take several rows");
    assert!(batched > 100, "{batched} plans take several rows");
}

#[test]
fn the_same_with_stored_weights_and_any_number_of_seats() {
    let mut rng = Pcg64::seed_from_u64(65);
    for (name, onnx, shape) in files().into_iter().filter(|(name, ..)| name == "net_dense" || name == "gemm_to_255") {
        for isa in ISAS {
            for weights in [Weights::F32, Weights::Bf16, Weights::F16, Weights::Int8] {
                let Ok(mut together) = Native::with(&onnx, &shape, options(isa, weights, 64)) else { continue };
                let mut alone = Native::with(&onnx, &shape, options(isa, weights, 1)).unwrap();
                assert!(together.batch() > 1, "{name}");
                together.seat(SEATS);
                alone.seat(SEATS);
                for count in 1..=SEATS {
                    compare(&name, &mut together, &mut alone, &mut rng, count);
                }
            }
        }
    }
}
