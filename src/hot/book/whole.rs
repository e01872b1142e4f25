//! Whether a book is whole, and why it is not. A book built from orders is whole from a clear on, or from the end of a
//! snapshot that was seen from its beginning to its end.
//!
//! A snapshot is the run of an instrument's records with F_SNAPSHOT. It begins at a clear, or at the first such order behind
//! a live record of the instrument, behind half of another snapshot, or at the feed's start. It ends with F_LAST, or, where
//! the feed does not mark ends, at the first live record. Where that cannot be told, the book stays in doubt.

/// Why a book is not whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum NotWhole {
    /// Neither a clear nor a snapshot's beginning was seen yet.
    Unseen = 0,
    /// Ticks were lost.
    Gap = 1,
    /// The feed restarted.
    FeedRestart = 2,
    /// A record was flagged F_MAYBE_BAD_BOOK.
    FeedSaid = 3,
    /// The tick ring contradicted itself: somebody scribbled over it.
    CorruptRing = 4,
    /// A snapshot is under way.
    Snapshot = 5,
    /// A live record stood in the middle of a snapshot.
    TornSnapshot = 6,
    /// Orders followed records of another schema without a clear.
    OtherSchema = 7,
    /// More orders than `max_orders`.
    OrdersOverflow = 8,
    /// More price levels than `max_levels`.
    LevelsOverflow = 9,
}

impl NotWhole {
    /// Every reason, in the order of [`NotWhole::index`].
    pub const ALL: [Self; 10] = [
        Self::Unseen,
        Self::Gap,
        Self::FeedRestart,
        Self::FeedSaid,
        Self::CorruptRing,
        Self::Snapshot,
        Self::TornSnapshot,
        Self::OtherSchema,
        Self::OrdersOverflow,
        Self::LevelsOverflow,
    ];
    /// Number of reasons: the length of an array of counts.
    pub const COUNT: usize = Self::ALL.len();

    /// Position of this reason in an array of [`NotWhole::COUNT`] counts.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::Gap => "gap",
            Self::FeedRestart => "feed_restart",
            Self::FeedSaid => "feed_said",
            Self::CorruptRing => "corrupt_ring",
            Self::Snapshot => "snapshot",
            Self::TornSnapshot => "torn_snapshot",
            Self::OtherSchema => "other_schema",
            Self::OrdersOverflow => "orders_overflow",
            Self::LevelsOverflow => "levels_overflow",
        }
    }
}

/// Where the instrument's last record about the book stood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// There was none yet, and the feed is read from its first record on.
    Fresh,
    /// Not known: records were lost behind it.
    Lost,
    /// Outside of any snapshot.
    Live,
    /// Within a snapshot that was seen from its beginning on.
    Snapshot,
    /// Within one that was not, or that a live record or a doubt tore.
    Torn,
    /// At a snapshot's last record.
    Ended,
}

/// What is known of a book's wholeness.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    why_not: Option<NotWhole>,
    place: Place,
    /// The snapshot under way began with a clear.
    cleared: bool,
    /// This instrument's snapshots end with F_LAST: one did since the feed's start.
    marks_ends: bool,
    /// A live record has ended a snapshot since, and nothing was lost.
    unmarked: bool,
}

impl Whole {
    /// Believed, and nothing seen yet.
    pub const NEW: Self =
        Self { why_not: None, place: Place::Fresh, cleared: false, marks_ends: false, unmarked: false };

    /// Why it is not whole; `None` when it is.
    #[inline]
    pub fn why_not(&self) -> Option<NotWhole> {
        self.why_not
    }

    /// True when a live record changes nothing here: nearly always.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.place == Place::Live
    }

    /// A feed's first record is still to come.
    pub fn await_beginning(&mut self, why: NotWhole) {
        *self = Self { why_not: Some(why), ..Self::NEW };
    }

    /// Records may have been lost: from here on it is not known where in a snapshot the feed is.
    pub fn lost(&mut self, why: NotWhole) {
        (self.why_not, self.place, self.unmarked) = (Some(why), Place::Lost, false);
    }

    /// The feed doubts the book; a snapshot under way mends nothing any more.
    pub fn doubted(&mut self) {
        (self.why_not, self.unmarked) = (Some(NotWhole::FeedSaid), false);
        if self.place == Place::Snapshot {
            self.place = Place::Torn;
        }
    }

    /// Orders came on top of records of another kind.
    pub fn mixed(&mut self) {
        self.why_not.get_or_insert(NotWhole::OtherSchema);
    }

    /// A record that says all there is: quoted levels, or a trade where there is no book.
    #[inline]
    pub fn said_whole(&mut self) {
        self.why_not = None;
    }

    /// A quoted book stands for itself, record by record.
    pub fn quoted(&mut self) {
        (self.why_not, self.place) = (None, Place::Live);
    }

    /// A clear: whole at once, or the beginning of a snapshot.
    pub fn clear(&mut self, snapshot: bool) {
        self.cleared = snapshot;
        if snapshot {
            self.begin();
        } else {
            (self.why_not, self.place) = (None, Place::Live);
        }
    }

    fn begin(&mut self) {
        self.place = Place::Snapshot;
        self.why_not.get_or_insert(NotWhole::Snapshot);
    }

    /// An order of a snapshot comes; true when a snapshot begins with it, so that what the book holds must go.
    pub fn snapshot_comes(&mut self, last: bool) -> bool {
        let begins = match self.place {
            Place::Fresh | Place::Live => true,
            // Behind a whole snapshot the same one goes on, where each record is flagged as the last. Behind half of one, a
            // record that is not the last is the first of another.
            Place::Ended => self.why_not.is_some() && !last,
            Place::Lost | Place::Snapshot | Place::Torn => false,
        };
        self.snapshot_goes_on();
        if begins {
            self.cleared = false;
            self.begin();
        }
        begins
    }

    /// A record of a snapshot comes that cannot be its first.
    pub fn snapshot_goes_on(&mut self) {
        if self.place == Place::Lost {
            self.place = Place::Torn;
        }
    }

    /// A live record comes: it ends a snapshot whose end is not marked, and tears one whose end is.
    pub fn live_comes(&mut self) {
        match self.place {
            Place::Live => return,
            Place::Snapshot if self.marks_ends => {
                (self.why_not, self.place) = (Some(NotWhole::TornSnapshot), Place::Torn);
                return;
            }
            Place::Torn if self.marks_ends => return,
            Place::Snapshot => (self.why_not, self.unmarked) = (None, true),
            Place::Torn => self.unmarked = true,
            Place::Fresh | Place::Lost | Place::Ended => {}
        }
        self.place = Place::Live;
    }

    /// A snapshot's last record was taken.
    pub fn snapshot_ended(&mut self) {
        if self.place == Place::Snapshot {
            // This feed marks ends, so the live record that ended the one before stood in the middle of it: here is the rest.
            let rest = self.unmarked && !self.cleared;
            self.why_not = rest.then_some(NotWhole::TornSnapshot);
        }
        if matches!(self.place, Place::Snapshot | Place::Torn) {
            (self.place, self.marks_ends, self.unmarked) = (Place::Ended, true, false);
        }
    }
}
