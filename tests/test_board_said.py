"""What the leaderboard's pages say of runs in words, and which of them."""

import json
import re
from dataclasses import replace

import pytest
from rows_made import build_site, paper_entry, run_entry

from probebench.leaderboard.board.curves import best_curves, colours, layer_curve, places
from probebench.leaderboard.board.data import partners
from probebench.leaderboard.board.gather import gather
from probebench.leaderboard.board.said import (
    said,
    stream_words,
    tally,
    token_words,
    widest_margin_first,
)
from probebench.models.blocks.layouts import SITES
from probebench.record.parts.confounded import Residual
from probebench.record.parts.measured import CellName
from probebench.states.positions import POSITIONS
from probebench.text import enough, interval


def with_margin(entry, low, high):
    """The entry, its probe so far from its baseline."""
    probe, length = entry.detectors
    there = replace(length, difference=(low + high) / 2, difference_low=low, difference_high=high)
    return replace(entry, detectors=(probe, there))


def page(folder, path):
    """A page on one line."""
    return " ".join((folder / "site" / path).read_text().split())


def test_every_run_is_said_and_those_beyond_eight_unfold(tmp_path):
    """Runs in which nothing was found are not left out for their AUROC."""
    many = [run_entry(f"m{i}", strength=3 - i / 5, seed=i) for i in range(10)]
    many[-1] = with_margin(many[-1], -0.1, 0.1)
    text = page(build_site(tmp_path, many), "tasks/people.html")
    assert text.count("<li><b>") == 10
    at_once, unfolded = text.split("<details><summary>2 more models</summary>")
    assert at_once.count("<li><b>") == 8
    assert "No difference was found to" in unfolded and "No difference" not in at_once
    words = "Of 10 models, the probe is better than the hardest baseline on 9; no difference was "
    assert words + "found on 1; it is worse on 0." in text


def test_a_sentence_says_layer_and_token_in_words(tmp_path):
    folder = build_site(tmp_path, [run_entry("one"), run_entry("two", "cities")])
    where = (
        "a probe of the residual stream after block 1 of 0–2, at <code>exact_answer_last</code> "
        "(last token of the exact answer), has AUROC"
    )
    for task, classes in (("people", "correct against wrong"), ("cities", "true against false")):
        text = page(folder, f"tasks/{task}.html")
        assert where in text and f"for {classes}, " in text.split(where)[1][:200]


def test_a_sentence_says_how_many_are_right_and_whether_anything_is_read(tmp_path):
    """An AUROC of .68 over 3,487 answers says nothing where 4 of them are right."""
    run = run_entry("one")
    probe, length = run.detectors
    rare = replace(run, detectors=(replace(probe, n=3487, n_correct=4), length))
    words = "No cell of its map is above shuffled labels"
    text = page(build_site(tmp_path, [replace(rare, map_p=0.475)]), "tasks/people.html")
    assert "3,487 test examples, 4 of them correct." in text
    assert f"{words} (p = 0.475). <" in text or f"{words} (p = 0.475). It" in text
    text = page(build_site(tmp_path, [replace(rare, map_p=0.01)]), "tasks/people.html")
    assert words not in text


def test_a_sentence_says_what_is_left_without_the_form_of_the_answers(tmp_path):
    """A probe that reads the form of answers has its AUROC from there."""
    facts = {"n": 90, "n_correct": 30, "probe_auroc": 0.8, "auroc": 0.512, "r2": 0.4}
    facts |= {"auroc_95": (0.45, 0.57), "probe_minus_this": 0.29}
    left = Residual(**facts, probe_minus_this_95=(0.2, 0.4), fitted_on="train")
    runs = [run_entry("one"), run_entry("two"), run_entry("three", "cities")]
    folder = build_site(tmp_path, [replace(runs[0], residual=left), runs[1], runs[2]])
    text = page(folder, "tasks/people.html")
    words = "the form of the answers</a> regressed out: "
    assert text.count(words) == 1 and ">0.512</span>" in text.split(words)[1][:60]
    assert "[0.45, 0.57]" in text.split(words)[1][:140]
    statements = page(build_site(tmp_path, [replace(runs[2], residual=left)]), "tasks/cities.html")
    assert words not in statements, "a statement has no answer"


