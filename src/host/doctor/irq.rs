//! Interrupts that may be and that were delivered to the CPU, and kernel work that may run there.

use std::collections::BTreeMap;

use super::checks::{Finding, Found};
use super::cpus::Cpus;
use super::host::{Look, names, read};
use crate::report::table::thousands;

/// Interrupts a second, timer ticks apart, below which the CPU is quiet; and timer ticks a second.
const QUIET: f64 = 10.0;
/// Sources that a value names.
const NAMED: usize = 4;

/// One source of /proc/interrupts.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    /// Its handlers, or what the kernel calls it.
    name: String,
    /// Interrupts on the CPU asked about since the start.
    count: u64,
}

/// Sources by number or short name, with their counts on `core`; the columns are of CPUs that are online.
fn sources(text: &str, core: usize) -> Result<BTreeMap<String, Source>, String> {
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
    let column = header.iter().position(|name| *name == format!("CPU{core}"));
    let column = column.ok_or_else(|| format!("/proc/interrupts has no column of CPU {core}"))?;
    let mut found = BTreeMap::new();
    for line in lines {
        let Some((id, rest)) = line.split_once(':') else { continue };
        let words: Vec<_> = rest.split_whitespace().collect();
        // ERR and MIS have one number for all CPUs.
        if words.len() < header.len() {
            continue;
        }
        let Ok(count) = words[column].parse() else { continue };
        let told = &words[header.len()..];
        // Numbered interrupts say their chip and their kind before their handlers.
        let name = match id.trim().bytes().all(|b| b.is_ascii_digit()) {
            true => told.last().copied().unwrap_or("no handler").to_owned(),
            false => told.join(" "),
        };
        found.insert(id.trim().to_owned(), Source { name, count });
    }
    if found.is_empty() { Err("/proc/interrupts has no sources".into()) } else { Ok(found) }
}

pub(super) fn irq_affinity(look: &Look) -> Found {
    let sources = sources(&look.proc("interrupts")?, look.core)?;
    let folder = look.roots.proc.join("irq");
    let (mut looked, mut here) = (0, Vec::new());
    for id in names(&folder)?.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        // Without a handler nothing is delivered; the first timer (0) cannot be moved and is silent once Linux runs.
        let Some(source) = sources.get(id).filter(|_| id != "0") else { continue };
        let may = read(&folder.join(id).join("smp_affinity_list"))?;
        looked += 1;
        if Cpus::list(&may, None).map_err(|error| format!("/proc/irq/{id}/smp_affinity_list: {error}"))?.has(look.core)
        {
            here.push((id.clone(), source));
        }
    }
    if looked == 0 {
        return Err("/proc/irq has no interrupt with a handler".into());
    }
    if here.is_empty() {
        return Ok(Finding::of(true, format!("none of {looked} may come here")));
    }
    here.sort_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(&b.0)));
    let named: Vec<_> = here.iter().take(NAMED).map(|(id, s)| format!("{id} {}", s.name)).collect();
    let more = if here.len() > NAMED { ", …" } else { "" };
    let value = format!("{} of {looked} may come here: {}{more}", here.len(), named.join(", "));
    let ids: Vec<_> = here.iter().map(|(id, _)| id.as_str()).collect();
    let mend = format!(
        "systemctl stop irqbalance; for i in {}; do echo {{others}} > /proc/irq/$i/smp_affinity_list; done   # for \
         good, kernel parameter: irqaffinity={{others}}",
        ids.join(" ")
    );
    Ok(Finding::of(false, value).mend(mend))
}

