use std::path::Path;

use rten_onnx::onnx::{DataType, ModelProto, NodeProto};

use super::{Fitting, ROW, fit, origin, plain, without_dims};
use crate::native::wire::put;

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(name)).unwrap()
}

fn parsed(onnx: &[u8]) -> ModelProto {
    ModelProto::parse_buf(onnx).unwrap()
}

fn ops(onnx: &[u8]) -> Vec<String> {
    parsed(onnx).graph.unwrap().node.iter().map(|node| node.op_type.clone().unwrap()).collect()
}

/// Name, element type and dimensions of an input or output; 0 for an open one.
fn ends(onnx: &[u8], output: bool) -> Vec<(String, Option<DataType>, Option<Vec<i64>>)> {
    let graph = parsed(onnx).graph.unwrap();
    let infos = if output { &graph.output } else { &graph.input };
    let end = |info: &rten_onnx::onnx::ValueInfoProto| {
        let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
        let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
        let dims = shape.map(|shape| shape.dim.iter().map(|dim| dim.dim_value.unwrap_or(0)).collect());
        (info.name.clone().unwrap(), tensor.and_then(|tensor| tensor.elem_type), dims)
    };
    infos.iter().map(end).collect()
}

fn text(number: u64, text: &str) -> Vec<u8> {
    let mut to = Vec::new();
    put(&mut to, number, text.as_bytes());
    to
}

fn held(number: u64, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut to = Vec::new();
    put(&mut to, number, &parts.concat());
    to
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// An input or output of this element type and these dimensions, 0 for an open one.
fn info(field: u64, name: &str, kind: u8, dims: &[u8]) -> Vec<u8> {
    let dims: Vec<Vec<u8>> =
        dims.iter().map(|&d| if d == 0 { held(1, &[]) } else { held(1, &[varint(1, d)]) }).collect();
    held(field, &[text(1, name), held(2, &[held(1, &[varint(1, kind), held(2, &dims)])])])
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|input| text(1, input)).collect();
    held(1, &[inputs.concat(), text(2, output), text(4, op)])
}

fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    [varint(1, 8), text(2, "somebody"), held(7, parts), held(8, &[text(1, ""), varint(2, 17)])].concat()
}

/// The nodes by what they read and write.
fn wires(onnx: &[u8]) -> Vec<String> {
    let wire = |node: &NodeProto| {
        format!("{}({}) {}", node.op_type.as_deref().unwrap(), node.input.join(" "), node.output.join(" "))
    };
    parsed(onnx).graph.unwrap().node.iter().map(wire).collect()
}

#[test]
fn a_zipmap_gives_way_to_the_tensor_before_it() {
    let whole = file("model_fixtures/zipmap.onnx");
    let taken = plain(&whole);
    assert!(ops(&whole).contains(&"ZipMap".into()) && !ops(&taken.onnx).contains(&"ZipMap".into()));
    let (output, labels) = &taken.labels[0];
    assert_eq!((output.as_str(), labels.len()), ("output_probability", 3));
    let given = ends(&taken.onnx, true);
    assert!(given.contains(&("output_probability".into(), Some(DataType::FLOAT), None)), "{given:?}");
    // What has none is not touched at all, nor what is no model.
    for bytes in [file("zoo/relu.onnx"), b"no model".to_vec(), Vec::new(), vec![0x3a, 200, 1]] {
        assert_eq!(*plain(&bytes).onnx, bytes);
    }
}

