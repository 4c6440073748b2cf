"""Labels inside answers: spans from rows, their tokens, what is read, numbers, a whole run."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

import probebench
from probebench.cli.main import main
from probebench.errors import BadFileError, LabelError, UsageError
from probebench.job.options import Options
from probebench.job.spans.prepare import prepare_spans
from probebench.models.loading import ModelSpec, find_model
from probebench.probes.labels import Labels
from probebench.progress import Progress
from probebench.record.inside.spans import SpanRecord, SpanRun
from probebench.record.run import Run
from probebench.report.inside.page import notes_of
from probebench.report.write.files import write_report
from probebench.scoring.spans import SpanRows, draws_of, rows_of, units_of
from probebench.stages.tokens.fits import fit_layers
from probebench.stages.tokens.plan import OTHERS
from probebench.tasks.labelled.fields import SpanFields
from probebench.tasks.labelled.spans import joined, marked_of
from probebench.tasks.labelled.tokens import MarkedTokens, SpanTokens, tokenize_marked
from probebench.tasks.local.rows import FileRow
from probebench.tasks.schema import load_task
from probebench.tasks.sources import load_dataset
from probebench.types import LabelledSpan

TEXT = "Ann was born in Rome. Ann died in Rome."


def spans_of(at=None, text=TEXT, **fields):
    marked = marked_of(at or SpanFields(), {"answer": text, **fields}, "f, line 2").answer
    return marked.spans, marked.n_lost


def planned(tmp_path, limit=120, **more):
    given = {"model": "tiny", "task": "lives", "limit": limit, "out": str(tmp_path / "run")}
    return prepare_spans(Options.asked({**given, **more}))


def test_spans_stand_where_they_say_or_where_their_text_is():
    right = LabelledSpan(16, 20, 1)
    assert spans_of(spans=[{"start": 16, "end": 20, "label": "right"}]) == ((right,), 0)
    assert spans_of(spans=[{"text": "Rome", "label": "right"}]) == ((right,), 0)
    twice = [{"text": "Rome", "label": "right"}, {"text": "Rome", "label": "wrong"}]
    assert spans_of(spans=twice) == ((right, LabelledSpan(34, 38, 0)), 0)
    near = [{"start": 30, "end": 33, "text": "Rome", "label": 1}]
    assert spans_of(spans=near) == ((LabelledSpan(34, 38, 1),), 0)
    assert spans_of(spans=json.dumps([{"text": "Paris", "label": "wrong"}])) == ((), 1)


def test_annotations_of_long_answers_are_read_in_their_own_columns():
    at = load_task("longfact").spans
    fields = {
        "conversation": [
            {"role": "user", "content": "Who was Ann?"},
            {"role": "assistant", "content": TEXT},
        ],
        "annotations": [
            {"index": 34, "span": "Rome", "label": "Insufficient Information"},
            {"index": None, "span": "Ann", "label": "Supported"},
            {"index": 4, "span": "was", "label": None},
            {"index": 0, "span": "Bob", "label": "Not Supported"},
        ],
    }
    found = marked_of(at, fields, "f")
    assert found.answer.spans == (LabelledSpan(0, 3, 1), LabelledSpan(34, 38, 0))
    assert found.answer.n_lost == 1
    assert found.turns[0] == ("user", "Who was Ann?")


def test_a_corpus_that_marks_only_what_is_wrong_and_keeps_prompts_apart():
    at = SpanFields("response", "labels", "label_type", others="right", join="source_id")
    rows = [
        FileRow("r, line 1", {"source_id": 7, "response": TEXT, "labels": []}),
        FileRow("s, line 1", {"source_id": "7", "prompt": "Sum up."}),
    ]
    (row,) = joined(at, rows)
    assert (row.where, row.fields["prompt"]) == ("r, line 1", "Sum up.")
    wrong = [{"start": 16, "end": 20, "text": "Rome", "label_type": "Evident Conflict"}]
    found = marked_of(at, {**row.fields, "labels": wrong}, "r")
    assert found.answer.spans == (LabelledSpan(16, 20, 0),)
    with pytest.raises(BadFileError, match="no row without an answer has source_id '7'"):
        joined(at, rows[:1])


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ("none", "must be a list of spans"),
        ([{"start": 0, "end": 3, "label": "maybe"}], "must be one of right"),
        ([{"start": 30, "end": 50, "label": 1}], "30:50 does not lie in an answer of 39"),
        ([{"label": 1}], "needs its place"),
        ([{"start": 1.5, "end": 3, "label": 1}], "whole numbers"),
        ([3], "a span must be a record"),
    ],
)
def test_what_is_no_span_is_refused_with_its_line(spans, said):
    with pytest.raises(BadFileError, match=f"^f, line 2: .*{said}"):
        spans_of(spans=spans)


def test_tokens_of_a_span_cover_its_characters_and_no_others():
    task, handle = load_task("lives"), find_model(ModelSpec("tiny"))
    for example in load_dataset(task, limit=20).examples:
        found = tokenize_marked(task, example, handle.tokenizer)
        text = example.marked.text
        for tokens, span in zip(found.spans, example.marked.spans, strict=True):
            first, last = found.pieces[tokens.first], found.pieces[tokens.last]
            assert text[first.start : last.end].strip() == text[span.start : span.end]
        assert "".join(text[p.start : p.end] for p in found.pieces) == text
        assert handle.tokenizer.decode(found.answer_ids) == text


def test_a_token_of_a_wrong_span_is_wrong_whatever_else_it_is_part_of():
    spans = (SpanTokens(0, 2, 0), SpanTokens(1, 4, 1))
    assert MarkedTokens((), (5,) * 6, (), spans).labels == [0, 0, 0, 1, 1, None]


def test_every_token_of_a_span_is_read_and_a_sample_of_others(tmp_path):
    plan, other = planned(tmp_path).plan, planned(tmp_path, limit=60).plan
    t = plan.table
    for i, m in enumerate(plan.marked):
        rows = slice(t.first[i], t.first[i + 1])
        outside = [k for k, label in enumerate(m.labels) if label is None]
        read = t.place[rows]
        assert set(np.flatnonzero([x is not None for x in m.labels])) <= set(read)
        if i in plan.shown:
            assert len(read) == len(m.answer_ids)
        else:
            assert len(read) == len(m.answer_ids) - max(0, len(outside) - OTHERS)
        for s in m.spans:
            assert t.place[t.of_span(i, s.first, s.last)].tolist() == [*range(s.first, s.last + 1)]
    places = {e.id: t.place[t.first[i] : t.first[i + 1]] for i, e in enumerate(plan.examples)}
    shown = {plan.examples[i].id for i in plan.shown}
    for i, e in enumerate(other.examples):
        if i not in other.shown and e.id not in shown:
            own = other.table.place[other.table.first[i] : other.table.first[i + 1]]
            assert own.tolist() == places[e.id].tolist()


def test_vectors_and_scores_are_those_of_one_answer_alone(tmp_path):
    import torch

    from probebench.models.loading import load_model
    from probebench.stages.engine import Models
    from probebench.stages.stage import LocalRunner
    from probebench.stages.tokens.read import TokenStates, TokenVectors

    plan = planned(tmp_path, states_dtype="float32").plan
    plan.folder.mkdir()
    done = LocalRunner(plan.folder, Progress(), Models(Progress())).run(TokenStates(plan))
    vectors = TokenVectors.of(plan, done)
    model, k = load_model(plan.handle).model, plan.layers.index(3)
    states, (logprobs, entropies) = vectors.layer(k), vectors.scores()
    for i in (0, 57, 119):
        m, rows = plan.marked[i], np.arange(plan.table.first[i], plan.table.first[i + 1])
        with torch.inference_mode():
            out = model(torch.tensor([m.ids]), output_hidden_states=True)
        at = plan.table.place[rows] + len(m.prompt_ids)
        assert np.allclose(states[rows], out.hidden_states[4][0, at].numpy(), atol=1e-4)
        own = torch.log_softmax(out.logits[0, at - 1].double(), -1)
        said = own[range(len(at)), [m.ids[j] for j in at]].numpy()
        assert np.allclose(logprobs[rows], said, atol=1e-3)
        assert np.allclose(entropies[rows], -(own.exp() * own).sum(-1).numpy(), atol=1e-3)


class Planted:
    """Vectors in which one layer holds the labels of one split's tokens, or of all."""

    def __init__(self, plan, layer, splits):
        rng, self.plan = np.random.default_rng(0), plan
        self.values = rng.standard_normal((len(plan.layers), len(plan.table.y), 8))
        for split in splits:
            own = np.array(plan.token_splits) == split
            self.values[plan.layers.index(layer), own, 0] += 4 * plan.table.y[own]

    def layer(self, k):
        return self.values[k].astype(np.float32)


