"""Answers that the selected probe gets most clearly right and wrong, chosen by rule and not by
hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from probebench.errors import BadFileError
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.record.words import Terms, terms
from probebench.report.blocks import ShownAnswer, ShownAnswers
from probebench.report.format import number
from probebench.report.inputs import read_columns

PROBE = "probe"


def examples_of(run: Run, k: int) -> list[ShownAnswers]:
    """Four lists of at most `k` test examples: both classes at both ends of the probe's decisions.

    The probe is right about an example when its decision lies on the example's side of the
    threshold: the record's, which was chosen on validation, or 0, where a linear classifier changes
    its mind, when the record has none. Of each list, the decisions farthest from the threshold come
    first, one example per group; ties go by id.

    Raises:
        BadFileError: the decisions are of other examples than the answers.
    """
    decisions = read_columns(run, "predictions.parquet")
    own = decisions[
        (decisions.detector == PROBE)
        & (decisions.split == "test")
        & decisions.scored
        & decisions.decision.notna()
    ]
    if own.empty or k < 1:
        return []
    own = own.assign(rank=own.decision.rank(ascending=False, method="first").astype(int))
    cut = threshold(run.record)
    texts = read_columns(run, "answers.parquet").drop_duplicates("id").set_index("id")
    named = terms(run.record)
    what, right, wrong = named
    lists = []
    for title, label, above in (
        (f"Right: {right} {what} it trusts", 1, True),
        (f"Right: {wrong} {what} it doubts", 0, False),
        (f"Mistaken: {wrong} {what} it trusts", 0, True),
        (f"Mistaken: {right} {what} it doubts", 1, False),
    ):
        side = own[(own.label == label) & ((own.decision >= cut) == above)]
        side = side.sort_values(["decision", "id"], ascending=[not above, True], kind="stable")
        shown = side.drop_duplicates("group").head(k)
        end = "highest" if above else "lowest"
        rule = (
            f"{len(side):,} test {what}; shown: the {end} decisions, one per group."
            if len(side)
            else f"No test {what[:-1]}."
        )
        items = tuple(_example(row, texts, named, len(own)) for row in shown.to_dict("records"))
        lists.append(ShownAnswers(title, rule, (label == 1) == above, items))
    return lists


def threshold(record: Record) -> float:
    """Where the probe changes its mind: the record's threshold of accuracy, or 0."""
    accuracy = record.detectors[0].metrics.get("accuracy")
    return 0.0 if accuracy is None or accuracy.threshold is None else accuracy.threshold


def threshold_words(record: Record) -> str:
    """The rule in one sentence."""
    cut = f"{number(threshold(record))} (chosen on validation)" if threshold(record) else "0"
    return (
        f"The probe trusts decisions from {cut} on and doubts the rest. Examples are chosen by "
        "that rule and "
        f"by the size of the decision, not by hand; rank 1 is the highest decision on test."
    )


def _example(row: dict[str, Any], texts: pd.DataFrame, named: Terms, of: int) -> ShownAnswer:
    if row["id"] not in texts.index:
        raise BadFileError(
            f"predictions.parquet names example {row['id']!r}, which answers.parquet does not have."
        )
    text = texts.loc[row["id"]]
    exact = text["exact_answer"]
    references, answered = text["references"], named.what == "answers"
    return ShownAnswer(
        id=str(row["id"]),
        question=str(text["question"]),
        answer=str(text["text"]) if answered else "",
        exact=exact if isinstance(exact, str) and answered else None,
        references=tuple(map(str, references)) if references is not None else (),
        label=int(row["label"]),
        verdict=named.right if row["label"] == 1 else named.wrong,
        decision=float(row["decision"]),
        rank=int(row["rank"]),
        of=of,
    )
