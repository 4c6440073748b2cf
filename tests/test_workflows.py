"""The workflows on GitHub keep the rules that make it safe to check strangers' pull requests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

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
STRANGERS = re.compile(r"\bsubmission\b")
READER = re.compile(
    r"python -m probebench leaderboard validate \.\./submission/leaderboards --base leaderboards --comment \.\./comment\.md"
)


def events(workflow):
    return workflow[True]  # YAML reads the key `on` as true


def test_both_are_there():
    assert {"ci", "leaderboard"} <= set(WORKFLOWS)


@pytest.mark.parametrize(("name", "job", "i", "step"), STEPS)
def test_actions_are_pinned_to_commits_with_their_version_beside(name, job, i, step):
    if "uses" in step:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        text = (ROOT / f".github/workflows/{name}.yml").read_text()
        assert re.search(re.escape(step["uses"]) + r" # v\d+\.\d+\.\d+\n", text)


@pytest.mark.parametrize(("name", "job", "i", "step"), STEPS)
def test_nothing_is_interpolated_into_shell(name, job, i, step):
    assert "${{" not in step.get("run", ""), step["run"]


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
    for body in WORKFLOWS[name]["jobs"].values():
        for step in body["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_only_the_leaderboard_runs_with_rights_on_a_strangers_pull_request():
    for name, w in WORKFLOWS.items():
        privileged = {"pull_request_target", "workflow_run", "issue_comment"} & set(events(w))
        assert privileged == ({"pull_request_target"} if name == "leaderboard" else set())
    assert events(WORKFLOWS["leaderboard"]) == {
        "pull_request_target": {"paths": ["leaderboards/**"]}
    }


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
    assert READER.fullmatch(runs[1]["run"])
    others = [s for s in steps if s not in places and s not in runs]
    assert not any(STRANGERS.search(str(s)) for s in others)


def test_what_is_installed_comes_from_the_base():
    install = next(
        s["run"]
        for s in WORKFLOWS["leaderboard"]["jobs"]["validate"]["steps"]
        if "pip" in s.get("run", "")
    )
    words = install.removeprefix("python -m pip install -q -c constraints.txt ").split()
    pinned = (ROOT / "constraints.txt").read_text()
    assert all(
        re.fullmatch(r"[a-z0-9-]+", w)
        and re.search(rf"^{w}==", pinned, re.MULTILINE | re.IGNORECASE)
        for w in words
    ), words


def test_the_job_that_may_comment_has_no_checkout():
    steps = WORKFLOWS["leaderboard"]["jobs"]["comment"]["steps"]
    assert not any("checkout" in s.get("uses", "") for s in steps)
    run = next(s for s in steps if "run" in s)
    assert set(run["env"]) == {"GH_TOKEN", "REPOSITORY", "NUMBER"} and "python" not in run["run"]


def test_the_check_needs_no_more_than_is_installed(tmp_path):
    """In a process where nothing else of the package's dependencies can be imported."""
    import subprocess
    import sys

    from made import make_submission

    make_submission(tmp_path)
    program = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "datasets", "rich", "safetensors", "seaborn", "matplotlib"}:
            raise ImportError(f"{name} is not installed in the check of pull requests")
sys.meta_path.insert(0, Absent())
from probebench.cli.main import main
main(["leaderboard", "validate", sys.argv[1], "--workers", "0", "--comment", sys.argv[2]])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(tmp_path / "comment.md")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "**new**" in (tmp_path / "comment.md").read_text()
