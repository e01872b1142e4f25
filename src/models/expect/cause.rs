//! What the differences between a graph and its estimator look like: the usual faults of exporters leave plain traces.

use super::{Asked, Compared};

/// Rows that are kept to look at.
const KEPT: usize = 512;
/// Least rows that a trace must show on.
const LEAST: usize = 8;

/// Some rows with both answers.
#[derive(Default)]
pub(super) struct Sample {
    /// The first rows, as they come: number, graph, estimator.
    first: Vec<(u64, Vec<f64>, Vec<f64>)>,
    /// The first rows that differ.
    differing: Vec<(Vec<f64>, Vec<f64>)>,
    /// Rows that differ, and those of them with a feature that is 0; the same of all others.
    zeros: [[u64; 2]; 2],
}

/// What it is likely to be, and what helps.
pub(super) struct Cause {
    pub(super) text: String,
    pub(super) mend: String,
}

impl Sample {
    pub(super) fn see(&mut self, number: u64, got: &[f64], wanted: &[f64], differs: bool, zero: bool) {
        if self.first.len() < KEPT {
            self.first.push((number, got.to_vec(), wanted.to_vec()));
        }
        if differs && self.differing.len() < KEPT {
            self.differing.push((got.to_vec(), wanted.to_vec()));
        }
        let count = &mut self.zeros[usize::from(!differs)];
        count[0] += 1;
        count[1] += u64::from(zero);
    }

    /// The likeliest cause.
    pub(super) fn cause(&self, compared: &Compared, asked: &Asked<'_>) -> Cause {
        let most = compared.differ * 2 > compared.rows;
        let found = self.shifted().or_else(|| self.permuted(asked.names)).or_else(|| self.transformed());
        let found = found.or_else(|| self.scaled());
        match found {
            Some(found) if asked.own => Cause { mend: OWN.into(), ..found },
            Some(found) => found,
            None if asked.makeup.narrow => narrow(compared),
            None if asked.makeup.isotonic => isotonic(compared, asked),
            None if most || !asked.makeup.trees => unknown(asked),
            None => self.branches(compared, asked),
        }
    }

    /// The estimator's answers belong to the rows before or after.
    fn shifted(&self) -> Option<Cause> {
        for (by, what) in [(1, "before"), (-1, "after")] {
            let pairs = self.first.windows(2).filter(|pair| pair[0].0 + 1 == pair[1].0);
            // Rows on which the two agree as they stand say nothing.
            let (mut apart, mut near) = (0, 0);
            for pair in pairs {
                let (own, other) = if by == 1 { (&pair[1], &pair[0]) } else { (&pair[0], &pair[1]) };
                if !all_near(&own.1, &own.2) {
                    apart += 1;
                    near += usize::from(all_near(&other.1, &own.2));
                }
            }
            if apart >= LEAST && near * 100 >= apart * 98 {
                return Some(cause(
                    format!("the answers are those to the row {what}: the two files do not begin at the same row"),
                    "give rows and predictions of the same rows, in the same order",
                ));
            }
        }
        None
    }

    /// The values stand in another order.
    fn permuted(&self, names: &[String]) -> Option<Cause> {
        let place = |of: usize| {
            let fits = |&at: &usize| self.holds(|got, wanted| near(got[at], wanted[of]));
            (0..names.len()).find(fits)
        };
        let places: Vec<usize> = (0..names.len()).map(place).collect::<Option<_>>()?;
        if names.len() < 2 || places.iter().enumerate().all(|(of, &at)| of == at) {
            return None;
        }
        let order: Vec<&str> = places.iter().map(|&at| names[at].as_str()).collect();
        Some(cause(
            format!(
                "the columns of the answers are, in order, {}: they stand in another order than the graph's",
                order.join(", ")
            ),
            "put the columns in the order of the graph's values, or give them their names; or name the values with --outputs as \
             they stand",
        ))
    }

