"""Texts of answers as people nest them: unwrapped where there is one reading, else refused with the
line."""

import json

import pytest
from dumped import read, truth_of

from probebench.errors import BadFileError
from probebench.tasks.local.texts import answer_in, asked_in
from probebench.tasks.prompts import chat, encode_prompt


def said(role, content):
    return {"role": role, "content": content}


@pytest.fixture(scope="module")
def chatty():
    return truth_of("chat")


@pytest.mark.parametrize(
    "answer",
    [
        [" Anna"],
        said("assistant", " Anna"),
        [said("assistant", " Anna")],
        [said("assistant", [{"type": "text", "text": " Anna"}])],
        str([said("assistant", " Anna")]),
    ],
)
def test_an_answer_that_is_wrapped_once_is_that_text(tmp_path, chatty, answer):
    given = read(tmp_path, chatty, [{"question": "Who?", "answer": answer, "stopped": 1}])
    assert given[0].text == " Anna"


def test_json_that_a_model_wrote_stays_what_it_wrote(tmp_path, chatty):
    answer = json.dumps(said("assistant", "hi"))
    given = read(tmp_path, chatty, [{"question": "Who?", "answer": answer, "stopped": 1}])
    assert given[0].text == answer


@pytest.mark.parametrize("column", ["prompt", "question"])
@pytest.mark.parametrize(
    "asked",
    [
        said("user", "Who?"),
        [said("user", "Who?")],
        [said("user", [{"type": "text", "text": "Who?"}])],
        str([said("user", "Who?")]),
    ],
)
def test_messages_go_through_the_chat_template(tmp_path, chatty, column, asked):
    given = read(tmp_path, chatty, [{column: asked, "answer": " Anna", "stopped": 1}])[0]
    assert given.prompt_ids == encode_prompt(chatty.tokenizer, chat(chatty.tokenizer, "Who?"))
    assert given.example.question == "Who?"
    assert given.example.group == "who?"


def test_a_question_in_a_list_of_one_is_that_question(tmp_path, chatty):
    rows = [{"question": q, "answer": " Anna", "stopped": 1} for q in ("Who?", ["Who?"])]
    first, second = read(tmp_path, chatty, rows)
    assert first.prompt_ids == second.prompt_ids
    assert second.example.fields["question"] == "Who?"


def test_a_chat_of_several_turns_is_asked_whole(tmp_path, chatty):
    turns = [said("user", "Who?"), said("assistant", "Anna"), said("user", "Where?")]
    given = read(tmp_path, chatty, [{"prompt": turns, "answer": " Paris", "stopped": 1}])[0]
    shown = chatty.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert chatty.tokenizer.decode(given.prompt_ids) == shown
    assert given.example.question == "Where?"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": ["a", "b"]}, r"line 1: answer holds 2 texts: \['a', 'b'\]"),
        ({"answer": {"text": "a"}}, "line 1: answer must be text, or messages of role and content"),
        ({"answer": [{"generated_text": "a"}]}, "line 1: answer must be text"),
        ({"answer": []}, "line 1: answer must be text"),
        ({"answer": [""]}, "line 1: answer is empty"),
        ({"answer": [None]}, "line 1: answer is empty"),
        ({"answer": said("user", "a")}, "line 1: answer holds messages of user"),
        ({"answer": [said("user", "q"), said("assistant", "a")]}, "messages of user, assistant"),
        ({"answer": said("assistant", None)}, "message of the assistant that is not text alone"),
        ({"question": ["a", "b"]}, "line 1: question holds 2 texts"),
        ({"question": {"a": 1}}, "line 1: question must be text"),
        ({"question": [said("robot", "q")]}, "line 1: question has a message of 'robot'"),
        ({"prompt": [said("user", "q"), said("assistant", "a")]}, "prompt ends with a message of"),
        ({"prompt": [said("user", [{"type": "image"}])]}, "message of the user that is not text"),
        ({"exact_answer": ["a", "b"]}, "line 1: exact_answer holds 2 texts"),
    ],
)
def test_what_is_no_single_text_is_refused(tmp_path, chatty, row, message):
    with pytest.raises(BadFileError, match=message) as caught:
        read(tmp_path, chatty, [{"question": "Who?", "answer": " Anna", "stopped": 1, **row}])
    assert "\n" not in str(caught.value)


def test_messages_need_a_chat_template(tmp_path):
    row = {"question": [said("user", "Who?")], "answer": " Anna"}
    with pytest.raises(
        BadFileError, match="line 1: question is a list of messages, and this model"
    ):
        read(tmp_path, truth_of("base"), [row])


@pytest.mark.parametrize("text", ["[1, 2]", '{"name": "Anna"}', "['a']", '{"role": "poet"}'])
def test_a_text_that_looks_like_a_list_stays_a_text(text):
    assert answer_in(text, "answer", "") == asked_in(text, "question", "") == text
