//! The clock: what the kernel uses, and whether the counter is fit for stamps.

use pillion_shm::Clock;

use super::checks::{Finding, Found};
use super::cpus::short;
use super::host::Look;
use crate::host::clock_words;

pub(super) fn clocksource(look: &Look) -> Found {
    let text = look.sys("devices/system/clocksource/clocksource0/current_clocksource")?;
    let name = text.trim();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
        return Err(format!("current_clocksource holds `{}`", short(name)));
    }
    Ok(Finding::of(["tsc", "arch_sys_counter"].contains(&name), name))
}

/// The lanes' clock in /dev/shm: whose it is, whether it runs as the kernel's does, how far it is from the wall clock.
pub(super) fn offset(look: &Look) -> Found {
    let dir = look.roots.dev.join("shm");
    if !dir.is_dir() {
        return Err(format!("{} is no folder", dir.display()));
    }
    match Clock::attach(&dir) {
        Ok(clock) => {
            let ns = clock.offset_ns();
            let text = clock_words::offset(ns);
            let value = text.split(": WARNING").next().unwrap_or(&text);
            Ok(Finding::of(ns.unsigned_abs() < clock_words::FAR_NS, value))
        }
        Err(error) if error.is_absent() => Ok(Finding::of(true, "none has been made since the machine started")),
        Err(error) => {
            let text = error.to_string();
            let (value, mend) = text.split_once("; mend: ").unwrap_or((&text, "see shm/README.md"));
            Ok(Finding::of(false, value).mend(mend))
        }
    }
}

/// What the first CPU of /proc/cpuinfo can do.
pub(super) fn flags(cpuinfo: &str) -> Option<Vec<&str>> {
    let field = |line: &'static str| {
        cpuinfo.lines().find_map(|l| l.split_once(':').filter(|(name, _)| name.trim() == line).map(|(_, flags)| flags))
    };
    let words: Vec<_> = field("flags").or_else(|| field("Features"))?.split_whitespace().collect();
    (!words.is_empty()).then_some(words)
}

pub(super) fn tsc_flags(look: &Look) -> Found {
    let text = look.proc("cpuinfo")?;
    let flags = flags(&text).ok_or("/proc/cpuinfo does not say what the CPU can do")?;
    if flags.contains(&"asimd") {
        return Ok(Finding::of(true, "the virtual counter (CNTVCT), invariant on every Arm CPU of 64 bits"));
    }
    if !flags.contains(&"tsc") {
        return Err("/proc/cpuinfo names no counter that Pillion knows".into());
    }
    let all = ["constant_tsc", "nonstop_tsc", "tsc_reliable", "tsc_known_freq"];
    let has: Vec<_> = all.into_iter().filter(|flag| flags.contains(flag)).collect();
    let good = has.starts_with(&all[..2]);
    Ok(Finding::of(good, if has.is_empty() { "none of constant_tsc, nonstop_tsc".into() } else { has.join(", ") }))
}
