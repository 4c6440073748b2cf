"""Ensembles: planted halves of a signal, selection without test, and what absent cells cost."""

from types import SimpleNamespace

import numpy as np
import pytest
from planted import made_plan

from probebench.detectors import suite
from probebench.detectors.ensembles import candidates, present_mean
from probebench.metrics.auroc import auroc
from probebench.metrics.ranking import alarm_threshold
from probebench.probes.labels import Labels, split_index
from probebench.states.positions import PUBLISHED as POSITIONS_15
from probebench.tasks.split import split_of
from probebench.types import EMB, Cell, CellFit

N = 3000
GROUPS = tuple(f"g{i // 2}" for i in range(N))
LABELS = Labels(
    np.random.default_rng(0).integers(0, 2, N), tuple(split_of(g) for g in GROUPS), GROUPS
)
ROWS = split_index(LABELS.splits)


def cell(layer, decisions, position="-1", site="resid", labels=LABELS):
    v = ROWS["validation"][np.isfinite(decisions[ROWS["validation"]])]
    return CellFit(
        Cell(site, layer, position), decisions, 1.0, auroc(labels.y[v], decisions[v]), True, 3, ""
    )


def noisy(seed, strength=1.0):
    return strength * LABELS.y + np.random.default_rng(seed).normal(size=N)


def test_auroc(detector):
    return auroc(LABELS.y[ROWS["test"]], detector.decisions[ROWS["test"]])


test_auroc.__test__ = False


def best(fits):
    return max(fits, key=lambda f: f.validation_auroc)


def ensembles(fits, labels, chosen, *, given=False):
    """Every ensemble of a run of these fits."""
    data = SimpleNamespace(
        plan=made_plan(skip=("text", "p-true"), statements=given),
        samples=None,
        answers=(),
        labels=labels,
        statements=given,
        fits=tuple(fits),
        chosen=chosen,
    )
    return [d for d in suite.detectors(data, None).detectors if d.kind == "ensemble"]


def by_name(fits, labels=LABELS):
    return {d.name: d for d in ensembles(fits, labels, best(fits))}


def test_two_independent_halves_of_a_signal_beat_each():
    fits = [
        cell(0, noisy(1)),
        cell(1, 50 * noisy(2) + 7, "-2"),
        *(cell(k, noisy(k + 10, 0.0), f"-{k}") for k in range(3, 7)),
    ]
    single = max(auroc(LABELS.y[ROWS["test"]], f.decisions[ROWS["test"]]) for f in fits)
    found = by_name(fits)
    assert found["ensemble_mean"].detail["k"] == 2
    assert {c["layer"] for c in found["ensemble_mean"].detail["cells"]} == {"0", "1"}
    assert set(found) == {"ensemble_mean", "ensemble_stacked"}
    # the sum of two halves: Phi(1) = 0.841 against Phi(1 / sqrt 2) = 0.760
    for d in found.values():
        assert d.kind == "ensemble"
        assert test_auroc(d) == pytest.approx(0.841, abs=0.03)
        assert test_auroc(d) > single + 0.05


