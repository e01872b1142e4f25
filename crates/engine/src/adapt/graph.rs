//! A graph that is edited: its nodes and ends by name, all else as bytes.

use std::collections::HashSet;

use super::Info;
use super::message::{Field, Message, value};
use crate::native::wire::put;

/// Fields of a graph.
pub(super) const NODE: u64 = 1;
pub(super) const INITIALIZER: u64 = 5;
pub(super) const INPUT: u64 = 11;
pub(super) const OUTPUT: u64 = 12;
const VALUE_INFO: u64 = 13;

/// Element types, by ONNX's numbers.
pub(super) const FLOAT: u64 = 1;
pub(super) const INT64: u64 = 7;

/// A graph in the making of another.
pub(super) struct Graph<'a> {
    pub message: Message<'a>,
    /// True where the file imports the default domain, whose operators are added.
    main_opset: bool,
    changed: bool,
    /// True once a node of the default domain was added.
    added: bool,
    /// All names of values, once somebody asked for a new one.
    names: Option<HashSet<String>>,
}

impl<'a> Graph<'a> {
    pub fn read(bytes: &'a [u8], main_opset: bool) -> Option<Self> {
        Some(Self { message: Message::read(bytes)?, main_opset, changed: false, added: false, names: None })
    }

    /// The graph as bytes, where it was changed, and whether the file must import the default domain.
    pub fn written(&self) -> Option<(Vec<u8>, bool)> {
        self.changed.then(|| (self.message.write(), self.added && !self.main_opset))
    }

    /// Inputs or outputs with their place among the fields; those that cannot be read are left out.
    pub fn infos(&self, number: u64) -> Vec<(usize, Info)> {
        let constants: HashSet<String> = match number {
            // Old files list initializers among the inputs.
            INPUT => self.message.all(INITIALIZER).filter_map(|t| Message::read(&t.bytes)?.text(8)).collect(),
            _ => HashSet::new(),
        };
        let fields = self.message.0.iter().enumerate().filter(|(_, field)| field.number == number);
        let infos = fields.filter_map(|(at, field)| Some((at, Info::read(&field.bytes)?)));
        infos.filter(|(_, info)| !constants.contains(&info.name)).collect()
    }

    /// Puts another field in the place of one.
    pub fn replace(&mut self, at: usize, bytes: Vec<u8>) {
        let number = self.message.0[at].number;
        self.message.0[at] = Field::new(number, bytes);
        self.changed = true;
    }

    /// Takes fields out.
    pub fn remove(&mut self, places: &HashSet<usize>) {
        let mut at = 0;
        self.message.0.retain(|_| {
            at += 1;
            !places.contains(&(at - 1))
        });
        self.changed |= !places.is_empty();
    }

    /// Adds a field before all others.
    pub fn put_first(&mut self, number: u64, bytes: Vec<u8>) {
        self.message.0.insert(0, Field::new(number, bytes));
        self.changed = true;
        self.added |= number == NODE;
    }

    /// Adds a field behind all others.
    pub fn put_last(&mut self, number: u64, bytes: Vec<u8>) {
        self.message.0.push(Field::new(number, bytes));
        self.changed = true;
        self.added |= number == NODE;
    }

    /// Says that a node of the default domain was put in another's place.
    pub fn uses_main_opset(&mut self) {
        self.added = true;
    }

    /// Nodes with their places.
    pub fn nodes(&self) -> impl Iterator<Item = (usize, Message<'_>)> {
        let fields = self.message.0.iter().enumerate().filter(|(_, field)| field.number == NODE);
        fields.filter_map(|(at, field)| Some((at, Message::read(&field.bytes)?)))
    }

    /// A name that no value has, made from this one.
    pub fn fresh(&mut self, from: &str) -> String {
        let mut names = self.names.take().unwrap_or_else(|| self.all_names());
        let mut name = from.to_owned();
        while !names.insert(name.clone()) {
            name.push('_');
        }
        self.names = Some(names);
        name
    }

