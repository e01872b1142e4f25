//! The changes that are made to the inputs and outputs of a graph.

use std::collections::{HashMap, HashSet};

use super::graph::{FLOAT, Graph, INITIALIZER, INPUT, NODE, OUTPUT, holds_graphs, integers, node};
use super::message::{Dim, Info, Message};
use super::{Fitting, ROW};

/// Other floats, by ONNX's numbers: float16, float64, bfloat16.
const FLOATS: [u64; 3] = [10, 11, 16];
/// Integers of 8 to 64 bits, with and without a sign, and truth values.
const WHOLE: [u64; 9] = [2, 3, 4, 5, 6, 7, 9, 12, 13];

impl Graph<'_> {
    /// Hands on what each ZipMap is made of in its place, where its result leaves the graph and goes nowhere else; the outputs
    /// that were such, with the names of their classes.
    pub fn strip_zipmaps(&mut self) -> Vec<(String, Vec<String>)> {
        let outputs: HashMap<String, usize> =
            self.infos(OUTPUT).into_iter().map(|(at, info)| (info.name, at)).collect();
        let read: HashSet<String> = self.nodes().flat_map(|(_, node)| node.texts(1)).collect();
        let mut found = Vec::new();
        for (at, node) in self.nodes() {
            let [op, domain] = [4, 7].map(|number| node.text(number).unwrap_or_default());
            let (Some(from), Some(to)) = (node.text(1), node.text(2)) else { continue };
            if op == "ZipMap" && domain == "ai.onnx.ml" && !read.contains(&to) && outputs.contains_key(&to) {
                found.push((at, from, to, labels(&node)));
            }
        }
        for (at, from, to, _) in &found {
            // Float32 stays as it is; scikit-learn hands a ZipMap float64 as well.
            self.replace(*at, node("Cast", &[from], to, &[("to", &[FLOAT as i64])]));
            self.uses_main_opset();
            self.replace(outputs[to], Info { name: to.clone(), element: Some(FLOAT), dims: None }.write());
        }
        found.into_iter().map(|(_, _, to, labels)| (to, labels)).collect()
    }

    /// Makes one row of inputs that have a value each.
    pub fn pack(&mut self, columns: &[String]) -> Result<(), String> {
        if columns.is_empty() {
            return Ok(());
        }
        let inputs = self.infos(INPUT);
        let mut element = None;
        for column in columns {
            let Some((_, info)) = inputs.iter().find(|(_, info)| info.name == *column) else {
                return Err(format!("the graph has no input `{column}`"));
            };
            if !is_column(info) {
                return Err(format!("input `{column}` is no column of floats, [batch, 1]"));
            }
            if *element.get_or_insert(info.element) != info.element {
                return Err(format!("input `{column}` is of another kind of floats than the columns before it"));
            }
        }
        if let Some((_, info)) = inputs.iter().find(|(_, info)| !columns.contains(&info.name)) {
            return Err(format!("the graph has an input `{}` that is none of the features", info.name));
        }
        if self.fresh(ROW) != ROW {
            return Err(format!("the graph has a value called `{ROW}`, which is the packed row's name"));
        }
        let batch = match &inputs[0].1.dims.as_deref() {
            Some([Dim::Fixed(1), _]) => Dim::Fixed(1),
            _ => Dim::Named("batch".into()),
        };
        self.remove(&inputs.iter().map(|(at, _)| *at).collect());
        let kind = element.flatten().unwrap_or(FLOAT);
        let row = if kind == FLOAT { ROW.to_owned() } else { self.fresh(&format!("{ROW}.as")) };
        self.hand_out(columns, &row);
        if kind != FLOAT {
            self.put_first(NODE, node("Cast", &[ROW], &row, &[("to", &[kind as i64])]));
        }
        let dims = Some(vec![batch, Dim::Fixed(columns.len() as u64)]);
        self.put_first(INPUT, Info { name: ROW.into(), element: Some(FLOAT), dims }.write());
        Ok(())
    }

    /// Each column, or what joins several, from the row.
    fn hand_out(&mut self, columns: &[String], row: &str) {
        let place: HashMap<&str, i64> = columns.iter().map(String::as_str).zip(0..).collect();
        let (mut joins, mut wanted) = (Vec::new(), HashSet::new());
        for (at, node) in self.nodes() {
            let inputs = node.texts(1);
            let picks: Option<Vec<i64>> = inputs.iter().map(|input| place.get(input.as_str()).copied()).collect();
            match (picks, node.text(2)) {
                (Some(picks), Some(output)) if joins_columns(&node) => {
                    // Whatever kind of floats it joins, a FeatureVectorizer gives float32.
                    let from = if node.text(4).as_deref() == Some("Concat") { row } else { ROW };
                    joins.push((at, picks, output, from));
                }
                // Within a subgraph any of them may be read.
                _ if holds_graphs(&node) => {
                    wanted.extend(columns.iter().cloned());
                }
                _ => wanted.extend(inputs.into_iter().filter(|input| place.contains_key(input.as_str()))),
            }
        }
        wanted.extend(
            self.infos(OUTPUT).into_iter().map(|(_, info)| info.name).filter(|name| place.contains_key(name.as_str())),
        );
        for (at, picks, output, from) in joins {
            let node = if picks.iter().copied().eq(0..columns.len() as i64) {
                node("Identity", &[from], &output, &[])
            } else {
                let index = self.index(&picks);
                node("Gather", &[from, &index], &output, &[("axis", &[1])])
            };
            self.replace(at, node);
            self.uses_main_opset();
        }
        for column in columns.iter().filter(|column| wanted.contains(*column)) {
            let index = self.index(&[place[column.as_str()]]);
            self.put_first(NODE, node("Gather", &[row, &index], column, &[("axis", &[1])]));
        }
    }

    /// An initializer of these places, put behind all fields: places before it stay.
    fn index(&mut self, places: &[i64]) -> String {
        let name = self.fresh("pillion.columns");
        self.put_last(INITIALIZER, integers(&name, places));
        name
    }

    /// Fits the input of the rows.
    pub fn enter(&mut self, to: &Fitting) -> Result<(), String> {
        let Some((at, info)) = self.infos(INPUT).into_iter().find(|(_, info)| info.name == to.input) else {
            return Ok(());
        };
        let mut taken = Info { dims: fixed(&info, to), ..info.clone() };
        // Each an operator with its one attribute.
        let mut steps: Vec<(&str, &str, Vec<i64>)> = Vec::new();
        if to.channels_first {
            let dims =
                taken.dims.as_mut().ok_or_else(|| format!("input `{}` says nothing of its dimensions", info.name))?;
            let (channels, rows) = two_long(dims).ok_or_else(|| {
                format!(
                    "layout = \"channels-first\" needs an input of channels and rows; `{}` has {} dimensions",
                    info.name,
                    dims.len()
                )
            })?;
            let mut perm: Vec<i64> = (0..dims.len() as i64).collect();
            perm.swap(channels, rows);
            dims.swap(channels, rows);
            steps.push(("Transpose", "perm", perm));
        }
        if let Some(kind) = info.element.filter(|kind| FLOATS.contains(kind)) {
            taken.element = Some(FLOAT);
            steps.push(("Cast", "to", vec![kind as i64]));
        }
        if taken != info {
            self.replace(at, taken.write());
        }
        if steps.is_empty() {
            return Ok(());
        }
        let mut names = vec![info.name.clone()];
        for (op, ..) in &steps {
            names.push(self.fresh(&format!("{}/{}", info.name, op.to_lowercase())));
        }
        self.rename(&info.name, &names[steps.len()]);
        for (i, (op, attribute, values)) in steps.iter().enumerate().rev() {
            self.put_first(NODE, node(op, &[&names[i]], &names[i + 1], &[(attribute, values)]));
        }
        Ok(())
    }

    /// Makes float32 of the outputs that are published.
    pub fn leave(&mut self, outputs: &[String]) {
        for (at, info) in self.infos(OUTPUT) {
            let other = info.element.is_some_and(|kind| FLOATS.contains(&kind) || WHOLE.contains(&kind));
            if other && outputs.contains(&info.name) {
                let inner = self.fresh(&format!("{}/uncast", info.name));
                self.rename(&info.name, &inner);
                self.replace(at, Info { element: Some(FLOAT), ..info.clone() }.write());
                self.put_last(NODE, node("Cast", &[&inner], &info.name, &[("to", &[FLOAT as i64])]));
            }
        }
    }
}

