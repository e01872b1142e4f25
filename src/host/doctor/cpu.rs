//! The CPU itself: what the probe saw, whether it is there, its sibling, a hypervisor, mitigations.

use super::checks::{Finding, Found};
use super::cpus::{Cpus, short};
use super::host::{Look, names};
use super::probe;
use crate::report::table::thousands;

/// A sibling that was idle for at least this share of the interval is idle.
const IDLE: f64 = 0.99;

pub(super) fn gap_probe(look: &Look) -> Found {
    let seen = &look.measured.clone()?.probe;
    let preempted = seen.preempted.map_or(String::new(), |n| format!(", preempted {} times", thousands(n)));
    let value = format!(
        "largest hole {} ns; {} ppm lost in {} holes above 1 us{preempted}; {:.1} s",
        thousands(seen.largest_hole_ns),
        thousands(seen.lost_ppm.round() as u64),
        thousands(seen.above_1us),
        seen.span_ns as f64 / 1e9
    );
    Ok(Finding { verdict: probe::verdict(seen), value, mend: None })
}

pub(super) fn core_online(look: &Look) -> Found {
    let online = look.cpu_list("online")?;
    if online.0.is_empty() {
        return Err("/sys/devices/system/cpu/online is empty".into());
    }
    let state = if online.has(look.core) { "online" } else { "not online" };
    Ok(Finding::of(online.has(look.core), format!("{state}; online: {online}")))
}

pub(super) fn smt_sibling(look: &Look) -> Found {
    let list = look.cpu("topology/thread_siblings_list")?;
    let siblings = Cpus::list(&list, None)?;
    if !siblings.has(look.core) {
        return Err(format!("thread_siblings_list `{}` does not have this CPU", short(&list)));
    }
    let others = siblings.without(&Cpus::from_iter([look.core]));
    if others.0.is_empty() {
        return Ok(Finding::of(true, "none online: the core is this CPU's alone"));
    }
    let measured = look.measured.as_ref().map_err(|why| format!("CPU {others} is online; {why}"))?;
    let idle = |&cpu: &usize| super::container::spent(measured, cpu).map(|spent| spent.idle);
    let least = others.0.iter().map(idle).collect::<Result<Vec<_>, _>>()?.into_iter().fold(1.0, f64::min);
    let off = others.0.iter().map(|cpu| format!("echo 0 > /sys/devices/system/cpu/cpu{cpu}/online"));
    let value = format!("CPU {others} is online and was {:.0} % busy during the probe", 100.0 * (1.0 - least));
    Ok(Finding::of(least >= IDLE, value).mend(off.collect::<Vec<_>>().join("; ")))
}

pub(super) fn virtualised(look: &Look) -> Found {
    let text = look.proc("cpuinfo")?;
    let flags = super::clock::flags(&text).ok_or("/proc/cpuinfo does not say what the CPU can do")?;
    if !flags.contains(&"fpu") {
        return Err("this kind of CPU does not say whether it is virtual".into());
    }
    let virtual_cpu = flags.contains(&"hypervisor");
    Ok(Finding::of(!virtual_cpu, if virtual_cpu { "the CPU is virtual" } else { "bare metal" }))
}

pub(super) fn mitigations(look: &Look) -> Found {
    let folder = look.roots.sys.join("devices/system/cpu/vulnerabilities");
    let (mut counts, words) = ([0; 3], ["Mitigation", "Vulnerable", "Not affected"]);
    for name in names(&folder)? {
        let text = super::host::read(&folder.join(&name))?;
        for (count, word) in counts.iter_mut().zip(words) {
            *count += usize::from(text.contains(word));
        }
    }
    let [mitigated, vulnerable, unaffected] = counts;
    if mitigated + vulnerable + unaffected == 0 {
        return Err("/sys/devices/system/cpu/vulnerabilities says nothing".into());
    }
    let value = format!("{mitigated} mitigated, {vulnerable} vulnerable, {unaffected} not affecting this CPU");
    Ok(Finding::of(true, value))
}
