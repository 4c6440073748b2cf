"""GGUF files: small random ones written with llama.cpp's own package, held against the folder that
they were made from."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import CHAT, byte_level_tokenizer

import probebench
from probebench.cli.main import main
from probebench.errors import BadFileError, UsageError
from probebench.leaderboard.submission.names import model_folder as board_folder
from probebench.models.blocks.sites import plan_sites
from probebench.models.checkpoints.gguf import quantization, read_header
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.models.untrained import check_untrained
from probebench.states.extract import Extractor
from probebench.types import EMB

gguf = pytest.importorskip("gguf", reason="gguf is not installed (pip install gguf)")
NEW = find_spec("transformers.integrations.gguf") is not None
pytestmark = pytest.mark.skipif(
    not NEW, reason="this transformers cuts the text of GGUF files into wrong tokens; it is refused"
)
IDS = [(10, 14, 17, 30, 8, 11, 60, 7, 99, 101, 102), (16, 40, 41, 19)]
TABLE = np.array([[[k, k] for k in (0, len(s) // 2, len(s) - 1)] for s in IDS])
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.layers": "blk",
}
"""Of modules, in transformers and in GGUF."""
TEXTS = (
    "Where was the old poet born?",
    " Größe 東京 🙂\n\n  two  spaces",
    "<|user|>hi<|assistant|>It is Paris.<eos>",
)


def gguf_name(name):
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def swapped(weight, heads):
    """Rows of queries or keys as llama.cpp has them: the two halves of each head, which rotate
    together, side by side."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def write(path, folder, kind="F32", drop=(), tensors=None, **more):
    """A GGUF file of the Llama or Qwen2 in `folder`, its matrices of one type where their rows
    divide into blocks."""
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    arch, heads, kv = (
        config["model_type"],
        config["num_attention_heads"],
        config["num_key_value_heads"],
    )
    wanted = gguf.GGMLQuantizationType[kind]
    out = gguf.GGUFWriter(path, arch)
    out.add_name("small random")
    out.add_file_type(gguf.LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"])
    out.add_block_count(config["num_hidden_layers"])
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(heads)
    out.add_head_count_kv(kv)
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_rope_dimension_count(config["hidden_size"] // heads)
    out.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    out.add_vocab_size(config["vocab_size"])
    for key, value in more.items():
        add = {str: out.add_string, float: out.add_float32, int: out.add_uint32}[type(value)]
        add(key.replace("__", ".").replace("ARCH", arch), value)
    write_tokenizer(out, folder)
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor.float().numpy()
        if (arch == "llama" and ".q_proj" in name) or (arch == "llama" and ".k_proj" in name):
            values = swapped(values, heads if ".q_proj" in name else kv)
        if gguf_name(name) in drop:
            continue
        block = gguf.GGML_QUANT_SIZES[wanted][0]
        if values.ndim == 2 and values.shape[1] % block == 0 and kind != "F32":
            out.add_tensor(gguf_name(name), gguf.quants.quantize(values, wanted), raw_dtype=wanted)
        else:
            out.add_tensor(gguf_name(name), values)
    for name, values in (tensors or {}).items():
        out.add_tensor(name, values)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def write_tokenizer(out, folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.all_special_tokens) | {"<|user|>", "<|assistant|>"}
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([3 if t in special else 1 for t in tokens])
    out.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in bpe["merges"]])
    for name, token in (
        ("bos", tokenizer.bos_token_id),
        ("eos", tokenizer.eos_token_id),
        ("pad", tokenizer.pad_token_id),
    ):
        getattr(out, f"add_{name}_token_id")(token)
    if tokenizer.chat_template:
        out.add_chat_template(tokenizer.chat_template)


def find(path, **options):
    return find_model(ModelSpec(str(path), **{"device": "cpu"} | options))


def states(loaded, n=3):
    return Extractor(loaded, plan_sites(loaded.base, n, ["resid"], (EMB, *range(n))), "float32")(
        IDS, TABLE, ("a", "b", "c")
    )["resid"]


