"""Answers that do not commit themselves: ranges, bounds, refusals, mentions taken back and lists,
each beside an answer that does."""

import pytest

from probebench.tasks.judge import earliest_option, get_judge
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


POLITE = [
    ("Sorry", "Sorry, I can't help with that.", False),
    ("Sorry", "I'm sorry, I don't know.", False),
    ("Sorry", "Sorry, but I don't have that information.", False),
    ("Sorry", "Sorry", True),
    ("Sorry", "The song is Sorry by Anna Kern.", True),
    ("Sorry", 'I\'m not sure, but I think it is "Sorry".', True),
    ("I'm Sorry", "I'm Sorry", True),
    ("I'm Sorry", 'It was "I\'m Sorry".', True),
    ("Help", "I can't help you with that.", False),
    ("Help!", "How can I help you today?", False),
    ("Help!", "It was Help! by the Larks.", True),
    ("Answer", "I cannot answer that.", False),
    ("The Answer", "I don't know the answer.", False),
    ("Information", "I do not have information about that.", False),
    ("Information", "Information", True),
    ("AI", "As an AI language model, I don't have access to that.", False),
    ("AI", "I am an AI, I don't know.", False),
    ("AI", "It stands for AI.", True),
    ("model", "As an AI language model, I don't have access to real-time data.", False),
    ("Assistant", "I'm an AI assistant and cannot answer that.", False),
    ("Access", "I don't have access to that.", False),
    ("None", "None that I know of, I don't know.", False),
    ("None", "None", True),
    ("OK", "OK, I don't know.", False),
    ("OK", "OK", True),
    ("Today (album)", "I don't know. Is there anything else I can help you with today?", False),
    ("Today", "How can I assist you today?", False),
    ("Today", "Today", True),
    ("Context", "Please provide more context.", False),
    ("Nothing", "I know nothing about it.", False),
    ("Unknown", "It is unknown.", False),
    ("Unknown", "The film is Unknown.", True),
    ("N.A.", "N/A", False),
    ("Thank You", 'The song is called "Thank You".', True),
    ("If You Could Stay", "If You Could Stay", True),
    ("Oslo", "Oslo. Is there anything else I can help you with?", True),
    ("Oslo", "Sorry, I'm not sure, but perhaps Oslo.", True),
    ("Oslo", "I'm sorry for the confusion. It is Oslo.", True),
    ("Oslo", "Oslo, but I'm not sure.", True),
]


@pytest.mark.parametrize(("reference", "answer", "right"), POLITE)
def test_the_words_of_a_refusal_are_no_answer(reference, answer, right):
    assert correct("aliases", reference, answer) is right


REJECTED = [
    "Oslo. Actually, it is Bergen.",
    "Oslo. Wait, no, it is Bergen.",
    "Oslo... Sorry, I meant Bergen.",
    "Oslo. No, it is Bergen.",
    "Oslo - no, wait, Bergen.",
    "Oslo? Actually, it's Bergen.",
    "Oslo. Correction: Bergen.",
    "Oslo, or rather Bergen.",
    "Oslo, I mean Bergen.",
    "Oslo. Let me correct that: it is Bergen.",
    "Oslo. Scratch that, Bergen.",
    "Oslo would be wrong.",
    "Oslo would not be right.",
    "Oslo can't be right.",
    "Oslo is ruled out.",
    "Oslo is a common misconception.",
    "It is false that it is Oslo.",
    "It is not true that it is Oslo.",
    "It's a myth that it is Oslo.",
    "Many people think it is Oslo, but it is Bergen.",
    "Most people believe it is Oslo, but it is actually Bergen.",
    "It is often said to be Oslo, but it is Bergen.",
    "It is commonly believed to be Oslo. However, it is Bergen.",
    "Some say Oslo, but the right answer is Bergen.",
    "Although Oslo is often cited, the answer is Bergen.",
    "While Oslo is the best known, the answer is Bergen.",
    "Formerly Oslo, now Bergen.",
    "It used to be Oslo, but it is now Bergen.",
    "It was once Oslo, but is now Bergen.",
]


@pytest.mark.parametrize("answer", REJECTED)
def test_a_mention_that_is_taken_back_or_rejected_does_not_count(answer):
    assert not correct("aliases", "Oslo", answer)


@pytest.mark.parametrize("answer", [a for a in REJECTED if "Bergen" in a])
def test_what_is_named_instead_counts(answer):
    assert correct("aliases", "Bergen", answer)


@pytest.mark.parametrize(
    "answer",
    [
        "It could not be anything other than Oslo.",
        "No city other than Oslo.",
        "Oslo. Actually, it is the capital.",
        "Oslo. No other city comes close.",
        "Oslo, no doubt.",
        "Oslo, formerly Christiania.",
        "Oslo was formerly called Christiania, but it was renamed.",
        "Many people think it is Oslo.",
        "Although Oslo is small, it is the capital.",
        "Oslo is a city, but it is not big.",
        "It is Oslo, which is now a large city.",
        "It is true that it is Oslo.",
        "Oslo. It is wrong to say otherwise.",
    ],
)
def test_a_mention_that_is_kept_counts(answer):
    assert correct("aliases", "Oslo", answer)


