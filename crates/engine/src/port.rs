//! An input or output of an ONNX graph, as tools show it.
#![forbid(unsafe_code)]

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type, as `float32`; for what is no tensor the runtime's words.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its dimensions, `None` where they are open.
    pub dims: Vec<Option<usize>>,
}

impl Port {
    /// Whether it is a tensor of f32.
    #[must_use]
    pub fn is_float(&self) -> bool {
        self.kind == "float32"
    }

    /// Whether it is a tensor of floats of any size.
    #[must_use]
    pub fn is_any_float(&self) -> bool {
        matches!(self.kind.as_str(), "float32" | "float64" | "float16" | "bfloat16")
    }

    /// Whether it is a tensor of numbers or truth values.
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.is_any_float() || ["int", "uint"].iter().any(|kind| self.kind.starts_with(kind)) || self.kind == "bool"
    }

    /// As `float32 [?, 3]`.
    #[must_use]
    pub fn text(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(|dim| dim.map_or("?".into(), |n| n.to_string())).collect();
        format!("{} [{}]", self.kind, dims.join(", "))
    }
}
