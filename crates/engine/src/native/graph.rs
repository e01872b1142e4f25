//! An ONNX file as a checked graph: known domains, every value produced once and before it is used, sizes bounded.
//!
//! Nothing of the file is believed: sizes are checked before anything is allocated for them.

use std::collections::HashMap;

use rten_onnx::onnx::{AttributeProto, DataLocation, DataType, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use super::Refusal;
use super::tensor::{Data, Tensor};
use super::wire;

/// Most values a tensor may have: far above any model that runs beside an order gateway.
pub(super) const MOST_VALUES: usize = 1 << 24;
/// Most dimensions of a tensor.
pub(super) const MOST_DIMENSIONS: usize = 64;
/// Most inputs of a node.
const MOST_INPUTS: usize = 1 << 12;
/// Most nodes.
const MOST_NODES: usize = 1 << 16;
/// Opsets of the default domain whose meanings are known here.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;

/// A value's number: its index in [`Graph::names`].
pub(super) type Value = usize;

/// A graph in the order its nodes run.
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    /// Names of all values.
    pub names: Vec<String>,
    /// Values that the file gives.
    pub constants: HashMap<Value, Tensor>,
    pub inputs: Vec<(Value, Vec<Dim>)>,
    pub outputs: Vec<Value>,
    /// Opset of the default domain.
    pub opset: i64,
}

/// A dimension of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dim {
    Fixed(usize),
    /// Named or left out: the batch.
    Open,
}

/// An operator with its attributes.
pub(super) struct Node {
    /// `Gemm`; those of `ai.onnx.ml` as `ml.TreeEnsembleRegressor`.
    pub op: String,
    pub name: String,
    /// An input left out is `None`.
    pub inputs: Vec<Option<Value>>,
    pub outputs: Vec<Option<Value>>,
    attributes: HashMap<String, AttributeProto>,
}

impl Node {
    /// A refusal that names this node.
    pub fn refuse(&self, why: impl Into<String>) -> Refusal {
        Refusal::Node { op: self.op.clone(), node: self.name.clone(), why: why.into() }
    }

    /// Input `i`, which the operator needs.
    pub fn input(&self, i: usize) -> Result<Value, Refusal> {
        self.optional(i).ok_or_else(|| self.refuse(format!("input {i} is missing")))
    }

    /// Input `i`, if it is there.
    pub fn optional(&self, i: usize) -> Option<Value> {
        self.inputs.get(i).copied().flatten()
    }

    /// Output 0.
    pub fn output(&self) -> Result<Value, Refusal> {
        self.outputs.first().copied().flatten().ok_or_else(|| self.refuse("it has no output"))
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attributes.get(name).and_then(|a| a.i).unwrap_or(default)
    }

    pub fn float(&self, name: &str, default: f32) -> f32 {
        self.attributes.get(name).and_then(|a| a.f).unwrap_or(default)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(|a| a.s.as_deref())
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attributes.get(name).map(|a| a.ints.as_slice())
    }

    pub fn floats(&self, name: &str) -> &[f32] {
        self.attributes.get(name).map_or(&[], |a| &a.floats)
    }

    pub fn texts(&self, name: &str) -> &[String] {
        self.attributes.get(name).map_or(&[], |a| &a.strings)
    }

    pub fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// What a tensor attribute is of.
    pub fn tensor_kind(&self, name: &str) -> Option<DataType> {
        self.attributes.get(name)?.t.as_ref()?.data_type
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Option<Result<Tensor, Refusal>> {
        let tensor = self.attributes.get(name)?.t.as_ref()?;
        Some(read_tensor(tensor).map_err(|why| self.refuse(format!("attribute `{name}`: {why}"))))
    }
}

impl Graph {
    /// Reads and checks the file.
    pub fn read(onnx: &[u8]) -> Result<Self, Refusal> {
        wire::check(onnx).map_err(|why| Refusal::File(format!("it is no ONNX model: {why}")))?;
        if let Some(why) = wire::passed_over(onnx) {
            return Err(Refusal::File(why));
        }
        let model = ModelProto::parse_buf(onnx).map_err(|e| Refusal::File(format!("it is no ONNX model: {e}")))?;
        let opset = opset(&model)?;
        let graph = model.graph.ok_or_else(|| Refusal::File("it has no graph".into()))?;
        if graph.node.len() > MOST_NODES {
            return Err(Refusal::File(format!("{} nodes, at most {MOST_NODES} are taken", graph.node.len())));
        }
        let domains = model.opset_import.iter().map(|set| domain(set.domain.as_deref()).to_owned()).collect();
        let mut reader = Reader { domains, ..Reader::default() };
        for tensor in &graph.initializer {
            let name = tensor.name.clone().unwrap_or_default();
            let value = reader.define(&name, "an initializer")?;
            let tensor = read_tensor(tensor).map_err(|why| Refusal::File(format!("initializer `{name}`: {why}")))?;
            reader.constants.insert(value, tensor);
        }
        let mut inputs = Vec::new();
        for info in &graph.input {
            let name = info.name.clone().unwrap_or_default();
            // Old files list initializers among the inputs.
            if reader.known.get(&name).is_some_and(|value| reader.constants.contains_key(value)) {
                continue;
            }
            inputs.push((reader.define(&name, "an input")?, dims_of(info)?));
        }
        let nodes = graph.node.iter().enumerate().map(|(i, node)| reader.node(i, node)).collect::<Result<_, _>>()?;
        let output = |info: &ValueInfoProto| {
            let name = info.name.clone().unwrap_or_default();
            let value = reader.known.get(&name).copied();
            value.ok_or_else(|| Refusal::File(format!("output `{name}` is produced by no node")))
        };
        let outputs = graph.output.iter().map(output).collect::<Result<_, _>>()?;
        Ok(Self { nodes, names: reader.names, constants: reader.constants, inputs, outputs, opset })
    }
}

/// Names given so far.
#[derive(Default)]
struct Reader {
    names: Vec<String>,
    known: HashMap<String, Value>,
    constants: HashMap<Value, Tensor>,
    /// Those that the file says it uses.
    domains: Vec<String>,
}

/// A domain by its short name.
fn domain(name: Option<&str>) -> &str {
    name.filter(|&name| name != "ai.onnx").unwrap_or_default()
}

impl Reader {
    fn define(&mut self, name: &str, what: &str) -> Result<Value, Refusal> {
        let value = self.names.len();
        if name.is_empty() || self.known.insert(name.to_owned(), value).is_some() {
            return Err(Refusal::File(format!("{what} is called `{name}`, which is empty or given twice")));
        }
        self.names.push(name.to_owned());
        Ok(value)
    }

