"""Models of natural-language inference: found with their labels, asked in batches, each distinct
pair once; and the methods that compare drawn answers by them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import byte_level_tokenizer

import probebench
from probebench.detectors.sampled.inferred import by_entailment, by_inference, selfcheck_nli
from probebench.errors import UsageError
from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.job.preview.costs import costs
from probebench.models.inference import (
    VERDICTS,
    EncodedPairs,
    Pair,
    encode_pairs,
    find_inference,
    infer,
    label_order,
)
from probebench.models.loading import load_model
from probebench.models.passes.batches import Budget
from probebench.models.specs import ModelSpec
from probebench.probes.labels import Labels
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.sampling.inference import Inferred, inferences
from probebench.stages.sampling.samples import Samples
from probebench.stages.stage import LocalRunner
from probebench.types import Answer, Example, LabelledAnswer, TokenizedAnswer

LABELS = {0: "CONTRADICTION", 1: "Neutral", 2: "entailment"}
PAIRS = [
    ("The poet was born in Paris.", "It is Paris."),
    ("It is Paris.", "The poet was born in Paris."),
    ("", "Who wrote the letter in 1896, and where was Anna Smith?"),
    ("東京 🙂", "Größe"),
]


def pair_tokenizer(kinds=True):
    """Byte-level pieces with the frame of a BERT around two texts, and their kinds."""
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    fast = byte_level_tokenizer(chat=False)
    fast.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A <eos>",
        pair="<bos> $A <eos> $B:1 <eos>:1",
        special_tokens=[("<bos>", 1), ("<eos>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast.backend_tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_input_names=["input_ids", *["token_type_ids"] * kinds, "attention_mask"],
    )


def small(kind, vocabulary, labels):
    """A random classifier of pairs that reads 96 tokens."""
    import transformers as t

    config = {"bert": t.BertConfig, "deberta": t.DebertaV2Config, "roberta": t.RobertaConfig}[kind](
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=96,
        pad_token_id=0,
        initializer_range=0.5,
        id2label=labels,
        label2id={name: i for i, name in labels.items()},
        **(
            {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
            if kind == "deberta"
            else {}
        ),
    )
    torch.manual_seed(0)
    return t.AutoModelForSequenceClassification.from_config(config)


@pytest.fixture(scope="module")
def nli_folder(tmp_path_factory):
    """Makes a folder with a model of natural-language inference."""

    def make(kind="bert", labels=LABELS):
        folder, tokenizer = (
            tmp_path_factory.mktemp(f"nli-{kind}"),
            pair_tokenizer(kind != "roberta"),
        )
        small(kind, len(tokenizer), labels).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("kind", ["bert", "deberta", "roberta"])
def test_probabilities_are_those_of_the_library_in_any_batch(nli_folder, kind):
    """One pair at a time by transformers alone, told apart by the names of labels."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = nli_folder(kind)
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = []
    for pair in PAIRS:
        with torch.inference_mode():
            logits = plain(**tokenizer(*pair, return_tensors="pt")).logits[0]
        chances = dict(zip(plain.config.id2label.values(), logits.softmax(0).tolist(), strict=True))
        expected.append([chances["entailment"], chances["Neutral"], chances["CONTRADICTION"]])
    handle = find_inference(str(folder), device="cpu")
    loaded, encoded = load_model(handle), encode_pairs(handle, PAIRS)
    assert encoded.n_cut == 0
    assert set(encoded.pairs[0].kinds) == (set() if kind == "roberta" else {0, 1})
    for budget in (Budget(), Budget(largest=1), Budget(tokens=120)):
        np.testing.assert_allclose(infer(loaded, encoded.pairs, budget), expected, atol=2e-6)
    assert np.ptp(expected, axis=0).max() > 0.05, "pairs differ, so that an order can be seen"


def test_the_identity_is_that_of_the_classifier(nli_folder):
    handle = find_inference(str(nli_folder()), device="cpu")
    assert handle.identity.architecture == "BertForSequenceClassification"
    assert handle.identity.n_parameters == sum(
        p.numel() for p in load_model(handle).model.parameters()
    )
    assert label_order(handle) == (2, 1, 0)
    assert not handle.causal


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, "LABEL_0, LABEL_1, LABEL_2"),
        ({0: "entailment", 1: "not_entailment"}, "entailment, not_entailment"),
        ({0: "entail", 1: "neutral", 2: "contradict", 3: "other"}, "contradict, other"),
    ],
)
def test_other_labels_are_named(nli_folder, labels, shown):
    with pytest.raises(UsageError, match=rf"has the labels .*{shown}\. Of its three labels"):
        find_inference(str(nli_folder("bert", labels)), device="cpu")


def test_a_model_without_a_head_is_refused(model_folder):
    with pytest.raises(UsageError, match="does not classify pairs of texts"):
        find_inference(str(model_folder()), device="cpu")


