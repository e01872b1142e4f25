//! The sidecar's look at its lane's HALT files: obeys a new one, records a HALT that came through the control page alone,
//! and puts the file of one away before it is resumed there.

use std::time::{Duration, Instant};

use super::{Aside, FileId, Places, Record, Recorded, Unseen, write};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// Time between two tries to record a HALT.
const RECORD_AGAIN: Duration = Duration::from_secs(2);

/// Records that are remembered.
const MOST_KNOWN: usize = 256;

/// Watches the HALT files of one lane.
pub struct HaltWatch {
    lane: String,
    places: Places,
    /// Files that have been obeyed.
    known: Vec<FileId>,
    /// True when the page was halted at the last look.
    was_halted: bool,
    looked: Option<Instant>,
    /// When the HALT in force could last not be recorded, which has been told.
    unrecorded: Option<Instant>,
    /// Records on their way out, while a RESUME is carried out.
    aside: Option<Aside>,
    /// True once every folder has been seen.
    seen: bool,
    /// True when a folder could not be seen at the last look, which has been told.
    blind: bool,
}

impl HaltWatch {
    /// For a lane that has not started; `places` are its sidecar's.
    pub fn new(lane: &str, places: Places) -> Self {
        let lane = lane.to_owned();
        Self {
            lane,
            places,
            known: Vec::new(),
            was_halted: false,
            looked: None,
            unrecorded: None,
            aside: None,
            seen: false,
            blind: false,
        }
    }

    /// The folders that are looked in.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The records that can be seen now, for the banner.
    pub fn standing(&self) -> Vec<Recorded> {
        self.places.look(&self.lane).0
    }

    /// [`HaltWatch::look`], if the last one was long enough ago.
    pub fn look_if_due(&mut self, halted: bool, on_its_way: bool) -> bool {
        self.looked.is_none_or(|at| at.elapsed() >= PERIOD) && self.look(halted, on_its_way)
    }

    /// Looks at the files. `halted`: what the page says, asked for before; `on_its_way`: a HALT that this has returned has
    /// not reached the page yet. True where the lane must halt: by a record, and where no look has ever told that there is
    /// none. Once that was told, a folder that cannot be looked into leaves the lane as it is.
    pub fn look(&mut self, halted: bool, on_its_way: bool) -> bool {
        self.looked = Some(Instant::now());
        let (found, unseen) = self.places.look(&self.lane);
        let blind = unseen.is_some();
        self.tell_sight(unseen);
        let fresh = found.iter().any(|file| !self.known.contains(&file.id));
        self.learn(&found);
        let was_halted = std::mem::replace(&mut self.was_halted, halted);
        if blind && !self.seen {
            // That HALT is nobody's order: it is not recorded, and lasts until a look tells or a resume after it.
            self.was_halted = true;
            return !halted && !on_its_way;
        }
        self.seen = true;
        match (fresh, halted) {
            (true, _) => !halted,
            (false, true) => {
                let again = self.unrecorded.is_some_and(|at| at.elapsed() >= RECORD_AGAIN);
                if (!was_halted || again) && found.is_empty() && !blind && self.aside.is_none() {
                    self.record();
                }
                false
            }
            // The HALT on the page has ended otherwise than by [`HaltWatch::resume`], which alone ends both: its record stands.
            (false, false) => !found.is_empty() && !on_its_way,
        }
    }

    /// Remembers these records as no news. A record that goes is not forgotten: put aside, it may stand again as the
    /// same order.
    fn learn(&mut self, found: &[Recorded]) {
        let news: Vec<_> = found.iter().map(|file| file.id).filter(|id| !self.known.contains(id)).collect();
        self.known.extend(news);
        let old = self.known.len().saturating_sub(MOST_KNOWN);
        self.known.drain(..old);
    }

    /// A HALT that was asked for through the control page alone, by a program that knows of no file.
    fn record(&mut self) {
        let reason = "asked for through the control page, which does not say by whom";
        let record = Record { name: "unknown".into(), ..Record::now(&self.lane, reason) };
        let written = write(self.places.first(), &record).map(|_| ());
        match written.and_then(|()| self.places.find(&self.lane)) {
            Ok(found) => {
                self.learn(&found);
                if self.unrecorded.take().is_some() {
                    crate::errln!("lane {}: its HALT is recorded now", self.lane);
                }
            }
            Err(e) => {
                if self.unrecorded.replace(Instant::now()).is_none() {
                    let dir = self.places.first().display();
                    self.tell(&format!("the HALT in force cannot be recorded in {dir}, so a reboot forgets it: {e}"));
                }
            }
        }
    }

    /// Puts the records aside, so that the lane may be resumed; [`HaltWatch::settle`] ends it. False where they cannot be, or
    /// where nobody knows which there are: then the HALT stands.
    pub fn resume(&mut self) -> bool {
        let (found, unseen) = self.places.look(&self.lane);
        if self.seen && found.iter().any(|file| !self.known.contains(&file.id)) {
            let lane = &self.lane;
            crate::errln!("lane {lane}: a resume is refused: a HALT was recorded meanwhile\n  mend: resume it again");
            return false;
        }
        let why = match (unseen, Aside::put(&found)) {
            (None, Ok(aside)) => {
                self.aside = Some(aside);
                return true;
            }
            (Some(Unseen { dir, error }), aside) => {
                self.aside = aside.ok();
                self.settle(false);
                format!("it cannot be seen whether its HALT is recorded in {} ({error})", dir.display())
            }
            (None, Err((path, e))) => {
                format!("its HALT is recorded in {}, which cannot be removed ({e})", path.display())
            }
        };
        let lane = &self.lane;
        let mend = format!("`pillion ctl {lane} resume` as the user whose record it is");
        crate::errln!("lane {lane}: a resume is refused, the HALT stays in force: {why}\n  mend: {mend}");
        false
    }

