"""Answers made elsewhere, as people dump them: read as what the model saw and wrote, or refused
with the line."""

import dataclasses
import json

import pytest
from dumped import BOS, EOS, PAD, QUESTIONS, REPLIES, TOKENIZERS, Truth, read, written

from probebench.errors import BadFileError
from probebench.models.asking import given_questions
from probebench.tasks.local.notes import MENDED, data_notes
from probebench.tasks.prompts import chat, encode_prompt

CUT_OFF = 2
"""Which reply has no end."""


@pytest.fixture(scope="module", params=list(TOKENIZERS))
def truth(request):
    tokenizer = TOKENIZERS[request.param]()
    shown = [chat(tokenizer, q) if tokenizer.chat_template else f"Q: {q}\nA:" for q in QUESTIONS]
    prompts = [encode_prompt(tokenizer, text) for text in shown]
    answers = [tuple(tokenizer(r, add_special_tokens=False)["input_ids"]) for r in REPLIES]
    answers = [a if i == CUT_OFF else (*a, tokenizer.eos_token_id) for i, a in enumerate(answers)]
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return Truth(tokenizer, prompts, answers, pad)


def said(i):
    return {"finish_reason": "length" if i == CUT_OFF else "stop"}


def widths(t):
    return max(map(len, t.prompts)) + 3, max(map(len, t.answers)) + 3


def batch(t, i, margin=0):
    """A row of `generate()`: prompts padded on the left to one length, answers on the right to the
    longest, the one cut off."""
    longest = max(map(len, t.prompts)) + margin
    return t.left(t.prompts[i], longest) + t.right(t.answers[i], max(map(len, t.answers)) + margin)


