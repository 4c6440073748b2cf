"""Other splits of the same examples, and folds that test each once: what is fitted again, what the
numbers are, and how sure they may be."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rows_made import run_entry
from scipy.stats import binomtest

import probebench
from probebench.leaderboard.board.gather import gather
from probebench.leaderboard.board.texts import figure, to_csv
from probebench.leaderboard.check.recompute import check_resplits
from probebench.leaderboard.check.rules.studies import check_parts
from probebench.metrics.auroc import auroc
from probebench.probes.labels import Labels
from probebench.record.parts.resplits import SplitSpread
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.report.content import run_section
from probebench.report.terminal.headline import headline_lines
from probebench.scoring.resplit import cross_fitted, refit, spread
from probebench.studies.resplits import _unlike_others
from probebench.tasks.split import split_by_fold, split_folds
from probebench.types import Cell

SCRIPT = Path(__file__).parent.parent / "scripts" / "simulate_splits.py"
SPEC = importlib.util.spec_from_file_location("simulate_splits", SCRIPT)
simulated = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = simulated  # its dataclasses look themselves up there
SPEC.loader.exec_module(simulated)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Cells are small: a pool of processes would cost more than it gives."""
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)


# -- a run -----------------------------------------------------------------------------------------


def answers(folder, *, split=False):
    """A file of answers, half of them right, in groups of two."""
    rng, words = np.random.default_rng(0), ["Paris", "river", "poet", "Anna", "letter", "capital"]
    rows = []
    for i in range(240):
        row = {
            "id": f"a{i}",
            "question": f"Where was {' '.join(rng.choice(words, 4))} {i}?",
            "answer": " It is Paris." if i % 4 > 1 else " It is near the river.",
            "label": int((i % 4 > 1) ^ (i % 7 == 0)),
            "group": f"g{i // 2}",
            "references": ["Paris"],
        }
        rows.append(row | ({"split": "test" if i >= 180 else "train"} if split else {}))
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def evaluated(model, folder, out="run", **options):
    settings = {"shuffles": 2, "layers": (0, 2), "positions": ("first_answer", "-2", "-1")}
    skip = ["text", "ensembles", "p-true"]
    return probebench.evaluate(
        model,
        answers=folder / "answers.jsonl",
        out=folder / out,
        skip=skip,
        device="cpu",
        **settings,
        **options,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory, model_folder):
    """A run, the same with two further splits in its place, and one of the next seed."""
    folder, model = tmp_path_factory.mktemp("resplits"), str(model_folder())
    answers(folder)
    plain = evaluated(model, folder).record
    more = evaluated(model, folder, repeat_splits=2)
    return plain, more, evaluated(model, folder, out="next", seed=1).record


def test_nothing_else_of_the_run_changes_and_nothing_is_read_again(runs):
    plain, more, _ = runs
    assert set(more.record.timing.stages) == {"Fitting other splits", "Scoring"}
    assert more.record.timing.stages["Fitting other splits"].done == 2 + 5
    for name in ("selection", "detectors", "comparison", "controls", "readable", "confounds"):
        assert more.record[name] == plain[name]
    assert plain.resplits is None


def test_a_further_split_is_that_of_a_run_with_the_next_seed(runs):
    _, more, other = runs
    first = more.record.resplits.splits[0]
    assert first.seed == other.settings.seed == 1
    assert (first.layer, first.position) == (other.selection.layer, other.selection.position)
    assert first.auroc == other.selection.test_auroc
    assert (first.n, first.n_correct) == (other.selection.n_test, other.selection.n_test_correct)
    assert first.C == other.selection.C


def test_the_record_adds_up(runs):
    found = runs[1].record.resplits
    values = [s.auroc for s in found.splits]
    assert (found.asked, found.spread.n) == (2, 2)
    assert found.spread.mean == pytest.approx(np.mean(values))
    assert found.spread.sd == pytest.approx(np.std(values, ddof=1))
    assert [found.spread.min, found.spread.max] == sorted(values)
    assert sum(c.times for c in found.selected) == 2
    crossed = found.cross_fitted
    assert sum(f.n for f in crossed.folds) == crossed.n == 240
    assert sum(f.n_correct for f in crossed.folds) == crossed.n_correct
    assert crossed.n_groups == 120
    assert crossed.auroc_95[0] < crossed.auroc < crossed.auroc_95[1]


def test_summary_and_report_show_the_spread_beside_the_one_split(runs):
    plain, more, _ = runs
    found = more.record.resplits
    lines = "\n".join(headline_lines(more.record))
    assert f"2 other splits: mean {found.spread.mean:.3f}, sd {found.spread.sd:.3f}" in lines
    assert f"cross-fitted, each tested once: {found.cross_fitted.auroc:.3f}" in lines
    assert max(len(line) for line in lines.splitlines() if "split" in line or "fitted" in line) < 80
    assert "other splits" not in "\n".join(headline_lines(plain))
    titles = [s.title for s in run_section(more, "run-1", "a run", 0).sections]
    assert "What depends on the split" in titles
    again = Run.load(more.folder)
    assert again.record.resplits == found


