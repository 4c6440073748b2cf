"""Tables of a report: what the record says of detectors, positions, controls and counts, and where
its numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probebench.record.claims import against_of
from probebench.record.words import labels_words, part_words, terms
from probebench.report.blocks import (
    AUROC,
    INTERVAL,
    Block,
    Cell,
    Column,
    Facts,
    N,
    Number,
    Prose,
    Row,
    Table,
)
from probebench.report.format import between, count, number, p_value, percent, value_words

METRICS = {
    "auprc": "AUPRC",
    "accuracy": "Accuracy",
    "brier": "Brier",
    "ece": "ECE",
    "prr": "PRR",
    "recall_at_fpr_01": "Recall at 1 %",
    "recall_at_fpr_05": "Recall at 5 %",
}
"""Further metrics in the order of their columns."""
METRIC_NOTES = {
    "accuracy": "Accuracy: at the threshold chosen on validation.",
    "brier": "Brier and ECE: after Platt scaling on validation; lower is better.",
    "prr": "PRR: prediction-rejection ratio, 0 for random and 1 for the oracle.",
    "recall_at_fpr_01": (
        "Recall at 1 % and 5 %: share of the wrong answers found at that rate of false alarms on "
        "validation."
    ),
}


def detectors_table(record: Mapping[str, Any]) -> Table:
    """One row per detector on the same test examples, the selected probe first, shuffled labels
    last."""
    what, right, _ = terms(record)
    rows = []
    for i, d in enumerate(record["detectors"]):
        gap: tuple[Cell, Cell] = (
            ("", "")
            if i == 0
            else (
                Number(d["probe_minus_this"], signed=True),
                between(d["probe_minus_this_95"], signed=True),
            )
        )
        rows.append(
            Row(
                (
                    d["label"],
                    Number(d["auroc"]),
                    between(d["auroc_95"]),
                    *gap,
                    f"{d['n']:,}",
                    d.get("when") or "",
                ),
                i == 0,
            )
        )
    shuffled = (record.get("controls") or {}).get("shuffled_labels")
    if shuffled:
        label = f"shuffled labels, mean of {shuffled['repeats']}"
        interval, n = between(shuffled["mean_auroc_95"]), record["selection"].get("n_test")
        rows.append(Row((label, Number(shuffled["mean_auroc"]), interval, "", "", count(n), "")))
    c = record["comparison"]
    notes = [
        f"n = {c['n_compared']:,} of {c['n_test']:,} test {what}, the same for every row but that "
        "of shuffled labels; positive "
        f"class: {right}. "
        "95 % intervals: cluster bootstrap by group, of shuffled labels over repeats; of "
        "differences: paired. "
        "Signs are fixed in advance, nothing is flipped."
    ]
    if sum(c["dropped"].values()):
        notes.append(
            "Left out because a detector cannot score them: " + value_words(c["dropped"]) + "."
        )
    s = record["selection"]
    if s.get("n_test") not in (None, c["n_compared"]):
        notes.append(
            f"Over all {s['n_test']:,} test {what} that have its token the selected cell has "
            f"{number(s['test_auroc'])}; "
            f"in this table it stands with {number(record['detectors'][0]['auroc'])} over the "
            f"{c['n_compared']:,} that every "
            "detector scores."
        )
    notes += [f"Not in the table: {name}, {reason}." for name, reason in c["absent"].items()]
    columns = (
        Column("Detector"),
        AUROC,
        INTERVAL,
        Column("Probe \u2212 this", True),
        INTERVAL,
        N,
        Column("Readable", optional=True),
    )
    return _lean(
        Table(
            "detectors",
            f"Detectors of right and wrong on the same test {what}",
            columns,
            tuple(rows),
            tuple(notes),
        )
    )


def metrics_tables(record: Mapping[str, Any]) -> list[Table]:
    """The probe's further metrics with their intervals, and those of every detector."""
    detectors = record["detectors"]
    own = detectors[0]["metrics"]
    seen = [m for m in METRICS if m in own]
    rows = []
    for m in seen:
        v, name = own[m], METRICS[m]
        if alarms := v.get("false_alarms"):
            name += f" false alarms ({percent(alarms['value'])} on test)"
        rows.append(
            Row(
                (
                    name,
                    Number(v["value"]),
                    between((v["low"], v["high"])),
                    count(v["n"]),
                    v["positive"],
                )
            )
        )
    columns = (Column("Metric"), Column("Value", True), INTERVAL, N, Column("Positive class"))
    first = Table("probe-metrics", "The probe's metrics with their intervals", columns, tuple(rows))
    lines = tuple(
        Row((d["label"], *(Number(d["metrics"][m]["value"]) for m in seen)), i == 0)
        for i, d in enumerate(detectors)
    )
    prevalence = (
        f"Positive class: {terms(record).right}, prevalence {number(detectors[0]['prevalence'])}."
    )
    sample = f"n = {detectors[0]['n']:,}, the same for every row."
    notes = (prevalence, sample, *(text for m, text in METRIC_NOTES.items() if m in seen))
    heads = (Column("Detector"), *(Column(METRICS[m], True) for m in seen))
    return [first, Table("metrics", "Further metrics of every detector", heads, lines, notes)]


