"""The day as arrays, from `pillion features`: rows, labels, and a split in time without overlap."""

import itertools
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute
import pyarrow.parquet

CLASSES = ("down", "flat", "up")
TRIGGER = "event-end"  # a row after each event, whatever it changed
TRAIN, VALIDATION = 0.70, 0.15  # by time; what remains is the test part
EVENT_COLUMNS = (
    "ts_event", "publisher_id", "instrument_id", "symbol", "sequence", "event", "record", "bid_px_00", "ask_px_00", "warm",
)  # fmt: skip
# How a feature changes when bid and ask change places: it turns its sign, or stays. Those that name a side swap.
ODD = (
    "imbalance", "microprice_distance", "depth_ratio", "order_count_imbalance", "ofi", "trade_imbalance",
    "signed_volume", "last_mid_change", "mid_change", "mid_deviation", "ewma_return", "vwap_distance",
)  # fmt: skip
EVEN = ("spread", "ewma_volatility", "time_since_mid_change", "time_since_trade", "inter_arrival")


@dataclass(frozen=True)
class Day:
    """One row per book event, in time order."""

    feature_set: str
    features_hash: str
    trigger: str
    names: list[str]
    instruments: list[dict]  # symbol, tick_size, size_unit: what the features count in
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
class Mirror:
    """The market with bid and ask exchanged: as likely a market, and one without the day's trend."""

    order: list[int]
    sign: np.ndarray  # float32 [features]

    def __call__(self, part: Part) -> Part:
        """The part and its mirror image."""
        x = np.concatenate([part.x, part.x[:, self.order] * self.sign])
        return Part(x, np.concatenate([part.y, len(CLASSES) - 1 - part.y]))


@dataclass(frozen=True)
class Split:
    """One horizon's parts. The test part is for the final figures alone."""

    horizon: int
    names: list[str]
    mirror: Mirror | None  # none where a feature has no mirror image, like a price
    train: Part
    validation: Part
    test: Part

    def trainings(self) -> list[tuple[str, Part]]:
        """The train part as it is, and with its mirror image: one more choice for the validation part to make."""
        plain = ("", self.train)
        return [plain] if self.mirror is None else [plain, (", mirrored rows added", self.mirror(self.train))]

    @property
    def rows(self) -> list[int]:
        return [len(self.train), len(self.validation), len(self.test)]


def convert(pillion: Path, lobster: Path, symbol: str, date: str, into: Path) -> Path:
    """LOBSTER's zip as a DBN file; kept from one run to the next."""
    dbn = into / f"{symbol.lower()}-{date}.mbo.dbn.zst"
    if not dbn.is_file():
        into.mkdir(parents=True, exist_ok=True)
        run(pillion, ["convert", "lobster", lobster, "-o", dbn, "--symbol", symbol, "--date", date])
    return dbn


def load(pillion: Path, dbn: Path, feature_set: str, into: Path) -> Day:
    """Runs the program's own feature code over the file and reads what it wrote."""
    features = into / "features.parquet"
    run(pillion, ["features", dbn, "--set", feature_set, "--trigger", TRIGGER, "-o", features])
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
        trigger=meta["pillion.trigger"],
        names=names,
        instruments=[
            {key: one[key] for key in ("symbol", "tick_size", "size_unit")}
            for one in json.loads(meta["pillion.instruments"])
        ],
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
    parts = [part(day, horizon, start, end - horizon) for start, end in itertools.pairwise(borders)]
    return Split(horizon, day.names, mirror(day.names), *parts)


def part(day: Day, horizon: int, start: int, end: int) -> Part:
    rows = np.arange(start, end)
    rows = rows[day.warm[rows] & day.quoted[rows] & day.quoted[rows + horizon]]
    direction = np.sign(day.mid2[rows + horizon] - day.mid2[rows])
    return Part(day.values[rows], (direction + 1).astype(np.int64))


def mirror(names: list[str]) -> Mirror | None:
    def image(name: str) -> str:
        return name.replace("_bid", "_\0").replace("_ask", "_bid").replace("_\0", "_ask")

    def sign(name: str) -> int:
        return 1 if image(name) != name or name.startswith(EVEN) else -1 if name.startswith(ODD) else 0

    signs = [sign(name) for name in names]
    without = [name for name, sign in zip(names, signs, strict=True) if sign == 0 or image(name) not in names]
    if without:
        print(f"no mirrored rows: no mirror image is known of {', '.join(without)}")
        return None
    return Mirror([names.index(image(name)) for name in names], np.array(signs, np.float32))


def run(pillion: Path, arguments: list[object]) -> None:
    command = [str(pillion), *map(str, arguments)]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise SystemExit(f"failed: {' '.join(command)}")
