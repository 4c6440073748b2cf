"""Answers made elsewhere, as people dump them, and what the model saw and wrote."""

import dataclasses
import json

import numpy as np
from conftest import byte_level_tokenizer, metaspace_tokenizer

from probebench.tasks.given import read_answers
from probebench.tasks.prompts import chat, encode_prompt

BOS, EOS, PAD = 1, 2, 0
QUESTIONS = (
    "Who wrote the letter?",
    "Where?",
    "In which year was the old poet born, and where?",
    "What is the capital?",
)


REPLIES = (
    "Anna Smith wrote it.",
    "In Paris.",
    "In 1896, near the old river and in the capital of France, near the",
    "It is Paris",
)


def with_special(tokenizer, **special):
    for name, token in special.items():
        setattr(tokenizer, name, token)
    return tokenizer


def with_begin(tokenizer):
    """The begin token before every text, as Llama's tokenizers put it."""
    from tokenizers.processors import TemplateProcessing

    begin = tokenizer.bos_token
    template = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.bos_token_id)]
    )
    tokenizer._tokenizer.post_processor = template
    return tokenizer


TOKENIZERS = {
    "chat": lambda: byte_level_tokenizer(chat=True),
    "base": lambda: byte_level_tokenizer(chat=False),
    "chat, padded with its end": lambda: with_special(
        byte_level_tokenizer(chat=True), pad_token="<eos>"
    ),
    "chat, no padding token": lambda: with_special(byte_level_tokenizer(chat=True), pad_token=None),
    "one token for all": lambda: with_special(
        byte_level_tokenizer(chat=False), pad_token="<eos>", bos_token="<eos>"
    ),
    "metaspace": lambda: with_begin(metaspace_tokenizer()),
}


@dataclasses.dataclass
class Truth:
    """What a model saw and wrote."""

    tokenizer: object
    prompts: list
    answers: list
    pad: int

    @property
    def stops(self):
        return frozenset({self.tokenizer.eos_token_id})

    def rows(self, shape):
        return [shape(self, i) for i in range(len(self.prompts))]

    def left(self, ids, width):
        return [self.pad] * (width - len(ids)) + list(ids)

    def right(self, ids, width):
        return list(ids) + [self.pad] * (width - len(ids))


def read(tmp_path, truth, rows, **more):
    """The rows as the package reads them."""
    path = tmp_path / "answers.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": i, "label": i % 2, **row, **more}) + "\n"
            for i, row in enumerate(rows)
        )
    )
    return read_answers(path, truth.tokenizer, truth.stops)


def written(truth, ids):
    return truth.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)


def truth_of(name):
    """What a model with this tokenizer saw and wrote, no reply cut off."""
    tokenizer = TOKENIZERS[name]()
    shown = [chat(tokenizer, q) if tokenizer.chat_template else f"Q: {q}\nA:" for q in QUESTIONS]
    prompts = [encode_prompt(tokenizer, text) for text in shown]
    answers = [tuple(tokenizer(r, add_special_tokens=False)["input_ids"]) for r in REPLIES]
    answers = [(*a, tokenizer.eos_token_id) for a in answers]
    return Truth(tokenizer, prompts, answers, tokenizer.pad_token_id)


def answers_in(folder, n=240):
    """A file of answers with labels at random."""
    rng = np.random.default_rng(0)
    words = ["Paris", "river", "poet", "Anna", "letter", "capital", "France", "Smith"]
    rows = []
    for i in range(n):
        a, b = words[rng.integers(8)], words[rng.integers(8)]
        rows.append(
            {
                "id": f"a{i}",
                "question": f"Where was {b} {i}?",
                "answer": f" It is {a}.",
                "exact_answer": a,
                "label": int(rng.random() < 0.5),
                "group": f"g{i // 2}",
            }
        )
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path
