"""Submissions that are not what they say: smuggled files, files that unfold, and decisions that no
such detector can have."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answered import answer, detectors, many
from made import make_submission

from probebench.leaderboard.check.rules.detectors import check_names, check_signals
from probebench.leaderboard.check.rules.every import check_counts, check_protocol
from probebench.leaderboard.check.submission import Checked, check
from probebench.leaderboard.check.suspicious import example_digests, suspicious
from probebench.leaderboard.check.validate import Together, validate
from probebench.leaderboard.submission.columns import _check_footer
from probebench.leaderboard.submission.read import read_decisions, read_submission
from probebench.leaderboard.submission.strict import Broken, read_json

FOLDER = "v2/org__model/people"


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return make_submission(tmp_path_factory.mktemp("valid"))


@pytest.fixture(scope="module")
def honest(valid):
    return read_submission(valid)


@pytest.fixture
def head(valid, tmp_path):
    """A copy of the leaderboard, as a pull request has it."""
    return shutil.copytree(valid.parent.parent.parent, tmp_path / "head")


def with_values(s, **changed):
    """The same submission with other decisions."""
    return replace(s, decisions=replace(s.decisions, values={**s.decisions.values, **changed}))


def with_record(s, edit):
    record = json.loads(json.dumps(s.record))
    edit(record)
    return replace(s, record=record)


def fields(findings):
    return [f.field for f in findings]


@pytest.mark.parametrize("name", ["evil.py", "sub", "sub/evil.py"])
def test_nothing_is_smuggled_into_a_row_of_the_base(valid, head, name):
    """The three files are as in the base, so the row counts as unchanged: what else the folder
    holds must be looked at."""
    path = head / FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if name == "sub" else path.write_text("x")
    found = [f for r in validate(head, valid.parent.parent.parent, workers=0) for f in r.failures]
    assert [(f.file, f.given) for f in found] == [(name.split("/")[0], "a new file")]


def test_a_row_of_the_base_does_not_become_a_link(valid, head, tmp_path):
    shutil.move(head / FOLDER, tmp_path / "elsewhere")
    (head / FOLDER).symlink_to(tmp_path / "elsewhere")
    found = [f for r in validate(head, valid.parent.parent.parent, workers=0) for f in r.failures]
    assert [f.given for f in found] == ["a file or link"]


def test_the_leaderboard_does_not_become_a_link(valid, head, tmp_path):
    (tmp_path / "link").symlink_to(head)
    found = [
        f
        for r in validate(tmp_path / "link", valid.parent.parent.parent, workers=0)
        for f in r.failures
    ]
    assert [f.given for f in found] == ["a link"]


def test_a_repeated_key_among_many_is_found_in_one_pass(tmp_path):
    keys = [f"{i:06x}" for i in range(120_000)]
    (tmp_path / "record.json").write_text(
        "{" + ",".join(f'"{k}":1' for k in [*keys, keys[-1]]) + "}"
    )
    # comparing all with all would take minutes
    with pytest.raises(Broken, match="the key more than once"):
        read_json(tmp_path, "record.json")


@pytest.mark.parametrize(
    "text", ["a\u202eb", "a\u200bb", "a\x1b[31mb", "a\u2066b", "\ufeffa", "a\U000e0041b"]
)
def test_text_that_is_not_what_it_looks_like(tmp_path, text):
    (tmp_path / "record.json").write_text(json.dumps({"warnings": [text]}))
    with pytest.raises(Broken, match=r"warnings\[0\]"):
        read_json(tmp_path, "record.json")


def test_a_long_text_in_every_row_is_not_unfolded(valid, head):
    """One dictionary entry of a megabyte, named by every row: a gigabyte, were it read as texts."""
    table = pq.read_table(valid / "decisions.parquet")
    ids = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(len(table), dtype=np.int32)), pa.array(["x" * 2**20])
    )
    pq.write_table(
        table.set_column(0, "id", ids),
        head / FOLDER / "decisions.parquet",
        compression="zstd",
        store_schema=False,
        dictionary_pagesize_limit=2**24,
    )
    assert (head / FOLDER / "decisions.parquet").stat().st_size < 2**20
    with pytest.raises(Broken, match=r"id: given 'a text of 1,048,576 bytes'"):
        read_decisions(head / FOLDER)


def test_encodings_that_repeat_the_text_before_are_refused(valid, head):
    table = pq.read_table(valid / "decisions.parquet")
    pq.write_table(
        table,
        head / FOLDER / "decisions.parquet",
        store_schema=False,
        use_dictionary=False,
        column_encoding={"id": "DELTA_BYTE_ARRAY"},
    )
    with pytest.raises(Broken, match="DELTA_BYTE_ARRAY"):
        read_decisions(head / FOLDER)


@pytest.mark.parametrize(
    ("rows", "values"), [([10**9], 5), ([5], 10**9), ([3], 3), ([5, 5], 5), ([-5, 10], 5)]
)
def test_row_groups_that_hold_other_rows_than_the_footer_says(rows, values):
    column = SimpleNamespace(
        total_uncompressed_size=9, num_values=values, encodings=("PLAIN",), path_in_schema="id"
    )
    groups = [SimpleNamespace(num_rows=n, num_columns=1, column=lambda c: column) for n in rows]
    facts = SimpleNamespace(
        num_rows=5,
        num_columns=1,
        num_row_groups=len(groups),
        metadata=None,
        row_group=groups.__getitem__,
    )
    with pytest.raises(Broken, match="row group"):
        _check_footer("decisions.parquet", facts)


def test_model_folders_that_differ_in_case_only():
    """Their tasks differ, so no row stands there twice; but on many disks, and on the site, the two
    are one folder."""
    seen = Together()
    reports = [
        seen.add(Checked(f"v2/{name}"))
        for name in ("org__m/people", "Org__m/places", "ORG__m/north")
    ]
    assert [fields(r.failures) for r in reports] == [[], ["name"], ["name"]]


def test_the_same_examples_have_the_same_groups_in_every_submission(honest):
    """Finer groups make intervals shorter; where the task's data are not here, other submissions on
    the same examples tell."""
    finer = replace(honest.decisions, group=np.arange(len(honest.decisions.id)))
    seen, reports = Together(), []
    for k, d in enumerate((honest.decisions, honest.decisions, finer)):
        facts = {
            "key": str(k),
            "digest": str(k),
            "data": ("people", 1, None, "a"),
            "examples": example_digests(d),
        }
        reports.append(seen.add(Checked(f"v2/m{k}/people", facts=facts)))
    assert [fields(r.suspicious) for r in reports] == [[], [], ["split, group"]]


@pytest.mark.parametrize("statements", [False, True])
def test_what_the_suite_computes_keeps_the_rules(honest, statements):
    """Every baseline of answers, and of statements, has the words and the relations that
    submissions are held to."""
    found = detectors(
        [answer(i, label=i % 2, exact=None) for i in range(120)] if statements else many(answer())
    )
    rows = [{"name": d.name, "label": d.label, "kind": d.kind} for d in found.values()]
    task = {"kind": "statements" if statements else "qa"}
    own = replace(honest, record={"task": task, "detectors": rows})
    own = replace(
        own,
        decisions=replace(honest.decisions, values={d.name: d.decisions for d in found.values()}),
    )
    assert len(rows) >= 12 and not [*check_names(own), *check_signals(own)]


def test_honest_detectors_keep_the_rules(honest):
    assert not [*check_names(honest), *check_signals(honest)]


LENT = {
    "label": ("detectors[2].label", lambda d: d.update(label="probe, selected cell")),
    "kind": ("detectors[2].kind", lambda d: d.update(kind="probe")),
    "name": ("detectors[2].name", lambda d: d.update(name="my_method")),
}


@pytest.mark.parametrize("what", LENT)
def test_a_detector_under_words_of_another(honest, what):
    """Tables name a detector once for all rows: one submission would rename it in every row."""
    field, edit = LENT[what]
    assert fields(check_names(with_record(honest, lambda r: edit(r["detectors"][2])))) == [field]


WEAK = {
    "a minimum above the mean": ("d:logit_min", lambda v: {"logit_min": v["logit_mean"] + 1}),
    "a mean above the maximum": (
        "d:prob_mean",
        lambda v: {"prob_mean": np.minimum(v["prob_max"] + 0.01, 1)},
    ),
    "an exact answer beyond its answer": (
        "d:logit_max_exact",
        lambda v: {"logit_max_exact": v["logit_max"] + 1},
    ),
    "a probability of two": ("d:prob_max", lambda v: {"prob_max": v["prob_max"] + 1}),
    "a positive log-probability": (
        "d:logprob_mean",
        lambda v: {"logprob_mean": -v["logprob_mean"]},
    ),
    "a log-probability of another answer": (
        "d:prob_min",
        lambda v: {"logprob_min": np.roll(v["logprob_min"], 1)},
    ),
    "a perplexity below one": (
        "d:perplexity",
        lambda v: {"perplexity": np.full(len(v["text"]), -0.5)},
    ),
    "a perplexity of other tokens": (
        "d:perplexity",
        lambda v: {"perplexity": -np.exp(-v["logprob_mean"]) - 1},
    ),
    "a sum of other tokens": ("d:logprob_sum", lambda v: {"logprob_sum": v["logprob_mean"] * 40}),
    "an entropy below zero": (
        "d:entropy_exact_first",
        lambda v: {"entropy_exact_first": np.ones(len(v["text"]))},
    ),
    "p(True) as a logit": ("d:p_true", lambda v: {"p_true": v["p_true"] * 9}),
    "a text without a decision": (
        "d:text",
        lambda v: {"text": np.where(v["probe"] > 2, np.nan, v["text"])},
    ),
    "tokens that only one has": (
        "d:logit_mean",
        lambda v: {"logit_mean": np.where(v["probe"] > 2, np.nan, v["logit_mean"])},
    ),
}


@pytest.mark.parametrize("what", WEAK)
def test_baselines_that_no_model_can_have_given(honest, what):
    field, edit = WEAK[what]
    assert field in fields(check_signals(with_values(honest, **edit(honest.decisions.values))))


def test_what_must_follow_from_the_same_tokens_may_miss_by_rounding(honest):
    v = honest.decisions.values
    length = honest.decisions.values["length"]
    single = {
        "perplexity": np.float32(-np.exp(-v["logprob_mean"])).astype(float),
        "logprob_sum": np.float32(-v["logprob_mean"] * length).astype(float),
    }
    assert "d:perplexity" not in fields(check_signals(with_values(honest, **single)))


def test_fewer_shuffles_than_the_protocol_makes(honest):
    def fewer(record):
        record["controls"]["shuffled_labels"]["repeats"] = 2
        record["controls"]["permutation"]["shuffles"] = 10

    assert fields(check_protocol(with_record(honest, fewer))) == [
        "controls.shuffled_labels.repeats",
        "controls.permutation.shuffles",
    ]


def test_groups_add_up_over_the_splits(honest):
    edited = with_record(honest, lambda r: r["counts"]["all"].update(groups=9))
    assert fields(check_counts(edited)) == ["counts.all.groups"]


def test_the_reliability_plot_is_computed_again(valid, head):
    record = json.loads((valid / "record.json").read_text())
    record["calibration"] = {
        "detector": "probe",
        "slope": 1.0,
        "intercept": 0.0,
        "n": 540,
        "n_validation": 492,
        "bins": [],
    }
    (head / FOLDER / "record.json").write_text(json.dumps(record))
    assert {f.partition("[")[0] for f in fields(check(head / FOLDER).failures)} <= {
        "calibration.slope",
        "calibration.intercept",
        "calibration.bins",
    }
    assert "calibration.slope" in fields(check(head / FOLDER).failures)


def test_a_baseline_that_says_the_same_of_everything_is_worth_a_look(honest):
    flat = with_values(honest, text=np.zeros(len(honest.decisions.id)))
    assert fields(suspicious(flat)) == ["d:text"] and not fields(suspicious(honest))
