"""Controls, the examples by split, and where the numbers come from."""

from __future__ import annotations

from probebench.record.schema import Record
from probebench.record.words import labels_words, part_words, terms
from probebench.report.blocks import Block, Column, Facts, Row, Table
from probebench.report.format import number, p_value, percent, value_words


def controls_blocks(record: Record) -> list[Block]:
    """Shuffled labels and the permutation test of the whole map."""
    p, s = record.controls.permutation, record.selection
    selectivity = number(s.selectivity, signed=True)
    return [
        Facts(
            (
                (
                    "Selectivity of the selected cell",
                    f"{selectivity} (its AUROC minus the mean of its {p.shuffles:,} fits to "
                    "shuffled labels)",
                ),
                ("p of the selected cell", f"{p_value(s.p)}, false-discovery rate {p_value(s.q)}"),
                (
                    "p of the map as a whole",
                    f"{p_value(p.max_statistic_p)} (max-statistic, {p.shuffles:,} shuffles per "
                    "cell)",
                ),
                (
                    "Cells above shuffled labels",
                    f"{p.cells_q_below_05:,} of {p.cells:,} at a false-discovery rate of 5 %",
                ),
            )
        )
    ]


def counts_table(record: Record) -> Table:
    """How many examples, by split and class, and how often the exact answer was found."""
    what, right, wrong = terms(record)
    statements = record.task.kind == "statements"
    judged = not statements and (record.labels is None or record.labels.judged > 0)
    rows = []
    for name, c in record.counts.items():
        found = (
            ()
            if statements
            else tuple(percent(c.exact_found[k]["rate"]) for k in ("correct", "wrong"))
        )
        cut = () if statements else (f"{c.not_stopped:,}",)
        refused = (f"{c.refused:,}",) if judged else ()
        size = tuple(f"{c[key]:,}" for key in ("n", "groups", "correct"))
        rows.append(Row((name, *size, percent(c.accuracy), *refused, *cut, *found), name == "all"))
    columns = (
        Column("Split"),
        Column(what.capitalize(), True),
        Column("Groups", True),
        Column(right.capitalize(), True),
        Column("Share", True),
        *((Column("Refused", True, optional=True),) if judged else ()),
        *(
            ()
            if statements
            else (
                Column("Cut off", True, optional=True),
                Column(f"Exact found, {right}", True),
                Column(f"Exact found, {wrong}", True),
            )
        ),
    )
    note = (
        "Cut off: ran into the limit of new tokens. Exact found: answers in which the deciding "
        "span was found, by class."
    )
    notes = () if statements else (note,)
    return Table("counts", f"{what.capitalize()} by split", columns, tuple(rows), notes)


def provenance_blocks(r: Record) -> list[Block]:
    """Model, task, data, probe, package and libraries, with everything that identifies them."""
    model, task, data, package = r.model, r.task, r.data, r.package
    version = f" v{task.version}" if task.version else ""
    items = [
        (
            "Model",
            f"{model.name}, {model.architecture}, {model.n_layers} layers, width {model.width:,}",
        ),
        ("Precision", f"{model.dtype}; quantization {model.quantization or 'none'}"),
        ("Attention", value_words(model.attention or "default")),
        (
            "Task",
            f"{task.name}{version}, {task.kind}; {labels_words(r)}"
            + ("" if task.kind == "statements" else f"; exact answer {task.exact_answer}"),
        ),
        ("Data", f"{data.origin}; {data.n_dropped:,} rows dropped, {data.n_too_long:,} too long"),
        ("Examples", part_words(r) or "all of the task's own"),
        (
            "Probe",
            f"{r.probe.name}; C from {', '.join(f'{c:g}' for c in r.probe.grid) or 'no grid'}",
        ),
        (
            "Hidden states",
            f"{r.settings.get('states_dtype', 'not recorded')}, sites {', '.join(r.sites)}",
        ),
        ("Seed", value_words(r.settings.seed)),
        ("Protocol", f"version {r.protocol_version}; record schema {r.schema_version}"),
        (
            "Package",
            f"{package.name} "
            f"{package.version}{', with uncommitted changes' if package.dirty else ''}",
        ),
        ("Libraries", ", ".join(f"{k} {v}" for k, v in r.versions.items() if k != "probebench")),
        *_timing(r),
    ]
    codes = [
        ("Model revision", model.revision),
        ("Tokenizer", model.tokenizer),
        ("Chat template", model.chat_template),
        ("Task hash", task.hash),
        ("Data revision", data.revision),
        ("Data SHA-256", data.sha256),
        ("Package commit", package.commit),
        ("Run key", r.key),
    ]
    known = tuple((name, str(value) if value else "not known") for name, value in codes)
    return [Facts(tuple(items)), Facts(known, "code")]


def _timing(record: Record) -> list[tuple[str, str]]:
    """On what and how long the run took, where the record says."""
    timing = record.timing
    if not timing:
        return []
    stages = "; ".join(
        f"{name} {number(facts.seconds, 1)}" for name, facts in timing.stages.items()
    )
    return [
        ("Device", timing.device or "not recorded"),
        ("Started", timing.started or "not recorded"),
        ("Seconds", f"{number(timing.total_seconds, 1)} in all: {stages}"),
    ]