/// `[batch, 1]` of floats.
fn is_column(info: &Info) -> bool {
    let float = info.element.is_some_and(|kind| kind == FLOAT || FLOATS.contains(&kind));
    float && matches!(info.dims.as_deref(), Some([first, Dim::Fixed(1)]) if !matches!(first, Dim::Fixed(n) if *n != 1))
}

/// A Concat of columns to a wider row, or what scikit-learn's exporter makes instead.
fn joins_columns(node: &Message<'_>) -> bool {
    let [op, domain] = [4, 7].map(|number| node.text(number).unwrap_or_default());
    if op == "FeatureVectorizer" {
        return domain == "ai.onnx.ml";
    }
    let axis = node.all(5).filter_map(|a| Message::read(&a.bytes)).find(|a| a.text(1).as_deref() == Some("axis"));
    let axis = axis.and_then(|axis| axis.value(3)).map(|axis| axis as i64);
    op == "Concat" && domain.is_empty() && matches!(axis, Some(1 | -1))
}

/// The names of a ZipMap's classes.
fn labels(node: &Message<'_>) -> Vec<String> {
    for attribute in node.all(5).filter_map(|a| Message::read(&a.bytes)) {
        match attribute.text(1).as_deref() {
            Some("classlabels_strings") if attribute.all(9).next().is_some() => return attribute.texts(9),
            Some("classlabels_int64s") => {
                let mut labels = Vec::new();
                for field in attribute.0.iter().filter(|field| field.number == 8) {
                    match field.value {
                        Some(value) => labels.push((value as i64).to_string()),
                        None => {
                            let mut packed = &*field.bytes;
                            while let Ok(value) = crate::native::wire::number(&mut packed) {
                                labels.push((value as i64).to_string());
                            }
                        }
                    }
                }
                return labels;
            }
            _ => {}
        }
    }
    Vec::new()
}

