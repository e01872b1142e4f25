//! The list of all checks, in order: what each is called, how much it counts, why it matters and what mends it.

use super::host::Look;
use super::{Check, Verdict, clock, container, cpu, irq, kernel, memory, power, schedule};

/// How much a check counts in the grade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// By itself it makes holes of microseconds and more.
    Critical,
    /// It makes holes now and then, or the line slower.
    Major,
    /// It helps.
    Minor,
    /// Said, and not counted.
    Info,
}

impl Weight {
    /// Points in the grade.
    pub(super) fn points(self) -> f64 {
        match self {
            Self::Critical => 8.0,
            Self::Major => 3.0,
            Self::Minor => 1.0,
            Self::Info => 0.0,
        }
    }

    /// The word that reports use.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Major => "major",
            Self::Minor => "minor",
            Self::Info => "info",
        }
    }
}

/// What a check function found.
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) value: String,
    /// Instead of the row's own mend.
    pub(super) mend: Option<String>,
}

impl Finding {
    /// Good when `good`, else poor.
    pub(super) fn of(good: bool, value: impl Into<String>) -> Self {
        let verdict = if good { Verdict::Good } else { Verdict::Poor };
        Self { verdict, value: value.into(), mend: None }
    }

    /// With a mend that names what was found.
    pub(super) fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

/// A finding, or why there is none: the check is then unknown.
pub(super) type Found = Result<Finding, String>;

/// One check. In `mend`, {core} is the CPU and {others} the CPUs that may do everything else.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) weight: Weight,
    pub(super) why: &'static str,
    pub(super) mend: &'static str,
    pub(super) look: fn(&Look) -> Found,
}

impl Row {
    /// Runs it.
    pub(super) fn check(&self, look: &Look) -> Check {
        let unknown = |why| Finding { verdict: Verdict::Unknown, value: why, mend: None };
        let found = (self.look)(look).unwrap_or_else(unknown);
        let others = look.others().to_string();
        let others = if others.is_empty() { "OTHER-CPUS".into() } else { others };
        let mend = found.mend.unwrap_or_else(|| self.mend.into());
        Check {
            id: self.id.into(),
            weight: self.weight.word().into(),
            value: found.value,
            verdict: found.verdict,
            why: self.why.into(),
            mend: mend.replace("{core}", &look.core.to_string()).replace("{others}", &others),
        }
    }
}

/// A row of the table.
const fn row(id: &'static str, weight: Weight, look: fn(&Look) -> Found, why: &'static str, mend: &'static str) -> Row {
    Row { id, weight, why, mend, look }
}

use Weight::{Critical, Info, Major, Minor};

