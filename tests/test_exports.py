"""A run as others keep it: each form is valid by the package of those who read it, and says nothing
that the record does not."""

import json
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from records import PROBE, record

from probebench.cli.main import main
from probebench.cli.report import export_command
from probebench.engines.engine import LocalEngine
from probebench.errors import NotLoggedError, RunError, UsageError
from probebench.files import write_json
from probebench.job import pipeline
from probebench.record.exports.every_eval_ever import (
    RELATIONSHIPS,
    SCHEMA,
    Evaluator,
    write_every_eval_ever,
)
from probebench.record.exports.hub import HubNames, write_hub
from probebench.record.exports.kinds import KINDS
from probebench.record.exports.scores import scores
from probebench.record.exports.trackers import TRACKERS, log_run, log_to_all
from probebench.record.run import Run
from probebench.tasks.schema import load_task

ME = Evaluator("somebody")
METRICS = {
    "brier": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 4, "positive": "correct"},
    "prr": {"value": -1.5, "low": None, "high": None, "n": 4, "positive": "wrong"},
    "ece": {"value": None, "low": None, "high": None, "n": 4, "positive": "correct"},
}
GENERATION = {"how": "plain", "max_new_tokens": 32}
TIMING = {"started": "2026-11-29T12:00:00+00:00", "total_seconds": 60.0}


@pytest.fixture
def run(tmp_path):
    """A run that never was: ten answers, of which four are test."""

    def make(**changes) -> Run:
        folder = tmp_path / "run"
        folder.mkdir()
        changes = {"generation": GENERATION, "timing": TIMING} | changes
        r = record(detectors=[PROBE | {"metrics": METRICS}], **changes)
        write_json(folder / "record.json", r.plain())
        n = np.arange(10)
        answers = {
            "id": [f"people-{i}" for i in n],
            "question": [f"Where is {i}?" for i in n],
            "references": [["Paris", "Lutetia"]] * 10,
            "text": [f" In town {i}." for i in n],
            "exact_answer": ["town"] * 9 + [None],
            "label": n % 2,
            "split": ["train"] * 6 + ["test"] * 4,
            "group": [f"g{i}" for i in n],
            "refused": [False] * 10,
            "stopped": [True] * 10,
            "prompt_ids": [[1, 2, 3]] * 10,
            "answer_ids": [[4, 5]] * 10,
        }
        pd.DataFrame(answers).to_parquet(folder / "answers.parquet")
        test = {
            "id": answers["id"][6:] * 2,
            "split": "test",
            "detector": ["probe"] * 4 + ["text"] * 4,
            "decision": [*range(4), *range(4)],
            "scored": [True, True, True, False] * 2,
        }
        pd.DataFrame(test).to_parquet(folder / "predictions.parquet")
        return Run(folder, r)

    return make


HUB = {"task": {"name": "triviaqa"}, "data": {"origin": "hub:org/data", "revision": "abc"}}
STATEMENTS = {
    "task": {"kind": "statements", "judge": "given", "name": "cities"},
    "generation": None,
}
FOLDER = {"model": {"name": "mine", "revision": "sha256:abc"}}


@pytest.mark.parametrize("changes", [{}, HUB, STATEMENTS], ids=["people", "hub", "statements"])
def test_what_every_eval_ever_gets_is_valid_by_its_own_package(run, tmp_path, changes):
    schema = pytest.importorskip("every_eval_ever.schema")
    from every_eval_ever.validator.validate import main as validate

    assert schema.get_schema_version() == SCHEMA
    paths = write_every_eval_ever(run(**changes), tmp_path / "out", ME)
    assert validate([str(path) for path in paths]) == 0  # 1: errors, 2: warnings


