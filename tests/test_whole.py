"""Probes over all tokens of an answer: how they pool, are trained, and what they read."""

import shutil
import weakref
from functools import partial

import numpy as np
import pytest
import torch

import probebench
from probebench.across.listing import freeable, runs_under
from probebench.detectors.whole import nets, pooled, training
from probebench.detectors.whole.training import Recipe, Standardised, Trained, train
from probebench.errors import RunError
from probebench.metrics.auroc import auroc
from probebench.stages.whole import tokens
from probebench.stages.whole.tokens import Ragged, kept_layers

N, WIDTH = 240, 12
ROWS = {"train": np.arange(140), "validation": np.arange(140, 190), "test": np.arange(190, N)}
SIZES = np.random.default_rng(1).integers(1, 14, N)
Y = np.random.default_rng(2).integers(0, 2, N)


def planted(strength=8.0):
    """One token of each answer, wherever it stands, says whether it is right."""
    rng = np.random.default_rng(0)
    X, ends = rng.normal(size=(SIZES.sum(), WIDTH)), np.cumsum(SIZES)
    at = ends - 1 - rng.integers(0, SIZES)
    X[at, 3] += strength * Y
    return Ragged(X.astype(np.float16), ends)


# -- which layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "selected", "kept"),
    [
        (32, 10, (7, 10, 15, 23, 31)),
        (32, 15, (7, 15, 23, 31)),
        (2, -1, (0, 1)),
        (1, 0, (0,)),
        (30, 3, (3, 7, 14, 21, 29)),
    ],
)
def test_four_layers_spread_over_the_depth_and_the_selected_one(n, selected, kept):
    found = kept_layers(n, selected)
    assert len(found) <= 5 and found[-1] == n - 1 and (selected in found or selected < 0)
    assert found == kept


# -- how they pool, against sums written out -------------------------------------------------------


def softmax(x):
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)


def rolled(scores, values, window):
    """(head,) the largest weighted mean over whole windows, one by one."""
    starts = range(max(len(values) - window, 0) + 1)
    parts = [slice(i, i + window) for i in starts]
    return np.max([(softmax(scores[p]) * values[p]).sum(axis=0) for p in parts], axis=0)


def by_hand(name, net, x, window):
    """The logit of one answer (token, width), from the weights of its network, in double
    precision."""
    w = {k: t.detach().double().numpy() for k, t in net.parts.state_dict().items()}
    if name == "attention_probe":
        values = x @ w["1.weight"].T + w["1.bias"]
        return float((softmax(x @ w["0.weight"].T) * values).sum())
    if name in ("softmax_probe", "rolling_mean_probe"):
        z = x @ w["weight"].T + w["bias"]
        if name == "softmax_probe":
            return float((softmax(z / 5) * z).sum())
        return float(rolled(np.zeros_like(z), z, window).sum())
    y = np.maximum(x @ w["0.0.weight"].T + w["0.0.bias"], 0) @ w["0.2.weight"].T + w["0.2.bias"]
    if name == "multimax_probe":
        return float((y @ w["1.weight"].T).max(axis=0).sum())
    return float(rolled(y @ w["1.weight"].T, y @ w["2.weight"].T, window).sum())


@pytest.mark.parametrize(
    ("name", "window"), [(k.name, w) for k in pooled.KINDS for w in k.windows], ids=str
)
def test_networks_are_those_of_their_papers(name, window):
    torch.manual_seed(0)
    net, data = pooled._make(name, WIDTH, window), planted()
    take = Standardised(data, ROWS)
    with torch.inference_mode():
        found = net.logits(*take(torch.arange(N))).numpy()
    X = data.values.astype(np.float64)
    first = data.ends - data.sizes
    own = np.concatenate([X[first[i] : data.ends[i]] for i in ROWS["train"]])
    for i in range(0, N, 7):
        x = (X[first[i] : data.ends[i]] - own.mean(axis=0)) / own.std(axis=0)
        assert found[i] == pytest.approx(by_hand(name, net, x, window), abs=2e-4)


# -- how they are trained --------------------------------------------------------------------------

FAST = Recipe(optimizer="adamw", rate=5e-2, last_rate=1e-3, decay=1e-3, batch=32, epochs=40)


