//! Writes small ONNX files by hand, field by field as onnx.proto numbers them, for graphs that no exporter makes.
#![allow(dead_code)]

/// A dimension: a number, or a name for an open one.
#[derive(Clone, Copy)]
pub enum Dim {
    Is(i64),
    Open(&'static str),
}

pub use Dim::{Is, Open};

/// An attribute's value.
pub enum Attribute {
    Int(i64),
    Ints(&'static [i64]),
}

/// A graph in the making; opset 17.
#[derive(Default)]
pub struct Onnx {
    graph: Vec<u8>,
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn int(to: &mut Vec<u8>, field: u64, value: i64) {
    varint(to, field << 3);
    varint(to, value as u64);
}

fn bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(to, field << 3 | 2);
    varint(to, value.len() as u64);
    to.extend(value);
}

fn message(to: &mut Vec<u8>, field: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    bytes(to, field, &inner);
}

/// ValueInfoProto of a float tensor.
fn value(to: &mut Vec<u8>, field: u64, name: &str, dims: &[Dim]) {
    message(to, field, |info| {
        bytes(info, 1, name.as_bytes());
        message(info, 2, |kind| {
            message(kind, 1, |tensor| {
                int(tensor, 1, 1);
                message(tensor, 2, |shape| {
                    for dim in dims {
                        message(shape, 1, |to| match dim {
                            Is(n) => int(to, 1, *n),
                            Open(name) => bytes(to, 2, name.as_bytes()),
                        });
                    }
                });
            });
        });
    });
}

impl Onnx {
    pub fn input(mut self, name: &str, dims: &[Dim]) -> Self {
        value(&mut self.graph, 11, name, dims);
        self
    }

    pub fn output(mut self, name: &str, dims: &[Dim]) -> Self {
        value(&mut self.graph, 12, name, dims);
        self
    }

    pub fn floats(self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        assert_eq!(dims.iter().product::<i64>(), values.len() as i64, "{name}");
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, dims, 1, &raw)
    }

    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, &[values.len() as i64], 7, &raw)
    }

    fn constant(mut self, name: &str, dims: &[i64], kind: i64, raw: &[u8]) -> Self {
        message(&mut self.graph, 5, |tensor| {
            dims.iter().for_each(|&dim| int(tensor, 1, dim));
            int(tensor, 2, kind);
            bytes(tensor, 8, name.as_bytes());
            bytes(tensor, 9, raw);
        });
        self
    }

    pub fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) -> Self {
        message(&mut self.graph, 1, |node| {
            inputs.iter().for_each(|name| bytes(node, 1, name.as_bytes()));
            outputs.iter().for_each(|name| bytes(node, 2, name.as_bytes()));
            bytes(node, 3, format!("{op}_{}", outputs[0]).as_bytes());
            bytes(node, 4, op.as_bytes());
            for (name, value) in attributes {
                message(node, 5, |attribute| {
                    bytes(attribute, 1, name.as_bytes());
                    match value {
                        Attribute::Int(i) => {
                            int(attribute, 3, *i);
                            int(attribute, 20, 2);
                        }
                        Attribute::Ints(list) => {
                            list.iter().for_each(|&i| int(attribute, 8, i));
                            int(attribute, 20, 7);
                        }
                    }
                });
            }
        });
        self
    }

    /// The file.
    pub fn bytes(mut self) -> Vec<u8> {
        bytes(&mut self.graph, 2, b"hand-made");
        let mut model = Vec::new();
        int(&mut model, 1, 8);
        bytes(&mut model, 7, &self.graph);
        message(&mut model, 8, |opset| int(opset, 2, 17));
        model
    }
}
