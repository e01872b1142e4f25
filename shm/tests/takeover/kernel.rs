//! Names, files and locks, and a creator's calls on them: each atomic, as the kernel's are.

use pillion_shm::takeover::Names;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;

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

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Inode {
    pub generation: u8,
    pub whole: bool,
    pub halted: bool,
    /// Generation of the successor, 0 while there is none.
    pub mark: u8,
    /// The process that holds the lock, by the number of its own file.
    pub lock: Option<usize>,
}

/// What the kernel keeps: it outlives its processes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Disk {
    pub files: Vec<Inode>,
    pub name: Option<usize>,
    /// Each creator's name beside the name, by the number of its file.
    pub beside: Vec<Option<usize>>,
    /// The file that `rm` took the name from.
    pub removed: Option<usize>,
}

/// The answer of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Done,
    Refused,
    Said(bool),
    File { file: usize, generation: u8, halted: bool },
}

/// The step is done: the creator is stopped where it stands.
pub struct Over;

/// Answers again what was answered before, makes one call more, and then ends it.
pub struct Kernel<'a> {
    pub me: usize,
    pub wrong: Option<Wrong>,
    pub disk: RefCell<Disk>,
    pub answers: &'a [Answer],
    pub given: Cell<usize>,
    pub fresh: Cell<Option<(&'static str, Answer)>>,
    pub over: Cell<bool>,
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
    pub fn made_good(&self) {
        if self.wrong(Wrong::LinkedBeforeWhole) {
            self.call("makes its file whole", |disk| {
                disk.files[self.me].whole = true;
                Answer::Done
            });
        }
    }
}

pub struct Creator<'a> {
    pub kernel: &'a Kernel<'a>,
}

pub struct Other<'a> {
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
    pub fn prepare(&mut self, other: Option<&Other>) -> bool {
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
