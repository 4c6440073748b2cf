"""Small random models of several architectures, built from configs, with small tokenizers built
here."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from probebench.across.draw import draw

os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
"""Probes of small models are fitted here: starting a pool of processes costs more than they do.
`test_killed_at_any_moment_the_run_ends_the_same` compares both ways."""
TEXT = (
    "Where was the old poet born? The poet was born in Paris, near the river. What is the capital "
    "of France? It is Paris. Who wrote the letter? Anna Smith wrote it in 1896. Größe, naïve, "
    "東京, 🙂 and e\u0301."
)
CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_level_tokenizer(*, chat: bool):
    """Byte-level BPE as in GPT-2 and Llama 3: any text, characters may be spread over several
    tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", "<bos>", "<eos>", "<|user|>", "<|assistant|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        [TEXT],
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )
    if chat:
        fast.chat_template = CHAT
    return fast


def metaspace_tokenizer():
    """Unigram pieces with a metaspace and byte fallback, as in Llama 2 and Mistral: decoding strips
    the first space."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = sorted(
        {c for c in TEXT if c.isascii()} | {"▁", "▁Paris", "▁the", "▁is", "▁in", "is", "ar"} - {" "}
    )
    vocabulary = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)] + [
        (f"<0x{i:02X}>", -20.0) for i in range(256)
    ]
    vocabulary += [(p, -float(10 - len(p))) for p in pieces]
    unigram = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    unigram.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=unigram, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def small_config(kind: str, vocabulary: int):
    """A config of 3 layers and width 32."""
    import transformers as t

    common = {"vocab_size": vocabulary, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if kind == "gpt2":
        return t.GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=256, **common)
    block = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    config = {
        "llama": t.LlamaConfig,
        "mistral": t.MistralConfig,
        "qwen2": t.Qwen2Config,
        "gemma": t.GemmaConfig,
    }[kind]
    extra = {"head_dim": 8} if kind == "gemma" else {}
    return config(**block, **extra, **common)


FAMILIES = ("llama", "mistral", "qwen2", "gemma", "gpt2")


@pytest.fixture(scope="session", autouse=True)
def maps_of_runs_in_one_format():
    """A run draws its maps as SVG only, which is a third of the work; `maps_in_all_formats` undoes
    it where files are what is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probebench.job.write.draw", partial(draw, formats=("svg",)))
        yield


@pytest.fixture(scope="module")
def maps_in_all_formats():
    """Runs of this module draw what a user's run draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probebench.job.write.draw", draw)
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """Folder of a small random model: `model_folder("llama", chat=True)`."""
    import torch
    from transformers import AutoModelForCausalLM

    made: dict[tuple[str, bool], Path] = {}

    def make(kind: str = "llama", *, chat: bool = True) -> Path:
        if (kind, chat) not in made:
            folder = tmp_path_factory.mktemp(f"{kind}-{'chat' if chat else 'base'}")
            tokenizer = byte_level_tokenizer(chat=chat)
            torch.manual_seed(0)
            config = small_config(kind, len(tokenizer))
            model = AutoModelForCausalLM.from_config(config)
            with torch.no_grad():  # wide enough apart that greedy choices do not depend on rounding
                for p in model.parameters():
                    if p.ndim > 1:
                        p.normal_(0, 0.25)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            made[kind, chat] = folder
        return made[kind, chat]

    return make


@pytest.fixture(scope="session")
def loaded(model_folder):
    """A small random model with its weights: `loaded("llama", chat=True)`."""
    from probebench.models.loading import ModelSpec, find_model, load_model

    made = {}

    def load(kind: str = "llama", *, chat: bool = True):
        if (kind, chat) not in made:
            made[kind, chat] = load_model(
                find_model(ModelSpec(str(model_folder(kind, chat=chat)), device="cpu"))
            )
        return made[kind, chat]

    return load


@pytest.fixture
def answers_file(tmp_path):
    """A jsonl of answers made elsewhere: `answers_file(n, label=lambda i: ...)`."""

    def write(n: int = 240, label=lambda i: i % 2, name: str = "answers.jsonl", **columns) -> Path:
        rng = np.random.default_rng(0)
        words = ["Paris", "river", "poet", "Anna", "letter", "capital", "France", "Smith"]
        rows = []
        for i in range(n):
            answer = (
                f" It is {words[rng.integers(8)]} {words[rng.integers(8)]} near the "
                f"{words[rng.integers(8)]}."
            )
            exact = answer.split()[2]
            row = {
                "id": f"a{i}",
                "question": f"Where was {words[rng.integers(8)]} {i}?",
                "answer": answer,
            }
            row |= {"label": int(label(i)), "exact_answer": exact, "group": f"g{i // 2}"}
            rows.append(row | {k: v(i) for k, v in columns.items()})
        path = tmp_path / name
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        return path

    return write


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory):
    """A small random BERT that reads 64 tokens."""
    import torch
    from transformers import BertConfig, BertModel

    folder, tokenizer = tmp_path_factory.mktemp("encoder"), byte_level_tokenizer(chat=False)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
