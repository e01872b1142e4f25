"""The estimators: two models and two baselines. Each fits on the train part and settles every choice, the number of
rounds or epochs included, by the log-loss of the validation part. None sees the test part."""

from dataclasses import dataclass

import lightgbm
import numpy as np
import pillion_export
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

import export
from dataset import CLASSES, Part, Split
from export import Predict

LABELS = list(range(len(CLASSES)))
CLIP = 3.0  # standard deviations: a feature outside what was seen moves the answer no further
EPOCHS, PATIENCE, BATCH = 40, 6, 512
ROUNDS, STOP_AFTER = 80, 20  # × 3 trees: a few microseconds a run, a few hundred kilobytes


@dataclass(frozen=True)
class Fitted:
    """An estimator that is done: how it says what it is, how it predicts by itself, and its graph where it ships."""

    settings: str
    predict: Predict
    onnx: bytes | None = None
    tolerance: tuple[float, float] = (1e-6, 0.0)  # absolute and relative: how far the graph may be from `predict`


@dataclass(frozen=True)
class Scaler:
    """Standardises by the train part, and clips. Folded into the exported graph."""

    mean: np.ndarray
    scale: np.ndarray  # 1 / standard deviation; 0 for a feature that never moves

    @classmethod
    def of(cls, x: np.ndarray) -> "Scaler":
        mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        moves = deviation > 1e-6 * np.maximum(1.0, np.abs(mean))
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=moves)
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return np.clip((x - self.mean) * self.scale, -CLIP, CLIP)


def loss(part: Part, probabilities: np.ndarray) -> float:
    return float(log_loss(part.y, probabilities, labels=LABELS))


def majority(data: Split, _seed: int) -> Fitted:
    """The class frequencies of the train part, whatever the input."""
    shares = np.bincount(data.train.y, minlength=len(CLASSES)) / len(data.train)
    return Fitted("class frequencies of the train part", lambda x: np.tile(shares, (len(x), 1)))


def logistic(data: Split, _seed: int) -> Fitted:
    """Multinomial logistic regression on the same features, standardised and clipped alike."""
    best: tuple[float, str, Scaler | None, LogisticRegression | None] = (np.inf, "", None, None)
    for rows, train in data.trainings():
        scaler = Scaler.of(train.x)
        x, x_validation = scaler(train.x), scaler(data.validation.x)
        for strength in (1e-4, 1e-3, 1e-2):
            model = LogisticRegression(C=strength, max_iter=500).fit(x, train.y)
            score = loss(data.validation, model.predict_proba(x_validation))
            best = min(best, (score, f"logistic regression, C {strength:g}{rows}", scaler, model), key=first)
    _, settings, scaler, model = best
    return Fitted(settings, lambda x: model.predict_proba(scaler(x)))


def mlp(data: Split, seed: int) -> Fitted:
    """A dense net, ReLU; of each candidate, the epoch with the lowest validation loss."""
    best: tuple[float, str, Scaler | None, list[export.Layer]] = (np.inf, "", None, [])
    for rows, train in data.trainings():
        scaler = Scaler.of(train.x)
        for hidden in ((32,), (64, 32)):
            for decay in (1.0, 5.0):
                loss_reached, settings, layers = mlp_candidate(data, train, scaler, hidden, decay, seed)
                best = min(best, (loss_reached, settings + rows, scaler, layers), key=first)
    _, settings, scaler, layers = best
    graph = export.dense_net(layers, scaler, CLIP, CLASSES).SerializeToString(deterministic=True)
    return Fitted(settings, lambda x: export.forward(layers, scaler(x)), graph)


def mlp_candidate(
    data: Split, train: Part, scaler: Scaler, hidden: tuple[int, ...], decay: float, seed: int
) -> tuple[float, str, list[export.Layer]]:
    x, x_validation = scaler(train.x), scaler(data.validation.x)
    net = MLPClassifier(hidden, alpha=decay, learning_rate_init=5e-4, batch_size=BATCH, random_state=seed)
    best, best_epoch, layers = np.inf, 0, []
    for epoch in range(1, EPOCHS + 1):
        net.partial_fit(x, train.y, classes=LABELS)
        now = loss(data.validation, net.predict_proba(x_validation))
        if now < best:
            best, best_epoch = now, epoch
            layers = [
                (w.astype(np.float32), b.astype(np.float32)) for w, b in zip(net.coefs_, net.intercepts_, strict=True)
            ]
        elif epoch - best_epoch >= PATIENCE:
            break
    shape = "-".join(map(str, (x.shape[1], *hidden, len(CLASSES))))
    return best, f"dense net {shape}, ReLU, L2 {decay:g}, {best_epoch} epochs", layers


def lgbm(data: Split, seed: int) -> Fitted:
    """Boosted trees, stopped where the validation loss is lowest."""
    best: tuple[float, str, lightgbm.Booster | None] = (np.inf, "", None)
    for rows, train in data.trainings():
        for leaves in (7, 15):
            for fraction in (0.3, 0.6):
                loss_reached, settings, booster = lgbm_candidate(data, train, leaves, fraction, seed)
                best = min(best, (loss_reached, settings + rows, booster), key=first)
    _, settings, booster = best
    graph = pillion_export.lightgbm(booster, data.validation.x, names=data.names, batch=1, tolerance=(1e-6, 0.0))
    return Fitted(settings, booster.predict, graph)


def lgbm_candidate(
    data: Split, train: Part, leaves: int, fraction: float, seed: int
) -> tuple[float, str, lightgbm.Booster]:
    settings = {
        "objective": "multiclass", "num_class": len(CLASSES), "num_leaves": leaves, "learning_rate": 0.1,
        "feature_fraction": fraction, "bagging_fraction": 0.7, "bagging_freq": 1, "min_data_in_leaf": 500,
        "lambda_l2": 10.0, "seed": seed, "deterministic": True, "force_row_wise": True, "num_threads": 1,
        "verbose": -1,
    }  # fmt: skip
    rows = lightgbm.Dataset(train.x, train.y)
    validation = lightgbm.Dataset(data.validation.x, data.validation.y, reference=rows)
    stop = lightgbm.early_stopping(STOP_AFTER, verbose=False)
    booster = lightgbm.train(settings, rows, ROUNDS, [validation], callbacks=[stop])
    best = booster.best_score["valid_0"]["multi_logloss"]
    trees = booster.best_iteration * len(CLASSES)
    return best, f"LightGBM, {trees} trees of {leaves} leaves, rate 0.1, feature fraction {fraction:g}", booster


def first(candidate: tuple) -> float:
    return candidate[0]
