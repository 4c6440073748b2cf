import numpy as np
import pytest
import torch
from conftest import FAMILIES, byte_level_tokenizer

from probebench.errors import MemoryLimitError, UsageError
from probebench.models.decoding.ends import Ends
from probebench.models.generate import Request, generate, pick_generation, stop_tokens
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.models.passes.batches import Budget, attempt, halving, in_batches, plan_batches
from probebench.models.passes.scored import score_answers
from probebench.tasks.prompts import chat, encode_prompt, tokens_with
from probebench.tasks.schema import Generation

QUESTIONS = [
    "Where?",
    "Where was the old poet born?",
    "Who wrote the letter in 1896 near the river?",
    "Paris?",
    "東京 🙂?",
]


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


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_cache_of_fixed_size_changes_nothing(loaded, kind):
    """The plain path is the reference: same ids in float32, same scores."""
    model = loaded(kind)
    assert pick_generation(model.handle, None) == "plain"  # there is no GPU here
    assert pick_generation(model.handle, "fast") == "fast"
    wanted, stops = ask(model), stop_tokens(model.handle, Generation())
    plain = generate(model, wanted, 14, stops)
    fast = generate(model, wanted, 14, stops, how="fast")
    for a, b in zip(plain, fast, strict=True):
        assert a.answer_ids == b.answer_ids
        assert a.text == b.text
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
        np.testing.assert_allclose(a.logits, b.logits, atol=1e-3)
        np.testing.assert_allclose(a.entropies, b.entropies, atol=1e-3)


def test_a_cache_of_fixed_size_with_stop_texts(loaded):
    model = loaded("llama", chat=False)
    wanted = ask(model)
    free = generate(model, wanted, 16, frozenset())
    stop = model.tokenizer.decode(free[1].answer_ids[4:6], skip_special_tokens=True)
    plain, fast = (
        generate(model, wanted, 16, frozenset(), (stop,), how=how) for how in ("plain", "fast")
    )
    assert [a.answer_ids for a in plain] == [a.answer_ids for a in fast]
    assert len(plain[1].answer_ids) < 16


def test_models_without_such_a_cache_say_so(loaded, monkeypatch):
    handle = loaded("llama").handle
    monkeypatch.setattr(type(handle.skeleton), "_can_compile_fullgraph", False)
    assert pick_generation(handle, None) == "plain"
    with pytest.raises(UsageError, match="LlamaForCausalLM. Take --generation plain"):
        pick_generation(handle, "fast")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kind", FAMILIES)
def test_compiled_generation_equals_the_plain_path_on_a_gpu(model_folder, kind):
    model = load_model(
        find_model(ModelSpec(str(model_folder(kind)), dtype="float32", device="cuda"))
    )
    assert pick_generation(model.handle, None) == "fast"
    wanted, stops = ask(model), stop_tokens(model.handle, Generation())
    plain, fast = (generate(model, wanted, 14, stops, how=how) for how in ("plain", "fast"))
    for a, b in zip(plain, fast, strict=True):
        assert a.answer_ids == b.answer_ids
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_the_budget_of_a_gpu_is_what_fits(model_folder):
    from probebench.models.passes.memory import MOST_TOKENS, probe_budget

    model = load_model(find_model(ModelSpec(str(model_folder()), dtype="float32", device="cuda")))
    budget = probe_budget(model, 64)
    assert 64 <= budget.tokens <= MOST_TOKENS
    assert budget.tokens & (budget.tokens - 1) == 0


def test_what_lives_at_once_is_counted_with_and_without_numbers(loaded):
    from probebench.models.passes.bare import cached_pass, counted, first_pass
    from probebench.models.passes.live_bytes import LiveBytes

    with LiveBytes() as live:
        a = torch.zeros(1000)
        b = a[10:].view(-1)  # not its own
        a.add_(1)  # nor this
        c = torch.zeros(500) + b[:500]
        del c
        d = torch.zeros(100)
    assert (live.now, live.peak) == (4 * 1100, 4 * 2000)
    del a, b, d
    assert live.now == 0
    model = loaded("llama")
    for rows in (1, 5):
        with LiveBytes() as live:
            cached_pass(model.model, rows, 40, torch.device("cpu"))
        (without,) = counted(model.handle, first_pass(rows, 40))
        assert without == pytest.approx(live.peak, rel=0.05)


