"""Writes the two tiny models of this folder the way exporters write them when nobody asks otherwise.

labelled.onnx  free batch, an int64 label beside the float probabilities (zipmap=False)
zipmap.onnx    the same with the probabilities in a ZipMap (the exporter's default)

Run with the interpreter of models/requirements-zoo.txt.
"""

import os
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # the converter may load ONNX Runtime, whose official builds report to their maker

import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

here = Path(__file__).parent
x = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1], [2, 0, 1], [2, 2, 0]], np.float32)
model = LogisticRegression().fit(x, [0, 0, 1, 1, 2, 2])
for name, zipmap in (("labelled", False), ("zipmap", True)):
    onnx = to_onnx(model, x[:1], options={"zipmap": zipmap}, target_opset={"": 15, "ai.onnx.ml": 3})
    (here / f"{name}.onnx").write_bytes(onnx.SerializeToString(deterministic=True))
print(model.predict_proba(np.array([[1, 0.5, 0]], np.float32)))