    fn node(&mut self, i: usize, proto: &NodeProto) -> Result<Node, Refusal> {
        let op_type = proto.op_type.clone().unwrap_or_default();
        let domain = domain(proto.domain.as_deref());
        let op = match domain {
            "" => op_type,
            "ai.onnx.ml" => format!("ml.{op_type}"),
            domain => format!("{domain}.{op_type}"),
        };
        let name = proto.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| format!("#{i}"));
        let attributes = proto.attribute.iter().map(|a| (a.name.clone().unwrap_or_default(), a.clone())).collect();
        let mut node = Node { op, name, inputs: Vec::new(), outputs: Vec::new(), attributes };
        if !self.domains.iter().any(|known| known == domain) {
            return Err(node.refuse(format!("the file imports no opset of its domain `{domain}`")));
        }
        if proto.input.len() > MOST_INPUTS {
            return Err(node.refuse(format!("{} inputs, {MOST_INPUTS} at most are taken", proto.input.len())));
        }
        for input in &proto.input {
            let known = self.known.get(input).copied();
            if known.is_none() && !input.is_empty() {
                // Also what a cycle looks like: the file's nodes must stand in an order that can run.
                return Err(node.refuse(format!("its input `{input}` is produced by nobody before it")));
            }
            node.inputs.push(known);
        }
        for output in &proto.output {
            let value = if output.is_empty() { None } else { Some(self.define(output, "an output of a node")?) };
            node.outputs.push(value);
        }
        Ok(node)
    }
}

fn opset(model: &ModelProto) -> Result<i64, Refusal> {
    let main = model.opset_import.iter().find(|set| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")));
    let version = main.and_then(|set| set.version);
    match version {
        Some(version) if OPSETS.contains(&version) => Ok(version),
        // A file of ai.onnx.ml operators alone.
        None if !model.opset_import.is_empty() => Ok(*OPSETS.end()),
        version => Err(Refusal::File(format!(
            "opset {}, the native engine knows {} to {}",
            version.map_or("none".into(), |v| v.to_string()),
            OPSETS.start(),
            OPSETS.end()
        ))),
    }
}

fn dims_of(info: &ValueInfoProto) -> Result<Vec<Dim>, Refusal> {
    let name = info.name.as_deref().unwrap_or_default();
    let refused = |why: String| Refusal::File(format!("input `{name}` {why}"));
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| refused("is no tensor".into()))?;
    match tensor.elem_type {
        Some(DataType::FLOAT) => {}
        other => return Err(refused(format!("is {}, the native engine takes FLOAT", kind(other)))),
    }
    let shape = tensor.shape.as_ref().ok_or_else(|| refused("has no shape".into()))?;
    let dim = |dim: &rten_onnx::onnx::Dimension| match dim.dim_value {
        Some(n) => usize::try_from(n).ok().filter(|n| (1..=MOST_VALUES).contains(n)).map(Dim::Fixed),
        None => Some(Dim::Open),
    };
    shape.dim.iter().map(|d| dim(d).ok_or_else(|| refused(format!("has a dimension of {:?}", d.dim_value)))).collect()
}

fn kind(kind: Option<DataType>) -> String {
    kind.map_or_else(|| "of no type".into(), |kind| kind.to_string())
}

