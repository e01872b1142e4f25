//! What an ONNX file takes and gives, as far as its graph tells: for `pillion model check` and `new`, which have no manifest.

use crate::engine::Shape;
use crate::engine::inspect::Port;

/// Most values of a window: far above any model that runs beside an order gateway.
const MOST_VALUES: usize = 1 << 20;

/// What the user says of the file; the graph is asked for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Values of a row.
    pub features: Option<usize>,
    /// Rows of the window.
    pub window: Option<usize>,
    /// Pairs of a state's input and the output that is its next value.
    pub states: Vec<(String, String)>,
    /// Outputs that are published.
    pub outputs: Vec<String>,
    /// A window has a row for each feature, and not one for each event.
    pub channels_first: bool,
    /// The number of features is that of a feature set.
    pub by_set: bool,
}

/// Why there is no telling, and the flag that would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// What is unclear.
    pub problem: String,
    /// The flag to give.
    pub mend: String,
}

pub(super) fn unclear<T>(problem: impl Into<String>, mend: impl Into<String>) -> Result<T, Unclear> {
    Err(Unclear { problem: problem.into(), mend: mend.into() })
}

/// The shape, with `values` 0: outputs are often of open dimensions, which only a run tells.
///
/// # Errors
/// More than one reading of the graph.
pub fn shape(inputs: &[Port], outputs: &[Port], told: &Told) -> Result<Shape, Unclear> {
    if let Some(other) = inputs.iter().find(|port| !port.is_float()) {
        return no_floats(other);
    }
    let (states, row) = states_and_row(inputs, outputs, told)?;
    let (rows, features) = rows_and_features(row, told)?;
    let published = published(outputs, &states, told)?;
    let input = row.name.clone();
    Ok(Shape { input, features, rows, outputs: published, values: 0, states, warmup: rows })
}

/// Refuses an input that is of no floats.
pub(super) fn no_floats<T>(port: &Port) -> Result<T, Unclear> {
    let mend = match port.kind.as_str() {
        "string" => "features are numbers: leave that column out, or make numbers of it before the model",
        "float64" | "float16" | "bfloat16" => "export the model with this input as float32",
        _ => {
            "export the model with float32 inputs: for a data frame, train and export with df.astype(\"float32\"); for \
             skl2onnx, initial_types of FloatTensorType"
        }
    };
    unclear(format!("input `{}` is {}, where float32 is taken", port.name, port.text()), mend)
}

/// The input that takes the rows.
///
/// # Errors
/// Several may.
pub fn row_input<'a>(inputs: &'a [Port], outputs: &[Port], told: &Told) -> Result<&'a str, Unclear> {
    states_and_row(inputs, outputs, told).map(|(_, row)| row.name.as_str())
}

/// Dimensions of each input for one run of this shape: open ones are a batch of 1, or the window's rows.
#[must_use]
pub fn dims(inputs: &[Port], shape: &Shape) -> Vec<Vec<usize>> {
    let of = |port: &Port| {
        let mut dims: Vec<usize> = port.dims.iter().map(|dim| dim.unwrap_or(1)).collect();
        let open: Vec<usize> = (0..dims.len()).filter(|&i| port.dims[i].is_none()).collect();
        let wanted = shape.rows * shape.features;
        if port.name == shape.input && dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) != Some(wanted) {
            match open[..] {
                [.., rows, features] if features + 1 == dims.len() => {
                    (dims[rows], dims[features]) = (shape.rows, shape.features);
                }
                [.., one] if one + 1 == dims.len() => dims[one] = shape.features,
                [.., one] => dims[one] = shape.rows,
                [] => {}
            }
        }
        dims
    };
    inputs.iter().map(of).collect()
}

type States = Vec<(String, String)>;

