//! Owners, creators that run the take-over that ships, a follower and an `rm`; and a search through every order of their
//! calls.

use crate::kernel::{Answer, Creator, Disk, Inode, Kernel, Over, Wrong};
use pillion_shm::takeover::{self, Installed};
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Number of the file that the first owner has; creator c makes file c + 1.
const FIRST: usize = 0;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Process {
    /// In the middle of it, with the answers so far.
    Creating(Vec<Answer>),
    Owns,
    Refused,
    Dead,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Follower {
    /// The file it has mapped.
    mapped: usize,
    generation: u8,
    /// Found out that there is a successor.
    looking: bool,
}

/// All that there is. Process 0 is the first owner, if there is one.
#[derive(Clone)]
pub struct World {
    disk: Disk,
    processes: Vec<Process>,
    follower: Option<Follower>,
    may_remove: bool,
    wrong: Option<Wrong>,
}

impl World {
    /// Nobody has the name, and so many want it.
    pub fn new(creators: usize, wrong: Option<Wrong>) -> Self {
        let inode = |file: usize| Inode {
            generation: 0,
            whole: file == FIRST || wrong != Some(Wrong::LinkedBeforeWhole),
            halted: false,
            mark: 0,
            lock: (wrong != Some(Wrong::LinkedBeforeLocked)).then_some(file),
        };
        let files: Vec<_> = (0..=creators).map(inode).collect();
        let mut processes = vec![Process::Creating(Vec::new()); creators + 1];
        processes[FIRST] = Process::Dead;
        let beside = vec![None; files.len()];
        let disk = Disk { files, name: None, beside, removed: None };
        Self { disk, processes, follower: None, may_remove: false, wrong }
    }

    /// A living owner of generation 5 has the name.
    pub fn with_owner(mut self) -> Self {
        self.processes[FIRST] = Process::Owns;
        self.disk.files[FIRST].generation = 5;
        self.disk.files[FIRST].lock = Some(FIRST);
        self.disk.name = Some(FIRST);
        self
    }

    /// Somebody reads the first owner's file and follows.
    pub fn with_follower(mut self) -> Self {
        self.follower = Some(Follower { mapped: FIRST, generation: self.disk.files[FIRST].generation, looking: false });
        self
    }

    /// Somebody may remove the name once. Then nobody dies in mid-take-over: who dies while the file of a living owner
    /// stands beside takes its name along, and that is for the one who removed a name in use to mend.
    pub fn with_remover(mut self) -> Self {
        self.may_remove = true;
        self
    }

    fn has_remover(&self) -> bool {
        self.may_remove || self.disk.removed.is_some()
    }

    /// Every world that one call, death or removal away.
    fn next(&self) -> Vec<(String, World)> {
        let mut worlds = Vec::new();
        let mut go = |what: String, change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            worlds.push((what, world));
        };
        for (me, process) in self.processes.iter().enumerate() {
            if let Process::Creating(answers) = process {
                let (what, world) = self.call(me, answers);
                go(format!("{me} {what}"), &|next| *next = world.clone());
            }
            let may_die = match process {
                Process::Creating(_) => !self.has_remover(),
                Process::Owns => true,
                Process::Refused | Process::Dead => false,
            };
            if may_die {
                go(format!("{me} dies"), &|next| next.die(me));
            }
        }
        if self.processes[FIRST] == Process::Owns && !self.disk.files[FIRST].halted {
            go("0 halts".to_owned(), &|next| next.disk.files[FIRST].halted = true);
        }
        if self.may_remove && self.disk.name.is_some() {
            go("rm".to_owned(), &|next| {
                next.disk.removed = next.disk.name.take();
                next.may_remove = false;
            });
        }
        if let Some(follower) = self.follower.as_ref().filter(|follower| self.follower_moves(follower)) {
            go(format!("follower at {}", follower.mapped), &World::follow);
        }
        worlds
    }

    fn die(&mut self, me: usize) {
        self.processes[me] = Process::Dead;
        self.disk.files.iter_mut().filter(|file| file.lock == Some(me)).for_each(|file| file.lock = None);
    }

    fn follower_moves(&self, follower: &Follower) -> bool {
        let superseded = self.disk.files[follower.mapped].mark != 0 || self.disk.name != Some(follower.mapped);
        follower.looking || superseded
    }

    /// Sees that there is a successor; opens, checks and maps what has the name.
    fn follow(&mut self) {
        let Some(follower) = &mut self.follower else { return };
        if !std::mem::replace(&mut follower.looking, true) {
            return;
        }
        follower.looking = false;
        let Some(file) = self.disk.name else { return };
        let found = &self.disk.files[file];
        assert!(found.whole, "a follower found a half-made file");
        assert!(file != follower.mapped, "a follower was sent away from the file that has the name");
        assert!(found.generation > follower.generation, "a follower found an older generation");
        (follower.mapped, follower.generation) = (file, found.generation);
    }

    /// What must hold in every world.
    fn check(&self) {
        let owners = || (0..self.processes.len()).filter(|me| self.processes[*me] == Process::Owns);
        let named = |me: &usize| self.disk.removed != Some(*me);
        assert!(owners().filter(named).count() <= 1, "two owners");
        let quiet = !self.processes.iter().any(|process| matches!(process, Process::Creating(_)));
        if quiet || !self.has_remover() {
            for me in owners().filter(named) {
                assert_eq!(self.disk.name, Some(me), "a living owner lost its name");
            }
        }
        for me in owners() {
            let file = &self.disk.files[me];
            assert!(file.whole, "an owner of a half-made file");
            let heir = me != FIRST && self.disk.files[FIRST].generation > 0 && !self.has_remover();
            assert!(!heir || file.generation > self.disk.files[FIRST].generation, "generation {}", file.generation);
            assert!(!heir || file.halted || !self.disk.files[FIRST].halted, "HALT forgotten");
        }
        for (number, file) in self.disk.files.iter().enumerate() {
            assert!(file.mark == 0 || self.disk.name != Some(number), "the file that has the name is marked");
            assert!(file.mark == 0 || file.mark > file.generation, "marked with an older generation");
        }
    }

    /// Process `me`, which has had `answers`, makes its next call.
    fn call(&self, me: usize, answers: &[Answer]) -> (&'static str, World) {
        let kernel = Kernel {
            me,
            wrong: self.wrong,
            disk: RefCell::new(self.disk.clone()),
            answers,
            given: Cell::new(0),
            fresh: Cell::new(None),
            over: Cell::new(false),
        };
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut names = Creator { kernel: &kernel };
            let installed = takeover::install(&mut names, |names, other| names.prepare(other));
            if matches!(installed, Ok(Installed::Ours)) {
                kernel.made_good();
            }
            installed
        }));
        let ended = match ended {
            Err(panic) if !panic.is::<Over>() => resume_unwind(panic),
            ended => ended.ok(),
        };
        let (what, answer) = kernel.fresh.get().expect("a creator that is not done makes a call");
        let mut world = self.clone();
        world.disk = kernel.disk.into_inner();
        world.processes[me] = match ended {
            Some(Ok(Installed::Ours)) => Process::Owns,
            Some(_) => Process::Refused,
            None => Process::Creating([answers, &[answer]].concat()),
        };
        if world.processes[me] == Process::Refused {
            world.die(me);
            world.processes[me] = Process::Refused;
        }
        (what, world)
    }
}

