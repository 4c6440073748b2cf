"""The tree is the architecture: imports go one way, and README's tree is the disk."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "probebench"
ORDER = [
    {"models.blocks"},
    {"_version", "errors", "words", "markup", "probes.backends", "cli.values", "cli.groups"},
    {"tasks.notes", "tasks.files"},
    {"reach"},
    {
        "types",
        "models.layouts",
        "models.files",
        "states.shards",
        "models.batches",
        "probes.descent",
        "extras",
        "scoring.published",
    },
    {"judging.numerals", "judging.refusals", "judging.polarity", "judging.dates"},
    {"judging.wording"},
    {"judging.amounts", "judging.matching", "judging.options"},
    {"scoring.claims"},
    {
        "tasks.schema",
        "states.positions",
        "models.sites",
        "probes.solver",
        "scoring.metrics",
        "tasks.spans",
        "states.reader",
        "progress",
        "judging.final",
        "judging.mentions",
        "tasks.split",
        "store",
        "tasks.rows",
        "tasks.columns",
        "tasks.opinion",
        "tasks.chats",
        "models.padding",
        "models.agreement",
        "models.devices",
        "models.gguf",
        "models.hashes",
        "models.adapters",
    },
    {"scoring.intervals", "maps.heatmap", "tasks.judge", "tasks.phrases", "models.ggufmodel"},
    {"tasks.local", "tasks.newwords"},
    {
        "scoring.ranking",
        "scoring.angles",
        "scoring.calibration",
        "scoring.common",
        "scoring.paired",
        "models.checkpoints",
        "probes.estimators",
        "tasks.sources",
        "tasks.exact",
        "tasks.copying",
        "models.guided",
        "maps.numbers",
        "tasks.thinking",
    },
    {"models.specs", "models.classes"},
    {"models.loading", "scoring.evaluate"},
    {"models.bare", "probes.kinds", "tasks.prompts", "states.arrays", "states.conventions"},
    {"tasks.marks"},
    {"tasks.mending", "tasks.echoes"},
    {
        "models.memory",
        "budgets",
        "models.untrained",
        "models.generate",
        "tasks.ptrue",
        "tasks.given",
        "tasks.card",
        "probes.saved",
    },
    {"states.sound"},
    {"states.extract", "probes.fit", "run", "models.copier"},
    {"timing"},
    {"models.embed", "models.letters", "scoring.signals", "scoring.text"},
    {"scoring.ensembles", "scoring.curves", "scoring.noise"},
    {"scoring.refit", "scoring.matched"},
    {"scoring.union", "scoring.topics", "scoring.compare"},
    {
        "scoring.baselines",
        "settings",
        "states.attribution",
        "scoring.transfer",
        "scoring.neutral",
        "states.exchange",
    },
    {"scoring.shown"},
    {"tasks.gather", "maps.draw", "summary", "replies", "states.verify", "states.export"},
    {"scoring.score", "states.given", "states.recomputed", "states.requests"},
    {"states.lookalike"},
    {"states.foreign"},
    {"scoring.confounds", "scoring.readable", "scoring.warnings"},
    {"record", "tables"},
    {"classes"},
    {"finder"},
    {"stages"},
    {"cells", "estimate", "opinions", "alone"},
    {"studies", "beside", "prepare"},
    {"preview", "pipeline"},
    {"several"},
    {"leaderboard.groups", "leaderboard.names", "leaderboard.strict", "leaderboard.taskdata"},
    {"leaderboard.columns"},
    {"leaderboard.submission"},
    {"leaderboard.submit", "leaderboard.entries"},
    {"leaderboard.shape"},
    {"leaderboard.recompute", "leaderboard.suspicious"},
    {"leaderboard.maprules", "leaderboard.signalrules"},
    {"leaderboard.rules"},
    {"leaderboard.validate"},
    {"leaderboard.steps", "leaderboard.rerun", "leaderboard.difference"},
    {"report.blocks", "report.cite", "report.probecard"},
    {"report.words"},
    {"report.headline", "report.inputs", "report.latex", "report.markdown"},
    {"report.pictures", "report.evidence", "report.examples"},
    {"report.checks", "report.html"},
    {"report.content"},
    {"report.files"},
    {"leaderboard.board"},
    {"leaderboard.texts"},
    {"leaderboard.pages"},
    {"leaderboard.build"},
    {
        "api",
        "cli.answers",
        "cli.cite",
        "cli.states",
        "cli.tasks",
        "cli.results",
        "cli.report",
        "cli.leaderboard",
    },
    {"__init__"},
    {"cli.main"},
    {"__main__"},
]
"""Lowest first. A module imports from lower sets only."""
MODULES = sorted(
    ".".join(p.relative_to(PACKAGE).with_suffix("").parts)
    for p in PACKAGE.rglob("*.py")
    if p.name != "__init__.py" or p.parent == PACKAGE
)


def source(name: str) -> str:
    return (PACKAGE / f"{name.replace('.', '/')}.py").read_text()


def imports(name: str) -> set[str]:
    """Modules of the package that this one imports, lazily or not."""
    found = set()
    for node in ast.walk(ast.parse(source(name))):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "probebench"
        ):
            whole = node.module.removeprefix("probebench").removeprefix(".")
            found |= {whole, *(f"{whole}.{a.name}".removeprefix(".") for a in node.names)}
    return found & set(MODULES)


def test_every_module_has_its_place():
    assert set.union(*ORDER) == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    level = {m: i for i, names in enumerate(ORDER) for m in names}
    upward = {m for m in imports(name) if level[m] >= level[name]}
    assert not upward, (
        f"{name}.py imports {', '.join(sorted(upward))}, which stand at its level or above"
    )


@pytest.mark.parametrize("name", MODULES)
def test_files_stay_readable(name):
    lines = source(name).count("\n")
    assert lines <= 320, f"{name}.py has {lines} lines; a file has one subject"


def test_packages_hold_no_code():
    for package in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(package.read_text())
        assert ast.get_docstring(tree) and len(tree.body) == 1, (
            f"{package} is for the docstring only"
        )


def test_readme_tree_is_the_disk():
    tree = re.search(
        r"```text\n(probebench/\n.*?)\n\S", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert tree, "README.md has no tree"
    said, folder = set(), ""
    for indent, name in re.findall(r"^(  |    )(\S+) ", tree.group(1), re.MULTILINE):
        folder = folder if indent == "    " else ""
        said.add(folder + name)
        folder = name if name.endswith("/") else folder
    here = {
        str(p.relative_to(PACKAGE))
        for p in PACKAGE.rglob("*.py")
        if p.name != "__init__.py" or p.parent == PACKAGE
    }
    here |= {f"{p.name}/" for p in PACKAGE.iterdir() if p.is_dir() and p.name[0] != "_"}
    assert said == here


def test_every_module_says_what_it_is_for():
    for name in MODULES:
        assert ast.get_docstring(ast.parse(source(name))), name
