"""A plain program for the comparison in bench_run.py: what a user would write who does what the
code of Orgad et al. 2025 (arXiv:2410.02707) does, with transformers and scikit-learn alone.

    python scripts/plain_run.py MODEL SHEET RESULT [--states FILE] [--device D] [--threads N]

Every question is answered by itself with `generate()`; the model is asked by itself, for every
answer, which of its words are the exact answer; every example goes through the model by itself with
`output_hidden_states=True`; every cell gets scikit-learn's logistic regression with its defaults.
Statements are only read. No second opinion, no shuffled labels, no baselines, no intervals.

SHEET (JSON) holds what has to be the same on both sides: token ids of the prompts, stop tokens,
and, of the finished run that this is compared with, answers, labels, splits and the tokens of each
position. Own answers are generated and compared with those; hidden states are those of the sheet's,
so that the cells are the same even where a last bit moved an answer. RESULT (JSON) gets processor
seconds of each stage and test AUROC of each cell; FILE the hidden states, written off the clock.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SHOTS = (
    ("Which sea does the Danube flow into?", "It ends in the Black Sea.", "Black Sea"),
    ("Who painted Guernica?", "Pablo Picasso painted it in 1937.", "Pablo Picasso"),
    ("How many legs has a spider?", "All spiders have eight legs.", "eight"),
    ("What is the capital of Peru?", "I do not know that.", "nothing"),
)
"""Questions, long answers, and the exact answers in them."""
ASK = (
    "Write down the exact answer in the long answer below, word for word, and nothing else. If it "
    "answers nothing, write: nothing."
)
EXACT_TOKENS = 20


class Plain:
    """A model, its tokenizer, and a sheet of examples."""

    def __init__(self, model: str, sheet: dict[str, Any], device: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
        self.model, self.device = loaded.to(device).eval(), device
        self.sheet, self.examples = sheet, sheet["examples"]

    def write(self, ids: list[int], most: int, stops: list[int]) -> list[int]:
        """What the model says to one prompt."""
        import torch

        given = torch.tensor([ids], device=self.device)
        with torch.no_grad():
            out = self.model.generate(
                given,
                attention_mask=torch.ones_like(given),
                max_new_tokens=most,
                do_sample=False,
                eos_token_id=stops or None,
                pad_token_id=stops[0] if stops else 0,
            )
        answer: list[int] = out[0, len(ids) :].tolist()
        return answer

    def answers(self) -> list[list[int]]:
        """One question at a time."""
        s = self.sheet
        return [self.write(e["prompt_ids"], s["max_new_tokens"], s["stops"]) for e in self.examples]

    def exact(self, answers: list[list[int]]) -> list[bool]:
        """One answer at a time: which of its words are the answer? Whether they stand in it."""
        shots = "".join(f"Question: {q}\nLong answer: {a}\nExact: {x}\n\n" for q, a, x in SHOTS)
        newline, found = self.tokenizer("\n", add_special_tokens=False)["input_ids"], []
        for example, ids in zip(self.examples, answers, strict=True):
            said = " ".join(self.tokenizer.decode(ids, skip_special_tokens=True).split())
            text = f"{ASK}\n\n{shots}Question: {example['question']}\nLong answer: {said}\nExact:"
            if self.tokenizer.chat_template:
                turn = [{"role": "user", "content": text}]
                text = self.tokenizer.apply_chat_template(
                    turn, tokenize=False, add_generation_prompt=True
                )
            prompt = self.tokenizer(text, add_special_tokens=not self.tokenizer.chat_template)
            reply = self.write(
                prompt["input_ids"], EXACT_TOKENS, [*self.sheet["stops"], *newline[-1:]]
            )
            words = self.tokenizer.decode(reply, skip_special_tokens=True).strip()
            found.append(bool(words) and words in said)
        return found

    def states(self) -> np.ndarray[Any, Any]:
        """(example, layer, position, width) in float32, one example at a time; zeros where a
        position is absent."""
        import torch

        rows = []
        for example in self.examples:
            ids = torch.tensor([example["prompt_ids"] + example["answer_ids"]], device=self.device)
            with torch.no_grad():
                hidden = self.model(ids, output_hidden_states=True).hidden_states
            places = [0 if place is None else place for place in example["places"]]
            row = np.stack([layer[0, places].cpu().numpy() for layer in hidden])
            row[:, [place is None for place in example["places"]]] = 0
            rows.append(row)
        return np.stack(rows)

    def fits(self, states: np.ndarray[Any, Any]) -> list[list[float | None]]:
        """(layer, position) test AUROC of scikit-learn's logistic regression with its defaults;
        None where it cannot be fitted."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score

        y = np.array([e["label"] for e in self.examples])
        split = np.array([e["split"] for e in self.examples])
        found: list[list[float | None]] = [[] for _ in range(states.shape[1])]
        for layer, aurocs in enumerate(found):
            for position in range(states.shape[2]):
                there = np.array([e["places"][position] is not None for e in self.examples])
                train, test = there & (split == "train"), there & (split == "test")
                if min(len(set(y[train])), len(set(y[test]))) < 2:
                    aurocs.append(None)
                    continue
                X = states[:, layer, position]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the defaults often end unconverged
                    fitted = LogisticRegression().fit(X[train], y[train])
                scores = fitted.decision_function(X[test])
                aurocs.append(float(roc_auc_score(y[test], scores)))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("sheet", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--states", type=Path, help="write the hidden states there, as .npy")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        seconds[name] = time.process_time() - started
        print(f"{name}: {seconds[name]:.1f} s", flush=True)

    sheet = json.loads(args.sheet.read_text())
    with stage("start"):
        import torch

        torch.set_num_threads(args.threads)
        plain = Plain(args.model, sheet, args.device)
    result: dict[str, Any] = {}
    if not sheet["statements"]:
        with stage("answers"):
            answers = plain.answers()
        own = [e["answer_ids"] for e in plain.examples]
        result["equal_answers"] = sum(a == b for a, b in zip(answers, own, strict=True))
        with stage("exact answers"):
            result["exact_found"] = sum(plain.exact(answers))
    with stage("hidden states"):
        states = plain.states()
    with stage("probes"):
        result["auroc"] = plain.fits(states)
    # of the start of Python too
    result |= {"seconds": seconds, "total": time.process_time()}
    if args.states is not None:
        np.save(args.states, states.astype(np.float16))
    args.result.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
