"""Prompts that stand in answers, and answers that stand in prompts: taken off, or refused with the
line."""

import pytest
from dumped import EOS, QUESTIONS, TOKENIZERS, read, truth_of, written

from probebench.errors import BadFileError
from probebench.tasks.local.notes import data_notes
from probebench.tasks.prompts import chat, encode_prompt


@pytest.fixture(scope="module", params=list(TOKENIZERS))
def truth(request):
    return truth_of(request.param)


@pytest.fixture(scope="module")
def chatty():
    return truth_of("chat")


HELD = {
    "ids": lambda t, p, a: {"prompt_ids": (*p, *a), "answer_ids": a},
    "ids without the stop token": lambda t, p, a: {"prompt_ids": (*p, *a[:-1]), "answer_ids": a},
    "ids beside text": lambda t, p, a: {
        "prompt_ids": (*p, *a),
        "answer": written(t, a[:-1]).strip(),
    },
    "text": lambda t, p, a: {"prompt": written(t, (*p, *a)), "answer": written(t, a)},
    "text, stripped": lambda t, p, a: {
        "prompt": written(t, (*p, *a[:-1])),
        "answer": written(t, a[:-1]).strip(),
        "stopped": 1,
    },
    "the first word": lambda t, p, a: {"prompt_ids": (*p, *a[:3]), "answer_ids": a},
}


@pytest.mark.parametrize("shape", HELD)
def test_prompts_that_hold_their_answer_are_refused(tmp_path, truth, shape):
    rows = [HELD[shape](truth, p, a) for p, a in zip(truth.prompts, truth.answers, strict=True)]
    message = (
        "line 1: prompt(_ids)? ends (with its answer|as its answer begins) .*, as in every row"
    )
    with pytest.raises(BadFileError, match=message) as caught:
        read(tmp_path, truth, rows)
    assert "\n" not in str(caught.value)


def test_a_single_prompt_that_holds_its_answer_is_refused_where_it_is_sure(tmp_path, chatty):
    prompt, answer = chatty.prompts[0], chatty.answers[0]
    row = {"prompt_ids": (*prompt, *answer), "answer_ids": answer}
    with pytest.raises(BadFileError, match=r"ends with its answer \('Anna Smith wrote it.'\), so"):
        read(tmp_path, chatty, [row])


def test_prompts_that_hold_answers_of_which_one_was_cut_off_are_refused(tmp_path, chatty):
    rows = [
        {"prompt_ids": (*p, *a), "answer_ids": a}
        for p, a in zip(chatty.prompts, (chatty.answers[0][:-1], *chatty.answers[1:]), strict=True)
    ]
    with pytest.raises(BadFileError, match="or the prompts hold their answers"):
        read(tmp_path, chatty, rows)


def test_words_that_prompt_and_answer_share_in_some_rows_are_the_models_own(tmp_path):
    t = truth_of("base")
    texts = [("Is it red or blue", " blue"), ("Is it old or new", " new"), ("Who is it?", " Anna")]
    pairs = [
        tuple(tuple(t.tokenizer(x, add_special_tokens=False)["input_ids"]) for x in pair)
        for pair in texts
    ]
    given = read(tmp_path, t, [{"prompt_ids": p, "answer_ids": a} for p, a in pairs])
    assert [(g.prompt_ids, g.answer_ids) for g in given] == pairs
    same = [pairs[0]] * 3  # a model that always says the last option
    given = read(tmp_path, t, [{"prompt_ids": p, "answer_ids": a} for p, a in same])
    assert [(g.prompt_ids, g.answer_ids) for g in given] == same


def test_a_stop_token_behind_the_opened_turn_is_padding(tmp_path, chatty):
    rows = [
        {"prompt_ids": (*p, EOS), "answer_ids": a}
        for p, a in zip(chatty.prompts, chatty.answers, strict=True)
    ]
    given = read(tmp_path, chatty, rows)
    assert [g.prompt_ids for g in given] == chatty.prompts
    assert {g.mended for g in given} == {("prompt_pads",)}


