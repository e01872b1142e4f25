"""Nets over windows and deep ones, in the graphs that torch.onnx, tf2onnx and keras export: open batches, shapes taken apart
and put together again, norms and activations written out where the opset has no operator for them."""

import numpy as np

from zoo import Net
from zoo_nets import gelu, gelu_tanh

F = np.float32
I = np.int64
LAST = 2**63 - 1


def mean(n, x, axis):
    """ReduceMean over one axis, which is kept: an input from opset 18 on."""
    return n.op("ReduceMean", x, np.array([axis], I)) if n.opset >= 18 else n.op("ReduceMean", x, axes=[axis])


def layer_norm(n, x, width):
    scale, bias = 1 + n.random(width, scale=0.1), n.random(width, scale=0.1)
    if n.opset >= 17:
        return n.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)
    centred = n.op("Sub", x, mean(n, x, -1))
    variance = mean(n, n.op("Pow", centred, n.op("Constant", value=np.array(2, F))), -1)
    root = n.op("Sqrt", n.op("Add", variance, n.op("Constant", value=np.array(1e-5, F))))
    return n.op("Add", n.op("Mul", n.op("Div", centred, root), scale), bias)


def any_gelu(n, x):
    return n.op("Gelu", x) if n.opset >= 20 else gelu(n, x)


def linear(n, x, inputs, outputs):
    """torch's Linear on more than two dimensions: a product and a sum."""
    return n.op("Add", n.random(outputs, scale=0.1), n.op("MatMul", x, n.random(inputs, outputs)))


def silu(n, x):
    return n.op("Mul", x, n.op("Sigmoid", x))


def batch_norm(n, x, channels):
    return n.op("BatchNormalization", x, 1 + n.random(channels, scale=0.1), n.random(channels, scale=0.1),
                n.random(channels, scale=0.1), 1 + np.abs(n.random(channels, scale=0.1)), epsilon=1e-5, momentum=0.9)


def conv(n, x, maps, depth, *kernel, **more):
    scale = 1 / np.sqrt(depth * np.prod(kernel))
    return n.op("Conv", x, n.random(maps, depth, *kernel, scale=scale), n.random(maps, scale=0.1), kernel_shape=list(kernel), **more)


def size(n, x, axis):
    """x.size(axis), as a list of one."""
    length = n.op("Gather", n.op("Shape", x), n.op("Constant", value=np.array(axis, I)), axis=0)
    return n.op("Unsqueeze", length, axes=[0]) if n.opset < 13 else n.op("Unsqueeze", length, np.array([0], I))


def view(n, x, *dims):
    """x.view(…): a dimension that is a name, or None, is computed in the graph."""
    parts = [d if isinstance(d, str) else np.array([d], I) for d in dims]
    return n.op("Reshape", x, n.op("Concat", *parts, axis=0))


def mixer(n):
    """Dense blocks around a shortcut, normed before, GELU within."""
    x = n.dense("x", 24, 32)
    for _ in range(2):
        y = any_gelu(n, linear(n, layer_norm(n, x, 32), 32, 48))
        x = n.op("Add", x, linear(n, y, 48, 32))
    return n.dense(layer_norm(n, x, 32), 32, 3)


def gated(n):
    """SiLU and hard swish, and one half of a layer gating the other (GLU)."""
    x = silu(n, n.dense("x", 24, 40))
    a, b = n.op("Split", n.dense(x, 40, 48), np.array([24, 24], I), axis=-1, outputs=2)
    x = n.op("Mul", a, n.op("Sigmoid", b))
    x = n.op("HardSwish", n.op("Add", x, n.dense(x, 24, 24)))
    return n.op("LogSoftmax", n.dense(x, 24, 3), axis=-1)


def tcn(n, chomp):
    """Causal dilated convolutions with their weight norm folded; two a block, a shortcut of width one, the last step's answer.
    The past is padded before, or both sides are and the future is cut off (chomped)."""
    x = n.op("Transpose", "x", perm=[0, 2, 1])
    channels = 6
    for dilation in (1, 2, 4, 8):
        y, pad = x, 2 * dilation
        for depth in (channels, 12):
            if chomp:
                y = conv(n, y, 12, depth, 3, dilations=[dilation], pads=[pad, pad], strides=[1], group=1)
                y = n.op("Slice", y, n.op("Constant", value=np.array([0], I)), np.array([-pad], I), np.array([2], I), np.array([1], I))
            else:
                y = n.op("Pad", y, np.array([0, 0, pad, 0, 0, 0], I), F(0), mode="constant")
                y = conv(n, y, 12, depth, 3, dilations=[dilation], pads=[0, 0], strides=[1], group=1)
            y = n.op("Relu", y)
        skip = x if channels == 12 else conv(n, x, 12, channels, 1)
        x, channels = n.op("Relu", n.op("Add", y, skip)), 12
    return n.dense(n.op("Gather", x, np.array(-1, I), axis=2), 12, 3)