    /// Ends what [`HaltWatch::resume`] began: the records go where the lane was `resumed`, and stand again else.
    pub fn settle(&mut self, resumed: bool) {
        let Some(aside) = self.aside.take() else { return };
        if resumed {
            self.ended();
        }
        let ended = if resumed { aside.remove().map(|_| ()) } else { aside.put_back() };
        if let Err(e) = ended {
            let end =
                if resumed { "was resumed, and its record cannot be removed" } else { "stays halted, unrecorded" };
            self.tell(&format!("{end}: {e}"));
        }
    }

    /// The HALT has ended, whoever put its records away: one on the page from now on is another one, and is recorded.
    pub fn ended(&mut self) {
        (self.was_halted, self.unrecorded) = (false, None);
    }

    /// Says that a folder cannot be looked into any more, or that it can again.
    fn tell_sight(&mut self, unseen: Option<Unseen>) {
        let was_blind = std::mem::replace(&mut self.blind, unseen.is_some());
        match unseen {
            Some(Unseen { dir, error }) if !was_blind => {
                let then = if self.seen { "the lane stays as it is" } else { "the lane is halted" };
                let dir = dir.display();
                self.tell(&format!("it cannot be seen whether a HALT is recorded in {dir} ({error}): {then}"));
            }
            None if was_blind => {
                crate::errln!("lane {}: it can be seen again whether a HALT is recorded", self.lane);
            }
            _ => {}
        }
    }

    fn tell(&self, problem: &str) {
        let mend = "make process.state_dir a folder that this user may search and write";
        crate::errln!("lane {}: {problem}\n  mend: {mend}", self.lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(dir: &std::path::Path) -> HaltWatch {
        HaltWatch::new("watched-in-tests", Places::of_sidecar(dir))
    }

    fn ask(dir: &std::path::Path) {
        write(dir, &Record::now("watched-in-tests", "")).unwrap();
    }

    #[test]
    fn a_file_halts_once_and_again_when_it_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watch(dir.path());
        assert!(!watch.look(false, false));
        ask(dir.path());
        assert!(watch.look(false, false), "obeyed");
        assert!(!watch.look(false, true), "on its way: said once");
        assert!(!watch.look(true, false));
        assert_eq!(watch.standing().len(), 1);
        ask(dir.path());
        assert!(!watch.look(true, false), "halted already");
        assert!(watch.look(false, false), "no resume has come by here: the record stands");
        assert!(watch.resume() && watch.standing().is_empty());
        assert!(!watch.look(true, false), "not yet");
        watch.settle(false);
        assert_eq!(watch.standing().len(), 1, "it did not come to it");
        assert!(watch.resume());
        watch.settle(true);
        assert!(!watch.look(false, false) && watch.standing().is_empty(), "the file goes with the HALT");
    }

    #[test]
    fn a_halt_through_the_page_is_recorded_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = watch(dir.path());
        watch.look(true, false);
        let record = watch.standing().remove(0).record.unwrap();
        assert!(record.reason.contains("control page"), "{record}");
        assert!(!watch.look(true, false), "its own record is no new order");
        // An operator's resume takes the file first: it is not written again while the page is still halted.
        std::fs::remove_file(dir.path().join("watched-in-tests.halt")).unwrap();
        watch.look(true, false);
        assert!(watch.standing().is_empty());
    }

    #[test]
    fn a_halt_that_could_not_be_recorded_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::write(&state, "a file where the folder should be").unwrap();
        let mut watch = watch(&state);
        watch.look(true, false);
        assert!(watch.unrecorded.is_some() && watch.standing().is_empty());
        std::fs::remove_file(&state).unwrap();
        watch.look(true, false);
        assert!(watch.standing().is_empty(), "not at every look");
        watch.unrecorded = watch.unrecorded.and_then(|at| at.checked_sub(RECORD_AGAIN));
        watch.look(true, false);
        assert!(watch.unrecorded.is_none() && watch.standing().len() == 1);
    }

    /// Closes a folder as an ended mount does: looking into it fails, for root as well, with another error than "none".
    fn close(dir: &std::path::Path) {
        std::fs::remove_dir_all(dir).unwrap();
        std::os::unix::fs::symlink(dir, dir).unwrap();
    }

    #[test]
    fn what_was_never_seen_counts_as_a_halt_and_what_was_stays() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let mut seen = watch(&state);
        assert!(!seen.look(false, false));
        ask(&state);
        assert!(seen.look(false, false), "obeyed");
        close(&state);
        let mut never = watch(&state);
        assert!(!seen.look(true, false) && !seen.look(false, false), "stays as it is");
        assert!(never.look(false, false), "nobody knows: halted");
        assert!(!never.look(false, true), "on its way");
        assert!(!never.look(true, false) && never.look(false, false), "and again after a resume");
        std::fs::remove_file(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        assert!(!never.look(true, false), "stays halted until it is resumed");
        assert!(never.standing().is_empty(), "nobody ordered it");
        assert!(!never.look(false, false));
    }
}
