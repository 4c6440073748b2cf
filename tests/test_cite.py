"""Citations and probe cards: complete, unique, and without a single made-up field."""

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from records import PROBE, content, merged

from probebench._version import __version__
from probebench.cli.main import main
from probebench.errors import UsageError
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.report.bibtex import PHRASE, RELEASED, SOURCES, cite, entries, key_of
from probebench.report.probecard.card import present, probe_card
from probebench.report.probecard.files import lacking, write_card
from probebench.report.probecard.markdown import to_markdown
from probebench.tasks.schema import list_tasks

ROOT = Path(__file__).parent.parent
REGISTRY = {
    "": {
        "schema_version",
        "probe_id",
        "name",
        "author",
        "model_target",
        "task",
        "training",
        "performance",
        "baselines",
        "assumptions",
        "known_failure_modes",
        "artifact_links",
        "license",
        "created_at",
        "supersedes",
    },
    "model_target": {"model_id", "architecture", "layer", "position", "d_in"},
    "task": {"target_concept", "task_type", "label_source"},
    "training": {"n_train", "n_test", "class_balance", "splits", "regularization"},
    "performance": {"auroc", "auroc_ci_95", "f1", "n_eval", "eval_distribution"},
    "baselines": {"random_feature", "capacity_sweep", "shuffled_source", "env_coupling"},
}
"""Fields of OpenInterp's Probe Card v0.1, as of its registry in 2026."""


METRICS = {
    "brier": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 540, "positive": "correct"},
    "prr": {"value": None, "low": None, "high": None, "n": 540, "positive": "correct"},
}
ROW = PROBE | {
    "n": 540,
    "n_correct": 300,
    "auroc": 0.81,
    "auroc_95": [0.77, 0.85],
    "auroc_95_delong": [0.77, 0.85],
    "metrics": METRICS,
}
OWN = {
    "selection": {
        "rule": "highest validation AUROC",
        "layer": "7",
        "test_auroc": 0.81,
        "test_auroc_95": [0.77, 0.85],
        "n_test": 540,
        "p": 1e-9,
    },
    "detectors": [ROW, ROW | {"name": "p_true", "label": "p(True)", "kind": "baseline"}],
    "model": {"name": "org/Model-7B"},
    "task": {"name": "triviaqa"},
    "probe": {"name": "lda", "solver": "batched"},
    "counts": {"all": {"n": 900}, "train": {"n": 540, "accuracy": 0.6}, "test": {"n": 540}},
    "positions_present": {"exact_answer_last": {"n": 900, "in_prompt": 0, "readable": "after"}},
    "package": {"version": "0.1.0"},
    "timing": {"started": "2026-01-01T00:00:00+00:00", "total_seconds": 1.0},
    "files": [],
}


def record(**changes):
    return Record.from_plain(content(**merged(OWN, changes)))


@pytest.fixture
def run(tmp_path):
    def make(**changes):
        (tmp_path / "record.json").write_text(json.dumps(content(**merged(OWN, changes))))
        return Run.load(tmp_path)

    return make


def keys(text):
    return re.findall(r"^@\w+\{([^,\s]+),", text, re.MULTILINE)


def balanced(text):
    depth = 0
    for c in text:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    return depth == 0


def test_the_suite_is_cited_at_its_version_with_its_full_phrase():
    text = cite()
    assert keys(text) == ["probebench"] and balanced(text)
    assert PHRASE in text and f"version = {{{__version__}}}" in text
    assert CliRunner().invoke(main, ["cite"]).output == text


def test_citation_file_says_the_same():
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PHRASE == "linear-probe benchmark for token-position truthfulness"
    assert (
        PHRASE in said["title"]
        and said["version"] == __version__
        and str(said["date-released"]) == RELEASED
    )
    assert said["cff-version"] == "1.2.0" and said["authors"] and said["message"]


def test_a_run_cites_its_task_and_methods_and_nothing_else():
    found = keys(cite(record()))
    assert found[0] == "probebench" and "joshi-etal-2017-triviaqa" in found
    assert {
        "ledoit2004well",
        "kadavath2022language",
        "hewitt2019designing",
        "orgad2025llms",
    } <= set(found)
    assert "marks2023geometry" not in found and "fadeeva2023lm" in found
    alone = PROBE | {"auroc_95_delong": [None, None]}
    unshuffled = {"permutation": {"shuffles": 0}}
    bare = keys(cite(record(probe={"name": "logistic"}, controls=unshuffled, detectors=[alone])))
    assert not {
        "ledoit2004well",
        "kadavath2022language",
        "hewitt2019designing",
        "delong1988comparing",
        "fadeeva2023lm",
    } & set(bare)


@pytest.mark.parametrize("task", [t.name for t in list_tasks()])
def test_every_task_is_cited_once(task):
    text = cite(record(task={"name": task}), record(task={"name": task}))
    found = keys(text)
    assert len(found) == len(set(found)) and balanced(text) and f"% Task {task}, version" in text


