"""Does an answer mention an accepted alias, and mean it?

A mention is a place where the alias's words stand. It counts when it is not denied, not part of a refusal, not half of
another name, no list of several options, and, where the question itself holds the alias, when the answer chooses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from probebench.judging.matching import (
    WHERE,
    Form,
    careful_places,
    forms,
    is_part,
    items,
    literally,
    names_a_place,
    needs_care,
    places,
    side_by_side,
)
from probebench.judging.options import chosen_first, rivals
from probebench.judging.refusals import in_refusal, is_negated, refuses
from probebench.judging.wording import SAYING, Wording, read, tidy, variants, words
from probebench.types import Example


class Aliases:
    """The accepted aliases of one example."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.asked = read(example.question)

    def accept(self, answer: str) -> bool:
        """Is an alias mentioned and meant, or a distinctive part of one all that is said?"""
        said = read(tidy(answer))
        if self._mentioned(said, self.plain) or self._mentioned(said, self.shorter) or self._lists_all(said):
            return True
        for name in ("cut", "umlauts"):
            if self._mentioned_as(name, said):
                return True
        if refuses(said.text):
            return False
        return any(is_part(said.forms, form.words, self.asked.forms) for form in (*self.plain, *self.shorter))

    @cached_property
    def references(self) -> list[str]:
        """The aliases with odd characters made plain."""
        return [tidy(reference).strip() for reference in self.example.references]

    @cached_property
    def plain(self) -> list[Form]:
        """The aliases as they are."""
        return [Form(reference, tuple(words(reference))) for reference in self.references]

    @cached_property
    def shorter(self) -> list[Form]:
        """What people write for them."""
        known = [list(form.words) for form in self.plain]
        return [form for reference in self.references for form in forms(reference, known)]

    def _mentioned_as(self, name: str, said: Wording) -> bool:
        """The same for another way to write answer and aliases, where it changes either."""
        text = variants(said.text).get(name)
        others = [(r, variants(r).get(name)) for r in self.references]
        if text is None and not any(other for _, other in others):
            return False
        changed = [Form(raw, tuple(words(other or raw))) for raw, other in others if text is not None or other]
        return self._mentioned(read(text) if text is not None else said, changed)

    def _mentioned(self, said: Wording, aliases: Sequence[Form]) -> bool:
        return any(self._counts(said, form) for form in aliases)

    def _lists_all(self, said: Wording) -> bool:
        """Are all the items of an alias that is a list of three or more mentioned, in any order and place?"""
        lists = (items(reference) for reference in self.references)
        return any(len(found) > 2 and all(self._counts(said, Form(i, tuple(words(i)))) for i in found) for found in lists)

    def _counts(self, said: Wording, form: Form) -> bool:
        """Does one of the places where the form stands count?"""
        if not form.words:
            return False
        if needs_care(form.raw, form.words):
            return any(not is_negated(said.text, *place) for place in careful_places(said.text, form.raw))
        return any(self._meant(said, form, start, end) for start, end in places(said, form.words))

    def _meant(self, said: Wording, form: Form, start: int, end: int) -> bool:
        first, last = said.words[start].start, said.words[end - 1].end
        if is_negated(said.text, first, last) or in_refusal(said.text, first):
            return False
        if form.place and not (self.place_wanted or names_a_place(said.text, first, last)):
            return False
        if form.dropped and any(len(w) == 1 and w != form.dropped[:1] for w in said.forms[start:end] if w not in form.words):
            return False
        return self._asked_for(said, start, end, form)

    @cached_property
    def place_wanted(self) -> bool:
        """Does the question ask for a place?"""
        return bool(WHERE.search(self.example.question))

    def _asked_for(self, said: Wording, start: int, end: int, form: Form) -> bool:
        """Is the mention the answer's own: the alias is not in the question, or the answer chooses it there?"""
        here = next(side_by_side(self.asked, form.words), None)
        if here is None or (len(form.words) == 1 and not literally(form.raw, self.example.question)):
            return True
        others = rivals(self.asked, *here)
        if others is not None:
            return chosen_first(said, start, set(others) - set(form.words))
        return self._is_answer(said, start, end, here)

    def _is_answer(self, said: Wording, start: int, end: int, here: tuple[int, int]) -> bool:
        """Is this mention of something in the question more than an echo of the question?"""
        asked = self.asked.forms
        new = [w for w in said.forms[:start] if w not in asked and w not in SAYING]
        if new:
            return False
        before = next((w for w in reversed(said.forms[:start]) if w not in SAYING), None)
        after = next((w for w in said.forms[end:] if w not in SAYING), None)
        asked_before = next((w for w in reversed(asked[: here[0]]) if w not in SAYING), None)
        asked_after = next((w for w in asked[here[1] :] if w not in SAYING), None)
        return not (before is not None and before == asked_before) and not (after is not None and after == asked_after)