/// The places of the two dimensions that are neither the batch nor 1.
fn two_long(dims: &[Dim]) -> Option<(usize, usize)> {
    match long(dims)[..] {
        [first, second] => Some((first, second)),
        _ => None,
    }
}

/// The places of the dimensions that are neither the batch, open and first of several, nor 1.
fn long(dims: &[Dim]) -> Vec<usize> {
    let skip = usize::from(dims.len() > 1 && !matches!(dims[0], Dim::Fixed(_)));
    (skip..dims.len()).filter(|&i| dims[i] != Dim::Fixed(1)).collect()
}

/// The input's dimensions with an open number of features fixed; all of them where the file says none.
fn fixed(info: &Info, to: &Fitting) -> Option<Vec<Dim>> {
    let Some(features) = to.features.map(|n| Dim::Fixed(n as u64)) else { return info.dims.clone() };
    let Some(mut dims) = info.dims.clone() else { return Some(vec![Dim::Named("batch".into()), features]) };
    let long = long(&dims);
    let place = if to.channels_first && long.len() == 2 { long.first() } else { long.last() };
    if let Some(&place) = place
        && !matches!(dims[place], Dim::Fixed(_))
        && (long.len() > 1 || place + 1 == dims.len())
    {
        dims[place] = features;
    }
    Some(dims)
}
