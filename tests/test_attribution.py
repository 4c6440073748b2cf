"""Gradient x activation against finite differences, and against the exact decomposition of the
residual stream."""

import numpy as np
import pytest
import torch
from conftest import FAMILIES

from probebench.models.blocks.sites import COMPONENTS, plan_sites
from probebench.models.handles import LoadedModel
from probebench.states.attribution import ProbeTarget, attribution
from probebench.types import Answer, Cell, Example, LabelledAnswer, TokenizedAnswer

NONE = np.zeros(0, dtype=np.float32)


def labelled(ids, n_prompt, exact):
    answer = Answer("a", tuple(ids[:n_prompt]), tuple(ids[n_prompt:]), False, "", NONE, NONE, NONE)
    return LabelledAnswer(
        Example("a", "q", (), "g"),
        answer,
        1,
        False,
        None,
        TokenizedAnswer(n_prompt, len(ids), exact),
        "test",
    )


def answers_for(loaded, n=3):
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 14, n)
    return [
        labelled(rng.integers(5, len(loaded.tokenizer), int(k)).tolist(), 4, (5, 6))
        for k in lengths
    ]


def double(loaded):
    """The same model in float64, for finite differences; transformers' own norms compute in float32
    whatever they are given."""
    import copy

    model = copy.deepcopy(loaded.model).double().eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__.endswith("RMSNorm"):
                norm = torch.nn.RMSNorm(
                    len(child.weight),
                    getattr(child, "eps", None) or child.variance_epsilon,
                    dtype=torch.float64,
                )
                norm.weight.data = child.weight.data + (1 if "Gemma" in type(child).__name__ else 0)
                setattr(parent, name, norm)
    return LoadedModel(model, loaded.handle)


def target_value(model, answer, probe, scale):
    """The target when one component's vector at one token of one layer is multiplied by 1 +
    epsilon."""
    module, take, token, epsilon = scale

    def hook(_, args, output):
        part = take(output)
        with torch.no_grad():
            part[:, token] *= 1 + epsilon  # take gives a view
        return output

    handle = module.register_forward_hook(hook)
    try:
        with torch.no_grad():
            ids = torch.tensor([answer.answer.ids])
            if probe is None:
                logits = model(ids).logits[0]
                first, last = answer.tokens.exact
                return sum(
                    float(torch.log_softmax(logits[t - 1], -1)[ids[0, t]])
                    for t in range(first, last + 1)
                )
            hidden = model(ids, output_hidden_states=True).hidden_states[probe.cell.layer + 1][0]
            return float(hidden[-1] @ torch.from_numpy(probe.weight)) + probe.bias
    finally:
        handle.remove()


@pytest.mark.parametrize("kind", ["llama", "gemma", "gpt2"])
@pytest.mark.parametrize("target", ["logprob", "probe"])
def test_equals_finite_differences_in_float64(loaded, kind, target):
    model = double(loaded(kind))
    answer = answers_for(model, 1)[0]
    probe = ProbeTarget(Cell("resid", 1, "-1"), np.random.default_rng(1).normal(size=32), 0.3)
    table = attribution(model, [answer], probe)
    own = table[table.target == target].set_index(["site", "layer"])
    plan = plan_sites(model.model, 3, COMPONENTS, range(3))
    step = 1e-5
    for (site, layer), tap in plan.taps.items():
        if target == "probe" and layer > 1:
            # nothing above the probe reaches it
            assert own.loc[(site, str(layer)), "mean_abs"] == 0
            continue
        total = 0.0
        for token in range(len(answer.answer.ids)):
            ends = [
                target_value(
                    model.model,
                    answer,
                    probe if target == "probe" else None,
                    (tap.module, tap.take, token, e),
                )
                for e in (step, -step)
            ]
            total += abs(ends[0] - ends[1]) / (2 * step)
        assert own.loc[(site, str(layer)), "mean_abs"] == pytest.approx(
            total, rel=1e-5, abs=1e-9
        ), (site, layer)


