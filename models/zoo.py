"""Makes tests/zoo: small ONNX files from seeds, one for each operator and option that the native engine claims, and whole nets.

    .venv/bin/pip install --requirement models/requirements-zoo.txt
    .venv/bin/python models/zoo.py
    .venv/bin/python models/zoo.py bench FOLDER [NAME...]

The last makes the models of benches/engines.rs instead. Every file takes `x` and gives `y`. index.toml names them with their widths, which ONNX Runtime is asked for here; a file
that the native engine must refuse stands there with the words that its refusal must have.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime asks while it is imported, and calls home unless told so

import pathlib
import sys
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
ZOO = HERE.parent / "tests" / "zoo"
# In the first ONNX Runtime loses a NaN or keeps it, by where it stands among the lanes, where ours keep it; the last fails.
NAN_DIFFERS = {name: "native says NaN" for name in ("reducemax", "reducemin", "maxpool", "globalmaxpool")}
NAN_DIFFERS["binarizer"] = "is NaN"
# A NaN has no place and is no integer: ONNX Runtime gives one by chance.
NAN_DIFFERS |= {name: "native says NaN" for name in ("argmax", "argmin", "cast_int", "cast_to_double_and_whole", "one_hot", "columns_computed", "imputer_infinity", "reducemax_of_log", "maxpool_of_log")}


class Net:
    """A graph in the making. Values are names; arrays become initializers."""

    def __init__(self, name, inputs, opset=17, batch="batch", ml=False, dtype=TensorProto.FLOAT):
        self.name, self.inputs, self.opset, self.ml = name, inputs, opset, ml
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        # A pair is a window: rows, and values of each.
        row = list(inputs) if isinstance(inputs, tuple) else [inputs]
        self.entry = helper.make_tensor_value_info("x", dtype, [batch, *row])
        self.nodes, self.constants, self.edits = [], [], lambda model: model

    def random(self, *dims, scale=None):
        scale = scale or 1.0 / np.sqrt(dims[0] if len(dims) > 1 else 1.0)
        return (self.rng.standard_normal(dims) * scale).astype(np.float32)

    def value(self, v):
        if isinstance(v, str):
            return v
        array = np.asarray(v)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def op(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(op, [self.value(v) for v in inputs], names, f"{op.lower()}{len(self.nodes)}", domain=domain)
        node.attribute.extend(attribute(k, v) for k, v in attributes.items())
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def mlop(self, op, *inputs, **attributes):
        self.ml = True
        return self.op(op, *inputs, domain="ai.onnx.ml", **attributes)

    def shaped(self, *dims, x="x"):
        return self.op("Reshape", x, np.array(dims, np.int64))

    def dense(self, x, inputs, outputs):
        return self.op("Gemm", x, self.random(inputs, outputs), self.random(outputs, scale=0.1))

    def model(self, y):
        for node in self.nodes:
            node.output[:] = ["y" if o == y else o for o in node.output]
            node.input[:] = ["y" if i == y else i for i in node.input]
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, self.name, [self.entry], [out], self.constants)
        opsets = [helper.make_opsetid("", self.opset)] + ([helper.make_opsetid("ai.onnx.ml", 3)] if self.ml else [])
        return helper.make_model(graph, opset_imports=opsets, ir_version=8 if self.opset < 18 else 10, producer_name="zoo")


def attribute(name, value):
    if isinstance(value, np.ndarray):
        return helper.make_attribute(name, numpy_helper.from_array(value))
    return helper.make_attribute(name, value)


def write(name, model, inputs, refused=None, more=None):
    """One file and its row of the index; `more` has the rows of a window, the states with their next values, or the table of
    the index that it stands in."""
    data = model.SerializeToString(deterministic=True) if hasattr(model, "SerializeToString") else model
    (ZOO / f"{name}.onnx").write_bytes(data)
    if refused:
        return f'[[refused]]\nname = "{name}"\ninputs = {inputs}\nwords = {refused!r}\n'
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    rows, inputs = inputs if isinstance(inputs, tuple) else (None, inputs)
    more = more or ({"rows": rows} if rows else {})
    fixed = lambda name, dims: [1, rows, inputs] if rows and name == "x" else [d if isinstance(d, int) else 1 for d in dims]
    (y,) = session.run(["y"], {i.name: np.zeros(fixed(i.name, i.shape), np.float32) for i in session.get_inputs()})
    row = f'[[{more.get("table", "model")}]]\nname = "{name}"\ninputs = {inputs}\n'
    row += (f"rows = {more['rows']}\n" if "rows" in more else "") + f"outputs = {y.size}\n"
    words = next((words for start, words in NAN_DIFFERS.items() if name.startswith(start)), None)
    row += f"nan_differs = {words!r}\n" if words else ""
    states = "".join(f'{state} = "{after}"\n' for state, after in more.get("states", {}).items())
    return row + (f"[model.states]\n{states}" if states else "")


def main():
    sys.path.insert(0, str(HERE))
    if sys.argv[1:2] == ["bench"]:
        import zoo_bench

        folder = pathlib.Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        return zoo_bench.make(folder, sys.argv[3:])
    import zoo_deep
    import zoo_edges
    import zoo_exported
    import zoo_ml
    import zoo_nets
    import zoo_operators
    import zoo_recurrent
    import zoo_refused

    ZOO.mkdir(exist_ok=True)
    for old in ZOO.glob("*.onnx"):
        old.unlink()
    rows, total = [], 0
    for module in (zoo_operators, zoo_edges, zoo_exported, zoo_ml, zoo_nets, zoo_deep, zoo_recurrent, zoo_refused):
        for name, made in module.models().items():
            rows.append(write(name, *made))
    (ZOO / "index.toml").write_text("# Made by models/zoo.py.\n\n" + "\n".join(rows))
    total = sum(file.stat().st_size for file in ZOO.iterdir())
    print(f"{len(rows)} files, {total:,} bytes, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()
