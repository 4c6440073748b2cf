"""A finished run as a person reads it: eighty columns are enough."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from probebench.record.claims import against_of, chance_sentence, coverage
from probebench.record.published import shown as short
from probebench.record.words import part_words, terms
from probebench.text import interval, number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from probebench.record.run import Run

CONTROLS = "controls"
ALWAYS = ("text_embedding", "p_true", "p_true_exact")
"""Baselines that are shown whatever else of their family is."""


def print_summary(run: Run, console: Console) -> None:
    """Model, task, counts, the selected cell, all detectors, warnings, and where the files are."""
    from rich.markup import escape

    r = run.record
    everything, test = r["counts"]["all"], r["counts"]["test"]
    found = everything["exact_found"]
    model, task = r["model"], r["task"]
    version = f" v{task['version']}" if task["version"] else ""
    console.print(
        f"[bold]{escape(model['name'])}[/bold] on [bold]{escape(task['name'])}[/bold]{version}   "
        f"{model['n_layers']} layers, width {model['width']}, {model['dtype']}",
        highlight=False,
    )
    what, right, _ = terms(r)
    console.print(
        f"{what} {everything['n']:,}, {right} {everything['accuracy']:.1%}; test {test['n']:,} in "
        f"{test['groups']:,} groups, "
        f"{test['correct']:,} {right}",
        highlight=False,
    )
    if part := part_words(r):
        console.print(f"examples: {escape(part)}", highlight=False)
    if task["kind"] != "statements":
        console.print(
            f"exact answer found: {_percent(found['all'])} "
            f"(correct {_percent(found['correct'])}, wrong {_percent(found['wrong'])}){_held(r)}",
            highlight=False,
        )
    if (cut := everything["not_stopped"]) and task["kind"] != "statements":
        limit = r["generation"].get("max_new_tokens")
        where = f" at {limit} tokens" if limit else ""
        console.print(
            f"cut off{where}: {cut:,} of {everything['n']:,} answers ({cut / everything['n']:.1%})",
            highlight=False,
        )
    if r["second_opinion"]:
        o = r["second_opinion"]
        console.print(
            f"second opinion of {escape(o['model'])}: agrees on "
            f"{_percent({'rate': o['agreement']})} of {o['with_opinion']:,}, "
            f"kappa {number(o['kappa'])}",
            highlight=False,
        )
    for line in headline(r):
        console.print(line, highlight=False)
    console.print()
    print_table(_positions(r["by_position"], r["selection"]), console)
    console.print()
    print_table(_detectors(r), console)
    c = r["comparison"]
    console.print(
        f"[dim]every row: n = {c['n_compared']:,} of {c['n_test']:,} test {what}; shuffled labels: "
        "n = "
        f"{r['selection']['n_test']:,}; positive class: {right}; 95 % intervals: cluster bootstrap "
        "by group, of shuffled labels "
        "over repeats.[/dim]",
        highlight=False,
    )
    if r["published"]:
        console.print()
        print_table(_published(r["published"]), console)
        source = r["published"]["rows"][0]["source"]
        differs = len(r["published"]["differs"])
        console.print(
            f"[dim]{escape(source)}; {differs} things differ: see record.json[/dim]",
            highlight=False,
        )
    for reason in dict.fromkeys(c["absent"].values()):
        names = ", ".join(name for name, why in c["absent"].items() if why == reason)
        console.print(f"[dim]not in the table: {names}, {escape(reason)}[/dim]", highlight=False)
    for line in absent_sites(r["sites"]):
        console.print(f"[dim]not there: {escape(line)}[/dim]", highlight=False)
    for warning in r["warnings"]:
        console.print(f"[yellow]note:[/yellow] {escape(warning)}", highlight=False)
    console.print()
    if run.resumed:
        console.print("This run was finished before; nothing was computed again.", highlight=False)
    console.print(
        f"heatmap.png, record.json, scores.parquet and more in {escape(str(run.folder))}/",
        highlight=False,
        soft_wrap=True,
    )


def print_table(table: Table, console: Console) -> None:
    """A table without the blanks that rich puts behind its last column, for pipes, files and
    copies."""
    from rich.text import Text

    for line in console.render_lines(table, pad=False):
        text = Text.assemble(*((part.text, part.style or "") for part in line))
        text.rstrip()
        console.print(text, highlight=False, no_wrap=True)


def headline(r: Mapping[str, Any]) -> list[str]:
    """The selected cell, and the best cell and baseline of before and after the answer, as lines
    with console markup.

    Each comparison stands on one sample, whose n is beside it.
    """
    from rich.markup import escape

    s, what = r["selection"], terms(r).what
    partly = coverage(r)
    lines = [
        f"best cell by validation: {s['site']}, layer [bold]{s['layer']}[/bold], "
        f"[bold]{s['position']}[/bold]",
        f"test AUROC there: [bold]{number(s['test_auroc'])}[/bold] "
        f"{interval(s['test_auroc_95'], 2)}, n = {s['n_test']:,}"
        + (
            f" of {partly[1]:,} test {what}: the others lack that token"
            if partly
            else f" test {what}"
        ),
        chance_sentence(r),
    ]
    for when in ("before", "after"):
        found = r["readable"][when]
        if found is None:
            continue
        own = against_of(found)
        time = "beside it" if r["task"]["kind"] == "statements" else f"{when} the answer"
        signal = own.signal or {}
        lines += [
            f"{time}: probe {number(own.auroc)} (layer {own.cell['layer']}, "
            f"{own.cell['position']}), n = {own.n:,}",
            f"  best baseline {number(signal['auroc'])} ({escape(signal['label'])}; "
            f"{own.rule.replace('chosen on', 'by')})",
            f"  probe minus baseline {number(own.difference, signed=True)} "
            f"{interval(own.difference_95, 2, signed=True)}, "
            f"n = {own.n:,}",
        ]
    left = r["confounds"]["residual"]
    if left:
        lines.append(
            f"without what length, place and source explain: {number(left['auroc'])} "
            f"{interval(left['auroc_95'], 2)}, with it "
            f"{number(left['probe_auroc'])}, n = {left['n']:,}"
        )
    if curve := r["learning_curve"]:
        points = [*curve["points"], curve["all"]]
        by = ", ".join(f"{p['n']:,}: {number(p['auroc'])}" for p in points)
        lines.append(f"by train examples: {by}; n = {curve['n_test']:,}")
    if noise := r["label_noise"]:
        first, second = (
            noise["scores"]["fitted_to_first"][f"scored_under_{which}"]
            for which in ("first", "second")
        )
        lines.append(
            f"labels of {escape(noise['judge'])}: kappa {number(noise['kappa'])}; the probe's "
            "AUROC under them "
            f"{number(second['auroc'])} {interval(second['auroc_95'], 2)}, under the first "
            f"{number(first['auroc'])}, "
            f"n = {second['n']:,}"
        )
    return lines


def _positions(rows: Sequence[Mapping[str, Any]], selection: Mapping[str, Any]) -> Table:
    """The best layer of each position of the paper's tables, and of the selected one."""
    table = _table("position", "layer", "AUROC", "95 %", "n")
    table.title, table.title_justify, table.title_style = (
        "best layer of a position, by validation",
        "left",
        "dim",
    )
    for row in rows:
        if not (row["paper"] or row["position"] == selection["position"]):
            continue
        mark = "[bold]" if row["position"] == selection["position"] else ""
        if row["layer"] is None:
            table.add_row(row["position"], "-", "not defined", "", "")
        else:
            table.add_row(
                f"{mark}{row['position']}",
                row["layer"],
                number(row["test_auroc"]),
                interval(row["test_auroc_95"], 2),
                f"{row['n_test']:,}",
            )
    return table


