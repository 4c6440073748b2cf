import numpy as np
import pytest
import torch
from conftest import FAMILIES

from probebench.errors import MemoryLimitError
from probebench.models.generate import Request, generate, halving, plan_batches, score_answers, stop_tokens
from probebench.tasks.prompts import chat, encode_prompt, tokens_with
from probebench.tasks.schema import Generation

QUESTIONS = ["Where?", "Where was the old poet born?", "Who wrote the letter in 1896 near the river?", "Paris?", "東京 🙂?"]


def ask(loaded, questions=QUESTIONS):
    tokenizer = loaded.tokenizer
    prompts = [chat(tokenizer, q) if tokenizer.chat_template else f"Q: {q}\nA:" for q in questions]
    return [Request(str(i), encode_prompt(tokenizer, p)) for i, p in enumerate(prompts)]


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("has_chat", [True, False])
def test_batch_and_order_change_nothing(loaded, kind, has_chat):
    model = loaded(kind, chat=has_chat)
    wanted = ask(model)
    stops = stop_tokens(model.handle, Generation())
    together = generate(model, wanted, 12, stops)
    alone = [generate(model, [r], 12, stops)[0] for r in wanted]
    backwards = generate(model, wanted[::-1], 12, stops)[::-1]
    for a, b, c in zip(together, alone, backwards, strict=True):
        assert a.answer_ids == b.answer_ids == c.answer_ids
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
        np.testing.assert_allclose(a.logits, b.logits, atol=1e-3)
        np.testing.assert_allclose(a.entropies, b.entropies, atol=1e-3)


@pytest.mark.parametrize("kind", FAMILIES)
def test_scores_equal_those_of_one_forward_pass(loaded, kind):
    model = loaded(kind, chat=True)
    answers = generate(model, ask(model), 10, frozenset())
    scored = score_answers(model, [(a.prompt_ids, a.answer_ids) for a in answers])
    for a, (logprobs, logits, entropies) in zip(answers, scored, strict=True):
        np.testing.assert_allclose(a.logprobs, logprobs, atol=1e-4)
        np.testing.assert_allclose(a.logits, logits, atol=1e-3)
        np.testing.assert_allclose(a.entropies, entropies, atol=1e-3)


def test_greedy_token_is_the_most_likely(loaded):
    model = loaded("llama")
    request = ask(model)[0]
    answer = generate(model, [request], 1, frozenset())[0]
    with torch.inference_mode():
        logits = model.model(torch.tensor([request.prompt_ids])).logits[0, -1]
    assert answer.answer_ids == (int(logits.argmax()),)
    assert answer.logprobs[0] == pytest.approx(float(torch.log_softmax(logits, -1).max()), abs=1e-5)


def test_stop_token_is_kept_and_ends_the_answer(loaded):
    model = loaded("llama")
    request = ask(model)[1]
    free = generate(model, [request], 12, frozenset())[0]
    stop = free.answer_ids[3]
    stopped = generate(model, [request], 12, frozenset({stop}))[0]
    assert stopped.stopped
    assert not free.stopped
    assert stopped.answer_ids == free.answer_ids[: free.answer_ids.index(stop) + 1]
    assert len(stopped.logprobs) == len(stopped.answer_ids)


def test_base_prompts_stop_at_any_token_with_a_newline(loaded):
    base, chatty = loaded("llama", chat=False), loaded("llama", chat=True)
    newlines = tokens_with(base.tokenizer, ["\n"])
    assert all("\n" in base.tokenizer.decode([i]) for i in newlines)
    assert newlines <= stop_tokens(base.handle, Generation())
    assert stop_tokens(chatty.handle, Generation()) == chatty.handle.stop_ids


def test_chat_prompts_have_one_bos(loaded):
    model = loaded("llama", chat=True)
    ids = ask(model)[0].prompt_ids
    assert ids.count(model.tokenizer.bos_token_id) == 1
    assert ids[-1] == model.tokenizer.convert_tokens_to_ids("<|assistant|>")


def test_batches_hold_everything_once_within_the_budget():
    lengths = [3, 50, 7, 7, 120, 1, 64, 5]
    batches = plan_batches(lengths, tokens=128)
    assert sorted(i for b in batches for i in b) == list(range(8))
    assert all(len(b) * max(lengths[i] for i in b) <= 128 for b in batches)


def test_out_of_memory_halves_and_ends():
    sizes = []

    def run(limit):
        def inner(batch):
            sizes.append(len(batch))
            if len(batch) > limit:
                raise torch.OutOfMemoryError("no")
            return [i * 10 for i in batch]

        return inner

    assert list(halving([1, 2, 3, 4, 5], run(1), "testing")) == [10, 20, 30, 40, 50]
    assert sizes == [5, 2, 1, 1, 3, 1, 2, 1, 1]
    with pytest.raises(MemoryLimitError, match="single example while testing"):
        list(halving([1, 2], run(0), "testing"))


def test_the_model_s_own_generation_defaults_do_not_bend_greedy_decoding(model_folder, loaded, tmp_path):
    import shutil

    from transformers import GenerationConfig

    from probebench.models.loading import ModelSpec, find_model, load_model

    folder = tmp_path / "penalised"
    shutil.copytree(model_folder("llama"), folder)
    GenerationConfig(repetition_penalty=5.0, do_sample=True, temperature=2.0, top_k=3, eos_token_id=2).save_pretrained(folder)
    penalised = load_model(find_model(ModelSpec(str(folder), device="cpu")))
    plain = loaded("llama")
    for a, b in zip(
        generate(penalised, ask(penalised), 12, frozenset()), generate(plain, ask(plain), 12, frozenset()), strict=True
    ):
        assert a.answer_ids == b.answer_ids
        np.testing.assert_array_equal(a.logprobs, b.logprobs)


@pytest.mark.parametrize("n", [1, 2])
def test_a_stop_text_over_several_tokens_ends_the_answer(loaded, n):
    model = loaded("llama", chat=False)
    request = ask(model)[1]
    free = generate(model, [request], 16, frozenset())[0]
    assert "\n" not in free.text
    stop = model.tokenizer.decode(free.answer_ids[4 : 4 + n], skip_special_tokens=True)
    stopped = generate(model, [request], 16, frozenset(), (stop,))[0]
    assert stopped.stopped
    assert stopped.text == free.text[: free.text.index(stop)]
    assert stopped.answer_ids == free.answer_ids[: len(stopped.answer_ids)]
    assert len(stopped.answer_ids) <= 4 + n
    assert len(stopped.logprobs) == len(stopped.answer_ids)


def test_dates_in_chat_templates_stand_still(loaded):
    import copy

    tokenizer = copy.deepcopy(loaded("llama").tokenizer)
    tokenizer.chat_template = "{{ date_string }} {{ messages[0]['content'] }}"
    assert chat(tokenizer, "Who?") == "26 Jul 2024 Who?"
