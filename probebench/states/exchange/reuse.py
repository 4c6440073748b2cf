"""Hidden states given to a run (`--states`): held against its model, answers and positions, and
read instead of extracted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from probebench.errors import StatesError, UsageError
from probebench.models.blocks.sites import SitePlan
from probebench.states.exchange.find import Stored, open_states, ranges, states_of
from probebench.states.exchange.verify import checksum
from probebench.states.reader import SiteLayout
from probebench.types import layer_name


def restrict(
    plan: SitePlan, layout: Mapping[str, SiteLayout], path: str, asked: Sequence[int] | None
) -> tuple[SitePlan, dict[str, SiteLayout]]:
    """What of a plan is stored in `path`; layers that are not are absent, with the reason.

    Args:
        plan: sites and layers that the model has.
        layout: what would be extracted.
        path: stored states.
        asked: layers that were asked for by number; None: all there are.

    Raises:
        UsageError: a site or layer that was asked for is not stored.
        StatesError: vectors of another width than the model's.
    """
    stored = open_states(path)
    there, absent, kept = stored.reader.sites, dict(plan.absent), {}
    if missing := [site for site in plan.sites if site not in there]:
        raise UsageError(
            f"--states {path} holds {', '.join(there)} and not {', '.join(missing)}. Give --sites "
            f"{','.join(there)}, or leave --states out to extract them."
        )
    for site, at in layout.items():
        stored_at = dict(zip(there[site].layers, there[site].widths, strict=True))
        for layer in asked or ():
            if layer in at.layers and layer not in stored_at:
                why = stored.absent.get(str(layer), "these states do not have it")
                raise UsageError(
                    f"--states {path} has no layer {layer_name(layer)} of {site} ({why}), only "
                    f"{ranges(there[site].layers)}. Name others with --layers, or leave it out."
                )
        for layer, width in zip(at.layers, at.widths, strict=True):
            if layer not in stored_at:
                absent[site, layer] = stored.absent.get(
                    str(layer), "the given hidden states do not have it"
                )
            elif stored_at[layer] != width:
                raise StatesError(
                    f"Layer {layer_name(layer)} of {site} has width {stored_at[layer]} in "
                    f"{stored.folder} and {width} in the model."
                )
        both = [
            (layer, width)
            for layer, width in zip(at.layers, at.widths, strict=True)
            if layer in stored_at
        ]
        if both:
            kept[site] = SiteLayout(*map(tuple, zip(*both, strict=True)))
    if not kept:
        raise UsageError(f"--states {path} has none of the layers that this run reads.")
    taps = {key: tap for key, tap in plan.taps.items() if key not in absent}
    return replace(plan, taps=taps, absent=absent), kept


def given_states(
    path: str, model: Mapping[str, Any], content: str, positions: Sequence[str], ids: Sequence[str]
) -> Stored:
    """The given states, when they are whole and of this model, these answers and these positions.

    Args:
        path: where they are.
        model: identity of the run's model.
        content: content key of the run's token ids and places, as for `states_of`.
        positions: names of the token positions, in order.
        ids: of the run's examples, in order.

    Raises:
        BadFileError: none are there.
        StatesError: they are of something else, or a file is not what the manifest says.
    """
    try:
        stored = states_of(path, model, content, positions)
    except StatesError as error:
        raise StatesError(f"{error}{_reason(path, ids)}") from None
    for name in sorted({Path(file).name for file in stored.reader.files}):
        if checksum(stored.folder / name) not in stored.shards.get(name, ()):
            raise StatesError(
                f"{stored.folder / name} is not what its manifest says: it was changed or damaged. "
                "Import the states again."
            )
    return stored


def _reason(path: str, ids: Sequence[str]) -> str:
    """Which examples differ, where that can be seen; begins with a space."""
    stored = open_states(path)
    n = len(stored.reader.present)
    if n != len(ids):
        return (
            f" They are of {n:,} answers, this run is on {len(ids):,}; --limit would leave some "
            "out."
        )
    try:
        theirs = stored.examples()["id"].tolist()
    except (OSError, ValueError, UsageError):
        return ""
    k = next((k for k, (a, b) in enumerate(zip(theirs, ids, strict=True)) if a != b), None)
    return "" if k is None else f" Row {k} is of {theirs[k]!r} there and of {ids[k]!r} here."


def source_facts(stored: Stored, place: str) -> dict[str, Any]:
    """Where the states came from, for the record.

    Args:
        stored: the given states.
        place: their folder, as the record names it.
    """
    return {
        "folder": place,
        "key": stored.key,
        "convention": stored.inputs.get("imported"),
        "compared": stored.inputs.get("compared"),
        "dtype": stored.dtype,
        "model": {
            k: stored.model.get(k) for k in ("name", "revision", "dtype", "attention", "device")
        },
    }
