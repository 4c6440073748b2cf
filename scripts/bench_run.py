"""A whole run against a plain program that does what the paper's code does: processor time, AUROC
of every cell, and the floor.

    python scripts/bench_run.py MODEL --task triviaqa --data FILE --n 200
    python scripts/bench_run.py MODEL --task cities --n 0                  # all statements
    python scripts/bench_run.py MODEL --task triviaqa --data FILE --n 48 --only ours

Ours is `probebench eval` with all its controls and baselines, in a process of its own;
plain_run.py, in another, has no second opinion, no shuffled labels, no baselines and no intervals.
Processor time is of each process and those that it starts, from its start to its end. Both see the
same token ids, labels, splits and cells. Their AUROCs differ by what is fitted (scikit-learn's
defaults on raw vectors there; a C chosen on validation here), so scikit-learn also fits the plain
program's hidden states at our scale and C, off the clock, and that is compared cell by cell.

The floor is the arithmetic of the useful tokens, each once and without padding, at the speed that a
large float32 matrix product reaches in the same run. What is kept in --keep is not computed again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import (
    Arithmetic,
    forget_peak,
    head,
    matrix_speed,
    model_options,
    options_of,
    row,
    status,
    used,
    words_of,
)

from probebench.engines.engine import LocalEngine
from probebench.job.pipeline import run_prepared
from probebench.job.prepare import Prepared, prepare
from probebench.progress import Counter, Progress
from probebench.record.run import Run
from probebench.record.tables import cells
from probebench.stages.engine import Models
from probebench.stages.labelled import labelled_answers
from probebench.stages.stage import LocalRunner
from probebench.stages.states import Sequences
from probebench.types import EMB, layer_name

REST = "all else"
P_TRUE = "Asking for p(True)"


class Watched(Progress):
    """Notes processor seconds and the resident peak of each stage."""

    def __init__(self) -> None:
        super().__init__()
        self.cpu: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int, unit: str, done: int = 0) -> Iterator[Counter]:
        """One stage, on the processor's clock too."""
        started = used()
        forget_peak()
        with super().stage(name, total, unit, done) as counter:
            yield counter
        self.cpu[name] = self.cpu.get(name, 0.0) + used() - started
        self.peaks[name] = max(self.peaks.get(name, 0.0), status("VmHWM"))


def ours(args: argparse.Namespace, folder: Path) -> None:
    """One run, what its stages took, and the sheet for the plain program."""
    torch.set_num_threads(args.threads)
    progress = Watched()
    prepared = prepare(options_of(args, folder / "run"), progress)
    run_prepared(prepared, LocalEngine())
    peak = max([status("VmHWM"), *progress.peaks.values()])
    facts = progress.facts()
    stages = {
        name: {"cpu": cpu, "peak": progress.peaks[name], "tokens": facts[name]["tokens"]}
        for name, cpu in progress.cpu.items()
    }
    found = {"total": used(), "peak": peak, "stages": stages}
    sheet = sheet_of(prepared)
    found["floor"] = floor_of(prepared, sheet)
    (folder / "sheet.json").write_text(json.dumps(sheet))
    (folder / "ours.json").write_text(json.dumps(found))


def sheet_of(prepared: Prepared) -> dict[str, Any]:
    """What the plain program has to have in common with a finished run."""
    plan, progress = prepared.plan, Progress()
    runner = LocalRunner(plan.folder, progress, Models(progress, offline=True))
    answers = labelled_answers(plan, runner)
    table = Sequences.of(answers, plan.reading.positions).table
    examples = [
        {
            "question": a.example.question,
            "prompt_ids": a.answer.prompt_ids,
            "answer_ids": a.answer.answer_ids,
            "label": a.label,
            "split": a.split,
            "places": [None if first < 0 else int(first) for first, _ in places],
        }
        for a, places in zip(answers, table, strict=True)
    ]
    return {
        "statements": plan.statements,
        "positions": plan.reading.positions,
        "max_new_tokens": plan.max_new_tokens,
        "stops": sorted(plan.stops),
        "examples": examples,
    }


def floor_of(prepared: Prepared, sheet: Mapping[str, Any]) -> dict[str, float]:
    """Floating-point operations of the useful tokens of each stage."""
    work = Arithmetic.of(prepared.plan.handle)
    lengths = [(len(e["prompt_ids"]), len(e["answer_ids"])) for e in sheet["examples"]]
    whole, said = [p + a for p, a in lengths], sum(a for _, a in lengths)
    if prepared.plan.statements:
        return {"statements scored and read in one pass": work.reading(whole, said)}
    # the last token of an answer is not read again
    generated = work.reading([n - 1 for n in whole], said)
    return {"answers": generated, "hidden states": work.reading(whole)}