def test_what_once_was_answers_a_question_about_the_past():
    said = "Formerly Oslo, now Bergen."
    assert correct("aliases", "Oslo", said, "Which was the former capital?")
    assert not correct("aliases", "Oslo", said, "Which is the capital?")


def test_a_correction_that_repeats_the_name_takes_nothing_back():
    assert correct("aliases", "Anna Kern", "Anna Kern. Actually, it is Anna Maria Kern.")
    assert not correct("aliases", "blue", "It is blue. Wait, no, it is red.")


OPEN_LISTS = [
    "Oslo; Bergen; Molde",
    "Bergen; Oslo; Molde",
    "Oslo | Bergen | Molde",
    "1. Oslo\n2. Bergen\n3. Molde",
    "- Oslo\n- Bergen\n- Molde",
    "* Oslo\n* Bergen\n* Molde",
    "Oslo? Bergen? Molde?",
    "Oslo? Bergen?",
    "Oslo? Or Bergen?",
    "Oslo (or Bergen)",
    "Oslo, or possibly Bergen",
    "oslo, or maybe bergen",
    "Oslo or perhaps Bergen",
    "It is Oslo or possibly Bergen.",
    "Oslo, maybe Bergen",
    "Possibly Oslo, possibly Bergen.",
    "Could be Oslo, could be Bergen.",
]


@pytest.mark.parametrize("answer", OPEN_LISTS)
def test_several_named_and_none_chosen_is_wrong(answer):
    assert not correct("aliases", "Oslo", answer)
    assert correct("aliases", ("Oslo", "Bergen", "Molde", "zorgon"), answer)


@pytest.mark.parametrize(
    ("references", "answer"),
    [
        ("Oslo", "Oslo; it is the capital."),
        ("Oslo", "Oslo (the capital of Norway)"),
        ("Oslo", "1. Oslo"),
        ("Oslo", "Oslo? Yes."),
        ("Oslo", "Oslo, or at least near Oslo"),
        ("Oslo", "It is Oslo, or so they say"),
        ("Oslo", "Oslo | the capital"),
        (("Oslo", "Kristiania"), "Oslo (or Kristiania)"),
        ("dawn", "It is the fear of dawn or sunrise."),
        ("24 hours", "24 hours, or a day"),
    ],
)
def test_one_thing_chosen_or_told_twice_is_right(references, answer):
    assert correct("aliases", references, answer)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("They are.", "yes"),
        ("They were.", "yes"),
        ("Both are.", "yes"),
        ("Both of them are.", "yes"),
        ("It is.", "yes"),
        ("He did.", "yes"),
        ("I think so.", "yes"),
        ("I believe so.", "yes"),
        ("Sure.", "yes"),
        ("Yup", "yes"),
        ("y", "yes"),
        ("Y.", "yes"),
        ("They aren't.", "no"),
        ("Both are not.", "no"),
        ("I don't think so.", "no"),
        ("I do not believe so.", "no"),
        ("Certainly not.", "no"),
        ("Nah", "no"),
        ("n", "no"),
        ("N.", "no"),
        ("No. They never met.", "no"),
        ("No, 5.", "no"),
        ("No. 5", None),
        ("It is No. 5", None),
        ("No. 10 people agree.", "no"),
        ("They are Danes.", None),
        ("It is not known if they are.", None),
        ("Sure, here is the answer:", None),
        ("Why?", None),
    ],
)
def test_yes_and_no_in_other_words(answer, told):
    assert correct("aliases", "yes", answer) is (told == "yes")
    assert correct("aliases", "no", answer) is (told == "no")


@pytest.mark.parametrize(
    ("reference", "wrong", "answer", "right"),
    [
        ("Ike's", "Tom's", "Ike’s", True),
        ("Ike’s", "Tom's", "Ike's", True),
        ("José", "Juan", "Jose", True),
        ("Jose", "Juan", "José", True),
        ("the doctor", "the nurse", "doctor", True),
        ("the doctor", "the nurse", "nurse", False),
        ("doctor", "nurse", "the doctor", True),
        ("negative", "positive", "not negative", False),
        ("positive", "negative", "far from positive", False),
        ("positive", "negative", "anything but positive", False),
        ("negative", "positive", "It is far from positive, it is negative", True),
        ("Paris", "Lyon", "Lyon? No, Paris.", True),
        ("Lyon", "Paris", "Lyon? No, Paris.", False),
        ("Lyon", "Paris", "Paris. Wait, no, it is Lyon.", True),
        ("Lyon", "Paris", "Lyon, no doubt", True),
    ],
)
def test_options_in_other_spellings_and_taken_back(reference, wrong, answer, right):
    assert correct("choice", reference, answer, wrong=[wrong]) is right


def test_the_option_keeps_its_place_in_the_answer():
    example = Example("1", "", ("José",), "g", wrong=("Juan",))
    answer = "It is “Jose”, not Juan."
    span = earliest_option(example, answer)
    assert answer[span.start : span.end] == "Jose"


