"""Methods that have to be asked for: rows of their own that move no other number, with a reason
where one cannot be made."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import probebench
from probebench.detectors import suite
from probebench.detectors.registry import (
    DETECTORS,
    Description,
    Detectors,
    Method,
    Missing,
    Scores,
    detector,
)
from probebench.errors import (
    EngineError,
    MemoryLimitError,
    RunError,
    UnavailableError,
    UnfinishedError,
    UnknownNameError,
    WriteError,
)
from probebench.job.options import Options
from probebench.job.place import _adds
from probebench.job.preview.dry_run import preview
from probebench.models.specs import ModelSpec
from probebench.report.content import build_report
from probebench.report.terminal.summary import print_summary
from probebench.report.write.markdown import to_markdown

ASKED = {
    "positions": ["-1"],
    "layers": [0],
    "shuffles": 0,
    "skip": ["text", "p-true", "ensembles"],
    "limit": 160,
}


def row(name, **more):
    given = {"needs": frozenset({"text"}), "asked": name.replace("_", "-")} | more
    method = Method(access="text", supervision="none", passes="none")
    return Description(
        name=name,
        of_answers=name.replace("_", " "),
        of_statements=None,
        kind="method",
        when="after",
        method=method,
        **given,
    )


def letters(data, runner):
    """Fewer letters; nothing for every third answer."""
    decisions = -np.array([len(a.answer.text) for a in data.answers], dtype=float)
    decisions[::3] = np.nan
    yield Scores("made_letters", decisions)


def broken(data, runner):
    """Everything but one answer of validation, and then nothing."""
    decisions = np.arange(len(data.answers), dtype=float)
    decisions[[a.split for a in data.answers].index("validation")] = np.nan
    yield Scores("made_first", decisions)
    raise RunError("this model has no such thing.")


def fallen(data, runner):
    raise ZeroDivisionError("by nought")
    yield


def lacking(data, runner):
    yield Missing("made_missing", "no example has it")


def other(data, runner):
    raise AssertionError("nobody asked for it")
    yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run without methods and with them."""
    folder, before = tmp_path_factory.mktemp("methods"), list(DETECTORS)
    DETECTORS[:] = [group for group in before if all(r.asked is None for r in group.rows)]
    try:
        detector(row("made_letters"), price=lambda plan, lengths, timed: 123.0)(letters)
        detector(row("made_first"), row("made_second"))(broken)
        detector(row("made_fallen"))(fallen)
        detector(row("made_missing"))(lacking)
        detector(row("made_samples", needs=frozenset({"samples", "text"})))(other)
        plain = probebench.evaluate("tiny", "people", out=folder / "run", **ASKED)
        asked = probebench.evaluate(
            "tiny", "people", out=folder / "run", detectors=["all"], **ASKED
        )
        one = probebench.evaluate(
            "tiny", "people", out=folder / "one", detectors=["made-letters"], **ASKED
        )
        cost = preview(Options(ModelSpec("tiny"), "people", detectors=("all",)))
        console = Console(file=io.StringIO(), width=100)
        print_summary(asked, console)
        texts = console.file.getvalue(), to_markdown(build_report([asked]))
        yield plain, asked, one, cost, texts
    finally:
        DETECTORS[:] = before


def test_methods_move_no_other_number(runs):
    plain, asked, *_ = runs
    rows = {d["name"]: d for d in asked.record["detectors"]}
    for d in plain.record["detectors"]:
        assert rows.pop(d["name"]) == d
    assert list(rows) == ["made_letters", "made_first"]
    assert asked.record["selection"] == plain.record["selection"]
    assert asked.record.added == plain.record.added
    before, after = plain.record.abstention, asked.record.abstention
    levels = {d.name: d for d in after.detectors}
    assert all(levels[d.name] == d for d in before.detectors)
    assert (before.n_validation, before.curves) == (after.n_validation, after.curves)
    assert asked.record["comparison"]["n_compared"] == plain.record["comparison"]["n_compared"]


