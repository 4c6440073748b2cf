"""What an answer does not say: refusals, negations, the question repeated, and what runs on after
the answer."""

from __future__ import annotations

import re


def either(*alternatives: str) -> str:
    """A group of alternatives of a pattern."""
    return f"(?:{'|'.join(alternatives)})"


CANNOT = (
    "do not|don't|don’t|can not|cannot|can't|can’t|could not|couldn't|couldn’t",
    "know|answer|say|recall|remember|tell|provide|determine|find|help (?:you|with)|identify",
    "confirm|verify|think of|discuss|assist|comply|fulfil",
)
REFUSAL = re.compile(
    r"\b"
    + either(
        rf"i {either(CANNOT[0])} (?:\w+ )?{either(*CANNOT[1:])}",
        r"i(?:'m| am|’m) (?:\w+ )?(?:not (?:sure|certain|aware|able|familiar)|unable|unsure|sorry"
        r"|afraid)",
        r"i (?:do not|don't|don’t) have (?:any |enough |access|information|knowledge|personal|data"
        r"|the )",
        r"(?:i have )?no (?:idea|clue)\b",
        r"i have no (?:information|knowledge|record)",
        r"i (?:was|am) unable",
        r"(?:is|are|was) (?:not known(?! (?:until|for|as|by|to have)\b)|unknown to me)",
        r"(?:there is|there's|i found|i see) no (?:\w+ )?(?:information|record|data|mention)",
        r"no information (?:about|on|is)",
        r"(?:can ?not|can't|can’t) be (?:determined|answered|known)",
        r"beats me",
        r"who knows",
        r"(?:it is|it's|it’s|that is|that's) (?:not clear|unclear"
        r"|impossible to (?:say|tell|know))",
    )
    + r"\b",
    re.IGNORECASE,
)
TURN = re.compile(
    r"\b(?:but|however|though|although|perhaps|maybe|probably|if i had to|my (?:best )?guess"
    r"|i (?:think|believe|would))\b",
    re.I,
)
"""Words after which a refusal may still give an answer."""
POLITE = re.compile(
    r"\b"
    + either(
        "feel free",
        "please",
        "let me know",
        "if you (?:have|need|want|would|could|can)",
        "my (?:primary )?(?:function|purpose|knowledge)",
        "i(?:'m| am|’m) (?:an? ai|here to)",
        "as an ai",
        "is there (?:any|some)thing",
        "i apologi[sz]e",
        "thank you",
    )
    + r"\b",
    re.IGNORECASE,
)
"""What stands around a refusal and is no answer either."""
ASKER = r"q(?:uestion)?(?: ?\d+)?|human|user|student|input|problem(?: \d+)?"
NEXT_QUESTION = re.compile(
    r"\n\s*"
    + either(
        rf"\**(?:{ASKER})\**\s*[:.)]\s",
        r"#+ ?(?:question|instruction|input|problem)\b",
        r"(?:user|human)\s*\n",
        r"(?:question|exercise|problem) \d+\s*[:.)\n]",
    )
    + r"|<\|(?:im_start|im_end|eot_id|endoftext|user|end)\|>"
    + r"|<(?:start|end)_of_turn>|\[/?INST\]",
    re.IGNORECASE,
)
"""Where a base model goes on with a question of its own, or a chat model with a turn of the user's,
its marks written or not."""
DENYING = (
    "not",
    "never",
    "neither",
    "nor",
    "(?:is|was|are|were|ai|did|does)n['’]t",
    "(?:can['’]t|cannot|couldn['’]t) be",
    "no longer",
    "rather than",
    "instead of",
    "other than",
    "apart from",
    "except(?: for)?",
    "excluding",
    "unlike",
    "hardly",
    "as opposed to",
    "anything but",
    "would(?:n['’]t| not) say",
    r"(?:false|untrue|not true|wrong|incorrect|myth|misconception)"
    r" (?:that|to (?:say|think|claim|believe)(?: that)?)"
    r"(?: (?:it|this|that|he|she|they)(?:['’](?:s|re))?)?",
    r"(?:(?:don['’]t|do not|doesn['’]t|does not) (?:think|believe)|\bi (?:highly )?doubt)"
    r"(?: that)?(?: (?:it|this|that|he|she|they)(?:['’](?:s|re))?)?",
)
LITTLE = (
    "in|at|by|the|a|an|from|of|to|it|he|she|they|was|is|be|actually|called|named|born|really",
    "necessarily|mr|dr|sir|on|for|with|one|as|city|town|state|country|name|about|nearly|almost",
    "over|roughly|approximately|around|or|early|late|mid",
)
NAME_PART = r"(?-i:[A-Z]\.|[A-Z0-9][\w'’-]*(?:[.,]\d+)*)"
BETWEEN = r"[ \"'“‘($€£¥#]"
NEGATED = re.compile(
    rf"(?:\b{either(*DENYING)}|\bnon-)"
    r"(?: \w+(?= (?:in|at|by|on|from|to|for)\b))?"  # "not held in"
    rf"(?:{BETWEEN}+(?:{either(*LITTLE)}\b|{NAME_PART})?){{0,8}}{BETWEEN}*$",
    re.IGNORECASE,
)
"""Before a mention: a word that denies it, then only little words and the beginning of the name."""
NEGATOR = re.compile(
    r"\b(?:not|never|neither|nor|doubt|false|untrue|wrong|incorrect|myth|misconception|hardly)\b|n['’]t\b|\b(?:than|of|but|except|unlike)\b",
    re.IGNORECASE,
)
"""Quick look: without one of these nothing is denied."""
NOT_ONLY = re.compile(
    r"\bnon?e? other than\b[^.]*$|\bnot (?:only|just|merely|to mention|unlike)\b[^.]*$"
    r"|\bwhy not\b[^.]*$"
    r"|\b(?:no|not|n['’]t|cannot|never|nothing|nobody|nowhere)\b[^.,;]*"
    r"\b(?:other than|anything but|except(?: for)?|apart from)\s+(?:\w+\s+){0,3}$",
    re.IGNORECASE,
)
BE, ONLY = "(?:is|was|are|were)", r"\b(?! only| just| merely)"
DENIED = re.compile(
    rf"^[\"'”’)]*,? (?:{BE} (?:(?:definitely|certainly|actually|clearly) )?"
    rf"(?:not{ONLY}|wrong|incorrect|false|ruled out"
    r"|an? (?:(?:common|popular|widespread) )?(?:misconception|myth|mistake|wrong|incorrect))"
    rf"|{BE}n['’]t{ONLY}"
    r"|(?:would|will|must|may|might|could) be (?:wrong|incorrect|false)"
    r"|(?:would|will|wo|might|may)(?: not|n['’]t) be (?:right|correct|true|it\b"
    r"|the (?:right |correct )?(?:answer|one)\b)"
    r"|(?:can ?not|can['’]t|could ?not|couldn['’]t) be"
    r" (?:right|correct|true|it\b|the (?:right |correct )?answer|determined|answered|known))",
    re.IGNORECASE,
)
"""After a mention: what denies it."""
SENTENCE_END = re.compile(
    r"(?<!\b[A-Z])(?<!\b[DM]r)(?<!\bSt)[.!?]['\"”’)]*\s+(?=[A-Z\"'“‘(0-9])|\n+"
)


