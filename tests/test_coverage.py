"""Do the 95 % intervals hold the truth? A small version of scripts/simulate_coverage.py, with
binomial tolerance."""

import importlib.util
import sys
from pathlib import Path

import pytest

DATASETS = 200


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parent.parent / "scripts" / "simulate_coverage.py"
    spec = importlib.util.spec_from_file_location("simulate_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("n", "icc"), [(200, 0.0), (200, 0.5)])
def test_intervals_hold_the_truth(script, n, icc):
    found = script.coverage(
        script.simulate(script.Design(n, 0.5, icc), DATASETS, seed=1, resamples=300)
    )
    spread = (0.95 * 0.05 / DATASETS) ** 0.5
    for name in ("auroc", "difference", "auprc", "accuracy", "brier", "prr"):
        assert abs(found.inside[name] - 0.95) < 3.2 * spread, f"{name}: {found.inside[name]:.1%}"
    assert found.inside["ece"] > 0.95, "conservative by construction"
    if icc:
        assert found.inside["auroc_delong"] < 0.95 - 3.2 * spread, (
            "DeLong takes the examples of a group for independent ones"
        )


def test_simulated_truth_is_what_a_large_sample_gives(script):
    import numpy as np

    from probebench.metrics.auroc import auroc
    from probebench.metrics.ranking import ranked

    design = script.Design(60_000, 0.85, 0.5)
    y, (a, b), groups = script.draw(design, np.random.default_rng(0))
    truth = script.population(design)
    assert y.mean() == pytest.approx(0.85, abs=0.01)
    assert len(set(groups)) < 20_000
    assert auroc(y, a) == pytest.approx(truth["auroc"], abs=0.01)
    assert auroc(y, a) - auroc(y, b) == pytest.approx(truth["difference"], abs=0.012)
    assert ranked(y, a).prr[0] == pytest.approx(truth["prr"], abs=0.025)
