//! The checks on hand-made trees: what is tuned is good, what is bad is poor, what is not there is unknown.

use proptest::prelude::*;

use super::checks::CHECKS;
use super::fixture::{CORE, Tree, noisy, probe, quiet};
use super::host::Measured;
use super::*;

/// Checks that are good whatever they say: they are not counted.
const SAID: [&str; 4] = ["cpu_boost", "hugepages", "clock_offset", "mitigations"];

fn none() -> Result<Measured, String> {
    Err("not measured: a test".into())
}

fn with(verdict: Verdict, found: &Diagnosis) -> Vec<(&str, &str)> {
    let these = found.checks.iter().filter(|check| check.verdict == verdict);
    these.map(|check| (check.id.as_str(), check.value.as_str())).collect()
}

fn one<'a>(found: &'a Diagnosis, id: &str) -> &'a Check {
    found.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

/// One check of the tuned tree after a change to it.
fn after(id: &str, change: impl Fn(&Tree)) -> (Verdict, String) {
    let tree = Tree::tuned();
    change(&tree);
    let found = examine(&tree.roots, CORE, Ok(quiet()));
    let check = one(&found, id);
    (check.verdict, check.value.clone())
}

#[track_caller]
fn is(id: &str, file: &str, text: &str, verdict: Verdict, value: &str) {
    let found = after(id, |tree| tree.write(file, text));
    assert!(found.0 == verdict && found.1.contains(value), "{id} with {file} = {text:?}: {found:?}");
}

#[test]
fn a_tuned_machine_is_all_good() {
    let tree = Tree::tuned();
    let found = examine(&tree.roots, CORE, Ok(quiet()));
    assert_eq!(with(Verdict::Poor, &found), []);
    assert_eq!(with(Verdict::Unknown, &found), []);
    assert_eq!(found.grade, "A");
    assert_eq!((found.core, found.checks.len()), (CORE, CHECKS.len()));
}

#[test]
fn a_bad_machine_is_all_poor_with_mends_that_name_its_cpus() {
    let tree = Tree::bad();
    let found = examine(&tree.roots, CORE, Ok(noisy()));
    let good: Vec<_> = with(Verdict::Good, &found).into_iter().map(|(id, _)| id).collect();
    assert_eq!(good, SAID);
    assert_eq!(with(Verdict::Unknown, &found), []);
    assert_eq!(found.grade, "F");
    for check in &found.checks {
        assert!(!check.mend.is_empty() && !check.why.is_empty() && !check.value.is_empty(), "{check:?}");
        assert!(!check.mend.contains('{') && !check.mend.contains("OTHER"), "{check:?}");
    }
    let mend = |id: &str| one(&found, id).mend.as_str();
    assert!(mend("irq_affinity").contains("for i in 24 25; do echo 0,2 > /proc/irq/$i/"), "{}", mend("irq_affinity"));
    assert_eq!(mend("workqueue_cpumask"), "echo 5 > /sys/devices/virtual/workqueue/cpumask");
    assert_eq!(mend("smt_sibling"), "echo 0 > /sys/devices/system/cpu/cpu1/online");
    assert!(mend("isolated_cpu").starts_with("kernel parameter: isolcpus=domain,managed_irq,3 "));
    let value = |id: &str| one(&found, id).value.as_str();
    assert_eq!(value("irq_counts"), "500 in 2.0 s (24 nvme0q1 500); timer ticks (LOC) 2,000");
    assert_eq!(value("irq_affinity"), "2 of 2 may come here: 24 nvme0q1, 25 eth0");
    assert_eq!(value("steal"), "5.00 % of 200 kernel ticks");
    assert_eq!(value("smt_sibling"), "CPU 1 is online and was 100 % busy during the probe");
    assert_eq!(value("cpu_quota"), "0.50 CPUs' time");
}

#[test]
fn an_empty_machine_is_all_unknown() {
    let found = examine(&Tree::empty().roots, CORE, none());
    assert_eq!(with(Verdict::Good, &found), []);
    assert_eq!(with(Verdict::Poor, &found), []);
    assert_eq!(with(Verdict::Unknown, &found).len(), CHECKS.len());
    // Half of all points.
    assert_eq!((found.grade.as_str(), found.probe), ("D", None));
}

