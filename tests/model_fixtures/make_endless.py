"""Writes endless.onnx: a row of 6, six values; a loop of 2^62 turns where the row's first value is above 0, of one turn else."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

F, B, I = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
node, info = helper.make_node, helper.make_tensor_value_info
number = lambda name, value, kind: numpy_helper.from_array(np.array(value, kind), name)
body = helper.make_graph([node("Identity", ["go"], ["again"]), node("Mul", ["acc", "half"], ["next"])], "body",
                         [info("i", I, []), info("go", B, []), info("acc", F, None)], [info("again", B, None), info("next", F, None)])
nodes = [node("Gather", ["x", "first"], ["a"], axis=1), node("ReduceMax", ["a"], ["b"], keepdims=0), node("Greater", ["b", "zero"], ["c"]),
         node("Where", ["c", "many", "one"], ["turns"]), node("Loop", ["turns", "yes", "x"], ["y"], body=body)]
given = [number("first", [0], np.int64), number("zero", 0, np.float32), number("many", 1 << 62, np.int64), number("one", 1, np.int64),
         number("yes", True, bool), number("half", 0.5, np.float32)]
graph = helper.make_graph(nodes, "endless", [info("x", F, ["batch", 6])], [info("y", F, ["batch", 6])], given)
made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
(Path(__file__).parent / "endless.onnx").write_bytes(made.SerializeToString(deterministic=True))
