"""Write the list of tasks in docs/tasks.md from the task files: `python scripts/write_tasks.py`."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from probebench.files import write_atomic
from probebench.tasks.schema import Task, list_tasks
from probebench.text import and_more

PAGE = Path(__file__).parent.parent / "docs" / "tasks.md"
BEGIN, END = "<!-- tasks, by scripts/write_tasks.py -->", "<!-- end of tasks -->"


def source(task: Task) -> str:
    """Where its examples come from, and whether that is fixed."""
    if task.source.hub is None:
        return and_more(task.source.name)
    return f"hub, {task.source.hub}{'' if task.source.revision else ' (not pinned)'}"


def table() -> str:
    """A line per task file, its variants beside it."""
    files: dict[str, list[Task]] = defaultdict(list)
    for task in list_tasks():
        files[task.path].append(task)
    lines = ["| task | variants | kind | source | split | licence |", "|---|---|---|---|---|---|"]
    for path, tasks in sorted(files.items(), key=lambda item: (item[1][0].kind, item[0])):
        first = next((t for t in tasks if t.name == Path(path).stem), tasks[0])
        others = ", ".join(f"`{t.name}`" for t in tasks if t is not first)
        cells = f"`{first.name}`", others, first.kind, source(first), first.split, first.licence
        lines.append(f"| {' | '.join(' '.join(c.replace('|', '/').split()) for c in cells)} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the list as the task files have it."""
    between = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    return between.sub(lambda _: f"\n{table()}\n\n", page)


if __name__ == "__main__":
    write_atomic(PAGE, written(PAGE.read_text(encoding="utf-8")).encode())
    print(PAGE)
