//! Integer divisions that would end the process. ONNX Runtime divides with the processor's own instruction, which traps where the
//! least integer is divided by -1: no error comes back, every lane of the process is gone. The least integer is what a NaN, an
//! infinity or a value far outside is cast to, so that any row may do it. A file with such a node is refused before it runs.
#![forbid(unsafe_code)]

mod value;

use std::collections::HashMap;

use value::{Attributes, INT32, INT64, Known, output};

use super::EngineError;
use super::proto::{parts, text, texts, value};

/// Calls of functions within each other, and nodes in all, calls counted anew: far above any model.
const DEEPEST: usize = 32;
const MOST_NODES: usize = 1 << 20;

/// Kinds of the values of a graph, as NumPy names them, by the names of the values.
pub(super) type Kinds = HashMap<String, String>;

/// Refuses a file in which the least integer may be divided by -1: a Div or Mod of int32 or int64, in subgraphs and functions
/// too, whose divisor is no constant free of 0 and -1, unless both sides are made of dimensions, places and constants alone.
/// `ask` tells the kinds of values where the file does not; where nobody does, as in a subgraph, the node is refused.
///
/// # Errors
/// The node, by name; what `ask` says.
pub(super) fn check(onnx: &[u8], ask: impl FnOnce() -> Result<Kinds, EngineError>) -> Result<(), EngineError> {
    let mut walk = Walk::over(onnx);
    walk.model(onnx, &HashMap::new()).map_err(EngineError::Graph)?;
    if walk.unsure.take().is_none() {
        return Ok(());
    }
    let kinds = ask()?;
    let mut walk = Walk::over(onnx);
    walk.model(onnx, &kinds).map_err(EngineError::Graph)?;
    walk.unsure.map_or(Ok(()), |node| Err(EngineError::Graph(refusal(&node, "may divide integers"))))
}

fn refusal(node: &str, what: &str) -> String {
    format!("node `{node}` {what}, and {TRAP}")
}

/// The reason in every refusal of such a node.
const TRAP: &str = "the least integer divided by -1 ends the process";

/// The mend for such a refusal; `None` where `said` is another problem.
#[must_use]
pub(crate) fn mend(said: &str) -> Option<&'static str> {
    const MEND: &str = "make the divisor a constant other than 0 and -1, or divide floats (Cast, Div, Floor), and export the model \
                        again";
    said.contains(TRAP).then_some(MEND)
}

/// A function of the file's own, by domain, name and overload.
type Called<'a> = (&'a str, &'a str, &'a str);

struct Walk<'a> {
    functions: HashMap<Called<'a>, &'a [u8]>,
    /// The first division of values whose kind is not known.
    unsure: Option<String>,
    left: usize,
}

/// Values by name: those of a graph, and those of the graphs around it.
struct Scope<'a, 's> {
    own: HashMap<&'a str, Known>,
    around: Option<&'s Scope<'a, 's>>,
    kinds: Option<&'s Kinds>,
    depth: usize,
}

impl<'a, 's> Scope<'a, 's> {
    fn within(around: &'s Scope<'a, 's>) -> Self {
        Self { own: HashMap::new(), around: Some(around), kinds: None, depth: around.depth + 1 }
    }

    fn known(&self, name: &str) -> Known {
        // An input left out.
        if name.is_empty() {
            return Known { tame: true, ..Known::default() };
        }
        let own = self.own.get(name).copied();
        own.unwrap_or_else(|| self.around.map_or(Known::default(), |around| around.known(name)))
    }

    /// Takes what is known of a value; its kind from who tells it, where somebody does.
    fn learn(&mut self, name: &'a str, known: Known) {
        let told = self.kinds.and_then(|kinds| kinds.get(name)).map(|kind| match kind.as_str() {
            "int32" => INT32,
            "int64" => INT64,
            _ => value::FLOAT,
        });
        let said = self.own.get(name).map_or(0, |known| known.kind);
        let kind = told.unwrap_or(if said != 0 { said } else { known.kind });
        self.own.insert(name, Known { kind, ..known });
    }

    /// Kinds that the graph states of its values.
    fn declare(&mut self, graph: &'a [u8], fields: &[u64]) {
        for info in fields.iter().flat_map(|&field| parts(graph, field)) {
            let tensor = parts(info, 2).last().and_then(|kind| parts(kind, 1).last());
            self.own.insert(text(info, 1), Known::of_kind(tensor.and_then(|tensor| value(tensor, 1)).unwrap_or(0)));
        }
    }
}

impl<'a> Walk<'a> {
    fn over(onnx: &'a [u8]) -> Self {
        let called = |function: &'a [u8]| ((text(function, 10), text(function, 1), text(function, 13)), function);
        Self { functions: parts(onnx, 25).map(called).collect(), unsure: None, left: MOST_NODES }
    }

