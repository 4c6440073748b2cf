"""What a dry run says: bytes to the last one, memory as it is counted in a real run, and time with
what it assumes."""

import json
import re
from typing import ClassVar

import pytest
from click.testing import CliRunner

from probebench.cli.main import main
from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.job.preview.costs import Costs, costs
from probebench.job.preview.dry_run import preview
from probebench.job.preview.sizes import Memory
from probebench.models.loading import ModelSpec, load_model
from probebench.models.passes.live_bytes import LiveBytes
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.labelled import labelled_answers
from probebench.stages.stage import LocalRunner
from probebench.stages.states import hidden_states


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_disk_is_exact_and_memory_within_a_fifth(tmp_path, dtype, monkeypatch):
    settings = Options(
        ModelSpec("tiny", device="cpu"),
        "people",
        limit=300,
        max_new_tokens=8,  # what is said is of answers that are as long as they may be
        states_dtype=dtype,
        out=str(tmp_path),
    )
    loads = []
    monkeypatch.setattr(
        "probebench.stages.engine.load_model",
        lambda *a, **k: loads.append(a) or load_model(*a, **k),
    )
    plan = prepare(settings).plan
    said = costs(plan)
    assert not loads  # no weights were read
    models = Models(Progress())
    assert models.get(plan.handle) is not None
    runner = LocalRunner(tmp_path, Progress(), models)
    with LiveBytes() as live:
        _, states = hidden_states(plan, runner, labelled_answers(plan, runner))
    assert said.disk == sum(p.stat().st_size for p in states.folder.glob("0*.safetensors"))
    assert said.memory.largest == pytest.approx(live.peak, rel=0.2)
    low, mid, high = said.total
    assert 0 < low <= mid <= high
    assert set(said.seconds) == {"answers", "hidden states", "probes", "p(True)"}


class Counted:
    """A timer whose seconds are the tokens that it is asked about."""

    asked: ClassVar[list[tuple[object, ...]]] = []

    def __init__(self, handle, clock):
        self.clock = clock

    def generation(self, prompts, new, budget, how):
        return lambda tokens: 100 * tokens

    def reading(self, lengths, sites, n_positions, share, dtype):
        self.asked.append((tuple(sites), n_positions, share, dtype))
        return sum(lengths)

    def passing(self, lengths):
        self.asked.append(len(lengths))
        return len(lengths) / 8

    def projecting(self, n_tokens):
        self.asked.append(n_tokens)
        return n_tokens / 8


def test_the_time_of_a_run_is_the_sum_of_its_stages(tmp_path, monkeypatch):
    """Every stage is asked for what it will do, and what it says is added up."""
    monkeypatch.setattr("probebench.job.preview.costs.Timer", Counted)
    monkeypatch.setattr(Counted, "asked", [])
    monkeypatch.setattr("probebench.job.preview.costs._cores", lambda: 4)
    monkeypatch.setattr("probebench.job.preview.costs.start_seconds", lambda clock: 2.0)
    monkeypatch.setattr("probebench.job.preview.costs.fit_seconds", lambda *args: 0.5)
    options = {"limit": 100, "layers": (0, 3, 6, 7), "out": str(tmp_path)}
    plan = prepare(Options(ModelSpec("tiny", device="cpu"), "people", **options)).plan
    said = costs(plan)
    prompts, held = (
        [len(ids) for ids in plan.questions.prompt_ids],
        100 - plan.splits.count("train"),
    )
    n_cells = 5 * 15  # four blocks and the embedding row
    assert said.seconds["answers"] == (800, 1600, 3200)  # of 32 tokens a quarter, a half, and all
    assert said.seconds["hidden states"][1] == sum(prompts) + 100 * 16
    assert said.seconds["probes"] == (2 + n_cells * 0.5 / 4,) * 3
    assert said.seconds["p(True)"][1] == 2 * 4 * held / 8  # two orders of two questions each
    assert Counted.asked == [(("resid",), 15, 4 / 8, "float16"), 4 * held, 4 * held]
    rest = 2 * 7.5 + sum(said.seconds[name][0] for name in ("hidden states", "probes", "p(True)"))
    assert said.total == (800 + rest, 1600 + rest, 3200 + rest)
    assert said.tokens == (16, 32)
    more = prepare(Options(ModelSpec("tiny", device="cpu"), "people", repeat_splits=8, **options))
    splits = 8 + 5  # folds; without the embedding row
    assert costs(more.plan).seconds["other splits"] == (splits * 4 * 15 * 0.5 / 4,) * 3
    n_test = plan.splits.count("test")
    for asked, share in (("attribution", 8 / n_test), ("ablation", 1)):
        inside = prepare(
            Options(ModelSpec("tiny", device="cpu"), "people", **{asked: True}, **options)
        )
        passes = 13 + share * 7 * 8  # of 8 answers, or of all, one for each component of each layer
        found = costs(inside.plan).seconds["attribution"][1]
        assert found == pytest.approx(n_test / 8 * passes)
    short = prepare(
        Options(ModelSpec("tiny"), "people", skip=("p-true", "shuffles"), **options)
    ).plan
    assert "p(True)" not in costs(short).seconds