@pytest.mark.parametrize(
    ("judge", "reference", "answer"),
    [
        ("number", "12", "This adds up to 12."),
        ("number", "12", "The total adds up to $12"),
        ("number", "12", "That brings the total up to 12."),
        ("number", "100", "I cannot find any error; the answer is 100."),
        ("number", "12", "I don't know the price of each; the total is 12."),
        ("number", "12", "She paid $12 and over the year she saves."),
        ("aliases", "1945", "It ended in 1945, and over time it was rebuilt."),
        ("aliases", "Oslo", "Oslo, actually in Norway."),
        ("aliases", "oxygen", "It is oxygen. Wait a moment."),
        ("aliases", "oxygen", "oxygen. Actually, pretty common."),
        ("aliases", "corn", "corn or maize"),
        ("aliases", "Let Me Know", "The song is Let Me Know"),
    ],
)
def test_what_only_looks_like_a_doubt_is_none(judge, reference, answer):
    assert correct(judge, reference, answer)


@pytest.mark.parametrize(
    ("question", "reference", "answer"),
    [
        ("What is the drinking age in Iowa?", "21", "21 and over"),
        ("What is the voting age?", "18", "18 or older"),
        ("What is the age of consent?", "16", "at least 16"),
        ("What is the film's rating?", "13", "13+"),
    ],
)
def test_a_bound_is_the_answer_where_one_is_asked_for(question, reference, answer):
    assert correct("aliases", reference, answer, question)
    assert not correct("aliases", reference, answer, "How many were there?")


@pytest.mark.parametrize(
    ("reference", "wrong", "answer", "right"),
    [
        ("entailment", "contradiction", "There is no contradiction, so it is entailment.", True),
        ("contradiction", "entailment", "No entailment. Contradiction", True),
        ("contradiction", "entailment", "no contradiction", False),
        ("contradiction", "entailment", "No, contradiction.", True),
        ("negative", "positive", "There is nothing positive about it. Negative.", True),
    ],
)
def test_an_option_that_is_not_there_is_not_chosen(reference, wrong, answer, right):
    assert correct("choice", reference, answer, wrong=[wrong]) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("It is hardly Paris.", False),
        ("Lyon, not to be confused with Paris.", False),
        ("There is no doubt that it is Paris.", True),
        ("There is no other answer than Paris.", True),
        ("The city known for art, Paris", True),
    ],
)
def test_no_and_hardly_deny(answer, right):
    assert correct("aliases", "Paris", answer, "What is the capital of France?") is right


@pytest.mark.parametrize(
    ("question", "answer", "reference"),
    [
        ("What is missing on the Moon?", "There is no oxygen.", "oxygen"),
        ("Why is the sky black there?", "There is no atmosphere.", "atmosphere"),
        ("What does he bend?", "There is no spoon.", "spoon"),
        ("Which animals are not found in Ireland?", "There are no snakes in Ireland.", "snakes"),
        ("What is a mirage mistaken for?", "It is often mistaken for water.", "water"),
        ("What is it confused with?", "It is not to be confused with the tapir.", "the tapir"),
    ],
)
def test_what_is_not_there_may_be_what_is_asked_for(question, answer, reference):
    assert correct("aliases", reference, answer, question)


@pytest.mark.parametrize("question", ["Who won the cup in 1998?", "Who won in 12 BC?"])
@pytest.mark.parametrize(
    "answer", ["Brazil, France, Germany and Italy", "1. Brazil\n2. France\n3. Italy"]
)
def test_a_year_in_the_question_asks_for_no_list(question, answer):
    assert not correct("aliases", "France", answer, question)
    for several in ("Give 3 teams that won the cup.", "Give 25 European nations."):
        assert correct("aliases", "France", answer, several)


BOTH = "Are Anna Ross and Ben Todd both painters?"


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        (BOTH, "They are both painters.", True),
        (BOTH, "Both are painters.", True),
        (BOTH, "Anna Ross and Ben Todd are both painters.", True),
        (BOTH, "Anna Ross and Ben Todd aren't both painters.", False),
        (BOTH, "Unfortunately not.", False),
        (BOTH, "Affirmative", True),
        (BOTH, "Negative.", False),
        (BOTH, "Hardly.", False),
        (BOTH, "Never.", False),
        (BOTH, "Only Anna Ross is a painter.", None),
        (BOTH, "Painters are artists.", None),
        ("Is the tower in Paris?", "The tower is in Paris.", True),
        ("Is the tower in Rome?", "The tower is in Paris.", None),
        ("Isn't the tower in Paris?", "The tower is in Paris.", None),
        ("What is the tower in Paris?", "The tower is in Paris.", None),
        ("Is Anna taller than Ben?", "Anna is taller than Ben.", True),
        ("Is Anna taller than Ben?", "Ben is taller than Anna.", None),
        ("Is B in A?", "A is in B.", None),
        ("Is Rome larger than the capital of France?", "It is the capital of France.", None),
    ],
)
def test_a_question_put_as_a_statement_is_a_yes(question, answer, told):
    assert correct("aliases", "yes", answer, question) is (told is True)
    assert correct("aliases", "no", answer, question) is (told is False)
