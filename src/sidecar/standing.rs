//! Says on stderr whether a lane's books are whole, and why they are not, when that changes.

use std::time::{Duration, Instant};

use crate::hot::Counts;
use crate::hot::book::NotWhole;

/// A change is said once it has lasted this long; what was only a moment's is not.
const SETTLED: Duration = Duration::from_millis(100);

/// The same for books that merely wait: for their beginning, or for the end of a snapshot.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lane whose books change all the time is told of no more often than this.
const BETWEEN: Duration = Duration::from_secs(1);

/// Nor is one that only loses more of the same.
const BETWEEN_GAPS: Duration = Duration::from_secs(10);

/// Why books are not whole: instruments by reason.
type Reasons = [u64; NotWhole::COUNT];

/// What was said of a lane's books, and what is about to be.
#[derive(Debug)]
pub struct Standing {
    lane: String,
    books: u64,
    /// Reasons and lost ticks last said; at first all is taken to be whole.
    said: (Reasons, u64),
    said_at: Option<Instant>,
    /// Reasons not said yet, and since when they are the same.
    next: Option<(Reasons, Instant)>,
    /// Since when something else than what was said holds.
    unsaid_since: Option<Instant>,
}

impl Standing {
    /// Of a lane with so many books.
    pub fn new(lane: &str, books: usize) -> Self {
        let said = ([0; NotWhole::COUNT], 0);
        Self { lane: lane.to_owned(), books: books as u64, said, said_at: None, next: None, unsaid_since: None }
    }

    /// The line to say now, if there is one. Nothing is said of a lane that has read nothing yet.
    pub fn look(&mut self, counts: &Counts, now: Instant) -> Option<String> {
        let reasons = counts.not_whole;
        if counts.ticks == 0 || !self.is_new(&reasons, counts.missed) {
            (self.next, self.unsaid_since) = (None, None);
            return None;
        }
        let since = match self.next {
            Some((next, since)) if next == reasons => since,
            _ => self.next.insert((reasons, now)).1,
        };
        let unsaid_since = *self.unsaid_since.get_or_insert(now);
        let settled = now - since >= settles_after(&reasons) || (now - unsaid_since >= PATIENCE);
        let more_of_the_same = reasons == self.said.0;
        let between = if more_of_the_same { BETWEEN_GAPS } else { BETWEEN };
        if !settled || self.said_at.is_some_and(|at| now - at < between) {
            return None;
        }
        (self.said, self.said_at) = ((reasons, counts.missed), Some(now));
        (self.next, self.unsaid_since) = (None, None);
        Some(self.text(counts))
    }

    fn is_new(&self, reasons: &Reasons, missed: u64) -> bool {
        *reasons != self.said.0 || (reasons[NotWhole::Gap.index()] > 0 && missed != self.said.1)
    }

    fn text(&self, counts: &Counts) -> String {
        let (lane, books, not) = (&self.lane, self.books, counts.books_not_whole());
        match (not, books) {
            (0, 1) => format!("lane {lane}: its book is whole"),
            (0, _) => format!("lane {lane}: all {books} books are whole"),
            (_, 1) => format!("lane {lane}: its book is not whole: {}", why(counts)),
            (1, _) => format!("lane {lane}: 1 of {books} books is not whole: {}", why(counts)),
            _ => format!("lane {lane}: {not} of {books} books are not whole: {}", why(counts)),
        }
    }
}

fn settles_after(reasons: &Reasons) -> Duration {
    let waits = [NotWhole::Unseen, NotWhole::Snapshot];
    let only = |why: &NotWhole| waits.contains(why) || reasons[why.index()] == 0;
    if NotWhole::ALL.iter().all(only) && reasons.iter().any(|n| *n > 0) { PATIENCE } else { SETTLED }
}

