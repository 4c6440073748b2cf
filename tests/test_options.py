"""One definition of the options: the command line, the Python functions, the record and the docs
follow from it, and errors name what the caller wrote."""

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

import click
import numpy as np
import pytest
from click.testing import CliRunner
from records import content

import probebench
from probebench.cli.headed import Headed, with_options
from probebench.cli.main import Later, main
from probebench.engines import spec
from probebench.errors import TasksError, UnknownNameError, UsageError, outermost
from probebench.job import rules
from probebench.job.asked import Asked
from probebench.job.options import OPTIONS, Options
from probebench.job.place import differing, run_folder
from probebench.models import specs
from probebench.models.generate import GENERATIONS
from probebench.models.specs import ModelSpec
from probebench.options.checks import at_least
from probebench.options.field import option, options_of
from probebench.options.page import options_page, types_module
from probebench.options.python import in_python, named_in_python, speaks_python, takes
from probebench.options.values import accepted, held
from probebench.probes.kinds import SOLVERS
from probebench.record.run import Run
from probebench.states.extract import BATCHINGS
from probebench.states.shards import STATE_DTYPES

ROOT = Path(__file__).parent.parent
BY_ARGUMENT = {o.argument: o for o in OPTIONS}
SHOWN = CliRunner().invoke(main, ["eval", "--help"]).output
BAD = {
    "dtype": ("floatt32", "Unknown dtype 'floatt32'. Did you mean 'float32'? It must be one of"),
    "quantization": ("q7", "Unknown quantization 'q7'. It must be one of none, int8, int4"),
    "limit": (0, "limit must be 1 or more; got 0."),
    "max_new_tokens": (-3, "max_new_tokens must be 1 or more; got -3."),
    "generation": ("quick", "Unknown generation 'quick'. It must be one of fast, plain."),
    "label_noise": ("aliase", "Unknown label_noise 'aliase'. Did you mean 'aliases'?"),
    "exact_answer": ("new_word", "Unknown exact_answer 'new_word'. Did you mean 'new_words'?"),
    "positions": (["frst_answer"], "Unknown position 'frst_answer'. Did you mean 'first_answer'?"),
    "sites": (["rezid"], "Unknown site 'rezid'. Did you mean 'resid'?"),
    "log_to": (["wandbb"], "Unknown log_to 'wandbb'. Did you mean 'wandb'?"),
    "part": ("9/8", "part must be one of several, from 1/8 to 8/8; got '9/8'."),
    "batching": ("exactly", "Unknown batching 'exactly'. Did you mean 'exact'?"),
    "probe": ("logistik", "Unknown probe 'logistik'. Did you mean 'logistic'?"),
    "solver": ("batch", "Unknown solver 'batch'. Did you mean 'batched'?"),
    "shuffles": (-1, "shuffles must be 0 or more; got -1."),
    "width": (0, "width must be 1 or more; got 0."),
    "samples": (-1, "samples must lie between 0 and 1000; got -1."),
    "temperature": (0.0, "temperature must be larger than 0; got 0."),
    "top_p": (1.5, "top_p must be larger than 0 and at most 1; got 1.5."),
    "train_sizes": ([1, 50], "train_sizes must be numbers of 2 or more; got 1, 50."),
    "repeat_splits": (-1, "repeat_splits must lie between 0 and 1000; got -1."),
    "seed": (-1, "seed must lie between 0 and 4294967295; got -1."),
    "detectors": (["al"], "Unknown detectors 'al'. Did you mean 'all'?"),
    "controls": (["random_model"], "Unknown controls 'random_model'. Did you mean 'random-model'?"),
    "skip": (["p_true"], "Unknown skip 'p_true'. Did you mean 'p-true'?"),
    "engine": ("rey", "Unknown engine 'rey'. Did you mean 'ray'? It must be one of local, ray."),
    "workers": (0, "workers must be 1 or more; got 0."),
    "gpus_per_worker": (-1, "gpus_per_worker must be 0 or more; got -1."),
    "states_dtype": ("float8", "Unknown states_dtype 'float8'. Did you mean"),
}
"""A value that cannot be of every option that checks its value, and what Python says of it."""
REGISTRIES = {"positions", "sites", "probe"}
TOGETHER = [
    ({}, "Give a task with task=NAME, or answers made elsewhere with answers=FILE."),
    (
        {"answers": "a.jsonl", "data": "d.jsonl"},
        "answers and data exclude each other: answers carry their own questions.",
    ),
    ({"answers": "a.jsonl", "exact_answer": "whole"}, "exact_answer needs task: without one, the "),
    ({"answers": "a.jsonl", "extractor_model": "tiny"}, "extractor_model needs task: without one"),
    (
        {"task": "people", "exact_answer": "whole", "extractor_model": "tiny"},
        "extractor_model and exact_answer='whole' exclude each other: the rule 'whole' asks no",
    ),
    ({"answers": "a.jsonl", "samples": 2}, "samples=2 and answers exclude each other: further"),
    ({"answers": "a.jsonl", "max_new_tokens": 9}, "max_new_tokens=9 and answers exclude each"),
    ({"answers": "a.jsonl", "generation": "fast"}, "generation='fast' and answers exclude each"),
    (
        {"task": "people", "top_p": 0.5},
        "top_p=0.5 is of drawn answers; say how many with samples=K",
    ),
    ({"task": "people", "states": "s"}, "states needs answers=FILE: the answers that the hidden"),
    (
        {"answers": "a.jsonl", "states": "s", "controls": ["random-model"]},
        "controls=['random-model'] and states exclude each other: an untrained model has no such",
    ),
    ({"task": "people", "neutral": "r", "width": 4}, "neutral and width exclude each other: the"),
    (
        {"task": "people", "probe": "lda", "solver": "sklearn"},
        "solver='sklearn' is for the logistic probe; 'lda' has a solver of its own.",
    ),
    (
        {"task": "people", "label_noise": "model"},
        "label_noise='model' takes the labels of the judge model; name one with judge_model=M.",
    ),
    (
        {"task": "people", "skip": ["shuffles"], "shuffles": 5},
        "skip=['shuffles'] and shuffles=5 exclude each other. Leave one of them out.",
    ),
    (
        {"task": "people", "skip": ["text-embedding"], "encoder": "e"},
        "skip=['text-embedding'] and encoder='e' exclude each other. Leave one of them out.",
    ),
    (
        {"task": "people", "nli": "m"},
        "nli='m' is asked by methods that compare texts; name one with detectors, or all",
    ),
    (
        {"task": "people", "detectors": ["lat"], "keep_tokens": True},
        "keep_tokens keeps what pooled-probes read; name them with detectors pooled-probes.",
    ),
    (
        {"task": "people", "quantization": "int8", "gguf_file": "a.gguf"},
        "quantization='int8' is not for GGUF files, which are quantised already. Leave it out.",
    ),
    (
        {"task": "people", "quantization": "int4", "peft": "p"},
        "peft and quantization exclude each other: rounding again would change the adapter's",
    ),
    (
        {"task": "people", "attn_implementation": "org/kernel"},
        "attn_implementation 'org/kernel' is code from the hub, which would run on this machine "
        "with your rights. Read it, and when you trust it, allow it with trust_remote_code=True; "
        "or take eager or sdpa.",
    ),
    ({"task": "people", "workers": 2}, "workers=2 is of a cluster; add engine='ray'."),
    (
        {"task": "people", "engine": "ray", "device": "cuda:1"},
        "device on a cluster is 'auto', 'cpu' or 'cuda': Ray says which GPU a worker has; got",
    ),
    (
        {"task": "people", "engine": "ray", "part": "1/2"},
        "part='1/2' shares a run out by itself; leave engine='ray' out.",
    ),
]
"""What does not go together, and what Python says of it."""
FOREIGN = {"--show-toplevel", "--porcelain", "--merge", "--head", "--object-store-memory"}
"""Options of git, llama.cpp and Ray."""


