//! ONNX Runtime as an engine: windows, states and batches, on graphs whose open dimensions stand in odd places.

#[path = "common/heap.rs"]
mod heap;
mod model_support;
#[path = "common/onnx.rs"]
mod onnx;

use model_support::runtime_is_here;
use onnx::Attribute::{Int, Ints};
use onnx::{Dim, Is, Onnx, Open};
use pillion::engine::{Engine, EngineError, OrtCpu, Runtime, RuntimeConfig, Shape};

const N: Dim = Open("batch");
const T: Dim = Open("time");

fn start(onnx: &[u8], shape: &Shape) -> Result<OrtCpu, EngineError> {
    OrtCpu::new(Runtime::open(&RuntimeConfig::default()).unwrap(), onnx, shape)
}

/// Values around 1 that no two places share.
fn row(seat: usize, step: usize, n: usize) -> Vec<f32> {
    (0..n).map(|i| ((seat * 131 + step * 17 + i * 3 + 1) as f32 * 0.37).sin() * (1.0 + seat as f32)).collect()
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 + 1e-4 * b.abs())
}

/// Seats that run together, in any order and number, answer as each does alone in an engine of its own.
#[track_caller]
fn runs_as_alone(onnx: &[u8], shape: &Shape, largest: usize) {
    const SEATS: usize = 11;
    let mut together = start(onnx, shape).unwrap();
    together.seat(SEATS);
    assert_eq!(together.batch(), largest);
    let mut alone: Vec<OrtCpu> = (0..SEATS).map(|_| start(onnx, shape).unwrap()).collect();
    let everyone: Vec<usize> = (0..SEATS).collect();
    let n = shape.values;
    for (step, seats) in [&everyone[..], &[3], &[7, 2, 10], &everyone[4..9], &[5, 4], &everyone].iter().enumerate() {
        for &seat in *seats {
            together.take(seat, &row(seat, step, shape.features)).unwrap();
        }
        let mut outputs = vec![f32::NAN; seats.len() * n];
        let before = heap::requests();
        together.infer(seats, &mut outputs).unwrap();
        assert_eq!(heap::requests() - before, 0, "ours, step {step}");
        for (&seat, got) in seats.iter().zip(outputs.chunks(n)) {
            let mut wanted = vec![0.0; n];
            alone[seat].run(&row(seat, step, shape.features), &mut wanted).unwrap();
            assert!(near(got, &wanted), "step {step}, seat {seat}: {got:?} is not {wanted:?}");
        }
    }
}

fn weights(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7 + 3) as f32).sin()).collect()
}

#[test]
fn a_row_with_an_open_batch() {
    if !runtime_is_here() {
        return;
    }
    let net = |x: &[Dim], y: &[Dim]| {
        let dense = Onnx::default().input("x", x).output("y", y).floats("w", &[5, 3], &weights(15));
        dense.node("MatMul", &["x", "w"], &["a"], &[]).node("Tanh", &["a"], &["y"], &[]).bytes()
    };
    let shape = Shape::vector("x", 5, "y", 3);
    runs_as_alone(&net(&[N, Is(5)], &[N, Is(3)]), &shape, 16);
    runs_as_alone(&net(&[Is(1), N, Is(5)], &[Is(1), N, Is(3)]), &shape, 16);
    runs_as_alone(&net(&[N, Is(1), Is(5)], &[N, Is(1), Is(3)]), &shape, 16);
    runs_as_alone(&net(&[Is(1), Is(5)], &[Is(1), Is(3)]), &shape, 1);
    runs_as_alone(&net(&[Is(5)], &[Is(3)]), &shape, 1);
}

/// The mean over time of rows weighted by their age.
fn weighted(x: &[Dim], y: &[Dim], w: &[i64], axis: &'static [i64]) -> Vec<u8> {
    let mean = Onnx::default().input("x", x).output("y", y).floats("w", w, &weights(12));
    let mean = mean.node("Mul", &["x", "w"], &["a"], &[]);
    mean.node("ReduceMean", &["a"], &["y"], &[("axes", Ints(axis)), ("keepdims", Int(0))]).bytes()
}

#[test]
fn windows_with_the_batch_first_in_the_middle_or_named() {
    if !runtime_is_here() {
        return;
    }
    let shape = Shape::vector("x", 3, "y", 3).window(4);
    let y = [N, Is(3)];
    runs_as_alone(&weighted(&[N, Is(4), Is(3)], &y, &[4, 3], &[1]), &shape, 16);
    runs_as_alone(&weighted(&[Is(4), N, Is(3)], &y, &[4, 1, 3], &[0]), &shape, 16);
    runs_as_alone(&weighted(&[N, T, Is(3)], &y, &[4, 3], &[1]), &shape, 16);
    runs_as_alone(&weighted(&[T, N, Is(3)], &y, &[4, 1, 3], &[0]), &shape, 16);
    runs_as_alone(&weighted(&[T, Is(1), Is(3)], &[Is(1), Is(3)], &[4, 1, 3], &[0]), &shape, 1);
    runs_as_alone(&weighted(&[T, Is(3)], &[Is(3)], &[4, 3], &[0]), &shape, 1);
    runs_as_alone(&weighted(&[N, Is(1), Is(4), Is(3)], &[N, Is(1), Is(3)], &[4, 3], &[2]), &shape, 16);
}