def test_other_layers_in_words():
    emb = CellName(site="resid", layer="emb", position="-1")
    heads = CellName(site="attn.heads", layer="3", position="-1")
    assert stream_words(emb, 4) == "the residual stream before block 0"
    assert stream_words(heads, None) == f"{SITES['attn.heads']} (attn.heads) in block 3"
    assert token_words("no such token") == ""


def test_every_site_and_token_is_explained(tmp_path):
    text = page(build_site(tmp_path, [run_entry("one")]), "about.html")
    for name in (*SITES, *(p for p in POSITIONS if not p.startswith("-")), "-8 ... -1"):
        assert f"<code>{name}</code>" in text, name


def test_a_task_with_runs_and_published_figures_shows_both(tmp_path):
    entries = [run_entry("own/one", "winobias"), paper_entry("org/P-7B", 0.91, task="winobias")]
    folder = build_site(tmp_path, [*entries, run_entry("own/one", "people")])
    row = re.search(r"<tr><th[^>]*><a href=\"tasks/winobias.*?</tr>", page(folder, "index.html"))[0]
    auroc = next(d.auroc for d in entries[0].detectors)
    assert row.index(f"{auroc:.3f}") < row.index("0.91")
    assert row.index("own/<wbr>one") < row.index("org/<wbr>P-7B") < row.rindex("published")
    assert "about.html#published" in page(folder, "tasks/winobias.html")
    assert "about.html#published" not in page(folder, "tasks/people.html")


def test_the_overview_has_the_difference_to_the_hardest_baseline(tmp_path):
    folder = build_site(tmp_path, [with_margin(run_entry("one"), -0.002, 0.005)])
    cells = re.findall(r"<td class=\"pair\">(.*?)</td>", page(folder, "index.html"))
    assert "[−0.002, +0.005]" in cells[1]
    assert "No difference to the hardest baseline was found." in page(folder, "index.html")


def test_a_model_page_begins_with_the_widest_margin(tmp_path):
    """Not with the highest AUROC, which the text alone may reach too."""
    known = with_margin(run_entry("m", "people", strength=4, seed=1), -0.01, 0.01)
    found = with_margin(run_entry("m", "places", strength=1, seed=2), 0.1, 0.3)
    rows = gather([known, found]).rows
    hardest = {r.run: r for r in rows if r.kind == "baseline"}
    told = sorted(said(rows, hardest, {}, {}), key=widest_margin_first)
    assert [s.run.task for s in told] == ["places", "people"]
    assert (t := tally(told)).better == t.undecided == 1 and t.worse == 0
    folder = build_site(tmp_path, [known, found])
    text = page(folder, "models/m.html")
    assert text.index("<b>places") < text.index("<b>people") < text.index('id="map"')
    assert text.index('id="map"') < text.index("<table")
    script = (folder / "site/data/models/m.js").read_text()
    data = json.loads(json.loads(script[script.index(", ") + 2 : -3]))
    assert [m["task"] for m in data["maps"]] == ["places", "people"]


def test_a_sign_that_is_fixed_is_said_and_not_counted(tmp_path):
    """On negated statements token probabilities rank the wrong way round: the rest then look
    weak, and the probe's margin over them wide."""
    plain = with_margin(run_entry("m", "places", strength=1, seed=2), 0.1, 0.2)
    made = with_margin(run_entry("m", "people", strength=2, seed=1), 0.3, 0.4)
    lowest = replace(
        made.detectors[1], name="logprob_mean", label="log-prob mean", auroc=0.1, low=0.05, high=0.2
    )
    turned = replace(made, detectors=(*made.detectors, lowest))
    fitted = replace(made, detectors=(*made.detectors, replace(lowest, name="text")))

    def folder(name):
        (tmp_path / name).mkdir()
        return tmp_path / name

    found = {}
    for name, run in (("turned", turned), ("fitted", fitted)):
        text = page(build_site(folder(name), [plain, run]), "models/m.html")
        found[name] = text.index("<b>people") < text.index("<b>places")
        assert ("That says too much: log-prob mean, whose" in text) == (name == "turned")
        assert ("Not counted: 1 task where" in text) == (name == "turned")
        assert ('about.html#sign">says too much</a>' in text) == (name == "turned")
    assert found == {"turned": False, "fitted": True}
    weak = replace(turned, detectors=(*made.detectors, replace(lowest, auroc=0.45, high=0.49)))
    text = page(build_site(folder("weak"), [plain, weak]), "models/m.html")
    assert "That says too much" in text
    level = replace(turned, detectors=(*made.detectors, replace(lowest, high=0.51)))
    text = page(build_site(folder("level"), [plain, level]), "models/m.html")
    assert "That says too much" not in text


