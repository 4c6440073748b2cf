"""From a name to weights: folders that are not what they seem, devices, quantised weights, adapters
and code to trust."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import probebench
from probebench.cli.main import main
from probebench.errors import BadFileError, UnknownNameError, UsageError
from probebench.models.blocks.sites import ALL, plan_sites
from probebench.models.generate import Request, generate
from probebench.models.handles import LoadedModel
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.models.passes.bare import bare_model
from probebench.states.extract import Extractor
from probebench.types import EMB

IDS = [(5, 9, 17, 30, 8, 11, 60, 7), (6, 40, 41, 9)]
TABLE = np.array([[[0, 0], [len(s) // 2, len(s) // 2], [len(s) - 1, len(s) - 1]] for s in IDS])
HALF = {"attention_heads": 4, "ffn_dim": 48}
"""Of the encoder and of the decoder of models that have both."""
BLOCKS = {f"model.layers.{k}": "cpu" for k in range(3)}
SPREAD = {
    "model.embed_tokens": "cpu",
    **BLOCKS,
    "model.norm": "cpu",
    "model.rotary_emb": "cpu",
    "lm_head": "cpu",
}
with_accelerate = pytest.mark.skipif(
    find_spec("accelerate") is None, reason="accelerate is not installed (pip install accelerate)"
)
with_peft = pytest.mark.skipif(
    find_spec("peft") is None, reason="peft is not installed (pip install peft)"
)


def states(loaded, sites=("resid",)):
    """Of each site (layer, position, example, width), in float32."""
    plan = plan_sites(loaded.base, 3, sites, (EMB, 0, 1, 2))
    return Extractor(loaded, plan, "float32")(IDS, TABLE, ("first", "middle", "last"))


def find(folder, **options):
    return find_model(ModelSpec(str(folder), **{"device": "cpu"} | options))


@pytest.fixture
def changed(model_folder, tmp_path):
    """A copy of the small Llama with other lines in its config: `changed(num_hidden_layers=4)`;
    None takes a line out."""

    def change(name="changed", **lines):
        folder = tmp_path / name
        shutil.copytree(model_folder(), folder)
        config = json.loads((folder / "config.json").read_text()) | lines
        (folder / "config.json").write_text(
            json.dumps({k: v for k, v in config.items() if v is not None})
        )
        return folder

    return change


@pytest.mark.parametrize("name", ["BartModel", "T5EncoderModel", "BartForConditionalGeneration"])
def test_a_decoder_is_not_read_without_its_encoder(changed, name):
    """A bare model of two parts loads as one, and its decoder would see nothing of the text."""
    kind = "t5" if name.startswith("T5") else "bart"
    folder = changed(architectures=[name], model_type=kind, is_encoder_decoder=True)
    with pytest.raises(UsageError, match="has an encoder and a decoder, so question and answer"):
        find_model(ModelSpec(str(folder)))


# -- what a folder holds ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: [p.unlink() for p in f.glob("tokenizer*")],
            "holds no tokenizer. Copy its files",
        ),
        (
            lambda f: (f / "tokenizer.json").unlink(),
            "with a tokenizer that can be read|has no vocabulary",
        ),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            r"pickled weights only.*use_safetensors=False",
        ),
        (lambda f: (f / "model.safetensors").unlink(), "it holds no model.safetensors"),
        (
            lambda f: (f / "model.safetensors").rename(f / "a.safetensors"),
            "neither model.safetensors nor model.safetensors.index",
        ),
        (lambda f: (f / "config.json").unlink(), "is not a language model of transformers"),
        (
            lambda f: (f / "config.json").write_text("{"),
            "config.json is not JSON: .*It was cut off",
        ),
        (
            lambda f: (f / "adapter_config.json").write_text("{}"),
            "holds an adapter. Give its base model with model",
        ),
    ],
)
def test_a_folder_that_is_not_a_whole_model_says_what_is_missing(changed, spoil, message):
    folder = changed()
    spoil(folder)
    with pytest.raises(UsageError, match=message):
        find(folder)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            {"model_type": "zorgon"},
            "model type 'zorgon', which transformers .* does not know.*pip install -U transformers",
        ),
        ({"model_type": None}, "no config.json with a model_type"),
        (
            {"model_type": "t5"},
            "no class that generates text with models of the type .t5.*AutoModelForCausalLM",
        ),
        ({"hidden_size": "wide"}, "is not a language model of transformers.*hidden_size"),
        (
            {"quantization_config": {"quant_method": "zip"}},
            "quantised by 'zip', which this version",
        ),
    ],
)
def test_a_config_that_cannot_be_is_one_clear_line(changed, lines, message):
    with pytest.raises(UsageError, match=message):
        find(changed(**lines))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            {"num_hidden_layers": 4},
            "9 weights that LlamaForCausalLM needs are missing.*first "
            "'model.layers.3.input_layernorm",
        ),
        (
            {"intermediate_size": 64},
            "9 weights that LlamaForCausalLM needs have another shape.*first "
            "'model.layers.0.mlp.down",
        ),
    ],
)
def test_no_weight_is_ever_random(changed, lines, message):
    """transformers fills them with noise and a warning."""
    handle = find(changed(**lines))
    with pytest.raises(UsageError, match=message):
        load_model(handle)


def add(folder, **weights):
    """More weights in a checkpoint, `__` in place of dots."""
    path = folder / "model.safetensors"
    more = {name.replace("__", "."): torch.ones(shape) for name, shape in weights.items()}
    save_file(load_file(path) | more, path, metadata={"format": "pt"})


def test_a_config_of_fewer_blocks_than_the_weights_is_refused(changed):
    """transformers takes the first blocks and drops the others: another model, without a word."""
    handle = find(changed(num_hidden_layers=2))
    with pytest.raises(
        UsageError,
        match="asks for 2 blocks, and its checkpoint has weights of 3, the first without a place "
        "'model.layers.2.input_layernorm.weight'.*do not belong together",
    ):
        load_model(handle)


def test_fewer_blocks_of_weights_saved_without_their_head(changed):
    from transformers import AutoModel

    folder = changed(tie_word_embeddings=True)
    AutoModel.from_pretrained(folder).save_pretrained(folder)
    names = list(load_file(folder / "model.safetensors"))
    assert "layers.2.input_layernorm.weight" in names
    config = json.loads((folder / "config.json").read_text())
    lines = {"num_hidden_layers": 2, "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config | lines))
    with pytest.raises(UsageError, match="weights of 3, the first .* 'layers.2.input_layernorm"):
        load_model(find(folder))


@pytest.mark.parametrize(
    "name",
    ["model__layers__1__self_attn__q_proj__bias", "model__layers__1__self_attn__q_norm__weight"],
)
def test_a_weight_that_a_block_has_no_place_for_is_refused(changed, name):
    folder = changed()
    add(folder, **{name: 8})
    with pytest.raises(
        UsageError,
        match=f"1 weights of the blocks of .* have no place in LlamaForCausalLM, the first "
        f"'{name.replace('__', '.')}'",
    ):
        load_model(find(folder))


def test_what_is_left_over_without_harm_is_passed_over(changed, loaded):
    """Buffers of early versions, towers and heads that are not used here, and blocks that foretell
    the token after the next, as DeepSeek-V3, GLM and Qwen3-Next have them."""
    folder = changed()
    add(
        folder,
        model__layers__1__self_attn__rotary_emb__inv_freq=4,
        model__layers__1__self_attn__bias=4,
        model__layers__3__eh_proj__weight=4,
        model__layers__3__self_attn__q_proj__weight=4,
        model__layers__3__shared_head__norm__weight=4,
        mtp__layers__0__self_attn__q_proj__weight=4,
        vision_tower__encoder__layers__25__self_attn__q_proj__weight=4,
        visual__model__layers__9__q_proj__weight=4,
        v_head__summary__weight=4,
        score__weight=4,
    )
    np.testing.assert_array_equal(
        states(load_model(find(folder)))["resid"], states(loaded("llama"))["resid"]
    )


def test_weights_that_cannot_be_read_are_one_clear_line(changed):
    folder = changed()
    handle = find(folder)
    (folder / "model.safetensors").write_bytes(b"no weights")  # since then
    with pytest.raises(
        UsageError, match="is not a language model of transformers with safetensors"
    ):
        load_model(handle)


def test_several_weight_files_are_one_model(loaded, tmp_path):
    plain, folder = loaded("llama"), tmp_path / "shards"
    plain.model.save_pretrained(folder, max_shard_size="20KB")
    plain.tokenizer.save_pretrained(folder)
    parts = sorted(folder.glob("*.safetensors"))
    assert len(parts) > 2
    handle = find(folder)
    np.testing.assert_array_equal(states(load_model(handle))["resid"], states(plain)["resid"])
    tensors = load_file(parts[1])
    save_file({k: v + 1 for k, v in tensors.items()}, parts[1], metadata={"format": "pt"})
    assert find(folder).identity.revision != handle.identity.revision
    parts[1].unlink()
    with pytest.raises(
        BadFileError,
        match=f"1 of {len(parts)} weight files are missing .*, the first {parts[1].name}",
    ):
        find(folder)


def test_a_hub_model_is_known_by_its_commit(model_folder, tmp_path):
    """A cache as the hub's library leaves it, read by another process, since its place is fixed at
    import."""
    commits = ["a" * 40, "b" * 40]
    cache = tmp_path / "models--org--small"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(commits[0])
    for commit in commits:
        shutil.copytree(model_folder(), cache / "snapshots" / commit)
    weights = cache / "snapshots" / commits[1] / "model.safetensors"
    save_file(
        {k: torch.zeros_like(v) for k, v in load_file(weights).items()},
        weights,
        metadata={"format": "pt"},
    )
    code = (
        "from probebench.models.loading import *; "
        "handles = [find_model(ModelSpec('org/small', r, device='cpu'), offline=True) for r in "
        "(None, 'b' * 40)]; "
        "print(*(h.identity.revision for h in handles)); "
        # the hub moves on between finding and loading
        f"open({str(cache / 'refs' / 'main')!r}, 'w').write('b' * 40); "
        "print(bool(load_model(handles[0], offline=True).model.lm_head.weight.any()))"
    )
    words = [sys.executable, "-c", code]
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == [*commits, "True"], done.stderr


@pytest.mark.parametrize(("encoder", "decoder"), [(1, 3), (3, 1)])
@pytest.mark.parametrize("name", ["Bart", "MBart", "Blenderbot", "BigBirdPegasus", "Whisper"])
def test_the_blocks_of_half_a_model_are_those_of_its_decoder(
    model_folder, tmp_path, name, encoder, decoder
):
    """Their configs call the encoder's number that of the blocks, and the cache believes it."""
    import transformers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    tokenizer.save_pretrained(tmp_path)
    sizes = {f"{half}_{what}": n for half in ("encoder", "decoder") for what, n in HALF.items()}
    config = getattr(transformers, f"{name}Config")(
        **sizes,
        vocab_size=len(tokenizer),
        d_model=32,
        max_position_embeddings=64,
        encoder_layers=encoder,
        decoder_layers=decoder,
        decoder_start_token_id=2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    whole = getattr(transformers, f"{name}ForCausalLM")(config)
    whole.save_pretrained(tmp_path)
    handle = find(tmp_path)
    assert handle.identity.n_layers == decoder
    model = load_model(handle)
    plan = plan_sites(model.base, decoder, ["resid"], range(decoder))
    assert len(plan.taps) == decoder
    (answer,) = generate(model, [Request("a", IDS[0])], 4, frozenset())
    with torch.inference_mode():
        scores = whole.eval()(input_ids=torch.tensor([IDS[0]]), use_cache=False).logits
    assert answer.ids[len(IDS[0])] == int(scores[0, -1].argmax())
    bare = bare_model(handle, 1)
    assert len({n for n, _ in bare.named_modules() if re.search(r"\.layers\.\d+$", n)}) == 1


# -- dtype, device, attention ----------------------------------------------------------------------


def test_auto_is_float32_on_a_cpu(changed):
    handle = find(changed(dtype="bfloat16"))
    assert handle.identity.dtype == "float32"
    assert next(load_model(handle).model.parameters()).dtype == torch.float32


def test_a_misspelt_value_names_what_is_allowed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UnknownNameError,
        match=(
            "Unknown dtype 'floatt32'. Did you mean 'float32'.*one of auto, float32, bfloat16, fl"
        ),
    ):
        probebench.evaluate("tiny", "people", dtype="floatt32")
    with pytest.raises(
        UnknownNameError, match="Unknown quantization 'q7'. It must be one of none, int8, int4"
    ):
        probebench.evaluate("tiny", "people", quantization="q7")
    for option, value in (("--dtype", "floatt32"), ("--quantization", "q7")):
        result = CliRunner().invoke(
            main, ["eval", "--model", "tiny", "--task", "people", option, value]
        )
        assert result.exit_code == 2
        assert "is not one of" in result.output
        assert value in result.output


