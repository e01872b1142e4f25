//! Hand-made /proc, /sys and /dev trees: a tuned machine, a bad one, an empty one.

use std::fs;
use std::path::Path;

use super::host::{Measured, Sample};
use super::{GapProbe, Roots};

/// CPU that the trees are about.
pub(super) const CORE: usize = 3;

/// A tree in a folder of its own, which goes with it.
pub(super) struct Tree {
    dir: tempfile::TempDir,
    /// Its roots.
    pub(super) roots: Roots,
}

impl Tree {
    /// Nothing in it, not even the roots.
    pub(super) fn empty() -> Self {
        // Sixty small files a tree: memory is quicker than a disk.
        let memory = tempfile::Builder::new().prefix("pillion-test-").tempdir_in("/dev/shm");
        let dir = memory.or_else(|_| tempfile::tempdir()).expect("a folder");
        let at = |name: &str| dir.path().join(name);
        let roots = Roots { proc: at("proc"), sys: at("sys"), dev: at("dev") };
        Self { dir, roots }
    }

    /// A tuned four-CPU machine of bare metal whose CPU 3 is isolated: everything is as it should be.
    pub(super) fn tuned() -> Self {
        let tree = Self::empty();
        TUNED.iter().for_each(|(name, text)| tree.write(name, text));
        tree.write_bytes("dev/cpu_dma_latency", &0_i32.to_ne_bytes());
        fs::create_dir_all(tree.dir.path().join("dev/shm")).expect("a folder");
        fs::create_dir_all(tree.dir.path().join("sys/devices/system/cpu/cpu3/node0")).expect("a folder");
        tree
    }

    /// The same machine as it comes out of the box, under a hypervisor and in a container with a quota.
    pub(super) fn bad() -> Self {
        let tree = Self::tuned();
        BAD.iter().for_each(|(name, text)| tree.write(name, text));
        tree.write_bytes("dev/cpu_dma_latency", &2_000_000_000_i32.to_ne_bytes());
        tree
    }

    /// Writes one file.
    pub(super) fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    /// Writes one file.
    pub(super) fn write_bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a name below the root")).expect("a folder");
        fs::write(path, bytes).expect("writable");
    }

    /// Removes one file.
    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).expect("there");
    }

    /// All files, by name.
    pub(super) fn files(&self) -> Vec<String> {
        let (mut found, mut open) = (Vec::new(), vec![self.dir.path().to_owned()]);
        while let Some(path) = open.pop() {
            match path.is_dir() {
                true => open.extend(fs::read_dir(&path).expect("readable").map(|e| e.expect("an entry").path())),
                false => found.push(self.name(&path)),
            }
        }
        found.sort();
        found
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.dir.path()).expect("below").to_str().expect("plain").to_owned()
    }
}

/// A probe of two seconds, with its largest hole and what was lost in parts per million.
pub(super) fn probe(largest_hole_ns: u64, lost_ppm: f64) -> GapProbe {
    GapProbe {
        span_ns: 2_000_000_000,
        reads: 100_000_000,
        step_ns: 20.0,
        largest_hole_ns,
        above_1us: 2,
        above_5us: 0,
        above_10us: 0,
        above_50us: 0,
        above_100us: 0,
        above_1000us: 0,
        lost_ns: (lost_ppm * 2_000.0) as u64,
        lost_ppm,
        preempted: Some(0),
        histogram: vec![(largest_hole_ns, 1)],
    }
}

/// A quiet probe, and counts around it that hardly moved on CPU 3.
pub(super) fn quiet() -> Measured {
    let sample = |loc: u32, idle: u32| Sample {
        interrupts: TUNED[0].1.replace("LOC: 900 900 900 40", &format!("LOC: 900 900 900 {loc}")),
        stat: format!("cpu  1 1 1 1 1 1 1 1 1 1\ncpu3 {} 0 5 {idle} 0 0 0 0 0 0\n", 1000 + loc),
    };
    Measured { probe: probe(3_000, 2.5), before: sample(40, 10), after: sample(42, 10) }
}

