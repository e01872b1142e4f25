//! The day in a file's name.

use std::path::Path;

use super::super::calendar::Date;

/// The day that a name like `12302019.NASDAQ_ITCH50.gz`, `20191230.itch` or `itch-2019-12-30.bin` tells.
pub(super) fn date(path: &Path) -> Option<Date> {
    let name = path.file_name()?.to_str()?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = name.split(|c: char| !c.is_ascii_digit() && c != '-');
    let dashed = whole.flat_map(|part| part.char_indices().filter_map(|(at, _)| part.get(at..at + 10)));
    let run = name.split(|c: char| !c.is_ascii_digit()).filter(|part| part.len() == 8 && digits(part));
    dashed.filter_map(|text| text.parse().ok()).next().or_else(|| run.filter_map(compact).next())
}

/// NASDAQ's month, day, year; or year, month, day. No day can be read both ways: no month is 19 or 20.
fn compact(text: &str) -> Option<Date> {
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().ok();
    let american = Date::new(number(4..8)?, number(0..2)?, number(2..4)?);
    american.or(Date::new(number(0..4)?, number(4..6)?, number(6..8)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_day() {
        for name in [
            "12302019.NASDAQ_ITCH50.gz",
            "d/12302019_SNIPPET.NASDAQ_ITCH50",
            "20191230.bin",
            "itch-2019-12-30.gz",
            "2019-12-30",
        ] {
            assert_eq!(date(Path::new(name)).map(|d| d.to_string()).as_deref(), Some("2019-12-30"), "{name}");
        }
        for name in ["day.itch", "13322019.itch", "123020190.itch", "2019-13-30.itch", "itch50"] {
            assert_eq!(date(Path::new(name)), None, "{name}");
        }
    }
}