def test_an_attention_that_cannot_be_used_is_one_clear_line():
    with pytest.raises(
        UsageError,
        match="attn_implementation 'sdpaa' cannot be used with 'tiny' here; eager and sdpa",
    ):
        find_model(ModelSpec("tiny", attention="sdpaa"))
    with pytest.raises(
        UsageError, match="'org/kernel' is code from the hub.*trust_remote_code=True"
    ):
        find_model(ModelSpec("tiny", attention="org/kernel"))
    eager, sdpa = (
        find_model(ModelSpec("tiny", attention=name)).identity for name in ("eager", "sdpa")
    )
    assert (eager.attention, sdpa.attention) == ("eager", "sdpa")
    assert eager.key() != sdpa.key()


# -- device maps ---------------------------------------------------------------------------


@with_accelerate
@pytest.mark.parametrize("given", ["auto", '{"": "cpu"}', json.dumps(SPREAD), "file"])
def test_a_model_spread_over_one_device_is_the_plain_model(loaded, model_folder, tmp_path, given):
    if given == "auto" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so auto is not the CPU")
    (tmp_path / "map.json").write_text(json.dumps(SPREAD))
    spread = load_model(
        find(
            model_folder(),
            device="auto",
            device_map=str(tmp_path / "map.json") if given == "file" else given,
        )
    )
    assert spread.device == torch.device("cpu")
    assert spread.handle.identity.device == "cpu"
    assert set(spread.handle.identity.libraries) == {"accelerate"}
    np.testing.assert_array_equal(states(spread)["resid"], states(loaded("llama"))["resid"])


