"""What the readers of both rings share: reading, waiting, losses, and going over to a successor."""

from __future__ import annotations

import os
import time
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _native

Start = Literal["next", "oldest", "first"]
SHM = "/dev/shm"
_LOOK_S = 0.0005
B = TypeVar("B", bound="Batch")


class Batch:
    """What one read found: rows in ring order, and what was lost before the first.

    Attributes:
        lost: records overwritten before this batch's first row; exact.
        corrupt: the ring contradicts itself: some process scribbled over it. The reader stays where it is; it heals
            when the writer comes round.
    """

    _NUMBER = "ring_seq"

    def __init__(self, words: NDArray[np.uint64], row_words: int, lost: int, corrupt: bool) -> None:
        self._rows = words.reshape(-1, row_words)
        self.lost = lost
        self.corrupt = corrupt

    def __len__(self) -> int:
        """Rows: whole records."""
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} records, {self.lost} lost{', corrupt' * self.corrupt}>"

    @property
    def words(self) -> NDArray[np.uint64]:
        """All rows as they are, shape (n, 2 + words of a slot's record): number in the ring, publish stamp in ns,
        record. Words past a record's own length are left over from earlier ones."""
        return self._rows

    @property
    def seq(self) -> NDArray[np.uint64]:
        """Number of each record in its ring, shape (n,)."""
        return self._rows[:, 0]

    @property
    def stamp_ns(self) -> NDArray[np.uint64]:
        """Publish stamp of each record, ns since the epoch on the shared clock, shape (n,)."""
        return self._rows[:, 1]

    def _packed(self, where: NDArray[np.bool_] | slice, dtype: np.dtype) -> NDArray[np.void]:
        """Rows at ``where`` as ``dtype``, which may be shorter than a row; empty where a row is too short for it."""
        if dtype.itemsize > self._rows.shape[1] * 8:
            return np.empty(0, dtype)
        rows = self._rows[where, : dtype.itemsize // 8]
        return np.ascontiguousarray(rows).view(dtype).reshape(-1)


class Reader(Generic[B]):
    """A reading end. Readers write nothing and never hold the writer up; each has its own place in the ring."""

    _KIND: str
    _BATCH: type[B]

    def __init__(self, lane: str, *, dir: str | os.PathLike[str] = SHM, start: Start = "next") -> None:
        """Attaches to the ring of ``lane`` in ``dir``.

        Args:
            start: ``"next"``: at the next record published; ``"oldest"``: at the oldest still there; ``"first"``: at the
                first ever, so that what is overwritten already is counted as lost.

        Raises:
            AbsentError: there is no such ring (yet).
            MismatchError: it is of another version, kind or clock; the message names both sides.
            DeniedError: this user may not read it.
        """
        self._native = _native.RingReader(self._KIND, lane, os.fspath(dir), start)
        self._row_words = 2 + self._native.record_words
        self.records_read: int = 0
        """Records read since attach, over all generations."""
        self.records_lost: int = 0
        """Records lost since attach, over all generations; exact within each."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.path}, generation {self.generation}, at record {self.cursor}>"

    def read(self, max: int = 1 << 20, *, timeout_s: float = 0.0) -> B:
        """The next records, at most ``max``, in one copy and without the interpreter's lock.

        Waits up to ``timeout_s`` for the first one, and returns an empty batch after that. A loss ends a batch, so that
        ``batch.lost`` always stands before ``batch``'s first row.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            words, lost, corrupt = self._native.read(max)
            if len(words) or lost or corrupt or time.monotonic() >= deadline:
                break
            time.sleep(_LOOK_S)
        batch = self._BATCH(words, self._row_words, lost, corrupt)
        self.records_read += len(batch)
        self.records_lost += lost
        return batch

    def follow(self) -> bool:
        """Goes over to the ring that stands under the name now, from its first record, and says so with True; False
        while there is no other. Read what is left here first. How much was lost in between is unknown."""
        followed = self._native.follow()
        if followed:
            self._row_words = 2 + self._native.record_words
            self._followed()
        return followed

    def skip_to_next(self) -> int:
        """Goes to the next record to be published, and says how many it passed; they count as lost."""
        passed = self._native.skip_to_next()
        self.records_lost += passed
        return passed

    def check(self) -> bool:
        """Whether the ring agrees with itself and with this reader's place in it; False is somebody's scribbling. For a
        look when nothing has come for long."""
        return self._native.check()

    def _followed(self) -> None:
        """For subclasses: what else changes with the ring."""

    @property
    def superseded(self) -> bool:
        """Whether the name stands for another ring now, or for none: the writer restarted or is gone."""
        return self._native.superseded()

    @property
    def owner_alive(self) -> bool:
        """Whether the writer lives, by the kernel's word (a system call)."""
        return self._native.owner_alive()

    @property
    def cursor(self) -> int:
        """Number of the record that comes next."""
        return self._native.cursor

    @property
    def head(self) -> int:
        """Records published so far in this generation."""
        return self._native.head

    @property
    def capacity(self) -> int:
        """Slots of the ring: a reader further behind than this loses records."""
        return self._native.capacity

    @property
    def record_bytes(self) -> int:
        """Bytes of the largest record that a slot holds."""
        return 8 * self._native.record_words

    @property
    def generation(self) -> int:
        """Life of the name, from 1; a restarted writer makes the next one."""
        return self._native.generation

    @property
    def owner_pid(self) -> int:
        """Process id of the writer in its own pid namespace: for messages, not for liveness."""
        return self._native.owner_pid

    @property
    def created_ns(self) -> int:
        """When the ring was made, ns since the epoch."""
        return self._native.created_ns

    @property
    def path(self) -> str:
        """The region's file."""
        return os.fspath(self._native.path)
