"""Answers that do not commit themselves: ranges, bounds, refusals, mentions taken back and lists,
each beside an answer that does."""

import pytest

from probebench.tasks.judge import get_judge
from probebench.types import Example


def correct(name, references, answer, question="", wrong=()):
    references = (references,) if isinstance(references, str) else tuple(references)
    return get_judge(name)(
        Example("1", question, references, "g", wrong=tuple(wrong)), answer
    ).correct


OPEN_NUMBERS = [
    "4 or 5",
    "It is 5 or 6.",
    "Either 4 or 5",
    "4 apples or 5 apples",
    "four or five",
    "between 4 and 5",
    "It is between 4 and 5.",
    "between four and five",
    "4-5",
    "4–5",
    "4 to 5",
    "It takes 4 to 5 days.",
    "The answer is 4 to 5.",
    "5 or more",
    "5 or fewer",
    "5+",
    "The answer is 5 or more.",
    "at least 5",
    "The answer is at least 5.",
    "more than 5",
    "not more than 5",
    "up to 5",
    "x <= 5",
    "x < 5",
    "x ≤ 5",
    r"\boxed{x \le 5}",
    "The answer is x <= 5.",
    "x = ±5",
    "x = +/-5",
    r"$x = \pm 5$",
    "I am sorry, I cannot answer question 5.",
    "Sorry, I can't help with problem 5.",
    "Question 5 cannot be answered.",
    "The answer cannot be 5",
    "5 is wrong",
    "5 is not the answer.",
    "It isn't 5.",
]


@pytest.mark.parametrize("answer", OPEN_NUMBERS)
def test_a_number_that_is_left_open_bounded_or_denied_is_wrong(answer):
    assert not correct("number", "5", answer)
    assert not correct("number", "4", answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("5", "about 5"),
        ("5", "It rose from 4 to 5."),
        ("5", "The number of apples increased from 4 to 5"),
        ("5", "The difference between 9 and 4 is 5."),
        ("5", "I'm not sure, but I think it is 5."),
        ("5", "=> 5"),
        ("5", "-> 5"),
        ("5", "<answer>5</answer>"),
        ("5", "> 5"),
        ("5", "There are 5 apples left in the bag of 12."),
        ("12", "There are 12."),
        ("5", "5 (Note: rounding to 2 decimals)"),
        ("5", "The total is 5. (Note: rounded to 2 decimals)"),
        ("60", "1 hour or 60 minutes"),
        ("0.5", "1/2 or 0.5"),
        ("1/3", "1/3 or 0.333"),
        ("5.20", "5 dollars and 20 cents"),
        ("5.2", "It costs 5 dollars and 20 cents."),
        ("20", "It is 20 rather than 5."),
        ("-1", "4 - 5"),
    ],
)
def test_a_number_that_is_said_is_right(reference, answer):
    assert correct("number", reference, answer)


def test_a_bound_answers_a_question_that_asks_for_one():
    question = "How many boxes does she need at least?"
    assert correct("number", "5", "She needs at least 5 boxes.", question)
    assert not correct("number", "5", "She needs at least 5 boxes.", "How many boxes has she?")


def test_a_refusal_that_holds_a_number_is_marked_as_one():
    verdict = get_judge("number")(
        Example("1", "", ("5",), "g"), "I am sorry, I cannot answer question 5."
    )
    assert (verdict.correct, verdict.refused) == (False, True)
