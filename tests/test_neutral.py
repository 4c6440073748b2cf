"""Alarm thresholds from a neutral control run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from records import HASH, content

from probebench.errors import UsageError
from probebench.files import write_json
from probebench.metrics.bootstrap import Resamples
from probebench.record.run import RECORD, Run
from probebench.record.schema import Record
from probebench.scoring.measures import Sample
from probebench.studies.neutral import _without, neutral_facts, open_neutral
from probebench.studies.registry import Concern
from probebench.types import Cell

CELL = Cell("resid", 1, "-1")
PROBE = SimpleNamespace(decision_function=lambda X: X[:, 0])
IDENTITY = {
    "revision": "r",
    "tokenizer": HASH,
    "chat_template": None,
    "dtype": "float32",
    "attention": "sdpa",
}


def control(shift, n=400, absent=10, position="-1"):
    """A run whose vectors hold one number each: its decisions, `shift` above those of the tested
    run's correct answers."""
    rng = np.random.default_rng(0)
    label = np.tile([1, 1, 1, 0], n // 4)
    X = (rng.normal(size=(n, 1)) + shift).astype(np.float32)
    there = np.arange(n) >= absent
    states = SimpleNamespace(
        positions=(position,),
        sites={"resid": None},
        site=lambda _: SimpleNamespace(layers=(0, 1)),
        there=lambda _: there,
        cell=lambda *_: X,
    )
    answers = pd.DataFrame({"question": [f"n{i}" for i in range(n)], "label": label})
    record = {"key": "k", "task": {"name": "neutral"}, "model": IDENTITY}
    return (
        SimpleNamespace(folder="there", record=record, states=lambda: states, answers=answers),
        X[:, 0],
        label,
        there,
    )


def judged(n=2000):
    rng = np.random.default_rng(1)
    y = np.tile([0, 1], n // 2)
    X = rng.normal(size=(n, 1)) - 2 * (y[:, None] == 0)
    return Sample.of(y, y[:0], Resamples.draw([str(i) for i in range(n)], 0, 100)), X


def test_a_neutral_set_like_the_correct_answers_gives_the_rate_asked_for():
    run, decisions, label, there = control(0.0)
    sample, X = judged()
    facts = neutral_facts(run, CELL, PROBE, ["N399 ", "n398", "other"], sample, X)
    used = decisions[there & (label == 1) & ~np.isin(np.arange(400), (398, 399))]
    assert (facts["n"], facts["n_seen"]) == (len(used), 2)
    found = facts["recall_at_fpr_05"]
    assert found["threshold"] == pytest.approx(np.sort(used)[int(0.05 * (len(used) + 1)) - 1])
    assert found["false_alarms"]["value"] == pytest.approx(0.05, abs=0.03)
    assert found["value"] == pytest.approx((X[sample.y == 0, 0] <= found["threshold"]).mean())
    assert found["low"] < found["value"] < found["high"]


def test_a_neutral_set_that_lies_elsewhere_shows_in_the_false_alarms():
    sample, X = judged()
    facts = neutral_facts(control(3.0)[0], CELL, PROBE, [], sample, X)
    assert facts["recall_at_fpr_05"]["false_alarms"]["value"] > 0.8


def test_a_control_that_sets_no_threshold_says_why_and_loses_no_run():
    sample, X = judged()
    facts = neutral_facts(control(0.0, position="-2")[0], CELL, PROBE, [], sample, X)
    assert facts["reason"] == "it did not read the selected cell, resid, layer 1, -1"
    told = Record.from_plain(content(neutral=facts))
    (said,) = _without(Concern(told, [], None))
    assert said.startswith("--neutral there sets no threshold: it did not read")
    same = [f"n{i}" for i in range(400)]
    facts = neutral_facts(control(0.0)[0], CELL, PROBE, same, sample, X)
    assert facts["reason"].startswith("no correct answer with the token -1")
    assert facts["n_seen"] == 400


def test_what_cannot_be_a_control_is_refused(tmp_path):
    write_json(tmp_path / RECORD, content(model={**IDENTITY, "dtype": "float16"}))
    with pytest.raises(UsageError, match="not a run of this model: it differs in dtype"):
        open_neutral(tmp_path, IDENTITY)
    write_json(tmp_path / RECORD, content(model=IDENTITY))
    with pytest.raises(UsageError, match="keeps no hidden states"):
        open_neutral(tmp_path, IDENTITY)
    assert IDENTITY.items() <= dict(Run.load(tmp_path).record["model"]).items()
