"""Reports: what they say is what the record holds, whatever stands in the texts, and the page needs
nothing from elsewhere."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from records import PROBE

import probebench
from probebench.cli.report import report_command
from probebench.errors import BadFileError, UnknownNameError, UsageError
from probebench.record.claims import headline
from probebench.record.run import Run
from probebench.record.schema import Record
from probebench.report.blocks import Number, Range, Table
from probebench.report.content import build_report, run_names
from probebench.report.format import interval, number, p_value
from probebench.report.plots import plot_detectors
from probebench.report.sections.detectors import detectors_figure
from probebench.report.sections.examples import examples_of
from probebench.report.sections.headline import sentences
from probebench.report.write import escape as markup
from probebench.report.write import latex, markdown
from probebench.report.write.files import write_report
from probebench.report.write.html import clip

ASKED = "<script>alert('x')</script> | a_b $x^2$ 100 % #1"
SAID = "<img src=x onerror=alert(1)> & \\input{y} {z} ~ [l](http://e.org) **b** `c`"
VOID = {"meta", "img", "source", "br", "link", "input", "hr", "wbr"}


@pytest.fixture(scope="module")
def run(model_folder, tmp_path_factory):
    """A small random model on answers made elsewhere, every text hostile."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    words = ["Paris", "river", "poet", "Anna", "letter", "capital", "France", "Smith"]
    rows = []
    for i in range(240):
        answer = (
            f" It is {words[rng.integers(8)]} {words[rng.integers(8)]}. "
            f"{SAID}\nAnd\x00\x1b[31m\u202e."
        )
        question = f"Where was {words[rng.integers(8)]} {i}? {ASKED}"
        rows.append(
            {
                "id": f"<i>a{i}|_&",
                "question": question,
                "answer": answer,
                "label": i % 2,
                "exact_answer": answer.split()[2],
                "group": f"g{i // 2}",
                "references": ["\\end{table}<b>"],
            }
        )
    path = folder / "hostile_task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return probebench.evaluate(
        str(model_folder("llama")),
        answers=path,
        sites=("resid", "mlp.down"),
        shuffles=0,
        positions=("last_q", "exact_answer_last", "-1"),
        out=folder / "run",
        device="cpu",
    )


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """The page of that run."""
    return page(tmp_path_factory.mktemp("page"), run)


@pytest.fixture
def undrawn(monkeypatch):
    """Pages without pictures, for tests of what stands around them."""
    monkeypatch.setattr(
        "probebench.report.write.html.data_uri",
        lambda figure, scheme, narrow=False: "data:image/svg+xml;base64,",
    )


def changed(run, **fields):
    """The same run with other fields in its record; None removes one."""
    record = run.record.plain()
    for name, value in fields.items():
        if value is None:
            record.pop(name, None)
        else:
            record[name] = value
    return dataclasses.replace(run, record=Record.from_plain(record))


