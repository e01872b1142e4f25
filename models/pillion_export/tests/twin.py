"""How LightGBM and XGBoost say that they decide, in float64 and one row at a time: a twin that shares nothing with the package."""

import math

import numpy as np


def lightgbm(text, rows):
    """The sum of the trees of a model's text for each row, one value an iteration's tree."""
    head, *blocks = text.split("\nTree=")
    each = int(next(line for line in head.splitlines() if line.startswith("num_tree_per_iteration")).split("=")[1])
    sums = np.zeros((len(rows), each))
    for number, block in enumerate(blocks):
        keys = dict(line.partition("=")[::2] for line in block.splitlines())
        for at, row in enumerate(rows):
            sums[at, number % each] += _lightgbm_leaf(keys, row)
    if "average_output" in head.splitlines():
        sums /= len(blocks) / each
    return sums


def _lightgbm_leaf(keys, row):
    words = lambda key, kind: [kind(word) for word in keys.get(key, "").split()]
    values = words("leaf_value", float)
    if int(keys["num_leaves"]) == 1:
        return values[0]
    node = 0
    while node >= 0:
        x = float(row[words("split_feature", int)[node]])
        if abs(x) <= float(np.float32(1e-35)):
            x = 0.0  # as the library reads a row, before any node
        decision, threshold = words("decision_type", int)[node], words("threshold", float)[node]
        if decision & 1:
            bounds, bits = words("cat_boundaries", int), words("cat_threshold", int)
            inside = bits[bounds[int(threshold)] : bounds[int(threshold) + 1]]
            category = -1 if math.isnan(x) or math.isinf(x) else int(x)
            left = 0 <= category < 32 * len(inside) and inside[category // 32] >> category % 32 & 1
        else:
            missing = decision >> 2 & 3
            if math.isnan(x) and missing != 2:
                x = 0.0
            if (missing == 1 and abs(x) <= float(np.float32(1e-35))) or (missing == 2 and math.isnan(x)):
                left = decision & 2
            else:
                left = x <= threshold
        node = words("left_child" if left else "right_child", int)[node]
    return values[~node]


def around(values):
    """Each value as a float32, and its neighbours one unit in the last place below and above."""
    with np.errstate(over="ignore"):
        near = np.asarray(values, np.float64).astype(np.float32)
    return np.concatenate([near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))])