def _detectors(r: Mapping[str, Any]) -> Table:
    """All probes, ensembles and controls; of the baselines, before and after the answer, the best
    one of each family."""
    from rich.markup import escape

    table = _table("detector", "AUROC", "95 %", "probe - this")
    c = r["comparison"]
    table.title, table.title_justify, table.title_style = (
        f"on the same {c['n_compared']:,} test {terms(r).what}",
        "left",
        "dim",
    )
    for title, rows in sections(r["detectors"]):
        if r["task"]["kind"] == "statements":
            title = title.removesuffix(" before the answer")
        shown = best_of_family(rows)
        table.add_row(f"[dim]{title}[/dim]")
        for d in shown:
            gap, ends = d["probe_minus_this"], d["probe_minus_this_95"]
            difference = (
                ""
                if gap is None
                else f"{number(gap, signed=True)} {interval(ends, 2, signed=True)}"
            )
            table.add_row(
                f"  {escape(d['label'])}",
                number(d["auroc"]),
                interval(d["auroc_95"], 2),
                difference,
            )
        if len(shown) < len(rows):
            table.add_row(f"[dim]  and {len(rows) - len(shown)} more in record.json[/dim]")
        if title == CONTROLS:
            found = r["controls"]["shuffled_labels"]
            label = f"  shuffled labels, mean of {found['repeats']}"
            table.add_row(
                label, number(found["mean_auroc"]), interval(found["mean_auroc_95"], 2), ""
            )
    return table


