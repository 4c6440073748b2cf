"""Marked answers as tokens: what a model sees, and which tokens each span is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.errors import UsageError
from probebench.tasks.exact.spans import decode, token_spans, tokens_of
from probebench.tasks.labelled.rendered import encode_turns
from probebench.tasks.prompts import encode_prompt, fill_prompt, short_question
from probebench.tasks.schema import Task
from probebench.types import Example, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class SpanTokens:
    """One labelled span."""

    first: int
    last: int
    """First and last token, from the answer's first."""
    label: int
    """1 = right, 0 = wrong."""


@dataclass(frozen=True, slots=True)
class MarkedTokens:
    """One marked answer as a model sees it."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    pieces: tuple[Span, ...]
    """(answer token,) characters of the answer that each stands for."""
    spans: tuple[SpanTokens, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """Prompt and answer."""
        return self.prompt_ids + self.answer_ids

    @property
    def labels(self) -> list[int | None]:
        """(answer token,) 1 = right, 0 = wrong, None in no span. A token of a wrong span is wrong,
        whatever else it is part of."""
        found: list[int | None] = [None] * len(self.answer_ids)
        for span in sorted(self.spans, key=lambda s: -s.label):
            found[span.first : span.last + 1] = [span.label] * (span.last + 1 - span.first)
        return found


def tokenize_marked(
    task: Task, example: Example, tokenizer: PreTrainedTokenizerBase
) -> MarkedTokens:
    """The prompt of a question and its answer, and the tokens of every span.

    Raises:
        UsageError: the tokenizer does not give the answer's text back, or the prompt's template
            cannot be filled.
    """
    assert example.marked is not None  # of every example of such a task
    text = example.marked.text
    if example.turns:
        rendered = encode_turns(tokenizer, example.turns)
        prompt, ids = rendered.ids[: rendered.begin], rendered.ids[rendered.begin :]
    else:
        chat = bool(tokenizer.chat_template)
        prompt = encode_prompt(
            tokenizer, short_question(tokenizer, fill_prompt(task, example, chat=chat))
        )
        said = text if chat else f" {text}"
        ids = tuple(tokenizer(said, add_special_tokens=False)["input_ids"])
    whole = decode(tokenizer, ids)
    before = len(whole) - len(text)
    if before < 0 or whole[before:] != text:
        raise UsageError(
            f"The tokenizer of {str(tokenizer.name_or_path)!r} does not give the answer of example "
            f"{example.id!r} back as it was written, so that no place in it is sure: "
            f"{whole[:40]!r} for {text[:40]!r}."
        )
    pieces = [
        Span(max(p.start - before, 0), max(p.end - before, 0)) for p in token_spans(tokenizer, ids)
    ]
    spans = tuple(
        SpanTokens(*found, s.label)
        for s in example.marked.spans
        if (found := tokens_of(Span(s.start, s.end), pieces)) is not None
    )
    return MarkedTokens(prompt, ids, tuple(pieces), spans)