def test_a_signal_has_one_name_for_answers_and_statements(tmp_path):
    runs = [with_margin(run_entry("m", "people"), 0.1, 0.2), with_margin(run_entry("n"), 0.1, 0.2)]
    names = ("log-prob mean, answer", "log-prob mean, statement")
    runs = [
        replace(r, detectors=(r.detectors[0], replace(r.detectors[1], label=name)))
        for r, name in zip(runs, names, strict=True)
    ]
    assert [d.label for d in gather(runs).duels()] == ["log-prob mean, answer or statement"]
    bare = replace(
        runs[1],
        detectors=(runs[1].detectors[0], replace(runs[1].detectors[1], label="log-prob mean")),
    )
    assert [d.label for d in gather([runs[0], bare]).duels()] == ["log-prob mean"]


def test_a_model_has_its_colour_on_every_page():
    curves = {
        task: [layer_curve(run_entry(m, task, seed=i)) for i, m in enumerate(models)]
        for task, models in (("people", ("b", "a", "c")), ("places", ("c", "b")))
    }
    order = places(c for many in curves.values() for c in many)
    assert list(order) == ["b", "c", "a"], "most lines first"
    of = {
        task: {c.model.name: i for i, c in colours(best_curves(many), order)}
        for task, many in curves.items()
    }
    assert of == {"people": {"a": 2, "b": 0, "c": 1}, "places": {"b": 0, "c": 1}}
    crowd = [layer_curve(run_entry(f"m{i:02d}", seed=i)) for i in range(20)]
    drawn = colours(best_curves(crowd), places(crowd))
    assert sorted(i for i, _ in drawn) == list(range(8)), "no two of one page alike"


def test_readme_names_the_folders_there_are_and_counts_what_was_measured(tmp_path):
    runs = [run_entry("one", protocol_version=2), run_entry("two", protocol_version=3)]
    folder = build_site(tmp_path, [*runs, paper_entry("org/P-7B", 0.8)])
    text = (folder / "leaderboards/README.md").read_text()
    assert "in `v2/`, `v3/` and published figures" in text
    assert "3 models, 2 tasks, 4 measured detectors, and what papers print." in text
    assert "4 measured detectors." in page(folder, "index.html")


def test_partners_share_most_tasks():
    entries = [
        run_entry("a", "people"),
        paper_entry("p", 0.8, task="people"),
        *(run_entry(m, t) for m in ("c", "b") for t in ("people", "places")),
        paper_entry("q", 0.8, task="people"),
    ]
    found = partners(gather(entries).rows)
    assert next(iter(found.items())) in {("b", "c"), ("c", "b")}
    assert found["p"] == "q", "a figure of a paper is not held against a run"
    assert partners(gather(entries[:1]).rows) == {}


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((0.12, 0.34), "[0.12, 0.34]"),
        ((-0.002, 0.05), "[-0.002, +0.050]"),
        ((0.996, 0.999), "[+0.996, +0.999]"),
        ((0.0002, 0.0004), "[+0.0002, +0.0004]"),
        ((-0.00001, 0.2), "[0.000, +0.200]"),
        ((0.5, 0.5), "[+0.50, +0.50]"),
    ],
)
def test_an_interval_has_the_digits_that_show_it(ends, shown):
    assert interval(ends, enough(ends), signed="+" in shown) == shown
