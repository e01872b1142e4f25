//! The mailbox of a cnc page: operators ask, the owner answers, and everyone gets their own answer.
//!
//! One request word holds `ticket << 8 | command`; an operator claims the next ticket by compare-and-swap once the
//! last one is answered. Answer t stands in word t mod 8 as `ticket << 8 | outcome`. Each message is one word, so nobody
//! can die in the middle of one: an operator killed after its claim is answered all the same, one killed before it
//! has left no trace.
//!
//! One named pair, **Answer–Answer**: the owner's release store of an answer and the operator's acquire load. Who sees
//! an answer sees what the owner did before it: after "halted", the page says HALT.

use crate::crash;
use crate::sync::{AtomicU64, Ordering, Site, at, kept};

/// Answers kept: an operator may be so many requests late.
pub const ANSWERS: usize = 8;

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
}

/// Why an operator has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The owner has not answered yet.
    Pending,
    /// The answer came and has been overwritten by later ones.
    Overwritten,
}

/// Claims the mailbox for `command`. `None` while an earlier request waits or another operator was faster: try again.
pub fn ask(request: &AtomicU64, answers: &[AtomicU64], command: Command) -> Option<u64> {
    // Relaxed: the word carries the whole request, nothing else is read through it.
    let last = request.load(Ordering::Relaxed);
    let ticket = last >> 8;
    if ticket != 0 && answered(answers, ticket).is_err_and(|waiting| waiting == Waiting::Pending) {
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
    let command = match word & 0xff {
        1 => Some(Command::Halt),
        2 => Some(Command::Resume),
        3 => Some(Command::Stop),
        _ => None,
    };
    Some(Request { ticket, command })
}

/// Answers `ticket`; everything done before is visible to whoever sees the answer.
pub fn answer(answers: &[AtomicU64], ticket: u64, outcome: Outcome) {
    // Answer–Answer, first half.
    answers[ticket as usize % ANSWERS].store(ticket << 8 | outcome as u64, at(Site::Answer, Ordering::Release));
    crash::point("mailbox: answer");
}
