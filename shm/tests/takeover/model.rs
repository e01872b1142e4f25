//! Names, files and locks, creators that run the take-over that ships, and a search through every order of their calls.

use pillion_shm::takeover::{self, Installed, Names};
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// A kernel or a check that is not what it ought to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    LockNotAsked,
    NameNotLookedAtAgain,
    LinkedBeforeWhole,
    LinkedBeforeLocked,
    LinkReplaces,
    ExchangeInTwoSteps,
    BesideNotLookedAt,
    NotExchangedBack,
    GenerationKept,
    HaltReadBeforeLock,
    HaltNotCarried,
}

/// Number of the file that the first owner has; creator c makes file c + 1.
const FIRST: usize = 0;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Inode {
    generation: u8,
    whole: bool,
    halted: bool,
    /// Generation of the successor, 0 while there is none.
    mark: u8,
    /// The process that holds the lock, by the number of its own file.
    lock: Option<usize>,
}

/// What the kernel keeps: it outlives its processes.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Disk {
    files: Vec<Inode>,
    name: Option<usize>,
    /// Each creator's name beside the name, by the number of its file.
    beside: Vec<Option<usize>>,
    /// The file that `rm` took the name from.
    removed: Option<usize>,
}

/// The answer of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Done,
    Refused,
    Said(bool),
    File { file: usize, generation: u8, halted: bool },
}

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

/// The step is done: the creator is stopped where it stands.
struct Over;

/// Answers again what was answered before, makes one call more, and then ends it.
struct Kernel<'a> {
    me: usize,
    wrong: Option<Wrong>,
    disk: RefCell<Disk>,
    answers: &'a [Answer],
    given: Cell<usize>,
    fresh: Cell<Option<(&'static str, Answer)>>,
    over: Cell<bool>,
}

impl Kernel<'_> {
    fn call(&self, what: &'static str, call: impl FnOnce(&mut Disk) -> Answer) -> Answer {
        let given = self.given.replace(self.given.get() + 1);
        if let Some(answer) = self.answers.get(given) {
            return *answer;
        }
        if self.fresh.get().is_some() {
            self.over.set(true);
            resume_unwind(Box::new(Over));
        }
        let answer = call(&mut self.disk.borrow_mut());
        self.fresh.set(Some((what, answer)));
        answer
    }

    fn says(&self, what: &'static str, call: impl FnOnce(&mut Disk) -> bool) -> bool {
        self.call(what, |disk| Answer::Said(call(disk))) == Answer::Said(true)
    }

    fn wrong(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// What a creator that linked too early still has to do.
    fn made_good(&self) {
        if self.wrong(Wrong::LinkedBeforeWhole) {
            self.call("makes its file whole", |disk| {
                disk.files[self.me].whole = true;
                Answer::Done
            });
        }
    }
}

struct Creator<'a> {
    kernel: &'a Kernel<'a>,
}

struct Other<'a> {
    kernel: &'a Kernel<'a>,
    file: usize,
    generation: u8,
    halted_at_open: bool,
}

impl Drop for Other<'_> {
    fn drop(&mut self) {
        if self.kernel.over.get() {
            return;
        }
        let me = self.kernel.me;
        self.kernel.call("closes", |disk| {
            let lock = &mut disk.files[self.file].lock;
            *lock = lock.filter(|holder| *holder != me);
            Answer::Done
        });
    }
}

impl Creator<'_> {
    /// Carries the HALT over, as the owner of a control page does.
    fn prepare(&mut self, other: Option<&Other>) -> bool {
        let Some(other) = other else { return true };
        let (kernel, me) = (self.kernel, self.kernel.me);
        kernel.says("prepares", |disk| {
            let halted = if kernel.wrong(Wrong::HaltReadBeforeLock) {
                other.halted_at_open
            } else {
                disk.files[other.file].halted && !kernel.wrong(Wrong::HaltNotCarried)
            };
            disk.files[me].halted = halted;
            true
        })
    }
}