def test_an_end_token_that_the_tokenizer_puts_behind_a_text_is_refused(tmp_path):
    from tokenizers.processors import TemplateProcessing

    t = truth_of("base")
    t.tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", EOS)]
    )
    rows = [
        {"prompt_ids": t.tokenizer(f"Q: {q}\nA:")["input_ids"], "answer_ids": a}
        for q, a in zip(QUESTIONS, t.answers, strict=True)
    ]
    assert rows[0]["prompt_ids"][-1] == EOS
    with pytest.raises(BadFileError, match="line 1: prompt_ids ends with the token 2, which this"):
        read(tmp_path, t, rows)
    rows = [{**row, "prompt_ids": row["prompt_ids"][:-1]} for row in rows]
    assert [list(g.prompt_ids) for g in read(tmp_path, t, rows)] == [r["prompt_ids"] for r in rows]


REPEATED = {
    "without the begin token": lambda p: p[1:],
    "without the begin token, padded": lambda p: (0, 0, 0, *p[1:]),
    "from inside the question on": lambda p: p[3:],
    "the last two tokens": lambda p: p[-2:],
}


@pytest.mark.parametrize("shape", REPEATED)
def test_a_part_of_the_prompt_that_opens_the_turn_is_taken_off(tmp_path, chatty, shape):
    pairs = list(zip(chatty.prompts, chatty.answers, strict=True))
    rows = [{"prompt_ids": p, "answer_ids": (*REPEATED[shape](p), *a)} for p, a in pairs]
    given = read(tmp_path, chatty, rows)
    assert [(g.prompt_ids, g.answer_ids) for g in given] == pairs
    assert {g.mended for g in given} == {("prompt_repeated",)}


def test_a_sequence_with_the_begin_token_that_its_prompt_lacks(tmp_path, chatty):
    pairs = list(zip(chatty.prompts, chatty.answers, strict=True))
    given = read(
        tmp_path, chatty, [{"prompt_ids": p[1:], "answer_ids": (*p, *a)} for p, a in pairs]
    )
    assert [g.answer_ids for g in given] == chatty.answers


def test_plain_prompts_without_their_begin_token_count_as_repeated_in_every_row_only(tmp_path):
    t = truth_of("metaspace")
    pairs = list(zip(t.prompts, t.answers, strict=True))
    rows = [{"prompt_ids": p, "answer_ids": (*p[1:], *a)} for p, a in pairs]
    given = read(tmp_path, t, rows)
    assert [(g.prompt_ids, g.answer_ids) for g in given] == pairs
    rows[0]["answer_ids"] = t.answers[0]
    given = read(tmp_path, t, rows)
    assert [g.mended for g in given] == [(), *[("prompt_echoed",)] * 3]
    assert given[1].answer_ids == (*t.prompts[1][1:], *t.answers[1])


@pytest.mark.parametrize("first", ["<|user|>", "<|assistant|>"])
def test_an_answer_that_opens_a_turn_is_refused(tmp_path, chatty, first):
    other = (BOS := 1, *chatty.prompts[1][1:])
    token = chatty.tokenizer.convert_tokens_to_ids(first)
    opened = other[other.index(token) :] if first == "<|user|>" else (token, token)
    row = {"prompt_ids": chatty.prompts[0], "answer_ids": (*opened, *chatty.answers[0])}
    assert BOS not in opened
    with pytest.raises(BadFileError, match=rf"line 1: answer_ids begins with the token {token}, w"):
        read(tmp_path, chatty, [row])


def test_a_model_that_opens_its_own_turn_may(tmp_path, chatty):
    """A prompt that was rendered without what asks for an answer."""
    prompt, answer = chatty.prompts[0], chatty.answers[0]
    row = {"prompt_ids": prompt[:-1], "answer_ids": (prompt[-1], *answer)}
    given = read(tmp_path, chatty, [row])[0]
    assert (given.prompt_ids, given.answer_ids) == (prompt[:-1], (prompt[-1], *answer))


def test_an_answer_may_begin_with_thinking(tmp_path, chatty):
    t = truth_of("chat")
    t.tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    t.tokenizer.chat_template += "{% if add_generation_prompt %}<think>{% endif %}"
    text = "<think> Who</think> Anna<eos>"
    given = read(tmp_path, t, [{"prompt": "<bos><|user|>Who?<|assistant|>", "answer": text}])
    assert t.tokenizer.decode(given[0].answer_ids) == text


