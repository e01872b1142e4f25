//! Why a record was not taken, as countable outcomes.

/// Why a record was refused, by [`decode`](super::decode) or, behind it, by its instrument's book. Every refusal is counted under its [`index`](Reject::index).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Reject {
    /// The slot is shorter than the record, or `length` is not that of its `rtype`.
    BadLength = 0,
    /// The `rtype` is none of MBO, MBP-1, MBP-10, trades and status.
    UnknownType = 1,
    /// The instrument is not in the configured list.
    UnknownInstrument = 2,
    /// The `action` byte has no meaning for this record type.
    BadAction = 3,
    /// The `side` byte has no meaning, or an order states no side.
    BadSide = 4,
    /// An order, trade or fill without a price.
    BadPrice = 5,
    /// An undefined quantity, or an order of quantity 0.
    BadSize = 6,
    /// An order-level record that is flagged as a top-of-book quote.
    BadFlags = 7,
    /// Price levels that are not best first.
    BadLevels = 8,
    /// A status record whose `is_trading` is none of `Y`, `N`, `~`.
    BadStatus = 9,
    /// The event time is undefined.
    BadTime = 10,
    /// The instrument is in the configured list, but this is another publisher's record of it: publishers share no book.
    OtherPublisher = 11,
    /// A record of another book schema than the first one seen of its instrument: one book has one source.
    OtherSchema = 12,
    /// A record of the trades schema that tells a trade which the book's own schema has told already.
    RepeatedTrade = 13,
}

impl Reject {
    /// Number of kinds: the length of an array of counts.
    pub const COUNT: usize = Self::ALL.len();

    /// Every kind, in the order of [`Reject::index`].
    pub const ALL: [Reject; 14] = [
        Reject::BadLength,
        Reject::UnknownType,
        Reject::UnknownInstrument,
        Reject::BadAction,
        Reject::BadSide,
        Reject::BadPrice,
        Reject::BadSize,
        Reject::BadFlags,
        Reject::BadLevels,
        Reject::BadStatus,
        Reject::BadTime,
        Reject::OtherPublisher,
        Reject::OtherSchema,
        Reject::RepeatedTrade,
    ];

    /// Position of this kind in an array of [`Reject::COUNT`] counts.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Reject::BadLength => "bad_length",
            Reject::UnknownType => "unknown_type",
            Reject::UnknownInstrument => "unknown_instrument",
            Reject::BadAction => "bad_action",
            Reject::BadSide => "bad_side",
            Reject::BadPrice => "bad_price",
            Reject::BadSize => "bad_size",
            Reject::BadFlags => "bad_flags",
            Reject::BadLevels => "bad_levels",
            Reject::BadStatus => "bad_status",
            Reject::BadTime => "bad_time",
            Reject::OtherPublisher => "other_publisher",
            Reject::OtherSchema => "other_schema",
            Reject::RepeatedTrade => "repeated_trade",
        }
    }
}