/// One step of a cell: h' = tanh(x w + h), y = h'.
fn cell(x: &[Dim], h: &[Dim]) -> Vec<u8> {
    let cell = Onnx::default().input("h", h).input("x", x).output("y", &[N, Is(2)]).output("next", h);
    let cell = cell.floats("w", &[2, 2], &weights(4)).node("MatMul", &["x", "w"], &["a"], &[]);
    let cell = cell.node("Add", &["a", "h"], &["b"], &[]).node("Tanh", &["b"], &["next"], &[]);
    cell.node("ReduceMean", &["next"], &["y"], &[("axes", Ints(&[0])), ("keepdims", Int(0))]).bytes()
}

#[test]
fn states_are_carried_seat_by_seat() {
    if !runtime_is_here() {
        return;
    }
    let shape = Shape::vector("x", 2, "y", 2).carrying(&[("h", "next")]);
    runs_as_alone(&cell(&[N, Is(2)], &[Is(1), N, Is(2)]), &shape, 16);
    runs_as_alone(&cell(&[N, Is(2)], &[Open("layers"), N, Is(2)]), &shape, 16);
    runs_as_alone(&cell(&[N, Is(2)], &[N, Open("other"), Is(2)]), &shape, 1);
    runs_as_alone(&cell(&[Is(1), Is(2)], &[Is(1), Is(1), Is(2)]), &shape, 1);
    // What is carried may be what is published.
    let published = Shape { outputs: vec!["next".into()], ..shape };
    runs_as_alone(&cell(&[N, Is(2)], &[Is(1), N, Is(2)]), &published, 16);
}

#[test]
fn a_reset_seat_starts_anew_and_the_others_go_on() {
    if !runtime_is_here() {
        return;
    }
    let shape = Shape::vector("x", 2, "y", 2).carrying(&[("h", "next")]);
    let mut engine = start(&cell(&[N, Is(2)], &[Is(1), N, Is(2)]), &shape).unwrap();
    engine.seat(2);
    let step = |engine: &mut OrtCpu| {
        (0..2).for_each(|seat| engine.take(seat, &[0.5, -0.25]).unwrap());
        let mut outputs = [0.0; 4];
        engine.infer(&[0, 1], &mut outputs).unwrap();
        outputs
    };
    let first = step(&mut engine);
    let second = step(&mut engine);
    engine.reset(0);
    let third = step(&mut engine);
    assert_eq!(first[..2], first[2..]);
    assert_eq!(third[..2], first[..2]);
    assert!(second[2..] != third[2..] && second[2..] != first[2..]);
}

/// Rows that look at each other are run one by one; so are those of a graph that says 1 inside.
#[test]
fn no_batch_where_rows_are_not_their_own() {
    if !runtime_is_here() {
        return;
    }
    let shape = Shape::vector("x", 3, "y", 3);
    let io = || Onnx::default().input("x", &[N, Is(3)]).output("y", &[N, Is(3)]);
    let mixed = io().node("Softmax", &["x"], &["y"], &[("axis", Int(0))]).bytes();
    runs_as_alone(&mixed, &shape, 1);
    let largest = io().node("ReduceMax", &["x"], &["m"], &[("keepdims", Int(1))]);
    runs_as_alone(&largest.node("Div", &["x", "m"], &["y"], &[]).bytes(), &shape, 1);
    let one_inside = io().ints("one", &[1, 3]).node("Reshape", &["x", "one"], &["y"], &[]).bytes();
    runs_as_alone(&one_inside, &shape, 1);
}

#[test]
fn a_fixed_batch_and_absurd_states_are_refused() {
    if !runtime_is_here() {
        return;
    }
    let refused = |onnx: &[u8], shape: &Shape, texts: &[&str]| {
        let said = start(onnx, shape).err().expect("a refusal").to_string();
        assert!(texts.iter().all(|text| said.contains(text)), "{said}");
    };
    let identity =
        |x: &[Dim]| Onnx::default().input("x", x).output("y", x).node("Identity", &["x"], &["y"], &[]).bytes();
    let shape = Shape::vector("x", 3, "y", 3);
    refused(&identity(&[Is(4), Is(3)]), &shape, &["`x`", "first dimension fixed at 4", "batch of 1 or an open one"]);
    refused(&identity(&[Is(4), Is(5)]), &shape, &["`x`", "where one input `x`, float32 [3] or [batch, 3]"]);
    refused(&identity(&[N, T, Open("more"), Is(3)]), &shape, &["where one input"]);
    let carrying = shape.carrying(&[("h", "next")]);
    for huge in [&[Is(1 << 40)][..], &[Is(1 << 31), Is(1 << 31), Is(4)], &[Is(0)]] {
        let state = Onnx::default().input("x", &[N, Is(3)]).output("y", &[N, Is(3)]).input("h", huge);
        let state = state.output("next", huge).node("Identity", &["x"], &["y"], &[]);
        refused(&state.node("Identity", &["h"], &["next"], &[]).bytes(), &carrying, &["`h`"]);
    }
}
