"""Published figures: facts as printed, found for the right model and task only."""

import hashlib

import pytest
from records import PROBE
from records import record as whole_record

from probebench.record.parts.studied import PublishedRow
from probebench.record.published import (
    ERROR_TYPES,
    FOLDER,
    TEST_AUROC,
    TRANSFER,
    figures,
    main_rows,
    our_name,
    published,
    same_model,
)
from probebench.states.positions import POSITIONS
from probebench.tasks.schema import list_tasks


def record(model="mistralai/Mistral-7B-Instruct-v0.2", task="triviaqa", rule="model", **changes):
    logits = {"name": "logit_mean", "kind": "baseline", "auroc": 0.6, "auroc_95": [0.5, 0.7]}
    here = {"position": "-1", "layer": "3", "test_auroc": 0.8, "test_auroc_95": [0.7, 0.9]}
    return whole_record(
        model={"name": model},
        task={"name": task, "exact_answer": rule},
        detectors=[{**PROBE, **logits, "n": 100}],
        by_position=[{**here, "n_test": 99}, {"position": "-2", "layer": None, "masked": "few"}],
        **changes,
    )


def test_the_files_hold_facts_with_sources():
    assert {p.name for p in FOLDER.iterdir()} == {TEST_AUROC, ERROR_TYPES, TRANSFER}
    for name in (TEST_AUROC, ERROR_TYPES, TRANSFER):
        for row in figures(name):
            assert row["source"].startswith("arXiv:2410.02707v4 ")
            assert 0 <= float(row["auroc"]) <= 1
    assert len(figures(TEST_AUROC)) == 4 * 10 * 19
    assert len(figures(TRANSFER)) == 100


def test_they_are_those_that_were_read():
    found = {
        name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]
        for name in (TEST_AUROC, ERROR_TYPES, TRANSFER)
    }
    assert found == {
        TEST_AUROC: "5af5220cee721c3a",
        ERROR_TYPES: "258ed57fae5dafbc",
        TRANSFER: "30a2469fd2f7a58a",
    }
    transfer = {(r["train_task"], r["test_task"]): float(r["auroc"]) for r in figures(TRANSFER)}
    assert (
        transfer["triviaqa", "triviaqa"],
        transfer["math", "imdb"],
        transfer["imdb", "math"],
    ) == (0.86, 0.91, 0.66)


def test_tasks_and_detectors_have_our_names():
    assert {r["task"] for r in figures(TEST_AUROC)} <= {t.name for t in list_tasks()}
    names = {our_name(r["detector"]) for r in figures(TEST_AUROC)}
    assert {n for kind, n in names if kind == "position"} <= set(POSITIONS)
    assert {n for kind, n in names if kind == "detector"} == {
        "p_true",
        "p_true_exact",
        *(
            f"{what}_{how}{where}"
            for what in ("logit", "prob")
            for how in ("mean", "min", "max")
            for where in ("", "_exact")
        ),
    }


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("mistralai/Mistral-7B-Instruct-v0.2", True),
        ("mistral-7b-instruct-v0.2", True),
        ("mistralai--Mistral-7B-Instruct-v0.2", True),
        ("models--mistralai--Mistral-7B-Instruct-v0.2", True),
        ("mistralai__Mistral-7B-Instruct-v0.2", True),
        ("mistralai/Mistral-7B-Instruct-v0.3", False),
        ("Mistral-7B", False),
        ("someone/my-Mistral-7B-Instruct-v0.2-tuned", False),
        ("tiny", False),
    ],
)
def test_which_model_is_meant(name, same):
    assert same_model(name, "mistralai/Mistral-7B-Instruct-v0.2") is same


def test_figures_stand_beside_ours():
    found = published(record())
    rows = {r["detector"]: r for r in found["rows"]}
    assert len(rows) == 19
    theirs = rows["probe@exact_answer_last"]
    assert (theirs["auroc"], theirs["spread"], theirs["source"]) == (
        0.85,
        0.004,
        "arXiv:2410.02707v4 Table 5",
    )
    assert rows["probe@-1"]["our_auroc"] == 0.8
    assert rows["logits_mean"]["our_auroc"] == 0.6
    assert rows["probe@-2"]["our_auroc"] is None, "a masked position has no figure of ours"
    assert "incorrect" in found["sign"]
    assert {r["error_type"] for r in found["error_types"]} == set("ABCDE")
    assert {r["test_task"] for r in found["transfer"]} >= {"movies", "imdb"}
    table = main_rows([PublishedRow.from_plain(row) for row in found["rows"]])
    assert [r["ours"] for r in table[:5]] == [
        "-1",
        "-2",
        "last_q",
        "exact_answer_last",
        "exact_answer_after_last",
    ]
    assert len(table) == 6


def test_nothing_published_is_none():
    assert published(record(model="tiny")) is None
    assert published(record(task="people")) is None


def test_what_an_option_makes_the_same_is_not_said_to_differ():
    def first_words(**changes):
        return {sentence.split(":")[0] for sentence in published(record(**changes))["differs"]}

    plain = first_words()
    assert plain >= {"Site", "Probe", "Exact answer", "Split", "Data"}
    assert plain - first_words(selection={"site": "mlp.down"}) == {"Site"}
    assert plain - first_words(probe={"name": "orgad2025"}) == {"Probe"}
    assert plain - first_words(rule="gold") == {"Exact answer"}