def words(given):
    """The same on the command line."""
    found = []
    for name, value in given.items():
        o = BY_ARGUMENT[name]
        values = value if isinstance(value, list) else [value]
        if value is True:
            found.append(o.flag)
        elif o.read == "repeated":
            found += [word for v in values for word in (o.flag, v)]
        else:
            found += [f"{o.flag}={','.join(map(str, values))}"]
    return found


def command(*given):
    return CliRunner().invoke(main, ["eval", "--model", "tiny", *map(str, given)])


# -- every option ----------------------------------------------------------------------------------


@pytest.mark.parametrize("o", OPTIONS, ids=lambda o: o.argument)
def test_every_option_is_in_help_signature_docstring_record_and_docs(o):
    assert o.help.endswith("."), "a sentence"
    assert SHOWN.count(f"\n  {o.flag} ") == 1
    assert f"\n{o.group}:\n" in SHOWN
    parameter = inspect.signature(probebench.evaluate).parameters[o.argument]
    assert parameter.annotation == accepted(o)
    assert parameter.default == (inspect.Parameter.empty if o.required else o.default)
    assert probebench.evaluate.__annotations__[o.argument] == accepted(o)
    for function in (probebench.evaluate, probebench.evaluate_all):
        if o.argument != "task":
            assert f"\n        {o.argument}: " in function.__doc__
    record = Options(ModelSpec("tiny")).recorded()
    assert o.name in {**record, **record["model"], **record["where"]}
    assert f"`{o.argument}`" in (ROOT / "docs" / "options.md").read_text()


