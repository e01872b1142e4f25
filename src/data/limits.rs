//! How large the books of a file must be.

use super::feed::Feed;
use crate::Result;
use crate::hot::book::{Applied, Book, Limits};
use crate::hot::decode::{Instruments, decode};
use crate::hot::features::FeatureSet;
use crate::hot::offline::Offline;

const FIRST_TRY: Limits = Limits { max_orders: 512, max_levels: 128 };

/// For each instrument in index order, limits within which its whole feed fits: found by trying, doubling each time.
pub fn needed(feed: &Feed, instruments: &Instruments) -> Vec<Limits> {
    let mut limits = vec![FIRST_TRY; instruments.len()];
    let mut open = vec![true; instruments.len()];
    while open.contains(&true) {
        let overflowed = try_out(feed, instruments, &limits, &open);
        for (limits, &again) in limits.iter_mut().zip(&overflowed) {
            if again {
                *limits = Limits { max_orders: limits.max_orders * 2, max_levels: limits.max_levels * 2 };
            }
        }
        open = overflowed;
    }
    limits
}

impl Feed {
    /// Books and features for the whole file: its instruments, with room for whatever it holds.
    ///
    /// # Errors
    /// An instrument whose tick size is not known: [`super::Facts::settle`] comes first.
    pub fn offline(&self, set: &FeatureSet) -> Result<Offline> {
        let limits = needed(self, &Instruments::new(&self.instruments)?);
        let driver = Offline::new(&self.instruments, &limits, set)?;
        Ok(driver.with_venue_ids(self.identities.iter().map(|identity| identity.id)))
    }
}

/// Which of the open instruments overflow within their limits.
fn try_out(feed: &Feed, instruments: &Instruments, limits: &[Limits], open: &[bool]) -> Vec<bool> {
    let mut books: Vec<Option<Book>> =
        limits.iter().zip(open).map(|(&limits, &open)| open.then(|| Book::new(limits))).collect();
    let mut overflowed = vec![false; limits.len()];
    for record in feed {
        let Ok(tick) = decode(record, instruments) else { continue };
        let at = tick.instrument as usize;
        let overflows = |book: &mut Book| book.admit(&tick).is_ok() && book.apply(&tick) == Applied::Overflow;
        if books[at].as_mut().is_some_and(overflows) {
            overflowed[at] = true;
            books[at] = None;
        }
    }
    overflowed
}