def sections(detectors: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Detectors by kind; baselines by when they can be read, the highest test AUROC first."""

    def of(kind: str, when: str | None = None) -> list[Mapping[str, Any]]:
        return [d for d in detectors if d["kind"] == kind and when in (None, d["when"])]

    def falling(rows: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return sorted(rows, key=lambda d: -(d["auroc"] if d["auroc"] is not None else -1.0))

    found = [
        ("probes", of("probe")),
        ("ensembles of probes", of("ensemble")),
        ("baselines before the answer", falling(of("baseline", "before"))),
        ("baselines after the answer", falling(of("baseline", "after"))),
    ]
    return [*((title, rows) for title, rows in found if rows), (CONTROLS, of("control"))]


def best_of_family(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of baselines that differ only in what they average over the first one; all others."""
    seen: set[str] = set()
    kept = []
    for row in rows:
        family = (
            row["name"].split("_")[0]
            if row["kind"] == "baseline" and row["name"] not in ALWAYS
            else row["name"]
        )
        if family not in seen:
            seen.add(family)
            kept.append(row)
    return kept


def _published(found: Mapping[str, Any]) -> Table:
    """What a paper prints, beside this run."""
    table = _table("published", "AUROC", "here", "95 %", "n")
    for row in short(found["rows"]):
        own = row["our_auroc"]
        here = (
            ("", "", "")
            if own is None
            else (number(own), interval(row["our_auroc_95"], 2), f"{row['our_n']:,}")
        )
        table.add_row(row["detector"], f"{row['auroc']:.2f} \u00b1 {row['spread']:.3f}", *here)
    return table


def _table(*columns: str) -> Table:
    """A plain table whose first column is text and whose numbers stand right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for i, name in enumerate(columns):
        right = name in ("AUROC", "n", "layer", "here")
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=i > 0,
            overflow="fold" if i == 0 else "ellipsis",
        )
    return table


def absent_sites(sites: Mapping[str, Any]) -> list[str]:
    """One line per reason: which sites are not there, in how many layers, and why."""
    found: dict[str, dict[str, int]] = {}
    for site, facts in sites.items():
        for reason in facts["absent"].values():
            # "layer 3 is ..." and "layer 4 is ..." are one reason
            own = found.setdefault(re.sub(r"\blayer \d+\b", "the layer", reason), {})
            own[site] = own.get(site, 0) + 1
    return [
        f"{', '.join(own)} in {'-'.join(dict.fromkeys(map(str, sorted(set(own.values())))))} "
        f"layers: {reason}"
        for reason, own in found.items()
    ]


def _percent(found: Mapping[str, Any]) -> str:
    return "none" if found["rate"] is None else f"{found['rate']:.1%}"


def _held(record: Mapping[str, Any]) -> str:
    """How often the exact answer of a correct answer is itself correct; nothing where there is no
    rule or an older record."""
    held = (record.get("exact_answer") or {}).get("holds_answer")
    return (
        f"; by {record['exact_answer']['rule']}, in {_percent(held)} of {held['of']:,} correct it "
        "holds the answer"
        if held and held["of"]
        else ""
    )
