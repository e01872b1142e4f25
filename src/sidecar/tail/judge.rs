//! What a slow tick lost its time to. Pure: a tick, what is usual, what the kernel counted around it and what is explained
//! already give its shares, which add up to its excess.

use super::evidence::{Sign, counted, interrupted, listed, us};
use super::looks::{FAULT_NS, History, SWITCH_NS};
use super::spans::{Span, Spans};
use super::usual::{Expected, INTERRUPTION_NS, Interruptions, SlowTurns, Usual, ended_ns, wait_ns};
use crate::hot::stamp::{HOLE_NS, Stage, Stamps};
use crate::hot::tail::{Own, SlowTick};
use crate::report::{Cause, Shares};

/// Lines of evidence kept for a tick.
const LINES: usize = 4;

/// What a tick lost its time to.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Its excess by cause.
    pub shares: Shares,
    /// The largest of them; of equals the first in [`Cause::ALL`].
    pub cause: Cause,
    /// What it rests on, the largest first.
    pub evidence: Vec<String>,
}

/// Signs of the host in a tick's stalls, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signs {
    own: Option<String>,
    hole: Option<String>,
    /// Of the last hole that ended before the turn.
    past: Option<String>,
    silence: Option<u64>,
    turn: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Own,
    Hole,
    Past,
    /// Between two turns, outside of stamps.
    Silence,
    Turn,
}

/// A stall of one of the ticks at hand.
struct Stall {
    tick: usize,
    part: Part,
    from_ns: u64,
    to_ns: u64,
    ns: u64,
}

/// All that ticks are judged by.
pub struct Judge<'a> {
    /// Medians.
    pub usual: Usual,
    /// What stamps see.
    pub stamps: Stamps,
    /// The idle loop's holes.
    pub interruptions: Interruptions,
    /// Looks at the kernel's counts.
    pub history: &'a mut History,
    /// What is explained already.
    pub spans: &'a mut Spans,
    /// Slow turns so far.
    pub turns: &'a mut SlowTurns,
    /// What a turn takes on average, with what no stamp sees, ns.
    pub mean_turn_ns: u64,
}

