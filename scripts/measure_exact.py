"""How well exact answers are found in answers that people judged, as a Markdown table.

    python scripts/measure_exact.py DIR                         # the rule without a model, all rows
    python scripts/measure_exact.py DIR --model M --limit 200   # a model that copies, beside the
    rule on the same rows python scripts/measure_exact.py DIR --short                 # how short an
    answer must be to be its own exact answer

DIR holds `judged_<name>.jsonl`: question, answers, response, and the label that people gave as
`correct`. Refusals and answers without words are left out. An accepted alias is looked for word by
word, without case, accents, punctuation and articles, so that nothing of the judges or of the rules
decides what counts.

Columns: `found`, of wrong and of correct answers; `hit`, of the correct answers, those whose span
holds an alias, with Wilson's 95 % interval; `of those it could`, the same of the answers that hold
an alias at all; `extra words`, the mean number of words around the longest alias in spans that hold
one; `inside words`, spans that begin or end inside a word.
"""

from __future__ import annotations

import argparse
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure_judges import wilson

from probebench.tasks.exact.new_words import SHORT, new_phrase
from probebench.tasks.exact.phrases import cut_words
from probebench.tasks.exact.rules import declines
from probebench.types import Span

SETS = ("triviaqa", "nq", "nq301", "efficientqa")
Row = dict[str, Any]
HEAD = (
    "| answers | exact answers by | n | found, wrong | found, correct | hit | of those it could | "
    "extra words | inside words |"
)


@dataclass(frozen=True)
class Found:
    """Spans of some answers, one each."""

    rows: Sequence[Row]
    spans: Sequence[Span | None]

    def line(self, name: str, by: str) -> str:
        """One line of the table."""
        rates = []
        for label in (0, 1):
            some = [
                s for r, s in zip(self.rows, self.spans, strict=True) if int(r["correct"]) == label
            ]
            rates.append(sum(s is not None for s in some) / max(len(some), 1))
        correct = [(r, s) for r, s in zip(self.rows, self.spans, strict=True) if int(r["correct"])]
        could = [(r, s) for r, s in correct if alias_words(r, r["response"]) is not None]
        held = [
            (r, s, k)
            for r, s in could
            if s is not None and (k := alias_words(r, cut(r, s))) is not None
        ]
        extra = sum(len(plain(cut(r, s))) - k for r, s, k in held) / max(len(held), 1)
        inside = sum(
            s is not None and splits_word(r["response"], s)
            for r, s in zip(self.rows, self.spans, strict=True)
        )
        low, high = wilson(len(held), len(correct))
        return (
            f"| {name} | {by} | {len(self.rows):,} | {rates[0]:.3f} | {rates[1]:.3f} | "
            f"{len(held) / len(correct):.3f} [{low:.2f}, {high:.2f}] | "
            f"{len(held) / max(len(could), 1):.3f} | {extra:.1f} | {inside} |"
        )


def plain(text: str) -> list[str]:
    """Words for comparison."""
    bare = "".join(
        c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
    ).casefold()
    return [w for w in re.findall(r"[^\W_]+", bare) if w not in ("a", "an", "the")]


def alias_words(row: Row, text: str) -> int | None:
    """Words of the longest alias that the text holds; None when it holds none."""
    words = plain(text)
    found = [
        a
        for a in map(plain, row["answers"])
        if a and any(words[i : i + len(a)] == a for i in range(len(words)))
    ]
    return max(map(len, found), default=None)


def cut(row: Row, span: Span) -> str:
    return str(row["response"][span.start : span.end])


def splits_word(text: str, span: Span) -> bool:
    """Does a span begin or end between two letters or digits of scripts that part words by
    spaces?"""

    def joined(i: int) -> bool:
        return (
            0 < i < len(text)
            and text[i - 1].isalnum()
            and text[i].isalnum()
            and max(text[i - 1], text[i]) < "\u0e00"
        )

    return joined(span.start) or joined(span.end)


def read(folder: Path, name: str, limit: int | None, longer: int) -> list[Row]:
    rows = [
        json.loads(line)
        for line in (folder / f"judged_{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    rows = [
        r for r in rows if not declines(r["response"]) and len(cut_words(r["response"])) > longer
    ]
    return rows[:: max(1, len(rows) // limit)][:limit] if limit else rows


def copied(path: str, rows: Sequence[Row]) -> list[Span | None]:
    """What a model copies."""
    from probebench.models.copier import Copier
    from probebench.models.generate import stop_tokens
    from probebench.models.loading import ModelSpec, find_model, load_model
    from probebench.tasks.schema import Generation

    handle = find_model(ModelSpec(path))
    copier = Copier(
        handle,
        [str(i) for i in range(len(rows))],
        [r["question"] for r in rows],
        [r["response"] for r in rows],
    )
    return copier.copy(
        load_model(handle), range(len(rows)), stop_tokens(handle, Generation(stop=("\n",))), None
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="a model that copies the exact answers")
    parser.add_argument("--limit", type=int, help="rows of each file, spread over it")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument(
        "--short",
        action="store_true",
        help="try lengths of answers that are their own exact answer",
    )
    asked = parser.parse_args()
    rule: Callable[[Row], Span | None] = lambda r: new_phrase(r["question"], r["response"])  # noqa: E731
    print(f"{HEAD}\n|{'---|' * HEAD.count('| ')}")
    for name in asked.sets:
        rows = read(asked.folder, name, asked.limit, SHORT if asked.model else 0)
        for words in (0, 1, 2, 3, 4, 5, 6, 8, 10, 15) if asked.short else ():
            spans = [new_phrase(r["question"], r["response"], short=words) for r in rows]
            print(Found(rows, spans).line(name, f"whole up to {words} words"))
        if not asked.short:
            print(Found(rows, [rule(r) for r in rows]).line(name, "`new_words`"))
        if asked.model:
            print(
                Found(rows, copied(asked.model, rows)).line(name, f"`{Path(asked.model).name}`"),
                flush=True,
            )


if __name__ == "__main__":
    main()