@pytest.fixture
def counted(monkeypatch):
    """What a run is priced at where nothing is timed: generation by prompts and tokens."""
    at = "probebench.job.preview.costs."
    monkeypatch.setattr(at + "Timer", Counted)
    monkeypatch.setattr(at + "start_seconds", lambda clock: 2.0)
    monkeypatch.setattr(at + "fit_seconds", lambda *args: 0.5)
    monkeypatch.setattr(Counted, "asked", [])
    monkeypatch.setattr(
        Counted, "generation", lambda self, prompts, *_: lambda tokens: len(prompts) * tokens
    )

    def priced(task="people", attention=None, **options):
        spec = ModelSpec("tiny", device="cpu", attention=attention)
        return costs(prepare(Options(spec, task, limit=100, **options)).plan)

    return priced


def test_only_rows_that_a_run_can_have_are_priced(counted, tmp_path):
    asked = {"out": str(tmp_path / "run"), "detectors": ("all",)}
    plain, eager = counted(**asked), counted(attention="eager", **asked)
    assert not {"icr", "lookback"} & plain.seconds.keys()
    assert {"saplma", "verbalised-confidence"} <= plain.seconds.keys()
    both = eager.seconds.keys() - plain.seconds.keys()
    assert both == {"icr"}, "one stage, which lookback ratios read too"
    asked |= {"attention": "eager", "detectors": ("lookback",)}
    assert counted(**asked).seconds["lookback"]
    assert "lookback" not in counted("cities", **asked).seconds, "of statements it means nothing"


def test_drawn_answers_have_exact_answers_copied_too(counted, tmp_path):
    asked = {"out": str(tmp_path / "run"), "exact_answer": "model"}
    one, four = (counted(samples=k, **asked).seconds["exact answers"] for k in (0, 3))
    assert four == tuple(4 * part for part in one)


def test_disk_of_what_methods_read_is_said(counted, tmp_path):
    asked = {"out": str(tmp_path / "run"), "layers": (0, 3)}
    assert counted(**asked).further == {}
    found = counted(detectors=("pooled-probes", "ccs"), samples=2, **asked).further
    n_test = prepare(Options(ModelSpec("tiny"), "people", limit=100, **asked)).plan.splits.count(
        "test"
    )
    width = 2 * 128
    assert found == {
        "pooled-probes": 100 * 32 * 5 * width,
        "ccs": 2 * 100 * width,
        "further answers": 2 * n_test * width,
    }


def test_the_text_says_what_is_assumed(tmp_path):
    shown = preview(
        Options(ModelSpec("tiny", device="cpu"), "people", limit=100, out=str(tmp_path / "run"))
    ).text()
    assert re.search(r"disk +[\d,]+ bytes of hidden states", shown)
    assert re.search(r"memory +[\d.]+ MB on cpu: weights 5.8, and", shown)
    assert "An estimate, for answers of 16 tokens until a batch ends" in shown


def test_copying_exact_answers_is_part_of_the_time_also_of_answers_made_elsewhere(
    model_folder, tmp_path
):
    made = [
        {"id": f"q{i}", "question": f"Who is {i}?", "answer": f" It is Anna {i}.", "label": i % 2}
        for i in range(60)
    ]
    (tmp_path / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    words = {"answers": str(tmp_path / "made.jsonl"), "out": str(tmp_path / "run")}
    spec = ModelSpec(str(model_folder("llama")), device="cpu")
    asked = preview(Options(spec, "triviaqa", exact_answer="model", **words)).cost.seconds
    assert 0 < asked["exact answers"][0] <= asked["exact answers"][1] <= asked["exact answers"][2]
    assert (
        "exact answers"
        not in preview(Options(spec, "triviaqa", exact_answer="new_words", **words)).cost.seconds
    )


def rows(path, n, **more):
    """A file of `n` questions, with rows of your own after them."""
    found = [
        {"question": f"Where was person {i} born?", "answers": [f"Town {i}"]} for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in found + list(more.get("then", []))))
    return path


def dry(*words, tmp_path):
    return CliRunner().invoke(
        main,
        [
            "eval",
            "--model",
            "tiny",
            "--task",
            "people",
            "--device",
            "cpu",
            "--dry-run",
            "--out",
            str(tmp_path / "run"),
            *words,
        ],
    )


