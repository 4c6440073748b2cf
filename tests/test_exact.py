from types import SimpleNamespace

import numpy as np
import pytest

from probebench.errors import UnknownNameError, UsageError
from probebench.stages.exact import spans_of
from probebench.tasks.exact.rules import RULES, check_rule, declines, find_words
from probebench.tasks.schema import ExactAnswer
from probebench.types import Answer, Example

EXAMPLE = Example("1", "Who wrote it?", ("Anna",), "g")


def found(answer, words):
    span = find_words(answer, words)
    return None if span is None else answer[span.start : span.end]


def test_pattern_takes_the_named_group():
    rule = ExactAnswer("pattern", (r"^ It is (?P<exact>[^,]+),",))
    span = RULES["pattern"](rule, EXAMPLE, " It is Bral Tornwick, as they say.")
    assert " It is Bral Tornwick,"[span.start : span.end] == "Bral Tornwick"
    assert RULES["pattern"](rule, EXAMPLE, "No idea.") is None


def test_rules_never_see_the_label():
    # the same answer with other references gives the same span
    rule = ExactAnswer("pattern", (r"is (?P<exact>\w+)",))
    spans = {
        RULES["pattern"](rule, Example("1", "q", refs, "g"), "It is Rome")
        for refs in (("Rome",), ("Paris",), ())
    }
    assert len(spans) == 1


@pytest.mark.parametrize(
    ("answer", "words", "expected"),
    [
        ("It was Anna Smith in 1896.", " Anna Smith", "Anna Smith"),
        ("It was Anna Smith.", '"Anna Smith."', "Anna Smith"),
        ("It was anna smith.", "Anna Smith", "anna smith"),
        ("He is hisisstory, is he", "is", "is"),
        ("It was Anna.", "Bob", None),
        ("It was Anna.", "", None),
        ("Anna  Smith wrote", "Anna Smith", "Anna  Smith"),
    ],
)
def test_given_words_are_found_in_the_answer(answer, words, expected):
    assert found(answer, words) == expected


def test_whole_words_before_parts_of_words():
    assert find_words("hisis is", "is").start == 6


def test_whole_rule_leaves_outer_spaces():
    span = RULES["whole"](ExactAnswer("whole"), EXAMPLE, "  Rome \n")
    assert (span.start, span.end) == (2, 6)


@pytest.mark.parametrize(
    ("answer", "declined"),
    [
        ("I don't know.", True),
        ("I'm sorry, I cannot answer that. I do not know who it was.", True),
        ("I'm sorry, but I can't assist with that.", True),
        (
            "As an AI model, I cannot discuss this. If you have other questions, feel free to ask!",
            True,
        ),
        ("Thank You for Smoking. Please Please Me.", False),
        ("", True),
        ("I am not sure, but it may have been Anna Smith.", False),
        ("I'm not certain. It was Anna Smith.", False),
        ("Anna Smith", False),
    ],
)
def test_refusals_have_no_exact_answer(answer, declined):
    assert declines(answer) is declined
    assert (RULES["new_words"](ExactAnswer("new_words"), EXAMPLE, answer) is None) is declined


def test_rules_that_cannot_work():
    with pytest.raises(UnknownNameError, match="Did you mean 'pattern'"):
        check_rule(ExactAnswer("patern"), "t.yaml")
    with pytest.raises(UsageError, match="at least one"):
        check_rule(ExactAnswer("pattern"), "t.yaml")
    with pytest.raises(UsageError, match="no group named 'exact'"):
        check_rule(ExactAnswer("pattern", ("a(.*)",)), "t.yaml")
    with pytest.raises(UsageError, match="not a regular expression"):
        check_rule(ExactAnswer("pattern", ("(",)), "t.yaml")


def test_one_question_asked_twice_keeps_the_span_of_each_answer():
    """Keyed by the question's text, the second would get the words of the first."""
    examples = [Example(name, "Where was she born?", (), "g") for name in "ab"]
    texts = ["She was born in Paris.", "In the old town of Rome, she said."]
    none = np.zeros(0, dtype=np.float32)
    answers = [
        Answer(e.id, (), (), True, t, none, none, none)
        for e, t in zip(examples, texts, strict=True)
    ]
    plan = SimpleNamespace(
        reply=lambda answer: (0, answer.text),
        task=SimpleNamespace(exact_answer=ExactAnswer()),
        exact=SimpleNamespace(blind="new_words", name="new_words"),
    )
    for order in ((0, 1), (1, 0), (0, 1, 0)):
        found = spans_of(plan, None, [examples[i] for i in order], [answers[i] for i in order])
        words = [texts[i][s.start : s.end] for i, s in zip(order, found, strict=True)]
        assert ["Paris" in w for w in words] == [i == 0 for i in order]
        assert ["Rome" in w for w in words] == [i == 1 for i in order]