@with_accelerate
@pytest.mark.parametrize(
    "where",
    [{"": "disk"}, SPREAD | {"model.layers.1": "disk"}, SPREAD | {"model.embed_tokens": "disk"}],
)
def test_weights_left_on_disk_give_the_same_numbers(loaded, model_folder, where):
    plain, spread = (
        loaded("llama"),
        load_model(find(model_folder(), device="auto", device_map=json.dumps(where))),
    )
    assert any(p.device.type == "meta" for p in spread.model.parameters())
    assert spread.device == torch.device("cpu")
    for site, values in states(spread, [ALL]).items():
        np.testing.assert_array_equal(values, states(plain, [ALL])[site])
    answers = [generate(m, [Request("a", IDS[0])], 6, frozenset()) for m in (plain, spread)]
    assert answers[0][0].answer_ids == answers[1][0].answer_ids


@with_accelerate
def test_the_map_is_in_the_identity_however_it_was_given(model_folder, tmp_path):
    turned = dict(reversed(SPREAD.items()))
    (tmp_path / "map.json").write_text(json.dumps(turned, indent=2))
    given = (json.dumps(SPREAD), str(tmp_path / "map.json"), '{"": "disk"}')
    keys = [find(model_folder(), device="auto", device_map=text).identity for text in given]
    assert keys[0] == keys[1] != keys[2]
    assert keys[2].device == "disk"
    plain = find(model_folder()).identity
    assert plain.device_map is None
    assert replace(plain, libraries=keys[0].libraries).key() != keys[0].key()


