//! The files that a check looks at, below roots that a test can put elsewhere, and what changed in them over an interval.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::GapProbe;
use super::cpus::{Cpus, short};

/// Largest file that is read, bytes: /proc/interrupts of a large machine has a few MB.
const LARGEST: u64 = 16 << 20;

/// Where the kernel's files are: `/proc`, `/sys` and `/dev`, or a copy of them.
#[derive(Clone, Debug)]
pub struct Roots {
    /// procfs.
    pub proc: PathBuf,
    /// sysfs, with the control groups and tracefs below it.
    pub sys: PathBuf,
    /// Device nodes and `shm`.
    pub dev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), dev: "/dev".into() }
    }
}

/// What was counted around the probe.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// /proc/interrupts.
    pub(super) interrupts: String,
    /// /proc/stat.
    pub(super) stat: String,
}

impl Sample {
    /// Now; what cannot be read is empty.
    pub(super) fn take(roots: &Roots) -> Self {
        let text = |name| read(&roots.proc.join(name)).unwrap_or_default();
        Self { interrupts: text("interrupts"), stat: text("stat") }
    }
}

/// What was measured: the probe, and the counts before and after it.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) probe: GapProbe,
    pub(super) before: Sample,
    pub(super) after: Sample,
}

/// What a check is given: the host, the CPU in question, and what was measured or why nothing was.
pub(super) struct Look<'a> {
    pub(super) roots: &'a Roots,
    pub(super) core: usize,
    pub(super) measured: Result<&'a Measured, String>,
}

impl Look<'_> {
    /// A file below /proc; the error names the file.
    pub(super) fn proc(&self, name: &str) -> Result<String, String> {
        read(&self.roots.proc.join(name))
    }

    /// A file below /sys; the error names the file.
    pub(super) fn sys(&self, name: &str) -> Result<String, String> {
        read(&self.roots.sys.join(name))
    }

    /// A file of this CPU below /sys/devices/system/cpu/cpuN.
    pub(super) fn cpu(&self, name: &str) -> Result<String, String> {
        self.sys(&format!("devices/system/cpu/cpu{}/{name}", self.core))
    }

    /// A CPU list below /sys/devices/system/cpu.
    pub(super) fn cpu_list(&self, name: &str) -> Result<Cpus, String> {
        let text = self.sys(&format!("devices/system/cpu/{name}"))?;
        Cpus::list(&text, None).map_err(|error| format!("/sys/devices/system/cpu/{name}: {error}"))
    }

    /// A whole number in a file below /proc/sys.
    pub(super) fn sysctl(&self, name: &str) -> Result<i64, String> {
        number(&self.proc(&format!("sys/{name}"))?, name)
    }

    /// The kernel's command line, its parameters apart; empty or unprintable is an error.
    pub(super) fn cmdline(&self) -> Result<Vec<String>, String> {
        let text = self.proc("cmdline")?;
        if text.trim().is_empty() || text.trim().chars().any(|c| c.is_control() || c == '\u{fffd}') {
            return Err("/proc/cmdline holds no command line".into());
        }
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// A field of /proc/self/status.
    pub(super) fn status(&self, field: &str) -> Result<String, String> {
        let text = self.proc("self/status")?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.map(|v| v.trim().to_owned()).ok_or_else(|| format!("/proc/self/status has no {field}"))
    }

    /// Whether this process has a capability, by its bit.
    pub(super) fn capable(&self, bit: u32) -> bool {
        self.status("CapEff").ok().and_then(|hex| u64::from_str_radix(&hex, 16).ok()).is_some_and(|c| c >> bit & 1 == 1)
    }

    /// A soft limit of /proc/self/limits; `None` is unlimited.
    pub(super) fn limit(&self, name: &str) -> Result<Option<u64>, String> {
        let text = self.proc("self/limits")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        match value {
            Some("unlimited") => Ok(None),
            Some(value) => number(value, name).map(|n| Some(n.unsigned_abs())),
            None => Err(format!("/proc/self/limits has no `{name}`")),
        }
    }

    /// CPUs that may do everything else: online, and neither this one nor its sibling nor isolated where that leaves any.
    pub(super) fn others(&self) -> Cpus {
        let online = self.cpu_list("online").unwrap_or_default().without(&Cpus::from_iter([self.core]));
        let sibling = self.cpu_list(&format!("cpu{}/topology/thread_siblings_list", self.core)).unwrap_or_default();
        let left = online.without(&sibling).without(&self.cpu_list("isolated").unwrap_or_default());
        if left.0.is_empty() { online } else { left }
    }
}

/// A whole number and nothing else; the error names the file.
pub(super) fn number(text: &str, name: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("{name} holds `{}`, not a number", short(text)))
}

/// A regular file's text, with what is not UTF-8 replaced.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let failed = |problem: &dyn std::fmt::Display| format!("{} cannot be read: {problem}", path.display());
    // A pipe or a device would block or answer without end.
    let meta = std::fs::metadata(path).map_err(|e| failed(&plain(&e)))?;
    if !meta.is_file() {
        return Err(failed(&"it is no plain file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| failed(&plain(&e)))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|e| failed(&plain(&e)))?;
    if bytes.len() as u64 > LARGEST {
        return Err(failed(&"it is larger than 16 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An error without its number.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Names in a folder, sorted; the error names the folder.
pub(super) fn names(path: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(path).map_err(|e| format!("{} cannot be read: {}", path.display(), plain(&e)))?;
    let mut names: Vec<_> = entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
