"""Words of an answer, and the phrase in it that the question does not hold."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probebench.tasks.exact.new_words import SHORT, new_phrase
from probebench.tasks.exact.phrases import cut_words, sentences
from probebench.types import Span


def phrase(question, answer):
    span = new_phrase(question, answer)
    return None if span is None else answer[span.start : span.end]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It was Anna Smith's book.", ["It", "was", "Anna", "Smith", "book"]),
        ("C++, C# and -3 or $29.00!", ["C++", "C#", "and", "-3", "or", "$29.00"]),
        ("(1914–1918)", ["1914", "1918"]),
        ('**Oslo**, "Norway"', ["Oslo", "Norway"]),
        ("the U.S. Navy", ["the", "U.S", "Navy"]),
        ("答案是东京。", ["答", "案", "是", "东", "京"]),
        ("Spider-Man", ["Spider-Man"]),
        ("...", []),
    ],
)
def test_words_begin_and_end_where_a_reader_would_say(text, words):
    assert [w.text for w in cut_words(text)] == words


def test_initials_and_titles_end_no_sentence():
    text = "Dr. B. R. Ambedkar wrote it. He was born in 1891.\nIn Mhow"
    assert [len(s) for s in sentences(cut_words(text))] == [6, 5, 2]


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Who painted the mural?", "Ilse Brandt", "Ilse Brandt"),
        (
            "Who painted the mural?",
            "The mural was painted by Ilse Brandt in the spring of 1931.",
            "Ilse Brandt",
        ),
        (
            "When was the mural painted?",
            "The mural was painted by Ilse Brandt in the spring of 1931.",
            "1931",
        ),
        (
            "How many rooms does the inn have?",
            "The inn by the lake has 41 rooms and a cellar from 1702.",
            "41",
        ),
        (
            "Which comet did she see?",
            'The comet that she saw was called "The Silver Broom" by everyone.',
            "The Silver Broom",
        ),
        (
            "What is a grolt?",
            "A grolt (also known as a Trollfish) is a small freshwater eel with teeth.",
            "small freshwater eel",
        ),
        (
            "Where is the Nerra river?",
            "The Nerra river is in the north of Kestria, near the old border.",
            "Kestria",
        ),
        (
            "Who played Tam Brek?",
            "Tam Brek was played by the actor Joan Ferris in the film.",
            "Joan Ferris",
        ),
        ("Which port ships it?", "Answer: Port Lume", "Port Lume"),
        (
            "In which decade was she born?",
            "She was born on 3 May 1931, which means the 1930s.",
            "1930s",
        ),
    ],
)
def test_what_is_new_and_of_the_kind_asked_for(question, answer, expected):
    assert phrase(question, answer) == expected


def test_names_that_go_on_from_the_question_are_no_answer():
    question = "where is the world cup being held in 2018"
    assert (
        phrase(question, "The 2018 FIFA World Cup is being held in Russia this year.") == "Russia"
    )


@given(st.text(max_size=30), st.text(max_size=120))
def test_a_span_is_whole_words_whatever_the_texts(question, answer):
    words = cut_words(answer)
    span = new_phrase(question, answer)
    assert (span is None) == (not words)
    if span is not None:
        assert span.start in {w.start for w in words}
        assert span.end in {w.end for w in words}
        assert span.start < span.end


def test_short_answers_are_their_own():
    answer = "north of the old mill"
    assert len(answer.split()) == SHORT
    assert phrase("Where is it?", answer) == answer
    assert Span(0, len(answer)) == new_phrase("Where is it?", answer)


def test_words_are_cut_without_loss():
    text = "It “was” Anna-Lena Smith’s, 1,000 – or so."
    for word in cut_words(text):
        assert text[word.start : word.end] == word.text
    assert cut_words(text)[-1].after == "."


@pytest.mark.parametrize(
    "answer",
    [
        "Sure! The capital of Norway is Oslo.",
        "Great question! The capital of Norway is Oslo.",
        "**I'm not sure.** The capital of Norway is Oslo.",
        "Hello! I'm not sure. But I think it is Oslo.",
        "Here is the answer:\n\nOslo",
        "Sure! Here's the answer: Oslo",
        "**Answer:** Oslo",
        "1. Oslo",
        "Oslo. Sure!",
    ],
)
def test_what_an_answer_begins_with_is_not_what_it_says(answer):
    span = new_phrase("What is the capital of Norway?", answer)
    assert answer[span.start : span.end] == "Oslo"


@pytest.mark.parametrize(
    ("question", "answer", "said"),
    [
        ("How many legs have spiders?", "8. Spiders have four pairs of legs.", "8"),
        ("What is six times seven?", "42. It is a number that Douglas Adams liked.", "42"),
        ("How many are left?", "1. The others are gone.", "1"),
        ("What does Adele sing?", '"Hello". It came out in 2015 and was a success.', "Hello"),
        ("What does OK stand for?", "OK. It stands for all correct, they say.", "OK"),
        ("Is Rome the capital?", "Certainly. It has been since 1871.", "Certainly"),
        (
            "What makes energy?",
            "I'm not certain. Mitochondria provide it.",
            "Mitochondria provide it",
        ),
        ("Who was it?", "I don't know the answer. Please provide more context.", None),
        ("Who was it?", "I'm not sure. Could you please clarify the question?", None),
    ],
)
def test_an_answer_is_no_opening_and_a_request_no_answer(question, answer, said):
    span = new_phrase(question, answer)
    found = answer[span.start : span.end]
    assert found == said if said else found in answer.partition(".")[0]


def test_many_openings_take_no_square_of_time():
    began = time.process_time()
    for opening in ("I'm not sure. ", "1. ", "Sure! "):
        new_phrase("Who was it?", opening * 2000)
    assert time.process_time() - began < 3, "by the square of their number it took sixteen seconds"


@pytest.mark.parametrize("answer", ["Sure.", "I'm not sure."])
def test_what_is_all_that_is_said_is_the_answer(answer):
    span = new_phrase("What is the capital of Norway?", answer)
    assert answer[span.start : span.end] == answer.rstrip(".")
