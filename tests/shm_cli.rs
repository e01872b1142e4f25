//! `pillion shm ls` and `pillion shm rm` as an operator meets them.

mod common;

use std::path::Path;
use std::process::Output;

use common::*;
use pillion_shm::{
    Access, BoardSpec, BoardWriter, Clock, CncOwner, From, Kind, Lane, RingReader, RingSpec, RingWriter, State,
};

struct Place {
    dir: tempfile::TempDir,
    clock: Clock,
}

fn place() -> Place {
    let dir = shm_dir();
    let clock = Clock::attach_or_create(dir.path()).unwrap();
    Place { dir, clock }
}

impl Place {
    fn lane(&self, name: &str) -> Lane {
        Lane::in_dir(self.dir.path(), name).unwrap()
    }

    fn ring(&self, name: &str) -> RingWriter {
        let spec = RingSpec { capacity: 64, record_words: 14, table: Vec::new() };
        RingWriter::create(&self.lane(name), Kind::Ticks, &spec, &self.clock, &Access::default()).unwrap()
    }

    fn page(&self, name: &str, state: State) -> CncOwner {
        let page = CncOwner::create(&self.lane(name), &self.clock, &Access::default()).unwrap();
        page.set_state(state);
        page
    }

    fn board(&self, name: &str) -> BoardWriter {
        let spec = BoardSpec { instruments: 1, models: 1, ..BoardSpec::default() };
        BoardWriter::create(&self.lane(name), &spec, &self.clock, &Access::default()).unwrap()
    }

    fn shm(&self, args: &[&str]) -> Output {
        output(pillion().arg("shm").args(args).arg("--dir").arg(self.dir.path()))
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Removes and says nothing but what it removed.
    fn removes(&self, args: &[&str], said: &[&str]) {
        let out = self.shm(&[&["rm"], args].concat());
        assert!(out.status.success(), "{args:?}: {}", stderr(&out));
        said.iter().for_each(|text| assert!(stdout(&out).contains(text), "no {text:?} in {}", stdout(&out)));
    }

    /// Refuses with exit code 2 and removes nothing.
    fn refuses(&self, args: &[&str], said: &[&str]) {
        let before = self.files();
        let out = self.shm(&[&["rm"], args].concat());
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}{}", stdout(&out), stderr(&out));
        said.iter().for_each(|text| assert!(stderr(&out).contains(text), "no {text:?} in {}", stderr(&out)));
        assert_eq!(self.files(), before);
    }
}

/// Lines of `ls` by file name.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn ls_says_what_lies_there() {
    let place = place();
    let mut ticks = place.ring("es");
    (0..70).for_each(|n| _ = ticks.publish(&[n; 14]));
    drop(place.board("es"));
    drop(place.page("es", State::Halt));
    std::fs::write(place.dir.path().join("pillion.junk.ticks"), "junk").unwrap();
    std::fs::copy(place.lane("es").path(Kind::Board), place.dir.path().join(".pillion.es.board.77.next")).unwrap();

    let out = place.shm(&["ls"]);
    assert!(out.status.success(), "{}", stderr(&out));
    let text = stdout(&out);
    let pid = std::process::id().to_string();
    let ids = format!("{}:{}", rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let expected = [
        ("pillion.es.ticks", vec!["alive", ids.as_str(), "0600", pid.as_str(), "70 published, 64 slots", "8,704"]),
        ("pillion.es.board", vec!["dead", "1 cells"]),
        ("pillion.es.cnc", vec!["dead", "HALT in force"]),
        ("pillion.clock", vec!["clock 0x"]),
        ("pillion.junk.ticks", vec!["no region: 4 bytes"]),
        (".pillion.es.board.77.next", vec!["left beside its name by a take-over"]),
    ];
    for (name, facts) in expected {
        facts.iter().for_each(|fact| assert!(line(&text, name).contains(fact), "no {fact:?} in {text}"));
    }
    let out = place.shm(&["ls", "--json"]);
    let rows: Vec<serde_json::Value> = stdout(&out).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 6);
    let row = |name: &str| rows.iter().find(|row| Path::new(row["path"].as_str().unwrap()).ends_with(name)).unwrap();
    let ticks = row("pillion.es.ticks");
    assert_eq!((ticks["lane"].as_str(), ticks["kind"].as_str()), (Some("es"), Some("ticks")));
    assert_eq!((ticks["head"].as_u64(), ticks["in_use"].as_bool()), (Some(70), Some(true)));
    assert_eq!((ticks["mode"].as_str(), ticks["distrust"].as_str()), (Some("0600"), None));
    assert_eq!(ticks["uid"].as_u64(), Some(u64::from(rustix::process::geteuid().as_raw())));
    assert_eq!(ticks["mapped_by"][0].as_u64(), Some(u64::from(std::process::id())));
    assert_eq!(
        (row("pillion.es.cnc")["halted"].as_bool(), row("pillion.es.cnc")["state"].as_str()),
        (Some(true), Some("HALT"))
    );
    assert_eq!(row(".pillion.es.board.77.next")["beside"].as_bool(), Some(true));
    assert!(row("pillion.junk.ticks")["problem"].as_str().unwrap().contains("4 bytes"));
}

