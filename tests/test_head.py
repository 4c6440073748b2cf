"""What is kept of next-token distributions, and the vocabulary projection at wanted places only."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from probebench.errors import RunError
from probebench.models.passes import token_scores as module
from probebench.models.passes.head import CHUNK_BYTES, Head
from probebench.models.passes.live_bytes import LiveBytes
from probebench.models.passes.scored import score_answers
from probebench.models.passes.token_scores import token_scores


def by_formula(logits, chosen):
    """Four passes in double precision."""
    logits = logits.double()
    logprobs = logits.log_softmax(dim=-1)
    entropy = -(logprobs.exp() * logprobs).nan_to_num(0.0).sum(dim=-1)
    own = chosen[:, None]
    return logprobs.gather(-1, own)[:, 0], logits.gather(-1, own)[:, 0], entropy


def some_logits(kind):
    logits = torch.randn((7, 1000), generator=torch.Generator().manual_seed(0)) * 5
    if kind == "barred":  # most tokens cannot come, as in a constrained answer
        logits[:, 3:] = -torch.inf
        logits[2, 1:] = -torch.inf
    if kind == "huge":
        logits[:, 5] = 1e30
    return logits.bfloat16() if kind == "bfloat16" else logits


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize("kind", ["plain", "barred", "huge", "bfloat16"])
@pytest.mark.parametrize("block", [1, 2 * 4000, 2**20])
def test_scores_are_those_of_log_softmax(kind, greedy, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", block)
    logits = some_logits(kind)
    chosen = logits.argmax(dim=-1) if greedy else torch.arange(7)
    found = token_scores(logits, None if greedy else chosen)
    assert found.tokens.equal(chosen)
    expected = by_formula(logits, chosen)
    for a, b in zip((found.logprobs, found.logits, found.entropies), expected, strict=True):
        assert not a.isnan().any()
        torch.testing.assert_close(a.double(), b, atol=1e-5, rtol=1e-6)


def test_the_first_of_equals_is_the_greedy_one():
    assert token_scores(torch.zeros((2, 9))).tokens.tolist() == [0, 0]


def test_no_more_than_a_chunk_of_the_vocabulary_is_there_at_once(loaded, monkeypatch):
    model = loaded()
    size = model.model.config.vocab_size
    sequences = [((1, 2), tuple(range(3, 60)))] * 8
    whole = score_answers(model, sequences)
    peaks = []
    for rows in (4, 8 * 57):
        monkeypatch.setattr("probebench.models.passes.head.CHUNK_BYTES", rows * 4 * size)
        with LiveBytes() as live:
            found = score_answers(model, sequences)
        peaks.append(live.peak)
        for a, b in zip(whole, found, strict=True):
            for x, y in zip(a, b, strict=True):
                assert abs(x - y).max() < 1e-5
    assert peaks[1] - peaks[0] > 400 * 4 * size


def test_chunks_of_a_large_vocabulary_are_bounded():
    config = SimpleNamespace(get_text_config=lambda decoder: SimpleNamespace(vocab_size=262_144))
    head = Head(SimpleNamespace(model=SimpleNamespace(config=config)))
    assert head.rows * 262_144 * 4 <= CHUNK_BYTES


class Around(nn.Module):
    """A model that makes logits without asking its base."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.fails = nn.Linear(2, 2), False
        self.config = SimpleNamespace(get_text_config=lambda decoder: SimpleNamespace(vocab_size=9))

    def forward(self, input_ids, use_cache):
        if self.fails:
            raise ValueError("no")
        return SimpleNamespace(logits=torch.zeros(1, 3, 9))


def test_a_model_that_goes_around_its_base_is_one_clear_line():
    model = Around()
    head = Head(SimpleNamespace(model=model, base=model.base, device=torch.device("cpu")))
    with pytest.raises(RunError, match="Around makes its logits of something else"):
        list(head.logits(torch.zeros(3, 2)))


def test_the_base_is_itself_again_after_a_failure():
    model = Around()
    model.fails, kept = True, model.base.forward
    model.base.forward = own = lambda x: kept(x)  # as devices that are spread have it
    head = Head(SimpleNamespace(model=model, base=model.base, device=torch.device("cpu")))
    with pytest.raises(ValueError, match="no"):
        list(head.logits(torch.zeros(3, 2)))
    assert model.base.forward is own
