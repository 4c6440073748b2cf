"""Write docs/results.md and its pictures from finished runs of real models, as scripts/real_rows.sh
lays them out: RUNS/<model>/<folder>.

    python scripts/write_results.py [RUNS]

Rows are the leaderboard's submissions. Of the runs, those that could not be submitted leave their
record and tables in docs/results/kept/, and what only hidden states tell goes into
docs/results/found.json. The page is written from these three, so that runs may be made a few at a
time, on several machines, and deleted; without RUNS it is only written again. No sentence holds a
number of its own, and what is not there is not spoken of. Runs that gave no row, and why, stand in
leaderboards/absent.json too, for `probebench leaderboard build`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import results_claims as published
import results_parts as inside
import results_questions as answers
import results_short as brief
import results_tables as tables
import results_words as words
from results_found import Found
from results_pictures import draw_curves, draw_forest, draw_transfers, picture, short
from results_runs import BOARD, ORDER, ROOT, Shelf, affirmed, finished, keep, unranked

from probebench.files import write_atomic, write_json
from probebench.tasks.schema import list_tasks
from probebench.text import slug

PAGE = ROOT / "docs" / "results.md"
PICTURES = PAGE.with_suffix("")
Contests = dict[str, dict[str, Any] | None]
"""Run on questions -> what its tokens are found to hold; None where they cannot be compared."""
WIDE, LAST = "cities", "statement_last"
"""The task of statements whose maps are shown, and the token of the layer curves."""


def image(text: str, path: Path) -> list[str]:
    """A picture of the page."""
    return [f"![{text}]({path.parent.name}/{path.name})", ""]


def bullets(lines: Sequence[str]) -> list[str]:
    """Sentences as a list."""
    return [*(f"- {line}" for line in lines), ""] if lines else []


HEAD = """\
# What small models show

Real weights on the publishers' own statements and questions, but where a row says *own file*;
every test AUROC is of held-out examples. Label 1 is *correct*, an AUROC is the chance that a
correct one scores above a wrong one, brackets are 95 % intervals over groups
([protocol.md](protocol.md)). Cells are chosen on validation. The weights are quantised files, and
the rows are named after them: nothing here says what the unquantised models would give. Parameters
are those loaded: where a file stores the output matrix apart from the embedding, both count. Rows
of negated statements are counted in the section on negations alone.