/// State inputs with their next values, and the input that is left: the rows.
fn states_and_row<'a>(inputs: &'a [Port], outputs: &[Port], told: &Told) -> Result<(States, &'a Port), Unclear> {
    let has = |ports: &[Port], name: &str| ports.iter().any(|port| port.name == name);
    for (input, output) in &told.states {
        for (ports, name, what) in [(inputs, input, "input"), (outputs, output, "output")] {
            if !has(ports, name) {
                let problem =
                    format!("--state {input}={output}: the graph has no {what} `{name}`, but {}", names(ports));
                return unclear(problem, "name them as the graph does");
            }
        }
    }
    let states = match inputs {
        [_] => Vec::new(),
        _ if !told.states.is_empty() => told.states.clone(),
        _ => by_name(inputs, outputs).or_else(|| by_shape(inputs, outputs)).unwrap_or_default(),
    };
    let left: Vec<&Port> = inputs.iter().filter(|port| states.iter().all(|(input, _)| *input != port.name)).collect();
    match left[..] {
        [row] => Ok((states, row)),
        [] => unclear("no input is left for the rows", "name the states alone with --state INPUT=OUTPUT,…"),
        _ => {
            let problem = format!("it has the inputs {} and the outputs {}", names(inputs), names(outputs));
            let mend = "name every state, input and next value, with --state INPUT=OUTPUT,…; inputs that are no states must be \
                        one input of all features, or one of [batch, 1] for each";
            unclear(problem, mend)
        }
    }
}

/// `h0` and `hn`, `state_in` and `state_out`, `h` and `h_next`: names that are the same but for such a word. All inputs but one.
fn by_name(inputs: &[Port], outputs: &[Port]) -> Option<States> {
    const BEFORE: [&str; 6] = ["in", "prev", "previous", "old", "init", "initial"];
    const AFTER: [&str; 7] = ["out", "next", "new", "final", "n", "t", "last"];
    let stem = |name: &str, words: &[&str]| {
        let name = name.to_lowercase();
        let parts = name.split(['_', '.', '/']).map(|part| part.trim_end_matches('0'));
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
        let kept: Vec<&str> = parts.iter().copied().filter(|part| !words.contains(part)).collect();
        let stem = kept.join("_");
        // `hn`, `cn`: the word without a space.
        if kept.len() == parts.len() && words.contains(&"n") && stem.len() == 2 {
            stem.trim_end_matches('n').to_owned()
        } else {
            stem
        }
    };
    let next_of = |input: &Port| {
        let own = stem(&input.name, &BEFORE);
        let fits = |output: &&Port| stem(&output.name, &AFTER) == own && fits(input, output);
        let mut found = outputs.iter().filter(fits);
        let (first, second) = (found.next(), found.next());
        first.filter(|_| second.is_none()).map(|output| (input.name.clone(), output.name.clone()))
    };
    all_but_one(inputs, inputs.iter().filter_map(next_of).collect())
}

/// Inputs that have one output of exactly their dimensions, which no other input has. All inputs but one.
fn by_shape(inputs: &[Port], outputs: &[Port]) -> Option<States> {
    let next_of = |input: &Port| {
        let mut found = outputs.iter().filter(|output| output.is_float() && output.dims == input.dims);
        let (first, second) = (found.next(), found.next());
        let twin = inputs.iter().any(|other| other.name != input.name && other.dims == input.dims);
        first.filter(|_| second.is_none() && !twin).map(|output| (input.name.clone(), output.name.clone()))
    };
    all_but_one(inputs, inputs.iter().filter_map(next_of).collect())
}

fn all_but_one(inputs: &[Port], states: States) -> Option<States> {
    let mut next: Vec<&String> = states.iter().map(|(_, output)| output).collect();
    next.sort();
    next.dedup();
    (states.len() + 1 == inputs.len() && next.len() == states.len()).then_some(states)
}

/// Whether an output may be an input's next value: no dimension says otherwise.
fn fits(input: &Port, output: &Port) -> bool {
    let open = |dims: &[Option<usize>]| dims.is_empty() || dims.contains(&None);
    output.is_float() && (open(&input.dims) || open(&output.dims) || input.dims == output.dims)
}

