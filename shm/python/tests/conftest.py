"""What the tests share: a directory of their own in /dev/shm, tables, and records whose every field differs."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

import pillion_shm as shm

ROOT = Path(__file__).resolve().parents[3]


def skip(reason):
    """Skips with a reason; a failure where PILLION_NO_SKIPS=1."""
    if os.environ.get("PILLION_NO_SKIPS") == "1":
        pytest.fail(f"would skip: {reason}")
    pytest.skip(reason)


@pytest.fixture
def place():
    """A directory in /dev/shm, gone at the end."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="pillion-py-") as folder:
        yield folder


@pytest.fixture
def tables():
    """Two instruments and two models."""
    models = tuple(
        shm.Model(
            name=name,
            revision=7 + i,
            sha256=bytes(range(i, 32 + i)),
            features_hash=bytes(range(64 + i, 96 + i)),
            outputs=outputs,
            meaning=f"chance of a move, horizon {10 * (i + 1)} events",
            engine="ort",
            isa="avx512",
            runtime="onnxruntime 1.31.1",
        )
        for i, (name, outputs) in enumerate([("mlp-k10", ("down", "flat", "up")), ("lgbm-k50", ("score",))])
    )
    instruments = (
        shm.Instrument(17077, "ESH4", 250_000_000, 1.0),
        shm.Instrument(5002, "NQH4", 250_000_000, 0.5),
    )
    return shm.Tables(instruments, models)


def filled(dtype, n, seed):
    """``n`` records of random bytes with sound headers: no two fields alike, so a shifted one is seen."""
    raw = np.random.default_rng(seed).integers(1, 256, (n, dtype.itemsize), np.uint8)
    records = raw.view(dtype).reshape(-1)
    made = shm.new(dtype, n)
    records["length"], records["rtype"] = made["length"], made["rtype"]
    return records


def signals(n, tables, seed=0):
    """``n`` signals over all cells in turn."""
    records = np.zeros(n, shm.SIGNAL)
    i = np.arange(n)
    records["ring_seq"] = 100 + i
    records["ts_event"], records["tick_ns"], records["signal_ns"] = 1_000 + i, 2_000 + i, 3_000 + i
    records["instrument"] = i % len(tables.instruments)
    records["model"] = i // len(tables.instruments) % len(tables.models)
    records["outputs_len"] = [len(tables.models[m].outputs) for m in records["model"]]
    records["revision"] = [tables.models[m].revision for m in records["model"]]
    records["flags"] = i % 128
    records["outputs"] = np.random.default_rng(seed).normal(size=(n, shm.MAX_OUTPUTS))
    return records
