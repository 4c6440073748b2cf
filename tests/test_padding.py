"""What fills a batch changes no answer, in any family; the reference is the same prompt alone."""

from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import pytest
import torch
import transformers as t
from conftest import byte_level_tokenizer
from decoders import CASES, UNKNOWN, loaded_of, prompts
from tokenizers.processors import TemplateProcessing

from probebench.errors import StatesError, UsageError
from probebench.models.blocks.sites import plan_sites
from probebench.models.generate import Request, alike_of, generate, pick_generation
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.models.passes.agreement import TOKENS as LOOKED_AT
from probebench.models.passes.agreement import agreement, disagreement, first_difference, gap
from probebench.models.passes.batches import Budget
from probebench.models.passes.choices import choice_scores
from probebench.models.passes.head import Head
from probebench.models.passes.padding import beyond_note, check_inside, known_alike, pad_token
from probebench.models.passes.scored import score_answers
from probebench.states.extract import Extractor
from probebench.states.sound import check_zeros
from probebench.tasks.chats import turn_note
from probebench.tasks.prompts import encode_prompt, encode_statement
from probebench.types import EMB, Answer

RUN_ON = ("recurrent-gemma", "rwkv", "minimax", "mamba", "falcon-h1", "qwen3-next")
"""With states that go on from token to token."""


@pytest.mark.parametrize("name", [*CASES, *UNKNOWN])
def test_every_family_answers_in_a_batch_as_alone(name):
    model = loaded_of(name)
    wanted = [Request(str(i), ids) for i, ids in enumerate(prompts())]
    together = generate(model, wanted, 5, frozenset())
    for request, a in zip(wanted, together, strict=True):
        b = generate(model, [request], 5, frozenset())[0]
        assert a.answer_ids == b.answer_ids
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=2e-4)


@pytest.mark.parametrize("name", [*CASES, *UNKNOWN])
def test_every_family_is_scored_in_a_batch_as_alone(name):
    """Padding on the right comes after all that is read."""
    model = loaded_of(name)
    pairs = [(ids[:2], ids[2:]) for ids in prompts()]
    for pair, a in zip(pairs, score_answers(model, pairs), strict=True):
        for x, y in zip(a, score_answers(model, [pair])[0], strict=True):
            np.testing.assert_allclose(x, y, atol=5e-4)


