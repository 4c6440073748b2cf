"""Kinds of answers that fooled judges: for each kind right and wrong answers, in made-up rows."""

import time

import pytest

from probebench.tasks.exact.rules import RULES
from probebench.tasks.judge import earliest_option, get_judge
from probebench.tasks.judging.amounts import read_amount
from probebench.tasks.judging.final import final_number
from probebench.tasks.judging.reading.dates import whole_date
from probebench.tasks.judging.reading.wording import words
from probebench.tasks.schema import ExactAnswer
from probebench.types import Example, Span


def correct(name, references, answer, question="", wrong=()):
    references = (references,) if isinstance(references, str) else tuple(references)
    return get_judge(name)(
        Example("1", question, references, "g", wrong=tuple(wrong)), answer
    ).correct


PAIR = "Which opened earlier, the Ferl Bridge or the Onda Bridge?"
COUNTY = "What is the capital of Torrin County?"
BAND = "What was the name of Dora Finch's backing group?"
IN_THE_QUESTION = [
    (
        ("Ty Varn", "The Kestria Plum"),
        "Who was the Kestria Plum?",
        "The Kestria Plum is a family business.",
        False,
    ),
    (
        ("Ty Varn", "The Kestria Plum"),
        "Who was the Kestria Plum?",
        "The Kestria Plum was Ty Varn.",
        True,
    ),
    ("Onda Bridge", PAIR, "the Onda Bridge", True),
    ("Onda Bridge", PAIR, "The Onda Bridge opened before the Ferl Bridge.", True),
    ("Onda Bridge", PAIR, "The Ferl Bridge opened before the Onda Bridge.", False),
    ("Onda Bridge", PAIR, PAIR, False),
    ("Ferl Bridge", PAIR, PAIR, False),
    ("Ferl Bridge", PAIR, "The Ferl Bridge or the Onda Bridge.", False),
    ("Onda Bridge", PAIR, "The Onda Bridge, not the Ferl Bridge.", True),
    ("Onda Bridge", PAIR, "Not the Ferl Bridge but the Onda Bridge.", True),
    ("Ferl Bridge", PAIR, "The Onda Bridge, not the Ferl Bridge.", False),
    ("Ferl Bridge", PAIR, "Ferl Bridge or Onda Bridge? I cannot say.", False),
    ("Torrin", COUNTY, "Torrin", True),
    ("Torrin", COUNTY, "The capital of Torrin County is Torrin.", True),
    ("Torrin", COUNTY, "The capital of Torrin County is Weld.", False),
    ("Torrin", COUNTY, "I know nothing about Torrin County.", False),
    (("Dora Finch", "The Larks"), BAND, "Dora Finch's backing group was the Owls.", False),
    (("Dora Finch", "The Larks"), BAND, "They were called the Larks.", True),
    ("In Time", "what is the film about people who pay with time", 'It is called "In Time".', True),
]


@pytest.mark.parametrize(("references", "question", "answer", "right"), IN_THE_QUESTION)
def test_an_alias_in_the_question_counts_when_the_answer_chooses_it(
    references, question, answer, right
):
    assert correct("aliases", references, answer, question) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Weld", True),
        ("Weld is older than Torrin.", True),
        ("Torrin is older than Weld.", False),
        ("Weld and Torrin", False),
    ],
)
def test_the_options_of_the_task_may_stand_in_the_question(answer, right):
    assert (
        correct(
            "aliases",
            "Weld",
            answer,
            "Of the towns Torrin, Weld: which is older?",
            wrong=["Torrin"],
        )
        is right
    )


