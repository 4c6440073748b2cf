"""The whole job on small random models: what it writes, that it resumes, and that nothing depends
on how it was run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import FAMILIES

import probebench
from probebench.errors import BadFileError, LabelError, StatesError, UnknownNameError, UsageError
from probebench.record.schema import PROTOCOL_VERSION
from probebench.states.positions import PUBLISHED

FILES = {
    "run.yaml",
    "answers.parquet",
    "predictions.parquet",
    "scores.parquet",
    "record.json",
    "heatmap.png",
    "heatmap.svg",
    "heatmap.pdf",
    "probe.safetensors",
    "probe.json",
    "matrix_auroc.csv",
    "matrix_auroc_low.csv",
    "matrix_auroc_high.csv",
    "matrix_n.csv",
    "matrix_auroc_validation.csv",
    "stages",
    ".lock",
}
RESULTS = sorted(f for f in FILES if f not in ("stages", ".lock", "record.json"))


def comparable(record):
    """A record without timings, dates and the place it was written to."""
    record = json.loads(json.dumps(record, default=dict))
    del record["timing"]
    record["settings"].pop("out")
    return record


pytestmark = pytest.mark.usefixtures("maps_in_all_formats")
BARE = {"shuffles": 0, "skip": ("p-true", "ensembles")}
"""The map and the text baselines, for a test that looks at nothing else."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model_folder, maps_in_all_formats):
    """One finished run on answers made elsewhere."""
    folder = tmp_path_factory.mktemp("finished")
    words = ["Paris", "river", "poet", "Anna"]
    rng = np.random.default_rng(0)
    rows = []
    for i in range(240):
        exact = words[rng.integers(4)]
        row = {
            "id": f"a{i}",
            "question": f"Where was {words[rng.integers(4)]} {i}?",
            "answer": f" It is {exact} near the river, I think.",
        }
        if i % 10 != 3:
            row["exact_answer"] = exact
        rows.append(row | {"label": int(i % 2), "group": f"g{i // 2}"})
    (folder / "answers.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = probebench.evaluate(
        str(model_folder()), answers=folder / "answers.jsonl", out=folder / "run"
    )
    return run, rows


def test_run_directory_holds_what_the_design_says(finished):
    run, _ = finished
    assert {p.name for p in run.folder.iterdir()} == FILES
    assert run.record["schema_version"] == 2
    assert run.record["protocol_version"] == PROTOCOL_VERSION
    assert run.record["model"]["revision"].startswith("sha256:")


def test_matrix_is_labelled(finished):
    run, _ = finished
    matrix = run.matrix("auroc")
    assert list(matrix.columns) == list(PUBLISHED)
    assert list(matrix.index) == ["emb", "0", "1", "2"]
    on_disk = pd.read_csv(run.folder / "matrix_auroc.csv", index_col="layer", dtype={"layer": str})
    np.testing.assert_allclose(on_disk.to_numpy(), matrix.to_numpy(), atol=1e-6)
    assert (
        ((run.matrix("auroc_low") <= matrix) & (matrix <= run.matrix("auroc_high")))
        .to_numpy()
        .all()
    )
    with pytest.raises(UnknownNameError, match="Did you mean 'auroc'"):
        run.matrix("auorc")


def test_cells_carry_their_own_n(finished):
    run, rows = finished
    n = run.matrix("n")
    test = run.answers.query("split == 'test'")
    assert (n["last_q"] == len(test)).all()
    assert (n["exact_answer_first"] == test.exact_first.notna().sum()).all()
    assert n["exact_answer_first"].iloc[0] < len(test)


def test_labels_and_exact_answers_are_those_of_the_file(finished):
    run, rows = finished
    answers = run.answers.set_index("id")
    for row in rows:
        got = answers.loc[row["id"]]
        assert got.label == row["label"]
        assert got.exact_answer == row.get("exact_answer") or (
            pd.isna(got.exact_answer) and "exact_answer" not in row
        )


def test_every_number_can_be_computed_again_from_the_decisions(finished):
    from sklearn.metrics import roc_auc_score

    run, _ = finished
    predictions = run.predictions
    for d in run.record["detectors"]:
        rows = predictions[(predictions.detector == d["name"]) & predictions.scored]
        rows = rows[rows.decision.notna()]  # one of few examples stands on its own
        assert len(rows) == d["n"]
        assert roc_auc_score(rows.label, rows.decision) == pytest.approx(d["auroc"], abs=1e-12)
    repeats = [
        g
        for name, g in predictions[predictions.split == "test"].groupby("detector")
        if name.startswith("shuffled")
    ]
    values = [roc_auc_score(g.label[g.decision.notna()], g.decision.dropna()) for g in repeats]
    assert np.mean(values) == pytest.approx(
        run.record["controls"]["shuffled_labels"]["mean_auroc"], abs=1e-12
    )


