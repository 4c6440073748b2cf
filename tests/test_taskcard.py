"""Tasks shown, checked and pinned; sources that are pinned files."""

import hashlib
import json
from http.client import IncompleteRead

import pytest
import yaml
from click.testing import CliRunner

from probebench.cli.main import main
from probebench.errors import BadFileError, UnavailableError
from probebench.job.preview.task_card import describe, pin, validate
from probebench.tasks.schema import load_task
from probebench.tasks.sources import load_dataset

NAMES = "Abel Boris Clara Dora Emil Fritz Greta Hans Irma Jon".split()
ROWS = [{"question": f"Who wrote book {i}?", "answers": [f"Author {NAMES[i]}"]} for i in range(10)]


@pytest.fixture
def mine(tmp_path):
    """Writes a task of one's own over a pinned local file; changes go on top."""

    def write(changes=lambda content: None, rows=ROWS):
        data = tmp_path / "rows.jsonl"
        data.write_text("".join(json.dumps(r) + "\n" for r in rows))
        content = {
            "name": "mine",
            "version": 1,
            "kind": "qa",
            "description": (
                "Questions about books that do not exist, made for a test of the task files."
            ),
            "changelog": {1: "First version."},
            "source": {
                "files": [
                    {"url": data.as_uri(), "sha256": hashlib.sha256(data.read_bytes()).hexdigest()}
                ]
            },
            "judge_examples": {
                "accept": [["Author Abel", "It was Author Abel."]],
                "reject": [["Author Abel", "It was Author Boris."]],
            },
            "exact_answer": {"rule": "whole"},
            "licence": "none needed",
            "citation": "@misc{mine}",
        }
        changes(content)
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBEBENCH_CACHE", str(tmp_path / "cache"))


def failed(path, **options):
    return {c.name: c.detail for c in validate(load_task(str(path)), **options) if not c.ok}


def test_a_task_of_ones_own_is_valid_and_shown(mine):
    path = mine()
    assert failed(path) == {}
    shown = describe(load_task(str(path)))
    assert "10 in 10 groups" in shown
    assert "Who wrote book 2?" in shown
    assert "accepted: Author Abel" in shown
    assert shown.endswith("@misc{mine}")


def test_rendered_examples_have_the_model_s_special_tokens():
    from probebench.models.loading import ModelSpec

    shown = describe(load_task("people"), model=ModelSpec("tiny"))
    assert shown.count("<|bos|><|user|>") == 3
    assert shown.count("<|assistant|>") == 3


@pytest.mark.parametrize(
    ("changes", "check", "message"),
    [
        (lambda c: c.update(licence=" "), "licence", "empty"),
        (lambda c: c.update(citation="see the paper"), "citation", "must be BibTeX"),
        (
            lambda c: c["judge_examples"].update(accept=[["Author Abel", "Bob"]]),
            "judge examples",
            "rejects 'Bob' for 'Author Abel'",
        ),
        (
            lambda c: c["judge_examples"].update(reject=[["Author Abel", "author abel"]]),
            "judge examples",
            "accepts 'author abel'",
        ),
        (
            lambda c: c.update(prompt={"chat": "{title}: {question}"}),
            "templates",
            "{title}, which no column provides",
        ),
        (lambda c: c["source"]["files"][0].update(sha256="0" * 64), "source", "is pinned to 000"),
        (
            lambda c: c["source"]["files"][0].update(url="file:///nowhere/x.jsonl"),
            "source",
            "cannot be reached",
        ),
        (lambda c: c.update(exact_answer={"rule": "number"}), "exact answer", "none in"),
        (
            lambda c: c.update(exact_answer={"rule": "pattern", "patterns": ["("]}),
            "exact-answer rule",
            "regular expression",
        ),
        (lambda c: c.update(citation="@misc{mine, title = {A}"), "citation", "must be BibTeX"),
        (lambda c: c.update(citation="@misc}mine{"), "citation", "must be BibTeX"),
        (lambda c: c.update(split="official"), "split", "of 0 of 10 examples: all are split by a"),
        (
            lambda c: c.update(prompt={"chat": "Who wrote it?", "base": "{question}"}),
            "templates",
            "have the same prompt, 'Who wrote it?'",
        ),
        (lambda c: c.update(fields={"question": "q"}), "source", "no question in field 'q'"),
        (
            lambda c: c.update(
                fields={"group": {"columns": "question", "pattern": "film (?P<group>.+)"}}
            ),
            "source",
            "does not match",
        ),
    ],
)
def test_what_is_wrong_is_said(mine, changes, check, message):
    def own_form(content):
        changes(content)

    rows = (
        ROWS
        if check != "templates"
        else [{"question": r["question"], "answer": r["answers"][0]} for r in ROWS]
    )

    def with_columns(content):
        own_form(content)
        if check == "templates":
            content["fields"] = {"answers": "answer"}

    found = failed(mine(with_columns, rows))
    assert message in found[check]


