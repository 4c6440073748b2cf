"""Near twins: test questions that nearly stand in train or validation, and the numbers without
them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.paired import paired
from probebench.probes.labels import split_index
from probebench.scoring.comparison import ends
from probebench.studies.readable import best_baseline
from probebench.studies.registry import Concern, Scored, concern, study
from probebench.text import interval, number
from probebench.types import Floats

BAR = 0.8
"""Cosine above which two texts are near twins."""
CHUNK = 256
"""Test texts whose cosines are in memory at a time."""
SHOWN = 5
"""Pairs that the record names."""
TOO_MANY = 0.01
"""Share of near twins from which on a run says so."""


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest of other texts for each of some texts."""

    cosine: Floats
    """(text,) 0 where there are no others."""
    at: NDArray[np.int64]
    """(text,) which of the others."""


def nearest(texts: Sequence[str], others: Sequence[str]) -> Nearest:
    """By TF-IDF of character 3- to 5-grams within words, each weighted by log((1 + n) / (1 + df))
    over the n other texts: what all of them share, as the words of a template, counts nothing."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    cosine, at = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
    if not len(texts) or not len(others):
        return Nearest(cosine, at)
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), dtype=np.float32)
    try:
        vectors.fit(others)
    except ValueError:  # texts without a character
        return Nearest(cosine, at)
    vectors.idf_ = vectors.idf_ - 1  # without the one that keeps shared n-grams in
    known, asked = vectors.transform(others).T.tocsr(), vectors.transform(texts)
    for start in range(0, len(texts), CHUNK):
        found = (asked[start : start + CHUNK] @ known).tocsr()
        rows = slice(start, start + found.shape[0])
        cosine[rows] = found.max(axis=1).toarray().ravel()
        at[rows] = np.asarray(found.argmax(axis=1)).ravel()
    return Nearest(cosine, at)


@study("near_twins", title="Near twins across the split", unasked="Near twins: not looked for.")
def near_twins(run: Scored) -> dict[str, Any]:
    """Near twins of test texts by split, and the headline without them."""
    answers, labels = run.data.answers, run.data.labels
    rows, texts = split_index(labels.splits), [a.example.question for a in answers]
    test = rows["test"]
    twin, counts, pairs = np.zeros(len(answers), dtype=bool), {}, []
    for split in ("train", "validation"):
        others = rows[split]
        found = nearest([texts[i] for i in test], [texts[i] for i in others])
        near = np.flatnonzero(found.cosine > BAR)
        twin[test[near]] = True
        counts[split] = len(near)
        pairs += [
            {
                "id": answers[test[i]].example.id,
                "near": answers[others[found.at[i]]].example.id,
                "split": split,
                "cosine": float(found.cosine[i]),
            }
            for i in near
        ]
    return {
        "bar": BAR,
        "n_test": len(test),
        "n": int(twin.sum()),
        "share": float(twin[test].mean()),
        "by_split": counts,
        "examples": sorted(pairs, key=lambda p: -p["cosine"])[:SHOWN],
        "without": _without(run, twin),
    }


def _without(run: Scored, twin: NDArray[np.bool_]) -> dict[str, Any]:
    """The probe and the baseline best on validation, over the test examples that both score and
    that are no near twins."""
    labels, compared = run.data.labels, run.result.comparison
    names = {s.name for s in compared.scores}
    used = [d for d in run.result.detectors if d.name in names]
    probe, baselines = used[0], [d for d in used if d.kind == "baseline"]
    best = best_baseline(baselines, labels, probe.when, np.isfinite(probe.decisions))
    other = probe if best is None else best.detector
    rows = compared.rows[~twin[compared.rows] & np.isfinite(other.decisions[compared.rows])]
    y = labels.y[rows]
    facts: dict[str, Any] = {"n": len(rows), "n_correct": int(y.sum())}
    if len(np.unique(y)) < 2:
        return {**facts, "reason": "the test examples that are no near twins are of one class only"}
    groups, seed = labels.group_names(rows), run.data.plan.seed
    found = paired(y, y, probe.decisions[rows], other.decisions[rows], groups, seed)
    facts |= {"probe_auroc": found.values[0], "probe_auroc_95": ends(found.intervals[0])}
    if best is None:
        return {**facts, "reason": "no baseline has decisions on validation"}
    return {
        **facts,
        "baseline": other.label,
        "baseline_auroc": found.values[1],
        "baseline_auroc_95": ends(found.intervals[1]),
        "difference": found.difference,
        "difference_95": ends(found.interval),
    }


@concern
def _near_twins(run: Concern) -> Iterator[str]:
    """Test texts that nearly stand in train or validation."""
    found = run.record.near_twins
    if found is None or found.share is None or found.share < TOO_MANY:
        return
    left = found.without
    said = left.reason or (
        f"without them the probe has {number(left.probe_auroc)} "
        f"{interval(left.probe_auroc_95)}, n = {left.n}"
    )
    yield (
        f"{found.n} of {found.n_test} test texts ({found.share:.1%}) have a near twin in train or "
        f"validation (cosine above {found.bar:g}): {said}."
    )