    fn model(&mut self, onnx: &'a [u8], kinds: &Kinds) -> Result<(), String> {
        // Several messages of a field that holds one are one.
        let graphs: Vec<&[u8]> = parts(onnx, 7).collect();
        let mut scope = Scope { own: HashMap::new(), around: None, kinds: Some(kinds), depth: 0 };
        graphs.iter().for_each(|graph| scope.declare(graph, &[11, 12, 13]));
        graphs.iter().for_each(|graph| initializers(&mut scope, graph));
        graphs.iter().try_for_each(|graph| self.nodes(parts(graph, 1), &mut scope))
    }

    /// A graph within a node: what its outputs are.
    fn subgraph(&mut self, graph: &'a [u8], around: &Scope<'a, '_>) -> Result<Vec<Known>, String> {
        let mut scope = Scope::within(around);
        scope.declare(graph, &[11, 12, 13]);
        initializers(&mut scope, graph);
        self.nodes(parts(graph, 1), &mut scope)?;
        Ok(parts(graph, 12).map(|info| scope.known(text(info, 1))).collect())
    }

    /// A call of a function of the file's own: what its outputs are.
    fn function(&mut self, function: &'a [u8], inputs: &[Known], depth: usize) -> Result<Vec<Known>, String> {
        let mut scope = Scope { own: HashMap::new(), around: None, kinds: None, depth: depth + 1 };
        scope.declare(function, &[12]);
        for (name, &known) in texts(function, 4).zip(inputs) {
            scope.learn(name, known);
        }
        self.nodes(parts(function, 7), &mut scope)?;
        Ok(texts(function, 5).map(|name| scope.known(name)).collect())
    }

    fn nodes(&mut self, nodes: impl Iterator<Item = &'a [u8]>, scope: &mut Scope<'a, '_>) -> Result<(), String> {
        if scope.depth > DEEPEST {
            return Err("its graphs and functions are nested too deeply".into());
        }
        for node in nodes {
            self.left =
                self.left.checked_sub(1).ok_or("it has too many nodes, those of functions counted at each call")?;
            self.node(node, scope)?;
        }
        Ok(())
    }

    fn node(&mut self, node: &'a [u8], scope: &mut Scope<'a, '_>) -> Result<(), String> {
        let (op, domain) = (text(node, 4), text(node, 7));
        let inputs: Vec<Known> = texts(node, 1).map(|name| scope.known(name)).collect();
        let function = self.functions.get(&(domain, op, text(node, 8))).copied();
        let attributes = Attributes::of(node);
        let mut given = Vec::new();
        if let Some(function) = function {
            given = self.function(function, &inputs, scope.depth)?;
        }
        for (graph, from) in attributes.graphs(op) {
            // A branch or a turn may give another value the next time.
            let outputs = self.subgraph(graph, scope)?;
            given = outputs.into_iter().skip(from).map(|known| Known::of_kind(known.kind)).collect();
        }
        let main = domain.is_empty() || domain == "ai.onnx";
        // A file cannot define an operator that ONNX Runtime has of its own.
        if main {
            self.division(node, op, &attributes, &inputs)?;
        }
        for (place, name) in texts(node, 2).enumerate() {
            let known = match given.get(place) {
                Some(&known) => known,
                None if main => output(op, &attributes, &inputs, place),
                None => Known::default(),
            };
            scope.learn(name, known);
        }
        Ok(())
    }

    fn division(&mut self, node: &[u8], op: &str, attributes: &Attributes<'_>, inputs: &[Known]) -> Result<(), String> {
        let &[dividend, divisor] = inputs else { return Ok(()) };
        let remainder = op == "Mod" && attributes.int("fmod").unwrap_or(0) == 0;
        if !(op == "Div" || remainder) || divisor.divides || (dividend.tame && divisor.tame) {
            return Ok(());
        }
        let name = match text(node, 3) {
            "" => text(node, 2),
            name => name,
        };
        match dividend.kind.max(divisor.kind) {
            INT32 | INT64 => Err(refusal(name, "divides integers")),
            0 => {
                self.unsure.get_or_insert_with(|| name.to_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Values that the file gives, sparse ones included.
fn initializers<'a>(scope: &mut Scope<'a, '_>, graph: &'a [u8]) {
    for tensor in parts(graph, 5) {
        scope.learn(text(tensor, 8), Known::constant(tensor));
    }
    for tensor in parts(graph, 15).filter_map(|sparse| parts(sparse, 1).last()) {
        // Values that a sparse tensor does not store are 0.
        scope.learn(text(tensor, 8), Known { divides: false, ..Known::constant(tensor) });
    }
}

#[cfg(test)]
mod tests;