#[test]
fn columns_become_a_row_in_the_features_order() {
    let columns = ["b", "a", "c"].map(String::from).to_vec();
    let inputs: Vec<u8> = ["a", "b", "c"].iter().flat_map(|name| info(11, name, 1, &[0, 1])).collect();
    let axis = held(5, &[text(1, "axis"), varint(3, 1), vec![0xa0, 1, 2]]);
    let join = held(1, &[text(1, "a"), text(1, "b"), text(1, "c"), text(2, "j"), text(4, "Concat"), axis]);
    let graph = model(&[inputs, join, node("Add", &["j", "c"], "y"), info(12, "y", 1, &[])]);
    let to = Fitting { columns: columns.clone(), input: ROW.into(), ..Fitting::default() };
    let fitted = fit(&graph, &to).unwrap();
    assert_eq!(ends(&fitted, false), [(ROW.to_owned(), Some(DataType::FLOAT), Some(vec![0, 3]))]);
    let wires = wires(&fitted);
    assert_eq!(wires.len(), 3, "{wires:?}");
    // `c` is read by itself; `a`, `b` and `c` stand at 1, 0 and 2 of the row.
    assert!(wires[0].starts_with("Gather(pillion.row") && wires[0].ends_with(" c"), "{wires:?}");
    assert!(wires[1].starts_with("Gather(pillion.row") && wires[1].ends_with(" j"), "{wires:?}");
    let lists = parsed(&fitted)
        .graph
        .unwrap()
        .initializer
        .iter()
        .map(|t| t.raw_data.as_ref().unwrap().borrow().clone())
        .collect::<Vec<_>>();
    let bytes = |places: &[i64]| places.iter().flat_map(|p| p.to_le_bytes()).collect::<Vec<u8>>();
    assert!(lists.contains(&bytes(&[1, 0, 2])) && lists.contains(&bytes(&[2])), "{lists:?}");
    // In the graph's own order nothing is picked.
    let same = ["a", "b", "c"].map(String::from).to_vec();
    let fitted = fit(&graph, &Fitting { columns: same, ..to.clone() }).unwrap();
    assert!(self::wires(&fitted).contains(&"Identity(pillion.row) j".to_owned()));
    for (columns, words) in
        [(vec!["b".to_owned(), "z".to_owned()], "no input `z`"), (columns[..2].to_vec(), "an input `c`")]
    {
        let why = fit(&graph, &Fitting { columns, ..to.clone() }).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn ends_are_turned_cast_and_fixed_under_their_own_names() {
    let graph = model(&[
        info(11, "x", 11, &[0, 24, 50]),
        node("Relu", &["x"], "h"),
        node("Neg", &["h"], "y"),
        info(12, "y", 11, &[0, 24, 50]),
        info(12, "h", 11, &[0, 24, 50]),
    ]);
    let to = Fitting { input: "x".into(), channels_first: true, outputs: vec!["y".into()], ..Fitting::default() };
    let fitted = fit(&graph, &to).unwrap();
    assert_eq!(ends(&fitted, false), [("x".to_owned(), Some(DataType::FLOAT), Some(vec![0, 50, 24]))]);
    assert_eq!(ends(&fitted, true)[0].1, Some(DataType::FLOAT));
    assert_eq!(
        wires(&fitted),
        [
            "Transpose(x) x/transpose",
            "Cast(x/transpose) x/cast",
            "Relu(x/cast) h",
            "Neg(h) y/uncast",
            "Cast(y/uncast) y"
        ]
    );
    let two = Fitting { input: "x".into(), channels_first: true, ..Fitting::default() };
    assert!(fit(&model(&[info(11, "x", 1, &[0, 24])]), &two).unwrap_err().contains("channels and rows"));
    // Open features.
    let dims = |dims: &[u8], features: usize, channels_first: bool| {
        let to = Fitting { input: "x".into(), features: Some(features), channels_first, ..Fitting::default() };
        let fitted = fit(&model(&[info(11, "x", 1, dims)]), &to).unwrap().into_owned();
        ends(&fitted, false).remove(0).2.unwrap()
    };
    assert_eq!(dims(&[0, 0], 7, false), [0, 7]);
    assert_eq!(dims(&[0], 7, false), [7]);
    assert_eq!(dims(&[0, 0, 0], 7, false), [0, 0, 7]);
    assert_eq!(dims(&[0, 0, 50], 7, true), [0, 50, 7]);
    assert_eq!(dims(&[0, 9], 7, false), [0, 9], "what the graph says is left");
    assert_eq!(dims(&[0, 50, 1], 7, false), [0, 50, 1]);
}

#[test]
fn a_value_is_renamed_within_subgraphs_too() {
    let branch = held(5, &[text(1, "then_branch"), held(6, &[node("Neg", &["x"], "z")]), vec![0xa0, 1, 5]]);
    let choice = held(1, &[text(1, "c"), text(2, "y"), text(4, "If"), branch]);
    let graph = model(&[info(11, "x", 11, &[1, 3]), choice, info(12, "y", 1, &[])]);
    let to = Fitting { input: "x".into(), ..Fitting::default() };
    let fitted = fit(&graph, &to).unwrap();
    let graph = parsed(&fitted).graph.unwrap();
    let inner = graph.node[1].attribute[0].g.as_ref().unwrap();
    assert_eq!(inner.node[0].input, ["x/cast"]);
}

#[test]
fn declared_dimensions_go_and_all_else_stays() {
    let graph =
        model(&[info(11, "x", 1, &[0, 3]), node("Relu", &["x"], "y"), info(13, "y", 1, &[9]), info(12, "y", 1, &[9])]);
    let loose = without_dims(&graph);
    assert_eq!(ends(&loose, true), [("y".to_owned(), Some(DataType::FLOAT), None)]);
    assert_eq!(ends(&loose, false), ends(&graph, false));
    assert_eq!(wires(&loose), wires(&graph));
    let weights = file("zoo/net_dense.onnx");
    let first = |onnx: &[u8]| parsed(onnx).graph.unwrap().initializer[0].raw_data.as_ref().unwrap().borrow().clone();
    assert_eq!(first(&without_dims(&weights)), first(&weights));
}

#[test]
fn the_origin_is_read_from_the_file() {
    let entry = |key: &str, value: &str| held(14, &[text(1, key), text(2, value)]);
    let with = |entry: Vec<u8>| [model(&[]), entry].concat();
    assert_eq!(origin(&model(&[])).producer, "somebody");
    let names = Some(vec!["a".to_owned(), "b c".to_owned()]);
    for text in ["[\"a\", \"b c\"]", "['a', 'b c']", "a,b c"] {
        assert_eq!(origin(&with(entry("feature_names", text))).columns, names);
    }
    assert_eq!(origin(&with(entry("author", "a,b"))).columns, None);
    assert_eq!(origin(b"no model"), Default::default());
}
