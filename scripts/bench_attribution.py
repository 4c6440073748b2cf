"""How well cheap scores of components rank them as replacing them by their means does.

    python scripts/bench_attribution.py                             # the embedded model, `people`
    python scripts/bench_attribution.py MODEL --task cities --n 8   # a real one, on statements
    python scripts/bench_attribution.py --repeat 5                  # what it costs, too

Mean ablation is measured for `--n` answers, and each score is taken of the same ones: gradient x
activation (zero as the baseline, absolute values per token, as of protocol 1), gradient x (mean -
activation) at the answer, the same with gradients along a path of two and four steps from mean to
actual embeddings, and the estimate of a run, which is exact within the block. Printed are
Spearman's rank correlations over all components and layers with 95 % intervals (answers drawn with
replacement); `halves` is that of the measured changes of one half of the
answers with those of the other, which no score can be expected to exceed by much.

Targets: the log-probability of the exact answer, of a statement that of its last two tokens; and
the difference of class means at the last token, after three fifths of the blocks, as a probe.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from probebench.job.options import Options
from probebench.job.prepare import prepare
from probebench.models.blocks.sites import COMPONENTS, SitePlan, plan_sites, watch
from probebench.models.handles import LoadedModel
from probebench.progress import Progress
from probebench.stages.engine import Models
from probebench.stages.labelled import labelled_answers
from probebench.stages.stage import LocalRunner
from probebench.states.attribution.changes import COLUMNS, changes
from probebench.states.attribution.means import Means, component_means, kinds_of
from probebench.states.attribution.resumed import Resumed
from probebench.states.attribution.summary import agreements
from probebench.states.attribution.targets import Batch, ProbeTarget, Targets
from probebench.types import EMB, Cell, LabelledAnswer

STEPS = {"mean, 1 step": 1, "mean, 2 steps": 2, "mean, 4 steps": 4}
ZERO, OURS = "zero", "block"


@dataclass(frozen=True, eq=False)
class Bench:
    """A model with answers, means and a probe."""

    loaded: LoadedModel
    plan: SitePlan
    means: Means
    """Of components, and of the stream before the first block."""
    answers: Sequence[LabelledAnswer]
    """Those that are looked at."""
    probe: ProbeTarget

    def gradients(self, batch: Batch, part: float) -> Iterator[tuple[str, dict[Any, Any]]]:
        """Of each target by (site, layer), with the embeddings that part of the way from their
        means to what they are."""
        kinds, seen = kinds_of(batch), {}
        mean = self.means.values["resid", EMB]

        def start(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            x = args[0] if args else kwargs["hidden_states"]
            there = mean.to(x.dtype)[kinds.clamp(min=0)]
            x = (there + part * (x - there)).detach().requires_grad_()
            return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

        def keep(module: Any, args: Any, out: Any) -> Any:
            seen[id(module)] = out
            return out.clone()

        modules = {id(tap.module): tap.module for tap in self.plan.taps.values()}
        hooks = [m.register_forward_hook(keep) for m in modules.values()]
        hooks.append(self.plan.first.register_forward_pre_hook(start, with_kwargs=True))
        try:
            with torch.enable_grad():
                found = Targets(self.loaded, self.probe)(batch)
        finally:
            for hook in hooks:
                hook.remove()
        for name, value in found.items():
            own = torch.autograd.grad(
                value.values.sum(), list(seen.values()), retain_graph=True, allow_unused=True
            )
            by_module = dict(zip(seen, own, strict=True))
            yield (name, {k: by_module[id(tap.module)] for k, tap in self.plan.taps.items()})

    def scored(self) -> dict[str, pd.DataFrame]:
        """Changes by every score that is made of gradients at components."""
        rows: dict[str, list[Any]] = {name: [] for name in (ZERO, *STEPS)}
        for i, answer in enumerate(self.answers):
            batch, kept = Batch.of([answer], self.loaded), {}
            hooks = watch(self.plan, lambda s, k, x, kept=kept: kept.__setitem__((s, k), x.clone()))
            with torch.inference_mode():
                self.loaded.base(input_ids=batch.ids, use_cache=False)
            for hook in hooks:
                hook.remove()
            points = {s: [(k + 0.5) / s for k in range(s)] for s in STEPS.values()} | {1: [1.0]}
            at = {p: dict(self.gradients(batch, p)) for ps in points.values() for p in ps}
            for target, own in at[1.0].items():
                for key in (k for k, gradient in own.items() if gradient is not None):
                    a, take = kept[key].double(), self.plan.taps[key].take
                    toward = self.means.at(key, kinds_of(batch), a) - a
                    g = {p: take(by[target][key]).reshape(a.shape).double() for p, by in at.items()}
                    found = {ZERO: (g[1.0] * a).sum(dim=-1).abs().sum()}
                    for name, s in STEPS.items():
                        found[name] = sum((g[p] * toward).sum() for p in points[s]) / s
                    for name, value in found.items():
                        rows[name].append((target, *key, i, float(value)))
        return {name: pd.DataFrame(own, columns=COLUMNS) for name, own in rows.items()}


def direction(
    loaded: LoadedModel, answers: Sequence[LabelledAnswer], layer: int
) -> tuple[np.ndarray[Any, Any], float]:
    """Difference of class means at the last token of one layer, in units of its own spread."""
    n_layers, vectors = loaded.handle.identity.n_layers, []
    plan = plan_sites(loaded.base, n_layers, ["resid"], [layer])
    for answer in answers:
        hooks = watch(plan, lambda s, k, x: vectors.append(x[0, -1].double().numpy().copy()))
        with torch.inference_mode():
            loaded.base(input_ids=torch.tensor([answer.answer.ids]), use_cache=False)
        for hook in hooks:
            hook.remove()
    x, y = np.stack(vectors), np.array([a.label for a in answers])
    weight = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    return weight / (x @ weight).std(), 0.0


def bench_of(args: argparse.Namespace, folder: Path) -> Bench:
    """Answers by the task's own stages; the last `--n` of them are looked at."""
    asked: Mapping[str, Any] = {"model": args.model, "task": args.task, "limit": args.limit}
    options = Options.asked({**asked, "out": str(folder), "device": "cpu"})
    prepared = prepare(options)
    models = Models(Progress(), offline=True)
    answers = labelled_answers(prepared.plan, LocalRunner(folder, Progress(), models))
    some = [_with_end(a) for a in answers if a.tokens.exact or a.tokens.statement_last]
    loaded = models.get(prepared.plan.handle)
    n_layers = loaded.handle.identity.n_layers
    taps = plan_sites(loaded.base, n_layers, COMPONENTS, range(n_layers))
    stream = plan_sites(loaded.base, n_layers, ["resid"], [EMB])
    means = {
        **component_means(loaded, taps, some).values,
        **component_means(loaded, stream, some).values,
    }
    layer = round(0.6 * n_layers)
    probe = ProbeTarget(Cell("resid", layer, "-1"), *direction(loaded, some, layer))
    return Bench(loaded, taps, Means(means), some[-args.n :], probe)


