"""What looks on while an answer is generated: texts that end it, and the scores of every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from probebench.models.handles import LoadedModel

if TYPE_CHECKING:
    import torch


class StopText:
    """Ends each row whose last tokens spell a stop text."""

    def __init__(self, loaded: LoadedModel, texts: tuple[str, ...], start: int) -> None:
        self.tokenizer, self.texts, self.start = loaded.tokenizer, texts, start
        self.tail = max(map(len, texts)) + 2  # a token is at least one byte

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        import torch

        tails = input_ids[:, max(self.start, input_ids.shape[1] - self.tail) :].tolist()
        ended = [
            any(t in text for t in self.texts)
            for text in self.tokenizer.batch_decode(tails, skip_special_tokens=True)
        ]
        return torch.tensor(ended, device=input_ids.device)


class Watch:
    """A logits processor that changes nothing and notes the greedy token's scores at every step."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        logprobs = torch.log_softmax(scores.float(), dim=-1)
        best = scores.argmax(dim=-1, keepdim=True)
        entropy = -(logprobs.exp() * logprobs).nan_to_num(0.0).sum(-1)
        chosen = torch.stack(
            [logprobs.gather(-1, best)[:, 0], scores.gather(-1, best)[:, 0].float(), entropy]
        )
        self.steps.append(chosen)
        return scores

    def table(self) -> Any:
        """(log-probability | logit | entropy, example, step)."""
        import torch

        return torch.stack(self.steps, dim=-1).cpu().numpy()
