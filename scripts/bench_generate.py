"""Greedy generation against transformers' generate(), with the same prompts, stops and batches.

    python scripts/bench_generate.py                                  # the embedded model
    python scripts/bench_generate.py MODEL --task triviaqa --data FILE --n 256
    python scripts/bench_generate.py MODEL --only equal               # answers of one length
    python scripts/bench_generate.py MODEL --scores --vllm --device cuda --dtype bfloat16

`generate()` gets what a user would give it: batches of similar length, padded on the left, greedy,
with the same stops; its scores are not kept, while ours keeps log-probability, logit and entropy of
every token (`--scores` adds generate() with its scores kept and gathered). One at a time runs on
every k-th prompt and is scaled. Rounds take turns; ratios are medians over rounds.

The ideal is what generate() would take if it computed no padding and no token after an answer's
end, at its own speed: its time for the first token scaled by the share of prompt tokens that are no
padding, the rest by the share of decoded tokens that are kept.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from side_by_side import Rounds, Subject, Taken, counted, head, model_options, row
from transformers import GenerationConfig

from probebench.models.generate import Request, generate, requests, stop_texts, stop_tokens
from probebench.models.passes.batches import Budget

OURS, THEIRS, FIRST, ALONE, KEPT, VLLM = (
    "ours",
    "generate(), same batches",
    "generate(), first token only",
    "generate(), one at a time",
    "generate(), scores kept",
    "vLLM",
)
Ids = tuple[int, ...]


@dataclass(frozen=True)
class Counts:
    """Tokens that go through a model."""

    prompts: int
    padded: int
    """With the padding of each batch."""
    answers: int
    """Of the answers but their last, which is not read again."""
    decoded: int
    """Steps of each batch after the first, times its examples."""

    @classmethod
    def of(
        cls, batches: Sequence[Sequence[int]], prompts: Sequence[int], answers: Sequence[int]
    ) -> Counts:
        """Of batches that go on until their longest answer has ended.

        Args:
            batches: examples of each.
            prompts: (example,) tokens.
            answers: (example,) tokens.
        """
        return cls(
            sum(prompts),
            sum(len(b) * max(prompts[i] for i in b) for b in batches),
            sum(n - 1 for n in answers),
            sum(len(b) * (max(answers[i] for i in b) - 1) for b in batches),
        )

    def ideal(self, whole: float, first: float) -> float:
        """Seconds of the useful tokens alone.

        Args:
            whole: seconds of all batches.
            first: seconds until the first token of each batch.
        """
        decoding = max(whole - first, 0.0) * self.answers / max(self.decoded, 1)
        return first * self.prompts / self.padded + decoding


@dataclass(frozen=True, eq=False)
class Bench:
    """One set of prompts, and the ways to answer them."""

    subject: Subject
    wanted: Sequence[Request]
    most: int
    """New tokens."""
    stops: frozenset[int]
    texts: tuple[str, ...]
    every: int
    """One at a time, of so many prompts one."""

    @property
    def batches(self) -> list[list[int]]:
        """Those of a run that plans for the longest answer."""
        return Budget().plan([len(r.prompt_ids) + self.most for r in self.wanted])

    def ours(self) -> tuple[list[Ids], list[int]]:
        """Ids of the answers, and tokens of each pass."""
        with counted(self.subject.loaded) as passes:
            found = generate(self.subject.loaded, self.wanted, self.most, self.stops, self.texts)
        return [a.answer_ids for a in found], passes

    def theirs(self, batches: Sequence[Sequence[int]], most: int, **kept: Any) -> list[Ids]:
        """The same by `generate()`, in the order of the batches' examples."""
        loaded = self.subject.loaded
        pad = next(iter(self.stops), 0)
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=most,
            pad_token_id=pad,
            eos_token_id=sorted(self.stops) or None,
            **kept,
        )
        found: dict[int, Ids] = {}
        for batch in batches:
            prompts = [self.wanted[i].prompt_ids for i in batch]
            width = max(map(len, prompts))
            rows = [(pad,) * (width - len(p)) + p for p in prompts]
            mask = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
            with torch.inference_mode():
                out: Any = loaded.model.generate(
                    input_ids=torch.tensor(rows, device=loaded.device),
                    attention_mask=torch.tensor(mask, device=loaded.device),
                    generation_config=config,
                )
                if kept:
                    loaded.model.compute_transition_scores(
                        out.sequences, out.scores, normalize_logits=True
                    )
                    out = out.sequences
            for i, answer in zip(batch, out[:, width:].tolist(), strict=True):
                found[i] = cut(answer, self.stops)
        return [found[i] for i in sorted(found)]

    def paths(self, *, scores: bool, vllm: bool) -> dict[str, Callable[[], Any]]:
        """What is compared."""
        some = [[i] for i in range(0, len(self.wanted), self.every)]
        found: dict[str, Callable[[], Any]] = {
            OURS: self.ours,
            THEIRS: lambda: self.theirs(self.batches, self.most),
            FIRST: lambda: self.theirs(self.batches, 1),
            ALONE: lambda: self.theirs(some, self.most),
        }
        if scores:
            kept = {"output_scores": True, "return_dict_in_generate": True}
            found[KEPT] = lambda: self.theirs(self.batches, self.most, **kept)
        if vllm:
            found[VLLM] = self.served()
        return found

    def served(self) -> Callable[[], list[Ids]]:
        """By vLLM, whose engine is made before the clock starts."""
        from vllm import LLM, SamplingParams

        spec = self.subject.loaded.handle.spec
        engine = LLM(spec.source, dtype=self.subject.loaded.handle.identity.dtype)
        asked = SamplingParams(
            temperature=0.0, max_tokens=self.most, stop_token_ids=sorted(self.stops)
        )
        prompts = [{"prompt_token_ids": list(r.prompt_ids)} for r in self.wanted]

        def run() -> list[Ids]:
            found = engine.generate(prompts, asked, use_tqdm=False)
            return [cut(list(f.outputs[0].token_ids), self.stops) for f in found]

        return run

    def measured(self, rounds: int, *, scores: bool = False, vllm: bool = False) -> None:
        """Print the table of one case."""
        device = str(self.subject.loaded.device)
        self.theirs(self.batches[-1:], 2)  # what the first pass takes once
        result = Rounds.of(self.paths(scores=scores, vllm=vllm), rounds, device)
        (answers, passes), by_them = result.found[OURS], result.found[THEIRS]
        counts = Counts.of(
            self.batches, [len(r.prompt_ids) for r in self.wanted], list(map(len, by_them))
        )
        times = {name: result.median(name) for name in result.taken if name != FIRST}
        share = len(result.found[ALONE]) / len(self.wanted)
        times[ALONE] = Taken(*(t / share for t in times[ALONE]))
        print(f"tokens: {counts}, {sum(passes):,} computed by ours in {len(passes):,} passes")
        for name, found in (("generate()", by_them), ("one at a time", result.found[ALONE])):
            own = answers if name == "generate()" else answers[:: self.every]
            same = sum(a == b for a, b in zip(own, found, strict=True))
            print(f"equal ids with {name}: {same} of {len(found)}")
        self.table(result, times, counts)

    def table(self, result: Rounds, times: Mapping[str, Taken], counts: Counts) -> None:
        """Seconds by both clocks and answer tokens per second; then what was gained."""
        tokens = counts.answers + len(self.wanted)
        print()
        head("path", "seconds", "processor, s", "answer tokens/s", "times ours, clock", "processor")
        for name, taken in times.items():
            # what is scaled is no median of rounds
            ratio = Taken(*(a / b for a, b in zip(taken, times[OURS], strict=True)))
            ratio = ratio if name == ALONE else result.ratio(name, OURS)
            row(
                name,
                f"{taken.wall:.2f}",
                f"{taken.cpu:.2f}",
                f"{tokens / taken.wall:.1f}",
                f"{ratio.wall:.2f}",
                f"{ratio.cpu:.2f}",
            )
        first, gained = result.median(FIRST), result.ratio(THEIRS, OURS)
        print()
        for k, clock in enumerate(("clock", "processor")):
            whole = times[THEIRS][k]
            most = whole / counts.ideal(whole, first[k])
            print(
                f"by the {clock}: {gained[k]:.2f} times as fast as generate(), the useful tokens "
                f"alone {most:.2f}: {gained[k] / most:.2f} of it"
            )


