"""NumPy dtypes of every record, byte for byte as they lie in shared memory, and how to look at them.

Prices are int64 in units of 1e-9 (``UNDEF_PRICE`` = none), times uint64 ns since the UNIX epoch, sizes in the
instrument's size unit. One-letter codes (``action``, ``side``) are ``S1``: compare with ``b"A"``.
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

UNDEF_PRICE: int = 2**63 - 1
"""Price of "no price": the level is absent or the record has none."""

MAX_OUTPUTS: int = 16
"""Outputs that a signal carries at most."""

_HEADER = [("length", "u1"), ("rtype", "u1"), ("publisher_id", "u2"), ("instrument_id", "u4"), ("ts_event", "u8")]
_EVENT = [
    *_HEADER,
    ("price", "i8"),
    ("size", "u4"),
    ("action", "S1"),
    ("side", "S1"),
    ("flags", "u1"),
    ("depth", "u1"),
    ("ts_recv", "u8"),
    ("ts_in_delta", "i4"),
    ("sequence", "u4"),
]

LEVEL = np.dtype(
    [("bid_px", "i8"), ("ask_px", "i8"), ("bid_sz", "u4"), ("ask_sz", "u4"), ("bid_ct", "u4"), ("ask_ct", "u4")]
)
"""One level of both sides, 32 bytes."""

HEADER = np.dtype(_HEADER)
"""Header of every market data record, 16 bytes; ``length`` counts 4-byte words."""

MBO = np.dtype(
    [
        *_HEADER,
        ("order_id", "u8"),
        ("price", "i8"),
        ("size", "u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "S1"),
        ("side", "S1"),
        ("ts_recv", "u8"),
        ("ts_in_delta", "i4"),
        ("sequence", "u4"),
    ]
)
"""Market by order, 56 bytes, ``rtype`` 0xA0."""

TRADE = np.dtype(_EVENT)
"""A trade, 48 bytes, ``rtype`` 0x00."""

MBP1 = np.dtype([*_EVENT, ("levels", LEVEL, (1,))])
"""Market by price with one level, 80 bytes, ``rtype`` 0x01: the event, and the book after it."""

MBP10 = np.dtype([*_EVENT, ("levels", LEVEL, (10,))])
"""Market by price with ten levels, 368 bytes, ``rtype`` 0x0A."""

STATUS = np.dtype(
    [
        *_HEADER,
        ("ts_recv", "u8"),
        ("action", "u2"),
        ("reason", "u2"),
        ("trading_event", "u2"),
        ("is_trading", "S1"),
        ("is_quoting", "S1"),
        ("is_short_sell_restricted", "S1"),
        ("_reserved", "u1", (7,)),
    ]
)
"""Trading status, 40 bytes, ``rtype`` 0x12."""

SIGNAL = np.dtype(
    [
        ("ring_seq", "u8"),
        ("ts_event", "u8"),
        ("tick_ns", "u8"),
        ("signal_ns", "u8"),
        ("instrument", "u4"),
        ("model", "u2"),
        ("outputs_len", "u2"),
        ("revision", "u4"),
        ("flags", "u4"),
        ("outputs", "f4", (MAX_OUTPUTS,)),
    ]
)
"""A signal, 112 bytes: ``ring_seq``, ``ts_event`` and ``tick_ns`` are those of the tick that caused it."""

BY_RTYPE: dict[int, np.dtype] = {0xA0: MBO, 0x00: TRADE, 0x01: MBP1, 0x0A: MBP10, 0x12: STATUS}
"""Record dtype of each ``rtype`` that Pillion reads."""


class Flags(IntFlag):
    """Bits of a market data record's ``flags``."""

    LAST = 1 << 7
    TOB = 1 << 6
    SNAPSHOT = 1 << 5
    MBP = 1 << 4
    BAD_TS_RECV = 1 << 3
    MAYBE_BAD_BOOK = 1 << 2


class SignalFlags(IntFlag):
    """Bits of a signal's ``flags``."""

    WARMING = 1
    AFTER_GAP = 2
    INVALID = 4
    HALTED = 8
    OVER_BUDGET = 16
    CONFLATED = 32
    SHADOW = 64
    CATCHING_UP = 128
    UNTRADABLE = WARMING | AFTER_GAP | INVALID | HALTED | SHADOW | CATCHING_UP


def in_row(record: np.dtype, number: str = "ring_seq") -> np.dtype:
    """``record`` behind its number in the ring and its publish stamp: what one row of a read holds, packed."""
    fields = record.fields or {}
    names = [number, "stamp_ns", *fields]
    formats = ["u8", "u8", *(dtype[0] for dtype in fields.values())]
    offsets = [0, 8, *(16 + field[1] for field in fields.values())]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": 16 + record.itemsize})


def prices(fixed: NDArray[np.int64]) -> NDArray[np.float64]:
    """Prices in units of 1e-9 as float64; NaN where there is none."""
    return np.where(fixed == UNDEF_PRICE, np.nan, fixed / 1e9)


def columns(array: NDArray[np.void]) -> dict[str, NDArray]:
    """One 1-D array per field, as a DataFrame wants them: levels become ``bid_px_00``, ``ask_px_00`` and so on, other
    inner arrays ``outputs_00`` and so on. Views, no copies."""
    found: dict[str, NDArray] = {}
    for name in array.dtype.names or ():
        field = array[name]
        if name.startswith("_"):
            continue
        if field.ndim == 1:
            found[name] = field
            continue
        for i in range(field.shape[1]):
            cell = field[:, i]
            inner = cell.dtype.names
            found |= {f"{part}_{i:02}": cell[part] for part in inner} if inner else {f"{name}_{i:02}": cell}
    return found
