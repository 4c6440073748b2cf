"""Asking a language model which words of an answer decide it: the prompt, and all that it may
reply.

It is shown the question and the answer and copies the deciding words; what it writes can only be a
run of the answer's words, or NONE for what may be a refusal. Orgad et al. 2025 (arXiv:2410.02707)
let a model of 7B copy freely; smaller ones then copy an example.
"""

from __future__ import annotations

from collections.abc import Sequence

from probebench.tasks.exact.phrases import cut_words, sentences
from probebench.tasks.judging.refusals import refuses
from probebench.types import Span

NOT_FOUND = "NONE"
PHRASE_WORDS = 12
"""Words of the longest phrase that may be copied."""
INSTRUCTION = (
    "Copy the words of the reply that answer the question, exactly as they stand in it, and "
    f"nothing else. If the reply does not answer the question, write {NOT_FOUND}."
)
EXAMPLES = (
    (
        "Who built the old mill at Tarrenhof?",
        "The old mill at Tarrenhof was built by Odo Brenk and his two sons.",
        "Odo Brenk",
    ),
    (
        "When did the Ulmet line open?",
        "It opened to passengers on 3 May 1883, and closed again after nine years.",
        "3 May 1883",
    ),
    (
        "What is the capital of the isle of Wenn?",
        "I'm afraid I do not know what its capital is.",
        NOT_FOUND,
    ),
    (
        "Which tool does a glimmer cutter use?",
        "A glimmer cutter uses a bent chisel, which is kept wet.",
        "bent chisel",
    ),
)
"""Made-up questions of several domains, so that no reply can be mistaken for an answer to another
question."""


def asked(question: str, answer: str) -> str:
    """One question and its answer, as the model is shown them."""
    return f"Question: {question}\nReply: {' '.join(answer.split())}"


def turns(question: str, answer: str) -> list[tuple[str, str]]:
    """The request as turns of a chat, (role, text) each: examples first, the user last."""
    result: list[tuple[str, str]] = []
    for i, (q, a, words) in enumerate(EXAMPLES):
        shown = asked(q, a)
        result += [("user", f"{INSTRUCTION}\n\n{shown}" if i == 0 else shown), ("assistant", words)]
    return [*result, ("user", asked(question, answer))]


def plain_prompt(question: str, answer: str) -> str:
    """The same for a model without a chat template."""
    shown = [f"{asked(q, a)}\nWords: {words}" for q, a, words in EXAMPLES]
    return "\n\n".join([INSTRUCTION, *shown, f"{asked(question, answer)}\nWords:"])


def phrases(question: str, answer: str) -> list[Span]:
    """All that may be copied: runs of words inside one sentence, each from the start of a word to
    the end of one.

    They begin and end with a word that says something, and hold a word that the question does not;
    where an answer has no such phrase, any run of its words will do.
    """
    asked = {w.key for w in cut_words(question)}
    parts = sentences(cut_words(answer))
    runs = [
        (s[i:j])
        for s in parts
        for i in range(len(s))
        for j in range(i + 1, min(i + PHRASE_WORDS, len(s)) + 1)
    ]
    telling = [
        r
        for r in runs
        if r[0].says and r[-1].says and any(w.says and w.key not in asked for w in r)
    ]
    return [Span(r[0].start, r[-1].end) for r in telling or runs]


def copies(answer: str, spans: Sequence[Span]) -> list[str]:
    """What the model may write, in the order of `spans`; line breaks as spaces, as it was shown
    them.

    NONE comes after them where words of refusal stand in the answer. Elsewhere it is not offered:
    small models wrote it for wrong answers more than for right ones, so that the mask of
    `exact_answer_*` carried the label (DECISIONS.md).
    """
    written = [" ".join(answer[s.start : s.end].split()) for s in spans]
    return [*written, NOT_FOUND] if refuses(answer) else written
