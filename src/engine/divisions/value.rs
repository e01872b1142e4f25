//! Knowledge of a graph's values before any run: the kind of a value, its origin, and the content of a constant.

use super::super::proto::{parts, text, value, values};

/// Element types, as onnx.proto numbers them.
pub(super) const FLOAT: u64 = 1;
pub(super) const INT32: u64 = 6;
pub(super) const INT64: u64 = 7;
const BOOL: u64 = 9;
const DOUBLE: u64 = 11;

/// Most values of a constant that is looked into: a divisor is short.
const MOST: usize = 4096;

/// Knowledge of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Element type; 0 where it is not known.
    pub kind: u64,
    /// True when the value depends on constants, dimensions, places and truths alone: never on a float that was cast.
    pub tame: bool,
    /// A constant whose values are all 1 and more or -2 and less, as integers too.
    pub divides: bool,
    /// True when the values fit an int32.
    pub small: bool,
}

impl Known {
    pub(super) fn of_kind(kind: u64) -> Self {
        Self { kind, ..Self::default() }
    }

    /// A TensorProto.
    pub(super) fn constant(tensor: &[u8]) -> Self {
        let kind = value(tensor, 2).unwrap_or(0);
        // A constant that is not looked into may hold any value.
        held(tensor, kind).map_or(Self { kind, tame: kind == BOOL, ..Self::default() }, |v| Self::holding(kind, &v))
    }

    /// A constant of these values. One that is the least integer, or is cast to it, is not tame; a large positive integer is,
    /// since a Slice ends in the largest.
    fn holding(kind: u64, values: &[f64]) -> Self {
        let all = |of: fn(f64) -> bool| !values.is_empty() && values.iter().all(|&x| of(x));
        let float = kind == FLOAT || kind == DOUBLE;
        let tame = values.iter().all(|&x| x > -2_147_483_648.0 && (!float || x < 2_147_483_648.0));
        Self { kind, tame, divides: all(|x| x >= 1.0 || x <= -2.0), small: all(|x| x.abs() < 2_147_483_648.0) }
    }
}

/// The values of a short tensor of numbers.
fn held(tensor: &[u8], kind: u64) -> Option<Vec<f64>> {
    let count = values(tensor, 1).iter().try_fold(1_usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?));
    let count = count.filter(|n| (0..=MOST).contains(n))?;
    // Numbers of a fixed width stand in raw_data, or behind each other in the field of their type.
    let fixed = |field: u64| [9, field].into_iter().flat_map(|n| parts(tensor, n)).collect::<Vec<_>>().concat();
    let raw = || parts(tensor, 9).last();
    let found: Vec<f64> = match kind {
        FLOAT => {
            fixed(4).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap_or_default()).into()).collect()
        }
        DOUBLE => fixed(10).chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect(),
        INT32 | INT64 if raw().is_none() => {
            values(tensor, if kind == INT32 { 5 } else { 7 }).into_iter().map(|x| x as f64).collect()
        }
        INT32 => raw()?.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap_or_default()).into()).collect(),
        INT64 => raw()?.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap_or_default()) as f64).collect(),
        _ => return None,
    };
    (found.len() == count).then_some(found)
}

/// Attributes of a node, by name, in its order.
pub(super) struct Attributes<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Attributes<'a> {
    pub(super) fn of(node: &'a [u8]) -> Self {
        Self(parts(node, 5).map(|attribute| (text(attribute, 1), attribute)).collect())
    }

    fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(own, _)| *own == name).map(|&(_, attribute)| attribute)
    }

    pub(super) fn int(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|attribute| value(attribute, 3))
    }

    /// The graphs within, each with the place of its first output that a run hands on.
    pub(super) fn graphs(&self, op: &str) -> Vec<(&'a [u8], usize)> {
        let skipped = usize::from(op == "Loop");
        self.0.iter().flat_map(|(_, a)| [6, 11].into_iter().flat_map(|n| parts(a, n))).map(|g| (g, skipped)).collect()
    }

    fn tensor(&self, name: &str) -> Option<&'a [u8]> {
        self.get(name).and_then(|attribute| parts(attribute, 5).last())
    }

    /// The value of a Constant node.
    fn constant(&self) -> Known {
        let ints = || {
            let one = self.get("value_int").map(|attribute| values(attribute, 3));
            let all = one.or_else(|| self.get("value_ints").map(|attribute| values(attribute, 8)));
            all.map(|all| Known::holding(INT64, &all.into_iter().map(|x| x as f64).collect::<Vec<_>>()))
        };
        let floats = || ["value_float", "value_floats"].iter().any(|name| self.get(name).is_some());
        let other = Known { tame: true, kind: if floats() { FLOAT } else { 0 }, ..Known::default() };
        self.tensor("value").map(Known::constant).or_else(ints).unwrap_or(other)
    }
}