@with_accelerate
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            "autoo",
            UnknownNameError,
            "Unknown device map 'autoo'. Did you mean 'auto'.*JSON file or object",
        ),
        ("{", BadFileError, "device_map is not JSON"),
        ("{}", BadFileError, "must be a JSON object of modules and devices"),
        ('{"": "tpu"}', UnknownNameError, "Unknown device 'tpu'"),
        (
            '{"": "auto"}',
            BadFileError,
            "'' must go to cpu, disk, a GPU's number or cuda:N; got 'auto'",
        ),
        ('{"": 99}', UsageError, "device_map cuda:99: this machine has"),
        (
            '{"model.layer.0": "cpu"}',
            UnknownNameError,
            "Unknown module in device_map 'model.layer.0'. Did you mean 'model.layers.0",
        ),
        (
            json.dumps(BLOCKS),
            UsageError,
            'does not say where model.embed_tokens.weight goes. Name its module, or add "": "cpu"',
        ),
    ],
)
def test_maps_that_cannot_be(model_folder, given, error, message):
    with pytest.raises(error, match=message):
        find(model_folder(), device="auto", device_map=given)


def test_device_and_map_exclude_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "eval",
        "--model",
        "tiny",
        "--task",
        "people",
        "--device",
        "cpu",
        "--device-map",
        "auto",
    ]
    result = CliRunner().invoke(main, words)
    assert (
        result.exit_code,
        "--device cpu and --device-map exclude each other" in result.output,
    ) == (2, True)


