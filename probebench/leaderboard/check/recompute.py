"""Every number of a submission computed again from its decisions, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from probebench.errors import LabelError
from probebench.files import clean_json
from probebench.job.record import shuffled_facts
from probebench.leaderboard.check.shape import finding, is_real
from probebench.leaderboard.submission.read import DECISIONS, NEAR, Decisions, Submission
from probebench.leaderboard.submission.strict import Finding
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import Z95
from probebench.metrics.intervals import auroc_intervals
from probebench.scoring.abstention import abstention
from probebench.scoring.added import added
from probebench.scoring.comparison import detector_facts, ends, evaluate_detectors
from probebench.scoring.resplit import TESTED, spread, spread_facts
from probebench.types import SplitName

TOLERANCE = NEAR
REFITTED = 1e-5
"""The same of what is fitted again: a stack in single precision moves with the order of the rows,
and pairs of nearly equal decisions change places."""
P_SHARE = 0.05
"""By what share of itself a p may then differ: it moves by more than the difference it is of."""
LONGER = 1.1
"""How many times the standard error of a split may be what the arm of its interval allows."""
FEW = 10
"""Examples of the rarer class of a split below which its interval does not bound its error."""
NAMED = ("label", "kind", "when", "detail")
"""What a row of the table says of a detector and no decision tells."""


def differences(
    path: str, given: Any, expected: Any, tolerance: float = TOLERANCE
) -> Iterator[Finding]:
    """Where a part of the record is not what was computed; numbers may differ by the tolerance,
    those above 1 (thresholds) by that share."""
    if isinstance(expected, Mapping):
        for name, inner in expected.items():
            has = isinstance(given, Mapping) and name in given
            yield from differences(
                f"{path}.{name}", given[name] if has else "nothing", inner, tolerance
            )
    elif isinstance(expected, list):
        if not isinstance(given, list) or len(given) != len(expected):
            yield finding(path, given, f"{len(expected)} values")
            return
        for i, (g, e) in enumerate(zip(given, expected, strict=True)):
            yield from differences(f"{path}[{i}]", g, e, tolerance)
    elif is_real(expected):
        if not is_real(given) or abs(given - expected) > tolerance * max(1.0, abs(expected)):
            yield finding(path, given, f"{expected!r}, computed from {DECISIONS}")
    elif given != expected:
        yield finding(
            path,
            given,
            f"{'null' if expected is None else repr(expected)}, computed from {DECISIONS}",
        )


def check_detectors(s: Submission) -> Iterator[Finding]:
    """The table of detectors: every metric and interval, and how many examples it is on."""
    record, d = s.record, s.decisions
    names = {row["name"] for row in record["detectors"]}
    for name in sorted(names - set(d.values)):
        yield Finding(
            DECISIONS, f"d:{name}", "no such column", "the decisions of every reported detector"
        )
    for name in sorted(set(d.values) - names):
        yield finding(f"detectors: {name}", "nothing", f"a row for every detector in {DECISIONS}")
    if names != set(d.values):
        return
    splits = cast("list[SplitName]", d.split.tolist())
    detectors, groups, seed = d.detectors(record), d.group_names(), record["settings"]["seed"]
    try:
        found = evaluate_detectors(detectors, d.label, splits, groups, seed)
    except LabelError as error:
        yield Finding(
            DECISIONS,
            "label",
            str(error),
            "right and wrong answers among the test examples that the probe scores",
        )
        return
    scores = {score.name: clean_json(detector_facts(score)) for score in found.scores}
    for i, row in enumerate(record["detectors"]):
        path = f"detectors[{i}] ({row['name']})"
        if (expected := scores.get(row["name"])) is None:
            yield finding(path, "a row", f"none: {found.absent[row['name']]}")
            continue
        yield from differences(path, row, {k: v for k, v in expected.items() if k not in NAMED})
        for name in sorted(set(row["metrics"]) - set(expected["metrics"])):
            yield finding(
                f"{path}.metrics.{name}", "a metric", "only metrics that this suite computes"
            )
    facts = {"n_test": found.n_test, "n_compared": len(found.rows), "dropped": dict(found.dropped)}
    yield from differences("comparison", record["comparison"], facts)
    if isinstance(record.get("calibration"), Mapping):
        yield from differences(
            "calibration", record["calibration"], clean_json(dict(found.calibration))
        )
    more = added(detectors, found.scores, d.label, splits, groups, seed)
    if isinstance(record.get("added"), Mapping) or more is not None:
        yield from _check_added(record.get("added"), clean_json(_plain(more)))
    if isinstance(record.get("abstention"), Mapping):
        given = abstention(detectors, d.label, splits, groups, found, seed)
        yield from differences("abstention", record["abstention"], clean_json(given))
    scored = np.zeros(len(d.id), dtype=bool)
    scored[found.rows] = True
    if len(wrong := np.flatnonzero(scored != d.scored)):
        yield Finding(
            DECISIONS,
            "scored",
            f"{len(wrong)} rows differ",
            "true for the test examples that the probe scores",
        )


def _check_added(given: Any, expected: Any) -> Iterator[Finding]:
    """What the probe adds to all baselines together: a fit, to be repeated and not to be read off
    the decisions."""
    p = expected.pop("difference_p", None) if isinstance(expected, dict) else None
    yield from differences("added", given, expected, REFITTED)
    if p is not None:
        yield from differences("added", given, {"difference_p": p}, P_SHARE * p)


def _plain(found: Mapping[str, Any] | None) -> Any:
    """What the record says is added, without words that no decision tells."""
    if found is None or found["partial"] is None:
        return found
    partial, whole = dict(found["partial"]), dict(found["against_all"])
    del partial["given_label"]
    nearest = {k: v for k, v in whole["nearest"].items() if k != "label"}
    return {**found, "partial": partial, "against_all": {**whole, "nearest": nearest}}


def check_selected(s: Submission) -> Iterator[Finding]:
    """The selected cell: its AUROC on validation and on test, with the interval."""
    d, chosen = s.decisions, s.record["selection"]
    probe = d.values["probe"]
    expected: dict[str, Any] = {}
    validation = (d.split == "validation") & np.isfinite(probe)
    expected["validation_auroc"] = auroc(d.label[validation], probe[validation])
    test = d.split == "test"
    y, scores = d.label[test], probe[test]
    there = np.isfinite(scores)
    expected["n_test"], expected["test_auroc"] = int(there.sum()), auroc(y[there], scores[there])
    draws = Resamples.draw(
        [g for g, t in zip(d.group_names(), test, strict=True) if t], s.record["settings"]["seed"]
    )
    expected["test_auroc_95"] = ends(auroc_intervals(draws, y, scores[None])[0])
    expected |= {"n_test_correct": int(y[there].sum()), "n_validation": int(validation.sum())}
    expected = {
        k: v
        for k, v in expected.items()
        if k in chosen or k not in ("n_test_correct", "n_validation")
    }
    yield from differences("selection", chosen, clean_json(expected))


def check_shuffled(s: Submission) -> Iterator[Finding]:
    """The shuffled-label control: each repeat's AUROC, their mean and its interval."""
    d = s.decisions
    control = s.record["controls"]["shuffled_labels"]
    if len(d.shuffled) != control["repeats"]:
        yield Finding(
            DECISIONS,
            "s:0, s:1, ...",
            f"{len(d.shuffled)} columns",
            f"{control['repeats']}, one per repeat of the record",
        )
        return
    values = [repeat_auroc(d, k) for k in range(len(d.shuffled))]
    yield from differences("controls.shuffled_labels", control, clean_json(shuffled_facts(values)))


