//! What a tick did to its book, as countable outcomes.

/// What one tick did to the book: a counted outcome, never an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Applied {
    /// Levels are as they were (trades, fills, status, empty clears).
    Unchanged = 0,
    /// Levels changed.
    Changed = 1,
    /// A cancel of an order that the book does not know; ignored.
    UnknownCancel = 2,
    /// A modify of an order that the book does not know; added.
    UnknownModify = 3,
    /// A fill of an order that the book does not know; it counts in the event all the same.
    UnknownFill = 4,
    /// An add of an order that the book knows; replaced.
    DuplicateAdd = 5,
    /// No room for the order or its level; refused, and the book is degraded.
    Overflow = 6,
}

impl Applied {
    /// Every outcome, in the order of [`Applied::index`].
    pub const ALL: [Applied; 7] = [
        Applied::Unchanged,
        Applied::Changed,
        Applied::UnknownCancel,
        Applied::UnknownModify,
        Applied::UnknownFill,
        Applied::DuplicateAdd,
        Applied::Overflow,
    ];
    /// Number of outcomes: the length of an array of counts.
    pub const COUNT: usize = Self::ALL.len();

    /// Position of this outcome in an array of [`Applied::COUNT`] counts.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Applied::Unchanged => "unchanged",
            Applied::Changed => "changed",
            Applied::UnknownCancel => "unknown_cancel",
            Applied::UnknownModify => "unknown_modify",
            Applied::UnknownFill => "unknown_fill",
            Applied::DuplicateAdd => "duplicate_add",
            Applied::Overflow => "overflow",
        }
    }
}
