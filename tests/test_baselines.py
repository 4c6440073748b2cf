"""Signals of the generation by hand, text by TF-IDF and by an encoder: exact formulas, fixed signs,
planted truth."""

import json
import math

import numpy as np
import pytest
import torch
from answered import SPLITS, N, answer, detectors, many
from conftest import byte_level_tokenizer

import probebench
from probebench.detectors.text import TEXT_GRID, fit_rows
from probebench.errors import UsageError
from probebench.metrics.auroc import auroc
from probebench.models.loading import load_model
from probebench.models.passes.embed import embed, encode_texts, find_encoder
from probebench.probes.labels import Labels

BEFORE = {"text_question", "length_question", "majority"}


def test_every_signal_by_its_formula():
    e = math.exp
    expected = {
        "logit_mean": 7 / 3,
        "logit_min": -1,
        "logit_max": 5,
        "logit_mean_exact": 1,
        "logit_min_exact": -1,
        "logit_max_exact": 3,
        "prob_mean": (e(-0.1) + e(-0.5) + e(-2)) / 3,
        "prob_min": e(-2),
        "prob_max": e(-0.1),
        "prob_mean_exact": (e(-0.5) + e(-2)) / 2,
        "prob_min_exact": e(-2),
        "prob_max_exact": e(-0.5),
        "logprob_mean": -2.6 / 3,
        "logprob_min": -2,
        "logprob_mean_exact": -1.25,
        "logprob_min_exact": -2,
        "logprob_sum": -2.6,
        "perplexity": -e(2.6 / 3),
        "entropy_exact_first": -0.7,
        "length": -3,
        "length_question": -3,
    }
    found = detectors(many(answer()))
    assert {name: found[name].decisions[0] for name in expected} == pytest.approx(
        expected, abs=1e-6
    )
    assert set(found) == {*expected, "text", "text_question", "text_answer", "majority"}


def test_an_answer_that_was_cut_off_has_no_stop_token_to_leave_out():
    found = detectors(many(answer(stopped=False)))
    assert found["logit_max"].decisions[0] == 9
    assert found["length"].decisions[0] == -4


def test_what_is_not_there_is_nan_and_never_a_number():
    empty = answer(logprobs=(-0.3,), logits=(2.0,), entropies=(0.4,), exact=None, words="")
    found = detectors(many(empty))
    signals = [
        n for n in found if n.startswith(("logit", "prob", "logprob", "perplexity", "entropy"))
    ]
    assert len(signals) == 19
    assert all(
        np.isnan(found[n].decisions[0]) and np.isfinite(found[n].decisions[1:]).all()
        for n in signals
    )
    assert found["length"].decisions[0] == 0


def test_confidence_is_taken_for_correctness_and_no_sign_is_flipped():
    rng = np.random.default_rng(0)
    for sure_when in (1, 0):
        answers = []
        for i in range(N):
            sure = (i % 2 == sure_when) + 0.1 * rng.random(4)
            answers.append(answer(i, sure - 3, 2 * sure, 3 - sure))
        found, y = detectors(answers), np.array([a.label for a in answers])
        for name, d in found.items():
            if name.startswith(("logit", "prob", "logprob", "perplexity", "entropy")):
                assert auroc(y, d.decisions) == sure_when, name


def test_what_ranks_the_same_is_said_to():
    """docs/protocol.md says which rows are one ranking: perplexity and mean, minima of probability
    and log-probability."""
    rng = np.random.default_rng(1)
    answers = [
        answer(i, -rng.exponential(size=4), rng.normal(size=4), rng.exponential(size=4))
        for i in range(N)
    ]
    found = detectors(answers)
    for a, b in (
        ("perplexity", "logprob_mean"),
        ("prob_min", "logprob_min"),
        ("prob_min_exact", "logprob_min_exact"),
    ):
        assert (np.argsort(found[a].decisions) == np.argsort(found[b].decisions)).all()


def test_when_a_detector_can_be_read():
    assert {n for n, d in detectors(many(answer())).items() if d.when == "before"} == BEFORE


def test_statements_have_one_text_and_nothing_to_wait_for():
    found = detectors([answer(i, exact=None, label=i % 2, stopped=False) for i in range(N)])
    assert {d.when for d in found.values()} == {"before"}
    assert not any(
        n.endswith("_exact") or n in ("text_question", "text_answer", "entropy_exact_first")
        for n in found
    )
    assert found["logprob_sum"].decisions[0] == pytest.approx(-2.61)
    silent = detectors(
        [answer(i, (), (), (), exact=None, label=i % 2, stopped=False) for i in range(N)]
    )
    assert list(silent) == ["text", "length", "majority"], "an encoder has no scores"