@pytest.mark.parametrize(
    ("options", "package"),
    [
        ({"device_map": "auto"}, "accelerate"),
        ({"peft": "lora"}, "peft"),
        ({"quantization": "int4"}, "GPU"),
    ],
)
def test_what_is_not_installed_is_said_with_its_command(tmp_path, monkeypatch, options, package):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("probebench.models.optional.find_spec", lambda name: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder = tmp_path / "lora"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    message = (
        f"not installed: pip install {package}"
        if package != "GPU"
        else "quantization='int4' needs a CUDA GPU"
    )
    with pytest.raises(UsageError, match=message):
        probebench.evaluate("tiny", "people", **options)


# -- quantised weights ---------------------------------------------------------------------------


class PackedLinear(torch.nn.Module):
    """Two four-bit numbers in a byte and a scale per row, as quantised layers keep them: its weight
    has another shape."""

    def __init__(self, linear):
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        self.scale = weight.abs().amax(dim=1, keepdim=True) / 7
        levels = (weight / self.scale).round().to(torch.int8) + 8
        self.register_buffer("weight", (levels[:, ::2] * 16 + levels[:, 1::2]).to(torch.uint8))

    def unpacked(self):
        levels = (
            torch.stack([self.weight >> 4, self.weight & 15], dim=2).flatten(1).to(torch.float32)
            - 8
        )
        return levels * self.scale

    def forward(self, x):
        return torch.nn.functional.linear(x, self.unpacked())


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_packed_weights_are_read_at_every_site(model_folder, kind):
    """The states equal those of ordinary layers that hold the rounded numbers."""
    packed, rounded = (load_model(find(model_folder(kind))) for _ in range(2))
    for name, module in list(packed.model.named_modules()):
        if isinstance(module, torch.nn.Linear) and module.bias is None and "lm_head" not in name:
            packed.model.set_submodule(name, PackedLinear(module))
            rounded.model.get_submodule(name).weight.data = PackedLinear(module).unpacked()
    assert any(isinstance(m, PackedLinear) for m in packed.model.modules())
    found, wanted = states(packed, [ALL]), states(rounded, [ALL])
    assert set(found) == set(wanted) > {"attn.q", "attn.o", "mlp.gate", "mlp.down"}
    for site in wanted:
        np.testing.assert_allclose(found[site], wanted[site], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq-4bit"),
        ({"quant_method": "awq", "bits": 4}, "awq-4bit"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"load_in_8bit": True}, "bitsandbytes-8bit"),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            "bitsandbytes-4bit-nf4",
        ),
    ],
)
def test_a_checkpoint_that_is_quantised_already_is_recorded_as_such(
    changed, model_folder, stored, name
):
    identity = find(changed(quantization_config=stored)).identity
    plain = find(model_folder()).identity
    assert identity.quantization == name
    assert plain.quantization == "none"
    assert identity.n_parameters == plain.n_parameters
    assert replace(plain, quantization=name).key() != plain.key()