def test_results_are_the_numbers_of_the_record_and_nothing_else(run, tmp_path):
    one = run()
    path, answers = write_every_eval_ever(one, tmp_path / "out", ME)
    content = json.loads(path.read_text())
    found = {r["evaluation_result_id"]: r for r in content["evaluation_results"]}
    assert list(found) == ["answers.accuracy", "probe.auroc", "probe.brier", "probe.prr"]
    auroc = found["probe.auroc"]["score_details"]
    assert auroc["score"] == 0.8 and auroc["uncertainty"]["num_samples"] == 300
    ends = auroc["uncertainty"]["confidence_interval"]
    assert (ends["lower"], ends["upper"], ends["confidence_level"]) == (0.75, 0.85, 0.95)
    assert "confidence_interval" not in found["probe.prr"]["score_details"]["uncertainty"]
    assert found["probe.brier"]["metric_config"]["lower_is_better"]
    assert not found["probe.auroc"]["metric_config"]["lower_is_better"]
    assert content["retrieved_timestamp"] == str(int(content["evaluation_timestamp"]) + 60)
    assert content["detailed_evaluation_results"]["file_path"] in str(answers)
    again = write_every_eval_ever(one, tmp_path / "again", ME)
    assert [p.read_bytes() for p in again] == [path.read_bytes(), answers.read_bytes()]


def test_answers_count_once_for_the_accuracy_and_test_answers_for_the_probe(run, tmp_path):
    _, path = write_every_eval_ever(run(), tmp_path, ME)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    by = {name: [r for r in rows if r["evaluation_result_id"] == name] for name in scores_of(rows)}
    assert [len(by[name]) for name in ("answers.accuracy", "probe.auroc")] == [10, 3]
    assert [r["evaluation"]["is_correct"] for r in by["answers.accuracy"]] == [False, True] * 5
    assert [r["sample_id"] for r in by["probe.auroc"]] == [f"people-{i}" for i in (6, 7, 8)]
    assert [r["evaluation"]["score"] for r in by["probe.auroc"]] == [0, 1, 2]
    assert [r["evaluation"]["is_correct"] for r in by["probe.auroc"]] == [False, True, False]
    assert rows[0]["answer_attribution"][0]["extracted_value"] == "town"
    assert by["answers.accuracy"][9]["answer_attribution"] == []


def scores_of(rows):
    return {r["evaluation_result_id"] for r in rows}


def test_statements_that_no_model_wrote_have_no_accuracy(run):
    assert scores(run(**STATEMENTS).record)[0].name == "probe.auroc"


def test_a_statement_is_nobody_s_output(run, tmp_path):
    _, path = write_every_eval_ever(run(**STATEMENTS), tmp_path, ME)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows and all(r["output"] == {"raw": [""]} for r in rows)
    for used in (r["token_usage"] for r in rows):
        assert used["output_tokens"] == 0 and used["input_tokens"] == used["total_tokens"] > 0


def test_a_model_is_filed_by_developer_and_name(run, tmp_path):
    one = run(**FOLDER)
    with pytest.raises(UsageError, match="'mine' is not .*--model-id org/model"):
        write_every_eval_ever(one, tmp_path, ME)
    path, _ = write_every_eval_ever(one, tmp_path, ME, "org/mine")
    assert path.parent == tmp_path / "data/probebench_people/org/mine"
    details = json.loads(path.read_text())["model_info"]["additional_details"]
    assert details["model_availability"] == "unknown"  # nobody said that a folder is public
    done = CliRunner().invoke(main, ["export", "--to", "every-eval-ever", str(one.folder)])
    assert done.exit_code == 2 and "--organization" in done.output


def test_the_data_are_named_as_far_as_they_are_known(run, tmp_path):
    task = load_task("cities")
    known = {"name": "cities", "hash": task.hash, "version": task.version, "kind": "statements"}
    one = run(task=known, data={"origin": f"files:{task.source.name}"})
    path, _ = write_every_eval_ever(one, tmp_path, ME)
    source = json.loads(path.read_text())["evaluation_results"][0]["source_data"]
    assert source["source_type"] == "url" and source["url"] == [f.url for f in task.source.files]


# -- hub -------------------------------------------------------------------------------------------


def test_the_hub_reads_both_files(run, tmp_path):
    from huggingface_hub import ModelCardData, parse_eval_result_entries

    entries, index = write_hub(run(**HUB), tmp_path, HubNames(link="https://example.org/run"))
    assert entries == tmp_path / ".eval_results/probebench_triviaqa.yaml"
    accuracy, auroc = parse_eval_result_entries(yaml.safe_load(entries.read_text()))
    assert (auroc.dataset_id, auroc.dataset_revision, auroc.value) == ("org/data", "abc", 0.8)
    assert auroc.task_id == "triviaqa.probe.auroc" and accuracy.value == 0.5
    assert "[0.75, 0.85]" in auroc.notes and "n = 300" in auroc.notes
    assert auroc.source_url == "https://example.org/run"
    card = ModelCardData(**yaml.safe_load(index.read_text()))
    assert [(e.metric_type, e.metric_value) for e in card.eval_results] == [
        ("accuracy", 0.5),
        ("roc_auc", 0.8),
    ]
    assert card.model_name == "model" and card.eval_results[0].dataset_type == "org/data"