/// Goes through every world that can come of `start`, by the number of steps it takes; returns how many there are. Panics in one that must not be, after
/// printing how it came about.
pub fn search(start: World) -> usize {
    let mut seen = HashSet::new();
    let mut open = VecDeque::from([(start, None)]);
    let mut came = Vec::new();
    while let Some((world, from)) = open.pop_front() {
        if !seen.insert(fingerprint(&world)) {
            continue;
        }
        let step: Option<(usize, String)> = from;
        came.push(step);
        let here = came.len() - 1;
        let checked = catch_unwind(AssertUnwindSafe(|| {
            world.check();
            world.next()
        }));
        match checked {
            Ok(worlds) => open.extend(worlds.into_iter().map(|(what, world)| (world, Some((here, what))))),
            Err(panic) => {
                let mut at = &came[here];
                let mut story = Vec::new();
                while let Some((before, what)) = at {
                    story.push(what.as_str());
                    at = &came[*before];
                }
                story.reverse();
                eprintln!("how it came about: {}", story.join("; "));
                resume_unwind(panic);
            }
        }
    }
    came.len()
}

/// 64 bits of hash stand for a world: some 10^6 of them collide with a chance of 10^-7, and always in the same way.
fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&world.disk, &world.processes, &world.follower, world.may_remove).hash(&mut hasher);
    hasher.finish()
}
