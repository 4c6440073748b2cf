"""Rank groups against resampling and references, and the files that are built from them."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_made import HOSTILE, build_site, decisions, detector, paper_entry, run_entry
from scipy.stats import binomtest

from probebench.errors import BadFileError, RunError, UsageError
from probebench.leaderboard.board.build import build
from probebench.leaderboard.board.curves import down, layer_curve
from probebench.leaderboard.board.data import map_data, script_text
from probebench.leaderboard.board.gather import PAIRED, gather
from probebench.leaderboard.board.models import family_of, safe_slug, size_in_name
from probebench.leaderboard.board.pages import HERE, _first_group
from probebench.leaderboard.board.ranks import (
    Estimate,
    difference_se,
    influence,
    p_values,
    rank_groups,
    standard_error,
    step_down,
)
from probebench.leaderboard.board.rows import hardest_baselines
from probebench.leaderboard.board.said import said
from probebench.leaderboard.board.texts import to_csv, to_latex, to_markdown
from probebench.metrics.auroc import auroc
from probebench.metrics.bootstrap import Resamples
from probebench.metrics.delong import delong_interval
from probebench.metrics.intervals import wilson
from probebench.record.parts.measured import CellName
from probebench.record.schema import PROTOCOL_VERSION
from probebench.report.write.escape import latex, markdown

D3 = ("7.9.2", "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1")
"""Version and SHA-256 of dist/d3.min.js in the npm package d3."""


@pytest.fixture
def measured():
    """Two detectors' scores on 600 examples in 150 groups; labels and scores share a part within a
    group."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(150), 4)
    shared = rng.normal(size=150)[group]
    y = (shared + rng.normal(size=600) > 0).astype(int)
    a = y + shared + rng.normal(size=600)
    return y, a, a + 0.8 * rng.normal(size=600), group


def estimate(y, score, group):
    moved = influence(y, score, group, int(group.max()) + 1)
    return Estimate(auroc(y, score), standard_error(moved.sums, moved.groups), moved.sums)


def test_standard_errors_are_those_of_the_cluster_bootstrap(measured):
    y, a, b, group = measured
    first, second = estimate(y, a, group), estimate(y, b, group)
    draws = Resamples.draw([str(g) for g in group], seed=0, n=4000)
    ra, rb = draws.auroc(y, a), draws.auroc(y, b)
    assert first.se == pytest.approx(ra.std(), rel=0.06)
    assert difference_se([first, second])[0, 1] == pytest.approx((ra - rb).std(), rel=0.06)
    # pairing is worth something here
    assert difference_se([first, second])[0, 1] < 0.6 * np.hypot(first.se, second.se)


def test_every_two_runs_of_a_task_are_compared_by_question(measured):
    y, a, b, group = measured
    entries = [
        replace(
            run_entry(name),
            detectors=(detector("probe", "probe", y, score),),
            carried=decisions({"probe": score}, y, group),
        )
        for name, score in (("one", a), ("two", b))
    ]
    one, two = gather(entries).rows
    bare = difference_se([estimate(y, a, group), estimate(y, b, group)])[0, 1]
    assert one.paired_se == {two.model.slug: pytest.approx(bare)}
    assert two.paired_se == {one.model.slug: pytest.approx(bare)}
    many = gather([run_entry(f"m{i}", n=60) for i in range(PAIRED + 1)]).rows
    assert not any(r.paired_se for r in many), "no square of thousands"


def test_of_single_examples_it_is_delong(measured):
    y, a, _, _ = measured
    sums = influence(y, a, np.arange(600), 600).sums
    ends = delong_interval(y, a)
    assert float(np.sqrt(np.square(sums.astype(float)).sum())) == pytest.approx(
        (ends.high - ends.low) / 2 / 1.96, rel=5e-3
    )


def test_pairing_finds_what_intervals_alone_do_not(measured):
    y, a, _, group = measured
    rng = np.random.default_rng(0)
    pair = [estimate(y, a, group), estimate(y, a + 1.0 * rng.normal(size=600), group)]
    alone = [Estimate(e.auroc, e.se) for e in pair]
    assert rank_groups(pair) == [1, 2]
    assert rank_groups(alone) == [1, 1]


def test_equal_decisions_share_a_group(measured):
    y, a, _, group = measured
    same = estimate(y, a, group)
    assert rank_groups([same, same, same]) == [1, 1, 1]
    assert p_values(np.zeros(1), np.zeros(1)) == 1