KINDS = {
    "abbreviations": [
        (("Belgium", "BE"), "It must be France.", False),
        (("Armenia", "AM"), "I am sure that it is Turkey.", False),
        (("Finland", "FIN"), "The fish lost a fin.", False),
        (("United States", "US"), "LET US SAY CANADA.", False),
        (("United States", "US"), "somewhere in the us", True),
        (("United States", "US"), "It lies in the U.S. state of Ohio.", True),
        ("BBC", "It was the BBC.", True),
        ("USSR", "the U.S.S.R.", True),
        ("NASA", "N.A.S.A. did", True),
        ("It", "It is Carrie.", False),
        ("It", "The novel is called It.", True),
        ("May", "It may rain in June.", False),
        ("May", "It was in May of that year.", True),
        ("The Who", "People who know say Genesis.", False),
        ("The Who", "It was sung by The Who.", True),
    ],
    "yes and no": [
        ("no", "No idea.", False),
        ("no", "No records of this exist.", False),
        ("no", "There is no doubt: yes.", False),
        ("yes", "There is no doubt: yes.", True),
        ("no", "No they never met.", True),
        ("no", "The answer is no.", True),
        ("no", "Neither of them.", True),
        ("yes", "I cannot say yes or no.", False),
        ("yes", "No, even if some say yes.", False),
        ("false", "That is not true.", True),
        ("Typically, no", "No, in most places they need none.", True),
        ("yes", "yesterday", False),
    ],
    "half a name": [
        ("South Ossetia", "Ossetia", False),
        ("Ossetia", "South Ossetia", False),
        ("New Caledonia", "Caledonia", False),
        ("Caledonia", "It lies in New Caledonia.", False),
        ("Papua New Guinea", "New Guinea", False),
        ("American Samoa", "Samoa", False),
        ("Guinea-Bissau", "Guinea", False),
        ("Guinea", "Guinea-Bissau", False),
        ("Louis XIV", "Louis", False),
        ("Pope Anton Paul II", "Pope Anton Paul I", False),
        ("Louis XIV", "Louis XVI", False),
        ("Alien", "Alien 3", False),
        ("Alien 3", "Alien", False),
        ("Elizabeth I", "Elizabeth II", False),
        ("George H. W. Bush", "George W. Bush", False),
        ("Martin Luther King Jr.", "Martin Luther", False),
        ("Nobel, Alfred", "It was Emil Nobel.", False),
        ("Nobel, Alfred", "Alfred Nobel", True),
        ("France", "in the north of France", True),
        ("Onda Island", "Onda", True),
        ("Niels Bohr", "Bohr", True),
        ("C. carpio", "C. c. auratus", False),
        ("C. carpio", "Cyprinus carpio", True),
    ],
    "negation": [
        ("Oslo", "not Oslo", False),
        ("Oslo", "It isn't in Oslo.", False),
        ("Oslo", "Bergen rather than Oslo", False),
        ("Oslo", "I don't think it is Oslo.", False),
        ("Oslo", "It was not held in Oslo.", False),
        ("Oslo", "Oslo is not the place.", False),
        ("Oslo", "Anything but Oslo.", False),
        (("association football", "football"), "It is not association football.", False),
        ("Oslo", "Not Bergen, but Oslo.", True),
        ("Oslo", "It is Oslo, not Bergen.", True),
        ("Oslo", "not only Oslo", True),
        ("Oslo", "Oslo? No, it is Bergen.", False),
        ("Oslo", "Not Bergen. Oslo.", True),
        ("Oslo", "none other than Oslo", True),
        ("1990", "It was not known until 1990.", True),
        ("Not Fade Away", "Not Fade Away", True),
    ],
    "lists": [
        ("Oslo", "Oslo or Bergen", False),
        ("Oslo", "Either Bergen or Oslo.", False),
        ("Oslo", "It could be Bergen, Oslo, or Narvik.", False),
        ("Oslo", "Bergen, Oslo and Narvik", False),
        ("Oslo", "Bergen, Oslo, Narvik, Molde", False),
        ("Oslo", "Oslo, Viken, Norway", True),
        ("Oslo", "Oslo, the capital and largest city of Norway", True),
        ("24 hours", "24 hours, or 1,440 minutes", True),
        (
            "Iron, Tin and Lead",
            "The lead is mined in the west, the tin in the east, and iron is found in the far "
            "south.",
            True,
        ),
        ("Iron, Tin and Lead", "iron, tin and zinc", False),
        ("Ash or Oak", "oak", True),
    ],
    "titles": [
        ("The Lion, the Witch and the Wardrobe", "The Lion King", False),
        ("Lock, Stock and Two Smoking Barrels", "a lock", False),
        ("Good Morning, Vietnam", "In Good Morning America.", False),
        ("Girl, Interrupted", "It was Gone Girl.", False),
        ("Eat, Pray, Love", "eat", False),
        ("Ulm, Swabia", "It stands in Ulm, Germany.", True),
    ],
    "articles": [
        ("the", 'The definite article is "the".', True),
        ("the", "the end", False),
        ("A", "The answer is A.", True),
        ("A", "A dog barked.", False),
        ("Vitamin A", "vitamin C", False),
        ("Hepatitis A", "It is hepatitis A.", True),
        ("A minor", "E minor", False),
        ("Qur'an", "the Quran", True),
    ],
    "symbols": [
        ("C++", "C", False),
        ("C", "C++", False),
        ("C#", "It was written in C#.", True),
        ("C#", "C++", False),
        ("Ruby", "RubyMotion", False),
        ("D", "Objective-D", False),
        ("AT&T", "at&t", True),
        ("O-", "O+", False),
        ("AB+", "AB-", False),
        ("-5", "5", False),
        ("-5", "minus five", True),
        ("/", "/", True),
        ("50%", "50 percent", True),
    ],
    "spelling": [
        ("Red Wood", "redwood", True),
        ("Tomas Eli Varga", "Tomaseli Varga", True),
        ("ANNAFELD", "Anna Feld", True),
        ("5ft 11in", "5 feet 11 inches (180 cm)", True),
        ("2,410 km", "about 2,410 kilometres", True),
        ("between 1861 and 1868", "It was begun in 1861 and finished in 1868.", True),
        ("9 March 1987", "It opened in March 1987.", True),
        ("9 March 1987", "1987-03-09", True),
        ("9 March 1987", "It opened on 8 March 1987.", False),
        ("2002", "2", False),
        ("two thousand and two", "2", False),
        ("Nineteen Seventeen", "1917", True),
        ("2.4 billion", "2,400,000,000", True),
        ("World War I", "the First World War", True),
        ("Apollo 11", "Apollo XI", True),
        ("21st", "twenty-first", True),
        ("Müller", "Mueller", True),
        ("Søren", "Soren", True),
        ("St. Ives", "Saint Ives", True),
        ("theatre", "theater", True),
        ("京都", "答えは京都です。", True),
        ("京都", "東京です。", False),
        ("2011.0", "in 2011", True),
    ],
    "refusals and what runs on": [
        ("Oslo", "I cannot tell whether it is Oslo.", False),
        ("Oslo", "I'm not sure, but I think it is Oslo.", True),
        ("Oslo", "Bergen\n\nQuestion: What is the capital of Norway?\nAnswer: Oslo", False),
        (
            "Oslo",
            "Bergen. "
            + "There is much more to be said about harbours, tides, weather, trade and ships. " * 8
            + "Oslo.",
            False,
        ),
        (
            "Oslo",
            "Bergen<|im_end|>\n<|im_start|>user\nAnd "
            "Norway?<|im_end|>\n<|im_start|>assistant\nOslo",
            False,
        ),
        ("Oslo", "Bergen\nuser\nAnd of Norway?\nassistant\nOslo", False),
        ("Oslo", "Bergen [INST] And of Norway? [/INST] Oslo", False),
        ("Oslo", "Bergen\n\nQuestion 2\nWhat is the capital of Norway?\n\nOslo", False),
        ("Oslo", "What I found:\nExample 1: Oslo", True),
        ("Oslo", "I don't think it's Oslo.", False),
        ("Oslo", "I doubt that it is Oslo.", False),
        ("Oslo", "No doubt Oslo.", True),
    ],
    "yes and no in other words": [
        ("no", "Not really.", True),
        ("no", "They are not.", True),
        ("no", "Certainly not, they are Danes.", True),
        ("yes", "Certainly not, they are Danes.", False),
        ("yes", "Of course they are.", True),
        ("no", "It is not known.", False),
        ("no", "Not available.", False),
        ("yes", "I'm not sure, but yes.", True),
        ("yes", "I don't know if it is a yes.", False),
        ("yes", "Yes/No", False),
        ("no", "No and yes.", False),
    ],
    "symbols, letters and money": [
        ("Pi", "π", True),
        ("Sa$ha", "Sasha", True),
        ("T!na", "Tina", True),
        ("£35", "It cost $35.", False),
        ("£35", "It cost £35.", True),
        ("Vitamin K", "Vitamin", False),
        ("B flat", "B", False),
        ("San Marcos", "Marcos", False),
        ("Rowe, J. K.", "Rowe", True),
    ],
    "units and dates": [
        ("6 hours", "6 hrs", True),
        ("45 minutes", "45 min", True),
        ("45 minutes", "45 hours", False),
        ("250 g", "250 grams", True),
        ("8 ounces", "8 oz", True),
        ("35 mph", "35 miles per hour", True),
        ("35 mph", "35 km/h", False),
        ("50 km/h", "50 kilometres an hour", True),
        ("900 square miles", "900 sq mi", True),
        ("40 °C", "40 degrees Celsius", True),
        ("40 °C", "40 °F", False),
        ("March 9", "9 Mar", True),
        ("March 9", "9 May", False),
        ("480 BC", "480 BCE", True),
    ],
    "several to choose from": [
        ("Oslo", "Oslo/Bergen", False),
        ("AC/DC", "AC/DC", True),
        ("N/A", "N/A", True),
        ("9/11", "9/11", True),
        ("Oslo", "A) Bergen B) Oslo C) Narvik", False),
        ("Oslo", "B) Oslo", True),
    ],
}
ROWS = [(kind, *row) for kind, rows in KINDS.items() for row in rows]