SHAPES = {
    "plain": lambda t, i: {"prompt_ids": t.prompts[i], "answer_ids": t.answers[i]},
    "answers padded right": lambda t, i: {
        "prompt_ids": t.prompts[i],
        "answer_ids": t.right(t.answers[i], widths(t)[1]),
        **said(i),
    },
    "prompts padded left": lambda t, i: {
        "prompt_ids": t.left(t.prompts[i], widths(t)[0]),
        "answer_ids": t.answers[i],
    },
    "whole sequences": lambda t, i: {
        "prompt_ids": t.prompts[i],
        "answer_ids": (*t.prompts[i], *t.answers[i]),
    },
    "whole padded sequences": lambda t, i: {
        "prompt_ids": t.prompts[i],
        "answer_ids": batch(t, i, 2),
        **said(i),
    },
    "whole sequences, padded prompts too": lambda t, i: {
        "prompt_ids": t.left(t.prompts[i], widths(t)[0]),
        "answer_ids": t.left(t.prompts[i], widths(t)[0]) + list(t.answers[i]),
    },
    "answers padded left": lambda t, i: {
        "prompt_ids": t.prompts[i],
        "answer_ids": t.left(t.answers[i], widths(t)[1]),
    },
    "labels": lambda t, i: {
        "prompt_ids": t.prompts[i],
        "answer_ids": [-100] * 4 + list(t.answers[i]) + [-100] * 2,
    },
    "floats": lambda t, i: {
        "prompt_ids": [float(x) for x in t.prompts[i]],
        "answer_ids": json.dumps(list(t.answers[i])),
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_ids_in_every_shape_are_what_the_model_saw_and_wrote(tmp_path, truth, shape):
    given = read(tmp_path, truth, truth.rows(SHAPES[shape]))
    assert [g.prompt_ids for g in given] == truth.prompts
    assert [g.answer_ids for g in given] == truth.answers
    assert [g.ended for g in given] == [i != CUT_OFF for i in range(len(given))]
    assert [bool(g.mended) for g in given].count(True) >= (shape not in ("plain", "floats")) * (
        len(given) - 1
    )
    assert {name for g in given for name in g.mended} <= set(MENDED)


def test_a_batch_without_a_column_ends_at_its_first_stop_token(tmp_path, truth):
    given = read(
        tmp_path,
        truth,
        [{"prompt_ids": truth.prompts[i], "answer_ids": batch(truth, i)} for i in range(4)],
    )
    assert [g.answer_ids for g in given] == truth.answers


@pytest.mark.parametrize("whole", [False, True], ids=["answers", "whole sequences"])
@pytest.mark.parametrize("behind", ["", "\n", "{pad}{pad}"])
def test_texts_with_the_stop_token_written_out_keep_their_ids(tmp_path, truth, whole, behind):
    rows = []
    for i, (prompt, answer) in enumerate(zip(truth.prompts, truth.answers, strict=True)):
        text = written(truth, answer) + (
            behind.format(pad=written(truth, [truth.pad])) if i != CUT_OFF else ""
        )
        if whole:  # as a batch of sequences is decoded
            text = written(truth, [truth.pad] * (3 - i % 2)) + written(truth, prompt) + text
        rows.append({"prompt": written(truth, prompt), "answer": text, **said(i)})
    if whole and not truth.tokenizer.pad_token:
        for row in rows:
            row["answer"] = (
                row["answer"].removeprefix("<eos>").removeprefix("<eos>").removeprefix("<eos>")
            )
            row["answer"] = (
                row["answer"].removeprefix("</s>").removeprefix("</s>").removeprefix("</s>")
            )
    given = read(tmp_path, truth, rows)
    assert [g.prompt_ids for g in given] == truth.prompts, "no begin token twice"
    assert [g.answer_ids for g in given] == truth.answers
    assert [g.ended for g in given] == [i != CUT_OFF for i in range(len(given))]


def test_a_text_without_a_stop_token_gets_one_unless_it_was_cut_off(tmp_path, truth):
    plain = [{"question": q, "answer": r} for q, r in zip(QUESTIONS, REPLIES, strict=True)]
    given = read(tmp_path, truth, plain)
    assert all(
        g.answer_ids[-1] == truth.tokenizer.eos_token_id and g.mended == ("stop_added",)
        for g in given
    )
    given = read(tmp_path, truth, plain, finish_reason="length")
    assert all(
        g.answer_ids[-1] != truth.tokenizer.eos_token_id and not g.ended and not g.mended
        for g in given
    )
    assert all(g.ended and not g.mended for g in read(tmp_path, truth, plain, stopped=True))


def test_where_stop_tokens_are_written_out_a_text_without_one_was_cut_off(tmp_path, truth):
    rows = [
        {"prompt": written(truth, p), "answer": written(truth, a)}
        for p, a in zip(truth.prompts, truth.answers, strict=True)
    ]
    given = read(tmp_path, truth, rows)
    assert [g.answer_ids for g in given] == truth.answers
    assert [g.ended for g in given] == [i != CUT_OFF for i in range(len(given))]
    assert "cut_off" in given[CUT_OFF].mended


@pytest.mark.parametrize("column", ["prompt_ids", "answer_ids", "sequence"])
def test_padding_with_another_token_is_taken_off_or_refused(tmp_path, truth, column):
    """With 0, as tensors are padded, and with the begin token; a prompt padded on its right, then
    its answer."""
    for pad in {0, truth.pad, truth.tokenizer.bos_token_id}:
        t = dataclasses.replace(truth, pad=pad)
        for pads in (t.left, t.right):
            wide = [pads(p, widths(t)[0]) for p in t.prompts]
            rows = [
                {
                    "prompt_ids": wide[i] if column == "prompt_ids" else t.prompts[i],
                    "answer_ids": t.answers[i],
                }
                for i in range(4)
            ]
            for i, row in enumerate(rows):
                if column == "answer_ids":
                    row["answer_ids"] = t.left(t.answers[i], widths(t)[1])
                if column == "sequence":
                    row["answer_ids"] = [*wide[i], *t.answers[i]]
            try:
                given = read(tmp_path, t, rows)
            except BadFileError as error:
                assert "line" in str(error)
                continue
            assert [g.prompt_ids for g in given] == t.prompts
            assert [g.answer_ids for g in given] == t.answers


@pytest.fixture
def plain_chat():
    tokenizer = TOKENIZERS["chat"]()
    prompt = encode_prompt(tokenizer, chat(tokenizer, "Who?"))
    return Truth(
        tokenizer,
        [prompt] * 3,
        [tuple(tokenizer(" It is Paris", add_special_tokens=False)["input_ids"])] * 3,
        0,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p, a: {"prompt_ids": (BOS, *p)},
            r"answers.jsonl, line 2: prompt_ids begins with the token 1 twice",
        ),
        (lambda p, a: {"prompt": "<bos><bos>Who?"}, "line 2: prompt begins with the token 1 twice"),
        (
            lambda p, a: {"answer_ids": (*a, EOS, *a)},
            r"line 2: answer_ids goes on after the stop token 2 \(token \d+ of",
        ),
        (
            lambda p, a: {"answer": "Paris<eos>Who else?"},
            "line 2: answer goes on after the stop token",
        ),
        (
            lambda p, a: {"answer_ids": (EOS, *a)},
            "line 2: answer_ids begins with the stop token 2 and goes on",
        ),
        (
            lambda p, a: {"answer": "Paris</s>"},
            "line 2: the answer ends with '</s>', which is no token of this model",
        ),
        (lambda p, a: {"answer": "Paris<|im_end|>\n"}, "line 2: the answer ends with '<|im_end|>'"),
        (lambda p, a: {"answer_ids": p}, "line 2: answer_ids holds nothing but the prompt"),
        (lambda p, a: {"answer_ids": (PAD, PAD)}, "line 2: answer_ids holds padding only"),
        (lambda p, a: {"prompt_ids": (PAD, PAD)}, "line 2: prompt_ids holds padding only"),
        (lambda p, a: {"answer_ids": (*a, -100, *a)}, "line 2: answer_ids holds the id -100"),
        (
            lambda p, a: {"answer_ids": (*a, EOS), "finish_reason": "length"},
            "line 2: the file says that this answer was cut off",
        ),
        (
            lambda p, a: {"stopped": 1, "finish_reason": "length"},
            "line 2: stopped is 1 and finish_reason 'length': which is it?",
        ),
        (
            lambda p, a: {"finish_reason": "abort"},
            "line 2: finish_reason must be one of .*got 'abort'",
        ),
        (lambda p, a: {"stopped": "perhaps"}, "line 2: stopped must be 1 or true"),
    ],
)
def test_what_has_two_readings_is_refused_with_its_line(tmp_path, plain_chat, change, message):
    prompt, answer = plain_chat.prompts[0], plain_chat.answers[0]
    rows = [{"prompt_ids": prompt, "answer_ids": answer} for _ in range(3)]
    new = change(prompt, answer)
    for name, other in (("answer", "answer_ids"), ("prompt", "prompt_ids")):
        if name in new:
            rows[1].pop(other)
    rows[1] |= new
    with pytest.raises(BadFileError, match=message) as caught:
        read(tmp_path, plain_chat, rows)
    assert "\n" not in str(caught.value)


