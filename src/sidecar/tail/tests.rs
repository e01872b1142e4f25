use proptest::prelude::*;

use super::*;
use crate::hot::tail::{Own, OwnSpan};
use crate::report::HostTotals;

mod gathered;

const MS: u64 = 1_000_000;
/// Some moment of a run.
const T: u64 = 1_000 * MS;

/// 70 ns of wait, 320 ns of own steps before and 50 after a model's run of 2 µs.
const USUAL: Usual = Usual { stages_ns: [70, 20, 100, 200, 2_000, 50, 2_390], models: 1 };

/// What a judge needs, nothing counted and nothing explained.
struct World {
    usual: Usual,
    stamps: Stamps,
    interruptions: Interruptions,
    history: History,
    spans: Spans,
    turns: SlowTurns,
}

impl World {
    fn new() -> Self {
        // Plenty of idling without a hole.
        let interruptions = interruptions(&[], &[], [10_000 * MS, 100 * MS]);
        let (history, spans, turns) = (History::default(), Spans::default(), SlowTurns::default());
        Self { usual: USUAL, stamps: Stamps::Full, interruptions, history, spans, turns }
    }

    /// Looks every 10 ms around `T`; the first has all counts at 100, those after `T` have `counts` more.
    fn looked(mut self, counts: HostTotals) -> Self {
        let base = HostTotals {
            voluntary_switches: Some(100),
            involuntary_switches: Some(100),
            minor_faults: Some(100),
            major_faults: Some(100),
            timer_ticks: Some(100),
            interrupts: Some(100),
            tlb_shootdowns: Some(100),
            ipis: Some(100),
            steal_ms: Some(100),
            runqueue_wait_ns: Some(100),
        };
        let more = |base: Option<u64>, more: Option<u64>| base.map(|n| n + more.unwrap_or(0));
        let after = HostTotals {
            voluntary_switches: more(base.voluntary_switches, counts.voluntary_switches),
            involuntary_switches: more(base.involuntary_switches, counts.involuntary_switches),
            minor_faults: more(base.minor_faults, counts.minor_faults),
            major_faults: more(base.major_faults, counts.major_faults),
            timer_ticks: more(base.timer_ticks, counts.timer_ticks),
            steal_ms: more(base.steal_ms, counts.steal_ms),
            runqueue_wait_ns: more(base.runqueue_wait_ns, counts.runqueue_wait_ns),
            ..base
        };
        for (at, counts) in [(T - 12 * MS, base), (T - 2 * MS, base), (T + 8 * MS, after), (T + 18 * MS, after)] {
            self.history.add(Look { before_ns: at, after_ns: at + 40_000, counts });
        }
        self
    }

    fn judge(&mut self, ticks: &[SlowTick]) -> Vec<Judged> {
        let judged = Judge {
            usual: self.usual,
            stamps: self.stamps,
            interruptions: self.interruptions,
            history: &mut self.history,
            spans: &mut self.spans,
            turns: &mut self.turns,
            mean_turn_ns: 2_400,
        }
        .judge(ticks);
        for (tick, judged) in ticks.iter().zip(&judged) {
            let excess = tick.latency_ns.saturating_sub(self.usual.latency_ns(tick));
            assert_eq!(judged.shares.total_ns(), excess, "{tick:?} {judged:?}");
            let most = Cause::ALL.map(|cause| judged.shares.of(cause)).into_iter().max();
            assert!(excess == 0 || Some(judged.shares.of(judged.cause)) == most, "{judged:?}");
        }
        judged
    }

    fn one(&mut self, tick: SlowTick) -> Judged {
        self.judge(&[tick]).remove(0)
    }
}

/// From holes and runs of the model, each with its count, ns.
fn interruptions(holes: &[(u64, u64)], infers: &[(u64, u64)], regimes_ns: [u64; 2]) -> Interruptions {
    let (mut set, mut totals) = (StageSet::default(), Totals::default());
    holes.iter().for_each(|(ns, count)| set.holes.record_n(*ns, *count).expect("in bounds"));
    infers.iter().for_each(|(ns, count)| (0..*count).for_each(|_| set.record(Stage::Infer, *ns)));
    totals.add(&set);
    Interruptions::of(&set.holes, &totals, &USUAL, regimes_ns)
}

