"""Drawn answers: the same whatever the batch, with the shares that the model gives, read once a
question."""

import math
from collections import Counter as Counts

import numpy as np
import pytest
import torch
from decoders import CASES, UNKNOWN, Counter, loaded_of, prompts

from probebench.models.decoding.continuous import Decoder
from probebench.models.decoding.drawing import Drawing, Named
from probebench.models.decoding.ends import Ends
from probebench.models.generate import Request, draw
from probebench.models.passes.batches import Budget
from probebench.models.passes.scored import score_answers

LENGTHS = (3, 14, 9, 5)


def drawing(n=3, temperature=1.0, top_p=1.0, seed=0):
    return Drawing(n, temperature, top_p, seed)


def drawn(model, some, how, limit=5, stops=(), **more):
    wanted = [Request(f"q{i}", ids) for i, ids in some]
    return draw(model, wanted, limit, frozenset(stops), (), how, **more)


@pytest.mark.parametrize("name", [*CASES, *UNKNOWN])
def test_every_family_draws_alike_whatever_the_batch(name):
    """All together with stops, two rows at a time, and each question by itself."""
    model, some, how = loaded_of(name), list(enumerate(prompts(LENGTHS))), drawing(3)
    free = drawn(model, some, how)
    stops = {free[0][0].answer_ids[1], free[1][1].answer_ids[2]}
    whole = drawn(model, some, how, stops=stops)
    few = drawn(model, some, how, stops=stops, budget=Budget(largest=2))
    alone = [drawn(model, [pair], how, stops=stops)[0] for pair in some]
    for a, b, c in zip(whole, few, alone, strict=True):
        assert [x.answer_ids for x in a] == [x.answer_ids for x in b] == [x.answer_ids for x in c]
        for x, y in zip(a, c, strict=True):
            np.testing.assert_allclose(x.logprobs, y.logprobs, atol=5e-4)
    assert len({x.answer_ids for a in free for x in a}) > len(some)


def test_a_question_is_read_once_for_all_its_answers():
    model, some = loaded_of("llama"), prompts((8, 8))
    named = Named(drawing(5), ["a", "b"])
    with Counter(model.model) as count:
        Decoder(model, some, Ends(4, frozenset(), (), None), drawing=named).run()
    assert count.shapes[0] == (2, 8)
    assert count.tokens == 2 * 8 + 2 * 5 * 3


def test_more_answers_begin_with_the_fewer_and_another_seed_gives_others():
    model, some = loaded_of("llama"), list(enumerate(prompts((6, 9))))
    few, more = drawn(model, some, drawing(2)), drawn(model, some, drawing(4))
    assert [[x.answer_ids for x in a] for a in few] == [[x.answer_ids for x in a[:2]] for a in more]
    other = drawn(model, some, drawing(2, seed=1))
    assert [x.answer_ids for x in few[0]] != [x.answer_ids for x in other[0]]


def test_scores_are_those_of_the_model_without_temperature_or_cut():
    model, some = loaded_of("llama"), list(enumerate(prompts((6, 9))))
    for answer in [x for a in drawn(model, some, drawing(3, 0.5, 0.8)) for x in a]:
        known = score_answers(model, [(answer.prompt_ids, answer.answer_ids)])[0]
        np.testing.assert_allclose(answer.logprobs, known.logprobs, atol=2e-4)
        np.testing.assert_allclose(answer.entropies, known.entropies, atol=1e-3)


@pytest.mark.parametrize("temperature, top_p", [(1.0, 1.0), (0.5, 1.0), (2.0, 0.7), (1.0, 0.55)])
def test_tokens_come_as_often_as_their_shares_say(temperature, top_p):
    """Beside the nucleus as its paper says it: tokens by share until they have top_p together."""
    logits = [2.0, 0.5, 1.4, -1.0, 0.9, -math.inf]
    shares = {i: math.exp(x / temperature) for i, x in enumerate(logits)}
    total, kept, sum_ = sum(shares.values()), {}, 0.0
    for i in sorted(shares, key=lambda i: -shares[i]):
        if sum_ < top_p and shares[i]:
            kept[i] = shares[i] / total
            sum_ += kept[i]
    n, how = 4000, drawing(1, temperature, top_p)
    numbers = [how.stream("q", k).at(3) for k in range(n)]
    found = Counts(how.tokens(torch.tensor([logits] * n), numbers).tolist())
    assert set(found) == set(kept)
    for i, share in kept.items():
        expected = share / sum(kept.values())
        assert abs(found[i] / n - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_any_number_draws_a_token_that_can_come():
    logits = torch.tensor([[-math.inf, 1.0, -math.inf], [-math.inf, 3.0, -math.inf]])
    assert drawing().tokens(logits, [1 - 2**-53, 0.0]).tolist() == [1, 1]


def test_the_last_bits_of_logits_move_no_rare_token():
    """Of a vocabulary most of whose tokens are rarer than the noise of a float32 pass."""
    rng, how = np.random.default_rng(0), drawing()
    logits = torch.tensor(rng.normal(size=(300, 30_000)).astype(np.float32))
    near = logits + torch.tensor(rng.normal(size=logits.shape) * 1e-5, dtype=torch.float32)
    numbers = [how.stream("q", k).at(0) for k in range(300)]
    assert (how.tokens(logits, numbers) == how.tokens(near, numbers)).all()


def test_low_temperature_is_greedy():
    model, some = loaded_of("llama"), prompts((6, 9))
    ends = Ends(5, frozenset(), (), None)
    greedy = Decoder(model, some, ends).run()
    cold = Decoder(model, some, ends, drawing=Named(drawing(1, 1e-6), ["a", "b"])).run()
    assert [r.ids for r in greedy] == [r.ids for r in cold]
