//! Civil dates, and the clock of New York.

use std::fmt;
use std::str::FromStr;

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Date {
    year: i64,
    month: i64,
    day: i64,
}

impl Date {
    /// The day, if there is one of that number.
    pub fn new(year: i64, month: i64, day: i64) -> Option<Date> {
        let ok = (1970..=2261).contains(&year) && (1..=12).contains(&month);
        (ok && (1..=days_in_month(year, month)).contains(&day)).then_some(Date { year, month, day })
    }

    /// Days since 1970-01-01.
    pub fn days_since_epoch(self) -> i64 {
        // Years counted from March, so that the leap day ends one (Howard Hinnant, "chrono-compatible date algorithms").
        let year = self.year - i64::from(self.month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
    }

    /// Midnight at the start of this day in New York, ns since the epoch: the offset in force at noon counts, which is
    /// that of every trading hour (clocks change at 2 o'clock on Sundays).
    pub fn new_york_midnight_ns(self) -> u64 {
        let utc_hours = if self.new_york_daylight_saving() { 4 } else { 5 };
        ((self.days_since_epoch() * 24 + utc_hours) * 3_600_000_000_000).unsigned_abs()
    }

    /// Energy Policy Act of 2005: second Sunday of March to first Sunday of November since 2007; before that, since 1987,
    /// first Sunday of April to last Sunday of October; before that, from the last Sunday of April.
    fn new_york_daylight_saving(self) -> bool {
        let (from, to) = match self.year {
            2007.. => (self.sunday(3, 8), self.sunday(11, 1)),
            1987.. => (self.sunday(4, 1), self.sunday(10, 25)),
            _ => (self.sunday(4, 24), self.sunday(10, 25)),
        };
        (from..to).contains(&self)
    }

    /// First Sunday of the month that is not before `day`.
    fn sunday(self, month: i64, day: i64) -> Date {
        let date = Date { year: self.year, month, day };
        let weekday = (date.days_since_epoch() + 4).rem_euclid(7); // 1970-01-01 was a Thursday; Sunday is 0
        Date { day: day + (7 - weekday) % 7, ..date }
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        let wrong = || format!("\"{text}\" is not a date of the form 2012-06-21");
        let parts: Vec<&str> = text.split('-').collect();
        let [y, m, d] = parts[..] else { return Err(wrong()) };
        if (y.len(), m.len(), d.len()) != (4, 2, 2) {
            return Err(wrong());
        }
        let number = |s: &str| match s.bytes().all(|b| b.is_ascii_digit()) {
            true => s.parse::<i64>().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        Date::new(number(y)?, number(m)?, number(d)?).ok_or_else(wrong)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> u64 {
        text.parse::<Date>().unwrap().new_york_midnight_ns() / 3_600_000_000_000 % 24
    }

    #[test]
    fn new_york_changes_its_clock_on_the_lawful_sundays() {
        assert_eq!("2012-06-21".parse::<Date>().unwrap().new_york_midnight_ns(), 1_340_251_200_000_000_000);
        for (date, utc) in [
            ("2012-03-10", 5),
            ("2012-03-11", 4),
            ("2012-11-03", 4),
            ("2012-11-04", 5),
            ("2024-03-09", 5),
            ("2024-03-10", 4),
            ("2024-11-03", 5),
            ("2006-04-01", 5),
            ("2006-04-02", 4),
            ("2006-10-28", 4),
            ("2006-10-29", 5),
            ("2009-03-07", 5),
            ("2009-03-08", 4),
            ("2009-11-01", 5),
        ] {
            assert_eq!(hours(date), utc, "{date}");
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in ["2012-13-01", "2012-02-30", "2011-02-29", "12-06-21", "2012/06/21", "", "2012-06", "2012-06-+1"] {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
        assert_eq!(Date::new(2000, 2, 29).unwrap().to_string(), "2000-02-29");
        assert_eq!(Date::new(1970, 1, 1).unwrap().days_since_epoch(), 0);
        assert_eq!(Date::new(2000, 3, 1).unwrap().days_since_epoch(), 11_017);
    }
}
