//! The mailbox of a cnc page: operators ask, the owner answers, and everyone gets their own answer.
//!
//! One request word holds `ticket << 8 | command`; an operator claims the next ticket by compare-and-swap once the
//! last one is answered. Answer t stands in word t mod 8 as `ticket << 8 | outcome`. Each message is one word, so nobody
//! can die in the middle of one: an operator killed after its claim is answered all the same, one killed before it
//! has left no trace.
//!
//! A RESUME that waits can be withdrawn, by its operator when time is up and by whoever asks for a HALT: the same ticket
//! then stands for a HALT. The owner takes a RESUME, by compare-and-swap as well, before it ends the HALT, so that either the
//! one or the other has come first for both.
//!
//! One named pair, **Answer–Answer**: the owner's release store of an answer and the operator's acquire load. Who sees
//! an answer sees what the owner did before it: after "halted", the page says HALT.

use crate::crash;
use crate::sync::{AtomicU64, Ordering, Site, at, kept};

/// Answers kept: an operator may be so many requests late.
pub const ANSWERS: usize = 8;

/// In the place of [`Command::Resume`], one that was withdrawn: the owner obeys it as a HALT, and answers that it refused.
const WITHDRAWN: u64 = 4;
/// In the place of [`Command::Resume`], one that the owner carries out: it can be withdrawn no more.
const TAKEN: u64 = 5;

/// What an operator may ask.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Publish nothing tradable until resumed.
    Halt = 1,
    /// End a halt.
    Resume = 2,
    /// End the lane.
    Stop = 3,
}

/// What the owner made of a request.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and visible on the page: HALT is in force, or ended, or the state is STOPPED (or FAIL).
    Done = 1,
    /// Not done: it makes no sense in this state.
    Refused = 2,
    /// Not a command of this version.
    Unknown = 3,
}

impl Outcome {
    fn of(byte: u64) -> Self {
        match byte {
            1 => Outcome::Done,
            2 => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }
}

/// A request as the owner finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of the request, from 1.
    pub ticket: u64,
    /// What is asked; `None` when this version does not know it.
    pub command: Option<Command>,
    /// A RESUME that was withdrawn, and stands as a HALT: done, it is answered as refused.
    pub withdrawn: bool,
}

/// Why an operator has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The owner has not answered yet.
    Pending,
    /// The answer came and has been overwritten by later ones.
    Overwritten,
}

/// Claims the mailbox for `command`. `None` while an earlier request waits or another operator was faster: try again. A HALT
/// waits for no RESUME: it withdraws it.
pub fn ask(request: &AtomicU64, answers: &[AtomicU64], command: Command) -> Option<u64> {
    // Relaxed: the word carries the whole request, nothing else is read through it.
    let last = request.load(Ordering::Relaxed);
    let ticket = last >> 8;
    if ticket != 0 && answered(answers, ticket).is_err_and(|waiting| waiting == Waiting::Pending) {
        if command == Command::Halt {
            withdraw(request, ticket);
        }
        return None;
    }
    // Ticket 0 is nobody's: behind the last of 56 bits, which only a scribbler reaches, comes 1.
    let next = if ticket == u64::MAX >> 8 { 1 } else { ticket + 1 };
    let mine = next << 8 | command as u64;
    if kept(Site::Claim) {
        request.compare_exchange(last, mine, Ordering::Relaxed, Ordering::Relaxed).ok()?;
    } else {
        request.store(mine, Ordering::Relaxed);
    }
    crash::point("mailbox: claim");
    Some(next)
}

/// Turns the RESUME of `ticket` that waits into a HALT. False where it waits no more: the owner has taken it or answered,
/// it was withdrawn already, or it was none.
pub fn withdraw(request: &AtomicU64, ticket: u64) -> bool {
    change(request, ticket, WITHDRAWN)
}

/// Takes `request` before it is carried out: from here on it is not withdrawn. False for a RESUME that has been, and stands
/// as a HALT at the next look.
pub fn take(word: &AtomicU64, request: &Request) -> bool {
    request.command != Some(Command::Resume) || change(word, request.ticket, TAKEN)
}

/// Changes the RESUME of `ticket`, if it still is one.
fn change(word: &AtomicU64, ticket: u64, to: u64) -> bool {
    let (resume, changed) = (ticket << 8 | Command::Resume as u64, ticket << 8 | to);
    // Relaxed: the word carries it all.
    if kept(Site::Take) {
        word.compare_exchange(resume, changed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    } else {
        let is = word.load(Ordering::Relaxed) == resume;
        if is {
            word.store(changed, Ordering::Relaxed);
        }
        is
    }
}

/// The answer to `ticket`.
pub fn answered(answers: &[AtomicU64], ticket: u64) -> Result<Outcome, Waiting> {
    // Answer–Answer, second half.
    let answer = answers[ticket as usize % ANSWERS].load(at(Site::AnswerLoad, Ordering::Acquire));
    match (answer >> 8).cmp(&ticket) {
        std::cmp::Ordering::Less => Err(Waiting::Pending),
        std::cmp::Ordering::Equal => Ok(Outcome::of(answer & 0xff)),
        std::cmp::Ordering::Greater => Err(Waiting::Overwritten),
    }
}

/// The request that waits, if its ticket is not `last`, the one answered last.
#[inline]
pub fn poll(request: &AtomicU64, last: u64) -> Option<Request> {
    let word = request.load(Ordering::Relaxed);
    let ticket = word >> 8;
    if ticket == last || ticket == 0 {
        return None;
    }
    let withdrawn = word & 0xff == WITHDRAWN;
    let command = match word & 0xff {
        1 | WITHDRAWN => Some(Command::Halt),
        2 => Some(Command::Resume),
        3 => Some(Command::Stop),
        _ => None,
    };
    Some(Request { ticket, command, withdrawn })
}

/// Answers `ticket`; everything done before is visible to whoever sees the answer.
pub fn answer(answers: &[AtomicU64], ticket: u64, outcome: Outcome) {
    // Answer–Answer, first half.
    answers[ticket as usize % ANSWERS].store(ticket << 8 | outcome as u64, at(Site::Answer, Ordering::Release));
    crash::point("mailbox: answer");
}
