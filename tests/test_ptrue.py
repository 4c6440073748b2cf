"""p(True): both orders of the options, the probabilities of one plain forward pass, and a stage
that resumes."""

import json

import numpy as np
import pytest
import torch
from conftest import FAMILIES, byte_level_tokenizer, metaspace_tokenizer

import probebench
from probebench.detectors.asked import p_true
from probebench.detectors.asked.p_true_prompts import asked_text, letter_tokens, p_true_prompts
from probebench.models.passes.batches import Budget
from probebench.models.passes.choices import choice_scores
from probebench.stages.engine import Models
from probebench.tasks.prompts import encode_prompt
from probebench.tasks.schema import load_task
from probebench.types import Example

QUESTIONS = [
    "Where?",
    "Where was the old poet born, and who wrote the letter in 1896?",
    "Paris? 東京 🙂",
]


def prompts(tokenizer, answer="It is Paris"):
    texts = [text for q in QUESTIONS for text in p_true_prompts(tokenizer, q, answer)]
    return [encode_prompt(tokenizer, text) for text in texts]


# -- what is asked ---------------------------------------------------------------------------------


def test_the_two_prompts_differ_in_the_order_of_the_options_only():
    plain = byte_level_tokenizer(chat=False)
    first, second = p_true_prompts(plain, "Where? ", " It is\nParis ")
    assert first.replace("A: True\nB: False", "A: False\nB: True") == second
    assert first.startswith("Question: Where?\nProposed answer: It is Paris\n")
    assert first.endswith("Letter:")
    in_chat = p_true_prompts(byte_level_tokenizer(chat=True), "Where?", "It is Paris")
    assert in_chat[0] == f"<bos><|user|>{first}<|assistant|>"


def test_an_empty_answer_is_shown_as_nothing_and_a_statement_as_a_statement():
    tokenizer = byte_level_tokenizer(chat=False)
    assert "Proposed answer: (nothing)\n" in p_true_prompts(tokenizer, "Where?", " ")[0]
    stated = p_true_prompts(tokenizer, "Paris is in France.", None)[0]
    assert stated.startswith("Statement: Paris is in France.\nReply with A or B only.\n")
    assert "roposed" not in stated


def test_the_model_is_asked_with_the_passage_that_it_answered_from():
    task = load_task("hotpotqa_with_context")
    example = Example("a", "Who?", ("x",), "g", fields={"context": "A long passage."})
    assert "A long passage." in asked_text(task, example)
    assert asked_text(None, example) == "Who?"


@pytest.mark.parametrize("make", [lambda: byte_level_tokenizer(chat=True), metaspace_tokenizer])
def test_letters_with_and_without_what_stands_around_them(make):
    tokenizer = make()
    a, b = letter_tokens(tokenizer)
    assert set(tokenizer.convert_ids_to_tokens(a)) & {"A", "<0x41>"}
    assert set(tokenizer.convert_ids_to_tokens(b)) & {"B", "<0x42>"}
    assert not set(a) & set(b)


def test_spaces_and_brackets_around_a_letter_do_not_matter():
    words = ["A", " A", "\nA", "(A", "(A)", "a", "An", "A.", "Â", "B", " B", "AB"]

    class Fake(list):
        def batch_decode(self, ids, **_):
            return [self[i] for (i,) in ids]

    a, b = letter_tokens(Fake(words))
    assert [words[i] for i in a] == ["A", " A", "\nA", "(A", "(A)"]
    assert [words[i] for i in b] == ["B", " B"]


# -- what comes back -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAMILIES)
def test_probabilities_are_those_of_one_plain_pass(loaded, kind):
    model = loaded(kind)
    a, b = letter_tokens(model.tokenizer)
    asked = prompts(model.tokenizer)
    found = choice_scores(model, asked, a, b)
    for ids, (share, mass) in zip(asked, found, strict=True):
        with torch.inference_mode():
            p = torch.softmax(model.model(torch.tensor([ids])).logits[0, -1].double(), dim=-1)
        first, second = (float(p[list(t)].sum()) for t in (a, b))
        assert share == pytest.approx(first / (first + second), abs=1e-5)
        assert mass == pytest.approx(first + second, rel=1e-4)


@pytest.mark.parametrize("narrow", [True, False])
def test_batches_and_order_change_nothing(loaded, monkeypatch, narrow):
    model = loaded("llama")
    letters = letter_tokens(model.tokenizer)
    asked = prompts(model.tokenizer)
    together = choice_scores(model, asked, *letters)
    if not narrow:  # a model whose forward cannot be told where scores are wanted
        forward = model.model.forward
        monkeypatch.setattr(
            model.model,
            "forward",
            lambda input_ids, use_cache: forward(input_ids=input_ids, use_cache=use_cache),
        )
    alone = choice_scores(model, asked, *letters, Budget(1))
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(
        choice_scores(model, asked[::-1], *letters)[::-1], together, atol=1e-5
    )
    assert np.ptp(together[:, 0]) > 1e-3, "the prompts are told apart"


