"""A run as Every Eval Ever keeps evaluations: one JSON of results and one line for each answer.

Every Eval Ever (evalevalai.com) collects results of language models in one schema. What it has no
field for goes into its `details`, whose values are strings. Results are filed by the developer and
name of a model, so a model that is known as a folder needs the id it has on the hub.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from probebench.errors import UsageError
from probebench.files import write_atomic
from probebench.record.exports.instances import instances
from probebench.record.exports.scores import (
    BOOTSTRAP,
    LOWER_IS_BETTER,
    METRICS,
    UNBOUNDED,
    Score,
    scores,
)
from probebench.record.exports.source import source_of, task_of
from probebench.record.run import Run
from probebench.record.schema import Record

SCHEMA = "0.3.0"
"""Version of the schema that is written; the tests check against the package of this version."""
Relationship = Literal["first_party", "third_party", "collaborative", "other"]
RELATIONSHIPS: tuple[Relationship, ...] = ("first_party", "third_party", "collaborative", "other")


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Who ran the evaluation."""

    organization: str
    relationship: Relationship = "third_party"
    """To the model's developer."""


def write_every_eval_ever(
    run: Run, out: Path | None, evaluator: Evaluator, model_id: str | None = None
) -> list[Path]:
    """Write a run's results and answers, in the folders of the collection's datastore.

    Args:
        run: a finished run.
        out: where its folder `data/` goes; `every_eval_ever` in the run when None.
        evaluator: who ran it.
        model_id: `developer/name` of the model; the record's when None.

    Returns:
        The file of results, and that of answers.

    Raises:
        UsageError: the model's name has no developer.
        WriteError: the disk is full or not writable.
    """
    r = run.record
    model = hub_id(r, model_id)
    name = UUID(bytes=hashlib.sha256(f"{r.key} {model}".encode()).digest()[:16], version=4)
    folder = Path("data", f"probebench_{r.task.name.replace(':', '_')}", *_place(model))
    shared = {"schema_version": SCHEMA, "evaluation_id": evaluation_id(r, model), "model_id": model}
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in instances(run, shared)]
    rows = "".join(f"{line}\n" for line in lines).encode()
    answers, results = folder / f"{name}_samples.jsonl", folder / f"{name}.json"
    content = evaluation(r, model, evaluator) | {
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": answers.as_posix(),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(rows).hexdigest(),
            "total_rows": len(lines),
        }
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    base = out or run.folder / "every_eval_ever"
    write_atomic(base / answers, rows)
    write_atomic(base / results, text.encode())
    return [base / results, base / answers]


def hub_id(r: Record, model_id: str | None) -> str:
    """`developer/name` of a run's model.

    Raises:
        UsageError: it has no developer.
    """
    found = model_id or r.model.name
    if not all(part not in ("", ".", "..") for part in found.split("/")) or "/" not in found:
        raise UsageError(
            f"Results are filed by developer and name of a model, and {found!r} is not of the form "
            "developer/name: say which it is with --model-id, such as --model-id org/model."
        )
    return found


def _place(model: str) -> tuple[str, str]:
    developer, _, name = model.partition("/")
    return developer, name.replace("/", "_")


def evaluation_id(r: Record, model: str) -> str:
    """What the results and the answers of one run have in common."""
    return f"probebench_{r.task.name}/{model}/{_times(r)[1]}"


def evaluation(r: Record, model: str, evaluator: Evaluator) -> dict[str, Any]:
    """The results of a run, without the reference to its answers."""
    started, ended = _times(r)
    return {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation_id(r, model),
        "evaluation_timestamp": started,
        "retrieved_timestamp": ended,
        "source_metadata": {
            "source_name": "probebench",
            "source_type": "evaluation_run",
            "source_organization_name": evaluator.organization,
            "evaluator_relationship": evaluator.relationship,
            "additional_details": _words(
                {"warnings": list(r.warnings), "overrides": r.settings.overrides, "key": r.key}
            ),
        },
        "eval_library": {
            "name": "probebench",
            "version": r.package.version,
            "additional_details": _words(
                {"protocol_version": r.protocol_version, "commit": r.package.commit}
            ),
        },
        "model_info": _model(r, model),
        "evaluation_results": [_result(r, score) for score in scores(r)],
    }


