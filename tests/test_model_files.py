"""Folders as clones, downloads and copies leave them: the cause is named before any weight is read,
in the dry run too."""

import json
import shutil
from itertools import pairwise

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from probebench.cli.main import main
from probebench.errors import BadFileError, ProbebenchError, UsageError
from probebench.files import is_pointer
from probebench.models.checkpoints.adapters import find_adapter
from probebench.models.checkpoints.files import check_safetensors, rope_types
from probebench.models.devices import pick_device
from probebench.models.loading import ModelSpec, find_model
from probebench.tasks.local.formats import records

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


@pytest.fixture
def folder(model_folder, tmp_path):
    """A copy of the small Llama that may be spoilt."""
    shutil.copytree(model_folder(), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def shards(folder):
    """The same in several weight files."""
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="30KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    return folder


def find(folder, **options):
    return find_model(ModelSpec(str(folder), **{"device": "cpu"} | options))


def point(path):
    path.write_text(POINTER.format("0" * 64, 269060552))


@pytest.mark.parametrize(
    "names",
    [
        ("model.safetensors",),
        ("tokenizer.json",),
        ("config.json",),
        ("config.json", "model.safetensors", "tokenizer.json"),
    ],
    ids="-".join,
)
def test_git_lfs_pointers_are_called_so(folder, names):
    for name in names:
        point(folder / name)
    with pytest.raises(
        BadFileError, match=rf"{', '.join(names)} of .*Git LFS pointer.*git lfs pull"
    ):
        find(folder)


def test_the_dry_run_says_it_too(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    point(folder / "model.safetensors")
    result = CliRunner().invoke(
        main, ["eval", "--model", str(folder), "--task", "people", "--dry-run"]
    )
    assert (result.exit_code, "is a Git LFS pointer" in result.output) == (2, True)


def test_a_pointer_in_the_readme_or_among_pickles_does_no_harm(folder):
    for name in ("README.md", "pytorch_model.bin", "picture.png"):
        point(folder / name)
    assert find(folder).identity.n_layers == 3


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "jsonl.gz", "json", "parquet"])
def test_data_that_is_a_pointer(tmp_path, ending):
    """A table without its columns, by its look: the header is the pointer's first line."""
    path = tmp_path / f"rows.{ending}"
    point(path)
    with pytest.raises(BadFileError, match=rf"rows.{ending} is a Git LFS pointer.*git lfs pull"):
        list(records(path))


@pytest.mark.parametrize("option", ["--data", "--answers"])
def test_a_run_on_a_pointer_says_so(tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    point(tmp_path / "rows.csv")
    words = ["eval", "--model", "tiny", "--task", "people", option, "rows.csv", "--dry-run"]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, "git lfs pull" in " ".join(result.output.split())) == (2, True)


def test_an_adapter_that_is_a_pointer_or_cut_off(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    point(tmp_path / "adapter_model.safetensors")
    with pytest.raises(BadFileError, match="git lfs pull"):
        find_adapter(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes((100).to_bytes(8, "little") + b"{}")
    with pytest.raises(BadFileError, match="is cut off"):
        find_adapter(str(tmp_path))


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.001])
def test_half_a_weight_file_is_called_half(folder, kept):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(
        BadFileError,
        match=rf"model.safetensors is cut off.*{int(len(whole) * kept):,}.*[Gg]et it again",
    ):
        find(folder)


def test_half_a_shard_among_whole_ones(shards):
    last = sorted(shards.glob("*.safetensors"))[-1]
    assert find(shards).identity.n_layers == 3
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(BadFileError, match=f"{last.name} is cut off"):
        find(shards)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: its download did not finish"),
        (bytes(4096), "begins with zeros: its download did not finish"),
        (
            b"<!DOCTYPE html><html>Sign in</html>",
            "is no safetensors file: it begins with b'<!DOCTYP'",
        ),
        (b"abc", "is no safetensors file"),
        ((9).to_bytes(8, "little") + b"no header", "its header is not a list of tensors"),
        ((2).to_bytes(8, "little") + b"{}tail", "has 14 bytes, and its header speaks of 10"),
    ],
)
def test_what_is_no_weight_file(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=message):
        check_safetensors(path)