def test_command_exits_with_2_when_a_check_fails(mine):
    good = CliRunner().invoke(main, ["tasks", "validate", str(mine())])
    assert (good.exit_code, "FAILED" in good.output) == (0, False)
    bad = CliRunner().invoke(
        main, ["tasks", "validate", str(mine(lambda c: c.update(citation="x")))]
    )
    assert (bad.exit_code, "FAILED citation" in bad.output) == (2, True)


def test_pinned_file_is_fetched_once_and_kept(mine, tmp_path):
    task = load_task(str(mine()))
    first = load_dataset(task)
    (tmp_path / "rows.jsonl").unlink()
    assert load_dataset(task, offline=True).sha256 == first.sha256
    assert first.origin == "files:rows.jsonl"


def test_a_column_of_groups_that_is_not_there_is_told(mine):
    rows = [{**row, "person": "Ann"} for row in ROWS]
    path = mine(lambda c: c.update(fields={"group": {"columns": ["persn"]}}), rows)
    assert f"{len(ROWS)} lack a column that the task groups by ('persn')" in failed(path)["groups"]


def test_a_download_that_is_cut_short_is_one_line(mine, monkeypatch):
    def cut(url, timeout):
        raise IncompleteRead(b"abc", 997)

    task = load_task(str(mine()))
    monkeypatch.setattr("urllib.request.urlopen", cut)
    with pytest.raises(UnavailableError, match="IncompleteRead.*3 bytes read"):
        load_dataset(task)


def test_offline_without_a_copy_says_what_to_do(mine):
    with pytest.raises(UnavailableError, match="offline forbids to fetch it.*data=FILE"):
        load_dataset(load_task(str(mine())), offline=True)


def test_variants_change_only_what_they_name(mine):
    def with_variant(content):
        content["variants"] = {"mine_short": {"generation": {"max_new_tokens": 5}}}

    path = mine(with_variant)
    base, short = load_task(str(path)), load_task(f"{path}:mine_short")
    assert (base.generation.max_new_tokens, short.generation.max_new_tokens) == (100, 5)
    assert base.hash != short.hash
    assert base.source == short.source


def test_pin_writes_the_commit_that_was_resolved(mine, monkeypatch):
    import datasets

    newest = "c" * 40

    def hub(path, name, *, split, revision):
        table = datasets.Dataset.from_list(ROWS)
        given = revision or newest
        table.info.download_checksums = {f"hf://datasets/{path}@{given}/data.parquet": {}}
        return table

    monkeypatch.setattr(datasets, "load_dataset", hub)

    def sources(content):
        content["source"] = {"hub": "a/b", "split": "test"}
        other = {"hub": "a/other", "split": "test", "revision": "f" * 40}
        content["variants"] = {"mine_other": {"source": other}}

    path = mine(sources)
    assert pin(load_task(str(path))) == newest
    assert load_task(str(path)).source.revision == newest
    newest = "d" * 40
    assert pin(load_task(str(path))) == newest, "and not the one that is written there"
    assert load_task(str(path)).source.revision == newest
    assert load_task(f"{path}:mine_other").source.revision == "f" * 40
    assert path.read_text().count("revision") == 2
    with pytest.raises(BadFileError, match="nothing to pin"):
        pin(load_task("people"))


def test_contradictory_statements_are_left_out(mine):
    rows = [{"statement": f"It is {i}.", "label": i % 2} for i in range(10)] + [
        {"statement": "It is 3.", "label": 0}
    ]
    path = mine(lambda c: (c.update(kind="statements"), c.pop("exact_answer")), rows)
    data = load_dataset(load_task(str(path)))
    assert (len(data.examples), data.n_dropped) == (9, 2)


def test_where_keeps_matching_rows(mine):
    rows = [r | {"subset": "abc"[i % 3]} for i, r in enumerate(ROWS)]
    path = mine(lambda c: c["source"].update(where={"subset": "b"}), rows)
    assert len(load_dataset(load_task(str(path))).examples) == 3