def test_a_plain_prompt_that_some_answers_repeat_is_not_guessed_at(tmp_path):
    tokenizer = TOKENIZERS["base"]()
    prompt, answer = (
        tuple(tokenizer(text)["input_ids"]) for text in ("Q: Who?\nA:", " It is Paris.")
    )
    t = Truth(tokenizer, [prompt] * 3, [answer] * 3, 0)
    rows = [
        {"prompt_ids": prompt, "answer_ids": (*prompt, *answer) if i else answer} for i in range(3)
    ]
    with pytest.raises(
        BadFileError, match="line 2: answer_ids begins with all of the prompt, as 2 of 3 rows do"
    ):
        read(tmp_path, t, rows)
    rows = [
        {"question": "Who?", "answer": "Who? It is Paris." if i else " Anna.", "stopped": 1}
        for i in range(3)
    ]
    given = read(tmp_path, t, rows)
    assert [g.mended for g in given] == [(), ("prompt_echoed",), ("prompt_echoed",)]
    assert given[1].text == "Who? It is Paris."
    given = read(tmp_path, t, rows[1:])
    assert [(g.text, g.mended) for g in given] == [(" It is Paris.", ("prompt_repeated",))] * 2


def test_an_answer_never_begins_with_what_begins_a_text_or_its_own_turn(tmp_path, plain_chat):
    """A text that was tokenised with special tokens, and a turn cut out of a rendered chat."""
    prompt, answer = plain_chat.prompts[0], plain_chat.answers[0]
    assistant = plain_chat.tokenizer.convert_tokens_to_ids("<|assistant|>")
    rows = [
        {"answer_ids": (BOS, *answer, EOS)},
        {"answer_ids": (assistant, *answer, EOS)},
        {"answer": "<|assistant|> It is Paris<eos>"},
    ]
    given = read(tmp_path, plain_chat, [{"prompt_ids": prompt, **row} for row in rows])
    assert [g.answer_ids for g in given] == [(*answer, EOS)] * 3
    assert [g.mended for g in given] == [
        ("answer_prefix",),
        ("prompt_repeated",),
        ("prompt_repeated",),
    ]