def check_resplits(s: Submission) -> Iterator[Finding]:
    """What is said of other splits as a whole, from what is said of each."""
    if (given := s.record.get("resplits")) is None:
        return
    own, splits = s.record["selection"], given["splits"]
    cells = [(one["layer"], one["position"]) for one in splits if one["layer"] is not None]
    values = [np.nan if one["auroc"] is None else one["auroc"] for one in splits]
    over = spread(np.array(values), TESTED if given["rule"] == "all" else np.nan)
    expected = {
        "asked": len(splits),
        "own_cell": cells.count((own["layer"], own["position"])),
        "spread": spread_facts(over),
        "selected": [
            {"layer": layer, "position": position, "times": times}
            for (layer, position), times in Counter(cells).most_common()
        ],
    }
    if (crossed := given["cross_fitted"]) is not None:
        sums = {k: sum(fold[k] for fold in crossed["folds"]) for k in ("n", "n_correct")}
        expected["cross_fitted"] = sums
    yield from differences("resplits", given, clean_json(expected))
    yield from _check_error(given["spread"]["standard_error"], splits)


def _rarer(split: Mapping[str, Any]) -> int:
    """Test examples of the rarer class."""
    return int(min(split["n_correct"], split["n"] - split["n_correct"]))


def _check_error(given: float | None, splits: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """The standard error of one split against the intervals, from which it cannot be told: the
    longer arm of each is at least a normal quantile times its own, but for the little by which the
    spread of an AUROC falls from its value to the interval's end."""
    path, known = "resplits.spread.standard_error", [s for s in splits if s["auroc"] is not None]
    if not known:
        if given is not None:
            yield finding(path, given, "null: no split has an AUROC")
        return
    arms = [
        max(s["auroc"] - s["auroc_95"][0], s["auroc_95"][1] - s["auroc"])
        for s in known
        if s["auroc_95"][0] is not None
    ]
    if len(arms) < len(known) or min(_rarer(split) for split in known) < FEW:
        return
    most = LONGER * float(np.sqrt(np.mean(np.square(arms)))) / Z95
    if given is None or given > most or given < 0:
        yield finding(path, given, f"from 0 to {most:.6f}, by the intervals of the splits")


def repeat_auroc(d: Decisions, k: int) -> float:
    """Test AUROC of one repeat of the control."""
    rows = (d.split == "test") & np.isfinite(d.shuffled[k])
    return auroc(d.label[rows], d.shuffled[k][rows])
