"""Controls, the examples by split, and where the numbers come from."""

from __future__ import annotations

from probebench.record.words import Record, labels_words, part_words, terms
from probebench.report.blocks import Block, Column, Facts, Row, Table
from probebench.report.format import number, p_value, percent, value_words


def controls_blocks(record: Record) -> list[Block]:
    """Shuffled labels and the permutation test of the whole map."""
    controls, s = record.get("controls") or {}, record["selection"]
    selectivity = number(s.get("selectivity"), signed=True)
    items = [
        (
            "Selectivity of the selected cell",
            f"{selectivity} (its AUROC minus that of shuffled labels)",
        ),
        (
            "p of the selected cell",
            f"{p_value(s.get('p'))}, false-discovery rate {p_value(s.get('q'))}",
        ),
    ]
    if p := controls.get("permutation"):
        items += [
            (
                "p of the map as a whole",
                f"{p_value(p['max_statistic_p'])} (max-statistic, {p['shuffles']:,} shuffles per "
                "cell)",
            ),
            (
                "Cells above shuffled labels",
                f"{p['cells_q_below_05']:,} of {p['cells']:,} at a false-discovery rate of 5 %",
            ),
        ]
    return [Facts(tuple(items))]


def counts_table(record: Record) -> Table:
    """How many examples, by split and class, and how often the exact answer was found."""
    what, right, wrong = terms(record)
    statements = record["task"]["kind"] == "statements"
    judged = not statements and (record.get("labels") or {}).get("judged", 1) > 0
    rows = []
    for name, c in record["counts"].items():
        found = (
            ()
            if statements
            else tuple(percent(c["exact_found"][k]["rate"]) for k in ("correct", "wrong"))
        )
        cut = () if statements else (f"{c['not_stopped']:,}",)
        refused = (f"{c['refused']:,}",) if judged else ()
        size = tuple(f"{c[key]:,}" for key in ("n", "groups", "correct"))
        rows.append(
            Row((name, *size, percent(c["accuracy"]), *refused, *cut, *found), name == "all")
        )
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
    model, task, data, package = r["model"], r["task"], r["data"], r["package"]
    version = f" v{task['version']}" if task.get("version") else ""
    items = [
        (
            "Model",
            f"{model['name']}, {model['architecture']}, {model['n_layers']} layers, width "
            f"{model['width']:,}",
        ),
        ("Precision", f"{model['dtype']}; quantization {model.get('quantization') or 'none'}"),
        ("Attention", value_words(model.get("attention") or "default")),
        (
            "Task",
            f"{task['name']}{version}, {task['kind']}; {labels_words(r)}"
            + ("" if task["kind"] == "statements" else f"; exact answer {task['exact_answer']}"),
        ),
        (
            "Data",
            f"{data['origin']}; {data['n_dropped']:,} rows dropped, {data['n_too_long']:,} too "
            "long",
        ),
        ("Examples", part_words(r) or "all of the task's own"),
        (
            "Probe",
            f"{r['probe']['name']}; C from "
            f"{', '.join(f'{c:g}' for c in r['probe'].get('grid') or ()) or 'no grid'}",
        ),
        (
            "Hidden states",
            f"{(r.get('settings') or {}).get('states_dtype', 'not recorded')}, sites "
            f"{', '.join(r['sites'])}",
        ),
        ("Seed", value_words((r.get("settings") or {}).get("seed", "not recorded"))),
        ("Protocol", f"version {r['protocol_version']}; record schema {r['schema_version']}"),
        (
            "Package",
            f"{package['name']} "
            f"{package['version']}{', with uncommitted changes' if package.get('dirty') else ''}",
        ),
        ("Libraries", ", ".join(f"{k} {v}" for k, v in r["versions"].items() if k != "probebench")),
        *_timing(r),
    ]
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


def _timing(record: Record) -> list[tuple[str, str]]:
    """On what and how long the run took, where the record says."""
    timing = record.get("timing")
    if not timing:
        return []
    stages = "; ".join(
        f"{name} {number(facts['seconds'], 1)}" for name, facts in timing["stages"].items()
    )
    return [
        ("Device", timing["device"]),
        ("Started", timing["started"]),
        ("Seconds", f"{number(timing['total_seconds'], 1)} in all: {stages}"),
    ]
