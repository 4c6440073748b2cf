"""Local files as people write them: read as they are meant, or refused with the line."""

import codecs
import gzip
import json
import math

import pandas as pd
import pytest

from probebench.errors import BadFileError, UnavailableError
from probebench.tasks.examples import loses_group
from probebench.tasks.local.rows import read_rows, strings, text_of
from probebench.tasks.schema import load_task
from probebench.tasks.sources import load_dataset

TASK = load_task("triviaqa")
PLAIN = [
    {"question": "Which river runs through Köln?", "answers": ["Rhine"]},
    {"question": "When?", "answers": ["1848", "in 1848"]},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in PLAIN)


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(e.question, e.references) for e in load_dataset(TASK, str(path)).examples]


WANTED = [(row["question"], tuple(row["answers"])) for row in PLAIN]


@pytest.mark.parametrize(
    "encoded",
    [
        codecs.BOM_UTF8 + LINES.encode(),
        LINES.encode("utf-16"),
        LINES.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + LINES.encode("utf-16-be"),
        gzip.compress(LINES.encode(), mtime=0),
    ],
    ids=["bom", "utf-16", "utf-16 without a mark", "utf-16 big-endian", "gzip under another name"],
)
def test_any_unicode_encoding_and_gzip(tmp_path, encoded):
    assert read(tmp_path / "t.jsonl", encoded) == WANTED


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".tsv", ".CSV", ".ndjson"])
def test_gzip_by_its_ending(tmp_path, ending):
    text = {".json": json.dumps(PLAIN)}.get(ending, LINES)
    if ending.lower() in (".csv", ".tsv"):
        frame = pd.DataFrame(
            [{"question": r["question"], "answers": json.dumps(r["answers"])} for r in PLAIN]
        )
        text = frame.to_csv(index=False, sep="\t" if ending == ".tsv" else ",")
    assert read(tmp_path / f"t{ending}.gz", gzip.compress(text.encode("utf-8-sig"))) == WANTED
    assert read(tmp_path / f"u{ending}", text) == WANTED


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv",
            "question,answers\nWho?,Anna\nWhere?,Bergen, Norway\n",
            r"t.csv, line 3: 3 values, 2 columns \(question, answers\).*','",
        ),
        (
            "t.csv",
            'question,answers\n"Who\nis it?",Anna\nWhere?\n',
            "t.csv, line 4: 1 value, 2 columns",
        ),
        ("t.tsv", "question\tanswers\nWho?\tAnna\tBerg\n", "t.tsv, line 2: 3 values, 2 columns"),
        (
            "t.csv",
            "question,answers,answers\nWho?,Anna,Ann\n",
            "the column 'answers' stands twice in the header",
        ),
        (
            "t.jsonl",
            '{"question": "a", "answers": "b", "answers": "c"}\n',
            "line 1: the name 'answers' stands twice in one object",
        ),
        (
            "t.csv",
            'question,answers\nWho?,Anna\nWho said "no"?,"Anna\n',
            "t.csv, line 3: unexpected end of data.*double",
        ),
        (
            "t.csv",
            'question,answers\n"Heroes" is by whom?,Bowie\n',
            "t.csv, line 2: .*its own quotes are doubled",
        ),
        (
            "t.csv",
            "question,answers\nWho?,Ren\u00e9\n".encode("latin-1"),
            "t.csv, line 2: the byte 0xe9 is not UTF-8. Save the file as UTF-8",
        ),
        (
            "t.jsonl.gz",
            gzip.compress(LINES.encode(), mtime=0)[:-9],
            "not readable as gzip, cut off or damaged",
        ),
        ("t.jsonl", codecs.BOM_UTF8 + b"\n \n", "t.jsonl is empty"),
        ("t.csv", "question,answers\n", "t.csv holds no examples"),
        (
            "t.csv",
            "question,answers\nWhich?,nan\n",
            r"line 2: 'answers' is the text 'nan'.*Leave it empty.*\[\"nan\"\]",
        ),
        ("t.jsonl", '{"question": "Which?", "answers": NaN}\n', "line 1: no answer in field"),
        ("t.jsonl", '{"question": NaN, "answers": "x"}\n', "line 1: no question in field"),
        ("t.jsonl", '{"question": "Which?", "answers": Infinity}\n', "line 1: no answer in field"),
        (
            "t.jsonl",
            '{"question": "Which?", "answers": ' + "9" * 5000 + "}\n",
            "line 1: not readable as json: .*4300 digits",
        ),
        (
            "t.jsonl",
            '{"question": "Which?", "answers": {"de": "x"}}\n',
            "line 1: 'answers' must be text.*got a record of de",
        ),
        ("t.json", '{"a": {"b": 1}}', "must hold a list of rows; got dict"),
        ("t.xlsx", "x", r"the ending must be one of \.jsonl.*got '\.xlsx'"),
    ],
)
def test_what_has_two_readings_is_refused_with_its_line(tmp_path, name, content, message):
    with pytest.raises(BadFileError, match=message) as caught:
        read(tmp_path / name, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'question,answers,,\n"Who, if not she?",Anna,,\n\n,,,\n'),
        ("t.csv", 'question;answers\n"Who, if not she?";Anna\n'),
        ("t.csv", ' question , answers \n"Who, if not she?",Anna\n'),
        (
            "t.json",
            '{"question": "Who, if not she?", "answers": "Anna"}\n{"question": "Who, if not '
            'she?", "answers": "Anna"}\n',
        ),
        ("t.json", '{"version": 1, "rows": [{"question": "Who, if not she?", "answers": "Anna"}]}'),
        ("t.json", '{"question": ["Who, if not she?"], "answers": ["Anna"]}'),
        ("t.jsonl", '{"question": "Who, if not she?", "answers": "Anna", "note": "a\u2028b"}\r\n'),
    ],
    ids=[
        "trailing commas",
        "semicolons",
        "spaces in the header",
        "lines in .json",
        "rows in an object",
        "columns",
        "line separator",
    ],
)
def test_what_has_one_reading_is_read(tmp_path, name, content):
    assert read(tmp_path / name, content) == [("Who, if not she?", ("Anna",))]


