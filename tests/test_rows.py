"""Values of local files that no run can be made of: refused with the line, whatever reads them."""

import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dumped import truth_of

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
    message = rf"a.jsonl, line 1: '{column}' holds half a character, \\ud83d, in 'Which \\ud83d c"
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


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("winogrande", {"answers": "Oslo"}, "judge 'choice' of task 'winogrande' needs 'wrong_an"),
        ("truthfulqa", {"answers": "Oslo"}, "judge 'closest' of task 'truthfulqa' needs 'wrong_a"),
        (
            "winogrande",
            {"answers": "Oslo", "wrong_answers": ["Rome", " oslo"]},
            "'oslo' stands among the accepted answers and among the wrong ones",
        ),
        ("math", {"answers": "abc"}, "judge 'number' of task 'math' reads no number in 'abc'"),
        ("gsm8k", {"answers": "abc"}, "judge 'number' of task 'gsm8k' reads no number in 'abc'"),
        (
            "gsm8k",
            {"answer": "2+3=<<2+3=5>>5 apples, so 5."},
            "does not match '2.3=<<2.3=5>>5 apples, so 5.', which holds several numbers",
        ),
    ],
)
def test_what_the_judge_cannot_judge_by_is_refused(tmp_path, task, row, message):
    with pytest.raises(BadFileError, match=rf"a.jsonl, line 1: .*{message}"):
        asked(tmp_path / "a.jsonl", {"question": "Which?", **row}, task=task)


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("winogrande", {"answers": "Oslo", "wrong_answers": "Rome"}),
        ("imdb", {"answers": "positive"}),
        ("math", {"answers": ["a dozen", "12"]}),
        ("math", {"answers": "five"}),
        ("gsm8k", {"answers": "1,234"}),
        ("gsm8k", {"answer": "2+3=<<2+3=5>>5\n#### 5"}),
        ("triviaqa", {"answers": "abc"}),
    ],
)
def test_what_it_can_judge_by_is_not(tmp_path, task, row):
    question = {"text": "Which?"} if task == "imdb" else {"question": "Which?"}
    assert asked(tmp_path / "a.jsonl", {"question": "Which?", **question, **row}, task=task)


def test_answers_need_what_the_judge_needs_unless_they_have_a_label(tmp_path):
    t = truth_of("chat")
    row = {"question": "How many?", "answer": " Two", "references": ["abc"], "stopped": 1}
    path = lines(tmp_path / "a.jsonl", row)
    with pytest.raises(BadFileError, match="line 1: judge 'number' of task 'math' reads no number"):
        read_answers(path, t.tokenizer, t.stops, load_task("math"))
    lines(path, {**row, "wrong_answers": ["Abc"]})
    with pytest.raises(BadFileError, match="line 1: 'Abc' stands among the accepted answers"):
        read_answers(path, t.tokenizer, t.stops, load_task("winogrande"))
    lines(path, {**row, "label": 0})
    assert read_answers(path, t.tokenizer, t.stops, load_task("math"))[0].label == 0


@pytest.mark.parametrize("word", ["nan", "NaN", "<NA>", "NaT", " nan "])
def test_how_pandas_writes_a_missing_value_is_no_question_and_no_group(tmp_path, word):
    path = tmp_path / "a.jsonl"
    for task, row, column in (
        ("triviaqa", {"question": word, "answers": "Oslo"}, "question"),
        ("cities", {"statement": word, "label": 1}, "statement"),
        ("cities", {"statement": "Oslo is in Norway.", "label": 1, "city": word}, "city"),
    ):
        message = (
            rf"line 1: '{column}' is the text '{word.strip()}', which is how a missing value is"
        )
        with pytest.raises(BadFileError, match=message):
            asked(path, row, task=task)
    t = truth_of("chat")
    for column in ("question", "prompt", "answer", "group"):
        row = {"question": "Who?", "answer": " Anna", "label": 1, column: word}
        with pytest.raises(BadFileError, match=f"line 1: '{column}' is the text '{word.strip()}'"):
            read_answers(lines(path, row), t.tokenizer, t.stops)


