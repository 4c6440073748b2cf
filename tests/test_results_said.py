"""Sentences of docs/results.md: each claim is held against the rows by other means."""

import io
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/results.md").read_text()


@pytest.fixture
def scripts(monkeypatch):
    """The modules of the scripts, by name."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return import_module


@pytest.fixture
def shelf(scripts):
    return scripts("results_runs").Shelf.find()


def decisions(run):
    """Decisions of the test examples that all detectors of a row score."""
    table = pd.read_parquet(run.folder / "decisions.parquet")
    return table[(table.split == "test") & table.scored]


def test_wins_are_counted_together_and_beside_all_signals(scripts, shelf):
    """Of so many comparisons some win by luck, and a win over one signal is none over all."""
    runs, claims = scripts("results_runs"), import_module("probebench.record.claims")
    ranked = runs.affirmed(shelf.ranked)
    ps = {id(r): claims.of_its_time(r.record).difference_p for r in ranked}
    left, rejected = sorted(ps, key=ps.get), set()
    while left and ps[left[0]] <= 0.05 / len(left):  # Holm (1979), one by one
        rejected.add(left.pop(0))
    won = [r for r in ranked if claims.headline(r.record).outcome == "better"]
    held = sum(id(r) in rejected for r in won)
    adds = sum(r.record.added.difference_95[0] > 0 for r in won if r.record.added)
    assert 0 < held < len(won) and 0 < adds < len(won), "else this test says nothing"
    [line] = [x for x in PAGE.splitlines() if x.startswith("- The probe is better than the best")]
    assert f"on {len(won)} of {len(ranked)} rows: " in line
    assert f"; {held} of these rows are left when all {len(ps)} are tested together" in line
    assert f"and on {adds} the probe also adds to all" in line


def test_signals_that_rank_the_wrong_way_round_are_named(scripts, shelf):
    """On negations likely is false: 1 - .08 is a harder rival than the .5 of a constant."""
    tables = scripts("results_tables")
    [said] = [x for x in PAGE.splitlines() if x.startswith("The sign of") and "neg_" in x]
    assert "text only" not in said, "it is fitted, and learns its signs"
    run = next(r for r in shelf.rows if tables.named(r) == "neg_sp_en_trans (gemma-3-270m)")
    own = decisions(run)
    lowest = roc_auc_score(own.label, own["d:logprob_sum"])
    assert lowest < 0.1 and f"{tables.named(run)} (log-prob sum, statement {lowest:.2f})" in said
    assert "cities (gemma-3-270m)" not in said, "text reads them better than any turned signal"
    [line] = [x for x in PAGE.splitlines() if x.startswith("| neg_sp_en_trans | SmolLM2-135M |")]
    assert "0.50 (the same for all)" in line
    constant = next(r for r in shelf.rows if tables.named(r) == "neg_sp_en_trans (SmolLM2-135M)")
    assert decisions(constant)["d:prob_min"].nunique() == 1


def test_depths_leave_out_where_nothing_is_chosen(scripts, shelf):
    """A map at chance and one that text alone solves have a best cell too."""
    words = scripts("results_words")
    name = "Qwen2.5-Coder-0.5B"
    own = [r for r in shelf.rows if scripts("results_pictures").short(r) == name]
    chance = next(r for r in own if r.record.task.name == "animal_class")
    at = scripts("results_pictures").depth(chance, chance.record.selection.layer)
    assert at == 1.0
    _, _, line, _ = words.depths(own)
    assert f"to {at:.0%}" not in line and words.depths([chance]) == [""]


def test_medians_without_tasks_that_text_solves(scripts):
    claims, tables = scripts("results_claims"), scripts("results_tables")
    table = tables.table(
        ["probe of", "a", "b", "c"],
        [
            ["a", "**1.00**", "0.60 (0.10)", "0.10 (0.00)"],
            ["b", "0.80 (0.10)", "**1.00**", "0.20"],
            ["c", "0.30", "0.40", "**1.00**"],
            ["all others", "0.99 (0.50)", "0.98", "0.97"],
        ],
    )
    of = {"m": {"tasks": ["a", "b", "c"], "table": table}}
    assert claims.medians(of, ["c", "elsewhere"]) == (
        "Without c, which text alone solves, the medians are 0.70 (m, 2 pairs)."
    )
    assert claims.medians(of, ["elsewhere"]) == ""


def test_the_part_that_matters_most_has_the_largest_measured_change(scripts, shelf):
    parts = scripts("results_parts")
    for run in shelf.components:
        table = run.attribution
        own = table[(table.target == "probe")]
        counts = own.groupby("score").size()
        whole = counts["ablation"] == counts["attribution"]
        rows = own[own.score == ("ablation" if whole else "attribution")]
        top = rows.loc[rows.mean_abs.idxmax()]
        first = parts.apart(run)[0]
        assert f"most at `{top.site}` of layer {top.layer}, by {top.mean_abs:.1f} ±" in first
        assert ("is first reached" in "".join(parts.apart(run))) <= (
            scripts("results_questions").rarer(run) >= 20
        )


def test_the_claims_count_what_is_worse_too(scripts, shelf):
    found = scripts("results_found").Found.load()
    better, worse, free = (
        sum(t[k] for t in found.transfers.values()) for k in ("better", "worse", "free")
    )
    assert worse > 0
    assert f"choose, {better} are better and {worse} worse, of {free}." in PAGE
    near = [
        r
        for r in scripts("results_runs").affirmed(shelf.rows)
        if r.record.selection.test_auroc >= 0.95
    ]
    assert f"an AUROC of 0.95 or more is reached on {len(near)}, " in PAGE


def test_fewer_colours_keep_the_orange_of_what_is_selected(scripts):
    """It was grey in maps of questions: their text has more shades than the frame has pixels."""
    pictures = scripts("results_pictures")
    rng = np.random.default_rng(0)
    blues = rng.integers(0, 256, (400, 400, 1), dtype=np.uint8)
    crowd = np.concatenate([255 - blues, 255 - blues // 2, np.full_like(blues, 255)], axis=2)
    crowd[..., 1] ^= rng.integers(0, 16, (400, 400), dtype=np.uint8)
    crowd[100:104, 100] = 0xD9, 0x5F, 0x02
    picture = io.BytesIO()
    Image.fromarray(crowd).save(picture, "PNG")
    plain = Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    assert plain.convert("RGB").getpixel((100, 100)) != (0xD9, 0x5F, 0x02), "else nothing is lost"
    with Image.open(io.BytesIO(pictures.fewer_colours(picture.getvalue()))) as few:
        assert few.mode == "P" and few.convert("RGB").getpixel((100, 100)) == (0xD9, 0x5F, 0x02)
        after = np.asarray(few.convert("RGB"), dtype=int)
    assert np.abs(after - crowd).max(axis=2).mean() < 12


@pytest.mark.parametrize(
    "name",
    sorted(set(re.findall(r"results/([^)]*(?:nq-open|winobias|triviaqa|cities)\.png)", PAGE))),
)
def test_the_selected_cell_of_every_map_is_orange(name):
    with Image.open(ROOT / "docs/results" / name) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=int)
    near = np.abs(pixels - [0xD9, 0x5F, 0x02]).max(axis=2) <= 24
    assert near.sum() > 100


def test_rows_whose_form_does_more_than_the_best_signal_are_named(scripts, shelf):
    """On winogrande two probes are worse than what needs no look into the model."""
    brief, tables = scripts("results_short"), scripts("results_tables")
    [line] = brief.outdone(scripts("results_runs").affirmed(shelf.ranked))
    assert f"\n- {line}\n" in PAGE
    claims = import_module("probebench.record.claims")
    for run in shelf.asked:
        form, signal = run.record.confounds.linear, claims.headline(run.record).signal
        enough = scripts("results_questions").rarer(run) >= brief.FEW
        more = enough and run in shelf.ranked and bool(form) and form.auroc > signal["auroc"]
        assert (f"{tables.named(run)} (" in line) == more
    forms = [r.record.confounds.linear for r in shelf.ranked if r.record.task.name == "winogrande"]
    assert sum(form.probe_minus_this_95[1] < 0 for form in forms) >= 2
