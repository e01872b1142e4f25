//! Who else the kernel may run on the CPU: isolation, the tick, RCU.

use super::checks::{Finding, Found};
use super::cpus::Cpus;
use super::host::Look;

/// Where the second version of control groups may be mounted, below /sys.
pub(super) const CGROUP2: [&str; 2] = ["fs/cgroup", "fs/cgroup/unified"];

pub(super) fn isolated_cpu(look: &Look) -> Found {
    let boot = look.sys("devices/system/cpu/isolated").and_then(|text| match text.is_empty() {
        // The kernel ends even an empty list with a line feed.
        true => Err("/sys/devices/system/cpu/isolated is empty".into()),
        false => Cpus::list(&text, None),
    });
    let group = CGROUP2.iter().find_map(|at| look.sys(&format!("{at}/cpuset.cpus.isolated")).ok());
    let group = group.and_then(|text| Cpus::list(&text, None).ok());
    if group.as_ref().is_some_and(|cpus| cpus.has(look.core)) {
        return Ok(Finding::of(true, "isolated by a cpuset partition"));
    }
    let boot = boot?;
    let none = if boot.0.is_empty() { "none".to_owned() } else { boot.to_string() };
    let value = format!("isolated: {none}{}", if group.is_some() { ", and no cpuset partition has it" } else { "" });
    Ok(Finding::of(boot.has(look.core), value))
}

pub(super) fn nohz_full(look: &Look) -> Found {
    let text = look.sys("devices/system/cpu/nohz_full")?;
    // What the kernel prints where the parameter was not given.
    let text = if text.trim() == "(null)" { "\n" } else { &text };
    if text.is_empty() {
        return Err("/sys/devices/system/cpu/nohz_full is empty".into());
    }
    let cpus = Cpus::list(text, None)?;
    let none = if cpus.0.is_empty() { "none".to_owned() } else { cpus.to_string() };
    Ok(Finding::of(cpus.has(look.core), format!("tickless: {none}")))
}

pub(super) fn rcu_nocbs(look: &Look) -> Found {
    let words = look.cmdline()?;
    let last = look.cpu_list("possible").ok().and_then(|cpus| cpus.0.last().copied());
    let of = |key: &str| words.iter().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let (nocbs, nohz) = (of("rcu_nocbs"), of("nohz_full"));
    for (key, list) in [("rcu_nocbs", nocbs), ("nohz_full", nohz)] {
        let Some(list) = list else { continue };
        let cpus = Cpus::list(list, last).map_err(|error| format!("kernel parameter {key}: {error}"))?;
        if cpus.has(look.core) {
            return Ok(Finding::of(true, format!("off the CPU by kernel parameter {key}={list}")));
        }
    }
    Ok(match nocbs {
        Some(list) => Finding::of(false, format!("rcu_nocbs={list} leaves this CPU out")),
        None => Finding::of(false, "neither rcu_nocbs nor nohz_full among the kernel's parameters has this CPU"),
    })
}
