import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from probebench.errors import BadFileError, UnavailableError, UsageError
from probebench.models.asking import given_questions, task_questions
from probebench.tasks.local.notes import split_note
from probebench.tasks.local.rows import read_rows
from probebench.tasks.schema import load_task
from probebench.tasks.sources import load_dataset

TASK = load_task("triviaqa")
ROWS = [
    {
        "question_id": "tc_1",
        "question": "Who was Anna?",
        "answer": {"value": "Anna Smith", "aliases": ["Anna Smith", "A. Smith"]},
    },
    {
        "question_id": "tc_2",
        "question": "Where is Paris?",
        "answer": {"value": "France", "aliases": ["France"]},
    },
]


def write(path, rows):
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(r) for r in rows) + "\n\n")
    else:
        frame = pd.DataFrame(
            [{k: json.dumps(v) if isinstance(v, list) else v for k, v in r.items()} for r in rows]
        )
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return str(path)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_publisher_columns_with_all_aliases(tmp_path, ending):
    data = load_dataset(TASK, write(tmp_path / f"t{ending}", ROWS))
    assert [e.id for e in data.examples] == ["tc_1", "tc_2"]
    assert data.examples[0].references == ("Anna Smith", "A. Smith")
    assert data.examples[0].group == "who was anna?"


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet", ".csv", ".tsv"])
def test_plain_form(tmp_path, ending):
    rows = [
        {"question": "Who?", "answers": ["Anna", "Anna S."]},
        {"question": "Where?", "answers": ["Paris"]},
    ]
    data = load_dataset(TASK, write(tmp_path / f"t{ending}", rows))
    assert [e.references for e in data.examples] == [("Anna", "Anna S."), ("Paris",)]


def test_same_content_same_hash_in_any_format(tmp_path):
    hashes = {
        load_dataset(TASK, write(tmp_path / f"t{e}", ROWS)).sha256
        for e in (".jsonl", ".json", ".parquet")
    }
    assert len(hashes) == 1


def test_repeats_are_dropped_and_counted(tmp_path):
    data = load_dataset(TASK, write(tmp_path / "t.jsonl", [*ROWS, ROWS[0]]))
    assert (len(data.examples), data.n_dropped) == (2, 1)


