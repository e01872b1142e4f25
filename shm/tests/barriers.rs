//! What compilers make of the C++ header's steps on Arm, where every ordering is an instruction that can be missing: the
//! accesses to shared words and the barriers between them, read from the assembly in the order they stand in. On x86-64,
//! where the same orderings cost nothing, that nothing was paid for.
#![cfg(not(loom))]

#[path = "common/cxx.rs"]
mod cxx;
#[path = "common/mutant.rs"]
mod mutant;

use mutant::Mutant;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

/// A step of the protocol, as a function of `cpp/barriers.cpp`.
struct Step {
    function: &'static str,
    /// What its first arguments point to. A `ring` is a `Producer` or `Consumer`: its first two words point to the head
    /// and to the slots.
    arguments: &'static [&'static str],
    /// The accesses and barriers that it must consist of.
    events: &'static [&'static str],
}

const STEPS: [Step; 7] = [
    Step {
        function: "publish",
        arguments: &["ring"],
        events: &["st slots", "dmb ish", "st slots", "st slots", "st slots", "stlr slots", "stlr head"],
    },
    Step {
        function: "take",
        arguments: &["ring"],
        events: &["ld slots", "dmb ishld", "ld slots", "ld slots", "ld slots", "dmb ishld", "ld slots"],
    },
    Step { function: "head", arguments: &["ring"], events: &["ld head", "dmb ishld"] },
    Step {
        function: "board_write",
        arguments: &["cell"],
        events: &["ld cell", "st cell", "dmb ish", "st cell", "st cell", "stlr cell"],
    },
    Step {
        function: "board_read",
        arguments: &["cell"],
        events: &["ld cell", "dmb ishld", "ld cell", "ld cell", "dmb ishld", "ld cell"],
    },
    Step { function: "answer", arguments: &["page", "page"], events: &["st page", "stlr page"] },
    Step { function: "answered", arguments: &["page", "page"], events: &["ld page", "dmb ishld", "ld page"] },
];

/// Compilers for Arm that are here.
fn compilers() -> Vec<Vec<&'static str>> {
    let known: [&[&str]; 2] = [&["aarch64-linux-gnu-g++"], &["clang++", "--target=aarch64-linux-gnu"]];
    let here = |words: &&[&str]| Command::new(words[0]).arg("--version").output().is_ok_and(|out| out.status.success());
    let found: Vec<_> = known.into_iter().filter(here).map(<[_]>::to_vec).collect();
    if found.is_empty() {
        cxx::skip("no C++ compiler for aarch64 is here (scripts/setup-toolchain installs aarch64-linux-gnu-g++)");
    }
    found
}

/// The assembly of the steps by `compiler`, from the header below `include`; `None` with a line where it has no library.
fn assembly(compiler: &[&str], include: &Path) -> Option<String> {
    let source = cxx::shm_root().join("tests/cpp/barriers.cpp");
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).args(cxx::FLAGS).args(["-S", "-o", "-", "-I"]).arg(include).arg(source);
    let out = command.output().expect("it ran before");
    let words = String::from_utf8_lossy(&out.stderr);
    if words.contains("file not found") || words.contains("No such file") {
        cxx::skip(&format!("{compiler:?} has no C++ library for its target"));
        return None;
    }
    assert!(out.status.success(), "{compiler:?}: {words}");
    Some(String::from_utf8(out.stdout).expect("assembly is text"))
}

/// The instructions of a function, each as its name and its operands, and its labels, each with no operands.
fn instructions<'a>(assembly: &'a str, function: &str) -> Vec<(&'a str, &'a str)> {
    let label = format!("{function}:");
    let end = format!("\t.size\t{function},");
    let body = assembly.lines().skip_while(|line| !line.starts_with(&label)).skip(1);
    let body = body.take_while(|line| !line.starts_with(&end)).filter_map(|line| match line.strip_prefix('\t') {
        Some(line) if line.starts_with('.') => None,
        Some(line) => Some(line.split_once('\t').unwrap_or((line, ""))),
        None => line.split_once(':').map(|(label, _)| (label, "")),
    });
    let body: Vec<_> = body.collect();
    assert!(body.len() > 1, "no function {function}");
    body
}

/// A register by its 64-bit name.
fn register(word: &str) -> Option<String> {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let number = word.strip_prefix(['x', 'w'])?;
    number.parse::<u8>().ok().map(|number| format!("x{number}"))
}