def test_the_layer_is_chosen_on_validation_and_every_token_gets_a_decision(tmp_path):
    plan = planned(tmp_path, layers=[0, 1, 2]).plan
    everywhere = ("train", "validation", "test")
    fits = fit_layers(plan, Planted(plan, 1, everywhere), Progress())
    assert fits.chosen.cell.layer == 1
    assert np.isfinite(fits.probe.decisions).all()
    assert len(fits.probe.decisions) == len(plan.table.y)
    unseen = fit_layers(plan, Planted(plan, 1, ("test",)), Progress())
    assert max(f.validation_auroc for f in unseen.layers) < 0.75


def test_numbers_by_token_and_by_span_are_counts_of_pairs():
    rng = np.random.default_rng(1)
    d = np.round(rng.standard_normal(60), 1)
    spans = [
        SpanRows(slice(3 * i, 3 * i + 3), int(rng.integers(2)), f"g{i // 2}") for i in range(20)
    ]
    y = np.repeat([s.label for s in spans], 3)
    tokens = np.arange(60), y, [s.group for s in spans for _ in range(3)]

    def pairs(y, scores):
        pos, neg = scores[y == 1], scores[y == 0]
        return np.mean([(p > n) + 0.5 * (p == n) for p in pos for n in neg])

    labels = np.array([s.label for s in spans])
    expected = {
        "token": pairs(y, d),
        "span_max": pairs(labels, d.reshape(20, 3).min(axis=1)),
        "span_last": pairs(labels, d.reshape(20, 3)[:, 2]),
    }
    for level, value in expected.items():
        units = units_of(level, {"probe": d, "logprob": -d}, tokens, spans)
        probe, other = rows_of(level, units, "probe", 0)
        assert probe["auroc"] == pytest.approx(value)
        assert probe["groups"] == 10
        assert probe["auroc_95"][0] < value < probe["auroc_95"][1]
        assert probe["difference"] is None
        assert other["difference"] == pytest.approx(value - other["auroc"])