fn read_tensor(proto: &TensorProto) -> Result<Tensor, String> {
    if proto.data_location == Some(DataLocation::EXTERNAL) || !proto.external_data.is_empty() {
        let place = proto.external_data.iter().find(|entry| entry.key.as_deref() == Some("location"));
        let file = place.and_then(|entry| entry.value.as_deref()).unwrap_or("without a name");
        return Err(format!("its data lie in another file, `{file}`; export with the weights inside"));
    }
    let dims: Option<Vec<usize>> = proto.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let count = dims.as_ref().and_then(|dims| dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)));
    let (Some(dims), Some(count)) = (dims, count.filter(|&n| n <= MOST_VALUES)) else {
        return Err(format!("its dimensions {:?} make no sense here", proto.dims));
    };
    let raw = proto.raw_data.as_ref().map(std::cell::RefCell::borrow);
    let raw = raw.as_deref().map(Vec::as_slice);
    let data = match proto.data_type {
        Some(DataType::FLOAT) => Data::F32(words(raw, count, f32::from_le_bytes, &proto.float_data)?),
        Some(DataType::DOUBLE) => Data::F32(
            words(raw, count, f64::from_le_bytes, &proto.double_data)?.into_iter().map(|x| x as f32).collect(),
        ),
        Some(FLOAT16) => Data::F32(halves(raw, count, half, &proto.int32_data)?),
        Some(BFLOAT16) => {
            Data::F32(halves(raw, count, |bits| f32::from_bits(u32::from(bits) << 16), &proto.int32_data)?)
        }
        Some(DataType::INT64) => Data::I64(words(raw, count, i64::from_le_bytes, &proto.int64_data)?),
        Some(DataType::INT32) => {
            Data::I64(words(raw, count, i32::from_le_bytes, &proto.int32_data)?.into_iter().map(i64::from).collect())
        }
        Some(DataType::UINT8) => match raw {
            Some(bytes) if bytes.len() == count => Data::I64(bytes.iter().copied().map(i64::from).collect()),
            Some(bytes) if !bytes.is_empty() => return Err(format!("{} bytes for {count} values", bytes.len())),
            _ => Data::I64(
                words(None, count, i32::from_le_bytes, &proto.int32_data)?.into_iter().map(i64::from).collect(),
            ),
        },
        Some(DataType::BOOL) => match raw {
            Some(bytes) if bytes.len() == count => Data::I64(bytes.iter().map(|&b| i64::from(b != 0)).collect()),
            Some(bytes) => return Err(format!("{} bytes for {count} values", bytes.len())),
            None => Data::I64(
                words(raw, count, i32::from_le_bytes, &proto.int32_data)?.into_iter().map(i64::from).collect(),
            ),
        },
        other => return Err(format!("it is {}, which the native engine does not take", kind(other))),
    };
    Ok(Tensor { dims, data })
}

const FLOAT16: DataType = DataType(10);
const BFLOAT16: DataType = DataType(16);

/// Values of 16 bits: in the typed field each has 32.
fn halves(raw: Option<&[u8]>, count: usize, of: fn(u16) -> f32, typed: &[i32]) -> Result<Vec<f32>, String> {
    let typed: Vec<u16> = typed.iter().map(|&bits| bits as u16).collect();
    Ok(words(raw, count, u16::from_le_bytes, &typed)?.into_iter().map(of).collect())
}

/// IEEE half precision: 5 bits of exponent with a bias of 15, 10 of significand.
fn half(bits: u16) -> f32 {
    let (exponent, significand) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => significand * 2_f32.powi(-24),
        0x1f if significand == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1.0 + significand / 1024.0) * 2_f32.powi(exponent - 15),
    };
    if bits >> 15 == 0 { size } else { -size }
}

/// `count` values from the raw bytes, or from the typed field when there are none.
fn words<T: Copy, const N: usize>(
    raw: Option<&[u8]>,
    count: usize,
    of: fn([u8; N]) -> T,
    typed: &[T],
) -> Result<Vec<T>, String> {
    let values: Vec<T> = match raw {
        Some(bytes) if !bytes.is_empty() => {
            if bytes.len() != count * N {
                return Err(format!("{} bytes for {count} values of {N}", bytes.len()));
            }
            bytes.chunks_exact(N).map(|chunk| of(std::array::from_fn(|i| chunk[i]))).collect()
        }
        _ => typed.to_vec(),
    };
    if values.len() == count { Ok(values) } else { Err(format!("{} values where its shape has {count}", values.len())) }
}

#[cfg(test)]
mod tests {
    use super::half;

    #[test]
    fn halves_are_read_as_ieee_754_says() {
        let pairs =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65_504.0), (0x0400, 6.103_515_6e-5), (0x0001, 5.960_464_5e-8)];
        for (bits, value) in pairs {
            assert_eq!(half(bits), value, "{bits:x}");
        }
        assert_eq!(half(0xfc00), f32::NEG_INFINITY);
        assert!(half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }
}