def test_names_and_labels_fit_a_table():
    found = list(detectors(many(answer())).values())
    assert len({d.label for d in found}) == len(found)
    assert max(len(d.label) for d in found) <= 34


def test_weak_and_strong_penalties_are_chosen_by_validation():
    y = np.random.default_rng(2).integers(0, 2, N)
    labels = Labels(y, SPLITS)
    decisions, C = fit_rows(np.zeros((N, 3)), labels)
    assert TEXT_GRID.index(C) == 0, "all the same: the smallest"
    assert len(set(decisions)) == 1
    X = np.zeros((N, 2))
    X[:, 0] = 2 * y - 1
    assert auroc(y, fit_rows(X, labels)[0]) == 1


# -- an encoder ------------------------------------------------------------------------------------


TEXTS = [
    "Paris",
    "The poet was born near the river.",
    "Who wrote the letter in 1896, and where was Anna Smith?",
    "東京 🙂",
]


def test_vectors_are_masked_means_of_length_one(encoder_folder):
    handle = find_encoder(str(encoder_folder), device="cpu")
    loaded = load_model(handle)
    ids, n_cut = encode_texts(handle, TEXTS)
    together = embed(loaded, ids)
    assert n_cut == 0
    for row, one in zip(together, ids, strict=True):
        with torch.inference_mode():
            mean = loaded.model(torch.tensor([one])).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)
    np.testing.assert_allclose(embed(loaded, ids[::-1])[::-1], together, atol=1e-5)


def test_long_texts_are_cut_and_counted(encoder_folder):
    handle = find_encoder(str(encoder_folder), device="cpu")
    ids, n_cut = encode_texts(handle, ["Paris", "the river " * 100])
    assert n_cut == 1
    assert len(ids[1]) == 64
    assert embed(load_model(handle), ids).shape == (2, 32)


def test_an_encoder_that_counts_positions_behind_padding_reads_two_fewer(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    tokenizer = byte_level_tokenizer(chat=False)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        pad_token_id=1,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    handle = find_encoder(str(tmp_path), device="cpu")
    ids, n_cut = encode_texts(handle, ["the river " * 100])
    assert (handle.max_length, len(ids[0]), n_cut) == (38, 38, 1)
    assert np.isfinite(embed(load_model(handle), ids)).all()


def test_two_halves_are_no_encoder(tmp_path):
    from transformers import T5Config, T5EncoderModel

    tokenizer = byte_level_tokenizer(chat=False)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=4,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    T5EncoderModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="reads one text"):
        find_encoder(str(tmp_path), device="cpu")


def test_an_embedding_reads_a_planted_topic_and_costs_no_other_number(
    encoder_folder, model_folder, tmp_path
):
    """Right answers speak of rivers and wrong ones of letters, in words that TF-IDF could read
    too."""
    rng = np.random.default_rng(0)
    topics = [["letter", "Anna", "wrote", "Smith"], ["river", "near", "Paris", "France"]]
    rows = []
    for i in range(240):
        words = " ".join(topics[i % 2][k] for k in rng.integers(4, size=3))
        rows.append(
            {
                "id": f"a{i}",
                "question": f"Where {rng.integers(9)}?",
                "answer": f" It is {words}",
                "label": i % 2,
                "group": f"g{i // 2}",
            }
        )
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    settings = {
        "answers": path,
        "positions": ["-1"],
        "layers": [0],
        "shuffles": 0,
        "out": tmp_path / "run",
    }
    run = probebench.evaluate(str(model_folder()), **settings, encoder=encoder_folder)
    d = next(d for d in run.record["detectors"] if d["name"] == "text_embedding")
    assert d["auroc"] > 0.95
    assert d["detail"]["encoder"] == encoder_folder.name
    assert d["detail"]["n_cut"] == 0
    assert run.folder == tmp_path / "run"
    before = run.predictions
    plain = probebench.evaluate(str(model_folder()), **{**settings, "out": tmp_path / "plain"})
    assert plain.record["key"] != run.record["key"], "the encoder is in the key"
    assert "text_embedding" not in set(plain.predictions.detector)
    rest = before[before.detector != "text_embedding"].reset_index(drop=True)
    assert rest.drop(columns="scored").equals(plain.predictions.drop(columns="scored"))
