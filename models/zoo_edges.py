"""Operators at the edges of their ranges, whole numbers among floats, and what scikit-learn's exporter moves columns with."""

import numpy as np

from zoo import Net

F = np.float32
I = np.int64


def models():
    made = {}

    def add(name, inputs, build, opset=17, batch="batch", version=1):
        net = Net(name, inputs, opset, batch)
        model = net.model(build(net))
        for opset in model.opset_import:
            opset.version = version if opset.domain == "ai.onnx.ml" else opset.version
        made[name] = (model, inputs, None)

    # A mean's division comes whatever is constant, and however many there are.
    add("mean_constant", 4, lambda n: n.op("Mean", "x", n.random(4)))
    add("mean_from_constant", 4, lambda n: n.op("Mean", n.random(4), "x"))
    add("mean_scalar", 4, lambda n: n.op("Mean", "x", F(1)))
    add("mean_wider_constant", 4, lambda n: n.op("Mean", "x", n.random(3, 4)), batch=1)
    add("mean_broadcast", 12, lambda n: n.op("Mean", n.shaped(3, 4), n.op("Slice", "x", [0], [4], [1])), batch=1)
    add("mean_behind_dense", 9, lambda n: n.op("Mean", n.dense("x", 9, 5), n.random(5)))
    add("mean_of_one", 4, lambda n: n.op("Mean", "x"))
    add("mean_of_constants", 4, lambda n: n.op("Add", "x", n.op("Mean", n.random(4), n.random(4), n.random(4))))
    add("mean_of_many", 5, lambda n: n.op("Mean", "x", n.random(5), n.op("Neg", "x"), F(2), n.op("Tanh", "x"), n.random(5)))
    add("div_by_huge", 4, lambda n: n.op("Div", n.op("Mul", "x", F(1e30)), np.array([3e37, 1e38, 3e38, 2e30], F)))

    # The admission shows rows of denormals, infinities and zeros to each of these.
    size = lambda n: n.op("Abs", "x")
    add("log_raw", 19, lambda n: n.op("Log", size(n)))
    add("log_raw_of_negative", 19, lambda n: n.op("Log", "x"))
    add("sqrt_raw", 19, lambda n: n.op("Sqrt", size(n)))
    add("exp_far", 19, lambda n: n.op("Exp", n.op("Sub", n.op("Mul", "x", F(4)), F(97))))
    add("log_of_exp", 19, lambda n: n.op("Log", n.op("Exp", n.op("Sub", n.op("Tanh", "x"), F(92)))))
    add("log_sum_exp_written_out", 12, lambda n: n.op("Log", n.op("ReduceSum", n.op(
        "Exp", n.op("Sub", n.op("Tanh", n.shaped(3, 4)), F(91))), np.array([1], I))), batch=1)
    add("erf_near_0", 19, lambda n: n.op("Mul", n.op("Erf", n.op("Mul", "x", F(1e-6))), F(1e6)))
    add("reciprocal_of_abs", 6, lambda n: n.op("Reciprocal", n.op("Abs", n.op("Neg", n.op("Relu", "x")))))
    add("pow_of_tiny", 6, lambda n: n.op("Mul", n.op("Pow", n.op("Mul", size(n), F(1e-20)), F(0.5)), F(1e10)))
    # Whole windows of -inf, which a runtime that starts at the lowest finite value misses: two-dimensional ones do not here.
    low = lambda n, *dims: n.op("Log", n.op("Relu", n.shaped(*dims)))
    add("maxpool_of_log", 36, lambda n: n.op("Exp", n.op("MaxPool", low(n, 1, 1, 6, 6), kernel_shape=[2, 2])), batch=1)
    add("maxpool_of_log_rows", 24, lambda n: n.op("Exp", n.op("MaxPool", low(n, 1, 2, 12, 1), kernel_shape=[3, 1], pads=[1, 0, 1, 0])), batch=1)
    add("reducemax_of_log", 12, lambda n: n.op("Exp", n.op("ReduceMax", low(n, 3, 4), axes=[1])), batch=1)
    add("max_of_log", 12, lambda n: n.op("Max", n.op("Log", n.op("Relu", "x")), F(-np.inf)))
    add("pad_with_minus_inf", 12, lambda n: n.op("Exp", n.op("Pad", n.shaped(3, 4), np.array([0, 2, 0, 1], I), F(-np.inf))), batch=1)
    add("maxpool_padded_with_minus_inf", 16, lambda n: n.op("Exp", n.op("MaxPool", n.op(
        "Pad", n.shaped(1, 1, 4, 4), np.array([0, 0, 2, 2, 0, 0, 2, 2], I), F(-np.inf)), kernel_shape=[2, 2])), batch=1)

    axes = {"all": [0, 1, 2], "last": [2], "first": [0], "middle": [1], "negative": [-1, 0]}
    for name, over in axes.items():
        add(f"reducelogsumexp_{name}", 120, lambda n: n.op("ReduceLogSumExp", n.shaped(2, 3, 20), axes=over, keepdims=len(over) % 2), batch=1)
    add("reducelogsumexp_18", 12, lambda n: n.op("ReduceLogSumExp", n.op("Mul", n.shaped(3, 4), F(300)), np.array([1], I)), 18, 1)
    add("reducelogsum", 12, lambda n: n.op("ReduceLogSum", n.op("Exp", n.shaped(3, 4)), axes=[1]), batch=1)
    for op in ("ArgMax", "ArgMin"):
        index = lambda n, x, **a: n.op("Cast", n.op(op, x, **a), to=1)
        add(f"{op.lower()}_row", 7, lambda n: index(n, "x", axis=1))
        add(f"{op.lower()}_last", 24, lambda n: index(n, n.shaped(2, 3, 4), axis=-1, keepdims=0), batch=1)
        add(f"{op.lower()}_first", 24, lambda n: index(n, n.shaped(2, 3, 4)), batch=1)
        # Ties: values cut to a few whole numbers.
        ties = lambda n: n.op("Floor", n.shaped(6, 4))
        for last in (0, 1):
            add(f"{op.lower()}_ties_{last}", 24, lambda n: index(n, ties(n), axis=1, select_last_index=last), batch=1)

    whole = lambda n, x, to=7: n.op("Cast", n.op("Mul", x, F(3)), to=to)
    add("cast_int64", 6, lambda n: n.op("Cast", whole(n, "x"), to=1))
    add("cast_int32", 6, lambda n: n.op("Cast", whole(n, "x", 6), to=1))
    add("cast_int_arithmetic", 6, lambda n: n.op("Cast", n.op("Add", n.op("Mul", whole(n, n.op("Tanh", "x")), np.array([2], I)), np.array([-5], I)), to=1))
    # Not by -1: the least integer divided by it ends ONNX Runtime's process.
    add("cast_int_divided", 6, lambda n: n.op("Cast", n.op("Div", whole(n, "x"), np.array([2, -2, 3, 1, -4, 7], I)), to=1))
    add("cast_int_compared", 6, lambda n: n.op("Cast", n.op("Equal", whole(n, "x"), np.array([1], I)), to=1))
    add("cast_int_chosen", 6, lambda n: n.op("Cast", n.op("Where", n.op("Greater", "x", F(0)), whole(n, "x"), np.array([7], I)), to=1))
    add("cast_to_double_and_whole", 6, lambda n: n.op("Cast", n.op("Cast", n.op("Cast", "x", to=11), to=7), to=1))

    columns = lambda n, x, *places: n.mlop("ArrayFeatureExtractor", x, np.array(places, I))
    add("columns_one", 6, lambda n: columns(n, "x", 4))
    add("columns_some", 6, lambda n: columns(n, "x", 5, 0, 0, 3))
    add("columns_of_rows", 12, lambda n: columns(n, n.shaped(3, 4), 2, 1), batch=1)
    add("columns_of_list", 6, lambda n: columns(n, n.shaped(6), 2, 1), batch=1)
    add("columns_computed", 5, lambda n: n.mlop(
        "ArrayFeatureExtractor", n.random(1, 5), n.op("Reshape", n.op("ArgMax", "x", axis=1), np.array([-1], I))), batch=1)
    add("one_hot", 3, lambda n: n.mlop("OneHotEncoder", n.op("Cast", "x", to=7), cats_int64s=[0, -1, 1, 5]))
    add("one_hot_of_floats", 3, lambda n: n.mlop("OneHotEncoder", n.op("Mul", "x", F(2)), cats_int64s=[0, 1, -2], zeros=1))
    add("vectorizer", 6, lambda n: n.mlop("FeatureVectorizer", columns(n, "x", 3), columns(n, "x", 0, 5), inputdimensions=[1, 2]))
    add("imputer_zero", 6, lambda n: n.mlop("Imputer", n.op("Relu", "x"), imputed_value_floats=[0.5], replaced_value_float=0.0))
    add("imputer_infinity", 6, lambda n: n.mlop("Imputer", n.op("Div", "x", n.op("Relu", "x")), imputed_value_floats=n.random(6).tolist(), replaced_value_float=float("inf")))
    add("gemm_computed_bias", 7, lambda n: n.op("Gemm", "x", n.random(7, 5), n.op("Slice", "x", [1], [6], [1])), batch=1)
    add("gemm_computed_bias_row", 12, lambda n: n.op("Gemm", n.shaped(3, 4), n.random(4, 5), n.op("ReduceSum", n.shaped(3, 4), np.array([1], I))), batch=1)
    return made
