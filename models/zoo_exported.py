"""Operators that exporters write around the plain ones: comparisons and choices, newer activations, padding, einsum, shapes."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from zoo import Net

F = np.float32
I = np.int64


def models():
    made = {}

    def add(name, inputs, build, opset=17, batch="batch"):
        net = Net(name, inputs, opset, batch)
        made[name] = (net.model(build(net)), inputs, None)

    choices(add)
    activations(add)
    padding(add)
    products(add)
    norms(add)
    shapes(add)
    stored(add)
    # The same small net in every opset that is known.
    for opset in range(7, 26):
        def small(n):
            x = n.op("Relu", n.op("Gemm", "x", n.random(6, 9), n.random(9)))
            x = n.op("Reshape", n.op("Sub", n.op("Tanh", x), n.op("Sigmoid", x)), np.array([-1, 9], I))
            return n.op("Softmax", n.op("Gemm", n.op("Concat", x, n.op("Elu", x), axis=1), n.random(18, 3), n.random(3)), axis=1)
        add(f"opset_{opset}", 6, small, opset)
    return made


def choices(add):
    halves = lambda n, x="x": n.op("Split", x, np.array([9, 9], I), axis=1, outputs=2)
    for op in ("Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual"):
        low = op.lower()
        rounded = lambda n: halves(n, n.op("Round", "x"))
        add(f"{low}_constant", 19, lambda n: n.op("Cast", n.op(op, "x", F(0.25)), to=1))
        add(f"{low}_computed", 18, lambda n: n.op("Cast", n.op(op, *rounded(n)), to=1))
    for op in ("And", "Or", "Xor"):
        add(f"truth_{op.lower()}", 18, lambda n: n.op("Cast", n.op(op, *(n.op("Greater", h, F(0)) for h in halves(n))), to=1))
    add("truth_not", 19, lambda n: n.op("Cast", n.op("Not", n.op("Less", "x", n.random(19))), to=1))
    add("where_zero", 12, lambda n: n.op("Where", n.op("Greater", "x", F(0.1)), "x", F(0)))
    add("where_constant", 4, lambda n: n.op("Where", np.array([True, False, True, False]), "x", n.op("Neg", "x")))
    add("where_broadcast", 12, lambda n: n.op("Where", n.op("Less", n.shaped(3, 1, 4), F(0.3)), n.random(3, 2, 1), n.op("Neg", n.shaped(3, 1, 4))), batch=1)
    add("where_isnan", 19, lambda n: n.op("Where", n.op("IsNaN", "x"), F(0.5), "x"))
    add("cast_to_bool", 19, lambda n: n.op("Cast", n.op("Cast", n.op("Relu", "x"), to=9), to=1))
    add("cast_truth_times", 19, lambda n: n.op("Mul", "x", n.op("Cast", n.op("Greater", "x", F(0)), to=1)))
    add("castlike", 5, lambda n: n.op("Mul", n.op("CastLike", "x", n.random(2)), F(2)))


def activations(add):
    def unary(name, op, opset=17, **attributes):
        def build(n):
            return n.op("Concat", n.op(op, "x", **attributes), n.op(op, n.dense("x", 19, 5), **attributes), axis=1)
        add(name, 19, build, opset)
    unary("hardswish", "HardSwish")
    unary("mish", "Mish", 18)
    unary("softsign", "Softsign")
    unary("selu", "Selu")
    unary("selu_alpha", "Selu", alpha=1.2, gamma=0.9)
    unary("celu", "Celu", alpha=0.7)
    unary("thresholdedrelu", "ThresholdedRelu", alpha=0.4)
    add("sin_cos", 19, lambda n: n.op("Add", n.op("Sin", n.op("Clip", "x", F(-9), F(9))), n.op("Cos", n.op("Clip", "x", F(-9), F(9)))))
    add("silu", 19, lambda n: n.op("Mul", "x", n.op("Sigmoid", "x")))
    add("silu_behind_dense", 7, lambda n: (lambda d: n.op("Mul", d, n.op("Sigmoid", d)))(n.dense("x", 7, 20)))
    hard = lambda n, x: n.op("Div", n.op("Mul", x, n.op("Clip", n.op("Add", x, F(3)), F(0), F(6))), F(6))
    add("hardswish_written_out", 19, lambda n: hard(n, "x"))
    add("mish_written_out", 19, lambda n: n.op("Mul", "x", n.op("Tanh", n.op("Softplus", "x"))))
    # A view of a layer that others read too: an activation must not be taken into the layer.
    def viewed(n):
        d = n.dense("x", 7, 16)
        return n.op("Concat", n.op("Relu", n.op("Flatten", d)), d, axis=1)
    add("activation_behind_a_view", 7, viewed)


def padding(add):
    pad = lambda name, dims, pads, opset=18, *more, **k: add(f"pad_{name}", int(np.prod(dims)), lambda n: n.op(
        "Pad", n.shaped(*dims), np.array(pads, I), *more, **k), opset, 1)
    pad("reflect", (2, 5), [0, 3, 1, 4], mode="reflect")
    pad("edge", (2, 5), [1, 7, 0, 2], mode="edge")
    pad("wrap", (2, 5), [1, 2, 0, 3], 19, mode="wrap")
    pad("cut", (3, 5), [-1, 2, 0, -3])
    pad("axes", (2, 3, 5), [2, 1], 18, F(0.5), np.array([-1], I))
    for op in ("MaxPool", "AveragePool"):
        low = op.lower()
        for dims, kernel, stride, pads in (((1, 2, 10), [3], [2], [0, 0]), ((1, 1, 12), [5], [3], [2, 2]), ((1, 1, 7, 6), [2, 3], [2, 2], [0, 1, 0, 1])):
            add(f"{low}_ceil_{len(kernel)}d_{stride[0]}", int(np.prod(dims)), lambda n: n.op(
                op, n.shaped(*dims), kernel_shape=kernel, strides=stride, pads=pads, ceil_mode=1), 19, 1)


def products(add):
    einsum = lambda name, equation, *dims: add(f"einsum_{name}", int(np.prod(dims[0])), lambda n: n.op(
        "Einsum", n.shaped(*dims[0]), *(n.random(*d) for d in dims[1:]), equation=equation), batch=1)
    einsum("dense", "bij,jk->bik", (2, 3, 4), (4, 5))
    einsum("weights_left", "ij,bjk->bik", (5, 3), (2, 3, 4))
    einsum("outer", "i,j->ij", (6,), (4,))
    einsum("batched", "bhqd,bhkd->bhqk", (1, 2, 3, 4), (1, 2, 5, 4))
    einsum("sum", "bij->bj", (2, 3, 4))
    einsum("transpose", "bij->jib", (2, 3, 4))
    einsum("inner", "bij,bij->b", (2, 3, 4), (2, 3, 4))
    einsum("sum_of_one", "ij,jk->k", (3, 4), (4, 5))
    add("einsum_computed", 24, lambda n: n.op("Einsum", n.shaped(2, 3, 4), n.op("Tanh", n.shaped(2, 4, 3)), equation="bij,bjk->bik"), batch=1)
    add("matmul_by_vector", 24, lambda n: n.op("MatMul", n.shaped(2, 3, 4), n.random(4)), batch=1)
    add("matmul_of_vector", 12, lambda n: n.op("MatMul", n.op("Slice", n.shaped(12), [0], [3], [0]), n.op("Tanh", n.shaped(2, 3, 2))), batch=1)
    add("gemm_computed", 12, lambda n: n.op("Gemm", n.shaped(3, 4), n.op("Tanh", n.shaped(4, 3)), n.random(3), alpha=0.5, beta=0.3), batch=1)
    add("gemm_computed_turned", 12, lambda n: n.op(
        "Gemm", n.shaped(4, 3), n.op("Tanh", n.shaped(3, 4)), transA=1, transB=1), batch=1)


def norms(add):
    add("instancenorm", 24, lambda n: n.op("InstanceNormalization", n.shaped(1, 3, 8), n.random(3), n.random(3), epsilon=1e-3), batch=1)
    add("groupnorm_18", 24, lambda n: n.op("GroupNormalization", n.shaped(1, 6, 4), n.random(2), n.random(2), num_groups=2), 18, 1)
    add("groupnorm_21", 24, lambda n: n.op("GroupNormalization", n.shaped(1, 6, 2, 2), n.random(6), n.random(6), num_groups=2), 21, 1)
    add("rmsnorm", 24, lambda n: n.op("RMSNormalization", n.shaped(3, 8), n.random(8), epsilon=1e-4), 23, 1)

    def by_groups(n):
        # As torch.onnx writes GroupNorm: groups as the channels of an InstanceNormalization, then scale and shift.
        x = n.shaped(1, 6, 4)
        y = n.op("InstanceNormalization", n.op("Reshape", x, np.array([0, 2, -1], I)), np.ones(2, F), np.zeros(2, F))
        y = n.op("Reshape", y, n.op("Shape", x))
        return n.op("Add", n.op("Mul", y, n.random(6, 1)), n.random(6, 1))
    add("groupnorm_written_out", 24, by_groups, 13, 1)


def shapes(add):
    def expanded(n):
        # torch.onnx's Tensor.expand(-1, 3, 4): -1 is replaced by where the wanted shape says so.
        wanted = np.array([-1, 3, 4], I)
        ones = n.op("ConstantOfShape", n.op("Shape", wanted), value=np.array([1], I))
        shape = n.op("Where", n.op("Equal", wanted, n.op("Mul", ones, np.array(-1, I))), ones, wanted)
        return n.op("Mul", n.op("Expand", n.op("Unsqueeze", n.dense("x", 5, 4), np.array([1], I)), shape), n.random(3, 4))
    add("shape_expand", 5, expanded)

    def counted(n):
        # x.view(-1) with the number of values counted first.
        shape = n.op("Shape", n.dense("x", 6, 8))
        rest = n.op("ReduceProd", n.op("Slice", shape, np.array([0], I), np.array([2], I)), keepdims=1)
        return n.op("Reshape", n.op("Tanh", "v0_0"), n.op("Concat", np.array([1], I), rest, axis=0))
    add("shape_product", 6, counted)
    add("shape_size", 6, lambda n: n.op("Div", "x", n.op("Cast", n.op("Size", "x"), to=1)))

    def positions(n):
        # Steps counted up to the sequence's length pick their rows of a table.
        length = n.op("Gather", n.op("Shape", n.shaped(1, 4, 3)), np.array(1, I))
        rows = n.op("Range", np.array(0, I), length, np.array(1, I))
        return n.op("Add", "v0_0", n.op("Gather", n.random(9, 3), rows))
    add("shape_positions", 12, positions, batch=1)

    def masked(n):
        # A causal mask: what is ahead counts as -∞ before the softmax.
        scores = n.op("MatMul", n.shaped(1, 4, 3), n.op("Transpose", n.shaped(1, 4, 3), perm=[0, 2, 1]))
        ahead = n.op("Cast", n.op("Trilu", np.ones((4, 4), F), np.array(1, I)), to=9)
        return n.op("Softmax", n.op("Where", ahead, F(-np.inf), scores), axis=-1)
    add("causal_mask", 12, masked, batch=1)
    add("trilu_lower", 12, lambda n: n.op("Trilu", n.shaped(3, 4), np.array(-1, I), upper=0), batch=1)


def stored(add):
    """Constants of other kinds of floats."""
    for kind, name in ((TensorProto.FLOAT16, "float16"), (TensorProto.BFLOAT16, "bfloat16"), (TensorProto.DOUBLE, "double")):
        def build(n):
            values = n.random(6, 4)
            n.constants.append(helper.make_tensor("w", kind, (6, 4), values.flatten().tolist()))
            return n.op("MatMul", "x", n.op("Cast", "w", to=1))
        add(f"stored_{name}", 6, build)
    def raw(n):
        n.constants.append(numpy_helper.from_array(n.random(6, 4).astype(np.float16), "w"))
        return n.op("MatMul", "x", n.op("Cast", "w", to=1))
    add("stored_float16_raw", 6, raw)