def test_progress_counts_examples_and_not_their_prompts(loaded):
    model, told = loaded("llama"), []
    asked, letters = prompts(model.tokenizer), letter_tokens(model.tokenizer)
    choice_scores(model, asked, *letters, Budget(tell=told.append), each=2)
    assert told == sorted(told) and told[-1] == len(asked) // 2


# -- in a run --------------------------------------------------------------------------------------


SETTINGS = {"positions": ["-1"], "layers": [0], "shuffles": 0}


def decisions(run, name):
    return run.predictions[lambda t: t.detector == name].set_index("id").decision


def with_scores(monkeypatch, score):
    """Put `score(text of the prompt)` in place of the model's probability of A."""

    def fake(loaded, ids, *rest):
        return np.array([[score(loaded.tokenizer.decode(i)), 0.5] for i in ids])

    monkeypatch.setattr(p_true, "choice_scores", fake)


def test_a_liking_for_a_letter_cancels(monkeypatch, model_folder, answers_file, tmp_path):
    with_scores(monkeypatch, lambda text: 0.9)
    run = probebench.evaluate(
        str(model_folder()), answers=answers_file(), out=tmp_path / "run", **SETTINGS
    )
    np.testing.assert_allclose(decisions(run, "p_true"), 0.5)
    d = next(d for d in run.record["detectors"] if d["name"] == "p_true")
    assert d["auroc"] == 0.5
    assert d["detail"]["letter_mass"] == pytest.approx(0.5)


def test_true_is_found_under_either_letter(monkeypatch, model_folder, answers_file, tmp_path):
    with_scores(monkeypatch, lambda text: 0.8 if "A: True" in text else 0.3)
    run = probebench.evaluate(
        str(model_folder()), answers=answers_file(), out=tmp_path / "run", **SETTINGS
    )
    np.testing.assert_allclose(decisions(run, "p_true"), (0.8 + 0.7) / 2)


def test_a_run_asks_about_answers_and_exact_answers_and_resumes(
    monkeypatch, loaded, model_folder, answers_file, tmp_path
):
    path = answers_file()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for i, row in enumerate(rows):
        if i % 10 == 3:
            del row["exact_answer"]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run", **SETTINGS)
    answered, exact = decisions(run, "p_true"), decisions(run, "p_true_exact")
    without = {r["id"] for r in rows if "exact_answer" not in r}
    assert set(exact[exact.isna()].index) == without & set(exact.index)
    assert answered.between(0, 1).all()
    model = loaded("llama")
    letters = letter_tokens(model.tokenizer)
    for row in rows:
        for found, said in ((answered, row["answer"]), (exact, row.get("exact_answer"))):
            if row["id"] not in found.index or said is None:
                continue
            pair = [
                encode_prompt(model.tokenizer, p)
                for p in p_true_prompts(model.tokenizer, row["question"], said)
            ]
            (a, _), (other, _) = choice_scores(model, pair, *letters)
            assert found[row["id"]] == pytest.approx((a + 1 - other) / 2, abs=1e-5)
    before = (run.folder / "predictions.parquet").read_bytes()
    (run.folder / "record.json").unlink()
    monkeypatch.setattr(p_true, "choice_scores", lambda *_: pytest.fail("asked again"))
    again = probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run", **SETTINGS)
    assert not again.resumed
    assert (again.folder / "predictions.parquet").read_bytes() == before


def test_a_prompt_beyond_the_context_has_no_score(model_folder, answers_file, tmp_path):
    """The model's context is 256 tokens; the answers fit into it, some questions about them do
    not."""
    path = answers_file()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for i, row in enumerate(rows):
        if i % 12 == 0:
            row["question"] = "Where? " + "q" * 190
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run", **SETTINGS)
    d = next(d for d in run.record["detectors"] if d["name"] == "p_true")
    missing = decisions(run, "p_true").isna()
    assert run.record["data"]["n_too_long"] == 0
    assert d["detail"]["n_too_long"] == missing.sum() > 0
    assert {int(i[1:]) % 12 for i in missing[missing].index} == {0}


def test_a_model_is_freed_and_loaded_again(model_folder):
    import weakref

    from probebench.models.loading import ModelSpec, find_model
    from probebench.progress import Progress

    handle = find_model(ModelSpec(str(model_folder()), device="cpu"))
    models = Models(Progress())
    first = weakref.ref(models.get(handle).model)
    models.free()
    assert first() is None
    assert models.get(handle).model is not None
