//! The hot path without its ring and its models: a file in, a row of features after each event. It drives the very code
//! that runs live, so what a model is trained on is what it will see.

use crate::Result;
use crate::cold::data::feed::Feed;
use crate::cold::data::limits;
use crate::hot::book::{Level, Limits};
use crate::hot::decode::{Instrument, Instruments, Reject, Side, decode};
use crate::hot::features::FeatureSet;
use crate::hot::state::State;

/// What is known of one event beside its features.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event {
    /// Time of its last record, ns since the epoch.
    pub ts_event: u64,
    /// Venue's number of the instrument.
    pub instrument_id: u32,
    /// Venue's message number of its last record.
    pub sequence: u32,
    /// Number among the instrument's events, from 0; snapshots are not counted.
    pub number: u64,
    /// Best bid after it.
    pub bid: Option<Level>,
    /// Best ask after it.
    pub ask: Option<Level>,
    /// True once the set's `warmup_events` have passed since the start, a clear or a gap.
    pub warm: bool,
}

/// One pass over records.
#[derive(Clone, Debug)]
pub struct Offline {
    instruments: Instruments,
    states: Vec<(State, u64)>,
    row: Vec<f32>,
    rejects: [u64; Reject::COUNT],
}

impl Offline {
    /// Empty books and features for these instruments, with one limit each.
    pub fn new(instruments: &[Instrument], limits: &[Limits], set: &FeatureSet) -> Result<Self> {
        let state = |(instrument, limits): (&Instrument, &Limits)| (State::new(*limits, set, instrument.tick_size), 0);
        Ok(Self {
            instruments: Instruments::new(instruments)?,
            states: instruments.iter().zip(limits).map(state).collect(),
            row: vec![0.0; set.len()],
            rejects: [0; Reject::COUNT],
        })
    }

    /// Ready for a whole file: its instruments, with room for whatever it holds.
    pub fn for_feed(feed: &Feed, set: &FeatureSet) -> Result<Self> {
        let limits = limits::needed(feed, &Instruments::new(&feed.instruments)?);
        Self::new(&feed.instruments, &limits, set)
    }

    /// Takes one record; the event and its row when one has just ended. A record that is refused is counted.
    #[inline]
    pub fn turn(&mut self, record: &[u64]) -> Option<(Event, &[f32])> {
        let states = &mut self.states;
        let admitted = decode(record, &self.instruments).and_then(|tick| {
            let state = &mut states[tick.instrument as usize];
            state.0.book.admit(&tick).map(|()| (tick, state))
        });
        let (tick, (state, number)) = match admitted {
            Ok(admitted) => admitted,
            Err(reject) => {
                self.rejects[reject.index()] += 1;
                return None;
            }
        };
        state.apply(&tick);
        if !state.event_end(&tick) {
            return None;
        }
        state.features.write(&mut self.row);
        *number += 1;
        let event = Event {
            ts_event: tick.ts_event,
            instrument_id: self.instruments.get(tick.instrument).id,
            sequence: tick.sequence,
            number: *number - 1,
            bid: state.book.best(Side::Bid),
            ask: state.book.best(Side::Ask),
            warm: state.features.warm(),
        };
        Some((event, &self.row))
    }

    /// Records refused so far, in the order of [`Reject::ALL`].
    pub fn rejects(&self) -> &[u64; Reject::COUNT] {
        &self.rejects
    }

    /// State of the instrument with this dense index.
    pub fn state(&self, instrument: usize) -> Option<&State> {
        self.states.get(instrument).map(|(state, _)| state)
    }
}
