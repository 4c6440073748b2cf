"""The contract of every task file, and what the schema says of a broken one."""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from probebench.errors import BadFileError, UnknownNameError
from probebench.tasks.exact.rules import check_rule
from probebench.tasks.judge import get_judge
from probebench.tasks.schema import Prompt, list_tasks, load_task, read_file, task_folder
from probebench.tasks.sources import load_dataset
from probebench.tasks.split import split_examples
from probebench.types import Example

TASKS = {task.name: task for task in list_tasks()}


UNPINNED = set(
    "creak gsm8k hotpotqa hotpotqa_with_context imdb longfact natural_questions_with_context popqa "
    "simpleqa triviaqa truthfulqa webquestions".split()
)
"""Tasks whose hub data set has no commit in its file: nobody here has had a network to load one
and see its rows, and a commit copied from elsewhere would be a pin that nobody looked at. Their
runs record the commit that was resolved; `probebench tasks pin NAME` writes it, and then the name
goes from here."""


def test_the_suite_is_there():
    paper = (
        "triviaqa hotpotqa hotpotqa_with_context movies winobias winogrande mnli imdb math "
        "natural_questions_with_context"
    )
    more = (
        "nq_open popqa simpleqa gsm8k truthfulqa webquestions cities neg_cities sp_en_trans "
        "element_symb animal_class inventors"
    )
    more += (
        " facts cities_conj cities_disj cities_de neg_cities_de azaria_mitchell counterfact creak "
        "people places north"
    )
    assert set(f"{paper} {more}".split()) <= set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_task_says_all_it_must(name):
    task = TASKS[name]
    hint = f"Complete tasks/{name}.yaml; `probebench tasks show {name}` prints it."
    assert task.citation.strip().startswith("@"), hint
    assert task.licence.strip(), hint
    assert len(task.description) > 60, hint
    assert task.fields.group, hint
    if task.kind not in ("statements", "spans"):  # their labels are given
        assert task.judge_examples.accept, hint
        assert task.judge_examples.reject, hint
    check_rule(task.exact_answer, task.path)


@pytest.mark.parametrize("name", TASKS)
def test_a_source_is_pinned(name):
    """To a commit and to its bytes, or it travels in the package; what is not is in a list."""
    source = TASKS[name].source
    commits = [re.search(r"/([0-9a-f]{40})/", f.url) for f in source.files]
    if source.hub:
        commits = [re.fullmatch("[0-9a-f]{40}", source.revision or "")]
    assert all(commits) != (name in UNPINNED), (
        f"{name}: a pin, or a line in UNPINNED with its reason"
    )
    assert all(re.fullmatch("[0-9a-f]{64}", f.sha256) for f in source.files)
    assert bool(commits) != bool(source.embedded)


def test_what_is_not_pinned_is_on_the_hub_and_known():
    assert {n for n, t in TASKS.items() if t.source.hub and not t.source.revision} == UNPINNED
    assert {TASKS[n].hash for n in ("people", "places", "north")} == {
        json.loads(p.read_text())["task"]["hash"]
        for p in (task_folder().parent / "leaderboards/v2/tiny").glob("*/record.json")
    }, "the leaderboard's rows are of these tasks"


@pytest.mark.parametrize("name", TASKS)
def test_judge_accepts_and_rejects_what_the_task_says(name):
    judge = get_judge(TASKS[name].judge)
    for reference, answer in TASKS[name].judge_examples.accept:
        assert judge(
            Example(
                "1",
                "",
                (reference,),
                "g",
                wrong=tuple(o for o in TASKS[name].options if o != reference),
            ),
            answer,
        ).correct, (reference, answer)
    for reference, answer in TASKS[name].judge_examples.reject:
        assert not judge(
            Example(
                "1",
                "",
                (reference,),
                "g",
                wrong=tuple(o for o in TASKS[name].options if o != reference),
            ),
            answer,
        ).correct, (reference, answer)


@pytest.mark.parametrize("name", [n for n, t in TASKS.items() if t.source.embedded])
def test_embedded_tasks_are_large_and_grouped(name):
    data = load_dataset(TASKS[name])
    inside = TASKS[name].kind == "spans"  # each answer has several labels
    assert len(data.examples) >= (400 if inside else 2000)
    assert data.n_dropped == 0
    splits = split_examples(data.examples)
    side = {}
    for example, split in zip(data.examples, splits, strict=True):
        assert side.setdefault(example.group, split) == split
    assert min(splits.count(s) for s in ("validation", "test")) > (60 if inside else 300)


