"""A run as the hub shows evaluations on a model's page: two files of YAML, written and never sent.

`.eval_results/*.yaml` is what the hub reads of a model repository; `model-index` is its older form,
a key of the model card. Both are made by `huggingface_hub`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from probebench.errors import UsageError
from probebench.files import write_atomic
from probebench.record.exports.scores import ACCURACY, AUROC, METRICS, Score, scores
from probebench.record.exports.source import DataSource, source_of
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.record.words import overridden_words, part_words
from probebench.text import interval

SHOWN = (AUROC, ACCURACY)
"""Numbers that a model's page shows, the file's order."""


@dataclass(frozen=True, slots=True)
class HubNames:
    """Names on the hub that a run does not know; None takes what it knows."""

    dataset: str | None = None
    """The data set of the task."""
    link: str | None = None
    """Where the run can be looked at."""


def write_hub(run: Run, out: Path | None = None, names: HubNames | None = None) -> list[Path]:
    """Write what a model repository says of a run.

    Args:
        run: a finished run.
        out: a folder, `hub` in the run when None: its `.eval_results` goes into the repository as
            it is, and the key of `model-index.yaml` into the head of the card.
        names: what the run does not know.

    Raises:
        UsageError: the examples are of no data set on the hub, and none was named.
        WriteError: the disk is full or not writable.
    """
    r, names = run.record, names or HubNames()
    source = source_of(r)
    if names.dataset not in (
        None,
        source.hub,
    ):  # another's revision, config and split are not known
        r, source = r.changed(data=r.data.changed(revision=None)), DataSource(hub=names.dataset)
    if (dataset := names.dataset or source.hub) is None:
        raise UsageError(
            f"The hub files results by data set, and the examples of {r.task.name} are of none "
            "there: name it with --dataset, such as --dataset org/name."
        )
    found = [s for s in scores(r) if s.name in SHOWN]
    folder, name = out or run.folder / "hub", r.task.name.replace(":", "_")
    files = {
        folder / ".eval_results" / f"probebench_{name}.yaml": _entries(r, found, dataset, names),
        folder / "model-index.yaml": _index(r, found, dataset, source),
    }
    for path, content in files.items():
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
        write_atomic(path, text.encode())
    return list(files)


def _entries(r: Record, found: list[Score], dataset: str, names: HubNames) -> list[dict[str, Any]]:
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    return eval_result_entries_to_yaml(
        [
            EvalResultEntry(
                dataset_id=dataset,
                task_id=f"{r.task.name}.{score.name}",
                value=score.value,
                dataset_revision=r.data.revision,
                date=None if r.timing is None else r.timing.started,
                source_url=names.link,
                source_name=names.link and "probebench",
                notes=_notes(r, score),
            )
            for score in found
        ]
    )


def _index(r: Record, found: list[Score], dataset: str, source: DataSource) -> dict[str, Any]:
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult(
            task_type="text-classification" if score.name == AUROC else "text-generation",
            task_name=f"probebench {r.task.name}: {score.of}",
            dataset_type=dataset,
            dataset_name=r.task.name,
            dataset_config=source.config,
            dataset_split=source.split,
            dataset_revision=r.data.revision,
            metric_type="roc_auc" if score.metric == "auroc" else score.metric,
            metric_name=f"{METRICS[score.metric]}, {_notes(r, score)}",
            metric_value=score.value,
        )
        for score in found
    ]
    name = r.model.name.rsplit("/", 1)[-1]
    return {"model-index": eval_results_to_model_index(name, results)}


def _notes(r: Record, score: Score) -> str:
    """What a number is, in one line."""
    ends = score.interval
    words = [
        f"{interval((ends.low, ends.high), 2)} (95 %, {score.method})" if ends else "no interval",
        f"n = {score.n:,}",
    ]
    if score.name == AUROC:
        s = r.selection
        words.insert(
            0, f"probe on hidden states at {s.site}, layer {s.layer}, {s.position}, test split"
        )
    else:
        words.insert(0, f"share of right answers by the judge {r.task.judge}")
    other = overridden_words(r)
    words += [w for w in (part_words(r), other and f"overridden: {other}") if w]
    return f"{'; '.join(words)}; probebench {r.package.version}"
