"""What is checked before anything is computed, what a folder may be overwritten by, and what can be
left out."""

import json
from dataclasses import replace

import pytest

import probebench
from probebench.detectors.suite import SKIPPED
from probebench.errors import UnknownNameError, UsageError
from probebench.job.options import Options
from probebench.job.place import differing
from probebench.job.prepare import prepare
from probebench.job.rules import skips
from probebench.leaderboard.check.rules.detectors import check_baselines
from probebench.leaderboard.check.rules.every import check_protocol
from probebench.leaderboard.submission.read import read_submission
from probebench.leaderboard.submission.submit import refusals
from probebench.models.specs import ModelSpec

SMALL = {"layers": (0, 2), "positions": ("last_q", "-1"), "shuffles": 2, "device": "cpu"}


@pytest.fixture(scope="module")
def first(tmp_path_factory, model_folder):
    """A finished run, the file it is of, and a function that asks for another one into the same
    folder."""
    folder = tmp_path_factory.mktemp("place")
    words = ["Paris", "river", "poet", "Anna", "letter"]
    rows = [
        {
            "id": f"a{i}",
            "question": f"Where is the {words[i % 5]} {i}?",
            "answer": f" It is {words[i % 3]} here.",
            "label": i % 2,
            "exact_answer": words[i % 3],
            "group": f"g{i // 2}",
        }
        for i in range(200)
    ]
    (folder / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    def again(**options):
        asked = {
            "model": str(model_folder()),
            "answers": folder / "a.jsonl",
            "out": folder / "run",
            **SMALL,
            **options,
        }
        return probebench.evaluate(**asked)

    return again(), rows, again


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 3}, r"seed \(0 there, 3 here\)"),
        (
            {"limit": 150, "layers": (2,)},
            r"limit \(none there, 150 here\); layers \(0,2 there, 2 here\)",
        ),
        ({"probe": "lda", "shuffles": None}, r"probe \(logistic there, lda here\)"),
        ({"skip": ["p-true"]}, r"skip \(none there, p-true here\)"),
        ({"dtype": "bfloat16"}, r"dtype \(auto there, bfloat16 here\)"),
    ],
)
def test_a_finished_run_is_not_replaced_by_one_with_other_settings(first, options, message):
    run, _, again = first
    before = {p: p.read_bytes() for p in run.folder.glob("*") if p.is_file()}
    with pytest.raises(
        UsageError, match=f"holds a finished run that this one would replace.*{message}.*out=DIR"
    ):
        again(**options)
    assert {p: p.read_bytes() for p in run.folder.glob("*") if p.is_file()} == before


def test_the_same_command_still_finds_or_resumes_its_run(first):
    run, _, again = first
    assert again().resumed
    (run.folder / "record.json").unlink()  # as a kill would leave it
    resumed = again()
    assert (resumed.resumed, resumed.record["key"]) == (False, run.record["key"])


def test_other_versions_are_the_same_run(first, monkeypatch):
    """Nothing else was asked for: it is computed again in its place."""
    from probebench.record.versions import versions

    run, _, again = first
    newer = {**versions(), "probebench": "99.0"}
    for name in ("job.planning", "stages.fits", "stages.exact"):
        monkeypatch.setattr(f"probebench.{name}.versions", lambda: newer)
    with monkeypatch.context() as broken:
        broken.setattr("probebench.job.write.build_record", lambda *parts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            again()
    # what was there is lost to no mistake
    assert probebench.Run.load(run.folder).record["key"] == run.record["key"]
    upgraded = again()
    assert (upgraded.resumed, upgraded.folder) == (False, run.folder)
    assert upgraded.record["key"] != run.record["key"]


def test_what_only_adds_to_a_run_may_take_its_place_and_not_the_reverse(first):
    run, _, again = first
    assert again(train_sizes=(40, 60)).record["learning_curve"]
    with pytest.raises(UsageError, match=r"train_sizes \(40,60 there, none here\)"):
        again()
    (run.folder / "record.json").unlink()
    assert again().record["learning_curve"] is None


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        ({}, {"temperature": 0.7}, ["--temperature (1.0 there, 0.7 here)"]),
        ({"temperature": 0.7}, {}, ["--temperature (0.7 there, 1.0 here)"]),
        ({"top_p": 0.5}, {"top_p": 0.9}, ["--top-p (0.5 there, 0.9 here)"]),
        ({}, {"temperature": 1.0, "samples": 12}, []),
        ({"samples": 0}, {"temperature": 0.7}, []),
    ],
)
def test_other_samples_take_the_place_of_none(there, here, said):
    """How they are drawn adds something only where there were none."""
    asked = {"model": "tiny", "task": "people", "samples": 10}
    settings = Options.asked({**asked, **there}).recorded()
    found = list(differing(settings, Options.asked({**asked, **here})))
    assert found == said


