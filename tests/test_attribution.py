"""What replacing a component by its mean changes: measured against hooks of the test's own, and
estimated, exactly where the rest of the model is linear."""

from collections import Counter
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FAMILIES

from probebench.models.blocks.forwards import forwards
from probebench.models.blocks.sites import COMPONENTS, find_blocks, plan_sites
from probebench.models.handles import LoadedModel
from probebench.states.attribution.changes import changes
from probebench.states.attribution.means import KINDS, Means, component_means
from probebench.states.attribution.resumed import Resumed
from probebench.states.attribution.summary import agreements, attribution_of, effects
from probebench.states.attribution.targets import ProbeTarget
from probebench.types import EMB, Answer, Cell, Example, LabelledAnswer, TokenizedAnswer

NONE = np.zeros(0, dtype=np.float32)
LAYERS = 3


def labelled(ids, n_prompt, exact):
    answer = Answer("a", tuple(ids[:n_prompt]), tuple(ids[n_prompt:]), False, "", NONE, NONE, NONE)
    tokens = TokenizedAnswer(n_prompt, len(ids), exact)
    return LabelledAnswer(Example("a", "q", (), "g"), answer, 1, False, None, tokens, "test")


def answers_for(loaded, n=3):
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 14, n)
    return [
        labelled([1, *rng.integers(5, len(loaded.tokenizer), int(k) - 1).tolist()], 4, (5, 6))
        for k in lengths
    ]


def plan_of(model):
    return plan_sites(model.base, LAYERS, COMPONENTS, range(LAYERS))


def both(model, answers, probe):
    """Measured and estimated changes, (target, site, layer, answer) -> change."""
    plan = plan_of(model)
    means = component_means(model, plan, answers)
    keys = ["target", "site", "layer", "answer"]
    return [
        changes(model, plan, means, answers, probe, exact=exact).set_index(keys).change.sort_index()
        for exact in (True, False)
    ]


def probe_of(cell, seed=1):
    return ProbeTarget(cell, np.random.default_rng(seed).normal(size=32), 0.3)


@pytest.fixture(scope="module")
def sandwich(loaded):
    """A model that puts a norm behind queries, keys and attention, as Gemma 3 does."""
    from transformers import AutoModelForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(loaded("gemma").tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        query_pre_attn_scalar=8,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.normal_(0, 0.25)
    return LoadedModel(model, loaded("gemma").handle)


def by_hand(model, answers, site, layer):
    """Log-probability of exact answers before and after one component is replaced, by hooks and
    loops of this test alone, one answer at a time without padding."""
    block = model.base.h[layer] if hasattr(model.base, "h") else model.base.layers[layer]
    module, part = {
        "attn.q": lambda: (block.attn.c_attn, slice(0, 32)),
        "attn.k": lambda: (block.attn.c_attn, slice(32, 64)),
        "mlp.up": lambda: (block.mlp.c_fc, slice(0, 128)),
        "attn.o": lambda: (block.self_attn.o_proj, slice(0, 32)),
        "mlp.gate": lambda: (block.mlp.gate_proj, slice(0, 48)),
    }[site]()

    def passed(answer, hook):
        handle = module.register_forward_hook(hook)
        with torch.no_grad():
            logits = model.model(torch.tensor([answer.answer.ids])).logits[0]
        handle.remove()
        first, last = answer.tokens.exact
        chosen = answer.answer.ids[first : last + 1]
        return sum(
            float(torch.log_softmax(logits[first - 1 + i], -1)[token])
            for i, token in enumerate(chosen)
        )

    kept = []
    before = [passed(a, lambda m, x, out: kept.append(out[0, :, part].clone())) for a in answers]
    spans = [slice(0, 1), slice(1, 4), slice(4, None)]  # first token, prompt, answer
    means = [torch.cat([x[span] for x in kept]).mean(dim=0) for span in spans]

    def replace(m, x, out):
        out = out.clone()
        for span, mean in zip(spans, means, strict=True):
            out[0, span, part] = mean
        return out

    return [passed(a, replace) - b for a, b in zip(answers, before, strict=True)]


@pytest.mark.parametrize(
    ("kind", "site"),
    [
        ("gpt2", "attn.q"),
        ("gpt2", "attn.k"),
        ("gpt2", "mlp.up"),
        ("llama", "attn.o"),
        ("llama", "mlp.gate"),
    ],
)
def test_measured_changes_are_those_of_replacing_by_hand(loaded, kind, site):
    model = loaded(kind)
    answers = answers_for(model, 4)
    measured, _ = both(model, answers, None)
    for layer in (0, 2):
        expected = by_hand(model, answers, site, layer)
        assert np.abs(expected).max() > 1e-3
        np.testing.assert_allclose(measured["logprob", site, layer], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [*FAMILIES, "sandwich"])
def test_estimates_are_exact_where_the_rest_is_linear(loaded, sandwich, kind):
    # a linear probe of the stream after a block reads that block's output: nothing beyond it
    model = sandwich if kind == "sandwich" else loaded(kind)
    measured, estimated = both(model, answers_for(model), probe_of(Cell("resid", 1, "-1")))
    here = pd.IndexSlice["probe", :, 1]
    assert measured.loc[here].abs().min() > 0
    np.testing.assert_allclose(estimated.loc[here], measured.loc[here], atol=1e-4, rtol=1e-3)
    above = pd.IndexSlice["probe", :, 2]
    assert (estimated.loc[above] == 0).all() and (measured.loc[above] == 0).all()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "sandwich"])
