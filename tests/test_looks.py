"""Where heads look: ICR scores and lookback ratios against sums written out over maps that
transformers gives, in one batch as alone; a reason where there are no maps."""

import math

import numpy as np
import pytest
import torch
from conftest import FAMILIES

import probebench
from probebench.detectors.whole import looks as rows_of_looks
from probebench.errors import StatesError
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.states.looks import TOP, Written, icr, look, lookback

SETTINGS = {
    "positions": ["-1"],
    "layers": [0],
    "shuffles": 0,
    "skip": ["text", "p-true", "ensembles"],
    "detectors": ["icr", "lookback"],
}
SOME = [
    Written(tuple(range(20, 60)), 25, 39),
    Written(tuple(range(30, 41)), 4, 11),
    Written((5, 9, 7), 1, 2),
]


@pytest.fixture(scope="module")
def eager(model_folder):
    made = {}

    def load(kind):
        if kind not in made:
            spec = ModelSpec(str(model_folder(kind)), device="cpu", attention="eager")
            made[kind] = load_model(find_model(spec))
        return made[kind]

    return load


def slow_icr(before, after, attention, i):
    """One token's score, term by term: `attention` is (sequence,)."""
    update = after[i] - before[i]
    order = sorted(range(i + 1), key=lambda j: -attention[j])[:TOP]
    lists = [
        [float(update @ before[j]) / math.sqrt(float(before[j] @ before[j])) for j in order],
        [float(attention[j]) for j in order],
    ]
    shares = []
    for values in lists:
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        powers = [math.exp((v - mean) / spread) for v in values]
        shares.append([p / sum(powers) for p in powers])
    p, q = shares
    pairs = zip(p, q, strict=True)
    return sum(a * math.log(2 * a / (a + b)) + b * math.log(2 * b / (a + b)) for a, b in pairs) / 2


@pytest.mark.parametrize("kind", FAMILIES)
def test_looks_are_those_of_maps_written_out(eager, kind):
    model = eager(kind)
    found = look(model, SOME)
    blocks = model.handle.identity.n_layers
    for s, seen in zip(SOME, found, strict=True):
        with torch.inference_mode():
            out = model.model(
                torch.tensor([s.ids]), output_attentions=True, output_hidden_states=True
            )
        maps = [m[0].double().numpy() for m in out.attentions]
        stream = [x[0].double().numpy() for x in out.hidden_states]
        ratios = []
        for k in range(blocks):
            heads = maps[k]
            of_tokens = []
            for i in range(s.n_prompt, s.end):
                prompt = heads[:, i, : s.n_prompt].mean(axis=1)
                own = heads[:, i, s.n_prompt : i + 1].mean(axis=1)
                of_tokens.append(prompt / (prompt + own))
            ratios += list(np.mean(of_tokens, axis=0))
            if k < blocks - 1:  # the last entry of hidden_states is after the final norm
                mean = heads.mean(axis=0)
                scores = [
                    slow_icr(stream[k], stream[k + 1], mean[i], i) for i in range(s.n_prompt, s.end)
                ]
                assert seen.icr[k] == pytest.approx(np.mean(scores), abs=1e-4)
        assert len(seen.icr) == blocks
        np.testing.assert_allclose(seen.lookback, ratios, atol=1e-5)


def test_a_batch_is_no_different_from_one_at_a_time(eager):
    model = eager("llama")
    for s, seen in zip(SOME, look(model, SOME), strict=True):
        (alone,) = look(model, [s])
        np.testing.assert_allclose(seen.icr, alone.icr, atol=1e-5)
        np.testing.assert_allclose(seen.lookback, alone.lookback, atol=1e-6)


def test_the_divergence_is_that_of_the_published_code():
    """0.24479 is what `js_divergence` of the published code gives for these two lists."""
    projections = torch.tensor([0.5, -1.0, 2.0, 0.25, 3.0, -0.75])
    attention = torch.tensor([[0.4, 0.25, 0.15, 0.1, 0.06, 0.04]])
    # directions of the axes, and one update whose numbers are its projections on them
    found = icr(projections[None], torch.eye(6), attention, first=5)
    assert float(found[0]) == pytest.approx(0.24479108, abs=1e-6)


