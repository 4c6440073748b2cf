"""Models that think before they answer: where their thinking begins and ends, by token ids alone.

Chat-template families mark thinking with delimiters. Each family is one row here; its delimiters
become id sequences of the tokenizer at hand and are searched for in prompt + generated ids. What is
not there is absent, never guessed:

- the template may put the opening delimiter into the prompt (DeepSeek-R1), or leave it to the model
  (Qwen3);
- it may inject an empty pair, or a closing delimiter alone, to switch thinking off (Qwen3,
  DeepSeek-V3.1);
- a model may write a closing delimiter without an opening one (R1 distillations): then thinking
  began with its first token;
- an answer cut off while thinking has no closing delimiter, and so no final answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from probebench.tasks.exact.spans import token_spans, tokens_of
from probebench.types import Span, Thinking, TokenizedAnswer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TAIL = 2
"""Tokens, of blank lines, that a template may write after or between the delimiters it puts into
the prompt."""


@dataclass(frozen=True, slots=True)
class Delimiters:
    """How one family of chat templates marks thinking, as text."""

    family: str
    open: str
    close: str
    final: str = ""
    """What stands between thinking and the final answer; thinking ends at the last closing
    delimiter before it."""


FAMILIES = (
    # Qwen3, DeepSeek-R1 and V3.1, QwQ, Phi-4-reasoning, GLM, MiniMax
    Delimiters("think", "<think>", "</think>"),
    Delimiters(
        "harmony", "<|channel|>analysis<|message|>", "<|end|>", "<|channel|>final<|message|>"
    ),  # GPT-OSS
    Delimiters("channel", "<|channel>thought\n", "<channel|>"),  # Gemma 4
    Delimiters("magistral", "[THINK]", "[/THINK]"),
    Delimiters("command", "<|START_THINKING|>", "<|END_THINKING|>"),
    Delimiters("seed", "<seed:think>", "</seed:think>"),
    Delimiters("thought", "<thought>", "</thought>"),  # EXAONE Deep
    Delimiters("kimi", "◁think▷", "◁/think▷"),
)


@dataclass(frozen=True, slots=True)
class ThinkingIds:
    """A family's delimiters in one tokenizer."""

    family: str
    open: tuple[int, ...]
    close: tuple[int, ...]
    final: tuple[int, ...]
    open_text: str
    close_text: str
    final_text: str
    in_template: bool
    """Does the chat template speak of thinking, or the model write channels? A tokenizer may have
    the delimiters of a family whose model does not think."""


def thinking_ids(tokenizer: PreTrainedTokenizerBase) -> ThinkingIds | None:
    """The delimiters of the family that a tokenizer belongs to; None for one that marks no
    thinking.

    A tokenizer belongs to a family when both delimiters begin with one of its added tokens, or one
    that means nothing else stands in its chat template.
    """
    template, added = str(tokenizer.chat_template or ""), tokenizer.get_added_vocab()
    for row in FAMILIES:
        first_added = [
            next((a for a in added if text.startswith(a)), None) for text in (row.open, row.close)
        ]
        # the end of a harmony message is also that of a turn in Phi's templates
        named = row.open in template or (row.close in template and not row.final)
        if all(first_added) or named:
            begin, end, final = (
                tuple(tokenizer.encode(t, add_special_tokens=False))
                for t in (row.open, row.close, row.final)
            )
            texts = row.open, row.close, row.final
            return ThinkingIds(row.family, begin, end, final, *texts, named or bool(row.final))
    return None


def find_thinking(ids: Sequence[int], n_prompt: int, marks: ThinkingIds) -> Thinking | None:
    """Where thinking stands in prompt + answer; None when no delimiter says that there is any.

    Args:
        ids: prompt and generated ids.
        n_prompt: how many of them are the prompt.
        marks: delimiters of the tokenizer.
    """
    opened = [i for i in occurrences(ids, marks.open) if i + len(marks.open) <= n_prompt]
    closed = [i for i in occurrences(ids, marks.close) if i + len(marks.close) <= n_prompt]
    generated = [i for i in occurrences(ids, marks.open) if i >= n_prompt]
    ends = [i for i in occurrences(ids, marks.close) if i >= n_prompt]
    again = bool(generated) and generated[0] - n_prompt <= TAIL
    if _is_closed(n_prompt, closed, marks) and not again:
        return _switched_off(closed[-1], opened, len(ids), n_prompt, marks)
    begun = bool(opened) and (not closed or opened[-1] > closed[-1])
    first: int | None = opened[-1] + len(marks.open) if begun else None
    answer = _final_answer(ids, n_prompt, marks)
    if marks.final:
        ends = [i for i in ends if answer is not None and i < answer][-1:]
    end = ends[0] if ends else None
    if (
        generated
        and (end is None or generated[0] < end)
        and (first is None or generated[0] - n_prompt <= TAIL)
    ):
        first = generated[0] + len(marks.open)
    if first is None and end is None:  # no thoughts; a final channel may still be marked
        return (
            None
            if answer is None or answer >= len(ids)
            else Thinking(first=None, last=None, end=None, final=answer)
        )
    if first is None:
        first = n_prompt  # a closing delimiter alone: all before it was thinking
    if end is None:
        return Thinking(first=first if first < len(ids) else None, last=None, end=None, final=None)
    after = answer if marks.final else end + len(marks.close)
    return Thinking(
        first=first if first < end else None,
        last=end - 1 if first < end else None,
        end=end + len(marks.close) - 1,
        final=after if after is not None and after < len(ids) else None,
    )


