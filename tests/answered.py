"""Answers of a model made up, and what every baseline says of them."""

from types import SimpleNamespace

import numpy as np
from planted import made_plan

from probebench.detectors import suite
from probebench.probes.labels import Labels
from probebench.tasks.split import split_of
from probebench.types import Answer, Cell, CellFit, Example, LabelledAnswer, Span, TokenizedAnswer

N = 120


SPLITS = tuple(split_of(f"g{i}") for i in range(N))


def answer(
    i=0,
    logprobs=(-0.1, -0.5, -2.0, -0.01),
    logits=(5.0, 3.0, -1.0, 9.0),
    entropies=(0.2, 0.7, 1.5, 0.1),
    *,
    stopped=True,
    exact=(1, 2),
    label=None,
    words="It is Paris.",
):
    """An answer of a prompt of three tokens; the stop token is the last one."""
    n = len(logprobs)
    single = (np.array(x, dtype=np.float32) for x in (logprobs, logits, entropies))
    given = Answer(f"a{i}", (7, 8, 9), tuple(range(n)), stopped, words, *single)
    tokens = TokenizedAnswer(3, 3 + n, exact and (exact[0] + 3, exact[1] + 3))
    example = Example(f"a{i}", f"Where was poet {i}?", ("Paris",), f"g{i}", label=label)
    return LabelledAnswer(
        example,
        given,
        i % 2 if label is None else label,
        False,
        exact and Span(6, 11),
        tokens,
        SPLITS[i],
    )


def detectors(answers):
    """Every baseline that needs no further pass: of a model that cannot be asked, without an
    encoder."""
    labels = Labels(np.array([a.label for a in answers]), tuple(a.split for a in answers))
    nothing = CellFit(Cell("resid", 0, "-1"), labels.y * 1.0, 1.0, 0.5, True, 1, "")
    data = SimpleNamespace(
        plan=made_plan(skip=("p-true",), statements=answers[0].example.label is not None),
        samples=None,
        answers=answers,
        labels=labels,
        statements=answers[0].example.label is not None,
        fits=(nothing,),
        chosen=nothing,
    )
    return {d.name: d for d in suite.detectors(data, None).detectors if d.kind == "baseline"}


def many(first, **columns):
    """One odd answer before ordinary ones, so that text baselines have something to fit."""
    return [first, *(answer(i, **columns) for i in range(1, N))]
