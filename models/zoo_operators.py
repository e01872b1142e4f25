"""Operators of the default domain: a file for each family and option."""

import numpy as np

from zoo import Net

F = np.float32
I = np.int64


def models():
    made = {}

    def add(name, inputs, build, opset=17, batch="batch", finish=None):
        net = Net(name, inputs, opset, batch)
        model = net.model(build(net))
        made[name] = (model, inputs, None)

    def unary(name, op, opset=17, pre=None, **attributes):
        # Nineteen values: a whole register and a part of one. Once alone, once behind a dense layer that may take it in.
        def build(n):
            x = pre(n) if pre else "x"
            dense = n.op(op, n.dense("x", 19, 5), **attributes)
            return n.op("Concat", n.op(op, x, **attributes), dense, axis=1)

        add(name, 19, build, opset)

    # Dense layers.
    add("gemm", 7, lambda n: n.op("Gemm", "x", n.random(7, 5), n.random(5)))
    add("gemm_trans_b", 7, lambda n: n.op("Gemm", "x", n.random(5, 7), n.random(5), transB=1))
    add("gemm_alpha_beta", 7, lambda n: n.op("Gemm", "x", n.random(7, 5), n.random(5), alpha=0.5, beta=-2.0))
    add("gemm_no_bias", 9, lambda n: n.op("Gemm", "x", n.random(9, 17)))
    add("gemm_scalar_bias", 9, lambda n: n.op("Gemm", "x", n.random(9, 17), F(0.7)))
    add("gemm_bias_row", 9, lambda n: n.op("Gemm", "x", n.random(9, 17), n.random(1, 17), beta=0.3))
    add("gemm_rows", 12, lambda n: n.op("Gemm", n.shaped(3, 4), n.random(4, 6), n.random(6)))
    add("gemm_trans_a", 12, lambda n: n.op("Gemm", n.shaped(4, 3), n.random(4, 6), n.random(6), transA=1), batch=1)
    add("gemm_trans_a_row", 5, lambda n: n.op("Gemm", n.shaped(1, 5), n.random(1, 6), n.random(6), transA=1), batch=1)
    # All panel widths: 8, 4, 2 and 1 registers, and a part of one.
    for outputs in (1, 16, 31, 64, 100, 128, 200, 255):
        add(f"gemm_to_{outputs}", 13, lambda n: n.op("Gemm", "x", n.random(13, outputs), n.random(outputs)))
    add("matmul", 11, lambda n: n.op("MatMul", "x", n.random(11, 6)))
    add("matmul_add", 11, lambda n: n.op("Add", n.op("MatMul", "x", n.random(11, 6)), n.random(6)))
    add("matmul_add_relu", 11, lambda n: n.op("Relu", n.op("Add", n.random(6), n.op("MatMul", "x", n.random(11, 6)))))
    add("matmul_vector", 11, lambda n: n.op("MatMul", n.shaped(11), n.random(11, 6)), batch=1)
    add("matmul_3d", 24, lambda n: n.op("Add", n.op("MatMul", n.shaped(2, 3, 4), n.random(4, 5)), n.random(5)))
    add("matmul_rows_relu", 24, lambda n: n.op("Relu", n.op("MatMul", n.shaped(2, 3, 4), n.random(4, 16))))
    add("matmul_computed", 24, lambda n: n.op("MatMul", n.shaped(3, 8), n.shaped(8, 3)), batch=1)
    add("matmul_batched", 24, lambda n: n.op("MatMul", n.shaped(2, 3, 4), n.shaped(2, 4, 3)), batch=1)
    add("matmul_broadcast", 24, lambda n: n.op("MatMul", n.shaped(2, 3, 4), n.random(1, 4, 5)), batch=1)
    add("matmul_constant_left", 12, lambda n: n.op("MatMul", n.random(5, 4), n.shaped(4, 3)), batch=1)
    add("matmul_batched_weights", 24, lambda n: n.op("MatMul", n.shaped(2, 3, 4), n.random(2, 4, 5)), batch=1)

    # Arithmetic: with constants on either side, between activations, and broadcast.
    for op in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        low = op.lower()
        add(f"{low}_constant", 19, lambda n: n.op(op, "x", n.random(19)))
        add(f"{low}_scalar", 19, lambda n: n.op(op, "x", F(0.37)))
        add(f"{low}_from_constant", 19, lambda n: n.op(op, n.random(19), "x"))
        add(f"{low}_computed", 18, lambda n: n.op(op, *n.op("Split", "x", np.array([9, 9], I), axis=1, outputs=2)))
        add(f"{low}_broadcast", 12, lambda n: n.op(op, n.shaped(1, 3, 4), n.shaped(4, 3, 1)), batch=1)
        add(f"{low}_wider_constant", 4, lambda n: n.op(op, n.shaped(1, 4), n.random(3, 1)), batch=1)
        add(f"{low}_behind_dense", 7, lambda n: n.op(op, n.dense("x", 7, 5), n.random(5)))
    for op in ("Sum", "Mean", "Max", "Min"):
        add(f"{op.lower()}_of_three", 12, lambda n: n.op(op, *n.op("Split", "x", axis=1, outputs=3)))
    add("sum_of_one", 12, lambda n: n.op("Sum", "x"))
    add("div_by_tiny", 4, lambda n: n.op("Div", "x", np.array([1e-39, -1e-40, 0.0, 1e38], F)))
    positive = lambda n: n.op("Add", n.op("Abs", "x"), F(0.01))
    for name, p in (("square", 2.0), ("cube", 3.0), ("root", 0.5), ("real", 1.7), ("inverse", -1.0), ("zero", 0.0)):
        add(f"pow_{name}", 19, lambda n: n.op("Pow", "x", F(p)))
    add("pow_integer", 19, lambda n: n.op("Pow", "x", np.array(2, I)))
    add("pow_constants", 4, lambda n: n.op("Pow", positive(n), np.array([0.5, 2.0, -1.5, 0.0], F)))
    add("pow_computed", 8, lambda n: n.op("Pow", n.op("Abs", n.op("Slice", "x", [0], [4], [1])), n.op("Slice", "x", [4], [8], [1])))

    # Functions of one value.
    for op in ("Relu", "Elu", "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Abs", "Neg", "Exp", "Erf"):
        unary(op.lower(), op)
    for op in ("Floor", "Ceil", "Round", "Sign"):
        unary(op.lower(), op)
    add("reciprocal", 19, lambda n: n.op("Reciprocal", "x"))
    unary("sqrt", "Sqrt", pre=positive)
    unary("log", "Log", pre=positive)
    unary("leakyrelu_alpha", "LeakyRelu", alpha=0.3)
    unary("elu_alpha", "Elu", alpha=0.4)
    unary("hardsigmoid_alpha_beta", "HardSigmoid", alpha=0.1, beta=0.6)
    unary("gelu", "Gelu", opset=20)
    unary("gelu_tanh", "Gelu", opset=20, approximate="tanh")
    add("round_halves", 6, lambda n: n.op("Round", n.op("Mul", n.op("Floor", n.op("Mul", "x", F(4))), F(0.5))))
    add("clip", 19, lambda n: n.op("Clip", "x", F(-0.5), F(0.7)))
    add("clip_low", 19, lambda n: n.op("Clip", "x", F(-0.5)))
    add("clip_high", 19, lambda n: n.op("Clip", "x", "", F(0.5)))
    add("clip_attributes", 19, lambda n: n.op("Clip", n.dense("x", 19, 5), min=-0.5, max=0.5), opset=9)
    add("prelu", 19, lambda n: n.op("PRelu", "x", n.random(19)))
    add("prelu_one", 19, lambda n: n.op("PRelu", n.dense("x", 19, 5), np.array([0.2], F)))
    add("identity_dropout", 5, lambda n: n.op("Identity", n.op("Dropout", n.dense("x", 5, 3))))
    add("cast_double_and_back", 5, lambda n: n.op("Cast", n.op("Cast", "x", to=11), to=1))

    # Over axes.
    for opset in (11, 17):
        for op in ("Softmax", "LogSoftmax"):
            for at in (0, 1, 2, -1):
                add(f"{op.lower()}_{opset}_axis{at}".replace("-", "m"), 24,
                    lambda n: n.op(op, n.shaped(2, 3, 4), axis=at), opset, 1)
        add(f"softmax_{opset}", 19, lambda n: n.op("Softmax", n.dense("x", 19, 21)), opset)
    axes = {"all": [0, 1, 2], "last": [2], "first": [0], "middle": [1], "negative": [-1, 0]}
    for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd"):
        for name, over in axes.items() if op in ("ReduceMean", "ReduceMax") else (("last", [2]), ("first", [0])):
            add(f"{op.lower()}_{name}", 120, lambda n: n.op(op, n.shaped(2, 3, 20), axes=over, keepdims=len(over) % 2), batch=1)
    for name, over in axes.items():
        add(f"reducesum_{name}", 120, lambda n: n.op("ReduceSum", n.shaped(2, 3, 20), np.array(over, I), keepdims=0), batch=1)
    add("reducesum_none", 12, lambda n: n.op("ReduceSum", n.shaped(3, 4), noop_with_empty_axes=1), batch=1)
    add("reducemean_18", 12, lambda n: n.op("ReduceMean", n.shaped(3, 4), np.array([1], I)), 18, 1)
    add("layernorm", 19, lambda n: n.op("LayerNormalization", "x", n.random(19), n.random(19), epsilon=1e-4))
    add("layernorm_no_bias", 40, lambda n: n.op("LayerNormalization", n.shaped(2, 20), n.random(20)), batch=1)
    add("layernorm_two_axes", 24, lambda n: n.op("LayerNormalization", n.shaped(2, 3, 4), n.random(3, 4), n.random(3, 4), axis=1), batch=1)
    norm = lambda n, c, *dims: n.op("BatchNormalization", n.shaped(*dims), n.random(c), n.random(c), n.random(c),
                                    np.abs(n.random(c)) + F(0.1), epsilon=1e-3)
    add("batchnorm", 5, lambda n: norm(n, 5, 1, 5))
    add("batchnorm_2d", 24, lambda n: norm(n, 3, 1, 3, 2, 4), batch=1)
    add("batchnorm_14", 24, lambda n: norm(n, 3, 1, 3, 8), 14, 1)

    moving(add)
    windows(add)
    return made