def positions_tables(record: Mapping[str, Any]) -> list[Table]:
    """The per-position table of the paper beside the selected cell; all other positions folded."""
    rows = record.get("by_position") or []
    s = record["selection"]
    columns = (
        Column("Position"),
        Column("Readable", optional=True),
        Column("Best layer", True),
        Column("C", True, optional=True),
        Column("Validation", True),
        Column("Test AUROC", True),
        INTERVAL,
        N,
    )

    def row(r: Mapping[str, Any], strong: bool = False) -> Row:
        name = r["position"] + (" (selected)" if strong else "")
        if r["layer"] is None:
            return Row(
                (
                    name,
                    r["when"],
                    f"masked: {r['masked']}" if r.get("masked") else "masked",
                    *[""] * 5,
                )
            )
        return Row(
            (
                name,
                r.get("when") or r["readable"],
                str(r["layer"]),
                "" if r["C"] is None else f"{r['C']:g}",
                Number(r["validation_auroc"]),
                Number(r["test_auroc"]),
                between(r["test_auroc_95"]),
                count(r["n_test"]),
            ),
            strong,
        )

    tables = []
    note = (
        "The layer of each position is the one with the highest validation AUROC; n: test "
        "examples that have the token."
    )
    paper = [r for r in rows if r.get("paper")]
    if paper:
        own = [row(r) for r in paper if r["position"] != s["position"]]
        caption = (
            "Test AUROC at the positions that the paper reports, each at its best layer by "
            "validation"
        )
        tables.append(Table("positions", caption, columns, (row(s, True), *own), (note,)))
    if rows:
        caption = "Test AUROC at every position, each at its best layer by validation"
        tables.append(
            Table(
                "all-positions", caption, columns, tuple(row(r) for r in rows), (note,), folded=True
            )
        )
    return [_lean(table) for table in tables]


def readable_blocks(record: Mapping[str, Any]) -> list[Block]:
    """What can be read before the answer is written, and what after, each against the best signal
    available then."""
    if "readable" not in record:
        return []
    rows, missing, validation = [], [], []
    for when in ("before", "after"):
        facts = (record["readable"] or {}).get(when)
        if not facts:
            missing.append(f"No cell and simpler signal to compare are readable {when} the answer.")
            continue
        own = against_of(facts)
        signal, where = own.signal or {}, f"layer {own.cell['layer']}, {own.cell['position']}"
        gap = Number(own.difference, signed=True), between(own.difference_95, signed=True)
        rows.append(
            Row(
                (
                    when,
                    where,
                    Number(own.auroc),
                    signal["label"],
                    Number(signal["auroc"]),
                    *gap,
                    count(own.n),
                )
            )
        )
        validation += [f"{when}: {n:,}"] if (n := signal.get("n_validation")) is not None else []
    columns = (
        Column("Readable"),
        Column("Best cell"),
        AUROC,
        Column("Best signal then"),
        AUROC,
        Column("Difference", True),
        INTERVAL,
        N,
    )
    note = (
        "Cell and signal are both chosen by validation among what is readable at that time"
        + (
            f", the signal on the validation examples that all signals score "
            f"({', '.join(validation)})"
            if validation
            else ""
        )
        + ". All numbers of a row are over the same n test examples, those that both score."
    )
    table = Table(
        "readable",
        "Best cell against the best simpler signal, before and after the answer",
        columns,
        tuple(rows),
        (note,),
    )
    return [*([table] if rows else []), *(Prose(text, "small") for text in missing)]


def controls_blocks(record: Mapping[str, Any]) -> list[Block]:
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


def counts_table(record: Mapping[str, Any]) -> Table:
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


def provenance_blocks(r: Mapping[str, Any]) -> list[Block]:
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


def _timing(record: Mapping[str, Any]) -> list[tuple[str, str]]:
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


def _lean(table: Table) -> Table:
    """The table without optional columns in which nothing stands."""
    keep = [
        j
        for j, c in enumerate(table.columns)
        if not c.optional or any(r.cells[j] != "" for r in table.rows)
    ]
    rows = tuple(Row(tuple(r.cells[j] for j in keep), r.strong) for r in table.rows)
    return Table(
        table.name,
        table.caption,
        tuple(table.columns[j] for j in keep),
        rows,
        table.notes,
        table.folded,
    )
