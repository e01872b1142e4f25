//! One way to skip: said plainly, and a failure where everything that tests need is known to be there.
#![allow(dead_code)]

/// Set where a skip is a failure.
const NO_SKIPS: &str = "PILLION_NO_SKIPS";

/// Says why a test is skipped.
pub fn skip(why: &str) {
    assert!(std::env::var_os(NO_SKIPS).is_none(), "{NO_SKIPS} is set, and {why}");
    eprintln!("skipped: {why}");
}
