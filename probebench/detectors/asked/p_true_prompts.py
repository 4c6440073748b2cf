"""p(True): the model is shown a question with a proposed answer and asked whether it is true
(Kadavath et al. 2022).

Both orders of the two options are asked, and their probabilities averaged, so that a liking for one
letter cancels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from probebench.errors import UsageError
from probebench.tasks.prompts import fill_prompt, short_question
from probebench.tasks.schema import Task
from probebench.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPTIONS = (("True", "False"), ("False", "True"))
"""What letters A and B stand for, in each of the two orders."""
LETTERS = ("A", "B")
ANSWERED = """Question: {question}
Proposed answer: {answer}
Reply with A or B only.
A: {a}
B: {b}
Letter:"""
STATED = """Statement: {question}
Reply with A or B only.
A: {a}
B: {b}
Letter:"""


def p_true_prompts(
    tokenizer: PreTrainedTokenizerBase, asked: str, answer: str | None
) -> tuple[str, str]:
    """What the model sees, once for each order of the options: in its chat template if it has one,
    without thinking.

    Args:
        tokenizer: the model's.
        asked: the question, or a statement.
        answer: the proposed answer, on one line; None to ask about a statement.
    """
    template = STATED if answer is None else ANSWERED
    line = " ".join((answer or "").split()) or "(nothing)"
    filled = (template.format(question=asked.strip(), answer=line, a=a, b=b) for a, b in OPTIONS)
    first, second = (short_question(tokenizer, text) for text in filled)
    return first, second


def asked_text(task: Task | None, example: Example) -> str:
    """All that a task asks about an example, in plain words: with its passage and its options,
    where the prompt gives them; the question alone of an answer made elsewhere whose row lacks
    them."""
    if task is None or task.kind == "statements":
        return example.question
    try:
        return fill_prompt(task, example, chat=True)
    except UsageError:  # every row that the task itself asks has filled its prompt before
        return example.question


def letter_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokens that spell A, and those that spell B, white space and brackets around the letter not
    counted.

    Tokenizers write a letter differently after a space, a newline or a bracket, and which of them a
    model prefers depends on what its prompt ends in; the probabilities of all are added up.
    """
    texts = tokenizer.batch_decode(
        [[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False
    )
    bare = [text.strip().strip("()").strip() for text in texts]
    a, b = (tuple(i for i, text in enumerate(bare) if text == letter) for letter in LETTERS)
    return a, b
