use super::{Agreement, Engine, EngineError, Rules, Tolerance, compare};
use crate::engine::EngineInfo;

type Of = fn(f32, f32) -> [f32; 2];

/// Two functions of the latest value and of the sum of all before, which is the state of its seat.
struct Function {
    of: Of,
    info: EngineInfo,
    /// Of each seat the latest value and the sum.
    seats: Vec<[f32; 2]>,
    /// All seats are one, as in an engine that mixes them up.
    mixed: bool,
}

impl Function {
    fn new(engine: &'static str, of: Of) -> Self {
        let info = EngineInfo { engine, inputs: 1, outputs: 2, rows: 1, stateful: true, ..EngineInfo::default() };
        Self { of, info, seats: vec![[0.0; 2]], mixed: false }
    }

    fn at(&mut self, seat: usize) -> &mut [f32; 2] {
        &mut self.seats[if self.mixed { 0 } else { seat }]
    }
}

impl Engine for Function {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn seat(&mut self, instruments: usize) {
        self.seats = vec![[0.0; 2]; instruments];
    }

    fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
        self.at(seat)[0] = row[0];
        Ok(())
    }

    fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
        for (&seat, output) in seats.iter().zip(outputs.chunks_mut(2)) {
            let of = self.of;
            let [latest, sum] = self.at(seat);
            output.copy_from_slice(&of(*latest, *sum));
            *sum += *latest;
        }
        Ok(())
    }

    fn reset(&mut self, seat: usize) {
        *self.at(seat) = [0.0; 2];
    }

    fn filled(&self, _: usize) -> bool {
        true
    }
}

fn golden() -> Vec<Vec<f32>> {
    [-1.0, 0.5, 2.0].map(|x| vec![x]).to_vec()
}

fn judged(reference: Of, candidate: Of, rules: impl Into<Rules>) -> Result<Agreement, String> {
    compare(&mut Function::new("a", reference), &mut Function::new("b", candidate), &golden(), rules)
}

fn compared(reference: fn(f32) -> f32, candidate: fn(f32) -> f32) -> Result<usize, String> {
    // Only the first output and the latest value matter.
    struct One(Function, fn(f32) -> f32);
    impl Engine for One {
        fn info(&self) -> &EngineInfo {
            self.0.info()
        }
        fn seat(&mut self, instruments: usize) {
            self.0.seat(instruments);
        }
        fn take(&mut self, seat: usize, row: &[f32]) -> Result<(), EngineError> {
            self.0.take(seat, row)
        }
        fn infer(&mut self, seats: &[usize], outputs: &mut [f32]) -> Result<(), EngineError> {
            seats.iter().zip(outputs.chunks_mut(2)).for_each(|(&seat, output)| {
                output.copy_from_slice(&[(self.1)(self.0.seats[seat][0]), 0.0]);
            });
            Ok(())
        }
        fn reset(&mut self, seat: usize) {
            self.0.reset(seat);
        }
        fn filled(&self, _: usize) -> bool {
            true
        }
    }
    let one = |name, f| One(Function::new(name, |_, _| [0.0; 2]), f);
    let (mut a, mut b) = (one("a", reference), one("b", candidate));
    compare(&mut a, &mut b, &golden(), Tolerance::default()).map(|agreement| agreement.rows)
}

fn off(x: f32, share: f32) -> f32 {
    if x.is_finite() { x.abs().min(3e6) * share } else { 0.0 }
}

#[test]
fn only_the_same_answers_are_admitted() {
    assert_eq!(compared(|x| x * 3.0, |x| x * 3.0), Ok(3 + 128 + 4 * 32 + 2));
    // Where terms of the input's size cancel, to 0 in most rows, their rounding is nobody's fault.
    let mostly_0 = |x: f32| if x > 2.5e5 { x } else { 0.0 };
    let rounded = |x: f32| if x > 2.5e5 { x } else { off(x, 2e-7) };
    let careless = |x: f32| if x > 2.5e5 { x } else { off(x, 2e-6) };
    assert_eq!(compared(mostly_0, rounded), Ok(261));
    assert!(compared(mostly_0, careless).unwrap_err().contains("far outside"));
    assert!(compared(|x| x, |x| x * 1.001).unwrap_err().contains("golden"));
    // No allowance by the input's size where the answer is a probability.
    let wrong = compared(|x| 1.0 / (1.0 + x * x), |x| (1.0 / (1.0 + x * x)).max(1e-3));
    assert!(wrong.as_ref().is_err_and(|why| why.contains("far outside")), "{wrong:?}");
    // An infinite answer is not near to anything else.
    for other in [|x: f32| x.min(9e30), |x: f32| if x == f32::INFINITY { -x } else { x }] {
        let wrong = compared(|x| x, other);
        assert!(wrong.as_ref().is_err_and(|why| why.contains("infinite in one feature")), "{wrong:?}");
    }
    assert!(compared(|x| x, |x| if x.is_nan() { 0.0 } else { x }).unwrap_err().contains("NaN"));
    assert!(compared(|x| x.max(0.0), |x| if x.is_nan() { x } else { x.max(0.0) }).unwrap_err().contains("NaN"));
}

