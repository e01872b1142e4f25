//! Whether an engine may stand in for the reference, and which of those that may is the fastest. Cold: at load only.

mod times;
mod trials;

pub use self::times::{Times, time};

use self::trials::{Kind, Trial, trials};
use super::{Engine, EngineError};

/// Seats that are tried side by side: two tiles of four rows, as kernels take them, and one over.
const SEATS: usize = 9;
/// Rows that each of them takes.
const STEPS: usize = 48;

/// What rounding alone may cost where large terms cancel, as a share of the largest term: 3 to 4 units in the last place.
const ROUNDING: f32 = 4e-7;
/// The largest row that counts where it is a share of the answer: 0.4 % of it at most.
const EXPONENT: f32 = 1e4;
/// Times that the reference is shown a row again whose values are off by a rounding, and how much of what that changes is
/// allowed: an engine rounds at every term, and not at the row's values alone.
const SHAKES: usize = 4;
const OF_SHAKES: f32 = 4.0;

/// How near an engine's answer must be: |difference| ≤ `absolute` + `relative` · |reference|.
///
/// Rows far outside of what a model was made for get what rounding costs there on top. A dense layer whose terms of 1e6 cancel
/// to nearly 0 is off by some units in the last place of those terms in *every* order of summation, the reference's included:
/// 4e-7 of the row's largest value, or of the output's largest answer on any row where that is less. And an exponential
/// behind it carries what its exponent is off by as a share of the answer: 4e-7 of the row's largest value, counted up to 1e4.
/// What lies deeper, as gates behind such a layer, is asked of the reference itself: four times what its own answer changes
/// by at most when each of the row's values goes up or down by 2 units in the last place, in four tries. Without, which of two right engines is refused would be chance. Rows such as the model is made for, golden and ordinary
/// ones, get none.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Share of it that does not grow with the value.
    pub absolute: f32,
    /// Share of it that does.
    pub relative: f32,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { absolute: 1e-5, relative: 1e-4 }
    }
}

impl Tolerance {
    /// Largest difference from a reference of this size.
    #[must_use]
    pub fn of(self, want: f32) -> f32 {
        self.absolute + self.relative * want.abs()
    }
}

/// What a comparison goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// How near answers must be.
    pub tolerance: Tolerance,
    /// The place of the largest value is a decision, and the same on golden and ordinary rows, but where the reference's two
    /// largest are nearer to each other than the default tolerance.
    pub decides: bool,
    /// The model is made for NaN in its rows: then it comes out exactly where the reference has it, and decisions hold there
    /// too. Else it must come out where the reference has it, so that a fault upstream shows, and may where it does not; on rows
    /// with infinities as well, which features never are.
    pub missing: bool,
    /// Most seats of a run.
    pub batch: usize,
}

impl From<Tolerance> for Rules {
    fn from(tolerance: Tolerance) -> Self {
        Self { tolerance, decides: false, missing: true, batch: SEATS }
    }
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Rows compared.
    pub rows: usize,
    /// Largest absolute difference of finite answers.
    pub max_abs_err: f32,
    /// The same on golden and ordinary rows alone.
    pub plain_max_abs_err: f32,
    /// Decisions that were the same.
    pub decisions: usize,
    /// Rows on which the reference itself hardly decides.
    pub ties: usize,
}

/// Holds `candidate` against `reference` on `golden` and on rows made from it: mixed and shaken, far outside, so small that
/// they are denormal, all zero, with infinities and with NaN in them. A window is filled row by row; a model with state gets
/// them in sequences with a reset before each. Then several seats take turns and share runs, with all that can be prepared
/// prepared between them, and must answer as the reference did to each alone.
///
/// # Errors
/// The first row on which they differ, or a run that failed, in words.
pub fn compare(
    reference: &mut dyn Engine,
    candidate: &mut dyn Engine,
    golden: &[Vec<f32>],
    rules: impl Into<Rules>,
) -> Result<Agreement, String> {
    let (trials, rules) = (trials(golden), rules.into());
    let mut judge = Judge::new(reference, candidate.info().engine, &trials, rules)?;
    let mut got = vec![0.0; reference.info().outputs];
    for (i, trial) in trials.iter().enumerate() {
        let ran = take(candidate, 0, trial).and_then(|()| candidate.infer(&[0], &mut got));
        if judge.wants[i].is_some() {
            ran.map_err(|error| format!("a row that is {}: {error}", trial.kind))?;
            judge.judge(trial, i, &got, "")?;
            judge.agreement.rows += 1;
        }
    }
    side_by_side(candidate, &trials, &mut judge)?;
    candidate.seat(1);
    reference.reset(0);
    Ok(judge.agreement)
}

