"""Transcripts with given labels: their turns, their tokens, the places that are read, a run."""

import json

import numpy as np
import pytest
import yaml

from probebench.api import evaluate
from probebench.errors import BadFileError
from probebench.models.loading import ModelSpec, find_model
from probebench.states.positions import STATEMENTS, locate
from probebench.tasks.examples import to_example
from probebench.tasks.labelled.fields import TurnFields
from probebench.tasks.labelled.rendered import encode_turns
from probebench.tasks.labelled.turns import answers_apart, turns_of
from probebench.tasks.local.rows import FileRow
from probebench.tasks.schema import load_task
from probebench.tasks.sources import load_dataset
from probebench.types import TokenizedAnswer

SCENARIO = "You are a shop AI. The lamp is broken."
ASKED = "Does the lamp work?"


def messages(said, scenario=SCENARIO, asked=ASKED):
    return [
        {"role": "system", "content": scenario},
        {"role": "user", "content": asked},
        {"role": "assistant", "content": said},
    ]


def task_file(tmp_path, **turns):
    content = {
        "name": "mine",
        "version": 1,
        "kind": "statements",
        "description": "Transcripts.",
        "changelog": {1: "First."},
        "source": {"hub": "nobody/none"},
        "licence": "none",
        "citation": "@misc{m}",
        "turns": turns,
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_text_is_cut_into_its_turns_as_the_publisher_writes_them():
    task = load_task("real_world_scenarios")
    said = "You are a shop AI. It is 3 p.m. The lamp is broken. Human: Does it work? AI: Sure."
    row = FileRow("f, line 1", {"statement": said, "label": "0.0"})
    example = to_example(task, row)
    assert example.turns[-1] == ("assistant", "Sure.")
    assert example.label == 0
    plain = to_example(load_task("real_world_scenarios_text"), row)
    assert (plain.question, plain.turns, plain.group) == (said, (), example.group)
    with pytest.raises(BadFileError, match="does not match field 'statement'"):
        to_example(task, FileRow("f, line 2", {"statement": "Nobody speaks.", "label": 1}))


def test_one_scenario_is_one_group_and_its_label_a_word(tmp_path):
    task = load_task(str(task_file(tmp_path)))
    rows = [
        FileRow("f", {"messages": messages(said), "label": label})
        for said, label in (("It is broken.", "honest"), ("It works.", "deceptive"))
    ]
    honest, lie = (to_example(task, row) for row in rows)
    assert (honest.label, lie.label) == (1, 0)
    assert honest.group == lie.group != ""
    assert honest.id != lie.id
    with pytest.raises(BadFileError, match=r"honest \(1\), deceptive \(0\); got 'refusal'"):
        to_example(task, FileRow("f", {"messages": messages("No."), "label": "refusal"}))


def test_several_answers_to_the_same_messages_with_grades_for_labels():
    at = TurnFields(
        column="input_messages", answer="output_strs", labels={"1": 1, "7": 0}, left_out=("4",)
    )
    fields = {
        "input_messages": [*messages("")[:2], {"role": "assistant", "content": "Seller:"}],
        "output_strs": ["It works.", "Hm.", "It is broken."],
        "grade": [7, 4, 1],
    }
    apart = list(answers_apart(at, "grade", [FileRow("f", fields)]))
    assert [r.fields["grade"] for r in apart] == [7, 1]
    assert turns_of(at, apart[0].fields, "f")[-1] == ("assistant", "Seller: It works.")
    with pytest.raises(BadFileError, match="3 answers in field 'output_strs' and 1 labels"):
        list(answers_apart(at, "grade", [FileRow("f", {**fields, "grade": [7]})]))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (messages("")[:2], "the assistant says something; got system, user"),
        (messages(" "), "the assistant says something"),
        ([{"role": "robot", "content": "Hi"}], "the role 'robot' is none of"),
        ([{"from": "user"}], "a turn must be a record of 'role' and 'content'"),
        ("nothing", "must be a list of turns"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_line(value, said):
    with pytest.raises(BadFileError, match=f"^f, line 3: .*{said}"):
        turns_of(TurnFields(), {"messages": value}, "f, line 3")


def test_roles_have_other_names_and_contents_have_parts():
    value = [
        {"from": "human", "value": [{"type": "text", "text": ASKED}]},
        {"from": "gpt", "value": "No."},
    ]
    at = TurnFields(role="from", content="value", roles={"human": "user", "gpt": "assistant"})
    expected = (("user", ASKED), ("assistant", "No."))
    assert turns_of(at, {"messages": value}, "f") == expected
    assert turns_of(at, {"messages": json.dumps(value)}, "f") == expected


def test_the_last_turn_begins_after_the_generation_prompt_and_ends_the_sequence():
    tokenizer = find_model(ModelSpec("tiny")).tokenizer
    turns = (("user", "Where was Roox born?"), ("assistant", "In Moolmont Spa."))
    found = encode_turns(tokenizer, turns)
    before = tokenizer.apply_chat_template(
        [{"role": "user", "content": turns[0][1]}], tokenize=True, add_generation_prompt=True
    )["input_ids"]
    assert list(found.ids[: found.begin]) == list(before)
    assert tokenizer.decode(found.ids[found.begin :]) == "In Moolmont Spa."
    tokenizer.chat_template = None
    whole = tokenizer.decode(encode_turns(tokenizer, turns).ids, skip_special_tokens=True)
    assert whole.endswith("User: Where was Roox born?\n\nAssistant: In Moolmont Spa.")


def test_no_position_lies_before_the_last_turn():
    long = TokenizedAnswer(20, 30, None, 29, begin=20)
    short = TokenizedAnswer(20, 23, None, 22, begin=20)
    table = locate([long, short], STATEMENTS)[:, :, 0]
    assert (table[0] >= 20).all()
    assert table[1].tolist() == [-1] * 5 + [20, 21, 22, 22]
    whole = TokenizedAnswer(20, 30, None, 29)
    assert np.array_equal(locate([long], STATEMENTS), locate([whole], STATEMENTS))


def test_transcripts_run_like_statements(tmp_path):
    rows = []
    for i in range(120):
        said = ("It is here, my dear friend.", "There is none of it, sorry.")[i % 2]
        rows.append(
            {
                "messages": messages(said, f"You sell lamp number {i // 2}."),
                "label": ("honest", "deceptive")[i % 2],
            }
        )
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    path = task_file(tmp_path)
    dataset = load_dataset(load_task(str(path)), str(data))
    assert len({e.group for e in dataset.examples}) == 60
    run = evaluate(
        "tiny",
        path,
        data=str(data),
        out=str(tmp_path / "run"),
        layers=[0],
        skip=["p-true", "shuffles"],
        positions=["-1", "statement_last"],
    )
    assert run.record.task.kind == "statements"
    assert run.record.selection.test_auroc == 1.0
    answers = run.answers
    assert set(answers.label) == {0, 1}
