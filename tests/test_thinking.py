"""Where thinking stands, on templates in the manner of Qwen3, DeepSeek-R1, DeepSeek-V3.1 and
GPT-OSS."""

import pytest
from templates import TEMPLATES, USER, tokenizer_of

from probebench.states.positions import FURTHER, locate, present
from probebench.tasks.prompts import chat, encode_prompt, short_question
from probebench.tasks.thinking import (
    FAMILIES,
    close_thinking,
    find_thinking,
    occurrences,
    reply_start,
    thinking_ids,
)
from probebench.types import Thinking, TokenizedAnswer


def found(kind, answer, *, thinking=None, single_tokens=True):
    """Thinking in one answer, as the tokens it names."""
    tokenizer = tokenizer_of(kind, single_tokens=single_tokens)
    marks = thinking_ids(tokenizer)
    prompt = encode_prompt(tokenizer, chat(tokenizer, "Where?", thinking=thinking))
    ids = prompt + tuple(tokenizer.encode(answer, add_special_tokens=False))
    t = find_thinking(ids, len(prompt), marks)
    names = (
        None
        if t is None
        else {
            name: None if at is None else tokenizer.decode([ids[at]])
            for name, at in (
                ("first", t.first),
                ("last", t.last),
                ("end", t.end),
                ("final", t.final),
            )
        }
    )
    return t, names, len(prompt), len(ids)


def test_model_opens_and_closes():
    t, names, n, _ = found("qwen3", "<think>\nThe poet.</think>It is Paris.")
    assert names == {"first": "\n", "last": ".", "end": "</think>", "final": "It"}
    assert t.first == n + 1
    assert t.final == t.end + 1


def test_thinking_switched_off_by_an_empty_pair():
    t, names, n, _ = found("qwen3", "It is Paris.", thinking=False)
    assert names == {"first": None, "last": None, "end": "</think>", "final": "It"}
    assert t.end < n
    assert t.final == n


def test_thinking_switched_off_by_a_closing_delimiter_alone():
    t, names, n, _ = found("v3.1", "It is Paris.", thinking=False)
    assert names == {"first": None, "last": None, "end": "</think>", "final": "It"}
    assert (t.end, t.final) == (n - 1, n)


def test_template_opens():
    t, names, n, _ = found("r1", "The poet.</think>It is Paris.")
    assert names == {"first": "\n", "last": ".", "end": "</think>", "final": "It"}
    # the line break after the delimiter belongs to the prompt, as the delimiter does
    assert t.first == n - 1
    again, _, n, _ = found("r1", "<think>The poet.</think>It is Paris.")
    assert again.first == n + 1, "a model that opens once more thinks from there"


def test_closing_delimiter_alone_means_that_all_before_it_was_thinking():
    t, names, n, _ = found("qwen3", "The poet.</think>It is Paris.")
    assert t.first == n
    assert names["final"] == "It"


def test_truncated_thinking_has_no_end_and_no_final_answer():
    for kind, answer in (
        ("qwen3", "<think>The poet"),
        ("r1", "The poet"),
        ("gpt-oss", "<|channel|>analysis<|message|>The poet"),
    ):
        t, _, _, _ = found(kind, answer)
        assert t.first is not None
        assert (t.last, t.end, t.final) == (None, None, None)


def test_answer_cut_off_right_after_thinking():
    t, names, _, _ = found("qwen3", "<think>The poet.</think>")
    assert (names["last"], names["end"], names["final"]) == (".", "</think>", None)


def test_nothing_is_guessed_without_delimiters():
    assert found("qwen3", "It is Paris.")[0] is None
    assert found("gpt-oss", "It is Paris.")[0] is None


