"""Passes that begin at a block: those before it are left out. Replacing something in a block
changes nothing before it, so that over all blocks half of the work is spared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from probebench.models.blocks.forwards import forwards
from probebench.models.blocks.outputs import states_in, with_states

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Resumed:
    """What each block of a pass gave."""

    blocks: Sequence[nn.Module]
    outputs: Mapping[int, Sequence[Any]]
    """By block that was called, of each call: a tensor, or a tuple that begins with one."""

    @classmethod
    def after(cls, blocks: Sequence[nn.Module], whole: Callable[[], T]) -> tuple[Resumed, T]:
        """Of the pass that `whole` makes, and what that returns."""
        with _outputs(blocks) as outputs:
            found = whole()
        return cls(blocks, outputs), found

    def at(self, layer: int) -> AbstractContextManager[None]:
        """Meanwhile a pass begins at this block: those before it give what they gave, and nothing
        inside them is run."""
        return self._without(range(layer))

    def _without(self, layers: Iterable[int]) -> AbstractContextManager[None]:
        def standing_in(output: Any) -> Callable[..., Any]:
            return lambda *args, **kwargs: _copy(output)

        called = [i for i in layers if i in self.outputs]
        return forwards([(self.blocks[i], standing_in(self.outputs[i][0])) for i in called])

    def holds(self, whole: Callable[[], object]) -> bool:
        """Does every block give what it gave when no other is run? It does not, or raises, where
        blocks take more from those before them than the stream, such as their keys, or where a
        block stands in the model twice."""
        import torch

        if any(len(calls) > 1 for calls in self.outputs.values()):
            return False
        # what a block leaves behind comes too late for later ones
        for layer in reversed(list(self.outputs)):
            (own,) = self.outputs[layer]
            others = [i for i in self.outputs if i != layer]
            try:
                with self._without(others), _outputs([self.blocks[layer]]) as outputs:
                    whole()
            except (torch.OutOfMemoryError, MemoryError):
                raise
            except Exception:  # whatever a block says that lacks something of an earlier one
                return False
            if not torch.equal(states_in(outputs[0][0]), states_in(own)):
                return False
        return True


@contextmanager
def _outputs(blocks: Sequence[nn.Module]) -> Iterator[dict[int, list[Any]]]:
    """Meanwhile what each of these blocks gives is kept by its number."""
    kept: dict[int, list[Any]] = {}

    def keep(layer: int, module: Any, args: Any, output: Any) -> None:
        kept.setdefault(layer, []).append(_copy(output))

    hooks = [block.register_forward_hook(partial(keep, k)) for k, block in enumerate(blocks)]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _copy(output: Any) -> Any:
    """What a block gave, of its own memory: some models change it in place."""
    return with_states(output, states_in(output).detach().clone())
