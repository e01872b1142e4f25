//! The crash tests with C++ victims: writers, owners, operators, readers and creators of the C++ header, killed (SIGKILL)
//! at every store and at every system call of create and take-over, and from outside at random; Rust survives them.
//!
//! The scenes are those of `crash/`. The header that ships has no points to die at: they are put into a copy of it.
//! `cargo test -p pillion-shm --test crash_cpp -- --nocapture` prints how many kills were done and where.
#![cfg(not(loom))]

mod common;
#[path = "common/cxx.rs"]
mod cxx;
#[allow(dead_code)]
#[path = "common/mutant.rs"]
mod mutant;
#[path = "crash/names.rs"]
mod names;
#[path = "crash/outside.rs"]
mod outside;
#[path = "crash/script.rs"]
mod script;
#[path = "crash/sidecar.rs"]
mod sidecar;
#[allow(dead_code)]
#[path = "crash/victim.rs"]
mod victim;
#[path = "crash/writers.rs"]
mod writers;

use mutant::{Edit, mutated_include};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Of the random kills, one in so many is done here.
const SHARE: u64 = 4;

/// Every store of the header is `store`, and says here what it is where its caller says so; the claim of a mailbox alone
/// is a compare-and-swap.
const STORES: [Edit; 10] = [
    (
        "words.hpp",
        "void store(Word* at, Word value, std::memory_order order = std::memory_order_relaxed) noexcept {\n    \
         std::atomic_ref<Word>{*at}.store(value, order);",
        "void store(Word* at, Word value, std::memory_order order = std::memory_order_relaxed, \
         const char* place = \"page: store\") noexcept {\n    \
         std::atomic_ref<Word>{*at}.store(value, order);\n    ::crash::point(place);",
    ),
    ("words.hpp", "store(to, word);", "store(to, word, std::memory_order_relaxed, \"word\");"),
    ("ring.hpp", "store(slot, 2 * n + 1);", "store(slot, 2 * n + 1, std::memory_order_relaxed, \"ring: mark\");"),
    (
        "ring.hpp",
        "store(slot + stride_ - 1, stamp_ns);",
        "store(slot + stride_ - 1, stamp_ns, std::memory_order_relaxed, \"ring: stamp\");",
    ),
    (
        "ring.hpp",
        "store(slot, 2 * n + 2, std::memory_order_release);",
        "store(slot, 2 * n + 2, std::memory_order_release, \"ring: commit\");",
    ),
    (
        "ring.hpp",
        "store(head_, n + 1, std::memory_order_release);",
        "store(head_, n + 1, std::memory_order_release, \"ring: head\");",
    ),
    ("board.hpp", "store(cell, seq + 1);", "store(cell, seq + 1, std::memory_order_relaxed, \"cell: mark\");"),
    (
        "board.hpp",
        "store(cell, seq + 2, std::memory_order_release);",
        "store(cell, seq + 2, std::memory_order_release, \"cell: commit\");",
    ),
    (
        "mailbox.hpp",
        "static_cast<Word>(outcome), std::memory_order_release);",
        "static_cast<Word>(outcome), std::memory_order_release, \"mailbox: answer\");",
    ),
    (
        "mailbox.hpp",
        "compare_exchange_strong(last, mine, std::memory_order_relaxed);",
        "compare_exchange_strong(last, mine, std::memory_order_relaxed);\n    ::crash::point(\"mailbox: claim\");",
    ),
];

/// The steps of create and take-over, with the names that the Rust twin has for them.
const STEPS: [(&str, &str); 17] = [
    ("::flock(old, LOCK_EX | LOCK_NB)", "take-over: predecessor locked"),
    ("::open(dir.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)", "build: file without a name"),
    ("fallocate_whole(file.get(), static_cast<off_t>(bytes))", "build: allocated"),
    ("::fchmod(file.get(), static_cast<mode_t>(plan.access.mode))", "build: mode set"),
    ("::flock(file.get(), LOCK_EX | LOCK_NB)", "build: locked"),
    ("write_at(file->get(), bytes.data(), bytes.size(), 0)", "build: header written"),
    ("write_at(file->get(), plan.table.data(), plan.table.size(), layout::header_bytes)", "build: table written"),
    ("map(std::move(*file), plan.path, *trust, header, true, MAP_POPULATE)", "build: mapped"),
    ("region->touch_and_lock(plan.access.lock)", "build: pages locked"),
    (
        "write_at(file_.get(), &generation, sizeof generation, layout::header::generation)",
        "take-over: generation written",
    ),
    ("prepare(*this, static_cast<const Predecessor*>(nullptr))", "take-over: before the link"),
    ("prepare(*this, &old)", "take-over: prepared"),
    ("::flock(file->get(), LOCK_EX | LOCK_NB)", "take-over: leftover locked"),
    ("link(path_)", "take-over: linked"),
    ("link(beside)", "take-over: beside"),
    ("write_at(old.file.get(), &header_.generation, 8, layout::header::successor)", "take-over: marked"),
    (
        "::syscall(SYS_renameat2, AT_FDCWD, beside.c_str(), AT_FDCWD, path_.c_str(), rename_exchange)",
        "take-over: exchanged",
    ),
];

/// Names are removed in three places: beside, before the link there and after the exchange; and what others left.
const REMOVALS: [(&str, &str); 3] = [
    (";\n    if (const int error = link(beside)", "take-over: nothing beside"),
    (";\n    if (replaced)", "take-over: beside removed"),
    (";\n        }\n    }\n    if (entries", "take-over: swept"),
];

/// The program, made once; none where no compiler is.
fn program() -> Option<&'static PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let compiler = cxx::compiler()?;
        let mut edits: Vec<(&str, String, String)> =
            STORES.iter().map(|(file, from, to)| (*file, from.to_string(), to.to_string())).collect();
        let unlink = "::unlink(beside.c_str())";
        for (behind, name) in REMOVALS {
            let after = format!("::crash::after(\"{name}\", ::unlink(beside.c_str())){behind}");
            edits.push(("create.hpp", format!("{unlink}{behind}"), after));
        }
        for (step, name) in STEPS {
            edits.push(("create.hpp", step.to_owned(), format!("::crash::after(\"{name}\", {step})")));
        }
        let edits: Vec<Edit> = edits.iter().map(|(file, from, to)| (*file, &**from, &**to)).collect();
        let include = mutated_include(&edits);
        let points = cxx::shm_root().join("tests/cpp/crash_points.hpp");
        let flags = ["-iquote", include.to_str().unwrap(), "-include", points.to_str().unwrap()];
        Some(compiler.build("tests/cpp/crash_roles.cpp", &flags))
    };
    PROGRAM.get_or_init(make).as_ref()
}

/// A victim is the C++ program.
fn victim() -> Command {
    Command::new(program().expect("a compiler"))
}

/// Whether victims can be made; if not, a line says so.
fn has_victims() -> bool {
    program().is_some()
}
