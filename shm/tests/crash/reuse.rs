//! The same pid again, and pids that mean nothing here: a name is owned by a lock, never by a number.

use crate::common::{place, say};
use crate::skip::skip;
use crate::victim::Victim;
use pillion_shm::{Clock, Error, From, Kind, Lane, RingReader};

const NAMESPACE: [&str; 4] = ["unshare", "-pf", "--mount-proc", "--kill-child=KILL"];
const ROUNDS: u64 = 20;

fn has_namespaces() -> bool {
    let probe = std::process::Command::new(NAMESPACE[0]).args(&NAMESPACE[1..]).arg("true").status();
    let has = probe.is_ok_and(|status| status.success());
    if !has {
        skip("no pid namespaces here");
    }
    has
}

/// First process of a pid namespace, where the next pid can be chosen: kills a writer, and gives its pid to a bystander
/// and to its successor.
pub fn supervise() {
    let dir = std::env::var("PILLION_TEST_DIR").unwrap();
    let clock = Clock::attach_or_create(dir.as_ref()).unwrap();
    let lane = Lane::in_dir(&dir, "test").unwrap();
    let next = |pid: u32| std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
    let (mut same, mut bystanders, mut generation) = (0, 0, 0);
    let start = || Victim::under(&[], dir.as_ref(), "endless:ring", None);
    for _ in 0..ROUNDS {
        let mut writer = start();
        let pid = writer.pid();
        generation += 1;
        assert_eq!(writer.hear(), Some(generation.to_string()));
        let mut reader = RingReader::attach(&lane, Kind::Ticks, From::Next, &clock).unwrap();
        assert_eq!((reader.owner_pid(), reader.owner_alive()), (pid, true));
        writer.kill();
        // A bystander with the dead owner's pid does not make the owner look alive.
        next(pid);
        let idle = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        bystanders += u32::from(idle.id() == pid);
        assert!(!reader.owner_alive() && !reader.superseded());
        let mut idle = idle;
        idle.kill().unwrap();
        idle.wait().unwrap();
        // Nor does its successor with the very same pid look like the same owner.
        next(pid);
        let mut writer = start();
        same += u32::from(writer.pid() == pid);
        generation += 1;
        assert_eq!(writer.hear(), Some(generation.to_string()));
        assert!(reader.successor() && reader.superseded() && !reader.owner_alive());
        assert!(reader.follow().unwrap() && reader.generation() == generation && reader.owner_alive());
        writer.kill();
    }
    say(format!("{same} {bystanders} {generation}"));
}

#[test]
fn a_name_is_taken_over_though_the_pid_is_the_same() {
    if !has_namespaces() {
        return;
    }
    let place = place();
    let mut child = Victim::under(&NAMESPACE, place.dir.path(), "reuse", None);
    let said = child.hear().unwrap_or_else(|| panic!("{:?}", child.end()));
    let counts: Vec<u64> = said.split(' ').map(|count| count.parse().unwrap()).collect();
    println!("killed ring writers {} times; the pid came back {} times to a successor", 2 * ROUNDS, counts[0]);
    assert_eq!(counts[2], 2 * ROUNDS);
    assert!(counts[0] > 0 && counts[1] > 0, "no pid came back: {said}");
}

/// Writers that are all process 1, each of a namespace of its own, beside one that sees none of them.
#[test]
fn a_name_goes_from_namespace_to_namespace() {
    if !has_namespaces() {
        return;
    }
    let place = place();
    for round in 0..ROUNDS {
        let mut writer = Victim::under(&NAMESPACE, place.dir.path(), "endless:ring", None);
        assert_eq!(writer.hear(), Some((2 * round + 1).to_string()));
        let mut reader = place.reader(From::Next).unwrap();
        assert!(reader.owner_alive() && reader.owner_pid() == 1, "pid {}", reader.owner_pid());
        let held = place.writer(64).unwrap_err();
        assert!(matches!(&held, Error::Held { .. }) && held.to_string().contains("process 1"), "{held}");
        writer.kill();
        assert!(!reader.owner_alive());
        let ring = place.writer(64).unwrap();
        assert_eq!(ring.generation(), 2 * round + 2);
        assert!(reader.successor() && reader.follow().unwrap() && reader.owner_alive());
    }
    println!("killed ring writers {ROUNDS} times, each process 1 of a namespace of its own");
    assert_eq!(place.files(), ["pillion.test.ticks"]);
}
