//! Text from elsewhere (names in regions, files and arguments), made fit for a person's screen.
//!
//! A terminal obeys control characters, and characters of direction or of no width make a text read as another one. Names
//! with such characters are refused where they are made; whatever is printed goes through here all the same, since anybody
//! may have made the file that a name stands in.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::path::Path;

/// Whether `c` steers a terminal or hides in a text: C0 and C1 controls, DEL, separators of lines and paragraphs, marks of
/// direction, and characters that have no width.
#[must_use]
pub const fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// The first character of `text` that no name may have, see [`is_unprintable`].
#[must_use]
pub fn unprintable(text: &str) -> Option<char> {
    text.chars().find(|&c| is_unprintable(c))
}

/// `text` on one line: what [`is_unprintable`] names is written as JSON writes it, `\u001b`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// [`printable`] of a path.
#[must_use]
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

/// The same for a text that may have lines and tabs of its own.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// `text` with its middle left out where it has more than `most` characters, and how many those were.
#[must_use]
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    // A text of so many bytes has no more characters.
    if text.len() <= most || text.chars().nth(most).is_none() {
        return Cow::Borrowed(text);
    }
    let count = text.chars().count();
    let (head, tail) = (most - most / 3, most / 3);
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let (from, to) = (at(head), at(count - tail));
    Cow::Owned(format!("{} … ({} characters left out) … {}", &text[..from], count - head - tail, &text[to..]))
}

/// A value of another's in a message of ours: on one line, printable, of at most 200 characters.
#[derive(Clone, Copy, Debug)]
pub struct Shown<T>(pub T);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&shortened(&self.0.to_string(), 200)))
    }
}

fn escaped(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    let escapes = |c: char| is_unprintable(c) && !allowed(c);
    if !text.contains(escapes) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if escapes(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(plain, "\\u{unit:04x}");
            }
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_stays() {
        assert_eq!(
            printable("pillion.\x1b[31mé\u{9b}\n\u{202e}x\u{2028}"),
            "pillion.\\u001b[31mé\\u009b\\u000a\\u202ex\\u2028"
        );
        assert_eq!(printable_lines("a\tb\nc\r\x07"), "a\tb\nc\\u000d\\u0007");
        assert_eq!(printable("\u{e0001}"), "\\udb40\\udc01", "as JSON has it");
        assert!(matches!(printable("plain µ"), Cow::Borrowed("plain µ")));
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(is_unprintable(c), "{c:?}");
            assert!(!printable(&c.to_string()).contains(c));
        }
        for c in ['a', 'ß', '漢', '…', ' ', '\\', '█'] {
            assert_eq!(unprintable(&c.to_string()), None);
        }
    }

    #[test]
    fn a_long_text_keeps_its_ends_and_says_what_is_left_out() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("ééé", 3), "ééé");
        let long = format!("{}{}", "é".repeat(500), "x".repeat(500));
        let short = shortened(&long, 30);
        assert!(short.starts_with(&"é".repeat(20)) && short.ends_with(&"x".repeat(10)), "{short}");
        assert!(short.contains("(970 characters left out)"), "{short}");
        let shown = Shown("\x1b".repeat(1_000_000)).to_string();
        assert!(shown.len() < 2_000 && !shown.contains('\x1b'), "{}", shown.len());
    }
}
