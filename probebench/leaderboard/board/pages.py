"""The static site: pages from templates, data as files that scripts of this site read.

Nothing is fetched at run time, so that pages work from a disk: data files are scripts that hold one
JSON text each. Submitted text reaches a page in two ways only: through the templates, which escape
it, and through that JSON, which scripts turn into text nodes. The site's content security policy
forbids inline code, evaluation and other servers.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probebench._version import __version__
from probebench.errors import ProbebenchError
from probebench.files import write_atomic
from probebench.leaderboard.board.curves import (
    BANDS,
    LayerCurve,
    across,
    best_curves,
    colours,
    down,
    layer_curve,
    places,
)
from probebench.leaderboard.board.data import (
    map_data,
    paired_data,
    partners,
    row_data,
    script,
    standing_data,
)
from probebench.leaderboard.board.models import Model, safe_slug
from probebench.leaderboard.board.rows import (
    TIERS,
    Absent,
    Board,
    BoardRow,
    Run,
    best_first,
    hardest_baselines,
    old_words,
    turned_round,
)
from probebench.leaderboard.board.said import (
    ends,
    figure,
    glossary,
    said,
    stream_words,
    tally,
    token_words,
    widest_margin_first,
)
from probebench.leaderboard.board.texts import to_csv
from probebench.models.blocks.layouts import SITES
from probebench.record.claims import p_words

if TYPE_CHECKING:
    from jinja2 import Environment

    from probebench.leaderboard.board.entries import Entry
    from probebench.tasks.schema import Task
HERE = Path(__file__).parent / "site"
FIRST = 50
"""Rows that stand in a page itself, for readers without scripts."""
SENTENCES, FEW = 8, 3
"""Runs that are said in words at once, and before a map; the others unfold."""
MOST = 200
"""Runs that are said in words at all: a sentence is half a kilobyte of a page."""


class Site:
    """A site being written.

    Args:
        out: an empty folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.maps: dict[str, list[dict[str, str]]] = {}
        """Slug of a model -> its maps: task, site and key of the data file."""
        self.curves: dict[str, list[LayerCurve]] = {}
        """Name of a task -> a line per submission."""
        self.places: dict[str, int] = {}
        """Slug of a model -> its place among all lines, which is its colour."""
        self.warnings: dict[str, list[str]] = {}
        self.slugs: dict[str, str] = {}
        """Name of a task -> its name in addresses."""
        self.cards = _task_cards()
        self.kinds = {name: card.kind for name, card in self.cards.items()}
        self.hardest: dict[Run, BoardRow] = {}
        """Of each run, the baseline that is hardest to beat."""
        self.turned: dict[Run, BoardRow] = {}
        """Of some runs, one that would be harder, were its sign not fixed."""
        self.absent: Sequence[Absent] = ()
        """Runs that gave no row."""
        self.environment = _environment()
        shutil.copytree(HERE / "assets", out / "assets", copy_function=shutil.copyfile)

    def add_maps(self, entry: Entry) -> None:
        """Write the maps of a submission, one file per site; called while its cells are in
        memory."""
        model = safe_slug(entry.slug)
        if (curve := layer_curve(entry)) is not None:
            self.curves.setdefault(entry.task, []).append(curve)
        old = "" if entry.current else old_words(entry.protocol_version, entry.task_version)
        if entry.warnings:
            words = f"{entry.task}, {old}: " if old else f"{entry.task}: "
            self.warnings.setdefault(model, []).extend(words + w for w in entry.warnings)
        for site in dict.fromkeys(c.site for c in entry.cells):
            task = f"{entry.task} ({old})" if old else entry.task
            name = f"v{entry.protocol_version}-{safe_slug(entry.task_folder)}-{safe_slug(site)}"
            key = f"maps/{model}/{name}"
            self.put(key, map_data(entry, site))
            self.maps.setdefault(model, []).append({"task": task, "site": site, "key": key})

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """One data file."""
        write_atomic(self.out / "data" / f"{key}.js", script(key, content).encode())

    def write(self, board: Board) -> None:
        """All pages."""
        self.slugs = {name: safe_slug(name) for name in board.tasks}
        self.absent = board.absent
        self.places = places(c for curves in self.curves.values() for c in curves)
        of_task: dict[str, list[BoardRow]] = {name: [] for name in board.tasks}
        of_model: dict[str, list[BoardRow]] = {model.slug: [] for model in board.models}
        for row in board.rows:
            of_task[row.task].append(row)
            of_model[row.model.slug].append(row)
        self.hardest = hardest_baselines(board.rows)
        self.turned = turned_round(board.rows, self.hardest)
        overview = [self._task(name, rows) for name, rows in of_task.items()]
        for model in board.models:
            self._model(model, of_model[model.slug])
        standings = board.standings()
        pairs = list(partners(board.rows).items())
        models = [standing_data(s) for s in standings]
        self.put("index", {"tiers": TIERS, "standings": models, "partners": pairs})
        self._page(
            "index.html",
            "index.html",
            tasks=overview,
            standings=standings,
            duels=board.duels(),
            n_models=len(board.models),
            n_measured=board.measured,
            tally=tally(said(board.rows, self.hardest, self.kinds, self.turned)),
        )
        self._page("compare.html", "compare.html")
        self._page("about.html", "about.html", sites=SITES, positions=glossary())

    def _page(self, path: str, template: str, **values: Any) -> None:
        """One page from its template."""
        common = {
            "root": "../" * path.count("/"),
            "page": Path(path).stem,
            "version": __version__,
            "slugs": self.slugs,
        }
        text = self.environment.get_template(template).render(**common, **values)
        write_atomic(self.out / path, text.encode())

    def _task(self, name: str, rows: Sequence[BoardRow]) -> dict[str, Any]:
        """Page, data and table of one task; what the overview says of it."""
        slug, headline = self.slugs[name], [r for r in rows if r.headline]
        self.put(f"tasks/{slug}", {"name": name, **row_data(rows, self.slugs)})
        write_atomic(self.out / "data" / "tasks" / f"{slug}.csv", to_csv(rows).encode())
        self._page(
            f"tasks/{slug}.html",
            "task.html",
            name=name,
            slug=slug,
            card=self.cards.get(name),
            first_rows=headline[:FIRST],
            published=any(r.protocol is None for r in rows),
            said=said(headline, self.hardest, self.kinds, self.turned),
            curves=colours(best_curves(self.curves.get(name, ())), self.places),
            lines=len(self.curves.get(name, ())),
            absent=[a for a in self.absent if a.task == name],
            bands=BANDS,
            across=across,
            down=down,
        )
        return {
            "name": name,
            "slug": slug,
            "kind": self.kinds.get(name),
            "n_models": len({r.model.slug for r in headline}),
            "runs": (runs := _first_group(headline, published=False)),
            "papers": _first_group(headline, published=True),
            "baseline": self.hardest.get(runs[0].run) if runs else None,
            "turned": self.turned.get(runs[0].run) if runs else None,
        }

    def _model(self, model: Model, rows: Sequence[BoardRow]) -> None:
        """Page and data of one model."""
        rows = sorted(
            rows, key=lambda r: (r.task, r.protocol is None, not r.current, *best_first(r))
        )
        headline = [r for r in rows if r.headline]
        told = sorted(
            said(headline, self.hardest, self.kinds, self.turned), key=widest_margin_first
        )
        runs = [s.run for s in told]
        order = [r.task for r in runs]
        others = sorted(
            (r for r in headline if r not in runs), key=lambda r: (not r.current, *best_first(r))
        )
        maps = sorted(
            self.maps.get(model.slug, []),
            key=lambda m: order.index(m["task"]) if m["task"] in order else len(order),
        )
        data = {"name": model.name, "maps": maps, "paired": paired_data(rows)}
        self.put(f"models/{model.slug}", {**data, **row_data(rows, self.slugs)})
        self._page(
            f"models/{model.slug}.html",
            "model.html",
            model=model,
            maps=maps,
            headline=[
                (r, self.hardest.get(r.run), self.turned.get(r.run)) for r in (*runs, *others)
            ],
            said=told,
            warnings=self.warnings.get(model.slug, []),
            absent=[a for a in self.absent if a.model.slug == model.slug],
        )


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
    environment.globals |= {
        "ends": ends,
        "number": figure,
        "p_words": p_words,
        "stream_words": stream_words,
        "token_words": token_words,
        "tally": tally,
        "SENTENCES": SENTENCES,
        "FEW": FEW,
        "MOST": MOST,
    }
    environment.globals["m"] = environment.get_template("macros.html").module
    return environment


def _task_cards() -> dict[str, Task]:
    from probebench.tasks.schema import list_tasks

    try:
        return {task.name: task for task in list_tasks()}
    except ProbebenchError:
        return {}


def _first_group(headline: Sequence[BoardRow], *, published: bool) -> list[BoardRow]:
    """The first group among runs, or among published figures; where nothing is ranked the highest
    stands alone."""
    pool = [r for r in headline if (r.protocol is None) is published and r.current]
    return [r for r in pool if r.rank == 1] or sorted(pool, key=best_first)[:1]