def test_selected_cell_is_the_best_on_validation(finished):
    run, _ = finished
    s, validation = (
        run.record["selection"],
        run.matrix("auroc", split="validation").drop(index="emb"),
    )
    assert (
        validation.loc[s["layer"], s["position"]] == validation.max().max() == s["validation_auroc"]
    )
    assert run.matrix("auroc").loc[s["layer"], s["position"]] == s["test_auroc"]


def test_hidden_states_are_in_the_order_of_the_answers(finished):
    from probebench.models.loading import ModelSpec, find_model, load_model

    run, _ = finished
    states = run.hidden_states("resid")
    assert states.values.shape == (240, 4, 15, 32)
    model = load_model(find_model(ModelSpec(run.record["settings"]["model"]["name"], device="cpu")))
    import torch

    row = run.answers.iloc[7]
    with torch.inference_mode():
        hidden = model.model(
            torch.tensor([[*row.prompt_ids, *row.answer_ids]]), output_hidden_states=True
        ).hidden_states
    np.testing.assert_allclose(
        states.values[7, 1, -1], hidden[1][0, -1].numpy(), atol=2e-2, rtol=2e-3
    )
    assert not states.present[:, PUBLISHED.index("exact_answer_first")].all()
    with pytest.raises(UnknownNameError, match="Did you mean 'resid'"):
        run.hidden_states("resd")


def test_saved_probe_gives_the_run_s_decisions(finished):
    run, _ = finished
    cell, probe = run.record["selection"], run.probe()
    assert (probe.meta.site, str(probe.meta.layer), probe.meta.position) == (
        cell["site"],
        cell["layer"],
        cell["position"],
    )
    X = run.states().cell(int(cell["layer"]), cell["position"])
    p = run.predictions[lambda t: t.detector == "probe"].set_index("id").decision
    rows = run.answers.id.isin(p.dropna().index).to_numpy()
    expected = p[run.answers.id[rows]].to_numpy()
    np.testing.assert_allclose(
        probe.decision_function(X[rows]), expected, atol=1e-2 * expected.std()
    )
    assert np.corrcoef(probe.decision_function(X[rows]), expected)[0, 1] > 0.99999


def test_every_cell_has_its_control(finished):
    run, _ = finished
    scores = run.scores
    cells = scores[(scores.detector == "cell") & (scores.split == "test") & (scores.masked == "")]
    assert (
        cells[["shuffled", "selectivity", "p", "q", "delong_low", "delong_high"]]
        .notna()
        .all()
        .all()
    )
    assert abs(cells.shuffled.mean() - 0.5) < 0.1
    assert (cells.q >= cells.p).all()
    assert (run.matrix("selectivity") == run.matrix("auroc") - run.matrix("shuffled")).all().all()
    permutation = run.record["controls"]["permutation"]
    assert permutation["shuffles"] == 100
    assert 0 < permutation["max_statistic_p"] <= 1


def test_a_cell_in_three_lines(finished):
    run, _ = finished
    from probebench.states.reader import StatesReader

    reader = StatesReader.open(run.folder / run.record["states"])
    assert (reader.cell(1, "-1") == run.hidden_states().values[:, 2, -1].astype(np.float32)).all()


def test_same_command_does_the_work_once(finished, model_folder, monkeypatch):
    run, _ = finished
    monkeypatch.setattr(
        "probebench.stages.engine.load_model",
        lambda *a, **k: pytest.fail("the model was loaded again"),
    )
    again = probebench.evaluate(
        str(model_folder()), answers=run.folder.parent / "answers.jsonl", out=run.folder
    )
    assert again.resumed
    assert again.record == run.record


def test_two_runs_from_scratch_are_equal(finished, model_folder, tmp_path):
    run, _ = finished
    other = probebench.evaluate(
        str(model_folder()), answers=run.folder.parent / "answers.jsonl", out=tmp_path / "other"
    )
    assert comparable(other.record) == comparable(run.record)
    for name in RESULTS:
        assert (other.folder / name).read_bytes() == (run.folder / name).read_bytes(), name


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("has_chat", [True, False])
def test_any_family_with_and_without_chat_template(
    model_folder, answers_file, tmp_path, kind, has_chat
):
    run = probebench.evaluate(
        str(model_folder(kind, chat=has_chat)),
        answers=answers_file(120),
        out=tmp_path / "run",
        shuffles=0,
        skip=("ensembles",),
    )
    assert np.isfinite(run.matrix("auroc").to_numpy()).all()
    assert (run.record["model"]["chat_template"] is not None) == has_chat


