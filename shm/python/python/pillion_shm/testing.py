"""A stand-in for the sidecar: its signal ring, board and control page, for tests of what reads them."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._control import Counters, Stage, State
from ._records import SIGNAL
from ._rings import SHM
from ._tables import Tables


class MockSidecar:
    """Owns the signal ring, the board and the control page of a lane until it is closed. As a context manager it removes
    their names at the end."""

    def __init__(
        self,
        lane: str,
        tables: Tables,
        *,
        dir: str | os.PathLike[str] = SHM,
        capacity: int = 1 << 12,
        mode: int = 0o600,
    ) -> None:
        """Makes all three; ``capacity`` is the signal ring's, a power of two."""
        where, raw = os.fspath(dir), tables.to_bytes()
        self._shape = len(tables.instruments), len(tables.models)
        self._ring = _native.RingWriter("signals", lane, where, capacity, SIGNAL.itemsize, raw, mode, None, "try")
        self._board = _native.BoardWriter(lane, where, *self._shape, raw, mode, None)
        self._page = _native.ControlOwner(lane, where, mode)

    def publish(self, signals: NDArray[np.void], *, ring: bool = True, board: bool = True) -> None:
        """Publishes an array of ``SIGNAL`` to the ring, and sets their cells of the board."""
        if signals.dtype != SIGNAL:
            raise TypeError(f"signals have dtype {signals.dtype}, but must have SIGNAL")
        words = np.ascontiguousarray(np.atleast_1d(signals)).view(np.uint64).reshape(-1)
        if ring:
            self._ring.publish(words, SIGNAL.itemsize // 8, None)
        if board:
            self._board.set(words, *self._shape)

    def set_state(self, state: State) -> None:
        """Sets the state; HALT and RUN set and end the halt."""
        self._page.set_state(state.value)

    def beat(self) -> None:
        """A heartbeat now."""
        self._page.beat()

    def set_counters(self, counters: Counters) -> None:
        """Sets all counters."""
        self._page.set_counters(list(vars(counters).values()))

    def publish_stages(self, stages: dict[str, Stage]) -> None:
        """Publishes the percentiles of all seven stages, in the order of the line."""
        self._page.publish_stages([list(vars(stage).values()) for stage in stages.values()])

    def set_ticks_consumed(self, ticks: int, *, generation: int = 1, before: int = 0) -> None:
        """Says how many ticks are done with, and of which generation of the tick ring they are."""
        self._page.set_ticks_consumed(generation, before, ticks)

    def answer(self) -> str | None:
        """Answers the operator's request that waits, if any, and says which it was."""
        return self._page.answer()

    def close(self, *, unlink: bool = False) -> None:
        """Ends all three; the names stay for the next owner unless ``unlink``."""
        for region in (self._ring, self._board, self._page):
            region.close(unlink)

    def __enter__(self) -> MockSidecar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(unlink=True)
