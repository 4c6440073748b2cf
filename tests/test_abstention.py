"""Abstention: thresholds hold their level as often as they say, with groups too."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from probebench.scoring.abstention import DELTA, abstention, effective, risk_p, threshold_at
from probebench.scoring.comparison import evaluate_detectors
from probebench.types import Detector

PATH = Path(__file__).parent.parent / "scripts" / "simulate_abstention.py"


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("simulate_abstention", PATH)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("size", "together"), [(1, 0.0), (8, 0.9)])
def test_a_level_is_broken_in_at_most_a_tenth_of_draws(simulation, size, together):
    design = simulation.Design(600, size, together, 0.3, 1.5)
    draws = 60
    found = simulation.simulate(design, 0.2, draws)
    broken, coverage = found["ours"]
    assert broken <= DELTA
    assert coverage > 0.2, "it answers something"
    assert found["plain"][0] > 0.15, "without a test the level is often broken"
    if size > 1:
        assert found["independent"][0] > broken


def test_p_values_are_binomial_and_groups_count_once():
    from scipy.stats import binom

    assert risk_p(30, 2, 0.2) == pytest.approx(binom.cdf(2, 30, 0.2))
    assert risk_p(5, 5, 0.2) == 1.0
    assert effective(np.arange(12)) == pytest.approx(12)
    assert effective(np.repeat(np.arange(3), 4)) == pytest.approx(3)
    assert effective(np.array([], dtype=np.int64)) == 0


def test_where_nothing_is_certain_nothing_is_answered_and_all_where_all_is_right():
    rng = np.random.default_rng(0)
    d, groups = rng.normal(size=300), np.arange(300)
    assert np.isnan(threshold_at(rng.integers(0, 2, 300), d, groups, 0.1).value)
    every = threshold_at(np.ones(300, dtype=int), d, groups, 0.1)
    assert every.value == -np.inf
    assert every.n_answered == 300


def test_what_stands_in_the_record_is_what_the_decisions_say():
    rng = np.random.default_rng(1)
    n = 900
    y = (rng.random(n) > 0.3).astype(int)
    splits = ["validation" if i % 2 else "test" for i in range(n)]
    groups = [f"g{i}" for i in range(n)]
    d = [
        Detector("probe", "probe", 2 * y + rng.normal(size=n), "probe"),
        Detector("weak", "weak", 0.3 * y + rng.normal(size=n), "baseline"),
        Detector("blind", "blind", np.where(np.arange(n) % 2, np.nan, rng.normal(size=n))),
    ]
    table = evaluate_detectors(d, y, splits, groups, 0)
    found = abstention(d, y, splits, groups, table, 0)
    probe, weak = found["detectors"]
    at = {level["level"]: level for level in probe["levels"]}
    test = np.arange(0, n, 2)
    given = d[0].decisions[test] > at[0.1]["threshold"]
    assert at[0.1]["coverage"] == pytest.approx(given.mean())
    assert at[0.1]["risk"] == pytest.approx((y[test][given] == 0).mean())
    assert at[0.1]["coverage_95"][0] < at[0.1]["coverage"] < at[0.1]["coverage_95"][1]
    assert at[0.05]["coverage"] < at[0.2]["coverage"]
    low = next(level for level in weak["levels"] if level["level"] == 0.05)
    assert low["threshold"] is None
    assert "no threshold keeps the error below 0.05" in low["reason"]
    curve = found["curves"][0]["points"]
    assert [c["name"] for c in found["curves"]] == ["probe", "weak"]
    assert curve[-1]["coverage"] == 1.0
    assert curve[-1]["risk"] == pytest.approx(found["base_risk"])
    # what is not scored is withheld, of wrong answers as of right ones
    scored = np.where((y == 0) & (rng.random(n) < 0.2), np.nan, d[0].decisions)
    half = np.where(rng.random(n) < 0.5, np.nan, d[1].decisions)
    lacks = [d[0], Detector("some", "some", scored), Detector("half", "half", half)]
    beside = abstention(
        lacks, y, splits, groups, evaluate_detectors(lacks, y, splits, groups, 0), 0
    )
    assert beside["detectors"][0] == probe
    assert [one["name"] for one in beside["detectors"]] == ["probe", "some"]
    level = beside["detectors"][1]["levels"][3]
    assert level["n_answered"] == int((scored[test] > level["threshold"]).sum())
    assert level["coverage"] == level["n_answered"] / len(test)
    assert not level["answers_all"]
    easy = np.where(rng.random(n) < 0.03, 0, 1)
    gaps = Detector("gaps", "gaps", np.where(rng.random(n) < 0.05, np.nan, easy + rng.random(n)))
    whole = [Detector("probe", "probe", easy + rng.normal(size=n), "probe"), gaps]
    table = evaluate_detectors(whole, easy, splits, groups, 0)
    probe, beside = abstention(whole, easy, splits, groups, table, 0)["detectors"]
    assert probe["levels"][3]["answers_all"] and probe["levels"][3]["coverage"] == 1
    level = beside["levels"][3]
    assert not level["answers_all"], "who answers all would answer what it cannot score"
    scored = np.isfinite(gaps.decisions[test]) & (gaps.decisions[test] > level["threshold"])
    assert level["coverage"] == pytest.approx(scored.mean()) and level["coverage"] < 1
    blind = Detector("probe", "probe", np.where(np.arange(n) % 2, np.nan, whole[0].decisions))
    table = evaluate_detectors([blind, gaps], easy, splits, groups, 0)
    assert abstention([blind, gaps], easy, splits, groups, table, 0)["n_validation"] == 0
    few = [s if s == "test" or i < 20 else "train" for i, s in enumerate(splits)]
    short = abstention(d, y, few, groups, evaluate_detectors(d, y, few, groups, 0), 0)
    assert "too few" in short["detectors"][0]["levels"][0]["reason"]