def test_other_weights_never_reuse_results(finished, model_folder, tmp_path):
    run, _ = finished
    answers = run.folder.parent / "answers.jsonl"
    words = {"answers": answers, "out": tmp_path / "x", "layers": (0,), **BARE}
    other = probebench.evaluate(str(model_folder("mistral")), **words)
    assert other.record["key"] != run.record["key"]
    with pytest.raises(UsageError, match=r"the model \(mistral-chat0 there, llama-chat0 here\)"):
        probebench.evaluate(str(model_folder()), **words)
    (tmp_path / "x" / "record.json").unlink()  # stages of another model are never taken for ours
    again = probebench.evaluate(str(model_folder()), answers=answers, out=tmp_path / "x")
    assert again.record["key"] == run.record["key"]
    assert again.record["selection"] == run.record["selection"]


def test_corrupt_states_are_found_and_made_again(finished, model_folder, tmp_path):
    first, _ = finished
    copied = shutil.copytree(first.folder, tmp_path / "x")
    shard = copied / first.record["states"] / "00000.safetensors"
    good = shard.read_bytes()
    shard.write_bytes(good[:-100] + bytes(100))
    (copied / "record.json").unlink()
    again = probebench.evaluate(
        str(model_folder()), answers=first.folder.parent / "answers.jsonl", out=copied
    )
    assert shard.read_bytes() == good
    assert again.record["selection"] == first.record["selection"]


@pytest.fixture(scope="module")
def discarded(finished, model_folder, tmp_path_factory):
    """A finished run that kept no states, and what it was asked."""
    words = {"answers": finished[0].folder.parent / "answers.jsonl", **BARE}
    out = tmp_path_factory.mktemp("discarded") / "run"
    return probebench.evaluate(str(model_folder()), out=out, discard_states=True, **words), words


def test_discarded_states_are_gone_and_said_so(discarded):
    run, _ = discarded
    assert not list((run.folder / "stages").glob("states-*"))
    with pytest.raises(BadFileError, match="discard_states=True"):
        run.hidden_states()


def test_answers_without_exact_answers_have_grey_columns(model_folder, tmp_path):
    rows = [
        {"question": f"Who is {i}?", "answer": f" It is number {i * 7}.", "label": i % 2}
        for i in range(160)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = probebench.evaluate(
        str(model_folder()), answers=tmp_path / "a.jsonl", out=tmp_path / "run", shuffles=0
    )
    assert run.matrix("auroc")["exact_answer_last"].isna().all()
    assert (run.matrix("n")["exact_answer_last"] == 0).all()
    absent = set(run.record["comparison"]["absent"])
    assert {"logit_mean_exact", "logprob_min_exact", "p_true_exact"} <= absent
    assert all("exact" in name for name in absent)
    assert any("cells are masked" in w for w in run.record["warnings"])


def test_references_are_judged_and_ids_are_kept(model_folder, loaded, tmp_path):
    tokenizer = loaded("llama").tokenizer
    rows = []
    for i in range(160):
        answer = " It is Paris." if i % 2 else " It is Rome."
        ids = tokenizer(answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
        rows.append(
            {
                "prompt_ids": [1, 5, 30 + i],
                "answer_ids": ids,
                "references": ["Paris"],
                "id": i,
                "group": i,
                "split": ["train", "validation", "test"][i // 2 % 3],
            }
        )
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    run = probebench.evaluate(
        str(model_folder()), answers=tmp_path / "a.parquet", out=tmp_path / "run", **BARE
    )
    answers = run.answers.set_index("id")
    for r in rows:
        got = answers.loc[str(r["id"])]
        assert (list(got.answer_ids), got.label, got.split) == (
            r["answer_ids"],
            r["id"] % 2,
            r["split"],
        )
        assert got.stopped


def test_examples_that_do_not_fit_are_left_out_and_counted(model_folder, answers_file, tmp_path):
    path = answers_file()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for r in rows[:5]:
        r["question"] = "Where was the poet? " * 60
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    run = probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run", **BARE)
    assert run.record["counts"]["all"]["n"] == 235
    assert run.record["data"]["n_too_long"] == 5
    assert any("do not fit" in w for w in run.record["warnings"])
    path.write_text("".join(json.dumps(r) + "\n" for r in rows[:5]))
    with pytest.raises(UsageError, match="No example fits into the 256 tokens"):
        probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "x")


def test_a_task_s_judge_options_and_groups_hold_for_answers_made_elsewhere(model_folder, tmp_path):
    rows = []
    for i in range(200):
        right, wrong = ("Anna", "the poet") if i % 3 else ("the poet", "Anna")
        said = f" {right}, not {wrong}." if i % 2 else f" {wrong}, not {right}."
        rows.append(
            {
                "question": f"Who is it in story {i}?",
                "answer": said,
                "references": [right],
                "wrong_answers": [wrong],
            }
        )
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                r
                | {
                    "Answer": r["references"][0],
                    "Wrong_Answer": f"{r['wrong_answers'][0]} {i // 4}",
                }
            )
            + "\n"
            for i, r in enumerate(rows)
        )
    )
    run = probebench.evaluate(
        str(model_folder()), "winogrande", answers=path, out=tmp_path / "run", **BARE
    )
    assert run.answers.label.tolist() == [i % 2 for i in range(200)]
    assert run.answers.groupby("group").split.nunique().max() == 1
    assert run.answers.group.nunique() < 120  # pairs of options, not questions
    assert (
        run.answers.exact_answer
        == [r["references"][0] if i % 2 else r["wrong_answers"][0] for i, r in enumerate(rows)]
    ).all()
    path.write_text(
        "".join(
            json.dumps({k: v for k, v in r.items() if k != "wrong_answers"}) + "\n" for r in rows
        )
    )
    with pytest.raises(
        BadFileError, match="line 1: judge 'choice' of task 'winogrande' needs 'wrong_answers'"
    ):
        probebench.evaluate(str(model_folder()), "winogrande", answers=path, out=tmp_path / "x")


