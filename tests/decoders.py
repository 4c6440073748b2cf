"""Small random causal language models of every family, from configs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as t
from conftest import byte_level_tokenizer
from torch import nn

OLD = tuple(map(int, t.__version__.split(".")[:2])) < (5, 20)
"""Some of these architectures are younger than the oldest transformers that the package runs
with."""


DIMENSIONS = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


GPT = {"vocab_size": 64, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}


TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


EXPERTS = {
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}


LINEAR_ATTENTION = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}


@dataclass(frozen=True)
class Case:
    """One architecture."""

    config: str
    arguments: dict[str, object]
    adds: bool = True
    """Blocks add `attn.o` and `mlp.out` to the stream, unscaled and without norms after them."""
    alibi: bool = False
    """Attention is biased by distance."""


def llama_like(config: str, adds: bool = True, **arguments: object) -> Case:
    return Case(config, {**DIMENSIONS, **arguments}, adds)


CASES = {
    "llama": llama_like("LlamaConfig", attention_bias=True, mlp_bias=True),
    "mistral": llama_like("MistralConfig", head_dim=16),
    "qwen2": llama_like("Qwen2Config"),
    "qwen3": llama_like("Qwen3Config", head_dim=16),
    "gemma": llama_like("GemmaConfig", head_dim=8),
    "gemma2": llama_like("Gemma2Config", adds=False, head_dim=8, attn_logit_softcapping=5.0),
    "gemma3": llama_like("Gemma3TextConfig", adds=False, head_dim=8),
    "gemma3n": llama_like(
        "Gemma3nTextConfig",
        adds=False,
        head_dim=8,
        num_hidden_layers=4,
        num_kv_shared_layers=2,
        layer_types=["sliding_attention", "full_attention"] * 2,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=64,
        laurel_rank=4,
        intermediate_size=[40, 48, 40, 48],
        activation_sparsity_pattern=[0.0] * 4,
    ),
    "gemma4": llama_like(
        "Gemma4TextConfig",
        adds=False,
        head_dim=8,
        global_head_dim=16,
        num_hidden_layers=4,
        num_kv_shared_layers=2,
        layer_types=["sliding_attention", "full_attention"] * 2,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=64,
    ),
    "gemma4-no-v": llama_like(
        "Gemma4TextConfig",
        adds=False,
        head_dim=8,
        global_head_dim=16,
        num_global_key_value_heads=1,
        num_hidden_layers=2,
        num_kv_shared_layers=0,
        layer_types=["sliding_attention", "full_attention"],
        hidden_size_per_layer_input=0,
        attention_k_eq_v=True,
    ),
    "gemma4-moe": llama_like(
        "Gemma4TextConfig",
        adds=False,
        head_dim=8,
        global_head_dim=8,
        num_hidden_layers=2,
        num_kv_shared_layers=0,
        layer_types=["sliding_attention", "full_attention"],
        hidden_size_per_layer_input=0,
        enable_moe_block=True,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=16,
    ),
    "olmo": llama_like("OlmoConfig"),
    "olmo2": llama_like("Olmo2Config", adds=False),
    "granite": llama_like(
        "GraniteConfig", adds=False, residual_multiplier=0.5, attention_multiplier=0.2
    ),
    "stablelm": llama_like("StableLmConfig", use_qkv_bias=True),
    "stablelm-parallel": llama_like("StableLmConfig", use_parallel_residual=True),
    "cohere": llama_like("CohereConfig", use_qk_norm=True),
    "cohere2": llama_like("Cohere2Config", num_hidden_layers=4),
    "smollm3": llama_like("SmolLM3Config"),
    "helium": llama_like("HeliumConfig", head_dim=8),
    "phi3": llama_like("Phi3Config"),
    "glm": llama_like("GlmConfig", head_dim=8, attention_bias=True),
    "glm4": llama_like("Glm4Config", adds=False, head_dim=8),
    "nemotron": llama_like("NemotronConfig"),
    "starcoder2": llama_like("Starcoder2Config"),
    "phi": llama_like("PhiConfig"),
    "gptneox-parallel": llama_like("GPTNeoXConfig", use_parallel_residual=True),
    "gptneox": llama_like("GPTNeoXConfig", use_parallel_residual=False),
    "persimmon": llama_like("PersimmonConfig", qk_layernorm=False),
    "opt": llama_like("OPTConfig", ffn_dim=40, word_embed_proj_dim=32),
    "opt-post-norm": llama_like(
        "OPTConfig", adds=False, ffn_dim=40, word_embed_proj_dim=16, do_layer_norm_before=False
    ),
    "gpt2": Case("GPT2Config", GPT),
    "gpt-bigcode": Case("GPTBigCodeConfig", GPT),
    "gpt-bigcode-heads": Case("GPTBigCodeConfig", {**GPT, "multi_query": False}),
    "gptj": Case("GPTJConfig", {**GPT, "rotary_dim": 4}),
    "codegen": Case("CodeGenConfig", {**GPT, "rotary_dim": 4, "n_head": 8}),
    "bloom": Case(
        "BloomConfig", {"vocab_size": 64, "hidden_size": 32, "n_layer": 3, "n_head": 4}, alibi=True
    ),
    "mpt": Case(
        "MptConfig",
        {"vocab_size": 64, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 64},
        alibi=True,
    ),
    "falcon-7b": llama_like("FalconConfig", multi_query=True, parallel_attn=True, bias=True),
    "falcon-rw": Case(
        "FalconConfig",
        {**DIMENSIONS, "multi_query": False, "parallel_attn": False, "alibi": True, "bias": True},
        alibi=True,
    ),
    "falcon-40b": llama_like(
        "FalconConfig", new_decoder_architecture=True, num_kv_heads=2, bias=True
    ),
    "mixtral": llama_like("MixtralConfig", num_local_experts=4),
    "qwen3-moe": llama_like(
        "Qwen3MoeConfig", num_experts=4, mlp_only_layers=[0], head_dim=8, **EXPERTS
    ),
    "gpt-oss": llama_like(
        "GptOssConfig",
        num_local_experts=4,
        head_dim=8,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    ),
    "granite-moe": llama_like(
        "GraniteMoeConfig", adds=False, num_local_experts=4, num_experts_per_tok=2
    ),
    "granite-moe-shared": llama_like(
        "GraniteMoeSharedConfig",
        adds=False,
        num_local_experts=4,
        num_experts_per_tok=2,
        shared_intermediate_size=40,
    ),
    "granite-moe-swa": llama_like(
        "GraniteMoeSWAConfig",
        adds=False,
        num_local_experts=4,
        num_experts_per_tok=2,
        shared_intermediate_size=40,
    ),
    "nanochat": llama_like("NanoChatConfig"),
    "minimax": llama_like(
        "MiniMaxConfig",
        adds=False,
        head_dim=8,
        num_local_experts=2,
        layer_types=["linear_attention", "full_attention", "full_attention"],
    ),
    "granite4": llama_like(
        "GraniteMoeHybridConfig",
        num_local_experts=0,
        shared_intermediate_size=40,
        layer_types=["linear_attention", "full_attention", "full_attention"],
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
    ),
    "granite4-moe": llama_like(
        "GraniteMoeHybridConfig",
        num_local_experts=4,
        num_experts_per_tok=2,
        shared_intermediate_size=40,
        layer_types=["full_attention"] * 3,
        mamba_n_heads=4,
        mamba_d_head=16,
    ),
    "qwen3-next": llama_like(
        "Qwen3NextConfig",
        head_dim=8,
        num_experts=4,
        mlp_only_layers=[1],
        layer_types=["linear_attention", "full_attention", "full_attention"],
        **EXPERTS,
        **LINEAR_ATTENTION,
    ),
    "qwen3.5": llama_like(
        "Qwen3_5TextConfig",
        head_dim=8,
        layer_types=["linear_attention", "full_attention", "full_attention"],
        **LINEAR_ATTENTION,
    ),
    "falcon-h1": llama_like(
        "FalconH1Config",
        adds=False,
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
        mamba_d_ssm=64,
        mamba_n_groups=1,
        key_multiplier=0.5,
        mlp_multipliers=[2.0, 0.5],
    ),
    "jamba": llama_like(
        "JambaConfig",
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        num_experts=4,
        mamba_d_state=8,
        use_mamba_kernels=False,
    ),
    "lfm2": llama_like(
        "Lfm2Config",
        layer_types=["conv", "full_attention", "full_attention"],
        block_auto_adjust_ff_dim=False,
    ),
    "gpt-neo": Case(
        "GPTNeoConfig",
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "llama4": llama_like(
        "Llama4TextConfig",
        head_dim=8,
        num_local_experts=4,
        intermediate_size_mlp=40,
        interleave_moe_layer_step=2,
        layer_types=["chunked_attention", "chunked_attention", "full_attention"],
    ),
    "recurrent-gemma": llama_like(
        "RecurrentGemmaConfig", lru_width=32, block_types=["recurrent", "attention", "attention"]
    ),
    "nemotron-h": llama_like(
        "NemotronHConfig",
        adds=False,
        head_dim=8,
        layers_block_type=["mamba", "attention", "mlp"],
        mamba_num_heads=4,
        mamba_head_dim=16,
        ssm_state_size=8,
        n_groups=1,
    ),
    "deepseek-v3": llama_like(
        "DeepseekV3Config",
        num_key_value_heads=4,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_nope_head_dim=8,
        qk_rope_head_dim=4,
        v_head_dim=6,
        n_routed_experts=4,
        first_k_dense_replace=1,
        n_group=1,
        topk_group=1,
        n_shared_experts=1,
        **EXPERTS,
    ),
    "mamba": Case(
        "MambaConfig",
        {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 3, "state_size": 8},
    ),
    "mamba2": Case(
        "Mamba2Config",
        {
            "vocab_size": 64,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "state_size": 8,
            "num_heads": 4,
            "head_dim": 16,
            "n_groups": 1,
        },
    ),
}


@cache
def build(name: str) -> nn.Module:
    """A small random causal language model, with weights and biases large enough to matter."""
    case = CASES[name]
    try:
        config = getattr(t, case.config)(**case.arguments, **TOKENS)
    except (AttributeError, ValueError):
        if not OLD:
            raise
        pytest.skip(f"transformers {t.__version__} does not know {name} yet")
    torch.manual_seed(0)
    model = t.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.ndim > 1 and "A_log" not in key:
                p.normal_(0, 0.25)
            else:
                p.add_(torch.randn_like(p) * 0.2)
    return model


LENGTHS = (3, 14, 9, 9, 30)


UNKNOWN = {
    "rwkv": (
        "RwkvConfig",
        {"num_hidden_layers": 3, "attention_hidden_size": 32, "context_length": 64},
    ),
    "doge": (
        "DogeConfig",
        {
            "num_hidden_layers": 2,
            "intermediate_size": 40,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
    ),
    "minimax": (
        "MiniMaxConfig",
        {
            "num_hidden_layers": 2,
            "intermediate_size": 40,
            "num_attention_heads": 4,
            "head_dim": 8,
            "num_key_value_heads": 2,
            "num_local_experts": 2,
            "layer_types": ["linear_attention", "full_attention"],
        },
    ),
}


@cache
def model_of(name):
    if name in CASES:
        return build(name)
    kind, arguments = UNKNOWN[name]
    if not hasattr(t, kind):
        if not OLD:
            raise AttributeError(kind)
        pytest.skip(f"transformers {t.__version__} does not know {name} yet")
    torch.manual_seed(0)
    model = t.AutoModelForCausalLM.from_config(
        getattr(t, kind)(vocab_size=64, hidden_size=32, **arguments, **TOKENS)
    ).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.25) if p.ndim > 1 else p.add_(torch.randn_like(p) * 0.2)
    return model.requires_grad_(False)


@cache
def tokenizer():
    return byte_level_tokenizer(chat=False)


def loaded_of(name):
    model = model_of(name)
    model.generation_config = t.GenerationConfig()
    handle = SimpleNamespace(
        identity=SimpleNamespace(dtype="float32", n_layers=model.config.num_hidden_layers)
    )
    base = getattr(model, model.base_model_prefix, None) or model.model
    return SimpleNamespace(
        model=model, base=base, tokenizer=tokenizer(), device=torch.device("cpu"), handle=handle
    )


def prompts(lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return [tuple(int(i) for i in rng.integers(3, 64, n)) for n in lengths]


class Counter:
    """Tokens that go through a model, padding included, and rows of each pass."""

    def __init__(self, model):
        self.shapes = []
        self.hook = model.get_input_embeddings().register_forward_hook(
            lambda module, args, out: self.shapes.append(tuple(args[0].shape))
        )

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.hook.remove()

    @property
    def tokens(self):
        return sum(n * q for n, q in self.shapes)


def forward(folder, ids):
    """`hidden_states` of transformers, and the outputs of the blocks as hooks see them: (layer,
    token, width) each."""
    from transformers import AutoModelForCausalLM

    model, out = AutoModelForCausalLM.from_pretrained(folder).eval(), []
    base = model.base_model
    for sequence in ids:
        seen = []
        hooks = [
            block.register_forward_hook(
                lambda m, a, o, seen=seen: seen.append(
                    (o[0] if isinstance(o, tuple) else o).detach().clone()
                )
            )
            for block in (base.layers if hasattr(base, "layers") else base.h)
        ]
        with torch.inference_mode():
            hidden = (
                torch.cat(model(torch.tensor([sequence]), output_hidden_states=True).hidden_states)
                .numpy()
                .copy()
            )
        for hook in hooks:
            hook.remove()
        out.append(
            {
                "hf": hidden,
                "blocks": torch.cat(seen).numpy(),
                "tl": np.concatenate([hidden[:1], torch.cat(seen).numpy()]),
            }
        )
    return out