pub(super) fn irq_counts(look: &Look) -> Found {
    let measured = look.measured.clone()?;
    let seconds = measured.probe.span_ns.max(1) as f64 / 1e9;
    let (before, after) =
        (sources(&measured.before.interrupts, look.core)?, sources(&measured.after.interrupts, look.core)?);
    let count_before = |id: &str| before.get(id).map_or(0, |s| s.count);
    let mut came: Vec<_> =
        after.iter().map(|(id, s)| (s.count.saturating_sub(count_before(id)), id.as_str(), s)).collect();
    came.sort_by_key(|(count, id, _)| (std::cmp::Reverse(*count), *id));
    let ticks = came.iter().filter(|(_, id, _)| *id == "LOC").map(|(count, ..)| count).sum::<u64>();
    came.retain(|(count, id, _)| *count > 0 && *id != "LOC");
    let all = came.iter().fold(0_u64, |sum, (count, ..)| sum.saturating_add(*count));
    let named = |(count, id, source): &(u64, &str, &Source)| format!("{id} {} {}", source.name, thousands(*count));
    let top: Vec<_> = came.iter().take(NAMED).map(named).collect();
    let top = if top.is_empty() { String::new() } else { format!(" ({})", top.join(", ")) };
    let value = format!("{} in {seconds:.1} s{top}; timer ticks (LOC) {}", thousands(all), thousands(ticks));
    // One of each is the probe's own start and end, however short it was.
    let quiet = |count: u64| count as f64 <= 1.0 + QUIET * seconds;
    Ok(Finding::of(quiet(all) && quiet(ticks), value))
}

pub(super) fn workqueue_cpumask(look: &Look) -> Found {
    let text = look.sys("devices/virtual/workqueue/cpumask")?;
    let cpus = Cpus::mask(&text)?;
    let finding = Finding::of(!cpus.has(look.core), format!("unbound work may run on {cpus}"));
    let others = look.others();
    // The kernel refuses an empty mask: the row's own mend says what is needed.
    if others.0.is_empty() {
        return Ok(finding);
    }
    Ok(finding.mend(format!("echo {} > /sys/devices/virtual/workqueue/cpumask", mask(&others))))
}

/// A mask as the kernel takes it: words of 32 bits, the highest first.
fn mask(cpus: &Cpus) -> String {
    let mut words = vec![0_u32; cpus.0.last().map_or(1, |last| last / 32 + 1)];
    cpus.0.iter().for_each(|cpu| words[cpu / 32] |= 1 << (cpu % 32));
    let text: Vec<_> = words.iter().rev().map(|word| format!("{word:x}")).collect();
    text.join(",")
}

#[cfg(test)]
mod tests {
    use super::super::examine;
    use super::super::fixture::{CORE, Tree, noisy};
    use super::*;

    #[test]
    fn without_another_cpu_no_mask_is_told() {
        let tree = Tree::bad();
        tree.write("sys/devices/system/cpu/online", &format!("{CORE}\n"));
        let found = examine(&tree.roots, CORE, Ok(noisy()));
        let check = found.checks.iter().find(|check| check.id == "workqueue_cpumask").expect("a row");
        assert!(check.mend.starts_with("write a mask without CPU 3 "), "{}", check.mend);
    }

    #[test]
    fn sources_are_read_by_the_column_of_the_cpu_and_not_by_its_number() {
        let text = "           CPU0       CPU2\n  4:   1   7  IO-APIC   4-edge  ttyS0\nLOC:  5  6  Local timer interrupts\nERR:  0\n";
        let found = sources(text, 2).expect("a column");
        assert_eq!(found["4"], Source { name: "ttyS0".into(), count: 7 });
        assert_eq!(found["LOC"], Source { name: "Local timer interrupts".into(), count: 6 });
        assert_eq!(found.len(), 2);
        assert!(sources(text, 1).expect_err("offline").contains("CPU 1"));
    }

    #[test]
    fn a_mask_is_the_same_when_read_again() {
        for cpus in [vec![0], vec![0, 31, 32, 70], vec![63]] {
            let cpus = Cpus::from_iter(cpus);
            assert_eq!(Cpus::mask(&mask(&cpus)), Ok(cpus));
        }
    }
}
