//! Fields of ONNX messages, as far as a look at what is in a file needs them. Of files whose messages are whole: what is not ends the reading.

/// Content of a field.
#[derive(Clone, Copy)]
enum Content<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Content<'_>)> {
    std::iter::from_fn(move || {
        let tag = number(&mut rest)?;
        let content = match tag & 7 {
            0 => Content::Number(number(&mut rest)?),
            1 => Content::Bytes(rest.split_off(..8)?),
            2 => {
                let length = usize::try_from(number(&mut rest)?).ok()?;
                Content::Bytes(rest.split_off(..length)?)
            }
            5 => Content::Bytes(rest.split_off(..4)?),
            _ => return None,
        };
        Some((tag >> 3, content))
    })
}

/// Seven bits a byte, the lowest first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Every field of this number that holds bytes.
pub(super) fn parts(message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).filter_map(move |(number, content)| match content {
        Content::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    })
}

/// The last of them as text; empty without one.
pub(super) fn text(message: &[u8], wanted: u64) -> &str {
    parts(message, wanted).last().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// All of them as text.
pub(super) fn texts(message: &[u8], wanted: u64) -> impl Iterator<Item = &str> {
    parts(message, wanted).map(|bytes| std::str::from_utf8(bytes).unwrap_or_default())
}

/// The last number in such a field.
pub(super) fn value(message: &[u8], wanted: u64) -> Option<u64> {
    let of = |(number, content)| match content {
        Content::Number(value) if number == wanted => Some(value),
        _ => None,
    };
    fields(message).filter_map(of).last()
}

/// A repeated number, packed or not, as the signed one that it is.
pub(super) fn values(message: &[u8], wanted: u64) -> Vec<i64> {
    let mut all = Vec::new();
    for (_, content) in fields(message).filter(|&(field, _)| field == wanted) {
        match content {
            Content::Number(value) => all.push(value as i64),
            Content::Bytes(mut packed) => all.extend(std::iter::from_fn(|| number(&mut packed)).map(|n| n as i64)),
        }
    }
    all
}