def test_a_library_that_quantised_weights_need_is_named(changed):
    if find_spec("gptqmodel") or find_spec("optimum"):
        pytest.skip("a library for GPTQ is installed")
    handle = find(
        changed(quantization_config={"quant_method": "gptq", "bits": 4, "group_size": 128})
    )
    with pytest.raises(UsageError, match="requires optimum"):
        load_model(handle)


def test_quantisation_excludes(changed, monkeypatch):
    with pytest.raises(
        UsageError, match="quantization='int8' needs a CUDA GPU, and this run is on the CPU"
    ):
        find(changed(), quantization="int8")
    with pytest.raises(UsageError, match="peft and quantization exclude each other"):
        find(changed("other"), quantization="int8", peft="x")
    monkeypatch.setattr("probebench.models.loading._libraries", lambda *a: {})
    with pytest.raises(
        UsageError, match=r"is quantised already \(fp8\). Leave quantization='int4' out"
    ):
        find(changed("third", quantization_config={"quant_method": "fp8"}), quantization="int4")
    assert (
        find(changed("fourth"), quantization="int4").identity.quantization
        == "bitsandbytes-4bit-nf4"
    )


# -- adapters ---------------------------------------------------------------------------


@pytest.fixture
def adapter(tmp_path):
    """A rank-2 LoRA of the small Llama's `q_proj` and `down_proj`, written by hand in PEFT's
    format, and its deltas."""

    def make(name="lora", *, base="small", width=32, layers=3, seed=0, **lines):
        folder = tmp_path / name
        folder.mkdir()
        rng, tensors, deltas = torch.Generator().manual_seed(seed), {}, {}
        for layer in range(layers):
            for module, (n_out, n_in) in {
                "self_attn.q_proj": (width, width),
                "mlp.down_proj": (width, 48),
            }.items():
                path = f"model.layers.{layer}.{module}"
                a, b = torch.randn(2, n_in, generator=rng), torch.randn(n_out, 2, generator=rng)
                tensors |= {
                    f"base_model.model.{path}.lora_{k}.weight": v for k, v in (("A", a), ("B", b))
                }
                deltas[f"{path}.weight"] = b @ a * 4 / 2  # lora_alpha / r
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": 2,
            "lora_alpha": 4,
        }
        config |= {"target_modules": ["q_proj", "down_proj"], **lines}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        save_file(tensors, folder / "adapter_model.safetensors")
        return folder, deltas

    return make