def test_groups_follow_their_leader():
    rows = [Estimate(v, 0.01) for v in (0.70, 0.90, 0.89, 0.80, 0.69)]
    assert rank_groups(rows) == [3, 1, 1, 2, 3]


def test_the_highest_of_many_equal_rows_is_not_their_better():
    """Any pair of k rows may be the one that is furthest apart."""
    rng, k = np.random.default_rng(0), 30
    apart = [
        max(rank_groups([Estimate(v, 0.01) for v in 0.8 + 0.01 * rng.normal(size=k)])) > 1
        for _ in range(400)
    ]
    assert np.mean(apart) < 0.07, "nominal is .05; by the rows below the leader alone it is .29"


@pytest.mark.parametrize(("groups", "ranked"), [(2, False), (9, False), (10, True)])
def test_wrong_answers_of_few_groups_are_no_more_than_these(groups, ranked):
    """Forty wrong answers to two questions say what two say."""
    rng, entries = np.random.default_rng(1), []
    group = np.r_[np.arange(40) % groups, 100 + np.arange(160)]
    for name in ("a", "b"):
        label = np.repeat([0, 1], [40, 160])
        values = {"probe": label + rng.normal(size=200), "length": rng.normal(size=200)}
        entry = run_entry(name, n=200)
        entries.append(replace(entry, carried=decisions(values, label, group=group)))
    found = {r.rank is not None for r in gather(entries).rows if r.headline}
    assert found == {ranked}


def test_an_imprecise_row_never_climbs_above_a_better_one():
    assert rank_groups([Estimate(0.9, 0.001), Estimate(0.85, 0.001), Estimate(0.8, 0.2)]) == [
        1,
        2,
        2,
    ]


def test_a_row_without_an_error_is_not_ranked():
    assert rank_groups(
        [Estimate(0.9, float("nan")), Estimate(0.8, 0.01), Estimate(float("nan"), 0.1)]
    ) == [None, 1, None]


def test_steps_down_are_holms_with_his_numbers():
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.random(6) ** 3
        wanted, steps = np.zeros(6, bool), sorted(range(6), key=lambda i: p[i])
        for k, i in enumerate(steps):
            if p[i] > 0.05 / (6 - k):
                break
            wanted[i] = True
        assert np.array_equal(step_down(p, np.arange(6, 0, -1)), wanted)


@pytest.mark.parametrize(("k", "n"), [(0, 3), (7, 10), (10, 10), (1, 1), (412, 1000)])
def test_wilson_is_scipys(k, n):
    ends = binomtest(k, n).proportion_ci(method="wilson")
    assert (wilson(k, n).low, wilson(k, n).high) == pytest.approx((ends.low, ends.high), abs=1e-12)


def test_planted_order_is_found_and_equals_share():
    board = gather(
        [
            run_entry("weak", strength=0.4, seed=1),
            run_entry("best", strength=3.0, seed=2),
            run_entry("twin", strength=2.9, seed=3),
        ]
    )
    ranks = {r.model.name: r.rank for r in board.rows if r.headline}
    assert ranks == {"best": 1, "twin": 1, "weak": 2}
    assert {r.rank for r in board.rows if r.detector == "length"} == {1}


def test_examples_are_matched_by_id_not_by_place():
    """A submission with the same decisions in another order and other group numbers is the same
    measurement."""
    one = run_entry("one", n=300)
    old = one.carried
    turn = np.random.default_rng(0).permutation(300)
    shuffled = decisions(
        {k: v[turn] for k, v in old.values.items()}, old.label[turn], group=np.argsort(turn) + 1000
    )
    other = replace(run_entry("two", n=300), carried=replace(shuffled, id=old.id[turn]))
    worse = replace(
        other,
        detectors=(
            replace(other.detectors[0], auroc=other.detectors[0].auroc - 1e-3),
            other.detectors[1],
        ),
    )
    ranks = {r.model.name: r.rank for r in gather([one, worse]).rows if r.headline}
    assert ranks == {
        "one": 1,
        "two": 2,
    }  # the paired error is 0, so that any difference would count