/// Accesses to shared words and barriers, in the order of the instructions. A register points to whatever the registers
/// it was made from point to; the first words of a `ring` point to `head` and `slots`.
fn events(assembly: &str, step: &Step) -> Vec<String> {
    let arguments = step.arguments.iter().enumerate();
    let mut points: HashMap<String, &str> = arguments.map(|(i, to)| (format!("x{i}"), *to)).collect();
    let mut events = Vec::new();
    let mut at_branch = HashMap::new();
    for (name, operands) in instructions(assembly, step.function) {
        let operands = operands.split("//").next().unwrap_or_default();
        let (registers, address) = operands.split_once('[').map_or((operands, None), |(r, a)| (r, Some(a)));
        let mut registers: Vec<_> = registers.split(',').filter_map(register).collect();
        if name.starts_with("dmb") || name.starts_with("dsb") {
            events.push(format!("{name} {}", operands.trim()));
            continue;
        }
        if name.starts_with('.') {
            points = at_branch.get(name).cloned().unwrap_or(points);
            continue;
        }
        if let Some(label) = operands.split([' ', '\t', ',']).find(|word| word.starts_with(".L")) {
            at_branch.entry(label.trim().to_owned()).or_insert_with(|| points.clone());
            continue;
        }
        let Some(address) = address else {
            let made_from = registers.iter().skip(1).find_map(|from| points.get(from).copied());
            match (registers.first(), made_from) {
                (Some(to), Some(what)) => _ = points.insert(to.clone(), what),
                (Some(to), None) if !name.starts_with("cmp") => _ = points.remove(to),
                _ => {}
            }
            continue;
        };
        let base = address.split(|c: char| !c.is_ascii_alphanumeric()).find_map(register);
        let to = base.and_then(|base| points.get(&base).copied());
        let load = name.starts_with("ld");
        if let Some(to) = to.filter(|to| *to != "ring") {
            let kind = if name.contains("lr") && !load || name.starts_with("lda") { name } else { &name[..2] };
            events.push(format!("{kind} {to}"));
        }
        if load {
            let offset =
                address.split([',', ']']).nth(1).and_then(|word| word.trim().trim_start_matches('#').parse().ok());
            let first: u64 = offset.unwrap_or(0);
            for (register, at) in registers.drain(..).zip([first, first + 8]) {
                match (to, at) {
                    (Some("ring"), 0) => _ = points.insert(register, "head"),
                    (Some("ring"), 8) => _ = points.insert(register, "slots"),
                    _ => _ = points.remove(&register),
                }
            }
        }
    }
    events
}

/// The steps whose instructions are not what they must be.
fn broken(assembly: &str) -> Vec<&'static str> {
    let is_broken = |step: &&Step| {
        let found = events(assembly, step);
        if found != step.events {
            eprintln!("{}: {found:?}, not {:?}", step.function, step.events);
        }
        found != step.events
    };
    STEPS.iter().filter(is_broken).map(|step| step.function).collect()
}

#[test]
fn every_ordering_is_an_instruction_on_arm() {
    for compiler in compilers() {
        let Some(assembly) = assembly(&compiler, &cxx::shm_root().join("include")) else { continue };
        assert!(broken(&assembly).is_empty(), "{compiler:?}");
    }
}

#[test]
fn a_missing_ordering_is_seen_on_arm() {
    let mutants: [(&str, &str, &str, &[&str]); 6] = [
        ("words.hpp", "std::atomic_thread_fence(std::memory_order_release);", "", &["publish", "board_write"]),
        (
            "words.hpp",
            "std::atomic_thread_fence(std::memory_order_acquire);",
            "",
            &["take", "head", "board_read", "answered"],
        ),
        ("ring.hpp", "store(slot, 2 * n + 2, std::memory_order_release);", "store(slot, 2 * n + 2);", &["publish"]),
        ("ring.hpp", "store(head_, n + 1, std::memory_order_release);", "store(head_, n + 1);", &["publish"]),
        ("board.hpp", "store(cell, seq + 2, std::memory_order_release);", "store(cell, seq + 2);", &["board_write"]),
        (
            "mailbox.hpp",
            "static_cast<Word>(outcome), std::memory_order_release);",
            "static_cast<Word>(outcome));",
            &["answer"],
        ),
    ];
    let Some(compiler) = compilers().into_iter().next() else { return };
    for (file, from, to, steps) in mutants {
        let mutant = Mutant::new(file, from, to);
        let Some(assembly) = assembly(&compiler, mutant.include()) else { return };
        assert_eq!(broken(&assembly), steps, "{file} without {from}");
    }
}

#[test]
fn no_ordering_is_paid_for_on_x86() {
    if !cfg!(target_arch = "x86_64") {
        return cxx::skip("this is no x86-64");
    }
    for compiler in [["c++"], ["clang++"]] {
        if Command::new(compiler[0]).arg("--version").output().is_err() {
            cxx::skip(&format!("{} is not here", compiler[0]));
            continue;
        }
        let Some(assembly) = assembly(&compiler, &cxx::shm_root().join("include")) else { continue };
        for Step { function, .. } in STEPS {
            let dear = |(name, operands): &(&str, &str)| {
                let words = format!("{name} {operands}");
                ["mfence", "lfence", "sfence", "lock", "xchg", "call"].iter().any(|dear| words.contains(dear))
            };
            let found: Vec<_> = instructions(&assembly, function).into_iter().filter(dear).collect();
            assert!(found.is_empty(), "{compiler:?}, {function}: {found:?}");
        }
    }
}
