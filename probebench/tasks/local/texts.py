"""Texts of a row as people nest them: alone, in a list of one, as a message or a whole chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from probebench.errors import BadFileError, UsageError
from probebench.tasks.chats import Turn, render_chat
from probebench.tasks.local.rows import check_there, text_of, written

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROLES = ("system", "developer", "user", "assistant", "tool")
SHOWN = 60
"""Characters of a value that a message shows."""


def answer_in(value: Any, name: str, where: str) -> str:
    """A text of the model as it is, outer blanks and JSON that it wrote included; a list of one and
    a message of the assistant are unwrapped.

    Raises:
        BadFileError: several texts, a message of somebody else, or what is no text.
    """
    printed = isinstance(value, str) and "'role'" in value  # by Python, as a csv has it
    found = _messages(value) if printed or not isinstance(value, str) else None
    if found is None:
        return _text(value, name, where)
    if len(found) != 1 or found[0]["role"] != "assistant":
        raise BadFileError(
            f"{where}: {name} holds messages of {', '.join(str(m['role']) for m in found)}. Give "
            "the text of the assistant alone, and what stood before it as 'prompt'."
        )
    return _content(found[0], name, where)


def asked_in(value: Any, name: str, where: str) -> str | tuple[Turn, ...]:
    """What a model was asked: a text as it is, or the turns of a chat.

    Raises:
        BadFileError: several texts, a role that is none, a chat that does not end with the user, or
            what is no text.
    """
    found = _messages(value)
    if found is None:
        return _text(value, name, where)
    turns = tuple((str(m["role"]), _content(m, name, where)) for m in found)
    strange = next((role for role, _ in turns if role not in ROLES), None)
    if strange is not None:
        raise BadFileError(
            f"{where}: {name} has a message of {strange!r}; the roles are {', '.join(ROLES)}. Give "
            "the text that the model saw as 'prompt'."
        )
    if turns[-1][0] != "user":
        raise BadFileError(
            f"{where}: {name} ends with a message of the {turns[-1][0]}, and the model answers the "
            "user. Give what the model said as 'answer'."
        )
    return turns


def question_in(value: Any, name: str, where: str) -> str:
    """The question alone: of a chat, what the user said last."""
    asked = asked_in(value, name, where)
    return asked if isinstance(asked, str) else asked[-1][1]


def rendered(
    turns: Sequence[Turn], tokenizer: PreTrainedTokenizerBase, name: str, where: str
) -> str:
    """A chat as the model's own template writes it.

    Raises:
        BadFileError: the model has no template, or it raises.
    """
    if not tokenizer.chat_template:
        raise BadFileError(
            f"{where}: {name} is a list of messages, and this model has no chat template. Give the "
            "text that the model saw as 'prompt'."
        )
    try:
        return render_chat(tokenizer, turns)
    except UsageError as error:
        raise BadFileError(f"{where}: {name}: {error}") from None


def _text(value: Any, name: str, where: str) -> str:
    """A text, alone or in a list of one."""
    check_there(value, name, where)
    if isinstance(value, list | tuple):
        if len(value) > 1 and not any(isinstance(item, list | Mapping) for item in value):
            raise BadFileError(
                f"{where}: {name} holds {len(value)} texts: {str(value)[:SHOWN]}. Give each a row "
                "of its own."
            )
        if len(value) == 1 and not isinstance(value[0], list | tuple | Mapping):
            value = value[0]
    if isinstance(value, list | tuple | Mapping):
        raise BadFileError(
            f"{where}: {name} must be text, or messages of role and content; got "
            f"{str(value)[:SHOWN]}."
        )
    return _filled(
        text_of(value) if value is not None and not isinstance(value, str) else value, name, where
    )


def _filled(text: str | None, name: str, where: str) -> str:
    if not text:
        raise BadFileError(f"{where}: {name} is empty. Leave the row out, or say what it holds.")
    return text


def _messages(value: Any) -> list[Mapping[str, Any]] | None:
    """Messages of a chat, also where a csv file holds them as text; None for anything else."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and "role" in value:
        value = written(value)
    found = [value] if isinstance(value, Mapping) else value
    if not isinstance(found, list) or not found:
        return None
    chat = all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in found)
    return found if chat else None


def _content(message: Mapping[str, Any], name: str, where: str) -> str:
    """The text of a message, which may be a list of parts."""
    content = message["content"]
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadFileError(
            f"{where}: {name} has a message of the {message['role']} that is not text alone: "
            f"{str(content)[:SHOWN]}."
        )
    return _filled("".join(str(text) for text in texts), name, where)