impl Judge<'_> {
    /// Judges ticks, which must be in the order of their turns: heads of a queue come before those behind.
    pub fn judge(&mut self, ticks: &[SlowTick]) -> Vec<Judged> {
        let signs = self.signs(ticks);
        ticks.iter().zip(signs).map(|(tick, signs)| self.split(tick, signs)).collect()
    }

    /// Stalls that these ticks tell of.
    fn stalls(&self, ticks: &[SlowTick]) -> Vec<Stall> {
        let mut stalls = Vec::new();
        let (mut last_own, mut last_hole) = (None, None);
        for (at, tick) in ticks.iter().enumerate() {
            let mut add =
                |part, from_ns: u64, to_ns: u64, ns| stalls.push(Stall { tick: at, part, from_ns, to_ns, ns });
            let own = tick.own;
            if own.ended_ns > tick.tick_ns
                && last_own.replace(own) != Some(own)
                && self.is_new(own.begun_ns, own.ended_ns)
            {
                add(Part::Own, own.begun_ns, own.ended_ns, own.ended_ns.saturating_sub(own.begun_ns));
            }
            let (from_ns, to_ns) = tick.hole_ns;
            if past_hole(tick) && last_hole.replace(tick.hole_ns) != Some(tick.hole_ns) && self.is_new(from_ns, to_ns) {
                add(Part::Past, from_ns, to_ns, to_ns - from_ns);
            }
            if let Some(from_ns) = hole(tick) {
                add(Part::Hole, from_ns, tick.begun_ns, tick.begun_ns - from_ns);
            } else if let Some(ns) = self.silence(tick, at.checked_sub(1).map(|before| &ticks[before])) {
                add(Part::Silence, tick.begun_ns.saturating_sub(tick.silent_ns), tick.begun_ns, ns);
            }
            let (_, turn) = self.excess(tick);
            if turn >= FAULT_NS {
                add(Part::Turn, tick.begun_ns, ended_ns(tick), turn);
            }
        }
        stalls
    }

    /// How long a thread was silent before a turn, beyond the turn before it, ns: one that is stopped after its turn's last stamp
    /// leaves nothing else.
    fn silence(&self, tick: &SlowTick, before: Option<&SlowTick>) -> Option<u64> {
        let from_ns = tick.begun_ns.saturating_sub(tick.silent_ns);
        let turn = before.filter(|before| before.begun_ns == from_ns).map_or(0, |before| ended_ns(before) - from_ns);
        let open: u64 = self.spans.gaps(from_ns, tick.begun_ns).iter().map(|(from, to)| to - from).sum();
        let ns = open.saturating_sub(turn.max(self.usual.turn_ns()));
        (tick.own.what != Own::None && ns >= SWITCH_NS).then_some(ns)
    }

    /// Looks for the host in every stall, longest first: a switch that was counted once explains one of them, and the longest
    /// is the likeliest.
    fn signs(&mut self, ticks: &[SlowTick]) -> Vec<Signs> {
        let mut stalls = self.stalls(ticks);
        stalls.sort_by_key(|stall| std::cmp::Reverse(stall.ns));
        let mut signs = vec![Signs::default(); ticks.len()];
        for Stall { tick, part, from_ns, to_ns, ns } in stalls {
            let left = self.history.left(from_ns, to_ns);
            let sign = Sign::of(ns, &left);
            if let Some(sign) = sign {
                self.history.spend(from_ns, to_ns, ns, sign);
            }
            let shown = || listed(&left).join(", ");
            let still = || format!("the idle loop stood still for {} us{}", us(ns), counted(&left));
            match part {
                Part::Hole => signs[tick].hole = Some(still()),
                Part::Past => signs[tick].past = Some(still()),
                Part::Own => {
                    signs[tick].own = sign.map(|_| format!("stopped for {} us in housekeeping: {}", us(ns), shown()))
                }
                Part::Silence => signs[tick].silence = sign.map(|_| ns),
                Part::Turn => {
                    signs[tick].turn = sign.map(|_| format!("its turn took {} us longer: {}", us(ns), shown()))
                }
            }
        }
        signs
    }

    fn is_new(&self, from_ns: u64, to_ns: u64) -> bool {
        !self.spans.gaps(from_ns, to_ns).is_empty()
    }

    /// A tick's excess: the part of its wait, and that of its turn.
    fn excess(&self, tick: &SlowTick) -> (u64, u64) {
        let excess = tick.latency_ns.saturating_sub(self.usual.latency_ns(tick));
        let wait = wait_ns(tick).saturating_sub(self.usual.stages_ns[Stage::Wait as usize]).min(excess);
        (wait, excess - wait)
    }

    fn split(&mut self, tick: &SlowTick, signs: Signs) -> Judged {
        let (wait, turn) = self.excess(tick);
        let mut account = Account::default();
        self.explain_wait(tick, &signs);
        self.wait(tick, &signs, wait, &mut account);
        if turn > 0 {
            self.turn(tick, &signs, turn, &mut account);
        }
        account.judged()
    }

    /// Adds what a tick tells of the time before its turn to the explained spans.
    fn explain_wait(&mut self, tick: &SlowTick, signs: &Signs) {
        let told_by_ns = tick.begun_ns;
        let mut add = |from_ns: u64, to_ns: u64, cause, what| {
            if from_ns < to_ns {
                self.spans.add(Span { from_ns, to_ns, cause, what, whole_ns: to_ns - from_ns, told_by_ns });
            }
        };
        match (tick.own.what, &signs.own) {
            _ if tick.own.what != Own::None && tick.own.ended_ns <= tick.tick_ns => {}
            // Until the lane turned, nobody could read.
            (Own::None, _) => add(tick.tick_ns, tick.begun_ns, Cause::Ours, "the lane's start"),
            (_, Some(_)) => add(tick.own.begun_ns, tick.own.ended_ns, Cause::Host, "a host stall"),
            (what, None) => add(tick.own.begun_ns, tick.own.ended_ns, Cause::Ours, own_name(what)),
        }
        if past_hole(tick) {
            add(tick.hole_ns.0, tick.hole_ns.1, Cause::Host, "a host stall");
        }
        if let Some(from_ns) = hole(tick) {
            add(from_ns, tick.begun_ns, Cause::Host, "a host stall");
        } else if let Some(ns) = signs.silence {
            self.explain(tick.begun_ns.saturating_sub(tick.silent_ns), tick.begun_ns, ns);
        }
        self.explain_rest(tick);
    }

    /// Those before a tick take the time of so many turns. Where nothing explains what they took beyond that, and the kernel
    /// counted what does, the thread stood still out of sight: in a turn that is not kept, between two stamps, or in the idle
    /// loop's first round after a turn.
    fn explain_rest(&mut self, tick: &SlowTick) {
        let turns = tick.position.saturating_add(1).saturating_mul(self.usual.turn_ns().max(self.mean_turn_ns));
        let gaps = self.spans.gaps(tick.tick_ns, tick.begun_ns);
        let Some((from_ns, to_ns)) = gaps.into_iter().max_by_key(|(from, to)| to - from) else { return };
        let ns = (to_ns - from_ns).saturating_sub(turns);
        let begun = !put_off(tick) && tick.own.what != Own::None;
        if begun
            && ns >= SWITCH_NS
            && let Some(sign) = Sign::of(ns, &self.history.left(from_ns, to_ns))
        {
            self.history.spend(from_ns, to_ns, ns, sign);
            self.explain(from_ns, to_ns, ns);
        }
    }

    fn explain(&mut self, from_ns: u64, to_ns: u64, whole_ns: u64) {
        let (cause, what) = (Cause::Host, "a host stall out of sight");
        self.spans.add(Span { from_ns, to_ns, cause, what, whole_ns, told_by_ns: 0 });
    }

    /// The wait: what is explained already, then those before it.
    fn wait(&self, tick: &SlowTick, signs: &Signs, mut left: u64, account: &mut Account) {
        for span in self.spans.within(tick.tick_ns, tick.begun_ns) {
            let ns = (span.to_ns - span.from_ns).min(left);
            left -= ns;
            let ours = span.told_by_ns == tick.begun_ns;
            // A hole reaches up to the turn, or ended before; what is our own has its own time.
            let own = tick.own.begun_ns <= span.from_ns && span.to_ns <= tick.own.ended_ns;
            let sign = match span.to_ns == tick.begun_ns {
                true => &signs.hole,
                false if own => &signs.own,
                false => &signs.past,
            };
            account.add(span.cause, ns, || match (ours, span.cause) {
                (true, Cause::Host) => sign.clone().unwrap_or_else(|| span.what.into()),
                (true, _) => format!("{} took {} us of its wait", span.what, us(ns)),
                (false, _) => format!("queued behind {} of {} us", span.what, us(span.whole_ns)),
            });
        }
        if tick.position > 0 || put_off(tick) {
            let before = tick.position;
            account.add(Cause::Backlog, left, || match before {
                0 => "put off under backlog until the ring was empty".into(),
                1 => "1 tick was served before it since the ring was empty".into(),
                _ => format!("{before} ticks were served before it since the ring was empty"),
            });
        } else {
            account.add(Cause::Unattributed, left, || {
                format!(
                    "{} us from its stamp to a loop that was awake: the hop, or a feed stopped between the two",
                    us(left)
                )
            });
        }
    }

    /// The turn: the host where it left a sign, else the stages that took longer.
    fn turn(&mut self, tick: &SlowTick, signs: &Signs, ns: u64, account: &mut Account) {
        let (model, own) = self.usual.stage_excess(tick);
        let counts = self.turns.count(ns);
        let expected = match &signs.turn {
            Some(sign) => Expected::Yes(sign.clone()),
            None if INTERRUPTION_NS.contains(&ns) => self.interruptions.explain(ns, counts),
            None => Expected::No,
        };
        let around = self.history.left(tick.begun_ns, ended_ns(tick));
        let (cause, what) = match expected {
            Expected::Yes(sign) => {
                account.add(Cause::Host, ns, || sign);
                (Cause::Host, "a host stall")
            }
            Expected::Unknown if interrupted(&around) => {
                account.add(Cause::Unattributed, ns, || {
                    format!(
                        "its turn took {} us longer; too little idling to tell interruptions by{}",
                        us(ns),
                        counted(&around)
                    )
                });
                (Cause::Unattributed, "a slow turn")
            }
            _ if self.stamps == Stamps::Ends => {
                let why = "stamps = \"ends\" does not say in which step";
                account.add(Cause::Unattributed, ns, || format!("its turn took {} us longer: {why}", us(ns)));
                (Cause::Unattributed, "a slow turn")
            }
            _ => by_stage(ns, model, own, account),
        };
        if ns >= FAULT_NS {
            let to_ns = ended_ns(tick);
            let span = Span { from_ns: to_ns.saturating_sub(ns), to_ns, cause, what, whole_ns: ns, told_by_ns: 0 };
            self.spans.add(span);
        }
    }
}

