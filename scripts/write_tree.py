"""Write the tree of docs/architecture.md: a line per file, the first sentence of its docstring.

python scripts/write_tree.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE, PAGE = ROOT / "probebench", ROOT / "docs" / "architecture.md"
DATA = {"tiny": "The embedded model and its three tasks.", "published": "Figures of papers."}
COLUMNS = 100


def first_sentence(path: Path) -> str:
    """What a module's docstring says first."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.?!])(?<!et al\.)\s", text)[0].rstrip(".")


def clause(line: str) -> str:
    """A line that fits, cut where a clause ends, or a word."""
    if len(line) <= COLUMNS:
        return line
    ends = [m.start() for m in re.finditer(r"[,;:(]? ", line[: COLUMNS + 2]) if m.start() > 50]
    whole = [at for at in ends if line[:at].count("(") == line[:at].count(")")]
    clauses = [at for at in whole if line[at] in ",;:("]
    return line[: max(clauses or whole)].rstrip(" (")


def lines(folder: Path, depth: int = 1) -> list[str]:
    """The tree under a folder."""
    found = []
    places = sorted(p for p in folder.iterdir() if p.suffix == ".py" or p.name in DATA)
    rooms = sorted(p for p in folder.iterdir() if (p / "__init__.py").is_file())
    for path in [
        *(p for p in places if p.suffix == ".py"),
        *rooms,
        *(p for p in places if p.is_dir()),
    ]:
        if path.name == "__init__.py" and depth > 1:
            continue
        name, about = path.name, DATA.get(path.name, "").rstrip(".")
        if path.is_dir():
            name += "/"
            about = about or first_sentence(path / "__init__.py")
        else:
            about = first_sentence(path)
        line = f"{'  ' * depth}{name:<{26 - 2 * depth}}{about}"
        found.append(clause(line))
        if path.is_dir() and path.name not in DATA:
            found += lines(path, depth + 1)
    return found


def written(page: str) -> str:
    """The page with the tree as it is on the disk."""
    tree = "\n".join(["```text", "probebench/", *lines(PACKAGE), "```"])
    return re.sub(r"```text\nprobebench/\n.*?```", lambda _: tree, page, flags=re.DOTALL)


def main() -> None:
    PAGE.write_text(written(PAGE.read_text()))


if __name__ == "__main__":
    main()