@pytest.mark.parametrize(("kind", "most"), [("bert", 96), ("roberta", 95)])
def test_long_pairs_are_cut_and_counted(nli_folder, kind, most):
    handle = find_inference(str(nli_folder(kind)), device="cpu")
    long = ("the river " * 100, "It is Paris.")
    encoded = encode_pairs(handle, [*PAIRS, long])
    assert encoded.n_cut == 1
    assert len(encoded.pairs[-1].ids) == most
    end = handle.tokenizer("It is Paris.", add_special_tokens=False)["input_ids"]
    assert list(encoded.pairs[-1].ids[-len(end) - 1 : -1]) == end, "the longer text is cut"
    assert infer(load_model(handle), encoded.pairs).shape == (5, 3)


def runner_in(folder):
    folder.mkdir(exist_ok=True)
    progress = Progress()
    return LocalRunner(folder, progress, Models(progress, offline=True))


def test_each_distinct_pair_is_asked_once_and_kept(nli_folder, tmp_path, monkeypatch):
    handle = find_inference(str(nli_folder()), device="cpu")
    asked = []
    whole = Inferred.compute

    def counted(self, rows, work):
        asked.extend(rows)
        return whole(self, rows, work)

    monkeypatch.setattr(Inferred, "compute", counted)
    first = inferences(handle, PAIRS * 3, runner_in(tmp_path / "run"))
    assert sorted(asked) == [0, 1, 2, 3]
    assert first.detail["n_pairs"] == 4
    assert first.detail["inference_model"] == handle.identity.name
    again = inferences(handle, PAIRS, runner_in(tmp_path / "run"))
    assert len(asked) == 4, "what is there is not asked again"
    expected = infer(load_model(handle), encode_pairs(handle, PAIRS).pairs)
    for pair, values in zip(PAIRS, expected, strict=True):
        np.testing.assert_allclose(first.of[pair], values, atol=2e-6)
        assert (first.of[pair] == again.of[pair]).all()
    assert inferences(handle, [], runner_in(tmp_path / "none")).of == {}


# -- methods ---------------------------------------------------------------------------------------


def reply(text, logprobs=(), split="test"):
    """An answer as far as these methods look at one; its last token is no stop token."""
    values = np.array(logprobs, dtype=np.float32)
    given = Answer("a", (1,), tuple(range(len(values))), False, text, values, values, values)
    tokens = TokenizedAnswer(1, 1 + len(values), None)
    example = Example("a", "Who was born here?", ("Anna",), "g")
    return LabelledAnswer(example, given, 1, False, None, tokens, split)


class Planted:
    """A runner whose inference model says what a function of the two texts says."""

    def __init__(self, monkeypatch, says):
        self.asked = []

        def encode(model, texts):
            self.texts = list(texts)
            return EncodedPairs([Pair((i,), ()) for i in range(len(self.texts))], 1)

        monkeypatch.setattr("probebench.stages.sampling.inference.encode_pairs", encode)
        self.says = says

    def run(self, stage):
        self.asked += self.texts
        table = pd.DataFrame([self.says(*pair) for pair in self.texts], columns=list(VERDICTS))
        rows = list(range(len(table)))[::-1]
        return SimpleNamespace(parts=lambda: [(rows, table.iloc[::-1])])


def run_data(answers, samples):
    model = SimpleNamespace(identity=SimpleNamespace(name="m", revision="r"))
    plan = SimpleNamespace(
        beside=SimpleNamespace(nli=model),
        reply=lambda a: (0, a.text),
        handle=None,
        exact=SimpleNamespace(name="new_words"),
    )
    labels = Labels(np.array([a.label for a in answers]), tuple(a.split for a in answers))
    drawn = Samples(samples, 1.0, 1.0)
    return SimpleNamespace(plan=plan, answers=answers, labels=labels, samples=drawn)


def entails(premise, hypothesis):
    """A bigger set of letters entails a smaller one; anything else contradicts it a little."""
    parts = [set(text.split("? ")[1].split()) for text in (premise, hypothesis)]
    if parts[1] <= parts[0]:
        return 0.5, 0.3, 0.2
    return 0.1, 0.6, 0.3


def test_semantic_entropy_by_planted_entailment(monkeypatch):
    """Clusters {a b, b a, "b a" again}, {a}, {c}: a follows from a b, and not the other way
    round."""
    logprobs = [(-1.0, -3.0), (-0.5,), (-4.0, -2.0, 0.0), (-2.5,), (-1.0,)]
    texts = ["a b", "a", "b a", "c", "b  a"]
    drawn = tuple(reply(t, p) for t, p in zip(texts, logprobs, strict=True))
    alike = tuple(reply("c", (-1.0,)) for _ in texts)
    data = run_data((reply("a"), reply("c", split="train"), reply("c")), (drawn, alike, alike))
    runner = Planted(monkeypatch, entails)
    found = {s.name: s for s in by_inference(data, runner)}
    mass = [math.exp(v) for v in (-2, -0.5, -2, -2.5, -1)]
    shares = [part / sum(mass) for part in (mass[0] + mass[2] + mass[4], mass[1], mass[3])]
    expected = {
        "semantic_entropy_nli": sum(p * math.log(p) for p in shares),
        "semantic_entropy_nli_discrete": 0.6 * math.log(0.6) + 2 * 0.2 * math.log(0.2),
    }
    for name, value in expected.items():
        assert found[name].decisions == pytest.approx([value, math.nan, 0], nan_ok=True)
        assert found[name].detail["mean_clusters"] == 2
        assert found[name].detail["n_cut"] == 1
    words = ("a b", "a", "b a", "c")
    asked = {f"Who was born here? {w}" for w in words}
    assert set(runner.asked) == {(a, b) for a in asked for b in asked if a != b}
    assert len(runner.asked) == 12, "each once, and none about the same words or about train"