# -- links to nothing -----------------------------------------------------------------------------


def unlink(path):
    """Leave a link where a file was, as a cache that was moved does."""
    path.unlink(missing_ok=True)
    path.symlink_to(path.parent.parent / "blobs" / "0123abcd")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json"]
)
def test_a_link_to_nothing_is_called_so(folder, name):
    unlink(folder / name)
    with pytest.raises(
        BadFileError, match=rf"{name} is a link to nothing: there is no \S+0123abcd\. Get that back"
    ):
        find(folder)


def test_shards_that_are_links_to_nothing(shards):
    path = sorted(shards.glob("*.safetensors"))[-1]
    unlink(path)
    with pytest.raises(BadFileError, match=f"{path.name} is a link to nothing"):
        find(shards)
    (shards / "model.safetensors.index.json").unlink()
    with pytest.raises(BadFileError, match=f"{path.name} is a link to nothing"):
        find(shards)


def test_links_that_are_not_needed_do_no_harm(folder):
    for name in ("README.md", "consolidated.safetensors", "pytorch_model.bin", "LICENSE.txt"):
        unlink(folder / name)
    target = folder.parent / "kept.safetensors"
    (folder / "model.safetensors").rename(target)
    (folder / "model.safetensors").symlink_to(target)
    assert find(folder).identity.n_layers == 3


@pytest.mark.parametrize("name", ["model", "model.gguf"])
def test_a_model_that_is_itself_a_link_to_nothing(tmp_path, name):
    unlink(tmp_path / name)
    with pytest.raises(BadFileError, match=rf"{name} is a link to nothing"):
        find(tmp_path / name)


