"""The columns of a file of answers made elsewhere, and a form to fill in: what `docs/answers.md`
explains."""

from __future__ import annotations

import json

COLUMNS = {
    "id": "identity, unique in the file; default: a hash of prompt and answer",
    "prompt_ids": "token ids that the model saw",
    "prompt": "the text that the model saw, special tokens written out",
    "question": "a bare question, put through the model's own chat template",
    "answer_ids": "generated token ids, stop token included",
    "answer": (
        "generated text; a stop token is added unless it is written out or the answer was cut off"
    ),
    "stopped": "1 or true: the model ended the answer; 0 or false: it was cut off",
    "finish_reason": "the same in a server's words: stop or length",
    "label": "1 or true: correct; 0 or false: wrong",
    "references": "accepted answers, for the task's judge, instead of a label",
    "wrong_answers": "the other options, for the judges of choice tasks",
    "exact_answer": (
        "the words of the answer that decide it, as they stand in it; empty: there are none"
    ),
    "group": "what must not cross splits; default: the question",
    "split": "train, validation or test, for all rows or for none",
}
"""Name -> what it holds. Of `prompt_ids`, `prompt`, `question` the first one counts that is there,
and of the two answers."""
FORM = (
    {
        "id": "1",
        "question": "Who wrote Hamlet?",
        "answer": "It was written by William Shakespeare.",
        "finish_reason": "stop",
        "references": ["William Shakespeare", "Shakespeare"],
        "exact_answer": "William Shakespeare",
        "group": "hamlet",
    },
    {
        "id": "2",
        "question": "In which year did the first modern Olympic Games take place?",
        "answer": "They took place in 1900.",
        "finish_reason": "stop",
        "references": ["1896"],
        "exact_answer": "1900",
        "group": "olympic games",
    },
    {
        "id": "3",
        "question": "Which planet is the largest?",
        "answer": "That is a question which people have asked for a long",
        "finish_reason": "length",
        "references": ["Jupiter"],
        "exact_answer": "",
        "group": "planets",
    },
)
"""Rows of the form."""


def template() -> str:
    """The form as jsonl."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in FORM)
