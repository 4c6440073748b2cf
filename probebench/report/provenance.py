"""Where a run's numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probebench.report.blocks import Block, Facts
from probebench.report.words import number, value_words
from probebench.run import Run


def provenance_blocks(run: Run) -> list[Block]:
    """Model, task, data, probe, package and libraries, with everything that identifies them."""
    r = run.record
    model, task, data, package = r["model"], r["task"], r["data"], r["package"]
    version = f" v{task['version']}" if task.get("version") else ""
    items = [
        ("Model", f"{model['name']}, {model['architecture']}, {model['n_layers']} layers, width {model['width']:,}"),
        ("Precision", f"{model['dtype']}; quantization {model.get('quantization') or 'none'}"),
        ("Attention", value_words(model.get("attention") or "default")),
        ("Task", f"{task['name']}{version}, {task['kind']}; judge {task['judge']}; exact answer {task['exact_answer']}"),
        ("Data", f"{data['origin']}; {data['n_dropped']:,} rows dropped, {data['n_too_long']:,} too long"),
        ("Probe", f"{r['probe']['name']}; C from {', '.join(f'{c:g}' for c in r['probe'].get('grid') or ()) or 'no grid'}"),
        ("Hidden states", f"{(r.get('settings') or {}).get('states_dtype', 'not recorded')}, sites {', '.join(r['sites'])}"),
        ("Seed", value_words((r.get("settings") or {}).get("seed", "not recorded"))),
        ("Protocol", f"version {r['protocol_version']}; record schema {r['schema_version']}"),
        ("Package", f"{package['name']} {package['version']}{', with uncommitted changes' if package.get('dirty') else ''}"),
        ("Libraries", ", ".join(f"{k} {v}" for k, v in r["versions"].items() if k != "probebench")),
        *_timing(r),
    ]  # fmt: skip
    codes = [
        ("Model revision", model.get("revision")),
        ("Tokenizer", model.get("tokenizer")),
        ("Chat template", model.get("chat_template")),
        ("Task hash", task.get("hash")),
        ("Data revision", data.get("revision")),
        ("Data SHA-256", data.get("sha256")),
        ("Package commit", package.get("commit")),
        ("Run key", r.get("key")),
    ]
    known = tuple((name, str(value) if value else "not known") for name, value in codes)
    return [Facts(tuple(items)), Facts(known, "code")]


def _timing(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """On what and how long the run took, where the record says."""
    timing = record.get("timing")
    if not timing:
        return []
    stages = "; ".join(f"{name} {number(facts['seconds'], 1)}" for name, facts in timing["stages"].items())
    return [
        ("Device", timing["device"]),
        ("Started", timing["started"]),
        ("Seconds", f"{number(timing['total_seconds'], 1)} in all: {stages}"),
    ]
