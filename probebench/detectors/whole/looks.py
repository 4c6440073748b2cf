"""Where the heads look: ICR (Zhang et al. 2025) and lookback ratios (Chuang et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Description, Method, Need, Scores, Timed, detector
from probebench.detectors.relations import between
from probebench.detectors.stored.vectors import Places, best
from probebench.detectors.whole.answers import of_words
from probebench.detectors.whole.training import Recipe, Standardised, train
from probebench.probes.choose import fit_features
from probebench.stages.data import RunData
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner
from probebench.stages.whole.looks import Looking
from probebench.stages.whole.tokens import Ragged
from probebench.states.looks import TOP
from probebench.types import Floats

MAPS: frozenset[Need] = frozenset({"attention maps"})
LABELLED: frozenset[Need] = MAPS | {"train labels"}
SLOWER = 1.3
"""How much longer a pass takes whose maps are looked at: 16 s with 80 statements of SmolLM2-135M,
where reading five layers took 13."""
ICR = Recipe(
    rate=1e-3, last_rate=1e-3, decay=1e-5, optimizer="adam", batch=16, epochs=100, plateau=5
)
GRID = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse L2 strengths of the regression on lookback ratios; the paper's code has 1."""
OF_SCORES = (
    f"attention over prompt and answer, the mean of all heads, on its {TOP} largest weights; the "
    "last block before the final norm"
)


def _price(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """A pass over each answer."""
    return SLOWER * timed.passing(lengths)


def _looks(data: RunData, runner: Runner, column: str) -> tuple[Places, NDArray[np.float64]]:
    """The answers that have a word, and (place, block or head) what was seen of them."""
    found, sequences = of_words(data)
    seen = np.zeros(0)
    for rows, table in runner.run(Looking(data.plan, sequences)).parts():
        part = np.stack(table[column].to_list()).astype(np.float64)
        if not len(seen):
            seen = np.empty((len(sequences), part.shape[1]))
        seen[list(rows)] = part
    return found, seen


@detector(
    Description(
        name="icr_probe",
        of_answers="ICR probe",
        of_statements="ICR probe",
        kind="method",
        when="after",
        needs=LABELLED,
        asked="icr",
        source="zhang2025icr",
        method=Method(
            access="attention",
            supervision="labels",
            passes="1 pass with attention maps",
            changed=f"{OF_SCORES}; scores standardised",
        ),
    ),
    Description(
        name="icr_score",
        of_answers="ICR score",
        of_statements="ICR score",
        kind="method",
        when="after",
        needs=LABELLED,
        asked="icr",
        source="zhang2025icr",
        method=Method(
            access="attention",
            supervision="sign",
            passes="1 pass with attention maps",
            changed=f"one block, by validation, its sign by train; {OF_SCORES}",
        ),
    ),
    price=_price,
)
def icr(data: RunData, runner: Runner) -> Iterator[Scores]:
    """The network on the scores of all blocks, and the score of one block.

    Raises:
        RunError: too few answers of a class have a word.
    """
    from probebench.detectors.whole.nets import icr_probe

    found, seen = _looks(data, runner, "icr")
    n = seen.shape[1]
    one = Standardised(Ragged(seen, np.arange(1, len(seen) + 1)), found.rows)
    trained = train(lambda: icr_probe(n), one, found.y, ICR, data.plan.seed)
    detail = {"epoch": trained.epoch, "validation_auroc": trained.validation_auroc}
    yield Scores("icr_probe", found.spread(trained.decisions), detail)
    block = best(found, (((k,), found.signed(seen[:, k])) for k in range(n)))
    detail = {"layer": block.value[0], "validation_auroc": block.validation_auroc}
    yield Scores("icr_score", found.spread(block.decisions), detail)


def _of_lookback(name: str, label: str, needs: frozenset[Need], method: Method) -> Description:
    return Description(
        name=name,
        of_answers=label,
        of_statements=None,
        kind="method",
        when="after",
        needs=needs,
        relations=(between(0.0, 1.0),) if method.supervision == "none" else (),
        asked="lookback",
        source="chuang2024lookback",
        method=method,
    )


@detector(
    _of_lookback(
        "lookback_lens",
        "Lookback Lens",
        LABELLED,
        Method(
            access="attention",
            supervision="labels",
            passes="1 pass with attention maps",
            changed="the whole answer, and all of the prompt as its context; C by validation",
        ),
    ),
    _of_lookback(
        "lookback_ratio",
        "lookback ratio",
        MAPS,
        Method(
            access="attention",
            supervision="none",
            passes="1 pass with attention maps",
            changed="the whole answer, and all of the prompt as its context",
        ),
    ),
    price=_price,
)
def lookback(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Logistic regression on the ratio of every head, and the mean of them all: an answer that
    looks back at its prompt is taken for a correct one.

    Raises:
        RunError: too few answers of a class have a word.
    """
    found, seen = _looks(data, runner, "lookback")
    decisions, C = fit_features(seen, found.y, found.rows, GRID, max_iter=1000)
    yield Scores("lookback_lens", found.spread(decisions), {"C": C})
    mean: Floats = seen.mean(axis=1)
    yield Scores("lookback_ratio", found.spread(mean))
