"""All rules that a submission must keep, one function each, and those on its place, task, protocol,
counts, examples and cells. Shapes were checked before: a rule may rely on types and lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from probebench.errors import BadFileError
from probebench.leaderboard.check.recompute import (
    TOLERANCE,
    check_detectors,
    check_resplits,
    check_selected,
    check_shuffled,
    differences,
)
from probebench.leaderboard.check.rules.detectors import (
    check_baselines,
    check_embedding,
    check_names,
    check_signals,
)
from probebench.leaderboard.check.rules.maps import check_map, check_permutation, check_selection
from probebench.leaderboard.check.rules.mentions import (
    check_fitted,
    check_mentions,
    check_positions,
    check_present,
    check_readable,
    check_sites,
)
from probebench.leaderboard.check.rules.studies import check_parts, check_studies
from probebench.leaderboard.check.shape import finding
from probebench.leaderboard.check.task_data import TaskData, suite, task_data
from probebench.leaderboard.submission.names import (
    folder_problem,
    model_folder,
    model_problem,
    task_folder,
)
from probebench.leaderboard.submission.read import (
    CELLS,
    DECISIONS,
    FILES,
    RERUN,
    Decisions,
    Submission,
)
from probebench.leaderboard.submission.strict import Finding, shown
from probebench.leaderboard.submission.submit import overridden
from probebench.probes.kinds import SOLVERS, get_probe
from probebench.states.positions import PUBLISHED, STATEMENTS
from probebench.types import SPLITS

Rule = Callable[[Submission], Iterator[Finding]]
PROBE = get_probe("logistic")
"""The protocol's."""
REPEATS, SHUFFLES = 20, 100
"""Shuffled-label fits of the selected cell, and of every cell of the map: as many as the protocol
makes."""

COUNTED = ("n", "correct", "groups", "refused", "not_stopped", "empty", "thinking")
"""What is counted of each split, and adds up over them."""
CLASSES = ("all", "correct", "wrong")


def check_place(s: Submission) -> Iterator[Finding]:
    """The folder is the one that the record belongs in, and holds nothing else."""
    model, task, folder = s.record["model"], s.record["task"], s.folder
    if problem := model_problem(model["name"]):
        yield finding("model.name", model["name"], problem)
    elif problem := folder_problem(task["name"]):
        yield finding("task.name", task["name"], problem)
    else:
        try:
            right = (
                f"v{s.record['protocol_version']}",
                model_folder(model),
                task_folder(task["name"], task["version"]),
            )
        except BadFileError as error:
            yield finding("model", f"{model['quantization']}, {model['peft']}", str(error))
            return
        given = folder.parent.parent.name, folder.parent.name, folder.name
        if given != right:
            yield Finding("folder", "path", shown("/".join(given)), "/".join(right))
    extra = sorted(p.name for p in folder.iterdir() if p.name not in (*FILES, RERUN))
    for name in extra[:3]:
        yield Finding(shown(name).strip("'"), "file", "a file", f"only {', '.join(FILES)}")


def check_task(s: Submission) -> Iterator[Finding]:
    """The suite's own task, unchanged, and its own data."""
    task = s.record["task"]
    own = suite().get(task["name"])
    if own is None:
        yield finding("task.name", task["name"], "a task of the suite (`probebench tasks`)")
        return
    if task["version"] > own.version:
        yield finding("task.version", task["version"], f"at most {own.version}")
    elif task["version"] == own.version:
        rule = "given" if own.kind == "statements" else own.exact_answer.rule
        expected = {"hash": own.hash, "kind": own.kind, "judge": own.judge}
        for key, value in expected.items():
            if task[key] != value:
                yield finding(f"task.{key}", task[key], f"{value}, of version {own.version}")
        if task["exact_answer"] not in (rule, own.exact_answer.rule):
            yield finding("task.exact_answer", task["exact_answer"], rule)
        kind, source = s.record["data"]["origin"].partition(":")[::2]
        right = "embedded" if own.source.embedded else "files" if own.source.files else "hub"
        if (kind, source) != (right, own.source.name):
            yield finding("data.origin", s.record["data"]["origin"], f"{right}:{own.source.name}")
        most = None if own.kind == "statements" else own.generation.max_new_tokens
        given = (s.record.get("generation") or {}).get("max_new_tokens", most)
        if given != most:
            yield finding("generation.max_new_tokens", given, f"{most}, of version {own.version}")
    found = (s.record.get("exact_answer") or {}).get("rule", task["exact_answer"])
    if found != task["exact_answer"]:
        yield finding("exact_answer.rule", found, f"{task['exact_answer']}, as in task")


def check_protocol(s: Submission) -> Iterator[Finding]:
    """Nothing of the protocol overridden, nothing that strangers cannot run again."""
    record = s.record
    positions = STATEMENTS if record["task"]["kind"] == "statements" else PUBLISHED
    for name, value in sorted(overridden(record["settings"]["overrides"]).items()):
        yield finding(f"settings.overrides.{name}", value, "no setting of the protocol overridden")
    for field, given, expected in (
        ("settings.seed", record["settings"]["seed"], 0),
        ("probe.name", record["probe"]["name"], PROBE.name),
        ("model.remote_code", record["model"]["remote_code"], None),
        ("positions", record["positions"], list(positions)),
        (
            "controls.shuffled_labels.repeats",
            record["controls"]["shuffled_labels"]["repeats"],
            REPEATS,
        ),
        ("controls.permutation.shuffles", record["controls"]["permutation"]["shuffles"], SHUFFLES),
        ("layers", record["layers"], ["emb", *map(str, range(record["model"]["n_layers"]))]),
    ):
        if given != expected:
            yield finding(
                field, given, "null" if expected is None else shown(expected, 400).strip("'\"")
            )
    for part, due in (
        ("probe", {"grid": list(PROBE.grid), "solver": SOLVERS[0]}),
        ("settings", {"probe": PROBE.name, "solver": SOLVERS[0]}),
    ):
        for name, right in due.items():
            if record[part].get(name) not in (None, right):
                yield finding(f"{part}.{name}", record[part][name], f"{right}, the protocol's")


