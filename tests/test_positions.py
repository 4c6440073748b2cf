import numpy as np
import pytest

from probebench.errors import UnknownNameError, UsageError
from probebench.states.positions import (
    FURTHER,
    POSITIONS,
    PUBLISHED,
    STATEMENTS,
    locate,
    present,
    resolve_positions,
)
from probebench.types import Thinking, TokenizedAnswer


def test_published_names_and_order():
    assert PUBLISHED == (
        "last_q",
        "first_answer",
        "second_answer",
        "exact_answer_before_first",
        "exact_answer_first",
        "exact_answer_last",
        "exact_answer_after_last",
        "-8",
        "-7",
        "-6",
        "-5",
        "-4",
        "-3",
        "-2",
        "-1",
    )


def test_places_in_a_known_sequence():
    # prompt 0..4, answer 5..14 with the stop token at 14, exact answer at 8..9
    table = locate([TokenizedAnswer(5, 15, (8, 9))], PUBLISHED)
    assert table[:, :, 0].tolist() == [[4, 5, 6, 7, 8, 9, 10, 7, 8, 9, 10, 11, 12, 13, 14]]
    assert (table[:, :, 0] == table[:, :, 1]).all()


def test_missing_positions_are_absent_and_never_replaced():
    no_exact, one_token, exact_at_end = (
        TokenizedAnswer(5, 12, None),
        TokenizedAnswer(5, 6, None),
        TokenizedAnswer(2, 4, (2, 3)),
    )
    there = present(locate([no_exact, one_token, exact_at_end], PUBLISHED))
    names = np.array(PUBLISHED)
    assert set(names[~there[0]]) == {n for n in PUBLISHED if n.startswith("exact")}
    assert set(names[~there[1]]) == {n for n in PUBLISHED if n.startswith("exact")} | {
        "second_answer",
        "-8",
        "-7",
    }
    assert set(names[~there[2]]) == {"exact_answer_after_last", "-8", "-7", "-6", "-5"}


def test_exact_answer_at_the_first_token_has_the_last_prompt_token_before_it():
    table = locate([TokenizedAnswer(5, 9, (5, 6))], ("exact_answer_before_first", "last_q"))
    assert table[:, :, 0].tolist() == [[4, 4]]


def test_names_come_in_map_order_and_aliases_are_known():
    assert resolve_positions(["-1", "last_token", "end_question", "first_answer"]) == (
        "last_q",
        "first_answer",
        "-1",
    )
    assert resolve_positions(None) == PUBLISHED


def test_unknown_name_says_the_nearest():
    with pytest.raises(
        UnknownNameError, match="'exact_answer_lst'. Did you mean 'exact_answer_last'"
    ):
        resolve_positions(["exact_answer_lst"])
    with pytest.raises(UsageError, match="No position"):
        resolve_positions([])


def test_further_columns_come_after_the_published_ones():
    assert resolve_positions(["all"]) == PUBLISHED + FURTHER
    assert FURTHER == (
        "prompt_mean",
        "answer_mean",
        "think_first",
        "think_25",
        "think_50",
        "think_75",
        "think_last",
        "end_think",
        "final_first",
        "stop",
    )
    assert resolve_positions(["stop", "last_q", "prompt_mean"]) == ("last_q", "prompt_mean", "stop")
    assert resolve_positions(["all"], STATEMENTS) == STATEMENTS


def test_means_are_stretches_of_tokens():
    table = locate(
        [TokenizedAnswer(5, 15, None), TokenizedAnswer(5, 5, None)], ("prompt_mean", "answer_mean")
    )
    assert table.tolist() == [[[0, 4], [5, 14]], [[0, 4], [-1, -1]]]


def test_places_in_thinking():
    # thoughts at 7..16, closing delimiter 17..18, final answer from 19, stop token at 22
    answer = TokenizedAnswer(5, 23, None, stop=22, thinking=Thinking(7, 16, 18, 19))
    assert locate([answer], FURTHER)[0, 2:, 0].tolist() == [7, 9, 11, 13, 16, 18, 19, 22]
    cut_off = TokenizedAnswer(5, 23, None, thinking=Thinking(7, None, None, None))
    assert present(locate([cut_off], FURTHER))[0].tolist() == [True, True, True] + [False] * 7
    assert present(locate([TokenizedAnswer(5, 9, None, stop=8)], FURTHER))[0].tolist() == [
        True,
        True,
    ] + [False] * 7 + [True]


def test_each_position_says_when_it_is_readable_and_what_it_means():
    before = {name for name, p in POSITIONS.items() if p.when == "before"}
    assert before == {"last_q", "prompt_mean", "statement_last"}
    assert all(p.meaning.endswith(".") for p in POSITIONS.values())
