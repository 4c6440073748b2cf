"""Train the embedded model `tiny` from nothing, on one CPU core, in under half an hour.

    python scripts/train_tiny.py --out probebench/tiny

Seeded and counted in steps, so the same command on the same library versions gives the same model.
Muon (orthogonalised momentum, K. Jordan et al. 2024) for the matrices inside the blocks, AdamW for
embeddings and gains. `BREAK_OFF` of the training answers stop two tokens after the exact answer:
the words that follow it are soon learned and cost as much time as the fact.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from tiny_world import PHRASINGS, World, answer_text, tokenizer_corpus
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<|pad|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
BATCH, BUCKETS = 64, 32
LR_ADAMW, LR_MUON, WARMUP = 2.5e-3, 0.02, 100
BREAK_OFF = 0.8


class Muon:
    """Momentum orthogonalised by five Newton-Schulz steps, all matrices of one shape at once."""

    def __init__(
        self,
        parameters: list[torch.nn.Parameter],
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ) -> None:
        self.momentum, self.weight_decay = momentum, weight_decay
        shapes: dict[tuple[int, ...], list[torch.nn.Parameter]] = defaultdict(list)
        for p in parameters:
            shapes[tuple(p.shape)].append(p)
        self.groups = [(ps, torch.zeros(len(ps), *shape)) for shape, ps in shapes.items()]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for parameters, buffer in self.groups:
            gradient = torch.stack([p.grad for p in parameters])
            buffer.lerp_(gradient, 1 - self.momentum)
            x = gradient.lerp(buffer, self.momentum)
            rows, columns = x.shape[1:]
            x = x.mT if rows > columns else x
            x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
            for _ in range(5):
                gram = x @ x.mT
                x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
            x = x.mT if rows > columns else x
            scale = lr * max(1.0, rows / columns) ** 0.5
            for p, update in zip(parameters, x, strict=True):
                p.mul_(1 - lr * self.weight_decay).sub_(update, alpha=scale)


def train_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every name is one token."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2560,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(tokenizer_corpus(world), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=SPECIAL[0], bos_token=SPECIAL[1], eos_token=SPECIAL[4]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    split = [name for name in world.names if len(tokenizer.tokenize(f" {name}")) != 1]
    if split:
        raise SystemExit(f"These names are not single tokens: {split[:10]} ({len(split)} in all).")
    return tokenizer


def new_model(
    vocabulary: int, seed: int, layers: int, width: int, feed_forward: int
) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=4,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                p.mul_(1 / math.sqrt(2 * layers))
    return model


def batches(
    world: World, tokenizer: PreTrainedTokenizerFast, seed: int, steps: int
) -> Iterator[list[tuple[list[int], list[int], str]]]:
    """Lists of (prompt ids, answer ids, task), bucketed by length."""
    stream, rng = world.stream(seed), random.Random(f"text/{seed}")
    user, assistant, bos, end = (
        tokenizer.convert_tokens_to_ids(t)
        for t in ("<|user|>", "<|assistant|>", "<|bos|>", "<|end|>")
    )
    done = 0
    while done < steps:
        items = [next(stream) for _ in range(BATCH * BUCKETS)]
        prompts = tokenizer([i.question for i in items], add_special_tokens=False)["input_ids"]
        answers = tokenizer([answer_text(i) for i in items], add_special_tokens=False)["input_ids"]
        tails = tokenizer(
            [PHRASINGS[i.relation][i.phrasing].after for i in items], add_special_tokens=False
        )["input_ids"]
        answers = [
            a[: 2 - len(t)] if rng.random() < BREAK_OFF else [*a, end]
            for a, t in zip(answers, tails, strict=True)
        ]
        rows = [
            ([bos, user, *p, assistant], a, i.task)
            for p, a, i in zip(prompts, answers, items, strict=True)
        ]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        chunks = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        rng.shuffle(chunks)
        yield from chunks[: steps - done]
        done += len(chunks)


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    world = World()
    tokenizer = train_tokenizer(world)
    model = new_model(
        len(tokenizer), arguments.seed, arguments.layers, arguments.width, arguments.feed_forward
    )
    blocks = [p for n, p in model.named_parameters() if p.ndim > 1 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim == 1 or "embed" in n]
    muon, adamw = (
        Muon(blocks),
        torch.optim.AdamW(rest, lr=LR_ADAMW, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    )
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{n_parameters:,} parameters, vocabulary {len(tokenizer):,}", flush=True)
    started, n_tokens, n_sequences = time.perf_counter(), 0, 0
    losses: dict[str, list[float]] = defaultdict(list)
    for step, rows in enumerate(batches(world, tokenizer, arguments.seed, arguments.steps)):
        length = max(len(p) + len(a) for p, a, _ in rows)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        # True where the next token belongs to the answer
        scored = torch.zeros(len(rows), length, dtype=torch.bool)
        for i, (prompt, answer, _) in enumerate(rows):
            n = len(prompt) + len(answer)
            ids[i, :n] = torch.tensor(prompt + answer)
            scored[i, len(prompt) - 1 : n - 1] = True
        decay = min(1.0, (step + 1) / WARMUP) * (
            0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / arguments.steps))
        )
        for group in adamw.param_groups:
            group["lr"] = LR_ADAMW * decay
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        loss = F.cross_entropy(
            model.lm_head(hidden[scored]), ids[:, 1:][scored[:, :-1]], reduction="none"
        )
        loss.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        muon.step(LR_MUON * decay)
        model.zero_grad(set_to_none=True)
        n_tokens += sum(len(p) + len(a) for p, a, _ in rows)
        n_sequences += len(rows)
        per_row = torch.zeros(len(rows)).index_add_(0, scored.nonzero()[:, 0], loss.detach())
        for (_, _, task), value in zip(rows, per_row.tolist(), strict=True):
            losses[task].append(value)
        if (step + 1) % 200 == 0 or step + 1 == arguments.steps:
            seconds = time.perf_counter() - started
            means = "  ".join(f"{t} {sum(v) / len(v):.2f}" for t, v in sorted(losses.items()))
            print(
                f"step {step + 1}/{arguments.steps}  {seconds:.0f} s  nats per answer: {means}",
                flush=True,
            )
            losses.clear()
    out = Path(arguments.out)
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    facts = {
        "parameters": n_parameters,
        "steps": arguments.steps,
        "sequences": n_sequences,
        "tokens": n_tokens,
        "seconds": round(time.perf_counter() - started),
        "seed": arguments.seed,
        "torch": torch.__version__,
    }
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--feed-forward", type=int, default=256)
    train(parser.parse_args())
