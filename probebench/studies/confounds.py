"""What a probe could be reading instead of right and wrong: lengths, places, numbers of options,
sources of the questions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.intervals import auroc_interval, difference_interval
from probebench.probes.choose import fit_features
from probebench.probes.labels import Labels
from probebench.scoring.comparison import ends
from probebench.scoring.score import Result
from probebench.studies.registry import Scored, study
from probebench.types import Floats, LabelledAnswer, split_index

if TYPE_CHECKING:
    from probebench.stages.data import RunData

GRID = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse L2 strengths of the linear model of the confounds."""
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
EXPLAINED = 1e-9
"""A residual whose spread is this part of the decision's is rounding."""
IN_PROMPT = 0.5
"""Part of the prompts from which on the answer is said to stand in the prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What a reviewer would think of first, as numbers."""

    names: tuple[str, ...]
    values: Floats
    """(example, feature) with mean 0 and deviation 1 over train; 0 where an example lacks one, and
    a feature says that it does."""
    left_out: Mapping[str, str]
    """Features that this task does not have, and why."""


def features(answers: Sequence[LabelledAnswer], labels: Labels) -> Features:
    """Lengths, place of the exact answer, number of options, source; without those that are the
    same for all train examples."""
    train = split_index(labels.splits)["train"]
    statements = answers[0].example.label is not None
    columns: dict[str, Floats] = {}
    left_out: dict[str, str] = {}
    if statements:
        columns["statement_tokens"] = np.array([float(a.tokens.n_total) for a in answers])
        left_out |= dict.fromkeys(
            ("question_tokens", "answer_tokens", "exact_answer_index"), "statements have one text"
        )
    else:
        columns["question_tokens"] = np.array([float(a.tokens.n_prompt) for a in answers])
        columns["answer_tokens"] = np.array(
            [float(len(a.answer.answer_ids) - a.answer.stopped) for a in answers]
        )
        place = np.array(
            [
                np.nan if a.tokens.exact is None else a.tokens.exact[0] - a.tokens.n_prompt
                for a in answers
            ]
        )
        columns["exact_answer_index"] = place
        columns["exact_answer_found"] = np.isfinite(place).astype(np.float64)
    columns["options"] = np.array(
        [len(a.example.wrong) + 1.0 if a.example.wrong else np.nan for a in answers]
    )
    kinds = _sources(answers, train)
    if isinstance(kinds, str):
        left_out["source"] = kinds
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
            kept[name] = np.nan_to_num((column - here.mean()) / here.std())
    values = np.column_stack(list(kept.values())) if kept else np.zeros((len(answers), 0))
    return Features(tuple(kept), values, left_out)


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
        counts = Counter(values[i] for i in train)
        tried.append(name)
        if not 2 <= len(set(values)) <= MOST_SOURCES:
            continue
        common = sorted(v for v, n in counts.items() if n >= RARE)
        if len(common) == len(counts):
            common = common[1:]  # the columns of all values add up to one
        if common:
            return {
                f"source: {name} = {v}": np.array([float(w == v) for w in values]) for v in common
            }
    return (
        f"{', '.join(tried)}: one value, or more than {MOST_SOURCES}"
        if tried
        else "no column of the task says it"
    )


@study(
    "confounds",
    title="What else it could be reading",
    unasked="Confounds: the run looked for none.",
)
def confounds(run: Scored) -> dict[str, Any]:
    """What lengths, places and sources know, what is left of the probe without it, and whether the
    answer stands in the prompt."""
    data, result = run.data, run.result
    found = features(data.answers, data.labels)
    return {
        "features": list(found.names),
        "left_out": dict(found.left_out),
        **linear(found, data.labels, result.selected.decisions, data.plan.seed),
        "text_embedding": _embedding(result),
        "answer_in_prompt": None if data.statements else _in_prompt(data),
    }


