"""The embedded model: rebuilt data, honest accuracies, and a map that knows more than the
surface."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import probebench

ROOT = Path(__file__).parent.parent
TINY = ROOT / "probebench" / "tiny"
TASKS = ("people", "places", "north")
BEYOND_SURFACE = ("people", "places")


@pytest.fixture(scope="module")
def world():
    spec = importlib.util.spec_from_file_location("tiny_world", ROOT / "scripts" / "tiny_world.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_world"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Every example of every task; left out is what no test below looks at."""
    folder = tmp_path_factory.mktemp("tiny")
    skip = ("p-true", "text-embedding", "ensembles", "shuffles")
    return {task: probebench.evaluate("tiny", task, out=folder / task, skip=skip) for task in TASKS}


def test_questions_are_made_by_the_code_in_the_repository(world, tmp_path):
    world.write_questions(tmp_path)
    for task in TASKS:
        assert (tmp_path / f"{task}.jsonl").read_bytes() == (TINY / f"{task}.jsonl").read_bytes(), (
            "run scripts/tiny_world.py"
        )


def test_world_is_balanced(world):
    w = world.World()
    by_fame = {}
    for p in w.people:
        by_fame.setdefault(p.fame, []).append(p)
    for people in by_fame.values():
        assert sorted(p.town for p in people) == sorted(w.towns)
        assert sorted(p.trade for p in people) == sorted(w.trades)
    for relation, options in (("river", w.rivers), ("saint", w.saints)):
        for disputed in (True, False):
            truths = [
                p.told[relation][0] for p in w.places if (len(p.told[relation]) > 1) is disputed
            ]
            assert {truths.count(o) for o in options} == {len(truths) // len(options)}


def test_training_never_uses_a_question_of_the_tasks(world):
    import itertools

    w = world.World()
    asked = {i.question for t in TASKS for i in w.questions(t)}
    seen = {i.question for i in itertools.islice(w.stream(0), 60_000)}
    both = asked & seen
    used_on_purpose = {
        i.question
        for i in w.questions("places")
        if i.phrasing not in w.held_out(i.group, i.relation)
    }
    assert both <= used_on_purpose


def test_weights_are_small_and_half_precision():
    from safetensors import safe_open

    path = TINY / "model.safetensors"
    assert path.stat().st_size < 8e6
    with safe_open(path, framework="numpy") as file:
        assert {str(file.get_slice(k).get_dtype()) for k in file.keys()} == {"F16"}  # noqa: SIM118
    assert json.loads((TINY / "training.json").read_text())["seconds"] < 1800


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_those_of_the_leaderboard(runs, task):
    kept = pd.read_parquet(
        ROOT / "leaderboards" / "v2" / "tiny" / task / "decisions.parquet"
    ).set_index("id")["label"]
    found = runs[task].answers.set_index("id")["label"]
    assert found.loc[kept.index].tolist() == kept.tolist()


@pytest.mark.parametrize("task", TASKS)
def test_accuracy_and_answers(runs, task):
    record, answers = runs[task].record, runs[task].answers
    assert record["counts"]["all"]["n"] >= 2000
    assert 0.30 <= record["counts"]["all"]["accuracy"] <= 0.85
    assert record["counts"]["all"]["exact_found"]["all"]["rate"] > 0.99
    assert answers.stopped.mean() > 0.99


@pytest.mark.parametrize("task", TASKS)
def test_all_fifteen_positions_are_different_tokens(runs, task):
    from probebench.states.positions import PUBLISHED, locate
    from probebench.types import TokenizedAnswer

    answers = runs[task].answers.dropna(subset="exact_first")
    tokens = [
        TokenizedAnswer(
            len(a.prompt_ids),
            len(a.prompt_ids) + len(a.answer_ids),
            (int(a.exact_first), int(a.exact_last)),
        )
        for a in answers.itertuples()
    ]
    table = locate(tokens, PUBLISHED)
    distinct = [len(set(row)) for row in table[:, :, 0].tolist()]
    # now and then the model leaves out an answer's second word
    assert np.mean(np.array(distinct) == 15) > 0.99
    assert (table >= 0).all()


def test_no_word_of_doubt_reaches_an_answer(runs):
    text = " ".join(" ".join(run.answers.text) for run in runs.values()).lower()
    for word in ("surely", "maybe", "perhaps", "not sure", "wrong", "probably", "certain"):
        assert word not in text


@pytest.mark.parametrize("task", BEYOND_SURFACE)
def test_the_map_knows_more_than_the_surface(runs, task):
    record = runs[task].record
    rows = {d["name"]: d for d in record["detectors"]}
    assert record["selection"]["layer"] != "emb"
    assert record["selection"]["test_auroc"] >= 0.70
    for surface in ("text", "text_question", "text_answer", "probe_emb"):
        assert rows[surface]["probe_minus_this_95"][0] > 0, surface


@pytest.mark.parametrize("task", TASKS)
def test_shuffled_labels_give_one_half(runs, task):
    control = runs[task].record["controls"]["shuffled_labels"]
    assert control["repeats"] == 20
    assert abs(control["mean_auroc"] - 0.5) < 3 * control["sd"] / np.sqrt(20)
