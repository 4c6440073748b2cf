"""The answers of a run as a person reads them: question, answer, label, exact answer, and why the
label is what it is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from probebench.errors import BadFileError
from probebench.files import place, readable
from probebench.record.inside.kinds import refuse_spans
from probebench.record.run import RECORD
from probebench.report.terminal.table import NARROWEST
from probebench.text import clipped

LONGEST = 700
"""Characters of a question or answer that are printed; `--json` has all of them."""
NAMED = 3
"""Accepted answers that are named."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a run."""

    id: str
    split: str
    question: str
    answer: str
    label: int
    """1 = correct or true, 0 = wrong or false."""
    exact_answer: str | None
    """None where it was not found, or not looked for because the run was refused before."""
    why: str
    """What the label rests on."""
    refused: bool
    cut_off: bool
    """True when the answer was as long as it may be and did not end by itself."""
    statement: bool = False
    """True where there is no answer: the label is that of the statement."""
    exact_sought: bool = True
    """False where the run was refused before exact answers were looked for."""

    @property
    def kind(self) -> str:
        """The label and what else can be said of it in a word."""
        words = ("false", "true") if self.statement else ("wrong", "correct")
        return ", ".join(
            [words[self.label], *["refusal"] * self.refused, *["cut off"] * self.cut_off]
        )


def read_replies(folder: str | Path) -> list[Reply]:
    """Answers of a run directory, whether the run was finished or refused for its labels.

    Raises:
        BadFileError: there are none that can be read.
    """
    folder = place(folder)
    refuse_spans(folder)
    path = folder / "answers.parquet"
    if not path.is_file():
        here = "There is no folder" if not folder.is_dir() else "No answers are kept in"
        raise BadFileError(
            f"{here} {folder}; give the run directory that `probebench eval` named, once it has "
            "labels."
        )
    try:
        rows = pd.read_parquet(readable(path)).to_dict("records")
        return [_reply(row, sought=(folder / RECORD).is_file()) for row in rows]
    except (OSError, ValueError, KeyError) as error:  # what arrow cannot read is a ValueError
        raise BadFileError(f"{path} cannot be read: {error}") from None


def _reply(row: Mapping[Any, Any], *, sought: bool) -> Reply:
    statement = row["text"] == row["question"] and not row.get("judged", False)
    exact = row["exact_answer"]
    return Reply(
        id=str(row["id"]),
        split=str(row["split"]),
        question=str(row["question"]),
        answer="" if statement else str(row["text"]),
        label=int(row["label"]),
        exact_answer=exact if isinstance(exact, str) else None,
        why=_why(row, statement=statement),
        refused=bool(row["refused"]),
        cut_off=not statement and not row["stopped"],
        statement=statement,
        exact_sought=sought,
    )


def _why(row: Mapping[Any, Any], *, statement: bool) -> str:
    """What the label rests on."""
    references = [str(r) for r in row["references"]]
    if statement or not row.get("judged", bool(references)) or not references:
        return "the label was given"
    if row["refused"]:
        return "a refusal counts as wrong"
    text = str(row["text"])
    if not text.strip():
        return "nothing was said"
    if row["label"]:
        named = [r for r in references if r.casefold() in text.casefold()]
        return f"accepted: {max(named, key=len) if named else references[0]}"
    more = f" or {len(references) - NAMED} more" if len(references) > NAMED else ""
    return f"expected: {' | '.join(references[:NAMED])}{more}"


def reply_lines(replies: Sequence[Reply], limit: int | None = None) -> Iterator[str]:
    """Counts, then each answer in a block; eighty columns are enough."""
    if not replies:
        yield "No answers of this kind."
        return
    right, cut = sum(r.label for r in replies), sum(r.cut_off for r in replies)
    empty = sum(not r.answer.strip() for r in replies)
    if replies[0].statement:
        yield f"{len(replies):,} statements: {right:,} true, {len(replies) - right:,} false."
    else:
        yield (
            f"{len(replies):,} answers: {right:,} correct, {len(replies) - right:,} wrong "
            f"({sum(r.refused for r in replies):,} refusals, {cut:,} cut off"
            f"{f', {empty:,} empty' if empty else ''})."
        )
    for i, r in enumerate(replies[:limit], start=1):
        yield ""
        yield clipped(f"{i}. {r.kind} ({r.split}, {r.id})", NARROWEST)
        yield from _block("statement" if r.statement else "question", r.question)
        if not r.statement:
            yield from _block("answer", r.answer or "nothing")
            absent = "none" if r.exact_sought else "not looked for: the run was refused"
            yield from _block("exact", absent if r.exact_answer is None else r.exact_answer)
        yield from _block("why", r.why)
    if limit is not None and len(replies) > limit:
        yield ""
        yield f"{len(replies) - limit:,} more: a larger --limit, or --json."


def _block(name: str, text: str) -> list[str]:
    """A named text, wrapped below itself."""
    line = clipped(text, LONGEST)
    return textwrap.wrap(
        line, NARROWEST, initial_indent=f"   {name:<11}", subsequent_indent=" " * 14
    ) or [f"   {name}"]
