"""Yes and no: which of the two an answer says first, where "no" is an answer and not part of "no
idea"."""

from __future__ import annotations

import re
from collections.abc import Sequence

POLAR = {
    "yes": True,
    "yeah": True,
    "yep": True,
    "yup": True,
    "true": True,
    "correct": True,
    "no": False,
    "nope": False,
    "nah": False,
    "false": False,
    "incorrect": False,
}
WORDS = re.compile(
    r"(?<![\w-])(yes|yeah|yep|yup|true|correct|nope|nah|no|false|incorrect|neither)(?![\w-])",
    re.IGNORECASE,
)
DETERMINES = re.compile(
    r"\s+(?!(?:it|they|he|she|that|this|there|these|those|only|not|both|neither|the|a|an|is|are|was|were|did|does|do|because|but|"
    r"unfortunately|actually|i|we|you|his|her|their|its|and|although|though|since|as|according)\b)\w",
    re.IGNORECASE,
)
"""After "no" as in "no idea": a noun, where the particle is followed by a pronoun, a verb or a
stop."""
USUALLY = re.compile(r"^(?:typically|usually|generally|mostly|probably),?\s+", re.IGNORECASE)
EITHER = re.compile(
    r"\b(?:yes\s*(?:/|,?\s*\b(?:or|and)\b)\s*no|no\s*(?:/|,?\s*\b(?:or|and)\b)\s*yes)\b",
    re.IGNORECASE,
)
"""Both, which says nothing."""
SURELY = r"(?:absolutely|definitely|certainly|of course|indeed)"
OPEN = (
    r"(?!\s+(?:only|just|merely|sure|certain|clear|known|possible|enough|necessarily|specified|stated|mentioned|available"
    r"|provided|given|applicable)\b)"
)
SUBJECT = r"(?:(?:it|he|she|they|both|these|those|we|you)(?: of (?:them|these|those|us|you))?)"
VERB = r"(?:is|are|was|were|do|does|did|has|have|had|can|could|would|will)"
NUMBERED = re.compile(r"\.\s?\d{1,3}\b(?=\W*(?:$|[.,;:!?]|(?:is|was|are|were)\b))")
"""After "No" as in "No. 5"."""
REGRET = r"(?:(?:unfortunately|sadly|alas|regrettably|i(?:['’]m| am) afraid),?)"
WITHOUT = {
    True: re.compile(
        rf"\W*(?:{SURELY}\b(?!,?\s+not\b)|i (?:do )?(?:think|believe|guess|suppose) so\b"
        rf"|{SUBJECT} (?:both |indeed |all )?{VERB}\s*(?:[.!,;]|$)|(?:y|sure|affirmative)\W*$)",
        re.IGNORECASE,
    ),
    False: re.compile(
        r"\W*(?:i (?:do not|don['’]t) (?:really )?(?:think|believe) so\b"
        rf"|(?:n|negative|never|hardly|{REGRET}\s+not)\W*$"
        rf"|both (?:of them )?(?:are|were|do|did) not\b|(?:{SURELY},?\s+)?not\b"
        r"|(?:it|he|she|they|both|this|that)\s+"
        rf"(?:(?:is|are|was|were|do|does|did|has|have|had|can|could)(?:\s+not|n['’]t)|cannot)\b){OPEN}",
        re.IGNORECASE,
    ),
}
"""How an answer begins that says neither word: "Of course", "They are.", "I don't think so"."""
STARTS = re.compile(r"(?:^|[.!?:;,\n\"“(*-])\s*\W*$")


def is_determiner(text: str, start: int, end: int) -> bool:
    """Is this "no" part of "no idea" and the like, or of "No. 5"?"""
    if text[start:end].casefold() != "no":
        return False
    if text[start] == "N" and NUMBERED.match(text, end):
        return True
    return bool(DETERMINES.match(text, end)) or not (
        STARTS.search(text[:start]) or not re.match(r"\s*\w", text[end:])
    )


def wanted_polarity(references: Sequence[str]) -> bool | None:
    """True for yes, False for no, None where the references are anything else, or both."""
    said = {
        POLAR.get(USUALLY.sub("", re.sub(r"\([^)]*\)", "", r)).strip(" .!\"'").casefold())
        for r in references
    }
    return said.pop() if len(said) == 1 else None


def polarity_of(text: str) -> bool | None:
    """What the first yes or no of the text says, or else how it begins; None where that says
    neither, or both."""
    text = EITHER.sub(" ", text)
    for match in WORDS.finditer(text):
        word, before, after = match.group().casefold(), text[: match.start()], text[match.end() :]
        if is_determiner(text, *match.span()):
            continue
        if word == "neither":
            return False
        denied = bool(re.search(r"(?:\bnot|n['’]t)\s+(?:\w+\s+)?$", before, re.IGNORECASE))
        if (
            word in ("true", "correct", "false", "incorrect")
            and re.match(r"\s+[a-z]", after)
            and not STARTS.search(before)
        ):
            continue
        return POLAR[word] is not denied
    return next((said for said, pattern in WITHOUT.items() if pattern.match(text)), None)


ASKING = frozenset("is are was were has have had can could will would".split())
PRONOUNS = frozenset("it he she they both these those".split())
NOTS = frozenset("not never".split())


def restated(question: str, text: str) -> bool | None:
    """What an answer says that puts the question as a statement, and nothing else: True for "They
    are both painters", False for "Anna is not a painter"; None for any other text."""
    asked = _plain(question)
    if not asked or asked[0] not in ASKING or NOTS & set(asked):
        return None
    verb, rest = asked[0], asked[1:]
    first = re.split(r"[.!;\n]", text.strip(), maxsplit=1)[0]
    for part in (first, first.partition(",")[0]):
        said = _plain(part)
        own = [w for w in said if w not in NOTS]
        if verb not in own[1:]:
            continue
        own.remove(verb)
        if own == rest or (own[0] in PRONOUNS and _is_predicate(question, rest, own[1:])):
            return len(own) + 1 == len(said)
    return None


def _is_predicate(question: str, asked: Sequence[str], said: Sequence[str]) -> bool:
    """Is this the end of a question, and what stands before it names alone?"""
    at = len(asked) - len(said)
    names = re.findall(r"[^\W_]+", question)[1 : at + 1]
    joined = ("and", "the", "both", "of")
    return (
        bool(said)
        and list(asked[at:]) == list(said)
        and at > 0
        and all(name[0].isupper() or name in joined for name in names)
    )


def _plain(text: str) -> list[str]:
    """The words of a text in small letters, "isn't" as two."""
    return re.findall(r"[^\W_]+", re.sub(r"n['’]t\b", " not", text.casefold()))
