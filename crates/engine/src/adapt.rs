//! Exported files as they come, fitted at load to what every engine takes: one float32 input of rows, oldest first, and float32
//! outputs. Only the graph's ends are changed, and what is not changed stays byte for byte; the file itself is left alone.
//!
//! - A ZipMap, which makes dictionaries of a classifier's probabilities, is taken out: its output is the tensor before it.
//! - An input for each column of a data frame becomes one row, in which the columns stand in the order of the features.
//! - A window that is laid out with its channels first is turned.
//! - An open number of features is fixed; other kinds of floats are cast, and so is an output of integers that is asked for.
#![forbid(unsafe_code)]

mod ends;
mod graph;
mod message;

use std::borrow::Cow;

use graph::Graph;
use message::{Info, Message};

use crate::native::wire::put;

/// Name of the input that the columns of a data frame become.
pub const ROW: &str = "pillion.row";

/// The fitting of a graph's ends: its inputs and outputs as engines take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitting {
    /// The input that takes the rows; [`ROW`] where `columns` are given.
    pub input: String,
    /// Values of a row, for a graph that leaves them open.
    pub features: Option<usize>,
    /// Inputs of one value each that become the row, in its order; empty where the graph has one input for the rows.
    pub columns: Vec<String>,
    /// True where the graph wants its window with a row for each feature, oldest value first.
    pub channels_first: bool,
    /// Outputs that are published: those of other numbers become float32.
    pub outputs: Vec<String>,
}

/// A file without its ZipMaps.
#[derive(Clone, Debug)]
pub struct Plain<'a> {
    /// The file's bytes where there were none.
    pub onnx: Cow<'a, [u8]>,
    /// Each output that was one, by name, with the names of its classes.
    pub labels: Vec<(String, Vec<String>)>,
}

/// The origin of a file, as the file tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The exporter, as it names itself: `skl2onnx`, `OnnxMLTools`, `CatBoost`, `pytorch`; empty where it does not.
    pub producer: String,
    /// Names of the columns that it was trained on, in order, where its metadata hold them.
    pub columns: Option<Vec<String>>,
}

/// Takes ZipMaps out whose result leaves the graph. A file that cannot be read is returned as it is: engines say why not.
#[must_use]
pub fn plain(onnx: &[u8]) -> Plain<'_> {
    edited(onnx, |graph| Ok(graph.strip_zipmaps())).unwrap_or_else(|_| Plain { onnx: onnx.into(), labels: Vec::new() })
}

/// Fits the ends of a graph, after [`plain`].
///
/// # Errors
/// The graph does not have the inputs, or not of a form that can be fitted; in words.
pub fn fit<'a>(onnx: &'a [u8], to: &Fitting) -> Result<Cow<'a, [u8]>, String> {
    let fitted = edited(onnx, |graph| {
        graph.pack(&to.columns)?;
        graph.enter(to)?;
        graph.leave(&to.outputs);
        Ok(Vec::new())
    })?;
    Ok(fitted.onnx)
}

/// The file without the dimensions that it declares of values between its inputs and its outputs, these included: for files
/// whose runs give others.
#[must_use]
pub fn without_dims(onnx: &[u8]) -> Cow<'_, [u8]> {
    let edit = |graph: &mut Graph<'_>| {
        graph.forget_dims();
        Ok(Vec::new())
    };
    edited(onnx, edit).map_or(Cow::Borrowed(onnx), |plain| plain.onnx)
}

/// The origin of this file, as the file tells it.
#[must_use]
pub fn origin(onnx: &[u8]) -> Origin {
    const NAMES: [&str; 5] = ["feature_names", "features", "columns", "feature_name", "input_features"];
    let Some(model) = Message::read(onnx) else { return Origin::default() };
    let entries = model.all(14).filter_map(|entry| {
        let entry = Message::read(&entry.bytes)?;
        Some((entry.text(1)?.to_lowercase(), entry.text(2)?))
    });
    let columns = entries.filter(|(key, _)| NAMES.contains(&key.as_str())).find_map(|(_, text)| listed(&text));
    Origin { producer: model.text(2).unwrap_or_default(), columns }
}

/// Names in a list as JSON, as Python prints one, or parted by commas.
fn listed(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let names = inner.split(',').map(|name| name.trim().trim_matches(['"', '\'']).to_owned()).collect::<Vec<_>>();
    names.iter().all(|name| !name.is_empty()).then_some(names)
}

/// Reads the graph, edits it, and writes it back where something changed.
fn edited<'a>(
    onnx: &'a [u8],
    edit: impl FnOnce(&mut Graph<'_>) -> Result<Vec<(String, Vec<String>)>, String>,
) -> Result<Plain<'a>, String> {
    let as_it_is = Plain { onnx: Cow::Borrowed(onnx), labels: Vec::new() };
    let Some(model) = Message::read(onnx) else { return Ok(as_it_is) };
    let Some(bytes) = model.merged(7) else { return Ok(as_it_is) };
    let Some(mut graph) = Graph::read(&bytes, has_main_opset(&model)) else { return Ok(as_it_is) };
    let labels = edit(&mut graph)?;
    let Some((graph, import)) = graph.written() else { return Ok(as_it_is) };
    let mut to = Vec::with_capacity(onnx.len() + 1024);
    let mut rest = model.clone();
    rest.0.retain(|field| field.number != 7 || field.value.is_some());
    to.extend(rest.write());
    put(&mut to, 7, &graph);
    if import {
        // An opset in which every operator that was added means what is meant.
        let mut opset = Vec::new();
        put(&mut opset, 1, b"");
        message::value(&mut opset, 2, 13);
        put(&mut to, 8, &opset);
    }
    Ok(Plain { onnx: Cow::Owned(to), labels })
}

/// True where the file imports the default domain.
fn has_main_opset(model: &Message<'_>) -> bool {
    model.all(8).filter_map(|set| Message::read(&set.bytes)).any(|set| {
        let domain = set.text(1).unwrap_or_default();
        domain.is_empty() || domain == "ai.onnx"
    })
}

#[cfg(test)]
mod tests;