/// Operators that give the kind of their first input, and no value that is not among its own.
const KEEP: [&str; 11] = [
    "Identity",
    "Unsqueeze",
    "Squeeze",
    "Reshape",
    "Flatten",
    "Transpose",
    "Expand",
    "Tile",
    "Gather",
    "Slice",
    "Split",
];
/// Operators that give the kind of their first input.
const LIKE: [&str; 59] = [
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Mod",
    "Neg",
    "Abs",
    "Pow",
    "Max",
    "Min",
    "Sum",
    "Mean",
    "Relu",
    "LeakyRelu",
    "Elu",
    "Concat",
    "Clip",
    "Sqrt",
    "Exp",
    "Log",
    "Tanh",
    "Sigmoid",
    "Softmax",
    "LogSoftmax",
    "Softplus",
    "Erf",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Reciprocal",
    "MatMul",
    "Gemm",
    "Conv",
    "BatchNormalization",
    "LayerNormalization",
    "CumSum",
    "Pad",
    "ScatterND",
    "ScatterElements",
    "GatherElements",
    "GatherND",
    "Compress",
    "Dropout",
    "TopK",
    "Unique",
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "ReduceLogSumExp",
    "Sin",
    "Cos",
    "Range",
    "GlobalAveragePool",
];
/// Operators that give dimensions and places.
const PLACES: [&str; 5] = ["Shape", "Size", "ArgMax", "ArgMin", "NonZero"];
/// Operators that give truths.
const TRUTHS: [&str; 11] =
    ["Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal", "And", "Or", "Xor", "Not", "IsNaN", "IsInf"];

/// Knowledge of output `place` of a node of the default domain.
pub(super) fn output(op: &str, attributes: &Attributes<'_>, inputs: &[Known], place: usize) -> Known {
    let input = |i: usize| inputs.get(i).copied().unwrap_or_default();
    // A node without inputs may be random.
    let tame = !inputs.is_empty() && inputs.iter().all(|known| known.tame) && !op.starts_with("Random");
    let like = |i: usize| Known { tame, ..Known::of_kind(input(i).kind) };
    match op {
        "Constant" => attributes.constant(),
        "TopK" | "Unique" if place > 0 => Known { tame: true, ..Known::of_kind(INT64) },
        _ if place > 0 && op != "Split" => Known::default(),
        "Cast" => {
            let kind = attributes.int("to").unwrap_or(0);
            let divides = input(0).divides && input(0).small && [INT32, INT64, FLOAT, DOUBLE].contains(&kind);
            Known { kind, tame, divides, small: divides }
        }
        "CastLike" => like(1),
        "Where" => like(1),
        "OneHot" => like(2),
        "ConstantOfShape" => match attributes.tensor("value").map(Known::constant) {
            Some(value) => Known { tame, ..value },
            None => Known { tame, ..Known::of_kind(FLOAT) },
        },
        _ if PLACES.contains(&op) => Known { tame: true, ..Known::of_kind(INT64) },
        _ if TRUTHS.contains(&op) => Known { tame: true, ..Known::of_kind(BOOL) },
        _ if KEEP.contains(&op) => Known { tame, ..input(0) },
        "Concat" => Known {
            divides: inputs.iter().all(|known| known.divides),
            small: inputs.iter().all(|known| known.small),
            ..like(0)
        },
        _ if LIKE.contains(&op) => like(0),
        _ => Known { tame, ..Known::default() },
    }
}