/// Splits a turn's excess as its stages have it.
fn by_stage(ns: u64, model: u64, own: u64, account: &mut Account) -> (Cause, &'static str) {
    let all = u128::from(model) + u128::from(own);
    if all == 0 {
        account.add(Cause::Unattributed, ns, || format!("{} us between stamps", us(ns)));
        return (Cause::Unattributed, "a slow turn");
    }
    let models = u64::try_from(u128::from(ns) * u128::from(model) / all).unwrap_or(ns);
    account.add(Cause::Model, models, || format!("the model took {} us longer than usual", us(model)));
    account.add(Cause::Ours, ns - models, || format!("our own steps took {} us longer than usual", us(own)));
    if models >= ns - models { (Cause::Model, "a slow model run") } else { (Cause::Ours, "a slow turn") }
}

/// Shares as they gather, each with its line of evidence.
#[derive(Default)]
struct Account {
    shares: Shares,
    lines: Vec<(u64, String)>,
}

impl Account {
    fn add(&mut self, cause: Cause, ns: u64, line: impl FnOnce() -> String) {
        if ns == 0 {
            return;
        }
        *self.shares.of_mut(cause) += ns;
        if self.lines.len() < LINES || self.lines.iter().any(|(other, _)| *other < ns) {
            self.lines.push((ns, line()));
            self.lines.sort_by_key(|(ns, _)| std::cmp::Reverse(*ns));
            self.lines.truncate(LINES);
        }
    }