def test_old_versions_and_papers_are_not_ranked_with_runs():
    entries = [
        run_entry("new", seed=1),
        run_entry("old", seed=2, current=False, task_version=0),
        run_entry("rival", seed=3),
        run_entry("older", seed=4, current=False, task_version=0),
        paper_entry("org/Paper-7B", 0.99, task="people"),
        paper_entry("org/Other-8B", 0.5, task="people"),
    ]
    rows = {r.model.name: r for r in gather(entries).rows if r.headline}
    assert rows["old"].rank is None and rows["older"].rank is None
    assert rows["new"].rivals == rows["rival"].rivals == 2
    assert (rows["org/Paper-7B"].rank, rows["org/Other-8B"].rank) == (1, 2)
    assert [r.model.name for r in gather(entries).of_task("people") if r.headline][-2:] == [
        "old",
        "older",
    ]


def test_protocols_are_not_mixed():
    rows = gather([run_entry("one"), run_entry("two", protocol_version=2)]).rows
    assert all(r.rank is None and r.rivals == 1 for r in rows)


def test_a_model_says_what_each_of_its_types_was_for():
    """The page of a model had the type of whichever run came first."""
    entries = [
        run_entry("one", task=task, dtype=dtype)
        for task, dtype in (("c", "bfloat16"), ("a", "float32"), ("b", "float32"))
    ]
    (model,) = gather(entries).models
    assert model.dtype == "float32; bfloat16 on c"
    assert {row.model for row in gather(entries).rows} == {model}
    assert gather(entries[:1]).models[0].dtype == "bfloat16"


def test_standings_count_the_tasks_that_tell_models_apart():
    entries = [
        run_entry("a", "people", strength=3, seed=1),
        run_entry("b", "people", strength=0.2, seed=2),
        run_entry("a", "places", seed=3),
        run_entry("a", "cities", n=40, seed=4),
        run_entry("b", "cities", n=40, seed=5),
        run_entry("c", "facts", n=40, seed=6),
        run_entry("d", "facts", n=40, seed=7),
    ]
    by = {s.model.name: s for s in gather(entries).standings()}
    assert [(s.first, s.decided, s.undecided, s.tasks) for _, s in sorted(by.items())] == [
        (1, 1, 1, 3),
        (0, 1, 1, 2),
        (0, 0, 1, 1),
        (0, 0, 1, 1),
    ]
    assert by["a"].share == wilson(1, 1)
    assert by["c"].nothing_decided == "nobody differs"
    assert "| a | 1 of 1 [0.21, 1.00] | 1 | 3 | recomputed |" in to_markdown(gather(entries))


def test_duels_count_paired_intervals():
    ends = [(0.1, 0.3), (-0.1, 0.1), (-0.3, -0.1), (0.2, 0.3)]
    entries = []
    for i, (low, high) in enumerate(ends):
        made = run_entry(f"m{i}", seed=i)
        entries.append(
            replace(
                made,
                detectors=(
                    made.detectors[0],
                    replace(made.detectors[1], difference_low=low, difference_high=high),
                ),
            )
        )
    (duel,) = gather(entries).duels()
    assert (duel.detector, duel.better, duel.level, duel.worse) == ("length", 2, 1, 1)


def test_csv_reads_back_and_absent_is_empty():
    board = gather(
        [run_entry("org/one"), run_entry("=cmd()"), paper_entry("org/Paper-7B", 0.8, spread=None)]
    )
    rows = list(csv.DictReader(io.StringIO(to_csv(board.rows))))
    assert len(rows) == len(board.rows)
    paper = next(r for r in rows if r["tier"] == "published")
    assert (paper["n"], paper["low"], paper["spread"], paper["protocol"], paper["auroc"]) == (
        "",
        "",
        "",
        "paper",
        "0.8",
    )
    assert {r["model"] for r in rows} == {"org/one", "'=cmd()", "org/Paper-7B"}


def test_markdown_and_latex_show_hostile_names_as_text():
    board = gather([run_entry(HOSTILE, slug="x"), run_entry("a|b\n# c")])
    text = to_markdown(board)
    assert "<img" not in text.replace(r"\<img", "") and "\n# c" not in text
    assert r"a\|b \# c" in text
    assert not re.search(r"(?<!\\)[<|`]", markdown(HOSTILE))
    assert latex(r"\input{x}_%&") == r"\textbackslash{}input\{x\}\_\%\&"
    assert to_latex(board).count(r"\begin{table}") == 1


def test_published_figures_keep_their_printed_form():
    board = gather([paper_entry("org/A-7B", 0.85), paper_entry("org/B-7B", 0.84, spread=0.02)])
    assert "| P1 | org/A-7B | 0.85 ± 0.004 |" in to_markdown(board)
    assert r"\textbf{0.85} {\scriptsize$\pm$0.004}" in to_latex(board)


