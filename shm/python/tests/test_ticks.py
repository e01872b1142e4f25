"""Ticks: every kind field by field, mixed in one ring; losses; restarts; refusals."""

import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import filled

import pillion_shm as shm

KINDS = {"mbo": shm.MBO, "trades": shm.TRADE, "mbp1": shm.MBP1, "mbp10": shm.MBP10, "status": shm.STATUS}
# Bytes of the header, as in shm/README.md: where the successor's mark and the head stand.
SUCCESSOR, HEAD = 192, 256


def test_all_kinds_round_trip_in_one_ring(place):
    sent = {name: filled(dtype, 5 + i, i) for i, (name, dtype) in enumerate(KINDS.items())}
    order = [(name, i) for i in range(9) for name in sent if i < len(sent[name])]
    with shm.TickWriter("mixed", dir=place, capacity=64, record_bytes=368) as writer:
        reader = shm.TickReader("mixed", dir=place)
        for number, (name, i) in enumerate(order):
            assert writer.publish(sent[name][i : i + 1], np.array([1_000 + number])) == number
        batch = reader.read()
    assert (len(batch), batch.lost, batch.corrupt) == (len(order), 0, False)
    assert batch.heads["rtype"].tolist() == [int(sent[name]["rtype"][0]) for name, _ in order]
    assert batch.heads["ts_event"].tolist() == [int(sent[name]["ts_event"][i]) for name, i in order]
    for name, dtype in KINDS.items():
        got, places = getattr(batch, name), [n for n, (kind, _) in enumerate(order) if kind == name]
        assert got["ring_seq"].tolist() == places
        assert got["stamp_ns"].tolist() == [1_000 + n for n in places]
        for field in dtype.names:
            assert np.array_equal(got[field], sent[name][field]), (name, field)


def test_stamps_are_on_the_clock(place):
    with shm.TickWriter("now", dir=place, capacity=16) as writer:
        clock = shm.Clock(place)
        assert abs(clock.offset_ns()) < 60_000_000_000
        reader = shm.TickReader("now", dir=place)
        before = clock.now_ns()
        writer.publish(shm.new(shm.MBO, 10))
        after = clock.now_ns()
        stamps = reader.read().stamp_ns
    assert before <= stamps[0] and stamps[-1] <= after and (np.diff(stamps.astype(np.int64)) >= 0).all()


def test_what_was_read_can_be_published_again(place):
    with (
        shm.TickWriter("one", dir=place, capacity=16) as one,
        shm.TickWriter("two", dir=place, capacity=16) as two,
    ):
        first, second = shm.TickReader("one", dir=place), shm.TickReader("two", dir=place)
        sent = filled(shm.MBO, 9, 3)
        one.publish(sent)
        two.publish(first.read().mbo[::2])
        assert np.array_equal(second.read().mbo["order_id"], sent["order_id"][::2])


def test_a_record_of_another_length_is_not_taken_for_its_kind(place):
    odd = shm.new(shm.MBO, 3)
    odd["length"][1] = 10
    with shm.TickWriter("odd", dir=place, capacity=16) as writer:
        reader = shm.TickReader("odd", dir=place)
        writer.publish(odd)
        batch = reader.read()
    assert len(batch.heads) == 3 and batch.mbo["ring_seq"].tolist() == [0, 2]
    assert len(batch.mbp10) == 0


def test_max_leaves_the_rest(place):
    with shm.TickWriter("max", dir=place, capacity=64) as writer:
        reader = shm.TickReader("max", dir=place)
        writer.publish(shm.new(shm.MBO, 50))
        assert [len(reader.read(20)) for _ in range(4)] == [20, 20, 10, 0]
        assert reader.cursor == reader.head == 50


def test_losses_are_exact(place):
    sent = shm.new(shm.MBO, 1_000)
    sent["order_id"] = np.arange(1_000)
    with shm.TickWriter("loss", dir=place, capacity=16) as writer:
        reader = shm.TickReader("loss", dir=place)
        late = shm.TickReader("loss", dir=place, start="first")
        at, seen = 0, 0
        for count in (10, 16, 17, 100, 5, 500, 352):
            writer.publish(sent[at : at + count])
            at += count
            batch = reader.read()
            assert batch.lost == max(0, count - 16)
            assert batch.mbo["order_id"].tolist() == list(range(at - min(count, 16), at))
            assert batch.mbo["order_id"].tolist() == batch.mbo["ring_seq"].tolist()
            seen += len(batch)
        assert (reader.records_read, reader.records_lost) == (seen, 1_000 - seen)
        assert late.read().lost == 1_000 - 16
        assert len(shm.TickReader("loss", dir=place, start="oldest").read()) == 16


