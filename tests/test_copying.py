"""Copying exact answers under a constraint: whatever a model prefers, what it writes is a run of
the answer's words."""

import pytest
import torch

import probebench
from probebench.errors import UsageError
from probebench.models.copier import Copier, read_spans_bytes, spans_bytes
from probebench.models.decoding.guided import Guide, encode_after, tree
from probebench.models.generate import Request, generate
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.tasks.exact.copying import (
    EXAMPLES,
    NOT_FOUND,
    PHRASE_WORDS,
    copies,
    phrases,
    plain_prompt,
    turns,
)
from probebench.tasks.exact.phrases import cut_words
from probebench.types import Span

ANSWERS = (
    "The poet was born in Paris, near the river. He wrote to Anna Smith in 1896.",
    "I am not sure, but it may have been Anna Smith of Größe.",
    "It is the capital of France",
)


def texts_of(answer, spans):
    return {answer[s.start : s.end] for s in spans}


def test_phrases_are_whole_words_of_one_sentence_with_something_new():
    question, answer = "Where was the poet born?", ANSWERS[0]
    found = texts_of(answer, phrases(question, answer))
    assert {
        "Paris",
        "river",
        "Paris, near the river",
        "Anna Smith",
        "wrote to Anna Smith in 1896",
    } <= found
    assert (
        not {
            "the",
            "born",
            "poet was born",
            "The poet was born in Paris",
            "river. He wrote",
            "in Paris",
        }
        & found
    )
    words = cut_words(answer)
    for span in phrases(question, answer):
        assert span.start in {w.start for w in words}
        assert span.end in {w.end for w in words}
    long = " ".join(f"word{i}" for i in range(40))
    assert max(len(t.split()) for t in texts_of(long, phrases("?", long))) == PHRASE_WORDS


def test_an_answer_with_nothing_new_still_has_phrases():
    assert texts_of("the poet", phrases("Who is the poet?", "the poet")) == {
        "the",
        "poet",
        "the poet",
    }
    assert phrases("Who?", "...") == []


def test_none_is_offered_to_what_may_be_a_refusal_only():
    assert copies(ANSWERS[1], [Span(5, 8)]) == ["not", NOT_FOUND]
    assert NOT_FOUND not in copies(ANSWERS[0], phrases("?", ANSWERS[0]))


def test_prompts_hold_the_question_and_the_answer_last_and_no_real_names():
    asked = turns("Who wrote it?", "It was\nAnna.")
    assert [role for role, _ in asked] == ["user", "assistant"] * len(EXAMPLES) + ["user"]
    assert asked[-1][1] == "Question: Who wrote it?\nReply: It was Anna."
    assert plain_prompt("Who wrote it?", "It was\nAnna.").endswith(
        "Question: Who wrote it?\nReply: It was Anna.\nWords:"
    )
    for question, answer, words in EXAMPLES:
        assert words == NOT_FOUND or words in answer
        assert words not in question


def test_tree_knows_beginnings_from_texts():
    texts = tree([(1, 2), (1, 2, 3), (4,), (1, 2)])
    assert [
        texts.which(ids) for ids in ((1, 2), (1, 2, 3), (4,), (1,), (2,), (), (1, 2, 3, 4))
    ] == [0, 1, 2, None, None, None, None]


@pytest.mark.parametrize(
    ("written", "best", "expected"),
    [
        ((), 9, {1, 4}),  # nothing can end here
        ((1, 2), 3, {3}),  # the best token goes on
        ((1, 2), 9, {0}),  # it does not, and a text may end
        ((4,), 3, {0}),  # nothing goes on
        ((7,), 3, {0}),  # outside, as a row that has ended is
    ],
)
def test_guide_allows_what_goes_on_or_ends(written, best, expected):
    scores = torch.zeros((1, 10))
    scores[0, best] = 5.0
    ids = torch.tensor([[8, *written]])
    allowed = Guide([tree([(1, 2), (1, 2, 3), (4,)])], 1, 0)(ids, scores)
    assert set(torch.isfinite(allowed[0]).nonzero().flatten().tolist()) == expected


