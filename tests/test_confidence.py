"""Verbalised confidence: asked about answers of validation and test only, read strictly."""

import numpy as np
import pytest
from conftest import byte_level_tokenizer

import probebench
from probebench.detectors.asked import confidence
from probebench.detectors.asked.confidence import ANSWERED, MAX_NEW_TOKENS, parse
from probebench.models.generate import Request, generate
from probebench.tasks.prompts import encode_prompt, short_question
from probebench.types import Answer

SETTINGS = {
    "positions": ["-1"],
    "layers": [0],
    "shuffles": 0,
    "skip": ["text", "p-true", "ensembles"],
    "detectors": ["verbalised-confidence"],
}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("95", 0.95),
        (" 7 %\nbecause", 0.07),
        ("**100**", 1.0),
        ("0.", 0.0),
        ("Confidence: 80%", 0.8),
        ("60 percent", 0.6),
        ("0.9", None),
        ("101", None),
        ("-5", None),
        ("95 of 100", None),
        ("About 90", None),
        ("not 90%", None),
        ("high", None),
        ("", None),
        ("\n \n40", 0.4),
        ("90-95", None),
    ],
)
def test_only_whole_per_cent_are_read(reply, said):
    assert parse(reply) == said if said is not None else np.isnan(parse(reply))


def fake(say):
    """Replies in place of the model's: `say(prompt as text)`."""

    def generated(loaded, wanted, *rest, **more):
        none = np.zeros(0, dtype=np.float32)
        texts = [say(loaded.tokenizer.decode(r.prompt_ids)) for r in wanted]
        return [
            Answer(r.id, r.prompt_ids, (), True, text, none, none, none)
            for r, text in zip(wanted, texts, strict=True)
        ]

    return generated


def test_replies_without_a_number_are_counted_and_no_train_answer_is_asked_about(
    monkeypatch, model_folder, answers_file, tmp_path
):
    asked = []

    def say(text):
        asked.append(text)
        return "Yes" if "poet 1" in text else f"{len(text) % 101}%"

    monkeypatch.setattr(confidence, "generate", fake(say))
    path = answers_file()
    run = probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run", **SETTINGS)
    own = run.predictions[lambda t: t.detector == "verbalised_confidence"]
    row = next(d for d in run.record["detectors"] if d["name"] == "verbalised_confidence")
    n = int(run.record["counts"]["validation"]["n"] + run.record["counts"]["test"]["n"])
    assert row["detail"]["n_asked"] == n == len(asked)
    unparsed = sum("poet 1" in text for text in asked)
    assert row["detail"]["n_unparsed"] == unparsed > 0
    assert int(own.decision.isna().sum()) == unparsed + int((own.split == "train").sum())
    assert row["kind"] == "method" and row["n"] < run.record["counts"]["test"]["n"]
    assert all(text.count("Answer: It is") == 1 for text in asked)


def test_the_model_is_asked_greedily_and_a_rerun_asks_no_more(
    monkeypatch, loaded, model_folder, answers_file, tmp_path
):
    """The tiny random model says no numbers: what it does say is that of plain decoding."""
    seen = {}
    whole = confidence.parse
    monkeypatch.setattr(confidence, "parse", lambda text: seen.setdefault(len(seen), text) and 0.5)
    path = answers_file(60)
    out = tmp_path / "run"
    run = probebench.evaluate(str(model_folder()), answers=path, out=out, **SETTINGS)
    model = loaded("llama")
    own = run.predictions[lambda t: t.detector == "verbalised_confidence"]
    assert whole("50") == 0.5 and len(seen) == int((own.split != "train").sum())
    a = next(r for r in run.answers.to_dict("records") if r["split"] != "train")
    line = " ".join(a["text"].split())
    text = ANSWERED.format(question=a["question"], answer=line)
    ids = encode_prompt(model.tokenizer, short_question(model.tokenizer, text))
    alone = generate(model, [Request("x", ids)], MAX_NEW_TOKENS, model.handle.stop_ids, ("\n",))
    assert alone[0].text in seen.values()
    (run.folder / "record.json").unlink()
    monkeypatch.setattr(confidence, "generate", lambda *_, **__: pytest.fail("asked again"))
    probebench.evaluate(str(model_folder()), answers=path, out=out, **SETTINGS)


def test_a_statement_is_asked_about_as_one():
    tokenizer = byte_level_tokenizer(chat=True)
    text = short_question(tokenizer, confidence.STATED.format(question="Paris is in France."))
    assert "Statement: Paris is in France.\nHow likely" in text
    assert "nswer" not in text
