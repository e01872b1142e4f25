"""dtypes stand where the Rust structs stand."""

import numpy as np
import pytest

import pillion_shm as shm
from pillion_shm import _native

VERSION, RECORDS = _native.record_layout()
RUST = {name: (size, {field: (offset, width) for field, offset, width in fields}) for name, size, fields in RECORDS}


def flat(name, base=0):
    """Fields of a Rust struct, header and event taken apart: name → (offset, size)."""
    found = {}
    for field, (offset, width) in RUST[name][1].items():
        inner = {"hd": "RecordHeader", "event": "TradeMsg"}.get(field)
        found |= flat(inner, base + offset) if inner else {field: (base + offset, width)}
    return found


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        (shm.HEADER, "RecordHeader"),
        (shm.MBO, "MboMsg"),
        (shm.TRADE, "TradeMsg"),
        (shm.LEVEL, "BidAskPair"),
        (shm.MBP1, "Mbp1Msg"),
        (shm.MBP10, "Mbp10Msg"),
        (shm.STATUS, "StatusMsg"),
        (shm.SIGNAL, "Signal"),
    ],
)
def test_every_field_stands_where_rust_has_it(dtype, name):
    assert dtype.itemsize == RUST[name][0]
    ours = {field: (dtype.fields[field][1], dtype.fields[field][0].itemsize) for field in dtype.names}
    assert ours == flat(name)


def test_no_record_of_the_contract_is_missing():
    known = {"RecordHeader", "MboMsg", "TradeMsg", "BidAskPair", "Mbp1Msg", "Mbp10Msg", "StatusMsg", "Signal"}
    assert set(RUST) == known
    assert {dtype.itemsize for dtype in shm.BY_RTYPE.values()} == {56, 48, 80, 368, 40}


def test_rows_put_number_and_stamp_before_the_record():
    row = shm.in_row(shm.MBO)
    assert row.itemsize == 16 + shm.MBO.itemsize
    assert row.names == ("ring_seq", "stamp_ns", *shm.MBO.names)
    assert [row.fields[name][1] - 16 for name in shm.MBO.names] == [shm.MBO.fields[n][1] for n in shm.MBO.names]
    assert shm.BOARD.itemsize == 8 + shm.SIGNAL.itemsize


def test_columns_and_prices():
    records = shm.new(shm.MBP10, 2)
    records["levels"]["bid_px"] = np.arange(20).reshape(2, 10) * 1_000_000_000
    records["levels"]["ask_sz"] = np.arange(20).reshape(2, 10)
    records["price"] = [shm.UNDEF_PRICE, 4_770_250_000_000]
    found = shm.columns(records)
    assert [found["bid_px_09"][1], found["ask_sz_03"][0]] == [19_000_000_000, 3]
    assert all(column.shape == (2,) for column in found.values())
    assert np.isnan(shm.prices(records["price"])[0]) and shm.prices(records["price"])[1] == 4770.25
