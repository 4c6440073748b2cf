"""Near twins across the split are found; a template alone makes none."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from probebench.studies.checks.twins import BAR, nearest
from probebench.tasks.split import split_of

DATA = Path(os.environ.get("PROBEBENCH_DATA", "")) / "kit"
WORDS = np.array(
    "amber basil cedar delta ember fjord grove heron islet jasper knoll lemur maple nectar".split()
)


def test_a_question_in_nearly_the_same_words_is_found_and_another_is_not():
    others = ["Who wrote the novel Emma?", "What is the capital of Peru?"]
    found = nearest(["what is the capital of peru", "How tall is Mont Blanc?"], others)
    assert found.cosine[0] > BAR
    assert found.at[0] == 1
    assert found.cosine[1] < 0.5


def test_a_template_alone_makes_no_near_twins():
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 8)) for _ in range(400)]
    texts = [
        f"The city of {a} is in the country of {b}."
        for a, b in zip(names, names[::-1], strict=True)
    ]
    found = nearest(texts[:100], texts[100:300])
    assert (found.cosine > BAR).mean() < 0.02
    assert nearest(["x y"], []).cosine[0] == 0


def test_chunks_say_what_one_product_says(monkeypatch):
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 4)) for _ in range(120)]
    whole = nearest(texts[:60], texts[60:])
    monkeypatch.setattr("probebench.studies.checks.twins.CHUNK", 7)
    parts = nearest(texts[:60], texts[60:])
    np.testing.assert_allclose(whole.cosine, parts.cosine)
    np.testing.assert_array_equal(whole.at, parts.at)


@pytest.mark.parametrize(
    ("file", "low", "high"), [("webquestions", 0.03, 0.09), ("nq_open", 0.01, 0.04)]
)
def test_shares_of_known_data(file, low, high):
    path = DATA / f"{file}.jsonl"
    if not path.exists():
        pytest.skip("the data kit is not there (PROBEBENCH_DATA)")
    texts = [json.loads(line)["question"] for line in path.read_text().splitlines()]
    test = np.array([split_of(t) == "test" for t in texts])
    found = nearest(
        [t for t, there in zip(texts, test, strict=True) if there],
        [t for t, there in zip(texts, test, strict=True) if not there],
    )
    assert low < (found.cosine > BAR).mean() < high


def test_texts_without_a_character_have_no_twins():
    assert nearest(["", "word"], ["", "  "]).cosine.tolist() == [0, 0]
