"""The day as arrays, from `pillion features`: rows, labels, and a split in time without overlap."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute
import pyarrow.parquet

CLASSES = ("down", "flat", "up")
TRAIN, VALIDATION = 0.70, 0.15  # by time; what remains is the test part
EVENT_COLUMNS = ("ts_event", "instrument_id", "sequence", "event", "bid_px_00", "ask_px_00", "warm")


@dataclass(frozen=True)
class Day:
    """One row per book event, in time order."""

    feature_set: str
    features_hash: str
    names: list[str]
    values: np.ndarray  # float32 [events, features]
    warm: np.ndarray  # bool [events]: the features have seen enough
    quoted: np.ndarray  # bool [events]: both sides have a price
    mid2: np.ndarray  # int64 [events]: bid + ask in 1e-9, twice the mid; exact, so that flat means equal


@dataclass(frozen=True)
class Part:
    """Rows of one part of the day, with the class of each."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Split:
    """One horizon's parts. The test part is for the final figures alone."""

    horizon: int
    train: Part
    validation: Part
    test: Part

    @property
    def rows(self) -> list[int]:
        return [len(self.train), len(self.validation), len(self.test)]


def convert(pillion: Path, lobster: Path, symbol: str, date: str, into: Path) -> Path:
    """LOBSTER's zip as a DBN file; kept from one run to the next."""
    dbn = into / f"{symbol.lower()}-{date}.mbo.dbn.zst"
    if not dbn.is_file():
        into.mkdir(parents=True, exist_ok=True)
        arguments = ["convert", "lobster", lobster, "-o", dbn, "--symbol", symbol, "--date", date, "--instrument-id", "1"]
        run(pillion, arguments)
    return dbn


def load(pillion: Path, dbn: Path, feature_set: str, into: Path) -> Day:
    """Runs the program's own feature code over the file and reads what it wrote."""
    features = into / "features.parquet"
    run(pillion, ["features", dbn, "--set", feature_set, "-o", features])
    return read(features)


def read(features: Path) -> Day:
    table = pyarrow.parquet.read_table(features)
    meta = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    names = [name for name in table.column_names if name not in EVENT_COLUMNS]
    if len(instruments := table["instrument_id"].unique()) != 1:
        raise SystemExit(f"{features}: one instrument is expected, there are {len(instruments)}")
    mid2 = pyarrow.compute.add(table["bid_px_00"], table["ask_px_00"])
    return Day(
        feature_set=meta["pillion.set"],
        features_hash=meta["pillion.features_hash"],
        names=names,
        values=np.column_stack([table[name].to_numpy() for name in names]),
        warm=table["warm"].to_numpy(),
        quoted=mid2.is_valid().to_numpy(),
        mid2=mid2.fill_null(0).to_numpy(),
    )


def split(day: Day, horizon: int) -> Split:
    """Direction of the mid over the next `horizon` events. The last `horizon` rows of each part are dropped: their
    labels would look into the next part."""
    events = len(day.mid2)
    borders = [0, int(events * TRAIN), int(events * (TRAIN + VALIDATION)), events]
    parts = [part(day, horizon, start, end - horizon) for start, end in zip(borders, borders[1:])]
    return Split(horizon, *parts)


def part(day: Day, horizon: int, start: int, end: int) -> Part:
    rows = np.arange(start, end)
    rows = rows[day.warm[rows] & day.quoted[rows] & day.quoted[rows + horizon]]
    direction = np.sign(day.mid2[rows + horizon] - day.mid2[rows])
    return Part(day.values[rows], (direction + 1).astype(np.int64))


def run(pillion: Path, arguments: list[object]) -> None:
    command = [str(pillion), *map(str, arguments)]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