def linear(found: Features, labels: Labels, decisions: Floats, seed: int) -> dict[str, Any]:
    """The features' own AUROC, and the probe's after they are regressed out, on the test examples
    that the probe scores.

    `residual` is fitted on train. There the probe has seen the labels: its decisions follow them,
    and through them the features, more than on new examples, so that too much may be taken away.
    `residual_validation` is fitted on validation and stands beside it.

    Args:
        found: the features.
        labels: labels, splits and groups.
        decisions: (example,) of the probe.
        seed: of the bootstrap.
    """
    if not found.names:
        return {"linear": None, "residual": None, "residual_validation": None}
    there = np.isfinite(decisions)
    rows = {name: at[there[at]] for name, at in split_index(labels.splits).items()}
    test, y = rows["test"], labels.y[rows["test"]]
    draws = Resamples.draw(labels.group_names(test), seed)
    own, C = fit_features(found.values, labels.y, rows, GRID, max_iter=2000)
    facts = {"n": len(test), "n_correct": int(y.sum()), "probe_auroc": auroc(y, decisions[test])}

    def beside(scores: Floats) -> dict[str, Any]:
        value = auroc(y, scores[test])
        apart = difference_interval(draws, y, decisions[test], scores[test])
        return {
            **facts,
            "auroc": value,
            "auroc_95": ends(auroc_interval(draws, y, scores[test])),
            "probe_minus_this": facts["probe_auroc"] - value,
            "probe_minus_this_95": ends(apart),
        }

    left = {
        split: residual(found.values, decisions, rows[split]) for split in ("train", "validation")
    }
    return {
        "linear": {**beside(own), "C": C},
        "residual": {**beside(left["train"][0]), "fitted_on": "train", "r2": left["train"][1]},
        "residual_validation": {
            **beside(left["validation"][0]),
            "fitted_on": "validation",
            "r2": left["validation"][1],
        },
    }


def residual(X: Floats, decisions: Floats, rows: NDArray[np.int64]) -> tuple[Floats, float]:
    """Decisions minus their least-squares prediction from the features, fitted on `rows`, and the
    R^2 there.

    Decisions that the features explain wholly leave zeros, not the order of rounding errors. NaN
    where there are no more examples than coefficients: least squares then explains anything.
    """
    A = np.column_stack([np.ones(len(X)), X])
    weight, _, rank, _ = np.linalg.lstsq(A[rows], decisions[rows], rcond=None)
    if len(rows) <= rank:
        return np.full(len(X), np.nan), float("nan")
    left = decisions - A @ weight
    spread, rest = decisions[rows].std(), left[rows].std()
    if rest <= EXPLAINED * max(spread, np.abs(decisions[rows]).max()):
        return np.where(np.isfinite(decisions), 0.0, np.nan), 1.0 if spread > 0 else float("nan")
    return left, float(1 - (rest / spread) ** 2)


def _embedding(result: Result) -> dict[str, Any]:
    """The row of the text-embedding baseline, or how to get one."""
    for s in result.comparison.scores:
        if s.name == "text_embedding":
            return {
                "auroc": s.auroc,
                "auroc_95": ends(s.interval),
                "n": s.n,
                "probe_minus_this": s.difference,
                "probe_minus_this_95": ends(s.difference_interval),
            }
    reason = result.comparison.absent.get(
        "text_embedding", "no encoder was given; give one with --encoder DIR"
    )
    return {"auroc": float("nan"), "reason": reason}


def _in_prompt(data: RunData) -> dict[str, Any]:
    """Whether the prompts of a run hold the answer."""
    task, answers = data.plan.task, data.answers
    declared = None if task is None else task.kind == "choice" or task.fields.context is not None
    ids = [list(a.answer.prompt_ids) for a in answers]
    prompts = data.plan.handle.tokenizer.batch_decode(ids)
    return answer_in_prompt(answers, prompts, declared=declared)


def answer_in_prompt(
    answers: Sequence[LabelledAnswer], prompts: Sequence[str], *, declared: bool | None
) -> dict[str, Any]:
    """In how many prompts an accepted answer stands, word for word without case and punctuation;
    all and by class.

    Args:
        answers: with their references; those without any are not counted.
        prompts: rendered, in the order of `answers`.
        declared: whether the task gives a context or options.

    Returns:
        `flag` is True where the task says so, or the answer stands in at least half of the prompts;
        None where nothing is known.
    """
    hits: dict[int, list[bool]] = {0: [], 1: []}
    for a, prompt in zip(answers, prompts, strict=True):
        known = [words for r in a.example.references if (words := _words(r)).strip()]
        if known:
            text = _words(prompt)
            hits[a.label].append(any(words in text for words in known))
    both = hits[0] + hits[1]
    rate = float(np.mean(both)) if both else float("nan")
    facts = {
        name: {
            "n": sum(part),
            "of": len(part),
            "rate": float(np.mean(part)) if part else float("nan"),
        }
        for name, part in (("all", both), ("correct", hits[1]), ("wrong", hits[0]))
    }
    flag = True if declared else (rate >= IN_PROMPT if both else declared)
    return {"flag": flag, "declared": declared, **facts}


def _words(text: str) -> str:
    return " " + " ".join(re.findall(r"[^\W_]+", text.casefold())) + " "
