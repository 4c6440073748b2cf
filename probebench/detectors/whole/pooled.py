"""Probes over all tokens of an answer: attention, softmax and rolling means (McKenzie et al. 2025),
multi-max and rolling attention (Kramár et al. 2026)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from probebench.detectors.registry import Description, Method, Scores, Timed, detector
from probebench.detectors.stored.network import FAST, SLOW
from probebench.detectors.stored.vectors import n_train, vectors_size
from probebench.detectors.whole.answers import of_words
from probebench.detectors.whole.training import Recipe, Standardised, Trained, train
from probebench.probes.choose import first_best
from probebench.record.parts.measured import KEPT
from probebench.stages.data import RunData
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner
from probebench.stages.whole.tokens import LONGEST, SPREAD, Tokens, kept_layers, layers_there

if TYPE_CHECKING:
    from probebench.detectors.whole.nets import Net

ASKED = "pooled-probes"
MCKENZIE = Recipe(
    optimizer="adamw", rate=5e-3, last_rate=5e-4, decay=1e-3, batch=64, epochs=60, patience=15
)
"""Batches are those that the paper adds up before a step, 4 times 16."""
KRAMAR = Recipe(optimizer="adamw", rate=1e-4, decay=3e-3, batch=64, steps=1000, patience=30)
WINDOW = 10
"""Tokens of a window (Kramár et al. 2026)."""
WINDOWS = (1, 5, WINDOW)
"""Those that validation chooses from, where the paper gives none."""
TYPICAL = 20
"""Tokens of an answer, for the dry run."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to pool."""

    name: str
    """Of its row, and of what makes it in `nets`."""
    label: str
    source: str
    recipe: Recipe
    windows: tuple[int | None, ...]
    """Lengths of windows to choose from; None where it has none."""
    outputs: int
    """Numbers that each token's vector is turned into."""
    changed: str


BOUND = (
    f"the layer (of the selected cell's and {SPREAD} spread over the depth) by validation; vectors "
    f"standardised; the last {LONGEST} tokens of longer answers"
)
STOPPED = "the epoch with the least loss on validation, the last of them {} after it"
KINDS = (
    Kind("attention_probe", "attention probe", "mckenzie2025detecting", MCKENZIE, (None,), 2, ""),
    Kind("softmax_probe", "softmax probe", "mckenzie2025detecting", MCKENZIE, (None,), 1, ""),
    Kind(
        "rolling_mean_probe",
        "max of rolling means",
        "mckenzie2025detecting",
        MCKENZIE,
        WINDOWS,
        1,
        "windows of 1, 5 or 10 tokens by validation",
    ),
    Kind("multimax_probe", "multi-max probe", "kramar2026building", KRAMAR, (None,), 100, ""),
    Kind(
        "rolling_attention_probe",
        "max of rolling attention",
        "kramar2026building",
        KRAMAR,
        (WINDOW,),
        100,
        "",
    ),
)


def _row(kind: Kind) -> Description:
    parts = (BOUND, STOPPED.format(kind.recipe.patience), kind.changed)
    return Description(
        name=kind.name,
        of_answers=kind.label,
        of_statements=kind.label,
        kind="method",
        when="after",
        needs=frozenset({"states", "train labels"}),
        asked=ASKED,
        source=kind.source,
        method=Method(
            access="states",
            supervision="labels",
            passes="1 pass, for all of these probes together",
            changed="; ".join(part for part in parts if part),
        ),
    )


def _price(plan: Plan, lengths: Sequence[int], timed: Timed) -> float:
    """A pass, and the training of every kind in every layer."""
    n, width = n_train(plan.splits), plan.handle.identity.width
    tokens = sum(
        len(kind.windows) * kind.outputs * kind.recipe.length(n) * n * TYPICAL for kind in KINDS
    )
    speed = SLOW if plan.fitting.device is None else FAST
    return timed.passing(lengths) + (SPREAD + 1) * 6 * width * tokens / speed


def _disk(plan: Plan) -> int:
    """All tokens of answers as long as they may be, in one layer more than are spread."""
    n = len(plan.splits) * min(plan.max_new_tokens or LONGEST, LONGEST)
    return vectors_size(plan, n, SPREAD + 1)


@detector(*map(_row, KINDS), price=_price, disk=_disk)
def pooled_probes(data: RunData, runner: Runner) -> Iterator[Scores]:
    """Each kind in each layer, the best on validation; the tokens are deleted when all are trained,
    or one could not be, unless the run keeps them: each row then says where they are.

    Raises:
        RunError: too few answers of a class have a word.
    """
    plan, (found, sequences) = data.plan, of_words(data)
    handle = plan.handle
    layers = kept_layers(handle.identity.n_layers, data.chosen.cell.layer)
    layers = layers_there(handle.skeleton, handle.identity.n_layers, layers)
    stage = Tokens(plan, sequences, layers)
    done = runner.run(stage)
    tried: dict[str, list[tuple[int, int | None, Trained]]] = {kind.name: [] for kind in KINDS}
    try:
        for layer in layers:
            tokens = Standardised(stage.layer(done, layer), found.rows, plan.fitting.device)
            for kind in KINDS:
                for window in kind.windows:
                    make = partial(_make, kind.name, tokens.width, window)
                    trained = train(make, tokens, found.y, kind.recipe, plan.seed)
                    tried[kind.name].append((layer, window, trained))
    finally:
        if not plan.beside.keep_tokens:
            done.drop()
    place = {KEPT: done.store.place} if plan.beside.keep_tokens else {}
    for name, fits in tried.items():
        own = _best(name, fits, found.spread)
        yield replace(own, detail={**own.detail, **place})


def _make(name: str, width: int, window: int | None) -> Net:
    """A new network of one kind."""
    from probebench.detectors.whole import nets

    make: Callable[..., Net] = getattr(nets, name)
    return make(width) if window is None else make(width, window)


def _best(
    name: str,
    fits: Sequence[tuple[int, int | None, Trained]],
    spread: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Scores:
    """The scores of the fit with the highest AUROC on validation, the first of equals."""
    k = first_best([t.validation_auroc for *_, t in fits]) or 0
    layer, window, trained = fits[k]
    detail = {
        "layer": layer,
        "epoch": trained.epoch,
        "validation_auroc": trained.validation_auroc,
        **({} if window is None else {"window": window}),
    }
    return Scores(name, spread(trained.decisions), detail)