/// A tick with the usual steps but for its wait and the model's run; an idle loop before it, our own work long past.
fn tick(tick_ns: u64, wait_ns: u64, infer_ns: u64) -> SlowTick {
    let latency_ns = wait_ns + 320 + infer_ns;
    SlowTick {
        ring_seq: tick_ns % 1_000,
        tick_ns,
        begun_ns: tick_ns + wait_ns,
        latency_ns,
        stages_ns: [wait_ns, 20, 100, 200, infer_ns, 50, latency_ns],
        position: 0,
        silent_ns: 30,
        own: OwnSpan { what: Own::Counts, begun_ns: 1, ended_ns: 2 },
        hole_ns: (1, 1),
    }
}

fn counts() -> HostTotals {
    HostTotals::default()
}

fn only(cause: Cause, ns: u64) -> Shares {
    let mut shares = Shares::default();
    *shares.of_mut(cause) = ns;
    shares
}

#[test]
fn an_idle_loop_that_stood_still_is_the_host() {
    let stopped = SlowTick { silent_ns: 5 * MS, ..tick(T, 4 * MS, 2_000) };
    let judged = World::new().one(stopped);
    assert_eq!((judged.cause, judged.shares), (Cause::Host, only(Cause::Host, 4 * MS - 70)), "{judged:?}");
    assert_eq!(judged.evidence, ["the idle loop stood still for 5,000 us"]);
    let switch = HostTotals { voluntary_switches: Some(1), timer_ticks: Some(3), ..counts() };
    let judged = World::new().looked(switch).one(stopped);
    let want = "the idle loop stood still for 5,000 us: 1 voluntary switch, 3 timer ticks around it";
    assert_eq!(judged.evidence, [want]);
    let short = SlowTick { silent_ns: 999, ..tick(T, 20_000, 2_000) };
    assert_eq!(World::new().one(short).shares.host_ns, 0, "a slow round is no hole");
}

/// A round that found the ring empty, stood still and came round, with housekeeping after it: the tick came meanwhile.
#[test]
fn a_hole_that_has_ended_before_the_turn_is_the_host_too() {
    let own = OwnSpan { what: Own::Counts, begun_ns: T + 4 * MS - 2_000, ended_ns: T + 4 * MS - 1_000 };
    let hole_ns = (T - MS, T + 4 * MS - 2_000);
    let head = SlowTick { own, hole_ns, silent_ns: 900, ..tick(T, 4 * MS, 2_000) };
    let behind = SlowTick { own, hole_ns, position: 1, silent_ns: 2_400, ..tick(T + 1_000, 4 * MS + 1_400, 2_000) };
    let judged = World::new().judge(&[head, behind]);
    assert_eq!((judged[0].cause, judged[0].shares.host_ns, judged[0].shares.ours_ns), (Cause::Host, 3_998_000, 1_000));
    assert_eq!(judged[0].evidence[0], "the idle loop stood still for 4,998 us");
    assert_eq!(judged[1].evidence[0], "queued behind a host stall of 4,998 us");
    // One that was over before the tick came cost it nothing.
    let early = SlowTick { hole_ns: (T - MS, T), ..tick(T, 20_070, 2_000) };
    assert_eq!(World::new().one(early).shares, only(Cause::Unattributed, 20_000));
}

/// Ticks published every 50 µs while the thread was stopped for 5 ms, and the first few after it.
#[test]
fn the_queue_behind_a_stall_inherits_its_cause() {
    let mut queue = vec![SlowTick { silent_ns: 5 * MS, ..tick(T, 5 * MS - 1_000, 2_000) }];
    for i in 1..=110 {
        let (published, begun) = (T + i * 45_500, T + 5 * MS - 1_000 + i * 2_400);
        let waited = begun.saturating_sub(published).max(100);
        queue.push(SlowTick { position: i, silent_ns: 2_400, ..tick(published, waited, 2_000) });
    }
    // Whether they come in one batch or in two.
    for split in [1, 50, 111] {
        let mut world = World::new();
        let mut judged = world.judge(&queue[..split]);
        judged.extend(world.judge(&queue[split..]));
        for (tick, judged) in queue.iter().zip(&judged).take(100) {
            let host = (T + 5 * MS - 1_000).saturating_sub(tick.tick_ns);
            assert!(judged.shares.host_ns.abs_diff(host) <= 70, "{judged:?}");
            assert_eq!(judged.cause, if 2 * host > tick.latency_ns - 2_390 { Cause::Host } else { Cause::Backlog });
        }
        assert!(judged[..90].iter().all(|judged| judged.cause == Cause::Host));
        assert!(judged[1].evidence[0] == "queued behind a host stall of 5,000 us", "{:?}", judged[1]);
        assert_eq!(judged[110].shares.host_ns, 0, "published after it");
        assert_eq!(judged[50].evidence[1], "50 ticks were served before it since the ring was empty");
    }
}