@pytest.mark.parametrize("chat", [True, False])
def test_replies_are_texts_alone_and_in_batches(loaded, chat):
    model = loaded("llama", chat=chat)
    tokenizer, stop = model.tokenizer, frozenset({2})
    prompts = ["Anna?", "Where was the old poet born? Words:", "x"]
    spans = [phrases("?", a) for a in ANSWERS]
    guides = [
        tree(encode_after(tokenizer, p, [" " + t for t in copies(a, s)]))
        for p, a, s in zip(prompts, ANSWERS, spans, strict=True)
    ]
    wanted = [
        Request(str(i), tuple(tokenizer(p, add_special_tokens=False)["input_ids"]))
        for i, p in enumerate(prompts)
    ]
    together = generate(model, wanted, 60, stop, guides=guides)
    for i, reply in enumerate(together):
        assert reply.stopped
        assert guides[i].which(reply.answer_ids[:-1]) is not None
        assert reply.text.strip() in copies(ANSWERS[i], spans[i])
        (alone,) = generate(model, [wanted[i]], 60, stop, guides=[guides[i]])
        assert alone.answer_ids == reply.answer_ids


def test_tokens_that_melt_into_the_prompt_are_taken_alone():
    from tests.conftest import byte_level_tokenizer

    tokenizer = byte_level_tokenizer(chat=False)
    apart, alone = (
        encode_after(tokenizer, "Words:", [" Paris"]),
        tokenizer(" Paris", add_special_tokens=False)["input_ids"],
    )
    assert apart == [alone]
    melting = encode_after(tokenizer, "Pari", ["s"])  # "Paris" is one token of this vocabulary
    assert melting == [tokenizer("s", add_special_tokens=False)["input_ids"]]


def test_copier_finds_a_span_in_every_class_of_answers():
    model = load_model(find_model(ModelSpec("tiny")))
    copier = Copier(
        model.handle, ["a", "b", "c", "d"], ["Where?", "Who?", "What?", "Who?"], [*ANSWERS, "..."]
    )
    spans = copier.copy(model, range(4), model.handle.stop_ids, None)
    assert spans[3] is None
    for answer, span in zip((ANSWERS[0], ANSWERS[2]), (spans[0], spans[2]), strict=True):
        words = cut_words(answer)
        assert span.start in {w.start for w in words}
        assert span.end in {w.end for w in words}
    assert copier.copy(model, [2, 0], model.handle.stop_ids, None) == [spans[2], spans[0]]
    assert read_spans_bytes(spans_bytes(spans)) == spans


def test_another_model_copies_and_the_record_says_so(tmp_path):
    asked = {
        "model": "tiny",
        "task": "people",
        "limit": 150,
        "layers": [2],
        "positions": ["last_q", "exact_answer_last"],
        "shuffles": 0,
        "skip": ["p-true"],
    }
    run = probebench.evaluate(**asked, extractor_model="tiny", out=tmp_path / "a")
    facts, found = run.record["exact_answer"], run.record["counts"]["all"]["exact_found"]
    assert (facts["rule"], facts["extractor"]["name"]) == ("model", "tiny")
    assert run.record["settings"]["overrides"]["extractor_model"]["name"] == "tiny"
    assert found["correct"]["rate"] == found["wrong"]["rate"] == 1.0
    assert facts["holds_answer"]["of"] == run.record["counts"]["all"]["correct"]
    low, high = facts["holds_answer"]["rate_95"]
    assert 0 <= low <= facts["holds_answer"]["rate"] <= high <= 1
    again = probebench.evaluate(**asked, extractor_model="tiny", out=tmp_path / "a")
    assert again.record["key"] == run.record["key"]


def test_rules_that_exclude_each_other_or_would_not_be_used(answers_file):
    with pytest.raises(UsageError, match="exclude each other"):
        probebench.evaluate("tiny", "people", exact_answer="whole", extractor_model="tiny")
    with pytest.raises(UsageError, match="says where exact answers are"):
        probebench.evaluate("tiny", "people", answers=answers_file(), exact_answer="whole")
    with pytest.raises(UsageError, match="extractor_model needs task"):
        probebench.evaluate("tiny", answers=answers_file(), extractor_model="tiny")
    with pytest.raises(UsageError, match="new_words"):
        probebench.evaluate("tiny", "people", exact_answer="new_word")
