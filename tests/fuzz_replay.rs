//! What the fuzzer drives, on stable and in bounded time: every input it ever found, its seeds, and random ones.

#[path = "../fuzz/src/attach.rs"]
mod attach;
#[path = "../fuzz/src/dbn.rs"]
mod dbn;
#[path = "../fuzz/src/decode.rs"]
mod decode;
#[path = "../fuzz/src/input.rs"]
mod input;
#[path = "../fuzz/src/itch.rs"]
mod itch;
#[path = "../fuzz/src/onnx.rs"]
mod onnx;
#[path = "../fuzz/src/regions.rs"]
mod regions;
#[path = "../fuzz/src/tables.rs"]
mod tables;

use rand::{Rng, SeedableRng};
use std::path::Path;

/// Runs `target` on the inputs kept for it and on `random` ones, each a spoiled copy of a seed.
fn replay(name: &str, random: usize, target: fn(&[u8])) {
    let inputs = |folder: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder).join(name);
        let mut files: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().map(|f| f.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|file| (file.display().to_string(), std::fs::read(file).unwrap())).collect::<Vec<_>>()
    };
    for (file, bytes) in inputs("found") {
        eprintln!("{file}");
        target(&bytes);
    }
    let seeds = inputs("seeds");
    assert!(!seeds.is_empty(), "fuzz/seeds/{name} has no file");
    seeds.iter().for_each(|(_, bytes)| target(bytes));
    let mut random_numbers = rand_pcg::Pcg64Mcg::seed_from_u64(3);
    for n in 0..random {
        let mut bytes = seeds[n % seeds.len()].1.clone();
        for _ in 0..random_numbers.next_u32() % 16 {
            let at = random_numbers.next_u32() as usize % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random_numbers.next_u32() as u8;
            }
        }
        if n % 3 == 0 {
            let mut tail = [0; 64];
            random_numbers.fill_bytes(&mut tail);
            bytes.extend_from_slice(&tail);
        }
        target(&bytes);
    }
}

#[test]
fn attach_refuses_or_goes_on() {
    replay("attach", 4_000, attach::run);
}
#[test]
fn decode_is_total() {
    replay("decode", 4_000, decode::run);
}
#[test]
fn tables_are_refused_or_read() {
    replay("tables", 4_000, tables::run);
}
#[test]
fn market_data_files_are_refused_or_read() {
    replay("dbn", 4_000, dbn::run);
}
#[test]
fn itch_files_are_refused_or_converted() {
    replay("itch", 1_000, itch::run);
}
#[test]
fn models_are_refused_or_run() {
    replay("onnx", 4_000, onnx::run);
}
