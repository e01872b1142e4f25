//! The state of one instrument's features, moved on by one event at a time.

use std::array::from_fn;
use std::sync::Arc;

use super::input;
use super::math::exp2_neg;
use super::plan::{Plan, Source};
use super::set::FeatureSet;
use super::view::{MAX_LEVELS, View, size};
use super::window::{MAX_VALUE, Ring, Window};
use crate::hot::book::{Book, Event};

/// Decayed sums smaller than this are nothing: keeps them out of the slow range of subnormal numbers.
const NOTHING: f64 = 1e-30;
/// How often that is seen to.
const FLUSH_EVENTS: u64 = 64;

type Levels = [f64; MAX_LEVELS];

/// Features of one instrument. All memory is taken by [`Features::new`].
#[derive(Clone, Debug)]
pub struct Features {
    pub(super) plan: Arc<Plan>,
    /// Half a tick's worth of 1e-9 units: multiplies doubled prices into ticks.
    pub(super) half_ticks: f64,
    /// The view after the last event is the one at `turn`, the other is the one before it.
    views: [View; 2],
    turn: usize,
    pub(super) inputs: [f64; input::ROOM],
    decays: Box<[f64]>,
    pub(super) sums: Box<[f64]>,
    pub(super) rings: Box<[Ring]>,
    pub(super) windows: Box<[Window]>,
    pub(super) past: Past,
}

/// What is remembered beside the sums; all zero after a reset.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Events since the reset.
    pub seen: u64,
    /// Greatest `ts_event` so far.
    pub now_ns: u64,
    pub gap_ns: u64,
    pub trade_ns: u64,
    pub mid_change_ns: u64,
    /// Twice the last mid and twice the first, 1e-9.
    pub mid2: Option<f64>,
    pub first_mid2: f64,
    /// Change at the last event, and the last change that was not 0.
    pub mid2_step: f64,
    pub last_mid2_change: f64,
    /// Twice the price that trades are measured from, 1e-9: the first trade's.
    pub trade_mid2: Option<i64>,
    /// Twice Σ size × (price - reference): of the event, and of all.
    pub event_notional: i128,
    pub notional: i128,
    pub volume: u64,
}

impl Past {
    /// Twice the last mid less twice the first, 1e-9.
    #[inline]
    pub fn moved2(&self) -> f64 {
        self.mid2.map_or(0.0, |mid2| mid2 - self.first_mid2)
    }
}

impl Features {
    /// State for one instrument with this tick size (1e-9 of price, at least 1).
    pub fn new(set: &FeatureSet, tick_size: i64) -> Self {
        let plan = Arc::clone(&set.plan);
        Self {
            half_ticks: 0.5 / tick_size.max(1) as f64,
            views: [View::EMPTY, View::EMPTY],
            turn: 0,
            inputs: [0.0; input::ROOM],
            decays: plan.decays.clone().into_boxed_slice(),
            sums: vec![0.0; plan.sums.iter().map(Vec::len).sum()].into_boxed_slice(),
            rings: plan.rings.iter().map(Ring::new).collect(),
            windows: plan.windows.iter().map(Window::new).collect(),
            past: Past::default(),
            plan,
        }
    }

    /// Takes one event that just ended: the book after it and [`Book::event`], which must not be a snapshot's.
    #[inline]
    pub fn update(&mut self, ts_event: u64, book: &Book) {
        self.pass_time(ts_event);
        self.turn ^= 1;
        self.views[self.turn & 1].load(book, self.plan.depth);
        self.see_flow();
        self.see_mid();
        self.see_event(book.event());
        self.decay_and_add();
        self.slide_windows();
        self.past.seen += 1;
    }

    /// True once the set's `warmup_events` have been seen since the reset.
    #[inline]
    pub fn warm(&self) -> bool {
        self.past.seen >= self.plan.warmup_events
    }