@pytest.mark.parametrize("kind", FAMILIES)
def test_last_mlp_s_part_is_its_exact_part_of_the_stream(loaded, kind):
    # nothing reads the last MLP's output but the stream itself, so its part in a linear probe of
    # the stream is w . mlp.down
    model = double(loaded(kind))
    answer = answers_for(model, 1)[0]
    weight = np.random.default_rng(2).normal(size=32)
    table = attribution(model, [answer], ProbeTarget(Cell("resid", 2, "-1"), weight, 0.0))
    tap = plan_sites(model.model, 3, ["mlp.down"], [2]).taps["mlp.down", 2]
    kept = []
    handle = tap.module.register_forward_hook(lambda m, a, out: kept.append(out.detach().clone()))
    with torch.no_grad():
        model.model(torch.tensor([answer.answer.ids]))
    handle.remove()
    expected = abs(float(kept[0].reshape(-1, 32)[-1] @ torch.from_numpy(weight)))
    own = table[(table.target == "probe") & (table.site == "mlp.down") & (table.layer == "2")]
    assert own.mean_abs.item() == pytest.approx(expected, rel=1e-9)


def test_attention_and_mlp_add_up_to_the_stream(loaded):
    # a pre-norm model whose blocks write constants (projections read nothing, biases write): every
    # gradient at the outputs is the probe's own weight, and decision = w . emb + sum over layers of
    # w . (attn.o + mlp.down), each term exactly
    model = double(loaded("gpt2"))
    with torch.no_grad():
        for block in model.model.transformer.h:
            block.attn.c_attn.weight.zero_()
            block.mlp.c_fc.weight.zero_()
            for bias in (
                block.attn.c_attn.bias,
                block.attn.c_proj.bias,
                block.mlp.c_fc.bias,
                block.mlp.c_proj.bias,
            ):
                bias.normal_(0, 0.5, generator=torch.Generator().manual_seed(3))
    answer = answers_for(model, 1)[0]
    weight = np.random.default_rng(2).normal(size=32)
    table = attribution(model, [answer], ProbeTarget(Cell("resid", 2, "-1"), weight, 0.0))
    plan = plan_sites(model.model, 3, ["resid", "attn.o", "mlp.down"], [-1, 0, 1, 2])
    from probebench.models.blocks.sites import watch

    seen = {}
    hooks = watch(plan, lambda site, layer, states: seen.__setitem__((site, layer), states.clone()))
    with torch.no_grad():
        model.model(torch.tensor([answer.answer.ids]))
    for hook in hooks:
        hook.remove()
    w = torch.from_numpy(weight)
    parts = {key: float(states[0, -1] @ w) for key, states in seen.items()}
    added = sum(value for (site, _), value in parts.items() if site != "resid")
    assert parts["resid", 2] - parts["resid", -1] == pytest.approx(added, rel=1e-9)
    own = table[table.target == "probe"].set_index(["site", "layer"]).mean_abs
    for (site, layer), value in parts.items():
        if site != "resid":
            assert own[site, str(layer)] == pytest.approx(abs(value), rel=1e-9)


@pytest.mark.parametrize("kind", FAMILIES)
def test_batches_do_not_change_it_and_shares_add_up(loaded, kind):
    model = loaded(kind)
    answers = answers_for(model, 4)
    probe = ProbeTarget(Cell("attn.o", 1, "last_q"), np.random.default_rng(1).normal(size=32), 0.0)
    table = attribution(model, answers, probe)
    alone = [attribution(model, [a], probe) for a in answers]
    np.testing.assert_allclose(
        table.mean_abs, np.mean([t.mean_abs for t in alone], axis=0), rtol=1e-3, atol=1e-6
    )
    shares = table.groupby(["target", "layer"]).share.sum(min_count=1)
    np.testing.assert_allclose(shares["logprob"], 1.0)
    assert np.isnan(shares["probe", "2"])
    assert (table.n == 4).all()


def test_answers_without_an_exact_answer_take_no_part(loaded):
    model = loaded("llama")
    answers = answers_for(model, 3)
    without = labelled(answers[0].answer.ids, 4, None)
    table = attribution(model, [*answers, without], None)
    assert set(table.target) == {"logprob"}
    assert (table.n == 3).all()
    none = attribution(model, [without], None)
    assert none.empty
