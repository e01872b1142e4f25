//! One contract, three tellers: the crate, the C++ header and the tables of README.md name the same fields at the same
//! places and the same numbers. Whoever changes one of them alone fails here.
#![cfg(not(loom))]

#[path = "agreement/crate_side.rs"]
mod crate_side;
#[path = "common/cxx.rs"]
mod cxx;
#[path = "agreement/document.rs"]
mod document;

use std::collections::BTreeMap;
use std::process::Command;

/// `name` to value: `header.magic`, `Signal.flags` (offsets), `sizeof Signal.flags`, `sizeof Signal`, `State.run`.
pub type Facts = BTreeMap<String, u64>;

fn read(file: &str) -> String {
    std::fs::read_to_string(cxx::shm_root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// What the two do not agree on, for a person.
fn differences(one: (&str, &Facts), two: (&str, &Facts)) -> Vec<String> {
    let names = one.1.keys().chain(two.1.keys()).collect::<std::collections::BTreeSet<_>>();
    let told = |facts: &Facts, name: &str| facts.get(name).map_or("nothing".to_owned(), |value| value.to_string());
    names
        .into_iter()
        .filter(|name| one.1.get(*name) != two.1.get(*name))
        .map(|name| format!("{name}: {} says {}, {} says {}", one.0, told(one.1, name), two.0, told(two.1, name)))
        .collect()
}

fn assert_same(one: (&str, &Facts), two: (&str, &Facts)) {
    let differences = differences(one, two);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What the header says, by a program that each compiler makes.
fn header_side() -> Vec<Facts> {
    let facts = |compiler: &cxx::Compiler| {
        let out = Command::new(compiler.build("tests/cpp/layout_dump.cpp", &["-O0"])).output().unwrap();
        assert!(out.status.success());
        let fact = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
        String::from_utf8(out.stdout).unwrap().lines().map(|line| fact(line).unwrap()).collect()
    };
    cxx::compilers().iter().map(facts).collect()
}

#[test]
fn header_crate_and_document_agree() {
    let ours = crate_side::facts();
    let mut told = ours.clone();
    // The document has no use for a hash that follows from its tables, nor for a ring's end in 15,000 years.
    told.retain(|name, _| !name.starts_with("layout.hash.") && name != "layout.most_records");
    assert_same(("the crate", &told), ("README.md", &document::facts(&read("README.md"))));
    for header in header_side() {
        assert_same(("the crate", &ours), ("the C++ header", &header));
    }
}

/// A struct's fields lie one behind the other and fill it, but for zeros that are named here.
#[test]
fn fields_fill_their_structs() {
    let facts = crate_side::facts();
    let zeros = BTreeMap::from([("StatusMsg", 7)]);
    let mut checked = 0;
    for (name, size) in facts.iter().filter_map(|(name, size)| Some((name.strip_prefix("sizeof ")?, size))) {
        if name.contains('.') {
            continue;
        }
        // An MBP record's first fields are a trade's.
        let mut end = if name.starts_with("Mbp") { facts["sizeof TradeMsg"] } else { 0 };
        let prefix = format!("{name}.");
        let mut fields: Vec<_> = facts.iter().filter(|(field, _)| field.starts_with(&prefix)).collect();
        fields.sort_by_key(|(_, offset)| **offset);
        for (field, offset) in fields {
            assert_eq!(end, *offset, "{field} does not follow the field before");
            end += facts[&format!("sizeof {field}")];
        }
        assert_eq!(end + zeros.get(name).unwrap_or(&0), *size, "{name}");
        checked += 1;
    }
    assert_eq!(checked, 13);
}

/// No constant of an offset is left out of the lists: those of layout.rs and of layout.hpp, by their text.
#[test]
fn every_offset_is_compared() {
    let facts = crate_side::facts();
    let listed: Vec<_> = facts.keys().map(String::as_str).collect();
    let rust = constants(&read("src/layout.rs"), "pub mod ", "pub const ", ": usize");
    let header = constants(&read("include/pillion/layout.hpp"), "namespace ", "inline constexpr std::size_t ", " =");
    for (side, names) in [("layout.rs", rust), ("layout.hpp", header)] {
        assert_eq!(names.len(), 42, "{side}: {names:?}");
        let missing: Vec<_> = names.iter().filter(|name| !listed.contains(&name.as_str())).collect();
        assert!(missing.is_empty(), "{side} has {missing:?}, which nobody compares");
    }
}

/// `group.name` of the constants in groups that start with `open`; what stands outside is a group of its own, `layout`.
fn constants(text: &str, open: &str, start: &str, end: &str) -> Vec<String> {
    let (mut group, mut names) = ("layout", Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(open).and_then(|rest| rest.strip_suffix(" {")) {
            group = if name == "pillion" { "layout" } else { name };
        } else if line.starts_with('}') {
            group = "layout";
        } else if let Some((name, _)) = line.trim().strip_prefix(start).and_then(|rest| rest.split_once(end))
            && !name.contains('(')
        {
            names.push(format!("{group}.{}", name.to_lowercase()));
        }
    }
    names
}

/// A change of one teller alone is a difference: else the tests above prove nothing.
#[test]
fn a_difference_is_found() {
    let text = read("README.md");
    let whole = document::facts(&text);
    for (from, to) in [
        ("| created_ns | u64 | 88 |", "| created_ns | u64 | 96 |"),
        ("| heartbeat | u64 | 8 | ns since the epoch |\n", ""),
        ("`halt` 3, `fail` 4", "`halt` 4, `fail` 3"),
        ("| model | u16 | 36 |", "| model | u32 | 36 |"),
        ("`channel_id` u8 37", "`channel` u8 37"),
        ("| `ModelRow` 1040 B", "| `ModelRow` 1024 B"),
        ("`levels` BidAskPair[10] 48", "`levels` BidAskPair[9] 48"),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        let changed = document::facts(&text.replace(from, to));
        assert!(!differences(("whole", &whole), ("changed", &changed)).is_empty(), "{from} → {to}");
    }
}

/// The quick start of README.md compiles as it stands there.
#[test]
fn the_quick_start_compiles() {
    let text = read("README.md");
    let (_, rest) = text.split_once("```cpp\n").unwrap();
    let (program, _) = rest.split_once("```").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quick_start.cpp");
    std::fs::write(&file, program).unwrap();
    for compiler in cxx::compilers() {
        let out = compiler.command().arg("-fsyntax-only").arg(&file).output().unwrap();
        assert!(out.status.success(), "{}:\n{}", compiler.version, String::from_utf8_lossy(&out.stderr));
    }
}
