"""Prompts: from a task's template and an example to the token ids that a model sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from probebench.errors import UsageError
from probebench.tasks.chats import render_chat
from probebench.tasks.examples import PLAIN
from probebench.tasks.schema import Prompt, Task
from probebench.tasks.thinking import close_thinking, thinking_ids
from probebench.types import Example

PLAIN_TEXT = "a"

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def render_prompt(
    task: Task,
    example: Example,
    tokenizer: PreTrainedTokenizerBase,
    *,
    thinking: bool | None = None,
) -> str:
    """The prompt as the model sees it: through its chat template when it has one, else the base
    prompt.

    Args:
        task: whose prompt.
        example: the question.
        tokenizer: the model's.
        thinking: asks the template to switch thinking on or off; None leaves it to the template.
    """
    text = fill_prompt(task, example, chat=bool(tokenizer.chat_template))
    return chat(tokenizer, text, thinking=thinking) if tokenizer.chat_template else text


def fill_prompt(task: Task, example: Example, *, chat: bool) -> str:
    """The task's prompt with the example's columns; the question alone when a plain row lacks a
    column.

    Raises:
        UsageError: a column that neither the row nor the example provides.
    """
    template = task.prompt.chat if chat else task.prompt.base
    try:
        return template.format_map({**example.fields, "question": example.question})
    except (ValueError, IndexError, AttributeError) as error:
        raise UsageError(
            f"{task.path}: the prompt {template!r} is not a template of {{columns}}: {error}."
        ) from None
    except KeyError as error:
        if PLAIN in example.fields:
            return (Prompt().chat if chat else Prompt().base).format(question=example.question)
        raise UsageError(
            f"{task.path}: the prompt uses {{{error.args[0]}}}, which no column provides; columns "
            f"here: {', '.join(map(str, example.fields))}."
        ) from None


def chat(tokenizer: PreTrainedTokenizerBase, text: str, *, thinking: bool | None = None) -> str:
    """One user message in the model's chat template, generation prompt included."""
    return render_chat(tokenizer, [("user", text)], thinking=thinking)


def short_question(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """A prompt of our own that wants a few words: in the chat template if there is one, without
    thinking about it."""
    return short_questions(tokenizer, [("user", text)]) if tokenizer.chat_template else text


def short_questions(tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]]) -> str:
    """Turns of a chat that end in such a prompt, for a model with a chat template."""
    prompt, marks = render_chat(tokenizer, turns, thinking=False), thinking_ids(tokenizer)
    return close_thinking(prompt, marks) if marks else prompt


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Token ids of a rendered prompt, open at its end.

    A chat template writes its special tokens itself, so none are added to it.
    """
    return (
        tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        if tokenizer.chat_template
        else _open(tokenizer, text)
    )


def _open(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Ids of a text with the special tokens that a tokenizer puts before it, and without those that
    it puts after it.

    Tokenizers made for training append an end token, after which a model begins something new.
    """
    ids = tuple(tokenizer(text)["input_ids"])
    if not ids or ids[-1] not in tokenizer.all_special_ids:
        return ids
    # counted on a text that has no special tokens of its own
    whole, own = (
        tokenizer(PLAIN_TEXT)["input_ids"],
        tokenizer(PLAIN_TEXT, add_special_tokens=False)["input_ids"],
    )
    starts = [i for i in range(len(whole) - len(own) + 1) if whole[i : i + len(own)] == own]
    return ids[: len(ids) - (len(whole) - starts[0] - len(own))] if starts else ids


def encode_statement(
    tokenizer: PreTrainedTokenizerBase, text: str, *, causal: bool
) -> tuple[tuple[int, ...], int]:
    """Ids of a statement with the tokenizer's own special tokens, and the index of its last token
    that is none of them.

    Args:
        tokenizer: the model's.
        text: the statement.
        causal: whether the model goes on from its end; encoders keep the tokens that they were
            trained to see there.
    """
    ids = _open(tokenizer, text) if causal else tuple(tokenizer(text)["input_ids"])
    special = set(tokenizer.all_special_ids)
    return ids, max(
        (i for i, token in enumerate(ids) if token not in special), default=len(ids) - 1
    )


def tokens_with(tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]) -> frozenset[int]:
    """Tokens whose own text contains one of the stop texts."""
    if not stops:
        return frozenset()
    texts = tokenizer.batch_decode(
        [[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False
    )
    return frozenset(i for i, text in enumerate(texts) if any(s in text for s in stops))
