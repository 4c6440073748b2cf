"""A task shown, checked and pinned: what `probebench tasks show`, `validate` and `pin` do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from probebench.errors import BadFileError, ProbebenchError, UnavailableError, UsageError
from probebench.files import write_atomic
from probebench.models.handles import ModelHandle
from probebench.models.loading import ModelSpec, find_model
from probebench.tasks.exact.rules import MODEL_RULE, RULES, check_rule
from probebench.tasks.examples import loses_group
from probebench.tasks.judge import get_judge
from probebench.tasks.labelled.rendered import encode_turns
from probebench.tasks.labelled.tokens import tokenize_marked
from probebench.tasks.prompts import encode_prompt, encode_statement, fill_prompt, render_prompt
from probebench.tasks.schema import Task
from probebench.tasks.sources import Dataset, load_dataset
from probebench.tasks.split import split_examples
from probebench.types import SPLITS, Check, Example

SHOWN = 3


def describe(
    task: Task,
    data: str | Sequence[str] | None = None,
    model: ModelSpec | None = None,
    *,
    offline: bool = False,
) -> str:
    """Description, sizes, licence, citation and three rendered examples; special tokens included
    when a model is given."""
    lines = [f"{task.name} v{task.version} ({task.kind})", "", task.description.strip(), ""]
    lines += [
        f"source     {task.source.name}",
        f"split      {task.split}, by group: {', '.join(task.fields.group.columns)}",
    ]
    if task.kind == "statements":
        lines.append("labels     given: 1 = true")
    elif task.spans:
        lines.append(f"labels     spans inside answers; others {task.spans.others}")
    else:
        lines += [f"judge      {task.judge}", f"exact      {task.exact_answer.rule}"]
    lines += [f"licence    {task.licence}", f"hash       {task.hash}"]
    try:
        found = load_dataset(task, data, offline=offline)
    except UnavailableError as error:
        lines += ["", f"examples are not shown: {error}"]
    else:
        lines += _sizes(task, found)
        handle = find_model(model, offline=offline) if model else None
        for example in found.examples[:SHOWN]:
            if example.marked is not None:
                lines += ["", f"--- {example.id}", *_marked_lines(task, example, handle)]
                continue
            if handle is None:
                shown = example.question
            elif task.turns:
                shown = handle.tokenizer.decode(encode_turns(handle.tokenizer, example.turns).ids)
            elif task.kind == "statements":
                shown = handle.tokenizer.decode(
                    encode_statement(handle.tokenizer, example.question, causal=handle.causal)[0]
                )
            else:
                shown = handle.tokenizer.decode(
                    encode_prompt(handle.tokenizer, render_prompt(task, example, handle.tokenizer))
                )
            answer = (
                f"label {example.label}"
                if example.label is not None
                else f"accepted: {', '.join(example.references[:5])}"
            )
            lines += ["", f"--- {example.id}", shown, f"--- {answer}"]
    return "\n".join([*lines, "", task.citation.strip()])


def _marked_lines(task: Task, example: Example, handle: ModelHandle | None) -> Iterator[str]:
    """An answer with labels inside, as text or as a model sees it, and its spans."""
    assert example.marked is not None
    text = example.marked.text
    if handle is None:
        yield from (example.question, text)
    else:
        yield handle.tokenizer.decode(tokenize_marked(task, example, handle.tokenizer).ids)
    for s in example.marked.spans:
        yield f"--- {'right' if s.label else 'wrong'}: {text[s.start : s.end]}"


def _sizes(task: Task, data: Dataset) -> list[str]:
    splits = split_examples(data.examples)
    sizes = ", ".join(f"{s} {splits.count(s):,}" for s in SPLITS)
    lines = [
        f"examples   {len(data.examples):,} in {len({e.group for e in data.examples}):,} groups: "
        f"{sizes}; {data.n_dropped} dropped"
    ]
    if task.kind == "statements":
        lines.append(f"classes    {sum(e.label or 0 for e in data.examples):,} true")
    elif task.spans:
        labels = [s.label for e in data.examples if e.marked for s in e.marked.spans]
        lines.append(f"spans      {labels.count(1):,} right, {labels.count(0):,} wrong")
    elif task.kind == "choice":
        options = sorted({o for e in data.examples[:1000] for o in (*e.references, *e.wrong)})
        lines.append(f"options    {', '.join(options[:6])}{', ...' if len(options) > 6 else ''}")
    return lines


def validate(
    task: Task, data: str | Sequence[str] | None = None, *, offline: bool = False
) -> Iterator[Check]:
    """Check what a task file says: rule, judge, licence, citation, source, every template on every
    row, groups."""
    yield (rule := _guard("exact-answer rule", lambda: check_rule(task.exact_answer, task.path)))
    yield Check(
        "licence", bool(task.licence.strip()), task.licence.strip() or "key 'licence' is empty"
    )
    cited = task.citation.strip().startswith("@") and _closed(task.citation)
    yield Check(
        "citation",
        cited,
        "BibTeX" if cited else f"key 'citation' must be BibTeX; got {task.citation.strip()[:40]!r}",
    )
    if task.kind not in ("statements", "spans"):
        yield from _judged(task, spans=rule.ok)
    try:
        found = load_dataset(task, data, offline=offline)
    except ProbebenchError as error:
        yield Check("source", False, str(error))
        return
    yield Check(
        "source",
        True,
        f"{found.origin}: {len(found.examples):,} examples, {found.n_dropped} dropped",
    )
    yield _guard("templates", lambda: _render_all(task, found))
    if task.split == "official":
        n = sum(e.split is not None for e in found.examples)
        told = f"official, of {n:,} of {len(found.examples):,} examples"
        others = "" if n else ": all are split by a hash of their group"
        yield Check("split", n > 0 or data is not None, told + others)
    yield _grouped(task, found, given=data is not None)
    if task.spans:
        labels = [s.label for e in found.examples if e.marked for s in e.marked.spans]
        right, lost = sum(labels), sum(e.marked.n_lost for e in found.examples if e.marked)
        detail = f"{right:,} right of {len(labels):,} spans; {lost:,} do not stand in their answers"
        both = right < len(labels) and (right > 0 or task.spans.others == "right")
        yield Check("classes", both, detail)
    elif task.kind == "statements":
        true = sum(e.label or 0 for e in found.examples)
        yield Check(
            "classes", 0 < true < len(found.examples), f"{true:,} true of {len(found.examples):,}"
        )
    else:
        wrong = [e for e in found.examples if not get_judge(task.judge)(e, e.references[0]).correct]
        detail = (
            "accepts every first reference"
            if not wrong
            else f"rejects the reference {wrong[0].references[0]!r} of {wrong[0].id}"
        )
        yield Check(
            "judge on data",
            len(wrong) <= 0.01 * len(found.examples),
            f"{detail} ({len(wrong)} of {len(found.examples):,})",
        )


def _grouped(task: Task, found: Dataset, *, given: bool) -> Check:
    """Are there groups, by the columns that the task names?"""
    groups, n = {e.group for e in found.examples}, len(found.examples)
    lost = sum(loses_group(task, e.fields) for e in found.examples)
    named = ", ".join(map(repr, task.fields.group.columns))
    told = f"; {lost:,} lack a column that the task groups by ({named})" if lost else ""
    whole = len(groups) >= 5 and (given or not lost)  # a file of one's own may lack it
    return Check("groups", whole, f"{len(groups):,} groups in {n:,} examples{told}")


def _closed(bibtex: str) -> bool:
    """Is every brace closed that was opened, and none before it?"""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", bibtex):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def _judged(task: Task, *, spans: bool) -> Iterator[Check]:
    """What the judge says of the task's own examples, and the exact answer in one of them."""
    judge, pairs = get_judge(task.judge), task.judge_examples
    yield Check(
        "judge examples",
        bool(pairs.accept and pairs.reject),
        f"{len(pairs.accept)} to accept, {len(pairs.reject)} to reject",
    )
    for wanted, rows in ((True, pairs.accept), (False, pairs.reject)):
        for reference, answer in rows:
            example = Example(
                "1", "", (reference,), "g", wrong=tuple(o for o in task.options if o != reference)
            )
            if judge(example, answer).correct is not wanted:
                word = "reject" if wanted else "accept"
                yield Check("judge examples", False, f"{word}s {answer!r} for {reference!r}")
    if spans and task.exact_answer.rule != MODEL_RULE and pairs.accept:
        reference, answer = pairs.accept[0]
        example = Example(
            "1", "", (reference,), "g", wrong=tuple(o for o in task.options if o != reference)
        )
        span = RULES[task.exact_answer.rule](task.exact_answer, example, answer)
        yield Check(
            "exact answer",
            span is not None,
            f"{answer[span.start : span.end]!r} in {answer!r}" if span else f"none in {answer!r}",
        )


