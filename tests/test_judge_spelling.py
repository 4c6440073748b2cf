"""One thing in two spellings is one answer, and two things that look alike are two."""

import pytest

from probebench.tasks.judge import get_judge
from probebench.types import Example


def correct(references, answer, question=""):
    return get_judge("aliases")(Example("1", question, (references,), "g"), answer).correct


SAME = [
    ("Hawaiʻi", "Hawaii"),
    ("Hawaiʻi", "Hawai'i"),
    ("Oʻahu", "Oahu"),
    ("Qurʼan", "Quran"),
    ("Qurʼan", "Qur'an"),
    ("AIDS", "A.I.D.S."),
    ("Ph.D.", "PhD"),
    ("AT&T", "AT and T"),
    ("grey", "gray"),
    ("aluminium", "aluminum"),
    ("sulphur", "sulfur"),
    ("tyre", "tire"),
    ("defence", "defense"),
    ("licence", "license"),
    ("catalogue", "catalog"),
    ("dialogue", "dialog"),
    ("programme", "program"),
    ("jewellery", "jewelry"),
    ("plough", "plow"),
    ("moustache", "mustache"),
    ("cheque", "check"),
    ("mould", "mold"),
    ("traveller", "traveler"),
    ("modelling", "modeling"),
    ("colour", "color"),
    ("centre", "center"),
    ("analyse", "analyze"),
    ("sceptic", "skeptic"),
    ("haemoglobin", "hemoglobin"),
    ("anaemia", "anemia"),
    ("archaeology", "archeology"),
    ("encyclopaedia", "encyclopedia"),
    ("paediatrician", "pediatrician"),
    ("oestrogen", "estrogen"),
    ("foetus", "fetus"),
    ("Århus", "Aarhus"),
    ("Tromsø", "Tromsoe"),
    ("Super Bowl XLVIII", "Super Bowl 48"),
    ("Super Bowl L", "Super Bowl 50"),
    ("XXX Olympiad", "30th Olympiad"),
    ("III", "3"),
    ("1990s", "the nineties"),
    ("1990s", "90s"),
    ("1990s", "the '90s"),
    ("1990s", "the 1990's"),
    ("AD 79", "79 CE"),
    ("AD 79", "79 AD"),
    ("79 BC", "79 B.C.E."),
    ("1914-18", "1914-1918"),
    ("1914–18", "1914 to 1918"),
    ("half", "one half"),
    ("three-quarters", "3/4"),
    ("a quarter", "1/4"),
    ("a dozen", "12"),
    ("two dozen", "24"),
    ("one and a half million", "1.5 million"),
    ("half a million", "500,000"),
    ("50%", "half"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_thing_in_two_spellings(one, other):
    assert correct(one, other)
    assert correct(other, one)
    assert correct(one, f"I think it is {other}.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1990s", "the eighties"),
        ("1990s", "the 1890s"),
        ("1890s", "the nineties"),
        ("1990s", "1990"),
        ("AD 79", "79 BC"),
        ("1914-18", "1914-1916"),
        ("1914-18", "1918"),
        ("half", "one third"),
        ("50%", "a quarter"),
        ("5%", "0.05"),
        ("two dozen", "a dozen"),
        ("III", "IV"),
        ("Super Bowl XLVIII", "Super Bowl XLVII"),
        ("CD", "400"),
        ("MIX", "1009"),
        ("XL", "40"),
        ("tyre", "wire"),
    ],
)
def test_two_things_that_look_alike(one, other):
    assert not correct(one, other)


def test_a_roman_numeral_is_asked_for_as_one():
    assert not correct("IV", "4", "What is the number 4 in Roman numerals?")
    assert correct("IV", "IV", "What is the number 4 in Roman numerals?")


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("fox", "foxes"),
        ("church", "churches"),
        ("dish", "dishes"),
        ("glass", "glasses"),
        ("potato", "potatoes"),
        ("bus", "buses"),
        ("cherry", "cherries"),
        ("horse", "horses"),
        ("shoe", "shoes"),
        ("axe", "axes"),
        ("headache", "headaches"),
        ("house", "houses"),
        ("goose", "geese"),
        ("wolf", "wolves"),
        ("mouse", "mice"),
        ("knife", "knives"),
        ("horseshoe", "horseshoes"),
        ("leave", "leaves"),
        ("dove", "doves"),
        ("olive", "olives"),
    ],
)
def test_one_and_several_of_a_thing_are_one_answer(one, several):
    assert correct(one, several)
    assert correct(several, f"A {one}.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Men in Black", "Man in Black"),
        ("X-Men", "X-Man"),
        ("Child's Play", "Children's Play"),
        ("The Ashes", "Ash"),
        ("March", "Marches"),
        ("Jess", "Jesses"),
    ],
)
def test_names_that_differ_in_number_are_two(one, other):
    assert not correct(one, other)
    assert not correct(other, one)


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("Men's singles", "mens singles"),
        ("Women's World Cup", "womens world cup"),
        ("Children's Hospital", "Childrens Hospital"),
        ("The Comanches", "Comanche"),
        ("Trader Joe's", "Trader Joes"),
        ("The Monroes", "Monroe"),
    ],
)
def test_endings_of_names_do_not_matter(reference, answer):
    assert correct(reference, answer)


@pytest.mark.parametrize(
    ("one", "two"), [("wolf", "wolves"), ("glass", "glasses"), ("cat", "cats")]
)
def test_options_that_differ_in_number_are_two(one, two):
    for right, wrong in ((one, two), (two, one)):
        example = Example("1", "Which?", (right,), "g", wrong=(wrong,))
        assert get_judge("choice")(example, right).correct
        assert not get_judge("choice")(example, wrong).correct


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("World War II", "WWII"),
        ("World War II", "WW2"),
        ("World War II", "WW II"),
        ("World War I", "WWI"),
        ("6 p.m.", "6 pm"),
        ("6 p.m.", "6 PM"),
        ("9 AM", "9 a.m."),
        ("20 per cent", "20 percent"),
        ("20 per cent", "20 %"),
    ],
)
def test_what_is_often_cut_short(one, other):
    for reference, answer in ((one, other), (other, one)):
        assert correct(reference, answer, "What was it?")
        assert correct(reference, f"It was {answer}.", "What was it?")


@pytest.mark.parametrize(
    ("one", "other"), [("World War II", "WWI"), ("7 a.m.", "7 p.m."), ("20 per cent", "20 people")]
)
def test_what_is_cut_short_to_something_else(one, other):
    assert not correct(one, f"It was {other}.", "What was it?")
