"""Simpler signals that every probe is compared with. Signs are fixed in advance; higher means more
likely correct."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from probebench.detectors.embedding import text_embedding
from probebench.detectors.ensembles import ensembles
from probebench.detectors.p_true import p_true
from probebench.detectors.random_model import random_model
from probebench.detectors.signals import each, length, prompt_length, signal_baselines
from probebench.detectors.text import text_baselines
from probebench.probes.labels import Labels
from probebench.stages.data import RunData
from probebench.stages.stage import Runner
from probebench.types import Detector, LabelledAnswer, split_index


def detectors_beside(data: RunData, runner: Runner) -> list[Detector]:
    """Every detector beside the probe, in the order of tables."""
    skip = data.plan.beside.skip
    found = list(baselines(data.answers, data.labels, text="text" not in skip))
    found += text_embedding(data, runner)
    if "p-true" not in skip:
        found += p_true(data, runner)
    if "random-model" in data.plan.beside.controls:
        found.append(random_model(data, runner))
    if "ensembles" not in skip:
        found += ensembles(data.fits, data.labels, data.chosen, given=data.statements)
    return found


def baselines(
    answers: Sequence[LabelledAnswer], labels: Labels, *, text: bool = True
) -> Iterator[Detector]:
    """Every baseline that needs neither hidden states nor a further forward pass, in the order of
    tables.

    Of given statements there is one text and no exact answer, and nothing has to be generated
    before they can be read.

    Args:
        answers: every labelled answer of the run.
        labels: their labels, splits and groups.
        text: False leaves out what is fitted to words, the only part that takes long.
    """
    statements = answers[0].example.label is not None
    if text:
        yield from text_baselines(answers, labels, statements=statements)
    yield from signal_baselines(answers, statements=statements)
    yield Detector(
        "length",
        "length (shorter)",
        each(answers, length),
        when="before" if statements else "after",
    )
    if not statements:
        yield Detector(
            "length_question",
            "prompt length (shorter)",
            each(answers, prompt_length),
            when="before",
        )
    majority = float(labels.y[split_index(labels.splits)["train"]].mean() >= 0.5)
    yield Detector("majority", "majority class", np.full(len(answers), majority), when="before")
