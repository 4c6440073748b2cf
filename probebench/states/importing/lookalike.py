"""What states that are not an answer's look like: another layer's, another request's, those of a
part of the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probebench.errors import StatesError
from probebench.states.exchange.find import ranges
from probebench.states.importing.recomputed import OUTLIER, OwnPass, Subject, distances, spread
from probebench.types import Float32s, layer_name

OTHERS = 32
"""Answers of the same length that an answer's states are held against."""
CHUNKS = (
    "Switch chunked prefill and prefix caching off (vLLM: enable_chunked_prefill=False, "
    "enable_prefix_caching=False), and run one pass over the whole sequence."
)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Says what one answer's states are.

    Args are those of `recomputed`; `convention` is what was said of the layer axis.
    """

    own: OwnPass
    subject: Subject
    convention: str

    def __call__(self, i: int, tolerance: float, dtype: str) -> None:
        """Raise with what the states of answer `i` look like.

        Raises:
            StatesError: always.
        """
        ids = self.subject.sequences[i]
        tokens = spread(len(ids))
        theirs = self.subject.read(i)[list(self.subject.at)][:, tokens].astype(np.float32)
        ours = self.own(ids)[:, tokens]
        said = (
            self._layers(theirs, ours, tolerance)
            or self._other_answer(i, theirs, tokens, tolerance)
            or self._tokens(theirs, ours, ids, tokens, tolerance)
            or self._factor(theirs, ours, tolerance)
            or self._far(theirs, ours, tolerance, dtype)
        )
        name = self.own.loaded.handle.identity.name
        raise StatesError(
            f"States of {self.subject.names[i]!r} are not those that {name!r} gives here: {said}"
        )

    def _claimed(self, ours: Float32s) -> Float32s:
        """Our rows of the layers that the file is said to hold."""
        return ours[[layer + 1 for layer in self.subject.layers]]

    def _layers(self, theirs: Float32s, ours: Float32s, tolerance: float) -> str:
        """Vectors of other layers, mostly one further or one before."""
        table = np.array([[np.median(distances(t, row)) for row in ours] for t in theirs])
        found, claimed = table.argmin(axis=1), np.array(self.subject.layers) + 1
        moved = (found != claimed) & (table.min(axis=1) <= tolerance)
        wrong = moved | (table[np.arange(len(claimed)), claimed] > tolerance)
        if not moved.any() or 2 * moved.sum() <= wrong.sum():
            return ""
        norm, first = len(ours) - 1, int(np.flatnonzero(moved)[0])
        of = (
            "what comes after the final norm"
            if found[first] == norm
            else f"our layer {layer_name(int(found[first]) - 1)}"
        )
        text = f"layer {layer_name(self.subject.layers[first])} of the file is {of}"
        text += f", and {int(moved.sum()) - 1} more are others too" if moved.sum() > 1 else ""
        steps = set((found - claimed)[moved & (found != norm)].tolist())
        if len(steps) == 1 and abs(step := steps.pop()) <= 3:
            text += f": shifted by {('one', 'two', 'three')[abs(step) - 1]}"
        elif moved.sum() > 1:
            text += ": in another order"
        if norm in found:
            return (
                f"{text}. These entries begin after block 0, and the last one is after the final "
                "norm: leave that out, and "
                f"name the others with --convention blocks, or with --layers."
                if self.convention == "hf" and (found - claimed == 1).all()
                else f"{text}. Leave out what is after the final norm, and name the others with "
                "--layers."
            )
        names = ranges([int(row) - 1 for row in found]).replace(" ", "")
        return (
            f"{text}. Name what the entries are: --convention vllm, blocks or tl with --layers "
            f"{names}."
        )

    def _other_answer(
        self, i: int, theirs: Float32s, tokens: NDArray[np.int64], tolerance: float
    ) -> str:
        """Vectors of another answer of the same length."""
        ids = self.subject.sequences[i]
        same = [k for k, s in enumerate(self.subject.sequences) if len(s) == len(ids) and s != ids][
            :OTHERS
        ]
        for k in same:
            ours = self._claimed(self.own(self.subject.sequences[k])[:, tokens])
            if _near(theirs, ours, tolerance).all():
                return (
                    f"they are those of {self.subject.names[k]!r}. Requests were exchanged: "
                    "results do not always come back in "
                    f"the order they were sent in, so match them by their token ids."
                )
        return ""

    def _tokens(
        self,
        theirs: Float32s,
        ours: Float32s,
        ids: Sequence[int],
        tokens: NDArray[np.int64],
        tolerance: float,
    ) -> str:
        """Some tokens right and others not, or vectors of a pass that began later."""
        good = _near(theirs, self._claimed(ours), tolerance)
        n, right = len(good), int(good.sum())
        if right == n:
            return ""
        edge = int(np.argmax(good)) if right else n
        if right and good[edge:].all():  # a wrong beginning
            return (
                f"tokens 0 to {tokens[edge] - 1} are something else, and those from {tokens[edge]} "
                f"on are right: only the last chunk of the sequence is there. {CHUNKS}"
            )
        if text := self._late_start(theirs, ids, tokens, tolerance):
            return text
        edge = int(np.argmin(good))
        if right and good[:edge].all() and not good[edge:].any():
            return (
                f"tokens 0 to {tokens[edge - 1]} are right, and those from {tokens[edge]} on are "
                "something else: they are of "
                f"another answer to the same prompt, or of other tokens than the ids say."
            )
        if len(tokens) == len(ids) and n > 2:
            mine = self._claimed(ours)
            for where, a, b in (
                ("before", theirs[:, 1:], mine[:, :-1]),
                ("after", theirs[:, :-1], mine[:, 1:]),
            ):
                if _near(a, b, tolerance).all():
                    return (
                        f"each token has the vectors of the one {where} it. The ids and the "
                        "states are shifted by one token."
                    )
        if np.median(distances(theirs, self._claimed(ours))) <= tolerance:
            return (
                f"{n - right} of {n} tokens that were looked at are something else, the first at "
                f"{tokens[edge]}."
            )
        return ""

    def _late_start(
        self, theirs: Float32s, ids: Sequence[int], tokens: NDArray[np.int64], tolerance: float
    ) -> str:
        """Vectors of a pass that began at a later token: that token is what it is when it stands
        alone."""
        for j in range(1, len(tokens)):
            start = int(tokens[j])
            alone = self._claimed(self.own(ids[start : start + 1]))
            if not _near(theirs[:, j : j + 1], alone, tolerance).all() or len(tokens) - j < 2:
                continue
            later = self._claimed(self.own(ids[start:])[:, tokens[j:] - start])
            if _near(theirs[:, j:], later, tolerance).mean() > 0.9:
                return (
                    f"from token {start} on they are those of a pass that did not see the {start} "
                    f"tokens before: a truncated prefix, or a chunk computed alone. {CHUNKS}"
                )
        return ""

    def _factor(self, theirs: Float32s, ours: Float32s, tolerance: float) -> str:
        """Ours times a number."""
        for vectors, mine, layer in zip(
            theirs, self._claimed(ours), self.subject.layers, strict=True
        ):
            if np.median(distances(vectors, mine)) <= tolerance:
                continue
            factor = float(
                np.median((vectors * mine).sum(axis=-1) / np.maximum((mine**2).sum(axis=-1), 1e-30))
            )
            if factor and np.median(distances(vectors, np.float32(factor) * mine)) <= tolerance:
                return (
                    f"layer {layer_name(layer)} of the file is ours times {factor:.4g}. Take the "
                    "stream as the model passes it on."
                )
            return ""
        return ""

    def _far(self, theirs: Float32s, ours: Float32s, tolerance: float, dtype: str) -> str:
        found = np.array(
            [np.median(distances(t, o)) for t, o in zip(theirs, self._claimed(ours), strict=True)]
        )
        worst = int(found.argmax())
        return (
            f"they differ by {found[worst]:.0%} at layer {layer_name(self.subject.layers[worst])}, "
            f"where {tolerance:.0%} is allowed for {dtype}, and look like no other layer or "
            "answer. Other weights? Name the model and revision that made them; where the "
            "difference is meant, give --no-check, and the record says that nothing was compared."
        )


def _near(theirs: Float32s, ours: Float32s, tolerance: float) -> NDArray[np.bool_]:
    """(token,) is each token's vector the same, in the median over the layers?"""
    return np.asarray(np.median(distances(theirs, ours), axis=0) <= OUTLIER * tolerance)
