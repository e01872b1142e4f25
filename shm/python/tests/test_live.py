"""The real sidecar and feed on the ES day, watched from Python: every tick, every signal, and what one says of the other."""

import os
import subprocess
import time

import numpy as np
import pytest
from conftest import ROOT, skip

import pillion_shm as shm

DAY = ROOT.parent / "shared/data/dbn-es/esh4-glbx-mdp3-20231225.mbo.dbn.zst"
SNAPSHOT, LIVE = 8_725, 60_067
CONFIG = """
[process]
shm_dir = "{place}"
[lane]
name = "es"
models = ["{root}/models/mlp-k10"]
instruments = [{{ id = 17077, symbol = "ESH4", tick_size = "0.25" }}]
"""


@pytest.fixture
def binary():
    found = ROOT / "target/release/pillion"
    if not found.exists():
        skip("target/release/pillion is not built (make release)")
    if not DAY.exists():
        skip("the ES day is not in ../shared/data")
    if "ORT_DYLIB_PATH" not in os.environ and not (ROOT / "onnxruntime/WHEEL").exists():
        skip("ONNX Runtime is not in ./onnxruntime (scripts/fetch-onnxruntime puts it there)")
    return str(found)


def wait_for(what, fact, process=None):
    """Waits for a fact, for up to a minute: a busy machine may be slow, a fact that never comes is a failure."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process is None or process.poll() is None, f"the process ended before {what}: {process.returncode}"
        try:
            if found := fact():
                return found
        except shm.AbsentError:
            pass
        time.sleep(0.005)
    raise AssertionError(f"waited a minute for {what}")


def start(*command):
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def drain(reader, batches, enough):
    """Reads until ``enough`` says so."""

    def step():
        batches.append(reader.read(timeout_s=0.05))
        return enough()

    wait_for("the day to be read", step)


def test_a_day_with_the_real_sidecar(place, binary):
    with open(f"{place}/config.toml", "w") as file:
        file.write(CONFIG.format(place=place, root=ROOT))
    config = ("--config", f"{place}/config.toml")
    sidecar = start(binary, "run", *config)
    feed = None
    try:
        control = wait_for("the page", lambda: shm.Control("es", dir=place, operator=True), sidecar)
        signals = wait_for("the signal ring", lambda: shm.SignalReader("es", dir=place, start="first"), sidecar)
        feed = start(binary, "feed", *config, "--input", str(DAY), "--lane", "es", "--rate", "20000/s", "--linger")
        ticks = wait_for("the tick ring", lambda: shm.TickReader("es", dir=place, start="first"), feed)

        tick_batches, signal_batches = [], []
        drain(ticks, tick_batches, lambda: ticks.cursor == SNAPSHOT + LIVE)
        wait_for("the sidecar", lambda: control.ticks_consumed == SNAPSHOT + LIVE)
        drain(signals, signal_batches, lambda: signals.cursor == signals.head and control.state is shm.State.RUN)
        check_day(tick_batches, signal_batches, control, shm.Board("es", dir=place))

        assert control.alive(60_000_000_000) and control.owner_alive
        assert control.halt(30.0) is shm.Outcome.DONE and control.state is shm.State.HALT
        assert control.resume(30.0) is shm.Outcome.DONE and control.state is shm.State.RUN
        assert control.stop(30.0) is shm.Outcome.DONE
        assert sidecar.wait(60) == 0 and control.state is shm.State.STOPPED
    finally:
        for process in filter(None, (sidecar, feed)):
            process.kill()
            process.wait()


def check_day(tick_batches, signal_batches, control, board):
    ticks = np.concatenate([batch.mbo for batch in tick_batches])
    signals = np.concatenate([batch.signals for batch in signal_batches])
    assert sum(batch.lost for batch in tick_batches + signal_batches) == 0
    assert np.array_equal(ticks["ring_seq"], np.arange(SNAPSHOT + LIVE))
    assert ((ticks["flags"] & shm.Flags.SNAPSHOT) != 0).sum() == SNAPSHOT
    assert set(np.unique(ticks["action"])) <= {b"A", b"C", b"M", b"R", b"T", b"F", b"N"}
    # What a signal says of its tick is what the tick says of itself.
    cause = ticks[signals["ring_seq"]]
    assert np.array_equal(cause["ts_event"], signals["ts_event"])
    assert np.array_equal(cause["stamp_ns"], signals["tick_ns"])
    assert ((cause["flags"] & shm.Flags.LAST) != 0).all()
    assert (signals["signal_ns"] >= signals["tick_ns"]).all()

    counters = control.counters
    assert len(signals) == counters.signals > 1_000 and counters.lost == counters.rejects == 0
    model = board.tables.models[0]
    assert (model.name, len(model.outputs), len(model.sha256)) == ("mlp-k10", 3, 32) and model.meaning
    assert model.horizon_events == 10
    off = shm.SignalFlags.INVALID | shm.SignalFlags.HALTED | shm.SignalFlags.CATCHING_UP
    last = signals[(signals["flags"] & off) == 0][-1]
    latest = board.latest("ESH4", "mlp-k10")
    assert latest.ring_seq == last["ring_seq"]
    assert list(latest.outputs.values()) == [float(x) for x in last["outputs"][: len(model.outputs)]]
    stages = wait_for("stages", lambda: (s := control.stages()) and s["tick_to_signal"].count and s)
    assert stages["tick_to_signal"].p50 > 0
