//! The file's bytes, before the parser sees them: every length within what holds it, every number ended, nesting bounded.
//!
//! The parser takes a stated length at its word and asks the heap for it, and does not come back from a number of ten
//! bytes that has no end; with this walk before it, it meets neither. What it would pass over without a word, functions and
//! sparse initializers, is found by [`passed_over`].

/// Nesting of a plain model is 7; each subgraph adds 3.
const DEEPEST: usize = 24;

/// Messages that the parser descends into.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TypeTensor,
    TypeSequence,
    Shape,
    /// Of plain fields only.
    Flat,
    /// Numbers behind each other.
    Numbers,
}

impl Kind {
    /// What field `number` holds, where that is more than bytes.
    const fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6) => Self::Graph,
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => Self::Flat,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::ValueInfo,
            (Self::Node, 5) => Self::Attribute,
            (Self::ValueInfo, 2) | (Self::TypeSequence, 1) => Self::Type,
            (Self::Type, 1) => Self::TypeTensor,
            (Self::Type, 4) => Self::TypeSequence,
            (Self::TypeTensor, 2) => Self::Shape,
            (Self::Tensor, 1 | 5 | 7) => Self::Numbers,
            _ => return None,
        })
    }
}

/// Walks the whole file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(onnx: &[u8]) -> Result<(), String> {
    walk(onnx, Kind::Model, 0)?;
    super::no_external_weights(onnx)
}

/// What an ONNX model may hold and the parser does not see: the nodes that call it or read it would then mean something else.
/// The file is one that [`check`] takes.
pub(super) fn passed_over(onnx: &[u8]) -> Option<String> {
    if let Some(function) = parts(onnx, 25).next() {
        let name = text(function, 1);
        return Some(format!(
            "it has a function of its own, `{name}`, which the native engine does not run: inline it"
        ));
    }
    let sparse = |graph: &[u8]| parts(graph, 15).next().is_some();
    let text = "it has a sparse initializer, which the native engine does not read: make it a dense one";
    parts(onnx, 7).any(sparse).then(|| text.to_owned())
}

/// What fields of this number hold, where that has a length.
fn parts(mut message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let tag = number(&mut message).ok()?;
            match tag & 7 {
                0 => drop(number(&mut message).ok()?),
                1 => drop(take(&mut message, 8).ok()?),
                2 => {
                    let length = number(&mut message).ok()?;
                    let inner = take(&mut message, length).ok()?;
                    if tag >> 3 == wanted {
                        return Some(inner);
                    }
                }
                5 => drop(take(&mut message, 4).ok()?),
                _ => return None,
            }
        }
    })
}

fn walk(mut bytes: &[u8], kind: Kind, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err("its messages are nested too deeply".into());
    }
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        if matches!(kind, Kind::Numbers) {
            continue;
        }
        match tag & 7 {
            0 => drop(number(&mut bytes)?),
            1 => drop(take(&mut bytes, 8)?),
            2 => {
                let length = number(&mut bytes)?;
                let inner = take(&mut bytes, length)?;
                if let Some(kind) = kind.field(tag >> 3) {
                    walk(inner, kind, depth + 1)?;
                }
            }
            5 => drop(take(&mut bytes, 4)?),
            _ => return Err("a field is of no known kind".into()),
        }
    }
    Ok(())
}

/// A text field of a message, as far as it can be read; for refusals.
pub(super) fn text(message: &[u8], wanted: u64) -> String {
    let found = parts(message, wanted).next().unwrap_or(b"?");
    String::from_utf8_lossy(&found[..found.len().min(80)]).into_owned()
}

/// The next `length` bytes.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], &'static str> {
    let length = usize::try_from(length).ok().filter(|&length| length <= bytes.len());
    let (taken, rest) = bytes.split_at(length.ok_or("a length goes past the end: it is cut short or corrupt")?);
    *bytes = rest;
    Ok(taken)
}

/// Writes a number: seven bits a byte, the lowest first.
pub(crate) fn put_number(to: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        to.push(value as u8 | 128);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Writes a field of bytes: a tag, a length and the bytes.
pub(crate) fn put(to: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_number(to, number << 3 | 2);
    put_number(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Seven bits a byte, the lowest first, at most 64 in all.
pub(crate) fn number(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0;
    for i in 0..10 {
        let (&byte, rest) = bytes.split_first().ok_or("it ends within a number: it is cut short or corrupt")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return if i == 9 && byte > 1 { Err("a number has more than 64 bits") } else { Ok(value) };
        }
    }
    Err("a number does not end")
}

#[cfg(test)]
mod tests {
    use super::{check, passed_over};

    #[test]
    fn lengths_numbers_and_nesting_are_bounded() {
        // ir_version = 8, and an empty graph.
        assert_eq!(check(&[0x08, 8, 0x3a, 0]), Ok(()));
        assert_eq!(check(&[]), Ok(()));
        let says = |bytes: &[u8], words: &str| {
            let why = check(bytes).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        says(&[0x3a, 1], "past the end");
        says(&[0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "past the end");
        // A node's name of 2 TiB within a graph that is whole.
        says(&[0x3a, 8, 0x0a, 6, 0x1a, 0xff, 0xff, 0xff, 0xff, 0x3f], "past the end");
        says(&[0x08], "ends within a number");
        says(&[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0], "does not end");
        says(&[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2], "more than 64 bits");
        says(&[0x0b], "no known kind");
        // A packed list of integers in a tensor in a graph.
        let packed: Vec<u8> = [vec![0x3a, 14, 0x2a, 12, 0x3a, 10], vec![0x80; 10]].concat();
        says(&packed, "does not end");
        // What the parser does not know: a function called f, and a sparse initializer.
        let passed = |bytes: &[u8]| check(bytes).map(|()| passed_over(bytes).unwrap_or_default());
        assert!(passed(&[0xca, 1, 3, 0x0a, 1, b'f']).unwrap().contains("a function of its own, `f`"));
        assert!(passed(&[0x3a, 2, 0x7a, 0]).unwrap().contains("a sparse initializer"));
        assert_eq!(passed(&[0x08, 8, 0x3a, 0]), Ok(String::new()));
        // Sequences of sequences as an input's type.
        let mut nested = Vec::new();
        for _ in 0..40 {
            nested = [vec![0x0a, nested.len() as u8], nested].concat();
            nested = [vec![0x22, nested.len() as u8], nested].concat();
            if nested.len() > 100 {
                break;
            }
        }
        let wrap = |tag: u8, inner: Vec<u8>| [vec![tag, inner.len() as u8], inner].concat();
        says(&wrap(0x3a, wrap(0x5a, wrap(0x12, nested))), "nested too deeply");
    }
}
