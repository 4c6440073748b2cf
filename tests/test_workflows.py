"""The workflows on GitHub keep the rules that make it safe to check strangers' pull requests."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from made import make_submission
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((ROOT / ".github/workflows").glob("*.y*ml"))
}
STEPS = [
    (name, job, i, step)
    for name, w in WORKFLOWS.items()
    for job, body in w["jobs"].items()
    for i, step in enumerate(body["steps"])
]
TRANSFORMERS = "transformers"
STRANGERS = re.compile(r"\bsubmission\b")


def events(workflow):
    return workflow[True]  # YAML reads the key `on` as true


def test_every_step_uses_an_action_or_runs_a_line():
    assert all(("uses" in step) != ("run" in step) for *_, step in STEPS)
    assert {name for name, *_ in STEPS} == {"ci", "leaderboard"}


@pytest.mark.parametrize(("name", "job", "i", "step"), [s for s in STEPS if "uses" in s[3]])
def test_actions_are_pinned_to_commits_with_their_version_beside(name, job, i, step):
    assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    assert re.search(re.escape(step["uses"]) + r" # v\d+\.\d+\.\d+\n", text)


@pytest.mark.parametrize(("name", "job", "i", "step"), [s for s in STEPS if "run" in s[3]])
def test_nothing_is_interpolated_into_shell(name, job, i, step):
    assert "${{" not in step["run"], step["run"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_permissions_are_said_and_small(name):
    w = WORKFLOWS[name]
    assert w["permissions"] in ({}, {"contents": "read"})
    allowed = {"comment": {"pull-requests": "write"}}
    for job, body in w["jobs"].items():
        assert body.get("permissions", w["permissions"]) in (
            {"contents": "read"},
            allowed.get(job),
        ), job
        assert body["timeout-minutes"] <= 60


@pytest.mark.parametrize("name", WORKFLOWS)
def test_checkouts_keep_no_credentials(name):
    steps = [step for where, _, _, step in STEPS if where == name]
    checkouts = [s["with"] for s in steps if s.get("uses", "").startswith("actions/checkout@")]
    assert checkouts and all(c["persist-credentials"] is False for c in checkouts)


def test_only_the_leaderboard_runs_with_rights_on_a_strangers_pull_request():
    for name, w in WORKFLOWS.items():
        privileged = {"pull_request_target", "workflow_run", "issue_comment"} & set(events(w))
        assert privileged == ({"pull_request_target"} if name == "leaderboard" else set())
    assert events(WORKFLOWS["leaderboard"]) == {
        "pull_request_target": {"paths": ["leaderboards/**"]}
    }


def test_rows_of_strangers_are_not_held_against_tables_that_are_built_later():
    ignored = events(WORKFLOWS["ci"])["pull_request"]["paths-ignore"]
    assert ignored == ["leaderboards/v*/**"]


def test_secrets_are_not_named():
    for name in WORKFLOWS:
        assert "secrets." not in (ROOT / f".github/workflows/{name}.yml").read_text()


def test_the_strangers_files_are_data():
    """Their path stands in the checkout and as the argument of the validator, and nowhere else."""
    jobs = WORKFLOWS["leaderboard"]["jobs"]
    steps = jobs["validate"]["steps"]
    places = [s for s in steps if s.get("uses", "").startswith("actions/checkout@")]
    base, theirs = (s["with"] for s in places)
    assert base == {
        "ref": "${{ github.event.pull_request.base.sha }}",
        "path": "base",
        "persist-credentials": False,
    }
    assert (
        theirs["path"] == "submission"
        and theirs["ref"] == "${{ github.event.pull_request.head.sha }}"
    )
    assert (
        theirs["sparse-checkout"] == "/leaderboards/"
        and theirs["sparse-checkout-cone-mode"] is False
    )
    assert theirs["submodules"] is False and theirs["lfs"] is False
    runs = [s for s in steps if "run" in s]
    assert all(s["working-directory"] == "base" for s in runs)
    assert [bool(STRANGERS.search(s["run"])) for s in runs] == [False, True]
    others = [s for s in steps if s not in places and s not in runs]
    assert not any(STRANGERS.search(str(s)) for s in others)


INSTALLED = next(
    step["run"]
    for step in WORKFLOWS["leaderboard"]["jobs"]["validate"]["steps"]
    if "pip" in step.get("run", "")
).split("constraints.txt ")[1]
"""What the check of a pull request installs, by name."""


def test_what_is_installed_comes_from_the_base():
    pinned = (ROOT / "constraints.txt").read_text()
    words = INSTALLED.split()
    assert words and all(
        re.fullmatch(r"[a-z0-9-]+", w)
        and re.search(rf"^{w}==", pinned, re.MULTILINE | re.IGNORECASE)
        for w in words
    ), words


def test_the_job_that_may_comment_has_no_checkout():
    steps = WORKFLOWS["leaderboard"]["jobs"]["comment"]["steps"]
    assert not any("checkout" in s.get("uses", "") for s in steps)
    run = next(s for s in steps if "run" in s)
    assert set(run["env"]) == {"GH_TOKEN", "REPOSITORY", "NUMBER"} and "python" not in run["run"]


def needs(name):
    """A package and what it needs, by name, as they are installed here."""
    found, rest = set(), [name]
    while rest:
        name = canonical(rest.pop())
        if name in found:
            continue
        found.add(name)
        asked = [Requirement(line) for line in requires(name) or ()]
        rest += [r.name for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module", params=["honest", "hostile"])
def checked(request, tmp_path_factory):
    """A pull request checked by the steps of the workflow, one after the other, in the shell.

    A fork brings a submission and code under every name that Python might take for its own, a
    hostile one also among the submissions; whatever the workflow does not install cannot be
    imported. `gh` writes down what it was asked.
    """
    folder = tmp_path_factory.mktemp("checked")
    (folder / "base").mkdir()
    for path in ROOT.iterdir():
        (folder / "base" / path.name).symlink_to(path)
    theirs = folder / "submission"
    shutil.copytree(ROOT / "leaderboards", theirs / "leaderboards")
    make_submission(theirs / "leaderboards")
    code = f"from pathlib import Path; Path({str(folder / 'hacked')!r}).touch()\n"
    for place in (theirs, theirs / "leaderboards")[: 1 + (request.param == "hostile")]:
        for name in ("sitecustomize.py", "conftest.py", "probebench/__init__.py", "numpy.py"):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(code)
    known = {name for word in INSTALLED.split() for name in needs(word) if name}
    others = {
        m for m, who in packages_distributions().items() if not known & set(map(canonical, who))
    }
    tools, asked = folder / "tools", folder / "asked.json"
    tools.mkdir()
    (tools / "sitecustomize.py").write_text(f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(others - {"probebench"})!r}:
            raise ImportError(name + " is not installed in the check of pull requests")
sys.meta_path.insert(0, Absent())
""")
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "gh").write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"json.dump(sys.argv[1:], open({str(asked)!r}, 'w'))\n"
    )
    for tool in ("python", "gh"):
        (tools / tool).chmod(0o755)
    environment = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(tools)}
    said = {"NUMBER": "7; touch ../hacked", "REPOSITORY": "$(touch ../hacked)", "GH_TOKEN": "t"}
    steps = [
        (job, step)
        for _, job, _, step in (s for s in STEPS if s[0] == "leaderboard")
        if "run" in step and "pip" not in step["run"]
    ]
    done = [
        subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=folder / step.get("working-directory", "."),
            env=environment | (said if job == "comment" else {}),
            capture_output=True,
            text=True,
        )
        for job, step in steps
    ]
    return request.param, folder, done, json.loads(asked.read_text())