def test_every_source_is_one_entry():
    assert all(len(entries(s.bibtex)) == 1 and balanced(s.bibtex) and s.why for s in SOURCES)
    assert len({key_of(s.bibtex) for s in SOURCES}) == len(SOURCES)


def test_a_task_from_elsewhere_is_named_not_invented():
    text = cite(record(task={"name": "mine\n@evil{x"}))
    assert "% Task mine @evil{x is not part of the suite" in text and "evil{x" not in keys(text)


def test_card_follows_the_registry_where_it_measures_and_adds_one_block(run):
    card = probe_card(run())
    assert set(card) <= REGISTRY[""] | {"probebench"}
    for part, known in REGISTRY.items():
        assert set(card[part] if part else {}) <= known
    assert card["model_target"] == {
        "model_id": "org/Model-7B",
        "architecture": "LlamaForCausalLM",
        "layer": 7,
        "position": "exact_answer_last",
    }
    assert (card["performance"]["auroc"], card["performance"]["n_eval"]) == (0.81, 540)
    assert card["baselines"] == {"shuffled_source": {"passed": True}}


def test_what_was_not_measured_is_absent(run):
    card = probe_card(run(selection={"p": None, "C": None, "selectivity": None}))
    text = json.dumps(card, allow_nan=False)
    assert (
        "null" not in text
        and "f1" not in text
        and "baselines" not in card
        and "license" not in card
    )
    assert set(card["probebench"]["detectors"][0]["metrics"]) == {"brier"}
    assert "selectivity" not in card["probebench"] and "C" not in card["probebench"]
    assert lacking(card) == [
        "baselines.random_feature",
        "baselines.capacity_sweep",
        "baselines.shuffled_source",
        "license",
    ]


def test_present_keeps_zero_and_false():
    assert present({"a": 0, "b": False, "c": None, "d": {"e": None}, "f": [None, 1], "g": ""}) == {
        "a": 0,
        "b": False,
        "f": [1],
    }


def test_card_as_text(run):
    text = to_markdown(
        probe_card(
            run(model={"name": "a|b<script>", "revision": "r"}, warnings=["Watch | out"]),
            licence="mit",
        )
    )
    assert (
        "**0.810** [0.77, 0.85], n = 540" in text
        and r"a\|b&lt;script&gt;" in text
        and "| brier | 0.200 | [0.100, 0.300] | 540 |" in text
    )
    assert "| licence | mit |" in text and r"- Watch \| out" in text and "None" not in text


def test_an_official_split_and_missing_tokens_are_said(run):
    official = next((t.name for t in list_tasks() if t.split == "official"), None)
    card = probe_card(
        run(
            task={"name": official or "x", "version": 1},
            positions_present={"exact_answer_last": {"n": 880}},
        )
    )
    if official:
        assert card["training"]["splits"].startswith("the publisher's own")
    assert any(words.startswith("20 of 900 answers") for words in card["assumptions"])


def test_export_writes_both_files_or_the_one_asked_for(run, tmp_path):
    folder = run().folder
    done = CliRunner().invoke(main, ["export", "--to", "probe-card", str(folder)])
    assert done.exit_code == 0 and "random_feature" in done.stderr
    assert {p.name for p in folder.glob("probe_card.*")} == {"probe_card.json", "probe_card.md"}
    assert write_card(run(), str(tmp_path / "x.md"))[0] == [tmp_path / "x.md"]
    with pytest.raises(UsageError, match=r"ending in \.json or \.md; got .*x\.html"):
        write_card(run(), str(tmp_path / "x.html"))
    assert (
        CliRunner().invoke(main, ["export", "--to", "probe-card", str(tmp_path / "none")]).exit_code
        == 2
    )


def test_a_card_of_statements_speaks_of_statements(run):
    card = probe_card(run(task={"name": "cities", "kind": "statements", "judge": "given"}))
    text = to_markdown(card)
    assert card["name"] == "lda probe for true statements of org/Model-7B on cities"
    assert card["task"]["target_concept"] == "truth of statements"
    assert set(card["training"]["class_balance"]) == {"true", "false"}
    assert "Test AUROC of *true*" in text and "540 statements" in text
    assert not re.search("judge|correct|[0-9] answers", text.split("## Warnings")[0])


@pytest.mark.parametrize(
    ("split", "said"),
    [("hash", "by hash"), ("official", "publisher's own"), ("file", "the file of answers")],
)
def test_a_card_states_the_split_that_was_used(run, split, said):
    task = {"name": "winobias"}  # whose own is official
    assert said in probe_card(run(task=task, data={"split": split}))["training"]["splits"]
    assert "publisher's own" in probe_card(run(task=task))["training"]["splits"], "an older record"


def test_detectors_on_fewer_examples_are_marked(run):
    few = ROW | {"name": "p_true", "label": "p(True)", "kind": "baseline", "n": 300}
    text = to_markdown(probe_card(run(detectors=[ROW, few])))
    assert "Over the same 540 test examples, but where n is smaller." in text
