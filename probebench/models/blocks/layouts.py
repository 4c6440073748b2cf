"""Layouts: where each architecture keeps its queries, keys, values and MLP, one row per family.

Paths and the order inside fused projections are those of the modelling files of transformers 5.
Queries, keys and values fused into one projection differ most: a flat split of GPT-NeoX has the
right shape and the wrong numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from probebench.models.blocks.modules import Side

if TYPE_CHECKING:
    from torch import Tensor

SITES = tuple(
    (
        "resid attn.q attn.k attn.v attn.heads attn.o mlp.in mlp.up mlp.gate mlp.act mlp.down "
        "mlp.out"
    ).split()
)
COMPONENTS = ("attn.q", "attn.k", "attn.v", "attn.o", "mlp.up", "mlp.down", "mlp.gate")
"""Columns of the published layer x component map, in its order."""

SAME_MLP = {"mlp.up": "mlp.act", "mlp.gate": "mlp.act"}
SAME_WIDTH = {"attn.q": "attn.heads", "attn.k": "attn.v", "attn.v": "attn.k", **SAME_MLP}


@dataclass(frozen=True, slots=True)
class Rows:
    """A share of a fused projection: `groups` equal parts of `rows` equal rows each, and of every
    part rows start:stop."""

    groups: int
    rows: int
    start: int
    stop: int

    def take(self, x: Tensor) -> Tensor:
        """(..., width of the projection) -> (..., width of the share)."""
        return x.unflatten(-1, (self.groups, self.rows, -1))[
            ..., self.start : self.stop, :
        ].flatten(-3)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one site is found in a block."""

    path: str
    """Dotted path from the block to the module; alternatives are separated by `|`, the first one
    there is taken."""
    side: Side = "output"
    rows: Callable[[Any], Rows] | None = None
    """From the config to the site's share of the module's width. None: all of it."""


@dataclass(frozen=True, slots=True)
class Family:
    """Architectures that keep their sites in the same places."""

    name: str
    model_types: tuple[str, ...]
    """`config.model_type` of each; of the text part where a model has several."""
    places: Mapping[str, Place]
    """Site to place, `resid` left out: it is found alike everywhere."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Site to the reason why no layer has it."""
    same_width: Mapping[str, str] = field(default_factory=lambda: SAME_WIDTH)
    """Site to one of equal width. A projection of another width holds more than its name says, and
    is not read."""
    state_over_padding: bool = False
    """Generating runs a state over padding on the left: only prompts of equal length may be
    answered together."""
    stream: str = ""
    """Where blocks pass on several streams, stacked in front: the config's name for the number of
    the one that is read."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that some layer of these models has, in order."""
        return tuple(s for s in SITES if s == "resid" or s in self.places)


Layout = Callable[[Any], tuple[Rows, Rows, Rows]]
"""From the config to the rows of queries, keys and values in a fused projection."""


def _flat(heads: int, kv_heads: int) -> tuple[Rows, Rows, Rows]:
    """All queries, then all keys, then all values."""
    n = heads + 2 * kv_heads
    return (
        Rows(1, n, 0, heads),
        Rows(1, n, heads, heads + kv_heads),
        Rows(1, n, heads + kv_heads, n),
    )


def _grouped(heads: int, kv_heads: int) -> tuple[Rows, Rows, Rows]:
    """Per key-value head: its queries, its key, its value."""
    n = heads // kv_heads + 2
    return Rows(kv_heads, n, 0, n - 2), Rows(kv_heads, n, n - 2, n - 1), Rows(kv_heads, n, n - 1, n)


def flat(config: Any) -> tuple[Rows, Rows, Rows]:
    """All queries, then all keys, then all values, as in GPT-2 and Phi-3."""
    heads: int = config.num_attention_heads
    return _flat(heads, getattr(config, "num_key_value_heads", None) or heads)


def per_head(config: Any) -> tuple[Rows, Rows, Rows]:
    """Query, key and value of head 0, then of head 1 ..., as in GPT-NeoX and BLOOM."""
    return _grouped(config.num_attention_heads, config.num_attention_heads)