def test_an_adapter_and_data_that_are_links_to_nothing(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    unlink(tmp_path / "adapter_model.safetensors")
    with pytest.raises(BadFileError, match="adapter_model.safetensors is a link to nothing"):
        find_adapter(str(tmp_path))
    unlink(tmp_path / "rows.csv")
    with pytest.raises(BadFileError, match="rows.csv' is a link to nothing: there is no"):
        list(records(tmp_path / "rows.csv"))


# -- files of full size that were never filled ----------------------------------------------------


def blank(path, share):
    """A file whose last part, of so much of its size, was never written."""
    content = path.read_bytes()
    kept = int(len(content) * (1 - share))
    path.write_bytes(content[:kept] + bytes(len(content) - kept))


@pytest.mark.parametrize("share", [0.95, 0.5, 0.2, 0.05])
def test_a_weight_file_that_was_never_filled_to_its_end(folder, share):
    blank(folder / "model.safetensors", share)
    with pytest.raises(
        BadFileError,
        match=r"model.safetensors has its full size, but a part of it was never written: "
        r"'model\.\S+' \(\d+ x \d+\) has .*zero.* did not finish; get it again",
    ):
        find(folder)


def test_a_file_with_a_hole_in_its_midst(folder):
    """As a download in several streams leaves it: it begins and ends inside tensors."""
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    n = int.from_bytes(content[:8], "little")
    header = {k: v for k, v in json.loads(content[8 : 8 + n]).items() if k != "__metadata__"}
    placed = sorted(header, key=lambda name: header[name]["data_offsets"])
    before, name = next(
        (a, b)
        for a, b in pairwise(placed)
        if len(header[a]["shape"]) > 1 and len(header[b]["shape"]) > 1
    )
    first, last = header[name]["data_offsets"]
    whole = bytes(content)
    content[8 + n + first - 600 : 8 + n + last] = bytes(last - first + 600)
    path.write_bytes(content)
    with pytest.raises(
        BadFileError, match=f"{path.name} has its full size, .*'{name}' .*nothing but zeros"
    ):
        find(folder)
    alone = bytearray(whole)
    alone[8 + n + first : 8 + n + last] = bytes(last - first)
    path.write_bytes(alone)
    assert header[before] and find(folder), "a matrix of zeros by itself may be meant"


def test_zeros_that_are_meant(folder):
    """Biases, norms kept as their distance from one, and blocks that were added to a trained
    model and do nothing yet."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, values in tensors.items():
        if values.ndim == 1 or ".2.self_attn.o_proj" in name or ".2.mlp.down_proj" in name:
            values.zero_()
    tensors["model.norm.weight"].zero_()
    last = {"zz.bias": torch.zeros(400, 32), "zz.qzeros": torch.zeros(400, 32, dtype=torch.int32)}
    save_file(tensors | last, path, metadata={"format": "pt"})
    assert find(folder).identity.n_layers == 3


@pytest.mark.parametrize(("first", "whole"), [(1.0, True), (0.0, False)])
def test_an_adapter_that_is_not_trained_is_whole(tmp_path, first, whole):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    names = [f"base_model.model.model.layers.{k}.self_attn.q_proj.lora_" for k in range(3)]
    tensors = {f"{name}A.weight": torch.full((8, 256), first) for name in names}
    tensors |= {f"{name}B.weight": torch.zeros(256, 8) for name in names}
    save_file(tensors, tmp_path / "adapter_model.safetensors", metadata={"format": "pt"})
    if whole:
        assert find_adapter(str(tmp_path)).base is None
        return
    with pytest.raises(BadFileError, match=r"'base_model\S+lora_A.weight' .* nothing but zeros"):
        find_adapter(str(tmp_path))


def test_pickled_weights_that_are_cut_off_are_called_so(folder):
    torch.save({"a": torch.ones(100)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="pickled weights only"):
        find(folder)
    blank(folder / "pytorch_model.bin", 0.3)
    with pytest.raises(BadFileError, match="pytorch_model.bin is cut off, or its end was never"):
        find(folder)


def test_half_a_tokenizer_names_its_file(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(BadFileError, match=r"tokenizer.json is not JSON: .*It was cut off"):
        find(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"eos_token_id": [2, 5', "is not JSON: .*It was cut off"),
        ("", "is not JSON"),
        ("[2, 5]", "must be an object whose eos_token_id is a number, .*; got .2, 5"),
        ('{"eos_token_id": "<eos>"}', "must be an object whose eos_token_id is a number"),
    ],
)
def test_stop_tokens_that_cannot_be_read_are_not_left_out(folder, content, message):
    """Without them a model goes on after its answer, and nobody is told."""
    (folder / "generation_config.json").write_text(content)
    with pytest.raises(BadFileError, match=f"generation_config.json {message}"):
        find(folder)


def test_stop_tokens_by_all_who_may_know_them(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": [4, 5]}')
    assert find(folder).stop_ids == {2, 4, 5}
    (folder / "generation_config.json").write_text('{"eos_token_id": null}')
    assert find(folder).stop_ids == {2}
    (folder / "generation_config.json").unlink()
    assert find(folder).stop_ids == {2}


def test_of_a_hub_model_too_only_what_is_absent_is_passed_over(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cache = tmp_path / "models--org--small"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("a" * 40)
    kept = shutil.move(folder, cache / "snapshots" / ("a" * 40))
    spec = ModelSpec("org/small", device="cpu")
    (kept / "generation_config.json").unlink()
    (kept / "chat_template.jinja").unlink(missing_ok=True)
    assert find_model(spec, offline=True).stop_ids == {2}
    (kept / "generation_config.json").write_text('{"eos_token_id": [2, 5')
    with pytest.raises(BadFileError, match="generation_config.json is not JSON"):
        find_model(spec, offline=True)


def change(path, **lines):
    path.write_text(json.dumps(json.loads(path.read_text()) | lines))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ({"version": "9.9"}, "Unknown tokenizer version '9.9'"),
        ({"model": {"type": "Zorgon"}}, "did not match any variant"),
        ({"pre_tokenizer": {"type": "Later"}}, "did not match any variant"),
    ],
)
def test_a_tokenizer_of_another_format_is_one_clear_line(folder, lines, reason):
    """tokenizers raises a bare Exception."""
    change(folder / "tokenizer.json", **lines)
    with pytest.raises(
        UsageError,
        match=rf"tokenizers \S+ does not read its tokenizer.json .*{reason}.*of a newer format: "
        "get it again, or pip install -U transformers tokenizers",
    ):
        find(folder)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ({"tokenizer_class": "T5Tokenizer"}, "of the class 'T5Tokenizer', .*TypeError: "),
        ({"tokenizer_class": 5}, "of the class 5, does not go with its files .AttributeError: "),
        ({"eos_token": 7}, "does not go with its files .*eos_token has to be"),
    ],
)
def test_a_tokenizer_class_that_does_not_fit_is_one_clear_line(folder, lines, reason):
    change(folder / "tokenizer_config.json", **lines)
    with pytest.raises(UsageError, match=rf"its tokenizer_config.json, .*{reason}"):
        find(folder)


def test_what_is_no_object_is_said_of_its_file(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "tokenizer_config.json").write_text("[]")
    result = CliRunner().invoke(
        main, ["eval", "--model", str(folder), "--task", "people", "--dry-run"]
    )
    assert result.exit_code == 2
    assert "its tokenizer_config.json is not a JSON object, but a list" in " ".join(
        result.output.split()
    )


def test_small_files_that_are_no_pointers(tmp_path):
    (tmp_path / "a.txt").write_text("version 1")
    assert not is_pointer(tmp_path / "a.txt")
    (tmp_path / "b.txt").write_bytes(POINTER.format("0", 1).encode() + bytes(2000))
    assert not is_pointer(tmp_path / "b.txt")


# -- position encodings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            {"rope_scaling": {"type": "su", "factor": 2.0}},
            "rope type 'su'.*'su' is the old name of 'longrope'; write that there",
        ),
        (
            {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}},
            "rope type 'spiral'.*It knows default, .*longrope.*yarn",
        ),
    ],
)
def test_an_unknown_position_encoding_is_named(folder, lines, message):
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_parameters", None)
    (folder / "config.json").write_text(json.dumps(config | lines))
    with pytest.raises(UsageError, match=message):
        find(folder)


def test_rope_types_are_found_at_any_depth():
    whole = {"rope_type": "default"}
    config = {
        "text_config": {
            "rope_parameters": {"full_attention": {"rope_type": "yarn"}, "sliding_attention": whole}
        }
    }
    assert rope_types(
        config | {"parts": [{"rope_scaling": {"type": "su"}}], "rope_scaling": None}
    ) == {"yarn", "default", "su"}


# -- types of weights -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("float17", "float16"),
        ("float8_e4m3fn", None),
        ("torch.bfloat16", "bfloat16"),
        ("int8", None),
        ("auto", None),
        (16, None),
    ],
)
def test_a_type_that_no_model_is_computed_in(folder, key, value, meant):
    config = json.loads((folder / "config.json").read_text())
    config.pop("dtype", None)
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(
        UsageError, match=rf"asks for the dtype '?{value}'?\..* one of bfloat16"
    ) as e:
        find(folder)
    assert ("Did you mean" in str(e.value)) == (meant is not None)
    assert meant is None or f"Did you mean {meant!r}?" in str(e.value)


@pytest.mark.parametrize("value", ["bfloat16", "half", None])
def test_types_that_models_have(folder, value):
    change(folder / "config.json", dtype=value)
    assert find(folder).identity.dtype == "float32"


# -- devices ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mps", "mps:0"])
def test_a_device_with_wrong_products_is_refused_with_the_reason(name):
    with pytest.raises(
        ProbebenchError,
        match=rf"--device {name}: .*wrong matrix products.*193487.*Use --device cpu",
    ):
        pick_device(name)