def _times(r: Record) -> tuple[str, str]:
    """When the run began and when its record was made, in seconds of Unix time."""
    if r.timing is None or r.timing.started is None:
        return "0", "0"
    began = datetime.fromisoformat(r.timing.started)
    began = began if began.tzinfo else began.replace(tzinfo=UTC)
    ended = began + timedelta(seconds=r.timing.total_seconds or 0)
    return f"{began.timestamp():.0f}", f"{ended.timestamp():.0f}"


def _model(r: Record, model: str) -> dict[str, Any]:
    m = r.model
    on_hub = m.revision is not None and not m.revision.startswith("sha256:")  # or a folder
    facts = {
        "revision": m.revision,
        "architecture": m.architecture,
        "n_parameters": m.n_parameters,
        "dtype": m.dtype,
        "attention": m.attention,
        "quantization": m.quantization,
        "peft": m.peft,
        "gguf_file": m.gguf and m.gguf.file,
    }
    return {
        "name": m.name,
        "id": model,
        "developer": model.partition("/")[0],
        "inference_engine": {
            "name": "transformers",
            "version": r.versions.get("transformers", "unknown"),
        },
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": "open_weights" if on_hub else "unknown",
            **_words(facts),
        },
    }


def _result(r: Record, score: Score) -> dict[str, Any]:
    """One number, with its interval and all that says what it is of."""
    found = {
        "evaluation_result_id": score.name,
        "evaluation_name": f"probebench {r.task.name}: {score.of}",
        "source_data": _data(r),
        "metric_config": {
            "evaluation_description": _description(r, score),
            "metric_id": score.metric,
            "metric_name": METRICS.get(score.metric, score.metric),
            "metric_kind": score.metric,
            "metric_unit": "proportion",
            "lower_is_better": score.metric in LOWER_IS_BETTER,
            "score_type": "continuous",
            "min_score": "-Infinity" if score.metric in UNBOUNDED else 0,
            "max_score": 1,
        },
        "score_details": {"score": score.value, "details": _details(r, score)}
        | {"uncertainty": _uncertainty(score)},
    }
    return found if r.generation is None else found | {"generation_config": _generation(r)}


def _description(r: Record, score: Score) -> str:
    if score.detector is None:
        return f"How often the answers are right, by the judge {r.task.judge}."
    return (
        f"How well {score.of} tells right answers from wrong ones on the test split; not how often "
        "the model is right."
    )


def _details(r: Record, score: Score) -> dict[str, str]:
    d = score.detector
    if d is None:
        return _words({"n": score.n, "task_version": r.task.version})
    return _words(
        {
            "n": score.n,
            "n_correct": d.n_correct,
            "n_missing": d.n_missing,
            "kind": d.kind,
            "when": d.when,
            "probe_minus_this": d.probe_minus_this,
            "probe_minus_this_95": list(d.probe_minus_this_95),
            "task_version": r.task.version,
            **d.detail,
        }
    )


def _uncertainty(score: Score) -> dict[str, Any]:
    found: dict[str, Any] = {"num_samples": score.n}
    if score.interval is not None:
        found["confidence_interval"] = {
            "lower": score.interval.low,
            "upper": score.interval.high,
            "confidence_level": 0.95,
            "method": "bootstrap" if score.method == BOOTSTRAP else score.method,
        }
    return found


def _data(r: Record) -> dict[str, Any]:
    """Where the examples came from."""
    source = source_of(r)
    place: dict[str, Any]
    more = {"additional_details": _words({"sha256": r.data.sha256, "origin": r.data.origin})}
    if source.hub is not None:
        place = {"source_type": "hf_dataset", "hf_repo": source.hub} | (
            {"hf_split": source.split} if source.split else {}
        )
        more["additional_details"] |= _words({"revision": source.revision, "config": source.config})
    elif source.urls:
        place = {"source_type": "url", "url": list(source.urls)}
    else:
        place = {"source_type": "other"}
    return {"dataset_name": r.task.name, **place, **more}


def _generation(r: Record) -> dict[str, Any]:
    """Greedy decoding, up to its limit."""
    task, limit = task_of(r), r.generation and r.generation.max_new_tokens
    asked: dict[str, Any] = {"temperature": 0} if limit else {}
    if limit:
        asked["max_tokens"] = limit
    if task is not None:
        asked["prompt_template"] = task.prompt.chat if r.model.chat_template else task.prompt.base
    return {"generation_args": asked, "additional_details": {"decoding": "greedy"} if limit else {}}


def _words(facts: Mapping[str, Any]) -> dict[str, str]:
    """Facts as texts; what is not known or empty is not there."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in facts.items()
        if value is not None and value not in ([], {}, "", [None, None])
    }