def test_a_drawn_answer_that_says_nothing_takes_no_part(monkeypatch):
    said = [reply(t, p) for t, p in (("a", (-1.0,)), ("c", (-2.0,)))]
    answers = (reply("a"), reply("c", split="train"), reply("c"))
    alike = (reply("c", (-1.0,)),) * 3
    data = run_data(answers, ((*said, reply("", ())), alike, alike))
    found = {s.name: s.decisions for s in by_inference(data, Planted(monkeypatch, entails))}
    share = math.exp(-1) / (math.exp(-1) + math.exp(-2))
    whole = share * math.log(share) + (1 - share) * math.log(1 - share)
    assert found["semantic_entropy_nli"][0] == pytest.approx(whole)
    assert found["semantic_entropy_nli_discrete"][0] == pytest.approx(-math.log(2))


def test_entailment_one_way_or_less_than_most_likely_joins_nothing():
    chances = {("x", "y"): (0.6, 0.3, 0.1), ("y", "x"): (0.45, 0.5, 0.05)}
    assert by_entailment(["x", "y", "x"], chances).tolist() == [0, 1, 0]
    assert by_entailment(["x", "y"], chances | {("y", "x"): (0.5, 0.4, 0.1)}).tolist() == [0, 0]


def test_selfcheck_by_planted_contradiction(monkeypatch):
    """Probabilities without neutral, mean over drawn answers, then over sentences."""
    chances = {
        ("one", "It is Paris."): (0.3, 0.6, 0.1),
        ("two", "It is Paris."): (0.1, 0.0, 0.9),
        ("one", "No!"): (0.05, 0.9, 0.05),
        ("two", "No!"): (0.0, 0.2, 0.8),
    }
    drawn = (reply("one"), reply("two"), reply("two"))
    answers = (reply("It is Paris.\n No!"), reply("Yes.", split="train"), reply("..."))
    runner = Planted(monkeypatch, lambda *pair: chances[pair])
    (found,) = selfcheck_nli(run_data(answers, (drawn,) * 3), runner)
    value = -((0.25 + 0.9 + 0.9) / 3 + (0.5 + 1 + 1) / 3) / 2
    assert found.decisions == pytest.approx([value, math.nan, math.nan], nan_ok=True)
    assert sorted(runner.asked) == sorted(chances)
    assert found.detail["n_pairs"] == 4


def test_a_run_has_the_rows_and_their_model(nli_folder, tmp_path):
    """Three drawn answers of a small model: all clusterings that there are of three."""
    folder = nli_folder("deberta")
    asked = {
        "positions": ("-1",),
        "layers": (0,),
        "shuffles": 0,
        "skip": ("text", "p-true", "ensembles"),
        "limit": 120,
        "samples": 3,
        "detectors": ("selfcheck-nli", "semantic-entropy"),
        "out": str(tmp_path / "run"),
    }
    plain = prepare(Options(ModelSpec("tiny"), "people", **asked)).plan
    planned = prepare(Options(ModelSpec("tiny"), "people", nli=str(folder), **asked)).plan
    assert plain.key != planned.key, "the inference model is in the key"
    run = probebench.evaluate("tiny", "people", nli=folder, **asked)
    assert run.record["key"] == planned.key
    rows = {d["name"]: d for d in run.record["detectors"]}
    for name in ("selfcheck_nli", "semantic_entropy_nli", "semantic_entropy_nli_discrete"):
        assert rows[name]["detail"]["inference_model"] == folder.name
        assert rows[name]["detail"]["revision"].startswith("sha256:")
        assert rows[name]["n"] == run.record["selection"]["n_test"]
    scores = run.predictions
    discrete = scores[scores.detector == "semantic_entropy_nli_discrete"].decision.dropna()
    known = [0.0, math.log(3), math.log(3) - 2 / 3 * math.log(2)]
    assert np.abs(-discrete.to_numpy()[:, None] - known).min(axis=1).max() < 1e-9
    methods = {"selfcheck-nli", "semantic-entropy"}
    assert methods <= set(costs(planned, lambda: 0.0).seconds)
    assert not methods & set(costs(plain, lambda: 0.0).seconds), "nothing for what it cannot have"


def test_nli_alone_is_refused():
    with pytest.raises(UsageError, match="--nli m is asked by methods that compare texts; name"):
        Options(ModelSpec("tiny"), "people", nli="m").check()
    Options(ModelSpec("tiny"), "people", nli="m", detectors=("all",)).check()