#[test]
fn empty_files_are_unknown() {
    let tree = Tree::tuned();
    for name in tree.files() {
        tree.write(&name, "");
    }
    let found = examine(&tree.roots, CORE, none());
    // That there is no clock yet is known.
    let good: Vec<_> = with(Verdict::Good, &found).into_iter().filter(|(id, _)| *id != "clock_offset").collect();
    assert_eq!(good, []);
    assert_eq!(with(Verdict::Poor, &found), []);
}

/// Each file that is taken away makes some check unknown, or is one that nothing hangs on.
#[test]
fn a_missing_file_never_makes_anything_better_or_poor() {
    // Said only; one of several; of an interrupt without a handler or that never comes; the name of a state that is off.
    let spare = [
        "vm/swappiness",
        "sched_rt_period_us",
        "cpu/possible",
        "vulnerabilities/",
        "fs/cgroup/",
        "irq/0/",
        "irq/26/",
        "cpuidle/state1/",
    ];
    for name in Tree::tuned().files() {
        let tree = Tree::tuned();
        tree.remove(&name);
        let found = examine(&tree.roots, CORE, Ok(quiet()));
        let (poor, unknown) = (with(Verdict::Poor, &found), with(Verdict::Unknown, &found));
        if name.ends_with("watchdog_cpumask") {
            // Without it a watchdog watches every CPU.
            assert_eq!(poor, [("soft_watchdog", "on")]);
            continue;
        }
        assert_eq!(poor, [], "{name}");
        assert!(!unknown.is_empty() || spare.iter().any(|part| name.contains(part)), "{name}");
    }
}

#[test]
fn checks_turn_on_what_their_files_say() {
    use Verdict::{Good, Poor, Unknown};
    let cpu = |name: &str| format!("sys/devices/system/cpu/{name}");
    is("isolated_cpu", &cpu("isolated"), "0-2\n", Poor, "isolated: 0-2");
    is("isolated_cpu", &cpu("isolated"), "x\n", Unknown, "not a list");
    is("nohz_full", &cpu("nohz_full"), "1-2\n", Poor, "tickless: 1-2");
    is("rcu_nocbs", "proc/cmdline", "rcu_nocbs=0-N\n", Good, "rcu_nocbs=0-N");
    is("rcu_nocbs", "proc/cmdline", "nohz_full=2-3:1/1 quiet\n", Good, "nohz_full=");
    is("rcu_nocbs", "proc/cmdline", "rcu_nocbs=9-1\n", Unknown, "rcu_nocbs");
    is("cpu_frequency", &cpu("cpu3/cpufreq/scaling_min_freq"), "-5\n", Unknown, "kHz");
    is("cpu_boost", &cpu("intel_pstate/no_turbo"), "0\n", Good, "on");
    is("c_states", &cpu("cpu3/cpuidle/state1/disable"), "0\n", Poor, "C6 133 us");
    is("thp_enabled", "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n", Good, "madvise");
    is("thp_enabled", "sys/kernel/mm/transparent_hugepage/enabled", "[sometimes]\n", Unknown, "nothing known");
    is("memlock", "proc/self/limits", "Max locked memory  1073741824 x bytes\n", Good, "1048576 KiB");
    is("memlock", "proc/self/limits", "Max locked memory  1073741823 x bytes\n", Poor, "1048575 KiB");
    is("numa_balancing", "sys/devices/system/node/online", "0\n", Good, "one node");
    is("numa_node", "proc/self/status", "Mems_allowed_list:\t0-1\n", Poor, "node 0 of 0-1");
    is("nmi_watchdog", "proc/sys/kernel/nmi_watchdog", "1\n", Good, "watching 0-2");
    is("soft_watchdog", "proc/sys/kernel/soft_watchdog", "7\n", Unknown, "neither 0 nor 1");
    is("stat_interval", "proc/sys/vm/stat_interval", "9\n", Poor, "9 s");
    is("tracing", "sys/kernel/tracing/tracing_on", "0\n", Good, "nop");
    is("tracing", "sys/kernel/tracing/current_tracer", "irqsoff\n", Poor, "irqsoff");
    is("clocksource", "sys/devices/system/clocksource/clocksource0/current_clocksource", "kvm-clock\n", Poor, "kvm");
    is("tsc_flags", "proc/cpuinfo", "flags : fpu tsc constant_tsc\n", Poor, "constant_tsc");
    is("tsc_flags", "proc/cpuinfo", "Features : fp asimd\n", Good, "CNTVCT");
    is("virtualised", "proc/cpuinfo", "Features : fp asimd\n", Unknown, "does not say");
    is("cpuset", "proc/self/status", "Cpus_allowed_list:\t0-2\n", Poor, "may use 0-2");
    is("dev_shm", "proc/self/mounts", "tmpfs /dev/shm tmpfs rw 0 0\nx /dev/shm overlay rw 0 0\n", Poor, "overlay");
}