/// Every reason that holds, with its number of books where there are several reasons.
fn why(counts: &Counts) -> String {
    let held: Vec<_> = NotWhole::ALL.into_iter().filter(|why| counts.not_whole[why.index()] > 0).collect();
    let one = |why: &NotWhole| match held.len() {
        1 => words(*why, counts.missed),
        _ => format!("{} ({})", words(*why, counts.missed), counts.not_whole[why.index()]),
    };
    held.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// A reason for people; `missed` is how many ticks were lost.
fn words(why: NotWhole, missed: u64) -> String {
    match why {
        NotWhole::Unseen => "neither a clear nor a snapshot's beginning was seen yet".into(),
        NotWhole::Gap if missed == 1 => "gap of 1 tick".into(),
        NotWhole::Gap => format!("gap of {missed} ticks"),
        NotWhole::FeedRestart => "the feed restarted and has sent neither a clear nor a snapshot".into(),
        NotWhole::FeedSaid => "the feed said that it may be bad (F_MAYBE_BAD_BOOK)".into(),
        NotWhole::CorruptRing => "the tick ring was scribbled over".into(),
        NotWhole::Snapshot => "a snapshot is under way".into(),
        NotWhole::TornSnapshot => "a live record stood in the middle of its snapshot".into(),
        NotWhole::OtherSchema => "orders followed another schema's records without a clear".into(),
        NotWhole::OrdersOverflow => "more orders than max_orders".into(),
        NotWhole::LevelsOverflow => "more price levels than max_levels".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(reasons: &[(NotWhole, u64)], missed: u64) -> Counts {
        let mut counts = Counts { ticks: 1, missed, ..Counts::default() };
        reasons.iter().for_each(|(why, n)| counts.not_whole[why.index()] = *n);
        counts
    }

    #[test]
    fn each_reason_has_its_own_words() {
        let mut said: Vec<_> = NotWhole::ALL.map(|why| words(why, 297)).into();
        assert_eq!(said[NotWhole::Gap.index()], "gap of 297 ticks");
        said.sort();
        said.dedup();
        assert_eq!(said.len(), NotWhole::COUNT);
    }

    #[test]
    fn changes_are_said_once_they_have_settled_and_not_too_often() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut standing = Standing::new("es", 3);
        let (whole, gap) = (counts(&[], 0), counts(&[(NotWhole::Gap, 1)], 297));
        let waiting = counts(&[(NotWhole::Unseen, 3)], 0);
        assert_eq!(standing.look(&Counts { ticks: 0, ..waiting }, ms(0)), None, "no feed yet");
        assert_eq!((standing.look(&waiting, ms(0)), standing.look(&waiting, ms(1_000))), (None, None));
        assert_eq!(standing.look(&whole, ms(1_100)), None, "an ordinary beginning is not worth a word");
        assert_eq!((standing.look(&gap, ms(2_000)), standing.look(&gap, ms(2_050))), (None, None));
        let said = standing.look(&gap, ms(2_100)).unwrap();
        assert_eq!(said, "lane es: 1 of 3 books is not whole: gap of 297 ticks");
        assert_eq!((standing.look(&gap, ms(9_000)), standing.look(&whole, ms(9_100))), (None, None));
        assert_eq!(standing.look(&whole, ms(9_200)).unwrap(), "lane es: all 3 books are whole");
        let mixed = counts(&[(NotWhole::Gap, 1), (NotWhole::OrdersOverflow, 1)], 1);
        assert_eq!((standing.look(&mixed, ms(9_300)), standing.look(&mixed, ms(9_900))), (None, None), "too soon");
        assert_eq!(
            standing.look(&mixed, ms(10_200)).unwrap(),
            "lane es: 2 of 3 books are not whole: gap of 1 tick (1); more orders than max_orders (1)"
        );
        let more = counts(&[(NotWhole::Gap, 1), (NotWhole::OrdersOverflow, 1)], 9);
        assert_eq!((standing.look(&more, ms(12_000)), standing.look(&more, ms(20_000))), (None, None));
        assert!(standing.look(&more, ms(20_300)).unwrap().contains("gap of 9 ticks"));
    }

    #[test]
    fn a_lane_that_never_rests_is_told_of_all_the_same() {
        let start = Instant::now();
        let mut standing = Standing::new("es", 9);
        let said = (0..1_000u64).filter_map(|i| {
            let counts = counts(&[(NotWhole::Gap, 1 + i % 9)], i + 1);
            standing.look(&counts, start + Duration::from_millis(10 * i))
        });
        let said = said.count();
        assert!((2..=10).contains(&said), "{said} lines in ten seconds");
        let mut one = Standing::new("nq", 1);
        let late = counts(&[(NotWhole::Unseen, 1)], 0);
        assert_eq!(one.look(&late, start), None);
        let said = one.look(&late, start + PATIENCE).unwrap();
        assert!(said.starts_with("lane nq: its book is not whole: neither a clear"), "{said}");
        assert_eq!(one.look(&counts(&[], 0), start + 2 * PATIENCE), None);
        assert_eq!(one.look(&counts(&[], 0), start + 3 * PATIENCE).unwrap(), "lane nq: its book is whole");
    }
}
