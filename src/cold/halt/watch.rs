//! The sidecar's look at its lane's HALT files: obeys a new one, records a HALT that came through the control page alone,
//! and removes the file of one that was resumed there.

use std::time::{Duration, Instant};

use super::{Aside, FileId, Places, Record, Recorded, write};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(100);

/// Watches the HALT files of one lane.
pub struct HaltWatch {
    lane: String,
    places: Places,
    /// Files that have been obeyed.
    known: Vec<FileId>,
    /// Whether the page was halted at the last look.
    was_halted: bool,
    looked: Option<Instant>,
    /// Whether a look or a record that failed has been told.
    told: bool,
}

impl HaltWatch {
    /// For a lane that has not started; `places` are its sidecar's.
    pub fn new(lane: &str, places: Places) -> Self {
        Self { lane: lane.to_owned(), places, known: Vec::new(), was_halted: false, looked: None, told: false }
    }

    /// The folders that are looked in.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What stands there now, for the banner.
    pub fn standing(&self) -> Vec<Recorded> {
        self.places.find(&self.lane).unwrap_or_default()
    }

    /// [`HaltWatch::look`], if the last one was long enough ago.
    pub fn look_if_due(&mut self, halted: bool, on_its_way: bool) -> bool {
        self.looked.is_none_or(|at| at.elapsed() >= PERIOD) && self.look(halted, on_its_way)
    }

    /// Looks at the files. `halted`: what the page says, asked for before; `on_its_way`: a HALT that this has returned has
    /// not reached the page yet. True where the lane must halt.
    pub fn look(&mut self, halted: bool, on_its_way: bool) -> bool {
        self.looked = Some(Instant::now());
        let found = match self.places.find(&self.lane) {
            Ok(found) => found,
            Err(e) => {
                self.tell(&format!("it cannot be seen whether a HALT is recorded: {e}"));
                return false;
            }
        };
        let fresh = found.iter().any(|file| !self.known.contains(&file.id));
        self.known = found.iter().map(|file| file.id).collect();
        let was_halted = std::mem::replace(&mut self.was_halted, halted);
        match (fresh, halted) {
            (true, _) => !halted,
            (false, true) => {
                if !was_halted && found.is_empty() {
                    self.record();
                }
                false
            }
            (false, false) => !found.is_empty() && !on_its_way && self.resumed(&found),
        }
    }

    /// A HALT that was asked for through the control page alone, by a program that knows of no file.
    fn record(&mut self) {
        let reason = "asked for through the control page, which does not say by whom";
        let record = Record { name: "unknown".into(), ..Record::now(&self.lane, reason) };
        let written = write(self.places.first(), &record).map(|_| ());
        match written.and_then(|()| self.places.find(&self.lane)) {
            Ok(found) => self.known = found.iter().map(|file| file.id).collect(),
            Err(e) => {
                let dir = self.places.first().display();
                self.tell(&format!("the HALT in force cannot be recorded in {dir}, so a reboot forgets it: {e}"));
            }
        }
    }

    /// The lane was resumed through its page: the record goes. True where it cannot, and so the HALT stands.
    fn resumed(&mut self, found: &[Recorded]) -> bool {
        match Aside::put(found).and_then(|aside| aside.remove().map_err(|e| (found[0].path.clone(), e))) {
            Ok(_) => {
                self.known.clear();
                false
            }
            Err((path, e)) => {
                let path = path.display();
                crate::errln!(
                    "lane {}: resumed through its control page, but its HALT is recorded in {path}, which cannot be removed \
                     ({e}): HALT again\n  mend: `pillion ctl {} resume` as the user whose record it is",
                    self.lane,
                    self.lane
                );
                true
            }
        }
    }

    fn tell(&mut self, problem: &str) {
        if !std::mem::replace(&mut self.told, true) {
            crate::errln!(
                "lane {}: {problem}\n  mend: make process.state_dir a folder that this user may write",
                self.lane
            );
        }
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
        assert!(!watch.look(false, false), "resumed through the page");
        assert!(watch.standing().is_empty(), "the file goes with the HALT");
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
}