def test_a_group_in_two_given_splits_is_an_error(model_folder, answers_file, tmp_path):
    path = answers_file(60, split=lambda i: ["train", "validation", "test"][i % 3])
    with pytest.raises(BadFileError, match="the group 'g0' stands in train and in validation"):
        probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run")


def test_an_empty_split_is_said_before_anything_is_computed(
    model_folder, answers_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "probebench.stages.engine.load_model", lambda *a, **k: pytest.fail("the model was loaded")
    )
    with pytest.raises(LabelError, match="split is empty: 2 examples in 1 group"):
        probebench.evaluate(str(model_folder()), answers=answers_file(2), out=tmp_path / "run")


def test_states_that_are_gone_are_made_again(discarded, model_folder, tmp_path):
    first, words = discarded
    out = shutil.copytree(first.folder, tmp_path / "run")
    again = probebench.evaluate(str(model_folder()), out=out, discard_states=True, **words)
    assert again.resumed
    left = out / "stages" / "states-0123456789abcdef"  # killed between its record and the deletion
    left.mkdir()
    assert probebench.evaluate(str(model_folder()), out=out, discard_states=True, **words).resumed
    assert not left.exists()
    with_states = probebench.evaluate(str(model_folder()), out=out, **words)
    assert not with_states.resumed
    assert with_states.hidden_states().values.shape[0] == 240
    assert with_states.record["selection"] == first.record["selection"]


def test_the_context_of_a_prompt_is_in_the_key(tmp_path):
    from probebench.job.options import Options
    from probebench.job.planning import make_plan
    from probebench.models.loading import ModelSpec, find_model
    from probebench.tasks.schema import load_task

    keys = set()
    handle = find_model(ModelSpec("tiny"))
    task = load_task("natural_questions_with_context")
    for context in ("The river is cold.", "The river is warm."):
        path = tmp_path / "q.jsonl"
        path.write_text(
            json.dumps({"question": "How is it?", "answers": ["cold"], "context": context}) + "\n"
        )
        settings = Options(ModelSpec("tiny"), task.name, data=str(path), out=str(tmp_path))
        plan = make_plan(settings, task, handle)
        assert context in handle.tokenizer.decode(plan.questions.prompt_ids[0])
        keys.add(json.dumps(plan.answer_inputs, sort_keys=True))
    assert len(keys) == 2