@pytest.mark.parametrize("name", [*CASES, *UNKNOWN])
def test_every_family_is_scored_as_by_its_own_logits(name):
    """The head over gathered states, in chunks, with whatever scale and cap the family has."""
    model, [ids] = loaded_of(name), prompts([14])
    with torch.inference_mode():
        logits = model.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        head = Head(model)
        head.rows = 5
        states = head.states(torch.tensor([ids]), torch.ones((1, len(ids)), dtype=torch.long))[0]
        chunks = list(head.logits(states[3:]))
    assert [len(c) for c in chunks] == [5, 5, 1]
    torch.testing.assert_close(torch.cat(chunks), logits[3:], atol=1e-5, rtol=1e-5)
    assert "forward" not in vars(model.base)
    [scores] = score_answers(model, [(ids[:4], ids[4:])])
    every = logits[3:-1].log_softmax(-1)
    own = torch.tensor(ids[4:])[:, None]
    for found, expected in zip(
        scores,
        (every.gather(-1, own), logits[3:-1].gather(-1, own), -(every.exp() * every).sum(-1)),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected.flatten(), atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("name", RUN_ON)
def test_states_and_choices_of_models_that_run_on_do_not_see_padding(name):
    model, some = loaded_of(name), prompts()
    n = model.handle.identity.n_layers
    table = np.array([[[k, k] for k in (0, len(s) // 2, len(s) - 1)] for s in some])
    reader = Extractor(model, plan_sites(model.base, n, ("resid",), (EMB, *range(n))), "float32")
    assert reader.deviation(some, table) < 1e-4
    whole = choice_scores(model, some, (5,), (6,))
    np.testing.assert_allclose(
        whole, np.concatenate([choice_scores(model, [s], (5,), (6,)) for s in some]), atol=1e-4
    )


def test_unknown_architectures_are_tried(monkeypatch):
    wanted = prompts()
    tried = {
        name: alike_of(loaded_of(name), wanted)
        for name in ("llama", "recurrent-gemma", "minimax", "rwkv", "doge")
    }
    assert tried == {
        "llama": "any",
        "recurrent-gemma": "equal",
        "minimax": "equal",
        "rwkv": "alone",
        "doge": "any",
    }
    # what is known of the families is what a trial says of them
    monkeypatch.setattr("probebench.models.generate.known_alike", lambda config: None)
    assert [alike_of(loaded_of(name), wanted) for name in ("llama", "recurrent-gemma", "rwkv")] == [
        "any",
        "equal",
        "alone",
    ]


def test_batches_of_equal_length_and_of_one():
    lengths = [5, 9, 5, 7, 9, 5, 5]
    plan = Budget(tokens=15, largest=8).plan
    assert plan(lengths, "equal") == [[1], [4], [3], [0, 2, 5], [6]]
    assert plan(lengths, "alone") == [[1], [4], [3], [0], [2], [5], [6]]
    assert plan(lengths) == [[1], [4], [3, 0], [2, 5, 6]]


def test_fast_generation_is_not_for_states_over_padding(loaded, monkeypatch):
    handle = loaded("llama").handle
    monkeypatch.setattr("probebench.models.generate.known_alike", lambda config: "equal")
    with pytest.raises(UsageError, match="Take --generation plain"):
        pick_generation(handle, "fast")
    model, wanted = loaded("llama"), [Request(str(i), ids) for i, ids in enumerate(prompts())]
    plain = generate(model, wanted, 5, frozenset())
    # an unknown one: no padding on the left there either
    fast = generate(model, wanted, 5, frozenset(), how="fast")
    assert [a.answer_ids for a in plain] == [a.answer_ids for a in fast]


@pytest.mark.parametrize("pad", ["vocabulary", "beyond", None, -1])
def test_a_padding_token_of_the_config_that_there_is_not(model_folder, loaded, tmp_path, pad):
    folder = tmp_path / "model"
    shutil.copytree(model_folder("llama"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["pad_token_id"] = {
        "vocabulary": config["vocab_size"],
        "beyond": config["vocab_size"] + 5,
    }.get(pad, pad)
    (folder / "config.json").write_text(json.dumps(config))
    model = load_model(find_model(ModelSpec(str(folder), device="cpu")))
    wanted = [Request("1", (5, 6, 7)), Request("2", (9,))]
    expected = generate(loaded("llama"), wanted, 4, frozenset())
    assert [a.answer_ids for a in generate(model, wanted, 4, frozenset())] == [
        a.answer_ids for a in expected
    ]


def test_batches_are_filled_with_a_token_that_the_embedding_has(loaded):
    model = loaded("llama")
    rows = model.model.get_input_embeddings().num_embeddings
    more = copy.deepcopy(model.tokenizer)
    assert beyond_note(more, rows) == ()
    assert pad_token(more, (), rows) == more.pad_token_id == 0
    more.add_special_tokens({"pad_token": "[PAD]"})
    assert more.pad_token_id == rows
    assert [pad_token(more, stops, rows) for stops in ((7, 2), (rows + 3, 9), (), (rows,))] == [
        2,
        9,
        0,
        0,
    ]
    assert pad_token(more, (), None) == rows
    (note,) = beyond_note(more, rows)
    assert note.endswith(
        f"beyond the {rows} of the model's embedding: [PAD]. Batches are filled with another one."
    )
    check_inside([(0, rows - 1)], ["q1"], more, rows, "m")
    with pytest.raises(
        UsageError,
        match=rf"Example 'q2' has the token '\[PAD\]' \(id {rows}\), and the embedding of 'm' "
        "has only",
    ):
        check_inside([(1,), (1, rows)], ["q1", "q2"], more, rows, "m")
    with pytest.raises(UsageError, match=r"has the token id 99999,"):
        check_inside([(99999,)], ["q1"], more, rows, "m")


def test_an_end_token_that_a_tokenizer_appends_ends_no_prompt():
    plain, ends = byte_level_tokenizer(chat=False), byte_level_tokenizer(chat=False)
    special = [("<bos>", 1), ("<eos>", 2)]
    ends.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=special
    )
    for text in ("Where?", "", "It ends.<eos>", "<eos>"):
        ids = tuple(plain(text)["input_ids"])
        assert tuple(ends(text)["input_ids"]) == (
            1,
            *ids,
            2,
        )  # the tokenizer does what it is said to do
        if text:
            assert encode_prompt(ends, text) == (1, *ids)
        assert encode_prompt(plain, text) == ids
    where = tuple(plain("Where.")["input_ids"])
    assert encode_statement(ends, "Where.", causal=True) == ((1, *where), len(where))
    assert encode_statement(ends, "Where.", causal=False) == ((1, *where, 2), len(where))


def test_a_turn_that_ends_in_no_stop_token_is_noted():
    chatty = byte_level_tokenizer(chat=True)
    chatty.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<eos>{% endfor %}"
    )
    assert turn_note(chatty, {2, 7}) == ()
    (note,) = turn_note(chatty, {7})
    assert "ends an answer with '<eos>' (id 2), which is no stop token" in note


def said(ids, logprobs):
    scores = np.asarray(logprobs, dtype=np.float32)
    return Answer("1", (1,), tuple(ids), False, "", scores, scores, scores)


def test_rounding_and_faults_are_told_apart():
    a = said([5, 6, 7, 8], [-0.1, -0.7, -0.2, -0.3])
    # a tie that fell the other way, and what came of it
    near = said([5, 9, 1, 1], [-0.1, -0.71, -4.0, -4.0])
    far = said([5, 6, 7, 8], [-0.1, -0.7, -1.9, -0.3])
    short = said([5, 6], [-0.1, -0.7])
    assert [first_difference(a, b) for b in (a, near, far, short)] == [None, 1, None, None]
    assert [round(gap(a, b), 2) for b in (a, near, far, short)] == [0, 0.01, 1.7, 0]
    facts = agreement([a, a], [a, near])
    assert facts == {
        "examples": 2,
        "tokens": LOOKED_AT,
        "differ": 1,
        "share": 0.5,
        "first_token": 1,
        "logprob_gap": pytest.approx(0.01, abs=1e-6),
    }
    assert disagreement(facts, "bfloat16") is None
    assert "rounding in float32 makes less" in disagreement(
        agreement([a], [said([5, 9], [-0.1, -0.8])]), "float32"
    )
    assert disagreement(agreement([a], [far]), "bfloat16").startswith(
        "log-probabilities up to there are 1.7 apart"
    )


def test_a_layer_of_zeros_is_refused(loaded):
    model = copy.copy(loaded("llama"))
    n = model.handle.identity.n_layers
    plan = plan_sites(model.base, n, ("resid", "attn.o"), (EMB, *range(n)))
    some = prompts((5, 8))
    table = np.array([[[0, 0], [len(s) - 1, len(s) - 1], [-1, -1]] for s in some])
    reader = Extractor(model, plan, "float16")
    found = reader(some, table, ("first", "last", "none"))
    check_zeros(found, table, reader.layout)
    found["attn.o"][1] = 0
    with pytest.raises(StatesError, match=r"All 4 vectors of attn\.o at layer 1 are zero"):
        check_zeros(found, table, reader.layout)
    found["attn.o"][1, 0, 0, 3] = 1  # one number of one vector
    check_zeros(found, table, reader.layout)
    # nothing was read
    check_zeros({site: v * 0 for site, v in found.items()}, np.full_like(table, -1), reader.layout)
    weight = model.model.model.layers[2].self_attn.o_proj.weight
    before = weight.data.clone()
    try:
        weight.data.zero_()
        with pytest.raises(StatesError, match=r"attn\.o at layer 2 are zero"):
            reader(some, table, ("first", "last", "none"))
    finally:
        weight.data.copy_(before)


def test_what_is_known_is_of_the_text_part():
    assert known_alike(t.RecurrentGemmaConfig()) == "equal"
    assert known_alike(t.LlavaConfig()) == "any"
    assert known_alike(t.T5Config()) is None