    /// One is a function of the other.
    fn transformed(&self) -> Option<Cause> {
        let left_out = |what: &str| {
            cause(
                format!("the estimator's answers are {what} of the graph's: the exporter left out the last step"),
                "export with pillion_export (models/pillion_export), which writes that step and compares before it returns; or \
                 compare with the raw scores, if those are what the lane is to publish",
            )
        };
        let raw = |what: &str| {
            cause(
                format!("the graph's answers are {what} of the estimator's, which are raw scores"),
                "write the predictions that the estimator gives after its last step (predict_proba, not raw or margin)",
            )
        };
        type Step = (fn(f64) -> f64, &'static str);
        let steps: [Step; 4] = [
            (|x| 1.0 / (1.0 + (-x).exp()), "the logistic function"),
            (f64::exp, "the exponential"),
            (|x| x.signum() * x * x, "the square"),
            (|x| 1.0 - x, "one less"),
        ];
        for (step, what) in steps {
            if self.each(|graph, estimator| near(step(graph), estimator)) {
                return Some(if what == "one less" {
                    cause(
                        "the estimator's answers are one less the graph's: the probability of the other class",
                        "compare the same class",
                    )
                } else {
                    left_out(what)
                });
            }
            if self.each(|graph, estimator| near(graph, step(estimator))) {
                return Some(raw(what));
            }
        }
        if self.holds(|graph, estimator| all_near(&softmax(graph), estimator)) {
            return Some(left_out("the softmax"));
        }
        self.holds(|graph, estimator| all_near(graph, &softmax(estimator))).then(|| raw("the softmax"))
    }

    /// One is so many times the other, or so much more.
    fn scaled(&self) -> Option<Cause> {
        let (graph, estimator) = self
            .differing
            .iter()
            .flat_map(|(got, wanted)| got.iter().zip(wanted))
            .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
        let (times, more) = (graph / estimator, graph - estimator);
        if times.is_finite() && self.each(|graph, estimator| near(graph / times, estimator)) {
            return Some(cause(
                format!(
                    "the graph's answers are {times:.4} times the estimator's, on every row: a sum of trees where the estimator \
                     takes the mean (LightGBM's boosting = rf), or a scale of the target that was left out"
                ),
                "export with pillion_export (models/pillion_export), which averages where the library does",
            ));
        }
        self.each(|graph, estimator| near(graph - more, estimator)).then(|| {
            cause(
                format!("the graph's answers are {more:.4} more than the estimator's, on every row: a base score or an intercept"),
                "export with pillion_export (models/pillion_export), which writes the base score",
            )
        })
    }

    /// Trees that go the other way on some rows.
    fn branches(&self, compared: &Compared, asked: &Asked<'_>) -> Cause {
        let [[differ, with_zero], [_, other_zero]] = self.zeros;
        if with_zero == differ && other_zero == 0 && !asked.own {
            return cause(
                "every row that differs holds a 0, and no other row does: the estimator takes 0 as missing (zero_as_missing), \
                 the graph does not",
                "export with pillion_export.lightgbm (models/pillion_export), or train without zero_as_missing",
            );
        }
        let share = 100.0 * compared.differ as f64 / compared.rows.max(1) as f64;
        let text = format!("{share:.2} % of the rows take another branch of some tree");
        if asked.makeup.scaled_trees && !asked.own {
            return cause(
                format!(
                    "{text}: a scaler stands before the trees, and the graph may multiply by the inverse where the estimator divides, \
                     so that a scaled value falls on the other side of a threshold"
                ),
                "export with skl2onnx's option {StandardScaler: {\"div\": \"div\"}} (RobustScaler has it too), which divides as the \
                 estimator does and which pillion_export.sklearn sets, or train the trees without a scaler, which they do not need",
            );
        }
        if asked.own {
            return cause(
                format!("{text}: the rows that it was exported on may not have shown it"),
                "give these rows to pillion_export, which then says what it cannot write; are these the predictions of the very \
                 estimator that was exported?",
            );
        }
        cause(
            format!(
                "{text}: thresholds that the library holds in float64 (LightGBM, scikit-learn) may have been rounded to the nearest \
                 float32, or missing values may go the other way"
            ),
            "export with pillion_export (models/pillion_export), which rounds thresholds so that float32 rows take the same \
             branches; a graph by hand wants the largest float32 that is not above each threshold",
        )
    }

    fn holds(&self, of: impl Fn(&[f64], &[f64]) -> bool) -> bool {
        let n = self.differing.len();
        n >= LEAST && self.differing.iter().filter(|(got, wanted)| of(got, wanted)).count() * 100 >= n * 98
    }

    fn each(&self, of: impl Fn(f64, f64) -> bool) -> bool {
        self.holds(|got, wanted| got.iter().zip(wanted).all(|(&graph, &estimator)| of(graph, estimator)))
    }
}

fn cause(text: impl Into<String>, mend: impl Into<String>) -> Cause {
    Cause { text: text.into(), mend: mend.into() }
}

/// The mend for a graph that pillion_export made, and compared with the estimator before it returned.
const OWN: &str = "hold the file of predictions against the rows: pillion_export has compared this graph with its estimator, so that \
                   the predictions may be those of another one, of another method (predict, predict_proba) or of other rows";

fn unknown(asked: &Asked<'_>) -> Cause {
    let mend = if asked.own {
        OWN
    } else {
        "hold the file of predictions against the rows (the same rows, in the same order, with the columns in the order of the \
         set?); export with pillion_export (models/pillion_export), which compares before it returns; or allow for what is right \
         with --tolerance"
    };
    cause("no plain relation between the two was found", mend)
}

/// A graph that counts in less than float32 answers a little otherwise than the estimator that it was made of.
fn narrow(compared: &Compared) -> Cause {
    let most = compared.largest.as_ref().map_or(f64::INFINITY, |at| at.difference);
    let own = "compare with the predictions of the quantised or float16 model itself, not with those of the one it was made of";
    let mend = match enough(most) {
        Some(absolute) => format!("{own}; or allow for what was lost: --tolerance {absolute},1e-4 suffices here"),
        None => own.to_owned(),
    };
    cause("the graph counts in float16, bfloat16 or quantised integers in places, which may be all of it", mend)
}

/// An absolute tolerance of two digits that takes this difference.
fn enough(most: f64) -> Option<String> {
    if !(most > 0.0 && most < 0.9) {
        return None;
    }
    let unit = 10_f64.powf(most.log10().floor() - 1.0);
    let digits = (most / unit).ceil() + 1.0;
    Some(format!("{:e}", (digits * unit * 1e12).round() / 1e12))
}

/// A calibration that looks scores up between the steps of the trees.
fn isotonic(compared: &Compared, asked: &Asked<'_>) -> Cause {
    let share = 100.0 * compared.differ as f64 / compared.rows.max(1) as f64;
    let other = if asked.own { "" } else { "; pillion_export refuses it as well" };
    cause(
        format!(
            "{share:.2} % of the rows are calibrated otherwise: isotonic calibration is looked up by the nearest point in the graph, \
             and may take another step of it"
        ),
        format!("calibrate with CalibratedClassifierCV(method=\"sigmoid\"){other}"),
    )
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let all: Vec<f64> = values.iter().map(|value| (value - top).exp()).collect();
    let sum: f64 = all.iter().sum();
    all.into_iter().map(|value| value / sum).collect()
}

fn all_near(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| near(a, b))
}

/// Within what rounding to f32 on the way explains.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 + 1e-4 * b.abs()
}

#[cfg(test)]
mod tests {
    use super::enough;

    #[test]
    fn a_tolerance_that_suffices_is_short_and_no_wider_than_need_be() {
        for most in [5.42e-4, 3.64e-3, 8.1e-2, 9.99e-5, 0.5, 1e-7] {
            let text = enough(most).unwrap();
            let found: f64 = text.parse().unwrap();
            assert!(found >= most && found <= 1.3 * most && text.len() <= 7, "{most} {text}");
        }
        assert!(enough(0.95).is_none() && enough(0.0).is_none() && enough(f64::INFINITY).is_none());
    }
}
