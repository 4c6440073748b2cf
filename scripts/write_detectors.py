"""Write the tables of docs/detectors.md: every row of the registry with what it needs, and, of
finished runs, what each scored and what its stages took.

    python scripts/write_detectors.py
    python scripts/write_detectors.py RUN RUN       # the tables of these runs too
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from probebench.detectors.registry import Description, Need
from probebench.detectors.suite import known
from probebench.record.run import Run
from probebench.report.bibtex import entry_of
from probebench.text import interval, number

PAGE = Path(__file__).parent.parent / "docs" / "detectors.md"
SHOWN: dict[Need, str] = {
    "samples": "`--samples`",
    "encoder": "`--encoder`",
    "inference model": "`--nli`",
    "untrained model": "`--control random-model`",
    "asking": "a model that generates",
    "token scores": "log-probabilities",
    "attention maps": "`--attn-implementation eager`",
}
"""What not every run has."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def methods() -> Iterator[list[str]]:
    """What has to be asked for, a line per row."""
    for row in known().values():
        if row.asked is None or row.method is None:
            continue
        m = row.method
        yield [
            row.of_any_run,
            f"`{row.asked}`",
            m.access,
            needs(row),
            m.passes,
            m.supervision,
            "answers, statements" if row.of_statements else "answers",
            source(row),
            m.changed or "nothing",
        ]


def baselines() -> Iterator[list[str]]:
    """What a run has anyway, or by a control."""
    for row in known().values():
        if row.asked is None:
            labels = "none" if row.label_free else "labels"
            given = "answers, statements" if row.of_statements else "answers"
            yield [row.of_any_run, row.kind, needs(row), labels, given, source(row)]


def needs(row: Description) -> str:
    """What a run must have for it, beside text, states and labels."""
    found = [words for need, words in SHOWN.items() if need in row.needs]
    return ", ".join(found) or "-"


def source(row: Description) -> str:
    """Authors, year and arXiv number of the paper that it cites."""
    if row.source is None:
        return "-"
    entry = entry_of(row.source)
    found = dict(re.findall(r"(\w+) = \{(.*)\}", entry))
    first = found["author"].split(",")[0].replace("{", "").replace("}", "")
    first = re.sub(r'\\"(\w)', lambda m: unicodedata.normalize("NFC", f"{m[1]}\u0308"), first)
    others = " et al." if " and " in found["author"] else ""
    number = re.search(r"arXiv[: ](?:preprint arXiv:)?(\d{4}\.\d{4,5})", entry)
    return f"{first}{others} {found['year']}" + (f", arXiv:{number[1]}" if number else "")


def written(page: str) -> str:
    """The page with both tables as the registry has them."""
    tables = {
        "methods": table(
            "detector|`--detectors`|reads|needs|cost per answer|labels|of|source|changed".split(
                "|"
            ),
            methods(),
        ),
        "baselines": table("detector|kind|needs|labels|of|source".split("|"), baselines()),
    }
    for name, text in tables.items():
        page = between(page, name, text)
    return page


def scored(runs: Sequence[Run]) -> str:
    """Every detector of the runs: AUROC, its interval and what the probe has more, side by side."""
    columns = ["detector"]
    for run in runs:
        columns += [f"{Path(run.record.model.name).name}: AUROC", "probe - this", "n"]
    known, rows = known_rows(runs), []
    for name, label in known.items():
        row = [label]
        for run in runs:
            row += _scored(run, name)
        rows.append(row)
    return table(columns, rows)


def known_rows(runs: Sequence[Run]) -> dict[str, str]:
    """Name -> words of every detector that a run has, or says why not: baselines and what a run has
    anyway first, the best first of each kind."""
    first = runs[0].record
    kinds = ("probe", "ensemble", "baseline", "method", "control")
    order = sorted(first.detectors, key=lambda d: (kinds.index(d.kind), -(d.auroc or 0.0)))
    found = {d.name: d.label for d in order}
    for run in runs:
        found |= {d.name: d.label for d in run.record.detectors if d.name not in found}
        for name in run.record.comparison.absent:
            row = known().get(name)
            if row is not None and row.asked is not None:
                found.setdefault(name, row.of_any_run)
    return found


def _scored(run: Run, name: str) -> list[str]:
    own = next((d for d in run.record.detectors if d.name == name), None)
    if own is None:
        return [run.record.comparison.absent.get(name, "not there"), "", ""]
    gap = own.probe_minus_this
    more = "" if gap is None else f"{number(gap, signed=True)} "
    return [
        f"{number(own.auroc)} {interval(own.auroc_95, 2)}",
        more + ("" if gap is None else interval(own.probe_minus_this_95, 2, signed=True)),
        f"{own.n:,}",
    ]


def took(runs: Sequence[Run]) -> str:
    """Seconds of each stage, all of it and for one of what it counts."""
    names = dict.fromkeys(name for run in runs for name in run.record.timing.stages)
    columns = ["stage", *(f"{Path(run.record.model.name).name}, s (each, s)" for run in runs)]
    rows = []
    for name in names:
        row = [name]
        for run in runs:
            own = run.record.timing.stages.get(name)
            each = "" if own is None or not own.done else f" ({own.seconds / own.done:.3f})"
            row.append("" if own is None else f"{own.seconds:,.0f}{each}")
        rows.append(row)
    return table(columns, rows)


def between(page: str, name: str, text: str) -> str:
    """A page with the text between two marks."""
    mark = rf"<!-- {name} -->\n.*?<!-- end of {name} -->"
    whole = f"<!-- {name} -->\n{text}\n<!-- end of {name} -->"
    return re.sub(mark, lambda _: whole, page, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN")
    runs = [Run.load(folder) for folder in parser.parse_args().runs]
    page = written(PAGE.read_text())
    if runs:
        page = between(between(page, "results", scored(runs)), "seconds", took(runs))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