def test_missing_numbers_make_no_floats_of_the_others(tmp_path):
    """pandas makes floats of a column of whole numbers once one is missing."""
    frame = pd.DataFrame(
        {"question": ["When?", "How many?"], "answers": [1905, 3], "count": [12, None]}
    )
    frame["answers"] = frame["answers"].astype(float)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.jsonl").write_text(
        "\n".join(json.dumps(row) for row in frame.to_dict("records"))
    )
    for name in ("t.parquet", "t.csv", "t.jsonl"):
        assert [e.references for e in load_dataset(TASK, str(tmp_path / name)).examples] == [
            ("1905",),
            ("3",),
        ], name
        assert [row.fields["count"] for row in read_rows(tmp_path / name)][1] in (None, ""), name


def test_real_numbers_stay_as_they_are_written(tmp_path):
    assert read(tmp_path / "t.csv", "question,answers\nWhat is pi?,3.14\nWhich version?,2.0\n")[
        1
    ] == ("Which version?", ("2.0",))
    assert [text_of(x) for x in (1896.0, 2.5, -0.0, math.inf, True, " x ")] == [
        "1896",
        "2.5",
        "0",
        "inf",
        "True",
        "x",
    ]


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": "Anna lives in Bergen.",
                    "qas": [
                        {
                            "id": "q1",
                            "question": "Who?",
                            "answers": [
                                {"text": "Anna", "answer_start": 0},
                                {"text": "she", "answer_start": 3},
                            ],
                        },
                        {
                            "id": "q2",
                            "question": "Where?",
                            "answers": [{"text": "Bergen", "answer_start": 14}],
                        },
                    ],
                }
            ],
        }
    ],
}
FLAT = [
    {"id": "q1", "question": "Who?", "answers": {"text": ["Anna", "she"], "answer_start": [0, 3]}},
    {"id": "q2", "question": "Where?", "answers": {"text": ["Bergen"], "answer_start": [14]}},
]


def test_squad_nested_flat_and_as_text(tmp_path):
    wanted = [("Who?", ("Anna", "she")), ("Where?", ("Bergen",))]
    assert read(tmp_path / "nested.json", json.dumps(SQUAD)) == wanted
    assert read(tmp_path / "articles.jsonl", json.dumps(SQUAD["data"][0])) == wanted
    assert read(tmp_path / "flat.json", json.dumps(FLAT)) == wanted
    pd.DataFrame(FLAT).to_parquet(tmp_path / "t.parquet")
    pd.DataFrame(FLAT).to_csv(tmp_path / "t.csv", index=False)
    # whose cells are arrays of numpy, and print as such
    read_back = pd.read_parquet(tmp_path / "t.parquet")
    read_back.to_csv(tmp_path / "numpy.csv", index=False)
    for name in ("t.parquet", "t.csv", "numpy.csv"):
        assert [
            (e.question, e.references) for e in load_dataset(TASK, str(tmp_path / name)).examples
        ] == wanted, name
    first = next(iter(read_rows(tmp_path / "nested.json")))
    assert (first.where, first.fields["context"]) == (
        "nested.json, row 1, paragraph 1, question 1",
        "Anna lives in Bergen.",
    )