#[test]
fn control_groups_of_either_version_are_understood() {
    let group = "sys/fs/cgroup/pillion.slice/lane/cpu.max";
    is("cpu_quota", group, "200000 100000\n", Verdict::Poor, "2.00 CPUs");
    is("cpu_quota", group, "max\n", Verdict::Unknown, "not a number");
    is("cpu_quota", "proc/self/cgroup", "0::/../..\n", Verdict::Good, "none");
    let first = |quota: &'static str| {
        after("cpu_quota", move |tree| {
            tree.write("proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/docker/x\n0::/\n");
            tree.write("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us", quota);
            tree.write("sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
            tree.write("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n");
            tree.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        })
    };
    assert_eq!(first("-1\n"), (Verdict::Good, "none".into()));
    assert_eq!(first("150000\n"), (Verdict::Poor, "1.50 CPUs' time".into()));
    assert_eq!(first("0\n").0, Verdict::Unknown);
    let partition = after("isolated_cpu", |tree| {
        tree.write("sys/devices/system/cpu/isolated", "\n");
        tree.write("sys/fs/cgroup/cpuset.cpus.isolated", "2-3\n");
    });
    assert_eq!(partition, (Verdict::Good, "isolated by a cpuset partition".into()));
}

#[test]
fn capabilities_lift_limits() {
    let status = |caps: &'static str| {
        move |tree: &Tree| {
            tree.write("proc/self/limits", "Max locked memory  65536 65536 bytes\nMax realtime priority  0  0\n");
            tree.write("proc/self/status", &format!("CapEff:\t{caps}\n"));
        }
    };
    assert_eq!(after("memlock", status("0000000000004000")).0, Verdict::Good);
    assert_eq!(after("memlock", status("0000000000800000")).0, Verdict::Poor);
    assert_eq!(after("rt_priority", status("0000000000800000")).0, Verdict::Good);
    assert_eq!(after("rt_priority", status("garbage")).0, Verdict::Poor);
}

#[test]
fn dev_shm_needs_room_in_a_tmpfs() {
    let room = |kind, free| memory::room(kind, 64 << 20, free, 17 << 20).verdict;
    assert_eq!(room("tmpfs", 17 << 20), Verdict::Good);
    assert_eq!(room("tmpfs", (17 << 20) - 1), Verdict::Poor);
    assert_eq!(room("ext4", 60 << 20), Verdict::Poor);
}

#[test]
fn a_quick_look_says_what_it_did_not_measure() {
    let tree = Tree::tuned();
    tree.write("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n");
    let found = examine(&tree.roots, CORE, Err("not measured: the probe's time was 0".into()));
    let unknown = with(Verdict::Unknown, &found);
    let ids: Vec<_> = unknown.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, ["gap_probe", "irq_counts", "smt_sibling", "steal"]);
    assert!(unknown.iter().all(|(_, value)| value.contains("not measured")), "{unknown:?}");
    assert_eq!((found.grade.as_str(), found.probe), ("B", None));
}

#[test]
fn the_probe_caps_the_grade() {
    let tree = Tree::tuned();
    let grade = |ns, ppm| examine(&tree.roots, CORE, Ok(Measured { probe: probe(ns, ppm), ..quiet() })).grade;
    assert_eq!(grade(9_999, 99.9), "A");
    assert_eq!(grade(10_000, 1.0), "B");
    assert_eq!(grade(49_999, 499.0), "B");
    assert_eq!(grade(50_000, 1.0), "C");
    assert_eq!(grade(1_000, 500.0), "C");
    assert_eq!(grade(1_000_000, 1.0), "D");
    assert_eq!(grade(10_000_000, 1.0), "F");
}

#[test]
fn a_poor_critical_check_caps_the_grade_and_an_unknown_one_too() {
    let grade = |change: fn(&Tree)| {
        let tree = Tree::tuned();
        change(&tree);
        examine(&tree.roots, CORE, Ok(quiet())).grade
    };
    assert_eq!(grade(|tree| tree.write("sys/devices/system/cpu/isolated", "\n")), "C");
    assert_eq!(grade(|tree| tree.remove("sys/devices/system/cpu/isolated")), "B");
    assert_eq!(grade(|tree| tree.write("sys/kernel/mm/ksm/run", "1\n")), "A");
    // The rule in words has the bounds of the probe that the code has.
    assert!(RULE.contains(&format!("< {} us and < {} ppm", LARGEST_GOOD_NS / 1000, LOST_GOOD_PPM)));
}

