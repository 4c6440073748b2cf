"""Probes applied to other tasks of the same model."""

import numpy as np
import pytest
from click.testing import CliRunner
from test_maps import answers_in

import probebench
from probebench.cli.main import main
from probebench.errors import UsageError
from probebench.scoring.metrics import auroc
from probebench.scoring.transfer import transfer_scores


@pytest.fixture(scope="module")
def runs(model_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    made = []
    for name, n in (("one", 240), ("two", 300)):
        (folder / name).mkdir()
        path = answers_in(folder / name, n).rename(folder / name / f"{name}.jsonl")
        made.append(probebench.evaluate(str(model_folder("llama")), answers=path, positions=("exact_answer_last", "-1"),
                                        out=folder / f"run-{name}", device="cpu", shuffles=0))  # fmt: skip
    return made


def test_own_task_gives_the_run_s_own_number_and_others_are_computed_from_stored_states(runs):
    scores = transfer_scores(runs).set_index(["train_task", "test_task"])
    for run in runs:
        name = run.record["task"]["name"]
        assert scores.loc[(name, name), "auroc"] == pytest.approx(run.record["selection"]["test_auroc"], abs=2e-3)
    a, b = runs
    cell = a.record["selection"]
    X = b.states().cell(int(cell["layer"]), cell["position"])
    test = (b.answers.split == "test").to_numpy() & b.states().there(cell["position"])
    expected = auroc(b.answers.label.to_numpy()[test], np.asarray(a.probe().decision_function(X[test]), dtype=float))
    row = scores.loc[("one", "two")]
    assert row.auroc == pytest.approx(expected, abs=1e-12)
    assert row.direction_free == max(expected, 1 - expected)
    assert row.low <= row.auroc <= row.high


def test_map_and_table_are_written(runs, tmp_path):
    words = ["plot", *(str(r.folder) for r in runs), "--map", "transfer", "--out", str(tmp_path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert {p.name for p in tmp_path.iterdir()} == {"transfer.png", "transfer.svg", "transfer.pdf", "transfer.csv"}


def test_other_models_and_the_same_task_twice_are_refused(runs, model_folder, tmp_path):
    with pytest.raises(UsageError, match="Two runs of the task one"):
        transfer_scores([runs[0], runs[0]])
    other = probebench.evaluate(str(model_folder("qwen2")), answers=answers_in(tmp_path), positions=("-1",), out=tmp_path / "r",
                                device="cpu", shuffles=0)  # fmt: skip
    with pytest.raises(UsageError, match="not runs of one model: they differ in revision"):
        transfer_scores([runs[0], other])
