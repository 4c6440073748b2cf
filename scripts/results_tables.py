"""Tables of docs/results.md, from finished runs. Used by `scripts/write_results.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd
from results_pictures import detector, short

from probebench.across.transfer_map import transfer_matrix
from probebench.detectors import suite
from probebench.leaderboard.board.models import computed_in
from probebench.record.claims import ALPHA, chance, headline, p_words
from probebench.record.run import Run
from probebench.text import as_float, interval, number


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown, as lines."""
    return [f"| {' | '.join(r)} |" for r in (columns, ["---"] * len(columns), *rows)] + [""]


def task_words(run: Run) -> str:
    """The task of a run, and whether its examples were a file of one's own."""
    published = run.record.data.origin.startswith(("files:", "hub:"))
    return f"{run.record.task.name}{'' if published else ', own file'}"


def named(run: Run) -> str:
    """Task and model of a run."""
    return f"{task_words(run)} ({short(run)})"


def above_shuffled(run: Run) -> bool:
    """Does a cell of its map lie above shuffled labels (max-statistic)?"""
    return as_float(chance(run.record).map_p) < ALPHA


def scored(run: Run, name: str) -> str:
    """A detector's AUROC with its interval, or nothing."""
    found = detector(run, name)
    return f"{number(found.auroc, 2)} {interval(found.auroc_95, 2)}" if found else ""


def models(runs: Sequence[Run], ranked: Sequence[Run]) -> list[str]:
    """One line per model of `runs`, with its number of ranked ones."""
    of = {short(run): run.record.model for run in runs}
    tasks = Counter(short(run) for run in ranked)
    negated = Counter(short(run) for run in ranked if run.record.task.name.startswith("neg_"))
    return table(
        [
            "model",
            "file",
            "architecture",
            "parameters",
            "blocks x width",
            "asked by",
            "weights",
            "rows, of them negated",
        ],
        (
            [
                name,
                m.name,
                m.architecture.removesuffix("ForCausalLM"),
                f"{m.n_parameters / 1e6:,.0f} M",
                f"{m.n_layers} x {m.width}",
                "its chat template" if m.chat_template else "plain text, to the end of a line",
                f"{m.gguf.quantization if m.gguf else m.quantization}, computed in "
                f"{computed([run for run in runs if short(run) == name])}",
                f"{tasks[name]}, {negated[name]}",
            ]
            for name, m in of.items()
        ),
    )


def computed(runs: Sequence[Run]) -> str:
    """The types that a model's runs were computed in."""
    by: dict[str, list[str]] = {}
    for run in runs:
        by.setdefault(run.record.model.dtype, []).append(task_words(run))
    return computed_in(by)


def row(run: Run) -> list[str]:
    """A line of the table of statements."""
    r = run.record
    best, scored_by_all, added = headline(r), r.detectors[0].n, r.added
    return [
        task_words(run),
        short(run),
        f"**{number(best.auroc, 2)}** {interval(best.auroc_95, 2)}",
        f"{best.signal['label']} {number(best.signal['auroc'], 2)}{_same(run, best.signal.name)}",
        difference(best.difference, best.difference_95),
        f"{best.n:,}{f' ({scored_by_all:,})' if scored_by_all != best.n else ''}",
        f"{best.cell.layer} of {r.model.n_layers}, {best.cell.position}",
        p_words(chance(r).map_p),
        difference(added.difference, added.difference_95) if added else "",
        scored(run, "text"),
        scored(run, "text_embedding"),
        scored(run, "probe_emb"),
        scored(run, "probe_random_model"),
    ]


def difference(difference: float | None, ends: Sequence[float | None]) -> str:
    """A difference with its interval."""
    return f"{number(difference, 2, signed=True)} {interval(ends, 2, signed=True)}"


def _same(run: Run, name: str) -> str:
    """Says of a signal that it is the same for all examples."""
    found = detector(run, name)
    return " (the same for all)" if found and found.auroc_95 == (0.5, 0.5) else ""


