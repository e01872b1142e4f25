//! The host's checks, poor ones first.

use super::html::{Html, details, p, table, tag, tag_with, text};
use super::top::worst_first;
use crate::host::doctor::{Check, Diagnosis, Verdict};

/// The section of a host's settings.
pub fn section(doctor: &Diagnosis) -> Html {
    let (good, other): (Vec<_>, Vec<_>) =
        worst_first(doctor).into_iter().partition(|check| check.verdict == Verdict::Good);
    let row = |check: &Check| {
        let class = match check.verdict {
            Verdict::Good => "badge pass",
            Verdict::Unknown => "badge",
            Verdict::Poor => "badge fail",
        };
        vec![
            tag("span", class, check.verdict.word()),
            tag("b", "", &check.id),
            text(&check.value),
            text(&check.why),
            text(&check.mend),
        ]
    };
    let heads = ["", "check", "found", "why it matters", "mend"];
    let rows = |checks: Vec<&Check>| tag("div", "checks", table(&heads, checks.into_iter().map(row).collect()));
    let words = format!("Grade {} for CPU {}.", doctor.grade, doctor.core);
    let worse = if other.is_empty() { p("Every check is good.") } else { rows(other) };
    let good = match good.len() {
        0 => Html::default(),
        n => details(format!("{n} good checks"), rows(good)),
    };
    tag_with("section", &[("id", "host")], [tag("h2", "", "Host"), p(words), worse, good])
}
