//! CPU lists ("0-3,8,10-11:2/4") and CPU masks ("ff,ffffffff") as the kernel writes and reads them.

use std::collections::BTreeSet;
use std::fmt;

/// The kernel is never built for more CPUs than this; a larger number is garbage and not a CPU.
const MOST: usize = 8192;
/// Longest list that is looked at, bytes.
const LONGEST: usize = 64 << 10;

/// A set of CPU numbers, printed as the kernel prints it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpus(pub(super) BTreeSet<usize>);

impl Cpus {
    /// A list as in /sys files and kernel parameters: `4`, `0-3`, `0-31:2/8` (the first 2 of each 8), `all`, and `N`
    /// for the `last` CPU where that is known. Blank text is the empty set. The error says what cannot be understood.
    pub(super) fn list(text: &str, last: Option<usize>) -> Result<Self, String> {
        let unclear = |part: &str| format!("`{}` is not a list of CPUs", short(part));
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(unclear(text));
        }
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut marked = vec![false; MOST];
        for part in text.split(',') {
            let (first, end, used, group) = span(part.trim(), last).ok_or_else(|| unclear(part))?;
            for (at, mark) in marked[first..=end].iter_mut().enumerate() {
                *mark |= at % group < used;
            }
        }
        Ok(Self((0..MOST).filter(|&cpu| marked[cpu]).collect()))
    }

    /// A mask of hexadecimal words of 32 bits, the highest first, separated by commas.
    pub(super) fn mask(text: &str) -> Result<Self, String> {
        let unclear = || format!("`{}` is not a mask of CPUs", short(text));
        let words: Vec<_> = text.trim().split(',').collect();
        if words.len() > MOST / 32 {
            return Err(unclear());
        }
        let mut cpus = BTreeSet::new();
        for (at, word) in words.iter().rev().enumerate() {
            let plain = (1..=8).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit());
            let bits = u32::from_str_radix(word, 16).ok().filter(|_| plain).ok_or_else(unclear)?;
            cpus.extend((0..32).filter(|bit| bits >> bit & 1 == 1).map(|bit| at * 32 + bit));
        }
        Ok(Self(cpus))
    }

    /// Whether `cpu` is in it.
    pub(super) fn has(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }

    /// These without those.
    pub(super) fn without(&self, others: &Self) -> Self {
        Self(self.0.difference(&others.0).copied().collect())
    }
}

impl FromIterator<usize> for Cpus {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &cpu in &self.0 {
            match runs.last_mut() {
                Some(run) if run.1 + 1 == cpu => run.1 = cpu,
                _ => runs.push((cpu, cpu)),
            }
        }
        let text = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
        f.write_str(&text.collect::<Vec<_>>().join(","))
    }
}

/// First, last, used and group of one part of a list.
fn span(part: &str, last: Option<usize>) -> Option<(usize, usize, usize, usize)> {
    let number = |text: &str| match text {
        "N" => last.filter(|&cpu| cpu < MOST),
        _ => plain(text).filter(|&cpu| cpu < MOST),
    };
    let (range, pattern) = part.split_once(':').map_or((part, None), |(range, pattern)| (range, Some(pattern)));
    let (first, end) = match range.split_once('-') {
        _ if range == "all" => (0, last.filter(|&cpu| cpu < MOST).unwrap_or(MOST - 1)),
        Some((first, end)) => (number(first)?, number(end)?),
        None => (number(range)?, number(range)?),
    };
    let (used, group) = match pattern {
        Some(pattern) => pattern.split_once('/').and_then(|(used, group)| Some((plain(used)?, plain(group)?)))?,
        None => (1, 1),
    };
    (first <= end && used >= 1 && used <= group).then_some((first, end, used, group))
}

/// Digits and nothing else: `parse` alone would take a sign.
fn plain(text: &str) -> Option<usize> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// As much of a text as fits a message.
pub(super) fn short(text: &str) -> String {
    let clean: String = text.trim().chars().take(41).map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.chars().count() > 40 { format!("{}…", clean.chars().take(40).collect::<String>()) } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> Vec<usize> {
        Cpus::list(text, Some(11)).unwrap_or_else(|error| panic!("{error}")).0.into_iter().collect()
    }

    #[test]
    fn lists_are_read_as_the_kernel_reads_them() {
        assert!(list("\n").is_empty());
        assert_eq!(list("5\n"), [5]);
        assert_eq!(list("0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(list("0-3,8,10-11:2/4"), [0, 1, 2, 3, 8, 10, 11]);
        assert_eq!(list("0-11:2/4"), [0, 1, 4, 5, 8, 9]);
        assert_eq!(list("10-N"), [10, 11]);
        assert_eq!(list("all").len(), 12);
        for text in ["x", "3-1", "-1", "1-", "1,,2", "0-8:0/4", "0-8:5/4", "0-4294967295", "+1", "99999999999999999999"]
        {
            assert!(Cpus::list(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn masks_are_read_from_the_highest_word() {
        let mask = |text: &str| Cpus::mask(text).map(|cpus| cpus.to_string());
        assert_eq!(mask("3\n").as_deref(), Ok("0-1"));
        assert_eq!(mask("80000001,0000000f").as_deref(), Ok("0-3,32,63"));
        for text in ["", "g", "1,", "123456789", "+1", "-"] {
            assert!(mask(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(cpus in prop::collection::btree_set(0usize..200, 0..60)) {
            let cpus = Cpus(cpus);
            prop_assert_eq!(Cpus::list(&cpus.to_string(), None).unwrap(), cpus);
        }

        #[test]
        fn a_pattern_is_its_naive_twin(first in 0usize..50, more in 0usize..100, used in 1usize..9, rest in 0usize..9) {
            let (last, group) = (first + more, used + rest);
            let text = format!("{first}-{last}:{used}/{group}");
            let mut naive = BTreeSet::new();
            let mut at = first;
            while at <= last {
                naive.extend((at..at + used).filter(|&cpu| cpu <= last));
                at += group;
            }
            prop_assert_eq!(Cpus::list(&text, None).unwrap().0, naive);
        }

        #[test]
        fn garbage_is_refused_or_read_and_never_panics(text in "[0-9,:/N a-f\\-]{0,40}|\\PC{0,40}") {
            let _ = Cpus::list(&text, Some(7));
            let _ = Cpus::mask(&text);
        }
    }
}