def falcon(config: Any) -> tuple[Rows, Rows, Rows]:
    """Three layouts: per key-value head (40B, 180B), one key and value after all queries (7B), per
    head (RW)."""
    if config.new_decoder_architecture:
        return _grouped(config.num_attention_heads, config.num_kv_heads)
    return _flat(config.num_attention_heads, 1) if config.multi_query else per_head(config)


def bigcode(config: Any) -> tuple[Rows, Rows, Rows]:
    """One key and value after all queries, or per head."""
    return _flat(config.num_attention_heads, 1) if config.multi_query else per_head(config)


def codegen(config: Any) -> tuple[Rows, Rows, Rows]:
    """Four parts, one per accelerator of its training, each with its queries, values and keys, in
    this order."""
    return Rows(4, 3, 0, 1), Rows(4, 3, 2, 3), Rows(4, 3, 1, 2)


def _gated_q(config: Any) -> Rows:
    """Per head its query, then the gate of its output."""
    return Rows(config.num_attention_heads, 2, 0, 1)


def _latent_v(config: Any) -> Rows:
    """Per head the part of its key without positions, then its value."""
    key, value = config.qk_nope_head_dim, config.v_head_dim
    return Rows(config.num_attention_heads, key + value, key, key + value)


def fused(path: str, layout: Layout) -> dict[str, Place]:
    """Queries, keys and values in one projection."""

    def share(k: int) -> Place:
        return Place(path, rows=lambda config: layout(config)[k])

    return {site: share(k) for k, site in enumerate(("attn.q", "attn.k", "attn.v"))}


def separate(module: str) -> dict[str, Place]:
    """Queries, keys and values in projections of their own."""
    return {f"attn.{x}": _under(module, f"{x}_proj") for x in "qkv"}


def output(module: str, leaf: str = "o_proj") -> dict[str, Place]:
    """The projection after attention: heads go in, `attn.o` comes out."""
    place = _under(module, leaf)
    return {"attn.heads": Place(place.path, "input"), "attn.o": place}


def gated(
    module: str = "mlp", gate: str = "gate_proj", up: str = "up_proj", down: str = "down_proj"
) -> dict[str, Place]:
    """An MLP with a gate: down(act(gate(x)) * up(x))."""
    return {"mlp.gate": _under(module, gate), **plain(module, up, down)}


def plain(module: str, up: str, down: str, out: str | None = None) -> dict[str, Place]:
    """An MLP without a gate: down(act(up(x))). `out`: where its output is, if not that of the
    module."""
    first, last = _under(module, up), _under(module, down)
    places = {"mlp.up": first, "mlp.act": Place(last.path, "input"), "mlp.down": last}
    return {"mlp.in": enters(first.path, module), **places, "mlp.out": Place(out or module)}


def enters(up: str, module: str) -> Place:
    """What goes into the projection up; a mixture, which has none of its own, is entered as a
    whole."""
    return Place("|".join(filter(None, (up, module))), "input")


def halves(path: str) -> dict[str, Place]:
    """Gate and up in one projection, the gate first."""
    return {
        "mlp.gate": Place(path, rows=lambda _: Rows(1, 2, 0, 1)),
        "mlp.up": Place(path, rows=lambda _: Rows(1, 2, 1, 2)),
    }


def four_h(attention: str, layout: Layout, out: str | None = None) -> dict[str, Place]:
    """Megatron's names, which GPT-NeoX, Falcon and BLOOM share."""
    mlp = plain("mlp", "dense_h_to_4h", "dense_4h_to_h", out)
    return {**fused(f"{attention}.query_key_value", layout), **output(attention, "dense"), **mlp}


def _under(module: str, leaf: str) -> Place:
    """`leaf` in `module`, for every alternative of both."""
    return Place(
        "|".join(".".join(filter(None, (m, x))) for m in module.split("|") for x in leaf.split("|"))
    )


