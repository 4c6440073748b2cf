"""Stored states shown, checked, exported and brought in from elsewhere; each silent error is
refused by its name."""

import json
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from decoders import forward
from safetensors.numpy import save

import probebench
from probebench.cli.main import main
from probebench.errors import BadFileError, RunError, StatesError, UnknownNameError, UsageError
from probebench.models.loading import ModelSpec, find_model
from probebench.record.run import Run
from probebench.states.exchange.export import export
from probebench.states.exchange.find import describe, find_states, open_states, ranges, states_of
from probebench.states.exchange.verify import verify
from probebench.states.importing.arrays import read_array
from probebench.states.importing.conventions import entries_of
from probebench.states.importing.importer import import_states
from probebench.states.importing.numbers import inspect
from probebench.states.reader import INDEX, SiteLayout, StatesReader
from probebench.states.shards import states_bytes
from probebench.store.shards import ShardStore
from probebench.types import EMB

N = 100
POSITIONS = ("last_q", "exact_answer_last", "-1", "answer_mean")
DOC = Path(__file__).parent.parent / "docs" / "states.md"


def cli(*words):
    return CliRunner().invoke(main, ["states", *(str(w) for w in words)])


# -- made by hand ----------------------------------------------------------------------------------


def made(
    folder,
    change=lambda values, present: None,
    *,
    rows=((4, 0), (2, 1, 3)),
    sites=None,
    dtype=np.float16,
    scale=1,
):
    """A stage of hidden states: two shards, absent places zero, `attn.q` with a narrow layer;
    `change` spoils it."""
    rng, n = np.random.default_rng(0), 5 * scale
    rows = [tuple(r * scale + k for r in part for k in range(scale)) for part in rows]
    sites = sites or {
        "resid": SiteLayout((EMB, 0, 1), (8, 8, 8)),
        "attn.q": SiteLayout((0, 1), (6, 4)),
    }
    present = np.ones((n, 3), dtype=bool)
    present[1, 2] = present[3, 0] = False
    values = {}
    for site, at in sites.items():
        v = rng.normal(size=(len(at.layers), 3, n, max(at.widths))).astype(dtype)
        for k, width in enumerate(at.widths):
            v[k, :, :, width:] = 0
        values[site] = v * present.T[None, :, :, None]
    change(values, present)
    stage = ShardStore(folder, "states", {"model": {"name": "handmade", "n_layers": 2, "width": 8}})
    files = tuple(f"{k}.safetensors" for k in range(len(rows)))
    for file, part in zip(files, rows, strict=True):
        stage.write(
            file,
            states_bytes(
                {s: v[:, :, [min(i, n - 1) for i in part]] for s, v in values.items()}, part
            ),
        )
    stage.write(INDEX, StatesReader(files, tuple(rows), sites, ("a", "b", "c"), present).index())
    table = pd.DataFrame(
        {
            "id": [f"e{i}" for i in range(n)],
            "label": [i % 2 for i in range(n)],
            "split": "test",
            "group": "g",
        }
    )
    table.to_parquet(stage.folder / "examples.parquet", index=False)
    return stage.folder, values, present


def failures(folder):
    return {c.name: c.detail for c in verify(folder) if not c.ok}


def test_whole_states_pass_every_check(tmp_path):
    folder, _, _ = made(tmp_path)
    checks = list(verify(folder))
    assert all(c.ok for c in checks), checks
    assert [c.name for c in checks] == [
        "manifest",
        f"file {INDEX}",
        "file 0.safetensors",
        "file 1.safetensors",
        "shapes",
        "order",
        "finite",
        "zero",
        "resid",
    ]
    assert cli("verify", folder).exit_code == 0


def nan(values, present):
    values["resid"][1, 0, 4, 3] = np.nan


def not_zero(values, present):
    values["resid"][1, 2, 1, 3] = 1


def beyond_width(values, present):
    values["attn.q"][1, 0, 0, 5] = 1


def constant(values, present):
    values["resid"][2] = np.where(present.T[:, :, None], values["resid"][2, :, :1], 0)


def zero(values, present):
    values["resid"][2, 1, 4] = 0


@pytest.mark.parametrize(
    ("change", "check", "detail"),
    [
        (nan, "finite", "resid of layer 0 at 'a' is not finite for example 4"),
        (not_zero, "zero", "resid of layer 0 at 'c' is not zero for example 1"),
        (beyond_width, "zero", "attn.q of layer 1 at 'a' is not zero for example 0"),
        (constant, "resid", "layer 1 of resid holds the same vector for every example"),
        (zero, "resid", "resid of layer 1 at 'b' is zero for example 4"),
    ],
)
def test_wrong_values_are_found(tmp_path, change, check, detail):
    assert detail in failures(made(tmp_path, change)[0])[check]


def test_a_constant_embedding_is_right(tmp_path):
    def stop_token(values, present):
        values["resid"][0] = np.where(present.T[:, :, None], values["resid"][0, :, :1], 0)

    assert not failures(made(tmp_path, stop_token)[0])


