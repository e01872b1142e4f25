//! How a region gets its name, from nobody or from a dead owner: a protocol over [`Names`], whose calls are atomic.
//!
//! The files behind it are `region.rs`'s; a model of them, with creators that die between any two calls, is the tests'.
//! What holds it together: our file is whole and locked before it has any name; a predecessor's lock is taken before its
//! name is touched, and the name looked at again under that lock; the name goes over in one exchange.

use crate::crash;

/// Take-overs tried before giving up; each failed one means that another creator succeeded.
pub const ATTEMPTS: u32 = 100;

/// The place where one region's name stands, seen by a creator whose new file is whole, locked and without a name. A
/// creator that dies drops its locks, by the kernel's word.
pub trait Names {
    /// Somebody else's file, open; closing it drops the lock we took on it.
    type Other;
    /// A refusal or a failure.
    type Error;

    /// The file that has the name now.
    fn open(&mut self) -> Result<Option<Self::Other>, Self::Error>;
    /// Locks `other`; an error when its owner lives.
    fn lock(&mut self, other: &mut Self::Other) -> Result<(), Self::Error>;
    /// Whether `other` still has the name.
    fn has_name(&self, other: &Self::Other) -> bool;
    /// Makes ours the generation after `other`, or the first.
    fn succeed(&mut self, other: Option<&Self::Other>) -> Result<(), Self::Error>;
    /// Gives our file the name; false when another has it.
    fn link(&mut self) -> Result<bool, Self::Error>;
    /// Gives our file a name of its own beside the name.
    fn link_beside(&mut self) -> Result<(), Self::Error>;
    /// Exchanges the two names' files; false when one of the names is gone.
    fn exchange(&mut self) -> Result<bool, Self::Error>;
    /// Whether `other` stands beside now.
    fn is_beside(&self, other: &Self::Other) -> bool;
    /// Removes the name beside.
    fn unlink_beside(&mut self);
    /// Marks `other` as succeeded by ours, if it can.
    fn mark(&mut self, other: &Self::Other);
}

/// How an [`install`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// Our file has the name.
    Ours,
    /// `prepare` kept the predecessor.
    Kept,
    /// Others were always faster.
    Contended,
}

/// Gives our file the name. `prepare` runs with the predecessor locked, or with none; it may keep the predecessor (false).
pub fn install<N: Names>(
    names: &mut N,
    mut prepare: impl FnMut(&mut N, Option<&N::Other>) -> bool,
) -> Result<Installed, N::Error> {
    for _ in 0..ATTEMPTS {
        let Some(mut other) = names.open()? else {
            names.succeed(None)?;
            if !prepare(names, None) {
                return Ok(Installed::Kept);
            }
            crash::point("take-over: before the link");
            if names.link()? {
                crash::point("take-over: linked");
                return Ok(Installed::Ours);
            }
            continue;
        };
        names.lock(&mut other)?;
        crash::point("take-over: predecessor locked");
        // It may have lost the name between our open and our lock: then its lock says nothing about the name.
        if !names.has_name(&other) {
            continue;
        }
        names.succeed(Some(&other))?;
        if !prepare(names, Some(&other)) {
            return Ok(Installed::Kept);
        }
        crash::point("take-over: prepared");
        if replace(names, &other)? {
            return Ok(Installed::Ours);
        }
    }
    Ok(Installed::Contended)
}

/// Puts our file in the place of `other`, which we hold the lock of. False when the name was lost in between.
fn replace<N: Names>(names: &mut N, other: &N::Other) -> Result<bool, N::Error> {
    // A creator of our name that died in here may have left it behind.
    names.unlink_beside();
    names.link_beside()?;
    crash::point("take-over: beside");
    let swapped = names.exchange();
    crash::point("take-over: exchanged");
    let replaced = matches!(swapped, Ok(true)) && names.is_beside(other);
    if matches!(swapped, Ok(true)) && !replaced {
        // Our lock keeps creators away, but not somebody who removed the name and let another creator link it: that
        // creator's file is beside now, and goes back.
        let _ = names.exchange();
        crash::point("take-over: exchanged back");
    }
    names.unlink_beside();
    crash::point("take-over: beside removed");
    if replaced {
        // Best effort by contract: readers also find that the name stands for another file.
        names.mark(other);
        crash::point("take-over: marked");
    }
    swapped.map(|_| replaced)
}
