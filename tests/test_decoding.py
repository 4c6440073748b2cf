"""Rows that come and go: the same answers whatever waits beside them, and nothing read twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from decoders import CASES, UNKNOWN, Counter, loaded_of, prompts

from probebench.errors import MemoryLimitError
from probebench.models.decoding.continuous import Decoder
from probebench.models.decoding.endings import Endings, read_tokens
from probebench.models.decoding.ends import Ends
from probebench.models.decoding.guided import tree
from probebench.models.decoding.replies import shared
from probebench.models.decoding.rows import Rows
from probebench.models.generate import Request, generate
from probebench.models.passes.batches import Budget
from probebench.models.passes.choices import choice_scores

LENGTHS = (3, 14, 9, 9, 30, 4, 5)
HERE = (14, 11, 12, 18, 13)
"""A beginning that some prompts share."""


def ends(limit, stops=(), tokenizer=None):
    return Ends(limit, frozenset(stops), (), tokenizer)


def alone(model, some, limit, stops=()):
    return [generate(model, [Request("", ids)], limit, frozenset(stops))[0] for ids in some]


@pytest.mark.parametrize("name", [*CASES, *UNKNOWN])
def test_every_family_answers_alike_whatever_waits(name):
    """Two places for seven prompts that begin alike and stop at different times."""
    model, some = loaded_of(name), [(*HERE, *ids) for ids in prompts(LENGTHS)]
    whole = alone(model, some, 6)
    stops = {a.answer_ids[i % 5] for i, a in enumerate(whole)}
    wanted = [Request(str(i), ids) for i, ids in enumerate(some)]
    for a, b in zip(
        generate(model, wanted, 6, frozenset(stops), budget=Budget(largest=2)),
        alone(model, some, 6, stops),
        strict=True,
    ):
        assert a.answer_ids == b.answer_ids and a.stopped == b.stopped
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=2e-4)
        np.testing.assert_allclose(a.entropies, b.entropies, atol=5e-4)


def test_only_what_is_written_is_paid_for():
    model = loaded_of("llama")
    some = prompts((8,) * 12)
    stops = {a.answer_ids[2] for a in alone(model, some, 9)[::3]}
    answers = alone(model, some, 9, stops)
    assert len({len(a.answer_ids) for a in answers}) > 1
    with Counter(model.model) as count:
        Decoder(model, some, ends(9, stops), budget=Budget(largest=4)).run()
    # the first token of an answer comes from the pass over the prompt, and the last is never read
    assert count.tokens == 12 * 8 + sum(len(a.answer_ids) - 1 for a in answers)
    steps = [n for n, q in count.shapes if q == 1]
    # while prompts wait, the places are full
    assert max(steps) == 4 and steps.count(4) > len(steps) / 2


def test_what_all_prompts_begin_with_is_read_once():
    model, own = loaded_of("llama"), prompts((6,) * 5)
    some = [(*range(3, 23), *ids) for ids in own]
    with Counter(model.model) as count:
        replies = Decoder(model, some, ends(1)).run()
    assert count.shapes == [(1, 20), (5, 6)]
    assert [tuple(r.ids) for r in replies] == [a.answer_ids for a in alone(model, some, 1)]


@pytest.mark.parametrize(
    "sequences, beginning",
    [
        ([(1, 2, 3), (1, 2, 4)], (1, 2)),
        ([(1, 2), (1, 2)], (1,)),
        ([(1, 2), (1, 2, 3)], (1,)),
        ([(5,), (1, 2)], ()),
        ([(1, 2, 3, 4), (1, 2, 9), (1, 3)], (1,)),
    ],
)
def test_a_shared_beginning_leaves_each_a_token(sequences, beginning):
    assert shared(sequences) == beginning


def test_the_budget_holds_with_the_room_that_answers_may_take():
    model, some = loaded_of("llama"), prompts((20, 20, 4, 4, 4, 4))
    with Counter(model.model) as count:
        Decoder(model, some, ends(5), budget=Budget(tokens=50)).run()
    # two of 25, and five of 9 once the long ones have left
    rows = [n for n, _ in count.shapes]
    assert rows[0] == 2 and max(rows) == 4
    with Counter(model.model) as count:
        Decoder(model, some, ends(5), budget=Budget(tokens=5)).run()
    assert {n for n, _ in count.shapes} == {1}


def test_out_of_memory_begins_again_with_fewer_rows(monkeypatch):
    model, some = loaded_of("llama"), prompts((8,) * 10)
    extend, kept = Rows.extend, []

    def tight(self, stretches):
        if len(stretches) > 3:
            raise MemoryError
        return extend(self, stretches)

    monkeypatch.setattr(Rows, "extend", tight)
    budget = Budget(keep=lambda b: kept.append(b.tokens))
    wanted = [Request("", ids) for ids in some]
    answers = generate(model, wanted, 4, frozenset(), budget=budget)
    assert kept == [5 * 12, 2 * 12] and budget.halvings == 2
    assert [a.answer_ids for a in answers] == [a.answer_ids for a in alone(model, some, 4)]
    monkeypatch.setattr(Rows, "extend", lambda self, stretches: [][0] if False else _fail())
    with pytest.raises(MemoryLimitError, match="single example of 12 tokens while generating"):
        generate(model, wanted, 4, frozenset(), budget=Budget())


def _fail():
    raise MemoryError


def test_no_prompts_have_no_answers():
    assert generate(loaded_of("llama"), [], 3, frozenset()) == []


def test_progress_is_told_token_by_token():
    """Of answers begun together none ends for long: a rate from those that ended would be far
    off."""
    told = []
    model = loaded_of("llama")
    wanted = [Request("", ids) for ids in prompts((8,) * 6)]
    generate(model, wanted, 3, frozenset(), budget=Budget(largest=2, tell=told.append))
    assert told == [1, 2, 3, 4, 5, 6], "two at once: a token of three, two of three, all"
    told.clear()
    generate(model, wanted, 1, frozenset(), budget=Budget(largest=2, tell=told.append))
    assert told == [6], "all end with the token that reading gives"


def test_guided_replies_are_those_of_each_alone():
    model, some = loaded_of("llama"), prompts((8, 5, 12))
    texts = [tree([(5, 6), (5, 7, 8)]), tree([(9,), (9, 10, 11)]), tree([(40, 41, 42)])]
    wanted = [Request("", ids) for ids in some]
    together = generate(model, wanted, 6, frozenset({2}), guides=texts, budget=Budget(largest=2))
    for request, guide, a in zip(wanted, texts, together, strict=True):
        b = generate(model, [request], 6, frozenset({2}), guides=[guide])[0]
        assert a.answer_ids == b.answer_ids
        assert guide.which(a.answer_ids[:-1]) is not None and a.answer_ids[-1] == 2


def test_rows_are_copied_taken_in_and_dropped():
    model = loaded_of("llama")
    some = prompts((7, 3, 12))
    with torch.inference_mode():
        rows = Rows(model)
        rows.extend(some)
        assert rows.lengths == [7, 3, 12] and len(set(rows.ends)) == 3
        both = rows.copy([1, 0], 0)
        both.take(rows, [2, 1])
        assert both.lengths == [3, 7, 12, 3] and set(both.ends) == {both.grid.end}
        order = both.drop([0, 2])
        assert order == [3, 1] and both.lengths == [3, 7]
        got = both.extend([(5,), (6,)])
        whole = model.base(input_ids=torch.tensor([[*some[1], 5]])).last_hidden_state[0, -1]
        np.testing.assert_allclose(got[0], whole, atol=1e-4)
        again = both.extend([(8, 5), (9,)])
        whole = model.base(input_ids=torch.tensor([[*some[1], 5, 8, 5]])).last_hidden_state[0, -1]
        np.testing.assert_allclose(again[0], whole, atol=1e-4)
        whole = model.base(input_ids=torch.tensor([[*some[0], 6, 9]])).last_hidden_state[0, -1]
        np.testing.assert_allclose(again[1], whole, atol=1e-4)


def test_many_new_tokens_outgrow_every_buffer():
    model = loaded_of("llama")
    with torch.inference_mode():
        rows, ids = Rows(model), list(prompts((5,))[0])
        rows.extend([tuple(ids)])
        for k in range(150):
            rows.extend([(3 + k % 50,)])
            ids.append(3 + k % 50)
        got = rows.extend([(7,)])
        whole = model.base(input_ids=torch.tensor([[*ids, 7]])).last_hidden_state[0, -1]
    np.testing.assert_allclose(got[0], whole, atol=1e-3)


@pytest.mark.parametrize(
    "sequences, tokens",
    [
        ([], 0),
        ([(1, 2, 3)], 3),
        ([(*range(20), 7), (*range(20), 8)], 22),  # once, and a token each
        ([(*range(5), 7), (*range(5), 8)], 12),  # too little to be worth a pass
        ([(*range(20), *range(30, 45), 1), (*range(20), *range(30, 45), 2), (*range(20), 9)], 38),
        ([(*range(20),), (*range(20), 1)], 22),  # one ends where the other goes on
        ([(*range(20),), (*range(20),)], 21),
    ],
)
def test_sequences_are_read_as_a_tree(sequences, tokens):
    assert read_tokens(sequences) == tokens
    if sequences:
        model = loaded_of("llama")
        with Counter(model.model) as count, torch.inference_mode():
            found = Endings(model, sequences, Budget()).run()
            whole = [model.base(input_ids=torch.tensor([s]))[0][0, -1] for s in sequences]
        assert count.tokens - sum(map(len, sequences)) >= tokens  # and padding
        np.testing.assert_allclose(found, torch.stack(whole), atol=1e-4)


@pytest.mark.parametrize("name", [*CASES, *UNKNOWN])
def test_every_family_ends_in_a_tree_as_alone(name):
    model, own = loaded_of(name), prompts((4, 9, 2, 12))
    some = [(*HERE, *range(20, 32), *a, *b) for a in own[:2] for b in own[2:]]
    with torch.inference_mode():
        found = Endings(model, some, Budget(tokens=90)).run()
        whole = [model.base(input_ids=torch.tensor([s]), use_cache=False)[0][0, -1] for s in some]
    np.testing.assert_allclose(found, torch.stack(whole), atol=5e-4)


def test_stems_that_are_short_of_their_prompts_shrink_the_budget_all_the_same(monkeypatch):
    """A batch of beginnings is planned by what has been read; half of whole prompts would be more
    than it was."""
    model, extend = loaded_of("llama"), Rows.extend
    some = [(*ids, *(30 + k, 31, 32) * 16) for ids in prompts((20,) * 8) for k in (1, 2)]

    def tight(self, stretches):
        if len(stretches) > 2:
            raise MemoryError
        return extend(self, stretches)

    kept = []
    budget = Budget(tokens=128, keep=lambda b: kept.append(b.tokens))
    whole = choice_scores(model, some, (5,), (6,))
    monkeypatch.setattr(Rows, "extend", tight)
    np.testing.assert_allclose(choice_scores(model, some, (5,), (6,), budget), whole, atol=1e-5)
    assert kept and kept == sorted(kept, reverse=True) and kept[0] <= 64


def test_padding_stays_within_the_positions_of_a_model(monkeypatch):
    """Rows of one level are padded to the longest stretch: no id is beyond the longest sequence."""
    model, seen = loaded_of("gpt2"), []
    hook = model.model.transformer.wpe.register_forward_pre_hook(
        lambda module, args: seen.append(int(args[0].max()))
    )
    rows = Rows(model)
    rows.extend([tuple(range(3, 23)), (3, 4)])
    rows.extend([(5,), tuple(range(3, 18))])
    hook.remove()
    assert max(seen) == 20, "20 tokens and one more, and none of its padding"


def test_no_memory_for_what_all_prompts_begin_with_is_said(monkeypatch):
    model, some = loaded_of("llama"), [(*HERE * 20, *ids) for ids in prompts((3, 4))]
    monkeypatch.setattr(Rows, "extend", lambda self, stretches: _fail())
    with pytest.raises(MemoryLimitError, match="single example of"):
        generate(model, [Request("", ids) for ids in some], 4, frozenset(), budget=Budget())
