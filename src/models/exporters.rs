//! Mends for a file: by its fault, by the library that made it, or by its format where it is no ONNX model at all.

use crate::engine::{EngineError, divisions};

/// The mend for a file that an engine does not take: another export helps only where the shape or the types are wrong.
pub(super) fn mend(error: &EngineError, producer: &str) -> String {
    let said = error.to_string();
    let how = match error {
        _ if divisions::mend(&said).is_some() => divisions::mend(&said).unwrap_or_default(),
        _ if said.contains("has its values outside the file") => {
            "export with external_data=False, or put them inside: onnx.save(onnx.load(\"model.onnx\"), \"inside.onnx\") and take \
             that file"
        }
        _ if said.contains("is not a registered function/op") => {
            "write that layer with ONNX's own operators before the export, which would write the same node again; ONNX Runtime has \
             those of ai.onnx, ai.onnx.ml and com.microsoft"
        }
        EngineError::Run(why) if why.contains("takes more than") => {
            "bound its loops and the sizes of what it computes: a lane waits for every run"
        }
        EngineError::Run(_) => {
            "change what that node computes, in the model: it fails on an ordinary row, and another export writes the same node"
        }
        _ => return again(producer),
    };
    how.into()
}

/// How to export anew, by the name that the exporter gives itself.
pub(super) fn again(producer: &str) -> String {
    let how = match producer.to_lowercase().as_str() {
        "skl2onnx" => "skl2onnx.to_onnx(model, x[:1].astype(\"float32\"), target_opset={\"\": 17, \"ai.onnx.ml\": 3})",
        "onnxmltools" => {
            "onnxmltools.convert_lightgbm or convert_xgboost(model, initial_types=[(\"x\", FloatTensorType([None, N]))])"
        }
        "catboost" => "model.save_model(\"model.onnx\", format=\"onnx\"), with float features only",
        "pytorch" => {
            "torch.onnx.export(model, (x,), \"model.onnx\", input_names=[\"x\"], opset_version=17, dynamo=False)"
        }
        "tf2onnx" => "tf2onnx.convert.from_keras(model, input_signature=[tf.TensorSpec((1, N), tf.float32)], opset=17)",
        _ => {
            return "export the model again with float32 inputs and its weights inside; \"Exporters\" in models/README.md \
                    says how with each library"
                .into();
        }
    };
    format!("export it again, with {how}; \"Exporters\" in models/README.md says more")
}