/// Every check.
pub(super) const CHECKS: &[Row] = &[
    row(
        "gap_probe",
        Critical,
        cpu::gap_probe,
        "what the thread really loses: in a hole every tick waits (good: largest hole < 10 us and < 100 ppm lost)",
        "first mend what is poor below; then measure again: pillion doctor --core {core} --seconds 10",
    ),
    row(
        "core_online",
        Critical,
        cpu::core_online,
        "a thread cannot be pinned to a CPU that is offline",
        "echo 1 > /sys/devices/system/cpu/cpu{core}/online",
    ),
    row(
        "isolated_cpu",
        Critical,
        schedule::isolated_cpu,
        "on a CPU that the scheduler balances, any other thread may take the CPU for milliseconds",
        "kernel parameter: isolcpus=domain,managed_irq,{core}   # then reboot",
    ),
    row(
        "nohz_full",
        Critical,
        schedule::nohz_full,
        "the timer tick interrupts the thread 100 to 1,000 times a second, microseconds each",
        "kernel parameter: nohz_full={core}   # then reboot; needs CONFIG_NO_HZ_FULL",
    ),
    row(
        "rcu_nocbs",
        Major,
        schedule::rcu_nocbs,
        "RCU callbacks of the kernel run on the CPU in softirqs, in bursts",
        "kernel parameter: rcu_nocbs={core} rcu_nocb_poll   # then reboot",
    ),
    row(
        "irq_affinity",
        Critical,
        irq::irq_affinity,
        "a device whose interrupt may be delivered to the CPU stops the thread for its handler and the softirqs after it",
        "systemctl stop irqbalance; kernel parameter: irqaffinity={others}   # then reboot",
    ),
    row(
        "irq_counts",
        Major,
        irq::irq_counts,
        "interrupts that did arrive during the probe (good: fewer than 10 a second, and fewer than 10 timer ticks)",
        "move what is named with /proc/irq/N/smp_affinity_list; LOC goes with nohz_full={core}, RES, CAL and TLB when no other \
         thread of the process runs on CPU {core}",
    ),
    row(
        "workqueue_cpumask",
        Major,
        irq::workqueue_cpumask,
        "unbound kernel work (write-back, block devices) may be run on the CPU by a kworker thread",
        "write a mask without CPU {core} to /sys/devices/virtual/workqueue/cpumask   # its words: 32 CPUs each, the highest first",
    ),
    row(
        "smt_sibling",
        Major,
        cpu::smt_sibling,
        "a busy hyper-thread halves the core's units and caches: the line is slower by a third or more, and unevenly so",
        "echo off > /sys/devices/system/cpu/smt/control",
    ),
    row(
        "cpu_governor",
        Major,
        power::cpu_governor,
        "a governor that saves power lowers the clock between bursts, and raising it again takes microseconds",
        "echo performance > /sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor",
    ),
    row(
        "cpu_frequency",
        Minor,
        power::cpu_frequency,
        "where the lowest frequency is below the highest, the CPU may change it; changes halt the core for microseconds",
        "cat /sys/devices/system/cpu/cpu{core}/cpufreq/scaling_max_freq > /sys/devices/system/cpu/cpu{core}/cpufreq/scaling_min_freq",
    ),
    row(
        "cpu_boost",
        Info,
        power::cpu_boost,
        "said, not counted: boost is faster at the median and varies with heat and with what the other cores do",
        "echo 0 > /sys/devices/system/cpu/cpufreq/boost   # to try without; intel_pstate: echo 1 > \
         /sys/devices/system/cpu/intel_pstate/no_turbo",
    ),
    row(
        "c_states",
        Minor,
        power::c_states,
        "the CPU sleeps whenever the thread does not spin, and deep states of other cores slow the shared cache (good: \
         no state enabled that takes more than 10 us to leave)",
        "kernel parameters: processor.max_cstate=1 intel_idle.max_cstate=1   # then reboot",
    ),
    row(
        "dma_latency",
        Minor,
        power::dma_latency,
        "a request here keeps every CPU out of deep sleep states for as long as its file is open (good: 10 us or less)",
        "(exec 3<>/dev/cpu_dma_latency; printf '\\0\\0\\0\\0' >&3; sleep infinity) &",
    ),
    row(
        "thp_enabled",
        Major,
        memory::thp_enabled,
        "with `always`, khugepaged joins pages of any process behind its back, and a fault may wait for compaction",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
    ),
    row(
        "thp_defrag",
        Minor,
        memory::thp_defrag,
        "with `always`, a page fault reclaims and compacts memory before it returns: milliseconds",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag",
    ),
    row(
        "ksm",
        Minor,
        memory::ksm,
        "ksmd scans and shares pages; the next write to a shared page is a fault that copies it",
        "echo 2 > /sys/kernel/mm/ksm/run",
    ),
    row(
        "hugepages",
        Info,
        memory::hugepages,
        "said, not counted: Pillion's regions live in /dev/shm and take none; pages reserved here are nobody else's",
        "sysctl -w vm.nr_hugepages=0",
    ),
    row(
        "swap",
        Major,
        memory::swap,
        "a page that was swapped out is a fault that waits for a disk; locked memory is safe, the rest is not",
        "swapoff -a",
    ),
    row(
        "memlock",
        Major,
        memory::memlock,
        "a lane locks all that its process maps (regions of 16 MiB, books, models, ONNX Runtime); below the limit it cannot \
         (good: 1 GiB or more, or CAP_IPC_LOCK)",
        "ulimit -l unlimited   # a systemd unit: LimitMEMLOCK=infinity",
    ),
    row(
        "numa_node",
        Major,
        memory::numa_node,
        "memory of another node costs about twice as much to reach; the cold threads that load models may run there",
        "numactl --cpunodebind=NODE --membind=NODE pillion run --config FILE   # NODE: lscpu -e=CPU,NODE",
    ),
    row(
        "numa_balancing",
        Major,
        memory::numa_balancing,
        "the kernel unmaps pages to see who uses them: a fault each, and pages move while they are used",
        "sysctl -w kernel.numa_balancing=0",
    ),
    row(
        "dev_shm",
        Major,
        memory::dev_shm,
        "the tick and signal rings are files there: without room a lane is refused, on a disk a write-back stops it",
        "mount -o remount,size=1G /dev/shm",
    ),
    row(
        "rt_throttling",
        Minor,
        kernel::rt_throttling,
        "a SCHED_FIFO thread that never sleeps is stopped for the rest of each second (50 ms by default)",
        "sysctl -w kernel.sched_rt_runtime_us=-1",
    ),
    row(
        "rt_priority",
        Minor,
        kernel::rt_priority,
        "SCHED_FIFO keeps ordinary threads off the CPU where it cannot be isolated",
        "ulimit -r 99   # in a systemd unit: LimitRTPRIO=99; then, for the hot thread: chrt -f -p 50 TID",
    ),
    row(
        "nmi_watchdog",
        Minor,
        kernel::nmi_watchdog,
        "a performance counter interrupts the CPU every ten seconds or so",
        "sysctl -w kernel.nmi_watchdog=0",
    ),
    row(
        "soft_watchdog",
        Minor,
        kernel::soft_watchdog,
        "a timer and a kernel thread of the highest priority run on the CPU every few seconds",
        "sysctl -w kernel.watchdog_cpumask={others}   # or kernel.watchdog=0",
    ),
    row(
        "stat_interval",
        Minor,
        kernel::stat_interval,
        "memory statistics are gathered on each CPU by a kworker that often (good: 10 s or more)",
        "sysctl -w vm.stat_interval=120",
    ),
    row(
        "timer_migration",
        Minor,
        kernel::timer_migration,
        "timers of idle CPUs are moved to busy ones, and the spinning CPU is always busy",
        "sysctl -w kernel.timer_migration=0",
    ),
    row(
        "tracing",
        Major,
        kernel::tracing,
        "tracers and trace events left on cost time in every interrupt, fault and switch",
        "echo nop > /sys/kernel/tracing/current_tracer; echo 0 > /sys/kernel/tracing/events/enable; echo 0 > \
         /sys/kernel/tracing/tracing_on",
    ),
    row(
        "clocksource",
        Major,
        clock::clocksource,
        "the kernel leaves the TSC only when it finds it unstable; other clocks cost a system call or a device access a read",
        "kernel parameters: clocksource=tsc tsc=reliable   # then reboot; first find out why the kernel left it: dmesg | grep -i tsc",
    ),
    row(
        "tsc_flags",
        Critical,
        clock::tsc_flags,
        "stamps are reads of the TSC: it must run at one rate and through sleep states",
        "run on a CPU, or with a hypervisor setting, that has constant_tsc and nonstop_tsc (QEMU: -cpu host,+invtsc)",
    ),
    row(
        "clock_offset",
        Info,
        clock::offset,
        "said, not counted: a clock that was made before the wall clock was set gives stamps that agree only with each other",
        "stop feeds, sidecars and strategies, then: pillion shm rm --all --clock   # and start them again",
    ),
    row(
        "cpu_quota",
        Critical,
        container::cpu_quota,
        "a container with a CPU quota is stopped for the rest of each period (100 ms) once a spinning thread has used it up",
        "run without one: docker run --cpu-quota=-1 (or no --cpus); Kubernetes: no CPU limit, or static CPU manager; systemd: CPUQuota=",
    ),
    row(
        "cpuset",
        Critical,
        container::cpuset,
        "the thread can only be pinned to a CPU that the process's control group allows",
        "taskset -cp {core},{others} $$   # docker: --cpuset-cpus={core},{others}; a systemd unit: AllowedCPUs={core} {others}",
    ),
    row(
        "steal",
        Critical,
        container::steal,
        "the hypervisor gave the CPU to another machine for that time (good: below 0.1 %)",
        "pin the virtual CPU to a physical one of its own (libvirt: vcpupin), or rent dedicated cores or a bare-metal host",
    ),
    row(
        "virtualised",
        Major,
        cpu::virtualised,
        "a hypervisor stops virtual CPUs for its own work, unseen from inside; every interrupt costs an exit",
        "run on bare metal, or with the virtual CPU pinned to a physical one of its own and its ticks off",
    ),
    row(
        "mitigations",
        Info,
        cpu::mitigations,
        "said, not counted: mitigations cost at system calls and switches, and the hot thread makes none",
        "nothing to do; for the cold side, and only on a host that runs nobody else's code, kernel parameter: mitigations=off",
    ),
];
