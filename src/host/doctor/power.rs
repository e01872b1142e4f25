//! Frequency and sleep states.

use std::io::Read;

use super::checks::{Finding, Found};
use super::host::{Look, names, number, plain, read};

/// A sleep state that takes longer to leave is deep, µs; so is a request that allows one.
const DEEP_US: i64 = 10;

pub(super) fn cpu_governor(look: &Look) -> Found {
    let governor = look.cpu("cpufreq/scaling_governor")?;
    let governor = governor.trim();
    if governor.is_empty() || !governor.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Err("cpufreq/scaling_governor names no governor".into());
    }
    Ok(Finding::of(governor == "performance", governor))
}

pub(super) fn cpu_frequency(look: &Look) -> Found {
    let khz = |name: &str| number(&look.cpu(&format!("cpufreq/{name}"))?, name);
    let (least, most) = (khz("scaling_min_freq")?, khz("scaling_max_freq")?);
    if least <= 0 || most < least {
        return Err(format!("cpufreq says {least} to {most} kHz"));
    }
    let mhz = |khz: i64| khz / 1000;
    Ok(Finding::of(least == most, format!("{} to {} MHz", mhz(least), mhz(most))))
}

/// Said either way, so always good when it can be read.
pub(super) fn cpu_boost(look: &Look) -> Found {
    let intel = look.sys("devices/system/cpu/intel_pstate/no_turbo").map(|text| (text, "1"));
    let other = |_| look.sys("devices/system/cpu/cpufreq/boost").map(|text| (text, "0"));
    let (text, off) = intel.or_else(other)?;
    match text.trim() {
        text @ ("0" | "1") => Ok(Finding::of(true, if text == off { "off" } else { "on" })),
        _ => Err("the switch of turbo or boost holds neither 0 nor 1".into()),
    }
}

pub(super) fn c_states(look: &Look) -> Found {
    let folder = look.roots.sys.join(format!("devices/system/cpu/cpu{}/cpuidle", look.core));
    let (mut enabled, mut deepest) = (Vec::new(), 0);
    let states: Vec<_> = names(&folder)?.into_iter().filter(|name| name.starts_with("state")).collect();
    for state in &states {
        let text = |name: &str| read(&folder.join(state).join(name));
        let latency_us = number(&text("latency")?, "latency")?;
        if number(&text("disable")?, "disable")? == 0 {
            enabled.push(format!("{} {latency_us} us", super::cpus::short(&text("name")?)));
            deepest = deepest.max(latency_us);
        }
    }
    if states.is_empty() {
        return Err(format!("{} has no states", folder.display()));
    }
    let value = if enabled.is_empty() { "all disabled".into() } else { format!("enabled: {}", enabled.join(", ")) };
    Ok(Finding::of(deepest <= DEEP_US, value))
}

/// Opened to read only: the kernel then adds a request that asks for nothing, and drops it with the file.
pub(super) fn dma_latency(look: &Look) -> Found {
    use std::os::unix::fs::FileTypeExt;
    let path = look.roots.dev.join("cpu_dma_latency");
    let failed = |e: std::io::Error| format!("{} cannot be read: {}", path.display(), plain(&e));
    let kind = std::fs::metadata(&path).map_err(failed)?.file_type();
    if !kind.is_file() && !kind.is_char_device() {
        return Err(format!("{} is no device", path.display()));
    }
    let mut bytes = [0; 4];
    std::fs::File::open(&path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(failed)?;
    let latency_us = i64::from(i32::from_ne_bytes(bytes));
    match latency_us {
        ..0 => Err(format!("{} holds {latency_us} us", path.display())),
        // What the kernel answers while nobody asks for anything.
        2_000_000_000 => Ok(Finding::of(false, "nobody asks for less than 2,000 s")),
        _ => Ok(Finding::of(latency_us <= DEEP_US, format!("{latency_us} us"))),
    }
}
