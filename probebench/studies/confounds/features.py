"""What a reviewer would think of first, as columns: lengths, place and length of the exact answer,
the option chosen, refusals, answers cut off, sources of the questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.probes.labels import Labels, split_index
from probebench.studies.confounds.regress import expanded
from probebench.tasks.judging.options import earliest_option, option_places
from probebench.types import Example, Floats, LabelledAnswer

SOURCES = (
    "source",
    "dataset",
    "category",
    "relation",
    "prop",
    "subject",
    "topic",
    "domain",
    "type",
    "genre",
    "level",
    "stereotype",
)
"""Columns of a task's rows that say where a question comes from or of which kind it is; the first
that varies is used."""
MOST_SOURCES, RARE = 50, 20
"""A column of more values than this names questions rather than sources; values of fewer train
examples than this go together."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a reviewer would think of first, as numbers."""

    names: tuple[str, ...]
    values: Floats
    """(example, column) with mean 0 and deviation 1 over train; a feature has several where a
    function of it need not be a line. 0 where an example lacks one, and another feature says that
    it does."""
    left_out: Mapping[str, str]
    """Features that this task does not have, and why."""


def features(answers: Sequence[LabelledAnswer], labels: Labels) -> Features:
    """Every feature that this task has, without those that are the same for all train examples."""
    train = split_index(labels.splits)["train"]
    statements = answers[0].example.label is not None
    left_out: dict[str, str] = {}
    if statements:
        columns = {"statement_tokens": np.array([float(a.tokens.n_total) for a in answers])}
        left_out |= dict.fromkeys(
            ("question_tokens", "answer_tokens", "exact_answer_index", "exact_answer_tokens"),
            "statements have one text",
        )
    else:
        columns = dict(_of_answers(answers))
    columns["options"] = np.array(
        [len(a.example.wrong) + 1.0 if a.example.wrong else np.nan for a in answers]
    )
    for name, kinds in (("chosen", _chosen(answers, train)), ("source", _sources(answers, train))):
        if isinstance(kinds, str):
            left_out[name] = kinds
        else:
            columns |= kinds
    kept = {}
    for name, column in columns.items():
        here = column[train][np.isfinite(column[train])]
        if not len(here):
            left_out[name] = "no example has it"
        elif here.std() == 0:
            left_out[name] = f"the same for all train examples that have it ({here[0]:g})"
        else:
            kept[name] = expanded(column, train)
    values = np.column_stack(list(kept.values())) if kept else np.zeros((len(answers), 0))
    return Features(tuple(kept), values, left_out)


def _of_answers(answers: Sequence[LabelledAnswer]) -> Iterator[tuple[str, Floats]]:
    """Numbers of generated answers: NaN where an answer has no exact one."""
    exact = [a.tokens.exact or (np.nan, np.nan) for a in answers]
    first = np.array([float(e[0]) for e in exact])
    n_prompt = np.array([float(a.tokens.n_prompt) for a in answers])
    yield "question_tokens", n_prompt
    yield (
        "answer_tokens",
        np.array([float(len(a.answer.answer_ids) - a.answer.stopped) for a in answers]),
    )
    yield "exact_answer_index", first - n_prompt
    yield "exact_answer_tokens", np.array([float(e[1]) for e in exact]) - first + 1
    yield "exact_answer_found", np.isfinite(first).astype(np.float64)
    yield "refused", np.array([float(a.refused) for a in answers])
    yield "cut_off", np.array([float(a.cut_off) for a in answers])


def chosen_options(answers: Sequence[LabelledAnswer]) -> list[str | None]:
    """The option that each answer chooses, casefolded; None where it has none, or chooses none."""
    found = []
    for a in answers:
        span = earliest_option(a.example, a.answer.text) if a.example.wrong else None
        found.append(None if span is None else a.answer.text[span.start : span.end].casefold())
    return found


def _chosen(answers: Sequence[LabelledAnswer], train: NDArray[np.int64]) -> dict[str, Floats] | str:
    """One column per option that answers often choose; where every question has options of its
    own, whether the chosen one is the first that the question names."""
    chosen = chosen_options(answers)
    if all(c is None for c in chosen):
        return "no answer chooses one of given options"
    values = ["(none)" if c is None else c for c in chosen]
    if columns := _values("chosen = ", values, train):
        return columns
    first = [
        np.nan if c is None else _stands_first(a.example, c)
        for a, c in zip(answers, chosen, strict=True)
    ]
    return {"chosen stands first": np.array(first)}


def _stands_first(example: Example, said: str) -> float:
    """Is the option that is said the first one that the question names, in whichever spelling? NaN
    where it does not name it."""
    options = (*example.references, *example.wrong)
    chosen = next((option for _, _, option in option_places(options, said)), None)
    named = [option for _, _, option in option_places(options, example.question)]
    return float(chosen == named[0]) if chosen in named else np.nan


def _values(prefix: str, values: Sequence[str], train: NDArray[np.int64]) -> dict[str, Floats]:
    """One column per common value; none where there is one value, or too many."""
    counts = Counter(values[i] for i in train)
    if not 2 <= len(set(values)) <= MOST_SOURCES:
        return {}
    common = sorted(v for v, n in counts.items() if n >= RARE)
    if len(common) == len(counts):
        common = common[1:]  # the columns of all values add up to one
    return {f"{prefix}{v}": np.array([float(w == v) for w in values]) for v in common}


def _sources(
    answers: Sequence[LabelledAnswer], train: NDArray[np.int64]
) -> dict[str, Floats] | str:
    """One column per value of the first usable column of `SOURCES`, or why there is none."""
    tried = []
    for name in SOURCES:
        found = [a.example.fields.get(name) for a in answers]
        if all(v is None or not isinstance(v, (str, int, bool)) for v in found):
            continue
        values = ["(none)" if v is None else str(v) for v in found]
        tried.append(name)
        if columns := _values(f"source: {name} = ", values, train):
            return columns
    return (
        f"{', '.join(tried)}: one value, or more than {MOST_SOURCES}"
        if tried
        else "no column of the task says it"
    )