def test_the_check_needs_no_more_than_is_installed(checked):
    who, folder, done, _ = checked
    said, comment = done[0].stdout + done[0].stderr, (folder / "comment.md").read_text()
    assert [d.returncode for d in done] == [int(who == "hostile"), 0], said
    assert "**new**" in comment
    assert ("`sitecustomize.py`" in comment) == (who == "hostile"), comment
    assert "Traceback" not in said


def test_nothing_that_a_stranger_brings_is_run(checked):
    _, folder, _, asked = checked
    assert not (folder / "hacked").exists()
    assert asked[:4] == [
        "api",
        "--method",
        "POST",
        "repos/$(touch ../hacked)/issues/7; touch ../hacked/comments",
    ]
    assert asked[4:] == ["-F", "body=@comment.md", "--silent"]


def test_the_lowest_versions_are_installed_and_tried():
    runs = [s["run"] for s in WORKFLOWS["ci"]["jobs"]["lowest"]["steps"] if "run" in s]
    assert runs[0] == "pip install -c constraints-lowest.txt -e '.[dev]'"
    tried = runs[1].split()[3:]
    assert {Path(name).stem.removeprefix("test_") for name in tried} == {
        "solver",
        "extract",
        "generate",
        "decoding",
        "fit",
    }
    assert [name for name in tried if not (ROOT / name).is_file()] == []
    pinned = re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints-lowest.txt").read_text(), re.M)
    asked = {canonical(r.name): r for r in map(Requirement, requires("probebench"))}
    assert {"torch", "transformers"} <= {name for name, _ in pinned}
    assert [name for name, v in pinned if name in asked and v not in asked[name].specifier] == []


def test_pages_name_the_oldest_versions_that_are_taken():
    asked = {canonical(r.name): r for r in map(Requirement, requires("probebench"))}
    oldest = {
        name: str(asked[name].specifier).removeprefix(">=") for name in ("torch", TRANSFORMERS)
    }
    line = f"PyTorch {oldest['torch']} and transformers {oldest[TRANSFORMERS]} are the oldest"
    assert line in (ROOT / "docs/platforms.md").read_text()
    for page in ("README.md", "docs/usage.md", "docs/models.md"):
        text = (ROOT / page).read_text()
        said = re.findall(r"transformers \(?(\d[\d.]*) or later", text)
        assert said and set(said) == {oldest[TRANSFORMERS]}, page


def test_the_source_distribution_holds_what_tests_and_pages_name():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    held = settings["targets"]["sdist"]["include"]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    tops = {line.split("/")[0] for line in tracked.stdout.splitlines()} - {".gitignore"}
    there = {".ci", ".github"} & {path.name for path in ROOT.iterdir()}
    named = {top for top in tops | there if not top.endswith((".md", ".toml"))}
    assert named <= set(held), "pyproject.toml: sdist"
