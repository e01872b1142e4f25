//! The numbers that README.md tells, in three forms:
//!
//! - a table whose first heading is `` `group` N B `` and whose rows are name, type, offset, meaning;
//! - a line `` - `group`: `name` value, … ``;
//! - a line `` - `Struct` N B: `field` type offset, … ``.

use crate::Facts;

/// Groups whose fields are offsets by name, without a struct that could be measured.
const OFFSETS_ONLY: [&str; 4] = ["header", "slot", "cnc", "clock"];

/// All that `text` tells.
pub fn facts(text: &str) -> Facts {
    let mut facts = Facts::new();
    let mut table = None;
    for line in text.lines() {
        if let Some(cells) = line.strip_prefix("| ") {
            let cells = cells.replace("\\|", "/");
            let cells: Vec<_> = cells.split('|').map(str::trim).collect();
            match (quoted(cells[0]), &table, cells.as_slice()) {
                (Some((group, size)), _, [_, "type", "at", "meaning", ..]) => {
                    put_size(&mut facts, group, size);
                    table = Some(group.to_owned());
                }
                (_, Some(group), [name, kind, at, ..]) => put_field(&mut facts, group, name, kind, at),
                _ => {}
            }
        } else if !line.starts_with("|---") {
            table = None;
            if let Some((group, rest)) = line.strip_prefix("- ").and_then(quoted) {
                list(&mut facts, group, rest);
            }
        }
    }
    facts
}

/// The word in backquotes that `text` starts with, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('`')?.split_once('`')
}

fn list(facts: &mut Facts, group: &str, rest: &str) {
    let Some((size, items)) = rest.split_once(':') else { return };
    put_size(facts, group, size);
    let of_struct = !size.is_empty();
    for (name, rest) in items.split(", ").filter_map(|item| quoted(item.trim().trim_start_matches("then "))) {
        let words: Vec<_> = rest.split_whitespace().collect();
        match words.as_slice() {
            [kind, at, ..] if of_struct => put_field(facts, group, name, kind, at),
            [value] if !of_struct => put(facts, format!("{group}.{name}"), number(value)),
            _ => panic!("README.md: {group}: `{name}`{rest} is neither a number nor a type and an offset"),
        }
    }
}

fn put(facts: &mut Facts, name: String, value: u64) {
    let before = facts.insert(name.clone(), value);
    assert!(before.is_none(), "README.md tells {name} twice");
}

/// `size` is ` N B` with more behind it, or nothing.
fn put_size(facts: &mut Facts, group: &str, size: &str) {
    let bytes = size.trim().split(' ').next().and_then(|word| word.parse().ok());
    match bytes {
        Some(bytes) if !OFFSETS_ONLY.contains(&group) => put(facts, format!("sizeof {group}"), bytes),
        _ => {}
    }
}

fn put_field(facts: &mut Facts, group: &str, name: &str, kind: &str, at: &str) {
    put(facts, format!("{group}.{name}"), number(at));
    if !OFFSETS_ONLY.contains(&group) {
        put(facts, format!("sizeof {group}.{name}"), bytes_of(kind));
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("README.md: {text:?} is no number"))
}

fn bytes_of(kind: &str) -> u64 {
    let (one, count) = match kind.split_once('[') {
        Some((one, count)) => (one, number(count.trim_end_matches(']'))),
        None => (kind, 1),
    };
    let bytes = match one {
        "u8" => 1,
        "u16" => 2,
        "u32" | "i32" | "f32" => 4,
        "u64" | "i64" | "f64" => 8,
        "RecordHeader" => 16,
        "BidAskPair" => 32,
        _ => panic!("README.md: {one:?} is no type"),
    };
    bytes * count
}