@pytest.fixture(scope="module")
def made(model_folder, tmp_path_factory):
    """A GGUF file of the small Llama; quantised: `made("Q8_0")`."""
    folder, files = tmp_path_factory.mktemp("gguf"), {}

    def make(kind="F32", family="llama"):
        if (kind, family) not in files:
            files[kind, family] = write(
                folder / f"{family}-{kind}.gguf", model_folder(family), kind
            )
        return files[kind, family]

    return make


# -- the same as the folder ------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_ids_template_stops_and_states_are_those_of_the_folder(made, model_folder, family):
    file, plain = find(made(family=family)), find(model_folder(family))
    for text in TEXTS:
        assert file.tokenizer(text)["input_ids"] == plain.tokenizer(text)["input_ids"]
        assert file.tokenizer.decode(plain.tokenizer(text)["input_ids"]) == plain.tokenizer.decode(
            plain.tokenizer(text)["input_ids"]
        )
    assert file.tokenizer.chat_template == plain.tokenizer.chat_template == CHAT
    assert file.stop_ids == plain.stop_ids
    assert (file.max_length, file.identity.n_parameters) == (
        plain.max_length,
        plain.identity.n_parameters,
    )
    np.testing.assert_array_equal(states(load_model(file)), states(load_model(plain)))


def test_the_class_of_the_tokenizer_is_the_one_that_transformers_chooses(made):
    from transformers import AutoTokenizer

    for family in ("llama", "qwen2"):
        path = made(family=family)
        theirs, ours = (
            AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name),
            find(path).tokenizer,
        )
        assert type(ours) is type(theirs)
        assert ours.backend_tokenizer.to_str() == theirs.backend_tokenizer.to_str()
        assert ours.special_tokens_map == theirs.special_tokens_map


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_quantised_weights_are_brought_back_by_the_rule_of_their_type(
    made, model_folder, dtype, capfd
):
    capfd.readouterr()
    loaded = load_model(find(made("Q8_0"), dtype=dtype))
    assert capfd.readouterr() == ("", "")  # no bar
    plain = load_model(find(model_folder())).model.state_dict()
    weight = plain["model.layers.1.self_attn.v_proj.weight"].numpy()
    kind = gguf.GGMLQuantizationType.Q8_0
    expected = torch.from_numpy(
        gguf.quants.dequantize(gguf.quants.quantize(weight, kind), kind)
    ).to(getattr(torch, dtype))
    found = loaded.model.model.layers[1].self_attn.v_proj.weight
    assert found.dtype == getattr(torch, dtype)
    assert torch.equal(found, expected)
    assert not torch.equal(found.float(), plain["model.layers.1.self_attn.v_proj.weight"])