/// A probe full of holes, a device interrupting, a hypervisor stealing.
pub(super) fn noisy() -> Measured {
    let before = Sample {
        interrupts:
            "CPU0 CPU1 CPU2 CPU3\n24: 0 0 0 100 PCI-MSI 1-edge nvme0q1\nLOC: 9 9 9 100 Local timer interrupts\n".into(),
        stat: "cpu3 100 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n".into(),
    };
    let after = Sample {
        interrupts:
            "CPU0 CPU1 CPU2 CPU3\n24: 0 0 0 600 PCI-MSI 1-edge nvme0q1\nLOC: 9 9 9 2100 Local timer interrupts\n".into(),
        stat: "cpu3 290 0 0 0 0 0 0 10 0 0\ncpu1 200 0 0 0 0 0 0 0 0 0\n".into(),
    };
    Measured { probe: probe(12_000_000, 60_000.0), before, after }
}

/// A tuned machine, file by file.
const TUNED: &[(&str, &str)] = &[
    (
        "proc/interrupts",
        "CPU0 CPU1 CPU2 CPU3\n 0: 9 0 0 0 IO-APIC 2-edge timer\n24: 50 0 0 0 PCI-MSI 1-edge nvme0q1\n\
         25: 0 9 0 0 PCI-MSI 2-edge eth0\nLOC: 900 900 900 40 Local timer interrupts\nERR: 0\n",
    ),
    ("proc/irq/0/smp_affinity_list", "0-3\n"),
    ("proc/irq/24/smp_affinity_list", "0-2\n"),
    ("proc/irq/25/smp_affinity_list", "1\n"),
    ("proc/irq/26/smp_affinity_list", "0-3\n"),
    ("proc/cmdline", "root=/dev/sda1 isolcpus=domain,managed_irq,3 nohz_full=3 rcu_nocbs=3\n"),
    (
        "proc/cpuinfo",
        "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu tsc constant_tsc nonstop_tsc tsc_known_freq\n",
    ),
    (
        "proc/meminfo",
        "MemTotal: 1 kB\nHugePages_Total:       8\nHugePages_Free:        8\nHugepagesize:       2048 kB\n",
    ),
    ("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    (
        "proc/self/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax locked memory  unlimited  unlimited  bytes\nMax realtime priority  99  99\n",
    ),
    ("proc/self/status", "Name:\tpillion\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-3\nMems_allowed_list:\t0\n"),
    ("proc/self/cgroup", "0::/pillion.slice/lane\n"),
    ("proc/self/mounts", "tmpfs /dev/shm tmpfs rw,nosuid 0 0\n"),
    ("proc/sys/vm/swappiness", "60\n"),
    ("proc/sys/vm/stat_interval", "120\n"),
    ("proc/sys/kernel/sched_rt_runtime_us", "-1\n"),
    ("proc/sys/kernel/sched_rt_period_us", "1000000\n"),
    ("proc/sys/kernel/nmi_watchdog", "0\n"),
    ("proc/sys/kernel/soft_watchdog", "1\n"),
    ("proc/sys/kernel/watchdog_cpumask", "0-2\n"),
    ("proc/sys/kernel/timer_migration", "0\n"),
    ("proc/sys/kernel/numa_balancing", "0\n"),
    ("sys/devices/system/node/online", "0-1\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("sys/devices/virtual/workqueue/cpumask", "7\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/possible", "0-3\n"),
    ("sys/devices/system/cpu/isolated", "3\n"),
    ("sys/devices/system/cpu/nohz_full", "3\n"),
    ("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "3\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_min_freq", "3500000\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_max_freq", "3500000\n"),
    ("sys/devices/system/cpu/cpu3/cpuidle/state0/name", "POLL\n"),
    ("sys/devices/system/cpu/cpu3/cpuidle/state0/latency", "0\n"),
    ("sys/devices/system/cpu/cpu3/cpuidle/state0/disable", "0\n"),
    ("sys/devices/system/cpu/cpu3/cpuidle/state1/name", "C6\n"),
    ("sys/devices/system/cpu/cpu3/cpuidle/state1/latency", "133\n"),
    ("sys/devices/system/cpu/cpu3/cpuidle/state1/disable", "1\n"),
    ("sys/devices/system/cpu/intel_pstate/no_turbo", "1\n"),
    ("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n"),
    ("sys/devices/system/cpu/vulnerabilities/spectre_v1", "Mitigation: usercopy/swapgs barriers\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"),
    ("sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never\n"),
    ("sys/kernel/mm/ksm/run", "0\n"),
    ("sys/kernel/tracing/current_tracer", "nop\n"),
    ("sys/kernel/tracing/tracing_on", "1\n"),
    ("sys/kernel/tracing/events/enable", "0\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory\n"),
    ("sys/fs/cgroup/cpuset.cpus.isolated", "\n"),
    ("sys/fs/cgroup/cpuset.cpus.effective", "0-3\n"),
    ("sys/fs/cgroup/pillion.slice/cgroup.controllers", "cpuset cpu\n"),
    ("sys/fs/cgroup/pillion.slice/cgroup.type", "domain\n"),
    ("sys/fs/cgroup/pillion.slice/cpu.max", "max 100000\n"),
    ("sys/fs/cgroup/pillion.slice/lane/cgroup.controllers", "memory\n"),
    ("sys/fs/cgroup/pillion.slice/lane/cgroup.type", "domain\n"),
    ("sys/fs/cgroup/pillion.slice/lane/cpuset.cpus.effective", "3\n"),
    ("sys/fs/cgroup/pillion.slice/lane/cpuset.cpus.partition", "member\n"),
];

/// What differs on a bad machine.
const BAD: &[(&str, &str)] = &[
    ("proc/irq/24/smp_affinity_list", "0-3\n"),
    ("proc/irq/25/smp_affinity_list", "3\n"),
    ("proc/cmdline", "root=/dev/sda1 quiet rcu_nocbs=1-2\n"),
    ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu tsc hypervisor\n"),
    ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2  partition  8  0  -2\n"),
    ("proc/self/limits", "Max locked memory  65536  65536  bytes\nMax realtime priority  0  0\n"),
    ("proc/self/status", "CapEff:\t0000000000000000\nCpus_allowed_list:\t0-2\nMems_allowed_list:\t0-1\n"),
    ("proc/self/mounts", "/dev/sda1 /dev/shm ext4 rw 0 0\n"),
    ("proc/sys/vm/stat_interval", "1\n"),
    ("proc/sys/kernel/sched_rt_runtime_us", "950000\n"),
    ("proc/sys/kernel/nmi_watchdog", "1\n"),
    ("proc/sys/kernel/watchdog_cpumask", "0-3\n"),
    ("proc/sys/kernel/timer_migration", "1\n"),
    ("proc/sys/kernel/numa_balancing", "1\n"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
    ("sys/devices/virtual/workqueue/cpumask", "f\n"),
    ("sys/devices/system/cpu/online", "0-2\n"),
    ("sys/devices/system/cpu/isolated", "\n"),
    ("sys/devices/system/cpu/nohz_full", " (null)\n"),
    ("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave\n"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_min_freq", "800000\n"),
    ("sys/devices/system/cpu/cpu3/cpuidle/state1/disable", "0\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
    ("sys/kernel/mm/transparent_hugepage/defrag", "[always] defer defer+madvise madvise never\n"),
    ("sys/kernel/mm/ksm/run", "1\n"),
    ("sys/kernel/tracing/current_tracer", "function\n"),
    ("sys/kernel/tracing/events/enable", "X\n"),
    ("sys/fs/cgroup/pillion.slice/cpu.max", "50000 100000\n"),
];
