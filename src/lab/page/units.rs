//! Figures for people.

use crate::report::table::thousands;

/// ns in the unit that keeps it short, three digits: `640 ns`, `1.64 µs`, `12.3 ms`, `4.00 s`.
pub fn ns(value: u64) -> String {
    if value < 1_000 {
        return format!("{value} ns");
    }
    let (mut scaled, mut unit) = (value as f64 / 1e3, "µs");
    for larger in ["ms", "s"] {
        if three(scaled).parse::<f64>().unwrap_or(0.0) < 1e3 {
            break;
        }
        (scaled, unit) = (scaled / 1e3, larger);
    }
    if scaled >= 1e3 {
        return format!("{} {unit}", thousands(scaled as u64));
    }
    format!("{} {unit}", three(scaled))
}

/// Three digits.
fn three(value: f64) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

/// A number of any size; whole from a thousand on, with separators.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "not a number".into();
    }
    if size >= 999.5 {
        let sign = if value < 0.0 { "−" } else { "" };
        return format!("{sign}{}", thousands(size.round() as u64));
    }
    if size == 0.0 || size >= 100.0 || value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    if size < 0.01 { format!("{value:.1e}") } else { three(value) }
}

/// So many of something.
pub fn many(n: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// Ticks a second.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", number(per_second))
}

/// A share of something as per cent.
pub fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", part / whole * 100.0) } else { "–".into() }
}

/// Bytes in binary units.
pub fn bytes(value: u64) -> String {
    let (mut scaled, mut unit) = (value as f64, "B");
    for larger in ["KiB", "MiB", "GiB"] {
        if scaled < 1024.0 {
            break;
        }
        (scaled, unit) = (scaled / 1024.0, larger);
    }
    if unit == "B" { format!("{value} B") } else { format!("{} {unit}", number(scaled)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_keep_figures_short() {
        let pairs = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (999_999, "1.00 ms"),
            (1_500_000_000, "1.50 s"),
            (9_000_000_000_000, "9,000 s"),
        ];
        for (value, words) in pairs {
            assert_eq!(ns(value), words);
        }
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(-1_234.0), "−1,234");
        assert_eq!((number(0.5), number(12.0), number(0.001)), ("0.50".into(), "12".into(), "1.0e-3".into()));
        assert_eq!((bytes(512), bytes(1536), bytes(32 << 20)), ("512 B".into(), "1.50 KiB".into(), "32 MiB".into()));
        assert_eq!((many(1, "gap"), many(2_000, "gap")), ("1 gap".into(), "2,000 gaps".into()));
        assert_eq!(percent(1.0, 8.0), "12.5 %");
        assert_eq!(ns(u64::MAX), "18,446,744,073 s");
    }
}