#[test]
fn ticks_before_it_are_backlog() {
    let queued = SlowTick { position: 7, silent_ns: 2_400, ..tick(T, 17_000, 2_000) };
    let judged = World::new().one(queued);
    assert_eq!((judged.cause, judged.shares), (Cause::Backlog, only(Cause::Backlog, 16_930)));
    assert_eq!(judged.evidence, ["7 ticks were served before it since the ring was empty"]);
}

#[test]
fn a_run_that_was_put_off_is_backlog() {
    let mut late = tick(T, 17_000, 2_000);
    late.stages_ns[Stage::Wait as usize] = 0;
    let judged = World::new().one(SlowTick { silent_ns: 9_000, ..late });
    assert_eq!((judged.cause, judged.shares.host_ns), (Cause::Backlog, 0));
}

#[test]
fn a_slow_hop_is_not_attributed() {
    let judged = World::new().one(tick(T, 20_070, 2_000));
    assert_eq!((judged.cause, judged.shares), (Cause::Unattributed, only(Cause::Unattributed, 20_000)));
}

#[test]
fn our_own_work_between_turns_is_ours_unless_the_host_stopped_it() {
    let own = OwnSpan { what: Own::Gap, begun_ns: T - 2_000, ended_ns: T + 15_000 };
    let late = SlowTick { own, ..tick(T, 16_000, 2_000) };
    let behind = SlowTick { own, position: 1, ..tick(T + 1_000, 18_000, 2_000) };
    let judged = World::new().judge(&[late, behind]);
    assert_eq!(
        (judged[0].cause, judged[0].shares.ours_ns, judged[0].shares.unattributed_ns),
        (Cause::Ours, 15_000, 930)
    );
    assert_eq!(judged[0].evidence[0], "telling every book of a loss took 15 us of its wait");
    assert_eq!((judged[1].shares.ours_ns, judged[1].shares.backlog_ns), (14_000, 3_930));
    assert_eq!(judged[1].evidence[0], "queued behind telling every book of a loss of 17 us");

    let switch = HostTotals { involuntary_switches: Some(1), ..counts() };
    let judged = World::new().looked(switch).judge(&[late, behind]);
    assert_eq!((judged[0].cause, judged[1].cause), (Cause::Host, Cause::Host));
    assert_eq!(judged[0].evidence[0], "stopped for 17 us in housekeeping: 1 involuntary switch");
}

#[test]
fn own_work_before_a_tick_costs_it_nothing() {
    let own = OwnSpan { what: Own::Mailbox, begun_ns: T - 20_000, ended_ns: T };
    let judged = World::new().one(SlowTick { own, ..tick(T, 5_070, 2_000) });
    assert_eq!(judged.shares, only(Cause::Unattributed, 5_000));
}

#[test]
fn ticks_from_before_the_start_waited_for_us() {
    let own = OwnSpan { what: Own::None, begun_ns: T + MS, ended_ns: T + MS };
    let first = SlowTick { own, silent_ns: 3 * MS, ..tick(T, 4 * MS, 2_000) };
    let second = SlowTick { own, position: 1, silent_ns: 2_400, ..tick(T + 10, 4 * MS + 2_400, 2_000) };
    let judged = World::new().judge(&[first, second]);
    assert_eq!((judged[0].cause, judged[1].cause), (Cause::Ours, Cause::Ours));
    assert!(judged[0].evidence[0].starts_with("the lane's start took"), "{judged:?}");
}

