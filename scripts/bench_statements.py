"""Statements and p(True) against plain passes: time, tokens and memory.

    python scripts/bench_statements.py                                # the embedded model
    python scripts/bench_statements.py MODEL --task cities --n 512
    python scripts/bench_statements.py MODEL --task cities --n 256 --only memory
    python scripts/bench_statements.py MODEL --task triviaqa --data FILE --n 96 --only asking

Reading: ours is what a run does with its statements, scores and hidden states at every position of
every layer, from the plan to the stored shards. Beside it two passes over the same batches: one
that projects every token to the vocabulary and takes log-probability, logit and entropy, one
without the projection whose hooks take the wanted places.

p(True): ours is `choice_scores` of both orders of each example, for questions with two proposed
answers each. Beside it one forward pass over every whole prompt, in batches of half the budget,
with the vocabulary projected at every place where some prompt of the batch ends.

Peaks are beyond the weights, each path in a process of its own; `projection` is the same padded
pass that projects every token, for scores alone. Rounds take turns, ratios are medians.
"""

from __future__ import annotations

import argparse
import inspect
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import (
    Rounds,
    Subject,
    counted,
    fresh,
    head,
    model_options,
    options_of,
    peak_of,
    row,
    words_of,
)

from probebench.detectors.asked.p_true_prompts import asked_text, letter_tokens, p_true_prompts
from probebench.job.prepare import prepare
from probebench.models.passes.batches import BATCH_TOKENS, plan_batches
from probebench.models.passes.choices import choice_scores
from probebench.models.passes.scored import score_answers
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.labelled import labelled_answers
from probebench.stages.stage import LocalRunner
from probebench.stages.states import hidden_states
from probebench.tasks.prompts import encode_prompt, encode_statement

Ids = tuple[int, ...]
OURS, PLAIN = "ours", "plain passes"


def padded(sequences: Sequence[Ids], device: torch.device) -> dict[str, torch.Tensor]:
    """What a forward pass takes, padded on the right."""
    width = max(map(len, sequences))
    ids = torch.tensor([s + (0,) * (width - len(s)) for s in sequences], device=device)
    mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sequences], device=device)
    return {"input_ids": ids, "attention_mask": mask}


@dataclass(frozen=True, eq=False)
class Reading:
    """Statements, scored and read."""

    subject: Subject
    args: argparse.Namespace

    @cached_property
    def sequences(self) -> list[Ids]:
        """(example,) token ids."""
        tokenizer = self.subject.loaded.tokenizer
        texts = [e.question for e in self.subject.examples]
        return [encode_statement(tokenizer, text, causal=True)[0] for text in texts]

    def ours(self) -> None:
        """As a run does it, in a new folder."""
        loaded = self.subject.loaded
        with tempfile.TemporaryDirectory() as name:
            plan = prepare(options_of(self.args, Path(name)), None, loaded.handle).plan
            models = Given(Progress(), offline=True)
            models.own = loaded
            runner = LocalRunner(Path(name), Progress(), models)
            hidden_states(plan, runner, labelled_answers(plan, runner))

    def plain(self) -> None:
        """Scores in one pass, hidden states in another."""
        self.scored()
        self.read()

    def scored(self) -> list[torch.Tensor]:
        """(3, token) log-probability, logit and entropy of each statement's tokens but the first,
        from logits of every token."""
        loaded, found = self.subject.loaded, []
        for batch in plan_batches([len(s) for s in self.sequences]):
            some = [self.sequences[i] for i in batch]
            with torch.inference_mode():
                logits = loaded.model(**padded(some, loaded.device), use_cache=False).logits
                for own, s in zip(logits, some, strict=True):
                    own = own[: len(s) - 1].float()
                    chosen = torch.tensor(s[1:], device=own.device)[:, None]
                    said = own.log_softmax(-1)
                    entropies = -(said.exp() * said).sum(-1)
                    parts = [said.gather(1, chosen)[:, 0], own.gather(1, chosen)[:, 0], entropies]
                    found.append(torch.stack(parts).cpu())
            del logits  # else two batches would be there at once
        return found

    def read(self) -> list[Any]:
        """(layer, example, position, width) of each batch, the last eight tokens and the first, by
        hooks."""
        loaded, found = self.subject.loaded, []
        n_layers = loaded.handle.identity.n_layers
        blocks = next(
            m
            for m in loaded.base.modules()
            if isinstance(m, torch.nn.ModuleList) and len(m) == n_layers
        )
        for batch in plan_batches([len(s) for s in self.sequences]):
            some = [self.sequences[i] for i in batch]
            places = torch.tensor([[max(len(s) - k, 0) for k in range(8, 0, -1)] for s in some])
            rows = torch.arange(len(some))[:, None]
            kept: list[torch.Tensor] = []

            def take(_: Any, __: Any, out: Any, at: Any = (rows, places), to: Any = kept) -> None:
                states = out[0] if isinstance(out, tuple) else out
                to.append(states[at].half().cpu())

            table = loaded.model.get_input_embeddings()
            hooks = [m.register_forward_hook(take) for m in (table, *blocks)]
            with torch.inference_mode():
                loaded.base(**padded(some, loaded.device), use_cache=False)
            for hook in hooks:
                hook.remove()
            found.append(torch.stack(kept).numpy())
        return found

    def projection(self) -> None:
        """Ours, for scores alone."""
        score_answers(self.subject.loaded, [(s[:1], s[1:]) for s in self.sequences])