def test_a_probe_inside_a_block_is_reached_from_within_it(loaded, sandwich, kind):
    model = sandwich if kind == "sandwich" else loaded(kind)
    measured, estimated = both(model, answers_for(model), probe_of(Cell("attn.o", 1, "-1")))
    own = pd.IndexSlice["probe", ["attn.q", "attn.k", "attn.v", "attn.o"], 1]
    np.testing.assert_allclose(estimated.loc[own], measured.loc[own], atol=1e-4, rtol=1e-3)
    assert measured.loc[own].abs().max() > 1e-3
    behind = pd.IndexSlice["probe", ["mlp.up", "mlp.down"], 1]
    assert (estimated.loc[behind] == 0).all() and (measured.loc[behind] == 0).all()


@contextmanager
def inside(blocks, seen):
    """Meanwhile `seen(layer)` is called whenever the MLP of a block has run."""
    hooks = [
        block.mlp.register_forward_hook(lambda module, args, output, i=i: seen(i))
        for i, block in enumerate(blocks)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@pytest.mark.parametrize("kind", [*FAMILIES, "sandwich"])
@pytest.mark.parametrize("cell", [Cell("resid", 1, "-1"), Cell("attn.o", 0, "-1")])
def test_passes_that_begin_at_a_block_end_as_whole_ones(loaded, sandwich, kind, cell, monkeypatch):
    model = sandwich if kind == "sandwich" else loaded(kind)
    answers, plan = answers_for(model), plan_of(model)
    means, runs = component_means(model, plan, answers), []
    with inside(find_blocks(model.model, LAYERS), runs.append):
        resumed = changes(model, plan, means, answers, probe_of(cell), exact=True)
        few = Counter(runs)
        monkeypatch.setattr(Resumed, "holds", lambda self, whole: False)
        whole = changes(model, plan, means, answers, probe_of(cell), exact=True)
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    once = 2  # the whole pass, and each block by itself
    per_layer = len(plan.taps) // LAYERS
    assert few == {layer: once + (layer + 1) * per_layer for layer in range(LAYERS)}
    assert Counter(runs) - few == dict.fromkeys(range(LAYERS), 1 + LAYERS * per_layer)


@pytest.mark.parametrize("reader", [1, 2])
def test_blocks_that_take_more_than_the_stream_are_all_run(loaded, reader):
    """Keys of an earlier block, say, as some models share them; the last block may need none."""
    model, shared = loaded("llama"), {}

    def share(layer):
        if layer == reader:
            shared.pop("keys")
        elif layer == 0:
            shared["keys"] = 1

    with inside(find_blocks(model.model, LAYERS), share):
        measured = changes(
            model,
            plan_of(model),
            component_means(model, plan_of(model), answers_for(model)),
            answers_for(model),
            None,
            exact=True,
        )
    assert measured[measured.layer == 2].change.abs().max() > 0
    assert not any("forward" in vars(block) for block in find_blocks(model.model, LAYERS))


def test_a_block_that_stands_in_the_model_twice_is_never_left_out():
    block = torch.nn.Linear(2, 2)
    looped = torch.nn.Sequential(block, block)
    resumed, _ = Resumed.after([block], lambda: looped(torch.ones(1, 2)))
    assert not resumed.holds(lambda: looped(torch.ones(1, 2)))


def test_a_forward_of_a_module_s_own_is_put_back_after_an_error():
    one, two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    own = two.forward = lambda x: x + 1
    with pytest.raises(ValueError, match="stop"), forwards([(one, len), (two, len)]):
        assert one.forward is len
        raise ValueError("stop")
    assert "forward" not in vars(one) and two.forward is own


def test_no_component_reaches_a_probe_of_the_embeddings(loaded):
    measured, _ = both(
        loaded("llama"), answers_for(loaded("llama")), probe_of(Cell("resid", EMB, "-1"))
    )
    assert (measured.loc["probe"] == 0).all() and (measured.loc["logprob"] != 0).any()


def test_a_norm_behind_a_component_hides_nothing(sandwich):
    # gradient x activation is zero there, since the size of what a norm is given does not matter
    answers = answers_for(sandwich, 6)
    measured, estimated = both(sandwich, answers, None)
    old = {}
    for (site, layer), tap in plan_of(sandwich).taps.items():
        for i, a in enumerate(answers):
            kept = []

            def keep(m, x, out, kept=kept):
                kept.append(out)

            handle = tap.module.register_forward_hook(keep)
            out = sandwich.model(torch.tensor([a.answer.ids])).logits[0]
            handle.remove()
            value = torch.log_softmax(out[4:6], -1)[[0, 1], list(a.answer.ids[5:7])].sum()
            gradient = torch.autograd.grad(value, kept[0])[0]
            old[site, layer, i] = float((gradient * kept[0].detach()).sum(dim=-1).abs().sum())
    old = pd.Series(old).groupby(level=[0, 1]).mean()
    sizes = [
        t["logprob"].abs().groupby(level=["site", "layer"]).mean() for t in (measured, estimated)
    ]
    for site in ("attn.q", "attn.k", "attn.o", "mlp.down"):
        assert old[site].max() < 1e-3 * old.max()
        for size in sizes:
            assert size[site].min() > 0.01 * size.max(), site


@pytest.mark.parametrize("kind", ["llama", "gpt2", "sandwich"])
def test_estimates_rank_components_as_replacing_them_does(loaded, sandwich, kind):
    model = sandwich if kind == "sandwich" else loaded(kind)
    answers = answers_for(model, 8)
    probe = probe_of(Cell("resid", 2, "-1"))
    measured, estimated = (t.reset_index() for t in both(model, answers, probe))
    found = attribution_of(estimated, measured, len(answers), 0)
    own = {a.target: a for a in found.agreements}
    assert own["probe"].spearman > 0.7 and own["logprob"].spearman > 0.7
    assert own["logprob"].n == 8
    assert own["logprob"].n_components == len(plan_of(model).taps)
    assert found.facts["agreement"][0]["spearman_95"][0] <= own["logprob"].spearman


def test_means_are_of_each_kind_of_token(loaded):
    model = loaded("llama")
    answers, plan = answers_for(model, 5), plan_of(loaded("llama"))
    means = component_means(model, plan, answers)
    kept = []
    for a in answers:
        hook = model.base.layers[1].self_attn.v_proj.register_forward_hook(
            lambda m, x, out: kept.append(out[0]) and None
        )
        with torch.no_grad():
            model.base(torch.tensor([a.answer.ids]))
        hook.remove()
    for i, span in enumerate([slice(0, 1), slice(1, 4), slice(4, None)]):
        expected = torch.cat([x[span] for x in kept]).mean(dim=0)
        torch.testing.assert_close(
            means.values["attn.v", 1][i].float(), expected, atol=1e-5, rtol=1e-4
        )
    again = Means.of(means.table)
    assert len(means.table) == len(KINDS) * len(plan.taps)
    assert all(torch.equal(again.values[key], value) for key, value in means.values.items())


@pytest.mark.parametrize("kind", FAMILIES)
def test_batches_do_not_change_it(loaded, kind):
    model = loaded(kind)
    answers, plan = answers_for(model, 4), plan_of(loaded(kind))
    means = component_means(model, plan, answers)
    probe = probe_of(Cell("attn.o", 1, "last_q"))
    for exact in (True, False):
        table = changes(model, plan, means, answers, probe, exact=exact)
        alone = [changes(model, plan, means, [a], probe, exact=exact) for a in answers]
        for i, one in enumerate(alone):
            own = table[table.answer == i].change
            np.testing.assert_allclose(own, one.change, rtol=1e-3, atol=2e-5)


def test_answers_without_an_exact_answer_take_no_part(loaded):
    model = loaded("llama")
    answers = answers_for(model, 3)
    without = labelled(answers[0].answer.ids, 4, None)
    measured, estimated = both(model, [*answers, without], None)
    for found in (measured, estimated):
        table = found.reset_index()
        assert set(table.target) == {"logprob"} and set(table.answer) == {0, 1, 2}
    assert all(t.empty for t in both(model, [without], None))
    empty = pd.DataFrame(columns=["target", "site", "layer", "answer", "change"])
    assert attribution_of(empty, empty, 1, 0).agreements == []


def table_of(values):
    """Changes from (answer, component) numbers."""
    return pd.DataFrame(
        [
            ("probe", COMPONENTS[j % 7], j // 7, i, value)
            for (i, j), value in np.ndenumerate(np.asarray(values, dtype=float))
        ],
        columns=["target", "site", "layer", "answer", "change"],
    )


def test_agreement_is_spearman_s_of_mean_absolute_changes():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a = rng.normal(size=(8, 14)) * np.arange(1, 15)
    b = a + rng.normal(size=a.shape) * 3
    [found] = agreements(table_of(a), table_of(b), 0)
    expected = spearmanr(np.abs(a).mean(axis=0), np.abs(b).mean(axis=0)).statistic
    assert found.spearman == pytest.approx(expected)
    assert found.low < found.spearman < found.high <= 1
    assert (found.n, found.n_components) == (8, 14)
    [same] = agreements(table_of(a), table_of(-(a**3)), 0)
    assert same.ranks and same.spearman > 0.9
    [apart] = agreements(table_of(a), table_of(a[:, ::-1]), 0)
    assert not apart.ranks
    [few] = agreements(table_of(a[:, :4]), table_of(a[:, :4]), 0)
    assert np.isnan(few.spearman) and not few.ranks


def test_shares_are_among_what_the_stream_is_the_sum_of():
    table = effects(table_of(np.random.default_rng(0).normal(size=(5, 14))), "attribution")
    shared = table.site.isin(["attn.o", "mlp.down"])
    assert table.share[shared].sum() == pytest.approx(1.0)
    assert table.share[~shared].isna().all()
