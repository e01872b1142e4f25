"""What instrument and model numbers stand for, so that ``outputs[2]`` is never a guess."""

from __future__ import annotations

from dataclasses import dataclass

from . import _native
from ._errors import UnknownNameError


@dataclass(frozen=True)
class Instrument:
    """One instrument of a lane."""

    id: int
    """Venue's number of the instrument (``instrument_id`` of its ticks)."""
    symbol: str
    tick_size: int
    """Tick size in 1e-9 of the price unit."""
    size_unit: float
    """Units of the underlying per size 1."""


@dataclass(frozen=True)
class Model:
    """One model of a lane."""

    name: str
    revision: int
    sha256: bytes
    """SHA-256 of its file."""
    features_hash: bytes
    """Hash of the feature set it was trained on."""
    outputs: tuple[str, ...]
    """Names of its outputs, in their order."""
    meaning: str
    """What the outputs mean: classes, horizon, units."""
    engine: str
    isa: str
    """Instruction set that the engine uses."""
    runtime: str
    horizon_events: int = 0
    """How far ahead it looks, in book events; 0 where that is not said."""


@dataclass(frozen=True)
class Tables:
    """Instruments and models, each by its number: ``signal["instrument"]`` and ``signal["model"]`` are rows of these."""

    instruments: tuple[Instrument, ...]
    models: tuple[Model, ...]

    @classmethod
    def of_bytes(cls, raw: bytes) -> Tables:
        """The tables in a region's table bytes."""
        instruments, models = _native.table_rows(raw)
        return cls(
            tuple(Instrument(*row) for row in instruments),
            tuple(Model(*row[:2], bytes(row[2]), bytes(row[3]), tuple(row[4]), *row[5:]) for row in models),
        )

    def to_bytes(self) -> bytes:
        """What :meth:`of_bytes` reads.

        Raises:
            ArgumentError: a text or list does not fit; the message names it.
        """
        instruments = [(i.id, i.symbol, i.tick_size, i.size_unit) for i in self.instruments]
        models = [
            (m.name, m.revision, m.sha256, m.features_hash, list(m.outputs), m.meaning, m.engine, m.isa, m.runtime, m.horizon_events)
            for m in self.models
        ]
        return bytes(_native.table_bytes(instruments, models))

    def instrument(self, symbol: str) -> int:
        """Number of the instrument with this symbol.

        Raises:
            UnknownNameError: there is none; the message names those there are.
        """
        return _row("instrument", symbol, [instrument.symbol for instrument in self.instruments])

    def model(self, name: str) -> int:
        """Number of the model with this name.

        Raises:
            UnknownNameError: there is none; the message names those there are.
        """
        return _row("model", name, [model.name for model in self.models])


def _row(what: str, name: str, known: list[str]) -> int:
    if name in known:
        return known.index(name)
    # The table may be of anybody's making.
    there = ", ".join(name if name.isprintable() else ascii(name) for name in known[:8])
    there += f" and {len(known) - 8} more" if len(known) > 8 else ""
    raise UnknownNameError(f"no {what} {name!r} on this lane, which has {there or 'none'}; mend: ask for one of those")
