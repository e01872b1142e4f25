//! When a lane trusts its books no longer, and again: gaps, a ring that contradicts itself, a feed that restarts.

#![forbid(unsafe_code)]

use pillion_shm::RingReader;

use super::book::NotWhole;
use super::tail::Own;
use super::{Lane, Turn};

/// What a lane lost its trust in every book by.
#[derive(Clone, Copy)]
enum Distrust {
    /// Records are missing.
    Lost(NotWhole),
    /// Another feed begins.
    FeedRestart,
}

impl Lane {
    /// Records were lost: no book of the lane can be trusted until it is rebuilt.
    #[cold]
    pub(super) fn gap(&mut self, records: u64) -> Turn {
        self.stamp.begin_without_record();
        self.counts.gaps += 1;
        // Wrapping, here and below: ticks and lost add up to the cursor, whatever a scribbled head made of that for a while.
        self.counts.first_lost.get_or_insert(self.poll.cursor().wrapping_sub(records));
        self.counts.lost = self.counts.lost.wrapping_add(records);
        self.counts.missed = self.counts.missed.wrapping_add(records);
        self.distrust(Distrust::Lost(NotWhole::Gap));
        self.stamp.own(Own::Gap, self.stamp.started_raw(), self.stamp.clock().raw());
        Turn::Worked
    }

    /// The ring contradicts itself: somebody scribbled over it. Goes on at the feed's next record.
    #[cold]
    pub(super) fn corrupt(&mut self) -> Turn {
        self.stamp.count();
        let passed = self.poll.skip_to_next();
        if passed != 0 || !std::mem::replace(&mut self.corrupted, true) {
            self.counts.corrupt += 1;
            self.counts.gaps += 1;
            self.counts.lost = self.counts.lost.wrapping_add(passed);
            self.counts.missed = self.counts.missed.wrapping_add(passed);
            self.distrust(Distrust::Lost(NotWhole::CorruptRing));
        }
        // Idle, so that housekeeping can bring a new ring.
        Turn::Idle
    }

    /// A look at a ring that gives nothing: whether it only rests. A few loads.
    pub fn check_ticks(&mut self) {
        if self.poll.check() {
            self.corrupted = false;
        } else {
            self.corrupt();
        }
    }

    fn distrust(&mut self, how: Distrust) {
        for index in 0..self.states.len() {
            match how {
                Distrust::Lost(why) => self.states[index].gap(why),
                Distrust::FeedRestart => self.states[index].feed_restart(),
            }
            self.begin_anew(index);
            self.tell(index);
        }
    }

    /// What is kept of an instrument's earlier rows has ended, and with it the run that was put off.
    fn begin_anew(&mut self, index: usize) {
        self.infer.reset(index);
        if let Some(backlog) = &mut self.backlog {
            self.counts.conflated += u64::from(backlog.leave_out(index));
        }
    }

    /// An instrument's features have restarted, or its book's wholeness has changed.
    #[cold]
    pub(super) fn news(&mut self, index: usize) {
        if self.states[index].restarted() {
            self.begin_anew(index);
        }
        self.tell(index);
    }

    /// Counts whether an instrument's book is whole.
    pub(super) fn tell(&mut self, index: usize) {
        let now = self.states[index].book.not_whole();
        let before = std::mem::replace(&mut self.told[index], now);
        self.counts.book_changed(before, now);
    }

    /// Goes over to the ring of a restarted feed, leaving the old reader in its place; how much was lost between is
    /// unknown. That feed is read from its first record on, so a snapshot that it begins with is trusted as the first one was.
    pub fn switch_ticks(&mut self, reader: &mut RingReader) {
        self.counts.generation_changes += 1;
        self.distrust(Distrust::FeedRestart);
        self.states.iter_mut().for_each(|state| state.book.forget_schemas());
        self.poll.switch(reader);
    }
}
