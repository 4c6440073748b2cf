"""What a person sees: the headline, detectors by kind, and no line longer than eighty columns."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from records import record as whole
from rich.console import Console

import probebench
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.record.words import part_words
from probebench.report.terminal.detectors import best_of_family, by_kind
from probebench.report.terminal.headline import headline_lines
from probebench.report.terminal.summary import print_summary
from probebench.studies.readable import PAPER
from probebench.tasks.local.notes import data_notes


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_folder):
    """A finished run on answers made elsewhere, with everything that can be asked for beside the
    map."""
    folder = tmp_path_factory.mktemp("summary")
    rng, words = (
        np.random.default_rng(0),
        ["Paris", "river", "poet", "Anna", "letter", "capital", "France", "Smith"],
    )
    rows = []
    for i in range(240):
        said = "Paris" if i % 2 else "Anna"
        question = f"Where was {' '.join(rng.choice(words, 4))} {i}?"
        rows.append(
            {
                "id": f"a{i}",
                "question": question,
                "answer": f" It is {said} near the {rng.choice(words[1:3])}.",
                "exact_answer": said,
                "label": int(i % 4 > 1),
                "group": f"g{i // 2}",
                "references": ["Paris"],
            }
        )
    (folder / "answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return probebench.evaluate(
        str(model_folder()),
        answers=folder / "answers.jsonl",
        out=folder / "run",
        train_sizes=(30, 60),
        label_noise="aliases",
        shuffles=2,
        layers=(0, 2),
        positions=(*PAPER, "first_answer"),
    )


def text_of(record):
    console = Console(width=80, highlight=False, record=True, file=io.StringIO())
    run = SimpleNamespace(record=Record.from_plain(record), folder="runs/x", resumed=False)
    print_summary(run, console)
    return console.export_text()


def test_everything_fits_into_eighty_columns(run):
    text = text_of(run.record)
    assert max(map(len, text.splitlines())) <= 80
    wanted = [
        "best cell by validation",
        "before the answer: probe",
        "after the answer: probe",
        "by train examples: 30:",
    ]
    wanted += [
        "labels of aliases: kappa",
        "ensembles of probes",
        "baselines before the answer",
        "controls",
        "note:",
    ]
    assert [words for words in wanted if words not in text] == []


def test_each_position_of_the_paper_has_a_line(run):
    text = text_of(run.record)
    for name in (
        "last_q",
        "exact_answer_last",
        "exact_answer_after_last",
        "-2",
        "-1",
        run.record["selection"]["position"],
    ):
        assert any(line.split()[:1] == [name] for line in text.splitlines())


def test_every_detector_has_a_section_and_families_are_shown_once(run):
    found = by_kind(run.record["detectors"])
    assert sum(len(rows) for _, rows in found) == len(run.record["detectors"])
    ranked = [[d["auroc"] for d in rows] for title, rows in found if title.startswith("baselines")]
    assert ranked == [sorted(values, reverse=True) for values in ranked] != []
    names = [
        "logit_mean",
        "logit_min",
        "text_embedding",
        "text",
        "text_answer",
        "p_true",
        "p_true_exact",
        "length",
    ]
    kept = best_of_family([SimpleNamespace(name=n) for n in names])
    assert [d.name for d in kept] == [
        "logit_mean",
        "text_embedding",
        "text",
        "p_true",
        "p_true_exact",
        "length",
    ]


def test_absent_numbers_are_words(run):
    record = run.record.plain()
    record["readable"]["before"] = None
    record["confounds"]["residual"] = None
    record["selection"]["test_auroc"] = None
    lines = "\n".join(headline_lines(Record.from_plain(record)))
    assert "before the answer" not in lines
    assert "n/a" in lines


def test_published_figures_stand_beside_ours(run):
    from probebench.record.published import published

    record = run.record.plain()
    record["model"]["name"], record["task"]["name"] = "mistralai/Mistral-7B-v0.3", "triviaqa"
    record["published"] = published(Record.from_plain(record))
    text = text_of(record)
    assert "probe@exact_answer_last" in text
    assert "arXiv:2410.02707v4 Table 4" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "published" not in text_of(run.record)


def test_the_record_says_what_was_asked_for(run):
    record = Run.load(run.folder).record
    assert record["schema_version"] == 2
    assert [p["n"] for p in record["learning_curve"]["points"]] == [30, 60]
    assert record["learning_curve"]["all"]["auroc"] == pytest.approx(
        record["selection"]["test_auroc"], abs=1e-12
    )
    noise = record["label_noise"]
    assert (noise["judge"], noise["n"]) == ("aliases", 240)
    assert noise["agreement"] == pytest.approx(0.5)
    own = noise["scores"]["fitted_to_first"]["scored_under_first"]["auroc"]
    assert own == pytest.approx(record["selection"]["test_auroc"], abs=1e-12)
    assert {d["name"] for d in record["detectors"]} >= {
        "probe",
        "ensemble_mean",
        "ensemble_stacked",
    }
    assert (
        record["readable"][record["selection"]["readable"]]["cell"]["position"]
        == record["selection"]["position"]
    )
    at = next(p for p in record["by_position"] if p["position"] == record["selection"]["position"])
    assert (at["layer"], at["test_auroc"]) == (
        record["selection"]["layer"],
        record["selection"]["test_auroc"],
    )


def part(test_is=None, **settings):
    """Which part of a task a run with these settings is about."""
    return part_words(whole(settings=settings, data={"test_is": test_is}))


def test_a_part_of_a_task_is_said_to_be_one():
    assert (
        part(data=["some/where/a.csv", "b.csv"], limit=1200, answers=None)
        == "questions of a.csv, b.csv (--data); 1,200 examples at most (--limit)"
    )
    assert part(data="x/one.jsonl") == "questions of one.jsonl (--data)"
    assert part(data=[f"{i}.csv" for i in range(5)]).startswith(
        "questions of 0.csv, 1.csv, 2.csv and 2 more"
    )
    assert part("validation", answers="x/a.jsonl") == (
        "answers of a.jsonl (--answers); test is what the file calls validation; it has no test "
        "split"
    )
    assert part(data=None, limit=None) == part() == ""


def test_notes_of_reading_have_counts():
    assert data_notes({"n_ungrouped": 40}, 120)[0].startswith(
        "40 of 120 examples lack the columns that the task groups by"
    )
    assert data_notes({}, 120) == data_notes({"n_ungrouped": 0}, 120) == []


def test_answers_cut_off_and_rows_left_out_are_said(run):
    record = run.record.plain()
    assert "cut off" not in text_of(record)
    record["counts"]["all"]["not_stopped"], record["generation"]["max_new_tokens"] = 60, 20
    record["comparison"]["absent"] = {
        "p_true": "left out by --skip p-true",
        "p_true_exact": "left out by --skip p-true",
    }
    text = text_of(record)
    assert "cut off at 20 tokens: 60 of 240 answers (25.0%)" in text
    assert "not in the table: p_true, p_true_exact, left out by --skip p-true" in text
    record["task"]["kind"] = "statements"  # which nobody cuts off
    assert "cut off" not in text_of(record)
