"""What a dry run measures holds for every architecture: caches that slide or are no caches,
experts, states of one size."""

import pytest
import torch
import transformers as t
from conftest import byte_level_tokenizer, small_config
from decoders import CASES, OLD, TOKENS

from probebench.job.preview.sizes import device_memory
from probebench.job.preview.timing import Timer, _long_cache
from probebench.models.loading import ModelSpec, find_model
from probebench.models.passes.bare import (
    bare_model,
    counted,
    first_pass,
    last_step,
    measured,
    plain_pass,
    random_model,
)
from probebench.models.passes.batches import Budget
from probebench.models.passes.live_bytes import LiveBytes
from probebench.models.passes.token_scores import token_scores

PROMPTS, NEW = [9, 12, 7], 6
LONG = {"max_position_embeddings": 256, "n_positions": 256, "max_seq_len": 256}


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level_tokenizer(chat=True)


@pytest.fixture
def handle(tmp_path, tokenizer):
    """A small model of a family, found in a folder: `handle("mamba", num_hidden_layers=6)`."""

    def make(name, **changed):
        sizes = {**LONG, "vocab_size": len(tokenizer), "vocab_size_per_layer_input": len(tokenizer)}
        if name in CASES:
            arguments = {
                **{k: sizes.get(k, v) for k, v in CASES[name].arguments.items()},
                **changed,
            }
            try:
                config = getattr(t, CASES[name].config)(**arguments, **TOKENS)
            except (AttributeError, ValueError):
                if not OLD:
                    raise
                pytest.skip(f"transformers {t.__version__} does not know {name} yet")
        else:
            config = small_config(name, len(tokenizer))
        t.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        return find_model(ModelSpec(str(tmp_path), device="cpu"))

    return make


@pytest.mark.parametrize("name", [*CASES, "gemma", "gpt2"])
def test_every_family_is_measured(handle, name, capfd):
    found = handle(name)
    capfd.readouterr()
    memory = device_memory(found, PROMPTS, NEW, Budget())
    assert memory.largest > 0
    timer = Timer(found)
    answers = timer.generation(PROMPTS, NEW, Budget(), "plain")
    assert 0 < answers(2) <= answers(NEW)
    assert timer.reading(PROMPTS, ["resid"], 2, 1.0, "float16") > 0
    assert timer.passing(PROMPTS) > 0 and timer.projecting(sum(PROMPTS)) > 0
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""  # no library says how it does it


def test_a_window_and_a_whole_cache_are_counted_as_they_are(handle):
    """The peak of the last step, after a real run of all the steps before it: layers with a window
    keep all that went through, as the rows of answers do."""
    found = handle(
        "gemma3",
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )
    model = t.AutoModelForCausalLM.from_config(found.skeleton.config).eval()
    rows, prompt, whole = 4, 10, 40
    with torch.inference_mode(), LiveBytes() as live:
        ids = torch.zeros((rows, whole), dtype=torch.long)
        kept = {"past_key_values": t.DynamicCache(), "use_cache": True}
        model.model(input_ids=ids[:, :prompt], **kept)
        for _ in range(whole - 1 - prompt):
            model.model(input_ids=ids[:, :1], **kept)
        live.peak = live.now
        out = model.model(input_ids=ids[:, :1], **kept)
        token_scores(model.lm_head(out[0][:, -1]))
    assert counted(found, last_step(rows, whole)) == [pytest.approx(live.peak, rel=0.1)]
    with torch.inference_mode():
        long = _long_cache(model, ids[:, :2], whole)["past_key_values"]
    assert [layer.keys.shape[-2] for layer in long.layers] == [7, whole, 7]


def test_small_passes_with_numbers_say_what_counting_without_says(handle):
    """Experts cannot be counted without numbers; what stands for it agrees where both can be
    done."""
    found = handle("llama", num_hidden_layers=7)
    wanted = plain_pass(9, 20), first_pass(9, 20, 367), last_step(9, 30, 367)
    assert measured(found, *wanted) == [pytest.approx(n, rel=0.05) for n in counted(found, *wanted)]


def test_a_large_vocabulary_costs_no_memory(handle):
    """The model that is timed knows few tokens, and the projection is timed on a part."""
    found = handle("gemma3", vocab_size=262_144, hidden_size=128)
    with LiveBytes() as live:
        timer = Timer(found)
        line = timer.head
    assert line(64) > 0
    assert live.peak < 134e6  # less than the projection's own weights
    assert timer.projecting(2 * sum(PROMPTS)) > timer.projecting(sum(PROMPTS)) > 0


def test_few_layers_keep_what_is_listed_by_layer(handle):
    found = handle("gemma3n")
    assert bare_model(found, 2).config.num_hidden_layers == 2
    small = random_model(found, 2, torch.device("cpu"), 16)
    assert small.get_input_embeddings().weight.shape[0] == 16
    assert torch.isfinite(small(input_ids=torch.tensor([[1, 2, 3]])).logits).all()
