//! The hot path without its ring and its models: a file in, a row of features after each event on which models would run. It drives the very code
//! that runs live, so what a model is trained on is what it will see.

use crate::hot::book::{Level, Limits};
use crate::hot::decode::{Instrument, Instruments, Reject, Side, decode};
use crate::hot::features::FeatureSet;
use crate::hot::grid::OffGrid;
use crate::hot::state::State;
use crate::hot::trigger::{Trigger, TriggerState};
use crate::{Error, Result};

/// What is known of one event beside its features.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event {
    /// Number of its last record among those that the driver has taken, from 0: what a signal of a replay of the same file
    /// has as `ring_seq`.
    pub record: u64,
    /// Time of its last record, ns since the epoch.
    pub ts_event: u64,
    /// Its publisher.
    pub publisher_id: u16,
    /// Place of the instrument in the driver's list.
    pub instrument: u32,
    /// Venue's number of the instrument.
    pub instrument_id: u32,
    /// Venue's message number of its last record.
    pub sequence: u32,
    /// Number among all the instrument's events, from 0, whatever the trigger; snapshots are not counted.
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
    /// The venue's number of each.
    venue_ids: Vec<u32>,
    depth: usize,
    records: u64,
    shallow: u64,
    states: Vec<(State, u64)>,
    trigger: Trigger,
    triggers: Vec<TriggerState>,
    row: Vec<f32>,
    rejects: [u64; Reject::COUNT],
}

impl Offline {
    /// Empty books and features for these instruments, with one limit each.
    ///
    /// # Errors
    /// An instrument twice, or one whose tick size is not known.
    pub fn new(instruments: &[Instrument], limits: &[Limits], set: &FeatureSet) -> Result<Self> {
        if let Some(unknown) = instruments.iter().find(|instrument| instrument.tick_size <= 0) {
            let thing = format!("instrument {} ({})", unknown.id, unknown.symbol);
            return Err(Error::input(thing, "its tick size is not known", "state it with --instruments FILE"));
        }
        let state = |(instrument, limits): (&Instrument, &Limits)| (State::new(*limits, set, instrument.tick_size), 0);
        Ok(Self {
            instruments: Instruments::new(instruments)?,
            venue_ids: instruments.iter().map(|instrument| instrument.id).collect(),
            depth: set.depth(),
            records: 0,
            shallow: 0,
            states: instruments.iter().zip(limits).map(state).collect(),
            trigger: Trigger::EventEnd,
            triggers: vec![TriggerState::default(); instruments.len()],
            row: vec![0.0; set.len()],
            rejects: [0; Reject::COUNT],
        })
    }

    /// [`Offline`] with the venue's numbers of its instruments, in their order, where they are not those of the list.
    #[must_use]
    pub fn with_venue_ids(self, ids: impl Iterator<Item = u32>) -> Self {
        Self { venue_ids: ids.collect(), ..self }
    }

    /// The same, with rows only of the events on which a lane with this trigger runs its models.
    #[must_use]
    pub fn on(self, trigger: Trigger) -> Self {
        Self { trigger, ..self }
    }

    /// Takes one record; the event and its row when one has just ended on which the trigger fires. A record that is refused is counted.
    #[inline]
    pub fn turn(&mut self, record: &[u64]) -> Option<(Event, &[f32])> {
        let number = self.records;
        self.records += 1;
        let states = &mut self.states;
        let admitted = decode(record, &self.instruments).and_then(|tick| {
            let state = &mut states[tick.instrument as usize];
            state.0.admit(&tick).map(|()| (tick, state))
        });
        let (tick, (state, events)) = match admitted {
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
        self.shallow += u64::from(state.book.shown() < self.depth);
        *events += 1;
        if !self.triggers[tick.instrument as usize].fires(self.trigger, &state.book) {
            return None;
        }
        state.features.write(&mut self.row);
        let event = Event {
            record: number,
            ts_event: tick.ts_event,
            publisher_id: tick.publisher,
            instrument: tick.instrument,
            instrument_id: self.venue_ids[tick.instrument as usize],
            sequence: tick.sequence,
            number: *events - 1,
            bid: state.book.best(Side::Bid),
            ask: state.book.best(Side::Ask),
            warm: state.features.warm(),
        };
        Some((event, &self.row))
    }

    /// On which events there are rows.
    pub fn trigger(&self) -> Trigger {
        self.trigger
    }

    /// Records refused so far, in the order of [`Reject::ALL`].
    pub fn rejects(&self) -> &[u64; Reject::COUNT] {
        &self.rejects
    }

    /// Events so far of whose book the records had shown fewer levels than the set looks at.
    pub fn shallow(&self) -> u64 {
        self.shallow
    }

    /// Ticks so far whose price is no multiple of their instrument's tick size, by instrument.
    pub fn off_grid(&self) -> impl Iterator<Item = OffGrid> {
        self.states.iter().map(|(state, _)| state.off_grid())
    }

    /// State of the instrument with this dense index.
    pub fn state(&self, instrument: usize) -> Option<&State> {
        self.states.get(instrument).map(|(state, _)| state)
    }
}
