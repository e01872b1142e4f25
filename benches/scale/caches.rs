//! The caches of this machine, as the kernel tells them.

use std::path::Path;

/// A data or unified cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// `L1d`, `L2`, `L3`.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Those below `folder`, smallest first; none where it cannot be read.
pub fn read(folder: &Path) -> Vec<Cache> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut caches: Vec<Cache> = entries.filter_map(|entry| one(&entry.ok()?.path())).collect();
    caches.sort_by_key(|cache| cache.bytes);
    caches
}

fn one(folder: &Path) -> Option<Cache> {
    let text = |name: &str| Some(std::fs::read_to_string(folder.join(name)).ok()?.trim().to_owned());
    let (level, kind) = (text("level")?, text("type")?);
    let suffix = match kind.as_str() {
        "Data" => "d",
        "Unified" => "",
        _ => return None,
    };
    Some(Cache { name: format!("L{level}{suffix}"), bytes: size(&text("size")?)? })
}

/// `32K`, `1024K`, `32M` or plain bytes.
pub fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Bytes for people: `640 B`, `12 kB`, `3.4 MB`.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..10_000 => format!("{:.1} kB", n as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} kB", n as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.0} MB", n as f64 / 1e6),
    }
}

/// All of them for people; "unknown" where none could be read.
pub fn text(caches: &[Cache]) -> String {
    let each: Vec<_> = caches.iter().map(|cache| format!("{} {}", cache.name, bytes(cache.bytes))).collect();
    if each.is_empty() { "unknown".into() } else { each.join(", ") }
}