def check_counts(s: Submission) -> Iterator[Finding]:
    """Numbers of examples, right answers and groups, of each split and of all."""
    counts, d = s.record["counts"], s.decisions
    for name in COUNTED:
        whole, *parts = (counts[split].get(name, 0) for split in ("all", *SPLITS))
        if whole != sum(parts):
            yield finding(f"counts.all.{name}", whole, f"{sum(parts)}, the sum over the splits")
    for split in ("validation", "test"):
        rows = d.split == split
        found = {
            "n": int(rows.sum()),
            "correct": int(d.label[rows].sum()),
            "groups": len(set(d.group[rows].tolist())),
        }
        yield from differences(f"counts.{split}", counts[split], found)
    for split, c in counts.items():
        for name in COUNTED:
            if c.get(name, 0) > c["n"]:
                yield finding(f"counts.{split}.{name}", c[name], f"at most {c['n']:,}, n")
        sizes = (c["n"], c["correct"], c["n"] - c["correct"])
        for name, n in zip(CLASSES, sizes, strict=True) if c.get("exact_found") else ():
            if (of := c["exact_found"][name]["of"]) != n:
                yield finding(f"counts.{split}.exact_found.{name}.of", of, f"{n}, its answers")
        if split in ("all", *SPLITS) and abs(c["accuracy"] - c["correct"] / c["n"]) > TOLERANCE:
            yield finding(
                f"counts.{split}.accuracy",
                c["accuracy"],
                f"{c['correct'] / c['n']:.6f}, correct / n",
            )
    crossing = set(d.group[d.split == "test"].tolist()) & set(
        d.group[d.split == "validation"].tolist()
    )
    if crossing:
        yield Finding(
            DECISIONS,
            "group",
            f"group {min(crossing)} in validation and test",
            "each group in one split",
        )


def check_examples(s: Submission) -> Iterator[Finding]:
    """Ids, splits, groups and given labels against the task's own data, where they are here."""
    task, d = s.record["task"], s.decisions
    own = suite().get(task["name"])
    if own is None or own.version != task["version"]:
        return
    data = task_data(task["name"])
    if isinstance(data, str):
        return
    too_long = s.record["data"]["n_too_long"]
    if s.record["data"]["sha256"] != data.sha256:
        yield finding("data.sha256", s.record["data"]["sha256"], data.sha256)
    if s.record["counts"]["all"]["n"] != data.n - too_long:
        yield finding(
            "counts.all.n",
            s.record["counts"]["all"]["n"],
            f"{data.n - too_long}: {data.n} of the task less those too long",
        )
    yield from _check_ids(d, data, too_long)


def _check_ids(d: Decisions, data: TaskData, too_long: int) -> Iterator[Finding]:
    ids = d.id.tolist()
    if strangers := [i for i in ids if i not in data.split]:
        yield Finding(
            DECISIONS,
            "id",
            f"{shown(strangers[0])} ({len(strangers)} in all)",
            "ids of the task's examples",
        )
        return
    if moved := [i for i, split in zip(ids, d.split, strict=True) if data.split[i] != split]:
        yield Finding(
            DECISIONS,
            "split",
            f"{shown(moved[0])} ({len(moved)} in all)",
            f"its split, {data.split[moved[0]]}",
        )
    due = sum(split != "train" for split in data.split.values())
    if not due - too_long <= len(ids) <= due:
        yield Finding(
            DECISIONS,
            "rows",
            f"{len(ids)}",
            f"{due}, one per validation and test example of the task",
        )
    codes = np.unique([data.group[i] for i in ids], return_inverse=True)[1]
    if not np.array_equal(codes, np.unique(d.group, return_inverse=True)[1]):
        yield Finding(
            DECISIONS,
            "group",
            "other groups",
            "codes of the task's groups, in the order of their names",
        )
    if data.label and (
        wrong := [i for i, y in zip(ids, d.label, strict=True) if data.label[i] != y]
    ):
        yield Finding(
            DECISIONS,
            "label",
            f"{shown(wrong[0])} ({len(wrong)} in all)",
            "the label that the task gives",
        )


def check_cells(s: Submission) -> Iterator[Finding]:
    """An interval of a cell holds its AUROC."""
    for c in s.cells:
        if c.auroc is None or c.low is None or c.high is None:
            continue
        if not c.low - TOLERANCE <= c.auroc <= c.high + TOLERANCE:
            at = f"{c.site} {c.layer} {c.position}, auroc"
            yield Finding(CELLS, at, shown(c.auroc), f"between {c.low!r} and {c.high!r}")


RULES: tuple[Rule, ...] = (
    check_place,
    check_task,
    check_protocol,
    check_counts,
    check_examples,
    check_baselines,
    check_map,
    check_selection,
    check_positions,
    check_permutation,
    check_embedding,
    check_names,
    check_signals,
    check_detectors,
    check_selected,
    check_shuffled,
    check_resplits,
    check_readable,
    check_mentions,
    check_fitted,
    check_sites,
    check_present,
    check_cells,
    check_parts,
    check_studies,
)
"""In the order of their messages."""
