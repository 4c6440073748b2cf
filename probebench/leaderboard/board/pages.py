"""The static site: pages from templates, data as files that scripts of this site read.

Nothing is fetched at run time, so that pages work from a disk: data files are scripts that hold one
JSON text each. Submitted text reaches a page in two ways only: through the templates, which escape
it, and through that JSON, which scripts turn into text nodes. The site's content security policy
forbids inline code, evaluation and other servers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench._version import __version__
from probebench.errors import ProbebenchError, RunError, UsageError
from probebench.leaderboard.board.rows import (
    TIERS,
    Board,
    Model,
    Row,
    Standing,
    best_first,
    safe_slug,
)
from probebench.leaderboard.board.texts import to_csv

if TYPE_CHECKING:
    from jinja2 import Environment

    from probebench.leaderboard.board.entries import Entry

HERE = Path(__file__).parent / "site"
MARK = ".probebench-site"
"""A file that says: everything here was built, and may be replaced."""
FIRST = 50
"""Rows that stand in a page itself, for readers without scripts."""
FIELDS = {"a": "auroc", "l": "low", "h": "high", "v": "validation_auroc", "s": "selectivity"}
"""Key in a map's data file -> field of a cell."""
UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&'\u2028\u2029\u007f"}
"""Characters that could end a script element or a line of code, as JSON writes them otherwise."""


