//! The table that says what instruments, models and outputs are, from any bytes.

use crate::input::Input;
use crate::regions;
use pillion_shm::SignalTables;

/// Reads `data` as a table, and once more as patches to an honest one.
pub fn run(data: &[u8]) {
    check(data);
    let mut input = Input(data);
    let mut table = regions::tables().to_bytes().expect("an honest table");
    while !input.is_empty() {
        let at = input.below(table.len());
        let bytes = input.bytes(8);
        let end = (at + bytes.len()).min(table.len());
        table[at..end].copy_from_slice(&bytes[..end - at]);
        if at % 16 == 15 {
            table.truncate(end);
        }
    }
    check(&table);
}

/// Refused with a reason, or a table that can be printed; written and read again it stays what it is.
pub fn check(bytes: &[u8]) {
    let tables = match SignalTables::from_bytes(bytes) {
        Ok(tables) => tables,
        Err(error) => return assert!(error.to_string().contains("mend:"), "{error}"),
    };
    assert!(!format!("{tables:?}").is_empty());
    // A text that was no UTF-8 may have grown too long to be written.
    if let Ok(written) = tables.to_bytes() {
        let again = SignalTables::from_bytes(&written).expect("what was just written");
        assert_eq!(again.to_bytes().expect("what was just read"), written);
    }
}
