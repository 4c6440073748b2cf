"""Simpler signals that every probe is compared with. Signs are fixed in advance; higher means more likely correct."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from probebench.probes.fit import Labels
from probebench.scoring.metrics import auroc
from probebench.types import SPLITS, Detector, LabelledAnswer, split_index

Floats = NDArray[np.float64]
TEXT_GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse L2 strengths of the text-only baselines: TF-IDF rows have length one, so weaker penalties are in place."""


def baselines(answers: Sequence[LabelledAnswer], labels: Labels) -> Iterator[Detector]:
    """Every baseline that needs no hidden states, in the order of tables.

    Of given statements there is one text and no exact answer.
    """
    statements = answers[0].example.label is not None
    yield from _text_baselines(answers, labels, statements=statements)
    yield from _logprob_baselines(answers, statements=statements)
    yield Detector("length", "length (shorter)", np.array([-float(_words(a)) for a in answers]))
    yield Detector(
        "majority",
        "majority class",
        np.full(len(answers), float(labels.y[split_index(labels.splits)["train"]].mean() >= 0.5)),
        when="before",
    )


def _words(answer: LabelledAnswer) -> int:
    """Generated tokens without the stop token."""
    return len(answer.answer.answer_ids) - int(answer.answer.stopped)


def _text_baselines(answers: Sequence[LabelledAnswer], labels: Labels, *, statements: bool) -> Iterator[Detector]:
    texts: dict[str, tuple[str, Callable[[LabelledAnswer], str]]] = {
        "text": ("text only, question + answer", lambda a: f"{a.example.question}\n{a.answer.text}"),
        "text_question": ("text only, question", lambda a: a.example.question),
        "text_answer": ("text only, answer", lambda a: a.answer.text),
    }
    if statements:
        texts = {"text": ("text only", lambda a: a.example.question)}
    for name, (label, text) in texts.items():
        decisions, C = fit_text([text(a) for a in answers], labels)
        yield Detector(name, label, decisions, when="before" if name == "text_question" else "after", detail={"C": C})


def fit_text(texts: Sequence[str], labels: Labels) -> tuple[Floats, float]:
    """TF-IDF over words, word pairs and characters 2 to 4, then logistic regression; C by validation AUROC.

    Returns:
        (example,) decisions, and the chosen C. All NaN when no text has a word.
    """
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = split_index(labels.splits)
    train, validation = (rows[name] for name in SPLITS[:2])
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
    X = hstack(parts).tocsr()
    best: tuple[float, float, Floats] | None = None
    for C in TEXT_GRID:
        model = LogisticRegression(C=C, solver="liblinear", random_state=0).fit(X[train], labels.y[train])
        decisions = np.asarray(model.decision_function(X), dtype=np.float64)
        value = auroc(labels.y[validation], decisions[validation])
        if best is None or value > best[0]:
            best = value, C, decisions
    assert best is not None  # the grid is never empty
    return best[2], best[1]


def _logprob_baselines(answers: Sequence[LabelledAnswer], *, statements: bool) -> Iterator[Detector]:
    places = {"": ("statement" if statements else "answer", _answer_logprobs)}
    if not statements:
        places["_exact"] = ("exact answer", _exact_logprobs)
    for suffix, (where, take) in places.items():
        for name, reduce in (("mean", np.mean), ("min", np.min)):
            values = [take(a) for a in answers]
            decisions = np.array([float(reduce(v)) if len(v) else np.nan for v in values])
            yield Detector(f"logprob_{name}{suffix}", f"log-prob {name}, {where}", decisions)


def _answer_logprobs(a: LabelledAnswer) -> NDArray[np.float32]:
    return a.answer.logprobs[: _words(a)]


def _exact_logprobs(a: LabelledAnswer) -> NDArray[np.float32]:
    if a.tokens.exact is None:
        return a.answer.logprobs[:0]
    first, last = (i - a.tokens.n_prompt for i in a.tokens.exact)
    return a.answer.logprobs[first : last + 1]
