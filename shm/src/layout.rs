//! Every byte offset of a region, and the hash that two builds compare before they trust each other.
//!
//! A region is a header of [`HEADER_BYTES`], the table (opaque to the ring), and the body from `body_offset`: ring
//! slots, board cells, the cnc page or the clock. All integers are native-endian; every field stands on its natural
//! alignment, so C++ can overlay a struct. Extend only at the end, and raise [`LAYOUT_VERSION`].
//! Version 2 added the clock's counter, the board's table and a hash per kind, so that a change of one leaves the rest alone.

/// First eight bytes of every region: `PILLION1`.
pub const MAGIC: u64 = u64::from_ne_bytes(*b"PILLION1");
/// Raised whenever a region gets more at its end. Regions of the version before can still be read.
pub const LAYOUT_VERSION: u32 = 2;
/// Layout hash of every region of version 1, which had one for all kinds.
pub const V1_HASH: u64 = 2_800_763_798_228_019_825;
/// Size of the header, and the offset of the table.
pub const HEADER_BYTES: usize = 512;
/// The body starts at a multiple of this: a pair of cache lines, which prefetchers fetch together.
pub const BODY_ALIGN: usize = 128;

/// Longest table: what 65,536 models and half a million instruments need. A reader copies it, so a header that claims more
/// is refused.
pub const MOST_TABLE_BYTES: u64 = 128 << 20;

/// What a region holds; the number stands in its header.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ring of market data records, written by the feed.
    Ticks = 1,
    /// Ring of signals, written by the sidecar.
    Signals = 2,
    /// Last signal of every instrument and model.
    Board = 3,
    /// State, counters and mailbox of a sidecar.
    Cnc = 4,
    /// The conversion from the raw counter to time, one per boot.
    Clock = 5,
}

impl Kind {
    /// The word that stands for it in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Ticks => "ticks",
            Kind::Signals => "signals",
            Kind::Board => "board",
            Kind::Cnc => "cnc",
            Kind::Clock => "clock",
        }
    }

    /// Name of the kind numbered `number` in a header, for messages.
    pub fn describe(number: u32) -> String {
        [Kind::Ticks, Kind::Signals, Kind::Board, Kind::Cnc, Kind::Clock]
            .into_iter()
            .find(|kind| *kind as u32 == number)
            .map_or_else(|| format!("unknown kind {number}"), |kind| kind.name().to_owned())
    }
}

/// Byte offsets of the header's fields.
pub mod header {
    /// `u64` [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// `u32` [`super::LAYOUT_VERSION`].
    pub const VERSION: usize = 8;
    /// `u32` [`super::Kind`].
    pub const KIND: usize = 12;
    /// `u64` [`super::layout_hash`] of the kind.
    pub const LAYOUT_HASH: usize = 16;
    /// `u64` size of the whole file, bytes.
    pub const REGION_BYTES: usize = 24;
    /// `u64` life of this name, from 1; a take-over adds one.
    pub const GENERATION: usize = 32;
    /// `u64` id of the clock that every stamp in here is on.
    pub const CLOCK_ID: usize = 40;
    /// `u64` bytes from one slot or cell to the next, a multiple of 64; 0 where there are none.
    pub const STRIDE: usize = 48;
    /// `u64` number of slots (a power of two) or cells.
    pub const CAPACITY: usize = 56;
    /// `u64` offset of the table, bytes.
    pub const TABLE_OFFSET: usize = 64;
    /// `u64` length of the table, bytes.
    pub const TABLE_BYTES: usize = 72;
    /// `u64` offset of the body, a multiple of [`super::BODY_ALIGN`].
    pub const BODY_OFFSET: usize = 80;
    /// `u64` ns since the epoch at creation, on the region's clock.
    pub const CREATED_NS: usize = 88;
    /// `u32` process id of the owner, in its own pid namespace: for messages, never for liveness.
    pub const OWNER_PID: usize = 96;
    /// `u32` board only: models per instrument.
    pub const MODELS: usize = 100;
    /// `u64` start time of the owner, clock ticks since boot.
    pub const OWNER_START: usize = 104;
    /// 16 bytes, the kernel's boot id.
    pub const BOOT_ID: usize = 112;
    /// `u64` generation of the successor, 0 while there is none: written by the successor, on a line of its own.
    pub const SUCCESSOR: usize = 192;
    /// `u64` ring only: records published so far, on a line of its own.
    pub const HEAD: usize = 256;
    /// First byte that no field uses; zero from here to [`super::HEADER_BYTES`].
    pub const END: usize = 264;
}

/// Byte offsets inside a ring slot or a board cell.
pub mod slot {
    /// `u64` ring: 2n+1 while record n is written, 2n+2 when done. Board: odd while written, 0 = never set.
    pub const SEQ: usize = 0;
    /// First byte of the record: an MBO record, 56 bytes, shares the line that tells it is there.
    pub const RECORD: usize = 8;
    /// Bytes beside the record: `seq`, and in a slot's last word the `u64` publish stamp, ns since the epoch.
    pub const OWN: usize = 16;
}

