"""What a model is given is scored in the pass that reads its hidden states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.job.preview.costs import costs
from probebench.models.blocks.sites import base_of
from probebench.models.loading import ModelSpec
from probebench.models.passes.live_bytes import LiveBytes
from probebench.models.passes.scored import score_answers
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.labelled import labelled_answers
from probebench.stages.stage import LocalRunner
from probebench.stages.states import hidden_states
from probebench.states.exchange.verify import verify


@pytest.fixture(scope="module")
def statements(tmp_path_factory):
    """Sixty statements of different lengths, true and false by turns."""
    path = tmp_path_factory.mktemp("own") / "own.csv"
    rows = [
        f"Lake {i} lies in the {'very ' * (i % 7)}old land {i}.,{i % 2},L{i}" for i in range(60)
    ]
    path.write_text("\n".join(["statement,label,city", *rows]))
    return path


def plan_of(statements, folder, **options):
    spec = ModelSpec("tiny", device="cpu")
    return prepare(Options(spec, "cities", data=str(statements), out=str(folder), **options)).plan


def read(plan, models=None):
    runner = LocalRunner(plan.folder, Progress(), models or Models(Progress()))
    answers, states = hidden_states(plan, runner, labelled_answers(plan, runner))
    return answers, states, runner


def scores_of(answers):
    return [np.stack([a.answer.logprobs, a.answer.logits, a.answer.entropies]) for a in answers]


@pytest.mark.parametrize("batching", ["default", "exact"])
def test_statements_are_scored_where_they_are_read(statements, tmp_path, batching):
    plan = plan_of(statements, tmp_path / "run", batching=batching, positions=("-1",))
    models, passed = Models(Progress()), []
    loaded = models.get(plan.handle)
    hook = (
        base_of(loaded.model)
        .layers[0]
        .register_forward_pre_hook(lambda module, args: passed.append(module))
    )
    before = labelled_answers(plan, LocalRunner(plan.folder, Progress(), models))
    assert not any(len(a.answer.logprobs) for a in before)
    assert not passed
    answers, states, _ = read(plan, models)
    hook.remove()
    # what batches change is measured on 32: together, and each alone
    assert len(passed) == (len(answers) + 64 if batching == "exact" else 1 + 33)
    assert [a.tokens for a in answers] == [a.tokens for a in before]
    pairs = [(a.answer.prompt_ids, a.answer.answer_ids) for a in answers]
    for found, expected in zip(scores_of(answers), score_answers(loaded, pairs), strict=True):
        np.testing.assert_allclose(found, np.stack(expected), atol=1e-4)
    assert all(check.ok for check in verify(states.folder))
    assert not list(plan.folder.glob("stages/score-*"))


def test_what_was_read_and_scored_is_found_again(statements, tmp_path, monkeypatch):
    monkeypatch.setattr("probebench.states.extract.SHARD", 16)
    plan = plan_of(statements, tmp_path / "run", positions=("-1",))
    first, states, _ = read(plan)
    shards = sorted(states.folder.glob("0*.safetensors"))
    kept = [p.read_bytes() for p in shards]
    assert len(kept) == 4
    shards[1].write_bytes(kept[1][:-1])  # torn by a kill
    again, _, runner = read(plan)
    assert runner.progress.done == {"Reading hidden states": 16}
    assert [p.read_bytes() for p in shards] == kept
    for a, b in zip(scores_of(first), scores_of(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_given_states_leave_the_scores_to_a_pass_of_their_own(statements, tmp_path):
    first, states, _ = read(plan_of(statements, tmp_path / "first", positions=("-1",)))
    plan = plan_of(statements, tmp_path / "second", positions=("-1",))
    plan = replace(plan, reading=replace(plan.reading, given=str(states.folder)))
    second, _, runner = read(plan)
    assert "Scoring answers" in runner.progress.done
    for a, b in zip(scores_of(first), scores_of(second), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_dry_run_says_bytes_and_memory_of_both(statements, tmp_path):
    plan = plan_of(statements, tmp_path / "run")
    said, models = costs(plan), Models(Progress())
    models.get(plan.handle)
    with LiveBytes() as live:
        _, states, _ = read(plan, models)
    assert said.disk == sum(p.stat().st_size for p in states.folder.glob("0*.safetensors"))
    assert said.memory.largest == pytest.approx(live.peak, rel=0.2)
    assert "scores" not in said.seconds
