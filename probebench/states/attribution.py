r"""Attribution: how much of a target passes through each component of each layer, to first order.

Of a component c (the output of one projection) in layer l, with a_t its vector at token t and T the
target,

    A(l, c) = mean over answers of  sum_t | a_t . dT/da_t |

a_t . dT/da_t is the derivative of T when that vector alone is scaled, a first-order estimate of
what removing it would change: gradient x input (Shrikumar et al. 2016, arXiv:1605.01713), as in
attribution patching (Kramár et al. 2024, arXiv:2403.00745) with zero as the baseline. The share is
A(l, c) divided by its sum over the seven components of the layer.

Targets: `logprob`, the summed log-probability of the exact answer's tokens given all before them;
`probe`, the decision of the selected probe. It reads weights and gradients, never a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from probebench.models.blocks.sites import COMPONENTS, SitePlan, plan_sites
from probebench.models.blocks.taps import Tap
from probebench.models.handles import LoadedModel
from probebench.models.passes.batches import halving, plan_batches
from probebench.models.passes.scored import pad_right
from probebench.states.positions import locate
from probebench.types import Cell, LabelledAnswer, layer_name

if TYPE_CHECKING:
    import torch

LIMIT = 256
"""Test answers that are looked at, the first ones."""
BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True, eq=False)
class ProbeTarget:
    """A linear probe as a target."""

    cell: Cell
    weight: NDArray[np.float64]
    """(width,) on raw vectors of the cell."""
    bias: float


def attribution(
    loaded: LoadedModel, answers: Sequence[LabelledAnswer], probe: ProbeTarget | None
) -> pd.DataFrame:
    """Mean gradient x activation of every component of every layer.

    Args:
        loaded: the model.
        answers: what to look at; those without an exact answer take no part in the target
            `logprob`, those without the probe's token none in the target `probe`.
        probe: the selected probe; None when it is not linear.

    Returns:
        One row per target, layer and component: `mean_abs`, `share` of the layer, and `n` answers.
    """
    layers = range(loaded.handle.identity.n_layers)
    plan = plan_sites(loaded.model, len(layers), COMPONENTS, layers)
    passes = _Passes(loaded, plan, probe)
    sums: dict[tuple[str, str, int], float] = {}
    counts = {"logprob": 0, "probe": 0}
    for batch in plan_batches([len(a.answer.ids) for a in answers], tokens=BATCH_TOKENS):
        for found, n in halving(
            batch, lambda b: [passes([answers[i] for i in b])], "measuring attribution"
        ):
            for key, value in found.items():
                sums[key] = sums.get(key, 0.0) + value
            counts = {target: counts[target] + n[target] for target in counts}
    rows = []
    for target in (t for t, n in counts.items() if n):
        for layer in layers:
            values = {
                site: sums[target, site, layer] / counts[target]
                for site in COMPONENTS
                if (site, layer) in plan.taps
            }
            total = sum(values.values())
            rows += [
                {
                    "target": target,
                    "site": site,
                    "layer": layer_name(layer),
                    "mean_abs": value,
                    "share": value / total if total else float("nan"),
                    "n": counts[target],
                }
                for site, value in values.items()
            ]
    return pd.DataFrame(rows, columns=["target", "site", "layer", "mean_abs", "share", "n"])


class _Passes:
    """Forward and backward passes of small batches."""

    def __init__(self, loaded: LoadedModel, plan: SitePlan, probe: ProbeTarget | None) -> None:
        self.loaded, self.plan, self.probe = loaded, plan, probe
        self.target_plan: SitePlan | None = None
        if probe is not None:
            self.target_plan = plan_sites(
                loaded.model, loaded.handle.identity.n_layers, [probe.cell.site], [probe.cell.layer]
            )

    def __call__(
        self, answers: Sequence[LabelledAnswer]
    ) -> tuple[dict[tuple[str, str, int], float], dict[str, int]]:
        """Summed |gradient x activation| per (target, site, layer), and how many answers each
        target has."""
        import torch

        ids, mask = (x.to(self.loaded.device) for x in pad_right([a.answer.ids for a in answers]))
        seen: dict[int, torch.Tensor] = {}
        read: list[torch.Tensor] = []
        hooks = [self.plan.first.register_forward_pre_hook(_with_gradient, with_kwargs=True)]
        modules = {id(tap.module): tap.module for tap in self.plan.taps.values()}
        hooks += [module.register_forward_hook(_keep(key, seen)) for key, module in modules.items()]
        if self.target_plan is not None:
            hooks += [_read(tap, read) for tap in self.target_plan.taps.values()]
        try:
            with torch.enable_grad():
                out = self.loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
                targets = self._targets(answers, ids, getattr(out, "logits", None), read)
                found = {
                    name: self._scores(name, value, seen, mask)
                    for name, (value, n) in targets.items()
                    if n
                }
        finally:
            for hook in hooks:
                hook.remove()
        counts = {name: n for name, (_, n) in targets.items()}
        return {
            (name, *key): value for name, part in found.items() for key, value in part.items()
        }, {name: counts.get(name, 0) for name in ("logprob", "probe")}

    def _targets(
        self,
        answers: Sequence[LabelledAnswer],
        ids: torch.Tensor,
        logits: torch.Tensor | None,
        read: Sequence[torch.Tensor],
    ) -> dict[str, tuple[Any, int]]:
        """Each target summed over the answers that have it, and how many these are."""
        import torch

        targets: dict[str, tuple[Any, int]] = {}
        if logits is not None:
            spans = [
                (i, *a.tokens.exact)
                for i, a in enumerate(answers)
                if a.tokens.exact is not None and a.tokens.exact[0] > 0
            ]
            values = [
                torch.log_softmax(
                    logits[i, first - 1 : last].to(
                        torch.promote_types(logits.dtype, torch.float32)
                    ),
                    dim=-1,
                )
                .gather(1, ids[i, first : last + 1, None])
                .sum()
                for i, first, last in spans
            ]
            targets["logprob"] = (sum(values), len(values))
        if self.probe is not None and read:
            table = locate([a.tokens for a in answers], [self.probe.cell.position])[:, 0]
            weight = torch.from_numpy(self.probe.weight).to(
                read[0].device, torch.promote_types(read[0].dtype, torch.float32)
            )
            rows = [i for i, (first, _) in enumerate(table) if first >= 0]
            vectors = [
                read[0][i, table[i, 0] : table[i, 1] + 1].to(weight.dtype).mean(dim=0) for i in rows
            ]
            targets["probe"] = (sum(v @ weight for v in vectors), len(rows))
        return targets

    def _scores(
        self, name: str, value: Any, seen: dict[int, torch.Tensor], mask: torch.Tensor
    ) -> dict[tuple[str, int], float]:
        import torch

        outputs = list(seen.values())
        gradients = torch.autograd.grad(
            value, outputs, retain_graph=name == "logprob", allow_unused=True
        )
        by_module = dict(zip(seen, gradients, strict=True))
        scores = {}
        for key, tap in self.plan.taps.items():
            a, g = seen[id(tap.module)], by_module[id(tap.module)]
            if g is None:  # nothing of it reaches the target
                scores[key] = 0.0
                continue
            product = (
                (tap.take(a).detach().double() * tap.take(g).double())
                .sum(dim=-1)
                .reshape(mask.shape)
            )
            scores[key] = float((product.abs() * mask.to(product.device)).sum())
        return scores


def _with_gradient(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Begin the graph at block 0: the weights need no gradients."""
    if args:
        return (args[0].detach().requires_grad_(), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": kwargs["hidden_states"].detach().requires_grad_()}


def _keep(key: int, seen: dict[int, torch.Tensor]) -> Any:
    """Keep a module's output; what goes on is a copy, since some models change it in place."""

    def hook(module: Any, args: Any, output: Any) -> Any:
        whole = isinstance(output, tuple)
        seen[key] = output[0] if whole else output
        return (seen[key].clone(), *output[1:]) if whole else seen[key].clone()

    return hook


def _read(tap: Tap, read: list[torch.Tensor]) -> Any:
    """Keep the vectors that the probe reads, in the graph."""

    def after(module: Any, args: Any, output: Any) -> None:
        read.append(tap.take(output[0] if isinstance(output, tuple) else output).clone())

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        read.append(tap.take(args[0] if args else kwargs["hidden_states"]).clone())

    if tap.side == "output":
        return tap.module.register_forward_hook(after)
    return tap.module.register_forward_pre_hook(before, with_kwargs=True)