#[test]
fn where_a_rounding_turns_the_reference_itself_it_is_nobodys_fault() {
    // 1e6 is known to 0.06: so is the place on the wave.
    fn wave(x: f32) -> f32 {
        (f64::from(x) * 0.37).sin() as f32
    }
    let rounded = |x: f32| if x.abs() > 1e3 { (x * 0.37).sin() } else { wave(x) };
    assert_eq!(compared(wave, rounded), Ok(261));
    // Not where the model is made for, and not by more than that.
    assert!(compared(wave, |x| wave(x) + 1e-3).unwrap_err().contains("golden"));
    let flat = |x: f32| if x.abs() > 40.0 { 0.9 } else { wave(x) };
    assert!(compared(wave, flat).unwrap_err().contains("far outside"));
}

#[test]
fn the_manifest_sets_how_near_is_near() {
    let coarse = Tolerance { absolute: 1e-2, relative: 1e-2 };
    let rounded: Of = |x, _| [x * 1.004, 0.0];
    assert!(judged(|x, _| [x, 0.0], rounded, Tolerance::default()).is_err());
    let agreement = judged(|x, _| [x, 0.0], rounded, coarse).unwrap();
    assert!(agreement.plain_max_abs_err > 1e-3 && agreement.max_abs_err > agreement.plain_max_abs_err, "{agreement:?}");
}

#[test]
fn decisions_are_the_same_but_at_ties() {
    let rules = Rules { decides: true, ..Tolerance { absolute: 0.1, relative: 0.0 }.into() };
    let to_the_right: Of = |x, _| [0.5, if x > 0.0 { 0.45 } else { 0.6 }];
    // Within the tolerance, and on the other side.
    let other: Of = |x, _| [0.5, if x > 0.0 { 0.54 } else { 0.6 }];
    let wrong = judged(to_the_right, other, rules).unwrap_err();
    assert!(
        wrong.contains("golden") && wrong.contains("b decides for output 1 (0.54), a for output 0 (0.5)"),
        "{wrong}"
    );
    assert!(judged(to_the_right, other, Rules { decides: false, ..rules }).is_ok());
    // Where the reference hardly decides, nobody is held to it.
    let tied: Of = |x, _| [0.5, if x > 0.0 { 0.499_999 } else { 0.6 }];
    let agreement = judged(tied, other, rules).unwrap();
    assert!(agreement.ties > 40 && agreement.decisions > 40, "{agreement:?}");
    assert_eq!(agreement.ties + agreement.decisions, 3 + 128 + 32, "{agreement:?}");
}

#[test]
fn nan_where_a_model_is_made_for_it_and_where_it_is_not() {
    let keeps: Of = |x, _| [x, 0.0];
    let loses: Of = |x, _| [if x.is_nan() { 1.0 } else { x }, 0.0];
    let exact: Rules = Tolerance::default().into();
    let never = Rules { missing: false, ..exact };
    assert!(judged(keeps, loses, exact).unwrap_err().contains("NaN"));
    assert!(judged(keeps, loses, never).unwrap_err().contains("NaN"), "a fault upstream would not show");
    assert!(judged(loses, keeps, exact).unwrap_err().contains("NaN"));
    assert!(judged(loses, keeps, never).is_ok(), "it shows more than it must");
}

#[test]
fn seats_side_by_side_answer_as_alone() {
    let sums: Of = |x, sum| [x, sum];
    let tried = |mixed| {
        let mut candidate = Function::new("b", sums);
        candidate.mixed = mixed;
        compare(&mut Function::new("a", sums), &mut candidate, &golden(), Tolerance::default())
    };
    assert!(tried(false).is_ok());
    let wrong = tried(true).unwrap_err();
    assert!(wrong.contains("seats taking turns"), "{wrong}");
}

#[test]
fn a_sequence_begins_after_a_reset() {
    // One that never forgets is found out as soon as a second sequence begins.
    let forgets: Of = |x, sum| [x, sum];
    let mut candidate = Function::new("b", forgets);
    candidate.seats = vec![[0.0, 5.0]];
    assert!(compare(&mut Function::new("a", forgets), &mut candidate, &golden(), Tolerance::default()).is_ok());
}