impl<'a> Names for Creator<'a> {
    type Other = Other<'a>;
    type Error = ();

    fn open(&mut self) -> Result<Option<Other<'a>>, ()> {
        let answer = self.kernel.call("opens", |disk| {
            disk.name.map_or(Answer::Refused, |file| {
                let found = &disk.files[file];
                assert!(found.whole, "a creator found a half-made file");
                Answer::File { file, generation: found.generation, halted: found.halted }
            })
        });
        let Answer::File { file, generation, halted } = answer else { return Ok(None) };
        Ok(Some(Other { kernel: self.kernel, file, generation, halted_at_open: halted }))
    }

    fn lock(&mut self, other: &mut Other) -> Result<(), ()> {
        let kernel = self.kernel;
        let free = kernel.says("locks", |disk| {
            let lock = &mut disk.files[other.file].lock;
            // A lock belongs to an opening of the file: the same process that opens it anew does not have it.
            let free = lock.is_none();
            if free {
                *lock = Some(kernel.me);
            }
            free || kernel.wrong(Wrong::LockNotAsked)
        });
        free.then_some(()).ok_or(())
    }

    fn has_name(&self, other: &Other) -> bool {
        let kernel = self.kernel;
        kernel.says("looks at the name", |disk| {
            disk.name == Some(other.file) || kernel.wrong(Wrong::NameNotLookedAtAgain)
        })
    }

    fn succeed(&mut self, other: Option<&Other>) -> Result<(), ()> {
        let kernel = self.kernel;
        let before = other.map_or(0, |other| other.generation);
        kernel.call("writes its generation", |disk| {
            disk.files[kernel.me].generation = if kernel.wrong(Wrong::GenerationKept) { 1 } else { before + 1 };
            Answer::Done
        });
        Ok(())
    }

    fn link(&mut self) -> Result<bool, ()> {
        let kernel = self.kernel;
        Ok(kernel.says("links", |disk| {
            let free = disk.name.is_none() || kernel.wrong(Wrong::LinkReplaces);
            if free {
                disk.name = Some(kernel.me);
            }
            free
        }))
    }

    fn link_beside(&mut self) -> Result<(), ()> {
        let kernel = self.kernel;
        let free = kernel.says("links beside", |disk| disk.beside[kernel.me].replace(kernel.me).is_none());
        free.then_some(()).ok_or(())
    }

    fn exchange(&mut self) -> Result<bool, ()> {
        let (kernel, me) = (self.kernel, self.kernel.me);
        if kernel.wrong(Wrong::ExchangeInTwoSteps) {
            let taken = kernel.says("moves the name's file beside", |disk| {
                let old = disk.name.take();
                disk.beside[me] = old;
                old.is_some()
            });
            let rename = |disk: &mut Disk| {
                disk.name = Some(me);
                true
            };
            return Ok(taken && kernel.says("renames its own", rename));
        }
        Ok(kernel.says("exchanges", |disk| {
            let back = disk.beside[me] != Some(me);
            match (disk.name, disk.beside[me]) {
                (Some(_), Some(_)) if back && kernel.wrong(Wrong::NotExchangedBack) => true,
                (Some(named), Some(beside)) => {
                    (disk.name, disk.beside[me]) = (Some(beside), Some(named));
                    true
                }
                _ => false,
            }
        }))
    }

    fn is_beside(&self, other: &Other) -> bool {
        let kernel = self.kernel;
        kernel.says("looks beside", |disk| {
            disk.beside[kernel.me] == Some(other.file) || kernel.wrong(Wrong::BesideNotLookedAt)
        })
    }

    fn unlink_beside(&mut self) {
        let me = self.kernel.me;
        self.kernel.call("unlinks beside", |disk| {
            disk.beside[me] = None;
            Answer::Done
        });
    }

    fn mark(&mut self, other: &Other) {
        let me = self.kernel.me;
        self.kernel.call("marks", |disk| {
            disk.files[other.file].mark = disk.files[me].generation;
            Answer::Done
        });
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