/// Several seats, each at another place of the golden and ordinary sequences: one run each, and all of them in one.
fn side_by_side(candidate: &mut dyn Engine, trials: &[Trial], judge: &mut Judge) -> Result<(), String> {
    let plain: Vec<usize> = (0..trials.len()).filter(|&i| trials[i].kind.is_plain()).collect();
    let firsts: Vec<usize> = (0..plain.len()).filter(|&place| trials[plain[place]].first).collect();
    let n = candidate.info().outputs;
    let mut got = vec![0.0; SEATS * n];
    for together in [1, SEATS.min(judge.rules.batch)] {
        candidate.seat(SEATS);
        for step in 0..plain.len().min(STEPS) {
            let at: [usize; SEATS] =
                std::array::from_fn(|seat| plain[(firsts[seat * firsts.len() / SEATS] + step) % plain.len()]);
            let failed = |error: EngineError| format!("with {SEATS} seats: {error}");
            for (seat, &i) in at.iter().enumerate() {
                take(candidate, seat, &trials[i]).map_err(failed)?;
            }
            // Another order each time: an answer must not hang on the place in the run.
            let order: [usize; SEATS] = std::array::from_fn(|place| (place + step) % SEATS);
            for (seats, got) in order.chunks(together).zip(got.chunks_mut(together * n)) {
                candidate.infer(seats, &mut got[..seats.len() * n]).map_err(failed)?;
            }
            for (&seat, got) in order.iter().zip(got.chunks(n)) {
                let how = if together == 1 { ", seats taking turns" } else { ", seats in one run" };
                judge.judge(&trials[at[seat]], at[seat], got, how)?;
            }
            while candidate.prepare() {}
        }
    }
    Ok(())
}

/// A seat takes a trial's rows, after a reset where a sequence begins.
fn take(engine: &mut dyn Engine, seat: usize, trial: &Trial) -> Result<(), EngineError> {
    if trial.first {
        engine.reset(seat);
    }
    let width = engine.info().inputs.max(1);
    trial.values.chunks(width).try_for_each(|row| engine.take(seat, row))
}

/// What the reference said, and how far from it one may be.
struct Judge {
    rules: Rules,
    /// The two engines.
    names: [&'static str; 2],
    /// Answers; none where the reference itself fails on a row that the model is not made for.
    wants: Vec<Option<Vec<f32>>>,
    /// Of each output the largest finite answer.
    largest: Vec<f32>,
    /// What roundings of a trial's values change in the reference's answers; none for the rows that a model is made for.
    shaken: Vec<Vec<f32>>,
    agreement: Agreement,
}

impl Judge {
    fn new(reference: &mut dyn Engine, own: &'static str, trials: &[Trial], rules: Rules) -> Result<Self, String> {
        let (n, other) = (reference.info().outputs, reference.info().engine);
        let (mut wants, mut largest) = (Vec::with_capacity(trials.len()), vec![0.0_f32; n]);
        for trial in trials {
            let mut want = vec![0.0; n];
            match take(reference, 0, trial).and_then(|()| reference.infer(&[0], &mut want)) {
                Ok(()) => wants.push(Some(want)),
                Err(_) if trial.kind.is_missing() && !rules.missing => wants.push(None),
                Err(error) => return Err(format!("a row that is {}: {error}", trial.kind)),
            }
            let answers = wants.last().and_then(Option::as_ref);
            largest.iter_mut().zip(answers.into_iter().flatten()).for_each(|(l, w)| *l = finite(*w).max(*l));
        }
        let shaken = shaken(reference, trials, &wants);
        Ok(Self { rules, names: [own, other], wants, largest, shaken, agreement: Agreement::default() })
    }