@pytest.mark.parametrize(
    ("kind", "references", "answer", "right"),
    ROWS,
    ids=[
        f"{k}: {r[1]}"
        for k, r in zip([row[0] for row in ROWS], [row[1:] for row in ROWS], strict=True)
    ],
)
def test_aliases(kind, references, answer, right):
    assert correct("aliases", references, answer) is right, kind


NUMBERS = [
    ("5/8", "The answer is 5/8.", True),
    ("5/8", "The answer is 5/6.", False),
    ("0.625", r"\boxed{\frac{5}{8}}", True),
    ("3 1/4", "3.25", True),
    ("3.5", "three and a half", True),
    ("1.5", "1½", True),
    ("1/3", "0.333", True),
    ("-12", "The balance is -$12.", True),
    ("-12", "negative twelve", True),
    ("12", "The answer is −12.", False),
    ("4", "9 - 5 = 4", True),
    ("8300", r"8{,}300", True),
    ("2500000", "2 500 000", True),
    ("2500000", "2.5 million", True),
    ("2500000", "25,00,000", True),
    ("2345.6", "2.345,60", True),
    ("400", "4e2", True),
    ("4200", r"4.2 \times 10^{3}", True),
    ("49", "7^2", True),
    ("30", "The floor measures 30 m^2.", True),
    ("30", "It takes 30 g of CO2.", True),
    ("0.35", "35%", True),
    ("4:20", "at 4:20", True),
    ("4:20", "4:35", False),
    ("2:3", "3:2", False),
    ("11", "The answer is 6 + 5 = 11.", True),
    ("11", "The answer is 11 = 6 + 5.", True),
    ("11", "The answer is 6 + 5.", True),
    ("6", "The answer is 6 + 5.", False),
    ("26", "A: 2 + 4 * 6", True),
    ("36", "A: 4 dollars * 9 = 36 dollars", True),
    ("70", "The answer is $70, which is 10 more than before.", True),
    ("17", "The answer is not 12 but 17.", True),
    ("17", "The answer is 12 or 17.", False),
    ("17", "#### 17\n\nAnother one: #### 40", True),
    ("17", "The answer is 17.\n\nQ: A box holds 3 rows of 4. How many?\nA: 12", True),
    ("17", "17\n\nCheck: 20 - 3 leaves 17, and 3 of 20 are gone", True),
    ("205", "two hundred and five", True),
    ("17", "I do not know.", False),
    ("17", "It is 17, not 18.", True),
    ("18", "The answer is not 18.", False),
    ("17", "17 guests (5 men and 12 women)", True),
    ("14", "2 * (3 + 4) = 14", True),
    ("45000", "about 45k", True),
    ("2600000", "$2.6M", True),
    ("2.6", "2.6 m", True),
    ("6.5", "6 and a half", True),
    ("1", "No one.", False),
]


