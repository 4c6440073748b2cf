"""What a log file shows of a long job, and what ends one from outside."""

import io
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from probebench.progress import Progress, TerminalProgress, lasted, per, running


class Clock:
    """Time that passes when it is waited for; the stage's own work is done in between."""

    def __init__(self, work):
        self.now, self.work, self.done = 0.0, iter(work), threading.Event()

    def __call__(self):
        return self.now

    def wait(self, ended, seconds):
        step = next(self.work, None)
        if step is None:
            self.done.set()
            return ended.wait(10)
        self.now += seconds
        step()
        return False


def test_a_stage_shows_a_line_at_its_start_every_while_and_at_its_end(capsys):
    held = {}
    clock = Clock(
        [
            lambda: held["progress"].begun(8),
            lambda: held["counter"].advance(20),
            lambda: held["counter"].advance(30),
        ]
    )
    held["progress"] = TerminalProgress(
        30,
        clock,
        lambda ended, seconds: (
            held.setdefault("go", threading.Event()).wait(10) and clock.wait(ended, seconds)
        ),
    )
    with held["progress"].stage("Generating answers", 100, "answers", done=40) as held["counter"]:
        held.setdefault("go", threading.Event()).set()
        clock.done.wait(10)
    shown = capsys.readouterr().err
    assert shown.splitlines() == [
        "Generating answers            60 answers to do, 40 kept",
        "Generating answers            48 of 100 answers  30 s so far, 3.8 s per answer, about 3 "
        "min left",
        "Generating answers            60 of 100 answers  60 s so far, 3.0 s per answer, about 2 "
        "min left",
        "Generating answers            90 of 100 answers  90 s so far, 1.8 s per answer, about 18 "
        "s left",
        "Generating answers            50 answers  1.8 s per answer  90 s  (40 kept)",
    ]
    assert not re.search(r"[\r\x1b]", shown)
    assert held["progress"].done == {"Generating answers": 50}


def test_a_bar_moves_inside_a_part(monkeypatch):
    """A part may be 256 answers that end together after minutes."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", screen)
    progress = TerminalProgress(clock=iter(range(0, 100, 4)).__next__)
    with progress.stage("Generating answers", 100, "answers", done=40):
        progress.begun(8)
    assert "48/100 answers 2.0/s" in re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue())
    assert progress.done == {"Generating answers": 0}


def test_the_end_of_a_stage_does_not_wait_for_the_next_line(capsys):
    started = time.perf_counter()
    with TerminalProgress().stage("Scoring", 1, "map") as counter:
        counter.advance()
    assert time.perf_counter() - started < 5
    with pytest.raises(ZeroDivisionError), TerminalProgress().stage("Scoring", 5, "maps"):
        raise ZeroDivisionError
    assert threading.active_count() < 20
    assert (
        capsys.readouterr().err.splitlines()[0].startswith("Scoring                        1 map")
    )


@pytest.mark.parametrize(
    ("n", "seconds", "words"),
    [
        (3000, 2, "1,500/s"),
        (50, 10, "5.0/s"),
        (18, 50.8, "2.8 s per cell"),
        (1, 600, "600.0 s per cell"),
    ],
)
def test_a_rate_is_never_zero(n, seconds, words):
    assert per("cells", n, seconds) == words


def test_times_are_said_in_a_unit_that_fits():
    assert [lasted(s) for s in (0.04, 9.94, 75, 600, 10_000)] == [
        "0.0 s",
        "9.9 s",
        "75 s",
        "10 min",
        "2.8 h",
    ]
    assert running(100, "answers", 0, 0, 30) == "      0 of 100 answers  30 s so far"


@pytest.mark.parametrize("command", ["eval", "runs"])
@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [(signal.SIGTERM, 143, "stopped by SIGTERM."), (signal.SIGINT, 130, "stopped.")],
)
def test_a_signal_is_one_line_and_its_own_exit_code(sent, code, said, command):
    work = (
        "import signal, time, click\n"
        "from probebench.cli.main import main\n"
        # a job in the background inherits that it is ignored
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"@main.command('{command}')\n"
        "def sleep():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        f"main(['{command}'])\n"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert job.stdout.readline() == "ready\n"
    job.send_signal(sent)
    try:
        _, shown = job.communicate(timeout=30)
    finally:
        job.kill()
    assert job.returncode == code
    assert len(shown.splitlines()) == 1
    assert said in shown
    assert ("the same command goes on from there" in shown) == (command == "eval")


def test_without_a_network_nobody_asks_the_hub_again_and_again(monkeypatch):
    import socket

    from probebench.errors import UnavailableError
    from probebench.hub import hub_is_there
    from probebench.models.loading import ModelSpec
    from probebench.tasks.schema import load_task
    from probebench.tasks.sources import load_dataset

    tried = []

    def refuse(place, timeout):
        tried.append(place)
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not hub_is_there()
    assert tried == []  # who says that there is no network is believed
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("https_proxy", "http://proxy.invalid:3128")
    assert not hub_is_there()
    assert tried == [("proxy.invalid", 3128)]
    monkeypatch.delenv("https_proxy")
    monkeypatch.setenv("all_proxy", "socks5://everything.invalid")
    assert not hub_is_there()
    assert tried[1:] == [("everything.invalid", 1080)]
    assert ModelSpec("org/name").checkpoint().offline
    assert not ModelSpec("tiny").checkpoint().offline
    monkeypatch.setattr(
        "datasets.load_dataset",
        lambda *a, **k: pytest.fail("asked") if not _offline() else _missing(),
    )
    with pytest.raises(UnavailableError, match="cannot be reached from here"):
        load_dataset(load_task("triviaqa"))
    assert not _offline()  # a long session may ask again


def _offline():
    import datasets

    return datasets.config.HF_HUB_OFFLINE


def _missing():
    raise ConnectionError


def test_a_second_run_counts_from_nothing():
    progress = Progress()
    for n in (3, 5):
        with progress.stage("Reading", n, "answers") as counter:
            counter.advance(n)
        progress.count_tokens("Reading", 10 * n)
        assert progress.facts()["Reading"]["done"] == n
        assert progress.facts()["Reading"]["tokens"] == 10 * n
        progress.restart()
    assert progress.facts() == {}