def test_unanswerable_questions_are_refused_by_place(tmp_path):
    content = json.loads(json.dumps(SQUAD))
    content["data"][0]["paragraphs"][0]["qas"].append(
        {"id": "q3", "question": "Why?", "answers": [], "is_impossible": True}
    )
    with pytest.raises(BadFileError, match="row 1, paragraph 1, question 3: no answer"):
        read(tmp_path / "t.json", json.dumps(content))


def test_a_column_that_stands_twice_in_parquet_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [pa.array(["Who?"]), pa.array(["Anna"]), pa.array(["Ben"])]
    pq.write_table(
        pa.Table.from_arrays(columns, names=["question", "answers", "answers"]),
        tmp_path / "t.parquet",
    )
    with pytest.raises(BadFileError, match="not readable as parquet: .*answers"):
        load_dataset(TASK, str(tmp_path / "t.parquet"))


def test_strings_leave_text_that_only_looks_like_a_record():
    assert strings("{1, 2}") == ["{1, 2}"]
    assert strings("{'a': 1}") == ["{'a': 1}"]
    assert strings("['x', nan]") == strings('["x", NaN]') == ["x"]


def test_all_files_of_a_list_and_of_a_folder_count(tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    for name, question in (("b.jsonl", "B?"), ("a.csv", "A?")):
        text = (
            json.dumps({"question": question, "answers": "x"})
            if name[0] == "b"
            else f"question,answers\n{question},x\n"
        )
        (folder / name).write_text(text)
    (folder / "README.md").write_text("not data")
    (folder / ".hidden.jsonl").write_text("{}")
    (tmp_path / "c.jsonl").write_text(json.dumps({"question": "C?", "answers": "x"}))
    both = load_dataset(TASK, [str(tmp_path / "c.jsonl"), str(folder)])
    assert [e.question for e in both.examples] == ["C?", "A?", "B?"]
    assert both.origin == "c.jsonl, a.csv, b.jsonl"
    with pytest.raises(BadFileError, match="no file '.*gone.jsonl'"):
        load_dataset(TASK, [str(folder), str(tmp_path / "gone.jsonl")])


def test_files_that_count_from_the_same_number_are_told_apart(tmp_path):
    for name in ("x.jsonl", "y.jsonl"):
        rows = [
            {"question_id": 1, "question": f"Where in {name}?", "answers": "x"},
            {"question_id": 2, "question": "Same?", "answers": "x"},
        ]
        (tmp_path / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    data = load_dataset(TASK, [str(tmp_path / "x.jsonl"), str(tmp_path / "y.jsonl")])
    assert [e.id for e in data.examples] == ["x:1", "x:2", "y:1"]
    assert data.n_dropped == 1


def test_all_missing_files_of_a_task_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PROBEBENCH_CACHE", str(tmp_path))
    task = load_task("azaria_mitchell")
    with pytest.raises(
        UnavailableError, match="needs the 7 files .*data=FILE once for each, or their folder"
    ) as caught:
        load_dataset(task, offline=True)
    assert all(file.url in str(caught.value) for file in task.source.files)
    assert "\n" not in str(caught.value)


def test_a_publisher_s_own_files_keep_his_split(tmp_path, monkeypatch):
    import hashlib

    from probebench.tasks.schema import File, Source

    paths = []
    for split, start in (("train", 0), ("test", 30)):
        path = tmp_path / f"{split}.jsonl"
        path.write_text(
            "".join(
                json.dumps({"question": f"Q{i}?", "answers": "x"}) + "\n"
                for i in range(start, start + 40)
            )
        )
        paths.append(path)
    files = tuple(
        File(f"https://x/{p.name}", hashlib.sha256(p.read_bytes()).hexdigest(), p.stem)
        for p in paths
    )
    task = __import__("dataclasses").replace(TASK, split="official", source=Source(files=files))
    data = load_dataset(task, [str(p) for p in paths])
    assert {e.split for e in data.examples if e.question in ("Q35?", "Q39?")} <= {
        "train",
        "validation",
    }
    assert [e.split for e in data.examples if int(e.question[1:-1]) >= 40] == ["test"] * 30
    assert {e.split for e in load_dataset(task, str(paths[0])).examples} == {None}, (
        "one of them alone is split anew"
    )


def test_a_lost_group_is_known():
    people = load_task("people")
    assert loses_group(people, {"question": "Who?", "answers": "x"})
    assert not loses_group(people, {"question": "Who?", "answers": "x", "group": "anna"})
    assert not loses_group(TASK, {"question": "Who?", "answers": "x"})
