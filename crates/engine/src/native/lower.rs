//! From graph to plan: every shape fixed with a batch of one, constants computed now, operators turned into steps.

mod channels;
mod conv;
mod data;
mod dense;
mod einsum;
mod elementwise;
mod fold;
mod logic;
mod ml;
mod norm;
mod recurrent;
mod reduce;

use std::collections::{HashMap, HashSet};

use super::graph::{Dim, Graph, MOST_VALUES, Node, Value};
use super::memory::Memory;
use super::plan::{Plan, Slot, Step};
use super::portable::Portable;
use super::tensor::{Buffer, Data, LANES, Tensor};
use super::{Refusal, Weights};
use crate::Shape;

/// What is known of a value.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// All of it.
    Constant(Tensor),
    /// Its shape, and the buffer that a run leaves it in.
    Computed { dims: Vec<usize>, slot: Slot },
}

/// The plan in the making.
pub(super) struct Lower<'a> {
    graph: &'a Graph,
    /// How the weights of dense layers are stored.
    weights: Weights,
    /// Instruments whose rows are the first dimension of the input.
    batch: usize,
    known: HashMap<Value, Known>,
    buffers: Vec<Buffer>,
    steps: Vec<Step>,
    /// Values of the first `counted` buffers, and of constants made on the way.
    values: usize,
    counted: usize,
    /// How many nodes, or the graph's result, read each value.
    uses: HashMap<Value, usize>,
    /// Buffers that several values read: one of them another view of the other.
    shared: HashSet<Slot>,
    /// Computed values that are integers in the graph, and floats here.
    whole: HashSet<Value>,
    /// Buffers of constants that steps read.
    placed: HashMap<Value, Slot>,
    /// Values that a run leaves with their channels last, by the buffer that they get when somebody wants them otherwise.
    turned: HashMap<Slot, channels::Turned>,
    /// Buffers of sequences whose last rows lie by themselves too: by the sequence's, that of the last row, and its place.
    last_rows: HashMap<Slot, (Slot, std::ops::Range<usize>)>,
}

/// Compiles `graph` for `batch` instruments at a time; `shape` is the manifest's, of one.
pub(super) fn lower(graph: &Graph, shape: &Shape, weights: Weights, batch: usize) -> Result<Plan, Refusal> {
    let mut lower = Lower {
        graph,
        weights,
        batch,
        known: HashMap::new(),
        buffers: Vec::new(),
        steps: Vec::new(),
        values: 0,
        counted: 0,
        uses: uses(graph),
        shared: HashSet::new(),
        whole: HashSet::new(),
        placed: HashMap::new(),
        turned: HashMap::new(),
        last_rows: HashMap::new(),
    };
    let (input, entered) = lower.enter(shape)?;
    for (&value, tensor) in &graph.constants {
        lower.known.insert(value, Known::Constant(tensor.clone()));
    }
    let named = |name: &String| {
        let value = graph.outputs.iter().copied().find(|&value| graph.names[value] == *name);
        value.ok_or_else(|| Refusal::File(format!("it has no output `{name}`")))
    };
    let results = shape.outputs.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let next = shape.states.iter().map(|(_, next)| named(next)).collect::<Result<Vec<_>, _>>()?;
    let needed = needed(graph, results.iter().chain(&next).copied().collect());
    for (i, node) in graph.nodes.iter().enumerate() {
        if needed.contains(&i) {
            lower.node(node)?;
            lower.count(node)?;
        }
    }
    let outputs = results.iter().map(|&value| lower.result(value)).collect::<Result<Vec<_>, _>>()?;
    let count: usize = outputs.iter().map(|(_, len)| len).sum();
    if count != batch * shape.values {
        let text = format!("the outputs {:?} give {count} values, {} are expected", shape.outputs, shape.values);
        return Err(Refusal::File(text));
    }
    let mut carried = Vec::new();
    for ((&value, (name, next)), &(from, len)) in next.iter().zip(&shape.states).zip(&entered) {
        let (to, next_len) = lower.result(value)?;
        if next_len != len {
            let text = format!("output `{next}` gives {next_len} values, and is to be the next `{name}` of {len}");
            return Err(Refusal::File(text));
        }
        carried.push((from, to, len));
    }
    let (mut copied, buffers) = (false, lower.buffers);
    lower.steps.iter().for_each(|step| step.reads(|slot, blocks| copied |= blocks && slot == input));
    Ok(Plan { steps: lower.steps, buffers, input, outputs, carried, copied })
}

