import pytest

from probebench.errors import UnknownNameError
from probebench.judge import JUDGES, get_judge

RIGHT = [
    ("5", "There are 5 of them."),
    ("five", "There are 5."),
    ("1,000", "About 1000 people."),
    ("United States", "the united states!"),
    ("Beyoncé", "It was Beyonce."),
    ("The Beatles", "Beatles"),
    ("Roald Dahl", "Dahl, Roald"),
    ("Spider-Man", "spider man"),
    ("dog", "Dogs."),
    ("Queen's Gambit", "the Queens Gambit"),
    ("Madeira Island", "Madeira"),
    ("Luke Albert Combs", "Luke Combs"),
    ("B. R. Ambedkar", "Bhimrao Ramji Ambedkar"),
    ("in the Gospel of Luke", "Gospel of Luke"),
    ("October 1936", "1936"),
    ("7,826,367", "7, 826, 367"),
]
WRONG = [
    ("5", "There are 15 of them."),
    ("US", "Because of the war."),
    ("Sinclair Lewis", "Upton Sinclair"),
    ("1896", "In 1986."),
    ("Paris", ""),
    ("twenty-one dogs and nine small cats", "dogs"),
    ("Brussels", "B."),
    ("Smith Jones", "Smith met a man who later knew a woman called Jones"),
]


@pytest.mark.parametrize(("reference", "answer"), RIGHT)
def test_accepts(reference, answer):
    assert get_judge("aliases")("", [reference], answer).correct


@pytest.mark.parametrize(("reference", "answer"), WRONG)
def test_rejects(reference, answer):
    assert not get_judge("aliases")("", [reference], answer).correct


def test_any_alias_is_enough_and_empty_aliases_match_nothing():
    assert get_judge("aliases")("", ["London", "Paris"], "Paris").correct
    assert not get_judge("aliases")("", ["", "the"], "the end").correct


def test_refusal_is_wrong_and_marked():
    verdict = get_judge("aliases")("", ["Paris"], "I'm not sure, I don't know the answer.")
    assert (verdict.correct, verdict.refused) == (False, True)
    assert not get_judge("aliases")("", ["Paris"], "It is Rome.").refused


def test_exact_wants_the_whole_answer():
    assert get_judge("exact")("", ["Paris"], "paris.").correct
    assert not get_judge("exact")("", ["Paris"], "It is Paris").correct


def test_unknown_judge():
    with pytest.raises(UnknownNameError, match="Did you mean 'aliases'"):
        get_judge("alias")


@pytest.mark.parametrize("name", sorted(JUDGES))
def test_every_judge_accepts_its_reference_and_rejects_nothing_said(name):
    assert get_judge(name)("", ["Anna Smith"], "Anna Smith").correct
    assert not get_judge(name)("", ["Anna Smith"], "").correct


def test_words_of_the_question_do_not_make_a_part():
    judge = get_judge("aliases")
    assert judge(
        "Where are the Redskins based?", ["FedExField in Landover, Maryland"], "The Redskins are based in Landover, Maryland"
    ).correct
    assert not judge("Which island group holds Madeira Island?", ["Madeira Island"], "Island").correct
