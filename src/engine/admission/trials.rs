//! The rows that engines are tried on.

use std::fmt::{self, Display};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Rows that are ordinary, and of each other kind.
const ORDINARY: usize = 128;
const OTHER: usize = 32;
/// Steps of a model with state from one reset to the next: long enough for an error to add up, and short where one bad
/// row decides all that follow.
const STEPS: usize = 32;
const FEW_STEPS: usize = 4;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Golden,
    Ordinary,
    Far,
    Denormal,
    Infinite,
    Missing,
    Zero,
    AllMissing,
}

impl Kind {
    /// Rows such as a model is made for.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Golden | Self::Ordinary)
    }

    /// Rows with NaN in them.
    pub fn is_missing(self) -> bool {
        matches!(self, Self::Missing | Self::AllMissing)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Golden => "golden",
            Self::Ordinary => "ordinary",
            Self::Far => "far outside",
            Self::Denormal => "denormal",
            Self::Infinite => "infinite in one feature",
            Self::Missing => "NaN in some features",
            Self::Zero => "all zero",
            Self::AllMissing => "all NaN",
        })
    }
}

/// One run: what a window holds, or the row of a vector or a step.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub kind: Kind,
    pub values: Vec<f32>,
    /// The seat is reset before: a sequence begins.
    pub first: bool,
}

/// Golden rows in their order, then rows made from them; the same ones for the same golden rows.
pub(super) fn trials(golden: &[Vec<f32>]) -> Vec<Trial> {
    let mut rng = Pcg64::seed_from_u64(0x0070_696c_6c69_6f6e);
    let of_golden = |(i, row): (usize, &Vec<f32>)| Trial { kind: Kind::Golden, values: row.clone(), first: i == 0 };
    let mut trials: Vec<_> = golden.iter().enumerate().map(of_golden).collect();
    let width = golden.first().map_or(0, Vec::len);
    let kinds = [
        (Kind::Ordinary, ORDINARY, STEPS),
        (Kind::Far, OTHER, FEW_STEPS),
        (Kind::Denormal, OTHER, FEW_STEPS),
        (Kind::Infinite, OTHER, FEW_STEPS),
        (Kind::Missing, OTHER, FEW_STEPS),
    ];
    for (kind, count, steps) in kinds {
        for i in 0..count {
            let mut values = shaken(golden, &mut rng);
            spoil(kind, i, &mut values, &mut rng);
            trials.push(Trial { kind, values, first: i % steps == 0 });
        }
    }
    trials.push(Trial { kind: Kind::Zero, values: vec![0.0; width], first: true });
    trials.push(Trial { kind: Kind::AllMissing, values: vec![f32::NAN; width], first: true });
    trials
}

/// The trials `times` over, each value up or down by 2 units in the last place of the largest significand.
pub(super) fn roundings(times: usize, trials: &[Trial]) -> impl Iterator<Item = Vec<Trial>> {
    let mut rng = Pcg64::seed_from_u64(0x726f_756e_6473);
    (0..times).map(move |_| {
        let mut off = |x: &f32| x * if rng.random() { 1.0 + 2.0 * f32::EPSILON } else { 1.0 - 2.0 * f32::EPSILON };
        trials.iter().map(|trial| Trial { values: trial.values.iter().map(&mut off).collect(), ..*trial }).collect()
    })
}

/// Each value that of another golden row, shaken: within or near what the model was trained on.
fn shaken(golden: &[Vec<f32>], rng: &mut Pcg64) -> Vec<f32> {
    let value = |f: usize| {
        golden[rng.random_range(0..golden.len())][f] * rng.random_range(0.5..1.5) + rng.random_range(-0.5..0.5)
    };
    (0..golden[0].len()).map(value).collect()
}

/// Makes an ordinary row one of another kind.
fn spoil(kind: Kind, i: usize, values: &mut [f32], rng: &mut Pcg64) {
    let one = rng.random_range(0..values.len().max(1));
    match kind {
        Kind::Far => {
            let far = 10_f32.powi(rng.random_range(1..7));
            values.iter_mut().for_each(|x| *x *= far);
        }
        Kind::Denormal => values.iter_mut().for_each(|x| *x *= 1e-39),
        Kind::Infinite => values[one] = if i.is_multiple_of(2) { f32::INFINITY } else { f32::NEG_INFINITY },
        Kind::Missing => {
            values[one] = f32::NAN;
            // Half of these rows have holes all over.
            if i % 2 == 1 {
                values.iter_mut().filter(|_| rng.random_range(0..4) == 0).for_each(|x| *x = f32::NAN);
            }
        }
        Kind::Golden | Kind::Ordinary | Kind::Zero | Kind::AllMissing => {}
    }
}