def moving(add):
    """Values moved about, and shapes computed on the way."""
    for at in (0, 1, 2, -1):
        def concat(n, at=at):
            x = n.shaped(2, 3, 4)
            return n.op("Concat", x, n.op("Neg", x), n.random(2, 3, 4), axis=at)
        add(f"concat_{at}".replace("-", "m"), 24, concat, batch=1)
    add("concat_uneven", 12, lambda n: n.op("Concat", n.shaped(2, 6), n.op("Slice", n.shaped(2, 6), [1], [4], [1]), axis=1), batch=1)
    parts = lambda n, x, **k: n.op("Concat", *reversed(n.op("Split", x, **k)), axis=k["axis"])
    add("split_even", 12, lambda n: parts(n, "x", axis=1, outputs=3))
    add("split_axis0", 12, lambda n: parts(n, n.shaped(6, 2), axis=0, outputs=2), batch=1)
    add("split_sizes", 12, lambda n: n.op("Concat", *reversed(n.op("Split", "x", np.array([2, 7, 3], I), axis=1, outputs=3)), axis=1))
    add("split_attribute", 12, lambda n: parts(n, "x", axis=-1, split=[1, 8, 3], outputs=3), opset=11)
    add("split_num_outputs", 11, lambda n: parts(n, "x", axis=1, num_outputs=3, outputs=3), opset=18)
    sliced = lambda n, starts, ends, axes, steps: n.op("Slice", n.shaped(2, 3, 8), *(np.array(v, I) for v in (starts, ends, axes, steps)))
    big = 2**63 - 1
    for name, (starts, ends, axes, steps) in {
        "plain": ([1], [6], [2], [1]), "step": ([0], [big], [2], [3]), "back": ([-1], [-big - 1], [2], [-1]),
        "back_step": ([6], [0], [2], [-2]), "axes": ([0, 1], [1, 8], [0, -1], [1, 2]), "negative_ends": ([-5], [-1], [-1], [1]),
        "back_axes": ([-1, 2], [-9, -9], [0, 1], [-1, -2]),
    }.items():
        add(f"slice_{name}", 48, lambda n: sliced(n, starts, ends, axes, steps), batch=1)
    add("slice_attributes", 12, lambda n: n.op("Slice", "x", axes=[1], starts=[2], ends=[9]), opset=9)
    add("gather_rows", 24, lambda n: n.op("Gather", n.shaped(6, 4), np.array([5, 0, -1], I), axis=0), batch=1)
    add("gather_columns", 24, lambda n: n.op("Gather", n.shaped(2, 3, 4), np.array([[3, 0], [1, -4]], I), axis=2), batch=1)
    add("gather_last_step", 24, lambda n: n.op("Gather", n.shaped(1, 6, 4), np.array(-1, I), axis=1), batch=1)
    add("reshape_copy_and_open", 24, lambda n: n.op("Reshape", n.shaped(2, 3, 4), np.array([0, -1], I)), batch=1)
    for at in (0, 1, 2, 3, -1):
        add(f"flatten_{at}".replace("-", "m"), 24, lambda n: n.op("Flatten", n.shaped(2, 3, 4), axis=at), batch=1)
    add("squeeze", 12, lambda n: n.op("Squeeze", n.shaped(1, 12, 1), np.array([-1], I)), batch=1)
    add("squeeze_all", 12, lambda n: n.op("Add", n.op("Squeeze", n.shaped(1, 12, 1)), n.random(12)), batch=1)
    add("squeeze_attribute", 12, lambda n: n.op("Squeeze", n.shaped(1, 12, 1), axes=[0]), opset=11, batch=1)
    add("unsqueeze", 12, lambda n: n.op("Add", n.op("Unsqueeze", n.shaped(3, 4), np.array([0, -1], I)), n.random(2, 1, 1, 2)), batch=1)
    add("unsqueeze_attribute", 12, lambda n: n.op("Mul", n.op("Unsqueeze", n.shaped(3, 4), axes=[1]), n.random(2, 4)), opset=11, batch=1)
    add("transpose", 24, lambda n: n.op("Transpose", n.shaped(2, 3, 4)), batch=1)
    for perm in ([0, 2, 1], [1, 0, 2], [2, 0, 1], [1, 2, 0]):
        add("transpose_" + "".join(map(str, perm)), 24, lambda n: n.op("Transpose", n.shaped(2, 3, 4), perm=perm), batch=1)
    add("expand", 6, lambda n: n.op("Expand", n.shaped(3, 1, 2), np.array([2, 1, 4, 1], I)), batch=1)
    add("tile", 6, lambda n: n.op("Tile", n.shaped(2, 3), np.array([3, 2], I)), batch=1)
    add("pad", 6, lambda n: n.op("Pad", n.shaped(2, 3), np.array([0, 2, 1, 1], I), F(0.5)), batch=1)
    add("pad_attribute", 6, lambda n: n.op("Pad", n.shaped(2, 3), pads=[1, 0, 0, 2], value=-1.5), opset=9, batch=1)

    def by_shape(n):
        # What exporters write for x.view(x.size(0), -1, 4): a shape taken apart and put together again.
        shape = n.op("Shape", n.dense("x", 12, 8))
        batch = n.op("Unsqueeze", n.op("Gather", shape, np.array(0, I)), np.array([0], I))
        width = n.op("Div", n.op("Slice", shape, [1], [2]), np.array([4], I))
        return n.op("Reshape", n.op("Relu", "v0_0"), n.op("Concat", batch, width, np.array([4], I), axis=0))
    add("shape_subgraph", 12, by_shape)
    add("shape_part", 12, lambda n: n.op("Expand", n.op("Slice", "x", [0], [1], [1]), n.op("Shape", n.shaped(2, 3, 2), start=-2)), batch=1)
    add("shape_cast", 12, lambda n: n.op("Div", "x", n.op("Sqrt", n.op("Cast", n.op("Gather", n.op("Shape", "x"), np.array(1, I)), to=1))))
    add("constant_of_shape", 4, lambda n: n.op("Add", "x", n.op("ConstantOfShape", np.array([4], I), value=np.array([2.5], F))))
    add("constant_node", 4, lambda n: n.op("Add", n.op("Mul", "x", n.op("Constant", value_float=1.5)), n.op("Constant", value=n.random(4))))
    add("constant_lists", 3, lambda n: n.op("Mul", n.shaped(3), n.op("Constant", value_floats=[1.0, 2.0, -3.0])), batch=1)
    add("range_gather", 8, lambda n: n.op("Gather", "x", n.op("Range", np.array(6, I), np.array(0, I), np.array(-2, I)), axis=1))
    add("range_up", 8, lambda n: n.op("Gather", "x", n.op("Range", np.array(1, I), np.array(8, I), np.array(3, I)), axis=1))
    add("folded_floats", 4, lambda n: n.op("Mul", "x", n.op("Exp", n.op("Transpose", n.random(4, 1)))))


