//! A cell that holds the last value: one writer that never waits, any number of readers, never torn.
//!
//! The slot protocol of [`crate::ring`] with the same named pairs, Commit–Look and Mark–Recheck; the number only says
//! odd (being written), even (done) or 0 (never written).

use crate::crash;
use crate::sync::{AtomicU64, Ordering, Site, at, fence, kept};

/// Looks before a reader gives up: a write takes tens of ns, so only a writer that died or was descheduled in mid-write
/// outlasts them.
pub const RETRIES: u32 = 1_000;

/// What a look at a cell found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Never written.
    Never,
    /// A whole value is in the buffer.
    Value,
    /// Being written each time it was looked at.
    Busy,
}

/// Writes `value` behind the number `cell[0]`, from `cell[offset]` on. Only one thread may write a cell.
#[inline]
pub fn write(cell: &[AtomicU64], offset: usize, value: &[u64]) {
    // Its own last store: no ordering needed. A predecessor never wrote here, since a take-over makes new memory.
    let seq = cell[0].load(Ordering::Relaxed) & !1;
    if kept(Site::Mark) {
        // Mark–Recheck, first half.
        cell[0].store(seq.wrapping_add(1), Ordering::Relaxed);
        crash::point("cell: mark");
    }
    fence(Site::MarkFence, Ordering::Release);
    for (word, value) in cell[offset..offset + value.len()].iter().zip(value) {
        word.store(*value, Ordering::Relaxed);
        crash::point("cell: word");
    }
    // Commit–Look, first half.
    cell[0].store(seq.wrapping_add(2), at(Site::Commit, Ordering::Release));
    crash::point("cell: commit");
}

/// Copies the last value into `value`, looking at most `retries` times.
#[inline]
pub fn read(cell: &[AtomicU64], offset: usize, value: &mut [u64], retries: u32) -> Look {
    let words = &cell[offset..offset + value.len()];
    for _ in 0..retries {
        let seen = cell[0].load(Ordering::Relaxed);
        if seen == 0 {
            return Look::Never;
        }
        if seen & 1 == 1 {
            std::hint::spin_loop();
            continue;
        }
        // Commit–Look, second half.
        fence(Site::LookFence, Ordering::Acquire);
        for (value, word) in value.iter_mut().zip(words) {
            *value = word.load(Ordering::Relaxed);
        }
        // Mark–Recheck, second half.
        fence(Site::RecheckFence, Ordering::Acquire);
        if !kept(Site::Recheck) || cell[0].load(Ordering::Relaxed) == seen {
            return Look::Value;
        }
    }
    Look::Busy
}