def page(tmp_path, *runs, **options):
    (path,) = write_report(runs, tmp_path / "page.html", **options)
    return path.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Tags in order, with an error where they do not nest."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.ids, self.words, self.values = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        assert not [name for name in found if name.startswith("on") or name == "style"], (
            tag,
            found,
        )
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "data":
            self.values.append(float(found["value"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style",):
            self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader


def test_page_is_whole_and_needs_nothing_from_elsewhere(whole):
    reader = read(whole)
    assert len(reader.ids) == len(set(reader.ids))
    tags = [tag for tag, _ in reader.tags]
    assert not {"script", "link", "iframe", "object", "embed", "form", "base", "svg"} & set(tags)
    assert tags.count("h1") == 1
    for tag, found in reader.tags:
        assert found.get("src", "data:image/svg+xml;base64,").startswith(
            "data:image/svg+xml;base64,"
        ), tag
        assert "srcset" not in found
        if "href" in found:
            assert found["href"].startswith("#")
            assert found["href"][1:] in reader.ids
        if tag == "img":
            assert re.search(r"\d\.\d\d", found["alt"])
        if tag == "th":
            assert found["scope"] in ("row", "col")
    assert {"a", "img", "th"} <= set(tags), "what the loop looks at is there"
    tables, captions = tags.count("table"), tags.count("caption")
    assert tables == captions > 5
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h\d", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    policy = next(
        found["content"]
        for tag, found in reader.tags
        if found.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_style_is_the_one_that_the_policy_allows(whole):
    import base64
    import hashlib

    style = re.search(r"<style>(.*?)</style>", whole, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in whole
    assert "url(" not in style
    assert "@import" not in style
    for need in (
        "prefers-color-scheme: dark",
        "prefers-reduced-motion",
        "@media print",
        "max-width: 40rem",
    ):
        assert need in style


def test_pictures_let_the_shadow_of_what_lies_beyond_through(whole):
    style = re.search(r"<style>(.*?)</style>", whole, re.DOTALL).group(1)
    blended = dict(re.findall(r"figure \.(light|dark) \{ mix-blend-mode: (\w+); \}", style))
    assert blended == {"light": "multiply", "dark": "lighten"}, "both are opaque"


def test_the_words_below_a_picture_are_those_of_the_report(run, whole):
    """What stands in small type below a map as a file stands below it in the report too."""
    words = " ".join("".join(read(whole).words).split())
    small = run.plot().get_figure().get_supxlabel()
    assert "Examples: answers of hostile_task.jsonl (--answers)." in small
    for line in " ".join(small.split()).split(". "):
        assert line in words


def test_foreign_texts_stay_texts(run, undrawn, tmp_path):
    paths = write_report([run], tmp_path / "r.html", formats=("html", "md", "tex"))
    html, md, tex = (path.read_text(encoding="utf-8") for path in paths)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "<i>" not in html
    assert "&lt;script&gt;alert(" in html
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", html + md + tex)
    words = "".join(read(html).words)
    assert ASKED in words  # shown as it is, not cut out
    assert SAID in words
    assert not re.search(r"(?<!\\)<", re.sub(r"```.*?```", "", md, flags=re.DOTALL))
    assert not re.search(r"(?<!\\)\]\(", md)
    rows = [line for line in md.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    for line in rows:
        assert len(re.findall(r"(?<!\\)\|", line)) == len(
            re.findall(r"(?<!\\)\|", table_head(md, line))
        )
    assert r"\input{y}" not in tex
    assert "<b>" not in tex


def table_head(md, line):
    lines = md.splitlines()
    at = lines.index(line)
    while lines[at - 1].startswith("|"):
        at -= 1
    return lines[at]


def test_numbers_are_the_records(run, whole):
    reader = read(whole)
    shown, words = set(reader.values), "".join(reader.words)
    for d in run.record["detectors"]:
        assert d["auroc"] in shown, d["name"]
        assert interval(d["auroc_95"]) in words
        assert d["label"] in words
        for m in d["metrics"].values():
            assert m["value"] is None or m["value"] in shown
    for row in run.record["by_position"]:
        assert row["layer"] is None or row["test_auroc"] in shown
    for value in run.matrix().to_numpy().ravel():
        assert np.isnan(value) or value in shown
    for b in run.record.get("calibration", {"bins": []})["bins"]:
        assert {b["mean_predicted"], b["fraction_correct"]} <= shown
    for text in (
        run.record["package"]["version"],
        run.record["model"]["revision"],
        run.record["key"],
        *run.record["warnings"],
    ):
        assert text in words


def test_the_headline_states_negative_results(run):
    probe = PROBE | {
        "name": "probe",
        "label": "probe",
        "kind": "probe",
        "n": 90,
        "n_correct": 40,
        "auroc": 0.7,
        "auroc_95": [0.6, 0.8],
    }
    rival = PROBE | {
        "name": "length",
        "label": "length",
        "kind": "baseline",
        "n": 90,
        "auroc": 0.6,
        "auroc_95": [0.5, 0.7],
    }

    def said(low, high, **own):
        row = {**rival, "probe_minus_this": (low + high) / 2, "probe_minus_this_95": [low, high]}
        found = changed(
            run, readable=None, detectors=[probe, row], selection={**run.record["selection"], **own}
        ).record
        return headline(found).outcome, " ".join(sentences(found))

    assert said(0.02, 0.2)[0] == "better"
    assert "negative" not in said(0.02, 0.2)[1]
    low = {**probe, "auroc": 0.55, "auroc_95": [0.4, 0.7]}
    row = {**rival, "auroc": 0.3, "probe_minus_this": 0.25, "probe_minus_this_95": [0.02, 0.4]}
    both = changed(run, readable=None, detectors=[low, row]).record
    assert headline(both).outcome == "chance"  # a constant would be as much better
    assert "the signal is lower and the probe itself is not above 0.5" in " ".join(sentences(both))
    assert said(-0.02, 0.2)[0] == "undecided"
    assert "a negative result, the two are not distinguishable" in said(-0.02, 0.2)[1]
    assert said(-0.2, -0.02)[0] == "worse"
    assert "a negative result, the simpler signal is better" in said(-0.2, -0.02)[1]
    assert "not distinguishable from chance" in said(0.02, 0.2, test_auroc_95=[0.45, 0.8])[1]
    assert (
        "the interval lies below 0.5, so the probe ranks the wrong way round"
        in said(0.02, 0.2, test_auroc_95=[0.2, 0.4])[1]
    )
    assert "This is below chance (p = 0.990" in said(0.02, 0.2, p=0.99)[1]
    alone = changed(run, readable=None, detectors=[probe]).record
    assert headline(alone).outcome == "alone"
    assert "no simpler signal" in " ".join(sentences(alone))


def test_the_rival_is_the_one_chosen_on_validation(run):
    h = headline(run.record)
    chosen = run.record["readable"][run.record["selection"]["readable"]]["best_baseline"]
    assert h.signal["name"] == chosen["name"]
    assert h.rule == f"chosen on validation, n = {chosen['n_validation']}"
    assert headline(changed(run, readable=None).record).rule == "the nearest on test"


def test_examples_follow_their_rule(run):
    lists = examples_of(run, 5)
    own = run.predictions[
        lambda t: (t.detector == "probe") & (t.split == "test") & t.scored
    ].set_index("id")
    cut = run.record["detectors"][0]["metrics"]["accuracy"]["threshold"]
    groups = run.answers.set_index("id").group
    assert [(r.items[0].label if r.items else None, r.right) for r in lists] == [
        (1, True),
        (0, True),
        (0, False),
        (1, False),
    ]
    for found in lists:
        high = "it trusts" in found.title
        decisions = [e.decision for e in found.items]
        assert decisions == sorted(decisions, reverse=high)
        assert len({groups[e.id] for e in found.items}) == len(found.items)
        for e in found.items:
            assert own.decision[e.id] == e.decision
            assert own.label[e.id] == e.label
            assert (e.decision >= cut) == high
            assert e.rank == 1 + (own.decision > e.decision).sum()
        side = own[(own.label == found.items[0].label) & ((own.decision >= cut) == high)]
        assert decisions[0] == (side.decision.max() if high else side.decision.min())
        assert found.rule.startswith(f"{len(side)} ")
    assert examples_of(run, 0) == []


def test_same_run_same_bytes(run, whole, tmp_path):
    again = Run.load(run.folder)
    assert page(tmp_path, again) == whole
    first, second = (
        [write(build_report([r])) for write in (markdown.to_markdown, latex.to_latex)]
        for r in (run, again)
    )
    assert first == second


def test_absent_fields_are_left_out_and_null_ones_say_why(run, undrawn, tmp_path):
    optional = (
        "published",
        "resplits",
        "confounds",
        "calibration",
        "learning_curve",
        "label_noise",
        "sampled",
        "by_position",
        "readable",
        "warnings",
    )
    bare = page(tmp_path, changed(run, **dict.fromkeys(optional)))
    for title in (
        "Beside published figures",
        "Calibration",
        "What else it could be reading",
        "Under another judge",
    ):
        assert title not in bare
    assert "Not measured" not in bare
    nulls = dict.fromkeys(("label_noise", "learning_curve", "published"))
    nulled = dataclasses.replace(run, record=run.record.changed(**nulls))
    reader = read(page(tmp_path, nulled))
    words = "".join(reader.words)
    assert "run-1-unmeasured" in reader.ids
    assert "none are known for this model and task" in words
    assert "--label-noise JUDGE" in words
    assert "--train-sizes" in words


def test_further_studies_are_shown(run, undrawn, tmp_path):
    score = {"auroc_95": [0.5, 0.7], "n": 60, "n_correct": 30}
    under = {
        "scored_under_first": {"auroc": 0.61, **score},
        "scored_under_second": {"auroc": 0.62, **score},
    }
    noise = {
        "judge": "exact<>",
        "n": 240,
        "by_split": {},
        "n_test": 60,
        "with_opinion": 240,
        "agreement": 0.93,
        "kappa": 0.8,
        "only_second_says_correct": 4,
        "only_first_says_correct": 5,
        "scores": {"fitted_to_first": under},
        "refit": {"C": None, "reason": "one class only"},
        "change": -0.0123,
        "change_95": [-0.05, 0.02],
        "attenuation": {
            "wrong_among_labelled_correct": 0.031,
            "correct_among_labelled_wrong": 0.042,
            "factor": 0.927,
            "factor_95": [0.9, 0.95],
            "observed": 0.64,
            "predicted": 0.6543,
            "predicted_95": [0.5, 0.7],
            "bias": -0.0143,
            "n": 60,
        },
    }
    single = {"sd": None, "aurocs": [], "C": []}
    points = [
        {"n": 50, "auroc": 0.5511, "auroc_95": [0.5, 0.6], "repeats": 10, **single},
        {"n": 90, "auroc": None, "auroc_95": [None, None], "repeats": 0, **single},
    ]
    curve = {
        "site": "resid",
        "layer": "1",
        "position": "-1",
        "n_test": 60,
        "points": points,
        "all": {"n": 180, "auroc": 0.5922, "auroc_95": [0.5, 0.7], "C": None},
        "too_large": [],
        "n_test_correct": 30,
    }
    row = {
        "model": "m",
        "task": "t",
        "detector": "probe@-1",
        "auroc": 0.8123,
        "spread": 0.004,
        "source": "arXiv:1 Table 2",
        "ours": "-1",
        "ours_is": "position",
        "our_auroc": 0.7321,
        "our_auroc_95": [0.7, 0.8],
        "our_n": 60,
    }
    papers = {
        "rows": [row],
        "sign": "Signs agree.",
        "differs": ["Split: other."],
        "error_types": [],
        "transfer": [],
        "cite": "orgad2025llms",
    }
    reader = read(
        page(tmp_path, changed(run, label_noise=noise, learning_curve=curve, published=papers))
    )
    words = "".join(reader.words)
    assert {0.61, 0.62, 0.5511, 0.5922, 0.8123, 0.7321} <= set(reader.values)
    for text in (
        "93.0",
        "exact<>",
        "−0.012",
        "0.654",
        "arXiv:1 Table 2",
        "Split: other.",
        "Signs agree.",
        "one class only",
    ):
        assert text in words


def test_several_runs_have_an_overview(run, undrawn, tmp_path):
    other = tmp_path / "again"
    shutil.copytree(run.folder, other, ignore=shutil.ignore_patterns("stages"))
    matrix = tmp_path / "transfer.csv"
    matrix.write_text("train_task,one,two\none,0.8125,0.5375\ntwo,,0.7\n")
    reader = read(page(tmp_path, run.folder, other, transfer=matrix, title="Both & more"))
    words = "".join(reader.words)
    assert "Both & more" in words
    assert "(again)" in words
    assert {"overview", "run-1", "run-2", "run-2-detectors", "transfer"} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert {0.8125, 0.5375} <= set(reader.values)


def test_the_long_table_of_transfer_is_read_too(run, undrawn, tmp_path):
    rows = [
        ("pair", "source", "a", "b", 0.61),
        ("pair", "source", "b", "a", 0.62),
        ("pair", "source", "a", "a", 0.9),
        ("pair", "source", "b", "b", 0.8),
        ("pair", "target", "a", "b", 0.11),
    ]
    table = pd.DataFrame(rows, columns=["kind", "at", "train_task", "test_task", "auroc"])
    table.to_csv(tmp_path / "transfer.csv", index=False)
    values = read(page(tmp_path, run, transfer=tmp_path / "transfer.csv")).values
    assert 0.61 in values
    assert 0.11 not in values
    for wrong in ("a,b\nx,y\n", "a,b\n1,2\n", "train_task,one\none,-0.25\n"):
        (tmp_path / "wrong.csv").write_text(wrong)
        with pytest.raises(BadFileError, match="train task by test task"):
            page(tmp_path, run, transfer=tmp_path / "wrong.csv")
    for name in ("difference", "mahalanobis_cosine"):
        other = tmp_path / f"transfer_source_{name}.csv"
        other.write_text("train_task,one\none,0.25\n")
        with pytest.raises(BadFileError, match=f"holds {name}, not AUROC"):
            page(tmp_path, run, transfer=other)
    topics = table.assign(kind="topic")
    topics.to_csv(tmp_path / "topics.csv", index=False)
    with pytest.raises(BadFileError, match="holds no two tasks"):
        page(tmp_path, run, transfer=tmp_path / "topics.csv")
    with pytest.raises(BadFileError, match="no table"):
        page(tmp_path, run, transfer=tmp_path / "none.csv")


@pytest.mark.parametrize("ending", [".pdf", ".htm", ".PDF", ".txt"])
def test_an_ending_that_is_none_of_a_report_is_refused(run, tmp_path, ending):
    with pytest.raises(
        UsageError, match=rf"r{ending}'? ends in {ending}; a report is html, md, tex"
    ):
        write_report([run], tmp_path / f"r{ending}")
    assert not list(tmp_path.iterdir())


def test_latex_tables_are_well_formed(run, tmp_path):
    (path,) = write_report([run], tmp_path / "r.html", formats=("tex",))
    text = path.read_text()
    tables = re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.DOTALL)
    assert len(tables) > 4
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == len(tables)
    for table in tables:
        assert [table.count(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 1, 1]
        bare = re.sub(r"\\[\\{}&%$#_]", lambda m: " " if m.group() != "\\\\" else "\\\\", table)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        columns = len(re.search(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", table).group(1))
        rows = re.findall(r"^(.*?) \\\\$", bare, re.MULTILINE)
        assert len(rows) > 1
        assert {row.count("&") + 1 for row in rows} == {columns}
        assert not re.search(r"(?<!\\)[#_^~](?!\})", re.sub(r"\\label\{.*?\}", "", bare))
    probe = run.record["detectors"][0]["auroc"]
    assert rf"\textbf{{{probe:.3f}}}" in text


@pytest.mark.parametrize("character", list('\\&%$#_{}~^<>|"`'))
def test_latex_escapes_every_special_character(character):
    assert markup.latex(character) == markup.SPECIAL[character]
    assert markup.latex(f"a{character}b") == f"a{markup.SPECIAL[character]}b"


def test_markdown_escapes_what_it_would_read():
    assert markup.markdown("a|b") == r"a\|b"
    assert (
        markup.markdown("<b> & *x* _y_ `z` [l](u)") == r"&lt;b&gt; &amp; \*x\* \_y\_ \`z\` \[l\](u)"
    )
    assert markup.markdown("1. not a list") == r"1\. not a list"
    for word in ("0.536 is a number", "+0.381", "-1"):
        assert markup.markdown(word) == word
    assert markup.markdown("---") == r"\---"
    assert markup.markdown("- nor this\n# nor a heading") == r"\- nor this \# nor a heading"
    assert "http:" not in markup.markdown("see http://evil.example")


def test_words():
    assert number(-0.0001) == "0.000"
    assert number(0.0123, signed=True) == "+0.012"
    assert number(-1.5) == "\u22121.500"
    assert number(None) == number(float("nan")) == interval((None, 0.5)) == p_value(None) == "n/a"
    assert p_value(1e-9) == "< 0.001"
    assert markup.readable_text("a\x00b\r\nc\u202ed") == "a\u2400b\ncd"
    head, rest = clip("word " * 400)
    assert (head + rest).split() == ["word"] * 400
    assert len(head) < 300
    assert clip("short") == ("short", "")


def test_every_format_shows_the_same_cells(run):
    report = build_report([run])

    def tables(sections):
        for s in sections:
            yield from (b for b in s.blocks if isinstance(b, Table) and not b.folded)
            yield from tables(s.sections)

    numbers = [
        c
        for t in tables(report.sections)
        for r in t.rows
        for c in r.cells
        if isinstance(c, Number | Range)
    ]
    assert len(numbers) > 50
    md, tex = markdown.to_markdown(report), latex.to_latex(report)
    for cell in numbers:
        if isinstance(cell, Number):
            assert number(cell.value, signed=cell.signed) in md
            assert number(cell.value, signed=cell.signed).replace("\u2212", "$-$") in tex


def test_what_is_not_a_finished_run_is_named(run, undrawn, tmp_path):
    with pytest.raises(BadFileError, match="not a finished run"):
        write_report([tmp_path])
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "record.json").write_text("{")
    with pytest.raises(BadFileError, match="cannot be read"):
        write_report([broken])
    for content in ("{}", "[]", '{"model": {"name": "m"}, "task": {"name": "t"}}'):
        (broken / "record.json").write_text(content)
        with pytest.raises(BadFileError, match=r"broken.*not a finished run's record"):
            write_report([broken])
    shutil.copy(run.folder / "record.json", broken)
    shutil.copy(run.folder / "answers.parquet", broken)
    with pytest.raises(BadFileError, match=r"scores\.parquet"):
        write_report([broken])
    shutil.copy(run.folder / "scores.parquet", broken)
    with pytest.raises(BadFileError, match=r"predictions\.parquet"):
        write_report([broken])
    (broken / "predictions.parquet").write_bytes(b"no parquet")
    with pytest.raises(BadFileError, match=r"predictions\.parquet cannot be read"):
        write_report([broken])


def test_wrong_options_are_named(run, undrawn, tmp_path):
    with pytest.raises(UnknownNameError, match="html"):
        write_report([run], formats=("htm",))
    with pytest.raises(UsageError, match="examples takes a number"):
        write_report([run], examples=-1)
    with pytest.raises(UsageError, match="finished run"):
        write_report([])
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="file"):
        write_report([run], tmp_path / "file" / "r.html")


def test_command_writes_into_the_run(run, undrawn, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("stages"))
    done = CliRunner().invoke(
        report_command, [str(folder), "--formats", "html,md,tex", "--examples", "1"]
    )
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in folder.glob("report.*")) == [
        "report.html",
        "report.md",
        "report.tex",
    ]
    assert done.output.split() == [str(folder / f"report.{end}") for end in ("html", "md", "tex")]


@pytest.mark.parametrize(
    ("out", "formats", "written"),
    [
        ("page.md", None, ["page.md"]),
        ("page.tex", ("html", "tex"), ["page.html", "page.tex"]),
        ("Qwen2.5", None, ["Qwen2.5.html"]),
        ("Qwen2.5.html", ("md",), ["Qwen2.5.md"]),
        ("run.v2", None, ["run.v2.html"]),
    ],
)
def test_a_page_keeps_the_name_that_it_was_given(run, undrawn, tmp_path, out, formats, written):
    paths = write_report([run], tmp_path / out, formats=formats, examples=0)
    assert [path.name for path in paths] == written
    assert all(path.stat().st_size for path in paths)


def test_reports_need_no_torch(run, tmp_path):
    code = (
        "import sys\n"
        "from probebench.report.write.files import write_report\n"
        f"write_report([{str(run.folder)!r}], {str(tmp_path / 'r.html')!r}, formats=('html', 'md', "
        "'tex'))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "<h1" in (tmp_path / "r.html").read_text()


def test_runs_of_one_model_and_task_are_told_apart_by_as_much_of_their_folders_as_it_takes(run):
    a, b, c = (
        dataclasses.replace(run, folder=Path(p)) for p in ("/x/a/people", "/x/b/people", "/y/z")
    )
    names = run_names([a, b, c])
    assert [name.rpartition(" (")[2] for name in names] == ["a/people)", "b/people)", "z)"]
    assert "(" not in run_names([a])[0]


def test_detectors_that_score_fewer_carry_their_n(run):
    few = run.record.plain()["detectors"]
    few[1]["n"] = few[0]["n"] - 7
    record = changed(run, detectors=few).record
    figure = detectors_figure(record)
    assert f"{few[1]['label']}" in figure.alt and f", n = {few[0]['n'] - 7:,}" in figure.alt
    assert "of those that score fewer on these" in figure.caption
    assert "of those that score fewer" not in detectors_figure(run.record).caption
    ticks = [t.get_text() for t in plot_detectors(record.detectors).get_yticklabels()]
    assert sum(tick.endswith(f", n = {few[0]['n'] - 7:,}") for tick in ticks) == 1


def test_two_hyphens_are_no_dash():
    assert markup.latex("--encoder a---b") == "-{}-encoder a-{}-{}-b"


def test_an_older_record_is_compared_on_one_sample(run):
    """Without the choice by validation: the nearest of those that score what the probe scores."""
    detectors = run.record.plain()["detectors"]
    few = next(d for d in detectors[1:] if d["kind"] == "baseline" and d["name"] != "majority")
    few |= {"n": few["n"] - 5, "probe_minus_this": -0.4}
    found = headline(changed(run, readable=None, detectors=detectors).record)
    assert found.signal["name"] != few["name"] and found.n == found.signal["n"]