def _render_all(task: Task, data: Dataset) -> None:
    for chat in (True, False):
        first: dict[str, Example] = {}
        for e in data.examples:
            prompt = fill_prompt(task, e, chat=chat)
            if (other := first.setdefault(prompt, e)).question != e.question:
                raise UsageError(
                    f"the questions of {other.id} and {e.id} have the same prompt, "
                    f"{prompt[:60]!r}: it names no column that tells them apart, such as "
                    "{question}"
                )


def _guard(name: str, run: object) -> Check:
    try:
        run()  # type: ignore[operator]
    except ProbebenchError as error:
        return Check(name, False, str(error))
    return Check(name, True, "ok")


def pin(task: Task, *, offline: bool = False) -> str:
    """Write the commit that the hub resolves now into the task file, and return it.

    Raises:
        BadFileError: the task's source is not on the hub, or its file cannot be edited safely.
        UnavailableError: the hub cannot be reached.
    """
    if task.source.hub is None:
        raise BadFileError(
            f"Task {task.name!r} reads {task.source.name}, which is pinned by its content; there "
            "is nothing to pin."
        )
    newest = replace(task, source=replace(task.source, revision=None))
    revision = load_dataset(newest, offline=offline).revision
    if revision is None:
        raise UnavailableError(
            f"The hub did not say which commit of {task.source.hub!r} it gave, so nothing was "
            "written."
        )
    path = Path(task.path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    found = [i for i, line in enumerate(lines) if line.strip() == f"hub: {task.source.hub}"]
    if len(found) != 1:
        raise BadFileError(
            f"{path}: expected one line 'hub: {task.source.hub}'; write 'revision: {revision}' "
            "there by hand."
        )
    (at,) = found
    indent = lines[at][: -len(lines[at].lstrip())]
    beside = _block(lines, at, indent)
    lines[at] = f"{lines[at].rstrip()}\n{indent}revision: {revision}\n"
    kept = [
        line
        for i, line in enumerate(lines)
        if i not in beside or not line.startswith(f"{indent}revision:")
    ]
    write_atomic(path, "".join(kept).encode())
    return revision


def _block(lines: Sequence[str], at: int, indent: str) -> range:
    """Lines around one that are indented as it is, or more."""
    first, last = at, at
    while first > 0 and lines[first - 1].startswith(indent):
        first -= 1
    while last + 1 < len(lines) and lines[last + 1].startswith(indent):
        last += 1
    return range(first, last + 1)
