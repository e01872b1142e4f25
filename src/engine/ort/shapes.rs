//! What a graph takes and gives, held against a model's shape: dimensions, where the batch stands, whose values go where.
#![forbid(unsafe_code)]

use ::ort::value::{Outlet, TensorElementType, ValueType};

use super::super::seats::Seats;
use super::super::{EngineError, Shape};

/// Most values of one state: a recurrent cell has thousands. A file that says otherwise is refused before it is believed.
const MAX_STATE: i64 = 1 << 24;

/// Whose values a tensor holds, for each seat of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The rows that the seat has taken.
    Window,
    /// Its states, from this place on.
    State(usize),
    /// The caller's outputs of a seat, from this place on.
    Output(usize),
}

/// One input or output of the graph.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub name: String,
    /// Dimensions for a batch of 1.
    dims: Vec<i64>,
    /// Which of them is the batch; none where the graph has one seat at a time.
    batch: Option<usize>,
    /// Values of one seat.
    pub values: usize,
    /// Values that lie together: those behind the batch.
    run: usize,
    pub places: Vec<Place>,
}

impl Port {
    fn new(name: &str, dims: Vec<i64>, batch: Option<usize>, places: Vec<Place>) -> Self {
        let values = product(&dims) as usize;
        let run = batch.map_or(values, |at| product(&dims[at + 1..]) as usize);
        Self { name: name.to_owned(), dims, batch, values, run, places }
    }

    /// Dimensions for a batch of `n`.
    pub fn dims(&self, n: usize) -> Vec<i64> {
        let mut dims = self.dims.clone();
        self.batch.into_iter().for_each(|at| dims[at] = n as i64);
        dims
    }

    /// Writes one seat's values into a tensor of a batch of `n`, as seat `b` of it.
    #[inline]
    pub fn put(&self, n: usize, b: usize, tensor: &mut [f32], values: &[f32]) {
        let run = self.run;
        for (outer, part) in values.chunks_exact(run).enumerate() {
            tensor[(outer * n + b) * run..][..run].copy_from_slice(part);
        }
    }

    /// The way back.
    #[inline]
    pub fn get(&self, n: usize, b: usize, tensor: &[f32], values: &mut [f32]) {
        let run = self.run;
        for (outer, part) in values.chunks_exact_mut(run).enumerate() {
            part.copy_from_slice(&tensor[(outer * n + b) * run..][..run]);
        }
    }
}

/// All of them, in the graph's order of inputs and the shape's order of outputs.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// Values of all states of a seat.
    pub states: usize,
    /// Whether several seats may go into one run.
    pub batches: bool,
}

impl Layout {
    /// Writes what input `i` is to hold for these seats into its tensor for a batch of `n`.
    #[inline]
    pub fn gather(&self, i: usize, n: usize, chosen: &[usize], seats: &Seats, tensor: &mut [f32]) {
        let port = &self.inputs[i];
        for (b, &seat) in chosen.iter().enumerate() {
            port.put(
                n,
                b,
                tensor,
                match port.places[0] {
                    Place::State(at) => &seats.states(seat)[at..][..port.values],
                    Place::Window | Place::Output(_) => seats.window(seat),
                },
            );
        }
    }

    /// Hands what output `i` holds after a run to the seats, at least one, and to `outputs`, as many values for each of them.
    #[inline]
    pub fn scatter(
        &self,
        i: usize,
        n: usize,
        chosen: &[usize],
        seats: &mut Seats,
        tensor: &[f32],
        outputs: &mut [f32],
    ) {
        let (port, each) = (&self.outputs[i], outputs.len() / chosen.len());
        for (b, &seat) in chosen.iter().enumerate() {
            for &place in &port.places {
                let (to, at) = match place {
                    Place::State(at) => (seats.states_mut(seat), at),
                    Place::Output(at) => (&mut outputs[b * each..][..each], at),
                    Place::Window => continue,
                };
                port.get(n, b, tensor, &mut to[at..][..port.values]);
            }
        }
    }
}

