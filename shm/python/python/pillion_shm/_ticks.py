"""Ticks: market data records in DBN's layouts, several kinds in one ring."""

from __future__ import annotations

import os
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._records import BY_RTYPE, HEADER, MBO, MBP1, MBP10, STATUS, TRADE, in_row
from ._rings import SHM, Batch, Reader

_HEAD = in_row(HEADER)


class TickBatch(Batch):
    """Ticks of one read: :attr:`heads` has all of them in order, and each kind has an array of its own, whose
    ``ring_seq`` says where its records stand among the others."""

    @cached_property
    def heads(self) -> NDArray[np.void]:
        """Number, stamp and common header of every record, shape (n,), 32 bytes each."""
        return self._packed(slice(None), _HEAD)

    def of(self, rtype: int) -> NDArray[np.void]:
        """Records of one ``rtype``, shape (k,): ``ring_seq``, ``stamp_ns``, then the fields of ``BY_RTYPE[rtype]``.

        A record whose own length is not its kind's is left out here; it is in :attr:`heads` and :attr:`words`.
        """
        dtype = BY_RTYPE[rtype]
        heads = self.heads
        return self._packed((heads["rtype"] == rtype) & (heads["length"] == dtype.itemsize // 4), in_row(dtype))

    @cached_property
    def mbo(self) -> NDArray[np.void]:
        """Market by order."""
        return self.of(0xA0)

    @cached_property
    def trades(self) -> NDArray[np.void]:
        """Trades (MBP-0)."""
        return self.of(0x00)

    @cached_property
    def mbp1(self) -> NDArray[np.void]:
        """Market by price, one level: ``levels`` has shape (k, 1)."""
        return self.of(0x01)

    @cached_property
    def mbp10(self) -> NDArray[np.void]:
        """Market by price, ten levels: ``levels`` has shape (k, 10), best first."""
        return self.of(0x0A)

    @cached_property
    def status(self) -> NDArray[np.void]:
        """Trading status."""
        return self.of(0x12)


class TickReader(Reader[TickBatch]):
    """Reads the tick ring of a lane.

    >>> ticks = TickReader("es").read(timeout_s=1.0)      # doctest: +SKIP
    >>> ticks.mbo["price"], ticks.lost                    # doctest: +SKIP
    """

    _KIND = "ticks"
    _BATCH = TickBatch


class TickWriter:
    """Publishes ticks: a feed for tests and studies. It owns the name until it is closed; it never waits for readers."""

    def __init__(
        self,
        lane: str,
        *,
        dir: str | os.PathLike[str] = SHM,
        capacity: int = 1 << 16,
        record_bytes: int = 112,
        mode: int = 0o600,
        gid: int | None = None,
        lock: str = "try",
    ) -> None:
        """Makes the tick ring of ``lane``, or its next generation when a dead writer's has the name.

        Args:
            capacity: slots, a power of two.
            record_bytes: of the largest record: 112 makes slots of 128 bytes, 368 (MBP-10) of 384.
            mode: of the file; nothing for others to write.
            gid: the file's group; the process's when None.
            lock: ``"require"``, ``"try"`` or ``"no"``: whether the ring is locked in memory.

        Raises:
            HeldError: a live process has the name; the message says which.
            ArgumentError: a size, mode or name that is not usable.
        """
        self._native = _native.RingWriter(
            "ticks", lane, os.fspath(dir), capacity, record_bytes, b"", mode, gid, lock
        )

    def publish(self, records: NDArray[np.void], stamps_ns: NDArray[np.uint64] | None = None) -> int:
        """Publishes a structured array of one of the record dtypes, in order; returns the first one's number.

        Args:
            records: shape (n,), one of ``MBO``, ``TRADE``, ``MBP1``, ``MBP10``, ``STATUS``, or such an array as a read gave
                it, whose ``ring_seq`` and ``stamp_ns`` are left out. Its header fields stand as given.
            stamps_ns: shape (n,), publish stamps; now for each when None.
        """
        packed = _packed(records)
        stamps = None if stamps_ns is None else np.ascontiguousarray(stamps_ns, np.uint64)
        return self._native.publish(packed.view(np.uint64).reshape(-1), packed.dtype.itemsize // 8, stamps)

    @property
    def published(self) -> int:
        """Records published so far."""
        return self._native.published

    @property
    def generation(self) -> int:
        """Life of the name, from 1."""
        return self._native.generation

    @property
    def path(self) -> str:
        """The region's file."""
        return os.fspath(self._native.path)

    def close(self, *, unlink: bool = False) -> None:
        """Ends the ring; the name stays for the next writer unless ``unlink``. Readers keep what they have mapped."""
        self._native.close(unlink)

    def __enter__(self) -> TickWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(unlink=True)


def _packed(records: NDArray[np.void]) -> NDArray[np.void]:
    """``records`` as one of the record dtypes, contiguous."""
    records = np.atleast_1d(np.asarray(records))
    for dtype in (MBO, TRADE, MBP1, MBP10, STATUS):
        if records.dtype == dtype:
            return np.ascontiguousarray(records)
        if records.dtype == in_row(dtype):
            body = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), -1)[:, 16:]
            return np.ascontiguousarray(body).view(dtype).reshape(-1)
    raise TypeError(f"records of dtype {records.dtype} are none of MBO, TRADE, MBP1, MBP10, STATUS")


def new(dtype: np.dtype, n: int) -> NDArray[np.void]:
    """``n`` zeroed records whose header says their length and ``rtype``."""
    rtypes = [rtype for rtype, known in BY_RTYPE.items() if known == dtype]
    if not rtypes:
        raise TypeError(f"{dtype} is none of MBO, TRADE, MBP1, MBP10, STATUS")
    records = np.zeros(n, dtype)
    records["length"] = dtype.itemsize // 4
    records["rtype"] = rtypes[0]
    return records