def tcn_keras(n):
    """The same by tf2onnx: channels last, each convolution one of two dimensions between a pair of views."""
    x = "x"
    for dilation, channels in ((1, 6), (2, 8), (4, 8)):
        padded = n.op("Pad", x, np.array([0, 2 * dilation, 0, 0, 0, 0], I))
        wide = n.op("Unsqueeze", n.op("Transpose", padded, perm=[0, 2, 1]), np.array([2], I))
        y = n.op("Conv", wide, n.random(8, channels, 1, 3, scale=0.3), dilations=[1, dilation], kernel_shape=[1, 3], strides=[1, 1])
        y = n.op("Transpose", n.op("Squeeze", y, np.array([2], I)), perm=[0, 2, 1])
        y = n.op("Relu", n.op("Add", y, n.random(8, scale=0.1)))
        x = n.op("Add", y, x) if channels == 8 else y
    flat = n.op("Squeeze", n.op("Slice", x, np.array([-1], I), np.array([LAST], I), np.array([1], I)), np.array([1], I))
    return n.op("Sigmoid", n.op("Add", n.op("MatMul", flat, n.random(8, 1)), n.random(1)))


def cnn(n):
    """Convolutions over time with batch norms and pools, as a classifier of a window."""
    x = n.op("Transpose", "x", perm=[0, 2, 1])
    for maps, depth in ((16, 8), (24, 16)):
        x = n.op("Relu", batch_norm(n, conv(n, x, maps, depth, 5, pads=[2, 2]), maps))
        x = n.op("MaxPool", x, kernel_shape=[2], strides=[2])
    x = n.op("AveragePool", conv(n, x, 16, 24, 3, auto_pad="SAME_UPPER"), kernel_shape=[2], strides=[2])
    x = n.op("Flatten", n.op("GlobalAveragePool", n.op("LeakyRelu", x, alpha=0.01)), axis=1)
    return n.op("Softmax", n.dense(x, 16, 3), axis=1)


