"""The answers of a run as Every Eval Ever keeps them: a row for each number that it counts for."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from probebench.record.exports.scores import ACCURACY, AUROC, PROBE, Score, scores
from probebench.record.run import Run

Row = Mapping[Hashable, Any]
"""A row of `answers.parquet`."""


def instances(run: Run, shared: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Every answer for the model's accuracy, and every test answer that the selected probe scores
    for its AUROC. The score of the first is 1 or 0, that of the second is the probe's decision,
    which is no probability: the larger, the more it takes the answer for right.

    Args:
        run: a finished run.
        shared: what all rows say.

    Raises:
        BadFileError: a table of the run is gone.
    """
    named = {score.name: score for score in scores(run.record)}
    answers = {row["id"]: row for row in run.answers.to_dict("records")}
    rule, answered = str(run.record.task.exact_answer), run.record.task.kind != "statements"
    if ACCURACY in named:
        for row in answers.values():
            own = _row(row, float(row["label"]), named[ACCURACY], rule, answered=answered)
            yield {**shared, **own}
    if AUROC in named:
        predictions = run.predictions
        probed = predictions[
            (predictions.detector == PROBE) & (predictions.split == "test") & predictions.scored
        ]
        for name, decision in zip(probed.id, probed.decision, strict=True):
            own = _row(answers[name], float(decision), named[AUROC], rule, answered=answered)
            yield {**shared, **own}


def _row(row: Row, value: float, score: Score, rule: str, *, answered: bool) -> dict[str, Any]:
    """One answer, or one statement.

    Args:
        row: as `answers.parquet` has it.
        value: what this answer gives.
        score: the number that it counts for.
        rule: how exact answers were found.
        answered: did the model write it?
    """
    references = [str(text) for text in _listed(row["references"])]
    question, exact = str(row["question"] or ""), row["exact_answer"]
    n_prompt, n_answer = len(_listed(row["prompt_ids"])), len(_listed(row["answer_ids"]))
    if not answered:  # a statement is read, and nothing is written
        n_prompt, n_answer = n_prompt + n_answer, 0
    return {
        "evaluation_name": score.of,
        "evaluation_result_id": score.name,
        "sample_id": str(row["id"]),
        "sample_hash": hashlib.sha256((question + "".join(references)).encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": question, "reference": references},
        "output": {"raw": [str(row["text"] or "") if answered else ""]},
        "answer_attribution": [_exact(str(exact), rule)] if isinstance(exact, str) else [],
        "evaluation": {"score": value, "is_correct": bool(row["label"] == 1)},
        "token_usage": {
            "input_tokens": n_prompt,
            "output_tokens": n_answer,
            "total_tokens": n_prompt + n_answer,
        },
        "metadata": {key: str(row[key]) for key in ("split", "group", "refused", "stopped")},
    }


def _exact(text: str, rule: str) -> dict[str, Any]:
    """The exact answer."""
    return {
        "turn_idx": 0,
        "source": "output.raw",
        "extracted_value": text,
        "extraction_method": rule,
        "is_terminal": True,
    }


def _listed(values: Any) -> list[Any]:
    """A column's lists; nothing where there is none."""
    return [] if values is None else list(values)