/// Whose region it is, and that it is not used, stands beside what it holds.
#[test]
fn ls_says_what_is_not_used_and_why() {
    let place = place();
    let path = place.lane("es").path(Kind::Board);
    drop(place.board("es"));
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o606)).unwrap();
    let text = stdout(&place.shm(&["ls"]));
    for fact in ["0606", "1 cells; not used: everybody may write it"] {
        assert!(line(&text, "pillion.es.board").contains(fact), "no {fact:?} in {text}");
    }
    if std::os::unix::fs::chown(&path, Some(65_534), Some(65_533)).is_ok() {
        let text = stdout(&place.shm(&["ls"]));
        for fact in ["65534:65533", "not used: it belongs to uid 65534"] {
            assert!(line(&text, "pillion.es.board").contains(fact), "no {fact:?} in {text}");
        }
        let text = stdout(&place.shm(&["ls", "--json"]));
        let mut rows = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let row = rows.find(|row| row["kind"] == "board").unwrap();
        assert_eq!((row["uid"].as_u64(), row["gid"].as_u64()), (Some(65_534), Some(65_533)));
        assert!(row["distrust"].as_str().unwrap().contains("uid 65534"), "{row}");
    }
}

#[test]
fn ls_of_nothing_and_of_no_folder() {
    let empty = shm_dir();
    let out = output(pillion().args(["shm", "ls", "--dir"]).arg(empty.path()));
    assert!(out.status.success() && stdout(&out).contains("no region in"), "{}", stdout(&out));
    let out = output(pillion().args(["shm", "ls", "--dir", "/no/such/folder"]));
    assert_eq!(out.status.code(), Some(2));
    assert!(stderr(&out).contains("/no/such/folder") && stderr(&out).contains("mend: "), "{}", stderr(&out));
}

#[test]
fn rm_takes_what_nobody_uses_and_nothing_else() {
    let place = place();
    let ticks = place.ring("es");
    drop(place.board("es"));
    drop(place.page("es", State::Run));
    drop((place.ring("nq"), place.board("nq")));
    let pid = std::process::id().to_string();
    // All or nothing: the board could go, the ring's owner lives.
    place.refuses(&["es"], &["pillion.es.ticks", "held by a live process", &pid, "mend: "]);
    place.refuses(&["pillion.es.ticks"], &["held by a live process"]);
    place.refuses(&["nq", "es"], &["pillion.es.ticks"]);
    place.refuses(&["cl"], &["no region of lane \"cl\"", "pillion shm ls"]);
    place.refuses(&["No Lane"], &["a-z"]);
    place.refuses(&[], &["--all"]);
    place.refuses(&["pillion.no.ticks"], &["does not exist"]);
    place.refuses(&["pillion.clock"], &["is the clock of", "pillion.es.ticks"]);

    let before = place.files();
    place.removes(&["nq", "--dry-run"], &["would remove", "pillion.nq.ticks", "pillion.nq.board"]);
    place.removes(&["--all", "--dry-run"], &["would remove", "kept", "pillion.es.ticks"]);
    assert_eq!(place.files(), before);
    place.removes(&["nq", "pillion.es.board"], &["removed", "pillion.nq.ticks", "pillion.es.board"]);
    assert_eq!(place.files(), ["pillion.clock", "pillion.es.cnc", "pillion.es.ticks"]);

    // A reader of a dead owner's ring is a user too.
    let reader = RingReader::attach(&place.lane("es"), Kind::Ticks, From::Next, &place.clock).unwrap();
    drop(ticks);
    place.refuses(&["es"], &["still mapped by process", &pid]);
    drop(reader);
    place.removes(&["--all"], &["removed", "pillion.es.ticks", "pillion.es.cnc", "kept", "clock of this boot"]);
    assert_eq!(place.files(), ["pillion.clock"]);
    place.refuses(&["pillion.clock"], &["clock of this boot", "--clock"]);
    place.removes(&["--all", "--clock"], &["removed", "pillion.clock"]);
    assert!(place.files().is_empty());
}

#[test]
fn rm_does_not_forget_a_halt_unless_told() {
    let place = place();
    drop(place.page("es", State::Halt));
    drop(place.ring("es"));
    place.refuses(&["es"], &["pillion.es.cnc", "a HALT is in force", "--halted"]);
    place.removes(&["--all"], &["kept", "a HALT is in force", "removed", "pillion.es.ticks"]);
    assert_eq!(place.files(), ["pillion.clock", "pillion.es.cnc"]);
    place.removes(&["es", "--halted"], &["removed", "pillion.es.cnc"]);
    assert!(!place.page("es", State::Boot).start_halted());
}

#[test]
fn rm_takes_a_broken_file_only_by_its_path() {
    let place = place();
    let junk = place.dir.path().join("pillion.junk.ticks");
    std::fs::write(&junk, "junk").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.dir.path().join("pillion.link.ticks")).unwrap();
    let unrelated = place.dir.path().join("unrelated");
    std::fs::write(&unrelated, "mine").unwrap();
    let nothing = place.shm(&["rm", "--all"]);
    assert_eq!(nothing.status.code(), Some(1), "{}", stdout(&nothing));
    assert!(stdout(&nothing).contains("pillion.junk.ticks is not a Pillion region"), "{}", stdout(&nothing));
    assert!(stderr(&nothing).contains("nothing was removed: 2 files are kept"), "{}", stderr(&nothing));
    place.refuses(&["junk"], &["pillion.junk.ticks is not a Pillion region", "name its path"]);
    place.refuses(&["none"], &["no region of lane \"none\""]);
    place.refuses(&["pillion.link.ticks"], &["symbolic link"]);
    place.refuses(&[unrelated.to_str().unwrap()], &["not named like a region"]);
    assert!(junk.exists());
    place.removes(&[junk.to_str().unwrap()], &["removed", "pillion.junk.ticks"]);
    assert_eq!(place.files(), ["pillion.clock", "pillion.link.ticks", "unrelated"]);
}
