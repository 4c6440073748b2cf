import pytest

from probebench.errors import UnknownNameError
from probebench.tasks.judge import JUDGES, final_number, get_judge
from probebench.tasks.judging.amounts import read_amount
from probebench.types import Example


def judged(name, references, answer, question="", wrong=()):
    return get_judge(name)(
        Example("1", question, tuple(references), "g", wrong=tuple(wrong)), answer
    )


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
    ("Munich, Bavaria", "It took place in Munich, Germany."),
    ("Taylor Michel Momsen", "She was played by the young Taylor Momsen."),
    ("Howard Ellsworth Rollins Jr.", "It was played by Howard Rollins"),
    ("Twenty-seven", "As of 2021, there have been 27 amendments."),
    ("YouTube", "Youtube"),
    ("McDonald", "mcdonald"),
    ("Idaho", "The western boundary of Montana isIdaho1."),
    ("War of the Spanish Succession (1701-1714)", "the War of the Spanish Succession"),
]
WRONG = [
    ("5", "There are 15 of them."),
    ("US", "Because of the war."),
    ("Sinclair Lewis", "Upton Sinclair"),
    ("1896", "In 1986."),
    ("Paris", ""),
    ("twenty-one dogs and nine small cats", "dogs"),
    ("Brussels", "B."),
    ("December 6, 2001", "December 6, 1999"),
    ("The Old Man and the Sea", "It was The Blue Sea."),
    ("Smith Jones", "Smith met a man who later knew a woman called Jones"),
]


@pytest.mark.parametrize(("reference", "answer"), RIGHT)
def test_accepts(reference, answer):
    assert judged("aliases", [reference], answer).correct


@pytest.mark.parametrize(("reference", "answer"), WRONG)
def test_rejects(reference, answer):
    assert not judged("aliases", [reference], answer).correct


def test_any_alias_is_enough_and_empty_aliases_match_nothing():
    assert judged("aliases", ["London", "Paris"], "Paris").correct
    assert not judged("aliases", ["", "the"], "the end").correct


def test_an_inverted_name_is_not_cut_at_its_comma():
    assert not judged(
        "aliases", ["Voight, John", "John Voight"], "She is the daughter of Jon Voight."
    ).correct


def test_refusal_is_wrong_and_marked():
    verdict = judged("aliases", ["Paris"], "I'm not sure, I don't know the answer.")
    assert (verdict.correct, verdict.refused) == (False, True)
    assert not judged("aliases", ["Paris"], "It is Rome.").refused


def test_exact_wants_the_whole_answer():
    assert judged("exact", ["Paris"], "paris.").correct
    assert not judged("exact", ["Paris"], "It is Paris").correct


def test_unknown_judge():
    with pytest.raises(UnknownNameError, match="Did you mean 'aliases'"):
        get_judge("alias")


@pytest.mark.parametrize("name", sorted(JUDGES))
def test_every_judge_accepts_its_reference_and_rejects_nothing_said(name):
    reference = "42" if name == "number" else "Anna Smith"
    assert judged(name, [reference], reference).correct
    assert not judged(name, [reference], "").correct


def test_words_of_the_question_do_not_make_a_part():
    said = "The Redskins are based in Landover, Maryland"
    assert judged(
        "aliases",
        ["FedExField in Landover, Maryland"],
        said,
        question="Where are the Redskins based?",
    ).correct
    assert not judged(
        "aliases", ["Madeira Island"], "Island", question="Which island group holds Madeira Island?"
    ).correct


@pytest.mark.parametrize(
    ("answer", "correct"),
    [
        ("The developer, not the designer.", True),
        ("designer? No, the developer", True),
        ("DEVELOPER", True),
        ("developers", False),
        ("neither", False),
    ],
)
def test_choice_takes_the_earliest_option(answer, correct):
    assert judged("choice", ["developer"], answer, wrong=["designer"]).correct is correct


def test_longest_of_options_at_one_place():
    assert judged(
        "choice", ["construction worker"], "the construction worker", wrong=["construction"]
    ).correct


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("6 * 7 = 42", 42),
        ("It was 12 first. A: 42 of them, not 15", 42),
        ("#### 1,450,000", 1450000),
        ("The answer is $3.50.", 3.5),
        ("5 boxes and 15", 15),
        ("minus -7", -7),
        ("20%", 20),
        ("no idea", None),
    ],
)
def test_numbers_are_taken_as_numbers(answer, value):
    span = final_number(answer)
    found = None if span is None else read_amount(answer[span.start : span.end])
    assert (found and found.value) == value


def test_number_is_not_a_substring():
    assert not judged("number", ["5"], "There are 15.").correct
    assert judged("number", ["9.0"], "There are 9.").correct
    assert judged("number", ["1,000"], "1000").correct


def test_closest_weighs_right_against_wrong():
    right, wrong = ["Nothing happens if you eat them"], ["You grow a tree in your stomach"]
    assert judged("closest", right, "Nothing happens.", wrong=wrong).correct
    assert not judged("closest", right, "A tree would grow in the stomach", wrong=wrong).correct


LONG = (
    "{}|{}.|{}%|{}/{}|1/{}|{} and a half|{}th|{} million|{} dozen|{}^2|10^{}|1e{}|{}.{}|-{}|{} BC"
    r"|5 dollars and {} cents|{} dollars and 20 cents|\frac{{{}}}{{{}}}|{}½|{}:{}|#### {}|in {}"
    "|between {} and {}|x = {}"
).split("|")
"""Forms of an answer with a run of digits."""


@pytest.mark.parametrize("digits", [99, 320, 5000])
@pytest.mark.parametrize("name", [n for n in JUDGES if n != "given"])
def test_a_model_that_goes_round_in_digits_is_wrong_and_ends_no_run(name, digits):
    for form in LONG:
        answer = form.replace("{}", "1" * digits).replace("{{", "{").replace("}}", "}")
        assert not judged(name, ["7"], answer, "How many?", wrong=["8"]).correct, form
        final_number(answer)


@pytest.mark.parametrize("name", ["aliases", "exact", "closest", "number"])
@pytest.mark.parametrize(
    "answer",
    [
        r"It is \frac{-.}{3}",
        "It is " + "hundred " * 400,
        "3" + "²" * 4000,
        "1" + ",000" * 2000,
        "million " * 2000,
    ],
    ids=["no digit", "hundreds", "powers", "thousands", "millions"],
)
def test_so_is_one_that_goes_round_in_number_words(name, answer):
    assert not judged(name, ["7"], answer).correct
    assert not judged(name, [answer], "7").correct


def test_long_numbers_are_compared_digit_by_digit():
    assert judged("aliases", ["12345678901234567890"], "It is 12345678901234567890.").correct
    assert not judged("aliases", ["12345678901234567890"], "12345678901234567891").correct


def test_an_option_without_a_word_is_no_option():
    for option in ("?", "-", "...", ""):
        assert judged("aliases", ["Ann"], "Ann", "Who, Ann or Bob?", wrong=[option]).correct


@pytest.mark.parametrize("name", [n for n in JUDGES if n != "given"])
@pytest.mark.parametrize("digits", ["፩፪፫፬", "²³", "①②③④", "٢٠٠١"])
def test_digits_of_other_scripts_end_no_run(name, digits):
    for question in ("When was it?", "How many were there?"):
        for form in ("{}", "May {}", "{} million", "3 {} 2001", "12/{}/2001", "{}%"):
            said = form.replace("{}", digits)
            for reference, answer in ((digits, said), ("May 2001", said), (said, digits)):
                assert judged(name, [reference], answer, question, ["8"]).correct in (True, False)
