use super::*;

fn clock() -> (tempfile::TempDir, Clock) {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = Clock::attach_or_create(dir.path()).expect("a clock");
    (dir, clock)
}

fn write(root: &Path, file: &str, text: &[u8]) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().expect("below the root")).expect("writable");
    std::fs::write(path, text).expect("writable");
}

fn fixture(root: &Path) {
    write(root, "self/task/7/schedstat", b"95957 2932433 2\n");
    write(root, "self/task/7/status", b"Name:\th\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t2\n");
    write(root, "self/task/7/stat", b"7 (a \xff) (b) R 1 2 3 0 -1 4194304 99 5 6 0 0 0 0 0 20 0 1 0 9 9 9\n");
    write(root, "interrupts", b"     CPU0 CPU1\n 24: 1 2 dev\nLOC: 30 40 timer\nRES: 1 2 r\nCAL: 3 4 c\nTLB: 5 6 t\n");
    write(root, "stat", b"cpu 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 1 2 3 4 5 6 7 9 0 0\n");
}

#[test]
fn every_count_comes_from_its_file() {
    let (dir, clock) = clock();
    fixture(dir.path());
    let mut probe = Probe::open(dir.path(), 7, 1);
    let look = probe.look(&clock);
    assert!(look.before_ns <= look.after_ns);
    let per_tick = 1000 / rustix::param::clock_ticks_per_second();
    let want = HostTotals {
        voluntary_switches: Some(17),
        involuntary_switches: Some(2),
        minor_faults: Some(99),
        major_faults: Some(6),
        timer_ticks: Some(40),
        interrupts: Some(2),
        tlb_shootdowns: Some(6),
        ipis: Some(6),
        steal_ms: Some(9 * per_tick),
        runqueue_wait_ns: Some(2_932_433),
    };
    assert_eq!(look.counts, want);
    // The files stay open and are read again from their start; one that has turned to garbage is not known, and no other is.
    write(dir.path(), "self/task/7/schedstat", b"???");
    assert_eq!(probe.look(&clock).counts, HostTotals { runqueue_wait_ns: None, ..want });
}

#[test]
fn what_cannot_be_opened_is_not_known() {
    let (dir, clock) = clock();
    assert_eq!(Probe::open(dir.path(), 7, 1).look(&clock).counts, HostTotals::default());
    fixture(dir.path());
    let other = Probe::open(dir.path(), 8, 5).look(&clock).counts;
    assert_eq!(other, HostTotals::default(), "another thread and another CPU");
}

#[test]
fn a_long_file_is_read_to_its_end() {
    let (dir, clock) = clock();
    let mut text = "  CPU0\n".to_owned();
    (0..5_000).for_each(|i| text.push_str(&format!("{i}: 1 a device with some name\n")));
    write(dir.path(), "interrupts", text.as_bytes());
    assert!(text.len() > 100_000);
    assert_eq!(Probe::open(dir.path(), 7, 0).look(&clock).counts.interrupts, Some(5_000));
}

/// The real files of a thread of this process: what a thread does raises what is counted for it, and nothing falls.
#[test]
fn sleep_is_seen_as_voluntary_switches() {
    let (_dir, clock) = clock();
    let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
    let mut probe = Probe::open(Path::new("/proc"), tid, super::super::cores::allowed()[0]);
    let first = probe.look(&clock);
    let Some(before) = first.counts.voluntary_switches else {
        println!("SKIPPED: no /proc/self/task/{tid}/status here");
        return;
    };
    (0..20).for_each(|_| std::thread::sleep(Duration::from_millis(1)));
    let last = probe.look(&clock);
    assert!(last.before_ns >= first.after_ns + 20_000_000);
    assert!(last.counts.voluntary_switches >= Some(before + 20), "{first:?} {last:?}");
    let pairs = [
        (first.counts.involuntary_switches, last.counts.involuntary_switches),
        (first.counts.minor_faults, last.counts.minor_faults),
        (first.counts.major_faults, last.counts.major_faults),
        (first.counts.timer_ticks, last.counts.timer_ticks),
        (first.counts.interrupts, last.counts.interrupts),
        (first.counts.tlb_shootdowns, last.counts.tlb_shootdowns),
        (first.counts.ipis, last.counts.ipis),
        (first.counts.steal_ms, last.counts.steal_ms),
        (first.counts.runqueue_wait_ns, last.counts.runqueue_wait_ns),
    ];
    for (was, is) in pairs {
        assert!(was.is_some() == is.is_some() && is >= was, "{first:?} {last:?}");
    }
}

/// The sampler's own thread: looks come by themselves, and one more comes after the thread that is looked at has asked.
#[test]
fn looks_come_until_the_last_one() {
    let (dir, clock) = clock();
    let name = pillion_shm::Lane::in_dir(dir.path(), "looks").expect("a name");
    let access = pillion_shm::Access { lock: pillion_shm::LockMemory::No, ..pillion_shm::Access::default() };
    let cnc = pillion_shm::CncOwner::create(&name, &clock, &access).expect("a control page");
    let link = Arc::new(Link::new(cnc, Arc::default()));
    let mut sampler = Sampler::start(&link, 0, clock, Duration::from_millis(1), "looks");
    let last = sampler.last_look().expect("it runs");
    let hot = Arc::clone(&link);
    let thread = std::thread::spawn(move || {
        hot.tid.store(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs(), Ordering::Release);
        std::thread::sleep(Duration::from_millis(50));
        let ended_ns = clock.now_ns();
        last.ask();
        ended_ns
    });
    let ended_ns = thread.join().expect("no panic");
    sampler.stop();
    let looks: Vec<_> = sampler.looks().collect();
    assert!(looks.len() >= 2, "{looks:?}");
    assert!(looks.last().is_some_and(|look| look.before_ns >= ended_ns), "{looks:?} {ended_ns}");
    assert!(looks.windows(2).all(|pair| pair[0].after_ns <= pair[1].before_ns), "{looks:?}");
}