def test_harmony_channels():
    answer = (
        "<|channel|>analysis<|message|>The "
        "poet.<|end|><|start|>assistant<|channel|>final<|message|>It is Paris.<|return|>"
    )
    t, names, n, _ = found("gpt-oss", answer)
    assert (names["last"], names["end"], names["final"]) == (".", "<|end|>", "It")
    assert n < t.first < t.last
    two = answer.replace(
        "<|start|>assistant<|channel|>final",
        "<|start|>assistant<|channel|>analysis<|message|>Or?<|end|><|start|>assistant<|channel|>final",
    )
    t, names, _, _ = found("gpt-oss", two)
    assert names["last"] == "?", "thinking ends where the final channel begins"
    only_final = "<|channel|>final<|message|>It is Paris.<|return|>"
    t, names, _, _ = found("gpt-oss", only_final)
    assert (t.first, t.end, names["final"]) == (None, None, "It"), (
        "the final channel without thoughts"
    )


def test_delimiters_of_several_tokens():
    t, names, n, total = found("r1", "The poet.</think>It is Paris.", single_tokens=False)
    assert t.final is not None
    assert n < t.end < t.final < total
    assert names["final"] == "It"
    assert names["end"].endswith(">")


def test_positions_of_a_thinking_answer():
    t, _, n, total = found(
        "qwen3",
        "<think>\nThe old poet was born near the river in Paris.</think>It is Paris.<|im_end|>",
    )
    places = dict(
        zip(
            FURTHER,
            locate([TokenizedAnswer(n, total, None, stop=total - 1, thinking=t)], FURTHER)[0, :, 0],
            strict=True,
        )
    )
    assert (
        places["think_first"]
        < places["think_25"]
        < places["think_50"]
        < places["think_75"]
        < places["think_last"]
    )
    assert places["think_last"] + 1 == places["end_think"] == places["final_first"] - 1
    assert places["stop"] == total - 1
    none = locate([TokenizedAnswer(n, total, None, thinking=None)], FURTHER)
    assert present(none)[0].tolist() == [True, True] + [False] * 8


def test_tokenizers_without_delimiters_mark_nothing(loaded):
    assert thinking_ids(loaded("llama").tokenizer) is None


@pytest.mark.parametrize("kind", TEMPLATES)
def test_short_questions_are_asked_without_thinking(kind):
    tokenizer = tokenizer_of(kind)
    marks = thinking_ids(tokenizer)
    asked = short_question(tokenizer, "Copy the words.")
    ids = encode_prompt(tokenizer, asked)
    t = find_thinking((*ids, 5), len(ids), marks)
    if kind == "gpt-oss":
        assert asked.endswith("assistant<|channel|>final<|message|>")
        assert t is None, "the final channel is open, so all that follows is the answer"
    else:
        assert asked.count("</think>") == 1
        assert (t.first, t.final) == (None, len(ids))
    assert close_thinking(asked, marks) == asked


def test_thinking_is_not_closed_where_only_the_tokenizer_knows_of_it():
    """Models that do not think share the tokenizer of those that do."""
    tokenizer = tokenizer_of("qwen3")
    tokenizer.chat_template = USER
    assert thinking_ids(tokenizer).family == "think"
    assert "think" not in short_question(tokenizer, "Copy the words.")
    tokenizer.chat_template = USER.replace("content", "content.split('</think>')[-1]")
    assert short_question(tokenizer, "Copy.").endswith("assistant\n<think>\n\n</think>\n\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<think>\nThe poet.\n</think>\n\nIt is Paris.", "It is Paris."),
        ("The poet.</think>It is Paris.", "It is Paris."),
        ("<think>\nThe poet", ""),
        ("It is Paris.", "It is Paris."),
    ],
)
def test_delimiters_that_are_joined_with_the_next_line_are_read_as_text(text, said):
    """A tokenizer that has no token for them may have one for ">" and a line break."""
    tokenizer = tokenizer_of("r1", single_tokens=False)
    marks = thinking_ids(tokenizer)
    assert len(marks.close) > 1
    ids = (5,) * 9  # which hold no delimiter
    assert text[reply_start(tokenizer, marks, (6, 7), ids, text) :].strip() == said


@pytest.mark.parametrize("answer", ["It is Paris. <think> Or", "It is Paris.</think>"])
def test_delimiters_behind_an_answer_take_nothing_from_it(answer):
    t, names, n, _ = found("qwen3", answer, thinking=False)
    assert (t.first, t.final, names["final"]) == (None, n, "It")


