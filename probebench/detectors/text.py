"""What text alone says: logistic regression on TF-IDF rows, or on any rows that say something of a
text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from probebench.probes.choose import fit_features
from probebench.probes.labels import Labels
from probebench.types import Detector, Floats, LabelledAnswer, When, split_index

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


def text_baselines(
    answers: Sequence[LabelledAnswer], labels: Labels, *, statements: bool
) -> Iterator[Detector]:
    """TF-IDF on question, on answer, and on both; of a statement there is one text, readable from
    the start."""
    texts: dict[str, tuple[str, When, Callable[[LabelledAnswer], str]]] = {
        "text": ("text only, question + answer", "after", whole_text),
        "text_question": ("text only, question", "before", lambda a: a.example.question),
        "text_answer": ("text only, answer", "after", lambda a: a.answer.text),
    }
    if statements:
        texts = {"text": ("text only", "before", whole_text)}
    for name, (label, when, text) in texts.items():
        decisions, C = fit_text([text(a) for a in answers], labels)
        yield Detector(name, label, decisions, when=when, detail={"C": C})


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