def test_words_of_servers_for_the_end(tmp_path, plain_chat):
    reasons = ["stop", "eos_token", "length", {"type": "length", "length": 5}, "MAX_TOKENS", None]
    rows = [
        {
            "prompt_ids": plain_chat.prompts[0],
            "answer_ids": (*plain_chat.answers[0], 5 + i),
            "finish_reason": r,
        }
        for i, r in enumerate(reasons)
    ]
    given = read(tmp_path, plain_chat, rows)
    assert [g.ended for g in given] == [True, True, False, False, False, False]
    assert not any(g.stopped for g in given), "a stop text leaves no stop token"


@pytest.mark.parametrize(
    "changed", [{"question": "Who is she?"}, {"answer_ids": [8, 2]}, {"label": 0}, {"group": "h"}]
)
def test_whatever_changes_a_number_is_in_the_content_key(tmp_path, loaded, changed):
    """The words of a question too, where the prompt's ids stand beside it: baselines and exact
    answers look at them."""
    row = {
        "id": "a",
        "question": "Who is it?",
        "prompt_ids": [5, 6],
        "answer_ids": [7, 2],
        "label": 1,
        "group": "g",
    }
    sums = []
    for one in (row, row | changed):
        (tmp_path / "a.jsonl").write_text(json.dumps(one) + "\n")
        asked = given_questions(tmp_path / "a.jsonl", None, loaded().handle)
        sums.append(asked.facts["sha256"])
    assert sums[0] != sums[1]


def splits_of(tmp_path, loaded, splits, n=90):
    rows = [
        {
            "id": i,
            "question": f"Who is {i}?",
            "answer": " Anna",
            "label": i % 2,
            "split": splits[i % len(splits)],
            "stopped": 1,
        }
        for i in range(n)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    asked = given_questions(path, None, loaded().handle)
    return asked, [(e.fields["split"], e.split) for e in asked.examples]


def test_a_file_of_train_and_validation_reports_its_validation(tmp_path, loaded):
    asked, placed = splits_of(tmp_path, loaded, ("train", "train", "validation"))
    assert set(placed) == {("train", "train"), ("train", "validation"), ("validation", "test")}
    assert {k: asked.facts[k] for k in ("test_is", "validation_is")} == {
        "test_is": "validation",
        "validation_is": "train",
    }
    assert 0.1 < placed.count(("train", "validation")) / 60 < 0.4
    assert "those of what it calls validation" in data_notes(asked.facts, 90)[-1]


def test_a_file_of_train_and_test_chooses_on_a_part_of_train(tmp_path, loaded):
    asked, placed = splits_of(tmp_path, loaded, ("train", "train", "test"))
    assert set(placed) == {("train", "train"), ("train", "validation"), ("test", "test")}
    assert "test_is" not in asked.facts
    assert data_notes(asked.facts, 90) == [
        "The file has no validation split: a quarter of its train groups took that part (choice of "
        "C, layer and cell)."
    ]
    asked, placed = splits_of(tmp_path, loaded, ("train", "validation", "test"))
    assert all(own == split for own, split in placed)
    assert not {"test_is", "validation_is"} & asked.facts.keys()
