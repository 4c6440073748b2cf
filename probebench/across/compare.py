"""Two detectors of two finished runs, paired on the test examples that both have. Reads predictions
and answers, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.across.comparison import RunComparison, Side
from probebench.across.same_examples import joined_groups, matched
from probebench.errors import LabelError, UnknownNameError, UsageError
from probebench.metrics.paired import Paired, paired
from probebench.options.python import speaks_python
from probebench.record.named import cell_decisions, named_cell
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.types import Floats

DIFFERS = (
    ("model", "model", "name"),
    ("revision", "model", "revision"),
    ("dtype", "model", "dtype"),
    ("chat template", "model", "chat_template"),
    ("task", "task", "name"),
    ("task version", "task", "version"),
    ("task file", "task", "hash"),
    ("judge", "task", "judge"),
    ("exact-answer rule", "task", "exact_answer"),
    ("probe", "probe", "name"),
    ("seed", "settings", "seed"),
)
"""What two runs may differ in: how it is called, and where it stands in the record."""
FLAG = "--different-labels"


@speaks_python()
def compare(
    a: Run | str | Path,
    b: Run | str | Path,
    *,
    detector: str = "probe",
    detector_b: str | None = None,
    different_labels: bool = False,
    seed: int = 0,
) -> RunComparison:
    """Is detector A better than detector B? Paired on the test examples that both runs have.

    Args:
        a: a finished run, or its folder.
        b: another one, or the same.
        detector: of A: a detector of the run's table; or a site or position, which stands for the
            probe of its best cell by validation, or one cell, `site:layer:position`, fitted again
            from the stored states.
        detector_b: of B; None for the same name.
        different_labels: score each run against its own labels where they differ.
        seed: of the resamples.

    Raises:
        UnknownNameError: a detector or site that a run does not have.
        UsageError: no common examples, or the same example with different labels and no permission
            to go on.
        LabelError: the common examples hold one class only.
    """
    names = (detector, detector if detector_b is None else detector_b)
    both = _common([Run.load(run) for run in (a, b)], names)
    y = both.labels
    other = y[0] != y[1]
    if other.any() and not different_labels:
        first = both.sides[0].id[both.used].to_numpy()[other][0]
        raise UsageError(_refusal(both.runs, int(other.sum()), len(other), str(first)))
    if any(len(np.unique(v)) < 2 for v in y):
        raise LabelError(
            f"The {len(other)} common test examples hold one class only, so no AUROC is defined."
        )
    groups = joined_groups(*(side.group[both.used].tolist() for side in both.sides))
    scores = both.decisions
    result = paired(y[0], y[1], scores[0], scores[1], groups, seed)
    return _described(both, result, int(other.sum()), len(set(groups)))


@dataclass(frozen=True, slots=True, eq=False)
class _Common:
    """Examples that stand in two runs."""

    runs: Sequence[Run]
    names: tuple[str, str]
    """The detector of each."""
    tables: Sequence[pd.DataFrame]
    """Every example of each run; see `_table`."""
    pairs: NDArray[np.int64]
    """(pair, 2) rows of the same example."""
    by_text: NDArray[np.bool_]
    """(pair,) found by the question."""
    sides: Sequence[pd.DataFrame]
    """The tables in the order of the pairs."""
    tested: NDArray[np.bool_]
    """(pair,) in test of both runs."""

    def decided(self, i: int) -> NDArray[np.bool_]:
        """(pair,) the detector of one run has a decision."""
        return np.asarray(np.isfinite(self.sides[i].decision.to_numpy()))

    @property
    def used(self) -> NDArray[np.bool_]:
        """(pair,) what is compared."""
        return self.tested & self.decided(0) & self.decided(1)

    @property
    def labels(self) -> list[NDArray[np.int64]]:
        """(used pair,) labels of each run."""
        return [side.label.to_numpy(dtype=np.int64)[self.used] for side in self.sides]

    @property
    def decisions(self) -> list[Floats]:
        """(used pair,) decisions of each run."""
        return [side.decision.to_numpy(dtype=np.float64)[self.used] for side in self.sides]


def _common(runs: Sequence[Run], names: tuple[str, str]) -> _Common:
    """What two runs have in common; an error where they have nothing."""
    tables = [_table(run, name) for run, name in zip(runs, names, strict=True)]
    pairs, by_text = matched(*(run.answers for run in runs))
    sides = [tables[i].iloc[pairs[:, i]].reset_index(drop=True) for i in (0, 1)]
    tested = ((sides[0].split == "test") & (sides[1].split == "test")).to_numpy()
    both = _Common(runs, names, tables, pairs, by_text, sides, tested)
    if not both.used.any():
        raise UsageError(
            f"{runs[0].folder} and {runs[1].folder} have no common test examples that both "
            f"detectors can score: {len(pairs)} examples stand in both runs, {int(tested.sum())} "
            "of them in test of both. Their tasks are "
            f"{' and '.join(run.record['task']['name'] for run in runs)}. An example is found by "
            "its id and question, else by its question."
        )
    return both


def _side(both: _Common, i: int, result: Paired) -> Side:
    """What is said of one run."""
    table, pairs, record = both.tables[i], both.pairs, both.runs[i].record
    test = (table.split == "test").to_numpy()
    own = pairs[test[pairs[:, i]]]
    elsewhere = (both.tables[1 - i].split.to_numpy()[own[:, 1 - i]] != "test").sum()
    return Side(
        str(both.runs[i].folder),
        record["model"]["name"],
        record["task"]["name"],
        record["task"]["version"],
        both.names[i],
        table.attrs["label"],
        int(test.sum()),
        int(test.sum()) - len(own),
        int(elsewhere),
        int((both.tested & ~both.decided(i)).sum()),
        int(both.labels[i].sum()),
        result.values[i],
        result.intervals[i],
    )


def _described(both: _Common, result: Paired, other: int, n_groups: int) -> RunComparison:
    """The comparison with both sides and what differs between them; `other` labels do."""
    runs, used = both.runs, both.used
    sides = [_side(both, i, result) for i in (0, 1)]
    differs = _differs(runs[0].record, runs[1].record)
    answers = int((both.sides[0].text[used] != both.sides[1].text[used]).sum())
    return RunComparison(
        a=sides[0],
        b=sides[1],
        n=int(used.sum()),
        n_groups=n_groups,
        n_by_text=int(both.by_text[used].sum()),
        n_different_labels=other,
        n_different_answers=answers,
        own_labels=bool(other),
        difference=result.difference,
        difference_95=result.interval,
        difference_95_delong=result.delong,
        p=result.p,
        delong_p=result.delong_p,
        differs=differs,
        notes=_notes(runs, sides, differs, other, answers),
    )


def _table(run: Run, name: str) -> pd.DataFrame:
    """Every example of a run in the order of its answers, with this detector's decision on test
    examples."""
    answers = run.answers[["id", "question", "text", "group", "split", "label"]].copy()
    predictions = run.predictions
    own = predictions[predictions.detector == name]
    if len(own):
        labels = {d["name"]: d["label"] for d in run.record["detectors"]}
        decisions = answers.id.map(dict(zip(own.id, own.decision, strict=True))).to_numpy(
            dtype=np.float64
        )
        answers.attrs["label"] = labels.get(name, name)
    elif (named := named_cell(run.record, name)) is not None:
        decisions, answers.attrs["label"] = cell_decisions(run, named), named.label
    else:
        sites = [site for site, facts in run.record.sites.items() if facts.best]
        places = [best.position for best in run.record.by_position]
        known = [*dict.fromkeys(predictions.detector), *sites, *places]
        at = run.record.selection
        hint = f"Or a cell, such as {at.site}:{at.layer}:{at.position}."
        raise UnknownNameError(f"detector of {run.folder}", name, known, hint)
    return answers.assign(decision=np.where(answers.split == "test", decisions, np.nan))


def _refusal(runs: Sequence[Run], other: int, n: int, first: str) -> str:
    """Why two runs with different labels are not compared, and what the flag would do."""
    said = (
        f"{other} of {n} common test examples have different labels in {runs[0].folder} and "
        f"{runs[1].folder} (first: {first!r})."
    )
    models = [run.record["model"]["name"] for run in runs]
    two_models = len({run.record["model"]["revision"] for run in runs}) == 2
    if two_models and runs[0].record["task"]["kind"] != "statements":
        return (
            f"{said} That is in the nature of two models: {models[0]} and {models[1]} each answer "
            f"by themselves, and different answers are right. With {FLAG} each run is scored "
            "against its own labels, and the difference says in which model right and wrong are "
            "easier to read."
        )
    return (
        f"{said} The runs do not mean the same by right and wrong: compare their tasks, judges and "
        f"answers. With {FLAG} each run is scored against its own labels all the same."
    )


def _differs(a: Record, b: Record) -> dict[str, tuple[Any, Any]]:
    found = {said: (a[part].get(key), b[part].get(key)) for said, part, key in DIFFERS}
    found |= {name: (a.get(key), b.get(key)) for name, key in (("protocol", "protocol_version"),)}
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def _notes(
    runs: Sequence[Run],
    sides: Sequence[Side],
    differs: Mapping[str, tuple[Any, Any]],
    other: int,
    answers: int,
) -> tuple[str, ...]:
    """What a reader must know beside the numbers."""
    notes = []
    if other:
        notes.append(
            f"Each run is scored against its own labels ({other} differ): a difference may come "
            "from which answers are right "
            f"as well as from how readable that is. DeLong is not defined for it."
        )
    elif answers:
        notes.append(
            f"The labels agree, the answers do not: {answers} common examples hold different ones."
        )
    if "task" in differs:
        notes.append(f"Different tasks: {differs['task'][0]} and {differs['task'][1]}.")
    elif "task version" in differs or "task file" in differs:
        versions = [run.record["task"]["version"] for run in runs]
        notes.append(
            f"Different files of the task, versions {versions[0]} and {versions[1]}: prompts or "
            "judges may differ."
        )
    if "protocol" in differs:
        notes.append("Different versions of the protocol: the two numbers may not mean the same.")
    for side, name in zip(sides, "AB", strict=True):
        if side.n_trained_in_other:
            where = "AB".replace(name, "")
            notes.append(
                f"{side.n_trained_in_other} test examples of {name} stand in train or validation "
                f"of {where} and are left out."
            )
    return tuple(notes)
