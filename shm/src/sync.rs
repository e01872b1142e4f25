//! Atomics: the standard library's in the build that ships, loom's when the protocol is model-checked.
//!
//! Every ordering of the protocol passes through `at` or `fence` with the [`Site`] it stands at. In the build that
//! ships both vanish; under loom `without` takes one away, and the tests assert that its loss is found.

pub use core::sync::atomic::Ordering;

#[cfg(loom)]
pub use loom::sync::atomic::AtomicU64;
#[cfg(not(loom))]
pub use std::sync::atomic::AtomicU64;

/// A place of the protocol that orders memory. Each belongs to the pair named in its comment where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// Ring and cell: the mark before the words (odd number).
    Mark,
    /// Ring and cell: release fence between mark and words.
    MarkFence,
    /// Ring and cell: release store of the even number.
    Commit,
    /// Ring and cell: acquire fence after the first look at the number.
    LookFence,
    /// Ring and cell: acquire fence between words and the second look.
    RecheckFence,
    /// Ring and cell: the second look itself.
    Recheck,
    /// Ring: acquire fence between an unexpected number and the look at the head.
    SkipFence,
    /// Ring: release store of the head.
    HeadStore,
    /// Ring: acquire load of the head.
    HeadLoad,
    /// Mailbox: the request is claimed by compare-and-swap.
    Claim,
    /// Mailbox: a RESUME is taken, or withdrawn, by compare-and-swap.
    Take,
    /// Mailbox: release store of an answer.
    Answer,
    /// Mailbox: acquire load of an answer.
    AnswerLoad,
    /// Page: release store of the ticks consumed.
    ConsumedStore,
    /// Page: acquire load of the ticks consumed.
    ConsumedLoad,
    /// Page: release store of the generation of the tick ring.
    TicksRingStore,
    /// Page: acquire load of the generation of the tick ring.
    TicksRingLoad,
}

#[cfg(not(loom))]
mod imp {
    use super::{Ordering, Site};

    /// The ordering `order`, which stands at `site`.
    #[inline(always)]
    pub(crate) const fn at(_site: Site, order: Ordering) -> Ordering {
        order
    }

    /// The fence `order`, which stands at `site`.
    #[inline(always)]
    pub(crate) fn fence(_site: Site, order: Ordering) {
        std::sync::atomic::fence(order);
    }

    /// Whether the step at `site` is taken: always, in the build that ships.
    #[inline(always)]
    pub(crate) const fn kept(_site: Site) -> bool {
        true
    }
}

#[cfg(loom)]
mod imp {
    use super::{Ordering, Site};
    use std::cell::Cell;

    // loom runs all threads of a model on the thread that called it, so a thread-local reaches them all.
    std::thread_local!(static REMOVED: Cell<Option<Site>> = const { Cell::new(None) });

    /// Runs `model` with the ordering or step at `site` taken out.
    pub fn without(site: Site, model: impl FnOnce()) {
        REMOVED.set(Some(site));
        model();
        REMOVED.set(None);
    }

    pub(crate) fn kept(site: Site) -> bool {
        REMOVED.get() != Some(site)
    }

    pub(crate) fn at(site: Site, order: Ordering) -> Ordering {
        if kept(site) { order } else { Ordering::Relaxed }
    }

    pub(crate) fn fence(site: Site, order: Ordering) {
        if kept(site) {
            loom::sync::atomic::fence(order);
        }
    }
}

#[cfg(loom)]
pub use imp::without;
pub(crate) use imp::{at, fence, kept};

/// Memory of a protocol: atomic words that live as long as the handle.
pub trait Words {
    /// All of them; the same slice at every call.
    fn words(&self) -> &[AtomicU64];
}

impl Words for std::sync::Arc<Vec<AtomicU64>> {
    fn words(&self) -> &[AtomicU64] {
        self
    }
}
