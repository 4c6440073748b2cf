"""A part of a name, or a name that holds another, is another thing, and so is a number read
loosely."""

import pytest

from probebench.tasks.judge import get_judge
from probebench.types import Example


def correct(references, answer, question=""):
    references = (references,) if isinstance(references, str) else tuple(references)
    return get_judge("aliases")(Example("1", question, references, "g"), answer).correct


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Republic of the Congo", "Democratic Republic of the Congo"),
        ("Mongolia", "Inner Mongolia"),
        ("Saxony", "Lower Saxony"),
        ("Austria", "Upper Austria"),
        ("California", "Baja California"),
        ("Ireland", "Northern Ireland"),
        ("president", "vice president"),
        ("Prime Minister", "Deputy Prime Minister"),
        ("Governor", "Lieutenant Governor"),
        ("Attorney General", "Deputy Attorney General"),
        ("University of Michigan", "Michigan State University"),
        ("John Adams", "John Quincy Adams"),
        ("The Godfather", "The Godfather Part II"),
        ("Kill Bill", "Kill Bill: Volume 2"),
        ("Mexico", "Mexico City"),
        ("Kansas", "Kansas City"),
        ("Oklahoma", "Oklahoma City"),
    ],
)
def test_one_name_inside_another(one, other):
    assert not correct(one, other)
    assert not correct(other, one)
    assert not correct(one, f"It is {'the ' if other.islower() else ''}{other}.")
    assert correct(one, one)
    assert correct(other, f"It is {'the ' if other.islower() else ''}{other}.")


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("Marie Curie", "Marie"),
        ("Red Sea", "Sea"),
        ("Black Sea", "the sea"),
        ("polar bear", "bear"),
        ("Isle of Man", "Man"),
        ("Lake Superior", "Lake"),
        ("Onda University", "the university"),
    ],
)
def test_a_kind_or_a_given_name_alone_is_too_little(reference, answer):
    assert not correct(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("Marie Curie", "Curie"),
        ("Beyoncé Knowles", "Beyoncé"),
        ("Oprah Winfrey", "Oprah"),
        ("Napoleon Bonaparte", "Napoleon"),
        ("Marie", "Marie Curie"),
        ("New York City", "New York"),
        ("Salt Lake City", "Salt Lake"),
        ("Michigan State University", "Michigan State"),
        ("University of Michigan", "Michigan"),
        ("Vice President Ann Kern", "Ann Kern"),
        ("The Godfather", "The Godfather, part of a trilogy"),
        ("The Godfather", "The Godfather Part I"),
        ("Mexico", "Mexico City, Mexico"),
        ("bear", "a polar bear"),
        ("California", "southern California"),
    ],
)
def test_a_part_that_tells_it_is_enough(reference, answer):
    assert correct(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("44 BC", "44"),
        ("44 BC", "It was in 44."),
        ("44 BC", "AD 44"),
        ("44", "44 BC"),
        ("44", "44 B.C."),
        ("1990", "1990s"),
        ("1990", "in the 1990s"),
        ("1990s", "1990"),
        ("$20", "20 euros"),
        ("$20", "€20"),
        ("20 euros", "$20"),
        ("20 dollars", "20 pounds"),
        ("3-2", "2-3"),
        ("2-3", "3-2"),
        ("17", "more than 17"),
        ("17", "It is at least 17."),
        ("17", "less than 17"),
        ("17", "over 17"),
        ("17", "17 or more"),
        ("17", "up to 17"),
        ("1975", "before 1975"),
        ("1975", "It was after 1975."),
        ("1975", "not until after 1975"),
        ("1970s", "It is not the late 1970s."),
    ],
)
def test_a_number_read_loosely(reference, answer):
    assert not correct(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("44 BC", "44 B.C."),
        ("44 BC", "in 44 BCE"),
        ("1066", "AD 1066"),
        ("$20", "20 dollars"),
        ("20 dollars", "$20"),
        ("£20", "20 pounds"),
        ("3-2", "They won 3–2."),
        ("17", "about 17"),
        ("more than 17", "more than 17"),
        ("at least 17", "17"),
        ("over 9000", "over 9000"),
        ("before 1975", "before 1975"),
        ("1975", "in 1975"),
        ("1945", "after the war, in 1945"),
        ("5th", "fifth"),
        ("5", "It is the 5th most populous."),
        ("Henry VIII", "Henry the Eighth"),
        ("March 5", "the 5th of March"),
    ],
)
def test_a_number_in_other_words(reference, answer):
    assert correct(reference, answer)


def test_what_is_allowed_is_told_as_a_bound():
    assert correct("25", "up to 25", "How many players can a team have?")
    assert not correct("25", "up to 25", "How many players were there?")


@pytest.mark.parametrize("name", ["Bora Bora", "Duran Duran", "Walla Walla", "Cous Cous"])
def test_half_a_doubled_name_is_not_the_name(name):
    half = name.split()[0]
    assert correct(name, f"{name}.")
    assert not correct(name, half)
    assert not correct(name, f"It is {half}.")
    assert correct(half, half)


@pytest.mark.parametrize(
    ("reference", "answer", "right"),
    [
        ("Gulf of Mexico", "Mexico", False),
        ("Bank of England", "England", False),
        ("Prince of Wales", "Wales", False),
        ("Treaty of Paris", "Paris", False),
        ("University of Oxford", "Oxford", True),
        ("Palace of Versailles", "Versailles", True),
        ("Statue of Liberty", "Liberty", True),
        ("Kingdom of Norway", "Norway", True),
        ("Prince of Wales", "The Prince of Wales", True),
        ("Prince Charles", "Charles", True),
    ],
)
def test_what_a_thing_is_of_is_not_the_thing(reference, answer, right):
    assert correct(reference, answer) is right
    if "Treaty" in reference:
        for question in ("Which treaty ended it?", "Which of the treaties ended it?"):
            assert correct(reference, answer, question), "then it says which"


@pytest.mark.parametrize(
    ("references", "answer", "right"),
    [
        (["Germany", "DE", "de"], "It is in Rio de Janeiro.", False),
        (["Canada", "CA", "ca"], "It was built ca. 1900 in Sweden.", False),
        (["Japan", "JA", "Ja"], "Ja, it is in Sweden.", False),
        (["France", "FR", "fr"], "Fr. John was in Sweden.", False),
        (["Germany", "DE", "de"], "de", True),
        (["Germany", "DE", "de"], "It is in DE.", True),
        (["Canada", "CA"], "It is in Los Angeles, CA.", False),
        (["California", "CA"], "It is in Los Angeles, CA.", True),
        (["India", "IN"], "Gary, IN.", False),
        (["Los Angeles", "LA"], "Hollywood, LA.", True),
        (["Max", "MAX"], "The dog was named Max, a terrier.", True),
        (["Max", "MAX"], "Max was the dog.", True),
        (["cat", "CAT"], "It is a cat on the mat.", True),
        (["ten", "TEN"], "There are ten of them.", True),
        (["Bo", "BO"], "It was Bo Jackson.", True),
        (["Oklahoma", "OK"], "OK, it is Texas.", False),
        (["Oklahoma", "OK"], "Tulsa, OK.", True),
        (["Oklahoma", "OK"], "OK.", True),
    ],
)
def test_a_code_is_meant_and_no_word_and_no_state(references, answer, right):
    assert correct(references, answer, "Where is it?") is right
