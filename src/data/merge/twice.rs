//! Files that tell the same facts: merged, each would count twice.

use std::collections::BTreeMap;

use pillion_shm::records::{View, rtype};

use super::Survey;
use crate::data::facts;
use crate::data::identity::known_time_ns;
use crate::{Error, Result};

/// Of each kind of records that tell facts: times of the first and the last one, ns since the epoch.
pub(super) type Lives = BTreeMap<u8, (u64, u64)>;

/// A file's place, and the times that it tells of.
type Told = (usize, (u64, u64));

/// Takes the next record of an instrument.
pub(super) fn note(lives: &mut Lives, record: &[u64]) {
    let kind = record[0].to_le_bytes()[1];
    if let (Some(time_ns), false) = (known_time_ns(record), kind == rtype::STATUS || View(record).is_snapshot()) {
        let (first, last) = lives.entry(kind).or_insert((time_ns, time_ns));
        (*first, *last) = ((*first).min(time_ns), (*last).max(time_ns));
    }
}

/// Refuses two files that tell the same: records of one kind, of one instrument of the output, at the same times.
pub(super) fn refuse(files: &[Survey], ids: &[Vec<u32>]) -> Result<()> {
    let mut known: BTreeMap<(u16, u32, u8), Vec<Told>> = BTreeMap::new();
    for (n, file) in files.iter().enumerate() {
        for ((at, (instrument, identity)), &id) in file.each().enumerate().zip(&ids[n]) {
            for (&kind, &span) in &file.lives[at] {
                let told = known.entry((identity.publisher, id, kind)).or_default();
                let same = |&&(other, before): &&Told| other != n && overlap(before, span);
                if let Some(&(other, before)) = told.iter().find(same) {
                    let what = format!(
                        "its records of {} from {} to {} ns are told by {} too, from {} to {} ns: every fact there would count \
                         twice",
                        facts::name(instrument, identity),
                        span.0,
                        span.1,
                        files[other].path.display(),
                        before.0,
                        before.1
                    );
                    let mend = "leave one of the two files out, or cut them so that one begins where the other ends";
                    return Err(Error::input(file.path.display(), what, mend));
                }
                told.push((n, span));
            }
        }
    }
    Ok(())
}

/// Files that were cut at a time may share that time.
fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a == b || a.0 < b.1 && b.0 < a.1
}
