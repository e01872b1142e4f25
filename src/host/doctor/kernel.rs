//! Settings of the kernel that make it use the CPU now and then, and what real-time scheduling would be allowed.

use super::checks::{Finding, Found};
use super::cpus::{Cpus, short};
use super::host::Look;

/// Bit of CAP_SYS_NICE.
const CAP_SYS_NICE: u32 = 23;
/// Statistics gathered this seldom disturb nobody, s.
const SELDOM_S: i64 = 10;

pub(super) fn rt_throttling(look: &Look) -> Found {
    match look.sysctl("kernel/sched_rt_runtime_us")? {
        -1 => Ok(Finding::of(true, "off")),
        us @ 0.. => {
            let period = look.sysctl("kernel/sched_rt_period_us").map_or("a period".into(), |us| format!("{us} us"));
            Ok(Finding::of(false, format!("real-time threads may run {us} us of {period}")))
        }
        us => Err(format!("kernel/sched_rt_runtime_us holds {us}")),
    }
}

pub(super) fn rt_priority(look: &Look) -> Found {
    let limit = look.limit("Max realtime priority")?;
    if look.capable(CAP_SYS_NICE) {
        return Ok(Finding::of(true, "this process may ask for any (CAP_SYS_NICE)"));
    }
    let value = limit.map_or("unlimited".into(), |most| format!("limit {most}"));
    Ok(Finding::of(limit.is_none_or(|most| most > 0), value))
}

/// Whether a watchdog that is on leaves the CPU alone.
fn watchdog(look: &Look, on: bool) -> Found {
    if !on {
        return Ok(Finding::of(true, "off"));
    }
    // Without the mask it watches every CPU.
    let watched = look.proc("sys/kernel/watchdog_cpumask").and_then(|text| Cpus::list(&text, None));
    let value = watched.as_ref().map_or("on".to_owned(), |cpus| format!("on, watching {cpus}"));
    Ok(Finding::of(watched.is_ok_and(|cpus| !cpus.0.is_empty() && !cpus.has(look.core)), value))
}

/// A switch: 0 or 1 and nothing else.
fn switch(look: &Look, name: &str) -> Result<bool, String> {
    match look.sysctl(name)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("{name} holds {other}, neither 0 nor 1")),
    }
}

pub(super) fn nmi_watchdog(look: &Look) -> Found {
    watchdog(look, switch(look, "kernel/nmi_watchdog")?)
}

pub(super) fn soft_watchdog(look: &Look) -> Found {
    watchdog(look, switch(look, "kernel/soft_watchdog")?)
}

pub(super) fn stat_interval(look: &Look) -> Found {
    match look.sysctl("vm/stat_interval")? {
        seconds @ 1.. => Ok(Finding::of(seconds >= SELDOM_S, format!("{seconds} s"))),
        other => Err(format!("vm/stat_interval holds {other}")),
    }
}

pub(super) fn timer_migration(look: &Look) -> Found {
    let on = switch(look, "kernel/timer_migration")?;
    Ok(Finding::of(!on, if on { "on" } else { "off" }))
}

pub(super) fn tracing(look: &Look) -> Found {
    let folders = ["kernel/tracing", "kernel/debug/tracing"];
    let text = |name: &str| {
        // The name that a person should look for is the first.
        let debugfs = |why| look.sys(&format!("{}/{name}", folders[1])).map_err(|_| why);
        look.sys(&format!("{}/{name}", folders[0])).or_else(debugfs)
    };
    let tracer = text("current_tracer")?;
    let tracer = tracer.trim();
    if tracer.is_empty() || tracer.chars().any(|c| !c.is_ascii_alphanumeric() && !"_-".contains(c)) {
        return Err(format!("current_tracer holds `{}`", short(tracer)));
    }
    let (on, events) = (text("tracing_on")?, text("events/enable")?);
    let events = match (on.trim(), events.trim()) {
        ("0", "0" | "1" | "X") | ("1", "0") => false,
        // X: some of them.
        ("1", "1" | "X") => true,
        (on, events) => return Err(format!("tracing_on holds `{}`, events/enable `{}`", short(on), short(events))),
    };
    let value = format!("tracer {tracer}, events {}", if events { "on" } else { "off" });
    Ok(Finding::of((tracer == "nop" || on.trim() == "0") && !events, value))
}
