"""Passes that begin at a block: those before it are left out. Replacing something in a block
changes nothing before it, so that over all blocks half of the work is spared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import nn

T = TypeVar("T")
BESIDE_THE_STREAM = (AttributeError, IndexError, KeyError, TypeError)
"""What a block raises that wants more of those before it than the stream, such as their keys."""


@dataclass(frozen=True, slots=True, eq=False)
class Resumed:
    """What each block of a pass gave."""

    blocks: Sequence[nn.Module]
    outputs: Sequence[Any]
    """One per block: a tensor, or a tuple that begins with one."""

    @classmethod
    def after(cls, blocks: Sequence[nn.Module], whole: Callable[[], T]) -> tuple[Resumed, T]:
        """Of the pass that `whole` makes, and what that returns."""
        with _outputs(blocks) as outputs:
            found = whole()
        return cls(blocks, outputs), found

    @contextmanager
    def at(self, layer: int) -> Iterator[None]:
        """Meanwhile a pass begins at this block: those before it all give what the last of them
        gave, and nothing inside them is run."""
        given = _copy(self.outputs[layer - 1]) if layer else None

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            return given

        before = self.blocks[:layer]
        own = [vars(block).get("forward") for block in before]  # that of a device map
        for block in before:
            block.forward = stand_in
        try:
            yield
        finally:
            for block, forward in zip(before, own, strict=True):
                if forward is None:
                    del block.forward
                else:
                    block.forward = forward

    def holds(self, whole: Callable[[], object]) -> bool:
        """Does a pass that begins at the last block give there what the whole one gave? It does not
        where blocks take more from those before them than the stream."""
        import torch

        last = len(self.blocks) - 1
        try:
            with self.at(last), _outputs(self.blocks[last:]) as outputs:
                whole()
        except BESIDE_THE_STREAM:
            return False
        return bool(torch.equal(_stream(outputs[0]), _stream(self.outputs[last])))


@contextmanager
def _outputs(blocks: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """Meanwhile what each of these blocks gives is put into the list."""
    kept: list[Any] = []

    def keep(module: Any, args: Any, output: Any) -> None:
        kept.append(_copy(output))

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _stream(output: Any) -> torch.Tensor:
    """The hidden states among what a block gave."""
    return output[0] if isinstance(output, tuple) else output


def _copy(output: Any) -> Any:
    """What a block gave, of its own memory: some models change it in place."""
    own = _stream(output).detach().clone()
    return (own, *output[1:]) if isinstance(output, tuple) else own