class Given(Models):
    """The model that is loaded already."""

    own: Any

    def get(self, handle: Any) -> Any:
        """That model, whichever was asked for."""
        return self.own


@dataclass(frozen=True, eq=False)
class Asking:
    """p(True) of some examples."""

    subject: Subject

    @cached_property
    def prompts(self) -> list[Ids]:
        """Both orders of each statement, or of a long and a short proposed answer to each
        question."""
        s, tokenizer, found = self.subject, self.subject.loaded.tokenizer, []
        for e in s.examples:
            said: list[str | None] = [None]
            if s.task.kind != "statements":
                short = e.references[0]
                said = [f"As far as I can tell, the answer to this question is {short}.", short]
            for answer in said:
                both = p_true_prompts(tokenizer, asked_text(s.task, e), answer)
                found += [encode_prompt(tokenizer, text) for text in both]
        return found

    @cached_property
    def letters(self) -> tuple[Ids, Ids]:
        """Tokens of A and of B."""
        return letter_tokens(self.subject.loaded.tokenizer)

    def ours(self) -> np.ndarray[Any, Any]:
        """(prompt, 2) share of A, and mass of both letters."""
        return choice_scores(self.subject.loaded, self.prompts, *self.letters)

    def plain(self) -> np.ndarray[Any, Any]:
        """The same by whole prompts."""
        loaded, found = self.subject.loaded, np.zeros((len(self.prompts), 2))
        narrow = "logits_to_keep" in inspect.signature(loaded.model.forward).parameters
        for batch in plan_batches([len(p) for p in self.prompts], BATCH_TOKENS // 2):
            some = [self.prompts[i] for i in batch]
            ends, at = torch.tensor([len(p) - 1 for p in some]).unique(return_inverse=True)
            options = {"logits_to_keep": ends.to(loaded.device)} if narrow else {}
            with torch.inference_mode():
                given = padded(some, loaded.device)
                logits = loaded.model(**given, use_cache=False, **options).logits
                own = logits[torch.arange(len(some)), at if narrow else ends[at]].double()
                both = torch.stack([own[:, list(t)].logsumexp(-1) for t in self.letters], -1)
                mass = (both.logsumexp(-1) - own.logsumexp(-1)).exp()
                found[batch] = torch.stack([both.softmax(-1)[:, 0], mass], -1).cpu().numpy()
            del logits
        return found


def paths(args: argparse.Namespace) -> tuple[Subject, dict[str, dict[str, Callable[[], Any]]]]:
    """What is compared, by part."""
    subject = Subject.of(args)
    asking = Asking(subject)
    found = {"asking": {OURS: asking.ours, PLAIN: asking.plain}}
    if subject.task.kind == "statements":
        reading = Reading(subject, args)
        both: dict[str, Callable[[], Any]] = {OURS: reading.ours, PLAIN: reading.plain}
        alone = {OURS: reading.projection, PLAIN: lambda: len(reading.scored())}
        found = {"reading": both, "projection": alone, **found}
    return subject, found


def times(args: argparse.Namespace) -> None:
    """Table of seconds and tokens of each part."""
    subject, found = paths(args)
    print(f"{subject}, median of {args.rounds}\n")
    head("part", "path", "seconds", "processor, s", "of plain, clock", "processor", "tokens")
    for part in args.parts:
        if part not in found:
            continue
        tokens = {}
        for name, run in found[part].items():
            with counted(subject.loaded) as passes:
                run()  # and takes what comes once
            tokens[name] = sum(passes)
        rounds = Rounds.of(found[part], args.rounds, args.device)
        for name in found[part]:
            taken, ratio = rounds.median(name), rounds.ratio(name, PLAIN)
            row(
                part,
                name,
                f"{taken.wall:.2f}",
                f"{taken.cpu:.2f}",
                f"{ratio.wall:.2f}",
                f"{ratio.cpu:.2f}",
                f"{tokens[name]:,}",
            )
        if part == "asking":
            far = np.abs(rounds.found[OURS] - rounds.found[PLAIN]).max()
            print(f"p(True) differs by {far:.1e} at most")


def memory(args: argparse.Namespace) -> None:
    """Table of peaks of each part."""
    print()
    head("part", "ours, MB", "plain, MB", "ours / plain")
    for part in args.parts:
        both = [fresh(__file__, [*words_of(args), "--peak", part, name]) for name in (OURS, PLAIN)]
        if None not in both:
            mine, theirs = both
            row(part, f"{mine / 1e6:,.0f}", f"{theirs / 1e6:,.0f}", f"{mine / theirs:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model_options(parser, "cities", 256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["time", "memory"], help="one of the two tables")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=["reading", "projection", "asking"],
        choices=["reading", "projection", "asking"],
    )
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        part, name = args.peak
        subject, found = paths(args)
        if part not in found:
            print(json.dumps(None))
            return
        subject.loaded.base(**padded([(5,) * 8], subject.loaded.device))  # what comes once
        print(json.dumps(peak_of(found[part][name], args.device)))
        return
    if args.only != "memory":
        times(args)
    if args.only != "time":
        memory(args)


if __name__ == "__main__":
    main()
