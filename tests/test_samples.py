"""One sample per comparison: the terminal, reports and cards say the same numbers, each with the n
that it is over."""

import io
import json
import re

import numpy as np
import pytest
from records import record as whole_record
from rich.console import Console

import probebench
from probebench.metrics.auroc import auroc
from probebench.metrics.paired import paired
from probebench.record.claims import chance, chance_sentence, coverage, outcome
from probebench.record.schema import Record
from probebench.report.content import build_report
from probebench.report.probecard.card import probe_card
from probebench.report.probecard.markdown import to_markdown as card_text
from probebench.report.sections.headline import key_figures, sentences
from probebench.report.terminal.summary import print_summary
from probebench.report.write import latex, markdown
from probebench.report.write.html import to_html

TOWNS, PEOPLE = ("Paris", "France", "river"), ("Anna", "Smith", "poet")


@pytest.fixture(scope="module")
def make(tmp_path_factory, model_folder):
    """A run at some positions, on answers of which one in sixteen has no exact answer."""
    folder = tmp_path_factory.mktemp("samples")
    rng, rows = np.random.default_rng(1), []
    for i in range(300):
        label = int(rng.integers(2))
        word = (TOWNS if label else PEOPLE)[rng.integers(3)] if rng.random() < 0.9 else "letter"
        answer = f"{word} is near the {rng.choice(TOWNS)}." if i % 16 else "P"
        exact = word if i % 16 else None
        rows.append(
            {
                "id": f"q{i}",
                "question": f"Where was {rng.choice(TOWNS)} {i}?",
                "answer": answer,
                "label": label,
                "exact_answer": exact,
                "group": f"g{i // 2}",
            }
        )
    (folder / "towns.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))

    def make(*positions):
        return probebench.evaluate(
            str(model_folder()),
            answers=folder / "towns.jsonl",
            out=folder / positions[-1],
            shuffles=20,
            layers=(1,),
            positions=positions,
        )

    return make


@pytest.fixture(scope="module")
def common(make):
    """The selected cell's token is in all test answers; baselines of the exact answer score those
    that have one."""
    return make("last_q", "second_answer")


@pytest.fixture(scope="module")
def rare(make):
    """The selected cell's token is in a part of the test answers only."""
    return make("last_q", "exact_answer_last")


def terminal(run, width=80):
    """What `probebench eval` prints."""
    console = Console(width=width, highlight=False, record=True, file=io.StringIO())
    print_summary(run, console)
    return " ".join(console.export_text().split())


def views(run):
    """Every view of a run as plain text on one line."""
    report = build_report([run])
    html = re.sub(r"<(style|head)>.*?</\1>|<[^>]*>", " ", to_html(report), flags=re.DOTALL)
    found = {
        "html": html,
        "md": markdown.to_markdown(report),
        "tex": latex.to_latex(report).replace("$-$", "-"),
        "card": card_text(probe_card(run)),
        "terminal": terminal(run),
    }
    return {
        k: " ".join(v.replace("\u2212", "-").replace("\u00a0", " ").replace("\\", "").split())
        for k, v in found.items()
    }


PAIR = re.compile(r"([+-]?\d\.\d{3})\*{0,2} \[[^\]]*\],? n = ([\d,]+)")
"""A number with its interval and its n."""


def samples(record):
    """(number as written, n) of everything in a record that may stand beside an n."""
    s = record["selection"]
    found = [(s["test_auroc"], s["n_test"])]
    for own in filter(None, record["readable"].values()):
        found += [(own["cell"]["auroc"], own["n"]), (own["best_baseline"]["auroc"], own["n"])]
        found += [(own["difference"], own["n"])]
    for d in record["detectors"]:
        found += [(d["auroc"], d["n"]), (d["probe_minus_this"], d["n"])]
    found += [
        (p["test_auroc"], p["n_test"]) for p in record["by_position"] if p["layer"] is not None
    ]
    for c in filter(None, (record["confounds"][k] for k in ("linear", "residual"))):
        found += [(c["auroc"], c["n"]), (c["probe_minus_this"], c["n"])]
    found += [(record["said"]["within"]["auroc"], record["said"]["within"]["n"])]
    written = {(f"{v:{sign}.3f}", n) for v, n in found if v is not None for sign in ("", "+")}
    return written | {("0.000", n) for _, n in found}


@pytest.mark.parametrize("which", ["common", "rare"])
def test_every_view_says_the_same_numbers_with_their_n(which, request, monkeypatch):
    monkeypatch.setattr(
        "probebench.report.write.html.data_uri", lambda figure, scheme, narrow=False: ""
    )
    run = request.getfixturevalue(which)
    s, own = run.record["selection"], run.record["readable"]["after"]
    signal = own["best_baseline"]
    known = samples(run.record)
    for view, text in views(run).items():
        pairs = {(value, int(n.replace(",", ""))) for value, n in PAIR.findall(text)}
        assert pairs <= known, view
        if view == "tex":  # tables only
            row = (
                f"{own['cell']['auroc']:.3f} & {signal['label']} & {signal['auroc']:.3f} & "
                f"{own['difference']:+.3f} & "
            )
            assert row in text
            assert re.match(rf"\[\S+ \S+\] & {own['n']} ", text.split(row)[1])
            assert f"after: {signal['n_validation']})" in text
            continue
        assert (f"{s['test_auroc']:.3f}", s["n_test"]) in pairs, view
        assert (f"{own['difference']:+.3f}", own["n"]) in pairs, view
        assert re.search(rf"\b{signal['auroc']:.3f}\b", text), view
        assert f"validation, n = {signal['n_validation']}" in text, view
        if s["n_test"] < run.record["counts"]["test"]["n"]:
            assert f"{s['n_test']} of" in text, view


def test_the_table_stands_on_the_examples_of_the_probe_whatever_others_lack(common, rare):
    """And samples differ here; else the tests above would show nothing."""
    c, s = common.record["comparison"], common.record["selection"]
    assert (
        c["n_compared"]
        == s["n_test"]
        == common.record["readable"]["after"]["n"]
        == common.record["counts"]["test"]["n"]
    )
    first, *others = common.record["detectors"]
    assert (first["auroc"], first["n"]) == (s["test_auroc"], s["n_test"])
    fewer = [d for d in others if d["n"] < s["n_test"]]
    assert fewer and all(d["probe_auroc"] != s["test_auroc"] for d in fewer)
    assert coverage(common.record) is None
    r = rare.record
    assert coverage(r) == (r["selection"]["n_test"], r["counts"]["test"]["n"])
    assert r["selection"]["n_test"] < r["counts"]["test"]["n"]


def test_the_same_cell_on_the_same_examples_has_one_interval(rare):
    """On the map, against its baseline and in the table of detectors: the n is one, so every number
    is."""
    r = rare.record
    s, own, row = r["selection"], r["readable"]["after"], r["detectors"][0]
    assert s["n_test"] == own["n"] == row["n"] < r["counts"]["test"]["n"]
    assert (
        s["test_auroc"]
        == pytest.approx(own["cell"]["auroc"], abs=1e-12)
        == pytest.approx(row["auroc"], abs=1e-12)
    )
    for ends in (own["cell"]["auroc_95"], row["auroc_95"]):
        assert s["test_auroc_95"] == pytest.approx(ends, abs=1e-9)


def test_counts_of_the_selected_cell_are_those_of_its_decisions(common, rare):
    for run in (common, rare):
        own = run.predictions[lambda t: (t.detector == "probe") & t.decision.notna()]
        test, s = own[own.split == "test"], run.record["selection"]
        assert (s["n_test"], s["n_test_correct"]) == (len(test), test.label.sum())
        assert s["n_validation"] == (own.split == "validation").sum()
        assert run.record["labels"] == {"judged": 0, "given": 300}


def test_a_card_counts_the_answers_that_its_cell_has(rare):
    card, answers = probe_card(rare), rare.answers
    there = answers.exact_answer.notna()
    n = {split: int((there & (answers.split == split)).sum()) for split in ("train", "test")}
    assert (card["training"]["n_train"], card["performance"]["n_eval"]) == (n["train"], n["test"])
    assert card["performance"]["auroc"] == rare.record["selection"]["test_auroc"]
    assert (
        f"| tested on | {n['test']} of {(answers.split == 'test').sum()} answers: the others"
        in card_text(card)
    )


def test_key_figures_beside_the_signal_are_of_one_sample(common):
    """Where the signal lacks examples of the cell, the card says the probe's AUROC on the ones it
    has, too."""
    plain = common.record.plain()
    own = plain["readable"]["after"]
    own |= {"n": 31, "difference": -0.1, "difference_95": [-0.2, 0.01]}
    own["cell"]["auroc"] = 0.8123
    record = Record.from_plain(plain)
    items = {name: value.replace("\u00a0", " ") for name, value in key_figures(record).items}
    assert items["Test AUROC"].endswith(f"n = {record['selection']['n_test']}")
    assert items["Test AUROC beside the signal"].startswith("0.812 ")
    signal = "Best simpler signal, chosen on validation"
    assert all(
        "n = 31" in items[k] for k in ("Test AUROC beside the signal", signal, "Probe minus signal")
    )
    said = " ".join(sentences(record))
    assert "On the 31 test answers that both score the probe has 0.812" in said
    assert "not distinguishable on these 31 answers" in said
    own["n"] = record.selection.n_test
    record = Record.from_plain(plain)
    assert "Test AUROC beside the signal" not in dict(key_figures(record).items)


def chances(p, map_p, ends=(0.4, 0.6)):
    """A record with these tests of its selected cell."""
    return whole_record(
        selection={"p": p, "test_auroc_95": list(ends)},
        controls={"permutation": {"max_statistic_p": map_p}},
    )


def test_chance_is_what_shuffled_labels_say_and_not_the_interval():
    wide, high = (0.4, 0.8), (0.55, 0.8)
    # though the interval contains one half
    assert chance(chances(0.01, 0.02, wide)).verdict == "above"
    assert "negative" not in chance_sentence(chances(0.01, 0.02, wide))
    assert chance(chances(0.3, 0.4, high)).verdict == "level"  # though the interval does not
    said = chance_sentence(chances(0.3, 0.4, high))
    assert (
        "not distinguishable from chance (p = 0.300 against shuffled labels; whole map: "
        "max-statistic p = 0.400)" in said
    )
    assert "map as a whole that cannot be said" in chance_sentence(chances(0.01, 0.2))
    assert "though the map is" in chance_sentence(chances(0.2, 0.01))
    assert chance(chances(0.99, 0.9, (0.2, 0.4))).verdict == "below"
    assert "ranks the wrong way round" in chance_sentence(chances(0.99, 0.9))
    assert "p < 0.001" in chance_sentence(chances(1e-6, None))


def test_without_shuffled_labels_the_interval_is_said_to_decide():
    assert not chance(chances(None, None)).tested
    said = chance_sentence(chances(None, None))
    assert "no test by shuffled labels; the interval contains 0.5" in said
    assert chance(chances(None, None, (0.6, 0.8))).verdict == "above"
    assert chance(chances(None, None, (None, None))).verdict == "unknown"
    assert "nothing is claimed" in chance_sentence(chances(None, None, (None, None)))


def test_no_sentence_says_better_and_chance_at_once():
    assert [outcome(e) for e in ((0.01, 0.2), (-0.2, -0.01), (-0.2, 0.01), (None, None))] == [
        "better",
        "worse",
        "undecided",
        "undecided",
    ]


def test_paired_numbers_are_over_what_both_score():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    a, b = y + rng.normal(size=200), y + 2 * rng.normal(size=200)
    a[:30], b[20:60] = np.nan, np.nan
    groups = [f"g{i // 2}" for i in range(200)]
    found = paired(y, y, a, b, groups, 3)
    both = np.arange(60, 200)
    alone = paired(y[both], y[both], a[both], b[both], groups[60:], 3)
    assert found.n == 140
    assert found.rows.tolist() == both.tolist()
    assert found.correct == (y[both].sum(),) * 2
    assert found.values == alone.values == (auroc(y[both], a[both]), auroc(y[both], b[both]))
    assert (found.interval, found.se, found.p, found.delong_p) == (
        alone.interval,
        alone.se,
        alone.p,
        alone.delong_p,
    )
    assert found.difference == found.values[0] - found.values[1]


def test_p_and_interval_of_a_difference_never_contradict():
    rng, seen = np.random.default_rng(1), set()
    for k in range(40):
        y = rng.integers(0, 2, 80)
        found = paired(
            y,
            y,
            y + rng.normal(size=80),
            rng.uniform(0, 1.2) * y + rng.normal(size=80),
            list(map(str, range(80))),
            k,
        )
        seen.add(found.p < 0.05)
        assert (found.p < 0.05) == (not found.interval.low <= 0 <= found.interval.high)
    assert seen == {True, False}


def test_a_run_of_statements_names_no_judge_and_no_limit(common, monkeypatch):
    monkeypatch.setattr(
        "probebench.report.write.html.data_uri", lambda figure, scheme, narrow=False: ""
    )
    record = common.record.plain()
    record["task"] |= {"kind": "statements", "judge": "aliases", "name": "facts"}
    for c in record["counts"].values():
        c["not_stopped"] = c["n"]
    for kept in (
        record,
        {k: v for k, v in record.items() if k != "labels"},
    ):  # a record before that key, too
        run = type(common)(common.folder, Record.from_plain(kept))
        for view, text in views(run).items():
            assert "Cut off" not in text, view
            assert "aliases" not in text, view
        assert "labels given with the statements" in views(run)["md"]


def test_a_judge_is_named_where_it_was_asked(common):
    def said(**labels):
        task = common.record.task.changed(kind="qa", judge="aliases")
        record = common.record.changed(labels=labels, task=task)
        return views(type(common)(common.folder, record))["md"]

    assert "judge aliases; exact" in said(judged=300, given=0)
    assert "judge aliases for 100 answers, labels given with 200" in said(judged=100, given=200)
    assert "judge aliases" not in said(judged=0, given=300)


def test_limit_and_data_stand_in_every_view(common, monkeypatch):
    from probebench.record.shown.captions import caption

    monkeypatch.setattr(
        "probebench.report.write.html.data_uri", lambda figure, scheme, narrow=False: ""
    )
    record = common.record.plain()
    record["settings"] |= {"answers": None, "limit": 1200, "data": ["/a/b/one.jsonl", "two.csv"]}
    run = type(common)(common.folder, Record.from_plain(record))
    words = "questions of one.jsonl, two.csv (--data); 1,200 examples at most (--limit)"
    for view, text in views(run).items():
        if view != "tex":  # tables only
            assert words in text, view
    assert words in caption(run.record, ["a line"])
    assert "(--limit)" not in terminal(common)
    assert "answers of towns.jsonl (--answers)" in caption(common.record, [])
