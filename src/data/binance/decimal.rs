//! Decimal text to integers in 1e-9, exactly: 0.1 has no f64.

/// Decimals that are kept.
const DECIMALS: usize = 9;
/// Digits before the point; more is no price and no size.
const WHOLE: usize = 20;

/// `text` such as `61800.20` in 1e-9; `None` for anything else, signs and exponents included, and for what 1e-9 cannot hold.
pub(super) fn parse(text: &str) -> Option<u128> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let decimals = if decimals.len() > DECIMALS { decimals.trim_end_matches('0') } else { decimals };
    let digits = |part: &str, most: usize| part.len() <= most && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || text.ends_with('.') || !digits(whole, WHOLE) || !digits(decimals, DECIMALS) {
        return None;
    }
    let scale = 10u128.pow((DECIMALS - decimals.len()) as u32);
    let part = if decimals.is_empty() { 0 } else { decimals.parse::<u128>().ok()? * scale };
    Some(whole.parse::<u128>().ok()? * 1_000_000_000 + part)
}

/// The shortest text for a number in 1e-9.
pub(super) fn text(value: u128) -> String {
    let (whole, part) = (value / 1_000_000_000, value % 1_000_000_000);
    match part {
        0 => whole.to_string(),
        _ => format!("{whole}.{part:09}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        for (text, value) in [
            ("61800.20", 61_800_200_000_000),
            ("0.000000001", 1),
            ("0.1", 100_000_000),
            ("12", 12_000_000_000),
            ("1.00000000000", 1_000_000_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for bad in
            ["", ".", "1.", ".5", "-1", "+1", "1e4", "NaN", "1.2.3", "0.0000000001", "1,5", "1234567890123456789012"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!((text(100_000_000).as_str(), text(5_000_000_000).as_str()), ("0.1", "5"));
    }
}
