"""Submissions made from nothing: the ids and groups of an embedded task, invented decisions, and
the numbers that follow."""

from __future__ import annotations

import hashlib
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from records import WHOLE

from probebench.detectors import suite as detectors_suite
from probebench.files import clean_json, write_atomic, write_json
from probebench.job.record import shuffled_facts
from probebench.leaderboard.check.task_data import suite, task_data
from probebench.leaderboard.submission.submit import FORMAT
from probebench.leaderboard.submission.tables import cells_csv, decisions_bytes
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import delong_interval
from probebench.metrics.intervals import auroc_interval
from probebench.metrics.paired import paired
from probebench.metrics.permutation import fdr
from probebench.metrics.power import POWER
from probebench.probes.kinds import C_GRID
from probebench.record.schema import PROTOCOL_VERSION, SCHEMA_VERSION
from probebench.scoring.added import added
from probebench.scoring.comparison import detector_facts, evaluate_detectors
from probebench.states.positions import POSITIONS, PUBLISHED
from probebench.studies.readable import PAPER
from probebench.types import Detector

REQUIRED = [n for n, row in detectors_suite.known().items() if "answers" in row.required]
REPEATS = 20
LAYERS = ("emb", "0", "1", "2")
BEST, BEST_EMB = ("1", "exact_answer_last"), ("emb", "-1")


def hashed(*words) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def make_submission(
    root: Path, model: str = "org/model", task: str = "people", seed: int = 0, strength: float = 1.0
) -> Path:
    """A valid submission below `root`; its folder."""
    predictions, record, scores = make_run(model, task, seed, strength)
    folder = root / "v2" / model.replace("/", "__") / task
    write_atomic(folder / "decisions.parquet", decisions_bytes(predictions))
    write_atomic(folder / "cells.csv", cells_csv(scores).encode())
    write_json(folder / "record.json", record)
    return folder


def make_run(
    model: str, task: str, seed: int, strength: float
) -> tuple[pd.DataFrame, dict, pd.DataFrame]:
    """`predictions.parquet`, the submitted record and `scores.parquet` of a run that never was."""
    predictions, record, scores = _make_run(model, task, seed, strength)
    return predictions, deepcopy(record), scores


