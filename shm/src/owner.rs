//! Who made a region: for messages and for telling boots apart. Liveness is the kernel's lock, never this.

use crate::error::{Error, Result};
use std::path::PathBuf;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's boot id, 16 bytes.
pub(crate) fn boot_id() -> Result<[u8; 16]> {
    let text = std::fs::read_to_string(BOOT_ID).map_err(|source| Error::Io {
        action: "read",
        path: PathBuf::from(BOOT_ID),
        source,
    })?;
    let mut id = [0; 16];
    let digits = text.bytes().filter_map(|c| (c as char).to_digit(16)).take(32);
    for (i, digit) in digits.enumerate() {
        id[i / 2] = id[i / 2] << 4 | digit as u8;
    }
    Ok(id)
}

/// Start of this process in clock ticks since boot; 0 when /proc does not say.
pub(crate) fn start_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may hold spaces and brackets: fields count from the last bracket, start time is the 22nd.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).unwrap_or(0)
}