@pytest.mark.parametrize(
    "rows", [((4, 0), (2, 1, 1)), ((4, 0), (2, 1)), ((4, 0), (2, 1, 3, 0)), ((4, 0), (2, 1, 7))]
)
def test_order_must_be_a_permutation(tmp_path, rows):
    assert "expected each of 5 examples once" in failures(made(tmp_path, rows=rows)[0])["order"]


def test_wrong_shapes_and_names_are_found(tmp_path):
    folder, values, _ = made(tmp_path)
    good = ShardStore(
        tmp_path, "states", {"model": {"name": "handmade", "n_layers": 2, "width": 8}}
    )
    good.write(
        "1.safetensors",
        states_bytes({s: v[:, :2, [2, 1, 3]] for s, v in values.items()}, (2, 1, 3)),
    )
    assert failures(folder) == {
        "shapes": "1.safetensors has resid [3, 2, 3, 8], expected [3, 3, 3, 8]"
    }
    good.write(
        "1.safetensors", states_bytes({"resid": values["resid"][:, :, [2, 1, 3]]}, (2, 1, 3))
    )
    assert (
        "1.safetensors holds example, resid; expected example, resid, attn.q"
        in failures(folder)["shapes"]
    )
    wide = {s: v[:, :, [2, 1, 3]].astype(np.float64) for s, v in values.items()}
    with pytest.raises(ValueError, match="float64"):
        states_bytes(wide, (2, 1, 3))
    good.write("1.safetensors", save(wide | {"example": np.array([2, 1, 3])}))
    assert "F64" in failures(folder)["shapes"]