    /// Holds one answer against the reference's.
    fn judge(&mut self, trial: &Trial, i: usize, got: &[f32], how: &str) -> Result<(), String> {
        let Some(want) = &self.wants[i] else { return Ok(()) };
        let widest = trial.values.iter().copied().map(finite).fold(0.0, f32::max);
        let [own, other] = self.names;
        for (place, ((&want, &got), &largest)) in want.iter().zip(got).zip(&self.largest).enumerate() {
            let difference = (want - got).abs();
            let shaken = OF_SHAKES * self.shaken[i].get(place).copied().unwrap_or(0.0);
            let allowed = self.rules.tolerance.of(want) + rounding(trial.kind, widest, largest, want) + shaken;
            let near = difference <= allowed;
            let broken = trial.kind.is_missing() || trial.kind == Kind::Infinite;
            let careful = got.is_nan() && broken && !self.rules.missing;
            // The reference's MaxPool begins at the lowest finite value in some shapes, and so does not see -∞.
            let lowest = trial.kind == Kind::Infinite && want == f32::MIN && got == f32::NEG_INFINITY;
            // An infinite answer must be that very infinity: it would swallow any tolerance.
            let same = want == got || (want.is_nan() && got.is_nan());
            if !((near && want.is_finite()) || same || careful || lowest) {
                let row = format!("a row that is {}{how}", trial.kind);
                return Err(format!("output {place} of {row}: {own} says {got}, {other} {want}"));
            }
            if difference.is_finite() {
                let agreement = &mut self.agreement;
                agreement.max_abs_err = agreement.max_abs_err.max(difference);
                if trial.kind.is_plain() {
                    agreement.plain_max_abs_err = agreement.plain_max_abs_err.max(difference);
                }
            }
        }
        let decides = trial.kind.is_plain() || (trial.kind == Kind::Missing && self.rules.missing);
        if !(self.rules.decides && decides) || want.iter().any(|x| x.is_nan()) {
            return Ok(());
        }
        let (class, tie) = decision(want);
        let said = decision(got).0;
        if class != said && !tie {
            let (kind, ours, theirs) = (trial.kind, got[said], want[class]);
            let text = format!("the decision on a row that is {kind}{how}: {own} decides for output {said} ({ours})");
            return Err(format!("{text}, {other} for output {class} ({theirs})"));
        }
        let (decisions, ties) = (&mut self.agreement.decisions, &mut self.agreement.ties);
        *if tie { ties } else { decisions } += usize::from(how.is_empty());
        Ok(())
    }
}

/// How much the reference's own answers change where a row's values are off by roundings, for rows far outside.
fn shaken(reference: &mut dyn Engine, trials: &[Trial], wants: &[Option<Vec<f32>>]) -> Vec<Vec<f32>> {
    let mut changes = vec![Vec::new(); trials.len()];
    let mut got = vec![0.0; reference.info().outputs];
    for off in trials::roundings(SHAKES, trials) {
        for ((trial, want), change) in off.iter().zip(wants).zip(&mut changes) {
            if trial.kind != Kind::Far {
                continue;
            }
            let ran = take(reference, 0, trial).and_then(|()| reference.infer(&[0], &mut got));
            let (Ok(()), Some(want)) = (ran, want) else { continue };
            change.resize(want.len(), 0.0_f32);
            for ((change, want), got) in change.iter_mut().zip(want).zip(&got) {
                *change = finite(want - got).max(*change);
            }
        }
    }
    changes
}

/// What rounding alone may cost: the row's largest value, the output's largest answer on any row, the reference's on this one.
fn rounding(kind: Kind, widest: f32, largest: f32, want: f32) -> f32 {
    if kind.is_plain() {
        return 0.0;
    }
    ROUNDING * (widest.min(largest) + widest.min(EXPONENT) * finite(want))
}

/// The place of the largest value, the first of equals, and whether another is nearer to it than the default tolerance.
fn decision(values: &[f32]) -> (usize, bool) {
    let class = (0..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best });
    let second = values.iter().enumerate().filter(|&(i, _)| i != class).map(|(_, &x)| x);
    let gap = values[class] - second.fold(f32::NEG_INFINITY, f32::max);
    (class, gap < Tolerance::default().of(values[class]))
}

/// |x|, and 0 where it is not finite.
fn finite(x: f32) -> f32 {
    if x.is_finite() { x.abs() } else { 0.0 }
}

#[cfg(test)]
mod tests;
