//! Recurrent models on the native engine: states and windows from run to run, and what is done ahead of them.

#[path = "common/heap.rs"]
mod heap;
#[path = "common/skip.rs"]
mod skip;

use pillion::engine::{Engine, Native, Options, OrtCpu, Runtime, RuntimeConfig, Shape, Weights};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use skip::skip;

const LSTM_STATES: [(&str, &str); 2] = [("h_0", "h_0_next"), ("c_0", "c_0_next")];
const GRU_STATES: [(&str, &str); 1] = [("h_0", "h_0_next")];
const STACK_STATES: [(&str, &str); 2] = [("h", "h_next"), ("c", "c_next")];

fn onnx(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/zoo/{name}.onnx", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Files of the zoo that have something to do ahead, with their shapes.
fn models() -> Vec<(&'static str, Shape)> {
    vec![
        ("lstm_step", Shape::vector("x", 8, "y", 2).carrying(&LSTM_STATES)),
        ("lstm_steps", Shape::vector("x", 6, "y", 2).carrying(&STACK_STATES)),
        ("lstm_step_wide", Shape::vector("x", 32, "y", 2).carrying(&LSTM_STATES)),
        ("gru_step", Shape::vector("x", 8, "y", 2).carrying(&GRU_STATES)),
        ("gru_before_step", Shape::vector("x", 8, "y", 2).carrying(&GRU_STATES)),
        ("lstm_torch", Shape::vector("x", 6, "y", 3).window(8)),
        ("lstm_keras", Shape::vector("x", 5, "y", 2).window(10)),
        ("lstm_last", Shape::vector("x", 5, "y", 3).window(9)),
        ("gru_torch", Shape::vector("x", 6, "y", 3).window(8)),
        ("gru_before_keras", Shape::vector("x", 5, "y", 2).window(10)),
        ("rnn_torch", Shape::vector("x", 6, "y", 3).window(8)),
        ("stac_lstm_a", Shape::vector("x", 100, "y", 1).window(50)),
    ]
}

fn ahead() -> Options {
    Options { precompute: true, ..Options::default() }
}

struct Rows(Pcg64);

impl Rows {
    fn new() -> Self {
        Self(Pcg64::seed_from_u64(7))
    }

    fn next(&mut self, width: usize) -> Vec<f32> {
        (0..width).map(|_| (0..4).map(|_| self.0.random_range(-0.8..0.8_f32)).sum()).collect()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn states_and_windows_go_on_as_onnx_runtime_carries_them() {
    let runtime = match Runtime::open(&RuntimeConfig::default()) {
        Ok(runtime) => runtime,
        Err(error) => return skip(&error.to_string()),
    };
    for (name, shape) in models() {
        let mut ort = OrtCpu::new(runtime, &onnx(name), &shape).unwrap();
        let mut plain = Native::new(&onnx(name), &shape).unwrap();
        let mut early = Native::with(&onnx(name), &shape, ahead()).unwrap();
        assert!(early.prepares() && !plain.prepares(), "{name}");
        let (mut rows, mut outputs) = (Rows::new(), vec![vec![0.0; shape.values]; 3]);
        for step in 0..60 {
            let row = rows.next(shape.features);
            for (engine, output) in [&mut ort as &mut dyn Engine, &mut plain, &mut early].into_iter().zip(&mut outputs)
            {
                if step == 40 {
                    engine.reset(0);
                }
                engine.run(&row, output).unwrap();
                while step % 3 > 0 && engine.prepare() {}
            }
            for (native, what) in [(&outputs[1], "plain"), (&outputs[2], "ahead")] {
                for (want, got) in outputs[0].iter().zip(native) {
                    assert!((want - got).abs() <= 1e-5 + 1e-4 * want.abs(), "{name} {what} step {step}: {got}, {want}");
                }
            }
        }
    }
}

/// Its full window takes milliseconds: few are tried, on the widest instruction set.
#[test]
fn a_large_stack_answers_as_onnx_runtime_does() {
    let runtime = match Runtime::open(&RuntimeConfig::default()) {
        Ok(runtime) => runtime,
        Err(error) => return skip(&error.to_string()),
    };
    let (model, shape) = (onnx("stac_lstm_b"), Shape::vector("x", 250, "y", 1).window(100));
    let mut ort = OrtCpu::new(runtime, &model, &shape).unwrap();
    let mut plain = Native::new(&model, &shape).unwrap();
    let mut early = Native::with(&model, &shape, ahead()).unwrap();
    let mut rows = Rows::new();
    for step in 0..130 {
        let row = rows.next(shape.features);
        [&mut ort as &mut dyn Engine, &mut plain, &mut early].into_iter().for_each(|e| e.take(0, &row).unwrap());
        if step % 30 == 0 || step > 125 {
            let [mut want, mut a, mut b] = [[0.0]; 3];
            ort.infer(&[0], &mut want).unwrap();
            plain.infer(&[0], &mut a).unwrap();
            early.infer(&[0], &mut b).unwrap();
            while early.prepare() {}
            for got in [a[0], b[0]] {
                assert!((want[0] - got).abs() <= 1e-5 + 1e-4 * want[0].abs(), "step {step}: {got}, {}", want[0]);
            }
        }
    }
    // The first run, and each after rows that were not run on.
    assert_eq!(early.unprepared(), 6);
}

#[test]
fn prepared_or_not_the_answer_has_the_same_bits() {
    for (name, shape) in models() {
        let mut never = Native::with(&onnx(name), &shape, ahead()).unwrap();
        let mut always = Native::with(&onnx(name), &shape, ahead()).unwrap();
        let mut partly = Native::with(&onnx(name), &shape, ahead()).unwrap();
        let (mut rows, mut outputs) = (Rows::new(), vec![vec![0.0; shape.values]; 3]);
        for step in 0..40_u64 {
            let row = rows.next(shape.features);
            never.run(&row, &mut outputs[0]).unwrap();
            always.run(&row, &mut outputs[1]).unwrap();
            partly.run(&row, &mut outputs[2]).unwrap();
            assert_eq!(bits(&outputs[0]), bits(&outputs[1]), "{name} step {step}");
            assert_eq!(bits(&outputs[0]), bits(&outputs[2]), "{name} step {step}");
            while always.prepare() {}
            for _ in 0..step % 4 {
                partly.prepare();
            }
            assert!(!always.prepare());
            assert_eq!([never.unprepared(), always.unprepared()], [step + 1, 1], "{name}");
        }
        assert!((1..=40).contains(&partly.unprepared()), "{name}");
    }
}

/// Rows may be taken while a run is put off, and a run may come without a row.
#[test]
fn a_run_that_is_put_off_or_made_again_sees_the_window_as_it_is() {
    for (name, shape) in models() {
        let mut plain = Native::with(&onnx(name), &shape, ahead()).unwrap();
        let mut early = Native::with(&onnx(name), &shape, ahead()).unwrap();
        let (mut rows, mut a, mut b) = (Rows::new(), vec![0.0; shape.values], vec![0.0; shape.values]);
        for step in 0..60 {
            for _ in 0..step % 4 {
                let row = rows.next(shape.features);
                plain.take(0, &row).unwrap();
                early.take(0, &row).unwrap();
                // Between the rows, and never as far as the end.
                early.prepare();
            }
            plain.infer(&[0], &mut a).unwrap();
            early.infer(&[0], &mut b).unwrap();
            assert_eq!(bits(&a), bits(&b), "{name} step {step}");
            if step % 5 == 0 {
                while early.prepare() {}
            }
        }
    }
}

#[test]
fn seats_do_not_mix_and_a_reset_drops_what_was_prepared() {
    const SEATS: usize = 5;
    for (name, shape) in models() {
        let mut shared = Native::with(&onnx(name), &shape, ahead()).unwrap();
        shared.seat(SEATS);
        let mut own: Vec<_> = (0..SEATS).map(|_| Native::with(&onnx(name), &shape, ahead()).unwrap()).collect();
        let (mut rows, mut a, mut b) = (Rows::new(), vec![0.0; shape.values], vec![0.0; shape.values]);
        for step in 0..80 {
            let seat = step * 7 % 11 % SEATS;
            if step % 17 == 16 {
                shared.reset(seat);
                own[seat].reset(0);
            }
            let row = rows.next(shape.features);
            shared.take(seat, &row).unwrap();
            shared.infer(&[seat], &mut a).unwrap();
            own[seat].run(&row, &mut b).unwrap();
            assert_eq!(bits(&a), bits(&b), "{name} step {step} seat {seat}");
            for _ in 0..step % 9 {
                shared.prepare();
            }
        }
        while shared.prepare() {}
        let before = shared.unprepared();
        for seat in 0..SEATS {
            shared.take(seat, &rows.next(shape.features)).unwrap();
            shared.infer(&[seat], &mut a).unwrap();
        }
        assert_eq!(shared.unprepared(), before, "{name}: all were prepared");
        while shared.prepare() {}
        shared.reset(2);
        shared.take(2, &rows.next(shape.features)).unwrap();
        shared.infer(&[2], &mut a).unwrap();
        assert_eq!(shared.unprepared(), before + 1, "{name}: a reset seat has nothing prepared");
    }
}

#[test]
fn nothing_is_asked_of_the_heap() {
    for (name, shape) in models() {
        for options in [Options::default(), ahead()] {
            let mut engine = Native::with(&onnx(name), &shape, options).unwrap();
            engine.seat(4);
            let (mut rows, mut output) = (Rows::new(), vec![0.0; shape.values]);
            let rows: Vec<_> = (0..20).map(|_| rows.next(shape.features)).collect();
            let before = heap::requests();
            for (i, row) in rows.iter().enumerate() {
                engine.take(i % 4, row).unwrap();
                engine.infer(&[i % 4], &mut output).unwrap();
                for _ in 0..i % 7 {
                    engine.prepare();
                }
                if i == 11 {
                    engine.reset(1);
                }
            }
            while engine.prepare() {}
            assert_eq!(heap::requests(), before, "{name}");
        }
    }
}

#[test]
fn where_nothing_can_be_done_ahead_nothing_is() {
    for (name, shape) in [
        ("lstm_middle", Shape::vector("x", 4, "y", 10).window(5)),
        ("lstm_bidirectional", Shape::vector("x", 4, "y", 144).window(6)),
        ("net_dense", Shape::vector("x", 20, "y", 3)),
    ] {
        let mut engine = Native::with(&onnx(name), &shape, ahead()).unwrap();
        let mut output = vec![0.0; shape.values];
        engine.run(&vec![0.5; shape.features], &mut output).unwrap();
        assert!(!engine.prepares() && !engine.prepare() && engine.unprepared() == 0, "{name}");
    }
}

#[test]
fn smaller_weights_are_as_near_as_their_digits() {
    for (weights, near, share) in [(Weights::Bf16, 2e-2, 0.55), (Weights::F16, 3e-3, 0.55), (Weights::Int8, 5e-2, 0.3)]
    {
        for (name, shape) in models() {
            let mut exact = Native::new(&onnx(name), &shape).unwrap();
            let mut small = Native::with(&onnx(name), &shape, Options { weights, ..ahead() }).unwrap();
            if name == "stac_lstm_a" {
                assert!((small.weight_bytes() as f64) < exact.weight_bytes() as f64 * share);
            }
            let (mut rows, mut a, mut b) = (Rows::new(), vec![0.0; shape.values], vec![0.0; shape.values]);
            for step in 0..30 {
                let row = rows.next(shape.features);
                exact.run(&row, &mut a).unwrap();
                small.run(&row, &mut b).unwrap();
                for (a, b) in a.iter().zip(&b) {
                    assert!((a - b).abs() <= near, "{name} {weights:?} step {step}: {b}, {a}");
                }
            }
        }
    }
}

/// Rows of the graph that are not the rows that come one by one: nothing is known of them ahead.
#[test]
fn a_window_dealt_out_otherwise_is_not_walked_ahead() {
    let onnx = std::fs::read(format!("{}/tests/model_fixtures/patches.onnx", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let shape = Shape::vector("x", 2, "y", 3).window(4);
    let make = |precompute| Native::with(&onnx, &shape, Options { precompute, ..Options::default() }).unwrap();
    let (mut plain, mut ahead) = (make(false), make(true));
    assert!(!ahead.prepares());
    for i in 0..12_u8 {
        let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
        plain.run(&[f32::from(i), 1.0], &mut a).unwrap();
        ahead.run(&[f32::from(i), 1.0], &mut b).unwrap();
        while ahead.prepare() {}
        assert_eq!(a.map(f32::to_bits), b.map(f32::to_bits));
    }
}