SELF, TIME = "self_attn", "temporal_block"
QKV, OUT = separate(SELF), output(SELF)
LLAMA = {**QKV, **OUT, **gated()}
FUSED_GATE = {**plain("mlp", "gate_up_proj", "down_proj"), **halves("mlp.gate_up_proj")}
FC, FC_IN, C_FC = (
    plain("mlp", "fc1", "fc2"),
    plain("mlp", "fc_in", "fc_out"),
    plain("mlp", "c_fc", "c_proj"),
)
NO_GATE = {"mlp.gate": "its MLP has no gate"}
RECURRENT = {
    s: f"recurrent throughout, it has no {'attention' if s.startswith('attn') else 'MLP'}"
    for s in SITES[1:]
}
LATENT = {
    "attn.k": (
        "its keys come out of a shared compression in two parts, so no projection gives whole keys"
    )
}


def _types(names: str) -> tuple[str, ...]:
    return tuple(names.split())


FAMILIES = (
    Family(
        "Llama",
        _types(
            "llama mistral ministral ministral3 qwen2 qwen3 gemma gemma2 gemma3_text gemma4_text "
            "vaultgemma olmo olmo2 olmo3 "
            "olmo_hybrid granite granite_swa cohere cohere2 stablelm smollm3 seed_oss helium "
            "ernie4_5 exaone4 bitnet cwm "
            "hyperclovax diffllama hunyuan_v1_dense qwen2_vl_text qwen2_5_vl_text qwen3_vl_text "
            "mllama_text_model emu3_text_model "
            "chameleon"
        ),
        LLAMA,
    ),
    Family(
        "Mixtral",
        _types(
            "mixtral qwen2_moe qwen3_moe gpt_oss olmoe flex_olmo dots1 ernie4_5_moe glm4_moe "
            "cohere2_moe exaone_moe phimoe "
            "minimax_m2 solar_open aria_text hunyuan_v1_moe afmoe qwen3_vl_moe_text"
        ),
        LLAMA,
    ),
    Family(
        "GraniteMoE",
        _types("granitemoe granitemoe_swa"),
        {**LLAMA, "mlp.in": enters("", "block_sparse_moe"), "mlp.out": Place("block_sparse_moe")},
    ),
    Family(
        "Granite 4",
        _types("granitemoehybrid granitemoeshared"),
        {
            **LLAMA,
            **plain("shared_mlp", "input_linear", "output_linear", "shared_mlp|block_sparse_moe"),
            **halves("shared_mlp.input_linear"),
            "mlp.in": enters("", "block_sparse_moe|shared_mlp"),  # both take the same vectors
        },
    ),
    Family("Gemma 3n", ("gemma3n_text",), LLAMA, stream="altup_active_idx"),
    Family(
        "Qwen3-Next",
        _types("qwen3_next qwen3_5_text qwen3_5_moe_text"),
        {**LLAMA, "attn.q": Place("self_attn.q_proj", rows=_gated_q)},
    ),
    Family(
        "DeepSeek",
        _types("deepseek_v2 deepseek_v3 minicpm3 glm4_moe_lite youtu"),
        {
            "attn.q": Place("self_attn.q_b_proj|self_attn.q_proj"),
            "attn.v": Place("self_attn.kv_b_proj", rows=_latent_v),
            **OUT,
            **gated(),
        },
        LATENT,
        same_width=SAME_MLP,  # a query holds positions beside what it shares with the values' width
    ),
    Family("Phi-3", ("phi3",), {**fused("self_attn.qkv_proj", flat), **OUT, **FUSED_GATE}),
    Family("GLM", _types("glm glm4 glm4v_text"), {**QKV, **OUT, **FUSED_GATE}),
    Family(
        "Nemotron",
        _types("nemotron arcee apertus jais2"),
        {**QKV, **OUT, **plain("mlp", "up_proj", "down_proj")},
        NO_GATE,
    ),
    Family("StarCoder2", ("starcoder2",), {**QKV, **OUT, **C_FC}, NO_GATE),
    Family("NanoChat", ("nanochat",), {**QKV, **OUT, **FC}, NO_GATE),
    Family("Phi", ("phi",), {**QKV, **output(SELF, "dense"), **FC}, NO_GATE),
    Family(
        "OPT",
        _types("opt xglm biogpt"),
        {**QKV, **output(SELF, "out_proj"), **plain("", "fc1", "fc2", "fc2")},
        NO_GATE,
    ),
    Family(
        "GPT-2",
        ("gpt2",),
        {**fused("attn.c_attn", flat), **output("attn", "c_proj"), **C_FC},
        NO_GATE,
    ),
    Family(
        "GPT-BigCode",
        ("gpt_bigcode",),
        {**fused("attn.c_attn", bigcode), **output("attn", "c_proj"), **C_FC},
        NO_GATE,
    ),
    Family(
        "GPT-Neo",
        ("gpt_neo",),
        {**separate("attn.attention"), **output("attn.attention", "out_proj"), **C_FC},
        NO_GATE,
    ),
    Family(
        "GPT-J", ("gptj",), {**separate("attn"), **output("attn", "out_proj"), **FC_IN}, NO_GATE
    ),
    Family(
        "CodeGen",
        ("codegen",),
        {**fused("attn.qkv_proj", codegen), **output("attn", "out_proj"), **FC_IN},
        NO_GATE,
    ),
    Family("GPT-NeoX", ("gpt_neox",), four_h("attention", per_head), NO_GATE),
    Family("Persimmon", ("persimmon",), four_h("self_attn", per_head), NO_GATE),
    Family("Falcon", ("falcon",), four_h("self_attention", falcon), NO_GATE),
    # the MLP modules of BLOOM and MPT return the residual stream with their output added
    Family(
        "BLOOM", ("bloom",), four_h("self_attention", per_head, out="mlp.dense_4h_to_h"), NO_GATE
    ),
    Family(
        "MPT",
        ("mpt",),
        {
            **fused("attn.Wqkv", flat),
            **output("attn", "out_proj"),
            **plain("ffn", "up_proj", "down_proj", "ffn.down_proj"),
        },
        NO_GATE,
    ),
    Family(
        "Llama 4",
        _types("llama4_text falcon_h1 jamba bamba"),
        {**QKV, **OUT, **gated("feed_forward")},
    ),
    Family(
        "LFM2",
        _types("lfm2 lfm2_moe"),
        {**QKV, **output(SELF, "out_proj"), **gated("feed_forward", "w1", "w3", "w2")},
    ),
    Family("MiniMax", ("minimax",), LLAMA, state_over_padding=True),
    Family(
        "RecurrentGemma",
        ("recurrent_gemma",),
        {**separate(TIME), **output(TIME), **gated("mlp_block")},
        state_over_padding=True,
    ),
    Family(
        "Nemotron-H",
        ("nemotron_h",),
        {**separate("mixer"), **output("mixer"), **plain("mixer", "up_proj", "down_proj")},
        NO_GATE,
    ),
    Family("Mamba", _types("mamba mamba2 falcon_mamba"), {}, RECURRENT),
)
WITH_PICTURES = _types(
    "aria aya_vision chameleon deepseek_vl emu3 fuyu gemma3 glm4v got_ocr2 idefics2 idefics3 "
    "internvl lfm2_vl llama4 llava "
    "llava_next llava_onevision mistral3 mllama ovis2 paligemma qwen2_5_vl qwen2_audio qwen2_vl "
    "qwen3_vl qwen3_vl_moe smolvlm "
    "video_llava vipllava voxtral"
)
"""Types of models that see or hear, whose text part is of one of the families; each is tested."""
ANY, ANY_MLP = "self_attn|attn|attention", "mlp|feed_forward|ffn"
STANDARD = Family(
    "standard names",
    (),
    {
        **separate(ANY),
        **output(ANY, "o_proj|out_proj"),
        **gated(ANY_MLP),
        # a module of unknown make may return more than its down projection does, as BLOOM's; a
        # mixture has no other output
        "mlp.out": Place("|".join([*(f"{m}.down_proj" for m in ANY_MLP.split("|")), ANY_MLP])),
    },
)
"""For architectures that no family lists: names that mean the same wherever they stand."""


def family_of(model_type: str) -> Family | None:
    """The family of a `config.model_type`."""
    return next((f for f in FAMILIES if model_type in f.model_types), None)