def test_an_update_that_points_where_heads_look_scores_nothing():
    attention = torch.softmax(torch.randn(1, 12, generator=torch.manual_seed(0)), dim=-1)
    assert float(icr(3 * attention, torch.eye(12), attention, first=11)[0]) < 1e-6
    away = icr(-attention, torch.eye(12), attention, first=11)
    assert 0.05 < float(away[0]) <= math.log(2)


def test_lookback_counts_tokens_on_both_sides():
    even = torch.tensor([[[0.25, 0.25, 0.25, 0.25, 0.0], [0.2, 0.2, 0.2, 0.2, 0.2]]])
    np.testing.assert_allclose(lookback(even, 3).numpy(), [[0.5, 0.5]])
    back = torch.tensor([[[0.5, 0.5, 0.0, 0.0]]])
    np.testing.assert_allclose(lookback(back, 2).numpy(), [[1.0]])


def test_a_model_without_maps_is_told(loaded):
    with pytest.raises(StatesError, match="Layer 0 has no attention maps"):
        look(loaded("llama"), SOME)


# -- in a run --------------------------------------------------------------------------------------


def test_a_run_without_maps_says_what_to_choose(model_folder, answers_file, tmp_path):
    run = probebench.evaluate(
        str(model_folder()), answers=answers_file(60), out=tmp_path / "run", **SETTINGS
    )
    reason = "needs attention maps (--attn-implementation eager)"
    absent = run.record["comparison"]["absent"]
    for name in ("icr_probe", "icr_score", "lookback_lens", "lookback_ratio"):
        assert absent[name] == reason


def test_a_run_with_maps_has_the_rows_and_reads_them_once(
    monkeypatch, eager, model_folder, answers_file, tmp_path
):
    from probebench.stages.whole import looks as stage

    passes = []
    monkeypatch.setattr(stage, "look", lambda *a: passes.append(1) or look(*a))
    path, folder = answers_file(120), str(model_folder())
    asked = {**SETTINGS, "attn_implementation": "eager", "out": tmp_path / "run"}
    run = probebench.evaluate(folder, answers=path, **asked)
    rows = {d["name"]: d for d in run.record["detectors"] if d["kind"] == "method"}
    assert set(rows) == {"icr_probe", "icr_score", "lookback_lens", "lookback_ratio"}
    assert len(passes) == 1, "both read what one stage has read"
    own = run.predictions[lambda t: t.detector == "lookback_ratio"].set_index("id").decision
    a = next(r for r in run.answers.to_dict("records") if r["id"] in own.index)
    n, end = len(a["prompt_ids"]), len(a["answer_ids"]) - a["stopped"]
    ids = (*map(int, a["prompt_ids"]), *map(int, a["answer_ids"]))
    (alone,) = look(eager("llama"), [Written(ids, n, n + end)])
    assert own[a["id"]] == pytest.approx(float(alone.lookback.mean()), abs=1e-5)
    assert rows["icr_score"]["detail"]["layer"] in (0, 1)
    before = run.predictions
    (run.folder / "record.json").unlink()
    monkeypatch.setattr(stage, "look", lambda *_: pytest.fail("read again"))
    again = probebench.evaluate(folder, answers=path, **asked)
    assert before.equals(again.predictions)


def test_the_networks_sign_is_that_of_correct_answers(monkeypatch):
    """Planted: answers are right where a block's score is low."""
    from types import SimpleNamespace

    from probebench.detectors.stored.vectors import Places
    from probebench.metrics.auroc import auroc
    from probebench.probes.labels import Labels

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    seen = rng.normal(size=(300, 6))
    seen[:, 2] -= 3 * y
    splits = tuple(["train"] * 180 + ["validation"] * 60 + ["test"] * 60)
    found = Places.of(np.ones(300, dtype=bool), Labels(y, splits))
    monkeypatch.setattr(rows_of_looks, "_looks", lambda *_: (found, seen))
    data = SimpleNamespace(plan=SimpleNamespace(seed=0))
    probe, score = rows_of_looks.icr(data, None)
    for row in (probe, score):
        assert auroc(y[240:], row.decisions[240:]) > 0.9
    assert score.detail["layer"] == 2
    lens, ratio = rows_of_looks.lookback(data, None)
    assert auroc(y[240:], lens.decisions[240:]) > 0.9
    np.testing.assert_allclose(ratio.decisions, seen.mean(axis=1))