/// Rows of the window and values of a row, from the input's dimensions less those of the batch.
fn rows_and_features(row: &Port, told: &Told) -> Result<(usize, usize), Unclear> {
    let named = format!("input `{}` is {}", row.name, row.text());
    // The first dimension of several is the batch where it is open; a dimension of 1 holds nothing.
    let skip = usize::from(row.dims.len() > 1 && row.dims[0].is_none());
    let long: Vec<Option<usize>> = row.dims[skip..].iter().copied().filter(|&dim| dim != Some(1)).collect();
    let (rows, features) = match long[..] {
        [] => (Some(1), Some(1)),
        [features] => (None, features),
        [rows, features] => (Some(rows).flatten(), features),
        _ => (None, None),
    };
    let two = long.len() == 2;
    // Of two dimensions without a batch before them the first may as well be a batch.
    if let [Some(first), ..] = row.dims[..]
        && first > 1
        && long.len() > 1
        && told.window.is_none()
    {
        let one = "export the model with a batch of 1 or an open one";
        return match two {
            true => unclear(
                format!("{named}: its first dimension is fixed at {first}, which may be a batch or a window"),
                format!("{one}; if it is a window of the latest {first} rows, say so with --window {first}"),
            ),
            false => unclear(format!("{named}: its batch is fixed at {first}"), one),
        };
    }
    let features = match (told.features, features) {
        (Some(told), _) => told,
        (None, Some(features)) => features,
        (None, None) if long.len() > 2 => {
            return unclear(
                format!("{named}, which has more dimensions than a batch, rows and features"),
                "export the model for an input of [batch, rows, features]",
            );
        }
        (None, None) => {
            return unclear(format!("{named}: how long is a row?"), "give --features N, and --window N for a window");
        }
    };
    let rows = match (told.window, rows) {
        (Some(told), _) => told,
        (None, Some(rows)) => rows,
        (None, None) if two => {
            return unclear(format!("{named}: how many rows?"), "give --window N, the rows of the window");
        }
        (None, None) => 1,
    };
    let fixed = row.dims.iter().try_fold(1_usize, |n, dim| n.checked_mul(dim.unwrap_or(1)));
    let open = row.dims.iter().any(Option::is_none);
    let fits = |n: usize| if open { fixed.is_some_and(|fixed| n.is_multiple_of(fixed)) } else { fixed == Some(n) };
    // One long dimension that is fixed is a row, or the whole window; where all are 1 it is 1.
    let wide = match long[..] {
        [] if !row.dims.is_empty() => Some(1),
        [one] => one,
        _ => None,
    };
    let whole = |n: usize| wide.is_none_or(|wide| wide == features || wide == n);
    let values = rows.checked_mul(features).filter(|&n| n > 0 && fits(n) && whole(n));
    match values {
        None => {
            let problem = format!("{named}, which is not {rows} rows of {features} values");
            return unclear(problem, misfit(&long, features, told));
        }
        Some(values) if values > MOST_VALUES => {
            let problem = format!("{named}: a window of {values} values, at most {MOST_VALUES} are taken");
            return unclear(problem, "export the model for a shorter window");
        }
        Some(_) => {}
    }
    Ok((rows, features))
}

/// What mends a number of features that the graph does not have.
fn misfit(long: &[Option<usize>], features: usize, told: &Told) -> String {
    match *long {
        [Some(channels), Some(rows)] if channels == features && rows != features => {
            format!("if it is {channels} channels of {rows} values each, say so with --layout channels-first")
        }
        [.., Some(n)] if told.by_set => of_another_set(n),
        [] if told.by_set => of_another_set(1),
        _ if told.by_set => {
            "name the set that it was trained on with --features, and the rows of a window with --window N".into()
        }
        _ => "give --features N and --window N as the graph has them".into(),
    }
}

fn of_another_set(n: usize) -> String {
    let features = if n == 1 { "feature" } else { "features" };
    format!(
        "name the set that it was trained on, of {n} {features}, with --features, or train the model on the features of this one"
    )
}

/// Outputs to publish: those named, or all floats that are no state's next value.
fn published(outputs: &[Port], states: &[(String, String)], told: &Told) -> Result<Vec<String>, Unclear> {
    if !told.outputs.is_empty() {
        if let Some(port) = outputs.iter().find(|port| told.outputs.contains(&port.name) && !port.is_number()) {
            let problem = format!("output `{}` is {}, which is no tensor of numbers", port.name, port.text());
            return unclear(problem, "name another with --output");
        }
        return match told.outputs.iter().find(|name| outputs.iter().all(|port| port.name != **name)) {
            None => Ok(told.outputs.clone()),
            Some(name) => {
                unclear(format!("the graph has no output `{name}`, but {}", names(outputs)), "name one with --output")
            }
        };
    }
    let free = |port: &&Port| port.is_any_float() && states.iter().all(|(_, next)| *next != port.name);
    let names_of: Vec<String> = outputs.iter().filter(free).map(|port| port.name.clone()).collect();
    if names_of.is_empty() {
        let problem =
            format!("none of its outputs is a tensor of floats that is free to be published: {}", names(outputs));
        let number = outputs.iter().find(|port| port.is_number() && states.iter().all(|(_, next)| *next != port.name));
        let mend = match number {
            Some(port) => {
                format!("give --output {}, to publish integers as numbers, or export the model with scores", port.name)
            }
            None => "export the model with an output of scores or probabilities".into(),
        };
        return unclear(problem, mend);
    }
    Ok(names_of)
}