    fn judged(self) -> Judged {
        let most = Cause::ALL.into_iter().map(|cause| self.shares.of(cause)).max().unwrap_or(0);
        let largest = Cause::ALL.into_iter().find(|cause| self.shares.of(*cause) == most && most > 0);
        let evidence = self.lines.into_iter().map(|(_, line)| line).collect();
        Judged { shares: self.shares, cause: largest.unwrap_or(Cause::Unattributed), evidence }
    }
}

/// Start of the silence of an idle loop before a tick, where it is too long for a round: ns. Not before the loop's beginning.
fn hole(tick: &SlowTick) -> Option<u64> {
    let idle = tick.position == 0 && !put_off(tick) && tick.own.what != Own::None;
    (idle && tick.silent_ns >= HOLE_NS)
        .then(|| tick.begun_ns.saturating_sub(tick.silent_ns))
        .filter(|from| *from < tick.begun_ns)
}

/// Whether the idle loop's last hole kept this tick waiting.
fn past_hole(tick: &SlowTick) -> bool {
    let (from_ns, to_ns) = tick.hole_ns;
    from_ns < to_ns && to_ns > tick.tick_ns && to_ns <= tick.begun_ns
}

/// A turn that makes up what was put off has no record of its own, and so no wait.
fn put_off(tick: &SlowTick) -> bool {
    tick.stages_ns[Stage::Wait as usize] == 0 && wait_ns(tick) > 0
}

fn own_name(what: Own) -> &'static str {
    match what {
        Own::None => "nothing",
        Own::Counts => "housekeeping (counts)",
        Own::Mailbox => "housekeeping (mailbox)",
        Own::Histograms => "housekeeping (histograms)",
        Own::Ring => "housekeeping (ring)",
        Own::Gap => "telling every book of a loss",
        Own::Prepared => "a model's work ahead of its next row",
    }
}
