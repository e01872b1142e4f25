//! What is said about the clock of a lane's directory, and about the directory.

use std::path::Path;
use std::time::{Duration, Instant};

use pillion_shm::{Clock, Error, Lane};

/// From this far off the wall clock on it is worth a warning: it drifts by about a ppm, which is 0.1 s a day, so more is a
/// clock that was made before the wall clock was set.
pub const FAR_NS: u64 = 1_000_000_000;
/// How often a running sidecar looks at its clock's file.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// How far a clock is from the wall clock, and what follows where that is far.
pub fn offset(ns: i64) -> String {
    let far = ns.unsigned_abs();
    let side = if ns < 0 { "behind" } else { "ahead of" };
    let text = match far {
        0..10_000 => format!("{far} ns {side} the wall clock"),
        10_000..10_000_000 => format!("{} us {side} the wall clock", far / 1_000),
        10_000_000..10_000_000_000 => format!("{} ms {side} the wall clock", far / 1_000_000),
        _ => format!("{} s {side} the wall clock", far / 1_000_000_000),
    };
    if far < FAR_NS {
        return text;
    }
    format!(
        "{text}: WARNING: the wall clock was set after the first region was made; stamps agree with each other and not with \
         the venue's. Mend: stop feeds, sidecars and strategies, `pillion shm rm --all --clock`, start them again"
    )
}

/// What is wrong with a directory of regions that is no tmpfs; `None` where nothing is, or nobody can tell.
pub fn not_a_tmpfs(dir: &Path) -> Option<String> {
    let kind = rustix::fs::statfs(dir).ok()?.f_type as u64 & 0xffff_ffff;
    (kind != TMPFS && kind != RAMFS).then(|| {
        format!(
            "{} is no tmpfs (file system type {kind:#x}): writing pages back to a disk can stop the hot thread and the feed; \
             mend: name a directory of a tmpfs in process.shm_dir, such as /dev/shm or one in /run",
            dir.display()
        )
    })
}

/// Looks now and then whether a running lane's clock still stands under its name.
pub struct ClockWatch {
    lane: Lane,
    clock: Clock,
    due: Instant,
    standing: bool,
}

impl ClockWatch {
    /// A watch of the `clock` that the regions of `lane` are on.
    pub fn new(lane: Lane, clock: Clock) -> Self {
        Self { lane, clock, due: Instant::now() + LOOK_EVERY, standing: true }
    }

    /// What has become of the clock, said once when it goes and once when it is back; `None` where nothing changed.
    pub fn look(&mut self) -> Option<String> {
        if Instant::now() < self.due {
            return None;
        }
        self.due = Instant::now() + LOOK_EVERY;
        let found = self.clock.check_lane(&self.lane);
        if found.is_ok() == self.standing {
            return None;
        }
        self.standing = found.is_ok();
        let path = self.lane.path(pillion_shm::Kind::Clock);
        let gone = |what: &str| {
            format!(
                "{} {what}: this process goes on with its own, and orders still reach it, but whoever starts now cannot read \
                 its stamps\n  mend: restart feed and sidecar",
                path.display()
            )
        };
        Some(match found {
            Ok(()) => format!("{} is this process's clock again", path.display()),
            Err(Error::Absent { .. }) => gone("was removed"),
            Err(Error::Mismatch { .. }) => gone("was replaced by another clock"),
            Err(error) => gone(&format!("cannot be used any more ({error})")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillion_shm::Kind;

    #[test]
    fn an_offset_has_its_unit_and_a_far_one_its_mend() {
        assert_eq!(offset(-4_500), "4500 ns behind the wall clock");
        assert_eq!(offset(12_345_678), "12 ms ahead of the wall clock");
        assert!(offset(-3_600_000_000_000).starts_with("3600 s behind the wall clock: WARNING"));
        assert!(!offset(999_999_999).contains("WARNING"));
    }

    #[test]
    fn a_disk_is_told_from_a_tmpfs() {
        assert_eq!(not_a_tmpfs(Path::new("/dev/shm")), None);
        assert_eq!(not_a_tmpfs(Path::new("/dev/shm/there/is/none")), None);
        let text = not_a_tmpfs(Path::new("/proc")).unwrap();
        assert!(text.contains("/proc is no tmpfs") && text.contains("mend: "), "{text}");
    }

    #[test]
    fn a_clock_that_goes_or_is_replaced_is_said_once() {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let lane = Lane::in_dir(dir.path(), "watched").unwrap();
        let clock = Clock::attach_or_create(dir.path()).unwrap();
        let mut watch = ClockWatch::new(lane.clone(), clock);
        let look = |watch: &mut ClockWatch| {
            watch.due = Instant::now();
            watch.look()
        };
        assert_eq!(look(&mut watch), None);
        let (path, kept) = (lane.path(Kind::Clock), dir.path().join("kept"));
        std::fs::rename(&path, &kept).unwrap();
        let said = look(&mut watch).unwrap();
        assert!(said.contains("pillion.clock was removed") && said.contains("mend: "), "{said}");
        assert_eq!(look(&mut watch), None, "said once");
        std::fs::rename(&kept, &path).unwrap();
        assert!(look(&mut watch).unwrap().contains("again"));
        std::fs::remove_file(&path).unwrap();
        Clock::attach_or_create(dir.path()).unwrap();
        assert!(look(&mut watch).unwrap().contains("was replaced by another clock"));
    }
}