def test_test_examples_that_are_given_stay(tmp_path, model_folder):
    answers(tmp_path, split=True)
    run = evaluated(str(model_folder()), tmp_path, repeat_splits=3)
    found = run.record.resplits
    assert found.rule == "train and validation"
    assert {(s.n, s.n_correct) for s in found.splits} == {
        (run.record.selection.n_test, run.record.selection.n_test_correct)
    }
    assert found.spread.sd > 0, "other groups are validation"
    assert found.spread.mean_95 == (None, None)
    assert found.cross_fitted is None
    assert "cross-fitted" not in "\n".join(headline_lines(run.record))


def test_a_split_unlike_the_others_and_a_cell_that_changes_are_warned_of(runs):
    record = runs[1].record.plain()
    given = record["resplits"]
    given["spread"] |= {"n": 20, "mean": record["selection"]["test_auroc"] - 0.1, "sd": 0.06}
    given["own_cell"] = 12

    def said():
        return list(_unlike_others(SimpleNamespace(record=Record.from_plain(record))))

    assert said() == []
    given["spread"]["sd"] = 0.04
    assert "This split is better than others" in said()[0]
    given["own_cell"], given["selected"][0]["times"] = 3, 9
    assert "this run's in 3 of 20 others" in said()[1]
    record["resplits"] = None
    assert said() == []


# -- the numbers -----------------------------------------------------------------------------------


def drawn(n=150, size=3, strength=0.8, seed=0):
    design = simulated.Design(n, size, strength)
    return simulated.draw(design, np.random.default_rng(seed))


def test_a_split_on_which_nothing_can_be_selected_says_why():
    job = drawn()
    fit = refit(job, [Cell("resid", 0, "-1")], ["train"] * 149 + ["test"])
    assert "one class only" in fit.masked
    assert np.isnan(fit.decisions).all()


class Rare(simulated.Drawn):
    """The token of the second layer's cell stands in every other answer."""

    def there(self, position):
        return np.arange(len(self.cells[0])) % (2 if position == "-2" else 1) == 0

    def cell(self, layer, position, site="resid"):
        return self.cells[0] if position == "-1" else self.cells[1]

    def alike(self, layer, site="resid"):
        return {"-1": "-1", "-2": "-2"}


def test_cells_compete_as_in_the_main_run():
    """A token that half of the answers lack is never selected, however well it reads them."""
    job = drawn(n=240, size=1, strength=4.0)
    fit = refit(
        replace(job, reader=Rare(job.reader.cells)),
        [Cell("resid", 0, "-1"), Cell("resid", 0, "-2")],
        job.labels.splits,
    )
    assert fit.cell.position == "-1"
    whole = refit(job, [Cell("resid", 0, "-1"), Cell("resid", 1, "-1")], job.labels.splits)
    assert whole.cell.layer == 1


def test_the_spread_leaves_out_what_is_undefined():
    found = spread(np.array([0.7, 0.8, np.nan, 0.9]), 0.2)
    assert (found.n, found.low, found.high) == (3, 0.7, 0.9)
    assert found.mean == pytest.approx(0.8)
    assert found.sd == pytest.approx(0.1)
    half = 4.302653 * 0.1 * (1 / 3 + 0.25) ** 0.5
    assert found.interval.low == pytest.approx(0.8 - half)
    assert np.isnan(spread(np.full(2, np.nan), 0.2).mean)
    assert np.isnan(spread(np.array([0.7]), 0.2).interval.low)
    assert np.isnan(spread(np.array([0.7, 0.8]), np.nan).interval.low)


def test_only_pairs_of_one_fold_count_and_a_shift_of_a_fold_changes_nothing():
    rng = np.random.default_rng(0)
    y, folds = rng.integers(0, 2, 200), rng.integers(0, 5, 200)
    decisions, groups = rng.normal(size=200) + y, [str(i) for i in range(200)]
    found = cross_fitted(y, groups, folds, decisions, 0)
    won = pairs = 0.0
    for k in range(5):
        a, b = decisions[(folds == k) & (y == 1)], decisions[(folds == k) & (y == 0)]
        won += (a[:, None] > b).sum()
        pairs += len(a) * len(b)
    assert found.auroc == pytest.approx(won / pairs)
    shifted = cross_fitted(y, groups, folds, decisions + 10 * folds, 0)
    assert shifted == found
    assert abs(auroc(y, decisions + 10 * folds) - found.auroc) > 0.1, "pooling would not do"
    turned = cross_fitted(1 - y, groups, folds, decisions, 0)
    assert turned.auroc == pytest.approx(1 - found.auroc)


