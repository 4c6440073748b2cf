"""`probebench plan`: what many runs take, held against a run that was made and against arithmetic
done by hand."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from records import record

import probebench
from probebench.cli.main import main
from probebench.errors import UsageError
from probebench.job.options import Options
from probebench.job.preview.planned_runs import Asked, plan_workload, planned_run
from probebench.job.preview.sizes import Memory
from probebench.job.preview.workload import PlannedModel, Throughput, Workload
from probebench.models.loading import ModelSpec, find_model
from probebench.record.run import Run
from probebench.text import size

DOCS = Path(__file__).parent.parent / "docs" / "cluster.md"


def plan(*words):
    return CliRunner().invoke(main, ["plan", *map(str, words)])


def planned(*options, **more):
    return plan_workload([Options(ModelSpec("tiny"), "people", **o) for o in options], **more)


def test_a_run_takes_what_was_planned(tmp_path):
    """Examples, prompts and bytes are those of the run; answers are taken to be half as long as
    they may be."""
    n, few = 90, {"layers": (0,), "positions": ("-1",), "shuffles": 0}
    more = {"limit": n, "skip": ("text", "ensembles"), **few}
    run = probebench.evaluate("tiny", "people", out=tmp_path, device="cpu", **more)
    (found,) = planned(more).runs
    timing, half = run.record.timing, 16
    held = sum(run.record.counts[split].n for split in ("validation", "test"))
    prompts, asked = timing.tokens.prompts, timing.stages["Asking for p(True)"].tokens
    assert found.examples == run.record.counts.all.n == n
    assert found.written == n * half
    whole = prompts + n * half
    framed = 0.4 * 4 * (whole + n * 30)  # p(True): two questions in both orders, of two in five
    assert found.read == pytest.approx(whole + framed)
    assert framed == pytest.approx(asked * 0.4 * n / held, rel=0.25)
    shards = tmp_path.glob("stages/states-*/0*.safetensors")
    assert found.states == sum(path.stat().st_size for path in shards)
    rest = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) - found.states
    assert rest < found.beside


def test_weights_need_not_be_there(model_folder, tmp_path, monkeypatch):
    folder = tmp_path / "only-config"
    folder.mkdir()
    for path in model_folder().iterdir():
        if path.suffix == ".json" or path.suffix == ".jinja":
            (folder / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr("probebench.models.loading.read_weights", None)
    (model,) = plan_workload([Options(ModelSpec(str(folder)), "people", limit=40)]).models
    whole = find_model(ModelSpec(str(model_folder()), device="cpu")).identity
    assert model.parameters == whole.n_parameters
    with pytest.raises(UsageError, match="holds no model.safetensors"):
        find_model(ModelSpec(str(folder)))


def test_more_of_a_task_than_its_sample_is_counted_in_proportion(monkeypatch):
    monkeypatch.setattr("probebench.job.preview.planned_runs.SAMPLE", 32)
    (few,), (all_of_them,) = planned({"limit": 32}).runs, planned({"limit": 320}).runs
    assert all_of_them.examples == 320
    assert all_of_them.read == pytest.approx(10 * few.read)
    assert all_of_them.states == pytest.approx(10 * few.states, rel=0.01)


def test_throughput_is_what_a_run_measured():
    stages = {
        "Generating answers": {"seconds": 50.0, "done": 10, "tokens": 3000},
        "Reading hidden states": {"seconds": 6.0, "done": 10, "tokens": 3000},
    }
    timing = {"stages": stages, "tokens": {"prompts": 2000, "answers": 1000}}
    facts = {"model": {"n_parameters": 2 * 10**9}, "timing": timing}
    found = Throughput.measured(Run(Path("made"), record(**facts)))
    assert (found.reading, found.writing) == (1000.0, 40.0)  # twice those of the two billion
    assert found.seconds(4 * 10**9, 500, 10) == 4 * (500 / 1000 + 10 / 40)
    del stages["Reading hidden states"]
    with pytest.raises(UsageError, match="made cannot say how fast a device is"):
        Throughput.measured(Run(Path("made"), record(**facts)))


def test_a_disk_that_is_too_small_is_refused():
    words = ("--model", "tiny", "--task", "people", "--limit", 40)
    found = plan(*words, "--disk", "2MB")
    assert found.exit_code == 1
    assert re.search(r"too small: these runs need \S+ MB, and 2.0 MB are free", found.output)
    assert "--discard-states" in found.output
    assert "hours" in found.output  # the plan stands above
    assert re.search("^1 run, 40 examples: ", found.output, re.M)
    assert plan(*words, "--disk", "1TB").exit_code == 0
    two = planned({"limit": 40}, {"limit": 40, "seed": 1})
    one = planned(*[{"limit": 40, "seed": k, "discard_states": True} for k in (0, 1)])
    assert two.needed - one.needed == two.states / 2


def test_the_plan_as_json_has_every_run_and_no_made_up_hours():
    found = plan("--model", "tiny", "--task", "people", "--task", "north", "--limit", 40, "--json")
    facts = json.loads(found.output)
    assert [run["task"] for run in facts["runs"]] == ["people", "north"]
    assert facts["device_hours"] == {"low": None, "expected": None, "high": None}
    assert facts["bytes"]["needed"] > facts["bytes"]["states"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--read-rate", 10), "both --read-rate and --write-rate"),
        (("--disk", "much"), "'much' is no number of bytes such as 80GB"),
        (("--disk", "0"), "'0' is no number of bytes"),
        (("--measured", "nowhere"), "is not a finished run"),
    ],
)
def test_what_cannot_be_planned(words, message):
    found = plan("--model", "tiny", "--task", "people", *words)
    assert found.exit_code in (1, 2)
    assert message in found.output


def shaped(tmp_path, name, width, layers, inner, kv_heads):
    """A model of that shape, by its config alone."""
    from conftest import byte_level_tokenizer
    from transformers import LlamaConfig

    folder = tmp_path / name
    LlamaConfig(
        vocab_size=128256,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=width // 64 if width < 4096 else width // 128,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=width < 4096,
        max_position_embeddings=8192,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder)
    byte_level_tokenizer(chat=True).save_pretrained(folder)
    return folder


SHAPES = {"1 B": (2048, 16, 8192, 8), "8 B": (4096, 32, 14336, 8), "70 B": (8192, 80, 28672, 8)}
COUNTS = {"1 B": 40, "8 B": 40, "70 B": 20}


def test_the_plan_of_a_hundred_models_in_the_docs(tmp_path):
    """docs/cluster.md shows its arithmetic; here it is done again from configs."""
    asked, given = Asked(5000, (100,), 100, False), Throughput(100_000, 5_000, "given")
    said, runs = DOCS.read_text(encoding="utf-8"), []
    for name, shape in SHAPES.items():
        handle = find_model(ModelSpec(str(shaped(tmp_path, name, *shape))), weights=False)
        n = handle.identity.n_parameters
        assert handle.identity.dtype == "bfloat16"
        memory = Memory(2 * n, 0, "reading hidden states")
        model = PlannedModel(name, n, memory, math.ceil(memory.total / (80e9 * 0.9)))
        one = planned_run(Options(ModelSpec(name), "people"), asked, handle, model, given)
        runs += [one] * (20 * COUNTS[name])
        row = f"| {name} | {n / 1e9:.2f} | {model.devices} | {size(one.states)} | "
        row += f"{one.hours[1]:.2f} | {COUNTS[name]} |"
        assert row in said, row
    work = Workload(tuple(runs), given, None, False)
    low, mid, high = work.hours
    assert f"{len(runs):,} runs" in said
    for number in (f"{mid:,.0f} device hours ({low:,.0f} to {high:,.0f})", size(work.states)):
        assert number in said, number
    kept = replace(work, discard=True)
    assert f"{size(kept.states)} at once" in said, size(kept.states)


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf", "0", "-1"])
@pytest.mark.parametrize("option", ["--read-rate", "--write-rate"])
def test_a_rate_is_a_positive_number(option, rate):
    rates = {"--read-rate": 1e5, "--write-rate": 1e4} | {option: rate}
    words = [word for pair in rates.items() for word in pair]
    found = plan("--model", "tiny", "--task", "people", "--limit", 100, *words)
    assert found.exit_code == 2
    assert option in found.output
