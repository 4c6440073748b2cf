"""Chats: turns of a conversation as a model's chat template writes them, with nothing lost and the
same every day.

A template is code that came with a model. It may want text as a list of parts, know no system role,
print today's date, raise, or leave out what it was given without a word. What it made is looked at
before any model sees it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from probebench.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turn = tuple[str, str]
"""Role (`system`, `user` or `assistant`) and text."""
DAY = datetime(2024, 7, 26)
DATE = DAY.strftime("%d %b %Y")
"""For chat templates that write a date: the same one every day, so that the same command gives the
same prompts."""
CLOCK = "strftime_now"
"""What templates call to ask for the time."""
FORMATS = tuple(
    f"%{flag}{letter}"
    for letter in "aAbBcdHIjmMpSUwWxXyYGuV"
    for flag in ("-", "")
    if not flag or letter in "dHIjmMSUW"
)
SHOWN = 60
"""Characters of a text that a message shows."""


def render_chat(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], *, thinking: bool | None = None
) -> str:
    """Turns in the model's chat template, generation prompt included.

    Where the template refuses or drops a text, it is given again as a list of parts; where it does
    so with a system turn, that goes to the head of the first user turn.

    Args:
        tokenizer: the model's, with a chat template.
        turns: the conversation; the last turn is the user's.
        thinking: asks the template to switch thinking on or off; None leaves it to the template.

    Raises:
        UsageError: the template raises, or what it makes lacks one of the texts.
    """
    # the names under which Qwen3 and DeepSeek-V3.1 templates ask; others ignore them
    switch = {} if thinking is None else {"enable_thinking": thinking, "thinking": thinking}
    reasons: list[str] = []
    for messages in _ways(turns):
        try:
            rendered = apply_template(tokenizer, messages, add_generation_prompt=True, **switch)
        except UsageError as error:
            reasons.append(str(error))
            continue
        lost = turns[-1] if _prints_parts(rendered, messages) else missing_turn(rendered, turns)
        if lost is None:
            return rendered
        role, text = lost
        reasons.append(
            f"The chat template of {_name(tokenizer)} leaves the {role}'s text out of the prompt, "
            "as text and as a list of parts: "
            f"{text.strip()[:SHOWN]!r} does not stand in {rendered[-SHOWN:]!r}. {_FIX}"
        )
    raise UsageError(reasons[0])


_FIX = (
    "Mend chat_template.jinja in a copy of the model's folder, or take it out there to ask base "
    "prompts."
)


def apply_template(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[dict[str, Any]], **options: Any
) -> str:
    """What a tokenizer's chat template makes of messages, on the same day always.

    Raises:
        UsageError: the template raises.
    """
    if CLOCK in str(tokenizer.chat_template):
        options["chat_template"] = _standing_clock() + tokenizer.get_chat_template()
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages), tokenize=False, date_string=DATE, **options
            )
        )
    except Exception as error:  # whatever a program of somebody else may raise
        roles = ", ".join(str(m["role"]) for m in messages)
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise UsageError(
            f"The chat template of {_name(tokenizer)} raises for the turns {roles}: "
            f"{reason or type(error).__name__}. {_FIX}"
        ) from None


def _standing_clock() -> str:
    """A macro in front of a template that takes the place of its clock.

    The newline that ends it belongs to the block, so that the template begins at the start of a
    line, as it does alone.
    """
    written = "".join(f" | replace({form!r}, {DAY.strftime(form)!r})" for form in FORMATS)
    return "{%- macro " + CLOCK + "(format) -%}{{ format" + written + " }}{%- endmacro %}\n"


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return repr(str(tokenizer.name_or_path or type(tokenizer).__name__))


def _ways(turns: Sequence[Turn]) -> Iterator[list[dict[str, Any]]]:
    """Ways to hand over a conversation, the usual one first."""
    for some in (turns, _without_system(turns)):
        if some:
            yield [{"role": role, "content": text} for role, text in some]
            yield [
                {"role": role, "content": [{"type": "text", "text": text}]} for role, text in some
            ]


def _prints_parts(rendered: str, messages: Sequence[dict[str, Any]]) -> bool:
    """Did a template that wants text write a list of parts as Python does?"""
    parts = [m["content"] for m in messages if isinstance(m["content"], list)]
    return any(repr(part)[: len("[{'type': 'text'")] in rendered for part in parts)


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    """The system's text at the head of the first user turn; nothing where there is none to move."""
    system = [text for role, text in turns if role == "system"]
    rest = [turn for turn in turns if turn[0] != "system"]
    if not system or not rest or rest[0][0] != "user":
        return []
    return [("user", "\n\n".join([*system, rest[0][1]])), *rest[1:]]


def missing_turn(rendered: str, turns: Sequence[Turn]) -> Turn | None:
    """The first turn whose text does not stand in a prompt, in its place; None where all do.

    White space does not count, since templates trim; nor does the escaping of JSON. A system's text
    may stand anywhere.
    """
    flat = _flat(rendered)
    at = 0
    for role, text in turns:
        forms = [
            _flat(text),
            _flat(json.dumps(text, ensure_ascii=False)[1:-1]),
            _flat(json.dumps(text)[1:-1]),
        ]
        found = [(flat.find(form, 0 if role == "system" else at), form) for form in forms]
        if all(place < 0 for place, _ in found):
            return role, text
        if role != "system":
            at = min(place + len(form) for place, form in found if place >= 0)
    return None


def _flat(text: str) -> str:
    return " ".join(text.split())


def turn_note(tokenizer: PreTrainedTokenizerBase, stops: Collection[int]) -> tuple[str, ...]:
    """A note for the record where a model is taught to end its turn by a token that ends no
    answer."""
    end = end_of_turn(tokenizer)
    if end is None or end in stops:
        return ()
    return (
        f"The chat template ends an answer with {tokenizer.convert_ids_to_tokens(end)!r} (id "
        f"{end}), which is no stop token of the model, so that its answers may run on into turns "
        "of their own. Name it as eos_token_id in generation_config.json.",
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token that a chat template writes after an answer; None where it writes none, or
    there is no template."""
    if not tokenizer.chat_template:
        return None
    said = "Here it is."
    turns = [("user", "Where is it?"), ("assistant", said)]
    for messages in _ways(turns):
        try:
            rendered = apply_template(tokenizer, messages)
        except UsageError:  # of a template that wants other turns nothing is known
            continue
        if said in rendered and not _prints_parts(rendered, messages):
            after = tokenizer(
                rendered[rendered.rindex(said) + len(said) :], add_special_tokens=False
            )["input_ids"]
            special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
            return next((int(i) for i in after if i in special), None)
    return None
