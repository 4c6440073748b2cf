"""Does an answer mention an accepted alias, and mean it?

A mention is a place where the alias's words stand. It counts when it is not denied, not part of a
refusal, not half of another name, no list of several options, and, where the question itself holds
the alias, when the answer chooses it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from probebench.tasks.judging.bounds import is_other_number, other_money
from probebench.tasks.judging.matching import (
    WHERE,
    Form,
    forms,
    is_hyphenated,
    is_part,
    items,
    literally,
    loses_letter,
    places,
    side_by_side,
    stands_alone,
)
from probebench.tasks.judging.names import (
    careful_places,
    is_other_name,
    is_owner,
    names_a_place,
    needs_care,
)
from probebench.tasks.judging.options import ASKED_BACK, chosen_first, joined_by_or, rivals
from probebench.tasks.judging.reading.dates import dates, whole_date
from probebench.tasks.judging.reading.kinds import DISTINGUISHING
from probebench.tasks.judging.reading.wording import (
    SAYING,
    VARIANTS,
    Wording,
    in_capitals,
    read,
    tidy,
    variants,
    words,
)
from probebench.tasks.judging.refusals import NEGATOR, is_negated, refuses
from probebench.tasks.judging.rejected import is_rejected
from probebench.tasks.judging.several import asks_for_several, bare_list, left_open
from probebench.types import Example

FEW = 10
"""Aliases up to which an answer is read a second time with its plural endings."""
INNER_S = re.compile(r"[a-z]s[\s'’.-]+[a-z]", re.IGNORECASE)
FAR = 60
"""Words (little ones aside) after which a mention stands in a ramble and is not the answer any
more."""


class Aliases:
    """The accepted aliases of one example."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.asked = read(example.question)

    def accept(self, answer: str) -> bool:
        """Is an alias mentioned and meant, or a distinctive part of one all that is said?"""
        said = read(tidy(answer))
        if self._lists_many(said.text):
            return False
        if self._mentioned(said, self.plain) or self._mentioned(said, self.shorter):
            return True
        if self._lists_all(said) or any(self._mentioned_as(name, said) for name in VARIANTS):
            return True
        if self._mentioned_whole(said):
            return True
        return not refuses(said.text) and (self._dated(said.text) or self._part_said(said))

    def _part_said(self, said: Wording) -> bool:
        """Is all that is said a part of an alias that does for the whole, and not the "Dakota" of
        South Dakota?"""
        kept = {w for w in said.forms if w not in self.asked.forms and w not in SAYING}
        compass = {
            form.words[-1] for form in self.plain if form.words and form.words[0] in DISTINGUISHING
        }
        if kept and kept <= compass:
            return False
        known = [form for form in (*self.plain, *self.shorter) if not loses_letter(kept, form)]
        return any(
            is_part(said.forms, form.words, self.asked.forms)
            for form in known
            if not (is_hyphenated(form.raw) or is_owner(form.raw, kept, self.asked.forms))
            and not other_money(form.raw, said.text, 0, len(said.text))
        )

    def _dated(self, answer: str) -> bool:
        """Is an accepted date said in another spelling, or its month and year?"""
        wanted = [date for reference in self.references if (date := whole_date(reference))]
        told = (d for d in dates(answer) if not self._rejected(answer, d.start, d.end))
        return bool(wanted) and any(said.is_within(date) for said in told for date in wanted)

    @cached_property
    def references(self) -> list[str]:
        """The aliases with odd characters made plain."""
        return in_capitals([tidy(reference).strip() for reference in self.example.references])

    @cached_property
    def plain(self) -> list[Form]:
        """The aliases as they are."""
        return [Form(reference, tuple(words(reference))) for reference in self.references]

    @cached_property
    def shorter(self) -> list[Form]:
        """What people write for them."""
        known = [list(form.words) for form in self.plain]
        return [form for reference in self.references for form in forms(reference, known)]

    @cached_property
    def _variants(self) -> list[dict[str, str]]:
        return [variants(reference) for reference in self.references]

    def _mentioned_as(self, name: str, said: Wording) -> bool:
        """The same for another way to write answer and aliases, where it changes either."""
        text = variants(said.text).get(name)
        others = [(r, v.get(name)) for r, v in zip(self.references, self._variants, strict=True)]
        if text is None and not any(other for _, other in others):
            return False
        changed = [
            Form(raw, tuple(words(other or raw)))
            for raw, other in others
            if text is not None or other
        ]
        return self._mentioned(read(text) if text is not None else said, changed)

    def _mentioned_whole(self, said: Wording) -> bool:
        """The same with plural endings, for aliases that may be written together after one ("Tomas
        Eli", "Tomaseli")."""
        few = len(self.references) <= FEW
        names = [
            r for r in self.references if INNER_S.search(r) or (few and INNER_S.search(said.text))
        ]
        forms_ = [Form(name, tuple(words(name, stems=False))) for name in names]
        return bool(forms_) and self._mentioned(read(said.text, stems=False), forms_)

    def _mentioned(self, said: Wording, aliases: Sequence[Form]) -> bool:
        return any(self._counts(said, form) for form in aliases)

    def _lists_all(self, said: Wording) -> bool:
        """Are all the items of an alias that is a list of three or more mentioned, in any order and
        place?"""
        lists = (items(reference) for reference in self.references)
        return any(
            len(found) > 2 and all(self._counts(said, Form(i, tuple(words(i)))) for i in found)
            for found in lists
        )

    def _counts(self, said: Wording, form: Form) -> bool:
        """Does one of the places where the form stands count?"""
        if not form.words:
            return stands_alone(form.raw, said.text)
        if needs_care(form.raw, form.words, self.example.question):
            return any(
                self._meant_with_care(said, form, *place)
                for place in careful_places(said.text, form.raw, self.references)
            )
        return any(self._meant(said, form, start, end) for start, end in places(said, form.words))

    def _meant_with_care(self, said: Wording, form: Form, first: int, last: int) -> bool:
        if self._rejected(said.text, first, last):
            return False
        if form.place and not (self.place_wanted or names_a_place(said.text, first, last)):
            return False
        asked = next(careful_places(self.example.question, form.raw), None)
        here, there = asked and self.asked.at(*asked), said.at(first, last)
        return not (here and there) or self._chosen(said, *there, form, here)

    def _meant(self, said: Wording, form: Form, start: int, end: int) -> bool:
        if start >= FAR:
            return False
        first, last = said.words[start].start, said.words[end - 1].end
        if self._rejected(said.text, first, last):
            return False
        if any(begin <= first and last <= end for begin, end in self._denied(said)):
            return False
        if is_other_name(said.text, first, last, form.words) or self._undecided(
            said.text, first, last
        ):
            return False
        if ASKED_BACK.match(said.text, last) or is_other_number(
            self.example.question, said.text, first, last, form.raw, form.words
        ):
            return False
        if form.place and not (self.place_wanted or names_a_place(said.text, first, last)):
            return False
        if form.dropped and any(
            len(w) == 1 and w != form.dropped[:1]
            for w in said.forms[start:end]
            if w not in form.words
        ):
            return False
        return self._asked_for(said, start, end, form)

    def _rejected(self, text: str, first: int, last: int) -> bool:
        return is_rejected(self.example.question, text, first, last)

    def _lists_many(self, answer: str) -> bool:
        """Is the answer nothing but a list, where one thing was asked for and not all that is
        listed is accepted?"""
        if asks_for_several(self.example.question):
            return False
        listed = [read(item) for item in bare_list(answer)]
        accepted = [any(any(places(item, form.words)) for form in self.plain) for item in listed]
        return sum(accepted) == 1 < len(accepted) and not any(
            len(items(r)) > 1 for r in self.references
        )

    def _denied(self, said: Wording) -> list[tuple[int, int]]:
        """Characters of aliases that are denied: "football" is no answer in "not association
        football"."""
        if not NEGATOR.search(said.text):
            return []
        found = (
            range_
            for form in self.plain
            if len(form.words) > 1
            for range_ in side_by_side(said, form.words)
        )
        spans = [(said.words[start].start, said.words[end - 1].end) for start, end in found]
        return [span for span in spans if is_negated(said.text, *span)]

    def _undecided(self, text: str, first: int, last: int) -> bool:
        """Does the answer leave open which of several things it is, and not all of them are
        accepted?"""
        if " or " in text[first:last] or "/" in text[first:last]:
            return False
        listed = [read(item) for item in left_open(text, first, last, self.asked.forms)]
        return any(
            not any(any(places(item, form.words)) for form in (*self.plain, *self.shorter))
            for item in listed
        )

    @cached_property
    def place_wanted(self) -> bool:
        """Does the question ask for a place?"""
        return bool(WHERE.search(self.example.question))

    def _asked_for(self, said: Wording, start: int, end: int, form: Form) -> bool:
        """Is the mention the answer's own: the alias is not in the question, or the answer chooses
        it there?"""
        here = next(side_by_side(self.asked, form.words), None)
        if here is None or (
            len(form.words) == 1 and not literally(form.raw, self.example.question)
        ):
            return True
        return self._chosen(said, start, end, form, here)

    def _chosen(
        self, said: Wording, start: int, end: int, form: Form, here: tuple[int, int]
    ) -> bool:
        """Does the answer choose what stands in the question at `here`, and not only repeat it?"""
        others = self.offered or rivals(self.asked, *here)
        if others is not None:
            rest = set(others) - set(form.words)
            return chosen_first(said, start, rest) and not joined_by_or(said, end, rest)
        return self._is_answer(said, start, end, here)

    def _is_answer(self, said: Wording, start: int, end: int, here: tuple[int, int]) -> bool:
        """Is this mention of something in the question more than an echo of the question?

        The same neighbour on the same side is an echo. Where other aliases would do, nothing new
        may stand beside it ("the apteryx is the emu", "the Georgia Peach is a company").
        """
        asked = self.asked.forms
        if _same_neighbour(said.forms[:start][::-1], asked[: here[0]][::-1]) or _same_neighbour(
            said.forms[end:], asked[here[1] :]
        ):
            return False
        if self.all_asked:
            return True
        return all(w in asked or w in SAYING for w in (*said.forms[:start], *said.forms[end:]))

    @cached_property
    def offered(self) -> list[str]:
        """First words of the task's other options that stand in the question."""
        options = [words(option) for option in self.example.wrong]
        return [o[0] for o in options if o and any(side_by_side(self.asked, o))]

    @cached_property
    def all_asked(self) -> bool:
        """Do all aliases stand in the question?"""
        return all(next(side_by_side(self.asked, form.words), None) for form in self.plain)


def _same_neighbour(said: Sequence[str], asked: Sequence[str]) -> bool:
    """Is the first word that says something the same?"""
    here, there = (next((w for w in words_ if w not in SAYING), None) for words_ in (said, asked))
    return here is not None and here == there