@pytest.mark.parametrize(("reference", "answer", "right"), NUMBERS)
def test_numbers(reference, answer, right):
    assert correct("number", reference, answer) is right


@pytest.mark.parametrize(
    "text", ["3/4", "-2", "1,000", "2 1/2", "7:15", "½", "1e3", "12", "$5", "3.0", "10^3", "−4"]
)
def test_every_number_equals_itself(text):
    assert correct("number", text, text)
    assert correct("number", text, f"The answer is {text}.")


@pytest.mark.parametrize("n", [0, 7, 19, 20, 42, 99, 100, 105, 999, 1000, 1917, 12345, 1000000])
def test_digits_thousands_and_words_are_one_number(n):
    said = {
        0: "zero",
        7: "seven",
        19: "nineteen",
        20: "twenty",
        42: "forty-two",
        99: "ninety-nine",
        100: "one hundred",
    }
    said |= {
        105: "one hundred and five",
        999: "nine hundred ninety-nine",
        1000: "a thousand",
        1917: "nineteen seventeen",
    }
    said |= {12345: "twelve thousand three hundred forty-five", 1000000: "one million"}
    assert words(said[n]) == words(str(n)) == words(f"{n:,}") == [str(n)]
    assert read_amount(said[n]).value == n == read_amount(f"{n:,}").value


