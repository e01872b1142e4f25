"""Estimators as ONNX graphs that answer as the estimator does, or not at all.

Each function takes an estimator and rows, builds the graph, asks both on every row and raises :class:`Differs` beyond the
tolerance. See the package's README for what is taken.
"""

import os
import sys
import warnings

# ONNX Runtime's official builds report to their maker unless this stands before the library is loaded.
if "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    warnings.warn("onnxruntime was loaded before pillion_export, and may report to its maker: set ORT_DISABLE_TELEMETRY=1", stacklevel=2)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from .cat import catboost  # noqa: E402
from .parity import Differs, Difference, Refused, answers, check, compare  # noqa: E402
from .lgbm import lightgbm  # noqa: E402
from .skl import sklearn  # noqa: E402
from .xgb import xgboost  # noqa: E402

__all__ = [
    "Difference", "Differs", "Refused", "answers", "catboost", "check", "compare", "lightgbm", "sklearn", "xgboost",
]  # fmt: skip
