"""Sites of every family, on small random models: each vector is computed again by simple
independent code.

Attention runs with every position at 0, where rotary embedding is the identity, so that heads
follow from the captured queries, keys and values alone: a fused projection split in the wrong way
gives other heads.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
import torch
import transformers as t
from decoders import CASES, DIMENSIONS, OLD, build
from torch import nn
from transformers.activations import ACT2FN

from probebench.errors import RunError, UnknownNameError
from probebench.models.blocks.layouts import FAMILIES
from probebench.models.blocks.layouts import SITES as MEANINGS
from probebench.models.blocks.sites import (
    COMPONENTS,
    check_sites,
    known_families,
    plan_sites,
    watch,
)
from probebench.models.blocks.taps import find_blocks
from probebench.types import EMB

SITES = tuple(MEANINGS)


LAYERS_WITHOUT_RECOMPUTED_HEADS = {
    "deepseek-v3": "its keys are in two parts",
    "mamba": "no attention",
    "mamba2": "no attention",
}


def base_of(model: nn.Module) -> nn.Module:
    # Llama 4 has another prefix than name
    return getattr(model, model.base_model_prefix, None) or model.model


def n_layers(model: nn.Module) -> int:
    return int(model.config.num_hidden_layers)


def plan_of(model: nn.Module, sites=SITES):
    return plan_sites(model, n_layers(model), sites, (EMB, *range(n_layers(model))))


def capture(
    model: nn.Module, ids: torch.Tensor, mask: torch.Tensor | None = None, **arguments: object
):
    """Every planned vector of a pass, (site, layer) to (batch, token, width)."""
    seen: dict[tuple[str, int], torch.Tensor] = {}

    def sink(site: str, layer: int, values: torch.Tensor) -> None:
        assert (site, layer) not in seen, f"{site} of layer {layer} came twice"
        seen[site, layer] = values.clone()  # Falcon goes on to add to mlp.down in place

    hooks = watch(plan_of(model), sink)
    try:
        with torch.inference_mode():
            mask = torch.ones_like(ids) if mask is None else mask
            base_of(model)(input_ids=ids, attention_mask=mask, use_cache=False, **arguments)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def some_ids(batch: int = 2, tokens: int = 9) -> torch.Tensor:
    return torch.randint(3, 64, (batch, tokens), generator=torch.Generator().manual_seed(1))


@cache
def at_position_zero(name: str):
    """What passes when every token stands at position 0."""
    takes_positions = not CASES[name].alibi and not name.startswith("mamba")
    ids = some_ids()
    return capture(
        build(name), ids, **({"position_ids": torch.zeros_like(ids)} if takes_positions else {})
    )


def holder(block: nn.Module, module: nn.Module) -> nn.Module:
    """The module that has `module` among its children."""
    return next(m for m in block.modules() if any(child is module for child in m.children()))


def linear(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """x @ W + b, by the module's own weights."""
    weight = module.weight if isinstance(module, t.pytorch_utils.Conv1D) else module.weight.T
    return x @ weight + (module.bias if getattr(module, "bias", None) is not None else 0)


def normed(attention: nn.Module, kind: str, x: torch.Tensor) -> torch.Tensor:
    """The model's own norm of queries, keys or values, (batch, token, head, size), where it has
    one."""
    names = [f"{kind}_norm", f"{kind}_layernorm", *(["qk_norm"] if kind != "v" else [])]
    norm = next(
        (getattr(attention, n) for n in names if getattr(attention, n, None) is not None), None
    )
    if norm is None:
        return x
    over_all = getattr(norm, "weight", None) is not None and norm.weight.shape == (
        x.shape[2] * x.shape[3],
    )
    return norm(x.flatten(2)).unflatten(-1, x.shape[2:]) if over_all and x.shape[2] > 1 else norm(x)


def distances(name: str, heads: int, tokens: int, scale: float) -> torch.Tensor:
    """ALiBi (Press et al. 2022), (head, 1, key): slopes 2^(-8h/n) times the key's position."""
    slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)
    return (
        slopes[:, None, None] * torch.arange(tokens) * (scale if name.startswith("falcon") else 1.0)
    )