def test_the_functions_take_the_options_and_nothing_else():
    names = [o.argument for o in OPTIONS]
    assert sorted(inspect.signature(probebench.evaluate).parameters) == sorted([*names, "quiet"])
    several = {"tasks" if name == "task" else name for name in names}
    assert set(inspect.signature(probebench.evaluate_all).parameters) == {*several, "quiet"}
    assert get_type_hints(Asked) == {
        o.argument: accepted(o) for o in OPTIONS if o.argument not in ("model", "task")
    }
    for function in (probebench.evaluate, probebench.evaluate_all):
        assert max(map(len, function.__doc__.splitlines())) <= 100
        assert "{" not in function.__doc__
        assert "--" not in function.__doc__.replace("--task A --task B", "")


def test_what_is_written_of_them_is_up_to_date():
    for path, text in (
        (ROOT / "docs" / "options.md", options_page(OPTIONS)),
        (ROOT / "probebench" / "job" / "asked.py", types_module(OPTIONS)),
    ):
        assert path.read_text() == text, f"{path.name}: python scripts/write_options.py"


def test_choices_are_what_the_package_knows():
    known = {
        "states_dtype": STATE_DTYPES,
        "batching": BATCHINGS,
        "generation": GENERATIONS,
        "solver": SOLVERS,
        "dtype": specs.DTYPES,
        "quantization": specs.QUANTIZATIONS,
        "engine": (spec.LOCAL, spec.RAY),
    }
    assert {o.argument: set(o.choices) for o in OPTIONS if o.choices} == {
        name: set(values) for name, values in known.items()
    }


def test_help_says_what_can_be_left_out():
    named = re.findall(r"[\w-]+", BY_ARGUMENT["skip"].help)
    assert rules.skips().keys() <= {*named}
    assert all(name in BY_ARGUMENT["controls"].help for name in rules.controls())


