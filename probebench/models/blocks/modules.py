"""What stands in a decoder's block: modules found by path, mixtures told from MLPs, and how wide
they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from torch import nn

Side = Literal["input", "output"]


def walk(block: nn.Module, path: str) -> nn.Module | None:
    """The module at the first alternative of `path` that exists."""
    for alternative in path.split("|"):
        module: Any = block
        for name in alternative.split("."):
            module = getattr(module, name, None)
        if hasattr(module, "register_forward_hook"):
            return cast("nn.Module", module)
    return None


def has_experts(module: nn.Module) -> bool:
    """Whether the module holds the experts of a mixture."""
    return any("experts" in name for name, _ in module.named_children())


def features(module: nn.Module, side: Side) -> int | None:
    """Width by the module itself, quantised or not; GPT-2's Conv1D has its own names."""
    names = ("in_features", "nx") if side == "input" else ("out_features", "nf")
    return next((value for n in names if isinstance(value := getattr(module, n, None), int)), None)


def expected_width(config: Any, site: str) -> int:
    """Width by the config, for modules that do not say theirs."""
    if site in ("attn.o", "mlp.in", "mlp.down", "mlp.out"):
        return int(config.hidden_size)
    if site.startswith("mlp"):
        return int(config.intermediate_size)
    heads: int = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(
        size
        * (
            getattr(config, "num_key_value_heads", None) or heads
            if site in ("attn.k", "attn.v")
            else heads
        )
    )