def test_limit(tmp_path):
    assert len(load_dataset(TASK, write(tmp_path / "t.jsonl", ROWS), limit=1).examples) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", "", "t.jsonl is empty"),
        ("t.txt", "x", r"must be one of \.jsonl.*got '\.txt'"),
        (
            "t.jsonl",
            '{"question": "a", "answers": ["b"]}\n{oops\n',
            "t.jsonl, line 2: not valid JSON",
        ),
        (
            "t.jsonl",
            '{"question": "a", "answers": ["b"]}\n\n{"question": "c"}\n',
            r"t.jsonl, line 3: no answer in field 'answer.value'",
        ),
        (
            "t.jsonl",
            '{"q": "a", "answers": ["b"]}\n',
            "line 1: no question in field 'question'; fields here: q, answers",
        ),
        ("t.jsonl", "[1]\n", "line 1: a row must be an object"),
        ("t.json", '{"a": 1}', "must hold a list of rows; got dict"),
        ("t.parquet", "not parquet", "not readable as parquet"),
        ("t.csv", "question,answers\n", "holds no examples"),
        (
            "t.jsonl",
            '{"id": 1, "question": "a", "answers": ["b"]}\n{"id": 1, "question": "c", "answers": '
            '["d"]}\n',
            "id '1' stands for two",
        ),
    ],
)
def test_bad_files_say_where(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    task = load_task("people") if '"id"' in content else TASK
    with pytest.raises(BadFileError, match=message):
        load_dataset(task, str(tmp_path / name))


def test_missing_file():
    with pytest.raises(BadFileError, match="no file 'nowhere.jsonl'"):
        list(read_rows(__import__("pathlib").Path("nowhere.jsonl")))


def test_unreachable_hub_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    with pytest.raises(UnavailableError, match=r"'mandarjoshi/trivia_qa'.*data=FILE") as caught:
        load_dataset(TASK, offline=True)
    assert "\n" not in str(caught.value)


def test_hub_rows_come_through_datasets(monkeypatch):
    import datasets

    asked = {}

    def fake(path, name, *, split, revision):
        asked.update(path=path, name=name, split=split, revision=revision)
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", fake)
    data = load_dataset(TASK)
    assert asked == {
        "path": "mandarjoshi/trivia_qa",
        "name": "rc.nocontext",
        "split": "validation",
        "revision": None,
    }
    assert data.examples[1].references == ("France",)


@pytest.mark.parametrize(
    "text",
    ['["Paris", "City of Light"]', "['Paris', 'City of Light']", "['Paris' 'City of Light']"],
)
def test_lists_in_csv_files_as_json_python_or_numpy_write_them(tmp_path, text):
    (tmp_path / "t.csv").write_text(
        "question,answers\n" + f'Where?,"{text.replace(chr(34), chr(34) * 2)}"\n'
    )
    assert load_dataset(TASK, str(tmp_path / "t.csv")).examples[0].references == (
        "Paris",
        "City of Light",
    )


def test_limit_takes_the_same_examples_in_any_order(tmp_path):
    rows = [{"question": f"Who is {i}?", "answers": ["x"], "id": i} for i in range(50)]
    few = {
        e.question for e in load_dataset(TASK, write(tmp_path / "a.jsonl", rows), limit=10).examples
    }
    assert few == {
        e.question
        for e in load_dataset(TASK, write(tmp_path / "b.jsonl", rows[::-1]), limit=10).examples
    }
    assert few != {r["question"] for r in rows[:10]}


def test_a_run_counts_examples_whose_group_column_is_missing(tmp_path, loaded):
    """Four questions on one person are four groups where nothing says that it is one person."""
    rows = [
        {"question": f"{what} of Anna?", "answers": "x"}
        for what in ("Birthplace", "Job", "Birth year", "Employer")
    ]
    rows.append({"question": "Birthplace of Ben?", "answers": "x", "group": "ben"})
    path = write(tmp_path / "t.jsonl", rows)
    asked = task_questions(load_task("people"), loaded().handle, path)
    assert (asked.facts["n_ungrouped"], len({e.group for e in asked.examples})) == (4, 5)
    given = [
        {"question": r["question"], "answer": " x", "label": 1}
        | ({"group": "anna"} if i < 2 else {})
        for i, r in enumerate(rows)
    ]
    path = write(tmp_path / "a.jsonl", given)
    asked = given_questions(Path(path), load_task("people"), loaded().handle)
    assert asked.facts["n_ungrouped"] == 3


@pytest.mark.parametrize("data", [[], "", ["  "]])
def test_no_file_at_all_is_said(data):
    with pytest.raises(UsageError, match="must name a file or a folder"):
        load_dataset(TASK, data)


def test_a_file_without_the_official_split_is_said_to_be_split_by_a_hash(loaded, tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (note,) = [
        note
        for note in task_questions(load_task("math"), loaded().handle, str(path)).notes
        if "split" in note
    ]
    assert note.startswith("math keeps its publisher's split, which no example here names")
    named = [{**row, "split": ("train", "test")[i % 2]} for i, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in named))
    own = task_questions(load_task("math"), loaded().handle, str(path)).notes
    assert any("The column 'split' is not used" in note for note in own)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mine = replace(load_task("math"), split="hash")
    notes = task_questions(mine, loaded().handle, str(path)).notes
    assert not [note for note in notes if "split" in note]
    there = [replace(e, split="test") for e in load_dataset(mine, str(path)).examples]
    assert list(split_note(load_task("math"), there)) == []