def attend(
    name: str, attention: nn.Module, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
) -> torch.Tensor:
    """Heads from flat queries, keys and values whose rotary embedding is the identity."""
    config = build(name).config
    size = getattr(attention, "head_dim", None) or config.hidden_size // config.num_attention_heads
    q, k, v = (x.unflatten(-1, (-1, size)) for x in (q, k, v))
    q, k, v = (
        normed(attention, kind, x).transpose(1, 2) for kind, x in (("q", q), ("k", k), ("v", v))
    )
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scale = 1.0 if name == "gpt-neo" else getattr(attention, "scaling", None) or size**-0.5
    scores = q @ k.transpose(2, 3) * scale * getattr(attention, "key_multiplier", 1.0)
    if cap := getattr(config, "attn_logit_softcapping", None):
        scores = torch.tanh(scores / cap) * cap
    if CASES[name].alibi:
        scores = scores + distances(name, q.shape[1], q.shape[2], scale)
    scores = scores.masked_fill(torch.ones(q.shape[2], q.shape[2]).triu(1).bool(), -torch.inf)
    if hasattr(attention, "sinks"):
        sinks = attention.sinks[None, :, None, None].expand(*scores.shape[:3], 1)
        weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def activation(config: object) -> nn.Module:
    names = (
        "hidden_act",
        "activation_function",
        "hidden_activation",
        "activation",
        "mlp_hidden_act",
    )
    written = next((getattr(config, n) for n in names if getattr(config, n, None)), None)
    return ACT2FN[
        written or {"bloom": "gelu_pytorch_tanh", "mpt": "gelu", "lfm2": "silu"}[config.model_type]
    ]


@pytest.mark.parametrize("name", CASES)
def test_heads_follow_from_queries_keys_and_values(name):
    if name == "gemma2" and OLD:
        pytest.skip("its scores were not capped by this attention implementation")
    if name in LAYERS_WITHOUT_RECOMPUTED_HEADS:
        pytest.skip(LAYERS_WITHOUT_RECOMPUTED_HEADS[name])
    model, seen = build(name), at_position_zero(name)
    plan, checked = plan_of(model), 0
    for layer, block in enumerate(find_blocks(model, n_layers(model))):
        if ("attn.k", layer) not in seen:
            assert ("attn.k", layer) in plan.absent
            continue
        attention = holder(block, plan.taps["attn.o", layer].module)
        q, k = seen["attn.q", layer], seen["attn.k", layer]
        # Gemma 4 may use its keys as values
        heads = attend(name, attention, q, k, seen.get(("attn.v", layer), k))
        if name.startswith(("qwen3-next", "qwen3.5")):
            whole = linear(attention.q_proj, attention_input(model, attention)).unflatten(
                -1, (4, 16)
            )
            heads = heads * torch.sigmoid(whole[..., 8:].flatten(-2))
        close(heads, seen["attn.heads", layer])
        checked += 1
    assert checked


def attention_input(model: nn.Module, attention: nn.Module) -> torch.Tensor:
    """What goes into attention when every token stands at position 0."""
    inputs: list[torch.Tensor] = []
    hook = attention.register_forward_pre_hook(
        lambda m, a, kw: inputs.append(kw["hidden_states"]), with_kwargs=True
    )
    ids = some_ids()
    with torch.inference_mode():
        base_of(model)(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            position_ids=torch.zeros_like(ids),
            use_cache=False,
        )
    hook.remove()
    return inputs[0]


@pytest.mark.parametrize("name", CASES)
def test_outputs_follow_from_inputs_and_weights(name):
    model, seen = build(name), at_position_zero(name)
    plan = plan_of(model)
    checked = 0
    for (site, layer), tap in plan.taps.items():
        if site in ("mlp.up", "mlp.gate"):  # a share of a fused projection too
            checked += 1
            close(tap.take(linear(tap.module, seen["mlp.in", layer])), seen[site, layer])
        before = {"attn.o": "attn.heads", "mlp.down": "mlp.act"}.get(site)
        if before:
            checked += 1
            close(linear(tap.module, seen[before, layer]), seen[site, layer])
        if site == "mlp.act":
            up, gate = seen["mlp.up", layer], seen.get(("mlp.gate", layer))
            act = activation(model.config)
            scale = getattr(model.config, "mlp_multipliers", [1.0])[0]  # Falcon-H1 scales its gate
            close(act(up) if gate is None else act(gate * scale) * up, seen[site, layer])
        if site == "mlp.out" and ("mlp.down", layer) in seen:
            scale = getattr(model.config, "mlp_multipliers", [1.0, 1.0])[1]
            close(seen["mlp.down", layer] * scale, seen[site, layer])
    assert bool(checked) != name.startswith("mamba"), "Mamba's blocks have the stream only"


