//! Says, once, that a lane's feed sets no F_LAST: its events never end, so nothing is computed from them.

use std::sync::atomic::Ordering;

use crate::hot::decode::Instruments;
use crate::hot::run::Link;

/// Records of an event that goes on, before any event of the lane has ended: a feed without F_LAST.
const BEFORE_ANY: u64 = 1_000;
/// The same where other events ended: one instrument's or one channel's records are without. The longest events, mass
/// cancels at a close, have some thousands.
const BESIDE_OTHERS: u64 = 10_000;

/// Watches a lane for events that do not end.
pub(crate) struct UnendedWatch {
    /// Number and symbol of each instrument.
    names: Vec<String>,
    said: bool,
}

impl UnendedWatch {
    pub(crate) fn new(instruments: &Instruments) -> Self {
        Self { names: instruments.iter().map(|i| format!("{} ({})", i.id, i.symbol)).collect(), said: false }
    }

    /// One look.
    pub(crate) fn look(&mut self, link: &Link, lane: &str) {
        // Relaxed: statistics, read on their own.
        let longest = link.longest_open.load(Ordering::Relaxed);
        let most = if link.cnc.last_counts().1.events == 0 { BEFORE_ANY } else { BESIDE_OTHERS };
        if !self.said && longest >> 32 >= most {
            self.said = true;
            crate::errln!("{}", self.text(longest, lane));
        }
    }

    fn text(&self, longest: u64, lane: &str) -> String {
        let (records, index) = (longest >> 32, (longest & 0xFFFF_FFFF) as usize);
        let name = self.names.get(index).map_or("?", String::as_str);
        format!(
            "warning: lane {lane}: {records} records of instrument {name} came and their event has not ended: nothing is \
             computed before it does\n  mend: let the feed set F_LAST (128 in `flags`) on the last record of each event"
        )
    }
}