def cut(ids: Sequence[int], stops: frozenset[int]) -> Ids:
    """Up to the first stop."""
    end = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
    return tuple(ids[:end])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model_options(parser, "people", 96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=8, help="prompts for one answered alone")
    parser.add_argument("--equal", type=int, default=32, help="tokens where all answers are equal")
    parser.add_argument("--only", choices=["answers", "equal"], help="one of the two tables")
    parser.add_argument("--scores", action="store_true", help="also generate() with scores kept")
    parser.add_argument("--vllm", action="store_true", help="also vLLM, where it is installed")
    args = parser.parse_args()
    subject = Subject.of(args)
    handle, task = subject.loaded.handle, subject.task
    wanted = requests([e.id for e in subject.examples], subject.prompts, handle)
    print(f"{subject}, median of {args.rounds}\n")
    vllm = args.vllm and importlib.util.find_spec("vllm") is not None
    if args.vllm and not vllm:
        print("vLLM is not installed here, so it is not compared.\n")
    if args.only != "equal":
        stops, texts = stop_tokens(handle, task.generation), stop_texts(handle, task.generation)
        own = Bench(subject, wanted, task.generation.max_new_tokens, stops, texts, args.every)
        own.measured(args.rounds, scores=args.scores, vllm=vllm)
    if args.only != "answers":
        print(f"\n## No stops: every answer has {args.equal} tokens\n")
        Bench(subject, wanted, args.equal, frozenset(), (), args.every).measured(args.rounds)


if __name__ == "__main__":
    main()