def test_the_span_of_the_number_is_what_the_judge_reads():
    for answer, text in (
        ("It is 6 + 5 = 11 in all.", "11"),
        ("The answer is 3/4 of it.", "3/4"),
        ("A: -$12", "-$12"),
        ("so 20 %", "20"),
    ):
        span = final_number(answer)
        assert answer[span.start : span.end] == text


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("the nurse and the pilot", False),
        ("Either the nurse or the pilot.", False),
        ("nurse/pilot", False),
        ("neither the nurse nor the pilot", False),
        ("not the pilot but the nurse", True),
        ("It isn't the pilot. It is the nurse.", True),
        ("The nurse told the pilot.", True),
        ("I cannot tell whether it is the nurse.", False),
        ("The nurse told the pilot that she was late. Who was late?", False),
    ],
)
def test_choices(answer, right):
    question = "The nurse told the pilot that she was late. Who was late?"
    assert correct("choice", "nurse", answer, question, wrong=["pilot"]) is right


@pytest.mark.parametrize(
    ("reference", "wrong", "answer", "right"),
    [
        ("B", "A", "A good answer is B", True),
        ("C", "C++", "C++", False),
        ("C", "Java", "C++", False),
        ("no", "yes", "no idea", False),
        ("C", "A", "c", True),
        ("C", "A", "A or C", False),
        ("A", "C", "A or C", False),
    ],
)
def test_options_of_a_letter_or_a_word(reference, wrong, answer, right):
    assert correct("choice", reference, answer, wrong=[wrong]) is right


def test_every_judge_leaves_out_what_runs_on():
    runs_on = "\nQ: What happens when gum is swallowed?\nA: Nothing happens to it, it passes"
    assert correct("exact", "Weld", "Weld" + runs_on)
    assert not correct(
        "closest",
        "Nothing happens to it, it passes",
        "It stays" + runs_on,
        "Where is it?",
        ["It stays for years"],
    )
    assert correct(
        "closest",
        "It stays for years",
        "It stays" + runs_on,
        "Where is it?",
        ["Nothing happens to it, it passes"],
    )