def test_losses_add_up_while_a_writer_laps(place):
    """A writer that never waits, a ring of 64: whatever interleaving comes, numbers rise, and read + lost = published."""
    total, chunk = 200_000, 500
    with shm.TickWriter("race", dir=place, capacity=64) as writer:
        reader = shm.TickReader("race", dir=place)
        sent = shm.new(shm.MBO, total)
        sent["order_id"] = sent["price"] = np.arange(total)
        publish = lambda: [writer.publish(sent[i : i + chunk]) for i in range(0, total, chunk)]  # noqa: E731
        thread = threading.Thread(target=publish)
        thread.start()
        due = 0
        while thread.is_alive() or reader.cursor < reader.head:
            batch = reader.read()
            due += batch.lost
            numbers = batch.mbo["ring_seq"]
            assert np.array_equal(numbers, np.arange(due, due + len(batch), dtype=np.uint64))
            assert np.array_equal(numbers, batch.mbo["order_id"]) and np.array_equal(numbers, batch.mbo["price"])
            due += len(batch)
        thread.join()
    due += reader.read().lost
    assert due == total == reader.records_read + reader.records_lost
    assert reader.records_lost > 0, "the writer was to lap the reader"


def test_waiting_ends_with_a_record_or_in_time(place):
    with shm.TickWriter("wait", dir=place, capacity=16) as writer:
        reader = shm.TickReader("wait", dir=place)
        assert len(reader.read(timeout_s=0.01)) == 0
        later = threading.Timer(0.05, lambda: writer.publish(shm.new(shm.TRADE, 1)))
        later.start()
        assert len(reader.read(timeout_s=30.0)) == 1
        later.join()


def test_a_restart_is_a_new_generation_that_follow_goes_over_to(place):
    first = shm.TickWriter("life", dir=place, capacity=16)
    reader = shm.TickReader("life", dir=place)
    first.publish(shm.new(shm.MBO, 3))
    assert not reader.superseded and not reader.follow() and reader.owner_alive
    first.close()
    assert not reader.owner_alive and not reader.follow()
    with shm.TickWriter("life", dir=place, capacity=32, record_bytes=368) as second:
        second.publish(filled(shm.MBP10, 2, 1))
        assert reader.superseded and second.generation == 2
        assert not reader.follow() and reader.generation == 1, "three records are left"
        assert len(reader.read().mbo) == 3, "what is left of the first is read first"
        assert reader.follow() and reader.generation == 2 and reader.capacity == 32
        assert len(reader.read().mbp10) == 2 and reader.records_read == 5
        assert not reader.follow()


def test_follow_passes_over_nothing(place):
    first = shm.TickWriter("left", dir=place, capacity=8)
    reader, second = (shm.TickReader("left", dir=place) for _ in range(2))
    first.publish(shm.new(shm.MBO, 8))
    first.close()
    with shm.TickWriter("left", dir=place, capacity=8):
        assert not reader.follow() and len(reader.read(5)) == 5
        assert not reader.follow() and len(reader.read()) == 3
        assert reader.follow() and reader.generation == 2 and reader.records_lost == 0
        assert not second.follow() and second.skip_to_next() == 8, "given up, and counted"
        assert second.follow() and (second.records_read, second.records_lost) == (0, 8)


def test_a_loss_is_reported_before_follow_goes_over(place):
    first = shm.TickWriter("late", dir=place, capacity=8)
    reader = shm.TickReader("late", dir=place)
    first.publish(shm.new(shm.MBO, 8))
    # As if the writer had come round while the ring was read, and 16 records stood published: 11 and 15 in their slots.
    with open(first.path, "r+b") as file:
        header = np.frombuffer(file.read(512), np.uint64)
        body, stride = int(header[10]), int(header[6])
        for offset, value in [(HEAD, 16), (body + 3 * stride, 24), (body + 7 * stride, 32)]:
            file.seek(offset)
            file.write(value.to_bytes(8, sys.byteorder))
    first.close()
    with shm.TickWriter("late", dir=place, capacity=8):
        batch = reader.read()
        assert (len(batch), batch.lost, reader.cursor) == (3, 0, 8)
        assert not reader.follow(), "the loss behind those three is not the successor's"
        batch = reader.read()
        assert (len(batch), batch.lost) == (0, 5)
        assert reader.follow() and reader.read().lost == 0 and reader.records_lost == 5


def test_follow_stays_where_there_is_no_other_ring(place):
    with shm.TickWriter("alone", dir=place, capacity=8) as writer:
        reader = shm.TickReader("alone", dir=place)
        writer.publish(shm.new(shm.MBO, 3))
        assert len(reader.read()) == 3
        with open(writer.path, "r+b") as file:
            file.seek(SUCCESSOR)
            file.write((1).to_bytes(8, sys.byteorder))
        assert reader.superseded and not reader.follow(), "a mark that no successor made leads back here"
        assert (reader.cursor, len(reader.read()), reader.records_read) == (3, 0, 3)
    assert reader.superseded and not reader.follow(), "its name is gone"