/// The nodes that the results hang on: labels and ZipMaps beside them are never computed.
fn needed(graph: &Graph, mut wanted: HashSet<Value>) -> HashSet<usize> {
    let mut needed = HashSet::new();
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        if node.outputs.iter().flatten().any(|value| wanted.contains(value)) {
            needed.insert(i);
            wanted.extend(node.inputs.iter().flatten());
        }
    }
    needed
}

fn uses(graph: &Graph) -> HashMap<Value, usize> {
    let mut uses = HashMap::new();
    let read = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
    for value in read.chain(&graph.outputs) {
        *uses.entry(*value).or_insert(0) += 1;
    }
    uses
}

impl Lower<'_> {
    /// The graph's inputs: the buffer of the rows, and for each state its buffer and length.
    fn enter(&mut self, shape: &Shape) -> Result<(Slot, Vec<(Slot, usize)>), Refusal> {
        let graph = self.graph;
        if graph.inputs.len() != 1 + shape.states.len() {
            let count = graph.inputs.len();
            return Err(Refusal::File(format!("it has {count} inputs, {} expected", 1 + shape.states.len())));
        }
        let find = |name: &str| {
            let found = graph.inputs.iter().find(|(value, _)| graph.names[*value] == name);
            found.ok_or_else(|| Refusal::File(format!("it has no input `{name}`")))
        };
        let (value, dims) = find(&shape.input)?;
        let mut fixed = rows_of(dims, shape).ok_or_else(|| {
            let (name, n) = (&shape.input, shape.rows * shape.features);
            Refusal::File(format!("its input is `{name}` {dims:?}, where `{name}` of {n} values is expected"))
        })?;
        if self.batch > 1 {
            if dims.first() != Some(&Dim::Open) || fixed[0] != 1 {
                return Err(Refusal::File("its first dimension is not open".into()));
            }
            fixed[0] = self.batch;
        }
        let input = self.buffer(self.batch * shape.rows * shape.features);
        self.known.insert(*value, Known::Computed { dims: fixed, slot: input });
        let mut states = Vec::new();
        for (name, _) in &shape.states {
            let (value, dims) = find(name)?;
            let fixed: Vec<usize> = dims.iter().map(|dim| if let Dim::Fixed(n) = dim { *n } else { 1 }).collect();
            let len = fixed.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MOST_VALUES);
            let len = len.ok_or_else(|| Refusal::File(format!("its state `{name}` {dims:?} is too large")))?;
            let slot = self.buffer(len);
            self.known.insert(*value, Known::Computed { dims: fixed, slot });
            states.push((slot, len));
        }
        Ok((input, states))
    }

    /// Buffer and length of a value that leaves the graph.
    fn result(&mut self, value: Value) -> Result<(Slot, usize), Refusal> {
        if matches!(self.known.get(&value), None | Some(Known::Constant(Tensor { data: Data::I64(_), .. }))) {
            let name = &self.graph.names[value];
            return Err(Refusal::File(format!("output `{name}` is not of a kind that is taken")));
        }
        let (dims, slot) = self.computed(value);
        Ok((slot, dims.iter().product()))
    }

    /// Refuses buffers that are too large in sum, within a node that makes many.
    fn room(&self, node: &Node) -> Result<(), Refusal> {
        let new: usize = self.buffers[self.counted..].iter().map(|buffer| buffer.0.len() * LANES).sum();
        if self.values + new > MOST_VALUES {
            return Err(node.refuse("the buffers of all steps up to it are too large"));
        }
        Ok(())
    }

    /// Refuses what grows: each buffer and constant is small enough, all together may not be.
    fn count(&mut self, node: &Node) -> Result<(), Refusal> {
        let new: usize = self.buffers[self.counted..].iter().map(|buffer| buffer.0.len() * LANES).sum();
        self.counted = self.buffers.len();
        let constants = node.outputs.iter().flatten().filter_map(|value| match self.known.get(value) {
            Some(Known::Constant(tensor)) => Some(tensor.dims.iter().product::<usize>()),
            _ => None,
        });
        self.values += new + constants.sum::<usize>();
        if self.values > MOST_VALUES {
            return Err(node.refuse("the buffers of all steps up to it are too large"));
        }
        Ok(())
    }

    /// A node: computed now when all its inputs are constant, else turned into steps.
    fn node(&mut self, node: &Node) -> Result<(), Refusal> {
        let constant =
            node.inputs.iter().flatten().all(|value| matches!(self.known.get(value), Some(Known::Constant(_))));
        if constant && let Some(tensors) = self.fold(node)? {
            for (value, tensor) in node.outputs.iter().flatten().zip(tensors) {
                self.known.insert(*value, Known::Constant(tensor));
            }
            return Ok(());
        }
        let first = self.steps.len();
        self.check_whole(node)?;
        let whole = self.gives_whole(node);
        self.lower(node)?;
        if whole {
            self.whole.extend(node.outputs.iter().flatten());
        }
        if constant {
            self.compute_now(first, node);
        }
        Ok(())
    }

    /// Runs the steps from `first` on, whose inputs are all constant, and keeps their results as constants.
    fn compute_now(&mut self, first: usize, node: &Node) {
        for &value in node.outputs.iter().flatten() {
            if self.known.contains_key(&value) {
                self.computed(value);
            }
        }
        for step in self.steps.drain(first..) {
            step.run(Portable, &mut Memory::of(&mut self.buffers));
        }
        for value in node.outputs.iter().flatten() {
            if let Some(Known::Computed { dims, slot }) = self.known.get(value) {
                let count = dims.iter().product();
                let values = self.buffers[*slot].values()[..count].to_vec();
                self.known.insert(*value, Known::Constant(Tensor::f32(dims.clone(), values)));
            }
        }
    }

    fn lower(&mut self, node: &Node) -> Result<(), Refusal> {
        match node.op.as_str() {
            "Dropout" if self.ints(node, 2)?.is_some_and(|training| training.contains(&1)) => {
                Err(node.refuse("training_mode is not taken"))
            }
            "Identity" | "Dropout" => self.alias(node, None),
            "Gemm" if self.is_computed(node, 1) => self.gemm_computed(node),
            "Gemm" => self.gemm(node),
            "MatMul" if self.has_vector(node) => self.mat_mul_vector(node),
            "MatMul" => self.mat_mul(node),
            "Conv" => self.conv(node),
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" => self.pool(node),
            "BatchNormalization" => self.batch_norm(node),
            "LayerNormalization" => self.layer_norm(node),
            "RMSNormalization" => self.rms_norm(node),
            "InstanceNormalization" | "GroupNormalization" => self.group_norm(node),
            "Softmax" | "LogSoftmax" => self.softmax(node),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL1" | "ReduceL2" | "ReduceSumSquare"
            | "ReduceProd" | "ReduceLogSum" | "ReduceLogSumExp" => self.reduce(node),
            "ArgMax" | "ArgMin" => self.arg(node),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Max" | "Min" | "Sum" | "Mean" | "PRelu" => self.binary(node),
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "Einsum" => self.einsum(node),
            "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Equal" | "And" | "Or" | "Xor" => {
                self.compare(node)
            }
            "Where" => self.choose(node),
            "Transpose" | "Slice" | "Gather" | "Expand" | "Pad" | "Tile" | "Trilu" => self.rearrange(node),
            "Concat" => self.concat(node),
            "Split" => self.split(node),
            "LSTM" | "GRU" | "RNN" => self.recurrent(node),
            "Cast" | "CastLike" => self.cast(node),
            "Shape" | "Size" => self.shape_of(node),
            op if op.starts_with("ml.") => self.ml(node),
            _ => self.unary(node),
        }
    }

    /// A buffer for `values` values, and a spare row's worth of blocks is the caller's to add.
    fn buffer(&mut self, values: usize) -> Slot {
        self.buffers.push(Buffer::zeros(values));
        self.buffers.len() - 1
    }

    /// What is known of an input.
    fn value(&self, node: &Node, i: usize) -> Result<&Known, Refusal> {
        let value = node.input(i)?;
        self.known.get(&value).ok_or_else(|| node.refuse(format!("input {i} is not of a kind that is taken")))
    }

    /// Shape and buffer of an input; a constant gets a buffer that no step writes.
    fn computed_input(&mut self, node: &Node, i: usize) -> Result<(Vec<usize>, Slot), Refusal> {
        if let Known::Constant(Tensor { data: Data::I64(_), .. }) = self.value(node, i)? {
            return Err(node.refuse(format!("input {i} is of integers, where floats are taken")));
        }
        let (dims, slot) = self.computed(node.input(i)?);
        if dims.contains(&0) {
            return Err(node.refuse(format!("input {i} has no values")));
        }
        Ok((dims, slot))
    }

    /// Whether input `i` is there and not constant.
    fn is_computed(&self, node: &Node, i: usize) -> bool {
        node.optional(i).is_some_and(|value| matches!(self.known.get(&value), Some(Known::Computed { .. })))
    }

    /// Whether one of two computed operands, or constant weights, are a vector.
    fn has_vector(&self, node: &Node) -> bool {
        let rank = |i| self.dims(node, i).map_or(2, |dims| dims.len());
        rank(1) == 1 || (rank(0) == 1 && self.is_computed(node, 1))
    }

    fn computed(&mut self, value: Value) -> (Vec<usize>, Slot) {
        let (dims, buffer) = match &self.known[&value] {
            Known::Computed { dims, slot } => {
                let (dims, slot) = (dims.clone(), *slot);
                self.turn_back(slot);
                return (dims, slot);
            }
            Known::Constant(tensor) => {
                if let Some(&slot) = self.placed.get(&value) {
                    return (tensor.dims.clone(), slot);
                }
                let values: Vec<f32> = match &tensor.data {
                    Data::F32(values) => values.clone(),
                    Data::I64(values) => values.iter().map(|&v| v as f32).collect(),
                };
                (tensor.dims.clone(), Buffer::from_values(&values))
            }
        };
        self.buffers.push(buffer);
        self.placed.insert(value, self.buffers.len() - 1);
        (dims, self.buffers.len() - 1)
    }

    /// A constant input of floats.
    fn floats(&self, node: &Node, i: usize) -> Result<Option<&Tensor>, Refusal> {
        if node.optional(i).is_none() {
            return Ok(None);
        }
        match self.value(node, i)? {
            Known::Constant(tensor) if tensor.floats().is_some() => Ok(Some(tensor)),
            _ => Err(node.refuse(format!("input {i} is not constant"))),
        }
    }

    /// A constant input of integers.
    fn ints(&self, node: &Node, i: usize) -> Result<Option<Vec<i64>>, Refusal> {
        if node.optional(i).is_none() {
            return Ok(None);
        }
        match self.value(node, i)? {
            Known::Constant(tensor) if tensor.ints().is_some() => Ok(tensor.ints().map(<[i64]>::to_vec)),
            _ => Err(node.refuse(format!("input {i} is not a constant of integers"))),
        }
    }

    /// A new value of `dims` for the node's output.
    fn define(&mut self, node: &Node, dims: Vec<usize>) -> Result<Slot, Refusal> {
        let count = dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|n| (1..=MOST_VALUES).contains(n));
        let count = count.ok_or_else(|| node.refuse(format!("its output would be {dims:?}: empty or too large")))?;
        let slot = self.buffer(count);
        self.known.insert(node.output()?, Known::Computed { dims, slot });
        Ok(slot)
    }

    /// The output is input 0 in another shape.
    fn alias(&mut self, node: &Node, dims: Option<Vec<usize>>) -> Result<(), Refusal> {
        let known = match (self.value(node, 0)?.clone(), dims) {
            (known, None) => known,
            (Known::Computed { slot, .. }, Some(dims)) => Known::Computed { dims, slot },
            (Known::Constant(tensor), Some(dims)) => Known::Constant(Tensor { dims, data: tensor.data }),
        };
        if let (Some(value), Known::Computed { slot, .. }) = (node.optional(0), &known)
            && self.uses.get(&value) != Some(&1)
        {
            self.shared.insert(*slot);
        }
        self.known.insert(node.output()?, known);
        Ok(())
    }

    /// The last step, if it made `slot` and nobody but this node reads it: then it may take this node in.
    fn fusable(&mut self, node: &Node, i: usize) -> Option<&mut Step> {
        let value = node.optional(i)?;
        let Some(Known::Computed { slot, .. }) = self.known.get(&value) else { return None };
        let (slot, once) = (*slot, self.uses.get(&value) == Some(&1) && !self.shared.contains(slot));
        let slot = self.turned.get(&slot).filter(|turned| !turned.back).map_or(slot, |turned| turned.rows);
        let once = once && !self.shared.contains(&slot);
        self.steps.last_mut().filter(|step| once && step.target() == slot)
    }
}

/// The input's dimensions: open ones are a batch of 1, or the window's rows where these are missing.
fn rows_of(dims: &[Dim], shape: &Shape) -> Option<Vec<usize>> {
    let mut fixed: Vec<usize> = dims.iter().map(|dim| if let Dim::Fixed(n) = dim { *n } else { 1 }).collect();
    let wanted = shape.rows * shape.features;
    let count = |dims: &[usize]| dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    if count(&fixed) != Some(wanted)
        && let Some(rows) = dims.iter().rposition(|dim| *dim == Dim::Open)
    {
        fixed[rows] = shape.rows;
    }
    (count(&fixed) == Some(wanted)).then_some(fixed)
}

/// An axis of a tensor of `rank`, counted from the end when negative.
fn axis(node: &Node, axis: i64, rank: usize) -> Result<usize, Refusal> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted)
        .ok()
        .filter(|&axis| axis < rank)
        .ok_or_else(|| node.refuse(format!("axis {axis} of {rank} dimensions")))
}

/// Distance in values between neighbours along each axis.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        strides[i - 1] = strides[i] * dims[i];
    }
    strides
}