def test_the_hub_is_told_of_a_part_and_of_other_settings(run, tmp_path):
    """A number of 200 questions of one's own is no number of the task."""
    whole = run(**HUB)
    entries, _ = write_hub(whole, tmp_path / "whole")
    assert "overridden" not in entries.read_text() and "--limit" not in entries.read_text()
    settings = whole.record.settings.plain()
    settings |= {"data": ["/home/me/q.jsonl"], "limit": 200}
    settings["overrides"] = {"data": "/home/me/q.jsonl", "limit": 200, "layers": [0, 3]}
    settings["overrides"] |= {"thinking": False, "extractor_model": {"name": "/home/me/copier"}}
    one = replace(whole, record=whole.record.changed(settings=settings))
    entries, index = write_hub(one, tmp_path)
    for text in (entries.read_text(), index.read_text()):
        said = " ".join(text.split())
        assert said.count("questions of q.jsonl (--data); 200 examples at most (--limit)") == 2
        assert (
            said.count("--layers 0,3 --no-thinking --extractor-model copier") == 2
            and "/home/me" not in said
        )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "hub", "--dataset", "ab"], "--dataset must be ORG/NAME"),
        (["--to", "hub", "--dataset", "a/b", "--link", "a page"], "--link must be a whole address"),
        (["--to", "hub", "--organization", "me"], "--organization is of --to every-eval-ever"),
        (["--to", "every-eval-ever", "--organization", " "], "--organization must be a name"),
        (["--to", "probe-card", "--dataset", "a/b"], "--dataset is of --to hub"),
    ],
)
def test_what_is_said_for_another_form_or_cannot_be_is_refused(run, words, said):
    done = CliRunner().invoke(main, ["export", str(run().folder), *words])
    assert done.exit_code == 2 and said in done.output


def test_the_commit_of_a_data_set_is_not_claimed_of_another(run, tmp_path):
    entries, index = write_hub(run(**HUB), tmp_path, HubNames("someone/else"))
    [first, *_] = yaml.safe_load(entries.read_text())
    assert first["dataset"]["id"] == "someone/else" and "revision" not in first["dataset"]
    assert "abc" not in entries.read_text() + index.read_text()


def test_the_hub_needs_the_name_of_a_data_set(run, tmp_path):
    one = run()
    with pytest.raises(UsageError, match="--dataset org/name"):
        write_hub(one, tmp_path)
    entries, _ = write_hub(one, None, HubNames("me/people"))
    assert entries.parent.parent == one.folder / "hub"
    assert yaml.safe_load(entries.read_text())[0]["dataset"]["id"] == "me/people"


# -- trackers --------------------------------------------------------------------------------------

TRACKER = """
    said = []
    def init(**named): said.append(("init", named))
    def log(numbers, step=None): said.append((step, numbers))
    def finish(): said.append(("finish", None))
    class Image:
        def __init__(self, path): self.path = path
"""


@pytest.fixture
def tracker(tmp_path, monkeypatch):
    """A module with the words that wandb and trackio share, in the place of the real one."""

    def put(name: str, text: str = TRACKER) -> None:
        folder = tmp_path / "modules"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, name, raising=False)

    yield put
    for name in TRACKERS:
        sys.modules.pop(name, None)


