"""The nets and trees that benches/engines.rs times, with the shapes that others publish figures for. All from seeds; the trees
are trained by LightGBM on a made-up target."""

import numpy as np
from onnx import TensorProto, helper

import zoo_deep
from zoo import Net

I = np.int64
# Over 100 MB: made only when named.
LARGE = {"lstm_c"}


def mlp(n, *widths):
    x = "x"
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        x = n.dense(x, inputs, outputs)
        x = n.op("Relu", x) if i + 2 < len(widths) else x
    return x


def lstm(n, x, inputs, units, layers=1):
    """Layers of LSTM over [steps, batch, inputs], as torch.onnx writes them; the last layer's last h."""
    for layer in range(layers):
        width = inputs if layer == 0 else units
        scale = 1 / np.sqrt(units)
        y, h, _ = n.op("LSTM", x, n.random(1, 4 * units, width, scale=scale), n.random(1, 4 * units, units, scale=scale),
                       n.random(1, 8 * units, scale=0.1), hidden_size=units, outputs=3)
        x = n.op("Squeeze", y, np.array([1], I))
    return n.op("Squeeze", h, np.array([0], I))


def window(n, features, units, layers):
    return n.dense(lstm(n, n.op("Transpose", "x", perm=[1, 0, 2]), features, units, layers), units, 1)


def step(net, inputs, units):
    """One step, its h and c carried by the caller."""
    scale = 1 / np.sqrt(units)
    x = net.op("Unsqueeze", "x", np.array([0], I))
    _, h, c = net.op("LSTM", x, net.random(1, 4 * units, inputs, scale=scale), net.random(1, 4 * units, units, scale=scale),
                     net.random(1, 8 * units, scale=0.1), "", "h", "c", hidden_size=units, outputs=3)
    model = net.model(net.dense(net.op("Squeeze", h, np.array([0], I)), units, 1))
    for old, new in ((h, "h_next"), (c, "c_next")):
        for node in model.graph.node:
            node.output[:] = [new if o == old else o for o in node.output]
            node.input[:] = [new if i == old else i for i in node.input]
    carried = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, units])
    model.graph.input.extend([carried("h"), carried("c")])
    model.graph.output.extend([carried("h_next"), carried("c_next")])
    return model


def deeplob(n):
    """100 rows of ten levels, the recurrent layer of 64 units behind the inception block."""
    x = n.op("Transpose", n.op("Squeeze", zoo_deep.lob_blocks(n, width=16, tall=10, maps=32), np.array([3], I)), perm=[2, 0, 1])
    return n.op("Softmax", n.dense(lstm(n, x, 96, 64), 64, 3), axis=1)


def trees(count, leaves, features=32):
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    rng = np.random.default_rng(count)
    x = rng.standard_normal((20_000, features)).astype(np.float32)
    y = np.tanh(x[:, 0] * x[:, 1]) + 0.3 * np.abs(x[:, 2:6]).sum(1) + 0.5 * rng.standard_normal(len(x))
    fixed = dict(deterministic=True, force_row_wise=True, num_threads=1, seed=1, verbose=-1)
    booster = lightgbm.LGBMRegressor(n_estimators=count, num_leaves=leaves, min_child_samples=5, **fixed).fit(x, y)
    model = convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, features]))], target_opset=15)
    old = model.graph.output[0].name
    model.graph.output[0].name = "y"
    for node in model.graph.node:
        node.output[:] = ["y" if o == old else o for o in node.output]
    return model


def models(wanted):
    """(name, model, inputs or (rows, inputs), states) of those wanted, or of all but the largest."""
    states = {"h": "h_next", "c": "c_next"}
    nets = {
        "mlp_small": (32, lambda n: mlp(n, 32, 64, 32, 3)),
        "mlp_wide": (128, lambda n: mlp(n, 128, 256, 128, 64, 3)),
        "lstm_window": ((50, 32), lambda n: window(n, 32, 64, 1)),
        "lstm_a": ((50, 100), lambda n: window(n, 100, 100, 2)),
        "lstm_b": ((100, 250), lambda n: window(n, 250, 200, 3)),
        "lstm_c": ((100, 500), lambda n: window(n, 500, 1000, 4)),
        "deeplob": ((100, 40), deeplob),
        "tcn": ((32, 6), lambda n: zoo_deep.tcn(n, False)),
        "bin_ctabl": ((10, 16), zoo_deep.bin_ctabl),
        "attention": ((12, 6), zoo_deep.attention),
    }
    for name, (inputs, build) in nets.items():
        if name in wanted or (not wanted and name not in LARGE):
            net = Net(f"bench_{name}", inputs)
            yield name, net.model(build(net)), inputs, {}
    if not wanted or "lstm_step" in wanted:
        yield "lstm_step", step(Net("bench_lstm_step", 32, batch=1), 32, 64), 32, states
    for name, count, leaves in (("lgbm_small", 200, 31), ("lgbm_large", 1000, 63)):
        if not wanted or name in wanted:
            yield name, trees(count, leaves), 32, {}


def make(folder, wanted):
    rows = []
    for name, model, inputs, states in models(wanted):
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        window, width = inputs if isinstance(inputs, tuple) else (1, inputs)
        outputs = 3 if name in ("mlp_small", "mlp_wide", "deeplob", "tcn", "bin_ctabl", "attention") else 1
        carried = "".join(f'states.{k} = "{v}"\n' for k, v in states.items())
        rows.append(f'[[model]]\nname = "{name}"\ninputs = {width}\nrows = {window}\noutputs = {outputs}\n{carried}')
        print(f"{folder / name}.onnx {(folder / f'{name}.onnx').stat().st_size:,} bytes")
    if wanted:
        return
    (folder / "index.toml").write_text("# Made by models/zoo.py bench.\n\n" + "\n".join(rows))
