"""Pretrained decoders end to end: statements and questions, from a folder and from a GGUF file.

`PROBEBENCH_REAL_MODELS` names a folder with `smollm2`, `gemma3` and `qwen05` as transformers
folders, and `<name>.gguf` beside them; `PROBEBENCH_DATA` one with `kit/triviaqa.jsonl` and the
publisher's `cities.csv` under `upstream`.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import probebench
from probebench.errors import LabelError

DATA = Path(
    os.environ.get("PROBEBENCH_DATA", Path(__file__).parent.parent.parent / "shared" / "data")
)
MODELS = Path(os.environ.get("PROBEBENCH_REAL_MODELS", "real-models-not-given"))
NAMES = ("smollm2", "gemma3", "qwen05")
pytestmark = pytest.mark.real


def model(name: str) -> Path:
    path = MODELS / name
    if not path.exists():
        pytest.skip(
            f"no pretrained model at {path}: PROBEBENCH_REAL_MODELS names the folder that holds "
            "them"
        )
    return path


def data(*words: str) -> Path:
    found = sorted(DATA.rglob("/".join(words)))
    if not found:
        pytest.skip(
            f"no {'/'.join(words)} below {DATA}: PROBEBENCH_DATA names the folder that holds it"
        )
    return found[0]


@pytest.mark.parametrize("name", [n + suffix for n in NAMES for suffix in ("", ".gguf")])
def test_statements_end_to_end(name, tmp_path):
    run = probebench.evaluate(
        str(model(name)),
        "cities",
        data=data("cities.csv"),
        limit=300,
        skip=["p-true"],
        out=tmp_path / "run",
    )
    assert run.record["counts"]["all"]["n"] == 300
    chosen = run.record["selection"]
    assert chosen["test_auroc"] > 0.6  # whether a city lies in a country is readable in all three
    embedding = next(d for d in run.record["detectors"] if d["name"] == "probe_emb")
    assert embedding["auroc"] < chosen["test_auroc"]
    assert np.isfinite(run.matrix("auroc").to_numpy(dtype=float)).any()
    assert not [w for w in run.record["warnings"] if "invalid value" in w]


@pytest.mark.parametrize("name", [n + suffix for n in NAMES for suffix in ("", ".gguf")])
def test_questions_end_to_end(name, tmp_path):
    path, kit = model(name), data("kit", "triviaqa.jsonl")
    try:
        run = probebench.evaluate(
            str(path), "triviaqa", data=kit, limit=100, skip=["p-true"], out=tmp_path / "run"
        )
    except (
        LabelError
    ):  # a small model may know too little for a probe; then its answers are still there
        answers = pd.read_parquet(tmp_path / "run" / "answers.parquet")
        assert len(answers) == 100
        assert answers["label"].sum() < 20
        return
    found = run.record["counts"]["all"]["exact_found"]
    assert (
        abs(found["correct"]["rate"] - found["wrong"]["rate"])
        <= 0.02 + run.record["counts"]["all"]["refused"] / 100
    )
    assert run.record["exact_answer"]["rule"] == "new_words"
    assert run.record["selection"]["n_test"] > 0