BESIDE = "input_layernorm"
"""The norm that attention and MLP share where they stand side by side."""
ENTRY = {
    **dict.fromkeys(
        ("stablelm-parallel", "cohere", "cohere2", "phi", "falcon-7b"), (BESIDE, "beside")
    ),
    **dict.fromkeys(("gptj", "codegen"), ("ln_1", "beside")),
    "gptneox-parallel": ("post_attention_layernorm", "beside"),
    "falcon-40b": ("ln_mlp", "beside"),
    **dict.fromkeys(("gpt2", "gpt-bigcode", "gpt-bigcode-heads", "gpt-neo"), ("ln_2", "after")),
    "mpt": ("norm_2", "after"),
    "opt": ("final_layer_norm", "after"),
    "opt-post-norm": ("self_attn_layer_norm", "after"),
    "lfm2": ("ffn_norm", "after"),
    "jamba": ("pre_ff_layernorm", "after"),
    "recurrent-gemma": ("channel_pre_norm", "after"),
    "olmo2": ("", "normed"),
    "glm4": ("post_attention_layernorm", "normed by post_self_attn_layernorm"),
    **dict.fromkeys(
        ("gemma2", "gemma3", "gemma4", "gemma4-no-v"), ("pre_feedforward_layernorm", "normed")
    ),
}
"""What stands before the MLP: its norm's name, and what that norm is given. Not named:
`post_attention_layernorm`, after."""
ELSEWHERE = {
    "gemma3n": "several streams are mixed before it",
    "gemma4-moe": "MLP and experts have inputs of their own",
    "falcon-h1": "attention and a state-space mixer are added",
    "nemotron-h": "an MLP is a block of its own",
    "minimax": "adds to the normed stream, scaled",
    "mamba": "no MLP",
    "mamba2": "no MLP",
}


@pytest.mark.parametrize("name", [name for name in CASES if name not in ELSEWHERE])
def test_what_goes_into_the_mlp_is_the_norm_of_the_stream(name):
    model, seen, checked = build(name), at_position_zero(name), 0
    norm, where = ENTRY.get(name, ("post_attention_layernorm", "after"))
    for layer, block in enumerate(find_blocks(model, n_layers(model))):
        stream = seen["resid", layer - 1]  # EMB is -1
        if where != "beside":
            if ("attn.o", layer) not in seen:
                continue
            added = seen["attn.o", layer] * (
                model.config.residual_multiplier if name.startswith("granite") else 1
            )
            if where.startswith("normed"):
                added = getattr(
                    block, where.rpartition(" ")[2] if " " in where else "post_attention_layernorm"
                )(added)
            stream = stream + added
        close(getattr(block, norm)(stream) if norm else stream, seen["mlp.in", layer])
        checked += 1
    assert checked


def test_every_family_has_a_case():
    there = {
        config.model_type for case in CASES.values() if (config := getattr(t, case.config, None))
    }
    lacking = [family.name for family in FAMILIES if not there & set(family.model_types)]
    assert not lacking or OLD, lacking


def test_what_goes_into_a_block_that_is_an_mlp():
    model, seen = build("nemotron-h"), at_position_zero("nemotron-h")
    assert {layer for site, layer in seen if site == "mlp.in"} == {2}
    close(find_blocks(model, 3)[2].norm(seen["resid", 1]), seen["mlp.in", 2])
    assert "no MLP of a known form" in plan_of(model).absent["mlp.in", 0]


def test_experts_and_mlp_with_norms_of_their_own_have_no_single_input():
    assert "each with a norm of its own" in reasons("gemma4-moe", "mlp.in")["mlp.in", 0]
    assert not reasons("granite4-moe", "mlp.in"), "both take the same vectors"
    for name in ("mixtral", "gpt-oss", "deepseek-v3", "jamba", "llama4", "qwen3-next"):
        assert not reasons(name, "mlp.in")


