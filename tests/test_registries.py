"""One of each registered thing, made up in a module of its own: it is found in table, record,
report and validator, and nothing of it is left afterwards."""

import importlib
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import probebench
from probebench.detectors import suite
from probebench.detectors.registry import DETECTORS
from probebench.errors import UnknownNameError
from probebench.job.rules import skips
from probebench.leaderboard.check.rules.detectors import check_baselines, check_names, check_signals
from probebench.models.blocks.layouts import LLAMA, SITES
from probebench.probes.kinds import PROBES, get_probe
from probebench.report.content import build_report
from probebench.report.terminal.detectors import best_of_family
from probebench.report.write.markdown import to_markdown
from probebench.states.positions import POSITIONS, resolve_positions
from probebench.studies.registry import CONCERNS, STUDIES
from probebench.tasks.exact.rules import RULES
from probebench.tasks.judge import JUDGES, get_judge
from probebench.tasks.schema import load_task

REGISTRIES = (DETECTORS, STUDIES, CONCERNS, SITES, LLAMA, POSITIONS, PROBES, JUDGES, RULES)
MADE_UP = '''
"""One of each."""

import numpy as np
from sklearn.linear_model import RidgeClassifier

from probebench.detectors.registry import Description, Scores, detector
from probebench.detectors.relations import at_most, between
from probebench.models.blocks.layouts import LLAMA, SITES, Place
from probebench.probes.kinds import probe
from probebench.states.positions import position
from probebench.studies.registry import concern, study
from probebench.tasks.exact.rules import rule
from probebench.tasks.judge import aliases_judge, judge
from probebench.types import Span


def described(name, words, **more):
    return Description(
        name=name,
        of_answers=words,
        of_statements=None,
        family="made_up",
        when="after",
        needs=frozenset({"text"}),
        required=frozenset({"answers"}),
        skip="made-up",
        source="hewitt2019designing",
        **more,
    )


@detector(
    described("made_up_vowels", "vowels (fewer)", relations=(at_most("made_up_a"),)),
    described("made_up_a", "letters a (fewer)", relations=(between(-999.0, 0.0),)),
)
def letters(data, runner):
    for name, wanted in (("made_up_vowels", "aeiou"), ("made_up_a", "a")):
        counts = [sum(c in wanted for c in a.answer.text) for a in data.answers]
        yield Scores(name, -np.array(counts, dtype=float), {"letters": wanted})


@study("made_up_counts", title="Made-up counts", unasked="Made-up counts: nobody asked.")
def counts(run):
    """How many answers."""
    return {"answers_counted": len(run.data.answers)}


@concern
def too_many(run):
    """Always."""
    found = run.record["studies"]["made_up_counts"]
    yield f"A made-up concern about {found['answers_counted']} answers."


@position("after")
def made_up_third(answer):
    """Third generated token."""
    return answer.n_prompt + 2 if answer.n_total > answer.n_prompt + 2 else None


@probe(grid=(1.0,), cites={"hewitt2019designing": "A made-up probe"})
def made_up_ridge(C, width):
    """Least squares on raw vectors."""
    return RidgeClassifier(alpha=1 / C)


@judge
def made_up_judge(example, answer):
    """As the judge of aliases."""
    return aliases_judge(example, answer)


@rule
def made_up_rule(exact, example, answer):
    """The first ten letters."""
    return Span(0, min(10, len(answer))) if answer else None


SITES["made_up.norm"] = "what the norm before attention gives"
LLAMA["made_up.norm"] = Place("input_layernorm")
'''