def test_help_needs_nothing_heavy():
    code = (
        "import sys\nfrom probebench.cli.main import main\n"
        "main(['eval', '--help'], standalone_mode=False)\n"
        "print([m for m in ('torch', 'numpy', 'pandas', 'pydantic', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_new_option_is_one_field(tmp_path):
    @dataclass(frozen=True, slots=True)
    class More(Options):
        depth: int = option(3, "How deep, with --width or not.", "What is read", check=at_least(1))

    options = options_of(More)
    new = options[-1]

    @with_options(options)
    @click.command(cls=Headed)
    def asked(**given):
        click.echo(More.asked({**given, "model": given["model"][0], "task": None}).depth)

    shown = CliRunner().invoke(asked, ["--help"]).output
    section = shown.split("What is read:")[1].split("\n\n")[0]
    assert re.search(r"--depth N +How deep, with --width or not.\s+\[default: 3\]", section)
    assert CliRunner().invoke(asked, ["--model", "m", "--depth", "5"]).output == "5\n"

    @takes([new], options)
    def function(model: str, **options: object) -> None:
        """Does it.

        Args:
            {options}
        """

    assert str(inspect.signature(function)) == "(model: str, *, depth: int = 3) -> None"
    assert "        depth: How deep, with width or not." in function.__doc__
    plain, deep = More(ModelSpec("tiny"), task="people"), More(ModelSpec("tiny"), depth=5)
    assert deep.recorded()["depth"] == deep.overrides["depth"] == 5
    assert "depth" not in plain.overrides
    assert run_folder(deep, "people") != run_folder(plain, "people")
    assert "--depth (3 there, 5 here)" in list(differing(plain.recorded(), deep))
    assert "--depth (3 there, 5 here)" in list(differing({**asdict(plain)} | {"depth": 3}, deep))
    assert "| `--depth N` | `depth` | `3` | How deep, with --width or not. | numbers |" in (
        options_page(options)
    )
    assert "\n    depth: int\n" in types_module(options)
    with pytest.raises(UsageError, match="^depth must be 1 or more; got 0.$"):  # noqa: SIM117
        with named_in_python(options, {}):
            More(ModelSpec("tiny"), task="people", depth=0).check()


# -- errors name what the caller wrote -------------------------------------------------------------


def test_every_check_has_a_value_that_it_refuses():
    assert set(BAD) == {o.argument for o in OPTIONS if o.check is not None or o.choices}


@pytest.mark.parametrize("argument", BAD)
def test_a_bad_value_is_refused_at_both_doors(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    o, (value, message) = BY_ARGUMENT[argument], BAD[argument]
    with pytest.raises(UsageError, match=rf"^{re.escape(message)}") as caught:
        probebench.evaluate("tiny", "people", **{argument: value})
    assert "--" not in str(caught.value)
    result = command("--task", "people", *words({argument: value}))
    text = " ".join(result.output.split())
    assert result.exit_code == 2
    if o.choices:
        assert f"Invalid value for '{o.flag}': '{value}' is not one of" in text
    else:  # a registry names the kind of thing, which is the same word at both doors
        flagged = message.replace(f" {argument} '", f" {o.flag} '").replace(
            f"{argument} m", f"{o.flag} m"
        )
        assert f"probebench: {message if argument in REGISTRIES else flagged}" in text
    assert list(tmp_path.iterdir()) == []


def test_every_rule_about_options_has_a_case_that_it_refuses():
    refused = set()
    for given, _ in TOGETHER:
        o = Options.asked({"model": "tiny", **given})
        parts = (o, rules.RULES), (o.model, specs.RULES), (o.where, spec.RULES)
        for asked, of in parts:
            refused |= {
                rule
                for rule in of
                if rule(**{n: getattr(asked, n) for n in inspect.signature(rule).parameters})
            }
    assert refused == {*rules.RULES, *specs.RULES, *spec.RULES}


@pytest.mark.parametrize(
    ("given", "message"), TOGETHER, ids=lambda v: v[:30] if isinstance(v, str) else "-".join(v)
)
def test_what_does_not_go_together_is_refused_at_both_doors(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=rf"^{re.escape(message)}") as caught:
        probebench.evaluate("tiny", **given)
    assert "--" not in str(caught.value)
    result = command(*words(given))
    assert result.exit_code == 2
    said = " ".join(result.output.removeprefix("probebench: ").split())
    assert in_python(said, OPTIONS, given) == str(caught.value)
    assert re.match(r"(?:Give a task with )?--[a-z]", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": "10"}, "limit must be a whole number; got '10'."),
        ({"seed": 1.5}, "seed must be a whole number; got 1.5."),
        ({"seed": True}, "seed must be a whole number; got True."),
        ({"attribution": "no"}, "attribution must be True or False; got 'no'."),
        ({"layers": ["a"]}, "layers must hold a whole number each; got 'a'."),
        ({"answers": 3}, "answers must be text; got 3."),
        ({"skip": [1]}, "skip must hold text each; got 1."),
        ({"judge_model": 1}, "judge_model must be text; got 1."),
        ({"sede": 1}, "Unknown option 'sede'. Did you mean 'seed'?"),
        ({"control": ["random-model"]}, "Unknown option 'control'. Did you mean 'controls'?"),
        ({"attention": "sdpa"}, "Unknown option 'attention'. Did you mean"),
        ({"revision": "v1"}, "revision='v1' is for models of the hub; 'tiny' is of this machine."),
    ],
)
def test_python_names_arguments(given, message):
    for ask in (probebench.evaluate, lambda m, t, **o: probebench.evaluate_all(m, [t], **o)):
        with pytest.raises(UsageError, match=rf"^{re.escape(message)}"):
            ask("tiny", "people", **given)


def test_python_may_give_paths_numbers_of_numpy_and_single_names():
    asked = Options.asked(
        {
            "model": Path("m"),
            "task": Path("t.yaml"),
            "data": [Path("a"), "b"],
            "positions": "all",
            "layers": range(2),
            "seed": np.int64(7),
            "device": "cpu",
            "device_map": {"": "cpu", "lm_head": 0},
            "judge_model": "j",
            "controls": ["random-model"],
            "limit": None,
        }
    )
    assert asked == Options(
        ModelSpec("m", device="cpu", device_map='{"": "cpu", "lm_head": 0}'),
        task="t.yaml",
        data=("a", "b"),
        positions=("all",),
        layers=(0, 1),
        seed=7,
        judge_model=ModelSpec("j", device="cpu"),
        controls=("random-model",),
    )
    assert type(asked.seed) is int
    assert held(BY_ARGUMENT["data"], Path("one")) == "one"
    assert held(BY_ARGUMENT["layers"], np.arange(2)) == (0, 1)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("--seed must lie", "seed must lie"),
        ("(a larger --limit or --data FILE)", "(a larger limit or data=FILE)"),
        ("--limit 400 or --data FILE.", "limit=400 or data=FILE."),
        ("Give --sites resid, or leave --states out", "Give sites=['resid'], or leave states out"),
        ("Add --sites all, or", "Add sites=['all'], or"),
        ("--positions exact_answer_last,-1.", "positions=['exact_answer_last', '-1']."),
        ("another --attn-implementation", "another attn_implementation"),
        ("--device-map auto, or --device cpu.", "device_map='auto', or device='cpu'."),
        ("--device-map does not say", "device_map does not say"),
        ("--peft: there is no folder", "peft: there is no folder"),
        ("--peft: it. --peft: it", "peft: it. peft: it"),
        ("with --trust-remote-code.", "with trust_remote_code=True."),
        ("differs in --attribution (no there", "differs in attribution (no there"),
        ("with --no-thinking", "with thinking=False"),
        ("--train-sizes 50,100,200.", "train_sizes=[50, 100, 200]."),
        ("with --layers 0-2", "with layers=[0, 1, 2]"),
        ("--states runs/a b", "states='runs/a' b"),
        ("--encoder e and", "encoder='e' and"),
        ("--control random-model is", "controls=['random-model'] is"),
        ("--control other is", "controls other is"),
        ("--data d.csv", "data='d.csv'"),
        ("--no-check, --convention hf, x--seed", "--no-check, --convention hf, x--seed"),
        ("probebench tasks show -- --seeds", "probebench tasks show -- --seeds"),
    ],
)
def test_messages_are_said_in_python(there, here):
    assert in_python(there, OPTIONS, {"encoder": Path("e"), "controls": ["random-model"]}) == here