@with_peft
def test_a_merged_adapter_is_the_base_plus_its_products(loaded, model_folder, adapter):
    plain, (folder, deltas) = loaded("llama"), adapter()
    merged = load_model(find(model_folder(), peft=str(folder)))
    assert [n for n, _ in merged.model.named_modules()] == [
        n for n, _ in plain.model.named_modules()
    ]
    assert type(merged.model) is type(plain.model)
    for name, value in merged.model.state_dict().items():
        torch.testing.assert_close(value, plain.model.state_dict()[name] + deltas.get(name, 0))
    by_hand = load_model(plain.handle)
    for name, delta in deltas.items():
        by_hand.model.get_parameter(name).data += delta
    for site, values in states(merged, [ALL]).items():
        np.testing.assert_allclose(values, states(by_hand, [ALL])[site], atol=1e-4, rtol=1e-3)


@with_peft
def test_an_adapter_is_in_the_key_by_its_content(model_folder, adapter, tmp_path):
    folder, _ = adapter(base=f"/elsewhere/{model_folder().name}")
    shutil.copytree(folder, tmp_path / "copy")
    other, _ = adapter("other", seed=1)
    scaled, _ = adapter("scaled", lora_alpha=8)
    plain = find(model_folder()).identity
    handles = [
        find(model_folder(), peft=str(f)) for f in (folder, tmp_path / "copy", other, scaled)
    ]
    keys = [h.identity.key() for h in handles]
    assert keys[0] == keys[1]
    assert len({json.dumps(k, sort_keys=True) for k in (*keys, plain.key())}) == 4
    assert set(handles[0].identity.libraries) == {"peft"}
    assert handles[0].notes == ()
    assert "says that it was trained on 'small', not on 'llama-chat" in handles[2].notes[0]


@with_peft
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 64}, "does not fit LlamaForCausalLM.*size mismatch"),
        (
            {"layers": 2},
            "lacks 4 tensors that the model needs, the first .*layers.2.*trained on another "
            "model, 'small'",
        ),
        ({"layers": 4}, "has 4 tensors for which the model has no place, the first .*layers.3"),
        ({"target_modules": ["c_attn"]}, "does not fit LlamaForCausalLM.*c_attn"),
    ],
)
def test_an_adapter_of_another_model_is_one_clear_line(model_folder, adapter, options, message):
    handle = find(model_folder(), peft=str(adapter(**options)[0]))
    with pytest.raises(UsageError, match=message):
        load_model(handle)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: shutil.rmtree(f), "peft: there is no folder"),
        (
            lambda f: (f / "adapter_config.json").unlink(),
            "holds no adapter_config.json. Give the folder that PEFT's",
        ),
        (
            lambda f: (f / "adapter_model.safetensors").unlink(),
            "holds no adapter_model.safetensors",
        ),
        (
            lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
            "may run code.*again as safetensors",
        ),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "is not a JSON object"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), "has no peft_type"),
        (
            lambda f: (f / "adapter_config.json").write_text('{"peft_type": "PREFIX_TUNING"}'),
            "cannot be merged into weights",
        ),
    ],
)
def test_adapter_folders_that_cannot_be(model_folder, adapter, spoil, message):
    folder, _ = adapter()
    spoil(folder)
    with pytest.raises(UsageError, match=message):
        find(model_folder(), peft=str(folder))


@with_peft
@with_accelerate
def test_an_adapter_and_a_map(loaded, model_folder, adapter):
    folder, deltas = adapter()
    merged = load_model(
        find(model_folder(), device="auto", device_map=json.dumps(SPREAD), peft=str(folder))
    )
    name = next(iter(deltas))
    torch.testing.assert_close(
        merged.model.get_parameter(name), loaded("llama").model.get_parameter(name) + deltas[name]
    )
    handle = find(model_folder(), device="auto", device_map='{"": "disk"}', peft=str(folder))
    with pytest.raises(
        UsageError, match="cannot be merged into weights that are on disk or offloaded"
    ):
        load_model(handle)


