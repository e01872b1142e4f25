//! Which simple law a curve follows: the same everywhere, so much for each more, or so much for each tenfold.

use std::fmt;

/// How y hangs on x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// y = base.
    Constant,
    /// y = base + per · x.
    Linear,
    /// y = base + per · log10 x; only where every x is above 0.
    Log,
}

/// A law with its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Its form.
    pub form: Form,
    /// y where the form's own x (x, or log10 x) is 0.
    pub base: f64,
    /// y for each more of that; 0 for a constant.
    pub per: f64,
    /// Root mean square of (y − law) / y over the points, with the constants counted as used up: 0.05 is 5 %. `INFINITY`
    /// where there are no more points than constants.
    pub residual: f64,
}

/// Below this a constant is good enough, whatever else is better.
const FLAT: f64 = 0.04;

impl Form {
    fn of(self, x: f64) -> f64 {
        match self {
            Self::Constant => 0.0,
            Self::Linear => x,
            Self::Log => x.log10(),
        }
    }
}

impl Fit {
    /// What the law says at x.
    pub fn at(&self, x: f64) -> f64 {
        self.base + self.per * self.form.of(x)
    }
}

/// Least squares of the relative errors, so that a small y counts as much as a large one. Points need y above 0.
pub fn fit(form: Form, points: &[(f64, f64)]) -> Fit {
    let (mut w, mut wx, mut wxx, mut wy, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for &(x, y) in points {
        let (x, weight) = (form.of(x), 1.0 / (y * y));
        w += weight;
        wx += weight * x;
        wxx += weight * x * x;
        wy += weight * y;
        wxy += weight * x * y;
    }
    let spread = w * wxx - wx * wx;
    let per = if form == Form::Constant || spread <= 0.0 { 0.0 } else { (w * wxy - wx * wy) / spread };
    let law = Fit { form, base: (wy - per * wx) / w, per, residual: 0.0 };
    let used = if form == Form::Constant { 1 } else { 2 };
    let sum: f64 = points.iter().map(|&(x, y)| ((y - law.at(x)) / y).powi(2)).sum();
    let residual = if points.len() > used { (sum / (points.len() - used) as f64).sqrt() } else { f64::INFINITY };
    Fit { residual, ..law }
}

/// The law that fits best: a constant where it is within 4 %, else the least residual. `None` below three points, or with a
/// y that is not above 0.
pub fn best(points: &[(f64, f64)]) -> Option<Fit> {
    if points.len() < 3 || points.iter().any(|&(x, y)| !(x.is_finite() && y.is_finite() && y > 0.0)) {
        return None;
    }
    let constant = fit(Form::Constant, points);
    if constant.residual <= FLAT {
        return Some(constant);
    }
    let linear = fit(Form::Linear, points);
    let log = points.iter().all(|&(x, _)| x > 0.0).then(|| fit(Form::Log, points));
    [Some(linear), log, Some(constant)].into_iter().flatten().min_by(|a, b| a.residual.total_cmp(&b.residual))
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let sign = if self.base < 0.0 { '-' } else { '+' };
        let (per, base, off) = (figure(self.per), figure(self.base.abs()), 100.0 * self.residual);
        let thousand = self.per.abs() < 0.05;
        match self.form {
            Form::Constant => write!(f, "constant: {base} ns"),
            Form::Linear if thousand => {
                write!(f, "linear: {} ns each thousand {sign} {base} ns", figure(1e3 * self.per))
            }
            Form::Linear => write!(f, "linear: {per} ns each {sign} {base} ns"),
            Form::Log => write!(f, "log: {per} ns each tenfold {sign} {base} ns"),
        }?;
        // A law that misses by a quarter is none.
        let poor = if self.residual > 0.25 { ", a poor fit" } else { "" };
        write!(f, " (off by {off:.0} %{poor})")
    }
}

/// Three digits that matter, without needless ones.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
