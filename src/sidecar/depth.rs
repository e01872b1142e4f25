//! Features that look deeper into the book than the records show.

use crate::data::Feed;
use crate::hot::features::FeatureSet;

/// How many columns a message lists.
const LISTED: usize = 8;

/// What is wrong with a set over records that show so many levels of a side; `None` where nothing is.
pub fn too_shallow(set: &FeatureSet, levels: usize) -> Option<String> {
    let columns: Vec<_> = set.deeper_than(levels).collect();
    if columns.is_empty() {
        return None;
    }
    let shown = match levels {
        0 => "no levels (trades alone)".to_owned(),
        1 => "1 level of a side".to_owned(),
        n => format!("{n} levels of a side"),
    };
    let more = if columns.len() > LISTED { ", ..." } else { "" };
    Some(format!(
        "the records show {shown}, and {} of the {} columns of set `{}` look at more, as if what is not shown were empty: {}{more}",
        columns.len(),
        set.len(),
        set.name(),
        columns[..columns.len().min(LISTED)].join(", "),
    ))
}

/// The same of each instrument of a file, one line for each number of levels.
pub fn of_feed(set: &FeatureSet, feed: &Feed) -> Vec<String> {
    let mut shown: Vec<(usize, Vec<&str>)> = Vec::new();
    for (instrument, identity) in feed.instruments.iter().zip(&feed.identities) {
        let Some(levels) = identity.levels() else { continue };
        match shown.iter_mut().find(|(n, _)| *n == levels) {
            Some((_, names)) if names.contains(&instrument.symbol.as_str()) => {}
            Some((_, names)) => names.push(&instrument.symbol),
            None => shown.push((levels, vec![&instrument.symbol])),
        }
    }
    let line = |(levels, names): (usize, Vec<&str>)| {
        let more = if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
        let names = names[..names.len().min(LISTED)].join(", ");
        too_shallow(set, levels).map(|what| format!("{names}{more}: {what}"))
    };
    shown.into_iter().filter_map(line).collect()
}