@speaks_python(dtype="--states-dtype")
def tried(text: str, *, layers: "Sequence[int] | None" = None, check: "bool" = True, dtype="x"):
    """Fails with this text."""
    raise UsageError(text)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("--states-dtype float8 is none", "dtype='float8' is none"),
        ("Give --no-check.", "Give check=False."),
        ("Name --layers emb,0-2, or", "Name layers=[-1, 0, 1, 2], or"),
        ("With --check each run", "With check=True each run"),
        ("it was run with --discard-states. Run", "it was run with discard_states=True. Run"),
        ("Run it with --sites all, or", "Run it with sites='all', or"),
    ],
)
def test_other_functions_name_their_parameters(there, here):
    """Those of a finished run's command too; inside another call of ours nothing is changed."""
    with pytest.raises(UsageError, match=f"^{re.escape(here)}$"):
        tried(there, dtype="float8")
    with outermost() as first, pytest.raises(UsageError, match=f"^{re.escape(there)}$"):
        assert first
        tried(there, dtype="float8")


def test_a_run_without_states_is_said_at_both_doors(tmp_path, monkeypatch):
    plain = content(states=None)
    (tmp_path / "record.json").write_text(json.dumps(plain))
    said = "keeps no hidden states: it was run with"
    for ask in (Run.load(tmp_path).states, Run.load(tmp_path).hidden_states):
        with pytest.raises(UsageError, match=f"{said} discard_states=True."):
            ask()
    shown = CliRunner().invoke(main, ["states", "verify", str(tmp_path)]).output
    assert f"{said} --discard-states" in " ".join(shown.split())


