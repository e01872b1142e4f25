//! A look at a lane, for people.

use pillion_shm::text::printable;

use crate::host::clock_words;
use crate::monitor::Look;
use crate::report::table::{self, span, thousands as n};

pub(super) fn of(l: &Look) -> String {
    let dead = if l.alive { "" } else { "  (no live process: regions are a past run's)" };
    let beat = l.heartbeat_age_ns.map_or("age not known".to_owned(), |ns| format!("{} ago", span(ns)));
    let mut text = format!("lane {}  {}  pid {}  heartbeat {beat}{dead}\n", l.lane, l.state, l.pid);
    if l.halted {
        let said = l.halt.as_ref().map_or(
            "by its control page: no record of it is seen from here, and without one a reboot forgets it",
            |halt| &halt.said,
        );
        text += &format!("HALT      in force {said}\n");
    } else if let Some(halt) = &l.halt {
        text += &format!("HALT      recorded, NOT in force: {}\n", halt.said);
    }
    text += &format!("clock     {}\n", clock(l));
    let feed = match (&l.feed_problem, l.feed_alive) {
        (Some(problem), _) => format!("not known: {problem}"),
        (None, true) => "alive".to_owned(),
        (None, false) => "none".to_owned(),
    };
    text += &format!("feed      {feed}, backlog {}\n", l.backlog.map_or("not known".to_owned(), n));
    let (ticks, signals) = (l.ticks_per_second as u64, l.signals_per_second as u64);
    text += &format!("rates     {} ticks/s, {} signals/s\n", n(ticks), n(signals));
    text += &format!("counts    {} ticks, {} events, {} signals\n", n(l.ticks), n(l.events), n(l.signals));
    text += &format!("outcomes  {} gaps ({} lost), {} rejects", n(l.gaps), n(l.lost), n(l.rejects));
    text += &format!(", {} conflated, {} invalid", n(l.conflated), n(l.invalid));
    text += &format!(", {} feed restarts\n", n(l.generation_changes));
    for m in &l.models {
        let sha = m.sha256.get(..12).unwrap_or(&m.sha256);
        // As its region says, which anybody may have written.
        let line = format!("{} r{} ({sha}) on {}, {}, {}", m.name, m.revision, m.engine, m.isa, m.runtime);
        text += &format!("model     {}\n", printable(&line));
    }
    text + &table::stages(&l.stages)
}

/// How far the lane's clock is from the wall clock, or what is wrong with it.
fn clock(l: &Look) -> String {
    match (&l.clock_problem, l.clock_offset_ns) {
        (None, Some(ns)) => clock_words::offset(ns),
        (problem, _) => problem.clone().unwrap_or_default(),
    }
}