#[test]
fn slow_steps_are_the_models_or_ours() {
    let judged = World::new().looked(counts()).one(tick(T, 70, 102_000));
    assert_eq!((judged.cause, judged.shares), (Cause::Model, only(Cause::Model, 100_000)));
    assert_eq!(judged.evidence, ["the model took 100 us longer than usual"]);
    let mut book = tick(T, 70, 2_000);
    (book.latency_ns, book.stages_ns[Stage::Book as usize]) = (102_390, 100_100);
    book.stages_ns[Stage::TickToSignal as usize] = 102_390;
    let judged = World::new().one(book);
    assert_eq!((judged.cause, judged.shares), (Cause::Ours, only(Cause::Ours, 100_000)));
    // A queue behind a slow model waits for the model, but for the time that it takes anyway.
    let mut world = World::new();
    let behind = SlowTick { position: 1, ..tick(T + 1_000, 101_460, 2_000) };
    let judged = world.judge(&[tick(T, 70, 102_000), behind]);
    assert_eq!((judged[1].cause, judged[1].shares.backlog_ns), (Cause::Model, 1_390), "{judged:?}");
}

#[test]
fn the_kernels_counts_make_it_the_host() {
    let host = |ns: u64, counts: HostTotals| World::new().looked(counts).one(tick(T, 70, 2_000 + ns));
    let cause = |ns, counts| host(ns, counts).cause;
    let some = Some(1);
    assert_eq!(cause(20_000, HostTotals { voluntary_switches: some, ..counts() }), Cause::Host);
    assert_eq!(cause(20_000, HostTotals { involuntary_switches: some, ..counts() }), Cause::Host);
    assert_eq!(cause(20_000, HostTotals { major_faults: some, ..counts() }), Cause::Host);
    assert_eq!(cause(20_000, HostTotals { steal_ms: Some(10), ..counts() }), Cause::Host);
    assert_eq!(cause(9_000, HostTotals { involuntary_switches: some, ..counts() }), Cause::Model, "too short for one");
    assert_eq!(cause(20_000, HostTotals { runqueue_wait_ns: Some(10_000), ..counts() }), Cause::Host);
    assert_eq!(cause(20_000, HostTotals { runqueue_wait_ns: Some(9_000), ..counts() }), Cause::Model);
    assert_eq!(cause(600, HostTotals { minor_faults: some, ..counts() }), Cause::Host);
    assert_eq!(cause(400, HostTotals { minor_faults: some, ..counts() }), Cause::Model);
    assert_eq!(cause(60_000, HostTotals { timer_ticks: Some(3), ..counts() }), Cause::Model, "timer ticks are short");
    let counts = HostTotals { runqueue_wait_ns: Some(4_900_000), voluntary_switches: Some(2), ..counts() };
    let want = "its turn took 5,000 us longer: 4,900 us ready and not running, 2 voluntary switches";
    assert_eq!(host(5 * MS, counts).evidence, [want]);
}

#[test]
fn what_could_not_be_read_is_never_the_host() {
    let stalled = tick(T, 70, 5 * MS);
    assert_eq!(World::new().one(stalled).cause, Cause::Model, "nobody looked");
    let mut world = World::new();
    for at in [T - 10 * MS, T + 10 * MS] {
        world.history.add(Look { before_ns: at, after_ns: at + 1, counts: HostTotals::default() });
    }
    assert_eq!(world.one(stalled).cause, Cause::Model, "nothing could be read");
    let mut world = World::new().looked(HostTotals { voluntary_switches: Some(9), ..counts() });
    assert_eq!(world.one(tick(T + 60 * MS, 70, 5 * MS)).cause, Cause::Model, "counted at another time");
}

#[test]
fn one_switch_explains_the_longest_stall() {
    let switch = HostTotals { involuntary_switches: Some(1), ..counts() };
    let ticks = [tick(T, 70, 60_000), tick(T + MS, 70, 3 * MS), tick(T + 5 * MS, 70, 60_000)];
    let causes = World::new().looked(switch).judge(&ticks).iter().map(|j| j.cause).collect::<Vec<_>>();
    assert_eq!(causes, [Cause::Model, Cause::Host, Cause::Model]);
}