def test_a_turn_that_ends_as_a_channel_does_is_none():
    """`<|end|>` closes the turns of Phi, and of the embedded model."""
    from probebench.models.loading import ModelSpec, find_model

    tokenizer = find_model(ModelSpec("tiny")).tokenizer
    assert "<|end|>" in tokenizer.chat_template
    assert thinking_ids(tokenizer) is None


def test_thoughts_in_spite_of_the_template_are_no_answer():
    t, names, n, _ = found("qwen3", "<think>The poet.</think>It is Paris.", thinking=False)
    assert (names["last"], names["end"], names["final"]) == (".", "</think>", "It")
    assert t.first > n


def test_an_earlier_turn_s_thinking_is_not_this_one_s():
    ids, marks = (
        (1, 7, 2, 3, 4, 8, 5, 6),
        type("M", (), {"open": (7,), "close": (8,), "final": (), "family": "x"}),
    )
    assert find_thinking((*ids, 9, 9), 8, marks) is None


def test_table():
    assert len({row.family for row in FAMILIES}) == len(FAMILIES)
    assert all(row.open and row.close and row.open != row.close for row in FAMILIES)
    assert occurrences((1, 2, 1, 2, 1), (1, 2, 1)) == [0, 2]
    assert Thinking(None, None, None, None).first is None


@pytest.fixture(scope="module")
def thinker(tmp_path_factory):
    """A small random model whose chat template and tokens are those of a model that thinks."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    folder, tokenizer = tmp_path_factory.mktemp("thinker"), tokenizer_of("qwen3")
    tokenizer.eos_token = "<|im_end|>"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def thinking_answers(folder, n=200):
    import json

    rows = []
    for i in range(n):
        thoughts = (
            "<think>\nParis or the river. Anna was a poet in Paris.</think>"
            if i % 4
            else "<think>\nThe old poet near"
        )
        text = f"{thoughts}\n\nIt is {'Paris' if i % 3 else 'France'}." if i % 4 else thoughts
        rows.append(
            {
                "id": f"a{i}",
                "question": f"Where was Anna {i}?",
                "answer": text,
                "label": i % 2,
                "group": f"g{i}",
            }
        )
        if i % 4:
            rows[-1]["exact_answer"] = "Paris" if i % 3 else "France"
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_what_is_judged_comes_after_thinking(thinker, tmp_path):
    from probebench.job.options import Options
    from probebench.job.planning import make_plan
    from probebench.models.loading import ModelSpec, find_model
    from probebench.stages.answers import known_answers

    spec = ModelSpec(str(thinker), device="cpu")
    options = Options(spec, answers=str(thinking_answers(tmp_path)), out=str(tmp_path / "run"))
    plan = make_plan(options, None, find_model(spec))
    found = known_answers(plan)
    replies = [plan.reply(a) for a in found]
    assert replies[1][1].strip() == "It is Paris."
    assert replies[0] == (len(found[0].text), ""), (
        "cut off while thinking: there is no final answer"
    )


def test_a_run_of_a_thinking_model(thinker, tmp_path):
    import probebench

    run = probebench.evaluate(
        str(thinker),
        answers=thinking_answers(tmp_path),
        out=tmp_path / "run",
        device="cpu",
        positions=("first_answer", "all"),
        shuffles=0,
    )
    present_ = {name: facts["n"] for name, facts in run.record["positions_present"].items()}
    assert present_["think_first"] == 200
    assert present_["think_50"] == present_["end_think"] == present_["final_first"] == 150
    assert run.record["counts"]["all"]["thinking"] == 200
    answers = run.answers.dropna(subset="exact_first")
    for a in answers.itertuples():
        assert a.text[: a.text.index("</think>")].count("Paris") == 2
        assert a.exact_first > len(a.prompt_ids) + len(a.answer_ids) - 8, (
            "the exact answer stands after the thoughts"
        )
    assert any(
        "first_answer and second_answer are its first generated tokens" in w
        for w in run.record["warnings"]
    )
    assert run.record["positions_present"]["prompt_mean"]["readable"] == "before"
    assert list(run.matrix("auroc").columns)[-1] == "stop"