def test_the_exact_answer_stands_before_the_next_question():
    example = Example("1", "Which town is the capital of the county?", ("Weld",), "g")
    rule, runs_on = RULES["new_words"], "\n\nQuestion: Who wrote it?\nAnswer: Anna Kern"
    assert rule(ExactAnswer("new_words"), example, "I do not know." + runs_on) is None
    said = "The capital of the county is which town, the town of the county."
    span = rule(ExactAnswer("new_words"), example, said + runs_on)
    assert span is not None
    assert span.end <= len(said)


def test_the_exact_answer_is_what_the_judge_read():
    question = "The nurse told the pilot that she was late. Who was late?"
    example = Example("1", question, ("nurse",), "g", wrong=("pilot",))
    answer = f"{question} the pilot"
    span = earliest_option(example, answer)
    assert answer[span.start :] == "pilot"
    sums = Example("1", "Tom has 3 of 9 pears. How many are left?", ("6",), "g")
    assert RULES["number"](ExactAnswer(rule="number"), sums, f"{sums.question} 6") == Span(
        len(sums.question) + 1, len(sums.question) + 2
    )
    assert RULES["number"](ExactAnswer(rule="number"), sums, sums.question) is None


@pytest.mark.parametrize("judge", ["aliases", "choice", "number", "closest"])
def test_repeating_the_question_is_wrong(judge):
    question = "Is it true that Ferl has 40 bridges, or is it Onda that has 40 of them?"
    reference, wrong = ("40", "30") if judge == "number" else ("Onda", "Ferl")
    assert not correct(judge, reference, question, question, wrong=[wrong])
    assert judge == "closest" or not correct(
        judge, reference, f"{question}\nI'm sorry, I don't know.", question, wrong=[wrong]
    )


def test_dates_in_all_spellings_are_one_date():
    spelled = [
        "9 March 1987",
        "9th March 1987",
        "March 9, 1987",
        "March 9th, 1987",
        "the 9th of March, 1987",
        "1987-03-09",
        "9-Mar-1987",
    ]
    found = {
        (d.year, d.month, d.day) for text in spelled if (d := whole_date(text.removeprefix("the ")))
    }
    assert found == {(1987, 3, 9)}
    assert whole_date("March 1987") is None


def test_many_long_aliases_are_judged_in_milliseconds():
    aliases = [f"Name {i} of the long list of aliases ({i})" for i in range(300)]
    answer = "There is a lot to say about this question, and none of it is short. " * 12
    begin = time.process_time()
    for _ in range(5):
        correct("aliases", aliases, answer, "What is it?")
    assert time.process_time() - begin < 5


THREE = Example("e", "Which?", ("entailment",), "g", wrong=("neutral", "contradiction"))


@pytest.mark.parametrize(
    "echo",
    [
        "- entailment\n- neutral\n- contradiction",
        "* entailment * neutral * contradiction",
        "1. entailment\n2. neutral\n3. contradiction",
        "(A) entailment (B) neutral (C) contradiction",
        "entailment | neutral | contradiction",
        "[entailment, neutral, contradiction]",
        "entailment neutral contradiction",
        "The options are: entailment - neutral - contradiction",
        "entailment vs. contradiction",
    ],
)
def test_an_echo_of_the_options_is_no_choice(echo):
    assert earliest_option(THREE, echo) is None


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("- entailment\n- neutral\n- contradiction\n\nThe answer is neutral.", "neutral"),
        ("Options: entailment, neutral or contradiction. Answer: contradiction", "contradiction"),
        ("- entailment", "entailment"),
        ("**neutral**", "neutral"),
        ("Entailment: it follows.\nNeutral: it does not.", "Entailment"),
        ("entailment - the statement says so", "entailment"),
    ],
)
def test_what_follows_an_echo_may_choose(answer, chosen):
    span = earliest_option(THREE, answer)
    assert answer[span.start : span.end] == chosen