def test_examples_without_the_token_and_folds_of_one_class_take_no_part():
    y, folds = np.array([1, 0, 1, 0, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    decisions = np.array([1.0, 0.0, 1.0, np.nan, 3.0, 4.0])
    found = cross_fitted(y, list("abcdef"), folds, decisions, 0)
    assert (found.n, found.n_correct, found.n_groups) == (5, 4, 5)
    assert found.auroc == 1
    nothing = cross_fitted(y, list("abcdef"), folds, np.full(6, np.nan), 0)
    assert nothing.n == 0 and np.isnan([nothing.auroc, nothing.interval.low]).all()


def test_labels_of_a_split_are_never_read_for_its_choice():
    """Turning the labels of a fold round changes nothing of what is selected for it."""
    job = drawn()
    folds = split_folds(job.labels.groups)
    splits = split_by_fold(folds, 2)
    turned = np.where(np.array(splits) == "test", 1 - job.labels.y, job.labels.y)
    cells = simulated.cells_of(job)
    own = refit(job, cells, splits)
    other = refit(
        replace(job, labels=Labels(turned, job.labels.splits, job.labels.groups)), cells, splits
    )
    assert (own.cell, own.C) == (other.cell, other.C)
    np.testing.assert_array_equal(own.decisions, other.decisions)


def test_the_board_shows_the_spread_of_a_row_that_has_it():
    spread_of = SplitSpread(
        n=20, mean=0.8, mean_95=(0.75, 0.85), sd=0.0312, min=0.7, max=0.9, standard_error=0.03
    )
    plain = run_entry("org/one")
    rows = gather([plain, replace(plain, splits=spread_of)]).rows
    words = [figure(r) for r in rows if r.detector == "probe"]
    assert sum("sd 0.031 over 20 splits" in w for w in words) == 1
    assert not [r for r in rows if r.detector != "probe" and r.splits]
    assert "0.0312" in to_csv(rows)


def test_a_submission_whose_spread_does_not_follow_from_its_splits_is_refused(runs):
    record = runs[1].record.plain()
    fine = SimpleNamespace(record=record)
    assert list(check_resplits(fine)) == []
    record["resplits"]["spread"]["sd"] /= 2
    (found,) = check_resplits(fine)
    assert "resplits.spread.sd" in str(found)
    record["resplits"] = None
    assert list(check_resplits(fine)) == []


def edited(run, path, value):
    """A run's record with another value at a place of its resplits."""
    record = run.record.plain()
    *place, last = path
    part = record["resplits"]
    for step in place:
        part = part[step]
    part[last] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("selected", 0, "times"), 7, "resplits.selected[0].times"),
        (("spread", "standard_error"), 0.5, "resplits.spread.standard_error"),
        (("spread", "standard_error"), None, "resplits.spread.standard_error"),
        (("cross_fitted", "n"), 3, "resplits.cross_fitted.n"),
        (("cross_fitted", "n_correct"), 3, "resplits.cross_fitted.n_correct"),
    ],
)
def test_what_is_said_of_splits_as_a_whole_follows_from_each(runs, path, value, field):
    record = edited(runs[1], path, value)
    found = list(check_resplits(SimpleNamespace(record=record)))
    assert [f.field for f in found] == [field]


@pytest.mark.parametrize(
    ("path", "value", "fields"),
    [
        (("splits", 0, "n_correct"), 10**6, ["splits[0].n_correct"]),
        (("cross_fitted", "n_groups"), 10**6, ["cross_fitted.n_groups"]),
        (("splits", 0, "reason"), "one class only", ["splits[0].auroc", "splits[0].auroc_95"]),
    ],
)
def test_what_is_said_of_one_split_does_not_contradict_itself(runs, path, value, fields):
    record = edited(runs[1], path, value)
    found = [f.field for f in check_parts(SimpleNamespace(record=record))]
    assert found == [f"resplits.{field}" for field in fields]


# -- the rates that docs/protocol.md claims, at small sizes ----------------------------------------


@pytest.fixture(scope="module")
def nothing():
    """Sixty data sets of a hundred examples without signal, their folds alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("joblib.cpu_count", lambda: 1)
        return simulated.simulate(simulated.Design(100, 1, 0.0, cells=2), 60, repeats=0)


def test_without_signal_cross_fitting_is_a_coin_flip_and_rejects_no_more_than_it_says(nothing):
    error = nothing.crossed.std() / len(nothing) ** 0.5
    assert abs(nothing.crossed.mean() - 0.5) < 3 * error
    left_out = ((nothing.crossed_low > 0.5) | (nothing.crossed_high < 0.5)).sum()
    assert binomtest(int(left_out), len(nothing), 0.05, "greater").pvalue > 0.01


def test_pooled_decisions_of_all_folds_would_lean_the_other_way(nothing):
    off = nothing.pooled - nothing.crossed
    assert off.mean() < -3 * off.std() / len(nothing) ** 0.5


def test_the_interval_of_one_split_says_less_than_other_splits_do():
    """Where a validation of eighty answers has twelve cells to choose from."""
    found = simulated.simulate(simulated.Design(400, 1, 0.7, cells=12), 40, 2, folds=False)
    assert found.single.std() > 1.1 * np.sqrt((found.single_se**2).mean())