@lru_cache
def _make_run(
    model: str, task: str, seed: int, strength: float
) -> tuple[pd.DataFrame, dict, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    data, own = task_data(task), suite()[task]
    ids = [i for i, split in data.split.items() if split != "train"]
    splits, groups = [data.split[i] for i in ids], [data.group[i] for i in ids]
    y = rng.integers(0, 2, len(ids))
    test, validation = (np.array(splits) == name for name in ("test", "validation"))

    def noisy(gain: float) -> np.ndarray:
        return np.float32(gain * y + rng.normal(size=len(ids))).astype(np.float64)

    decisions = {"probe": noisy(strength), "probe_emb": noisy(0.3)} | {
        name: noisy(0.3) for name in sorted(REQUIRED)
    }
    decisions |= {
        "length": -rng.integers(3, 20, len(ids)).astype(float),
        "majority": np.ones(len(ids)),
    }
    decisions |= _signals(noisy)
    shuffled = [noisy(0.0) for _ in range(REPEATS)]
    facts, rows = _map(rng, decisions, y, test, validation, splits, groups)
    details = {
        "probe": {"site": "resid", "layer": BEST[0], "position": BEST[1]},
        "probe_emb": {"site": "resid", "layer": BEST_EMB[0], "position": BEST_EMB[1]},
    }
    detectors = [
        Detector(
            n,
            words_of(n),
            d,
            "probe" if n.startswith("probe") else "baseline",
            "after",
            details.get(n, {}),
        )
        for n, d in decisions.items()
    ]
    found = evaluate_detectors(detectors, y, splits, groups, 0)
    scored = np.zeros(len(ids), dtype=bool)
    scored[found.rows] = True
    base = pd.DataFrame({"id": ids, "group": groups, "split": splits, "label": y, "scored": scored})
    named = {**decisions, **{f"shuffled_labels_{k}": d for k, d in enumerate(shuffled)}}
    predictions = pd.concat(
        [base.assign(detector=n, decision=d) for n, d in named.items()], ignore_index=True
    )
    n_train, n_all = data.n - len(ids), data.n
    counts = {
        name: {
            "n": int(mask.sum()),
            "correct": int(y[mask].sum()),
            "accuracy": float(y[mask].mean()),
            "refused": 0,
            "not_stopped": 0,
            "groups": len({g for g, m in zip(groups, mask, strict=True) if m}),
        }
        for name, mask in (("validation", validation), ("test", test))
    }
    groups_train = (
        len(set(data.group.values())) - counts["validation"]["groups"] - counts["test"]["groups"]
    )
    counts["train"] = {
        "n": n_train,
        "correct": n_train // 2,
        "accuracy": (n_train // 2) / n_train,
        "refused": 0,
        "not_stopped": 0,
        "groups": groups_train,
    }
    correct = sum(c["correct"] for c in counts.values())
    counts["all"] = {
        "n": n_all,
        "correct": correct,
        "accuracy": correct / n_all,
        "refused": 0,
        "not_stopped": 0,
        "groups": len(set(data.group.values())),
    }
    blocks = rows[rows.layer != "emb"]
    chosen = {
        "rule": "highest validation AUROC among the blocks of resid",
        "site": "resid",
        "layer": BEST[0],
        "position": BEST[1],
        "C": 1.0,
        **facts,
    }
    record = {
        "schema_version": SCHEMA_VERSION,
        "protocol_version": PROTOCOL_VERSION,
        "submission": {"format": FORMAT},
        "key": hashed(model, task, seed),
        "model": WHOLE["model"]
        | {
            "name": model,
            "revision": hashed(model)[:40],
            "tokenizer": hashed("t"),
            "n_layers": len(LAYERS) - 1,
        },
        "task": {
            "name": task,
            "version": own.version,
            "hash": own.hash,
            "kind": own.kind,
            "judge": own.judge,
            "exact_answer": own.exact_answer.rule,
        },
        "data": {
            "origin": f"embedded:{own.source.name}",
            "revision": None,
            "sha256": data.sha256,
            "n_dropped": 0,
            "n_too_long": 0,
        },
        "probe": {"name": "logistic", "grid": list(C_GRID), "solver": "batched"},
        "exact_answer": {"rule": own.exact_answer.rule, "extractor": None, "holds_answer": None},
        "generation": {"how": "plain", "max_new_tokens": own.generation.max_new_tokens},
        "settings": {
            "task": task,
            "seed": 0,
            "probe": "logistic",
            "solver": "batched",
            "overrides": {},
        },
        "package": {
            "name": "probebench",
            "version": "0.1.0",
            "commit": hashed("c")[:40],
            "dirty": False,
        },
        "versions": {"numpy": "2"},
        "counts": counts,
        "layers": list(LAYERS),
        "positions": list(PUBLISHED),
        "sites": {
            "resid": {
                "layers": list(LAYERS),
                "widths": [WHOLE["model"]["width"]],
                "absent": {},
                "best": {k: v for k, v in chosen.items() if k not in ("rule", "n_test_correct")},
                "C": {"1": len(rows)},
            }
        },
        "positions_present": {
            name: {"n": n_all, "in_prompt": 0, "readable": POSITIONS[name].when}
            for name in PUBLISHED
        },
        "selection": chosen,
        "detectors": [detector_facts(s) for s in found.scores],
        "added": added(detectors, found.scores, y, splits, groups, 0),
        "comparison": {
            "n_test": found.n_test,
            "n_compared": len(found.rows),
            "dropped": dict(found.dropped),
            "absent": {},
        },
        "controls": {
            "shuffled_labels": shuffled_facts([auroc(y[test], d[test]) for d in shuffled]),
            "permutation": {
                "shuffles": 100,
                "max_statistic_p": 1 / 101,
                "site": "resid",
                "cells": len(blocks),
                "cells_p_below_05": int((blocks.p < 0.05).sum()),
                "cells_q_below_05": int((blocks.q < 0.05).sum()),
            },
        },
        "readable": {
            "before": _beside(
                rows, LAYERS[1], "last_q", "text_question", None, decisions, y, splits, groups
            ),
            "after": _beside(rows, *BEST, "text", "probe", decisions, y, splits, groups),
        },
        "by_position": [_best(rows, position) for position in PUBLISHED],
        "warnings": ["An invented run."],
        **_studies(facts, counts),
    }
    values = rows.rename(columns={"test_auroc": "value", "n_test": "n"}).assign(split="test")
    other = rows.rename(columns={"validation_auroc": "value", "n_validation": "n"}).assign(
        split="validation"
    )
    keep = [
        "site",
        "layer",
        "position",
        "split",
        "value",
        "low",
        "high",
        "n",
        "selectivity",
        "p",
        "q",
        "masked",
    ]
    scores = pd.concat([values[keep], other[keep]], ignore_index=True).assign(
        detector="cell", metric="auroc"
    )
    return predictions, clean_json(record), scores


def _studies(facts, counts):
    """What every run measures beside its table, of this one's probe and examples."""
    whole, right = counts["all"]["n"], counts["all"]["correct"]
    n, correct, probe = facts["n_test"], counts["test"]["correct"], facts["test_auroc"]
    classes = {"all": n, "correct": correct, "wrong": n - correct}
    found = {name: {"n": of, "of": of, "rate": 1.0} for name, of in classes.items()}
    counts["test"]["exact_found"] = found
    beside = {
        "n": n,
        "n_correct": correct,
        "probe_auroc": probe,
        "auroc": 0.55,
        "auroc_95": [0.5, 0.6],
        "probe_minus_this": probe - 0.55,
        "probe_minus_this_95": [probe - 0.65, probe - 0.45],
    }
    return {
        "said": {
            "commonest": {
                "correct": {"answer": "1950", "n": 1, "of": right, "share": 1 / right},
                "wrong": {
                    "answer": "1951",
                    "n": 2,
                    "of": whole - right,
                    "share": 2 / (whole - right),
                },
            },
            "within": {"auroc": 0.6, "auroc_95": [0.5, 0.7], "n": 30, "pairs": 20, "answers": 5},
        },
        "labels": {"judged": counts["all"]["n"], "given": 0},
        "near_twins": {
            "bar": 0.8,
            "n_test": n,
            "n": 54,
            "share": 54 / n,
            "by_split": {"train": 54},
            "examples": [],
            "without": {"n": n - 60, "n_correct": correct - 20},
        },
        "confounds": {
            "features": ["question_tokens"],
            "left_out": {},
            "linear": {**beside, "C": 0.1},
            "residual": {**beside, "fitted_on": "train", "r2": 0.1},
            "within": [
                {
                    "by": "answer_tokens",
                    "n": n,
                    "n_strata": 2,
                    "n_pairs": 100,
                    "share_of_pairs": 100 / (correct * (n - correct)),
                    "probe_auroc": probe,
                    "auroc": 0.6,
                    "auroc_95": [0.5, 0.7],
                }
            ],
            "text_embedding": {"auroc": None, "reason": "no encoder was given"},
            "answer_in_prompt": None,
        },
    }


def _beside(rows, layer, position, name, probe, decisions, y, splits, groups):
    """What `readable` says of a cell and a baseline; of another cell than the selected one what the
    map says, and no test of its difference."""
    test, held = (np.array(splits) == split for split in ("test", "validation"))
    found = paired(
        y[test],
        y[test],
        decisions[probe or name][test],
        decisions[name][test],
        [g for g, t in zip(groups, test, strict=True) if t],
        0,
    )
    first, second = ([i.low, i.high] for i in found.intervals)
    cell = {"auroc": found.values[0], "auroc_95": first}
    beside = {
        "difference": found.difference,
        "difference_95": [found.interval.low, found.interval.high],
    }
    if probe is None:
        own = rows[(rows.layer == layer) & (rows.position == position)].iloc[0]
        apart = own.test_auroc - found.values[1]
        cell = {"auroc": own.test_auroc, "auroc_95": [own.low, own.high]}
        beside = {"difference": apart, "difference_95": [apart - 0.2, apart + 0.2]}
    else:
        beside |= {"difference_se": found.se, "difference_p": found.p}
        beside |= {"detectable_difference": POWER * found.se, "n_correct": found.correct[0]}
    return {
        "cell": {"site": "resid", "layer": layer, "position": position, "C": 1.0, **cell},
        "best_baseline": {
            "name": name,
            "label": words_of(name),
            "validation_auroc": auroc(y[held], decisions[name][held]),
            "n_validation": int(held.sum()),
            "auroc": found.values[1],
            "auroc_95": second,
        },
        **beside,
        "n": found.n,
    }


def words_of(name: str) -> str:
    """What a detector is called in a table."""
    return detectors_suite.known()[name].of_answers.format(k=3)


def _signals(noisy) -> dict[str, np.ndarray]:
    """Scores of tokens that are to one another what such scores must be."""
    found = {}
    for kind in ("logit", "prob"):
        at = np.sort([noisy(0.3) for _ in range(6)], axis=0)
        at = np.float32(1 / (1 + np.exp(-at))).astype(np.float64) if kind == "prob" else at
        names = ("min", "min_exact", "mean_exact", "mean", "max_exact", "max")
        found |= {f"{kind}_{name}": values for name, values in zip(names, at, strict=True)}
    for where in ("", "_exact"):
        found[f"logprob_min{where}"] = np.log(found[f"prob_min{where}"])
        found[f"logprob_mean{where}"] = 0.5 * found[f"logprob_min{where}"]
    found["p_true"] = 1 / (1 + np.exp(-noisy(0.3)))
    return found


def _map(rng, decisions, y, test, validation, splits, groups):
    """What the record says of the selected cell, and the rows of the map."""
    rows = pd.DataFrame(
        [
            {"site": "resid", "layer": layer, "position": position}
            for layer in LAYERS
            for position in PUBLISHED
        ]
    )
    rows["test_auroc"], rows["validation_auroc"] = rng.uniform(0.3, 0.45, (2, len(rows)))
    rows["low"], rows["high"] = rows.test_auroc - 0.1, rows.test_auroc + 0.1
    rows["n_test"], rows["n_validation"] = int(test.sum()), int(validation.sum())
    rows["selectivity"], rows["p"], rows["masked"] = 0.0, rng.uniform(0.1, 1, len(rows)), ""
    draws = Resamples.draw([g for g, t in zip(groups, test, strict=True) if t], 0)
    for (layer, position), name in ((BEST, "probe"), (BEST_EMB, "probe_emb")):
        at, d = (rows.layer == layer) & (rows.position == position), decisions[name]
        ends = auroc_interval(draws, y[test], d[test])
        rows.loc[at, ["test_auroc", "low", "high"]] = auroc(y[test], d[test]), ends.low, ends.high
        rows.loc[at, ["validation_auroc", "p"]] = auroc(y[validation], d[validation]), 1e-4
    rows["q"] = fdr(rows.p.to_numpy())
    chosen = rows[(rows.layer == BEST[0]) & (rows.position == BEST[1])].iloc[0]
    facts = {
        "validation_auroc": chosen.validation_auroc,
        "test_auroc": chosen.test_auroc,
        "test_auroc_95": [chosen.low, chosen.high],
        "n_test": chosen.n_test,
        "n_test_correct": int(y[test].sum()),
        "selectivity": chosen.selectivity,
        "p": chosen.p,
        "q": chosen.q,
    }
    # the selected cell must be the best one
    assert delong_interval(y[test], decisions["probe"][test]).low > 0.5
    return facts, rows


def _best(rows, position):
    own = rows[(rows.position == position) & (rows.layer != "emb")]
    best = own.loc[own.validation_auroc.idxmax()]
    return {
        "position": position,
        "when": POSITIONS[position].when,
        "paper": position in PAPER,
        "layer": best.layer,
        "C": 1.0,
        "validation_auroc": best.validation_auroc,
        "test_auroc": best.test_auroc,
        "test_auroc_95": [best.low, best.high],
        "n_test": int(best.n_test),
    }
