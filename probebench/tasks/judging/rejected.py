"""Is a mention no answer: denied, part of a refusal or of a polite phrase, taken back ("Oslo. Wait,
no, it is Bergen.") or named only to be rejected ("Many think it is Oslo, but it is Bergen.")?"""

from __future__ import annotations

import re

from probebench.tasks.judging.reading.wording import words
from probebench.tasks.judging.refusals import (
    REFUSAL,
    SENTENCE_END,
    either,
    in_refusal,
    is_negated,
    refuses,
)

REST = r"[^.?!\n]*"
LANGUAGE_MODEL = r"an? (?:(?:ai|artificial intelligence|large|language) ?)+(?:model|assistant)?"
COURTESY = re.compile(
    r"\b"
    + either(
        rf"as {LANGUAGE_MODEL}",
        rf"i(?: am|['’]m) (?:just |only )?{LANGUAGE_MODEL}",
        rf"(?:how|what) (?:can|may|could) i (?:help|assist|do){REST}",
        rf"is there (?:any|some)thing{REST}",
        rf"(?:any|some)thing (?:else )?i can (?:help|assist|do){REST}",
        rf"i(?: am|['’]m) here to (?:help|assist){REST}",
        rf"(?:please )?let me know{REST}",
        rf"feel free to{REST}",
        r"(?:please|(?:could|can) you) (?:provide|give|clarify|specify|rephrase|check|consult|try"
        rf"|ask|share|tell|refer|be more){REST}",
        rf"if you (?:have|need) (?:any|more|further|other|some|help){REST}",
        r"i (?:know|have|found) nothing",
        r"none that i (?:know|am aware)",
        r"(?:it|that|this)(?:['’]s| is) (?-i:unknown|unclear|unspecified)",
    )
    + r"(?!\w)",
    re.IGNORECASE,
)
"""What answers nothing, whatever words it holds."""
OPENING = re.compile(
    r"(?:^|(?<=[.!?])\s)\W*(?:sorry|unfortunately|ok|okay|well|sure|hello|hi|thanks|thank you)\b",
    re.IGNORECASE,
)
"""How a refusal begins."""
CANNOT = re.compile(
    r"\bi (?:do not|don['’]t|can ?not|can['’]t|could not|couldn['’]t)\b", re.IGNORECASE
)
QUOTED = "\"'“”‘’«»`*_"
IT = (
    r"(?:(?:it|that|this|he|she|they|there"
    r"|the (?:right |correct |actual |real |true )?(?:answer|one))"
    r"(?:['’](?:s|re)| is| was| are| were| should be| would be| must be)\s+)"
)
LEAD = r"(?:(?:actually|really|in fact|indeed|now|today|rather|called|known as|the|an?)\s+)"
BIG = r"[\"'“‘*_]*(?-i:[A-Z0-9$€£][\w'’.-]*(?: (?:of |the |de |and )?[A-Z0-9][\w'’-]*){0,4})"
SMALL = r"[a-z][\w'’-]*(?: [a-z][\w'’-]*){0,2}(?=\s*(?:[.!,;]|$))"
OTHER = rf"(?P<it>{IT})?{LEAD}{{0,3}}"
TAKEN_BACK = re.compile(
    r"[\"'”’)\]*_]*\s*(?:[.!?…,;:—–-]+\s*)*\b"
    + either(
        r"(?:oh,? |no,? )?wait\b(?:,? no)?",
        r"no,",
        r"no\b(?= it is| it['’]s| it was)",
        r"actually\b",
        r"correction\b",
        r"scratch that",
        r"(?:i(?: am|['’]m) )?sorry,? (?:i mean|it|no)\w*",
        r"(?:no,? )?i mean[t]?",
        r"or rather",
        r"(?:oops|my (?:mistake|bad|apologies))",
        r"(?:let me|i have to|i must) correct\b[^:.,]*",
        r"on second thoughts?",
        r"i stand corrected",
    )
    + r"[\s,.:;!—–-]*",
    re.IGNORECASE,
)
"""Straight after a mention: the answer corrects itself."""
BELIEVED = (
    r"\b(?:(?:many|most|some|people|they|lots|others|everyone)\b[^.,]{0,25}"
    r"\b(?:think|believe|say|assume|claim|guess|cite)s?"
    r"|(?:often|commonly|widely|popularly|sometimes|usually|frequently|generally|mistakenly"
    r"|wrongly) (?:said|believed|thought|cited|assumed|claimed|considered|named|mentioned|given"
    r"|known|called)"
    r"|(?:it is|it['’]s|it was) (?:said|believed|thought|assumed|claimed))\b"
)
BELIEF = re.compile(BELIEVED + r"[^.]*$", re.IGNORECASE)
BUT = re.compile(
    r"[^.!?\n]{0,40}(?:,? (?:but|yet)\b,?|[,;.!] ?however,?|\. (?:but|actually|in fact),?)"
    rf"\s+{OTHER}",
    re.IGNORECASE,
)
CONCEDED = re.compile(
    r"(?:^|[.!?;,]\s+)\W*(?:although|while|though|even though|despite)\b[^,.]*$", re.I
)
MAIN = re.compile(rf"(?P<clause>[^,.]*),\s+{OTHER}", re.IGNORECASE)
DISTINCT = re.compile(
    BELIEVED + r"|\b(?:best|better|more|well)[- ]?known\b|\bfamous\b|\bpopular\b", re.I
)
ONCE = re.compile(
    r"\b(?:formerly|previously|originally|once|used to be|earlier|in the past)"
    r"(?:,|\s+(?:known as|called|named|in|at|the|an?|it was|was))*\s*[\"'“‘]*$",
    re.IGNORECASE,
)
NOW = re.compile(
    r"[\"'”’]?,?\s*(?:(?:but|and|it is|it['’]s|is|was)\s+){0,3}(?:now|today|currently|nowadays)"
    rf"\s+{OTHER}",
    re.IGNORECASE,
)
PAST = re.compile(
    r"\b(?:former\w*|original\w*|previous\w*|old|once|used to|before|was|were|did|first|early"
    r"|earlier)\b",
    re.IGNORECASE,
)
"""Questions to which what once was is the answer."""