def test_factors_of_the_rotary_embedding_are_read(model_folder, tmp_path):
    """Llama 3.1 and later keep them as a tensor, which transformers passes over."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    folder = scaled(
        model_folder,
        tmp_path,
        rope_type="llama3",
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=64,
    )
    plain = load_model(find(folder))
    slowed, _ = ROPE_INIT_FUNCTIONS["llama3"](plain.model.config, "cpu")
    factors = 1e4 ** -(torch.arange(0, 8, 2) / 8) / slowed
    assert factors.max() > 7
    path = write(tmp_path / "factors.gguf", folder, tensors={"rope_freqs.weight": factors.numpy()})
    np.testing.assert_allclose(states(load_model(find(path))), states(plain), atol=1e-5)
    without = write(tmp_path / "without.gguf", folder)
    assert np.abs(states(load_model(find(without))) - states(plain)).max() > 0.01


def test_positions_that_are_stretched_evenly_are_read(model_folder, tmp_path):
    folder = scaled(model_folder, tmp_path, rope_type="linear", factor=4.0)
    path = write(
        tmp_path / "linear.gguf",
        folder,
        ARCH__rope__scaling__type="linear",
        ARCH__rope__scaling__factor=4.0,
    )
    np.testing.assert_array_equal(states(load_model(find(path))), states(load_model(find(folder))))


def test_positions_that_would_be_read_wrongly_are_refused(model_folder, tmp_path):
    yarn = write(
        tmp_path / "yarn.gguf",
        model_folder(),
        ARCH__rope__scaling__type="yarn",
        ARCH__rope__scaling__factor=4.0,
    )
    with pytest.raises(
        UsageError,
        match="yarn.gguf changes its positions by 'yarn', which transformers .* "
        "does not read from GGUF",
    ):
        find(yarn)
    phi = write(
        tmp_path / "phi.gguf",
        model_folder(),
        tensors={"rope_factors_long.weight": np.ones(4, dtype=np.float32)},
    )
    with pytest.raises(UsageError, match="changes its positions by 'rope_factors_long.weight'"):
        find(phi)


def scaled(model_folder, tmp_path, **lines):
    """The small Llama with other positions."""
    folder = tmp_path / "scaled"
    shutil.copytree(model_folder(), folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"] |= lines
    (folder / "config.json").write_text(json.dumps(config))
    return folder


# -- what the record says --------------------------------------------------------------------------


def test_the_record_names_file_checksum_and_quantisation(made, tmp_path):
    import hashlib

    path = made("Q8_0")
    identity = find(path).identity
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (identity.name, identity.revision, identity.quantization) == (
        path.name,
        f"sha256:{digest}",
        "gguf-Q8_0",
    )
    assert asdict(identity)["gguf"] == {"file": path.name, "sha256": digest, "quantization": "Q8_0"}
    assert "gguf" in identity.libraries
    shutil.copy(path, tmp_path / "other-name.gguf")
    assert find(tmp_path / "other-name.gguf").identity.key() == identity.key()
    assert board_folder(asdict(identity)) == f"{path.name}--gguf-Q8_0"
    plain = find(made()).identity
    assert (plain.quantization, plain.gguf.quantization) == ("none", "F32")
    assert plain.key() != identity.key()
    check_untrained(find(path))  # its weights are ordinary ones


def test_a_file_that_does_not_say_its_type_is_of_what_most_weights_are(made, tmp_path):
    content = made("Q8_0").read_bytes()
    path = tmp_path / "silent.gguf"
    path.write_bytes(content.replace(b"general.file_type", b"general.fill_type"))
    assert quantization(read_header(path)) == "Q8_0"


def test_a_run_from_file_to_record(made, answers_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = {
        "answers": answers_file(),
        "layers": [1],
        "positions": ["first_answer"],
        "shuffles": 0,
        "attribution": True,
    }
    run = probebench.evaluate(str(made("Q8_0")), **small)
    assert run.record["model"]["gguf"]["quantization"] == "Q8_0"
    assert run.folder.parent.name.startswith("llama-Q8_0.gguf-")
    # gradients pass through weights that were brought back
    assert run.attribution["mean_abs"].max() > 0


def test_the_dry_run_reads_no_tensor(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gguf.dequantize", lambda *a: pytest.fail("a tensor was read"))
    result = CliRunner().invoke(
        main, ["eval", "--model", str(made("Q8_0")), "--task", "people", "--dry-run"]
    )
    assert result.exit_code == 0, result.output
    assert "llama-Q8_0.gguf: LlamaForCausalLM, 3 layers, width 32" in result.output


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed (pip install peft)")
def test_an_adapter_is_merged_into_the_weights(made, tmp_path):
    from safetensors.torch import save_file

    names = [f"model.layers.{k}.self_attn.v_proj" for k in range(3)]
    a, b = torch.randn(2, 32, generator=torch.Generator().manual_seed(0)), torch.randn(16, 2)
    save_file(
        {
            f"base_model.model.{n}.lora_{x}.weight": (a, b)[x == "B"].clone()
            for n in names
            for x in "AB"
        },
        tmp_path / "adapter_model.safetensors",
    )
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2,
        "lora_alpha": 2,
        "target_modules": ["v_proj"],
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    plain, merged = (
        load_model(find(made("Q8_0"))),
        load_model(find(made("Q8_0"), peft=str(tmp_path))),
    )
    for name in names:
        weight = merged.model.get_submodule(name).weight
        torch.testing.assert_close(weight, plain.model.get_submodule(name).weight + b @ a)


# -- where it is ---------------------------------------------------------------------------


def test_what_lies_beside_the_file_is_not_read(made, model_folder, tmp_path):
    for name in (
        "config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "chat_template.jinja",
        "generation_config.json",
    ):
        if (model_folder("gpt2", chat=False) / name).is_file():
            shutil.copy(model_folder("gpt2", chat=False) / name, tmp_path / name)
    (tmp_path / "adapter_config.json").write_text("{}")
    shutil.copy(made(), tmp_path / "model.gguf")
    handle = find(tmp_path / "model.gguf")
    assert handle.identity.architecture == "LlamaForCausalLM"
    assert handle.identity.key() == find(made()).identity.key()
    assert load_model(handle).model.config.num_hidden_layers == 3


def test_a_folder_of_gguf_files_says_which_path_to_give(made, tmp_path):
    for kind in ("F32", "Q8_0"):
        shutil.copy(made(kind), tmp_path)
    with pytest.raises(
        UsageError, match=r"Give one: model='.*llama-F32.gguf'. It also holds llama-Q8_0.gguf"
    ):
        find(tmp_path)
    handle = find(tmp_path, gguf_file="llama-Q8_0.gguf")
    assert handle.identity.key() == find(made("Q8_0")).identity.key()
    assert ModelSpec(str(tmp_path), gguf_file="llama-Q8_0.gguf").slug.startswith("llama-Q8_0.gguf-")


def test_a_file_of_the_hub(made, tmp_path):
    """From a cache as the hub's library leaves it."""
    cache, commit = tmp_path / "models--org--small-GGUF", "c" * 40
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commit)
    (cache / "snapshots" / commit).mkdir(parents=True)
    shutil.copy(made("Q8_0"), cache / "snapshots" / commit / "small.gguf")
    code = (
        "from probebench.models.loading import *\n"
        "from probebench.errors import ProbebenchError\n"
        "handle = find_model(ModelSpec('org/small-GGUF', device='cpu', gguf_file='small.gguf'), "
        "offline=True)\n"
        "print(handle.identity.name, handle.identity.revision, handle.identity.gguf.file)\n"
        "print(load_model(handle, offline=True).model.config.num_hidden_layers)\n"
        "try: find_model(ModelSpec('org/small-GGUF', device='cpu'), offline=True)\n"
        "except ProbebenchError as error: print('needs gguf_file=NAME' in str(error))\n"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.split() == ["org/small-GGUF", commit, "small.gguf", "3", "True"], done.stderr


# -- what is none, or not whole --------------------------------------------------------------------


def test_a_weight_that_is_missing_is_named(model_folder, tmp_path):
    path = write(tmp_path / "part.gguf", model_folder(), drop=("blk.1.ffn_up.weight",))
    with pytest.raises(
        UsageError, match=r"1 weights that LlamaForCausalLM needs are missing.*layers.1.mlp.up_proj"
    ):
        load_model(find(path))


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.05, 0.01])
def test_half_a_file_is_called_half(made, tmp_path, kept):
    whole = made("Q8_0").read_bytes()
    path = tmp_path / "half.gguf"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BadFileError, match=rf"half.gguf is cut off.* {int(len(whole) * kept):,}"):
        find(path)


