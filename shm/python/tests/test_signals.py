"""Signals, board, tables and the control page, against a stand-in for the sidecar."""

import os
import threading
import time

import numpy as np
import pytest
from conftest import signals

import pillion_shm as shm
from pillion_shm import _native
from pillion_shm.testing import MockSidecar


def test_tables_come_back_whole(place, tables):
    with MockSidecar("es", tables, dir=place):
        board = shm.Board("es", dir=place)
        assert shm.SignalReader("es", dir=place).tables == board.tables == tables
        assert {model.name: model.horizon_events for model in board.tables.models} == {"mlp-k10": 10, "lgbm-k50": 20}
    assert shm.Tables.of_bytes(tables.to_bytes()) == tables
    long = shm.Tables((shm.Instrument(1, "X" * 72, 1, 1.0),), ())
    with pytest.raises(shm.ArgumentError, match=r'symbol of instrument 0 is "X+", 72 bytes, at most 71'):
        long.to_bytes()


def test_signals_round_trip_field_by_field(place, tables):
    sent = signals(300, tables)
    with MockSidecar("es", tables, dir=place, capacity=512) as sidecar:
        reader = shm.SignalReader("es", dir=place, start="first")
        sidecar.publish(sent)
        batch = reader.read()
    got = batch.signals
    assert got["signal_seq"].tolist() == list(range(300)) and batch.lost == 0
    for field in shm.SIGNAL.names:
        assert np.array_equal(got[field], sent[field]), field
    of_model = sent[sent["model"] == 0]
    assert np.array_equal(batch.of("mlp-k10")["ring_seq"], of_model["ring_seq"])
    columns = batch.columns("mlp-k10")
    assert np.array_equal(columns["up"], of_model["outputs"][:, 2])
    assert columns["symbol"].tolist() == [tables.instruments[i].symbol for i in of_model["instrument"]]
    assert "outputs_00" not in columns and all(column.ndim == 1 for column in columns.values())
    with pytest.raises(shm.UnknownNameError, match="no model 'mlp' on this lane, which has mlp-k10, lgbm-k50; mend"):
        batch.of("mlp")


def test_signal_losses_are_exact(place, tables):
    with MockSidecar("es", tables, dir=place, capacity=64) as sidecar:
        reader = shm.SignalReader("es", dir=place)
        sidecar.publish(signals(1_000, tables), board=False)
        batch = reader.read()
        assert (batch.lost, len(batch)) == (936, 64)
        assert batch.signals["ring_seq"].tolist() == list(range(100 + 936, 1_100))


def test_board_has_the_last_of_each_cell(place, tables):
    with MockSidecar("es", tables, dir=place) as sidecar:
        board = shm.Board("es", dir=place)
        assert board.shape == (2, 2) and board.latest("ESH4", "mlp-k10") is None
        assert (board.array()["status"] == shm.NEVER).all()
        sent = signals(7, tables)
        sidecar.publish(sent, ring=False)
        cells = board.array()
        assert (cells["status"] == shm.VALUE).all()
        for i, instrument in enumerate(tables.instruments):
            for m, model in enumerate(tables.models):
                last = sent[(sent["instrument"] == i) & (sent["model"] == m)][-1]
                assert all(np.array_equal(cells[i, m][field], last[field]) for field in shm.SIGNAL.names)
                signal = board.latest(instrument.symbol, model.name)
                assert list(signal.outputs) == list(model.outputs)
                assert list(signal.outputs.values()) == [float(x) for x in last["outputs"][: len(model.outputs)]]
                assert (signal.ring_seq, signal.revision) == (last["ring_seq"], model.revision)
                assert signal.flags == last["flags"] and signal.age_ns(5_000) == 5_000 - last["tick_ns"]
                assert signal.tradable == (last["flags"] & shm.SignalFlags.UNTRADABLE == 0)
        with pytest.raises(shm.UnknownNameError, match="no instrument 'ESZ9' on this lane, which has ESH4, NQH4"):
            board.latest("ESZ9", "mlp-k10")
        with pytest.raises(ValueError, match="no cell for instrument 9, model 0: the board has 2 × 2"):
            wrong = signals(1, tables)
            wrong["instrument"] = 9
            sidecar.publish(wrong, ring=False)


def test_a_cell_left_half_written_is_busy_not_torn(place, tables):
    with MockSidecar("es", tables, dir=place) as sidecar:
        sidecar.publish(signals(4, tables), ring=False)
        board = shm.Board("es", dir=place)
        with open(f"{place}/pillion.es.board", "r+b") as file:
            header = np.frombuffer(file.read(512), np.uint64)
            file.seek(int(header[10]))  # body_offset: the number of the first cell
            file.write((7).to_bytes(8, "little"))
        assert board.array()["status"].tolist() == [[shm.BUSY, shm.VALUE], [shm.VALUE, shm.VALUE]]
        with pytest.raises(shm.BusyError, match="ESH4, mlp-k10: its cell is half written; mend: "):
            board.latest("ESH4", "mlp-k10")