@pytest.mark.parametrize(
    "name", [name for name in CASES if CASES[name].adds and not name.startswith("mamba")]
)
def test_the_stream_is_the_sum_of_attention_and_mlp(name):
    model, seen = build(name), at_position_zero(name)
    checked = 0
    for layer in range(n_layers(model)):
        if ("attn.o", layer) in seen and ("mlp.out", layer) in seen:
            before = seen["resid", layer - 1]  # EMB is -1
            close(before + seen["attn.o", layer] + seen["mlp.out", layer], seen["resid", layer])
            checked += 1
    assert checked or name == "granite4-moe"


@pytest.mark.parametrize(
    "name",
    ["llama", "mistral", "qwen3", "gemma2", "gemma4", "olmo2", "opt", "phi", "gptj", "falcon-h1"],
)
def test_separate_projections_are_read_whole_and_before_rotary(name):
    model, layer, ids = build(name), 1, some_ids()
    plan, inputs, hooks = plan_of(model), {}, []
    sites = [
        s for s in ("attn.q", "attn.k", "attn.v", "mlp.up", "mlp.gate") if (s, layer) in plan.taps
    ]
    for site in sites:
        module = plan.taps[site, layer].module
        hooks.append(
            module.register_forward_pre_hook(
                lambda m, a, site=site: inputs.__setitem__(site, a[0].clone())
            )
        )
    seen = capture(model, ids)
    for hook in hooks:
        hook.remove()
    assert sites
    for site in sites:
        close(
            linear(plan.taps[site, layer].module, inputs[site]).reshape(seen[site, layer].shape),
            seen[site, layer],
        )


@pytest.mark.parametrize("name", CASES)
def test_resid_is_output_hidden_states(name):
    model, ids = build(name), some_ids()
    seen = capture(model, ids)
    with torch.inference_mode():
        hidden = base_of(model)(
            input_ids=ids, output_hidden_states=True, use_cache=False
        ).hidden_states
    for row in range(n_layers(model)):  # the last entry comes after the final norm
        expected = (
            hidden[row] if hidden[row].ndim == 3 else hidden[row][model.config.altup_active_idx]
        )
        # Mamba's list begins with the output of block 0
        at = row if name.startswith("mamba") else row - 1
        close(seen["resid", at], expected)


@pytest.mark.parametrize("name", CASES)
def test_padding_on_the_right_changes_nothing(name):
    model, lengths = build(name), (9, 4, 7)
    ids = some_ids(3)
    mask = torch.stack([(torch.arange(9) < n).long() for n in lengths])
    many = capture(model, ids * mask, mask)
    for row, n in enumerate(lengths):
        one = capture(model, ids[row : row + 1, :n])
        assert one.keys() == many.keys()
        for key, values in one.items():
            torch.testing.assert_close(
                many[key][row, :n],
                values[0],
                atol=5e-5,
                rtol=1e-3,
                msg=lambda m, key=key: f"{key}: {m}",
            )


@pytest.mark.parametrize("name", CASES)
def test_everything_asked_for_is_there_or_absent_with_a_reason(name):
    model = build(name)
    plan = plan_of(model)
    asked = {("resid", EMB), *((site, layer) for site in SITES for layer in range(n_layers(model)))}
    assert plan.taps.keys() | plan.absent.keys() == asked
    assert not plan.taps.keys() & plan.absent.keys()
    assert all(len(reason) > 15 for reason in plan.absent.values())
    seen = capture(model, some_ids())
    assert {key: tuple(values.shape) for key, values in seen.items()} == {
        key: (2, 9, tap.width) for key, tap in plan.taps.items()
    }


@pytest.mark.parametrize("name", CASES)
def test_base_model_and_causal_model_have_the_same_taps(name):
    model = build(name)
    whole, base = (
        plan_of(model),
        plan_sites(base_of(model), n_layers(model), SITES, (EMB, *range(n_layers(model)))),
    )
    assert whole.absent == base.absent
    assert {k: (id(v.module), v.side, v.width) for k, v in whole.taps.items()} == {
        k: (id(v.module), v.side, v.width) for k, v in base.taps.items()
    }