def one_field(name, kind, value):
    """A file of one field and no tensors."""
    return (
        b"GGUF"
        + struct.pack("<IQQQ", 3, 0, 1, len(name))
        + name.encode()
        + struct.pack("<I", kind)
        + value
        + bytes(64)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: its download did not finish"),
        (bytes(4000), "begins with zeros: its download did not finish"),
        (b"<!DOCTYPE html>", "begins with b'<!DOCTYP'"),
        (
            b"GGUF\x00\x00\x00\x03" + bytes(40),
            "has version 50331648 of GGUF; only versions 2 and 3, little-endian",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "is a Git LFS pointer.*git lfs pull",
        ),
        (
            one_field("a.list", 9, struct.pack("<IQ", 77, 4)),
            "is cut off or damaged",
        ),  # a list of no type that there is
        (one_field("general.alignment", 4, struct.pack("<I", 0)), "is cut off or damaged"),
    ],
)
def test_what_is_no_gguf_file(tmp_path, content, message):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=message):
        find(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split__count": 3}, "is one of 3 parts of a model.*llama-gguf-split --merge"),
        ({"general__type": "adapter"}, "holds no language model but an adapter"),
        ({"general__type": "mmproj"}, "sees or hears"),
    ],
)
def test_files_of_another_kind(model_folder, tmp_path, fields, message):
    path = write(tmp_path / "other.gguf", model_folder(), **fields)
    with pytest.raises(UsageError, match=message):
        find(path)


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
@pytest.mark.parametrize("share", [0.9, 0.3])
def test_a_file_of_full_size_that_was_never_filled(made, tmp_path, kind, share):
    content = made(kind).read_bytes()
    size = len(content) - read_header(made(kind)).data
    path = tmp_path / "blank.gguf"
    path.write_bytes(content[: -int(size * share)] + bytes(int(size * share)))
    with pytest.raises(
        BadFileError, match=r"blank.gguf has its full size, but a part of it was never written: '"
    ):
        find(path)


