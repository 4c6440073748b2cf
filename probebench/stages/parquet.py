"""Answers, tables and probes as parquet, where the same rows give the same bytes; and stages whose
shards are such files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from probebench.stages.stage import Stage
from probebench.tasks.local.rows import text_of
from probebench.types import Answer, Cell, CellFit, LabelledAnswer


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """A table as parquet, without pandas' own index."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read_parquet_bytes(content: bytes) -> pd.DataFrame:
    """A table written by `parquet_bytes`."""
    return pd.read_parquet(io.BytesIO(content))


def answers_bytes(answers: Sequence[Answer]) -> bytes:
    """One shard of answers."""
    return parquet_bytes(pd.DataFrame([_answer_row(a) for a in answers]))


def _answer_row(a: Answer) -> dict[str, Any]:
    return {
        "id": a.id,
        "prompt_ids": list(a.prompt_ids),
        "answer_ids": list(a.answer_ids),
        "stopped": a.stopped,
        "text": a.text,
        "logprobs": a.logprobs,
        "logits": a.logits,
        "entropies": a.entropies,
    }


def read_answers_bytes(content: bytes) -> list[Answer]:
    """The answers of one shard, in the order they were written."""
    rows = read_parquet_bytes(content).to_dict("records")
    return [
        Answer(
            id=r["id"],
            prompt_ids=tuple(map(int, r["prompt_ids"])),
            answer_ids=tuple(map(int, r["answer_ids"])),
            stopped=bool(r["stopped"]),
            text=r["text"],
            logprobs=np.asarray(r["logprobs"], dtype=np.float32),
            logits=np.asarray(r["logits"], dtype=np.float32),
            entropies=np.asarray(r["entropies"], dtype=np.float32),
        )
        for r in rows
    ]


def fits_bytes(fits: Iterable[CellFit]) -> bytes:
    """Probes of some cells."""
    rows = [
        {
            "site": f.cell.site,
            "layer": f.cell.layer,
            "position": f.cell.position,
            "decisions": f.decisions,
            "C": f.C,
            "validation_auroc": f.validation_auroc,
            "converged": f.converged,
            "iterations": f.iterations,
            "masked": f.masked,
            "control": f.control,
            "null": f.null,
            "unconverged": f.unconverged,
        }
        for f in fits
    ]
    return parquet_bytes(pd.DataFrame(rows))


def read_fits_bytes(content: bytes) -> list[CellFit]:
    """Probes of some cells, in the order they were written."""
    return [
        CellFit(
            cell=Cell(r["site"], int(r["layer"]), r["position"]),
            decisions=np.asarray(r["decisions"], dtype=np.float64),
            C=float(r["C"]),
            validation_auroc=float(r["validation_auroc"]),
            converged=bool(r["converged"]),
            iterations=int(r["iterations"]),
            masked=r["masked"],
            control=np.asarray(r["control"], dtype=np.float64),
            null=np.asarray(r["null"], dtype=np.float64),
            unconverged=int(r["unconverged"]),
        )
        for r in read_parquet_bytes(content).to_dict("records")
    ]


def answers_table(answers: Sequence[LabelledAnswer]) -> pd.DataFrame:
    """`answers.parquet`: one row per example."""
    rows = []
    for a in answers:
        first, last = a.tokens.exact or (None, None)
        exact = a.answer.text[a.exact.start : a.exact.end] if a.exact else None
        rows.append(
            {
                **_answer_row(a.answer),
                "question": a.example.question,
                "references": list(a.example.references),
                "group": a.example.group,
                "split": a.split,
                "label": a.label,
                "refused": a.refused,
                "exact_answer": exact,
                "exact_first": first,
                "exact_last": last,
                "judged": a.judged,
                "topic": None
                if (topic := a.example.fields.get("topic")) is None
                else text_of(topic),
            }
        )
    table = pd.DataFrame(rows)
    return table.astype({"exact_first": "Int64", "exact_last": "Int64"})


class TableStage(Stage[pd.DataFrame]):
    """A stage whose shards are tables."""

    suffix: ClassVar[str] = "parquet"

    def pack(self, found: pd.DataFrame, rows: list[int]) -> bytes:
        return parquet_bytes(found)

    def unpack(self, content: bytes) -> pd.DataFrame:
        return read_parquet_bytes(content)


class AnswersStage(Stage[list[Answer]]):
    """A stage that gives an answer per example."""

    suffix: ClassVar[str] = "parquet"

    def pack(self, found: list[Answer], rows: list[int]) -> bytes:
        return answers_bytes(found)

    def unpack(self, content: bytes) -> list[Answer]:
        return read_answers_bytes(content)

    def tokens(self, found: list[Answer], rows: list[int]) -> int:
        """Those of prompts and of answers."""
        return sum(len(a.ids) for a in found)