def _with_end(answer: LabelledAnswer) -> LabelledAnswer:
    """A statement's last two tokens as its exact answer."""
    if (last := answer.tokens.statement_last) is None:
        return answer
    return replace(answer, tokens=replace(answer.tokens, exact=(last - 1, last)))


def beside_whole_passes(measure: Callable[[], object], times: int) -> str:
    """Processor time of passes that begin at a component's block, and of whole ones, in turn."""
    took: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(times):
        for resumed, seconds in took.items():
            refused = patch.object(Resumed, "holds", return_value=False)
            with nullcontext() if resumed else refused:
                started = time.process_time()
                measure()
                seconds.append(time.process_time() - started)
    own, whole = (median(seconds) for seconds in took.values())
    ratios = sorted(w / o for o, w in zip(*took.values(), strict=True))
    return (
        f"measured in {own:.1f} s, {whole:.1f} s with every block run each time: "
        f"{median(ratios):.2f} times [{ratios[0]:.2f}, {ratios[-1]:.2f}], medians of {times}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="tiny")
    parser.add_argument("--task", default="people")
    parser.add_argument("--limit", type=int, default=128, help="answers that means are over")
    parser.add_argument("--n", type=int, default=16, help="answers that are looked at")
    parser.add_argument("--repeat", type=int, default=0, help="also time it, so many times")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        b = bench_of(args, Path(name))
    common = (b.loaded, b.plan, b.means, b.answers, b.probe)
    measured = changes(*common, exact=True)
    if args.repeat:
        print(beside_whole_passes(lambda: changes(*common, exact=True), args.repeat), flush=True)
    scores = {**b.scored(), OURS: changes(*common, exact=False)}
    reached = scores["mean, 1 step"][["target", "site", "layer"]].drop_duplicates()
    measured = measured.merge(reached, on=["target", "site", "layer"])
    halves = [
        measured[measured.answer % 2 == k].assign(answer=lambda t: t.answer // 2) for k in (0, 1)
    ]
    print(f"{args.model} on {args.task}, n = {len(b.answers)}")
    for name, own in {**scores, "halves": halves[0]}.items():
        for a in agreements(own, halves[1] if name == "halves" else measured, 0):
            print(
                f"{name:<14} {a.target:<8} {a.spearman:.2f} [{a.low:.2f}, {a.high:.2f}] "
                f"{a.n_components} components, n = {a.n}"
            )


if __name__ == "__main__":
    main()