@given(st.text(max_size=120))
def test_slugs_cannot_leave_their_folder(name):
    slug = safe_slug(name)
    assert (
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,110}|x-[0-9a-f]{8}", slug) and ".." not in slug
    )


@given(
    st.lists(
        st.text(alphabet="aA/.-_<é ", min_size=1, max_size=8), unique=True, min_size=2, max_size=6
    )
)
def test_slugs_keep_names_apart(names):
    assert len({safe_slug(n) for n in names}) == len(names)


@given(st.text())
def test_script_text_is_one_harmless_string(text):
    quoted = script_text(text)
    assert json.loads(quoted) == text
    assert not set("<>&'\u2028\u2029") & set(quoted)


def test_families_and_sizes_in_names():
    assert family_of("meta-llama/Meta-Llama-3-8B", None) == "Llama"
    assert family_of("any/name", "Qwen2") == "Qwen"
    assert size_in_name("mistralai/Mistral-7B-v0.3") == 7e9
    assert size_in_name("EleutherAI/pythia-410m") == 410e6
    assert size_in_name("tiny") is None


@pytest.fixture
def built(tmp_path):
    """Builds a site from given entries."""
    return lambda *entries: build_site(tmp_path, entries)


def test_build_writes_every_page_and_the_same_csv_twice(built):
    folder = built(run_entry("org/one"), run_entry("two", "places"), paper_entry("org/P-7B", 0.8))
    pages = {str(p.relative_to(folder / "site")) for p in (folder / "site").rglob("*.html")}
    assert pages == {
        "index.html",
        "compare.html",
        "about.html",
        "tasks/people.html",
        "tasks/places.html",
        "tasks/triviaqa.html",
        "models/org__one.html",
        "models/two.html",
        "models/org__P-7B.html",
    }
    assert (folder / "site/data/leaderboard.csv").read_text() == (
        folder / "leaderboards/leaderboard.csv"
    ).read_text()
    # the probe and its baseline, and the names
    assert (folder / "site/data/tasks/people.csv").read_text().count("\n") == 3
    assert (folder / "leaderboards/tables/people.csv").read_text() == (
        folder / "site/data/tasks/people.csv"
    ).read_text()
    assert "## people" in (folder / "leaderboards/README.md").read_text()


def test_a_rebuild_forgets_what_is_gone_and_spares_other_folders(built, tmp_path):
    built(run_entry("one"), run_entry("two", "places"))
    folder = built(run_entry("one"))
    assert (
        not (folder / "site/models/two.html").exists()
        and not (folder / "leaderboards/tables/places.csv").exists()
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="mine exists and is not a site"):
        build(tmp_path / "leaderboards", tmp_path / "mine")
    assert (tmp_path / "mine/thesis.tex").exists()


def test_a_run_without_a_row_is_said_with_its_reason(built, tmp_path):
    why = "3 correct and 397 wrong <answers>: fewer than 20 of one class."
    rows = [
        {"model": "two", "task": "people", "why": why},
        {"model": "one", "task": "people", "why": "a row came since"},
        {"model": "nobody", "task": "people", "why": "no such model"},
        {"model": "two", "task": "nothing", "why": "no such task"},
    ]
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards/absent.json").write_text(json.dumps(rows))
    folder = built(run_entry("one"), run_entry("two", "places"))
    text = (folder / "leaderboards/README.md").read_text()
    people = text.partition("## people")[2].partition("## places")[0]
    assert "No row of two: 3 correct and 397 wrong" in people and text.count("No row") == 1
    for page, words in (("tasks/people", "No row of "), ("models/two", "No row on ")):
        html = (folder / f"site/{page}.html").read_text()
        assert html.count(words) == 1 and "397 wrong &lt;answers&gt;" in html
    assert "No row" not in (folder / "site/models/one.html").read_text()
    (tmp_path / "leaderboards/absent.json").write_text("[3]")
    with pytest.raises(BadFileError, match="is no list of runs without a row, each with 'model'"):
        built(run_entry("one"))


def test_a_build_that_fails_leaves_the_site_that_was_there(built, tmp_path):
    folder = built(run_entry("one"), run_entry("two", "places"))
    files = [p for p in (folder / "site").rglob("*") if p.is_file()]
    before = {p: p.read_bytes() for p in files}

    def broken():
        yield run_entry("three")
        raise BadFileError("half of it")

    with pytest.raises(BadFileError, match="half of it"):
        built(*broken())
    with pytest.raises(BadFileError, match="half of it"):
        build_site(folder, broken())
    assert {p: p.read_bytes() for p in (folder / "site").rglob("*") if p.is_file()} == before