/// The inputs of the graph, or why they are not the shape's.
pub(super) fn inputs(graph: &[Outlet], given: &[Outlet], shape: &Shape) -> Result<(Vec<Port>, usize), EngineError> {
    let refused = |got: String| {
        let text = format!("the model takes {got}, where one input {} is expected", expected(shape));
        Err(EngineError::Graph(text))
    };
    if graph.len() != 1 + shape.states.len() {
        return refused(format!("{} inputs ({})", graph.len(), names(graph)));
    }
    let (mut ports, mut states, mut batch) = (Vec::new(), 0, String::new());
    // The window first: the name of its batch tells that of a state with two open dimensions.
    let order = graph.iter().filter(|input| input.name() == shape.input);
    for input in order.chain(graph.iter().filter(|input| input.name() != shape.input)) {
        let float = input.dtype().tensor_type() == Some(TensorElementType::Float32);
        let carried = shape.states.iter().any(|(state, _)| state == input.name());
        let fitted = if input.name() == shape.input {
            window(input, given, shape)
        } else {
            carried.then(|| state(input, &batch)).flatten()
        };
        let Some((dims, at)) = fitted.filter(|_| float) else {
            let fixed = fixed_batch(input, shape).map_or(String::new(), |n| {
                format!(
                    " with its first dimension fixed at {n} (export it with a batch of 1 or an open one, \
                     or say window = {n} in the manifest),"
                )
            });
            return refused(format!("`{}` of type {}{fixed}", input.name(), input.dtype()));
        };
        let place = if input.name() == shape.input {
            batch = at.and_then(|at| symbol(input, at)).unwrap_or_default().to_owned();
            Place::Window
        } else {
            states += product(&dims) as usize;
            Place::State(states - product(&dims) as usize)
        };
        ports.push(Port::new(input.name(), dims, at, vec![place]));
    }
    let of = |name: &str| graph.iter().position(|input| input.name() == name);
    ports.sort_by_key(|port| of(&port.name));
    Ok((ports, states))
}

/// The outputs, from the dimensions a run for one seat gave and, where a run for two went well, those.
pub(super) fn outputs(
    one: &[(String, Vec<i64>)],
    two: Option<&[(String, Vec<i64>)]>,
    inputs: &[Port],
    shape: &Shape,
) -> Result<Vec<Port>, EngineError> {
    let len = |name: &str| one.iter().find(|(n, _)| n == name).map_or(0, |(_, dims)| product(dims) as usize);
    let total: usize = shape.outputs.iter().map(|name| len(name)).sum();
    if total != shape.values {
        let each: Vec<String> = shape.outputs.iter().map(|name| format!("`{name}` {}", len(name))).collect();
        let text = format!("the outputs give {total} values ({}), {} are expected", each.join(", "), shape.values);
        return Err(EngineError::Graph(text));
    }
    let mut ports = Vec::new();
    for (i, (name, dims)) in one.iter().enumerate() {
        let mut places = Vec::new();
        for (place, _) in shape.outputs.iter().enumerate().filter(|(_, output)| *output == name) {
            places.push(Place::Output(shape.outputs[..place].iter().map(|name| len(name)).sum()));
        }
        for (state, _) in shape.states.iter().filter(|(_, next)| next == name) {
            let input = inputs.iter().find(|input| input.name == *state).expect("every state is an input: checked");
            if input.values != len(name) {
                let (got, wanted) = (len(name), input.values);
                let text = format!("output `{name}` gives {got} values, and is to be the next `{state}` of {wanted}");
                return Err(EngineError::Graph(text));
            }
            places.push(input.places[0]);
        }
        let batch = two.and_then(|two| doubled(dims, &two[i].1));
        ports.push(Port::new(name, dims.clone(), batch, places));
    }
    Ok(ports)
}

/// Whether a run gives other dimensions than the file declares of an output, of one seat or of two.
pub(super) fn contradicts(graph: &[Outlet], layout: &Layout) -> bool {
    layout.outputs.iter().any(|port| {
        let declared = graph.iter().find(|output| output.name() == port.name).and_then(|o| o.dtype().tensor_shape());
        let fits = |dims: Vec<i64>| {
            declared.is_some_and(|declared| {
                declared.len() == dims.len()
                    && declared.iter().zip(&dims).all(|(&said, &dim)| said == -1 || said == dim)
            })
        };
        !fits(port.dims(1)) || (layout.batches && !fits(port.dims(2)))
    })
}

/// The one dimension that is 1 in a run for one seat and 2 in a run for two, all others being equal.
fn doubled(one: &[i64], two: &[i64]) -> Option<usize> {
    let differ: Vec<usize> = (0..one.len()).filter(|&i| one.get(i) != two.get(i)).collect();
    let [at] = differ[..] else { return None };
    (one.len() == two.len() && (one[at], two[at]) == (1, 2)).then_some(at)
}

