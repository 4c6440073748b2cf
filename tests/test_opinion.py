import math
from types import SimpleNamespace

import probebench
from probebench.models.generate import Request
from probebench.tasks.opinion import agreement, opinion_prompt, read_opinion
from probebench.types import Example


def test_prompt_holds_question_references_and_reply():
    prompt = opinion_prompt(Example("1", "Who?", ("Anna", "A. Smith"), "g"), " It was\nAnna. ")
    assert "Question: Who?\nAccepted answers: Anna; A. Smith\nReply: It was Anna.\n" in prompt


def test_first_yes_or_no_counts():
    assert [read_opinion(t) for t in (" Yes.", "no, it", "Well, NO or yes", "maybe", "nobody")] == [
        True,
        False,
        False,
        None,
        None,
    ]


def test_agreement_counts_what_it_says():
    found = agreement([1, 1, 0, 0, 1], [True, False, True, False, None])
    assert (found["with_opinion"], found["agreement"]) == (4, 0.5)
    assert (found["only_first_says_correct"], found["only_second_says_correct"]) == (1, 1)
    assert found["kappa"] == 0.0
    assert math.isnan(agreement([1, 1], [True, True])["kappa"])


def test_a_second_opinion_is_in_the_record_and_changes_nothing(
    model_folder, answers_file, tmp_path
):
    path = answers_file()
    options = {"answers": path, "out": tmp_path / "run", "shuffles": 0}
    plain = probebench.evaluate(str(model_folder()), **options)
    judged = probebench.evaluate(
        str(model_folder()), judge_model=str(model_folder("mistral")), **options
    )
    assert plain.record["second_opinion"] is None
    assert judged.record["second_opinion"]["n"] == 240
    assert judged.record["detectors"] == plain.record["detectors"]


def test_an_answer_that_the_judge_s_context_does_not_hold_has_no_opinion(monkeypatch):
    from probebench.stages import second_judge

    monkeypatch.setattr(second_judge, "short_question", lambda tokenizer, text: text)
    monkeypatch.setattr(second_judge, "opinion_prompt", lambda example, text: text)
    monkeypatch.setattr(
        second_judge,
        "requests",
        lambda ids, texts, judge: [
            Request(i, (1,) * len(t)) for i, t in zip(ids, texts, strict=True)
        ],
    )
    room = second_judge.MAX_NEW_TOKENS + 10
    judge = SimpleNamespace(max_length=room, tokenizer=None)
    plan = SimpleNamespace(
        beside=SimpleNamespace(judge=judge), statements=False, reply=lambda a: ("", a)
    )
    answers = [
        SimpleNamespace(example=SimpleNamespace(id=str(i)), answer="x" * n)
        for i, n in enumerate((10, 11, 3))
    ]
    asked = []

    class Yes:
        def run(self, stage):
            asked.extend(stage.requests)
            return stage

    monkeypatch.setattr(
        second_judge, "in_order", lambda stage: [SimpleNamespace(text="yes")] * len(asked)
    )
    assert second_judge.model_opinions(plan, Yes(), answers) == [True, None, True]
    assert [r.id for r in asked] == ["0", "2"]
