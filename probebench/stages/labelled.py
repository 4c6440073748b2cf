"""Answers with their labels and exact answers: all that a probe will be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from probebench.errors import LabelError
from probebench.files import write_atomic
from probebench.probes.enough import Circumstances, class_trouble
from probebench.record.run import RECORD
from probebench.stages.answers import Generated, known_answers
from probebench.stages.exact import exact_spans
from probebench.stages.parquet import answers_table, parquet_bytes
from probebench.stages.plan import Plan
from probebench.stages.stage import Runner, in_order
from probebench.tasks.judge import get_judge
from probebench.tasks.prompts import encode_statement
from probebench.tasks.thinking import place_answer
from probebench.types import (
    Answer,
    Example,
    LabelledAnswer,
    Span,
    SplitName,
    TokenizedAnswer,
    Verdict,
)


def labelled_answers(plan: Plan, runner: Runner) -> tuple[LabelledAnswer, ...]:
    """Answers with label, exact answer and split. Those that are known before have no scores yet:
    the model gives them in the pass that reads its hidden states.

    Labels come first, since without both classes all else is in vain; of what is known before they
    come before the model is loaded.

    Raises:
        LabelError: no probe can be fitted to these labels.
    """
    known = known_answers(plan)
    found = in_order(runner.run(Generated(plan))) if known is None else known
    labelled = label(plan, found, plan.folder)
    spans = exact_spans(plan, runner, found)
    return tuple(placed(plan, a, span) for a, span in zip(labelled, spans, strict=True))


def label(plan: Plan, found: Sequence[Answer], folder: Path | None) -> list[LabelledAnswer]:
    """Answers with label and split; exact answers are not looked for.

    Args:
        plan: the run.
        found: generated, or known before.
        folder: where they are kept for the user when they are refused; None: nowhere.

    Raises:
        LabelError: no probe can be fitted to these labels.
    """
    said, given = [plan.reply(a)[1] for a in found], plan.questions.given
    result = judged(plan.examples, found, said, plan.given_labels, plan.splits, plan.judge)
    if given is not None:
        result = [replace(a, ended=g.ended) for a, g in zip(result, given, strict=True)]
    asked = Circumstances(
        plan.statements, plan.limit, plan.max_new_tokens, brought=given is not None
    )
    trouble = class_trouble(result, asked)
    if trouble is None:
        return result
    if folder is not None and not (folder / RECORD).exists():  # else they belong to a finished run
        write_atomic(folder / "answers.parquet", parquet_bytes(answers_table(result)))
        trouble += f"\nAll of them: probebench answers {folder}"
    raise LabelError(trouble)


def judged(
    examples: Sequence[Example],
    answers: Sequence[Answer],
    said: Sequence[str],
    given: Sequence[int | None],
    splits: Sequence[SplitName],
    judge: str,
) -> list[LabelledAnswer]:
    """Answers with their labels; where exact answers stand is not looked for.

    Args:
        examples: what was asked.
        answers: what was answered.
        said: the text of each that is judged, after thinking.
        given: labels that came with them; None where the judge decides.
        splits: the split of each.
        judge: its name.
    """
    decide, result = get_judge(judge), []
    for example, answer, text, label, split in zip(
        examples, answers, said, given, splits, strict=True
    ):
        verdict = decide(example, text) if label is None else Verdict(bool(label))
        tokens = TokenizedAnswer(len(answer.prompt_ids), len(answer.ids), None)
        result.append(
            LabelledAnswer(
                example,
                answer,
                int(verdict.correct),
                verdict.refused,
                None,
                tokens,
                split,
                label is None,
            )
        )
    return result


def label_facts(plan: Plan) -> dict[str, int]:
    """How many labels the judge decided, and how many came with the statements or answers."""
    n = sum(own is None for own in plan.given_labels)
    return {"judged": n, "given": len(plan.examples) - n}


def placed(plan: Plan, a: LabelledAnswer, span: Span | None) -> LabelledAnswer:
    """An answer with the tokens that positions are named by."""
    tokenizer, ids = plan.handle.tokenizer, (a.answer.prompt_ids, a.answer.answer_ids)
    tokens = place_answer(tokenizer, plan.thinking, ids, stopped=a.answer.stopped, exact=span)
    if a.example.turns:
        tokens = replace(tokens, statement_last=tokens.n_total - 1, begin=tokens.n_prompt)
    elif plan.statements:
        last = encode_statement(tokenizer, a.example.question, causal=plan.handle.causal)[1]
        tokens = replace(tokens, statement_last=last)
    return replace(a, exact=span if tokens.exact else None, tokens=tokens)