    /// Forgets everything: after a gap or a clear.
    pub fn reset(&mut self) {
        self.views = [View::EMPTY, View::EMPTY];
        self.inputs = [0.0; input::ROOM];
        self.sums.fill(0.0);
        self.windows.iter_mut().for_each(Window::clear);
        self.past = Past::default();
    }

    /// Memory of this state in bytes, fixed at [`Features::new`]; the plan, shared by all instruments, not included.
    pub fn state_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.decays)
            + size_of_val(&*self.sums)
            + size_of_val(&*self.rings)
            + size_of_val(&*self.windows)
            + self.rings.iter().map(Ring::bytes).sum::<usize>()
    }

    /// The book after the last event.
    #[inline]
    pub(super) fn view(&self) -> &View {
        &self.views[self.turn & 1]
    }

    #[inline]
    fn pass_time(&mut self, ts_event: u64) {
        let past = &mut self.past;
        if past.seen == 0 {
            (past.now_ns, past.trade_ns, past.mid_change_ns) = (ts_event, ts_event, ts_event);
        }
        past.gap_ns = ts_event.saturating_sub(past.now_ns);
        past.now_ns += past.gap_ns;
        let gap = past.gap_ns as f64;
        self.inputs[usize::from(input::GAP)] = gap * 1e-9;
        self.inputs[usize::from(input::GAP_SEEN)] = f64::from(u8::from(past.seen > 0));
        for &(at, per_ns) in &self.plan.time_decays {
            self.decays[at] = exp2_neg(gap * per_ns);
        }
    }

    #[inline]
    fn see_flow(&mut self) {
        if !self.plan.flow {
            return;
        }
        // All levels, whatever the set: loops of known length over local arrays become vector code without branches.
        let (now, before) = (&self.views[self.turn & 1].sides, &self.views[!self.turn & 1].sides);
        let depth: Levels = from_fn(|i| (now[0].sizes[i] + now[1].sizes[i]) * 0.5);
        let mut flow: Levels = from_fn(|i| now[0].flow(&before[0], i) - now[1].flow(&before[1], i));
        if self.past.seen == 0 {
            flow = [0.0; MAX_LEVELS];
        }
        self.inputs[usize::from(input::DEPTH)..][..MAX_LEVELS].copy_from_slice(&depth);
        self.inputs[usize::from(input::OFI)..][..MAX_LEVELS].copy_from_slice(&flow);
        for i in 1..MAX_LEVELS {
            flow[i] += flow[i - 1];
        }
        self.inputs[usize::from(input::OFI_SUM)..][..MAX_LEVELS].copy_from_slice(&flow);
    }

    #[inline]
    fn see_mid(&mut self) {
        let past = &mut self.past;
        let before = past.mid2;
        let view = &self.views[self.turn & 1];
        if view.two_sided() {
            let mid2 = view.mid2();
            past.mid2 = Some(mid2);
            if before.is_none() {
                past.first_mid2 = mid2;
            }
        }
        past.mid2_step = before.zip(past.mid2).map_or(0.0, |(before, now)| now - before);
        let mut change = 0.0;
        if past.mid2_step != 0.0 {
            past.last_mid2_change = past.mid2_step;
            past.mid_change_ns = past.now_ns;
            let base = before.unwrap_or(0.0).abs();
            change = if base > 0.0 { past.mid2_step / base * 1e4 } else { 0.0 };
        }
        self.inputs[usize::from(input::RETURN)] = change;
        self.inputs[usize::from(input::RETURN_SQUARED)] = change * change;
        self.inputs[usize::from(input::MID)] = past.moved2() * self.half_ticks;
        self.inputs[usize::from(input::MID_SEEN)] = f64::from(u8::from(past.mid2.is_some()));
    }

    #[inline]
    fn see_event(&mut self, event: &Event) {
        for s in 0..2 {
            self.inputs[usize::from(input::ADDS) + s] = f64::from(event.added[s].count);
            self.inputs[usize::from(input::CANCELS) + s] = f64::from(event.cancelled[s].count);
            self.inputs[usize::from(input::MODIFIES) + s] = f64::from(event.modified[s].count);
            self.inputs[usize::from(input::FILLS) + s] = f64::from(event.filled[s].count);
        }
        let net = |s: usize| size(event.added[s].size) - size(event.cancelled[s].size) - size(event.filled[s].size);
        self.inputs[usize::from(input::NET_FLOW)] = net(0) - net(1);
        self.see_trades(event);
    }

    #[inline]
    fn see_trades(&mut self, event: &Event) {
        let trades = &mut self.inputs[usize::from(input::SIGNED_VOLUME)..=usize::from(input::TRADED)];
        self.past.event_notional = 0;
        if event.trades == 0 {
            trades.fill(0.0);
            self.inputs[usize::from(input::TRADES)] = 0.0;
            self.inputs[usize::from(input::NOTIONAL)] = 0.0;
            return;
        }
        let signed = size(event.buy_volume) - size(event.sell_volume);
        let sign = f64::from(u8::from(signed > 0.0)) - f64::from(u8::from(signed < 0.0));
        trades.copy_from_slice(&[signed, size(event.volume), sign, 1.0]);
        self.inputs[usize::from(input::TRADES)] = f64::from(event.trades);
        self.inputs[usize::from(input::NOTIONAL)] = self.past.trade(event) as f64 * self.half_ticks;
    }

    #[inline]
    fn decay_and_add(&mut self) {
        let mut rest = &mut self.sums[..];
        for (decay, inputs) in self.decays.iter().zip(&self.plan.sums) {
            let (sums, others) = rest.split_at_mut(inputs.len());
            for (sum, at) in sums.iter_mut().zip(inputs) {
                *sum = *sum * decay + self.inputs[usize::from(*at) % input::ROOM];
            }
            rest = others;
        }
        if self.past.seen.is_multiple_of(FLUSH_EVENTS) {
            self.sums.iter_mut().filter(|sum| sum.abs() < NOTHING).for_each(|sum| *sum = 0.0);
        }
    }

    #[inline]
    fn slide_windows(&mut self) {
        let event = self.past.seen;
        for (i, spec) in self.plan.rings.iter().enumerate() {
            let value = self.whole(spec.source);
            self.rings[i].set(event, value);
        }
        for window in &mut self.windows {
            window.slide(&self.rings, event);
        }
    }

    /// What the event adds to a ring.
    #[inline]
    fn whole(&self, source: Source) -> i64 {
        let view = self.view();
        let value = match source {
            Source::Input(at) => self.inputs[usize::from(at) % input::ROOM] as i64,
            Source::Mid => self.past.moved2() as i64,
            Source::MidStep => self.past.mid2_step as i64,
            Source::Spread if view.two_sided() => view.spread() as i64,
            Source::Spread => 0,
            Source::BestSize(side) => view.sides[usize::from(side)].sizes[0] as i64,
            Source::GapNs => i64::try_from(self.past.gap_ns).unwrap_or(i64::MAX),
            Source::Notional => return saturated(self.past.event_notional),
        };
        value.clamp(-MAX_VALUE, MAX_VALUE)
    }
}

impl Past {
    /// Takes in an event with trades; twice its Σ size × (price - reference).
    fn trade(&mut self, event: &Event) -> i128 {
        self.trade_ns = self.now_ns;
        let doubled = event.notional * 2;
        let reference =
            *self.trade_mid2.get_or_insert_with(|| saturated(doubled.checked_div(event.volume.into()).unwrap_or(0)));
        self.event_notional = doubled - i128::from(reference) * i128::from(event.volume);
        self.notional += self.event_notional;
        self.volume = self.volume.saturating_add(event.volume);
        self.event_notional
    }
}

fn saturated(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