def test_thresholds_of_the_stack_are_not_placed_on_what_it_was_fitted_to():
    """Of cells without signal a stack still learns validation by heart: decisions there must be
    those of other folds."""
    n_validation, aurocs, alarms = 100, [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        n = 2 * n_validation + 2000
        splits = ("train",) * n_validation + ("validation",) * n_validation + ("test",) * 2000
        labels = Labels(rng.integers(0, 2, n), splits, tuple(map(str, range(n))))
        v, t = (split_index(splits)[name] for name in ("validation", "test"))
        fits = []
        for position in POSITIONS_15:
            d = rng.normal(size=n)
            fits.append(
                CellFit(Cell("resid", 0, position), d, 1.0, auroc(labels.y[v], d[v]), True, 1, "")
            )
        stack = by_name(fits, labels)["ensemble_stacked"].decisions
        aurocs.append(auroc(labels.y[v], stack[v]))
        limit = alarm_threshold(stack[v][labels.y[v] == 1], 0.05)
        alarms.append((stack[t][labels.y[t] == 1] <= limit).mean())
    assert np.mean(aurocs) < 0.6, "fitted and judged on the same examples it is far above"
    assert np.mean(alarms) < 0.08


def test_scale_and_offset_of_a_cell_change_nothing():
    fits = [cell(0, noisy(1)), cell(1, noisy(2), "-2"), cell(2, noisy(3, 0.3), "-3")]
    moved = [
        cell(f.cell.layer, 1000.0**f.cell.layer * f.decisions - 5, f.cell.position) for f in fits
    ]
    for name, d in by_name(fits).items():
        assert test_auroc(by_name(moved)[name]) == pytest.approx(test_auroc(d), abs=1e-4)


def test_labels_and_decisions_of_test_choose_nothing():
    fits = [cell(k, noisy(k, 0.5), f"-{k + 1}") for k in range(6)]
    y = LABELS.y.copy()
    y[ROWS["test"]] = 1 - y[ROWS["test"]]
    flipped = Labels(y, LABELS.splits, LABELS.groups)
    for name, d in by_name(fits).items():
        np.testing.assert_array_equal(by_name(fits, flipped)[name].decisions, d.decisions)
    noise = [
        cell(
            f.cell.layer,
            np.where(np.asarray(LABELS.splits) == "test", 0.0, f.decisions),
            f.cell.position,
        )
        for f in fits
    ]
    for name, d in by_name(fits).items():
        assert by_name(noise)[name].detail == d.detail


def test_train_decisions_play_no_part():
    """A probe separates its own train examples perfectly; neither scale nor stack may learn from
    that."""
    train = np.asarray(LABELS.splits) == "train"
    fits = [cell(k, noisy(k, 0.5), f"-{k + 1}") for k in range(4)]
    overfitted = [
        cell(f.cell.layer, np.where(train, 1e3 * (2 * LABELS.y - 1), f.decisions), f.cell.position)
        for f in fits
    ]
    for name, d in by_name(fits).items():
        np.testing.assert_allclose(
            by_name(overfitted)[name].decisions[~train], d.decisions[~train], rtol=1e-5, atol=1e-5
        )


def test_an_example_without_a_cell_is_scored_by_the_others():
    lacking = noisy(2)
    lacking[::20] = np.nan
    fits = [cell(0, noisy(1, 1.1)), cell(1, lacking, "-2")]
    for d in by_name(fits).values():
        assert np.isfinite(d.decisions).all()
    mean = by_name(fits)["ensemble_mean"].decisions
    alone = fits[0].decisions[ROWS["validation"]]
    assert mean[0] == pytest.approx((fits[0].decisions[0] - alone.mean()) / alone.std())


def test_examples_without_the_selected_cell_are_not_scored():
    lacking = noisy(1, 2.0)
    lacking[:100] = np.nan
    for d in by_name([cell(0, lacking), cell(1, noisy(2), "-2")]).values():
        np.testing.assert_array_equal(np.isfinite(d.decisions), np.isfinite(lacking))


def test_which_cells_may_be_combined():
    rare = noisy(3)
    rare[::4] = np.nan
    fits = [
        cell(0, noisy(1)),
        cell(EMB, noisy(2)),
        cell(1, noisy(4), site="mlp.down"),
        cell(2, rare),
        cell(3, noisy(5, 0.1)),
    ]
    fits.append(CellFit(Cell("resid", 4, "-1"), np.full(N, np.nan), np.nan, np.nan, True, 0, "few"))
    assert [f.cell.layer for f in candidates(fits, LABELS, fits[0])] == [0, 3]
    assert ensembles(fits[:1], LABELS, fits[0]) == []


def test_readable_when_the_last_of_its_cells_is():
    early, late = cell(0, noisy(1), "last_q"), cell(1, noisy(2))
    assert by_name([early, cell(2, noisy(3), "last_q")])["ensemble_mean"].when == "before"
    assert by_name([early, late])["ensemble_mean"].when == "after"


def test_mean_of_what_is_there():
    np.testing.assert_array_equal(
        present_mean(np.array([[1, np.nan, np.nan], [3, 4, np.nan]])), [2, 4, np.nan]
    )


def test_folds_keep_groups_whole():
    from probebench.probes.stacking import _folds

    rows = ROWS["validation"]
    folds = _folds([GROUPS[i] for i in rows])
    assert all(
        len(set(folds[np.asarray(GROUPS)[rows] == g])) == 1 for g in set(np.asarray(GROUPS)[rows])
    )
    assert np.ptp(np.bincount(folds)) <= 2


def test_the_stack_takes_the_best_cell_of_each_position():
    fits = [
        cell(0, noisy(1)),
        cell(1, noisy(2, 0.2)),
        cell(1, noisy(3), "-2"),
        cell(2, noisy(4, 0.2), "-2"),
    ]
    cells = by_name(fits)["ensemble_stacked"].detail["cells"]
    assert {(c["layer"], c["position"]) for c in cells} == {("0", "-1"), ("1", "-2")}
    assert "ensemble_stacked" not in by_name(fits[:2]), "one position gives nothing to weigh"


def test_of_a_given_statement_ensembles_are_readable_before():
    fits = [cell(0, noisy(1)), cell(1, noisy(2), "-2")]
    assert {d.when for d in ensembles(fits, LABELS, fits[0], given=True)} == {"before"}


def test_barred_cells_alone_are_no_ensemble():
    rng = np.random.default_rng(5)
    there = rng.random(N) > 0.08
    barred = [
        CellFit(
            Cell("resid", k, "exact_answer_last"),
            np.where(there, 2.0 * LABELS.y + 0.01 * k + rng.normal(size=N), np.nan),
            1.0,
            0.99 - k / 100,
            True,
            3,
            "",
            barred="rare",
        )
        for k in range(2)
    ]
    chosen = cell(3, noisy(1), "last_q")
    found = {d.name: d for d in ensembles([*barred, chosen], LABELS, chosen)}
    mean = found["ensemble_mean"]
    assert mean.detail["k_tried"] == [3] and mean.detail["k"] == 3
    assert np.isfinite(mean.decisions).all(), "where the selected cell is, so is the mean"
    assert np.isfinite(mean.detail["validation_auroc"])
