//! Messages of an ONNX file, field by field: read without a copy, changed where something changes, written back in order.

use std::borrow::Cow;

use crate::native::wire::{number, put, put_number, take};

/// One field of a message.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    /// Its number in the schema.
    pub number: u64,
    /// What it holds, where that has a length; the field as it stands, tag included, where it has none.
    pub bytes: Cow<'a, [u8]>,
    /// Its value, where it is a number.
    pub value: Option<u64>,
}

impl<'a> Field<'a> {
    /// A field of bytes.
    pub fn new(number: u64, bytes: Vec<u8>) -> Self {
        Self { number, bytes: Cow::Owned(bytes), value: None }
    }

    /// What a field that has a length holds.
    fn part(number: u64, bytes: &'a [u8]) -> Self {
        Self { number, bytes: Cow::Borrowed(bytes), value: None }
    }

    /// Its text, as far as it is one.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A message's fields in the order they stand in.
#[derive(Clone, Debug, Default)]
pub(super) struct Message<'a>(pub Vec<Field<'a>>);

impl<'a> Message<'a> {
    /// Reads the outermost level; none where that is broken.
    pub fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let whole = bytes;
            let tag = number(&mut bytes).ok()?;
            let (mut value, number_of) = (None, tag >> 3);
            match tag & 7 {
                0 => value = Some(number(&mut bytes).ok()?),
                1 => drop(take(&mut bytes, 8).ok()?),
                5 => drop(take(&mut bytes, 4).ok()?),
                2 => {
                    let length = number(&mut bytes).ok()?;
                    fields.push(Field::part(number_of, take(&mut bytes, length).ok()?));
                    continue;
                }
                _ => return None,
            }
            let bytes = Cow::Borrowed(&whole[..whole.len() - bytes.len()]);
            // Told from a field with a length by its value; of the fixed widths nothing here is read.
            fields.push(Field { number: number_of, bytes, value: value.or(Some(0)) });
        }
        Some(Self(fields))
    }

    /// The message as bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(self.0.iter().map(|field| field.bytes.len() + 8).sum());
        for field in &self.0 {
            match field.value {
                Some(_) => to.extend_from_slice(&field.bytes),
                None => put(&mut to, field.number, &field.bytes),
            }
        }
        to
    }

    /// Fields with a length and of this number.
    pub fn all(&self, number: u64) -> impl Iterator<Item = &Field<'a>> {
        self.0.iter().filter(move |field| field.number == number && field.value.is_none())
    }

    /// The last text of this number: a later one of a single field stands for it.
    pub fn text(&self, number: u64) -> Option<String> {
        self.all(number).last().map(Field::text)
    }

    /// The last number of this number.
    pub fn value(&self, number: u64) -> Option<u64> {
        self.0.iter().rev().find(|field| field.number == number).and_then(|field| field.value)
    }

    /// The message that a single field holds: of several that stand behind each other, all together.
    pub fn merged(&self, number: u64) -> Option<Cow<'_, [u8]>> {
        let mut parts = self.all(number);
        let first = parts.next()?;
        let mut whole = Cow::Borrowed(&*first.bytes);
        parts.for_each(|more| whole.to_mut().extend_from_slice(&more.bytes));
        Some(whole)
    }

    /// Texts of this number.
    pub fn texts(&self, number: u64) -> Vec<String> {
        self.all(number).map(Field::text).collect()
    }
}

/// A field that holds a number.
pub(super) fn value(to: &mut Vec<u8>, number: u64, value: u64) {
    put_number(to, number << 3);
    put_number(to, value);
}

/// Type, dimensions and name of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub name: String,
    /// ONNX's number for the element type; none for what is no tensor.
    pub element: Option<u64>,
    /// None where not even the number of dimensions is said.
    pub dims: Option<Vec<Dim>>,
}

/// One dimension as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dim {
    Fixed(u64),
    Named(String),
    Open,
}

impl Info {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let info = Message::read(bytes)?;
        let kind = info.merged(2)?;
        let kind = Message::read(&kind)?;
        let name = info.text(1).unwrap_or_default();
        let Some(tensor) = kind.merged(1) else { return Some(Self { name, element: None, dims: None }) };
        let tensor = Message::read(&tensor)?;
        let dims = match tensor.merged(2) {
            None => None,
            Some(shape) => {
                let shape = Message::read(&shape)?;
                Some(shape.all(1).map(|dim| Dim::read(&dim.bytes)).collect::<Option<_>>()?)
            }
        };
        Some(Self { name, element: tensor.value(1), dims })
    }

    pub fn write(&self) -> Vec<u8> {
        let mut tensor = Vec::new();
        value(&mut tensor, 1, self.element.unwrap_or(0));
        if let Some(dims) = &self.dims {
            let mut shape = Vec::new();
            dims.iter().for_each(|dim| put(&mut shape, 1, &dim.write()));
            put(&mut tensor, 2, &shape);
        }
        let (mut kind, mut info) = (Vec::new(), Vec::new());
        put(&mut kind, 1, &tensor);
        put(&mut info, 1, self.name.as_bytes());
        put(&mut info, 2, &kind);
        info
    }
}

impl Dim {
    fn read(bytes: &[u8]) -> Option<Self> {
        let dim = Message::read(bytes)?;
        Some(match (dim.value(1), dim.text(2)) {
            (Some(n), _) => Self::Fixed(n),
            (None, Some(name)) if !name.is_empty() => Self::Named(name),
            _ => Self::Open,
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut dim = Vec::new();
        match self {
            Self::Fixed(n) => value(&mut dim, 1, *n),
            Self::Named(name) => put(&mut dim, 2, name.as_bytes()),
            Self::Open => {}
        }
        dim
    }
}
