"""The arithmetic of the benchmarks: what is counted, scaled and compared, on small numbers."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module


def test_the_ideal_leaves_out_padding_and_tokens_after_an_end(script):
    counts = script("bench_generate").Counts.of([[0, 1], [2]], [4, 2, 3], [10, 5, 7])
    assert (counts.prompts, counts.padded) == (9, 11)
    assert (counts.answers, counts.decoded) == (19, 2 * 9 + 6)
    # 11 s of 11 prompt tokens, 24 of 24 steps
    assert counts.ideal(35.0, 11.0) == pytest.approx(9 + 19)
    even = script("bench_generate").Counts.of([[0, 1]], [4, 4], [6, 6])
    assert even.ideal(20.0, 5.0) == 20.0


def test_an_answer_ends_at_its_first_stop(script):
    cut = script("bench_generate").cut
    assert cut([5, 6, 2, 7, 2], frozenset({2})) == (5, 6, 2)
    assert cut([5, 6], frozenset({2})) == (5, 6)


def test_ratios_are_of_rounds_and_not_of_medians(script):
    side = script("side_by_side")
    a, b = [(2.0, 1.0), (30.0, 9.0), (4.0, 2.0)], [(1.0, 1.0), (10.0, 3.0), (4.0, 1.0)]
    taken = {n: [side.Taken(*t) for t in some] for n, some in (("a", a), ("b", b))}
    rounds = side.Rounds(taken, {})
    assert rounds.ratio("a", "b") == (2.0, 2.0)
    assert rounds.median("a") == (4.0, 2.0)


def test_paths_take_turns(script):
    order = []
    paths = {name: lambda name=name: order.append(name) or name for name in "ab"}
    rounds = script("side_by_side").Rounds.of(paths, 2)
    assert order == ["a", "b", "a", "b"] and rounds.found == {"a": "a", "b": "b"}


def test_arithmetic_counts_matrices_once_and_the_vocabulary_apart(script):
    from probebench.models.loading import ModelSpec, find_model

    handle = find_model(ModelSpec("tiny", device="cpu"))
    work = script("side_by_side").Arithmetic.of(handle)
    config = handle.skeleton.config
    inner = sum(
        p.numel()
        for name, p in handle.skeleton.named_parameters()
        if ".layers." in name and p.ndim == 2
    )
    assert work.base == 2 * inner
    assert work.head == 2 * config.hidden_size * config.vocab_size
    pairs = 4 * config.num_hidden_layers * config.hidden_size
    assert work.reading([2, 3], 4) == 5 * work.base + (3 + 6) * pairs + 4 * work.head


def test_the_plain_program_fits_each_cell_to_examples_that_have_it(script):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    examples = [
        {"label": int(k), "split": "train" if i < 40 else "test", "places": [3, None, 5]}
        for i, k in enumerate(y)
    ]
    states = rng.normal(size=(60, 2, 3, 4)).astype(np.float32)
    states[:, 1, 2, 0] += 20 * y
    plain = script("plain_run").Plain.__new__(script("plain_run").Plain)
    plain.examples = json.loads(json.dumps(examples))
    aurocs = plain.fits(states)
    assert [row[1] for row in aurocs] == [None, None]
    assert aurocs[1][2] == 1.0 and max(aurocs[0][0], aurocs[0][2], aurocs[1][0]) < 0.95