def test_a_method_stands_on_the_answers_that_it_scores(runs):
    _, asked, *_ = runs
    own = next(d for d in asked.record["detectors"] if d["name"] == "made_letters")
    whole = asked.record["detectors"][0]
    assert own["kind"] == "method" and own["n"] < whole["n"]
    assert own["probe_auroc"] - own["auroc"] == pytest.approx(own["probe_minus_this"])
    told = asked.predictions[lambda t: (t.detector == "made_letters") & (t.split == "test")]
    assert int(told.decision.notna().sum()) == own["n"]


def test_what_cannot_be_made_has_a_reason(runs):
    _, asked, one, *_ = runs
    assert asked.record["comparison"]["absent"] == {
        **one.record["comparison"]["absent"],
        "made_second": "failed: this model has no such thing.",
        "made_fallen": "failed: ZeroDivisionError: by nought",
        "made_missing": "no example has it",
        "made_samples": "needs further answers (--samples)",
    }


@pytest.mark.parametrize(
    "error",
    [
        WriteError("Cannot write x."),
        MemoryLimitError("too small."),
        UnavailableError("no hub."),
        EngineError("workers died."),
        UnfinishedError("part 2 has not done its share."),
        OSError("disk"),
        RuntimeError("CUDA out of memory."),
    ],
)
def test_what_may_pass_stops_the_run_and_is_no_reason(error):
    """The same command goes on from there; a record would keep the reason for good."""

    def failing(data, runner):
        raise error
        yield

    group = Detectors((row("made_passing"),), failing)
    beside = SimpleNamespace(skip=(), controls=(), detectors=("all",))
    data = SimpleNamespace(plan=SimpleNamespace(beside=beside, statements=False))
    with pytest.raises(type(error)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "_there", lambda data: {"text"})
        list(suite._made(group, data, None))


def test_a_baseline_that_rows_must_have_is_missing_with_its_reason():
    """An encoder gives statements no log-probabilities; its row on the board says so."""
    beside = SimpleNamespace(skip=(), controls=(), detectors=())
    data = SimpleNamespace(plan=SimpleNamespace(beside=beside, statements=True), statements=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "_there", lambda data: {"text"})
        missing = [
            d
            for group in suite.in_order()
            if not any(r.needs <= {"text"} for r in group.rows)
            for d in suite._made(group, data, None)
        ]
    due = {
        n for n, r in suite.known().items() if "statements" in r.required and r.needs != {"text"}
    }
    assert {d.name for d in missing} == due != set()
    assert all(d.reason.startswith("needs ") for d in missing)


def test_a_reason_is_one_line_of_some_letters():
    assert suite._failure(RunError("first\nsecond")) == "failed: first"
    assert len(suite._failure(RunError("long " * 200))) <= 300


def test_only_what_was_asked_for_is_made(runs):
    names = [d["name"] for d in runs[2].record["detectors"]]
    assert [n for n in names if n.startswith("made")] == ["made_letters"]


def test_a_failed_method_is_a_row_of_the_table(runs):
    said, report = runs[4]
    assert "methods asked for" in said and "made letters" in said
    for words in ("made fallen", "made samples"):
        assert words in said
        assert words in report
    assert "by nought" in " ".join(said.split())


def test_the_dry_run_counts_what_was_asked_for(runs):
    assert runs[3].cost.seconds["made-letters"] == (123.0,) * 3


def test_a_name_that_there_is_not():
    with pytest.raises(UnknownNameError, match="Did you mean"):
        probebench.evaluate("tiny", "people", detectors=["al"])


def test_more_methods_may_be_added_to_a_finished_run():
    assert _adds(["saplma"], ["ccs", "saplma"]) and _adds(["saplma"], ["all"]) and _adds([], ["x"])
    assert not _adds(["saplma", "ccs"], ["ccs"]) and not _adds(["all"], ["ccs"])
