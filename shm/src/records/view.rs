//! A record of a tick ring as its words, whatever type it is of.

use super::{RecordHeader, flags, rtype};

/// A record of any type, read through the words that all types share. The slice holds at least the two words of a
/// [`RecordHeader`].
///
/// ```
/// use pillion_shm::records::{MboMsg, View, flags, rtype};
///
/// let mut order: MboMsg = bytemuck::Zeroable::zeroed();
/// (order.hd.rtype, order.hd.ts_event, order.flags) = (rtype::MBO, 1_700_000_000_000_000_000, flags::SNAPSHOT);
/// let words: [u64; 7] = bytemuck::cast(order);
/// let view = View(&words);
/// assert_eq!((view.ts_event(), view.is_snapshot()), (1_700_000_000_000_000_000, true));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct View<'a>(pub &'a [u64]);

impl View<'_> {
    /// The record's header.
    #[inline]
    #[must_use]
    pub fn header(&self) -> &RecordHeader {
        bytemuck::from_bytes(bytemuck::cast_slice(&self.0[..2]))
    }

    /// Time of its event at the venue, ns since the epoch.
    #[inline]
    #[must_use]
    pub fn ts_event(&self) -> u64 {
        self.0[1]
    }

    /// The record's `flags`; `None` for types that have none, and for records too short for their type.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> Option<u8> {
        let at = match self.header().rtype {
            rtype::MBO => 36,
            rtype::TRADE | rtype::MBP_1 | rtype::MBP_10 => 30,
            _ => return None,
        };
        bytemuck::cast_slice::<u64, u8>(self.0).get(at).copied()
    }

    /// True when the record belongs to a snapshot.
    #[inline]
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.flags().is_some_and(|flags| flags & flags::SNAPSHOT != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{MboMsg, Mbp10Msg, StatusMsg, TradeMsg};
    use bytemuck::Zeroable;

    #[test]
    fn flags_are_found_in_every_type_that_has_them() {
        let mbo = MboMsg { hd: header(rtype::MBO), flags: flags::SNAPSHOT, ..MboMsg::zeroed() };
        let trade = TradeMsg { hd: header(rtype::TRADE), flags: flags::LAST, ..TradeMsg::zeroed() };
        let event = TradeMsg { hd: header(rtype::MBP_10), flags: flags::SNAPSHOT, ..TradeMsg::zeroed() };
        let mbp = Mbp10Msg { event, ..Mbp10Msg::zeroed() };
        let status = StatusMsg { hd: header(rtype::STATUS), ..StatusMsg::zeroed() };
        let of = |words: &[u64]| (View(words).flags(), View(words).is_snapshot(), View(words).ts_event());
        assert_eq!(of(&bytemuck::cast::<_, [u64; 7]>(mbo)), (Some(flags::SNAPSHOT), true, 5));
        assert_eq!(of(&bytemuck::cast::<_, [u64; 6]>(trade)), (Some(flags::LAST), false, 5));
        assert_eq!(of(&bytemuck::cast::<_, [u64; 46]>(mbp)), (Some(flags::SNAPSHOT), true, 5));
        assert_eq!(of(&bytemuck::cast::<_, [u64; 5]>(status)), (None, false, 5));
        // Too short for its type: no panic, and no flags.
        assert_eq!(of(&bytemuck::cast::<_, [u64; 7]>(mbo)[..2]), (None, false, 5));
    }

    fn header(rtype: u8) -> RecordHeader {
        RecordHeader { rtype, ts_event: 5, ..RecordHeader::zeroed() }
    }
}