def test_a_record_of_another_version_is_replaced_by_the_same_model_and_task_alone(
    first, tmp_path, answers_file
):
    run, _, again = first
    record = json.loads((run.folder / "record.json").read_text())
    (run.folder / "record.json").write_text(json.dumps({**record, "schema_version": 1}))
    other = answers_file(name="others.jsonl")
    with pytest.raises(UsageError, match=r"the task \(a there, others here\).*out=DIR"):
        again(answers=other)
    assert not again().resumed


def test_more_splits_only_add_to_those_that_are_there(first):
    run, _, again = first
    found = again(repeat_splits=2)
    assert found.folder == run.folder
    assert set(found.record.timing.stages) == {"Fitting other splits", "Scoring"}
    more = again(repeat_splits=3)
    assert more.record.timing.stages["Fitting other splits"].done == 1
    assert more.record.resplits.splits[:2] == found.record.resplits.splits
    with pytest.raises(UsageError, match=r"repeat_splits \(3 there, 2 here\)"):
        again(repeat_splits=2)
    (run.folder / "record.json").unlink()
    assert again().record["resplits"] is None


def test_a_file_with_other_content_is_another_run(first):
    run, rows, again = first
    path = run.folder.parent / "b.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert again(answers=path).resumed  # the same content under another name
    path.write_text("".join(json.dumps(r | {"label": 1 - r["label"]}) + "\n" for r in rows))
    with pytest.raises(UsageError, match=r"the content of \S*b\.jsonl"):
        again(answers=path)


# -- what can be left out --------------------------------------------------------------------------


def test_everything_that_is_skipped_is_absent_with_its_reason_and_keeps_the_run_off_the_leaderboard(
    first, tmp_path
):
    run, _, again = first
    less = again(skip=list(skips()), shuffles=None, out=tmp_path / "run")
    names, absent = (
        {d["name"] for d in less.record["detectors"]},
        less.record["comparison"]["absent"],
    )
    for name, rows in skips().items():
        assert not names & set(rows)
        assert all(absent[row] == f"{SKIPPED} {name}" for row in rows)
    assert less.record["controls"]["permutation"]["shuffles"] == 0
    assert not list((less.folder / "stages").glob("p-true-*"))
    assert less.record["settings"]["overrides"]["skip"] == list(skips())
    assert any("--skip text,text-embedding," in reason for reason in refusals(less))
    kept = {d["name"] for d in run.record["detectors"]} - {
        row for rows in skips().values() for row in rows
    }
    assert kept == names
    assert less.matrix().equals(run.matrix())  # the map does not depend on it