@pytest.mark.parametrize("name", ["gptneox", "falcon-40b", "falcon-rw", "bloom", "codegen"])
def test_a_flat_split_gives_other_heads(name):
    model, seen = build(name), at_position_zero(name)
    tap = plan_of(model).taps["attn.q", 1]
    fused: list[torch.Tensor] = []
    hook = tap.module.register_forward_hook(lambda m, a, out: fused.append(out))
    capture(
        model,
        some_ids(),
        **({} if CASES[name].alibi else {"position_ids": torch.zeros(2, 9, dtype=torch.long)}),
    )
    hook.remove()
    widths = [seen[site, 1].shape[-1] for site in ("attn.q", "attn.k", "attn.v")]
    attention = holder(find_blocks(model, 3)[1], plan_of(model).taps["attn.o", 1].module)
    wrong = attend(name, attention, *fused[0].split(widths, dim=-1))
    assert (wrong - seen["attn.heads", 1]).abs().max() > 0.05


def test_values_of_latent_attention():
    """One token attends to itself alone, so its heads are its values."""
    seen = capture(build("deepseek-v3"), some_ids(2, 1))
    for layer in range(3):
        close(seen["attn.heads", layer], seen["attn.v", layer])
    assert seen["attn.q", 0].shape[-1] == 4 * (8 + 4)


@pytest.mark.parametrize("name", ["phi3", "gptneox", "falcon-40b", "qwen3-next"])
def test_shares_of_a_projection_pass_gradients_and_do_not_overlap(name):
    taps = plan_of(build(name)).taps
    sites = ("attn.q", "attn.k", "attn.v") if name != "qwen3-next" else ("attn.q",)
    whole = torch.randn(2, 9, taps["attn.q", 1].module.out_features, requires_grad=True)
    torch.cat([taps[site, 1].take(whole) for site in sites], -1).sum().backward()
    share = 1.0 if name != "qwen3-next" else 0.5
    places = taps["attn.q", 1].take(torch.arange(whole.shape[-1]))
    close(whole[..., places], taps["attn.q", 1].take(whole))  # where to write what was read
    assert whole.grad is not None
    assert set(whole.grad.unique().tolist()) <= {0.0, 1.0}  # nothing is taken twice
    assert float(whole.grad.mean()) == share


def reasons(name: str, *sites: str) -> dict[tuple[str, int], str]:
    return {key: reason for key, reason in plan_of(build(name)).absent.items() if key[0] in sites}


def test_mixtures_of_experts_have_one_output_and_no_up():
    said = reasons("qwen3-moe", *SITES)
    assert said.keys() == {
        (site, layer) for site in ("mlp.up", "mlp.gate", "mlp.act", "mlp.down") for layer in (1, 2)
    }
    assert "layer 1 is a mixture of experts" in said["mlp.up", 1]
    for name in ("mixtral", "gpt-oss", "deepseek-v3", "jamba"):
        assert not reasons(name, "mlp.out")
    for name in (
        "gemma4-moe",
        "granite4-moe",
        "granite-moe-shared",
        "granite-moe-swa",
    ):  # experts and MLP are added outside of both
        assert "adds experts" in reasons(name, "mlp.out")["mlp.out", 0]
        assert ("mlp.down", 0) in reasons(name, "mlp.down")


def test_layers_without_attention_or_keys_say_so():
    assert "recurrent or convolutional" in reasons("qwen3-next", "attn.q")["attn.q", 0]
    assert reasons("qwen3-next", "attn.q").keys() == {("attn.q", 0)}
    assert "recurrent or convolutional" in reasons("lfm2", "attn.o")["attn.o", 0]
    assert not reasons("falcon-h1", *SITES)
    for name in ("gemma3n", "gemma4"):
        assert reasons(name, *SITES).keys() == {
            (site, layer) for site in ("attn.k", "attn.v") for layer in (2, 3)
        }
        assert "earlier layer" in reasons(name, "attn.k")["attn.k", 2]
    assert "has no v_proj" in reasons("gemma4-no-v", "attn.v")["attn.v", 1]
    assert "recurrent" in reasons("mamba", "attn.q")["attn.q", 0]
    assert "no gate" in reasons("gpt2", "mlp.gate")["mlp.gate", 0]


def test_all_means_what_the_model_has_once():
    assert plan_of(build("llama"), ["all"]).sites == SITES[:-1]
    assert plan_of(build("mixtral"), ["all"]).sites == SITES
    assert plan_of(build("llama"), ["mlp.out", "all"]).sites == SITES
    assert plan_of(build("llama"), ["mlp.up", "resid"]).sites == ("resid", "mlp.up")
    assert check_sites(["mlp.up", "all", "resid"]) == ("all", "resid", "mlp.up")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'mlp\.gate'"):
        check_sites(["mlp.gates"])


