use super::{Kinds, check};

fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for mut value in [number << 3 | 2, bytes.len() as u64] {
        while value >= 128 {
            out.push(value as u8 | 128);
            value >>= 7;
        }
        out.push(value as u8);
    }
    [out, bytes.to_vec()].concat()
}

fn int(number: u64, mut value: u64) -> Vec<u8> {
    let mut out = vec![(number << 3) as u8];
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A node `op inputs > outputs`, with an attribute.
fn node(text: &str, attribute: &[u8]) -> Vec<u8> {
    let (op, rest) = text.split_once(' ').unwrap();
    let (inputs, outputs) = rest.split_once('>').unwrap();
    let (domain, op) = op.split_once(':').unwrap_or(("", op));
    let mut out = Vec::new();
    inputs.split_whitespace().for_each(|name| out.extend(field(1, name.as_bytes())));
    outputs.split_whitespace().for_each(|name| out.extend(field(2, name.as_bytes())));
    out.extend([field(4, op.as_bytes()), field(7, domain.as_bytes())].concat());
    if !attribute.is_empty() {
        out.extend(field(5, attribute));
    }
    field(1, &out)
}

fn plain(text: &str) -> Vec<u8> {
    node(text, &[])
}

fn attribute(name: &str, value: u64) -> Vec<u8> {
    [field(1, name.as_bytes()), int(3, value)].concat()
}

/// An initializer of int64.
fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    field(5, &[int(1, values.len() as u64), int(2, 7), field(8, name.as_bytes()), field(9, &raw)].concat())
}

/// A graph's declaration of a value.
fn info(number: u64, name: &str, kind: u64) -> Vec<u8> {
    field(number, &[field(1, name.as_bytes()), field(2, &field(1, &int(1, kind)))].concat())
}

/// A model of a float input x, with i the integers that its values are cast to.
fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    let cast = node("Cast x > i", &attribute("to", 7));
    field(7, &[info(11, "x", 1), cast, parts.concat()].concat())
}

fn asked(model: &[u8], kinds: &[(&str, &str)]) -> Result<(), String> {
    let kinds: Kinds = kinds.iter().map(|&(name, kind)| (name.into(), kind.into())).collect();
    check(model, || Ok(kinds)).map_err(|error| error.to_string())
}

#[track_caller]
fn taken(parts: &[Vec<u8>]) {
    check(&model(parts), || panic!("it is not asked")).unwrap();
}

#[track_caller]
fn refused(parts: &[Vec<u8>], words: &str) {
    let why = asked(&model(parts), &[]).unwrap_err();
    assert!(why.contains(words) && super::mend(&why).is_some(), "{why}");
}

#[test]
fn integers_are_divided_by_constants_other_than_minus_one() {
    for op in ["Div", "Mod"] {
        let div = |divisor: &str| plain(&format!("{op} i {divisor} > d"));
        refused(&[ints("c", &[-1]), div("c")], "node `d` divides integers");
        refused(&[ints("c", &[3, 0, 4]), div("c")], "divides integers");
        refused(&[div("i")], "divides integers");
        refused(&[plain(&format!("{op} x x > f")), ints("c", &[7]), plain(&format!("{op} c i > d"))], "`d`");
        taken(&[ints("c", &[3, -2, 1 << 40]), div("c")]);
        // Nodes that hand a constant's values on.
        let made = [ints("c", &[3]), plain("Unsqueeze c a > u"), node("Cast u > v", &attribute("to", 7)), div("v")];
        taken(&made);
        refused(&[ints("c", &[1 << 32]), node("Cast c > v", &attribute("to", 7)), div("v")], "divides");
        refused(&[ints("c", &[3]), plain("Neg c > v"), div("v")], "divides");
        let constant = |value: i64| node("Constant > c", &attribute("value_int", value as u64));
        taken(&[constant(5), div("c")]);
        refused(&[constant(-1), div("c")], "divides");
    }
    // Constants alone trap as well, while ONNX Runtime folds them, and a function does not take the place of its operator.
    refused(&[ints("a", &[i64::MIN]), ints("c", &[-1]), plain("Div a c > d")], "divides");
    taken(&[ints("a", &[i64::MAX, 5]), ints("c", &[-1]), plain("Div a c > d")]);
    taken(&[node("Mod i i > d", &attribute("fmod", 1))]);
    taken(&[plain("Div x x > d"), plain("Sqrt d > e"), plain("Div x e > g")]);
    // int32 traps as well; smaller integers are divided as such.
    refused(&[node("Cast x > j", &attribute("to", 6)), plain("Div j j > d")], "divides");
    taken(&[node("Cast x > j", &attribute("to", 3)), plain("Div j j > d")]);
}

#[test]
fn dimensions_and_places_are_divided_as_they_come() {
    let one = ints("one", &[1]);
    taken(&[one.clone(), plain("Shape x > s"), plain("Sub s one > t"), plain("Div s t > d")]);
    taken(&[plain("ArgMax x > s"), plain("Size x > t"), plain("Mod s t > d")]);
    refused(&[plain("Shape x > s"), plain("Add s i > t"), plain("Div s t > d")], "divides");
    refused(&[plain("RandomNormal > r"), node("Cast r > s", &attribute("to", 7)), plain("Div s s > d")], "divides");
}

#[test]
fn subgraphs_and_functions_are_looked_into() {
    let branch = |graph: &[Vec<u8>]| node("If c > y", &[field(1, b"then_branch"), field(6, &graph.concat())].concat());
    refused(&[branch(&[plain("Div i i > d")])], "node `d` divides integers");
    taken(&[branch(&[plain("Div x x > d")])]);
    // The value of a branch has the kind that it has there.
    refused(&[branch(&[plain("Abs i > d"), info(12, "d", 0)]), plain("Div y y > e")], "node `e`");
    let function = |body: &[Vec<u8>]| {
        let body: Vec<u8> = body.iter().flat_map(|node| field(7, &node[2..])).collect();
        field(25, &[field(1, b"f"), field(10, b"own"), field(4, b"a"), field(5, b"b"), body].concat())
    };
    let call = |of: &str| [model(&[plain(&format!("own:f {of} > y"))]), function(&[plain("Div a a > b")])].concat();
    assert!(asked(&call("i"), &[]).unwrap_err().contains("node `b` divides integers"));
    assert_eq!(asked(&call("x"), &[]), Ok(()));
    let endless = [model(&[plain("own:f x > y")]), function(&[plain("own:f a > b")])].concat();
    assert!(asked(&endless, &[]).unwrap_err().contains("nested too deeply"));
}

#[test]
fn a_kind_that_the_file_does_not_tell_is_asked_for() {
    let unknown = [plain("Strange x > s"), plain("Div s s > d")];
    refused(&unknown, "node `d` may divide integers");
    assert_eq!(asked(&model(&unknown), &[("s", "float32")]), Ok(()));
    assert!(asked(&model(&unknown), &[("s", "int64")]).unwrap_err().contains("divides integers"));
    taken(&[plain("Strange x > s"), info(13, "s", 1), plain("Div s s > d")]);
}