def test_whole_answers_are_drawn():
    """Two tokens that are always alike are worth one."""
    rng = np.random.default_rng(2)
    y, d = rng.integers(0, 2, 80), rng.standard_normal(80)
    alone = units_of("token", {"probe": d}, (np.arange(80), y, [str(i) for i in range(80)]), [])
    twice = units_of(
        "token",
        {"probe": np.repeat(d, 4)},
        (np.arange(320), np.repeat(y, 4), [str(i // 4) for i in range(320)]),
        [],
    )
    (a,), (b,) = rows_of("token", alone, "probe", 0), rows_of("token", twice, "probe", 0)
    assert b["auroc"] == pytest.approx(a["auroc"])
    assert np.allclose(a["auroc_95"], b["auroc_95"], atol=0.02)


def test_spans_of_one_class_have_no_number():
    units = units_of(
        "span_max", {"probe": np.ones(4)}, (None, None, []), [SpanRows(slice(0, 4), 0, "g")]
    )
    (row,) = rows_of("span_max", units, "probe", 0)
    assert (row["auroc"], row["n"], row["auroc_95"]) == (None, 1, (None, None))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside") / "run"
    return probebench.evaluate_spans("tiny", "lives", limit=160, layers=[3, 7], out=folder)


def test_a_run_says_what_its_tables_say(run):
    from sklearn.metrics import roc_auc_score

    r, tokens, spans = run.record, run.tokens, run.spans
    test = tokens[(tokens.split == "test") & tokens.label.notna()]
    for name in ("probe", "logprob", "entropy", "text"):
        own = roc_auc_score(test.label.astype(int), test[name])
        assert r.row(name, "token").auroc == pytest.approx(own)
    ids = set(test.id)
    own = spans[spans.id.isin(ids)]
    least = [
        tokens[(tokens.id == s.id) & tokens.token.between(s.first, s.last)].probe.min()
        for s in own.itertuples()
    ]
    assert r.row("probe", "span_max").auroc == pytest.approx(roc_auc_score(own.label, least))
    best = max((at for at in r.layers if at.layer != "emb"), key=lambda at: at.validation_auroc)
    assert r.selected == best.layer
    assert r.counts["test"].tokens_right == int((test.label == 1).sum())
    groups = run.answers.groupby("group").split.nunique()
    assert (groups == 1).all()
    auroc = r.row("probe", "token").auroc
    told = f"tiny on lives: layer {r.selected}, test AUROC by token {auroc:.3f}"
    assert (repr(r), repr(run)) == (f"<SpanRecord of {told}>", f"<SpanRun {told}; {run.folder}>")


def test_the_probe_on_disk_gives_the_decisions(run):
    from probebench.probes.disk import load_probe
    from probebench.stages.stage import LocalRunner
    from probebench.stages.tokens.read import TokenStates, TokenVectors

    saved = load_probe(run.folder / "probe")
    assert saved.meta.position == "token"
    own = {"model": "tiny", "task": "lives", "limit": 160, "layers": (3, 7)}
    plan = prepare_spans(Options.asked({**own, "out": str(run.folder)})).plan
    done = LocalRunner(run.folder, Progress(), None).find(TokenStates(plan))
    vectors = TokenVectors.of(plan, done).layer(plan.layers.index(saved.meta.layer))
    assert np.allclose(saved.decision_function(vectors), run.tokens.probe, atol=1e-4)


def test_the_same_run_again_computes_nothing(run):
    again = probebench.evaluate_spans("tiny", "lives", limit=160, layers=[3, 7], out=run.folder)
    assert again.resumed
    with pytest.raises(UsageError, match=r"would replace; it differs in limit \(160 there, 100"):
        probebench.evaluate_spans("tiny", "lives", limit=100, layers=[3, 7], out=run.folder)


def test_a_run_of_other_versions_is_replaced_by_the_same_one_alone(run, tmp_path, monkeypatch):
    folder, newer = shutil.copytree(run.folder, tmp_path / "run"), {"probebench": "99.0"}
    monkeypatch.setattr("probebench.job.spans.prepare.versions", lambda: newer)
    before = (folder / "spans.json").read_bytes()
    with pytest.raises(UsageError, match=r"it differs in seed \(0 there, 7 here\)"):
        probebench.evaluate_spans("tiny", "lives", limit=160, layers=[3, 7], seed=7, out=folder)
    assert (folder / "spans.json").read_bytes() == before
    again = probebench.evaluate_spans("tiny", "lives", limit=160, layers=[3, 7], out=folder)
    assert not again.resumed and again.record.versions == newer


def test_neither_kind_of_run_replaces_the_other(run, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    with pytest.raises(UsageError, match="differs in the kind of its task, whose labels are insi"):
        probebench.evaluate("tiny", "people", limit=100, out=folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    (folder / "spans.json").rename(folder / "record.json")
    with pytest.raises(UsageError, match="differs in the kind of its task, whose answers are"):
        probebench.evaluate_spans("tiny", "lives", limit=160, layers=[3, 7], out=folder)


def test_freed_vectors_leave_it_finished(run, tmp_path):
    """`clean --states` says that records stay: it is not computed again without a word."""
    folder = shutil.copytree(run.folder, tmp_path / "run")
    words = {"limit": 160, "layers": [3, 7]}
    assert CliRunner().invoke(main, ["clean", str(folder), "--states", "--yes"]).exit_code == 0
    again = probebench.evaluate_spans("tiny", "lives", out=folder, **words)
    assert again.resumed and again.states_freed and not again.has_states
    asked = ["eval", "--model", "tiny", "--task", "lives", "--limit", "160", "--layers", "3,7"]
    said = " ".join(CliRunner().invoke(main, [*asked, "--out", str(folder)]).output.split())
    assert "was finished before and keeps its hidden states no longer: they were freed" in said
    assert f"delete {folder / 'spans.json'}" in said


def test_it_says_what_it_was_asked_and_shows_itself(run):
    asked = yaml.safe_load((run.folder / "run.yaml").read_text())
    assert asked == {"model": "tiny", "task": "lives", "limit": 160, "layers": [3, 7]}
    said = run._repr_html_()
    assert f"<b>{run.record.row('probe', 'token').auroc:.3f}</b>" in said and len(said) < 400
    named = run.record.changed(model={**run.record.model.plain(), "name": "<script>x"})
    assert "<script>" not in SpanRun(run.folder, named)._repr_html_()


def test_other_kinds_of_tasks_name_the_function_that_runs_them(tmp_path):
    with pytest.raises(UsageError, match=r"'people' has no labels inside.*`probebench.evaluate`"):
        probebench.evaluate_spans("tiny", "people", positions=["-1"])
    with pytest.raises(UsageError, match="Answers alone have no labels inside"):
        probebench.evaluate_spans("tiny", None, answers="a.jsonl")
    with pytest.raises(UsageError, match=r"in Python it is `probebench.evaluate_spans`\.$"):
        probebench.evaluate("tiny", "lives")
    two = ["eval", "--model", "tiny", "--task", "lives", "--task", "people"]
    said = CliRunner().invoke(main, two).output
    assert "'lives' has its labels inside answers and runs alone" in said and "task=" not in said


def test_the_page_paints_tokens_and_loads_nothing(run, tmp_path):
    html, md = write_report([run.folder], tmp_path / "r.html", formats=["html", "md"], examples=2)
    page, text = html.read_text(), md.read_text()
    shown = run.answers[run.answers.whole].head(8)
    assert page.count('<article class="example">') == len(shown)
    assert "t-wrong" in page
    assert "P(wrong)" in page
    assert "prefers-color-scheme: dark" in page
    assert "<script" not in page
    assert "http://" not in page
    assert all(str(q) in page for q in shown.question)
    assert "labelled wrong, P(wrong)" in text


def test_a_page_says_what_was_left_out_and_which_side_is_ahead(run):
    def notes(difference_95=(None, None), **data):
        rows = [
            {**row.plain(), "difference_95": difference_95} if row.level == "token" else row.plain()
            for row in run.record.rows
        ]
        whole = run.record.plain()
        return "\n".join(
            notes_of(SpanRecord.from_plain(whole | {"rows": rows, "data": whole["data"] | data}))
        )

    assert "By token the probe is distinguishable from none" in notes((-0.1, 0.1))
    worse = notes((-0.3, -0.1))
    assert "By token the probe is significantly worse than: " in worse and "from none" not in worse
    assert "from none" not in notes((0.1, 0.3))
    left = notes(n_too_long=7, n_ungrouped=3)
    assert "7 answers do not fit" in left and "3 of 160 examples lack the columns" in left


def test_foreign_text_in_a_painted_answer_is_no_markup(run, tmp_path):
    answers = run.answers
    answers["answer"] = ["<b>" + a[3:] for a in answers.answer]
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("spans.json", "spans.parquet", "tokens.parquet"):
        (folder / name).write_bytes((run.folder / name).read_bytes())
    answers.to_parquet(folder / "answers.parquet")
    (html,) = write_report([folder], tmp_path / "r.html")
    assert "<b>" not in html.read_text()


@pytest.mark.parametrize("words", [["plot"], ["compare", "{run}"], ["answers"]])
def test_what_has_nothing_to_show_says_so_in_a_line(run, words):
    given = [w.format(run=run.folder) for w in words] + [str(run.folder)]
    found = CliRunner().invoke(main, given)
    said = str(found.exception) if not found.output else found.output
    assert "is a run at tokens inside answers" in said
    with pytest.raises(BadFileError, match="probebench report"):
        Run.load(run.folder)


def test_it_is_listed_as_finished_and_its_vectors_are_kept(run):
    from probebench.across.listing import freeable, runs_under

    (own,) = runs_under(run.folder)
    assert (own.state, own.has_states) == ("finished", True)
    assert not [f for f in freeable([own], unfinished=True) if "token_states" in str(f.place)]
    assert [f for f in freeable([own], states=True) if "token_states" in str(f.place)]
    told = CliRunner().invoke(main, ["runs", str(run.folder), "--json"])
    assert json.loads(told.output)[0]["position"] == "token"
    assert "lives" in CliRunner().invoke(main, ["runs", str(run.folder)]).output


def test_a_run_that_lacks_a_table_is_no_whole_run(run, tmp_path):
    from probebench.across.listing import runs_under

    folder = shutil.copytree(run.folder, tmp_path / "run")
    (folder / "tokens.parquet").unlink()
    (own,) = runs_under(folder)
    assert own.state == "incomplete" and "tokens.parquet missing" in own.why
    with pytest.raises(BadFileError, match=r"not a whole run: it has no tokens.parquet"):
        write_report([folder], tmp_path / "page.html")
    (folder / "tokens.parquet").write_bytes(b"no table")
    with pytest.raises(BadFileError, match=r"tokens.parquet cannot be read"):
        _ = SpanRun.load(folder).tokens


def test_a_table_of_transfer_is_of_other_runs(run, tmp_path):
    with pytest.raises(UsageError, match="transfer is of runs with a map of places"):
        write_report([run.folder], tmp_path / "page.html", transfer=tmp_path / "none.csv")


def test_states_are_dropped_when_the_record_is_written_and_not_before(tmp_path, monkeypatch):
    asked = {"limit": 120, "layers": [3], "out": tmp_path / "run", "discard_states": True}

    def full(path, content):
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr("probebench.job.spans.run.write_json", full)
        with pytest.raises(OSError, match="disk full"):
            probebench.evaluate_spans("tiny", "lives", **asked)
    assert list((tmp_path / "run" / "stages").glob("token_states-*/*.safetensors"))
    done = probebench.evaluate_spans("tiny", "lives", **asked)
    assert not done.has_states and done.record.states is None


def test_options_that_do_not_apply_and_too_few_answers_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--positions does not apply to a task of kind 'spans'"):
        planned(tmp_path, positions=["-1"])
    with pytest.raises(UsageError, match="--engine does not apply to a task of kind 'spans'"):
        planned(tmp_path, engine="ray")
    with pytest.raises(LabelError, match=r"tokens? .*are|No token of the"):
        planned(tmp_path, limit=4)
    with pytest.raises(UsageError, match="runs alone"):
        probebench.evaluate("tiny", "lives", out=tmp_path / "x")


def test_the_command_says_what_it_would_do_and_what_it_found(tmp_path):
    given = ["eval", "--model", "tiny", "--task", "lives", "--limit", "120", "--layers", "7"]
    given += ["--out", str(tmp_path / "run")]
    dry = CliRunner().invoke(main, [*given, "--dry-run"])
    assert "labels inside answers" in dry.output
    assert not (tmp_path / "run").exists()
    told = json.loads(CliRunner().invoke(main, [*given, "--dry-run", "--json"]).output)
    assert told["spans"]["right"] + told["spans"]["wrong"] == 240
    done = CliRunner().invoke(main, [*given, "--discard-states"])
    assert done.exit_code == 0, done.output
    assert "by span, at its last token" in done.output
    run = SpanRun.load(tmp_path / "run")
    assert run.record.states is None
    assert not list((tmp_path / "run").rglob("token_states*/*.safetensors"))


def test_a_task_with_labels_inside_is_shown_and_checked():
    from probebench.job.preview.task_card import describe, validate

    task = load_task("lives")
    assert all(check.ok for check in validate(task))
    shown = describe(task, model=ModelSpec("tiny"))
    assert "402 right, 398 wrong" in shown
    assert "<|assistant|> They worked as" in shown
    assert "--- right: Nailburg Hill" in shown


def test_very_many_tokens_are_drawn_less_often():
    assert len(draws_of(["a", "b"] * 10, 0).counts) == 1000
    assert len(draws_of(["a", "b"] * 150_000, 0).counts) == 447


def test_labels_of_tokens_carry_the_group_of_their_answer(tmp_path):
    from probebench.stages.tokens.fits import labels_of

    plan = planned(tmp_path).plan
    labels = labels_of(plan)
    assert isinstance(labels, Labels)
    sides = pd.DataFrame({"g": labels.groups, "s": labels.splits}).groupby("g").s.nunique()
    assert (sides == 1).all()
    assert set(labels.y) == {0, 1}


def test_answers_are_kept_to_the_letter():
    """A text that could be read as JSON or Python is a text all the same."""
    at = [{"start": 0, "end": 4, "label": "right"}]
    for text in ('"Rome is big"', "1969", "True", "[Rome] is big", '{"city": "Rome"}', "[1, 2, 3]"):
        assert marked_of(SpanFields(), {"answer": text, "spans": at}, "f").answer.text == text
    long = "ha " * 2500
    assert marked_of(SpanFields(), {"answer": long, "spans": at}, "f").answer.text == long
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Rome."}]
    for chat in (turns, json.dumps(turns)):
        found = marked_of(SpanFields(), {"answer": chat, "spans": at}, "f")
        assert found.answer.text == "Rome."
    for broken in ('[{"role": "assistant"}]', '[{"content": "Rome."}]'):
        with pytest.raises(BadFileError, match="a turn must be a record of 'role' and 'content'"):
            marked_of(SpanFields(), {"answer": broken, "spans": at}, "f")


@pytest.mark.parametrize("spans", ["[" * 5000, "no " * 3000, "1", '{"a": 1}'])
def test_spans_that_are_no_list_are_refused_however_deep(spans):
    with pytest.raises(BadFileError, match="'spans' must be a list of spans"):
        marked_of(SpanFields(), {"answer": TEXT, "spans": spans}, "f")


def test_what_it_rests_on_can_be_cited(run):
    cited = CliRunner().invoke(main, ["cite", str(run.folder)])
    assert cited.exit_code == 0, cited.output
    assert "% Task lives, version" in cited.output
    assert "pedregosa2011scikit" in cited.output
