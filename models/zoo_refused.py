"""What the native engine must leave to ONNX Runtime, with the words of the refusal."""

import numpy as np
from onnx import TensorProto, helper

from zoo import Net

F = np.float32
I = np.int64


def models():
    made = {}

    def add(name, words, build, inputs=12, opset=17, dtype=TensorProto.FLOAT, change=None):
        net = Net(name, inputs, opset, 1, dtype=dtype)
        model = net.model(build(net))
        if change:
            change(model)
        made[f"refused_{name}"] = (model, inputs, words)

    add("contrib", "operator com.microsoft.Gelu (node `gelu0`)", lambda n: n.op("Gelu", "x", domain="com.microsoft"),
        change=lambda m: m.opset_import.append(helper.make_opsetid("com.microsoft", 1)))
    add("computed_index", "operator Gather (node `gather1`): its indices are not constant", lambda n: n.op(
        "Gather", "x", n.op("Cast", "x", to=7), axis=1))
    add("cast_uint8", "operator Cast (node `cast0`): a cast of computed values to type 2", lambda n: n.op("Cast", n.op("Cast", "x", to=2), to=1))
    add("mean_of_integers", "operator ReduceMean (node `reducemean1`): of computed integers", lambda n: n.op(
        "Cast", n.op("ReduceMean", n.op("Cast", "x", to=7), axes=[1]), to=1))
    add("column_wide", "operator ml.ArrayFeatureExtractor (node `arrayfeatureextractor0`): column 12 of 12", lambda n: n.mlop(
        "ArrayFeatureExtractor", "x", np.array([12], I)))
    add("one_hot_strict", "operator ml.OneHotEncoder (node `onehotencoder0`): zeros = 0", lambda n: n.mlop(
        "OneHotEncoder", "x", cats_int64s=[0, 1], zeros=0))
    add("sparse", "it has a sparse initializer", lambda n: n.op("Add", "x", n.random(12)), change=lambda m: m.graph.sparse_initializer.add())
    add("dropout_mask", "is not of a kind that is taken", lambda n: n.op(
        "Cast", n.op("Dropout", "x", outputs=2)[1], to=1))
    add("batch_norm_training", "operator BatchNormalization (node `batchnormalization1`): training_mode", lambda n: n.op(
        "BatchNormalization", n.shaped(1, 3, 4), *(np.ones(3, F) for _ in range(4)), training_mode=1, outputs=3)[0])
    add("probit", "operator ml.LinearClassifier (node `linearclassifier0`): post_transform PROBIT", lambda n: n.mlop(
        "LinearClassifier", "x", outputs=2, coefficients=n.random(36).tolist(), intercepts=[0.0] * 3,
        classlabels_ints=[0, 1, 2], post_transform="PROBIT")[1])
    tree = dict(nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0], nodes_values=[0.5, 0.0, 0.0],
                nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], target_treeids=[0, 0], target_nodeids=[1, 2],
                target_ids=[0, 0], target_weights=[1.0, 2.0], n_targets=1)
    trees = lambda n, modes=("BRANCH_LEQ", "LEAF", "LEAF"), **more: n.mlop(
        "TreeEnsembleRegressor", "x", **{**tree, "nodes_modes": list(modes), **more})
    node = "operator ml.TreeEnsembleRegressor (node `treeensembleregressor0`): "
    add("tree_logistic", node + "ONNX Runtime leaves the post_transform", lambda n: trees(n, post_transform="LOGISTIC"))
    add("tree_mode", node + "tree 0: node 0: node mode BRANCH_ABOUT is not taken", lambda n: trees(n, ("BRANCH_ABOUT", "LEAF", "LEAF")))
    add("tree_nan", node + "tree 0: node 0: a threshold is NaN", lambda n: trees(n, nodes_values=[float("nan"), 0.0, 0.0]))
    add("tree_below_all", node + "tree 0: node 0: no number is below", lambda n: trees(
        n, ("BRANCH_LT", "LEAF", "LEAF"), nodes_values=[float("-inf"), 0.0, 0.0]))
    add("tree_feature", node + "tree 0: node 0: a feature's number", lambda n: trees(n, nodes_featureids=[-1, 0, 0]))
    add("tree_aggregate", node + "aggregate_function MEDIAN", lambda n: trees(n, aggregate_function="MEDIAN"))
    add("tree_child_missing", node + "tree 0: a child is missing: node 0 names node 9", lambda n: trees(n, nodes_falsenodeids=[9, 0, 0]))
    add("tree_cycle", node + "tree 0: it is no tree", lambda n: trees(n, ("BRANCH_LEQ", "BRANCH_LEQ", "LEAF")))
    add("tree_left_out", node + "tree 0: some of its nodes cannot be reached", lambda n: trees(n, nodes_falsenodeids=[1, 0, 0]))
    add("tree_twice", node + "tree 0: node 1 is given twice", lambda n: trees(n, nodes_nodeids=[0, 1, 1]))
    add("tree_apart", node + "the nodes of tree 0 do not stand together", lambda n: trees(
        n, ("BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "LEAF"), nodes_treeids=[0, 0, 0, 1, 0], nodes_nodeids=[0, 1, 2, 0, 3],
        nodes_featureids=[0] * 5, nodes_values=[0.0] * 5, nodes_truenodeids=[1, 0, 0, 0, 0], nodes_falsenodeids=[2, 0, 0, 0, 0]))
    add("tree_unreached", node + "tree 0: some of its nodes cannot be reached", lambda n: trees(n, ("LEAF", "LEAF", "LEAF")))
    add("tree_short", node + "its lists of nodes are", lambda n: trees(n, nodes_values=[0.5]))
    add("tree_short_leaves", node + "its lists of leaf values differ", lambda n: trees(n, target_weights=[0.5]))
    add("tree_target", node + "a leaf is for target 3 of 1", lambda n: trees(n, target_ids=[0, 3]))
    add("tree_targets", node + "1099511627776 targets make no sense", lambda n: trees(n, n_targets=2**40))
    add("tree_base", node + "2 base values for 1 targets", lambda n: trees(n, base_values=[0.5, 1.0]))
    add("tree_weight", node + "a leaf's weight is infinite or NaN", lambda n: trees(n, target_weights=[0.5, float("inf")]))
    add("tree_weights", node + "a leaf has two weights for one target", lambda n: trees(n, target_nodeids=[1, 1]))
    add("tree_wide", node + "it looks at feature 12, its input has 12", lambda n: trees(n, nodes_featureids=[12, 0, 0]))
    add("tree_doubles", node + "base_values_as_tensor is no tensor of floats", lambda n: trees(n, base_values_as_tensor=np.array([0.5])))
    class_tree = {k.replace("target_", "class_"): v for k, v in tree.items() if k != "n_targets"}
    scores = lambda n, **more: n.mlop(
        "TreeEnsembleClassifier", "x", outputs=2, **{**class_tree, "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], **more})[1]
    add("tree_sometimes", "some rows get no score for the second", lambda n: scores(n, class_ids=[0, 1], classlabels_int64s=[0, 1]))
    add("tree_probit", "post_transform PROBIT of a classifier", lambda n: scores(n, classlabels_int64s=[0, 1], post_transform="PROBIT"))
    five = dict(nodes_featureids=[0], nodes_truenodeids=[0], nodes_falsenodeids=[1], nodes_trueleafs=[1], nodes_falseleafs=[1],
                tree_roots=[0], leaf_targetids=[0, 0], n_targets=1, nodes_modes=np.array([0], np.uint8), nodes_splits=np.array([0.5], F), leaf_weights=np.array([1, 2], F))
    ensemble = lambda n, **more: n.mlop("TreeEnsemble", "x", **{**five, **more})
    node = "operator ml.TreeEnsemble (node `treeensemble0`): "
    add("tree5_member", node + "node 0: node mode BRANCH_MEMBER is not taken", lambda n: ensemble(
        n, nodes_modes=np.array([6], np.uint8), membership_values=np.array([1, 3], F)))
    add("tree5_mode", node + "node 0: mode 7 is not known", lambda n: ensemble(n, nodes_modes=np.array([7], np.uint8)))
    add("tree5_cycle", node + "tree 0 with root 0: it is no tree", lambda n: ensemble(n, nodes_trueleafs=[0]))
    add("tree5_child", node + "node 0: a child is missing: it names 2", lambda n: ensemble(n, nodes_falsenodeids=[2]))
    add("tree5_root", node + "tree 0 with root 1: no such node", lambda n: ensemble(n, tree_roots=[1]))
    add("tree5_roots", node + "tree 1 with root 0: its nodes are another tree's too", lambda n: ensemble(n, tree_roots=[0, 0]))
    add("tree5_rootless", node + "node 1 belongs to no tree", lambda n: ensemble(
        n, **{k: v * 2 for k, v in five.items() if k.startswith("nodes_") and isinstance(v, list)},
        nodes_modes=np.array([0, 0], np.uint8), nodes_splits=np.array([0.5, 0.5], F)))
    for post in (1, 2):
        add(f"tree5_post_{post}", node + f"post_transform {post}: ONNX Runtime takes", lambda n: ensemble(n, post_transform=post))
    add("tree5_aggregate", node + "aggregate_function 4 is not known", lambda n: ensemble(n, aggregate_function=4))
    add("tree5_doubles", node + "leaf_weights is no tensor of floats", lambda n: ensemble(n, leaf_weights=np.array([1.0, 2.0])))
    add("svm", "operator ml.SVMRegressor (node `svmregressor0`): the native engine has no kernel for it", lambda n: n.mlop(
        "SVMRegressor", "x", coefficients=[1.0], support_vectors=[0.0] * 12, n_supports=1, rho=[0.0], kernel_type="LINEAR"))
    add("double_input", "input `x` is DOUBLE, the native engine takes FLOAT", lambda n: n.op("Cast", "x", to=1),
        dtype=TensorProto.DOUBLE)
    add("opset_6", "opset 6, the native engine knows 7 to 25", lambda n: n.op("Relu", "x"), opset=6)
    add("opset_99", "opset 99, the native engine knows 7 to 25", lambda n: n.op("Relu", "x"), opset=99)

    def forgotten(model):
        del model.opset_import[1:]
    add("domain_forgotten", "the file imports no opset of its domain `ai.onnx.ml`", lambda n: n.mlop("Scaler", "x"), change=forgotten)

    def elsewhere(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")
    add("external", "initializer `c0` has its values outside the file", lambda n: n.op("Add", "x", n.random(12)), change=elsewhere)

    def cycle(model):
        model.graph.node[0].input[0] = "y"
    add("cycle", "operator Relu (node `relu0`): its input `y` is produced by nobody before it",
        lambda n: n.op("Tanh", n.op("Relu", "x")), change=cycle)
    add("huge_constant", "initializer `c0`: its dimensions", lambda n: n.op("Add", "x", n.random(12)),
        change=lambda m: m.graph.initializer[0].dims.extend([2**40, 2**40]))
    add("huge_input", "input `x` has a dimension of", lambda n: n.op("Relu", "x"), change=lambda m: setattr(
        m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 2**60))
    add("reflect_wide", "operator Pad (node `pad1`): it pads by more than reflect", lambda n: n.op(
        "Pad", n.shaped(3, 4), np.array([0, 4, 0, 1], I), mode="reflect"))
    add("float8", "initializer `w`: it is FLOAT8E4M3FN, which", lambda n: (
        n.constants.append(helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, (1,), [1.0])), n.op("Add", "x", n.op("Cast", "w", to=1)))[1])
    branch = lambda name, op: helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
    add("if", "operator If (node `if2`): it holds a subgraph", lambda n: n.op(
        "If", n.op("Greater", n.op("ReduceSum", "x", keepdims=0), F(0)),
        then_branch=branch("above", "Relu"), else_branch=branch("below", "Neg")))
    add("function", "it has a function of its own, `Twice`", lambda n: n.op("Twice", "x", domain="own"), change=lambda m: (
        m.opset_import.append(helper.make_opsetid("own", 1)), m.functions.append(helper.make_function(
            "own", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]))))
    add("unknown_domain", "operator own.Twice (node `twice0`)", lambda n: n.op("Twice", "x", domain="own"),
        change=lambda m: m.opset_import.append(helper.make_opsetid("own", 1)))
    add("einsum_diagonal", "operator Einsum (node `einsum1`): equation `ii->i`", lambda n: n.op(
        "Einsum", n.shaped(3, 3), equation="ii->i"), inputs=9)
    add("attention", "operator Attention (node `attention1`): the native engine has no kernel for it", lambda n: n.op(
        "Attention", *[n.shaped(1, 1, 3, 4)] * 3, outputs=1), opset=23)

    def twice(model):
        model.graph.node[1].output[0] = model.graph.node[0].output[0]
    add("name_twice", "an output of a node is called `v0_0`, which is empty or given twice",
        lambda n: n.op("Neg", n.op("Tanh", n.op("Relu", "x"))), change=twice)
    add("input_forgotten", "operator Add (node `add0`): its input `elsewhere` is produced by nobody before it", lambda n: n.op(
        "Add", "x", F(1)), change=lambda m: m.graph.node[0].input.__setitem__(1, "elsewhere"))
    huge = "too large"
    big = lambda n: n.op("ConstantOfShape", np.array([2**24], I))
    add("many_huge", huge, lambda n: n.op("Add", "x", n.op("ReduceSum", n.op("Concat", *[big(n)] * 400, axis=0), keepdims=0)))
    add("many_huge_sums", huge, lambda n: n.op("Add", "x", n.op("ReduceSum", n.op("Sum", *[big(n)] * 400), keepdims=0)))
    add("huge_product", huge, lambda n: n.op("ReduceSum", n.op("MatMul", n.op("ConstantOfShape", np.array([4096, 1, 1, 4096], I)), n.op(
        "Add", n.op("ConstantOfShape", np.array([1, 4096, 4096, 1], I)), n.op("ReduceSum", "x"))), keepdims=0))
    add("huge_fill", huge, lambda n: n.op("Add", "x", n.op("ConstantOfShape", np.array([2**31, 2**31], I))))
    add("huge_expand", huge, lambda n: n.op("Expand", "x", np.array([2**40, 12], I)))
    add("huge_tile", huge, lambda n: n.op("Tile", "x", np.array([1, 2**55], I)))
    add("huge_range", huge, lambda n: n.op("Gather", "x", n.op("Range", np.array(-2**63, I), np.array(2**62, I), np.array(1, I)), axis=1))
    add("huge_reshape", "cannot become", lambda n: n.shaped(2**40, 2**40))
    add("huge_window", huge, lambda n: n.op("Conv", n.shaped(1, 1, 3, 4), n.random(1, 1, 1, 1), pads=[2**19] * 4))
    add("huge_dilation", "a window of", lambda n: n.op("Conv", n.shaped(1, 1, 12), n.random(1, 1, 3), dilations=[2**63 - 1]))

    def grown(n):
        # Each doubling is small; all together they are not.
        x = n.op("Tile", "x", np.array([1, 2**17], I))
        for _ in range(15):
            x = n.op("Neg", x)
        return x
    add("many_large", "the buffers of all steps", grown)
    add("empty", "empty or too large", lambda n: n.op("ReduceMax", n.op("Slice", "x", [3], [3], [1])))
    return made