@with_peft
def test_the_record_of_a_run_with_an_adapter(
    model_folder, adapter, answers_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder, _ = adapter()
    small = {
        "answers": answers_file(),
        "layers": [1],
        "positions": ["first_answer", "last_q"],
        "shuffles": 0,
    }
    run = probebench.evaluate(str(model_folder()), peft=folder, **small)
    plain = find(model_folder()).identity
    assert run.record["model"]["peft"] == find(model_folder(), peft=str(folder)).identity.peft
    assert run.record["model"] | {"peft": None, "libraries": {}} == asdict(plain)
    assert run.record["settings"]["model"]["peft"] == str(folder)
    assert "--" in run.folder.name


# -- code that comes with a model ------------------------------------------------------------------


@pytest.fixture
def own_code(changed, tmp_path, monkeypatch):
    """A Llama of an unknown type that brings its own classes, which leave a trace when they are
    imported."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    classes = {
        "AutoConfig": "own_model.OwnConfig",
        "AutoModelForCausalLM": "own_model.OwnForCausalLM",
    }
    folder = changed(
        "own", model_type="own_llama", architectures=["OwnForCausalLM"], auto_map=classes
    )
    (folder / "own_model.py").write_text(
        "from pathlib import Path\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        f"Path({str(tmp_path / 'trace')!r}).write_text('ran')\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own_llama'\n"
        "class OwnForCausalLM(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    return folder


def test_code_that_comes_with_a_model_runs_only_when_asked_for(own_code, loaded, tmp_path):
    with pytest.raises(
        UsageError,
        match="comes with Python code.*on this machine with your rights.*trust_remote_code=True",
    ):
        find(own_code)
    assert not (tmp_path / "trace").exists()
    handle = find(own_code, trust_remote_code=True)
    assert (tmp_path / "trace").exists()
    assert handle.identity.architecture == "OwnForCausalLM"
    np.testing.assert_array_equal(
        states(load_model(handle))["resid"], states(loaded("llama"))["resid"]
    )


def test_code_that_is_not_needed_does_not_run_either(own_code, tmp_path):
    config = json.loads((own_code / "config.json").read_text()) | {"model_type": "llama"}
    (own_code / "config.json").write_text(json.dumps(config))
    identity = find(own_code).identity
    assert (identity.architecture, identity.remote_code) == ("LlamaForCausalLM", None)
    assert not (tmp_path / "trace").exists()


def test_the_code_is_in_the_identity(own_code, model_folder):
    first = find(own_code, trust_remote_code=True).identity
    with (own_code / "own_model.py").open("a") as file:
        file.write("# another line\n")
    second = find(own_code, trust_remote_code=True).identity
    assert first.remote_code != second.remote_code
    assert first.key() != second.key()
    assert first.remote_code.startswith("sha256:")
    trusted = find(model_folder(), trust_remote_code=True).identity
    assert trusted == find(model_folder()).identity  # allowed, but there was none
    assert trusted.remote_code is None


# -- where runs go ---------------------------------------------------------------------------


def test_token_ids_go_to_the_input_embedding(loaded):
    plain = loaded("llama")
    assert (
        LoadedModel(plain.model, plain.handle).device
        == plain.model.get_input_embeddings().weight.device
    )


@pytest.mark.parametrize(
    "options",
    [
        {"device_map": "auto"},
        {"quantization": "int4"},
        {"peft": "lora"},
        {"trust_remote_code": True},
        {"dtype": "float16"},
    ],
)
def test_other_weights_never_overwrite_a_plain_run(options):
    from probebench.job.options import Options
    from probebench.job.place import run_folder

    plain, other = (
        run_folder(Options(spec, "people"), "people")
        for spec in (ModelSpec("tiny"), ModelSpec("tiny", **options))
    )
    assert plain.as_posix() == "runs/tiny/people"
    assert other.as_posix().startswith("runs/tiny/people--")


def test_a_stop_token_below_zero_is_none(model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": [-1, 2]}))
    assert (
        find_model(ModelSpec(str(folder))).stop_ids
        == find_model(ModelSpec(str(model_folder()))).stop_ids
    )