class Site:
    """A site being written.

    Args:
        out: its folder; new, empty, or built by an earlier call.

    Raises:
        UsageError: the folder holds something else.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.maps: dict[str, list[dict[str, str]]] = {}
        """Slug of a model -> its maps: task, site and key of the data file."""
        self.warnings: dict[str, list[str]] = {}
        if out.exists() and (
            not out.is_dir() or (any(out.iterdir()) and not (out / MARK).is_file())
        ):
            raise UsageError(
                f"{out} exists and is not a site of an earlier build; choose another folder with "
                "--out."
            )
        try:
            for folder in ("assets", "data", "models", "tasks"):
                shutil.rmtree(out / folder, ignore_errors=True)
                (out / folder).mkdir(parents=True)
            (out / MARK).write_text(
                f"Built by probebench {__version__}; the next build replaces what is here.\n",
                encoding="utf-8",
            )
            for asset in sorted((HERE / "assets").iterdir()):
                shutil.copyfile(asset, out / "assets" / asset.name)
        except OSError as error:
            raise RunError(f"Cannot write the site to {out}: {error.strerror}.") from None

    def add_maps(self, entry: Entry) -> None:
        """Write the maps of a submission, one file per site; called while its cells are in
        memory."""
        model = safe_slug(entry.slug)
        if entry.warnings:
            words = (
                f"{entry.task}: "
                if entry.current
                else f"{entry.task}, version {entry.task_version}: "
            )
            self.warnings.setdefault(model, []).extend(words + w for w in entry.warnings)
        for site in dict.fromkeys(c.site for c in entry.cells):
            task = entry.task if entry.current else f"{entry.task} (version {entry.task_version})"
            key = f"maps/{model}/v{entry.protocol_version}-{safe_slug(entry.task_folder)}-{safe_slug(site)}"
            self.put(key, _map(entry, site))
            self.maps.setdefault(model, []).append({"task": task, "site": site, "key": key})

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """One data file: a call with a JSON text, so that no submitted text is ever code."""
        path = self.out / "data" / f"{key}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"PB.put({script_text(key)}, {script_text(json_text(content))});\n", encoding="utf-8"
        )

    def write(self, board: Board) -> None:
        """All pages."""
        environment = _environment()
        tasks, slugs = _task_cards(), {name: safe_slug(name) for name in board.tasks}

        def page(path: str, template: str, **values: Any) -> None:
            root = "../" * path.count("/")
            common = {"root": root, "page": Path(path).stem, "version": __version__, "slugs": slugs}
            (self.out / path).write_text(
                environment.get_template(template).render(**common, **values), encoding="utf-8"
            )

        overview, of_model = [], {m.slug: [] for m in board.models}  # type: ignore[var-annotated]
        by_task: dict[str, list[Row]] = {name: [] for name in board.tasks}
        for row in board.rows:
            by_task[row.task].append(row)
            of_model[row.model.slug].append(row)
        for name, rows in by_task.items():
            headline = [r for r in rows if r.headline]
            card = tasks.get(name)
            overview.append(
                {
                    "name": name,
                    "slug": slugs[name],
                    "kind": card.kind if card else None,
                    "n_models": len({r.model.slug for r in headline}),
                    "first": _first_group(headline),
                }
            )
            self.put(f"tasks/{slugs[name]}", {"name": name, **columns(rows, slugs)})
            (self.out / "data" / "tasks" / f"{slugs[name]}.csv").write_text(
                to_csv(rows), encoding="utf-8"
            )
            page(
                f"tasks/{slugs[name]}.html",
                "task.html",
                name=name,
                slug=slugs[name],
                card=card,
                first_rows=headline[:FIRST],
            )
        for model in board.models:
            rows = sorted(
                of_model[model.slug],
                key=lambda r: (r.task, r.protocol is None, not r.current, *best_first(r)),
            )
            maps = self.maps.get(model.slug, [])
            self.put(
                f"models/{model.slug}", {"name": model.name, "maps": maps, **columns(rows, slugs)}
            )
            page(
                f"models/{model.slug}.html",
                "model.html",
                model=model,
                maps=maps,
                headline=[r for r in rows if r.headline],
                warnings=self.warnings.get(model.slug, []),
            )
        standings = board.standings()
        self.put("index", {"tiers": TIERS, "standings": [_standing(s) for s in standings]})
        page(
            "index.html",
            "index.html",
            tasks=overview,
            standings=standings,
            duels=board.duels(),
            n_models=len(board.models),
            n_rows=len(board.rows),
        )
        page("compare.html", "compare.html")
        page("about.html", "about.html")


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["m"] = environment.get_template("macros.html").module
    return environment


def _task_cards() -> dict[str, Any]:
    from probebench.tasks.schema import list_tasks

    try:
        return {task.name: task for task in list_tasks()}
    except ProbebenchError:
        return {}


def _first_group(headline: Sequence[Row]) -> list[Row]:
    """The first group among runs, or among published figures where there are no runs; a row without
    rivals stands alone."""
    for published in (False, True):
        pool = [r for r in headline if (r.protocol is None) is published and r.current]
        if pool:
            return [r for r in pool if r.rank == 1] or (pool if len(pool) == 1 else [])
    return []


def _model(model: Model) -> list[Any]:
    return [model.name, model.slug, model.family, model.size, model.n_parameters]


def _standing(s: Standing) -> list[Any]:
    ends = [round(s.share.low, 4), round(s.share.high, 4)]
    return [
        *_model(s.model),
        [TIERS.index(t) for t in s.tiers],
        s.tasks,
        s.first,
        s.contested,
        *ends,
    ]


def _scaled(by: float, value: float | None) -> int | None:
    return None if value is None else round(value * by)


def columns(rows: Sequence[Row], slugs: Mapping[str, str]) -> dict[str, Any]:
    """Rows as columns of small numbers and the dictionaries they point into; a third of the size of
    one record per row."""
    models = _codes(r.model.slug for r in rows)
    tasks, detectors = (
        _codes(r.task for r in rows),
        _codes((r.detector, r.label, r.when) for r in rows),
    )
    sources = _codes(r.source for r in rows if r.source is not None)
    by_slug = {r.model.slug: r.model for r in rows}
    return {
        "models": [_model(by_slug[slug]) for slug in models],
        "tasks": [[name, slugs[name]] for name in tasks],
        "detectors": [list(d) for d in detectors],
        "tiers": TIERS,
        "sources": list(sources),
        "rows": {
            "m": [models[r.model.slug] for r in rows],
            "k": [tasks[r.task] for r in rows],
            "d": [detectors[r.detector, r.label, r.when] for r in rows],
            "a": [_scaled(1e4, r.auroc) for r in rows],
            "l": [_scaled(1e4, r.low) for r in rows],
            "h": [_scaled(1e4, r.high) for r in rows],
            "e": [_scaled(1e4, r.spread) for r in rows],
            "n": [r.n for r in rows],
            "g": [r.rank for r in rows],
            "t": [TIERS.index(r.tier) for r in rows],
            "v": [r.version for r in rows],
            "x": [int(r.headline) for r in rows],
            "o": [int(not r.current) for r in rows],
            "s": [None if r.source is None else sources[r.source] for r in rows],
        },
    }


def _codes(values: Iterable[Any]) -> dict[Any, int]:
    return {value: i for i, value in enumerate(dict.fromkeys(values))}


def _map(entry: Entry, site: str) -> dict[str, Any]:
    """One map as grids (layer, position) of thousandths; n is one number where it is the same
    everywhere."""
    cells = {(c.layer, c.position): c for c in entry.cells if c.site == site}
    layers = [layer for layer in entry.layers if any(key[0] == layer for key in cells)]
    positions = [p for p in entry.positions if any(key[1] == p for key in cells)]
    shown = [[cells.get((i, j)) for j in positions] for i in layers]

    def grid(field: str) -> list[list[int | None]]:
        return [
            [None if c is None else _scaled(1e3, getattr(c, field)) for c in row] for row in shown
        ]

    n = [[None if c is None else c.n for c in row] for row in shown]
    same = {value for row in n for value in row}
    chosen = entry.selection or {}
    return {
        "layers": layers,
        "positions": positions,
        **{key: grid(field) for key, field in FIELDS.items()},
        "n": same.pop() if len(same) == 1 else n,
        "why": {
            f"{i},{j}": c.masked
            for i, row in enumerate(shown)
            for j, c in enumerate(row)
            if c is not None and c.masked
        },
        "selected": [str(chosen["layer"]), str(chosen["position"])]
        if chosen.get("site") == site
        else None,
    }


def json_text(content: Any) -> str:
    """Strict, compact JSON."""
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def script_text(text: str) -> str:
    """A text as a JavaScript string that is safe in a script file and inside a script element."""
    return json.dumps(text, ensure_ascii=False).translate(UNSAFE)
