use super::*;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

/// A user who counts in no test.
const STRANGER: u32 = 65_534;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn file(path: &Path, mode: u32) {
    std::fs::write(path, "x").unwrap();
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Gives `path` to the stranger; false, said aloud, where only root may.
fn given_away(path: &Path) -> bool {
    let given = chown(path, Some(STRANGER), Some(STRANGER)).is_ok();
    if !given {
        eprintln!("skipped: only root gives files away");
    }
    given
}

fn problem<T: std::fmt::Debug>(result: Result<T>, words: &[&str]) {
    let text = result.unwrap_err().to_string();
    for word in words.iter().chain(&["; mend: "]) {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

#[test]
fn root_the_own_user_and_the_binarys_owner_count() {
    let trust = Trust::own();
    let binary = std::fs::metadata("/proc/self/exe").unwrap().uid();
    assert!([0, geteuid().as_raw(), binary].into_iter().all(|uid| trust.counts(uid)));
    assert!(!trust.counts(STRANGER) && trust.with_uid(STRANGER).counts(STRANGER));
}

#[test]
fn an_own_file_is_opened_and_one_that_others_may_write_is_not() {
    let dir = dir();
    let path = dir.path().join("config.toml");
    file(&path, 0o644);
    Trust::own().open(&path).unwrap();
    set_mode(&path, 0o646);
    problem(Trust::own().open(&path), &["config.toml", "everybody may write it", "mode 0646", "chmod o-w "]);
    if chown(&path, None, Some(4_242)).is_ok() {
        set_mode(&path, 0o664);
        problem(Trust::own().open(&path), &["config.toml", "group 4242", "mode 0664", "chmod g-w "]);
        let metadata = std::fs::metadata(&path).unwrap();
        problem(Trust::own().check_file(&path, &metadata, Writers::Group), &["group 4242"]);
        Trust::own().with_gid(4_242).check_file(&path, &metadata, Writers::Group).unwrap();
    }
}

#[test]
fn a_strangers_file_is_refused_until_he_is_named() {
    let dir = dir();
    let path = dir.path().join("model.onnx");
    file(&path, 0o644);
    if !given_away(&path) {
        return;
    }
    let words = ["model.onnx", "uid 65534, group 65534, mode 0644", "root", "trusted_uids = [65534]", TRUSTED_UIDS];
    problem(Trust::own().open(&path), &words);
    Trust::own().with_uid(STRANGER).open(&path).unwrap();
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let dir = dir();
    let path = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    problem(Trust::own().open(&path), &["pipe", "a named pipe"]);
    problem(Trust::own().open(dir.path()), &["a directory"]);
    problem(Trust::own().open(Path::new("/dev/null")), &["/dev/null", "a device"]);
    problem(Trust::own().open(&dir.path().join("none")), &["none", "No such file"]);
}

#[test]
fn a_directory_on_the_way_must_be_in_order_too() {
    let dir = dir();
    let (middle, path) = (dir.path().join("middle"), dir.path().join("middle/inner/file"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    file(&path, 0o644);
    Trust::own().open(&path).unwrap();
    set_mode(&middle, 0o777);
    problem(Trust::own().open(&path), &["middle is not trusted", "everybody may replace what is in it", "chmod o-w "]);
    // As in /tmp: nobody takes another's file away there.
    set_mode(&middle, 0o1777);
    Trust::own().open(&path).unwrap();
    if given_away(&middle) {
        problem(Trust::own().open(&path), &["middle is not trusted", "uid 65534"]);
    }
}

#[test]
fn links_are_followed_and_each_is_looked_at() {
    let dir = dir();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("real/open")).unwrap();
    file(&at("real/file"), 0o644);
    file(&at("real/open/file"), 0o644);
    set_mode(&at("real/open"), 0o777);
    symlink("real", at("folder")).unwrap();
    symlink("../real/./file", at("real/up")).unwrap();
    symlink(at("real/open/file"), at("into_open")).unwrap();
    symlink("loop", at("loop")).unwrap();
    let resolved = dir.path().canonicalize().unwrap().join("real/file");
    assert_eq!(Trust::own().check_way(&at("folder/up")).unwrap(), resolved);
    Trust::own().open(&at("folder/up")).unwrap();
    problem(Trust::own().open(&at("into_open")), &["real/open is not trusted"]);
    problem(Trust::own().open(&at("loop")), &["loop", "cannot look at"]);
    let link = at("foreign");
    symlink("real/file", &link).unwrap();
    if std::os::unix::fs::lchown(&link, Some(STRANGER), None).is_ok() {
        problem(Trust::own().open(&link), &["foreign is not trusted", "uid 65534"]);
    }
}

#[test]
fn the_owner_of_a_directory_counts_in_it_if_who_counts_put_it_there() {
    let dir = dir();
    let private = dir.path().join("private");
    std::fs::create_dir(&private).unwrap();
    set_mode(&private, 0o2750);
    if !given_away(&private) {
        return;
    }
    let inside = Trust::own().in_dir(&private).unwrap();
    assert!(inside.counts(STRANGER) && inside.group_counts(STRANGER));
    problem(Trust::own().check_dir(&private), &["private is not trusted", "uid 65534"]);
    set_mode(&private, 0o777);
    problem(Trust::own().in_dir(&private), &["everybody may replace what is in it"]);
    // Where anybody can have made it, nobody was named with it.
    set_mode(&private, 0o755);
    set_mode(dir.path(), 0o1777);
    problem(Trust::own().in_dir(&private), &["private is not trusted", "uid 65534"]);
    assert!(!Trust::own().in_dir(Path::new("/dev/shm")).unwrap().counts(STRANGER));
}
