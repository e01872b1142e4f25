//! Triggers that conflation puts off: the latest of each instrument waits, with the row and the flags that it had, until the
//! ring is empty.
//!
//! A run that is made up is about its own trigger: it takes the row that was kept then, not one that events behind it have
//! moved on. Where its instrument begins anew meanwhile (a gap, a clear, a snapshot, a restarted feed) it is left out: what
//! it was about has ended, and a window's rows of then are gone.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use pillion_shm::signal::signal_flags;

/// The tick that made a signal.
#[derive(Clone, Copy, Default)]
pub(super) struct Cause {
    pub(super) ring_seq: u64,
    pub(super) tick_ns: u64,
    pub(super) ts_event: u64,
}

/// Triggers put off: the latest per instrument, made up in the order they were first put off.
pub(super) struct Backlog {
    instruments: Box<[PutOff]>,
    /// The row of each instrument's waiting trigger, one behind the other.
    rows: Box<[f32]>,
    /// Each instrument at most once, so it never grows past the capacity it starts with.
    order: VecDeque<u32>,
}

#[derive(Clone, Copy, Default)]
struct PutOff {
    waiting: Option<(Cause, u32)>,
    /// The next run of the instrument stands for earlier triggers too.
    replaced: bool,
    queued: bool,
}

/// A run that was put off.
pub(super) struct MadeUp<'a> {
    pub(super) index: usize,
    pub(super) cause: Cause,
    /// Flags of its trigger, and that it stands for others.
    pub(super) flags: u32,
    /// Row of its trigger.
    pub(super) row: &'a [f32],
}

impl Backlog {
    /// Room for every instrument's row of so many columns.
    pub(super) fn new(instruments: usize, columns: usize) -> Self {
        Self {
            instruments: vec![PutOff::default(); instruments].into(),
            rows: vec![0.0; instruments * columns].into(),
            order: VecDeque::with_capacity(instruments),
        }
    }

    fn columns(&self) -> usize {
        self.rows.len() / self.instruments.len().max(1)
    }

    /// Leaves the instrument's waiting trigger out, if there is one; whoever comes next stands for it.
    #[inline]
    pub(super) fn leave_out(&mut self, index: usize) -> bool {
        let put_off = &mut self.instruments[index];
        let waited = put_off.waiting.take().is_some();
        put_off.replaced |= waited;
        waited
    }

    /// The flag of a run of the instrument, and an end to it.
    #[inline]
    pub(super) fn take_flag(&mut self, index: usize) -> u32 {
        conflated(&mut self.instruments[index].replaced)
    }

    /// A trigger waits. Whoever waited has been left out.
    #[inline]
    pub(super) fn put_off(&mut self, index: usize, cause: Cause, flags: u32, row: &[f32]) {
        let columns = self.columns();
        self.rows[index * columns..][..columns].copy_from_slice(row);
        let put_off = &mut self.instruments[index];
        put_off.waiting = Some((cause, flags));
        if !std::mem::replace(&mut put_off.queued, true) {
            self.order.push_back(index as u32);
        }
    }

    /// Whether nobody is queued; some of those queued may have been answered since.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The next that waits; `None` when nobody does any more.
    pub(super) fn next(&mut self) -> Option<MadeUp<'_>> {
        let columns = self.columns();
        while let Some(index) = self.order.pop_front() {
            let index = index as usize;
            let put_off = &mut self.instruments[index];
            put_off.queued = false;
            if let Some((cause, flags)) = put_off.waiting.take() {
                let flags = flags | conflated(&mut put_off.replaced);
                return Some(MadeUp { index, cause, flags, row: &self.rows[index * columns..][..columns] });
            }
        }
        None
    }
}

/// The flag of a run that stands for several triggers, and an end to it.
#[inline]
fn conflated(replaced: &mut bool) -> u32 {
    if std::mem::take(replaced) { signal_flags::CONFLATED } else { 0 }
}