def test_the_budget_of_a_cpu_shrinks_with_free_memory_only(loaded):
    from probebench.models.passes.bare import counted, first_pass
    from probebench.models.passes.batches import HOST_EXAMPLES, HOST_TOKENS
    from probebench.models.passes.memory import host_budget

    handle = loaded("llama").handle
    assert host_budget(handle, 40, 2**40) == Budget(HOST_TOKENS, HOST_EXAMPLES)
    whole = HOST_TOKENS // 40
    assert counted(handle, first_pass(whole, 40))[0] < 2**27  # what it takes to be sure uncounted
    small = host_budget(handle, 40, 2**21)
    assert 40 < small.tokens < HOST_TOKENS
    assert small == host_budget(handle, 40, 2**21 + 2**14)  # a power of two
    rows = small.tokens // 40
    assert counted(handle, first_pass(rows, 40))[0] <= 2**20
    assert host_budget(handle, 40, 0).tokens == 1  # one example at a time


def test_out_of_memory_shrinks_the_budget_for_good_and_begins_again():
    sizes, kept = [], []

    def run(batch):
        sizes.append(len(batch))
        if len(batch) > 3:
            raise torch.OutOfMemoryError("no")
        return [i * 10 for i in batch]

    lengths = [10] * 8
    budget = Budget(80, 100, keep=lambda b: kept.append(b.tokens))
    assert in_batches(lengths, run, "testing", budget) == [i * 10 for i in range(8)]
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert kept == [40, 20]
    sizes.clear()
    assert in_batches(lengths, run, "testing", budget) == [i * 10 for i in range(8)]
    assert sizes == [2, 2, 2, 2]
    with pytest.raises(MemoryLimitError, match="single example of 10 tokens while testing"):
        in_batches(lengths, lambda batch: (_ for _ in ()).throw(MemoryError), "testing", Budget())


@pytest.mark.parametrize(
    "words", ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", "can't allocate memory"]
)
def test_every_library_says_in_its_own_words_that_memory_ran_out(words):
    def run(batch):
        raise RuntimeError(words)

    assert attempt(run, [1, 2]) is None
    with pytest.raises(RuntimeError, match="shapes"):
        attempt(lambda batch: (_ for _ in ()).throw(RuntimeError("shapes differ")), [1])


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


def test_the_model_s_own_generation_defaults_do_not_bend_greedy_decoding(
    model_folder, loaded, tmp_path
):
    import shutil

    from transformers import GenerationConfig

    folder = tmp_path / "penalised"
    shutil.copytree(model_folder("llama"), folder)
    GenerationConfig(
        repetition_penalty=5.0, do_sample=True, temperature=2.0, top_k=3, eos_token_id=2
    ).save_pretrained(folder)
    penalised = load_model(find_model(ModelSpec(str(folder), device="cpu")))
    plain = loaded("llama")
    for a, b in zip(
        generate(penalised, ask(penalised), 12, frozenset()),
        generate(plain, ask(plain), 12, frozenset()),
        strict=True,
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


@pytest.mark.parametrize("stop", ["答案", "终わり", "።።", "🙂🙂", "<end>"])
def test_a_stop_text_of_many_bytes_is_found_where_it_ends(stop):
    """A character may be four tokens."""
    byte_level = byte_level_tokenizer(chat=False)
    ids = byte_level.encode(f"Oslo {stop} and more")
    ends = Ends(1000, frozenset(), (stop,), byte_level)
    ended = [n for n in range(1, len(ids) + 1) if ends.reached([ids[:n]])[0]]
    assert ended
    assert byte_level.decode(ids[: ended[0]], skip_special_tokens=True).endswith(stop)