def test_a_restarted_sidecar_is_followed_with_its_new_tables(place, tables):
    old = MockSidecar("es", tables, dir=place)
    reader, board = shm.SignalReader("es", dir=place), shm.Board("es", dir=place)
    old.close()
    fewer = shm.Tables(tables.instruments, tables.models[:1])
    with MockSidecar("es", fewer, dir=place):
        assert board.superseded and reader.follow()
        assert reader.tables == fewer and reader.generation == 2
        assert shm.Board("es", dir=place).shape == (2, 1)


def foreign(place, table, record_bytes=shm.SIGNAL.itemsize):
    """A signal ring of somebody else's making, with 4 records of zeroes."""
    ring = _native.RingWriter("signals", "es", place, 16, record_bytes, table, 0o600, None, "try")
    ring.publish(np.zeros(4 * record_bytes // 8, np.uint64), record_bytes // 8, None)
    return ring


@pytest.mark.parametrize(
    ("table", "record_bytes", "found"),
    [
        (b"no tables at all", 112, "table of 16 bytes is not whole, or of another version"),
        (None, 48, "slots hold 6 words, 14 needed"),
    ],
)
def test_a_successor_that_cannot_be_read_changes_nothing(place, tables, table, record_bytes, found):
    what = rf"a signal ring whose {found} \(made by process \d+\)"
    refused = rf"pillion\.es\.signals is not a Pillion region: {what}; mend: "
    old = MockSidecar("es", tables, dir=place)
    reader = shm.SignalReader("es", dir=place)
    sent = signals(6, tables)
    old.publish(sent)
    assert len(reader.read(4)) == 4
    old.close()
    wrong = foreign(place, tables.to_bytes() if table is None else table, record_bytes)
    assert not reader.follow(), "two signals are left here"
    assert reader.read().signals["ring_seq"].tolist() == sent["ring_seq"][4:].tolist()
    for _ in range(2):
        with pytest.raises(shm.MismatchError, match=refused):
            reader.follow()
        assert (reader.generation, reader.tables, reader.record_bytes) == (1, tables, 112)
        assert (len(reader.read()), reader.cursor, reader.superseded) == (0, 6, True)
    with pytest.raises(shm.MismatchError, match=refused):
        shm.SignalReader("es", dir=place)
    wrong.close(False)
    with MockSidecar("es", shm.Tables(tables.instruments, tables.models[:1]), dir=place) as third:
        third.publish(sent[:2])
        assert reader.follow() and reader.generation == 3 and len(reader.tables.models) == 1
        assert reader.read().columns("mlp-k10")["signal_seq"].tolist() == [0, 1]


def test_a_signal_of_another_revision_has_no_named_outputs(place, tables):
    sent = signals(8, tables)
    sent["flags"] = 0
    sent["revision"][4] += 1
    with MockSidecar("es", tables, dir=place) as sidecar:
        reader, board = shm.SignalReader("es", dir=place), shm.Board("es", dir=place)
        sidecar.publish(sent)
        columns = reader.read().columns("mlp-k10")
        with pytest.raises(shm.RevisionError, match="ESH4, mlp-k10: .* revision 8, the board's table of 7; mend: attach"):
            board.latest("ESH4", "mlp-k10")
        assert board.latest("NQH4", "mlp-k10").revision == 7
    assert columns["ring_seq"].tolist() == [100, 101, 104, 105] and columns["revision"].tolist() == [7, 7, 8, 7]
    assert columns["tradable"].tolist() == [True, True, False, True]
    for i, name in enumerate(tables.models[0].outputs):
        assert columns[name].dtype == sent["outputs"].dtype
        assert np.array_equal(columns[name], [*sent["outputs"][:2, i], np.nan, sent["outputs"][5, i]], equal_nan=True)


def test_control_says_what_the_page_says(place, tables):
    with MockSidecar("es", tables, dir=place) as sidecar:
        control = shm.Control("es", dir=place)
        assert control.state is shm.State.BOOT and control.stages() is None
        assert control.heartbeat_age_ns is None and not control.alive()
        sidecar.beat()
        assert control.alive(60_000_000_000) and control.heartbeat_age_ns >= 0
        time.sleep(0.002)
        assert not control.alive(1_000_000)
        counters = shm.Counters(*range(1, 9))
        stages = {
            name: shm.Stage(*range(i, i + 7))
            for i, name in enumerate(["wait", "decode", "book", "features", "infer", "publish", "tick_to_signal"])
        }
        sidecar.set_counters(counters)
        sidecar.publish_stages(stages)
        sidecar.set_ticks_consumed(50, generation=3, before=20)
        assert control.counters == counters and control.stages() == stages
        assert (control.ticks_consumed, control.consumed_of(3), control.consumed_of(2)) == (50, 30, 0)
        assert control.owner_alive and control.pid > 0 and not control.superseded
        for state in shm.State:
            sidecar.set_state(state)
            assert control.state is state


def test_alive_takes_a_heartbeat_of_now_and_a_state_that_goes_on(place, tables):
    minute = 60_000_000_000
    with MockSidecar("es", tables, dir=place) as sidecar:
        control, clock = shm.Control("es", dir=place), shm.Clock(place)
        for state in shm.State:
            sidecar.set_state(state)
            sidecar.beat(0)
            assert not control.alive(minute), "before the first"
            sidecar.beat()
            assert control.alive(minute) == (state.value in ("BOOT", "RUN", "HALT")), state
        sidecar.set_state(shm.State.RUN)
        for far in (2**64 - 1, 2**63, clock.now_ns() + minute):
            sidecar.beat(far)
            assert control.heartbeat_age_ns is None and not control.alive(2**64), "a beat in the future is nobody's"
        sidecar.beat(clock.now_ns() + shm.MAX_AHEAD_NS // 2)
        assert control.heartbeat_age_ns is not None and control.alive(minute), "the clocks of two cores may differ"
        sidecar.beat(clock.now_ns() - minute)
        assert control.heartbeat_age_ns >= minute and not control.alive(minute)


def test_operators_are_answered_or_told_why_not(place, tables):
    sidecar = MockSidecar("es", tables, dir=place)
    control = shm.Control("es", dir=place, operator=True)
    done = threading.Event()

    def serve():
        while not done.is_set():
            sidecar.answer()
            time.sleep(0.001)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert control.halt(30.0) is shm.Outcome.DONE and control.halted and control.state is shm.State.HALT
        assert control.resume(30.0) is shm.Outcome.DONE and not control.halted
        assert control.stop(30.0) is shm.Outcome.DONE and control.state is shm.State.STOPPED
    finally:
        done.set()
        thread.join()
    with pytest.raises(shm.NoAnswerError, match=r"did not answer Halt within 10 ms; mend") as late:
        control.halt(0.01)
    assert isinstance(late.value, TimeoutError)
    with pytest.raises(shm.DeniedError, match="attached for reading, not as an operator"):
        shm.Control("es", dir=place).halt()
    with pytest.raises(ValueError, match="timeout_s is -1, but must be 0 or more seconds"):
        control.halt(-1.0)
    sidecar.close()
    with pytest.raises(shm.NoOwnerError, match="is gone; mend: start the sidecar again"):
        control.stop(30.0)
    assert not control.owner_alive


def test_a_dead_sidecars_lane_is_halted_without_a_clock(place, tables):
    sidecar = MockSidecar("es", tables, dir=place)
    sidecar.beat()
    operator, look = shm.Control("es", dir=place, operator=True), shm.Control("es", dir=place)
    assert operator.alive(60_000_000_000)
    sidecar.close()
    os.unlink(os.path.join(place, "pillion.clock"))
    assert operator.halt() is shm.Outcome.DONE and look.halted and not look.owner_alive
    with pytest.raises(shm.NoOwnerError, match="is gone; mend: start the sidecar again"):
        operator.stop()
    with pytest.raises(shm.AbsentError, match=r"pillion\.clock does not exist"):
        shm.Clock(place)
    late = shm.Control("es", dir=place, operator=True)
    assert late.heartbeat_age_ns is None and not late.alive() and late.halted
    assert late.resume() is shm.Outcome.DONE and not look.halted
    os.chmod(os.path.join(place, "pillion.es.cnc"), 0o602)
    with pytest.raises(shm.UntrustedError, match="everybody may write it"):
        shm.Control("es", dir=place, operator=True)


def test_a_frame_of_signals(place, tables):
    """The README's lines."""
    pd = pytest.importorskip("pandas", reason="pandas is optional")
    with MockSidecar("es", tables, dir=place) as sidecar:
        reader = shm.SignalReader("es", dir=place, start="oldest")
        sidecar.publish(signals(200, tables))
        batch = reader.read(timeout_s=5.0)
        frame = pd.DataFrame(batch.columns("mlp-k10"))
        frame["late_us"] = (frame.signal_ns - frame.tick_ns) / 1e3
    flags = batch.of("mlp-k10")["flags"]
    assert len(frame) == 100 and 0 < frame.tradable.sum() < len(frame)
    assert frame.tradable.tolist() == [not f & 0b1001111 for f in flags.tolist()]
    assert {"signal_seq", "symbol", "down", "flat", "up", "late_us"} <= set(frame.columns)