def cells(folder: Path) -> None:
    """The scores that a map is made of."""
    rows = [
        ("resid", layer, "exact_answer_last", "cell", "validation", "auroc", value, True)
        for layer, value in (("emb", 0.5), ("3", 0.8))
    ]
    names = ["site", "layer", "position", "detector", "split", "metric", "value", "converged"]
    pd.DataFrame(rows, columns=names).to_parquet(folder / "scores.parquet")


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_gets_every_number_with_interval_and_n_and_the_layers(
    run, tracker, name, monkeypatch
):
    monkeypatch.setenv(f"{name.upper()}_PROJECT", "")  # as a shell leaves what is not set
    one = run()
    cells(one.folder)
    (one.folder / "heatmap.png").write_bytes(b"a map")
    tracker(name)
    log_run(one, name)
    first, *steps, last = sys.modules[name].said
    assert first[0] == "init" and first[1]["project"] == "probebench"
    assert first[1]["name"] == "org/model on people"
    assert first[1]["config"]["settings"]["seed"] == 0
    after = one.record.model.n_layers + 1
    assert [step for step, _ in steps] == [0, 4, after] and last[0] == "finish"
    assert [s["layer/validation_auroc"] for _, s in steps[:2]] == [0.5, 0.8]
    numbers = steps[2][1]
    wanted = {"probe/auroc": 0.8, "probe/auroc_low": 0.75, "probe/auroc_high": 0.85}
    assert {key: numbers[key] for key in wanted} == wanted and numbers["probe/auroc_n"] == 300
    assert numbers["map"].path.endswith("heatmap.png")
    assert not any(value is None for value in numbers.values())


def test_a_tracker_that_refuses_says_that_the_run_is_finished(run, tracker, tmp_path):
    one = run()
    cells(one.folder)
    tracker("wandb", "def init(**named): raise ValueError('no key')")
    with pytest.raises(RunError, match=r"is finished, but wandb .*no key.*export .* --to wandb"):
        log_run(one, "wandb")
    with pytest.raises(UsageError, match="gets none"):
        KINDS["wandb"](one, tmp_path, None)


def test_a_tracker_that_refuses_keeps_the_run_from_no_other(run, tracker):
    one = run()
    cells(one.folder)
    tracker("wandb", "def init(**named): raise SystemExit(3)")
    tracker("trackio")
    with pytest.raises(NotLoggedError, match=r"is finished, but wandb .*SystemExit") as refused:
        log_to_all(one, ["wandb", "trackio"])
    assert refused.value.run is one and sys.modules["trackio"].said[-1][0] == "finish"
    log_to_all(one, ["trackio"])


def test_a_run_that_is_not_logged_is_shown_and_the_command_fails(tracker, tmp_path):
    """Its numbers are there; and the same command again says that it does not log them."""
    tracker("wandb", "def init(**named): raise ValueError('no key')")
    words = ["eval", "--model", "tiny", "--task", "people", "--limit", "120", "--layers", "0"]
    words += ["--positions", "-1", "--shuffles", "0", "--skip", "text,p-true,ensembles"]
    words += ["--log-to", "wandb", "--out", str(tmp_path / "run")]
    first, again = (CliRunner().invoke(main, words) for _ in range(2))
    assert first.exit_code == 1 and "no key" in first.stderr and "test AUROC there" in first.stdout
    assert again.exit_code == 0 and "is not logged again" in again.stderr
    assert f"probebench export {tmp_path / 'run'} --to wandb" in again.stderr


def test_a_tracker_that_is_not_there_is_named_before_anything_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr("probebench.models.optional.find_spec", lambda name: None)
    out = tmp_path / "out"
    asked = ["eval", "--model", "tiny", "--task", "people", "--log-to", "wandb", "--out", str(out)]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 2 and "pip install wandb" in done.output
    assert not out.exists()


def test_a_new_run_is_logged_and_one_that_is_found_is_not(run, monkeypatch):
    one, logged = run(), []
    monkeypatch.setattr(pipeline, "log_to_all", lambda run, trackers: logged.extend(trackers))
    asked = SimpleNamespace(options=SimpleNamespace(part=None, log_to=TRACKERS))
    for resumed in (False, True):
        monkeypatch.setattr(
            pipeline, "_run", lambda asked, engine, found=resumed: replace(one, resumed=found)
        )
        pipeline.run_prepared(asked, LocalEngine())
    assert logged == ["trackio", "wandb"]


def test_every_form_can_be_asked_for():
    choices = {p.name: list(p.type.choices) for p in export_command.params if p.name == "kind"}
    assert choices["kind"] == ["probe-card", *KINDS]
    related = next(p for p in export_command.params if p.name == "relationship")
    assert tuple(related.type.choices) == RELATIONSHIPS