@contextmanager
def restored():
    """Leaves every registry as it was."""
    before = [r.copy() for r in REGISTRIES]
    try:
        yield
    finally:
        for registry, old in zip(REGISTRIES, before, strict=True):
            registry.clear()
            (registry.update if isinstance(registry, dict) else registry.extend)(old)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of made-up things, inside which they are registered."""
    folder = tmp_path_factory.mktemp("made_up")
    (folder / "made_up_things.py").write_text(MADE_UP)
    text = Path(load_task("people").path).read_text()
    text = text.replace("judge: aliases", "judge: made_up").replace(
        "rule: pattern", "rule: made_up"
    )
    (folder / "vowels.yaml").write_text(text.replace("name: people", "name: vowels"))
    with restored(), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        importlib.import_module("made_up_things")
        yield probebench.evaluate(
            "tiny",
            str(folder / "vowels.yaml"),
            limit=160,
            positions=["made_up_third", "-1"],
            sites=["resid", "made_up.norm"],
            layers=[0],
            probe="made-up-ridge",
            shuffles=0,
            skip=["text", "p-true", "ensembles"],
            out=folder / "run",
        )
        del sys.modules["made_up_things"]


def submitted(run, absent=(), **changed):
    """What a validator looks at."""
    rows = run.predictions.pivot(index="id", columns="detector", values="decision")
    values = {name: changed.get(name, rows[name].to_numpy()) for name in rows}
    record = json.loads((run.folder / "record.json").read_text())
    record["detectors"] = [d for d in record["detectors"] if d["name"] not in absent]
    return SimpleNamespace(record=record, decisions=SimpleNamespace(values=values), cells=())


def found(rule, submission):
    return [f"{f.field} {f.given} {f.expected}" for f in rule(submission)]


def test_a_made_up_detector_is_a_row_of_the_table(run):
    rows = {d["name"]: d for d in run.record["detectors"]}
    assert list(rows)[-2:] == ["made_up_vowels", "made_up_a"], "after those of the suite"
    d = rows["made_up_vowels"]
    assert (d["label"], d["kind"], d["when"]) == ("vowels (fewer)", "baseline", "after")
    assert d["detail"] == {"letters": "aeiou"}
    made_up = [r["name"] for r in best_of_family(run.record["detectors"]) if "made_up" in r["name"]]
    assert made_up == ["made_up_vowels"], "one of a family"


def test_made_up_things_are_in_the_record(run):
    r, n = run.record, run.record["counts"]["all"]["n"]
    assert r["studies"]["made_up_counts"] == {"answers_counted": n}
    assert f"A made-up concern about {n} answers." in r["warnings"]
    assert r["positions_present"]["made_up_third"]["n"] > 0
    assert r["sites"]["made_up.norm"]["layers"] == ["0"]
    assert r["sites"]["made_up.norm"]["best"]["site"] == "made_up.norm"
    assert r["probe"]["name"] == "made-up-ridge"
    assert (r["task"]["judge"], r["task"]["exact_answer"]) == ("made_up", "made_up")
    assert (run.answers.exact_answer.str.len() <= 10).all()
    assert run.matrix(site="made_up.norm").shape == (1, 2)


def test_made_up_things_are_in_the_report(run):
    said = to_markdown(build_report([run]))
    n = run.record["counts"]["all"]["n"]
    assert "vowels (fewer)" in said
    assert "# Made-up counts" in said
    assert f"Answers counted: {n}" in said.replace("*", "")
    assert "% The baseline vowels (fewer)" in said, "its paper"
    assert "% A made-up probe\n@inproceedings{hewitt2019designing" in said, "its paper"


def test_a_validator_knows_what_a_made_up_detector_must_be(run):
    whole = submitted(run)
    for rule in (check_names, check_signals):
        assert not [line for line in found(rule, whole) if "made_up" in line]
    missing = found(check_baselines, submitted(run, absent=["made_up_a"]))
    assert any("the baseline 'made_up_a'" in line for line in missing)
    values = whole.decisions.values
    more = submitted(run, made_up_a=values["made_up_a"] + 1000)
    assert any(
        "d:made_up_a" in line and "out of range" in line for line in found(check_signals, more)
    )
    less = submitted(run, made_up_vowels=values["made_up_vowels"] + 500)
    assert any("above d:made_up_a" in line for line in found(check_signals, less))
    holes = submitted(run, made_up_a=np.append(values["made_up_a"][1:], np.nan))
    assert any("a decision for every example" in line for line in found(check_signals, holes))
    whole.record["detectors"][-1]["label"] = "probe"
    assert any("the suite's words for made_up_a" in line for line in found(check_names, whole))


def test_a_made_up_detector_can_be_left_out(run):
    assert skips()["made-up"] == ("made_up_vowels", "made_up_a")
    assert set(suite.left_out(["made-up"], given=False)) == {"made_up_vowels", "made_up_a"}
    assert not suite.left_out(["made-up"], given=True), "statements have none"


def test_nothing_is_left_behind():
    before = [list(r) for r in REGISTRIES]
    with restored():
        exec(MADE_UP.replace("made_up", "gone").replace("made-up", "gone"), {"__name__": "gone"})
        assert all(len(r) > len(old) for r, old in zip(REGISTRIES, before, strict=True))
    assert [list(r) for r in REGISTRIES] == before
    for get in (get_judge, get_probe, lambda name: resolve_positions([name])):
        with pytest.raises(UnknownNameError, match="gone_third"):
            get("gone_third")


def test_every_row_can_be_checked():
    """Names are taken once, relations name detectors that there are, and what is required can be
    made."""
    names = [row.name for group in suite.in_order() for row in group.rows]
    assert len(set(names)) == len(names)
    known = suite.known()
    for row in known.values():
        assert row.label(False), row.name
        parts = {part for relation in row.relations for part in relation.parts}
        assert parts <= set(known), row.name
        assert "statements" not in row.required or row.label(True), row.name
        assert row.is_called(row.label(False).format(k=3), given=False)
    assert list(known)[:2] == ["probe", "probe_emb"]