/// SIGSTOP in the middle of a turn: the kernel counts a voluntary switch, and the queue behind inherits.
#[test]
fn a_turn_that_was_stopped_stops_the_queue() {
    let mut world = World::new().looked(HostTotals { voluntary_switches: Some(1), ..counts() });
    let mut ticks = vec![tick(T, 70, 2_000 + 5 * MS)];
    let resumed = T + 2_390 + 5 * MS;
    ticks.extend((1..=99).map(|i| {
        let (published, begun) = (T + i * 50_000, resumed + i * 2_400);
        SlowTick { position: i, silent_ns: 2_400, ..tick(published, begun - published, 2_000) }
    }));
    let judged = world.judge(&ticks);
    assert!(judged.iter().take(90).all(|j| j.cause == Cause::Host), "{judged:?}");
    assert_eq!(judged[40].evidence[0], "queued behind a host stall of 5,000 us");
}

/// Stopped after the last stamp of one turn and before the first of the next: only silence is left.
#[test]
fn a_stall_between_two_turns_needs_the_kernels_word() {
    let next = SlowTick { position: 3, silent_ns: 5 * MS, ..tick(T, 4 * MS, 2_000) };
    assert_eq!(World::new().looked(counts()).one(next).cause, Cause::Backlog);
    let judged = World::new().looked(HostTotals { voluntary_switches: Some(1), ..counts() }).one(next);
    assert_eq!((judged.cause, judged.shares.backlog_ns), (Cause::Host, 0));
    assert!(judged.evidence[0].starts_with("queued behind a host stall out of sight of 4,99"), "{judged:?}");
}

/// The tick whose turn was stopped is not among those kept, nor the one after it: the queue took longer than so many turns.
#[test]
fn a_stall_out_of_sight_is_the_hosts_where_the_kernel_counted_one() {
    let queue: Vec<_> = (10..20)
        .map(|i| SlowTick { position: i, silent_ns: 2_400, ..tick(T + i * 1_000, 5 * MS + i * 1_400, 2_000) })
        .collect();
    let judged = World::new().looked(counts()).judge(&queue);
    assert!(judged.iter().all(|judged| judged.cause == Cause::Backlog), "{judged:?}");
    let switch = HostTotals { voluntary_switches: Some(1), ..counts() };
    let judged = World::new().looked(switch).judge(&queue);
    assert!(judged.iter().all(|judged| judged.cause == Cause::Host), "one switch, one stall, ten ticks: {judged:?}");
    // As long as so many turns take is backlog, whatever the kernel counted meanwhile.
    let many = SlowTick { position: 2_000, silent_ns: 2_400, ..tick(T, 4_800_000, 2_000) };
    assert_eq!(World::new().looked(switch).one(many).cause, Cause::Backlog);
}

/// A preempted loop's switch is not what stopped another.
#[test]
fn each_stall_takes_the_sign_that_fits_it() {
    let hole = SlowTick { silent_ns: 3 * MS, ..tick(T, 2 * MS, 2_000) };
    let stopped = tick(T + 3 * MS, 70, 1_000_000);
    let counts = HostTotals { runqueue_wait_ns: Some(2_800_000), involuntary_switches: Some(1), ..counts() };
    let with =
        |voluntary| World::new().looked(HostTotals { voluntary_switches: voluntary, ..counts }).judge(&[hole, stopped]);
    assert_eq!(with(Some(0))[1].cause, Cause::Model, "the one switch was the hole's");
    assert_eq!(with(Some(1))[1].cause, Cause::Host);
}

#[test]
fn interruptions_are_expected_as_often_as_the_idle_loop_has_them() {
    let slow = tick(T, 70, 2_000 + 5_000);
    // 812 holes of 4 to 8 µs in 9.2 s of idling; 0.4 s of work.
    let regimes = [9_200 * MS, 400 * MS];
    let with = |holes, seen| {
        let mut world = World::new();
        world.interruptions = interruptions(&[(5_000, holes)], &[(2_000, 10_000), (7_000, seen)], regimes);
        world.one(slow)
    };
    let judged = with(812, 41);
    assert_eq!(judged.cause, Cause::Host);
    let want = "interruptions of 4-8 us: 812 in 9.2 s of idling, so 35 expected in 0.4 s of work; 41 seen";
    assert_eq!(judged.evidence, [want]);
    assert_eq!(with(812, 80).cause, Cause::Model, "most are not explained");
    assert_eq!(with(0, 1).cause, Cause::Model);
    assert_eq!(with(3, 1).cause, Cause::Model, "a seventh expected");
}

