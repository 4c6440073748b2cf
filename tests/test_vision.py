"""Models that see or hear, read through their text part: small random ones of each type, saved
whole and found by their folder.

The reference is the model of transformers itself, given the same ids alone.
"""

from __future__ import annotations

import json
import shutil
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as t
from click.testing import CliRunner
from conftest import byte_level_tokenizer

import probebench
from probebench.cli.main import main
from probebench.errors import UsageError
from probebench.job.preview.sizes import device_memory
from probebench.models.blocks.layouts import WITH_PICTURES, family_of
from probebench.models.blocks.sites import ALL, plan_sites
from probebench.models.checkpoints.classes import BOTH_WAYS
from probebench.models.generate import Request, generate
from probebench.models.loading import ModelSpec, find_model, load_model, quiet_libraries
from probebench.models.passes.bare import bare_model
from probebench.models.passes.batches import Budget
from probebench.models.passes.head import Head
from probebench.models.passes.scored import score_answers
from probebench.models.untrained import untrained
from probebench.states.extract import Extractor
from probebench.types import EMB

OLD = tuple(map(int, t.__version__.split(".")[:2])) < (5, 20)
"""Some of these architectures are younger, or have other configs, than the oldest transformers that
the package runs with."""
IDS = [(10, 14, 17, 30, 8, 11, 60, 7), (16, 40, 41, 19)]
TABLE = np.array([[[k, k] for k in (0, len(s) // 2, len(s) - 1)] for s in IDS])
TOKENS = {"vocab_size": 400, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
TEXT = {**TOKENS, **SIZES, "num_key_value_heads": 2, "max_position_embeddings": 256}
EYE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
TOWER = {
    "depth": 2,
    "hidden_size": 16,
    "out_hidden_size": 32,
    "intermediate_size": 24,
    "num_heads": 2,
    "patch_size": 14,
}
EAR = {"num_mel_bins": 8, "max_source_positions": 16}
IMAGE, PICTURE = {"image_token_index": 5}, {"image_token_id": 5}
MARKS = {**PICTURE, "video_token_id": 6, "vision_start_token_id": 7, "vision_end_token_id": 8}


def text(kind=None, **more):
    return TEXT | ({"model_type": kind} if kind else {}) | more


def rope(*section, **more):
    return {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [*section],
            **more,
        }
    }


def clip(kind="clip_vision_model"):
    return EYE | {"model_type": kind}


def two(config, words, eye, **more):
    return partial(config_of, config, text_config=words, vision_config=eye, **more)


def config_of(name, **arguments):
    return getattr(t, name)(**arguments)


QWEN3 = rope(1, 1, 2, mrope_interleaved=True) | {"head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
CODES = {"embed_dim": 8, "base_channels": 32, "channel_multiplier": [1], "latent_channels": 8}
GLM = {
    "image_start_token_id": 7,
    "image_end_token_id": 8,
    "video_start_token_id": 9,
    "video_end_token_id": 10,
}
LLAMA4 = {"num_local_experts": 4, "intermediate_size_mlp": 40, "interleave_moe_layer_step": 2}
CASES = {
    "mistral3": two(
        "Mistral3Config", text("mistral", head_dim=8), clip("pixtral") | {"head_dim": 8}, **IMAGE
    ),
    "llava": two("LlavaConfig", text("llama"), clip(), **IMAGE),
    "llava_next": two("LlavaNextConfig", text("mistral", head_dim=8), clip(), **IMAGE),
    "llava_onevision": two(
        "LlavaOnevisionConfig",
        text("qwen2"),
        clip("siglip_vision_model"),
        **IMAGE,
        video_token_index=6,
    ),
    "vipllava": two("VipLlavaConfig", text("llama"), clip(), **IMAGE),
    "video_llava": two("VideoLlavaConfig", text("llama"), clip(), **IMAGE, video_token_index=6),
    "paligemma": two(
        "PaliGemmaConfig",
        text("gemma", head_dim=8),
        clip("siglip_vision_model"),
        **IMAGE,
        projection_dim=32,
    ),
    "paligemma2": two(
        "PaliGemmaConfig",
        text("gemma2", head_dim=8),
        clip("siglip_vision_model"),
        **IMAGE,
        projection_dim=32,
    ),
    "gemma3": two("Gemma3Config", text(head_dim=8), EYE, mm_tokens_per_image=1, **IMAGE),
    "idefics2": two(
        "Idefics2Config",
        text("mistral", head_dim=8),
        EYE,
        perceiver_config={
            "hidden_size": 32,
            "resampler_n_latents": 2,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 8,
            "num_key_value_heads": 1,
        },
        **PICTURE,
    ),
    "idefics3": two("Idefics3Config", text("llama"), EYE, **PICTURE, pad_token_id=0),
    "smolvlm": two("SmolVLMConfig", text("llama"), EYE, **PICTURE, pad_token_id=0),
    "internvl": two(
        "InternVLConfig",
        text("qwen2"),
        EYE | {"image_size": [28, 28], "patch_size": [14, 14]},
        **PICTURE,
    ),
    "qwen2_vl": two(
        "Qwen2VLConfig",
        text(**rope(1, 1, 2)),
        {
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
        },
        **MARKS,
    ),
    "qwen2_5_vl": two(
        "Qwen2_5_VLConfig", text(**rope(1, 1, 2)), TOWER | {"fullatt_block_indexes": [1]}, **MARKS
    ),
    "qwen3_vl": two(
        "Qwen3VLConfig",
        text(**QWEN3),
        TOWER | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        **MARKS,
    ),
    "qwen3_vl_moe": two(
        "Qwen3VLMoeConfig",
        text(**QWEN3, **EXPERTS),
        TOWER | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        **MARKS,
    ),
    "glm4v": two(
        "Glm4vConfig",
        text(**rope(1, 1, 0, partial_rotary_factor=0.5)),
        TOWER | {"image_size": 28},
        **PICTURE,
        video_token_id=6,
        **GLM,
    ),
    "aya_vision": two("AyaVisionConfig", text("cohere2"), clip("siglip_vision_model"), **IMAGE),
    "ovis2": two(
        "Ovis2Config",
        text("qwen2"),
        EYE | {"vocab_size": 64},
        **PICTURE,
        vocab_size=400,
        hidden_size=32,
    ),
    "lfm2_vl": two(
        "Lfm2VlConfig",
        text(
            "lfm2",
            layer_types=["conv", "full_attention", "full_attention"],
            block_auto_adjust_ff_dim=False,
        ),
        clip("siglip2_vision_model") | {"num_patches": 4},
        **PICTURE,
    ),
    "aria": two(
        "AriaConfig",
        text(moe_num_experts=4, moe_topk=2, moe_num_shared_experts=1),
        clip("idefics3_vision"),
        **IMAGE,
        projector_patch_to_query_dict={4: 4},
    ),
    "deepseek_vl": two("DeepseekVLConfig", text("llama"), clip("siglip_vision_model"), **PICTURE),
    "got_ocr2": two(
        "GotOcr2Config",
        text("qwen2"),
        {
            "hidden_size": 16,
            "output_channels": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
            "mlp_dim": 16,
            "global_attn_indexes": [0],
            "window_size": 2,
        },
        **IMAGE,
    ),
    "llama4": two(
        "Llama4Config",
        text(
            head_dim=8,
            layer_types=["chunked_attention", "chunked_attention", "full_attention"],
            **LLAMA4,
        ),
        {
            "hidden_size": 16,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "vision_output_dim": 16,
            "projector_input_dim": 16,
            "projector_output_dim": 16,
        },
        **IMAGE,
    ),
    "mllama": two(
        "MllamaConfig",
        text(
            num_hidden_layers=4,
            cross_attention_layers=[1],
            rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        ),
        {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "vision_output_dim": 32,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": [[1, 1]],
            "max_num_tiles": 1,
        },
        **IMAGE,
    ),
    "chameleon": partial(
        config_of,
        "ChameleonConfig",
        **TEXT,
        vocabulary_map={"<image>": 5},
        vq_config=CODES | {"num_embeddings": 8, "resolution": 8},
    ),
    "emu3": partial(
        config_of,
        "Emu3Config",
        text_config=TEXT,
        vocabulary_map={"<image>": 5},
        vq_config=CODES | {"codebook_size": 8, "attn_resolutions": []},
    ),
    "fuyu": partial(
        config_of, "FuyuConfig", **TEXT, image_size=28, patch_size=14, text_config=text("persimmon")
    ),
    "voxtral": partial(
        config_of,
        "VoxtralConfig",
        text_config=text("llama"),
        audio_token_id=5,
        audio_config=EAR
        | {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
    ),
    "qwen2_audio": partial(
        config_of,
        "Qwen2AudioConfig",
        text_config=text("qwen2"),
        audio_token_index=5,
        audio_config=EAR
        | {"d_model": 16, "encoder_ffn_dim": 32, "encoder_layers": 1, "encoder_attention_heads": 2},
    ),
}
NO_TEXT_ALONE = {
    "blip-2": (
        partial(
            config_of,
            "Blip2Config",
            text_config={
                **TOKENS,
                "model_type": "opt",
                "hidden_size": 32,
                "ffn_dim": 48,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "max_position_embeddings": 256,
                "word_embed_proj_dim": 32,
            },
            vision_config=EYE,
            qformer_config={
                "vocab_size": 20,
                "hidden_size": 16,
                "intermediate_size": 24,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "encoder_hidden_size": 16,
            },
            num_query_tokens=2,
            **IMAGE,
        ),
        r"\(Blip2ForConditionalGeneration\) does not read text alone: "
        r"its generate\(\) needs pixel_values",
    ),
    "kosmos-2": (
        two(
            "Kosmos2Config",
            TOKENS | {"embed_dim": 32, "layers": 3, "ffn_dim": 48, "attention_heads": 4},
            EYE,
            latent_query_num=2,
        ),
        "does not read text alone: .*pixel_values",
    ),
    "florence2": (
        two(
            "Florence2Config",
            {
                **TOKENS,
                "model_type": "bart",
                "d_model": 32,
                "encoder_layers": 2,
                "decoder_layers": 2,
                "encoder_attention_heads": 2,
                "decoder_attention_heads": 2,
                "encoder_ffn_dim": 32,
                "decoder_ffn_dim": 32,
            },
            {
                "embed_dim": [8, 8],
                "num_heads": [1, 1],
                "num_groups": [1, 1],
                "depths": [1, 1],
                "patch_size": [3, 3],
                "patch_stride": [2, 2],
                "patch_padding": [1, 1],
                "patch_prenorm": [False, True],
                "window_size": 2,
                "projection_dim": 16,
            },
        ),
        "type 'florence2'.* has an encoder and a decoder.*Only decoders can be read",
    ),
    "clip": (
        partial(
            config_of,
            "CLIPConfig",
            text_config=TOKENS | SIZES,
            vision_config=EYE,
            architectures=["CLIPForCausalLM"],
        ),
        "no class that generates text with models of the type 'clip'",
    ),
}


def build(config):
    """A whole random model by transformers' own choice of class."""
    names = (
        "AutoModelForImageTextToText",
        "AutoModelForMultimodalLM",
        "AutoModelForCausalLM",
        "AutoModel",
    )
    classes = [getattr(t, name) for name in names if hasattr(t, name)]
    torch.manual_seed(0)
    model = (
        next(c for c in classes if type(config) in c._model_mapping)
        .from_config(config)
        .eval()
        .requires_grad_(False)
    )
    for p in model.parameters():
        if p.ndim > 1:
            p.normal_(0, 0.25)
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model as it was made, and its folder: `whole("llava")`."""

    @cache
    def make(name):
        if OLD and name in ("paligemma", "paligemma2", "llama4"):
            pytest.skip(
                f"transformers {t.__version__} runs {name} otherwise in a batch than alone, or not "
                "at all"
            )
        try:
            config = CASES[name]() if name in CASES else NO_TEXT_ALONE[name][0]()
        except (AttributeError, ValueError, TypeError):
            if not OLD:
                raise
            pytest.skip(f"transformers {t.__version__} does not know {name} yet")
        folder = tmp_path_factory.mktemp(name)
        model = build(config)
        with quiet_libraries():
            model.save_pretrained(folder)
        byte_level_tokenizer(chat=True).save_pretrained(folder)
        return model, folder

    return make


@pytest.fixture(scope="module")
def read(whole):
    """The same as this package reads it."""

    @cache
    def load(name):
        return load_model(find_model(ModelSpec(str(whole(name)[1]), device="cpu")))

    return load


def executed(model):
    """Blocks that a text goes through: all but those that look at pictures only."""
    config = model.config.get_text_config(decoder=True)
    skipped = getattr(config, "cross_attention_layers", None) or ()
    return [k for k in range(config.num_hidden_layers) if k not in skipped]


@pytest.mark.parametrize("name", CASES)
def test_the_stream_is_output_hidden_states_of_the_whole_model(whole, read, name):
    model, loaded = whole(name)[0], read(name)
    blocks, n = executed(model), loaded.handle.identity.n_layers
    plan = plan_sites(loaded.base, n, ["resid"], (EMB, *range(n)))
    assert [k for _, k in plan.taps] == [EMB, *blocks]
    found = Extractor(loaded, plan, "float32")(IDS, TABLE, ("first", "middle", "last"))["resid"]
    if "paligemma" in name:
        # the one that sees in one direction with a mask and without
        model.set_attn_implementation("eager")
    for i, ids in enumerate(IDS):
        with torch.inference_mode():
            out = model(input_ids=torch.tensor([ids]), use_cache=False, output_hidden_states=True)
        # the last one comes after the final norm
        for row, states in enumerate(out.hidden_states[:-1]):
            np.testing.assert_allclose(
                found[row][:, i], states[0][TABLE[i, :, 0]], atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("name", CASES)
def test_answers_do_not_depend_on_who_else_is_in_the_batch(read, name):
    """Padded on the left, which shifts the three rotary positions of Qwen-VL unless the model is
    told."""
    loaded, wanted = read(name), [Request(str(i), ids) for i, ids in enumerate(IDS)]
    together, alone = (generate(loaded, some, 5, frozenset()) for some in (wanted, wanted[1:]))
    assert together[1].answer_ids == alone[0].answer_ids
    np.testing.assert_allclose(together[1].logprobs, alone[0].logprobs, atol=1e-4)
    scored = score_answers(loaded, [(a.prompt_ids, a.answer_ids) for a in together])
    for answer, scores in zip(together, scored, strict=True):
        np.testing.assert_allclose(scores[0], answer.logprobs, atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_the_head_is_run_over_wanted_tokens_only(read, name):
    """Beneath whatever is made around the language model."""
    loaded, ids = read(name), torch.tensor([IDS[0]])
    with torch.inference_mode():
        head = Head(loaded)
        states = head.states(ids, torch.ones_like(ids))[0]
        assert states.shape[-1] == loaded.model.config.get_text_config(decoder=True).hidden_size
        [some] = head.logits(states[2:5])
        every = loaded.model(input_ids=ids, use_cache=False).logits[0]
    torch.testing.assert_close(some, every[2:5], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_every_site_is_known_by_name(read, name):
    loaded = read(name)
    n = loaded.handle.identity.n_layers
    config = loaded.model.config.get_text_config(decoder=True)
    assert family_of(config.model_type) is not None, (
        f"{config.model_type} has no family in layouts.py"
    )
    plan = plan_sites(loaded.base, n, [ALL], (EMB, *range(n)))
    for layer in executed(loaded.model):
        assert ("attn.o", layer) in plan.taps or "recurrent or convolutional" in plan.absent[
            "attn.o", layer
        ]
        assert ("mlp.down", layer) in plan.taps or "mixture of experts" in plan.absent[
            "mlp.down", layer
        ]
    names = {id(m): name for name, m in loaded.model.named_modules()}
    for tap in plan.taps.values():
        assert not any(
            part in names[id(tap.module)] for part in ("vision", "visual", "audio", "tower")
        )


@pytest.mark.parametrize(
    "name", ["mistral3", "qwen2_5_vl", "qwen3_vl", "mllama", "paligemma", "idefics3"]
)
def test_memory_is_counted_and_a_shallow_copy_runs(read, name):
    """What the dry run does: a pass without numbers, and a model of one block of the same shape."""
    handle = read(name).handle
    memory = device_memory(handle, [8, 4], 3, Budget())
    assert memory.weights == 4 * handle.identity.n_parameters
    assert memory.largest > 0
    shallow = bare_model(handle, 1).float()
    with torch.inference_mode():
        assert shallow(input_ids=torch.tensor([IDS[0]])).logits.shape == (1, len(IDS[0]), 400)


def test_the_list_of_types_is_that_of_the_tests():
    assert {*WITH_PICTURES, "paligemma2"} == set(CASES)
    shown = CliRunner().invoke(main, ["models"]).output
    assert "qwen2_5_vl_text" in shown
    assert "paligemma" in shown


def test_layers_that_look_at_pictures_are_absent(read):
    """Mllama passes over them where there is none, so there is no vector to read."""
    plan = plan_sites(read("mllama").base, 4, [ALL], (EMB, 0, 1, 2, 3))
    assert {layer for _, layer in plan.absent} == {1}
    assert (
        "layer 1 looks at pictures, and is passed over where there is none"
        in plan.absent["resid", 1]
    )


def test_a_prompt_that_sees_both_ways_is_read_as_by_a_decoder(read):
    """One attention kernel lets it do so without padding and not with, so the same answer had two
    vectors."""
    for name in ("paligemma", "paligemma2"):
        handle = read(name).handle
        assert handle.notes == (BOTH_WAYS,)
        assert handle.skeleton.config.text_config.use_bidirectional_attention is False
    assert read("llava").handle.notes == ()


def test_a_transformers_that_masks_it_wrongly_is_refused(whole, monkeypatch):
    monkeypatch.setattr("probebench.models.checkpoints.classes.version", lambda name: "5.0.0")
    with pytest.raises(
        UsageError,
        match=r"transformers 5.0.0 masks the text .* type 'paligemma' otherwise in a batch",
    ):
        find_model(ModelSpec(str(whole("paligemma")[1]), device="cpu"))
    assert find_model(ModelSpec(str(whole("llava")[1]), device="cpu")).causal


@pytest.mark.parametrize("name", NO_TEXT_ALONE)
def test_what_cannot_be_read_is_one_true_line(whole, name):
    folder = whole(name)[1]
    config = json.loads((folder / "config.json").read_text())
    if name == "clip":
        config["architectures"] = ["CLIPForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=NO_TEXT_ALONE[name][1]):
        find_model(ModelSpec(str(folder), device="cpu"))


def test_what_only_the_processor_or_the_text_part_knows(whole, tmp_path):
    """Older checkpoints keep their chat template in a file of the processor, and stop tokens in the
    text part's config."""
    folder = tmp_path / "model"
    shutil.copytree(whole("llava")[1], folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    assert find_model(ModelSpec(str(folder), device="cpu")).tokenizer.chat_template is None
    (folder / "chat_template.json").write_text(
        json.dumps({"chat_template": "{{ messages[0]['content'] }}"})
    )
    (folder / "generation_config.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 77
    (folder / "config.json").write_text(json.dumps(config))
    handle = find_model(ModelSpec(str(folder), device="cpu"))
    assert handle.tokenizer.chat_template == "{{ messages[0]['content'] }}"
    assert handle.stop_ids >= {2, 77}


def test_the_dtype_of_the_text_part_is_that_of_the_checkpoint(whole, tmp_path, monkeypatch):
    """On a GPU, where `auto` is what the checkpoint says; Qwen3-VL says it of its parts only."""
    folder = shutil.copytree(whole("qwen3_vl")[1], tmp_path / "parts")
    config = json.loads((folder / "config.json").read_text())
    config.pop("dtype")
    config["text_config"]["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config))
    gpu = SimpleNamespace(device=torch.device("cuda"), map=None, shown="a GPU", key=None)
    monkeypatch.setattr("probebench.models.loading.place", lambda *asked: gpu)
    assert find_model(ModelSpec(str(folder))).identity.dtype == "bfloat16"


def test_an_untrained_copy_is_of_the_same_class(read):
    for name in ("llava", "mllama"):
        loaded = read(name)
        copy = untrained(loaded.handle, 0)
        assert type(copy.model) is type(loaded.model)
        assert not torch.equal(
            copy.model.get_input_embeddings().weight, loaded.model.get_input_embeddings().weight
        )


def test_a_run_from_folder_to_record(whole, answers_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = {"positions": ["first_answer", "last_q"], "shuffles": 0, "sites": ["resid", "attn.o"]}
    small |= {"attribution": True, "skip": ["p-true"]}
    run = probebench.evaluate(str(whole("mllama")[1]), answers=answers_file(), **small)
    assert (run.record["model"]["architecture"], run.record["model"]["n_layers"]) == (
        "MllamaForCausalLM",
        4,
    )
    assert run.matrix(site="resid").dropna(how="all").index.tolist() == ["emb", "0", "2", "3"]
    told = run.attribution
    assert sorted(told[told.site == "attn.o"].layer.unique()) == ["0", "2", "3"], (
        "1 is for pictures"
    )


def test_tokens_inside_answers_are_read_where_a_text_goes(whole, tmp_path):
    """Of the blocks for pictures there is no vector, and none of another block in its place."""
    run = probebench.evaluate_spans(
        str(whole("mllama")[1]), "lives", limit=100, out=tmp_path / "run"
    )
    assert [row.layer for row in run.record.layers] == ["emb", "0", "2", "3"]