def test_outcomes_are_said_in_python_and_keep_their_type():
    class Outcome:
        error = UnknownNameError("--batching", "x", ["exact"])

    with pytest.raises(TasksError, match="^1 failed: limit=4$") as caught:  # noqa: SIM117
        with named_in_python(OPTIONS, {}):
            raise TasksError("1 failed: --limit 4", [Outcome])
    assert (caught.value.exit_code, caught.value.outcomes) == (1, [Outcome])
    assert str(Outcome.error) == "Unknown batching 'x'. Known: exact."


def commands(group):
    for listed in group.commands.values():
        found = listed.found() if isinstance(listed, Later) else listed
        yield from commands(found) if isinstance(found, click.Group) else (found,)


def test_messages_name_options_that_there_are():
    """Whoever reads "--exact-answer" in a message can give it."""
    known = {"--help"}
    for one in commands(main):
        for parameter in one.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for path in (ROOT / "probebench").rglob("*.py"):
        tree = ast.parse(path.read_text())
        documented = ast.Module | ast.ClassDef | ast.FunctionDef
        told = {
            ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, documented)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if node.value in told:
                continue
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z](?![\w-])", node.value):
                assert flag in known | FOREIGN, f"{path.name}:{node.lineno} names {flag}"


@pytest.mark.parametrize("given, held_as", [(0.7, 0.7), (1, 1.0), (np.float32(0.5), 0.5)])
def test_a_number_is_held_as_float(given, held_as):
    asked = Options.asked({"model": "tiny", "task": "people", "samples": 2, "temperature": given})
    assert asked.temperature == held_as and type(asked.temperature) is float


@pytest.mark.parametrize("given", ["0.7", True, float("nan"), float("inf"), [0.7]])
def test_what_is_no_number_is_refused(given):
    with pytest.raises(UsageError, match=r"--temperature must be a number; got"):
        Options.asked({"model": "tiny", "task": "people", "temperature": given})