CONFUSED = re.compile(r"\bnot to be (?:confused|mistaken) (?:with|for)(?: the)? $", re.IGNORECASE)
ASKS_THAT = re.compile(r"\b(?:confused?|mistaken|mistake)\b", re.IGNORECASE)


def is_rejected(question: str, text: str, start: int, end: int) -> bool:
    """Is the mention at this place no answer of the text to the question?"""
    return bool(
        is_negated(text, start, end)
        or in_refusal(text, start)
        or is_polite(text, start, end)
        or is_taken_back(text, start, end)
        or is_conceded(text, start, end)
        or (is_past(text, start, end) and not PAST.search(question))
        or (CONFUSED.search(text[max(0, start - 60) : start]) and not ASKS_THAT.search(question))
    )


def is_polite(text: str, start: int, end: int) -> bool:
    """Is the mention made of a refusal's own words or of a polite phrase: "Sorry" in "Sorry, I
    can't help with that"?

    What is all that is said, or stands in quotation marks, is named and not used.
    """
    outside = text[:start] + text[end:]
    quoted = text[:start][-1:] in tuple(QUOTED) and text[end : end + 1] in tuple(QUOTED)
    if quoted or not re.search(r"\w", outside):
        return False
    polite = [m.span() for m in COURTESY.finditer(text)]
    title = len(text[start:end].split()) > 2  # "Let Me Know" begins as such a phrase does
    if any(s[0] < end and start < s[1] and not (title and start <= s[0]) for s in polite):
        return True
    opened = any(m.start() <= start and end <= m.end() for m in OPENING.finditer(text))
    if not refuses(text):
        return opened and bool(CANNOT.search(text))
    refused = [m.span() for m in REFUSAL.finditer(text)]
    names = [s for s in refused if start <= s[0] and s[1] <= end]
    if any(s[0] < end and start < s[1] for s in refused):
        return len(names) < 1 or len(refused) > len(names)
    return opened


def is_taken_back(text: str, start: int, end: int) -> bool:
    """Does the answer correct itself straight after the mention, and name something else?"""
    mark = TAKEN_BACK.match(text, end)
    return bool(mark) and _names_another(text, mark.end() if mark else end, start, end)


def is_conceded(text: str, start: int, end: int) -> bool:
    """Is the mention what others think, or what an answer grants before it names another?"""
    before = text[_sentence_start(text, start) : start]
    if BELIEF.search(before) and (but := BUT.match(text, end)):
        return _names_another(text, but.start("it") if but["it"] else but.end(), start, end)
    if CONCEDED.search(before) and (main := MAIN.match(text, end)):
        said = (main["it"] or "").casefold()
        told = "answer" in said or DISTINCT.search(main["clause"])
        return bool(told and said) and _names_another(text, main.start("it"), start, end)
    return False


def is_past(text: str, start: int, end: int) -> bool:
    """Is the mention what once was, beside what is now: "Formerly Oslo, now Bergen"?"""
    now = NOW.match(text, end)
    return bool(now and ONCE.search(text[:start])) and _names_another(
        text, now.end() if now else end, start, end
    )


ANOTHER = {
    big: re.compile(
        rf"{OTHER}(?P<item>{BIG if big else f'(?:{BIG}|(?(it){SMALL}|(?!)))'})", re.IGNORECASE
    )
    for big in (True, False)
}
FOLLOWED = re.compile(
    r"[\"'”’*_]*\s*(?:[.!?,;:()\n]|$|(?:is|was) (?:the |an? )?(?:right|correct|real|actual|answer)"
    r"|(?:in|of|from|by|and|instead|at)\b)",
    re.IGNORECASE,
)


def _names_another(text: str, at: int, start: int, end: int) -> bool:
    """Does what stands at a place name something that shares no word with the mention?"""
    found = ANOTHER[not text[start:end].islower()].match(text, at)
    if found is None or not (found["it"] or FOLLOWED.match(text, found.end())):
        return False
    item, mentioned = words(found["item"]), words(text[start:end])
    return bool(item) and not set(item) & set(mentioned)


def _sentence_start(text: str, at: int) -> int:
    return max((m.end() for m in SENTENCE_END.finditer(text, 0, at)), default=0)