/// Byte offsets inside the body of a cnc region.
pub mod cnc {
    /// `u64` state of the page.
    pub const STATE: usize = 0;
    /// `u64` ns since the epoch of the last heartbeat.
    pub const HEARTBEAT: usize = 8;
    /// `u64` ticks consumed since the start: on a line of its own, polled by a paced feed.
    pub const TICKS_CONSUMED: usize = 64;
    /// `u64` generation of the tick ring that is being read.
    pub const TICKS_GENERATION: usize = 72;
    /// `u64` ticks consumed before that ring.
    pub const TICKS_BEFORE: usize = 80;
    /// `u64` 1 while HALT is in force; carried over to the next generation.
    pub const HALTED: usize = 16;
    /// `u64[8]` events, signals, gaps, lost, rejects, conflated, invalid, generation changes.
    pub const COUNTERS: usize = 128;
    /// `u64` request word, written by operators: on a line of its own.
    pub const REQUEST: usize = 192;
    /// `u64[8]` answers, written by the owner.
    pub const ANSWERS: usize = 256;
    /// `u64 seq`, then 7 × 7 `u64` stage summaries.
    pub const STAGES: usize = 320;
    /// Size of the page's body.
    pub const BYTES: usize = 768;
}

/// Byte offsets inside the body of the clock region.
pub mod clock {
    /// `u64` raw counter at the base.
    pub const BASE_RAW: usize = 0;
    /// `u64` ns since the epoch at the base.
    pub const BASE_NS: usize = 8;
    /// `u64` ns per count, times 2^shift.
    pub const MULT: usize = 16;
    /// `u64` shift.
    pub const SHIFT: usize = 24;
    /// `u64` which counter: 1 x86 TSC, 2 Arm CNTVCT, 3 CLOCK_MONOTONIC in ns; 0 in version 1, which did not say.
    pub const COUNTER: usize = 32;
    /// Size of the body.
    pub const BYTES: usize = 64;
}

/// Offsets that every region has.
const HEADER: [usize; 21] = [
    HEADER_BYTES,
    BODY_ALIGN,
    header::MAGIC,
    header::VERSION,
    header::KIND,
    header::LAYOUT_HASH,
    header::REGION_BYTES,
    header::GENERATION,
    header::CLOCK_ID,
    header::STRIDE,
    header::CAPACITY,
    header::TABLE_OFFSET,
    header::TABLE_BYTES,
    header::BODY_OFFSET,
    header::CREATED_NS,
    header::OWNER_PID,
    header::MODELS,
    header::OWNER_START,
    header::BOOT_ID,
    header::SUCCESSOR,
    header::HEAD,
];
const TICKS: [usize; 8] = [
    slot::SEQ,
    slot::OWN,
    slot::RECORD,
    size_of::<crate::records::MboMsg>(),
    size_of::<crate::records::TradeMsg>(),
    size_of::<crate::records::Mbp1Msg>(),
    size_of::<crate::records::Mbp10Msg>(),
    size_of::<crate::records::StatusMsg>(),
];
const SIGNALS: [usize; 6] = [
    slot::SEQ,
    slot::OWN,
    slot::RECORD,
    size_of::<crate::signal::Signal>(),
    size_of::<crate::signal::InstrumentRow>(),
    size_of::<crate::signal::ModelRow>(),
];
const CNC: [usize; 11] = [
    cnc::STATE,
    cnc::HEARTBEAT,
    cnc::TICKS_CONSUMED,
    cnc::TICKS_GENERATION,
    cnc::TICKS_BEFORE,
    cnc::HALTED,
    cnc::COUNTERS,
    cnc::REQUEST,
    cnc::ANSWERS,
    cnc::STAGES,
    cnc::BYTES,
];
const CLOCK: [usize; 6] = [clock::BASE_RAW, clock::BASE_NS, clock::MULT, clock::SHIFT, clock::COUNTER, clock::BYTES];

/// FNV-1a over the header's offsets and sizes and those of this kind's body: what two builds compare.
pub const fn layout_hash(kind: Kind) -> u64 {
    let common = fnv1a(FNV_BASIS, &HEADER);
    match kind {
        Kind::Ticks => fnv1a(common, &TICKS),
        Kind::Signals | Kind::Board => fnv1a(common, &SIGNALS),
        Kind::Cnc => fnv1a(common, &CNC),
        Kind::Clock => fnv1a(common, &CLOCK),
    }
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits, carried on from `hash` over the little-endian bytes of `values` as `u64`.
const fn fnv1a(mut hash: u64, values: &[usize]) -> u64 {
    let mut i = 0;
    while i < values.len() {
        let bytes = (values[i] as u64).to_le_bytes();
        let mut j = 0;
        while j < 8 {
            hash = (hash ^ bytes[j] as u64).wrapping_mul(0x0100_0000_01b3);
            j += 1;
        }
        i += 1;
    }
    hash
}

/// Stride in words of slots that hold records of `record_words`: two words of its own, rounded up to whole lines.
pub const fn stride_words(record_words: usize) -> usize {
    (record_words + slot::OWN / 8).next_multiple_of(8)
}

/// Offset of the body behind a table of `table_bytes`.
pub const fn body_offset(table_bytes: usize) -> usize {
    (HEADER_BYTES + table_bytes).next_multiple_of(BODY_ALIGN)
}

const _: () = assert!(header::END <= HEADER_BYTES && HEADER_BYTES.is_multiple_of(BODY_ALIGN));
const _: () = assert!(stride_words(14) * 8 == 128 && stride_words(46) * 8 == 384 && stride_words(6) * 8 == 64);
const _: () = assert!(slot::OWN + size_of::<crate::records::Mbp10Msg>() == stride_words(46) * 8);
const _: () = assert!(slot::OWN + size_of::<crate::signal::Signal>() == stride_words(14) * 8);
const _: () = assert!(cnc::STAGES + 8 + 7 * 7 * 8 <= cnc::BYTES && cnc::ANSWERS + 8 * 8 <= cnc::STAGES);
const _: () = assert!(clock::COUNTER + 8 <= clock::BYTES);
