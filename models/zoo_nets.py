"""Whole nets as exporters write them: LayerNorm and GELU as their decompositions, views as Reshapes."""

import numpy as np

from zoo import Net

F = np.float32
I = np.int64


def layer_norm(n, x, width):
    """The decomposition that torch.onnx writes below opset 17."""
    centred = n.op("Sub", x, n.op("ReduceMean", x, axes=[-1]))
    variance = n.op("ReduceMean", n.op("Pow", centred, F(2)), axes=[-1])
    y = n.op("Div", centred, n.op("Sqrt", n.op("Add", variance, F(1e-5))))
    return n.op("Add", n.op("Mul", y, 1 + n.random(width, scale=0.1)), n.random(width, scale=0.1))


def gelu(n, x):
    """x / 2 · (1 + erf(x / √2)), written out."""
    return n.op("Mul", n.op("Mul", x, n.op("Add", n.op("Erf", n.op("Div", x, F(np.sqrt(2)))), F(1))), F(0.5))


def gelu_tanh(n, x):
    inner = n.op("Mul", n.op("Add", x, n.op("Mul", n.op("Pow", x, F(3)), F(0.044715))), F(0.7978846))
    return n.op("Mul", n.op("Mul", F(0.5), x), n.op("Add", F(1), n.op("Tanh", inner)))


def dense(n):
    x = n.op("Relu", n.dense("x", 20, 40))
    x = n.op("Tanh", n.dense(x, 40, 24))
    return n.op("Softmax", n.dense(x, 24, 3))


def residual(n):
    x = n.op("Relu", n.dense("x", 20, 32))
    for _ in range(2):
        x = n.op("Add", x, n.dense(n.op("Relu", n.dense(x, 32, 16)), 16, 32))
    return n.dense(x, 32, 2)


def norm_gelu(n, gelu=gelu):
    x = gelu(n, layer_norm(n, n.dense("x", 20, 24), 24))
    return n.dense(n.op("LayerNormalization", x, n.random(24), n.random(24)), 24, 3)


def attention(n):
    """One head over eight steps of five features, and the last step's answer."""
    x = n.op("Add", n.op("MatMul", n.shaped(1, 8, 5), n.random(5, 12)), n.random(8, 12, scale=0.1))
    q, k, v = (n.op("MatMul", x, n.random(12, 12)) for _ in range(3))
    heads = lambda t, *perm: n.op("Transpose", n.op("Reshape", t, np.array([1, 8, 2, 6], I)), perm=perm)
    scores = n.op("Mul", n.op("MatMul", heads(q, 0, 2, 1, 3), heads(k, 0, 2, 3, 1)), F(1 / np.sqrt(6)))
    mixed = n.op("MatMul", n.op("Softmax", scores, axis=-1), heads(v, 0, 2, 1, 3))
    joined = n.op("Reshape", n.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([1, 8, 12], I))
    x = layer_norm(n, n.op("Add", x, n.op("MatMul", joined, n.random(12, 12))), 12)
    return n.dense(n.op("Gather", x, np.array(-1, I), axis=1), 12, 3)


def tcn(n):
    """Causal, dilated 1, 2, 4, as Pad and Conv; residual; the last step's answer."""
    x = n.op("Transpose", n.shaped(1, 16, 5), perm=[0, 2, 1])
    channels = 5
    for dilation in (1, 2, 4):
        padded = n.op("Pad", x, np.array([0, 0, 2 * dilation, 0, 0, 0], I))
        y = n.op("Conv", padded, n.random(8, channels, 3, scale=0.3), n.random(8), dilations=[dilation], kernel_shape=[3])
        skip = n.op("Conv", x, n.random(8, channels, 1, scale=0.4), n.random(8)) if channels != 8 else x
        x, channels = n.op("Relu", n.op("Add", n.op("Relu", y), skip)), 8
    return n.dense(n.op("Squeeze", n.op("Slice", x, [-1], [2**63 - 1], [2]), np.array([2], I)), 8, 3)


def deeplob(n):
    """A limit order book's window through convolutions and an inception block; the recurrent part left out."""
    x = n.shaped(1, 1, 20, 8)
    def conv(x, maps, depth, height, width, **more):
        y = n.op("Conv", x, n.random(maps, depth, height, width, scale=1 / np.sqrt(depth * height * width)), n.random(maps, scale=0.1), **more)
        return n.op("BatchNormalization", n.op("LeakyRelu", y), *(1 + n.random(maps, scale=0.1), n.random(maps, scale=0.1),
                    n.random(maps, scale=0.1), 1 + np.abs(n.random(maps, scale=0.1))))
    for width in (2, 2, 2):
        x = conv(x, 4, 1 if width and x == "v0_0" else 4, 1, width, strides=[1, 2])
        x = conv(x, 4, 4, 3, 1)
    tall = {"pads": [1, 0, 1, 0]}
    branches = [conv(conv(x, 4, 4, 1, 1), 4, 4, 3, 1, **tall), conv(conv(x, 4, 4, 1, 1), 4, 4, 3, 1, **tall)]
    branches.append(conv(n.op("MaxPool", x, kernel_shape=[3, 1], strides=[1, 1], **tall), 4, 4, 1, 1))
    x = n.op("Concat", *branches, axis=1)
    return n.op("Softmax", n.dense(n.op("Flatten", n.op("ReduceMean", x, axes=[2])), 12, 3), axis=1)


def logits_and_heads(n):
    """A trunk and two heads of different activations, side by side."""
    trunk = n.op("Elu", n.dense("x", 20, 18))
    return n.op("Concat", n.op("Sigmoid", n.dense(trunk, 18, 1)), n.op("Softplus", n.dense(trunk, 18, 2)), trunk, axis=-1)


def models():
    made = {}
    for name, inputs, build, opset in (
        ("net_dense", 20, dense, 17), ("net_residual", 20, residual, 17), ("net_norm_gelu", 20, norm_gelu, 17),
        ("net_norm_gelu_tanh", 20, lambda n: norm_gelu(n, gelu_tanh), 17), ("net_attention", 40, attention, 17),
        ("net_tcn", 80, tcn, 17), ("net_deeplob", 160, deeplob, 17), ("net_heads", 20, logits_and_heads, 13),
    ):
        net = Net(name, inputs, opset, "batch" if inputs == 20 else 1)
        made[name] = (net.model(build(net)), inputs, None)
    return made