def lob_blocks(n, width=8, tall=5, maps=16):
    """DeepLOB's convolutions over price and size, then over sides, then over `tall` levels, each with two over time; and its
    inception block. `width` maps, then three times `maps`, over time alone."""
    def block(x, maps, depth, height, width, act="LeakyRelu", **more):
        y = conv(n, x, maps, depth, height, width, **more)
        y = n.op("Tanh", y) if act == "Tanh" else n.op("LeakyRelu", y, alpha=0.01)
        return batch_norm(n, y, maps)
    x = n.op("Unsqueeze", "x", np.array([1], I)) if n.opset >= 13 else n.op("Unsqueeze", "x", axes=[1])
    for depth, act, across in ((1, "LeakyRelu", 2), (width, "Tanh", 2), (width, "LeakyRelu", tall)):
        x = block(x, width, depth, 1, across, act, strides=[1, 2] if across == 2 else [1, 1])
        x = block(block(x, width, width, 4, 1, act), width, width, 4, 1, act)
    same = lambda k: {"pads": [k // 2, 0, k // 2, 0]}
    branches = [block(block(x, maps, width, 1, 1), maps, maps, k, 1, **same(k)) for k in (3, 5)]
    pooled = n.op("MaxPool", x, kernel_shape=[3, 1], strides=[1, 1], **same(3))
    branches.append(block(pooled, maps, width, 1, 1))
    return n.op("Concat", *branches, axis=1)


def lob_mean(n):
    """DeepLOB with a mean over time where the recurrent layer stands."""
    x = n.op("Squeeze", lob_blocks(n), np.array([3], I))
    return n.op("Softmax", n.dense(n.op("ReduceMean", x, axes=[2], keepdims=0), 48, 3), axis=1)


def normalised(n, x, axis, length, width):
    """BiN's half: mean and unbiased deviation along an axis, a deviation of nearly 0 taken as 1, then a learned scale and shift."""
    centred = n.op("Sub", x, mean(n, x, axis))
    variance = n.op("Div", n.op("Mul", mean(n, n.op("Mul", centred, centred), axis), F(length)), F(length - 1))
    deviation = n.op("Sqrt", variance)
    deviation = n.op("Where", n.op("Less", deviation, F(1e-4)), F(1), deviation)
    scale, shift = ([width, 1] if axis == 2 else [1, width]), ([width, 1] if axis == 2 else [1, width])
    return n.op("Add", n.op("Mul", n.op("Div", centred, deviation), 1 + n.random(*scale, scale=0.1)), n.random(*shift, scale=0.1))


def bin_ctabl(n, by="MatMul"):
    """Bilinear normalisation, two bilinear layers, and one with temporal attention: features × time throughout."""
    times = (lambda w, x: n.op("MatMul", w, x)) if by == "MatMul" else (lambda w, x: n.op("Einsum", w, x, equation="ij,bjk->bik"))
    x = n.op("Transpose", "x", perm=[0, 2, 1])
    along_time, along_features = normalised(n, x, 2, 10, 16), normalised(n, x, 1, 16, 10)
    x = n.op("Add", n.op("Mul", F(0.6), along_time), n.op("Mul", F(0.4), along_features))
    for rows, into, steps, to in ((16, 24, 10, 10), (24, 12, 10, 5)):
        x = n.op("MatMul", times(n.random(into, rows, scale=0.25), x), n.random(steps, to, scale=0.3))
        x = n.op("Relu", n.op("Add", x, n.random(into, to, scale=0.1)))
    x = times(n.random(3, 12, scale=0.3), x)
    w = n.random(5, 5, scale=0.3)
    w[np.diag_indices(5)] = 1 / 5
    attention = n.op("Softmax", n.op("MatMul", x, w), axis=2)
    x = n.op("Add", n.op("Mul", n.op("Mul", x, attention), F(0.7)), n.op("Mul", x, F(0.3)))
    y = n.op("Add", n.op("MatMul", x, n.random(5, 1, scale=0.5)), n.random(3, 1))
    return n.op("Softmax", n.op("Squeeze", y, np.array([2], I)), axis=1)


def attention(n, causal=False):
    """An encoder layer of four heads over a window, its views computed from the input's shape; mean over time."""
    steps, width, heads = 12, 32, 4
    x = n.op("Add", linear(n, "x", 6, width), n.random(1, steps, width, scale=0.1))
    batch, length = size(n, x, 0), size(n, x, 1)
    thirds = {"split": [width] * 3} if n.opset < 13 else {}
    q, k, v = n.op("Split", linear(n, x, width, 3 * width), *([] if thirds else [np.array([width] * 3, I)]), axis=2, outputs=3, **thirds)
    split = lambda t, *perm: n.op("Transpose", view(n, t, batch, length, heads, width // heads), perm=perm)
    scores = n.op("MatMul", split(q, 0, 2, 1, 3), split(k, 0, 2, 3, 1))
    scores = n.op("Div", scores, n.op("Constant", value=np.array(np.sqrt(width // heads), F)))
    if causal:
        ahead = np.triu(np.ones((1, 1, steps, steps), bool), 1)
        scores = n.op("Where", ahead, F(-1e9), scores)
    mixed = n.op("Transpose", n.op("MatMul", n.op("Softmax", scores, axis=3), split(v, 0, 2, 1, 3)), perm=[0, 2, 1, 3])
    x = layer_norm(n, n.op("Add", x, linear(n, view(n, mixed, batch, length, width), width, width)), width)
    y = linear(n, gelu(n, linear(n, x, width, 48)), 48, width)
    x = layer_norm(n, n.op("Add", x, y), width)
    last = n.op("Gather", x, np.array(-1, I), axis=1) if causal else n.op("ReduceMean", x, axes=[1], keepdims=0)
    return n.dense(last, width, 3)


def models():
    made = {}
    shapes = [(f"deep_mixer_{opset}", 24, mixer, opset) for opset in (11, 13, 17, 20)] + [
        ("deep_gated", 24, gated, 17), ("deep_tcn", (32, 6), lambda n: tcn(n, False), 17),
        ("deep_tcn_chomp", (32, 6), lambda n: tcn(n, True), 13), ("deep_tcn_keras", (20, 6), tcn_keras, 13),
        ("deep_cnn", (40, 8), cnn, 17), ("deep_lob_mean", (40, 20), lob_mean, 17),
        ("deep_bin_ctabl", (10, 16), bin_ctabl, 17), ("deep_bin_ctabl_einsum", (10, 16), lambda n: bin_ctabl(n, "Einsum"), 13),
        ("deep_attention_11", (12, 6), attention, 11), ("deep_attention", (12, 6), attention, 14),
        ("deep_attention_causal", (12, 6), lambda n: attention(n, True), 17),
    ]
    for name, inputs, build, opset in shapes:
        net = Net(name, inputs, opset)
        made[name] = (net.model(build(net)), inputs, None)
    return made