def test_fewer_blocks_than_weights(made, tmp_path):
    """transformers would take the first ones and drop the last without a word."""
    path = tmp_path / "short.gguf"
    content = made().read_bytes()
    at = content.index(b"llama.block_count") + len(b"llama.block_count") + 4
    assert content[at : at + 4] == struct.pack("<I", 3)
    path.write_bytes(content[:at] + struct.pack("<I", 2) + content[at + 4 :])
    with pytest.raises(
        BadFileError, match=r"says that it has 2 blocks, and holds weights of 3, 'blk\.2\."
    ):
        find(path)


def test_an_architecture_that_transformers_does_not_read(made, tmp_path):
    path = tmp_path / "new.gguf"
    content = made().read_bytes()
    at = content.index(b"general.architecture") + len(b"general.architecture") + 12
    path.write_bytes(content[:at] + b"lhama" + content[at + 5 :])
    with pytest.raises(
        UsageError,
        match=r"new.gguf has the architecture 'lhama', which transformers .* it reads .*qwen2",
    ):
        find(path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nowhere.gguf", {}, "There is no GGUF file 'nowhere.gguf'"),
        (".", {"gguf_file": "nowhere.gguf"}, "There is no GGUF file 'nowhere.gguf'"),
        (
            "weights.safetensors",
            {},
            "'weights.safetensors' is no GGUF file. Give the folder of the model",
        ),
        ("tiny", {"gguf_file": "x.gguf"}, "gguf_file names a file in a folder or in a repository"),
        ("model.gguf", {"revision": "main"}, "revision='main' is for models of the hub"),
        ("model.gguf", {"quantization": "int4"}, "quantization='int4' is not for GGUF files"),
    ],
)
def test_names_that_cannot_be(made, tmp_path, monkeypatch, name, options, message):
    monkeypatch.chdir(tmp_path)
    shutil.copy(made(), "model.gguf")
    Path("weights.safetensors").write_bytes(b"12345678")
    with pytest.raises(UsageError, match=message):
        find(name, **options)


def test_the_package_that_reads_them_is_named(made, monkeypatch):
    monkeypatch.setattr("probebench.models.optional.find_spec", lambda name: None)
    with pytest.raises(
        UsageError,
        match="A GGUF file needs gguf and accelerate, which are not installed: "
        "pip install gguf accelerate",
    ):
        find(made())


def test_a_transformers_with_other_tokens_is_refused(made, monkeypatch):
    monkeypatch.setattr("probebench.models.checkpoints.gguf_model.find_spec", lambda name: None)
    with pytest.raises(
        UsageError,
        match="cuts the text of GGUF files into other tokens.*pip install -U 'transformers>=5.23'",
    ):
        find(made())


def test_the_small_tokenizer_has_merges():
    """Without, the comparison of ids above would say little."""
    assert (
        len(
            json.loads(byte_level_tokenizer(chat=True).backend_tokenizer.to_str())["model"][
                "merges"
            ]
        )
        > 50
    )


# -- real files ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["smollm2"])
def test_a_real_file_is_bit_by_bit_its_folder(name):
    """The folder holds bfloat16, so the file is brought back to that."""
    root = Path(os.environ.get("PROBEBENCH_REAL_MODELS", "nowhere"))
    if not (root / f"{name}.gguf").is_file():
        pytest.skip(f"no {name}.gguf in the folder PROBEBENCH_REAL_MODELS")
    file, folder = (find(root / n, dtype="bfloat16") for n in (f"{name}.gguf", name))
    assert file.identity.tokenizer == folder.identity.tokenizer
    assert file.identity.chat_template == folder.identity.chat_template
    a, b = (load_model(h).model.state_dict() for h in (file, folder))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
