"""A part of a name, or a name that holds another, is another thing."""

import pytest

from probebench.tasks.judge import get_judge
from probebench.types import Example


def correct(references, answer, question=""):
    return get_judge("aliases")(Example("1", question, (references,), "g"), answer).correct


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
