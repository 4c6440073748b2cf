"""The vocabulary projection at wanted places only, in chunks of bounded size.

A causal language model is its base and what turns the base's last states into logits: a matrix as
wide as the vocabulary, and in some families a scale, a soft cap or a mask. Logits of every token
of a batch are gigabytes and mostly never looked at. Here the base runs by itself, the states of
the wanted tokens are gathered, and the rest of the model's own forward pass is run over them with
the base replaced by one that returns what it is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from probebench.errors import RunError
from probebench.models.blocks.forwards import forwards
from probebench.models.handles import LoadedModel

if TYPE_CHECKING:
    import torch

CHUNK_BYTES = 2**27
"""Of float32 logits that stand there at once; a soft cap or a change of type needs as much two
times more."""


def chunk_rows(vocabulary: int) -> int:
    """Rows of logits that are made at once, for a vocabulary of so many tokens."""
    return max(CHUNK_BYTES // (4 * vocabulary), 1)


class Head:
    """Turns the last states of a model's base, after its final norm, into logits.

    Args:
        loaded: a causal language model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        config: Any = loaded.model.config
        self.rows = chunk_rows(config.get_text_config(decoder=True).vocab_size)

    def states(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(example, token, width) the base's last states, by a pass without a cache.

        Args:
            ids: (example, token) token ids, on the model's device.
            mask: (example, token) 1 where there is a token.
        """
        out: torch.Tensor = self.loaded.base(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        return out

    def logits(self, states: torch.Tensor) -> Iterator[torch.Tensor]:
        """Logits (row, vocabulary) of states (row, width), chunk by chunk in their order.

        Raises:
            RunError: the model's forward pass goes around its base, so that its head cannot be
                told from the rest.
        """
        for chunk in states.split(self.rows):
            yield self._project(chunk)

    def _project(self, states: torch.Tensor) -> torch.Tensor:
        import torch

        model: Any = self.loaded.model
        ids = torch.zeros((1, 1), dtype=torch.long, device=self.loaded.device)
        with _instead(self.loaded, _Told(states[None])) as asked:
            logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
        if not asked or logits.shape[:2] != (1, len(states)):
            raise RunError(
                f"{type(model).__name__} makes its logits of something else than the last states "
                f"of its {type(self.loaded.base).__name__}, so answers cannot be scored by it. Its "
                "forward pass has to call that module, as those of transformers do."
            )
        return logits[0]


class _Told:
    """A base's output that holds these states, and None of all else that it may be asked for."""

    def __init__(self, states: torch.Tensor) -> None:
        self.last_hidden_state = states

    def __getitem__(self, index: Any) -> Any:
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name: str) -> None:
        return None


@contextmanager
def _instead(loaded: LoadedModel, told: Any) -> Iterator[list[bool]]:
    """The base returns `told` meanwhile; the list is filled when it is asked."""
    model: Any = loaded.model
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else loaded.base
    # OPT asks the decoder inside its base, and models with pictures the base around their decoder
    modules = [m for m in {id(m): m for m in (loaded.base, decoder)}.values() if m is not model]
    asked: list[bool] = []

    def forward(*args: Any, **kwargs: Any) -> Any:
        asked.append(True)
        return told

    with forwards([(module, forward) for module in modules]):
        yield asked
