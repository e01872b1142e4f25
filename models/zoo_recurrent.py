"""LSTM, GRU and RNN: windows and steps with states, as exporters write them and as they do not, and the STAC-shaped nets."""

import numpy as np
from onnx import TensorProto, helper

from zoo import Net

F = np.float32
I = np.int64
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def weights(n, op, inputs, hidden, directions=1, bias=True):
    g = GATES[op] * hidden
    made = [n.random(directions, g, inputs, scale=1 / np.sqrt(inputs)), n.random(directions, g, hidden, scale=1 / np.sqrt(hidden))]
    return made + ([n.random(directions, 2 * g, scale=0.3)] if bias else [])


def cell(n, op, x, inputs, hidden, bias=True, states=(), outputs=None, **more):
    """A node; `states` are its first h and c."""
    given = weights(n, op, inputs, hidden, 2 if more.get("direction") == "bidirectional" else 1, bias)
    if states:
        given += [""] * (4 - len(given)) + list(states)
    count = outputs or (3 if op == "LSTM" else 2)
    return n.op(op, x, *given, outputs=count, hidden_size=hidden, **more)


def first(n, hidden, directions=1):
    return [n.random(directions, 1, hidden, scale=0.7)]


def zeros(n, x, hidden):
    """The first state as torch.onnx writes it: its batch is that of x."""
    batch = n.op("Unsqueeze", n.op("Gather", n.op("Shape", x), np.array(0, I), axis=0), np.array([0], I))
    shape = n.op("Concat", np.array([1], I), batch, np.array([hidden], I), axis=0)
    return n.op("Expand", n.op("Constant", value=np.zeros((1, 1, 1), F)), shape)


def sequence(op, **more):
    """All rows of Y."""
    return lambda n, rows, inputs, hidden: cell(n, op, "x", inputs, hidden, **more)[0]


def last(op, **more):
    """Y_h, through a dense layer."""
    def build(n, rows, inputs, hidden):
        h = n.op("Squeeze", cell(n, op, "x", inputs, hidden, **more)[1], np.array([0], I))
        return n.dense(h, hidden, 3)
    return build


def everything(op, **more):
    """All outputs side by side, from a first state that is given."""
    def build(n, rows, inputs, hidden):
        d = 2 if more.get("direction") == "bidirectional" else 1
        states = [s for _ in range(2 if op == "LSTM" else 1) for s in first(n, hidden, d)]
        flat = [n.op("Reshape", v, np.array([1, -1], I)) for v in cell(n, op, "x", inputs, hidden, states=states, **more)]
        return n.op("Concat", *flat, axis=1)
    return build


def torch(op, layers=2, **more):
    """batch_first, a stack, the last row of the output by Gather or Slice."""
    def build(n, rows, inputs, hidden):
        x = n.op("Transpose", "x", perm=[1, 0, 2])
        for layer in range(layers):
            states = [zeros(n, "x", hidden) for _ in range(2 if op == "LSTM" else 1)]
            y = cell(n, op, x, inputs if layer == 0 else hidden, hidden, states=states, **more)[0]
            x = n.op("Squeeze", y, np.array([1], I))
        x = n.op("Transpose", x, perm=[1, 0, 2])
        return n.dense(n.op("Gather", x, np.array(-1, I), axis=1), hidden, 3)
    return build


def keras(op, layers=2, **more):
    """tf2onnx: batch first, states zero by default, the last layer's Y_h or the last row by a strided Slice."""
    def build(n, rows, inputs, hidden):
        x = "x"
        for layer in range(layers):
            x = n.op("Transpose", x, perm=[1, 0, 2])
            y = cell(n, op, x, inputs if layer == 0 else hidden, hidden, **more)
            x = n.op("Transpose", n.op("Squeeze", y[0], np.array([1], I)), perm=[1, 0, 2])
        x = n.op("Slice", x, np.array([0, -1, 0], I), np.array([2**31 - 1] * 3, I), np.array([0, 1, 2], I))
        return n.op("Sigmoid", n.op("MatMul", n.op("Squeeze", x, np.array([1], I)), n.random(hidden, 2)))
    return build


def middle(op):
    """What stands before, between and behind the layers, and the sequence read twice."""
    def build(n, rows, inputs, hidden):
        x = n.op("Div", n.op("Sub", "x", n.random(inputs, scale=0.1)), 1 + np.abs(n.random(inputs, scale=0.2)))
        y, h = cell(n, op, x, inputs, hidden)[:2]
        y = n.op("Add", n.op("Squeeze", y, np.array([1], I)), n.op("Tanh", n.op("Squeeze", h, np.array([0], I))))
        y = cell(n, op, n.op("Relu", y), hidden, hidden, bias=False)[0]
        return n.op("ReduceMean", y, axes=[0], keepdims=0)
    return build


