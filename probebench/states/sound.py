"""Sound: whether vectors that were just read can be states of a model that works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.states.positions import present
from probebench.states.reader import SiteLayout
from probebench.states.shards import widened
from probebench.types import layer_name


def check_finite(
    site: str,
    values: NDArray[Any],
    layers: Sequence[int],
    table: NDArray[np.int64],
    names: Sequence[str],
    dtype: str,
) -> None:
    """Complain about vectors that are not finite.

    Args:
        site: what they are of.
        values: (layer, position, example, width), as stored.
        layers: the layers of the first axis.
        table: (example, position, 2) first and last token of each place, -1 where absent.
        names: position names.
        dtype: in which they are stored.

    Raises:
        StatesError: some are, with the layer and position of the first.
    """
    finite = np.isfinite(widened(values)).all(axis=3)  # (layer, position, example)
    bad = np.argwhere(~finite & present(table).T[None])
    if len(bad):
        layer, place = layer_name(layers[bad[0][0]]), names[bad[0][1]]
        wider = "bfloat16 (or float32): float16 ends at 65,504" if dtype == "float16" else "float32"
        raise StatesError(
            f"{len(bad)} vectors of {site} are not finite in {dtype}, the first at layer {layer}, "
            f"position {place!r}. If the model itself gives finite values, keep them with "
            f"--states-dtype {wider}; with --out and this run's folder its answers are kept too. "
            "If not, try --dtype float32."
        )


def check_zeros(
    states: Mapping[str, NDArray[Any]], table: NDArray[np.int64], layout: Mapping[str, SiteLayout]
) -> None:
    """Complain about a layer that is zero wherever it was read: weights that never came to their
    device make it so.

    Args:
        states: of each site (layer, position, example, width), as stored.
        table: (example, position, 2) first and last token of each place, -1 where absent.
        layout: the layers of each site.

    Raises:
        StatesError: there is one, with its site and layer.
    """
    there = present(table).T  # (position, example)
    places = np.argwhere(there)
    if not len(places):
        return
    position, example = places[-1]
    for site, at in layout.items():
        for k, layer in enumerate(at.layers):
            # one vector says nearly always that the layer is alive
            if (
                not widened(states[site][k, position, example]).any()
                and not widened(states[site][k][there]).any()
            ):
                raise StatesError(
                    f"All {len(places)} vectors of {site} at layer {layer_name(layer)} are zero, "
                    "which no working model gives: its weights may not have reached their device "
                    "(offloading, --device-map), or are zero in the checkpoint. Try it without "
                    "--device-map, or leave the layer out with --layers."
                )
