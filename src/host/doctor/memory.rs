//! Memory: pages that move or wait, locking, NUMA, room for the regions.

use super::checks::{Finding, Found};
use super::cpus::{Cpus, short};
use super::host::{Look, names, plain};
use crate::config::Config;

/// Locked memory that a lane with ONNX Runtime and models surely fits, bytes.
const LOCKED_BYTES: u64 = 1 << 30;
/// Bit of CAP_IPC_LOCK.
const CAP_IPC_LOCK: u32 = 14;

/// The chosen one of `always [madvise] never`.
fn chosen(text: &str) -> Result<&str, String> {
    let word = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word);
    let known = ["always", "madvise", "never", "defer", "defer+madvise"];
    word.filter(|word| known.contains(word)).ok_or_else(|| format!("`{}` chooses nothing known", short(text)))
}

pub(super) fn thp_enabled(look: &Look) -> Found {
    let text = look.sys("kernel/mm/transparent_hugepage/enabled")?;
    let word = chosen(&text)?;
    Ok(Finding::of(word != "always", word))
}

pub(super) fn thp_defrag(look: &Look) -> Found {
    let text = look.sys("kernel/mm/transparent_hugepage/defrag")?;
    let word = chosen(&text)?;
    Ok(Finding::of(word != "always", word))
}

pub(super) fn ksm(look: &Look) -> Found {
    match look.sys("kernel/mm/ksm/run")?.trim() {
        "0" | "2" => Ok(Finding::of(true, "off")),
        "1" => Ok(Finding::of(false, "on")),
        other => Err(format!("/sys/kernel/mm/ksm/run holds `{}`", short(other))),
    }
}

/// Said either way, so always good when it can be read.
pub(super) fn hugepages(look: &Look) -> Found {
    let text = look.proc("meminfo")?;
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let value = value.and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok());
        value.ok_or_else(|| format!("/proc/meminfo has no {name}"))
    };
    let (free, all, kib) = (field("HugePages_Free")?, field("HugePages_Total")?, field("Hugepagesize")?);
    Ok(Finding::of(true, format!("{free} free of {all}, {kib} KiB each")))
}

pub(super) fn swap(look: &Look) -> Found {
    let text = look.proc("swaps")?;
    let mut lines = text.lines();
    if !lines.next().is_some_and(|header| header.starts_with("Filename")) {
        return Err("/proc/swaps has no header".into());
    }
    let areas = lines.filter(|line| !line.trim().is_empty()).count();
    let swappiness = look.sysctl("vm/swappiness").map_or("unknown".into(), |n| n.to_string());
    let value = if areas == 0 { "none".into() } else { format!("{areas} areas on, swappiness {swappiness}") };
    Ok(Finding::of(areas == 0, value))
}

pub(super) fn memlock(look: &Look) -> Found {
    let limit = look.limit("Max locked memory")?;
    let value = limit.map_or("unlimited".into(), |bytes| format!("{} KiB", bytes / 1024));
    if look.capable(CAP_IPC_LOCK) {
        return Ok(Finding::of(true, format!("{value}, and this process may lock beyond it (CAP_IPC_LOCK)")));
    }
    Ok(Finding::of(limit.is_none_or(|bytes| bytes >= LOCKED_BYTES), value))
}

/// Nodes with memory or CPUs.
fn nodes(look: &Look) -> Result<Cpus, String> {
    let nodes = Cpus::list(&look.sys("devices/system/node/online")?, None)?;
    if nodes.0.is_empty() { Err("/sys/devices/system/node/online is empty".into()) } else { Ok(nodes) }
}

pub(super) fn numa_node(look: &Look) -> Found {
    let nodes = nodes(look)?;
    let folder = look.roots.sys.join(format!("devices/system/cpu/cpu{}", look.core));
    let node = names(&folder)?.iter().find_map(|name| name.strip_prefix("node")?.parse::<usize>().ok());
    let node = node.filter(|node| nodes.has(*node)).ok_or("the CPU's folder in /sys names no node that is online")?;
    if nodes.0.len() == 1 {
        return Ok(Finding::of(true, format!("node {node}, the only one")));
    }
    let bound = Cpus::list(&look.status("Mems_allowed_list")?, None)?;
    let value = format!("node {node} of {nodes}; this process may take memory of {bound}");
    let mend = format!("numactl --cpunodebind={node} --membind={node} pillion run --config FILE");
    Ok(Finding::of(bound == Cpus::from_iter([node]), value).mend(mend))
}

pub(super) fn numa_balancing(look: &Look) -> Found {
    let nodes = nodes(look)?;
    if nodes.0.len() == 1 {
        return Ok(Finding::of(true, "one node: nothing to balance"));
    }
    match look.sysctl("kernel/numa_balancing")? {
        0 => Ok(Finding::of(true, "off")),
        mode => Ok(Finding::of(false, format!("on (mode {mode}), over nodes {nodes}"))),
    }
}

pub(super) fn dev_shm(look: &Look) -> Found {
    let path = look.roots.dev.join("shm");
    let mounts = look.proc("self/mounts")?;
    // The last one mounted there is the one that is seen.
    let kind = mounts.lines().rev().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next()? == "/dev/shm").then(|| words.next())?
    });
    let stat = rustix::fs::statvfs(path.as_path());
    let stat = stat.map_err(|e| format!("{} cannot be used: {}", path.display(), plain(&e.into())))?;
    let (size, free) = (stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize));
    Ok(room(kind.ok_or("/proc/self/mounts has no /dev/shm")?, size, free, regions_bytes()))
}

/// Whether a file system of this kind, size and room, in bytes, takes the regions.
pub(super) fn room(kind: &str, size: u64, free: u64, needed: u64) -> Finding {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let value = format!("{kind}, {} of {} MiB free, one lane needs {}", free >> 20, size >> 20, mib(needed));
    let finding = Finding::of(kind == "tmpfs" && free >= needed, value);
    match kind {
        "tmpfs" => finding,
        _ => finding.mend("mount -t tmpfs -o size=1G tmpfs /dev/shm"),
    }
}

/// What the regions of the default configuration take: slots of 128 bytes, and slack for headers, board and control page.
fn regions_bytes() -> u64 {
    let config = Config::parse("", "defaults", std::path::Path::new(".")).ok();
    let slots = config.map_or(2 * 65_536, |c| c.feed.slots + c.lanes.iter().map(|l| l.signal_slots).sum::<u64>());
    slots.saturating_mul(128).saturating_add(1 << 20)
}