def turned(runs: Sequence[Run]) -> list[str]:
    """On which rows a signal that ranks the wrong way round would, turned round, be a harder rival
    than the best simpler signal."""
    told = []
    for run in runs:
        free = [d for d in run.record.detectors if suite.label_free(d.name)]
        lowest = min(free, key=lambda d: d.auroc)
        if as_float(lowest.auroc_95[1]) < 0.5 and 1 - lowest.auroc > as_float(
            headline(run.record).signal["auroc"]
        ):
            told.append(f"{named(run)} ({lowest.label} {number(lowest.auroc, 2)})")
    if not told:
        return []
    return [
        "The sign of a signal that is fitted to no label is fixed beforehand, a probe learns its "
        "own. On these rows the lowest such signal, picked on test, ranks the wrong way round with "
        "its whole interval and would, turned round, be a harder rival than the best one: "
        f"{', '.join(told)}. There *probe minus it* says too much; "
        "*added to all* does not, since it fits signs.",
        "",
    ]


def rows(runs: Sequence[Run]) -> list[str]:
    """The table of probes against what is simpler."""
    return table(
        [
            "task",
            "model",
            "probe",
            "best simpler signal",
            "probe minus it",
            "test n",
            "selected cell (layer, token)",
            "any cell",
            "added to all",
            "text only",
            "text embedding",
            "embedding row",
            "random weights",
        ],
        map(row, runs),
    )


def transfer_table(t: pd.DataFrame) -> list[str]:
    """Train task x test task, AUROC and cosine."""
    auroc, cosine = (transfer_matrix(t, c) for c in ("auroc", "cosine"))
    return table(
        ["probe of", *auroc.columns],
        (
            [
                str(train),
                *(
                    f"**{number(auroc.loc[train, test], 2)}**"
                    if train == test
                    else number(auroc.loc[train, test], 2)
                    + (f" ({number(c, 2)})" if pd.notna(c := cosine.loc[train, test]) else "")
                    for test in auroc.columns
                ),
            ]
            for train in auroc.index
        ),
    )


def read_transfers(lines: Sequence[str]) -> pd.DataFrame:
    """The AUROCs of such a table again, NaN where one is not defined."""
    head, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line]
    values = [[c.strip("*").split(" ")[0] for c in cells] for _, *cells in rows]
    numbers = [[float(v) if v[:1].isdigit() else float("nan") for v in row] for row in values]
    return pd.DataFrame(numbers, index=[name for name, *_ in rows], columns=head[1:])


def negations(t: pd.DataFrame) -> list[str]:
    """Probes of statements on their negations, and the other way round."""
    return table(
        ["model", "probe of", "on", "AUROC", "own task's probe", "cosine", "whitened", "n"],
        (
            [
                r.model,
                r.train_task,
                r.test_task,
                f"**{number(r.auroc, 2)}** {interval((r.low, r.high), 2)}",
                number(r.own_auroc, 2),
                number(r.cosine, 2),
                number(r.mahalanobis_cosine, 2),
                f"{r.n:,}",
            ]
            for r in t.itertuples()
        ),
    )


def positions(run: Run) -> list[str]:
    """The best layer of each token, best validation AUROC first."""
    there = [p for p in run.record.by_position if p.validation_auroc is not None]
    best = sorted(there, key=lambda p: -as_float(p.validation_auroc))
    return table(
        ["token", "layer", "validation AUROC", "test AUROC", "test n"],
        (
            [
                f"`{p.position}`{' (too rare to compete)' if p.barred else ''}",
                str(p.layer),
                number(p.validation_auroc, 2),
                f"{number(p.test_auroc, 2)} {interval(p.test_auroc_95, 2)}",
                f"{p.n_test:,}",
            ]
            for p in best
        ),
    )


def sites(run: Run) -> list[str]:
    """The best cell of each part of a block, by validation."""
    best = {name: s.best for name, s in run.record.sites.items() if s.best}
    return table(
        ["part", "layer", "token", "validation AUROC", "test AUROC", "width"],
        (
            [
                f"`{name}`",
                str(cell.layer),
                f"`{cell.position}`",
                number(cell.validation_auroc, 2),
                f"{number(cell.test_auroc, 2)} {interval(cell.test_auroc_95, 2)}",
                "-".join(map(str, sorted(set(run.record.sites[name].widths)))),
            ]
            for name, cell in best.items()
        ),
    )