def test_a_killed_writer_leaves_whole_records(place):
    code = (
        "import os, signal, sys, numpy as np, pillion_shm as shm\n"
        "w = shm.TickWriter('killed', dir=sys.argv[1], capacity=64)\n"
        "w.publish(shm.new(shm.TRADE, 40))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, place], check=False)
    assert ended.returncode == -9
    reader = shm.TickReader("killed", dir=place, start="oldest")
    assert not reader.owner_alive and len(reader.read().trades) == 40
    with shm.TickWriter("killed", dir=place, capacity=64) as writer:
        assert writer.generation == 2 and reader.follow()


def test_refusals_say_what_was_found_and_what_to_do(place):
    shm.TickWriter("first", dir=place, capacity=16).close()  # Whoever makes a region makes the clock; a reader does not.
    with pytest.raises(shm.AbsentError, match=r"pillion\.none\.ticks does not exist; mend: start its owner") as absent:
        shm.TickReader("none", dir=place)
    assert isinstance(absent.value, FileNotFoundError)
    with pytest.raises(shm.ArgumentError, match="lane name \"No Name\" is not 1 to 32 characters"):
        shm.TickReader("No Name", dir=place)
    with pytest.raises(ValueError, match='start is "now", but must be one of "next", "oldest", "first"'):
        shm.TickReader("none", dir=place, start="now")
    with pytest.raises(shm.ArgumentError, match="ring size is 100 slots of 14 words, but must be a power of two"):
        shm.TickWriter("bad", dir=place, capacity=100)
    with shm.TickWriter("held", dir=place, capacity=16) as writer:
        with pytest.raises(shm.HeldError, match=r"held by live process \d+ for \d+ s \(generation 1\), .*; mend"):
            shm.TickWriter("held", dir=place)
        with pytest.raises(ValueError, match="368 bytes do not fit this ring, whose records hold 112 bytes"):
            writer.publish(shm.new(shm.MBP10, 1))
        with pytest.raises(TypeError, match="are none of MBO, TRADE, MBP1, MBP10, STATUS"):
            writer.publish(np.zeros(3, "u8"))
        with pytest.raises(ValueError, match="3 records need as many stamps"):
            writer.publish(shm.new(shm.MBO, 3), np.zeros(2, np.uint64))
        path = writer.path
        shutil.copy(path, path.replace(".held.ticks", ".held.signals"))
        with pytest.raises(shm.MismatchError, match="its kind is ticks, this process has signals"):
            shm.SignalReader("held", dir=place)
    with pytest.raises(shm.Error, match="closed before; mend: make a new one"):
        writer.publish(shm.new(shm.MBO, 1))


def test_another_layout_is_refused_naming_both(place):
    with shm.TickWriter("old", dir=place, capacity=16) as writer:
        with open(writer.path, "r+b") as file:
            file.seek(8)
            file.write((99).to_bytes(4, sys.byteorder))
        both = r"its layout is version 99, hash 0x\w+, this process has version \d+, hash 0x\w+; it was made by process \d+"
        with pytest.raises(shm.MismatchError, match=both + ".*mend: "):
            shm.TickReader("old", dir=place)
    with open(f"{place}/pillion.text.ticks", "w") as file:
        file.write("no region at all\n" * 100)
    with pytest.raises(shm.MismatchError, match="is not a Pillion region"):
        shm.TickReader("text", dir=place)


def test_a_scribbled_slot_is_corrupt_until_the_writer_comes_round(place):
    with shm.TickWriter("scribble", dir=place, capacity=8) as writer:
        reader = shm.TickReader("scribble", dir=place)
        writer.publish(shm.new(shm.MBO, 8))
        assert reader.check()
        with open(writer.path, "r+b") as file:
            header = np.frombuffer(file.read(512), np.uint64)
            body, stride = int(header[10]), int(header[6])
            file.seek(body + 3 * stride)
            file.write((2**50).to_bytes(8, sys.byteorder))
        batch = reader.read()
        assert (len(batch), batch.corrupt, batch.lost) == (3, True, 0)
        assert (reader.read().corrupt, reader.cursor) == (True, 3), "it stays where it is"
        writer.publish(shm.new(shm.MBO, 8))
        healed = reader.read()
        assert (healed.lost, healed.seq.tolist(), healed.corrupt) == (5, list(range(8, 16)), False)
        writer.publish(shm.new(shm.MBO, 5))
        assert reader.skip_to_next() == 5 and len(reader.read()) == 0
        assert (reader.records_read, reader.records_lost) == (11, 10)