/// Dimensions of the window for one seat, and where its batch is.
fn window(input: &Outlet, given: &[Outlet], shape: &Shape) -> Option<(Vec<i64>, Option<usize>)> {
    let mut dims = input.dtype().tensor_shape()?.to_vec();
    let open: Vec<usize> = (0..dims.len()).filter(|&i| dims[i] == -1).collect();
    let (rows, values) = (shape.rows as i64, (shape.rows * shape.features) as i64);
    dims.iter_mut().for_each(|dim| *dim = dim.abs());
    let whole = checked(&dims)? == values;
    // Of two open dimensions the batch is the one that the outputs have too, else the first; the other are the rows.
    let shared = |&&at: &&usize| symbol(input, at).is_some_and(|name| given.iter().any(|out| has_symbol(out, name)));
    let (batch, at_rows) = match open[..] {
        [] => (None, None),
        [at] if whole => (Some(at), None),
        [at] => (None, Some(at)),
        [first, second] => {
            let batch = *open.iter().find(shared).unwrap_or(&first);
            (Some(batch), Some(first + second - batch))
        }
        _ => return None,
    };
    if let (Some(at), false) = (at_rows, whole) {
        dims[at] = rows;
    }
    (checked(&dims)? == values && row_of(&dims, shape)).then_some((dims, batch))
}

/// The same for a state: of several open dimensions the one named as the window's batch, else the last.
fn state(input: &Outlet, batch: &str) -> Option<(Vec<i64>, Option<usize>)> {
    let mut dims = input.dtype().tensor_shape()?.to_vec();
    let open: Vec<usize> = (0..dims.len()).filter(|&i| dims[i] == -1).collect();
    dims.iter_mut().for_each(|dim| *dim = dim.abs());
    let named = open.iter().find(|&&at| !batch.is_empty() && symbol(input, at) == Some(batch));
    let values = checked(&dims)?;
    (1..=MAX_STATE).contains(&values).then(|| (dims, named.or(open.last()).copied()))
}

/// `[n]`, `[1, n]`, and with a window `[rows, n]`, `[1, rows, n]`, or any order of 1 among them, as `[1, 1, rows, n]`.
fn row_of(dims: &[i64], shape: &Shape) -> bool {
    let (n, rows) = (shape.features as i64, shape.rows as i64);
    let long: Vec<i64> = dims.iter().copied().filter(|&dim| dim != 1).collect();
    let wanted: Vec<i64> = [rows, n].into_iter().filter(|&dim| dim != 1).collect();
    long == wanted || long == [rows * n]
}

/// The fixed first dimension of an input that would fit without it.
fn fixed_batch(input: &Outlet, shape: &Shape) -> Option<i64> {
    let dims = input.dtype().tensor_shape().filter(|_| input.name() == shape.input)?;
    let (&first, rest) = dims.split_first()?;
    (first > 1 && checked(rest)? == (shape.rows * shape.features) as i64 && row_of(rest, shape)).then_some(first)
}

fn expected(shape: &Shape) -> String {
    let (n, rows) = (shape.features, shape.rows);
    match rows {
        1 => format!("`{}`, float32 [{n}] or [batch, {n}]", shape.input),
        _ => format!("`{}`, float32 [{rows}, {n}] or [batch, {rows}, {n}]", shape.input),
    }
}

/// Name that the file gives an open dimension.
fn symbol(outlet: &Outlet, at: usize) -> Option<&str> {
    match outlet.dtype() {
        ValueType::Tensor { dimension_symbols, .. } => {
            dimension_symbols.get(at).map(String::as_str).filter(|name| !name.is_empty())
        }
        _ => None,
    }
}

fn has_symbol(outlet: &Outlet, name: &str) -> bool {
    let rank = outlet.dtype().tensor_shape().map_or(0, |dims| dims.len());
    (0..rank).any(|at| symbol(outlet, at) == Some(name))
}

fn product(dims: &[i64]) -> i64 {
    dims.iter().product()
}

/// The product, or none where it is no number.
fn checked(dims: &[i64]) -> Option<i64> {
    dims.iter().try_fold(1_i64, |all, &dim| all.checked_mul(dim))
}

/// Refuses an output that is not there or no float tensor.
pub(super) fn check_output(graph: &[Outlet], name: &str) -> Result<(), EngineError> {
    let Some(output) = graph.iter().find(|output| output.name() == name) else {
        return Err(EngineError::Graph(format!("the model has no output `{name}`; it has {}", names(graph))));
    };
    let dtype = output.dtype();
    if !dtype.is_tensor() {
        let text = format!("output `{name}` is {dtype}, and no tensor (the outputs: {})", names(graph));
        return Err(EngineError::Graph(text));
    }
    if dtype.tensor_type() == Some(TensorElementType::Float32) {
        return Ok(());
    }
    let text = format!("output `{name}` is {dtype}; a float32 tensor is expected (the outputs: {})", names(graph));
    Err(EngineError::Graph(text))
}

fn names(outlets: &[Outlet]) -> String {
    let named: Vec<String> = outlets.iter().map(|outlet| format!("`{}` {}", outlet.name(), outlet.dtype())).collect();
    if named.is_empty() { "none".into() } else { named.join(", ") }
}