REACH = 1000
"""Characters before a mention in which its sentence is looked for."""


def refuses(text: str) -> bool:
    """Does the text say that it does not know or will not answer?"""
    return bool(REFUSAL.search(text))


def after_turn(text: str) -> str:
    """What a text that refuses says all the same, after "but" or "I think"; nothing where it leaves
    it at that."""
    refused = list(REFUSAL.finditer(text))
    turn = TURN.search(text, refused[-1].end()) if refused else None
    return text[turn.end() :] if turn else ""


def only_refuses(sentence: str) -> bool:
    """Does a sentence refuse and leave it at that, or only surround a refusal?"""
    refused = list(REFUSAL.finditer(sentence))
    return (
        not TURN.search(sentence, refused[-1].end()) if refused else bool(POLITE.search(sentence))
    )


def in_refusal(text: str, start: int) -> bool:
    """Does a mention at this place stand in a sentence that refuses, with no "but" or "I think"
    between?"""
    near = max(0, start - REACH)
    begin = max((m.end() for m in SENTENCE_END.finditer(text, near, start)), default=near)
    refused = list(REFUSAL.finditer(text, begin, start))
    return bool(refused) and not TURN.search(text, refused[-1].end(), start)


def is_negated(text: str, start: int, end: int) -> bool:
    """Is the mention denied: "not Paris", "rather than in Paris", "Paris is wrong"?"""
    before = text[max(0, start - 60) : start]
    if NEGATED.search(before) and not NOT_ONLY.search(before):
        return True
    return bool(DENIED.search(text[end : end + 40]))


def up_to_next_question(text: str) -> str:
    """The text up to where a next question begins, as base models go on."""
    match = NEXT_QUESTION.search(text)
    return text[: match.start()] if match and text[: match.start()].strip() else text


def without_echo(question: str, text: str) -> str:
    """The text with the whole question, where it is repeated word for word, replaced by spaces of
    the same length."""
    asked = re.findall(r"\w+", question)
    if len(asked) < 3 or len(text) < len(question) // 2:
        return text
    echo = re.compile(r"\W+".join(map(re.escape, asked)) + r"\W*?(?=\w|$|\s)", re.IGNORECASE)
    return echo.sub(lambda m: " " * len(m.group()), text)
