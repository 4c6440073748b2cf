"""A model that is spread over devices is held against the same model in one piece."""

import json
from dataclasses import replace

import pytest
import torch

import probebench
from probebench.engines import mapped
from probebench.engines.mapped import Mapped, map_facts
from probebench.errors import StatesError
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.stage import LocalRunner

pytest.importorskip("accelerate")
CPU = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "model.rotary_emb"]
WHERE = {**dict.fromkeys([*CPU, "lm_head"], "cpu"), "model.layers.2": "disk"}
PROMPTS = ((7,), (5, 9, 17, 30, 8, 11, 60, 7))


@pytest.fixture
def spread(model_folder, tmp_path):
    """A model with its last block on the disk, and a runner."""
    handle = find_model(ModelSpec(str(model_folder()), device_map=json.dumps(WHERE)))
    return handle, LocalRunner(tmp_path, Progress(), Models(Progress()))


def test_a_sound_map_gives_the_same_log_probabilities_and_is_checked_once(spread, monkeypatch):
    handle, runner = spread
    found = map_facts(handle, PROMPTS, runner)
    assert found == {"tokens": 7, "logprob_gap": pytest.approx(0, abs=1e-4), "why": None}
    monkeypatch.setattr(Mapped, "compute", None)
    assert map_facts(handle, PROMPTS, runner) == found
    assert map_facts(find_model(replace(handle.spec, device_map=None)), PROMPTS, runner) is None


def test_a_block_that_gets_other_weights_is_found(spread, monkeypatch):
    """As where a weight did not come to its device: finite numbers, and nothing raised."""
    handle, runner = spread

    def broken(handle, offline=False):
        loaded = load_model(handle, offline=offline)
        if handle.placement.map is not None:
            with torch.no_grad():
                loaded.model.model.layers[0].self_attn.o_proj.weight.zero_()
        return loaded

    monkeypatch.setattr("probebench.stages.engine.load_model", broken)
    with pytest.raises(StatesError, match="do not|does not get to its device"):
        map_facts(handle, PROMPTS, runner)
    monkeypatch.setattr(
        Mapped, "_scores", lambda self, loaded: torch.full((7,), float("nan")).numpy()
    )
    with pytest.raises(StatesError, match="lie nan from"):
        map_facts(handle, PROMPTS, runner)


def test_what_cannot_be_checked_says_why(spread, monkeypatch):
    handle, runner = spread
    monkeypatch.setattr(mapped, "host_free", lambda: 1000)
    found = map_facts(handle, PROMPTS, runner)
    assert found["logprob_gap"] is None
    assert "do not fit beside what is in memory" in found["why"]


def test_a_mapped_run_says_in_its_record_how_far_it_was(tmp_path):
    more = {"limit": 120, "layers": (0,), "positions": ("-1",), "shuffles": 0}
    run = probebench.evaluate(
        "tiny", "people", out=tmp_path, device_map='{"": "cpu"}', skip=("p-true",), **more
    )
    assert run.record.generation.mapped.logprob_gap == 0.0
    assert not warned(run.record)


def warned(record):
    return [w for w in record.warnings if "fit together (--device-map) was not checked" in w]


def test_a_map_that_could_not_be_checked_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "host_free", lambda: 1000)
    more = {"limit": 120, "layers": (0,), "positions": ("-1",), "shuffles": 0}
    run = probebench.evaluate(
        "tiny", "people", out=tmp_path, device_map='{"": "cpu"}', skip=("p-true",), **more
    )
    assert len(warned(run.record)) == 1 and "do not fit beside" in warned(run.record)[0]