@pytest.mark.parametrize("word", ["None", "null", "NULL", "NA", "N/A", "nan"])
def test_nothing_is_no_accepted_answer(tmp_path, word):
    """A database, Python or R has written it; what a model has written is its answer."""
    path = tmp_path / "a.jsonl"
    row = {"question": "Who?", "answers": word}
    with pytest.raises(BadFileError, match=f"line 1: 'answers' is the text '{word}', .* missing"):
        asked(path, row)
    assert asked(path, {**row, "answers": [word]})[0].references == (word,)
    if word != "nan":
        t = truth_of("chat")
        lines(path, {"question": "Who?", "answer": word, "references": ["Ann"], "stopped": 1})
        assert read_answers(path, t.tokenizer, t.stops, load_task("triviaqa"))


@pytest.mark.parametrize("value", [None, "", "  ", [], "None", float("nan")])
@pytest.mark.parametrize("task", ["natural_questions_with_context", "hotpotqa_with_context"])
def test_a_passage_of_the_prompt_that_holds_nothing_is_refused(tmp_path, task, value):
    path = tmp_path / "a.jsonl"
    row = {"question": "Who?", "answers": ["Ann"]}
    assert asked(path, row, task=task), "a plain row needs no such column"
    assert asked(path, {**row, "context": "Ann came."}, task=task)
    with pytest.raises(BadFileError, match="line 1: 'context' is "):
        asked(path, {**row, "context": value}, task=task)


@pytest.mark.parametrize(("value", "refused"), [(None, True), (float("nan"), True), ("", False)])
def test_another_column_of_the_prompt_may_be_empty_but_not_missing(tmp_path, value, refused):
    path = tmp_path / "a.jsonl"
    row = {"question": "Who?", "answers": ["Ann"], "wrong_answers": ["Bob"], "q_instruct": value}
    if refused:
        with pytest.raises(BadFileError, match="line 1: 'q_instruct' is "):
            asked(path, row, task="winobias")
    else:
        assert asked(path, row, task="winobias")
    assert asked(path, {**row, "q_instruct": "None"}, task="winobias"), "an option may be called so"


def test_both_forms_in_one_row_mean_both(tmp_path):
    """The kit's TruthfulQA has `answers` beside the publisher's `best_answer`."""
    path = tmp_path / "a.jsonl"
    row = {
        "question": "What do veins look like?",
        "best_answer": "Blue",
        "answers": ["Blue", "Bluish", "Green"],
        "incorrect_answers": ["Red"],
    }
    (example,) = asked(path, row, task="truthfulqa")
    assert set(example.references) == {"Blue", "Bluish", "Green"}
    assert example.wrong == ("Red",)
    (example,) = asked(
        path, {k: v for k, v in row.items() if k != "best_answer"}, task="truthfulqa"
    )
    assert (len(example.references), example.wrong) == (3, ("Red",))
    row = {"question": "Which?", "answer": "Oslo", "answers": ["Oslo", "Christiania"]}
    for task in ("nq_open", "hotpotqa"):
        assert asked(path, row, task=task)[0].references == ("Oslo", "Christiania")
    row = {"question": "Which?", "answers": ["Oslo", "Bergen"], "best_answer": "Oslo"}
    (example,) = asked(path, {**row, "incorrect_answers": ["Bergen"]}, task="truthfulqa")
    assert (example.references, example.wrong) == (("Oslo",), ("Bergen",)), "they are the options"
    assert not asked(path, {**row, "wrong_answers": ["Rome"]})[0].wrong, "which no task asks for"
    (example,) = asked(path, {**row, "incorrect_answers": ["bergen", "Rome"]}, task="truthfulqa")
    assert (example.references, example.wrong) == (("Oslo",), ("bergen", "Rome"))


def test_a_reference_is_one_of_the_options(tmp_path):
    path = tmp_path / "a.jsonl"
    for task, row in (
        ("imdb", {"text": "Good.", "label": "pos"}),
        ("imdb", {"text": "Good.", "label": True}),
        ("mnli", {"Question": "It rains. It is wet.", "Answer": "-"}),
    ):
        with pytest.raises(BadFileError, match=f"line 1: .* none of the options of task '{task}'"):
            asked(path, row, task=task)
    assert asked(path, {"text": "Good.", "label": 1}, task="imdb")[0].references == ("positive",)


