"""Methods on the states of the answer: each against a small computation written another way, on
vectors with planted signals, and in a run."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from planted import Vectors as Held
from scipy.optimize import minimize
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

import probebench
from probebench.detectors.registry import Missing
from probebench.detectors.stored import asked, directions, haloscope, network, saplma, ttpd
from probebench.detectors.stored.asked import Shown
from probebench.detectors.stored.vectors import best, last_token
from probebench.errors import RunError
from probebench.metrics.auroc import auroc
from probebench.probes.labels import Labels
from probebench.tasks.prompts import encode_prompt, short_question
from probebench.types import EMB

N, WIDTH, LAYERS = 300, 10, 4
SPLITS = ("train",) * 200 + ("validation",) * 50 + ("test",) * 50
TRAIN, TEST = np.arange(200), np.arange(250, 300)
Y = np.random.default_rng(0).integers(0, 2, N)


def planted(strength=1.5, layer=2, seed=1, axis=0):
    """(layer, example, width) noise, with the label along one axis of one layer."""
    X = np.random.default_rng(seed).standard_normal((LAYERS, N, WIDTH)).astype(np.float32)
    X[layer, :, axis] += strength * (2 * Y - 1)
    return X


def made(X, *, stopped=None, before=None, statements=False, fields=None, there=None):
    """What a run knows, as far as these methods look at it: `X` at the last token."""
    stopped = np.zeros(N, dtype=bool) if stopped is None else stopped
    names = ("statement_last",) if statements else ("-1", "-2")
    fields = fields or [{}] * N
    answers = [
        SimpleNamespace(
            answer=SimpleNamespace(stopped=bool(s), answer_ids=(5,) * 3),
            example=SimpleNamespace(fields=f),
            split=split,
        )
        for s, f, split in zip(stopped, fields, SPLITS, strict=True)
    ]
    present = np.ones((N, len(names)), dtype=bool) if there is None else there
    last, second = (
        Held({("resid", k): part[k] for k in range(LAYERS)}, present, names)
        for part in (X, X if before is None else before)
    )
    reader = SimpleNamespace(
        positions=names,
        sites=last.sites,
        site=last.site,
        there=last.there,
        cell=lambda layer, name: (second if name == "-2" else last).cell(layer, name),
    )
    plan = SimpleNamespace(
        seed=0,
        fitting=SimpleNamespace(device=None),
        handle=SimpleNamespace(identity=SimpleNamespace(n_layers=LAYERS)),
    )
    return SimpleNamespace(
        answers=answers,
        states=SimpleNamespace(reader=reader),
        labels=Labels(Y, SPLITS),
        statements=statements,
        plan=plan,
    )


def only(found):
    (scores,) = found
    return scores


# -- the token that is read ------------------------------------------------------------------------


def test_the_stop_token_is_no_token_of_the_answer():
    X, before, stopped = planted(), planted(seed=2), np.arange(N) % 3 == 0
    found = last_token(made(X, before=before, stopped=stopped)).layer(1)
    np.testing.assert_array_equal(found, np.where(stopped[:, None], before[1], X[1]))
    stated = last_token(made(X, statements=True)).layer(1)
    np.testing.assert_array_equal(stated, X[1])


def test_an_answer_without_a_word_has_no_score():
    data = made(planted(), stopped=np.ones(N, dtype=bool))
    data.answers[-1].answer.answer_ids = (5,)
    found = only(saplma.mind(data, None)).decisions
    assert np.flatnonzero(np.isnan(found)).tolist() == [N - 1]


def test_an_answer_whose_token_is_absent_has_no_vector():
    stopped, there = np.arange(N) % 3 == 0, np.ones((N, 2), dtype=bool)
    there[3, 1] = there[4, 0] = there[5, 1] = there[6, 0] = False  # -1, -2; 3 and 6 stopped
    found = last_token(made(planted(), stopped=stopped, there=there))
    assert sorted(set(range(N)) - set(found.places.tolist())) == [3, 4]


def test_what_was_not_read_is_a_reason():
    data = made(planted())
    data.states.reader.positions = ("-1",)
    with pytest.raises(RunError, match="needs the position -2"):
        last_token(data)
    data = made(planted())
    data.plan.handle.identity.n_layers = LAYERS + 1
    with pytest.raises(RunError, match="needs layer 4, which was not read"):
        only(saplma.mind(data, None))


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({("mlp", 0)}, "needs the site resid, and only mlp was read: add resid to --sites"),
        ({("resid", EMB)}, "needs a block, .* name one in --layers"),
    ],
)
def test_without_a_block_the_reason_says_what_to_add(held, reason):
    data = made(planted())
    reader = Held({key: np.zeros((N, WIDTH)) for key in held}, np.ones((N, 2), bool), ("-1", "-2"))
    data.states.reader = reader
    with pytest.raises(RunError, match=reason):
        only(saplma.saplma(data, None))


def test_a_reason_names_what_was_found(monkeypatch):
    data = made(planted())
    with pytest.raises(RunError, match="none of 2 fits gave that. Leave it out of --detectors"):
        best(last_token(data), (((k,), np.full(N, np.nan)) for k in range(2)))
    data.plan.handle.max_length = 5
    monkeypatch.setattr(asked, "shown", lambda plan, a: Shown("q", "a"))
    with pytest.raises(RunError, match="context of 5 tokens once more; the shortest text takes 7"):
        asked.asked_vectors(data, None, lambda text: [(1,) * 7, (1,) * 6], (0,))
    monkeypatch.setattr(asked, "shown", lambda plan, a: None)
    with pytest.raises(RunError, match="needs an answer with a word"):
        asked.asked_vectors(data, None, lambda text: [(1,) * 7], (0,))


# -- networks --------------------------------------------------------------------------------------


def by_hand(X, y, train, recipe, seed):
    """The same network with gradients written out, in double precision."""
    own = torch.Generator().manual_seed(seed)
    centre = X[train].mean(axis=0)
    X = (X - centre) / np.sqrt(np.mean((X[train] - centre) ** 2))
    params = []
    for pair in network.initial(X.shape[1], recipe, own, torch.device("cpu")):
        params += [t.detach().double().numpy().copy() for t in pair]
    first, second = ([np.zeros_like(p) for p in params] for _ in range(2))
    weight = np.where(y == 1, 1 - y.mean(), y.mean()) if recipe.balanced else np.ones(len(y))
    step = 0
    for epoch in range(1, recipe.epochs + 1):
        rate = recipe.rate
        if recipe.momentum is not None:
            low = rate * 0.2**3
            rate = low + (rate - low) * (1 + np.cos(np.pi * epoch / recipe.epochs)) / 2
        for part in torch.randperm(len(train), generator=own).split(recipe.batch):
            at = part.numpy()
            seen = [X[train[at]]]
            if recipe.dropout:
                kept = torch.rand(seen[0].shape, generator=own).numpy() >= recipe.dropout
                seen[0] = seen[0] * kept / (1 - recipe.dropout)
            for k in range(0, len(params) - 2, 2):
                seen.append(np.maximum(seen[-1] @ params[k] + params[k + 1], 0))
            p = 1 / (1 + np.exp(-(seen[-1] @ params[-2] + params[-1])[:, 0]))
            back = (weight[at] * (p - y[at]) / weight[at].sum())[:, None]
            step += 1
            for k in range(len(params) - 2, -1, -2):
                grads = [seen[k // 2].T @ back + recipe.decay * params[k], back.sum(axis=0)]
                back = (back @ params[k].T) * (seen[k // 2] > 0)
                for i, g in zip((k, k + 1), grads, strict=True):
                    if recipe.momentum is None:
                        first[i] = 0.9 * first[i] + 0.1 * g
                        second[i] = 0.999 * second[i] + 0.001 * g**2
                        size = np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8
                        params[i] = params[i] - rate * first[i] / (1 - 0.9**step) / size
                    else:
                        first[i] = recipe.momentum * first[i] + g
                        params[i] = params[i] - rate * first[i]
    for k in range(0, len(params) - 2, 2):
        X = np.maximum(X @ params[k] + params[k + 1], 0)
    return (X @ params[-2] + params[-1])[:, 0]


@pytest.mark.parametrize(
    "recipe",
    [
        network.Recipe(hidden=(8, 4), epochs=3, batch=32, rate=1e-2),
        network.Recipe(hidden=(8,), epochs=3, batch=64, rate=0.05, momentum=0.9, decay=3e-3),
        network.Recipe(hidden=(8, 4), epochs=2, batch=32, rate=1e-2, dropout=0.2, balanced=True),
    ],
)
def test_a_network_is_trained_as_by_hand(recipe):
    X = planted()[2] * 40 + 7
    found = network.last_epoch(X, Y[TRAIN], TRAIN, recipe, 3)
    np.testing.assert_allclose(found, by_hand(X, Y[TRAIN], TRAIN, recipe, 3), atol=2e-4)
    assert np.ptp(found) > 0.1
    again = network.last_epoch(X, Y[TRAIN], TRAIN, recipe, 3)
    np.testing.assert_array_equal(found, again)


def test_depths_of_the_paper():
    assert saplma.nearest(range(32), 32) == [15, 19, 23, 27, 31]
    assert saplma.nearest(range(12), 12) == [5, 6, 8, 9, 11]
    assert saplma.nearest([0, 5], 12) == [5]


@pytest.mark.parametrize("method", [saplma.saplma, haloscope.haloscope])
def test_the_planted_layer_is_found(method):
    found = only(method(made(planted(4.0)), None))
    assert found.detail["layer"] == 2
    assert auroc(Y[TEST], found.decisions[TEST]) > 0.9


@pytest.mark.parametrize("method", [saplma.mind, haloscope.haloscope, ttpd.ttpd])
def test_test_labels_decide_nothing(method, monkeypatch):
    first = [s for s in method(made(planted(layer=3)), None) if not isinstance(s, Missing)]
    monkeypatch.setattr(f"{__name__}.Y", np.r_[Y[:250], 1 - Y[250:]])
    X = np.random.default_rng(1).standard_normal((LAYERS, N, WIDTH)).astype(np.float32)
    X[3, :, 0] += 1.5 * np.r_[2 * Y[:250] - 1, 1 - 2 * Y[250:]]
    second = [s for s in method(made(X), None) if not isinstance(s, Missing)]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.decisions, b.decisions)


# -- HaloScope -------------------------------------------------------------------------------------


def test_membership_is_that_of_a_whole_decomposition():
    X = planted()[1] + 3
    found = haloscope.membership(X, TRAIN)
    centred = X - X[TRAIN].astype(float).mean(axis=0)
    _, sizes, rows = np.linalg.svd(centred[TRAIN])
    for i in (0, 17, 290):
        for k in (1, 4, 9):
            due = sum(sizes[j] * (centred[i] @ rows[j]) ** 2 for j in range(k)) / k
            assert found[k - 1, i] == pytest.approx(due, rel=1e-5)


# -- LAT and CCS -----------------------------------------------------------------------------------


def test_the_direction_of_differences_is_a_principal_component():
    X = planted(6.0)[2]
    found = directions.along_differences(X, TRAIN, 5)
    order = np.random.default_rng(5).permutation(TRAIN)
    axis = PCA(1).fit(X[order[:100]] - X[order[100:]]).components_[0]
    due = X @ axis
    assert abs(np.corrcoef(found, due)[0, 1]) == pytest.approx(1, abs=1e-5)
    assert max(auroc(Y, found), auroc(Y, -found)) > 0.95


def contrast():
    """(example, width) vectors of Yes and of No after the same text, as they are read."""
    rng = np.random.default_rng(4)
    truth = (2 * Y - 1)[:, None] * np.eye(WIDTH)[0]
    common = rng.standard_normal((N, WIDTH))
    word = 5 * np.eye(WIDTH)[1]
    yes, no = (common + s * (2 * truth + word) for s in (1, -1))
    return [directions.standardised(X.astype(np.float32), TRAIN) for X in (yes, no)]


def test_the_consistent_probe_has_the_least_loss():
    yes, no = contrast()
    found = directions.consistent(yes, no, TRAIN, 0)

    def sides(w):
        return [1 / (1 + np.exp(-(X @ w[:-1] + w[-1]))) for X in (yes, no)]

    def loss(w):
        p, q = (side[TRAIN] for side in sides(w))
        penalty = 1e-4 * w @ w  # the least loss is nought where classes are apart
        return np.mean((p + q - 1) ** 2 + np.minimum(p, q) ** 2) + penalty

    starts = np.random.default_rng(9).standard_normal((10, WIDTH + 1))
    least = min((minimize(loss, w) for w in starts), key=lambda r: r.fun)
    p, q = sides(least.x)
    assert abs(np.corrcoef(found, (p + 1 - q) / 2)[0, 1]) > 0.98
    assert max(auroc(Y[TEST], found[TEST]), auroc(Y[TEST], -found[TEST])) > 0.95


def test_the_probe_with_the_least_loss_is_taken(monkeypatch):
    monkeypatch.setattr(directions, "STEPS", 0)
    yes, no = contrast()
    found = directions.consistent(yes, no, TRAIN, 3)
    first = torch.rand((WIDTH + 1, 10), generator=torch.Generator().manual_seed(3)).numpy()
    w = (2 * first - 1) / np.sqrt(WIDTH)
    p, q = (1 / (1 + np.exp(-(X @ w[:-1] + w[-1]))) for X in (yes, no))
    loss = ((p + q - 1) ** 2 + np.minimum(p, q) ** 2)[TRAIN].mean(axis=0)
    due = ((p + 1 - q) / 2)[:, loss.argmin()]
    np.testing.assert_allclose(found, due, atol=1e-5)


def test_losses_of_known_probabilities():
    p, q = torch.tensor([[0.9], [0.5]]), torch.tensor([[0.2], [0.5]])
    found = directions.losses(p, q)
    assert found.item() == pytest.approx((0.1**2 + 0.2**2 + 0 + 0.25) / 2)


# -- TTPD ------------------------------------------------------------------------------------------


def with_polarity():
    """Truth along one axis, truth times polarity along a second, polarity along a third."""
    rng = np.random.default_rng(7)
    sign, truth = rng.choice([-1, 1], N), 2 * Y - 1
    X = rng.standard_normal((LAYERS, N, WIDTH)).astype(np.float32)
    X[1, :, 0] += 1.5 * truth
    X[1, :, 1] += 5 * truth * sign
    X[1, :, 2] += 3 * sign
    return X, sign


def test_both_directions_of_truth():
    X, sign = with_polarity()
    words = ["affirmative" if s > 0 else "negated" for s in sign]
    data = made(X, statements=True, fields=[{"polarity": w} for w in words])
    both, alone = ttpd.ttpd(data, None)
    assert both.detail["layer"] == 1
    assert auroc(Y[TEST], both.decisions[TEST]) > 0.9
    assert auroc(Y[TEST], both.decisions[TEST]) > auroc(Y[TEST], alone.decisions[TEST])
    # written out: normal equations, one regression for polarity and one for truth
    own, truth = X[1].astype(float), 2.0 * Y - 1
    A = np.stack([truth, truth * sign], axis=1)[TRAIN]
    t = np.linalg.inv(A.T @ A) @ A.T @ (own - own[TRAIN].mean(axis=0))[TRAIN]
    scale = np.sqrt(np.mean((own - own[TRAIN].mean(axis=0))[TRAIN] ** 2))
    polar = LogisticRegression(C=1.0 / scale**2, tol=1e-8, max_iter=5000)
    axis = polar.fit(own[TRAIN], sign[TRAIN]).coef_[0]
    seen = np.stack([own @ t[0], own @ axis / 10], axis=1)
    fit = LogisticRegression(C=1e8, max_iter=5000, tol=1e-8).fit(seen[TRAIN], truth[TRAIN])
    np.testing.assert_allclose(both.decisions, fit.decision_function(seen), rtol=0.02, atol=0.02)


def test_without_polarity_only_the_general_direction():
    found = list(ttpd.ttpd(made(planted()), None))
    assert isinstance(found[0], Missing) and "column 'polarity'" in found[0].reason
    X = planted()[2].astype(float)
    truth = 2.0 * Y - 1
    due = X @ (truth[TRAIN] @ (X[TRAIN] - X[TRAIN].mean(axis=0)))
    assert abs(np.corrcoef(found[1].decisions, due)[0, 1]) == pytest.approx(1, abs=1e-5)


# -- in a run --------------------------------------------------------------------------------------

NAMES = ["saplma", "mind", "prism", "ttpd", "haloscope", "lat", "ccs"]
ROWS = {"saplma", "mind_classifier", "prism", "ttpd_general", "haloscope", "lat", "ccs"}
SETTINGS = {
    "positions": ["-2", "-1"],
    "shuffles": 0,
    "skip": ["p-true", "text", "ensembles"],
    "detectors": NAMES,
}


def last_states(model, ids, layer):
    """The residual stream after a block at the last token, by one plain pass."""
    kept = []
    block = model.base.layers[layer]
    hook = block.register_forward_hook(
        lambda m, i, out: kept.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.inference_mode():
        model.model(torch.tensor([list(ids)]))
    hook.remove()
    return kept[0][0, -1].float().numpy()


def test_every_method_is_a_row_and_resumes(
    monkeypatch, loaded, model_folder, answers_file, tmp_path
):
    path, folder, read = answers_file(), str(model_folder()), []
    standardised = directions.standardised
    monkeypatch.setattr(
        directions, "standardised", lambda X, train: (read.append(X), standardised(X, train))[1]
    )
    run = probebench.evaluate(folder, answers=path, out=tmp_path / "run", **SETTINGS)
    rows = {d["name"]: d for d in run.record["detectors"]}
    absent = run.record["comparison"]["absent"]
    assert rows.keys() >= ROWS, absent
    assert "polarity" in absent["ttpd"]
    assert {rows[name]["n"] for name in ROWS} == {rows["probe"]["n"]}
    assert {rows[name]["kind"] for name in ROWS} == {"method"}
    model, first = loaded("llama"), json.loads(path.read_text().splitlines()[0])
    shown = Shown(first["question"], first["answer"].strip())
    asked = short_question(
        model.tokenizer, shown.filled(directions.CORRECT, directions.CORRECT_STATED)
    )
    for word, X in zip(("Yes", "No"), read, strict=True):
        due = last_states(model, encode_prompt(model.tokenizer, asked + word), -1)
        np.testing.assert_allclose(X[0], due, rtol=0.01, atol=0.01)
    before = (run.folder / "predictions.parquet").read_bytes()
    (run.folder / "record.json").unlink()
    (run.folder / "predictions.parquet").unlink()
    monkeypatch.setattr(
        "probebench.stages.states.Extractor", lambda *_, **__: pytest.fail("read again")
    )
    again = probebench.evaluate(folder, answers=path, out=tmp_path / "run", **SETTINGS)
    assert (again.folder / "predictions.parquet").read_bytes() == before


def test_discarded_states_are_those_of_methods_too(model_folder, answers_file, tmp_path):
    asked = {**SETTINGS, "detectors": ["prism"], "discard_states": True}
    run = probebench.evaluate(
        str(model_folder()), answers=answers_file(), out=tmp_path / "run", **asked
    )
    assert "prism" in {d["name"] for d in run.record["detectors"]}
    kept = {place.name.rpartition("-")[0] for place in (run.folder / "stages").iterdir()}
    assert "probes" in kept and not kept & {"states", "asked-states"}


def test_what_is_shown_of_an_answer():
    answer, stated = Shown("Where?", "In Paris"), Shown("Paris is in France.", None)
    assert answer.statement == "Where? In Paris"
    assert stated.statement == "Paris is in France."
    asked = answer.filled(directions.CORRECT, directions.CORRECT_STATED)
    assert asked.startswith("Question: Where?\nProposed answer: In Paris\n")
    assert stated.filled(directions.CORRECT, directions.CORRECT_STATED).startswith("Statement: P")
