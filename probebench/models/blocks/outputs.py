"""What a module gives: a tensor, or a tuple that begins with one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def states_in(output: Any) -> torch.Tensor:
    """The hidden states among what a module gave."""
    return output[0] if isinstance(output, tuple) else output


def with_states(output: Any, states: torch.Tensor) -> Any:
    """What a module gave, with other hidden states."""
    return (states, *output[1:]) if isinstance(output, tuple) else states