/// What a file is that is no ONNX model, by its first bytes, and what makes one of it.
pub(super) fn other_kind(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    const LIGHTGBM: &str = "load it with lightgbm.Booster(model_file=…) and export that with \
                            onnxmltools.convert_lightgbm(booster, initial_types=[(\"x\", FloatTensorType([None, N]))])";
    const PYTHON: &str = "load it in Python where it was made, and export the model with that library's exporter: \
                          skl2onnx.to_onnx for scikit-learn, onnxmltools for LightGBM and XGBoost";
    const XGBOOST: &str = "load it with xgboost.XGBClassifier or XGBRegressor.load_model(…) and export that with \
                           onnxmltools.convert_xgboost(model, initial_types=[(\"x\", FloatTensorType([None, N]))])";
    const TORCH: &str = "load the model in PyTorch, or Keras for a .keras file, and export it: \
                         torch.onnx.export(model, (x,), \"model.onnx\"), tf2onnx.convert.from_keras(model)";
    const KERAS: &str = "load it with keras.models.load_model(…) and export it with tf2onnx.convert.from_keras(model)";
    let starts = |with: &[u8]| bytes.starts_with(with);
    let at = |place: usize, what: &[u8]| bytes.get(place..).is_some_and(|rest| rest.starts_with(what));
    let text = &bytes[..bytes.len().min(4096)];
    let within = |what: &[u8]| text.windows(what.len()).any(|part| part == what);
    Some(match () {
        () if bytes.is_empty() => ("an empty file", "export the model again: nothing was written"),
        () if starts(b"tree\n") || starts(b"tree\r\n") => ("a model in LightGBM's own text format", LIGHTGBM),
        () if starts(b"{") && within(b"\"tree_info\"") => ("a model in LightGBM's own JSON format", LIGHTGBM),
        () if (starts(b"{") && within(b"\"learner\"")) || (starts(b"{L") && within(b"learner")) || starts(b"binf") => {
            ("a model in XGBoost's own format", XGBOOST)
        }
        () if starts(b"CBM1") => (
            "a model in CatBoost's own format",
            "load it with CatBoost().load_model(…) and save it with save_model(\"model.onnx\", format=\"onnx\")",
        ),
        () if matches!(bytes, [0x80, 2..=5, ..]) => ("a Python pickle, as pickle and joblib write it", PYTHON),
        () if matches!(bytes, [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..]) || starts(b"\x1f\x8b") || starts(b"BZh") => {
            ("a compressed file, as joblib writes with compress", PYTHON)
        }
        () if starts(b"PK\x03\x04") => ("a zip archive, as PyTorch and Keras write models", TORCH),
        () if starts(b"\x89HDF") => ("an HDF5 file, as Keras writes models", KERAS),
        () if at(4, b"TFL3") => ("a TensorFlow Lite model", "export the Keras model itself with tf2onnx"),
        () if at(4, b"ORTM") => ("a model in ONNX Runtime's own format", "name the .onnx file that it was made from"),
        () if at(8, b"{") && at(3, &[0, 0, 0, 0, 0]) => (
            "weights in the safetensors format, without a graph",
            "load the weights into the model in Python, and export that: torch.onnx.export(model, (x,), \"model.onnx\")",
        ),
        // A schema version and a message behind it, where ONNX has its own version, 3 or more.
        () if starts(&[0x08, 0x01, 0x12]) => (
            "a TensorFlow SavedModel",
            "export it with python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
        ),
        () if starts(b"<?xml") || starts(b"<PMML") => {
            ("an XML file, as PMML and OpenVINO are", "export the model itself to ONNX, with its library's exporter")
        }
        () if starts(b"version https://git-lfs") => {
            ("a pointer of Git LFS and not the file itself", "fetch the file with git lfs pull")
        }
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{again, other_kind};

    #[test]
    fn files_of_other_kinds_are_recognised_and_onnx_is_left_alone() {
        for (bytes, words) in [
            (&b"tree\nversion=v4\n"[..], "LightGBM"),
            (b"\x80\x04\x95\x7f\x01\0\0\0", "pickle"),
            (b"x\x5e\x95T]lTE", "compressed"),
            (b"CBM1\xe0/\0\0", "CatBoost"),
            (b"{\"learner\":{\"attributes\":{}", "XGBoost"),
            (b"{L\0\0\0\0\0\0\0\x07learner{L\0", "XGBoost"),
            (b"PK\x03\x04\0\0", "zip"),
            (b"\x40\x01\0\0\0\0\0\0{\"w\":{}}", "safetensors"),
            (&[0x08, 0x01, 0x12, 0x80, 0x01], "SavedModel"),
            (b"\x89HDF\r\n\x1a\n", "Keras"),
            (b"", "empty"),
        ] {
            let (what, mend) = other_kind(bytes).unwrap_or_else(|| panic!("{words}"));
            assert!(what.contains(words) && !mend.is_empty(), "{what}");
        }
        for name in ["tests/zoo/relu.onnx", "models/lgbm-k10/model.onnx", "tests/model_fixtures/zipmap.onnx"] {
            let bytes = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
            assert_eq!(other_kind(&bytes), None, "{name}");
        }
        assert!(again("CatBoost").contains("save_model") && !again("CatBoost").contains("zipmap"));
        assert!(again("somebody").contains("models/README.md"));
    }
}
