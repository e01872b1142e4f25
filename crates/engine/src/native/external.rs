//! Weights that a file keeps outside itself, which no hash covers: looked for in the bytes, before any engine sees them.

use super::wire::{number, take, text};

/// Messages nest no deeper in what any reader takes.
const DEEPEST: usize = 100;

/// What may hold a tensor, and a tensor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Kind {
    /// What field `number` holds, where a tensor may be in it.
    const fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            _ => return None,
        })
    }
}

/// Field of a tensor that says where its values lie: 0 in the file, anything else outside.
const DATA_LOCATION: u64 = 14;
/// Field of a tensor with the name and place of the file that they lie in.
const EXTERNAL_DATA: u64 = 13;
/// Field of a tensor, and of an attribute counted from 1, with its name.
const TENSOR_NAME: u64 = 8;

/// Refuses an ONNX file with a tensor whose values lie in another file: among the initializers, sparse ones included, and in
/// the attributes of nodes, in subgraphs and functions too.
///
/// # Errors
/// The tensor, by name; a file whose messages are not whole.
pub fn no_external_weights(onnx: &[u8]) -> Result<(), String> {
    walk(onnx, Kind::Model, "", 0)
}

/// `holder` is what a tensor without a name of its own is called by: the node or attribute that it is part of.
fn walk(mut bytes: &[u8], kind: Kind, holder: &str, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err("it is no ONNX file: its messages are nested too deeply".into());
    }
    let whole = bytes;
    let broken = |why: &str| format!("it is no ONNX file: {why}");
    while !bytes.is_empty() {
        let tag = number(&mut bytes).map_err(broken)?;
        let field = tag >> 3;
        match tag & 7 {
            0 => {
                let value = number(&mut bytes).map_err(broken)?;
                if kind == Kind::Tensor && field == DATA_LOCATION && value != 0 {
                    return Err(external(whole, holder));
                }
            }
            1 => drop(take(&mut bytes, 8).map_err(broken)?),
            2 => {
                let length = number(&mut bytes).map_err(broken)?;
                let inner = take(&mut bytes, length).map_err(broken)?;
                if kind == Kind::Tensor && field == EXTERNAL_DATA {
                    return Err(external(whole, holder));
                }
                if let Some(kind) = kind.field(field) {
                    walk(inner, kind, &called(inner, kind, holder), depth + 1)?;
                }
            }
            5 => drop(take(&mut bytes, 4).map_err(broken)?),
            _ => return Err(broken("a field is of no known kind")),
        }
    }
    Ok(())
}

fn called(message: &[u8], kind: Kind, holder: &str) -> String {
    match kind {
        // A node by its first output's name, where it has none of its own.
        Kind::Node => match text(message, 3).as_str() {
            "" | "?" => format!("node `{}`", text(message, 2)),
            name => format!("node `{name}`"),
        },
        Kind::Attribute if holder.is_empty() => format!("attribute `{}`", text(message, 1)),
        Kind::Attribute => format!("attribute `{}` of {holder}", text(message, 1)),
        _ => holder.to_owned(),
    }
}

fn external(tensor: &[u8], holder: &str) -> String {
    let name = text(tensor, TENSOR_NAME);
    let name = match (name.as_str(), holder) {
        ("?" | "", "") => "a tensor without a name".to_owned(),
        ("?" | "", holder) => holder.to_owned(),
        (name, "") => format!("initializer `{name}`"),
        (name, holder) => format!("tensor `{name}` in {holder}"),
    };
    format!("{name} has its values outside the file: export with the weights inside (external data off)")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with a message.
    fn message(field: u64, inner: &[u8]) -> Vec<u8> {
        let tag = field << 3 | 2;
        let mut bytes = if tag < 128 { vec![tag as u8] } else { vec![tag as u8 & 0x7f | 0x80, (tag >> 7) as u8] };
        assert!(inner.len() < 128);
        bytes.push(inner.len() as u8);
        bytes.extend(inner);
        bytes
    }

    /// A tensor called w that lies outside.
    fn tensor() -> Vec<u8> {
        [message(8, b"w"), vec![14 << 3, 1]].concat()
    }

    #[test]
    fn weights_outside_are_found_wherever_a_tensor_may_be() {
        let node = |attribute: &[u8]| message(1, &[message(3, b"n"), message(5, attribute)].concat());
        let graphs = [
            (message(5, &tensor()), "initializer `w`"),
            (message(15, &message(1, &tensor())), "initializer `w`"),
            (message(15, &message(2, &tensor())), "initializer `w`"),
            (
                node(&[message(1, b"value"), message(5, &tensor())].concat()),
                "tensor `w` in attribute `value` of node `n`",
            ),
            (node(&message(10, &tensor())), "tensor `w` in"),
            (node(&message(22, &message(1, &tensor()))), "tensor `w` in"),
            (node(&message(23, &message(2, &tensor()))), "tensor `w` in"),
            (node(&message(6, &message(5, &tensor()))), "tensor `w` in"),
            (node(&message(11, &message(5, &tensor()))), "tensor `w` in"),
        ];
        for (graph, named) in graphs {
            let why = no_external_weights(&message(7, &graph)).unwrap_err();
            assert!(why.contains(named) && why.contains("outside the file"), "{why}");
        }
        let function = message(25, &message(7, &message(5, &message(5, &tensor()))));
        let training = message(20, &message(1, &message(5, &tensor())));
        for model in [function, training] {
            assert!(no_external_weights(&model).unwrap_err().contains("outside the file"));
        }
    }

    #[test]
    fn a_place_outside_is_enough_and_the_last_word_does_not_count() {
        let in_graph = |tensor: &[u8]| no_external_weights(&message(7, &message(5, tensor)));
        assert_eq!(in_graph(&[14 << 3, 0]), Ok(()));
        assert_eq!(in_graph(&message(9, b"0000")), Ok(()));
        assert!(in_graph(&[14 << 3, 1, 14 << 3, 0]).is_err());
        // Numbers are cut to 32 bits by whoever reads them.
        assert!(in_graph(&[14 << 3, 0x81, 0x80, 0x80, 0x80, 0x10]).is_err());
        assert!(in_graph(&message(13, &message(1, b"location"))).unwrap_err().contains("without a name"));
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for bytes in [&[0x3a, 9][..], b"not a model", &[0x0b], &[0x08, 0x80]] {
            assert!(no_external_weights(bytes).unwrap_err().contains("no ONNX file"), "{bytes:?}");
        }
        assert_eq!(no_external_weights(&[]), Ok(()));
        let mut deep = Vec::new();
        for _ in 0..20 {
            deep = message(1, &message(5, &message(6, &deep)));
        }
        assert_eq!(no_external_weights(&message(7, &deep)), Ok(()));
    }
}
