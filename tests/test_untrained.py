"""The control of an untrained model: the same for the same seed, and it reads what stands in the
tokens and no more."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import FAMILIES

import probebench
from probebench.errors import UnknownNameError, UsageError
from probebench.job.options import Options
from probebench.job.place import run_folder
from probebench.models.loading import ModelSpec, find_model
from probebench.models.untrained import check_untrained, untrained
from probebench.progress import Progress
from probebench.stages import engine

WORDS = ["Paris", "river", "poet", "Anna", "letter", "capital", "France", "Smith"]
SETTINGS = {
    "positions": ["exact_answer_last", "-1"],
    "shuffles": 0,
    "skip": ["p-true", "ensembles"],
    "controls": ["random-model"],
}


def weights(loaded):
    return {name: p.clone() for name, p in loaded.model.named_parameters()}


@pytest.mark.parametrize("kind", FAMILIES)
def test_weights_hang_on_the_seed_alone(loaded, kind):
    trained = loaded(kind)
    before = torch.get_rng_state()
    first, again, other = (untrained(trained.handle, seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state()), "nobody else's random numbers are touched"
    a, b, c, t = (weights(m) for m in (first, again, other, trained))
    assert a.keys() == t.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    drawn = [k for k in a if a[k].ndim > 1]
    assert drawn
    assert not any(torch.equal(a[k], c[k]) or torch.equal(a[k], t[k]) for k in drawn)
    assert all(a[k].shape == t[k].shape and a[k].dtype == t[k].dtype for k in a)
    assert type(first.model) is type(trained.model)
    assert not first.model.training


def test_what_cannot_be_drawn_is_refused(model_folder):
    handle = find_model(ModelSpec(str(model_folder()), device="cpu"))
    quantised = dataclasses.replace(
        handle, identity=dataclasses.replace(handle.identity, quantization="gptq-4bit")
    )
    with pytest.raises(UsageError, match=r"quantised weights \(gptq-4bit\)"):
        check_untrained(quantised)
    spread = dataclasses.replace(
        handle, placement=dataclasses.replace(handle.placement, map="auto")
    )
    with pytest.raises(UsageError, match=r"--device-map \(auto\)"):
        untrained(spread, 0)


def test_unknown_controls_are_named():
    spec = ModelSpec("tiny")
    with pytest.raises(UnknownNameError, match="Did you mean 'random-model'"):
        Options(spec, "people", controls=("random_model",)).check()
    with pytest.raises(UsageError, match="exclude each other"):
        Options(spec, answers="a.jsonl", states="somewhere", controls=("random-model",)).check()
    asked = Options(spec, "people", controls=("random-model",))
    assert not asked.overrides, (
        "it adds a row and changes no number, so it stays comparable and finds its finished stages"
    )
    assert run_folder(asked, "people") == run_folder(Options(spec, "people"), "people")


def write(path, label):
    """Answers whose exact answer is one of eight words; `label(i, word)`."""
    rng, rows = np.random.default_rng(0), []
    for i in range(360):
        exact = WORDS[rng.integers(8)]
        rows.append(
            {
                "id": f"a{i}",
                "question": f"Where {rng.integers(99)}?",
                "answer": f" It is {exact} near the {WORDS[i % 8]}",
                "exact_answer": exact,
                "label": int(label(i, exact)),
                "group": f"g{i // 2}",
            }
        )
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def control(run):
    return next(d for d in run.record["detectors"] if d["name"] == "probe_random_model")


@pytest.fixture(scope="module")
def planted(model_folder, tmp_path_factory):
    """A run in which the word itself says whether it is right."""
    folder = tmp_path_factory.mktemp("planted")
    path = write(folder / "answers.jsonl", lambda i, word: WORDS.index(word) < 4)
    return probebench.evaluate(
        str(model_folder()), answers=path, out=folder / "run", **SETTINGS
    ), path


def test_an_untrained_model_reads_which_token_it_is_given(planted):
    run, _ = planted
    d, selected = control(run), run.record["selection"]
    assert d["auroc"] > 0.9
    assert {k: d["detail"][k] for k in ("site", "layer", "position")} == {
        k: selected[k] for k in ("site", "layer", "position")
    }
    assert d["detail"]["seed"] == 0
    best = d["detail"]["best_layer"]
    assert best["position"] == selected["position"]
    assert best["validation_auroc"] >= d["detail"]["validation_auroc"]
    assert best["test_auroc"] > 0.9
    both = run.predictions[lambda t: t.split == "test"].pivot(
        index="id", columns="detector", values="decision"
    )
    assert np.abs(both["probe"] - both["probe_random_model"]).min() > 1e-3, (
        "it is not the trained model that was read"
    )


def test_it_reads_nothing_where_labels_are_noise(model_folder, tmp_path):
    noise = np.random.default_rng(7).permutation(360) % 2
    path = write(tmp_path / "answers.jsonl", lambda i, word: noise[i])
    run = probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run", **SETTINGS)
    d = control(run)
    low, high = d["auroc_95_delong"]
    assert low < 0.5 < high
    assert 0.3 < d["auroc"] < 0.7


def test_the_control_resumes_and_leaves_its_vectors_behind(monkeypatch, planted, model_folder):
    run, path = planted
    assert not list((run.folder / "stages").glob("random-model-states-*"))
    assert len(list((run.folder / "stages").glob("random-model-probes-*"))) == 1
    before = (run.folder / "predictions.parquet").read_bytes()
    (run.folder / "record.json").unlink()
    monkeypatch.setattr(engine, "untrained", lambda *_: pytest.fail("made again"))
    again = probebench.evaluate(str(model_folder()), answers=path, out=run.folder, **SETTINGS)
    assert not again.resumed
    assert (again.folder / "predictions.parquet").read_bytes() == before


def test_an_untrained_model_is_alone_in_memory(monkeypatch):
    held = []
    monkeypatch.setattr(engine, "load_model", lambda handle, **_: ("trained", handle))
    monkeypatch.setattr(engine, "untrained", lambda *given: held.append(set(models._loaded)))
    models, handle, encoder = (
        engine.Models(Progress()),
        SimpleNamespace(key="model"),
        SimpleNamespace(key="encoder"),
    )
    models.get(handle)
    models.get(encoder)
    assert len(models._loaded) == 2, "models of two kinds may be there together"
    models.get(handle, 0)
    assert held == [set()]
    models.get(encoder)
    assert list(models._loaded) == [("encoder", None)]
    assert models.get(handle) == ("trained", handle) and len(models._loaded) == 2


def test_a_run_from_nothing_gives_the_same_bytes(planted, model_folder, tmp_path):
    run, path = planted
    again = probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run", **SETTINGS)
    assert (again.folder / "predictions.parquet").read_bytes() == (
        run.folder / "predictions.parquet"
    ).read_bytes()


def test_main_numbers_do_not_hang_on_the_control(planted, model_folder, tmp_path):
    run, path = planted
    plain = probebench.evaluate(
        str(model_folder()), answers=path, out=tmp_path / "run", **{**SETTINGS, "controls": []}
    )
    with_control = run.predictions[lambda t: t.detector != "probe_random_model"].reset_index(
        drop=True
    )
    assert with_control.equals(plain.predictions)


def test_of_a_given_statement_the_control_is_readable_before(tmp_path):
    path = tmp_path / "statements.csv"
    rows = [
        f"The city of {WORDS[i % 8]}{i} is in "
        f"{WORDS[i % 3]},{i % 2},{WORDS[i % 8]}{i},{WORDS[i % 3]}"
        for i in range(160)
    ]
    path.write_text("\n".join(["statement,label,city,country", *rows]) + "\n")
    run = probebench.evaluate(
        "tiny",
        "cities",
        data=path,
        out=tmp_path / "run",
        shuffles=0,
        positions=["-1"],
        skip=["p-true", "ensembles"],
        controls=["random-model"],
    )
    assert {d["when"] for d in run.record["detectors"]} == {"before"}


def test_the_embedding_of_its_padding_token_may_be_zero(model_folder, tmp_path):
    """Where answers are padded with their end, as SmolLM2's, an untrained model has zeros there for
    every answer."""
    folder = shutil.copytree(model_folder(), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"pad_token_id": config["eos_token_id"]})
    )
    path = write(tmp_path / "answers.jsonl", lambda i, word: WORDS.index(word) < 4)
    run = probebench.evaluate(
        str(folder), answers=path, out=tmp_path / "run", **SETTINGS | {"positions": ["-1"]}
    )
    assert control(run)["detail"]["position"] == "-1"
