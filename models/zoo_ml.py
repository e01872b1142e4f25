"""Operators of ai.onnx.ml, and what the converters of scikit-learn, LightGBM and XGBoost make of pipelines and ensembles."""

import warnings

import numpy as np

from zoo import Net

INPUTS = 6


def forest(rng, trees, depth, targets, modes, missing, positive=False, ids=None):
    """Attributes of random trees of uneven depth."""
    a = {f"nodes_{k}": [] for k in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    a["nodes_missing_value_tracks_true"] = []
    leaves = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree in range(trees):
        queue, made = [(0, 0)], 1
        while queue:
            node, level = queue.pop(0)
            leaf = level == depth or (level > 1 and rng.random() < 0.3)
            mode = "LEAF" if leaf else str(rng.choice(modes))
            yes, no = (0, 0) if leaf else (made, made + 1)
            if leaf:
                for target in ids or range(targets):
                    weight = rng.standard_normal() / trees
                    for key, value in zip(leaves, (tree, node, target, abs(weight) if positive else weight)):
                        leaves[key].append(value)
            else:
                queue += [(yes, level + 1), (no, level + 1)]
                made += 2
            # Thresholds on a grid that holds 0, which rows of zeros hit exactly.
            values = (tree, node, int(rng.integers(INPUTS)), float(rng.integers(-3, 4)) / 2, mode, yes, no)
            for key, value in zip(list(a)[:7], values):
                a[key].append(value)
            a["nodes_missing_value_tracks_true"].append(int(missing and rng.random() < 0.5))
    if not missing:
        del a["nodes_missing_value_tracks_true"]
    return a, leaves


def models():
    made = {}
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]

    def add(name, build, inputs=INPUTS):
        net = Net(name, inputs)
        made[name] = (net.model(build(net)), inputs, None)

    def regressor(name, targets=1, modes=modes[:1], missing=False, trees=11, depth=5, **more):
        def build(n):
            a, leaves = forest(n.rng, trees, depth, targets, modes, missing)
            a.update({f"target_{k}": v for k, v in leaves.items()})
            return n.mlop("TreeEnsembleRegressor", "x", n_targets=targets, **a, **more)
        add(f"trees_{name}", build)

    def classifier(name, classes, ids=None, positive=False, modes=modes[:1], scale=1.0, strings=False, **more):
        def build(n):
            a, leaves = forest(n.rng, 9, 4, classes, modes, False, positive, ids)
            leaves["weights"] = [w * scale for w in leaves["weights"]]
            a.update({f"class_{k}": v for k, v in leaves.items()})
            labels = {"classlabels_strings": list("abc"[:classes])} if strings else {"classlabels_int64s": list(range(classes))}
            return n.mlop("TreeEnsembleClassifier", "x", outputs=2, **labels, **a, **more)[1]
        add(f"trees_{name}", build)

    for mode in modes:
        low = mode.lower()
        regressor(low, modes=[mode])
        regressor(f"{low}_missing", modes=[mode], missing=True)
    regressor("mixed_modes", modes=modes, missing=True, trees=24, depth=7)
    regressor("one", trees=1)
    regressor("stumps", trees=8, depth=1)
    regressor("base", base_values=[0.7])
    regressor("targets", targets=3, base_values=[0.1, 0.2, 0.3])
    regressor("average", aggregate_function="AVERAGE", base_values=[0.4])
    for post in ("LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        regressor(f"{post.lower()}_of_three", targets=3, post_transform=post)
        classifier(f"three_classes_{post.lower()}", 3, post_transform=post)
    classifier("three_classes", 3)
    classifier("three_classes_base", 3, base_values=[0.5, -0.5, 0.1], strings=True)
    classifier("two_scores", 2)
    classifier("two_scores_softmax", 2, post_transform="SOFTMAX")
    classifier("two_scores_logistic", 2, post_transform="LOGISTIC")
    for post in ("NONE", "LOGISTIC"):
        for i in (0, 1):
            for positive in (False, True):
                name = f"one_score_{post.lower()}_of_{i}" + ("_positive" if positive else "")
                classifier(name, 2, [i], positive, post_transform=post)
    classifier("one_score_above_one", 2, [0], True, scale=20.0)
    classifier("one_score_base", 2, [0], base_values=[0.3], post_transform="LOGISTIC")

    add("linear_regressor", lambda n: n.mlop("LinearRegressor", "x", coefficients=n.random(6).tolist(), intercepts=[0.5]))
    add("linear_regressor_targets", lambda n: n.mlop(
        "LinearRegressor", "x", coefficients=n.random(18).tolist(), intercepts=[0.5, 0.1, 0.2], targets=3))
    for post in ("NONE", "LOGISTIC", "SOFTMAX"):
        add(f"linear_classifier_{post.lower()}", lambda n: n.mlop(
            "LinearClassifier", "x", outputs=2, coefficients=n.random(18).tolist(), intercepts=[0.5, 0.1, 0.2],
            classlabels_ints=[0, 1, 2], post_transform=post)[1])
        add(f"linear_two_classes_{post.lower()}", lambda n: n.mlop(
            "LinearClassifier", "x", outputs=2, coefficients=n.random(12).tolist(), intercepts=[0.5, -0.5],
            classlabels_ints=[0, 1], post_transform=post)[1])
    for post in ("NONE", "LOGISTIC"):
        add(f"linear_one_score_{post.lower()}", lambda n: n.mlop(
            "LinearClassifier", "x", outputs=2, coefficients=n.random(6).tolist(), intercepts=[0.5],
            classlabels_ints=[0, 1], post_transform=post)[1])
    add("scaler", lambda n: n.mlop("Scaler", "x", offset=n.random(6).tolist(), scale=n.random(6).tolist()))
    add("scaler_one", lambda n: n.mlop("Scaler", "x", offset=[0.5], scale=[3.0]))
    for norm in ("L1", "L2", "MAX"):
        add(f"normalizer_{norm.lower()}", lambda n: n.mlop("Normalizer", "x", norm=norm))
    add("binarizer", lambda n: n.mlop("Binarizer", "x", threshold=0.25))
    nan = float("nan")
    add("imputer_one", lambda n: n.mlop("Imputer", "x", imputed_value_floats=[0.5], replaced_value_float=nan))
    add("imputer_each", lambda n: n.mlop("Imputer", "x", imputed_value_floats=n.random(6).tolist(), replaced_value_float=nan))
    pipelines(made)
    return made


def one_output(model, which):
    """The file with only the wanted output, called y."""
    for node in model.graph.node:
        node.output[:] = ["y" if o == which else o for o in node.output]
        node.input[:] = ["y" if i == which else i for i in node.input]
    (kept,) = (o for o in model.graph.output if o.name == which)
    kept.name = "y"
    del model.graph.output[:]
    model.graph.output.append(kept)
    return model


def pipelines(made):
    """Trained here, converted, and small."""
    warnings.filterwarnings("ignore")
    import lightgbm
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType as Float
    from skl2onnx import to_onnx
    from sklearn import ensemble, impute, linear_model, neural_network, pipeline, preprocessing, tree

    rng = np.random.default_rng(7)
    x = rng.standard_normal((400, INPUTS)).astype(np.float32)
    score = x[:, 0] - x[:, 1] * x[:, 2] + 0.3 * rng.standard_normal(400)
    two, three = (score > 0).astype(int), np.digitize(score, [-0.7, 0.7])
    few = {"n_estimators": 6, "max_depth": 4, "random_state": 0}
    scaled = lambda model: pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    regressors = {
        "sk_forest": ensemble.RandomForestRegressor(**few),
        "sk_boosting": ensemble.GradientBoostingRegressor(**few),
        "sk_tree": tree.DecisionTreeRegressor(max_depth=5, random_state=0),
        "sk_ridge": scaled(linear_model.Ridge()),
        "sk_mlp": scaled(neural_network.MLPRegressor(hidden_layer_sizes=(12, 5), max_iter=200, random_state=0)),
        "sk_imputed": pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.MinMaxScaler(), linear_model.LinearRegression()),
        "sk_normalized": pipeline.make_pipeline(preprocessing.Normalizer(), linear_model.Ridge()),
    }
    for name, model in regressors.items():
        converted = to_onnx(model.fit(x, score.astype(np.float32)), x[:1], target_opset={"": 17, "ai.onnx.ml": 3})
        converted.graph.input[0].name, old = "x", converted.graph.input[0].name
        rename(converted, old)
        made[name] = (one_output(converted, converted.graph.output[0].name), INPUTS, None)
    classifiers = {
        "sk_logistic": scaled(linear_model.LogisticRegression()),
        "sk_forest_classifier": ensemble.RandomForestClassifier(**few),
        "sk_boosting_classifier": ensemble.GradientBoostingClassifier(**few),
        "sk_mlp_classifier": scaled(neural_network.MLPClassifier(hidden_layer_sizes=(9,), max_iter=200, random_state=0)),
    }
    for name, model in classifiers.items():
        for labels, suffix in ((two, "2"), (three, "3")):
            options = {id(model): {"zipmap": False}}
            converted = to_onnx(model.fit(x, labels), x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
            old = converted.graph.input[0].name
            converted.graph.input[0].name = "x"
            rename(converted, old)
            made[name + suffix] = (one_output(converted, converted.graph.output[1].name), INPUTS, None)
    types = [("x", Float([None, INPUTS]))]
    small = {"n_estimators": 8, "num_leaves": 9, "verbose": -1, "random_state": 0, "n_jobs": 1}
    holes = np.where(rng.random(x.shape) < 0.1, np.nan, x)
    for name, rows in (("lgbm", x), ("lgbm_holes", holes)):
        made[name] = (one_output(m := convert_lightgbm(lightgbm.LGBMRegressor(**small).fit(rows, score), initial_types=types), m.graph.output[0].name), INPUTS, None)
    few = {"n_estimators": 8, "max_depth": 3, "random_state": 0, "n_jobs": 1}
    for name, rows in (("xgb", x), ("xgb_holes", holes)):
        made[name] = (one_output(m := convert_xgboost(xgboost.XGBRegressor(**few).fit(rows, score), initial_types=types), m.graph.output[0].name), INPUTS, None)
    for labels, suffix in ((two, "2"), (three, "3")):
        m = convert_lightgbm(lightgbm.LGBMClassifier(**small).fit(x, labels), initial_types=types, zipmap=False)
        made[f"lgbm_classifier{suffix}"] = (one_output(m, m.graph.output[1].name), INPUTS, None)
        m = convert_xgboost(xgboost.XGBClassifier(**few).fit(x, labels), initial_types=types)
        made[f"xgb_classifier{suffix}"] = (one_output(m, m.graph.output[1].name), INPUTS, None)


def rename(model, old):
    for node in model.graph.node:
        node.input[:] = ["x" if i == old else i for i in node.input]
