"""The tables of a submission: every detector's decisions, and the cells of the map."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
import pandas as pd

from probebench.leaderboard.submission.read import CELL_COLUMNS, DETECTOR_MARK, SHUFFLED_MARK, TEXTS
from probebench.scoring.comparison import SHUFFLED

NUDGE = 2
"""By how many numbers of single precision a decision may move to stay above the one below it."""


def decisions_bytes(predictions: pd.DataFrame, *, exact: bool = False) -> bytes:
    """`decisions.parquet`: one row per validation and test example, one column per detector.

    Groups become codes in the order of their names: the resamples stay the same, and no question is
    published. Numbers are single precision wherever that leaves the order and the ties of a
    detector's decisions as they were. Of the shuffled-label control only ranks are kept, as of each
    repeat nothing but an AUROC is computed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from scipy.stats import rankdata

    first = predictions["detector"].iloc[0]
    base = predictions[predictions["detector"] == first].sort_values("id", ignore_index=True)
    test = (base["split"] == "test").to_numpy()
    columns: dict[str, Any] = {
        "id": pa.array(base["id"].astype(str).tolist(), pa.string()),
        "group": pa.array(
            np.unique(base["group"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int32)
        ),
        "split": pa.array(base["split"].astype(str).tolist(), pa.string()),
        "label": pa.array(base["label"].to_numpy(dtype=np.int8)),
        "scored": pa.array(base["scored"].to_numpy(dtype=bool)),
    }
    fine: dict[str, str] = {}
    repeated = ["split"]
    for name, part in predictions.groupby("detector", sort=False):
        values = part.set_index("id")["decision"].reindex(base["id"]).to_numpy(dtype=np.float64)
        shuffled = str(name).startswith(SHUFFLED)
        column = (
            f"{SHUFFLED_MARK}{str(name).removeprefix(SHUFFLED)}"
            if shuffled
            else f"{DETECTOR_MARK}{name}"
        )
        if shuffled:
            values = rankdata(np.where(test, values, np.nan), "dense", nan_policy="omit")
        columns[column] = pa.array(values if exact else compact(values), from_pandas=True)
        if len(np.unique(values)) < len(values) / 4:
            repeated.append(column)
        else:
            fine[column] = "BYTE_STREAM_SPLIT"
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        buffer,
        compression="brotli",  # a twentieth less than zstd; a second for ten thousand examples
        compression_level=11,
        use_dictionary=repeated,
        column_encoding=fine,
        store_schema=False,
        row_group_size=len(base),
    )
    return buffer.getvalue()


def compact(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    """Decisions in single precision, with their order and ties as they were.

    Where rounding lets two values fall together, the larger one takes the next number. Where a
    value would have to move by more than `NUDGE` numbers, all stay as they are.
    """
    distinct, at = np.unique(values, return_inverse=True, equal_nan=True)
    there = np.isfinite(distinct)
    with np.errstate(over="ignore", under="ignore"):
        small = distinct.astype(np.float32)
    if not np.isfinite(small[there]).all():
        return values
    places, steps = _places(small[there]), np.arange(there.sum())
    apart = np.maximum.accumulate(places - steps) + steps if len(steps) else places
    if (apart - places > NUDGE).any():
        return values
    small[there] = _numbers(apart)
    return small[at] if np.isfinite(small[there]).all() else values


def _places(single: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(value,) which number of single precision each is, counted from zero."""
    bits = single.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _numbers(places: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The inverse of `_places`."""
    bits = np.where(places < 0, -places - 2**31, places)
    return bits.astype(np.int32).view(np.float32)


def cells_csv(scores: pd.DataFrame) -> str:
    """`cells.csv`: one row per cell, an empty field where a number is undefined."""
    cells = scores[(scores["detector"] == "cell") & (scores["metric"] == "auroc")]
    by_split = {
        name: part.set_index(["site", "layer", "position"])
        for name, part in cells.groupby("split", sort=False)
    }
    test, validation = by_split["test"], by_split["validation"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CELL_COLUMNS)
    for at, row in test.iterrows():
        other = validation.loc[at]
        numbers = (
            row["value"],
            row["low"],
            row["high"],
            other["n"],
            other["value"],
            row["selectivity"],
            row["p"],
            row["q"],
        )
        words = [_word(v) for v in numbers]
        texts = [text if isinstance(text := row.get(c), str) else "" for c in TEXTS]
        writer.writerow([*at, int(row["n"]), *words, *texts])
    return out.getvalue()


def _word(value: Any) -> str:
    """A number with twelve digits; an empty field when undefined."""
    return (
        ""
        if value is None or not math.isfinite(value)
        else str(int(value))
        if float(value).is_integer()
        else f"{value:.12g}"
    )