@pytest.mark.parametrize("name", ["attention_probe", "multimax_probe"])
def test_one_telling_token_is_found(name):
    data = Standardised(planted(), ROWS)
    found = train(partial(pooled._make, name, WIDTH, None), data, Y, FAST, seed=0)
    test = ROWS["test"]
    assert auroc(Y[test], found.decisions[test]) > 0.95
    held = ROWS["validation"]
    assert found.validation_auroc == auroc(Y[held], found.decisions[held])


def test_the_seed_decides_and_nothing_else():
    data, make = Standardised(planted(1.0), ROWS), partial(nets.multimax_probe, WIDTH)
    recipe = Recipe(optimizer="adam", rate=1e-3, decay=0.0, batch=32, steps=20)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train(make, data, Y, recipe, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = train(make, data, Y, recipe, seed=1)
    np.testing.assert_array_equal(first.decisions, again.decisions)
    other = train(make, data, Y, recipe, seed=2)
    assert np.abs(first.decisions - other.decisions).max() > 1e-3


def test_labels_of_test_change_nothing():
    data, make = Standardised(planted(1.0), ROWS), partial(nets.attention_probe, WIDTH)
    flipped = Y.copy()
    flipped[ROWS["test"]] ^= 1
    first, second = (train(make, data, y, FAST, seed=0) for y in (Y, flipped))
    np.testing.assert_array_equal(first.decisions, second.decisions)


def test_training_stops_and_keeps_its_best_epoch():
    noise = Standardised(planted(0.0), ROWS)
    short = Recipe(optimizer="adamw", rate=5e-2, decay=0.0, batch=32, epochs=1)
    make = partial(nets.attention_probe, WIDTH)
    long = Recipe(optimizer="adamw", rate=5e-2, decay=0.0, batch=32, epochs=60, patience=3)
    one, many = (train(make, noise, Y, recipe, seed=0) for recipe in (short, long))
    assert many.epoch < 20
    if many.epoch == 1:
        np.testing.assert_array_equal(one.decisions, many.decisions)
    held = ROWS["validation"]

    def loss(found):
        z = found.decisions[held]
        return np.mean(np.log1p(np.exp(-z * (2 * Y[held] - 1))))

    assert loss(many) <= loss(one) + 1e-12


def test_a_loss_that_is_no_number_is_no_result():
    recipe = Recipe(optimizer="adamw", rate=float("inf"), decay=0.0, batch=32, epochs=2)
    make, data = partial(nets.attention_probe, WIDTH), Standardised(planted(), ROWS)
    said = "finite loss on validation, and after none of 2 epochs"
    with np.errstate(invalid="ignore"), pytest.raises(RunError, match=said):
        train(make, data, Y, recipe, seed=0)


def test_tokens_are_scaled_without_a_second_copy_of_them(monkeypatch):
    monkeypatch.setattr(training, "MANY", 10)
    raw, alive, most = Standardised._raw, [], []

    class Seen:
        """A batch that notes how many others of its tokens there are."""

        def __init__(self, X):
            self.X = X

        def __getitem__(self, there):
            found = self.X[there].double()  # in which precision sums are made
            alive.append(weakref.ref(found))
            most.append(sum(own() is not None for own in alive))
            return found

    monkeypatch.setattr(
        Standardised, "_raw", lambda self, rows: (Seen((x := raw(self, rows))[0]), x[1])
    )
    data = planted()
    scaled = Standardised(data, ROWS)
    assert len(most) == 2 * 14 and max(most) <= 2
    own = data.values[: data.ends[ROWS["train"][-1]]].astype(np.float64)
    np.testing.assert_allclose(scaled.centre, own.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(scaled.spread, own.std(axis=0), rtol=1e-5)


# -- which tokens they read ------------------------------------------------------------------------

SETTINGS = {
    "positions": ["-1"],
    "layers": [0],
    "shuffles": 0,
    "skip": ["text", "p-true", "ensembles"],
    "detectors": ["pooled-probes"],
}


@pytest.fixture
def seen(monkeypatch):
    """What would be trained on: layer by layer, in place of any training."""
    found = []

    def noted(make, data, y, recipe, seed):
        if not found or found[-1][0] is not data:
            found.append((data, y))
        return Trained(np.linspace(0, 1, len(y)), 1, 0.5 + 0.01 * len(found))

    monkeypatch.setattr(pooled, "train", noted)
    return found


def test_every_token_of_every_answer_is_read_and_then_deleted_or_kept(
    seen, monkeypatch, loaded, model_folder, answers_file, tmp_path
):
    monkeypatch.setattr(tokens, "SHARD_TOKENS", 400)
    monkeypatch.setattr(tokens, "LONGEST", 12)
    run = probebench.evaluate(
        str(model_folder()), answers=answers_file(60), out=tmp_path / "run", **SETTINGS
    )
    model, answers = loaded("llama"), run.answers.to_dict("records")
    assert len(seen) == 3  # blocks
    for layer, (data, y) in enumerate(seen):
        values, at = data.values.float().numpy(), data.first.tolist()
        assert y.tolist() == [a["label"] for a in answers]
        for i, a in enumerate(answers[:20]):
            ids = [*a["prompt_ids"], *a["answer_ids"]]
            with torch.inference_mode():
                out = model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
            n = min(len(a["answer_ids"]) - a["stopped"], 12)
            end = len(ids) - a["stopped"]
            assert int(data.sizes[i]) == n
            if layer < 2:  # the last entry of hidden_states is after the final norm
                expected = out[layer + 1][0, end - n : end].numpy()
                np.testing.assert_allclose(
                    values[at[i] : at[i] + n], expected, rtol=2e-2, atol=0.05
                )
    assert not list(run.folder.rglob("tokens*")), "deleted once all are trained"
    kept = probebench.evaluate(
        str(model_folder()),
        answers=tmp_path / "answers.jsonl",
        out=tmp_path / "kept",
        keep_tokens=True,
        **SETTINGS,
    )
    assert len(list(kept.folder.rglob("tokens*/*.safetensors"))) > 1, "in bounded shards"
    rows = {d["name"]: d for d in run.record["detectors"] if d["kind"] == "method"}
    assert set(rows) == {k.name for k in pooled.KINDS}
    assert rows["multimax_probe"]["detail"]["layer"] == 2, "the best on validation"
    assert rows["rolling_mean_probe"]["detail"]["window"] == 1


def test_kept_tokens_are_named_spared_and_made_again(seen, model_folder, answers_file, tmp_path):
    def evaluated(**more):
        out, path = tmp_path / "run", answers_file(60)
        return probebench.evaluate(str(model_folder()), answers=path, out=out, **SETTINGS, **more)

    def places(run):
        return {d.detail.get("kept_tokens") for d in run.record.detectors if d.kind == "method"}

    assert places(evaluated()) == {None}
    run = evaluated(keep_tokens=True)
    assert not run.resumed, "the run without them is not all that was asked for"
    (place,) = places(run)
    assert list((run.folder / place).glob("*.safetensors"))
    assert evaluated(keep_tokens=True).resumed
    assert evaluated().resumed
    freed = {own.place for own in freeable(runs_under(run.folder))}
    assert freed and not freed & {run.folder / place, run.folder / run.record.states}
    assert run.folder / place in {
        own.place for own in freeable(runs_under(run.folder), states=True)
    }
    shutil.rmtree(run.folder / place)
    again = evaluated(keep_tokens=True)
    assert not again.resumed and (run.folder / place).is_dir()


def test_a_failure_leaves_no_tokens_behind(monkeypatch, model_folder, answers_file, tmp_path):
    def failing(*_):
        raise RunError("no such thing.")

    monkeypatch.setattr(pooled, "train", failing)
    run = probebench.evaluate(
        str(model_folder()), answers=answers_file(60), out=tmp_path / "run", **SETTINGS
    )
    assert "no such thing" in run.record["comparison"]["absent"]["softmax_probe"]
    assert not list(run.folder.rglob("tokens*"))


def test_a_run_trains_them_the_same_again(monkeypatch, model_folder, answers_file, tmp_path):
    brief = Recipe(optimizer="adamw", rate=1e-3, decay=0.0, batch=64, epochs=2)
    kinds = [k for k in pooled.KINDS if k.name in ("attention_probe", "multimax_probe")]
    monkeypatch.setattr(
        pooled,
        "KINDS",
        [type(k)(**{f: getattr(k, f) for f in k.__slots__} | {"recipe": brief}) for k in kinds],
    )
    path, found = answers_file(80), []
    for name in ("one", "two"):
        run = probebench.evaluate(
            str(model_folder()), answers=path, out=tmp_path / name, **SETTINGS
        )
        own = run.predictions[lambda t: t.detector == "multimax_probe"]
        found.append(own.decision.to_numpy())
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).all() and np.ptp(found[0]) > 0