def _is_closed(n_prompt: int, closed: Sequence[int], marks: ThinkingIds) -> bool:
    """Does a prompt end with a closing delimiter?"""
    return bool(closed) and not marks.final and n_prompt - (closed[-1] + len(marks.close)) <= TAIL


def _switched_off(
    close: int, opened: Sequence[int], n_total: int, n_prompt: int, marks: ThinkingIds
) -> Thinking | None:
    """A template that closed thinking in the prompt; None when a whole earlier turn did."""
    before = [i for i in opened if i < close]
    if before and close - (before[-1] + len(marks.open)) > TAIL:
        return None
    return Thinking(
        first=None,
        last=None,
        end=close + len(marks.close) - 1,
        final=n_prompt if n_prompt < n_total else None,
    )


def _final_answer(ids: Sequence[int], n_prompt: int, marks: ThinkingIds) -> int | None:
    """First token after what announces the final answer, in families that announce it."""
    found = [i for i in occurrences(ids, marks.final) if i >= n_prompt] if marks.final else []
    return found[0] + len(marks.final) if found else None


def occurrences(ids: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Where `wanted` begins in `ids`."""
    n, target = len(wanted), tuple(wanted)
    return [
        i
        for i in range(len(ids) - n + 1)
        if ids[i] == target[0] and tuple(ids[i : i + n]) == target
    ]


def reply_start(
    tokenizer: PreTrainedTokenizerBase,
    marks: ThinkingIds | None,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    text: str,
) -> int:
    """Character of an answer's text where its final answer begins: 0 without thinking, its end when
    thinking was cut off.

    Delimiters of several tokens may be joined with what stands beside them, and are in no ids then:
    their text is looked for.
    """
    found = find_thinking((*prompt_ids, *answer_ids), len(prompt_ids), marks) if marks else None
    if found is None:
        return 0 if marks is None or len(marks.close) < 2 else _behind(text, marks)
    if found.final is None:
        return len(text)
    at = found.final - len(prompt_ids)
    return token_spans(tokenizer, answer_ids)[at].start if at else 0


def _behind(text: str, marks: ThinkingIds) -> int:
    """Character behind the closing delimiter in a text; its end where only an opening one is."""
    if (at := text.find(marks.close_text)) >= 0:
        return at + len(marks.close_text)
    return len(text) if text.lstrip().startswith(marks.open_text) else 0


def place_answer(
    tokenizer: PreTrainedTokenizerBase,
    marks: ThinkingIds | None,
    ids: tuple[Sequence[int], Sequence[int]],
    *,
    stopped: bool,
    exact: Span | None,
) -> TokenizedAnswer:
    """Where things stand in one sequence.

    Args:
        tokenizer: the model's.
        marks: its delimiters of thinking.
        ids: prompt and answer.
        stopped: whether the last id is a stop token.
        exact: the exact answer, in characters of the answer's text.
    """
    n, total = len(ids[0]), len(ids[0]) + len(ids[1])
    found = tokens_of(exact, token_spans(tokenizer, ids[1])) if exact else None
    place = (found[0] + n, found[1] + n) if found else None
    thinking = find_thinking((*ids[0], *ids[1]), n, marks) if marks else None
    return TokenizedAnswer(n, total, place, None, total - 1 if stopped else None, thinking)


def close_thinking(prompt: str, marks: ThinkingIds) -> str:
    """A rendered prompt behind which the answer follows at once: thinking that the template has
    opened is closed, and where it leaves the opening to the model, what stands there is an empty
    thought or the mark of the final answer."""
    ended = prompt.rstrip()
    if ended.endswith(marks.open_text.rstrip()):
        return f"{ended}\n{marks.close_text}\n\n"
    if not marks.in_template or ended.endswith((marks.close_text, marks.final_text or "\0")):
        return prompt
    return prompt + (marks.final_text or f"{marks.open_text}\n\n{marks.close_text}\n\n")