def windows(add):
    """Convolutions and pools."""
    def conv(name, dims, weights, opset=17, bias=True, relu=False, **attributes):
        def build(n):
            extra = [n.random(weights[0])] if bias else []
            w = n.random(*weights, scale=1 / np.sqrt(np.prod(weights[1:])))
            y = n.op("Conv", n.shaped(*dims), w, *extra, **attributes)
            return n.op("Relu", y) if relu else y
        add(f"conv_{name}", int(np.prod(dims)), build, opset, 1)

    conv("1d", (1, 3, 10), (5, 3, 3))
    conv("1d_no_bias", (1, 3, 10), (16, 3, 3), bias=False, relu=True)
    conv("1d_stride", (1, 3, 11), (5, 3, 3), strides=[2], pads=[1, 1])
    conv("1d_causal", (1, 3, 12), (5, 3, 3), dilations=[4], pads=[8, 0])
    conv("1d_depthwise", (1, 4, 9), (4, 1, 3), group=4, pads=[1, 1])
    conv("1d_groups", (1, 4, 9), (6, 2, 3), group=2, pads=[1, 1])
    conv("1d_pointwise", (1, 4, 9), (7, 4, 1))
    conv("2d", (1, 2, 6, 7), (3, 2, 3, 2), pads=[1, 0, 1, 1])
    conv("2d_stride", (1, 1, 10, 8), (16, 1, 1, 2), strides=[1, 2])
    conv("2d_dilated_groups", (1, 4, 8, 6), (4, 2, 3, 2), group=2, dilations=[2, 3])
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        conv(f"1d_{mode.lower()}", (1, 2, 11), (3, 2, 4), auto_pad=mode)
        conv(f"2d_{mode.lower()}", (1, 2, 7, 5), (3, 2, 4, 3), auto_pad=mode, strides=[2, 1])
    for op in ("MaxPool", "AveragePool"):
        def pool(name, dims, kernel, opset=17, **attributes):
            add(f"{op.lower()}_{name}", int(np.prod(dims)),
                lambda n: n.op(op, n.shaped(*dims), kernel_shape=kernel, **attributes), opset, 1)
        pool("1d", (1, 2, 9), [3])
        pool("1d_pads", (1, 2, 9), [3], pads=[1, 2], strides=[2])
        pool("2d", (1, 2, 6, 5), [2, 3], strides=[2, 1])
        pool("2d_same_upper", (1, 2, 7, 5), [2, 2], auto_pad="SAME_UPPER", strides=[2, 2])
        pool("2d_same_lower", (1, 2, 7, 5), [2, 2], auto_pad="SAME_LOWER", strides=[2, 2])
        pool("1d_dilated", (1, 2, 9), [3], opset=19, dilations=[2])
        add(f"global{op.lower()}", 24, lambda n: n.op("Global" + op, n.shaped(1, 3, 2, 4)), batch=1)
    add("averagepool_1d_with_pads", 18, lambda n: n.op("AveragePool", n.shaped(1, 2, 9), kernel_shape=[3], pads=[1, 2],
                                                       strides=[2], count_include_pad=1), batch=1)
