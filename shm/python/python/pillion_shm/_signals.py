"""Signals: the ring of all of them, and the board with the last one of each instrument and model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import _native
from ._errors import BusyError
from ._records import SIGNAL, SignalFlags, columns, in_row
from ._rings import SHM, Batch, Reader, Start
from ._tables import Tables

_ROW = in_row(SIGNAL, "signal_seq")
_FIELDS = SIGNAL.fields or {}

BOARD = np.dtype(
    {
        "names": ["status", *_FIELDS],
        "formats": ["u8", *(field[0] for field in _FIELDS.values())],
        "offsets": [0, *(8 + field[1] for field in _FIELDS.values())],
        "itemsize": 8 + SIGNAL.itemsize,
    }
)
"""A cell of the board, 120 bytes: ``status`` (``NEVER``, ``VALUE`` or ``BUSY``), then a ``SIGNAL``."""

NEVER, VALUE, BUSY = 0, 1, 2


class SignalBatch(Batch):
    """Signals of one read."""

    tables: Tables

    @property
    def signals(self) -> NDArray[np.void]:
        """All of them, shape (n,): ``signal_seq`` (the signal's own number in its ring), ``stamp_ns``, then ``SIGNAL``."""
        return self._packed(slice(None), _ROW)

    @cached_property
    def _of_model(self) -> NDArray[np.uint16]:
        return self.signals["model"]

    def of(self, model: str) -> NDArray[np.void]:
        """The signals of one model, shape (k,).

        Raises:
            UnknownNameError: there is no such model on this lane.
        """
        return self.signals[self._of_model == self.tables.model(model)]

    def columns(self, model: str) -> dict[str, NDArray]:
        """The signals of one model as 1-D arrays for a DataFrame: every field, ``symbol``, ``tradable`` (nothing in
        the flags forbids trading on it), and each output under its own name instead of a number."""
        found = self.of(model)
        symbols = np.array([instrument.symbol for instrument in self.tables.instruments], object)
        plain = {name: array for name, array in columns(found).items() if not name.startswith("outputs_")}
        plain["symbol"] = symbols[found["instrument"]] if len(symbols) else np.empty(len(found), object)
        plain["tradable"] = (found["flags"] & int(SignalFlags.UNTRADABLE)) == 0
        names = self.tables.models[self.tables.model(model)].outputs
        return plain | {name: found["outputs"][:, i] for i, name in enumerate(names)}


class SignalReader(Reader[SignalBatch]):
    """Reads the signal ring of a lane: every signal, halted and invalid ones too."""

    _KIND = "signals"
    _BATCH = SignalBatch

    def __init__(self, lane: str, *, dir: str | os.PathLike[str] = SHM, start: Start = "next") -> None:
        super().__init__(lane, dir=dir, start=start)
        self._followed()

    def _followed(self) -> None:
        self.tables: Tables = Tables.of_bytes(self._native.table())
        """What instrument and model numbers stand for; read anew by :meth:`follow`."""

    def read(self, max: int = 1 << 20, *, timeout_s: float = 0.0) -> SignalBatch:
        """The next signals, at most ``max``; see :meth:`Reader.read`."""
        batch = super().read(max, timeout_s=timeout_s)
        batch.tables = self.tables
        return batch


@dataclass(frozen=True)
class Signal:
    """One signal, its numbers resolved."""

    symbol: str
    model: str
    ring_seq: int
    """Number in the tick ring of the event's last record."""
    ts_event: int
    """That record's matching-engine time, ns since the epoch."""
    tick_ns: int
    """That record's publish stamp, ns on the shared clock."""
    signal_ns: int
    """This signal's publish stamp, ns on the shared clock."""
    revision: int
    flags: SignalFlags
    outputs: dict[str, float]
    """Each output under its name."""

    @property
    def tradable(self) -> bool:
        """Whether nothing in the flags forbids trading on it. Staleness and budget are yours to judge."""
        return not self.flags & SignalFlags.UNTRADABLE

    def age_ns(self, now_ns: int) -> int:
        """ns from its tick's publish stamp to ``now_ns`` on the shared clock (``Clock.now_ns``)."""
        return now_ns - self.tick_ns


class Board:
    """The last good signal of each instrument and model: invalid and halted ones reach the ring only."""

    def __init__(self, lane: str, *, dir: str | os.PathLike[str] = SHM) -> None:
        """Attaches to the board of ``lane`` in ``dir``.

        Raises:
            AbsentError: there is no such board (yet).
            MismatchError: it is of another version, kind or clock; the message names both sides.
        """
        self._native = _native.BoardReader(lane, os.fspath(dir))
        # A board of layout version 1 has no tables of its own; the signal ring of the same sidecar has.
        raw = self._native.table() or _native.RingReader("signals", lane, os.fspath(dir), "next").table()
        self.tables: Tables = Tables.of_bytes(raw)
        """What instrument and model numbers stand for."""

    def __repr__(self) -> str:
        instruments, models = self.shape
        return f"<Board of {instruments} instruments and {models} models, generation {self.generation}>"

    def latest(self, symbol: str, model: str) -> Signal | None:
        """The last signal, or None when none was ever set.

        Raises:
            UnknownNameError: no such instrument or model on this lane.
            BusyError: its writer died or was descheduled in the middle of a write.
        """
        row, column = self.tables.instrument(symbol), self.tables.model(model)
        cell = self._native.one(row, column).view(BOARD)[0]
        if cell["status"] == BUSY:
            raise BusyError(f"{symbol}, {model}: its cell is half written; mend: see that the sidecar lives")
        if cell["status"] == NEVER:
            return None
        names = self.tables.models[column].outputs
        return Signal(
            symbol=symbol,
            model=model,
            flags=SignalFlags(int(cell["flags"])),
            outputs={name: float(value) for name, value in zip(names, cell["outputs"])},
            **{name: int(cell[name]) for name in ("ring_seq", "ts_event", "tick_ns", "signal_ns", "revision")},
        )

    def array(self) -> NDArray[np.void]:
        """The whole board, shape (instruments, models), dtype ``BOARD``. Each cell is whole; they are read one after the
        other, so two cells may be of different ticks."""
        return self._native.all().view(BOARD).reshape(self.shape)

    @property
    def shape(self) -> tuple[int, int]:
        """(instruments, models)."""
        return self._native.instruments, self._native.models

    @property
    def generation(self) -> int:
        """Life of the name, from 1."""
        return self._native.generation

    @property
    def owner_alive(self) -> bool:
        """Whether the sidecar lives, by the kernel's word (a system call)."""
        return self._native.owner_alive()

    @property
    def superseded(self) -> bool:
        """Whether the name stands for another board now, or for none: attach again."""
        return self._native.superseded()
