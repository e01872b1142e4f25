//! The columns that a file says it was trained on, held against the features of a set.

use super::guess::{Told, Unclear, no_floats, unclear};
use crate::engine::inspect::Port;

/// The columns of a data frame, which come as inputs of one value each, in the graph's order; none where the inputs are something else.
///
/// # Errors
/// Columns among which one is of no floats, or is wider than a value.
pub fn columns(inputs: &[Port], told: &Told) -> Result<Option<Vec<String>>, Unclear> {
    let one = |port: &Port| matches!(port.dims[..], [None | Some(1), Some(1)]);
    let ones = inputs.iter().filter(|port| one(port)).count();
    // A step of one feature with its states looks so too, and says so by its names or by the flag.
    if inputs.len() < 2 || !told.states.is_empty() || told.window.is_some() || ones * 2 <= inputs.len() {
        return Ok(None);
    }
    if let Some(other) = inputs.iter().find(|port| !port.is_any_float()) {
        return no_floats(other);
    }
    if let Some(wide) = inputs.iter().find(|port| !one(port)) {
        let problem = format!("it has an input for each column, but for `{}`, which is {}", wide.name, wide.text());
        return unclear(problem, "export the model with one input for all columns, or with one for each");
    }
    if let Some(other) = inputs.iter().find(|port| port.kind != inputs[0].kind) {
        let problem =
            format!("input `{}` is {}, where `{}` is {}", other.name, other.kind, inputs[0].name, inputs[0].kind);
        return unclear(problem, "train and export with df.astype(\"float32\")");
    }
    Ok(Some(inputs.iter().map(|port| port.name.clone()).collect()))
}

/// A column's name as an exporter writes it: what is neither a letter nor a digit becomes `_`, and a first digit gets one.
fn sanitised(name: &str) -> String {
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    let plain = name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' });
    digit.then_some('_').into_iter().chain(plain).collect()
}

/// Whether a name in a file means this feature.
fn means(column: &str, feature: &str) -> bool {
    column == feature || sanitised(column) == sanitised(feature)
}

/// The columns in the order of the set's features, each by name.
///
/// # Errors
/// Features without a column, and columns that are no feature.
pub fn arranged(columns: &[String], set: &[String]) -> Result<Vec<String>, Unclear> {
    let of = |feature: &String| {
        let exact = columns.iter().find(|column| *column == feature);
        exact.or_else(|| columns.iter().find(|column| means(column, feature))).cloned()
    };
    let found: Vec<Option<String>> = set.iter().map(of).collect();
    let missing: Vec<&String> =
        set.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(name, _)| name).collect();
    let foreign: Vec<&String> = columns.iter().filter(|column| !found.contains(&Some((*column).clone()))).collect();
    if missing.is_empty() && foreign.is_empty() && columns.len() == set.len() {
        return Ok(found.into_iter().flatten().collect());
    }
    let mut problem = format!("its {} inputs are columns, and not the set's {} features:", columns.len(), set.len());
    for (what, names) in [("it has none for", &missing), ("the set has no", &foreign)] {
        if !names.is_empty() {
            let some: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
            let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
            problem += &format!(" {what} {}{more};", some.join(", "));
        }
    }
    let problem = problem.trim_end_matches([';', ':']);
    unclear(
        problem,
        "name the set that it was trained on with --features, or train it on a frame of exactly the set's columns",
    )
}

/// A file's statement about its columns, held against a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The file's inputs are the features, each by name.
    Inputs,
    /// The set's, in its order.
    Same,
    /// None of them is the set's: `f0`, `f1` and so on, or those of another set.
    Others,
    /// Nothing.
    Not,
}

/// Holds the columns that a file says it was trained on against the set's.
///
/// # Errors
/// Some of the set's columns, but not all of them in its order.
pub fn order(columns: Option<&[String]>, set: Option<&[String]>) -> Result<Named, Unclear> {
    let Some(columns) = columns else { return Ok(Named::Not) };
    let Some(set) = set else { return Ok(Named::Others) };
    if !columns.iter().any(|column| set.iter().any(|feature| means(column, feature))) {
        return Ok(Named::Others);
    }
    let differs = (0..columns.len().max(set.len()))
        .find(|&i| !columns.get(i).zip(set.get(i)).is_some_and(|(column, feature)| means(column, feature)));
    let Some(at) = differs else { return Ok(Named::Same) };
    let name = |list: &[String]| list.get(at).map_or("nothing".into(), |name| format!("`{name}`"));
    let problem = format!(
        "its metadata name the columns it was trained on: column {at} is {}, feature {at} of the set {}",
        name(columns),
        name(set)
    );
    unclear(
        problem,
        "train the model on the set's columns in the set's order, or name the set it was trained on with --features",
    )
}

#[cfg(test)]
mod tests {
    use super::{Named, Port, Told, arranged, columns, order};

    #[test]
    fn columns_are_brought_into_the_sets_order_by_name() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let set = list(&["b", "a.2", "5e"]);
        assert_eq!(arranged(&list(&["_5e", "a_2", "b"]), &set).unwrap(), list(&["b", "a_2", "_5e"]));
        let says = |columns: &[&str], words: &str| {
            let why = arranged(&list(columns), &set).unwrap_err();
            assert!(why.problem.contains(words), "{why:?}");
        };
        says(&["b", "a_2"], "it has none for `5e`");
        says(&["b", "a_2", "_5e", "z"], "the set has no `z`");
        says(&["b", "b_", "_5e"], "it has none for `a.2`; the set has no `b_`");
        let order = |columns: &[&str]| order(Some(&list(columns)), Some(&set));
        assert_eq!(order(&["b", "a_2", "5e"]), Ok(Named::Same));
        assert_eq!(order(&["x", "y"]), Ok(Named::Others), "names of something else");
        assert_eq!(order(&["f0", "f1", "f2"]), Ok(Named::Others), "names that nobody chose");
        assert!(
            order(&["a_2", "b", "5e"]).unwrap_err().problem.contains("column 0 is `a_2`, feature 0 of the set `b`")
        );
        assert!(order(&["b", "a_2"]).is_err() && order(&["b", "y", "z"]).is_err());
        let ports = |kinds: &[&str]| {
            let one = |(i, kind): (usize, &&str)| Port {
                name: format!("c{i}"),
                kind: (*kind).into(),
                dims: vec![None, Some(1)],
            };
            kinds.iter().enumerate().map(one).collect::<Vec<_>>()
        };
        let found = columns(&ports(&["float64"; 3]), &Told::default());
        assert_eq!(found, Ok(Some(list(&["c0", "c1", "c2"]))));
        for (kinds, words) in
            [(["float32", "int64", "float32"], "`c1` is int64"), (["float32", "float32", "string"], "`c2` is string")]
        {
            assert!(columns(&ports(&kinds), &Told::default()).unwrap_err().problem.contains(words));
        }
    }
}
