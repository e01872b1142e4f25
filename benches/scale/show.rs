//! A curve in a terminal: a row for each point, with a bar.

use super::caches;
use super::{bends, fit};
use pillion::report::{Curve, CurvePoint, Series};

/// Cells of the longest bar.
const WIDTH: f64 = 24.0;

/// Prints the table, the bars and the sentences.
pub fn print(curve: &Curve) {
    println!("\n## {}\n", curve.title);
    let most = curve.series.iter().flat_map(|line| &line.points).map(|point| point.y).fold(0.0, f64::max);
    let least = curve.series.iter().flat_map(|line| &line.points).map(|point| point.y).fold(most, f64::min);
    let length = |y: f64| {
        if curve.y_log { 1.0 + (y / least).ln() / (most / least).ln() * (WIDTH - 1.0) } else { y / most * WIDTH }
    };
    for line in &curve.series {
        println!("{}: {}", line.name, curve.y_label);
        rows(line, curve, &length);
    }
    let scale = if curve.y_log { ", by tenfolds" } else { "" };
    println!("bars: ns{scale}\n");
    curve.bends.split(". ").for_each(|said| println!("- {said}"));
}

fn rows(line: &Series, curve: &Curve, length: &dyn Fn(f64) -> f64) {
    println!("{:>14}{:>11}{:>11}{:>11}{:>10}{:>9}", curve.x_label, "ns", "low", "high", "x first", "touches");
    let first = line.points.first().map_or(1.0, |point| point.y);
    for CurvePoint { x, y, low, high, working_set_bytes } in &line.points {
        let touches = if *working_set_bytes == 0 { "-".into() } else { caches::bytes(*working_set_bytes) };
        let [y_text, low, high] = [*y, *low, *high].map(fit::figure);
        let bar = bar(length(*y));
        println!("{:>14}{y_text:>11}{low:>11}{high:>11}{:>10.2}{touches:>9}  {bar}", bends::count(*x), y / first);
    }
    println!();
}

/// So many cells, to an eighth.
pub fn bar(cells: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = if cells.is_finite() { (cells.clamp(0.0, 200.0) * 8.0).round() as usize } else { 0 };
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}
