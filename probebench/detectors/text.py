"""What text alone says: logistic regression on TF-IDF rows, or on any rows that say something of a
text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from probebench.detectors.registry import Description, Need, Scores, detector
from probebench.probes.choose import fit_features
from probebench.probes.labels import Labels, split_index
from probebench.types import Floats, LabelledAnswer

if TYPE_CHECKING:
    from probebench.stages.data import RunData
    from probebench.stages.stage import Runner

TEXT: frozenset[Need] = frozenset({"text"})
TEXT_GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse L2 strengths of the text-only baselines: their rows have length one, so weaker penalties
are in place."""


def whole_text(a: LabelledAnswer) -> str:
    """All the text of one example: question and answer, or the statement."""
    return (
        a.example.question
        if a.example.label is not None
        else f"{a.example.question}\n{a.answer.text}"
    )


@detector(
    Description(
        name="text",
        of_answers="text only, question + answer",
        of_statements="text only",
        family="text",
        when="after",
        needs=TEXT,
        required=frozenset({"answers", "statements"}),
        skip="text",
    )
)
def text(data: RunData, runner: Runner) -> Iterator[Scores]:
    """TF-IDF on all the text that there is."""
    yield _scores("text", map(whole_text, data.answers), data)


@detector(
    Description(
        name="text_question",
        of_answers="text only, question",
        of_statements=None,
        family="text",
        when="before",
        needs=TEXT,
        required=frozenset({"answers"}),
        skip="text",
    )
)
def text_question(data: RunData, runner: Runner) -> Iterator[Scores]:
    """TF-IDF on the question."""
    yield _scores("text_question", (a.example.question for a in data.answers), data)


@detector(
    Description(
        name="text_answer",
        of_answers="text only, answer",
        of_statements=None,
        family="text",
        when="after",
        needs=TEXT,
        required=frozenset({"answers"}),
        skip="text",
    )
)
def text_answer(data: RunData, runner: Runner) -> Iterator[Scores]:
    """TF-IDF on the answer."""
    yield _scores("text_answer", (a.answer.text for a in data.answers), data)


def _scores(name: str, texts: Iterable[str], data: RunData) -> Scores:
    decisions, C = fit_text(list(texts), data.labels)
    return Scores(name, decisions, {"C": C})


def fit_text(texts: Sequence[str], labels: Labels) -> tuple[Floats, float]:
    """TF-IDF over words, word pairs and characters 2 to 4, then logistic regression; C by
    validation AUROC.

    Returns:
        (example,) decisions, and the chosen C. All NaN when no text has a word.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = split_index(labels.splits)["train"]
    parts = []
    for vectorizer in (
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True),
    ):
        try:
            vectorizer.fit([texts[i] for i in train])
        except ValueError:  # no words at all
            continue
        parts.append(vectorizer.transform(texts))
    if not parts:
        return np.full(len(texts), np.nan), float("nan")
    return fit_rows(hstack(parts).tocsr(), labels)


def fit_rows(X: Any, labels: Labels) -> tuple[Floats, float]:
    """Logistic regression on train, C from `TEXT_GRID` by validation AUROC, the smaller on a tie.

    Args:
        X: (example, feature) rows of about length one, sparse or dense.
        labels: labels and splits.

    Returns:
        (example,) decisions, and the chosen C.
    """
    rows = split_index(labels.splits)
    return fit_features(X, labels.y, rows, TEXT_GRID, solver="liblinear", random_state=0)