@pytest.mark.parametrize("shape", ["ids", "text"])
@pytest.mark.parametrize("column", ["prompt", "answer"])
def test_padding_between_other_tokens_is_refused(tmp_path, chatty, shape, column):
    found = {"prompt": chatty.prompts[0], "answer": chatty.answers[0]}
    found[column] = (*found[column][:3], 0, *found[column][3:])
    row = {
        f"{name}_ids" if shape == "ids" else name: ids if shape == "ids" else written(chatty, ids)
        for name, ids in found.items()
    }
    message = rf"line 1: {column}(_ids)? holds the padding token 0 between others \(token 4 of \d+"
    with pytest.raises(BadFileError, match=message):
        read(tmp_path, chatty, [row])


@pytest.mark.parametrize("pad", ["<eos>", "<bos>", "<|assistant|>"])
def test_a_token_that_is_more_than_padding_may_stand_inside(tmp_path, pad):
    t = truth_of("chat")
    t.tokenizer.pad_token = pad
    inside = t.tokenizer.convert_tokens_to_ids(pad)
    prompt = (*t.prompts[0][:-1], inside, *t.prompts[0][1:])
    given = read(tmp_path, t, [{"prompt_ids": prompt, "answer_ids": t.answers[0]}])
    assert given[0].prompt_ids == prompt


def test_prompts_without_the_models_special_tokens_are_noted(tmp_path, chatty):
    prompt, answer = chatty.prompts[0], chatty.answers[0]
    bare = chatty.tokenizer.decode(prompt, skip_special_tokens=True)
    bare = bare.replace("<|user|>", "").replace("<|assistant|>", "")
    rows = [
        {"prompt_ids": prompt, "answer_ids": answer},
        {"prompt_ids": prompt[1:], "answer_ids": answer},
        {"prompt": bare, "answer_ids": answer},
        {"prompt": f"<bos>{bare}", "answer_ids": answer},
        {"question": bare, "answer_ids": answer},
    ]
    given = read(tmp_path, chatty, rows)
    assert [g.mended for g in given] == [
        (),
        ("prompt_no_begin",),
        ("prompt_no_begin", "prompt_no_turn"),
        ("prompt_no_turn",),
        (),
    ]
    said = data_notes({"mended": {"prompt_no_begin": 2, "prompt_no_turn": 2}}, 5)
    assert said[0].startswith("2 of 5 prompts lack the token that prompts of this model begin with")


def test_a_model_without_special_tokens_in_its_prompts_lacks_none(tmp_path):
    t = truth_of("base")
    rows = [{"prompt_ids": p, "answer_ids": a} for p, a in zip(t.prompts, t.answers, strict=True)]
    assert not any(g.mended for g in read(tmp_path, t, rows))


def test_what_the_template_writes_behind_its_last_special_token_is_no_answer(tmp_path):
    """ChatML opens a turn with a token, the word assistant and a line break."""
    t = truth_of("chat")
    t.tokenizer.chat_template = t.tokenizer.chat_template.replace(
        "<|assistant|>", "<|assistant|>model:"
    )
    prompts = [encode_prompt(t.tokenizer, chat(t.tokenizer, q)) for q in QUESTIONS]
    said = t.tokenizer("model:", add_special_tokens=False)["input_ids"]
    assert prompts[0][-len(said) :] == tuple(said)
    rows = [
        {"prompt_ids": p, "answer_ids": (*said, *a)}
        for p, a in zip(prompts, t.answers, strict=True)
    ]
    message = r"line 1: prompt_ids ends as its answer begins \('model:'\), as in every row"
    with pytest.raises(BadFileError, match=message):
        read(tmp_path, t, rows)
    rows[2]["answer_ids"] = t.answers[2]
    assert len(read(tmp_path, t, rows)) == 4


def test_a_begin_token_that_opens_turns_too(tmp_path):
    """As in ChatML, where each turn begins with the token that texts begin with."""
    t = truth_of("chat")
    t.tokenizer.bos_token = "<|assistant|>"
    prompts = [(*p, 4, *p[1:]) for p in t.prompts]
    rows = [
        {"prompt_ids": p, "answer_ids": (*p[-3:], *a)}
        for p, a in zip(prompts, t.answers, strict=True)
    ]
    given = read(tmp_path, t, rows)
    assert [g.answer_ids for g in given] == t.answers
    assert prompts[0][-1] == 4