@pytest.fixture
def measured_at_once(monkeypatch):
    """What a run would take is not what is asked here."""
    empty = Costs(
        1, Memory(2, 3, "reading hidden states"), {"answers": (1.0, 2.0, 3.0)}, 1.0, (16, 32)
    )
    monkeypatch.setattr("probebench.job.preview.dry_run.costs", lambda *args: empty)


def test_rows_that_a_run_leaves_out_are_said(tmp_path, measured_at_once):
    long = {"question": "Where " + "was the old poet " * 3000 + "born?", "answers": ["Paris"]}
    twice = {"question": "Where was person 3 born?", "answers": ["Town 3"]}
    data = rows(tmp_path / "own.jsonl", 60, then=[long, twice, twice])
    said = dry("--data", str(data), tmp_path=tmp_path)
    assert said.exit_code == 0, said.output
    words = " ".join(said.output.split())
    assert "people, 60 examples from own.jsonl" in words
    assert (
        "left out 2 that stand there twice, under both labels, or in train and test; 1 that need "
        "more than the" in words
    )
    assert not (tmp_path / "run").exists()
    assert max(map(len, said.output.split("first prompt")[0].splitlines())) < 80 + len(
        str(tmp_path)
    )


def test_json_holds_what_the_text_says(tmp_path, measured_at_once):
    found = json.loads(dry("--limit", "60", "--json", tmp_path=tmp_path).stdout)
    assert found["dry_run"]
    assert found["data"]["n"] == sum(found["splits"].values()) == 60
    assert found["seconds"]["stages"]["answers"] == {"low": 1.0, "expected": 2.0, "high": 3.0}
    assert found["seconds"]["expected"] == 3.0
    assert found["bytes"]["weights"] == 2
    assert found["cells"] == sum(map(len, found["sites"].values())) * len(found["positions"])
    assert not found["finished"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--limit", "1"], "split is empty: 1 example in 1 group"),
        (["--probe", "logistik"], "Did you mean 'logistic'"),
        (["--train-sizes", "5000"], "5000"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_it_is_measured(words, message, tmp_path):
    said = dry(*words, tmp_path=tmp_path)
    assert said.exit_code in (1, 2)
    assert len(said.output.splitlines()) == 1
    assert message in said.output


@pytest.mark.parametrize(("n", "said"), [(39, True), (40, False)])
def test_too_few_examples_for_both_classes_are_said_before_they_are_answered(
    n, said, tmp_path, measured_at_once
):
    found = dry("--data", str(rows(tmp_path / "own.jsonl", n)), tmp_path=tmp_path)
    assert found.exit_code == 0, found.output
    words = " ".join(found.output.split())
    assert (
        "39 examples are too few for a probe, which needs at least 20 correct and 20 wrong answers"
        in words
    ) == said
    assert ("too few" in words) == said


@pytest.mark.parametrize(
    ("labels", "way"),
    [
        (
            [1] * 60,
            "even then about 400 examples are needed (--data FILE with more statements), or rows "
            "of both classes.",
        ),
        (
            [1] * 45 + [0] * 15,
            "about 80 examples are needed (--data FILE with more statements), or more rows of the "
            "rarer class.",
        ),
    ],
)
def test_statements_of_one_class_are_told_what_would_do(labels, way, tmp_path):
    made = [f"Lake {i} lies in land {i}.,{label},Lake {i}" for i, label in enumerate(labels)]
    (tmp_path / "own.csv").write_text("\n".join(["statement,label,city", *made]))
    words = [
        "eval",
        "--model",
        "tiny",
        "--task",
        "cities",
        "--device",
        "cpu",
        "--dry-run",
        "--data",
        str(tmp_path / "own.csv"),
    ]
    said = CliRunner().invoke(main, words)
    assert said.exit_code == 1
    assert said.output.splitlines()[0].endswith(way)


def test_what_can_be_left_out_is_listed_once(tmp_path):
    said = dry("--skip", "nothing-like-it", tmp_path=tmp_path)
    assert said.exit_code == 2
    assert said.output.count("text-embedding") == 1


def test_two_rows_under_one_id_are_one_line(tmp_path):
    same = [
        {"id": "a", "question": "Where was x born?", "answers": ["A"]},
        {"id": "a", "question": "Where was y born?", "answers": ["B"]},
    ]
    said = dry("--data", str(rows(tmp_path / "own.jsonl", 60, then=same)), tmp_path=tmp_path)
    assert said.exit_code == 2
    assert len(said.output.splitlines()) == 1
    assert "'a' stands for two different examples" in said.output