def compared(folder: Path, result: Mapping[str, Any]) -> None:
    """AUROC of the cells of both sides."""
    run, sheet = Run.load(folder / "run"), json.loads((folder / "sheet.json").read_text())
    table = cells(run.scores).set_index(["layer", "position"])
    layers = [layer_name(i) for i in [EMB, *range(run.record.model.n_layers)]]
    keys = [
        (i, k)
        for i in range(len(layers))
        for k in range(len(sheet["positions"]))
        if result["auroc"][i][k] is not None
    ]
    names = [(layers[i], sheet["positions"][k]) for i, k in keys]
    own = np.array([table.loc[name, "value"] for name in names], dtype=float)
    defaults = np.array([result["auroc"][i][k] for i, k in keys], dtype=float)
    print(f"\n{len(keys)} cells; mean test AUROC: ours {own.mean():.4f}, ", end="")
    print(f"scikit-learn's defaults on raw vectors {defaults.mean():.4f}")
    # transformers gives the last block's states after the final norm
    some = [j for j, (i, _) in enumerate(keys) if i + 1 < len(layers) and np.isfinite(own[j])]
    states = np.load(folder / "states.npy", mmap_mode="r")
    again = np.array(
        [
            refitted(sheet, states[:, keys[j][0], keys[j][1]], keys[j][1], table.loc[names[j], "C"])
            for j in some
        ]
    )
    far = np.abs(again - own[some])
    print(
        f"scikit-learn on the plain program's states at our scale and C, {len(some)} cells: AUROC "
        f"differs by {far.mean():.5f} on average, {np.quantile(far, 0.99):.5f} in 99 % of cells, "
        f"{far.max():.5f} at most"
    )


def refitted(sheet: Mapping[str, Any], X: Any, position: int, C: float) -> float:
    """Test AUROC of one cell by scikit-learn, centred and divided by one scale."""
    from sklearn.metrics import roc_auc_score

    from probebench.probes.kinds import logistic_by_sklearn

    examples = sheet["examples"]
    there = np.array([e["places"][position] is not None for e in examples])
    split, y = (np.array([e[name] for e in examples]) for name in ("split", "label"))
    train, test = there & (split == "train"), there & (split == "test")
    X = np.asarray(X, dtype=np.float32)
    fitted = logistic_by_sklearn(C, X.shape[1]).fit(X[train], y[train])
    return float(roc_auc_score(y[test], fitted.decision_function(X[test])))


def told(own: Mapping[str, Any], speed: float) -> None:
    """Table of our stages: processor time, tokens, resident peak; then the floor."""
    stages = own["stages"]
    rest = own["total"] - sum(s["cpu"] for s in stages.values())
    head("our stage", "processor, s", "share", "tokens", "resident peak, MB")
    for name, s in stages.items():
        row(
            name,
            f"{s['cpu']:.1f}",
            f"{s['cpu'] / own['total']:.2f}",
            f"{s['tokens']:,}",
            f"{s['peak'] / 1e6:,.0f}",
        )
    row(REST, f"{rest:.1f}", f"{rest / own['total']:.2f}", "", "")
    row("whole run", f"{own['total']:.1f}", "1.00", "", f"{own['peak'] / 1e6:,.0f}")
    print(f"\nmatrix products in this run: {speed / 1e9:.1f} GFLOP/s\n")
    head("floor: useful tokens", "GFLOP", "s at that speed", "of our whole run")
    for name, flops in own["floor"].items():
        at = flops / speed
        row(name, f"{flops / 1e9:,.0f}", f"{at:.1f}", f"{at / own['total']:.2f}")


def ratios(own: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
    """Table of both sides."""
    asking = own["stages"].get(P_TRUE, {"cpu": 0.0})["cpu"]
    print()
    head("processor, s", "ours", "plain", "plain / ours")
    exact = plain["seconds"].get("exact answers", 0.0)
    for name, a, b in (
        ("everything", own["total"], plain["total"]),
        ("ours without p(True)", own["total"] - asking, plain["total"]),
        (
            "and plain without asking for exact answers",
            own["total"] - asking,
            plain["total"] - exact,
        ),
    ):
        row(name, f"{a:.0f}", f"{b:.0f}", f"{b / a:.2f}")
    print("\nplain: " + ", ".join(f"{name} {s:.1f} s" for name, s in plain["seconds"].items()))
    if "equal_answers" in plain:
        print(
            f"answers of the plain program with equal ids: {plain['equal_answers']}; exact answers "
            f"that it found in them: {plain['exact_found']}"
        )


def measured(args: argparse.Namespace, folder: Path) -> None:
    """Both sides, or what is kept of them."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "ours.json").exists():
        words = [*words_of(args), "--keep", str(folder), "--part"]
        subprocess.run([sys.executable, __file__, *words], check=True)
    own = json.loads((folder / "ours.json").read_text())
    print(f"{args.model}, {args.task}, {args.threads} threads\n")
    torch.set_num_threads(args.threads)
    told(own, matrix_speed())
    if args.only == "ours":
        return
    if not (folder / "plain.json").exists():
        script = Path(__file__).with_name("plain_run.py")
        words = [args.model, str(folder / "sheet.json"), str(folder / "plain.json")]
        words += ["--states", str(folder / "states.npy")]
        words += ["--device", args.device, "--threads", str(args.threads)]
        subprocess.run([sys.executable, str(script), *words], check=True, stdout=sys.stderr)
    plain = json.loads((folder / "plain.json").read_text())
    ratios(own, plain)
    compared(folder, plain)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model_options(parser, "people", 200)
    parser.add_argument("--keep", type=Path, help="a folder for both sides, which are then kept")
    parser.add_argument("--only", choices=["ours"], help="leave the plain program out")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    if args.part:
        ours(args, args.keep)
    elif args.keep is not None:
        measured(args, args.keep)
    else:
        with tempfile.TemporaryDirectory() as name:
            measured(args, Path(name))


if __name__ == "__main__":
    main()
