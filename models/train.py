#!/usr/bin/env python3
"""Train the bundled models on one day, write their directories, and print what they are worth out of sample.

For each horizon (10 and 50 book events) a dense net and a LightGBM ensemble learn whether the mid will be lower, equal
or higher that many events later. By time, the first 70 % of the day train, the next 15 % settle every choice, and the
last 15 % give the table. Scores are those of the exported graphs, run through ONNX Runtime, and each graph is held against
its estimator on every row of the day before it is written.

    python3 -m venv .venv && .venv/bin/pip install -r models/requirements.txt ./models/pillion_export
    cargo build --release && .venv/bin/python models/train.py
"""

import argparse
import importlib.metadata
import platform
from pathlib import Path

import numpy as np
import pillion_export
from sklearn.metrics import accuracy_score, f1_score
from threadpoolctl import threadpool_limits

import dataset
import estimators
import export
from dataset import CLASSES, Day, Part, Split
from estimators import Fitted

ROOT = Path(__file__).resolve().parent.parent
LOBSTER = ROOT / "../shared/data/lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"
HORIZONS = (10, 50)
MODELS = {"mlp": estimators.mlp, "lgbm": estimators.lgbm}
BASELINES = {"majority": estimators.majority, "logistic": estimators.logistic}
LIBRARIES = ("lightgbm", "numpy", "onnx", "onnxruntime", "scikit-learn")

Scores = dict[str, float]
Row = tuple[str, str, Scores]  # name, settings, scores


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lobster", type=Path, default=LOBSTER, help="LOBSTER sample zip (default: %(default)s)")
    parser.add_argument("--symbol", default="GOOG", help="symbol of that file (default: %(default)s)")
    parser.add_argument("--date", default="2012-06-21", help="trading day of that file (default: %(default)s)")
    parser.add_argument("--set", default="book", help="feature set, by name or path (default: %(default)s)")
    parser.add_argument("--pillion", type=Path, default=ROOT / "target/release/pillion", help="the program itself")
    parser.add_argument("--work", type=Path, default=ROOT / "data/train", help="where intermediate files go")
    parser.add_argument("--out", type=Path, default=ROOT / "models", help="where model directories go")
    parser.add_argument("--seed", type=int, default=20120621, help="of everything random (default: %(default)s)")
    return parser.parse_args()


def scores(part: Part, probabilities: np.ndarray) -> Scores:
    named = probabilities.argmax(axis=1)
    macro = f1_score(part.y, named, labels=estimators.LABELS, average="macro", zero_division=0)
    return {
        "macro_f1": round(float(macro), 4),
        "accuracy": round(float(accuracy_score(part.y, named)), 4),
        "log_loss": round(estimators.loss(part, normalised(probabilities)), 4),
    }


def normalised(probabilities: np.ndarray) -> np.ndarray:
    wide = probabilities.astype(np.float64)
    return wide / wide.sum(axis=1, keepdims=True)


def train_horizon(options: argparse.Namespace, day: Day, data: Split) -> list[Row]:
    """Fits everything for one horizon, writes the two models, and gives the rows of the table."""
    found = {name: fit(data, options.seed) for name, fit in BASELINES.items()}
    baselines = {name: scores(data.test, fitted.predict(data.test.x)) for name, fitted in found.items()}
    rows = [(name, found[name].settings, baselines[name]) for name in BASELINES]
    for kind, fit in MODELS.items():
        name, fitted = f"{kind}-k{data.horizon}", fit(data, options.seed)
        predict = export.predictor(fitted.onnx)
        expected = held_against_estimator(name, day, fitted, predict)
        own = scores(data.test, predict(data.test.x))
        manifest = describe(options, day, data, fitted.settings)
        manifest |= {"expected": expected, "scores": {"model": own} | baselines}
        export.write(options.out / name, fitted.onnx, export.golden(data.test.x, predict), manifest)
        rows.append((name, fitted.settings, own))
    return rows


def held_against_estimator(name: str, day: Day, fitted: Fitted, predict: export.Predict) -> dict[str, int | float]:
    """The graph beside the estimator as its library runs it, on every row of the day."""
    found = pillion_export.compare(predict(day.values), fitted.predict(day.values), fitted.tolerance)
    print(f"{name}: {found}", flush=True)
    if found.differ:
        raise SystemExit(f"{name}: the graph is not the estimator")
    largest = float(f"{found.largest:.1e}")  # rounded: its digits hang on the machine's arithmetic
    return {"rows": found.rows, "differ": found.differ, "largest": largest, "decisions": found.decisions}


def describe(options: argparse.Namespace, day: Day, data: Split, settings: str) -> dict:
    k = data.horizon
    return {
        "feature_set": day.feature_set,
        "features_hash": day.features_hash,
        "features": day.names,
        "missing": "never",
        "trigger": day.trigger,
        "input": export.INPUT,
        "output": export.OUTPUT,
        "outputs": list(CLASSES),
        "meaning": f"probability that the mid is lower, equal or higher {k} book events later",
        "horizon_events": k,
        "instruments": day.instruments,
        "training": {
            "data": f"LOBSTER {options.symbol} {options.date}",
            "split": f"by time: 70 % train, 15 % validation, 15 % test; the last {k} events of each part left out",
            "rows": data.rows,
            "seed": options.seed,
            "estimator": settings,
            "libraries": libraries(),
        },
    }


def libraries() -> list[str]:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    return [f"python {platform.python_version()}", *versions]


def print_table(data: Split, rows: list[Row]) -> None:
    train, validation, test = data.rows
    print(f"\nnext {data.horizon} book events, test part ({test} rows; train {train}, validation {validation})")
    print(f"  {'':10} {'macro-F1':>9} {'accuracy':>9} {'log-loss':>9}")
    for name, settings, own in rows:
        figures = " ".join(f"{own[key]:9.4f}" for key in ("macro_f1", "accuracy", "log_loss"))
        print(f"  {name:10} {figures}  {settings}", flush=True)


def main() -> None:
    options = arguments()
    dbn = dataset.convert(options.pillion, options.lobster, options.symbol, options.date, options.work)
    day = dataset.load(options.pillion, dbn, options.set, options.work)
    print(f"{len(day.mid2)} events, {len(day.names)} features, set {day.feature_set} {day.features_hash}", flush=True)
    with threadpool_limits(1):  # one thread: sums come in one order
        for horizon in HORIZONS:
            data = dataset.split(day, horizon)
            print_table(data, train_horizon(options, day, data))


if __name__ == "__main__":
    main()