`scripts/real_rows.sh` makes the runs, `scripts/write_results.py` this page; no number is written by
hand. The rows stand in `leaderboards/` ([leaderboard.md](leaderboard.md)).
"""
ROWS = """\
*Any cell*: p of the best cell of the whole map against 100 maps of shuffled labels, at least 1/101.
*Best simpler signal*: the one that validation chose among token probabilities, text, an encoder's
vectors of the text, lengths and p(True). *Added to all*: AUROC of one model of all these signals
and the probe, fitted on validation, minus that of one without the probe. *Embedding row*: the
probe before the first block, which sees one token and nothing of the others. *Random weights*: the
same architecture untrained. *Test n* is of the examples that both probe and best simpler signal
score; in brackets, where there are more, all that the probe scores, over which the columns from
*added to all* on, the picture and the leaderboard are. Layers count from 0, and *emb* stands before
the first.
"""
TRANSFER = """\
The probe of a task's selected cell on the test statements of the other tasks of the table (two of
the ten tasks of single statements, common_claim and azaria_mitchell, were read when the hidden
states of the others were gone, and counterfact is computed in another number format); never
flipped, so that below .5 it ranks the wrong way round. In brackets the cosine of its direction with
that of the tested task's own probe in the same cell. Last row: one probe of all tasks but the
tested one.
"""
NEGATIONS = """\
*The city of Krasnodar is in Russia* and *The city of Krasnodar is not in Russia*: whoever reads
truth calls one of them true, whoever reads whether city and country belong together calls both
alike. Carried over unchanged, a probe of the first has an AUROC above .5, one of the second below
it. *Whitened*: the cosine of the two tasks' own directions under the covariance of the tested
vectors.
"""
QUESTIONS = """\
Orgad et al. (2025) read models of 7 B and more best at the tokens of the exact answer. Models of
this size answer few open questions correctly, so that the test split holds few right answers and
the intervals are wide. Tokens counted from the end may be the exact answer's where answers are
short. An *own file* (`--data`) holds questions of the published set of its name, with answers of
at most 24 tokens (GSM8K: 300), so that most are cut off and the tokens counted from the end lie at
the cut; such runs do not rank. A map stands here where tokens at the exact answer and others can be
compared, test holds {few} right and {few} wrong answers and a cell lies above shuffled labels: else
its colours are mostly chance. The leaderboard's site draws those of all rows. The *form* of answers
is what can be known without reading the model: {form}.
"""


def head(shelf: Shelf, found: Found, contests: Contests) -> Iterator[str]:
    """What was run, and the short answer."""
    yield HEAD
    yield from tables.models((*shelf.rows, *shelf.asked, *shelf.components), shelf.ranked)
    ranked = affirmed(shelf.ranked)
    told = list(found.transfers.values())
    yield from ("## In short", "")
    yield from bullets(brief.answer(ranked, shelf.asked, contests, told, found.negated))
    yield from ("## In detail, what did not work first", "")
    limits = [
        of(ranked) for of in (brief.single, brief.formal, brief.outdone, brief.left, brief.few)
    ]
    yield from bullets(words.losses(ranked, found.negated, [line for of in limits for line in of]))


def statements(shelf: Shelf) -> Iterator[str]:
    """Probes on statements: against simpler signals, by depth, by token."""
    yield from ("## Statements: the probe against what is simpler", "")
    yield from image(
        "test AUROC of probe and simpler signals with intervals, a line per task and model",
        draw_forest(shelf.rows, PICTURES / "forest.png"),
    )
    yield ROWS
    yield from tables.rows(shelf.rows)
    yield from tables.turned(shelf.rows)
    yield from words.splits(shelf.rows)
    yield from ("## In which layer", "")
    yield from words.depths(affirmed(shelf.rows))
    by_task = {
        task: [r for r in shelf.rows if r.record.task.name == task and LAST in r.record.positions]
        for task in dict.fromkeys(r.record.task.name for r in shelf.rows)
    }
    yield from image(
        "test AUROC by depth at the last token of the statement, a line per model",
        draw_curves({t: r for t, r in by_task.items() if r}, PICTURES / "curves.png", LAST),
    )
    yield from ("## At which token", "")
    for run in [r for r in shelf.rows if r.record.task.name == WIDE]:
        yield from words.onsets(run)
        path = picture([run], PICTURES / f"{slug(short(run))}-{WIDE}.png")
        yield from image(f"test AUROC by layer and token, {tables.named(run)}", path)


def components(shelf: Shelf) -> Iterator[str]:
    """What the parts of a block hold, and what replacing them changes."""
    if not shelf.components:
        return
    yield from ("## In which part of a block", "")
    for run in shelf.components:
        name = slug(f"{short(run)}-{run.record.task.name}")
        yield from (f"{tables.named(run)}.", "")
        yield from inside.parts(run)
        yield from inside.agreement(run)
        yield from inside.apart(run)
        yield from tables.sites(run)
        if run.record.task.kind == "statements" and run.record.task.name != WIDE:
            continue
        targets = {row.target for row in run.record.attribution.agreement}
        kinds = [("components", {}), ("sublayers", {"top": 6})]
        kinds += [("attribution", {"score": "attribution", "target": t}) for t in sorted(targets)]
        for label, options in kinds:
            kind = "sublayers" if label == "sublayers" else "components"
            target = (
                PICTURES
                / f"{name}-{label}{'-' + options['target'] if 'target' in options else ''}.png"
            )
            path = picture([run], target, kind, **options)
            yield from image(f"{label}, {tables.named(run)}", path)


def negations(found: Found) -> Iterator[str]:
    """The probe of statements on their negations."""
    if not found.negations:
        return
    yield from ("## From statements to their negations", "", NEGATIONS)
    yield from tables.negations(found.negated)


def transfers(shelf: Shelf, found: Found) -> Iterator[str]:
    """The probe of each task on the others."""
    if not found.transfers:
        return
    yield from ("## From one task to another", "", TRANSFER)
    solved = dict.fromkeys(r.record.task.name for r in words.solved_by_text(shelf.rows))
    yield from bullets([of["sentence"] for of in found.transfers.values()])
    if told := published.medians(found.transfers, list(solved)):
        yield from (told, "")
    for model, of in found.transfers.items():
        yield from (f"{model}:", "", *of["table"])
        own = [r for r in shelf.rows if short(r) == model and r.record.task.name in of["tasks"]]
        matrix = tables.read_transfers(of["table"])
        path = draw_transfers(matrix, own, PICTURES / f"{slug(model)}-transfer.png")
        yield from image(f"transfer between tasks, {model}", path)


def questions(shelf: Shelf, found: Found) -> Iterator[str]:
    """Answers of the model's own: does the exact answer's token win?"""
    if not shelf.asked:
        return
    yield from (
        "## Questions: does the exact answer's token win?",
        "",
        QUESTIONS.format(few=answers.FEW, form=answers.FORM),
    )
    yield from image(
        "test AUROC of probe and simpler signals with intervals, a line per set of questions",
        draw_forest(shelf.asked, PICTURES / "forest-questions.png"),
    )
    yield from tables.rows(shelf.asked)
    yield from tables.turned(shelf.asked)
    for run in shelf.asked:
        name = slug(f"{short(run)}-{run.record.task.name}")
        contest = found.contests.get(tables.named(run))
        yield from answers.question(run, contest)
        if answers.shows(run, contest):
            path = picture([run], PICTURES / f"{name}.png")
            yield from image(f"test AUROC by layer and token, {tables.named(run)}", path)
        yield from tables.positions(run)


def foot(shelf: Shelf, found: Found) -> Iterator[str]:
    """What the page leaves open."""
    there = {tables.named(r) for r in (*shelf.ranked, *shelf.asked)}
    failed = {of: why for of, why in found.failed.items() if of not in there}
    lines = [f"{of} gave no result: {why}" for of, why in failed.items()]
    for name in dict.fromkeys(short(r) for r in shelf.rows):
        absent = [t for t in ORDER if f"{t} ({name})" not in there | failed.keys()]
        if absent:
            lines.append(f"Not run or not finished, {name}: {words.said(absent)}.")
    largest = max(run.record.model.n_parameters for run in shelf.ranked) / 1e6
    yield from ("## What is not here", "")
    yield from bullets(
        [
            *lines,
            "Small models on two processor cores: no row of a model above "
            f"{largest:,.0f} million parameters.",
            f"{unrun()} variants of these tasks: conjunctions, disjunctions, German translations, "
            "single topics, smaller_than and the negations of the two smallest (`probebench "
            "tasks` names them).",
        ]
    )


def unrun() -> int:
    """How many variants of the tasks of statements no run is of."""
    of = {t.path for t in list_tasks() if t.kind == "statements" and t.name in ORDER}
    return sum(t.path in of and t.name not in ORDER for t in list_tasks())


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?")
    asked = parser.parse_args()
    found = Found.load()
    if asked.runs:
        runs = finished(asked.runs)
        if not runs:
            parser.error(f"{asked.runs} holds no finished run")
        for run in filter(unranked, runs):
            keep(run)
        found.add(runs)
        found.add_failures(asked.runs)
        found.save()
    shelf = Shelf.find()
    contests = {tables.named(r): found.contests.get(tables.named(r)) for r in shelf.asked}
    lines = [
        *head(shelf, found, contests),
        *statements(shelf),
        *components(shelf),
        *negations(found),
        *transfers(shelf, found),
        *questions(shelf, found),
        *("## What repeats published claims, and what does not", ""),
        *bullets(
            published.claims(
                affirmed(shelf.rows),
                list(found.transfers.values()),
                found.negated,
                answers.claim(shelf.asked, contests),
            )
        ),
        *foot(shelf, found),
    ]
    models = [folder.name for folder in BOARD.iterdir()]
    write_json(BOARD.parent / "absent.json", found.absent(models))
    text = "\n".join(lines).rstrip() + "\n"
    write_atomic(PAGE, text.encode())
    for path in PICTURES.glob("*.png"):
        if f"({PICTURES.name}/{path.name})" not in text:
            path.unlink()
    print(PAGE)


if __name__ == "__main__":
    main()
