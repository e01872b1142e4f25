"""A graph's answers beside the estimator's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

INPUT = "features"
TOLERANCE = (1e-5, 1e-4)  # absolute, and of the estimator's answer: as a manifest's [tolerance]
PIECE = 1 << 14  # rows of one run


class Refused(ValueError):
    """An estimator that is not exported, by name and reason."""


@dataclass(frozen=True)
class Difference:
    """How far a graph is from its estimator."""

    rows: int  # rows on which both were asked
    differ: int  # rows with a value beyond the tolerance
    largest: float  # largest absolute difference
    row: int  # where that is
    decisions: int  # rows whose largest value is another one; 0 of a single value

    def __str__(self) -> str:
        return (
            f"{self.differ} of {self.rows} rows differ from the estimator beyond the tolerance; the largest difference is "
            f"{self.largest:g} (row {self.row}); {self.decisions} decisions differ"
        )


class Differs(ValueError):
    """The graph is not the estimator."""

    def __init__(self, what: str, difference: Difference):
        super().__init__(f"{what}: {difference}")
        self.difference = difference


def answers(onnx_bytes: bytes, rows: np.ndarray, *, runs_of: int = PIECE) -> np.ndarray:
    """What the graph answers, through ONNX Runtime on one thread; row by row where its batch is fixed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    (takes,), gives = session.get_inputs(), session.get_outputs()[0].name
    fixed = takes.shape[0]
    step = fixed if isinstance(fixed, int) else runs_of
    pieces = [session.run([gives], {takes.name: rows[i : i + step]})[0] for i in range(0, len(rows), step)]
    return np.concatenate([np.asarray(piece).reshape(-1, np.asarray(piece).shape[-1]) for piece in pieces])


def compare(got: np.ndarray, expected: np.ndarray, tolerance: Sequence[float] = TOLERANCE) -> Difference:
    """Counts the rows that differ. The same infinity, and NaN in both, are the same answer; NaN in one of them is none."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    expected = expected.reshape(len(expected), -1)
    if got.shape != expected.shape:
        raise ValueError(f"the graph gives {got.shape}, the estimator {expected.shape}")
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(got - expected))
        apart[np.isnan(apart)] = np.inf
        beyond = ~same & ~(apart <= tolerance[0] + tolerance[1] * np.abs(expected))
    largest = apart.max(axis=1, initial=0.0)
    decide = got.shape[1] > 1
    decisions = int((got.argmax(axis=1) != expected.argmax(axis=1)).sum()) if decide else 0
    row = int(largest.argmax()) if len(largest) else 0
    return Difference(len(got), int(beyond.any(axis=1).sum()), float(largest.max(initial=0.0)), row, decisions)


def check(
    onnx_bytes: bytes, rows: Any, expected: np.ndarray, *, tolerance: Sequence[float] = TOLERANCE, what: str = "the graph"
) -> Difference:
    """Asks the graph on every row, and raises :class:`Differs` beyond the tolerance."""
    found = compare(answers(onnx_bytes, as_rows(rows)), expected, tolerance)
    if found.differ:
        raise Differs(what, found)
    return found


def as_rows(rows: Any) -> np.ndarray:
    """Rows as a lane has them: float32, one behind the other."""
    values = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asarray(rows)
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"rows are to have two dimensions and at least one row, these have the shape {values.shape}")
    return values


def names_of(rows: Any, names: Sequence[str] | None, known: Sequence[str] | None = None) -> list[str] | None:
    """Names of the columns: as told, of the DataFrame, or those that the estimator remembers. They must agree."""
    of_frame = [str(name) for name in rows.columns] if hasattr(rows, "columns") else None
    told = [str(name) for name in names] if names is not None else None
    said = [found for found in (told, of_frame, list(known) if known else None) if found is not None]
    for other in said[1:]:
        if other != said[0]:
            at = next((i for i, pair in enumerate(zip(said[0], other)) if pair[0] != pair[1]), min(map(len, (said[0], other))))
            raise ValueError(f"columns are named twice and differ at number {at}: {said[0][at:at + 1]} and {other[at:at + 1]}")
    return said[0] if said else None