    fn all_names(&self) -> HashSet<String> {
        let mut names: HashSet<String> =
            self.nodes().flat_map(|(_, node)| [node.texts(1), node.texts(2)].concat()).collect();
        for number in [INPUT, OUTPUT, VALUE_INFO] {
            names.extend(self.infos(number).into_iter().map(|(_, info)| info.name));
        }
        names.extend(self.message.all(INITIALIZER).filter_map(|t| Message::read(&t.bytes)?.text(8)));
        names
    }

    /// Gives a value another name wherever a node, or a node of a subgraph, reads or makes it.
    pub fn rename(&mut self, from: &str, to: &str) {
        for at in 0..self.message.0.len() {
            if self.message.0[at].number == NODE
                && let Some(node) = renamed(&self.message.0[at].bytes, from, to, 0)
            {
                self.replace(at, node);
            }
        }
    }

    /// Removes the dimensions of all values but the inputs.
    pub fn forget_dims(&mut self) {
        for number in [OUTPUT, VALUE_INFO] {
            for (at, info) in self.infos(number) {
                if info.element.is_some() && info.dims.is_some() {
                    self.replace(at, Info { dims: None, ..info }.write());
                }
            }
        }
    }
}

/// Whether a node's attributes hold graphs, which may read values from around them.
pub(super) fn holds_graphs(node: &Message<'_>) -> bool {
    matches!(node.text(4).as_deref(), Some("If" | "Loop" | "Scan" | "SequenceMap"))
}

/// The node with a value renamed; none where it has nothing to do with it.
fn renamed(bytes: &[u8], from: &str, to: &str, depth: usize) -> Option<Vec<u8>> {
    /// As deep as the native engine reads.
    const DEEPEST: usize = 8;
    let mut node = Message::read(bytes)?;
    let with_graphs = holds_graphs(&node);
    let mut changed = false;
    for field in &mut node.0 {
        match field.number {
            1 | 2 if *field.bytes == *from.as_bytes() => {
                *field = Field::new(field.number, to.as_bytes().to_vec());
                changed = true;
            }
            5 if with_graphs && depth < DEEPEST => {
                if let Some(attribute) = renamed_within(&field.bytes, from, to, depth) {
                    *field = Field::new(5, attribute);
                    changed = true;
                }
            }
            _ => {}
        }
    }
    changed.then(|| node.write())
}

/// The same for an attribute that holds graphs.
fn renamed_within(bytes: &[u8], from: &str, to: &str, depth: usize) -> Option<Vec<u8>> {
    let mut attribute = Message::read(bytes)?;
    let mut changed = false;
    for field in attribute.0.iter_mut().filter(|field| matches!(field.number, 6 | 11) && field.value.is_none()) {
        let mut graph = Message::read(&field.bytes)?;
        let mut within = false;
        for node in graph.0.iter_mut().filter(|field| field.number == NODE) {
            if let Some(other) = renamed(&node.bytes, from, to, depth + 1) {
                *node = Field::new(NODE, other);
                within = true;
            }
        }
        if within {
            *field = Field::new(field.number, graph.write());
            changed = true;
        }
    }
    changed.then(|| attribute.write())
}

/// A node of the default domain, with attributes that are one integer or several.
pub(super) fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[i64])]) -> Vec<u8> {
    let mut to = Vec::new();
    inputs.iter().for_each(|input| put(&mut to, 1, input.as_bytes()));
    put(&mut to, 2, output.as_bytes());
    put(&mut to, 3, format!("pillion.{}/{output}", op.to_lowercase()).as_bytes());
    put(&mut to, 4, op.as_bytes());
    for (name, values) in attributes {
        let mut attribute = Vec::new();
        put(&mut attribute, 1, name.as_bytes());
        // ONNX calls an integer 2 and a list of them 7.
        let (field, kind) = if *name == "perm" { (8, 7) } else { (3, 2) };
        values.iter().for_each(|&v| value(&mut attribute, field, v as u64));
        value(&mut attribute, 20, kind);
        put(&mut to, 5, &attribute);
    }
    to
}

/// A list of integers as an initializer.
pub(super) fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let mut to = Vec::new();
    value(&mut to, 1, values.len() as u64);
    value(&mut to, 2, INT64);
    put(&mut to, 8, name.as_bytes());
    put(&mut to, 9, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    to
}