def test_such_a_word_in_a_list_or_in_other_letters_is_meant(tmp_path):
    t = truth_of("chat")
    rows = [
        {"question": "Which town?", "answer": word, "label": 1, "stopped": 1}
        for word in (["nan"], "Nan", "nan.")
    ]
    given = read_answers(lines(tmp_path / "a.jsonl", *rows), t.tokenizer, t.stops)
    assert [g.text for g in given] == ["nan", "Nan", "nan."]


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("values", "references"),
    [
        (pa.array([datetime.datetime(1776, 7, 4)]), ("1776-07-04",)),
        (pa.array([datetime.datetime(1776, 7, 4)], pa.timestamp("ns")), ("1776-07-04",)),
        (pa.array([datetime.datetime(1776, 7, 4, 12, 30)]), ("1776-07-04 12:30:00",)),
        (pa.array([datetime.datetime(1776, 7, 4)], pa.timestamp("s", "UTC")), ("1776-07-04",)),
        (pa.array([[datetime.datetime(1776, 7, 4)]]), ("1776-07-04",)),
        (pa.array([datetime.date(1776, 7, 4)]), ("1776-07-04",)),
        (pa.array([0.1], pa.float32()), ("0.1",)),
        (pa.array([0.1], pa.float16()), ("0.1",)),
        (pa.array([0.1], pa.float64()), ("0.1",)),
        (pa.array([1896.0], pa.float32()), ("1896",)),
        (pa.array([123456792.0], pa.float32()), ("123456792",)),
        (pa.array([[0.1, None, 2.5]], pa.list_(pa.float32())), ("0.1", "2.5")),
        (pa.array([{"text": [0.3]}], pa.struct([("text", pa.list_(pa.float32()))])), ("0.3",)),
    ],
)
def test_parquet_types_are_what_was_meant(tmp_path, values, references):
    path = table(tmp_path / "a.parquet", question=["When?"], answers=values)
    assert load_dataset(load_task("triviaqa"), str(path)).examples[0].references == references


def test_a_map_of_parquet_is_no_answer(tmp_path):
    pairs = pa.array([[("text", "Oslo")]], pa.map_(pa.string(), pa.string()))
    path = table(tmp_path / "a.parquet", question=["Where?"], answers=pairs)
    message = "a.parquet, row 1: 'answers' must be text or a list of texts; got a map"
    with pytest.raises(BadFileError, match=message):
        load_dataset(load_task("triviaqa"), str(path))
    path = table(tmp_path / "b.parquet", question=["Where?"], answers=["Oslo"], more=pairs)
    assert load_dataset(load_task("triviaqa"), str(path)).examples[0].references == ("Oslo",)


def test_references_of_answers_are_read_alike(tmp_path):
    t = truth_of("chat")
    day = pa.array([datetime.datetime(1776, 7, 4)])
    path = table(tmp_path / "a.parquet", question=["When?"], answer=[" 1776"], references=day)
    assert read_answers(path, t.tokenizer, t.stops)[0].example.references == ("1776-07-04",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"answer": ""}, "'answer' is empty, and one of 'answer_ids', 'answer' is needed"),
        ({"answer": None}, "'answer' is empty"),
        ({"answer": "", "answer_ids": ""}, "'answer_ids' and 'answer' are empty"),
        ({"question": ""}, "'question' is empty, and one of 'prompt_ids', 'prompt', 'question'"),
        ({"label": ""}, "'label' is empty, and one of 'label', 'references'"),
        ({"label": None, "references": []}, "'references' is empty"),
    ],
)
def test_a_field_that_is_there_and_empty_is_called_empty(tmp_path, changed, message):
    t = truth_of("chat")
    row = {"question": "Who?", "answer": " Anna", "label": 1, **changed}
    with pytest.raises(BadFileError, match=rf"line 1: .*{message}"):
        read_answers(lines(tmp_path / "a.jsonl", row), t.tokenizer, t.stops)


def test_a_model_that_said_nothing_said_its_stop_token(tmp_path):
    t = truth_of("chat")
    row = {"question": "Who?", "answer": "<eos>", "label": 0}
    given = read_answers(lines(tmp_path / "a.jsonl", row), t.tokenizer, t.stops)[0]
    assert (given.answer_ids, given.text, given.ended) == ((t.tokenizer.eos_token_id,), "", True)
