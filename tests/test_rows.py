"""Values of local files that no run can be made of: refused with the line, whatever reads them."""

import json

import pytest
from test_echoes import truth_of

from probebench.errors import BadFileError
from probebench.tasks.given import read_answers
from probebench.tasks.local.rows import read_rows
from probebench.tasks.schema import load_task
from probebench.tasks.sources import load_dataset

HALF, WHOLE = r"Which \ud83d city?", r"Which \ud83d\ude00 city?"


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked(path, *rows, task="triviaqa"):
    return load_dataset(load_task(task), str(lines(path, *rows))).examples


@pytest.mark.parametrize("column", ["question", "answers"])
def test_half_a_character_is_refused(tmp_path, column):
    path = tmp_path / "a.jsonl"
    row = {"question": "Which city?", "answers": ["Oslo"]}
    row[column] = "HALF" if column == "question" else ["HALF"]
    path.write_text(json.dumps(row).replace("HALF", WHOLE) + "\n")
    assert len(load_dataset(load_task("triviaqa"), str(path)).examples) == 1
    path.write_text(json.dumps(row).replace("HALF", HALF) + "\n")
    message = (
        rf"a.jsonl, line 1: '{column}' holds half a character, \\ud83d, in 'Which \\ud83d c"
    )
    with pytest.raises(BadFileError, match=message) as caught:
        load_dataset(load_task("triviaqa"), str(path))
    str(caught.value).encode()


def test_half_a_character_in_answers_is_refused(tmp_path):
    t = truth_of("chat")
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "Where?", "answer": "Oslo \\udc00", "label": 1}\n')
    with pytest.raises(BadFileError, match="line 1: 'answer' holds half a character"):
        read_answers(path, t.tokenizer, t.stops)


def test_a_nul_in_a_table_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"question,answers\nWhere?,Oslo\nWho?,An\0n\n")
    with pytest.raises(BadFileError, match="a.csv, line 3: 'answers' holds a NUL character"):
        list(read_rows(path))