#[test]
fn without_idling_an_interruption_cannot_be_told_from_a_slow_step() {
    let judge = |counts: HostTotals| {
        let mut world = World::new().looked(counts);
        world.interruptions = interruptions(&[(5_000, 10)], &[], [MS, 100 * MS]);
        world.one(tick(T, 70, 7_000))
    };
    let judged = judge(HostTotals { timer_ticks: Some(2), ..counts() });
    assert_eq!((judged.cause, judged.shares), (Cause::Unattributed, only(Cause::Unattributed, 5_000)));
    assert!(judged.evidence[0].contains("too little idling") && judged.evidence[0].contains("2 timer ticks"));
    assert_eq!(judge(counts()).cause, Cause::Model, "nothing interrupted it");
}

#[test]
fn stamps_at_the_ends_tell_the_host_but_not_the_step() {
    let mut ends = tick(T, 70, 102_000);
    ends.stages_ns = [70, 0, 0, 0, 0, 0, ends.latency_ns];
    let mut world = World::new();
    world.stamps = Stamps::Ends;
    world.usual.stages_ns = [70, 0, 0, 0, 0, 0, 2_390];
    let judged = world.one(ends);
    assert_eq!((judged.cause, judged.shares.unattributed_ns), (Cause::Unattributed, 99_930 + 70));
    let mut world = world.looked(HostTotals { involuntary_switches: Some(1), ..counts() });
    assert_eq!(world.one(ends).cause, Cause::Host);
}

#[test]
fn several_models_are_usual_together() {
    let mut world = World::new();
    world.usual.models = 3;
    let mut three = tick(T, 70, 6_000);
    three.stages_ns[Stage::Publish as usize] = 150;
    three.latency_ns += 100;
    three.stages_ns[Stage::TickToSignal as usize] += 100;
    assert_eq!(world.usual.latency_ns(&three), three.latency_ns, "its own publish comes after its stamp");
    assert_eq!(world.one(three).shares, Shares::default());
    three.latency_ns += 50_000;
    three.stages_ns[Stage::Infer as usize] += 50_000;
    assert_eq!(world.one(three).shares, only(Cause::Model, 50_000));
}

#[test]
fn a_tick_without_a_signal_is_measured_by_the_stages_it_passed() {
    let mut rejected = tick(T, 20_070, 2_000);
    rejected.stages_ns = [20_070, 20, 0, 0, 0, 0, 0];
    rejected.latency_ns = 20_090;
    assert_eq!(World::new().one(rejected).shares, only(Cause::Unattributed, 20_000));
}

proptest! {
    /// Whatever comes, shares add up to the excess (asserted in `World::judge`) and nothing panics.
    #[test]
    fn shares_add_up(
        ticks in prop::collection::vec(
            (any::<(u64, u64, u64)>(), 0_u64..4, prop::array::uniform7(0_u64..60_000), any::<(u64, u64, u8)>(), any::<bool>()),
            0..12,
        ),
        switches in prop::option::of(0_u64..3),
        ends in any::<bool>(),
    ) {
        let kinds = [Own::None, Own::Counts, Own::Gap, Own::Prepared];
        let mut ticks: Vec<_> = ticks.into_iter().map(|((tick_ns, begun, latency), position, stages_ns, own, near)| {
            // Half of them close together, half anywhere.
            let at = |ns: u64| if near { T + ns % 100_000 } else { ns };
            SlowTick {
                ring_seq: 0,
                tick_ns: at(tick_ns),
                begun_ns: at(begun),
                latency_ns: if near { latency % 200_000 } else { latency },
                stages_ns,
                position,
                silent_ns: if near { latency % 5_000 } else { latency },
                own: OwnSpan { what: kinds[usize::from(own.2) % 4], begun_ns: at(own.0), ended_ns: at(own.1) },
                hole_ns: (at(own.1), at(latency)),
            }
        }).collect();
        ticks.sort_by_key(|tick| tick.begun_ns);
        let mut world = World::new().looked(HostTotals { voluntary_switches: switches, ..HostTotals::default() });
        world.stamps = if ends { Stamps::Ends } else { Stamps::Full };
        let _ = world.judge(&ticks);
    }
}