#[test]
fn ids_are_plain_and_stand_once() {
    let mut ids: Vec<_> = CHECKS.iter().map(|row| row.id).collect();
    assert!(ids.iter().all(|id| id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{ids:?}");
    assert!(CHECKS.iter().all(|row| !row.why.is_empty() && !row.mend.is_empty()));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), CHECKS.len());
}

#[test]
fn the_report_has_every_check_within_its_width_and_mends_whole() {
    let tree = Tree::bad();
    let found = examine(&tree.roots, CORE, Ok(noisy()));
    for width in [0, 60, 100, 200] {
        let text = text::report(&found, "Some CPU (4 CPUs), Linux 6.18", width);
        for check in &found.checks {
            assert!(text.contains(&check.id), "{text}");
            assert_eq!(text.contains(&check.mend), check.verdict == Verdict::Poor, "{}: {text}", check.id);
        }
        let long = |line: &&str| line.chars().count() > width.max(72) && !line.contains(" mend  ");
        assert_eq!(text.lines().find(long), None);
        let place = |word: &str| text.lines().position(|line| line.starts_with(word)).expect(word);
        assert!(place("poor ") < place("good "), "{text}");
    }
}

#[test]
fn a_diagnosis_is_the_same_after_json() {
    let found = examine(&Tree::bad().roots, CORE, Ok(noisy()));
    let text = serde_json::to_string(&found).expect("plain");
    assert_eq!(serde_json::from_str::<Diagnosis>(&text).expect("the same"), found);
    let schema = serde_json::to_value(schemars::schema_for!(Diagnosis)).expect("plain");
    assert!(schema["properties"]["checks"].is_object(), "{schema}");
}

#[test]
fn what_is_no_plain_file_is_unknown_and_never_waited_for() {
    let tree = Tree::tuned();
    tree.remove("sys/kernel/mm/ksm/run");
    std::fs::create_dir(tree.roots.sys.join("kernel/mm/ksm/run")).expect("a folder");
    let fifo = tree.roots.proc.join("swaps");
    tree.remove("proc/swaps");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).expect("a pipe");
    tree.write_bytes("proc/meminfo", &vec![b'x'; (16 << 20) + 1]);
    let found = examine(&tree.roots, CORE, Ok(quiet()));
    for (id, words) in [("ksm", "no plain file"), ("swap", "no plain file"), ("hugepages", "larger than 16 MiB")] {
        let check = one(&found, id);
        assert!(check.verdict == Verdict::Unknown && check.value.contains(words), "{check:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any bytes in every file: no panic, and nothing that counts is good but for what digits alone can say.
    #[test]
    fn garbage_is_never_good(bytes in prop::collection::vec(128_u8..255, 1..300)) {
        let tree = Tree::tuned();
        for name in tree.files() {
            tree.write_bytes(&name, &bytes);
        }
        let garbage = String::from_utf8_lossy(&bytes).into_owned();
        let sample = host::Sample { interrupts: garbage.clone(), stat: garbage };
        let measured = Measured { before: sample.clone(), after: sample, ..noisy() };
        let found = examine(&tree.roots, CORE, Ok(measured));
        let good: Vec<_> = with(Verdict::Good, &found).into_iter().filter(|(id, _)| !["dma_latency", "clock_offset"].contains(id)).collect();
        prop_assert_eq!(good, vec![]);
    }

    /// One file of any text, the others as they should be: no panic, each check still there once.
    #[test]
    fn any_text_in_any_file_is_borne(which in any::<prop::sample::Index>(), text in "[0-9a-f,:/ \\-\\[\\]xN\n]{0,80}|\\PC{0,200}") {
        let tree = Tree::tuned();
        let files = tree.files();
        tree.write(&files[which.index(files.len())], &text);
        let measured = quiet();
        let odd = host::Sample { interrupts: text.clone(), stat: text };
        let found = examine(&tree.roots, CORE, Ok(Measured { after: odd, ..measured }));
        prop_assert_eq!(found.checks.len(), CHECKS.len());
    }
}