fn names(ports: &[Port]) -> String {
    ports.iter().map(|port| format!("`{}` {}", port.name, port.text())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Port, Told, dims, shape};

    fn port(name: &str, dims: &[i64]) -> Port {
        Port {
            name: name.into(),
            kind: "float32".into(),
            dims: dims.iter().map(|&d| usize::try_from(d).ok()).collect(),
        }
    }

    #[test]
    fn rows_windows_and_batches_are_told_apart() {
        let y = [port("y", &[-1, 3])];
        for (x, told, wanted) in [
            (vec![41], (None, None), Some((1, 41))),
            (vec![1, 41], (None, None), Some((1, 41))),
            (vec![-1, 41], (None, None), Some((1, 41))),
            (vec![50, 40], (None, Some(50)), Some((50, 40))),
            // A batch, or a window: nobody knows.
            (vec![50, 40], (None, None), None),
            (vec![4, 24], (Some(24), None), None),
            (vec![-1, 50, 40], (None, None), Some((50, 40))),
            (vec![-1, 1, 100, 40], (None, None), Some((100, 40))),
            (vec![-1, -1, 40], (None, Some(20)), Some((20, 40))),
            (vec![-1, -1], (Some(7), None), Some((1, 7))),
            (vec![-1, 40], (None, Some(20)), Some((20, 40))),
            (vec![-1, -1, 40], (None, None), None),
            (vec![-1, -1], (None, None), None),
            (vec![2, 3, 4], (None, None), None),
            (vec![5, 4], (Some(3), None), None),
            (vec![-1, 40], (Some(7), None), None),
            // A width of 1 is one of a row, not of any; nor is one of 40 that of two.
            (vec![-1, 1], (Some(41), None), None),
            (vec![1, 1], (Some(41), None), None),
            (vec![-1, 1], (Some(1), None), Some((1, 1))),
            (vec![-1, 1], (None, Some(20)), Some((20, 1))),
            (vec![-1, 40], (Some(80), None), None),
            (vec![-1, 800], (Some(40), Some(20)), Some((20, 40))),
        ] {
            let (features, window) = told;
            let inputs = [port("x", &x)];
            let found = shape(&inputs, &y, &Told { features, window, ..Told::default() });
            assert_eq!(found.as_ref().ok().map(|s| (s.rows, s.features)), wanted, "{x:?}: {found:?}");
            if let Ok(shape) = found {
                let values: usize = dims(&inputs, &shape)[0].iter().product();
                assert_eq!(values, shape.rows * shape.features, "{x:?}");
            }
        }
    }

    #[test]
    fn states_are_found_by_name_or_shape_or_asked_for() {
        let pairs = |ins: &[Port], outs: &[Port]| shape(ins, outs, &Told::default()).map(|s| (s.input, s.states));
        let (x, y) = (port("x", &[1, 8]), port("y", &[1, 3]));
        for (h, hn, c, cn) in [
            ("h0", "hn", "c0", "cn"),
            ("h_0", "h_n", "c_0", "c_n"),
            ("h_in", "h_out", "c_in", "c_out"),
            ("h", "h_next", "c", "c_next"),
            ("h_0", "h_0_next", "c_0", "c_0_next"),
            ("prev_h", "new_h", "prev_c", "new_c"),
        ] {
            let ins = [x.clone(), port(h, &[1, 1, 4]), port(c, &[1, 1, 4])];
            let outs = [y.clone(), port(hn, &[1, -1, 4]), port(cn, &[1, -1, 4])];
            let wanted = vec![(h.to_owned(), hn.to_owned()), (c.to_owned(), cn.to_owned())];
            assert_eq!(pairs(&ins, &outs), Ok(("x".to_owned(), wanted)));
        }
        let memory = [x.clone(), port("memory", &[1, 5])];
        let found = pairs(&memory, &[y.clone(), port("later", &[1, 5])]).unwrap();
        assert_eq!(found.1, [("memory".to_owned(), "later".to_owned())]);
        let twins = [x, port("a", &[1, 5]), port("b", &[1, 5])];
        let unclear = pairs(&twins, &[y, port("p", &[1, 5]), port("q", &[1, 5])]).unwrap_err();
        assert!(unclear.mend.contains("--state"), "{unclear:?}");
    }
}
