"""What methods of several answers read of a model that thinks: its reply. And what they leave out:
answers that nothing is fitted to."""

from types import SimpleNamespace

import numpy as np
import pytest
from templates import tokenizer_of

from probebench.detectors.sampled import eigen, likelihood, meaning, sar
from probebench.detectors.signals import words
from probebench.probes.labels import Labels
from probebench.stages.plan import Plan
from probebench.stages.sampling.samples import Samples
from probebench.tasks.prompts import chat, encode_prompt
from probebench.tasks.thinking import place_answer, thinking_ids
from probebench.types import Answer, Example, LabelledAnswer, Span

EXAMPLE = Example("e", "Where is the letter?", ("Paris",), "g")
REPLY = "The letter is in Paris."


@pytest.fixture(scope="module")
def plan():
    """A plan of a model that thinks, as far as answers need one."""
    tokenizer = tokenizer_of("qwen3")
    made = SimpleNamespace(
        handle=SimpleNamespace(tokenizer=tokenizer, identity=SimpleNamespace(n_layers=8)),
        thinking=thinking_ids(tokenizer),
        judge="aliases",
        exact=SimpleNamespace(name="ask"),
    )
    made.reply = lambda answer: Plan.reply(made, answer)
    return made


@pytest.fixture(scope="module")
def answer(plan):
    """Makes an answer of this text, each token likelier than the one before."""
    tokenizer = plan.handle.tokenizer
    prompt = encode_prompt(tokenizer, chat(tokenizer, "Where?"))

    def make(written, *, split="test", exact="Paris"):
        ids = tuple(tokenizer.encode(written, add_special_tokens=False))
        text = tokenizer.decode(ids, skip_special_tokens=False)
        values = -1 / np.arange(1, len(ids) + 1, dtype=np.float32)
        at = text.rfind(exact)
        span = Span(at, at + len(exact)) if at >= 0 and "</think>" in text[:at] else None
        own = Answer("e", prompt, ids, False, text, values, values, values)
        tokens = place_answer(tokenizer, plan.thinking, (prompt, ids), stopped=False, exact=span)
        return LabelledAnswer(EXAMPLE, own, 1, False, span, tokens, split)

    return make


def data_of(plan, samples, greedy=None, splits=None):
    n = len(samples)
    labels = Labels(np.arange(n) % 2, tuple(splits or ("test",) * n))
    drawn = Samples(tuple(map(tuple, samples)), 1.0, 1.0)
    answers = tuple(greedy or [some[0] for some in samples])
    return SimpleNamespace(answers=answers, samples=drawn, labels=labels, plan=plan)


def only(make, data):
    return {s.name: s.decisions for s in make(data, None)}


def thought(words_):
    return f"<think>\n{words_}\n</think>\n\n{REPLY}"


def test_thoughts_come_before_the_answer_as_the_prompt_does(plan, answer):
    a = answer(thought("Anna wrote to Paris or to London in 1896."))
    b = likelihood.replied(plan, a)
    assert b.answer.text.strip() == REPLY and b.answer.ids == a.answer.ids
    decode = plan.handle.tokenizer.decode
    assert decode(b.answer.answer_ids).strip() == REPLY
    n = len(b.answer.answer_ids)
    np.testing.assert_array_equal(b.answer.logprobs, a.answer.logprobs[-n:])
    assert n < len(a.answer.answer_ids) and b.tokens.n_prompt == len(b.answer.prompt_ids)
    assert b.answer.text[b.exact.start : b.exact.end] == "Paris"


def test_an_answer_without_thoughts_is_as_it_was(plan, answer):
    a = answer(REPLY)
    assert likelihood.replied(plan, a) is a


def test_an_unfinished_thought_says_nothing(plan, answer):
    a = answer("<think>\nAnna wrote to Paris", exact="nowhere")
    b = likelihood.replied(plan, a)
    assert (b.answer.text, b.answer.answer_ids, words(b)) == ("", (), slice(0, 0))
    assert np.isnan(likelihood.mean_logprob(b))


def test_answers_are_alike_whatever_was_thought(plan, answer):
    some = [answer(thought(t)) for t in ("Anna Smith.", "It was near London in 1896.", "Hm.")]
    data = data_of(plan, [some])
    assert only(likelihood.lexical_similarity, data)["lexical_similarity"] == [1.0]
    found = only(meaning.by_the_judge, data)
    assert found["semantic_entropy"] == 0 and found["semantic_entropy_discrete"] == 0
    rarest = only(likelihood.selfcheck_ngram, data)["selfcheck_ngram"]
    assert rarest == pytest.approx(np.log(1 / 5)), "five words, each as often as the others"
    each = [likelihood.replied(plan, a).answer for a in some]
    by_hand = np.mean([np.mean(a.logprobs) for a in each])
    assert only(likelihood.predictive_entropy, data)["predictive_entropy"] == pytest.approx(by_hand)


def test_eigenscore_reads_the_middle_layer_of_answers_that_count(plan, answer, monkeypatch):
    splits, seen = ("train", "validation", "test"), {}
    samples = [[answer(REPLY, split=s)] * 4 for s in splits]
    X = np.random.default_rng(0).normal(size=(8, 16))

    def last_states(plan, runner, ids, layers):
        seen.update(ids=ids, layers=layers)
        return SimpleNamespace(cell=lambda layer, position: X)

    monkeypatch.setattr(eigen, "last_states", last_states)
    found = only(eigen.eigenscore, data_of(plan, samples, splits=splits))["eigenscore"]
    assert seen["layers"] == (3,) and len(seen["ids"]) == 8, "entry 4 of 9, the embedding being 0"
    assert np.isnan(found[0])
    for k, own in enumerate((X[:4], X[4:]), 1):
        values = np.linalg.svd(own - own.mean(axis=1, keepdims=True), compute_uv=False) ** 2 / 15
        assert found[k] == pytest.approx(-np.mean(np.log(values + 0.001)))


def test_rounding_makes_no_token_count_against_another():
    logprobs, alike = [np.log([0.5, 0.1])], np.eye(1)
    found = sar.shifted(logprobs, [np.array([-0.9e-8, 1e-8])], alike)
    assert found == pytest.approx(-np.log(0.1)), "the one that is left counts alone"