def broken(tmp_path: Path, change) -> Path:
    content = yaml.safe_load((task_folder() / "people.yaml").read_text())
    change(content)
    path = tmp_path / "people.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.update(jugde="aliases"),
            r"people.yaml: unknown key 'jugde' \(value 'aliases'\); did you mean 'judge'",
        ),
        (
            lambda c: c["generation"].update(max_tokens=3),
            "key 'generation': unknown key 'max_tokens'.*did you mean 'max_new_tokens'",
        ),
        (lambda c: c.update(version="1"), "key 'version' must be int; got '1'"),
        (lambda c: c.update(version=True), "key 'version' must be int; got True"),
        (lambda c: c.pop("licence"), "key 'licence' is missing"),
        (
            lambda c: c.update(kind="quiz"),
            "key 'kind' must be one of 'qa', .*'statements', 'spans'; got 'quiz'",
        ),
        (lambda c: c.update(name="persons"), "must equal the file's name 'people'; got 'persons'"),
        (lambda c: c["source"].update(hub="a/b"), "exactly one of 'embedded', 'hub' and 'files'"),
        (lambda c: c.update(version=2), "'changelog' has no line for version 2"),
        (lambda c: c.update(fields=["a"]), "must be a mapping; got"),
        (lambda c: c["judge_examples"].update(accept=[["one"]]), "must be a list of 2"),
        (lambda c: c["generation"].update(max_new_tokens=0), "at least 1 token.*tokens 0"),
        (lambda c: c["generation"].update(max_new_tokens=-3), "at least 1 token.*tokens -3"),
        (lambda c: c["generation"].update(stop=["\n", ""]), "texts that are not empty"),
        (
            lambda c: c["prompt"].update(chat="{question.__class__}"),
            r"'prompt: chat': braces hold the name of a column.*got \{question.__class__\}",
        ),
        (
            lambda c: c["prompt"].update(base="Q: {question!r:>9}"),
            r"'prompt: base'.*\{question!r:>9\}",
        ),
        (lambda c: c["prompt"].update(base="Q: {question"), "is no template of {columns}"),
        (lambda c: c["prompt"].update(base="Q: {} {question}"), "braces hold the name"),
    ],
)
def test_broken_files_name_file_key_value_and_nearest_key(tmp_path, change, message):
    with pytest.raises(BadFileError, match=message):
        read_file(broken(tmp_path, change))


def test_not_yaml_and_not_there(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: [")
    with pytest.raises(BadFileError, match="not readable as YAML"):
        read_file(path)
    path.write_text("- a")
    with pytest.raises(BadFileError, match="mapping of keys; got list"):
        read_file(path)
    with pytest.raises(BadFileError, match="no task file"):
        load_task("nowhere/x.yaml")
    with pytest.raises(UnknownNameError, match="'trivia_qa'. Did you mean 'triviaqa'"):
        load_task("trivia_qa")


def test_hash_ignores_words_and_follows_numbers(tmp_path):
    plain = read_file(broken(tmp_path, lambda c: None))[0]
    assert plain.hash == TASKS["people"].hash
    assert (
        read_file(broken(tmp_path, lambda c: c.update(description="other " * 20)))[0].hash
        == plain.hash
    )
    assert (
        read_file(broken(tmp_path, lambda c: c["generation"].update(max_new_tokens=33)))[0].hash
        != plain.hash
    )


def test_columns_of_a_prompt_are_those_of_both_templates():
    """Of a base model's own one too: the word None would stand where a row has no value."""
    assert Prompt(chat="{question}", base="{hint} {question}").columns == ["hint"]
    assert Prompt(chat="{context} {question}").columns == ["context"]
    assert Prompt().columns == []


def test_the_list_of_tasks_is_that_of_their_files(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "scripts")
    page = import_module("write_tasks")
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text) == text, "python scripts/write_tasks.py"
    assert all(f"`{name}`" in text.partition(page.BEGIN)[2] for name in TASKS)