def test_a_submission_of_such_a_run_is_refused_even_when_it_hides_the_setting(tmp_path):
    from made import make_submission

    found = read_submission(make_submission(tmp_path))
    honest = found.record | {
        "settings": found.record["settings"] | {"overrides": {"skip": ["p-true"]}}
    }
    assert "settings.overrides.skip" in {
        f.field for f in check_protocol(replace(found, record=honest))
    }
    absent = {"p_true_exact": f"{SKIPPED} p-true"}
    hidden = found.record | {"comparison": found.record["comparison"] | {"absent": absent}}
    assert "comparison.absent.p_true_exact" in {
        f.field for f in check_baselines(replace(found, record=hidden))
    }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"skip": ("p_true",)}, UnknownNameError, "Did you mean 'p-true'"),
        (
            {"skip": ("shuffles",), "shuffles": 5},
            UsageError,
            "--skip shuffles and --shuffles 5 exclude each other",
        ),
        (
            {"skip": ("text-embedding",), "encoder": "e"},
            UsageError,
            "--skip text-embedding and --encoder e exclude each other",
        ),
    ],
)
def test_skips_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        Options(ModelSpec("tiny"), "people", **options).check()


def test_a_judge_model_that_is_not_there_is_said_before_anything_is_computed(
    first, tmp_path, monkeypatch
):
    _, _, again = first
    monkeypatch.setattr(
        "probebench.stages.engine.load_model", lambda *a, **k: pytest.fail("the model was loaded")
    )
    with pytest.raises(UsageError, match=r"no model folder './nowhere'"):
        again(judge_model="./nowhere", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_same_command_on_another_machine_replaces_nothing(first, monkeypatch):
    """What `auto` stands for there is no setting that was typed."""
    from probebench.models import loading

    run, _, again = first
    before = (run.folder / "record.json").read_bytes()
    monkeypatch.setattr(loading, "_dtype", lambda *parts, **words: "bfloat16")
    with pytest.raises(UsageError, match=r"the model's dtype \(float32 there, bfloat16 here\)"):
        again()
    assert (run.folder / "record.json").read_bytes() == before


def test_of_answers_made_elsewhere_a_limit_takes_some_of_all_whatever_their_order(
    first, tmp_path, model_folder
):
    from probebench.models.loading import find_model
    from probebench.tasks.given import read_answers

    _, rows, _ = first
    handle = find_model(ModelSpec(str(model_folder())), offline=True)

    def taken(rows, limit):
        path = tmp_path / "sorted.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        found = read_answers(path, handle.tokenizer, handle.stop_ids, limit=limit)
        return [g.example.id for g in found]

    by_label = sorted(rows, key=lambda r: r["label"])
    some = taken(by_label, 50)
    assert len(some) == 50 and {int(name[1:]) % 2 for name in some} == {0, 1}
    assert set(taken(rows, 50)) == set(some)
    assert taken(by_label, 500) == [r["id"] for r in by_label]


def test_a_column_that_is_read_makes_another_run(first, tmp_path, model_folder):
    _, rows, _ = first

    def key(**more):
        path = tmp_path / "a.jsonl"
        path.write_text("".join(json.dumps({**r, **more}) + "\n" for r in rows))
        asked = {"answers": str(path), "out": str(tmp_path / "run")}
        return prepare(Options(ModelSpec(str(model_folder())), **asked)).plan.key

    plain = key()
    assert key(comment="x") == plain, "nothing reads it"
    assert len({plain, key(topic="x"), key(topic="y"), key(polarity=1)}) == 4


def test_a_finished_run_is_not_replaced_where_a_column_that_is_read_has_changed(
    tmp_path, model_folder
):
    rows = [
        {
            "id": f"a{i}",
            "question": f"Where is {i}?",
            "answer": " Here.",
            "label": i % 2,
            "topic": "x",
        }
        for i in range(200)
    ]
    path = tmp_path / "a.jsonl"

    def asked(rows):
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        words = {**SMALL, "answers": path, "out": tmp_path / "run"}
        return probebench.evaluate(str(model_folder()), **words)

    record = asked(rows).record
    assert (record.data.split, record.data.columns is None) == ("hash", False)
    with pytest.raises(UsageError, match=r"differs in the content of .*a\.jsonl"):
        asked([{**r, "topic": "y"} for r in rows])
    assert asked(rows).resumed
