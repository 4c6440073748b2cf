"""Write the two tables of docs/detectors.md: every row of the registry, with what it needs.

python scripts/write_detectors.py
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from probebench.detectors.registry import Description, Need
from probebench.detectors.suite import known
from probebench.report.bibtex import entry_of

PAGE = Path(__file__).parent.parent / "docs" / "detectors.md"
SHOWN: dict[Need, str] = {
    "samples": "`--samples`",
    "encoder": "`--encoder`",
    "inference model": "`--nli`",
    "untrained model": "`--control random-model`",
    "asking": "a model that generates",
    "token scores": "log-probabilities",
}
"""What not every run has."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
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
            labels = "none" if row.label_free or row.kind == "control" else "labels"
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
        mark = rf"<!-- {name} -->\n.*?<!-- end of {name} -->"
        whole = f"<!-- {name} -->\n{text}\n<!-- end of {name} -->"
        page = re.sub(mark, lambda _, whole=whole: whole, page, flags=re.DOTALL)
    return page


def main() -> None:
    PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