def test_only_what_was_asked_for():
    plan = plan_sites(build("llama"), 3, ["attn.q", "resid"], (EMB, 1))
    assert plan.taps.keys() == {("resid", EMB), ("resid", 1), ("attn.q", 1)}
    assert not plan.absent


class Strange(nn.Module):
    """An architecture nobody knows, whose blocks return tuples."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(8, 8)

        def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, None]:
            return hidden_states + self.mix(hidden_states), None

    def __init__(self, **names: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Strange.Block() for _ in range(2))
        self.config = SimpleNamespace(hidden_size=8, num_attention_heads=2)
        for block in self.layers:
            block.self_attn = nn.ModuleDict(names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.layers:
            x = block(hidden_states=x)[0]
        return x


def test_an_unknown_architecture_gives_its_stream():
    model, x = Strange(), torch.randn(2, 5, 8)
    plan = plan_sites(model, 2, ["all"], (EMB, 0, 1))
    assert plan.taps.keys() == {("resid", EMB), ("resid", 0), ("resid", 1)}
    assert all("unknown architecture Strange" in plan.absent[site, 0] for site in SITES[1:-1])
    seen = {}
    watch(plan, lambda site, layer, values: seen.__setitem__(layer, values))
    close(model(x), seen[1])
    close(x, seen[EMB])
    close(x + model.layers[0].mix(x), seen[0])


def test_standard_names_are_read_unless_widths_disagree():
    wide = {
        "q_proj": nn.Linear(8, 16),
        "k_proj": nn.Linear(8, 4),
        "v_proj": nn.Linear(8, 4),
        "o_proj": nn.Linear(8, 8),
    }
    model = Strange(**wide)
    for block in model.layers:
        block.self_attn = nn.ModuleDict(
            {key: nn.Linear(m.in_features, m.out_features) for key, m in wide.items()}
        )
    plan = plan_sites(model, 2, ["all"], (0,))
    assert {site for site, _ in plan.taps} == {"resid", "attn.k", "attn.v", "attn.heads", "attn.o"}
    assert "has width 16 and its attn.heads 8" in plan.absent["attn.q", 0]
    shared = plan_sites(Strange(**wide), 2, ["attn.k"], (0, 1))
    assert "shares the module" in shared.absent["attn.k", 1]


def test_modules_that_do_not_say_their_width():
    """Packed weights have no width of their own to show; the config has."""

    class Packed(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.call = inner.forward

    model = t.LlamaForCausalLM(t.LlamaConfig(**{**DIMENSIONS, "head_dim": 16}))
    expected = {key: tap.width for key, tap in plan_of(model).taps.items()}
    for block in model.model.layers:
        for holds in (block.self_attn, block.mlp):
            for name, child in list(holds.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(holds, name, Packed(child))
    assert {key: tap.width for key, tap in plan_of(model).taps.items()} == expected


def test_several_sites_share_one_hook():
    model = build("phi3")
    hooks = watch(plan_of(model), lambda *_: None)
    for hook in hooks:
        hook.remove()
    # per layer: block, qkv, o before and after, gate_up before and after, down before and after,
    # MLP; and block 0 before, twice
    assert len(hooks) == 3 * 9 + 2


def test_no_blocks_no_plan():
    with pytest.raises(RunError, match="no list of 2 blocks"):
        plan_sites(nn.Linear(2, 2), 2, ["resid"], (0,))


def test_the_table_names_each_architecture_once():
    names = [name for family in known_families() for name in family.model_types]
    assert len(names) == len(set(names))
    assert set(COMPONENTS) < set(SITES)
    assert SITES.index("mlp.in") == SITES.index("mlp.up") - 1
    assert COMPONENTS == (
        "attn.q",
        "attn.k",
        "attn.v",
        "attn.o",
        "mlp.up",
        "mlp.down",
        "mlp.gate",
    )  # as published
    for family in FAMILIES:
        assert family.places.keys() <= set(SITES)
        assert family.missing.keys() | family.places.keys() == set(SITES[1:])
        assert family.sites[0] == "resid"