def pattern(n, values, scale):
    """As many values as are wanted, from a few: ONNX Runtime and the native engine unroll them at load."""
    if not n.constants or n.constants[0].name != "pattern":
        n.value(n.random(9973, scale=1.0))
        n.constants[0].name = "pattern"
    count = int(np.prod(values))
    start = int(n.rng.integers(0, 9973))
    tiled = n.op("Tile", "pattern", np.array([-(-(start + count) // 9973)], I))
    cut = n.op("Slice", tiled, np.array([start], I), np.array([start + count], I), np.array([0], I))
    return n.op("Mul", n.op("Reshape", cut, np.array(values, I)), F(scale))


def stac(layers):
    """The shape of the STAC-ML LSTM models: a stack of LSTMs over a window, the last row through one dense unit."""
    def build(n, rows, inputs, hidden):
        x = n.op("Transpose", "x", perm=[1, 0, 2])
        for layer in range(layers):
            k = inputs if layer == 0 else hidden
            given = [pattern(n, [1, 4 * hidden, k], k**-0.5), pattern(n, [1, 4 * hidden, hidden], hidden**-0.5)]
            given.append(pattern(n, [1, 8 * hidden], 0.1))
            x = n.op("Squeeze", n.op("LSTM", x, *given, hidden_size=hidden), np.array([1], I))
        x = n.op("Gather", n.op("Transpose", x, perm=[1, 0, 2]), np.array(-1, I), axis=1)
        return n.op("Gemm", x, pattern(n, [hidden, 1], hidden**-0.5), np.array([0.1], F))
    return build


def window(name, rows, inputs, hidden, build, dims=None, opset=17):
    net = Net(name, inputs, opset, 1)
    net.entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims or [rows, 1, inputs])
    return net.model(build(net, rows, inputs, hidden)), inputs, None, {"rows": rows}


def stepping(name, op, inputs, hidden, layers=1, joined=False, **more):
    """One row at a time; states go in and come out, of each layer by itself or of all in one tensor as torch has them."""
    net = Net(name, inputs, 17, 1)
    kinds = ["h", "c"] if op == "LSTM" else ["h"]
    x, ends = net.op("Unsqueeze", "x", np.array([0], I)), {kind: [] for kind in kinds}
    for layer in range(layers):
        if joined:
            part = lambda kind: net.op("Slice", kind, np.array([layer], I), np.array([layer + 1], I), np.array([0], I))
            states = [part(kind) for kind in kinds]
        else:
            states = [f"{kind}_{layer}" for kind in kinds]
        out = cell(net, op, x, inputs if layer == 0 else hidden, hidden, states=states, **more)
        x = net.op("Squeeze", out[0], np.array([1], I))
        for kind, end in zip(kinds, out[1:]):
            ends[kind].append(end)
    y = net.dense(net.op("Squeeze", x, np.array([0], I)), hidden, 2)
    if joined:
        named = {kind: net.op("Concat", *end, axis=0) for kind, end in ends.items()}
    else:
        named = {f"{kind}_{layer}": end for kind in kinds for layer, end in enumerate(ends[kind])}
    model = net.model(y)
    for state, value in named.items():
        dims = [layers if joined else 1, 1, hidden]
        model.graph.input.append(helper.make_tensor_value_info(state, TensorProto.FLOAT, dims))
        model.graph.output.append(helper.make_tensor_value_info(f"{state}_next", TensorProto.FLOAT, dims))
        for node in model.graph.node:
            node.output[:] = [f"{state}_next" if o == value else o for o in node.output]
            node.input[:] = [f"{state}_next" if i == value else i for i in node.input]
    return model, inputs, None, {"states": {state: f"{state}_next" for state in named}}


def refused(made):
    def add(name, op, words, inputs=(), outputs=None, **more):
        net = Net(f"refused_{name}", 4, 17, 1)
        given = weights(net, op, 4, 3)
        y = net.op(op, net.shaped(1, 1, 4), *given, *[i(net) if callable(i) else i for i in inputs], outputs=outputs or 2, **{"hidden_size": 3, **more})[0]
        made[f"refused_{name}"] = (net.model(y), 4, f"operator {op} (node `{op.lower()}1`): {words}")

    state = lambda n: n.random(1, 1, 3)
    add("lstm_peephole", "LSTM", "peepholes are not taken", ["", state, state, lambda n: n.random(1, 9)])
    add("lstm_clip", "LSTM", "clip is not taken", clip=3.0)
    add("lstm_input_forget", "LSTM", "input_forget is not taken", input_forget=1)
    add("lstm_layout", "LSTM", "layout 1 is not taken", layout=1)
    add("lstm_activations", "LSTM", "activations [", activations=["HardSigmoid", "Tanh", "Tanh"])
    add("gru_activations", "GRU", "activations [", activations=["Sigmoid", "Relu"])
    add("rnn_activations", "RNN", "activations [", activations=["Affine"], activation_alpha=[1.0], activation_beta=[0.0])
    add("rnn_lens", "RNN", "sequence_lens [0] of 1 rows", [np.array([0], np.int32)])
    add("gru_hidden", "GRU", "hidden_size is 4, its weights have 3", hidden_size=4)
    add("lstm_direction", "LSTM", "direction sideways is not known", direction="sideways")
    add("lstm_state", "LSTM", "input 5 is [1, 1, 2]", ["", lambda n: n.random(1, 1, 2), state])

    def whole(name, words, build):
        net = Net(f"refused_{name}", 12, 17, 1)
        made[f"refused_{name}"] = (net.model(build(net)), 12, words)
    whole("lstm_batch", "an input of [1, 3, 4], where [rows, 1, values] is taken", lambda n: n.op(
        "LSTM", n.shaped(1, 3, 4), *weights(n, "LSTM", 4, 2), hidden_size=2))
    whole("gru_weights", "input 1 is [1, 6, 3], [1, 6, 4] is expected", lambda n: n.op(
        "GRU", n.shaped(3, 1, 4), n.random(1, 6, 3), n.random(1, 6, 2), hidden_size=2))
    whole("rnn_computed", "operator RNN (node `rnn2`): input 1 is not constant", lambda n: n.op(
        "RNN", n.shaped(6, 1, 2), n.shaped(1, 6, 2), n.random(1, 6, 6), hidden_size=6))


def models():
    made = {}
    kinds = {"lstm": ("LSTM", {}), "gru": ("GRU", {"linear_before_reset": 1}), "gru_before": ("GRU", {}),
             "rnn": ("RNN", {}), "rnn_relu": ("RNN", {"activations": ["Relu"]})}
    for kind, (op, more) in kinds.items():
        def add(name, rows, inputs, hidden, build, **how):
            made[f"{kind}_{name}"] = window(f"{kind}_{name}", rows, inputs, hidden, build, **how)

        both = {**more, "activations": ["Relu"] * 2} if kind == "rnn_relu" else more
        add("sequence", 6, 4, 5, sequence(op, **more))
        add("last", 9, 5, 16, last(op, **more))
        add("no_bias", 5, 4, 17, last(op, bias=False, **more))
        add("all", 7, 6, 31, everything(op, **more))
        add("reverse", 5, 3, 7, everything(op, direction="reverse", **more))
        add("bidirectional", 6, 4, 9, everything(op, direction="bidirectional", **both))
        add("row", 1, 7, 12, everything(op, **more))
        add("row_both", 1, 5, 6, everything(op, direction="bidirectional", **both))
        add("torch", 8, 6, 20, torch(op, **more), dims=["batch", 8, 6])
        add("keras", 10, 5, 24, keras(op, **more), dims=["batch", 10, 5])
        add("middle", 5, 4, 10, middle(op))
        made[f"{kind}_step"] = stepping(f"{kind}_step", op, 8, 18, **more)
        made[f"{kind}_steps"] = stepping(f"{kind}_steps", op, 6, 11, layers=2, joined=True, **more)
    made["lstm_wide"] = window("lstm_wide", 20, 32, 64, torch("LSTM", layers=1), dims=[1, 20, 32])
    made["lstm_wide_50"] = window("lstm_wide_50", 50, 32, 64, keras("LSTM", layers=1), dims=[1, 50, 32])
    made["lstm_step_wide"] = stepping("lstm_step_wide", "LSTM", 32, 64)
    made["lstm_lens"] = window("lstm_lens", 4, 3, 5, lambda n, t, i, h: n.op(
        "LSTM", "x", *weights(n, "LSTM", i, h), np.array([t], np.int32), hidden_size=h))
    made["stac_lstm_a"] = window("stac_lstm_a", 50, 100, 100, stac(2), dims=[1, 50, 100])
    model, inputs, _, more = window("stac_lstm_b", 100, 250, 200, stac(3), dims=[1, 100, 250])
    made["stac_lstm_b"] = model, inputs, None, {**more, "table": "large"}
    refused(made)
    return made