def test_a_full_disk_ends_a_build_with_its_name(built, monkeypatch):
    folder = built(run_entry("one"))
    page = (folder / "site/index.html").read_bytes()

    def full(self, *_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(RunError, match="No space left on device"):
        built(run_entry("two"))
    assert (folder / "site/index.html").read_bytes() == page


def test_hostile_text_stays_text_in_every_file(built):
    hostile = replace(
        run_entry(HOSTILE, slug="../../etc/passwd"),
        warnings=(HOSTILE,),
        family=HOSTILE,
        dtype=HOSTILE,
        revision=HOSTILE,
    )
    hostile = replace(
        hostile, detectors=(replace(hostile.detectors[0], label=HOSTILE), hostile.detectors[1])
    )
    folder = built(hostile, run_entry("good"))
    written = [p for p in (folder / "site").rglob("*") if p.is_file()]
    assert not (folder / "etc").exists() and all(folder / "site" in p.parents for p in written)
    for path in written:
        if path.suffix == ".html" or "data" in path.parts[-3:]:
            text = path.read_text()
            assert path.suffix == ".csv" or ("<img" not in text and "<script>" not in text), path
            assert "\u2028" not in text or path.suffix in {".html", ".csv"}


def test_a_task_page_says_each_run_in_a_sentence_and_draws_it_by_layer(built):
    run = run_entry("org/one")
    told = replace(
        run.detectors[1], difference=0.2, difference_low=0.1, difference_high=0.3, auroc=0.6
    )
    run = replace(run, detectors=(run.detectors[0], told))
    folder = built(run, paper_entry("org/P-7B", 0.8))
    page = " ".join((folder / "site/tasks/people.html").read_text().split())
    assert f"It is better than the hardest baseline, {told.label} (0.600)" in page
    assert page.count('class="curve c0"') == 2  # the line and its key
    assert "By layer" not in (folder / "site/tasks/triviaqa.html").read_text(), "papers have no map"


@pytest.mark.parametrize(("auroc", "shown"), [(0.9346, "0.93"), (0.674957, "0.67")])
def test_a_map_keeps_six_digits(auroc, shown):
    """.9346 is .93 on the page, as on every other map; by way of .935 it would be .94."""
    run = run_entry("org/one")
    cell = replace(run.cells[0], auroc=auroc)
    kept = map_data(replace(run, cells=(cell, *run.cells[1:])), "resid")["a"][0][0]
    assert f"{kept / 1e6:.2f}" == shown


def test_a_line_by_layer_breaks_where_a_layer_has_no_number():
    run = run_entry("org/one")
    at = CellName(site="resid", layer="1", position="-1")
    line = layer_curve(replace(run, selection=at))
    own = {c.layer: c.auroc for c in run.cells if c.position == "-1"}
    assert own["0"] is None and line.path.count("M") == 2
    assert line.auroc == own["1"] and line.path.startswith(f"M46.0 {down(own['emb']):.1f}")
    assert layer_curve(replace(run, current=False)) is None
    assert down(0.1) == down(0.3) > down(0.5) > down(1.0)


def test_pages_allow_no_inline_code_and_no_other_server():
    pages, scripts = ((HERE / a).glob(b) for a, b in (("templates", "*.html"), ("assets", "*.js")))
    pages, scripts = list(pages), [path for path in scripts if path.name != "d3.min.js"]
    assert pages and scripts
    for path in pages:
        text = path.read_text()
        assert not re.search(
            r"\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)|<style", text
        ), path
        assert "|safe" not in text and "https://" not in text, path
    policy = re.search(
        r'Content-Security-Policy" content="([^"]+)"', (HERE / "templates/base.html").read_text()
    )[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.html\("
    )
    for path in scripts:
        assert not re.search(unsafe, path.read_text()), path


def test_the_chart_library_is_the_published_file():
    content = (HERE / "assets/d3.min.js").read_bytes()
    assert D3[0].encode() in content[:60] and hashlib.sha256(content).hexdigest() == D3[1]
    assert "Permission to use, copy, modify" in (HERE / "assets/d3.LICENSE").read_text()
    assert all(
        word in (Path(__file__).parent.parent / "DECISIONS.md").read_text()
        for word in (D3[0], D3[1])
    )


def test_building_needs_no_torch():
    code = (
        "import sys; import probebench.leaderboard.board.build, "
        "probebench.leaderboard.board.entries; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_detector_of_one_class_is_shown_without_a_rank():
    y = np.ones(50, dtype=np.int64)
    made = run_entry("odd", n=50)
    odd = replace(
        made,
        carried=decisions({"probe": np.arange(50.0)}, y),
        detectors=(replace(made.detectors[0], low=None, high=None),),
    )
    rows = {r.model.name: r for r in gather([odd, run_entry("good")]).rows if r.headline}
    assert rows["odd"].rank is None and rows["good"].rank is None
    assert (
        detector("probe", "p", made.carried.label, made.carried.values["probe"]).auroc
        == made.detectors[0].auroc
    )


def test_runs_and_published_figures_of_a_model_are_never_counted_together():
    entries = [
        run_entry("org/M-7B", "triviaqa", strength=3.0, seed=1),
        run_entry("org/N-7B", "triviaqa", strength=1.0, seed=2),
        paper_entry("org/M-7B", 0.7),
        paper_entry("org/O-7B", 0.9),
    ]
    found = [(s.model.name, s.tiers, s.first, s.decided) for s in gather(entries).standings()]
    assert found == [
        ("org/M-7B", ("recomputed",), 1, 1),
        ("org/N-7B", ("recomputed",), 0, 1),
        ("org/O-7B", ("published",), 1, 1),
        ("org/M-7B", ("published",), 0, 1),
    ]


def test_what_has_nothing_to_rank_has_no_rank():
    made = [run_entry(f"m{i}", seed=i) for i in range(3)]
    majority = [
        replace(e.detectors[1], name="majority", auroc=0.5, low=0.5, high=0.5) for e in made
    ]
    flat = [replace(e, detectors=(e.detectors[0], m)) for e, m in zip(made, majority, strict=True)]
    rows = gather(flat).rows
    assert {r.rank for r in rows if r.detector == "majority"} == {None} and all(
        r.rank for r in rows if r.headline
    )


def test_ensembles_are_no_simpler_signals():
    made = run_entry("m", seed=0)
    stack = replace(made.detectors[1], name="ensemble_stacked", kind="ensemble")
    assert [
        d.detector for d in gather([replace(made, detectors=(*made.detectors, stack))]).duels()
    ] == ["length"]


def test_the_hardest_baseline_is_of_the_same_run():
    weak, strong = run_entry("org/a", seed=1), run_entry("org/a", "places", seed=2)
    rows = gather([weak, strong, run_entry("org/b", seed=3)]).rows
    for row in (r for r in rows if r.headline):
        own = [
            r.auroc
            for r in rows
            if (r.model.slug, r.task, r.kind) == (row.model.slug, row.task, "baseline")
        ]
        assert own and hardest_baselines(rows)[row.run].auroc == max(own)
    assert hardest_baselines(r for r in rows if r.kind != "baseline") == {}


def test_the_hardest_baseline_is_the_nearest_where_baselines_score_other_examples():
    made = run_entry("m")
    common, own = made.detectors[1], made.detectors[1]
    common = replace(common, auroc=0.72, difference=0.02, difference_low=0.01)
    own = replace(own, name="p_true", auroc=0.51, difference=-0.01, difference_low=-0.03, n=250)
    rows = gather([replace(made, detectors=(made.detectors[0], common, own))]).rows
    hardest = hardest_baselines(rows)
    assert [r.detector for r in hardest.values()] == ["p_true"]
    (said_of,) = said([r for r in rows if r.headline], hardest, {}, {})
    assert said_of.verdict == "undecided"
    assert said_of.probe_there == (pytest.approx(0.5), 250), "and not the probe of all examples"


def test_where_nothing_can_be_ranked_the_best_stands_alone():
    few = [run_entry(name, seed=k, n=12) for k, name in enumerate(("one", "two"))]
    rows = [r for r in gather(few).rows if r.headline]
    assert [r.rank for r in rows] == [None, None]
    (first,) = _first_group(rows, published=False)
    assert first.auroc == max(r.auroc for r in rows)


def test_a_row_says_what_of_it_is_old():
    new, task, protocol = (
        run_entry("a", protocol_version=PROTOCOL_VERSION, current=current, task_version=version)
        for current, version in ((True, 2), (False, 1), (False, 2))
    )
    protocol = replace(protocol, protocol_version=1)
    assert [gather([e]).rows[0].old for e in (new, task, protocol)] == [
        "",
        "version 1",
        "protocol 1",
    ]