def test_a_changed_shard_is_named_with_what_was_expected(tmp_path):
    folder, _, _ = made(tmp_path)
    (told,) = open_states(folder).shards["1.safetensors"]
    expected = told[:16]
    content = bytearray((folder / "1.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "1.safetensors").write_bytes(content)
    result = cli("verify", folder)
    assert result.exit_code == 1
    assert re.search(rf"FAILED file 1.safetensors: .* expected {expected}", result.output)
    assert "1 of 6 checks failed, the first file 1.safetensors" in result.output
    assert "ok     file 0.safetensors" in result.output


def test_lost_files_are_found(tmp_path):
    folder, _, _ = made(tmp_path)
    (folder / "1.safetensors").unlink()
    found = failures(folder)
    assert "not there or not whole" in found["index"]
    assert "expected sha256" in found["file 1.safetensors"]
    (folder / "manifest.jsonl").write_text("{")
    assert "not there or not whole" in failures(folder)["manifest"]


def test_inputs_that_give_another_key_are_found(tmp_path):
    folder, _, _ = made(tmp_path)
    text = (folder / "manifest.jsonl").read_text()
    (folder / "manifest.jsonl").write_text(text.replace("handmade", "renamed"))
    assert "another key" in failures(folder)["manifest"]


def test_states_are_found_or_the_message_says_why(tmp_path):
    with pytest.raises(BadFileError, match="neither a run directory nor a folder"):
        find_states(tmp_path)
    folder, _, _ = made(tmp_path)
    assert find_states(tmp_path) == find_states(folder) == folder
    shutil.copytree(folder, folder.with_name("states-other"))
    with pytest.raises(BadFileError, match="stages/states-other"):
        find_states(tmp_path)
    (tmp_path / "record.json").write_text('{"schema_version": 2, "states": null}')
    with pytest.raises(BadFileError, match="--discard-states"):
        find_states(tmp_path)


def test_info_fits_eighty_columns(tmp_path):
    text = describe(open_states(made(tmp_path)[0]))
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "resid      emb, 0-1; width 8",
        "attn.q     0-1; width 4 to 6",
        "5 in 2 shards",
        "float16",
        "before any final norm",
    ):
        assert words in text
    assert re.search(r"^c +4$", text, re.MULTILINE)
    assert ranges((EMB, 0, 1, 2, 5, 7, 8)) == "emb, 0-2, 5, 7-8"


# -- export ----------------------------------------------------------------------------------------


def test_npy_holds_every_vector_in_the_order_of_the_examples(tmp_path):
    folder, values, present = made(tmp_path)
    out = export(folder, "npy", tmp_path / "out")
    assert {p.name for p in out.iterdir()} == {
        "resid.npy",
        "attn.q.npy",
        "present.npy",
        "examples.parquet",
        "states.json",
    }
    for site, v in values.items():
        array = np.load(out / f"{site}.npy", mmap_mode="r")
        assert isinstance(array, np.memmap)
        assert array.dtype == np.float16
        np.testing.assert_array_equal(array, v.transpose(2, 0, 1, 3))
    np.testing.assert_array_equal(np.load(out / "present.npy"), present)
    about = json.loads((out / "states.json").read_text())
    assert about["axes"] == ["example", "layer", "position", "width"]
    assert about["sites"]["attn.q"]["layers"] == ["0", "1"]
    assert about["sites"]["attn.q"]["widths"] == [6, 4]
    assert about["positions"] == ["a", "b", "c"]
    assert "before any final norm" in about["layer_convention"]
    assert pd.read_parquet(out / "examples.parquet").id.tolist() == [f"e{i}" for i in range(5)]


def test_parquet_holds_one_row_per_vector_that_is_there(tmp_path):
    folder, values, present = made(tmp_path)
    out = export(folder, "parquet", tmp_path / "out")
    table = pd.read_parquet(out / "attn.q.parquet")
    assert len(table) == present.sum() * 2
    for row in table.itertuples():
        expected = values["attn.q"][row.layer, "abc".index(row.position), row.example]
        np.testing.assert_array_equal(row.vector, expected.astype(np.float32))
        assert (row.id, row.width) == (f"e{row.example}", (6, 4)[row.layer])
    assert not table.duplicated(["example", "layer", "position"]).any()
    from pyarrow.parquet import ParquetFile

    file = ParquetFile(out / "resid.parquet")
    assert file.num_row_groups == 2 * 3
    assert "fixed_size_list" in str(file.schema_arrow.field("vector").type)
    assert set(pd.read_parquet(out / "resid.parquet", filters=[("layer", "==", -1)]).layer) == {EMB}


def test_a_part_of_them(tmp_path):
    folder, values, _ = made(tmp_path)
    result = cli(
        "export",
        folder,
        "--to",
        "npy",
        "--out",
        tmp_path / "o",
        "--site",
        "resid",
        "--layers",
        "emb,1",
        "--positions",
        "c,a",
    )
    assert result.exit_code == 0, result.output
    array = np.load(tmp_path / "o" / "resid.npy")
    np.testing.assert_array_equal(array, values["resid"][[0, 2]][:, [0, 2]].transpose(2, 0, 1, 3))
    assert json.loads((tmp_path / "o" / "states.json").read_text())["positions"] == ["a", "c"]
    narrow = export(folder, "npy", tmp_path / "narrow", sites=["attn.q"], layers=[1])
    assert np.load(narrow / "attn.q.npy").shape == (5, 1, 3, 4)


def test_exports_refuse_what_cannot_be(tmp_path, monkeypatch):
    folder, _, _ = made(tmp_path)
    for options, message in (
        ({"to": "npz"}, "format 'npz'. Did you mean 'npy'"),
        ({"sites": ["rezid"]}, "Did you mean 'resid'"),
        ({"layers": [7]}, "layer of resid, attn.q '7'"),
        ({"positions": ["d"]}, "position 'd'"),
        ({"positions": []}, "Nothing to export"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            export(folder, **({"to": "npy", "out": tmp_path / "o"} | options))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(UsageError, match="not empty; nothing is overwritten"):
        export(folder, "npy", tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(RunError, match="Export fewer --layers"):
        export(folder, "npy", tmp_path / "o")
    monkeypatch.undo()
    monkeypatch.setattr(
        pd.DataFrame,
        "to_parquet",
        lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(RunError, match="No space left on device"):
        export(folder, "npy", tmp_path / "o")
    assert not [
        p for p in tmp_path.iterdir() if p.name not in ("stages", "full")
    ]  # nothing half-written
    (folder / "examples.parquet").unlink()
    with pytest.raises(BadFileError, match="Give the run directory"):
        export(folder, "npy", tmp_path / "o")


@pytest.mark.parametrize("to", ["npy", "parquet"])
def test_exports_never_hold_everything(tmp_path, to):
    sites = {"resid": SiteLayout(tuple(range(24)), (64,) * 24)}
    folder, values, _ = made(tmp_path, sites=sites, scale=40, rows=((0,), (1,), (2,), (3,), (4,)))
    tracemalloc.start()
    export(folder, to, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < values["resid"].nbytes / 3


# -- of a run --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory, model_folder):
    """A small model whose norms have weights (and biases) that are not 1: `folder_of("gemma")`."""
    from transformers import AutoModelForCausalLM

    made = {}

    def make(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(f"{kind}-normed") / kind
            shutil.copytree(model_folder(kind), made[kind])
            model = AutoModelForCausalLM.from_pretrained(made[kind])
            torch.manual_seed(1)
            with torch.no_grad():
                for p in model.parameters():
                    if p.ndim == 1:
                        p.add_(torch.rand_like(p))
            model.save_pretrained(made[kind])
        return made[kind]

    return make


@pytest.fixture(scope="module")
def finished(tmp_path_factory, folder_of):
    """A run on answers made elsewhere, the answers file with their ids, and the model."""
    folder = tmp_path_factory.mktemp("exchange")
    rng, words = np.random.default_rng(0), ["Paris", "river", "poet", "Anna"]
    rows = []
    for i in range(N):
        exact = f"{words[rng.integers(4)]} {words[rng.integers(4)]}"  # of several tokens
        row = {
            "id": f"a{i}",
            "question": f"Where was {words[rng.integers(4)]} {i}?",
            "answer": f" It is {exact} near the river.",
        }
        rows.append(
            row
            | ({"exact_answer": exact} if i % 10 else {})
            | {"label": i % 2, "group": f"g{i // 2}"}
        )
    (folder / "plain.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = probebench.evaluate(
        str(folder_of("llama")),
        answers=folder / "plain.jsonl",
        positions=POSITIONS,
        shuffles=0,
        out=folder / "run",
        device="cpu",
    )
    ids = run.answers.set_index("id")
    for row in rows:
        row |= {
            "prompt_ids": ids.prompt_ids[row["id"]].tolist(),
            "answer_ids": ids.answer_ids[row["id"]].tolist(),
        }
        del row["answer"]
    (folder / "answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return run, folder / "answers.jsonl", folder_of("llama")


def test_a_run_is_shown_verified_and_exported_without_torch(finished, tmp_path):
    run, _, _ = finished
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from probebench.cli.main import main\n"
        f"for words in (['info'], ['verify'], ['export', '--to', 'npy', '--out', "
        f"{str(tmp_path / 'o')!r}]):\n"
        f"    main(['states', words[0], {str(run.folder)!r}, *words[1:]], standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stdout
    assert f"ok     answers: {N} in the same order" in done.stdout
    assert run.record["model"]["revision"].removeprefix("sha256:") in done.stdout
    about = json.loads((tmp_path / "o" / "states.json").read_text())
    array = np.load(tmp_path / "o" / "resid.npy", mmap_mode="r")
    there = run.states().there("exact_answer_last")
    assert 0 < there.sum() < len(there)
    for layer in about["sites"]["resid"]["layer_numbers"]:
        column = array[
            :,
            about["sites"]["resid"]["layer_numbers"].index(layer),
            about["positions"].index("exact_answer_last"),
        ]
        np.testing.assert_array_equal(
            column, run.states().cell(layer, "exact_answer_last").astype(np.float16)
        )
    assert pd.read_parquet(tmp_path / "o" / "examples.parquet").equals(
        run.answers[["id", "label", "split", "group"]]
    )


def test_a_run_s_own_folder_knows_its_run(finished):
    run, _, _ = finished
    assert open_states(run.folder / run.record["states"]).run.folder.samefile(run.folder)


# -- from elsewhere --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def elsewhere(finished):
    """Per answer its ids and arrays."""
    _, answers, folder = finished
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    ids = {r["id"]: [*r["prompt_ids"], *r["answer_ids"]] for r in rows}
    return ids, dict(zip(ids, forward(folder, ids.values()), strict=True))


def saved(path, elsewhere, convention, change=lambda values, ids: (values, ids)):
    """One npz of all arrays, those of `a7` changed."""
    ids, arrays = elsewhere
    tensors = {}
    for name in ids:
        values, tokens = arrays[name][convention], np.array(ids[name])
        if name == "a7":
            values, tokens = change(values.copy(), tokens)
        tensors |= {name: values, f"{name}.ids": tokens}
    np.savez(path, **tensors)
    return path


def brought(finished, source, convention, out, **options):
    _, answers, folder = finished
    return import_states(
        source,
        ModelSpec(str(folder), device="cpu"),
        answers,
        out,
        convention,
        positions=POSITIONS,
        **options,
    )


@pytest.mark.parametrize(
    ("convention", "layers"), [("hf", (EMB, 0, 1)), ("blocks", (0, 1, 2)), ("tl", (EMB, 0, 1, 2))]
)
def test_imported_states_are_the_run_s(finished, elsewhere, tmp_path, convention, layers):
    run, answers, folder = finished
    done = brought(
        finished, saved(tmp_path / "x.npz", elsewhere, convention), convention, tmp_path / "out"
    )
    reader, own = StatesReader.open(done.folder), run.states()
    assert reader.site("resid").layers == done.layers == layers
    assert set(done.absent) == {EMB, 0, 1, 2} - set(layers)
    assert not done.notes
    np.testing.assert_array_equal(reader.present, own.present)
    for layer in layers:
        for position in POSITIONS:
            ours, theirs = own.cell(layer, position), reader.cell(layer, position)
            np.testing.assert_allclose(theirs, ours, atol=2e-3, rtol=2e-3)
    assert not failures(tmp_path / "out")
    text = describe(open_states(tmp_path / "out"))
    assert max(map(len, text.splitlines())) <= 80
    assert run.record["model"]["revision"].removeprefix("sha256:") in text
    assert "after the final norm" in text or convention != "hf"
    examples = open_states(tmp_path / "out").examples()
    assert examples.astype({"label": int}).equals(run.answers[["id", "label", "split", "group"]])
    exported = export(tmp_path / "out", "npy", tmp_path / "npy")
    np.testing.assert_array_equal(
        np.load(exported / "resid.npy")[:, 0, -1], reader.cell(layers[0], reader.positions[-1])
    )


def test_imported_states_say_what_they_are_of(finished, elsewhere, tmp_path):
    """So that a run on the same answers may use them, and no other."""
    run, _, _ = finished
    brought(finished, saved(tmp_path / "x.npz", elsewhere, "blocks"), "blocks", tmp_path / "out")
    own = open_states(run.folder)
    content, model = own.inputs["content"], run.record["model"]
    assert states_of(tmp_path / "out", model, content, POSITIONS).reader.site("resid").layers == (
        0,
        1,
        2,
    )
    for of, message in (
        (
            (model | {"revision": "sha256:0"}, content, POSITIONS),
            "of another model: revision sha256:.*, not sha256:0",
        ),
        (
            (model | {"peft": "sha256:1"}, content, POSITIONS),
            "of another model: peft None, not sha256:1",
        ),
        (
            (model | {"quantization": "bitsandbytes-4bit-nf4"}, content, POSITIONS),
            "of another model: quantization none, not bitsandbytes-4bit-nf4",
        ),
        ((model, "0", POSITIONS), "of other answers, or in another order"),
        (
            (model, content, POSITIONS[:2]),
            "Ask for theirs: --positions last_q,exact_answer_last,-1,answer_mean",
        ),
    ):
        with pytest.raises(StatesError, match=message):
            states_of(tmp_path / "out", *of)


def again(finished, tmp_path, states, **options):
    _, answers, folder = finished
    words = {
        "positions": POSITIONS,
        "shuffles": 0,
        "device": "cpu",
        "out": tmp_path / "run",
    } | options
    return probebench.evaluate(str(folder), answers=answers, states=states, **words)


def test_a_run_reads_given_states_and_extracts_nothing(finished, elsewhere, tmp_path, monkeypatch):
    run, _, _ = finished
    folder = brought(
        finished,
        saved(tmp_path / "x.npz", elsewhere, "tl"),
        "tl",
        tmp_path / "out",
        dtype="float32",
    ).folder
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    monkeypatch.setattr(
        "probebench.stages.states.Extractor",
        lambda *a, **k: pytest.fail("hidden states were extracted"),
    )
    other = again(finished, tmp_path, folder, discard_states=True)
    assert other.record["key"] != run.record["key"]
    # the same vectors but for half precision
    np.testing.assert_allclose(
        other.matrix("auroc").to_numpy(), run.matrix("auroc").to_numpy(), atol=0.02
    )
    assert other.record["selection"]["position"] in POSITIONS
    assert {
        p.name: p.read_bytes() for p in folder.iterdir()
    } == before  # --discard-states is for what a run extracts
    source = other.record["extraction"]["source"]
    assert (tmp_path / "run" / source["folder"]).resolve() == folder.resolve()
    assert (source["convention"], source["dtype"]) == ("tl", "float32")
    assert source["key"] == open_states(folder).key
    assert source["model"]["revision"] == run.record["model"]["revision"]
    assert np.array_equal(other.states().cell("1", "-1"), StatesReader.open(folder).cell(1, "-1"))
    assert again(finished, tmp_path, folder, discard_states=True).resumed
    bent = saved(tmp_path / "y.npz", elsewhere, "tl", lambda v, i: (v * 1.5, i))
    changed = brought(finished, bent, "tl", tmp_path / "bent", dtype="float32", check=False).folder
    with pytest.raises(
        UsageError, match="holds a finished run that this one would replace; it differs in states"
    ):
        again(finished, tmp_path, changed)  # other states under the same answers


def test_what_given_states_lack_is_absent_with_the_reason(finished, elsewhere, tmp_path):
    folder = brought(
        finished, saved(tmp_path / "x.npz", elsewhere, "hf"), "hf", tmp_path / "out"
    ).folder
    run = again(finished, tmp_path, folder)
    matrix = run.matrix("auroc")
    assert matrix.loc["2"].isna().all()
    assert matrix.drop(index="2").notna().all().all()
    assert "after the final norm" in run.record["sites"]["resid"]["absent"]["2"]
    (tmp_path / "blocks").mkdir()
    blocks = brought(
        finished, saved(tmp_path / "y.npz", elsewhere, "blocks"), "blocks", tmp_path / "blocks"
    ).folder
    run = again(finished, tmp_path / "blocks", blocks)
    assert run.matrix("auroc").loc["emb"].isna().all()
    assert "before block 0" in run.record["sites"]["resid"]["absent"]["emb"]
    assert "probe_emb" not in [d["name"] for d in run.record["detectors"]]
    assert run.plot() is not None


def test_given_states_of_something_else_are_refused(finished, elsewhere, tmp_path):
    source = saved(tmp_path / "x.npz", elsewhere, "hf")
    folder = brought(finished, source, "hf", tmp_path / "out").folder
    run, answers, model = finished
    for options, error, message in (
        (
            {"sites": ["resid", "attn.q"]},
            UsageError,
            r"holds resid and not attn.q. Give sites=\['resid'\], or leave states out",
        ),
        (
            {"layers": [1, 2]},
            UsageError,
            "has no layer 2 of resid .the last entry of hidden_states is after the final norm",
        ),
        (
            {"positions": POSITIONS[:2]},
            StatesError,
            "Ask for theirs: positions=.'last_q', 'exact_answer_last', '-1', 'answer_mean'",
        ),
        (
            {"limit": 50},
            StatesError,
            "They are of 100 answers, this run is on 50; limit would leave some out",
        ),
    ):
        with pytest.raises(error, match=message):
            again(finished, tmp_path / "x", folder, **options)
    with pytest.raises(UsageError, match="states needs answers=FILE"):
        probebench.evaluate(str(model), "people", states=folder)
    with pytest.raises(BadFileError, match="holds no hidden states"):
        again(finished, tmp_path / "x", tmp_path / "nowhere")
    rows = answers.read_text().splitlines()
    (tmp_path / "turned.jsonl").write_text("\n".join([rows[1], rows[0], *rows[2:]]) + "\n")
    with pytest.raises(
        StatesError, match="in another order.*Row 0 is of 'a0' there and of 'a1' here"
    ):
        again((run, tmp_path / "turned.jsonl", model), tmp_path / "x", folder)
    shard = next(folder.glob("0*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StatesError, match="00000.safetensors is not what its manifest says"):
        again(finished, tmp_path / "x", folder)


def test_bfloat16_is_imported_verified_and_exported(finished, elsewhere, tmp_path):
    done = brought(
        finished,
        saved(tmp_path / "x.npz", elsewhere, "tl"),
        "tl",
        tmp_path / "out",
        dtype="bfloat16",
    )
    ids, arrays = elsewhere
    assert not failures(tmp_path / "out")
    assert "bfloat16" in describe(open_states(tmp_path / "out"))
    reader = StatesReader.open(done.folder)
    last = np.stack([arrays[name]["tl"][2, -1] for name in ids])
    expected = torch.from_numpy(last).bfloat16().float().numpy()
    np.testing.assert_array_equal(reader.cell(1, "-1"), expected)
    about = json.loads(
        (export(tmp_path / "out", "npy", tmp_path / "npy") / "states.json").read_text()
    )["sites"]["resid"]
    assert (about["dtype"], about["stored_dtype"]) == ("float32", "bfloat16")
    np.testing.assert_array_equal(np.load(tmp_path / "npy" / "resid.npy")[:, 2, 2], expected)
    table = pd.read_parquet(export(tmp_path / "out", "parquet", tmp_path / "pq") / "resid.parquet")
    row = table[(table.layer == 1) & (table.position == "-1") & (table.example == 3)].iloc[0]
    np.testing.assert_array_equal(row.vector, expected[3])

    def infinite(values, ids):
        values[1, -1] = 3.4e38
        return values, ids

    with pytest.raises(StatesError, match="too large for bfloat16. Keep it with dtype='float32'"):
        brought(
            finished,
            saved(tmp_path / "y.npz", elsewhere, "tl", infinite),
            "tl",
            tmp_path / "o2",
            dtype="bfloat16",
        )


def test_import_is_found_again_by_content(finished, elsewhere, tmp_path):
    source = saved(tmp_path / "x.npz", elsewhere, "hf")
    first = brought(finished, source, "hf", tmp_path / "out")
    shard = next(first.folder.glob("0*.safetensors"))
    before = shard.stat().st_mtime_ns
    assert brought(finished, source, "hf", tmp_path / "out").folder == first.folder
    assert shard.stat().st_mtime_ns == before
    bent = saved(tmp_path / "x.npz", elsewhere, "hf", lambda v, i: (v * 1.5, i))
    other = brought(finished, bent, "hf", tmp_path / "out", check=False)
    assert other.folder != first.folder


def test_a_folder_of_batches_in_bfloat16(finished, elsewhere, tmp_path):
    from safetensors.torch import save_file

    ids, arrays = elsewhere
    names, rows = list(ids), []
    (tmp_path / "in").mkdir()
    for k in range(0, len(names), 50):
        tensors = {}
        for i, name in enumerate(names[k : k + 50]):
            tensors |= {
                f"row{i}": torch.tensor(arrays[name]["blocks"]).bfloat16(),
                f"row{i}.ids": torch.tensor(ids[name]),
            }
            rows.append({"id": name, "file": f"{k}.safetensors", "key": f"row{i}"})
        save_file(tensors, tmp_path / "in" / f"{k}.safetensors")
    rows.append({"id": "of no answer", "file": "0.safetensors", "key": "row0"})
    (tmp_path / "in" / "examples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = brought(finished, tmp_path / "in", "blocks", tmp_path / "out", dtype="float32")
    assert done.notes == ("1 arrays are of no answer in answers.jsonl and were left out.",)
    run, _, _ = finished
    ours, theirs = run.states().cell(2, "-1"), StatesReader.open(done.folder).cell(2, "-1")
    np.testing.assert_allclose(theirs, ours, atol=2e-2, rtol=1e-2)


def with_nan(values, ids):
    values[1, 2, 3] = np.nan
    return values, ids


def with_zero(values, ids):
    values[2, 3] = 0
    return values, ids


def too_large(values, ids):
    values[1, -1] = 1e5
    return values, ids


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda v, i: (v[:, :-1], i), BadFileError, "but [0-9]+ token ids came with them"),
        (
            lambda v, i: (v.transpose(1, 0, 2), i),
            BadFileError,
            "axes look exchanged: \\(layer, token, width\\)",
        ),
        (lambda v, i: (v[0], i), BadFileError, "token ids came with them"),
        (lambda v, i: (v[:, :-1], i[:-1]), BadFileError, "last generated token was never fed"),
        (
            lambda v, i: (np.pad(v, ((0, 0), (3, 0), (0, 0))), np.pad(i, (3, 0))),
            BadFileError,
            "looks like padding",
        ),
        (
            lambda v, i: (v[:, 1:], i[1:]),
            BadFileError,
            "special token that was added twice or left out",
        ),
        (
            lambda v, i: (v, np.where(np.arange(len(i)) == 5, 9, i)),
            BadFileError,
            "differ first at token 5: 9 instead of",
        ),
        (lambda v, i: (v, i.astype(float)), BadFileError, "must be a list of token ids"),
        (lambda v, i: (v[:, :, :16], i), BadFileError, "have width 16, but 'llama' has 32"),
        (
            lambda v, i: (v[:-1], i),
            BadFileError,
            "3 entries.*hf. has 4 for 3 blocks.*would be convention blocks or tl",
        ),
        (
            with_nan,
            StatesError,
            "'a7': 1 of [0-9]+ vectors are not finite, the first at entry 1, token 2",
        ),
        (
            with_zero,
            StatesError,
            "'a7': 1 of [0-9]+ vectors are all zero, the first at entry 2, token 3",
        ),
        (
            lambda v, i: ((v * 100).astype(np.int8), i),
            BadFileError,
            "are int8; they must be floats",
        ),
        (
            too_large,
            StatesError,
            "Layer 0 at '-1' is too large for float16. Keep it with dtype='bfloat16' or float32",
        ),
    ],
)
def test_what_is_silently_wrong_is_refused(finished, elsewhere, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        brought(
            finished, saved(tmp_path / "x.npz", elsewhere, "hf", change), "hf", tmp_path / "out"
        )
    with pytest.raises(BadFileError, match="neither a run directory nor a folder"):
        find_states(tmp_path / "out")


def test_the_same_array_for_all_is_refused(finished, elsewhere, tmp_path):
    """One array under every id: the ids can be right, and each vector fine."""
    ids, arrays = elsewhere
    one = max((a["blocks"] for a in arrays.values()), key=lambda a: a.shape[1])
    one = np.repeat(one[:, :1], one.shape[1], axis=1)
    same = {name: {"blocks": one[:, : len(ids[name])]} for name in ids}
    with pytest.raises(StatesError, match="off by one|same vector for every example"):
        brought(
            finished, saved(tmp_path / "x.npz", (ids, same), "blocks"), "blocks", tmp_path / "out"
        )


def test_arrays_of_several_conventions_are_refused(finished, elsewhere, tmp_path):
    source = saved(tmp_path / "x.npz", elsewhere, "tl", lambda v, i: (v[1:], i))
    with pytest.raises(
        BadFileError, match="'a7' have 3 entries along the layer axis, those of 'a0' have 4"
    ):
        brought(finished, source, "tl", tmp_path / "out")


def test_answers_without_states_are_refused(finished, elsewhere, tmp_path):
    ids, arrays = elsewhere
    some = {name: ids[name] for name in list(ids)[3:]}
    with pytest.raises(
        BadFileError, match=f"3 of {N} answers of answers.jsonl have no states, the first 'a0'"
    ):
        brought(finished, saved(tmp_path / "x.npz", (some, arrays), "hf"), "hf", tmp_path / "out")


@pytest.mark.parametrize("kind", ["llama", "gemma", "gpt2"])
def test_entries_of_another_convention_are_told_by_their_numbers(folder_of, kind):
    handle = find_model(ModelSpec(str(folder_of(kind)), device="cpu"))
    rng = np.random.default_rng(0)
    ids = [tuple(int(i) for i in rng.integers(5, 60, size=40)) for _ in range(3)]
    found = forward(folder_of(kind), ids)

    def look(convention, take):
        return inspect([(take(f), i) for f, i in zip(found, ids, strict=True)], convention, handle)

    assert (
        look("hf", lambda f: f["hf"])
        == look("blocks", lambda f: f["blocks"])
        == look("tl", lambda f: f["tl"])
        == []
    )
    with pytest.raises(
        StatesError,
        match="after the final norm.*weight taken off.*"
        "all entries of hidden_states with --convention hf",
    ):
        look("blocks", lambda f: f["hf"][1:])
    with pytest.raises(
        StatesError,
        match=(
            "If these are all entries of hidden_states, give --convention hf.*block 2 is then "
            "absent"
        ),
    ):
        look("tl", lambda f: f["hf"])
    for dtype in (torch.bfloat16, torch.float16):  # rounding hides nothing
        with pytest.raises(StatesError, match="after the final norm"):
            look("blocks", lambda f, d=dtype: torch.tensor(f["hf"][1:]).to(d).float().numpy())
    if kind != "gpt2":  # its position embeddings are in the stream before block 0
        with pytest.raises(StatesError, match="blocks are off by one"):
            look("blocks", lambda f: f["hf"][:-1])
    assert "does not look as if" in look("hf", lambda f: f["tl"])[0]
    with pytest.raises(StatesError, match="from_pretrained_no_processing"):
        look("tl", lambda f: f["blocks"] - f["blocks"].mean(axis=2, keepdims=True))


def test_without_a_checkpoint_the_note_says_what_was_not_checked(folder_of, tmp_path):
    from dataclasses import replace

    handle = find_model(ModelSpec(str(folder_of("llama")), device="cpu"))
    ids = [tuple(range(5, 30))]
    found = forward(folder_of("llama"), ids)[0]
    away = replace(handle, spec=ModelSpec("nobody/nothing"))
    assert (
        "Not checked: whether the last entry came after the final norm"
        in inspect([(found["blocks"], ids[0])], "blocks", away)[0]
    )


def test_numbers_of_entries():
    assert entries_of("hf", 4, 3).layers == (EMB, 0, 1)
    assert entries_of("tl", 3, 3).layers == (0, 1, 2)
    with pytest.raises(UnknownNameError, match="Did you mean 'blocks'"):
        entries_of("block", 3, 3)
    with pytest.raises(BadFileError, match="4 entries would be --convention hf or tl"):
        entries_of("blocks", 4, 3)


def test_files_that_cannot_be_read_say_so(finished, elsewhere, tmp_path):
    ids, arrays = elsewhere
    (tmp_path / "in").mkdir()
    rows = tmp_path / "in" / "examples.jsonl"
    with pytest.raises(BadFileError, match="has no examples.jsonl"):
        brought(finished, tmp_path / "in", "hf", tmp_path / "out")
    for text, message in (
        ('{"id": "a0", "file": "x.npz"}', "'key' is missing"),
        ('{"id": "a0", "file": "x.npz", "key": "a0"}', "'x.npz' is not in"),
        ('{"id": "a0", "file": "../y.npz", "key": "a0"}', "'../y.npz' is not in"),
    ):
        rows.write_text(text + "\n")
        saved(tmp_path / "y.npz", elsewhere, "hf")
        with pytest.raises(BadFileError, match=message):
            brought(finished, tmp_path / "in", "hf", tmp_path / "out")
    for name, content in (
        ("x.npz", b"no zip"),
        ("x.safetensors", b"nothing"),
        ("x.pt", b"a pickle"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadFileError, match=f"{name} (cannot be read|is neither)"):
            brought(finished, tmp_path / name, "hf", tmp_path / "out")
    np.savez(tmp_path / "p.npz", a0=np.array([None]), **{"a0.ids": np.array([1])})
    from probebench.states.importing.arrays import Array

    with pytest.raises(BadFileError, match="cannot be read"):  # a pickle inside is never loaded
        read_array(Array(tmp_path / "p.npz", "a0"))
    with pytest.raises(BadFileError, match="no tensor 'b'"):
        read_array(Array(tmp_path / "y.npz", "b"))


def test_import_from_the_command_line(finished, elsewhere, tmp_path):
    _, answers, folder = finished
    saved(tmp_path / "x.npz", elsewhere, "hf")
    words = [
        "--model",
        folder,
        "--answers",
        answers,
        "--out",
        tmp_path / "out",
        "--positions",
        "last_q,-1",
    ]
    result = cli("import", tmp_path / "x.npz", *words, "--convention", "hf")
    assert result.exit_code == 0, result.output
    assert f"{N} examples, layers emb, 0-1" in result.output
    assert "no layer 2: the last entry of hidden_states is after the final norm" in result.output
    assert cli("verify", tmp_path / "out").exit_code == 0
    result = cli("import", tmp_path / "x.npz", *words, "--convention", "tl")
    assert result.exit_code == 1
    assert "--convention hf" in result.output


# -- the page --------------------------------------------------------------------------------------


def test_the_page_s_code_runs_in_a_fresh_process(finished, tmp_path):
    run, answers, folder = finished
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "people").symlink_to(run.folder)
    (tmp_path / "my-model").symlink_to(folder)
    (tmp_path / "answers.jsonl").symlink_to(answers)
    export(run.folder, "npy", tmp_path / "exported")
    blocks = [
        b.replace("layer=7", "layer=2")
        .replace("cell(7,", "cell(2,")
        .replace('index("7")', 'index("2")')
        for b in re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    ]
    assert len(blocks) == 5
    convert = (
        "from probebench.cli.main import main\nmain(['states', 'import', 'states.npz', '--model', "
        "'./my-model', '--answers', "
        "'answers.jsonl', '--convention', 'hf', '--out', 'imported'], standalone_mode=False)\n"
    )
    code = "\n".join([*blocks[:4], convert, blocks[4], "print(X.shape, there.sum())"])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^n \d+: mine 0\.\d+, probe 0\.\d+$", done.stdout, re.MULTILINE)
    assert f"({N}, 32)" in done.stdout
    assert Run.load(tmp_path / "runs/tiny/people").record["key"] == run.record["key"]


def test_other_layers_of_given_states_are_no_shards_of_a_run_that_was_stopped(
    finished, elsewhere, tmp_path, monkeypatch
):
    source = saved(tmp_path / "x.npz", elsewhere, "tl")
    folder = brought(finished, source, "tl", tmp_path / "out", dtype="float32").folder
    with monkeypatch.context() as broken:
        broken.setattr("probebench.job.write.build_record", lambda *parts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            again(finished, tmp_path, folder, layers=(0, 1))
    mixed = again(finished, tmp_path, folder, layers=(1, 2)).matrix("auroc")
    alone = again(finished, tmp_path, folder, layers=(1, 2), out=tmp_path / "alone")
    pd.testing.assert_frame_equal(mixed, alone.matrix("auroc"))