def test_gold_exact_answers_are_marked(tmp_path):
    run = probebench.evaluate(
        "tiny", "people", limit=300, exact_answer="gold", out=tmp_path / "run", **BARE
    )
    assert run.record["counts"]["all"]["exact_found"]["all"]["rate"] == 1.0
    # a reference when right, what the task's own rule finds when wrong
    for row in run.answers.itertuples():
        assert (row.exact_answer in row.references) == bool(row.label)
    assert run.record["task"]["exact_answer"] == "gold"
    assert any("for comparison with the paper only" in w for w in run.record["warnings"])
    with pytest.raises(UnknownNameError, match="Did you mean 'gold'"):
        probebench.evaluate("tiny", "people", exact_answer="golden", out=tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: r.pop("answer"),
            "answers.jsonl, line 3: one of 'answer_ids', 'answer' is needed",
        ),
        (
            lambda r: r.pop("question"),
            "line 3: one of 'prompt_ids', 'prompt', 'question' is needed",
        ),
        (lambda r: r.pop("label"), "line 3: one of 'label', 'references' is needed"),
        (lambda r: r.update(label=0.5), "line 3: label must be 1 or true.*got 0.5"),
        (
            lambda r: r.update(label=float("nan")),
            "line 3: 'label' is empty, and one of 'label', 'references' is needed",
        ),  # as pandas writes a missing one
        (
            lambda r: r.update(exact_answer="London"),
            "line 3: exact_answer 'London' does not stand in the answer",
        ),
        (
            lambda r: r.update(answer_ids=[5, 99999]),
            "line 3: answer_ids holds the id 99999, but the tokenizer has ids 0 to",
        ),
        (
            lambda r: r.update(answer_ids=[]),
            "line 3: answer_ids must be a list of token ids with at least one entry",
        ),
        (
            lambda r: r.update(split="dev"),
            "line 3: split must be one of train, validation, test; got 'dev'",
        ),
        (lambda r: r.update(id="a0"), "line 3: the id 'a0' stands in an earlier row"),
        (lambda r: r.update(split="test"), "some rows have a 'split' and some have none"),
    ],
)
def test_bad_answer_rows_say_where(model_folder, answers_file, tmp_path, change, message):
    path = answers_file(40)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows[2])
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(BadFileError, match=message):
        probebench.evaluate(str(model_folder()), answers=path, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (lambda i: 1, "240 correct and 0 wrong answers.*one class only"),
        (lambda i: i < 11, "11 correct and 229 wrong answers.*fewer than 20 of one class"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_one_clear_error(
    model_folder, answers_file, tmp_path, label, message
):
    with pytest.raises(LabelError, match=message):
        probebench.evaluate(
            str(model_folder()), answers=answers_file(label=label), out=tmp_path / "run"
        )


def test_non_finite_weights_are_one_clear_error(model_folder, answers_file, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(model_folder(), folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StatesError, match="first at layer 1, position 'last_q'"):
        probebench.evaluate(str(folder), answers=answers_file(), out=tmp_path / "run")


def test_killed_at_any_moment_the_run_ends_the_same(tmp_path):
    """SIGKILL at random moments until the run gets through; every result file equals an undisturbed
    one's, which fitted its probes in one process."""
    words = [
        sys.executable,
        "-m",
        "probebench",
        "eval",
        "--model",
        "tiny",
        "--task",
        "people",
        "--limit",
        "160",
        "--layers",
        "3,7",
        "--shuffles",
        "10",
        "--quiet",
        "--out",
        "run",
    ]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "LOKY_MAX_CPU_COUNT": "1"}
    folders = {name: tmp_path / name for name in ("calm", "killed")}
    for folder in folders.values():
        folder.mkdir()
    started = time.perf_counter()
    subprocess.run(words, cwd=folders["calm"], env=environment, check=True)
    whole = time.perf_counter() - started
    environment["LOKY_MAX_CPU_COUNT"] = "2"
    rng, kills = random.Random(0), 0
    for share in (rng.uniform(0.25, 0.9) for _ in range(4)):
        process = subprocess.Popen(
            words, cwd=folders["killed"], env=environment, start_new_session=True
        )
        try:
            process.wait(timeout=whole * share if kills else min(whole * 0.4, 5))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run(words, cwd=folders["killed"], env=environment, check=True)
    assert kills
    for name in RESULTS:
        assert (folders["killed"] / "run" / name).read_bytes() == (
            folders["calm"] / "run" / name
        ).read_bytes(), name
    calm, killed = (
        comparable(json.loads((f / "run" / "record.json").read_text())) for f in folders.values()
    )
    assert calm == killed
