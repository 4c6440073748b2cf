import numpy as np
import pytest

from probebench.errors import UnknownNameError, UsageError
from probebench.positions import PUBLISHED, locate, present, resolve_positions
from probebench.types import TokenizedAnswer


def test_published_names_and_order():
    assert PUBLISHED == (
        "last_q", "first_answer", "second_answer", "exact_answer_before_first", "exact_answer_first", "exact_answer_last",
        "exact_answer_after_last", "-8", "-7", "-6", "-5", "-4", "-3", "-2", "-1",
    )  # fmt: skip


def test_places_in_a_known_sequence():
    # prompt 0..4, answer 5..14 with the stop token at 14, exact answer at 8..9
    table = locate([TokenizedAnswer(5, 15, (8, 9))], PUBLISHED)
    assert table.tolist() == [[4, 5, 6, 7, 8, 9, 10, 7, 8, 9, 10, 11, 12, 13, 14]]


def test_missing_positions_are_absent_and_never_replaced():
    no_exact, one_token, exact_at_end = TokenizedAnswer(5, 12, None), TokenizedAnswer(5, 6, None), TokenizedAnswer(2, 4, (2, 3))
    there = present(locate([no_exact, one_token, exact_at_end], PUBLISHED))
    names = np.array(PUBLISHED)
    assert set(names[~there[0]]) == {n for n in PUBLISHED if n.startswith("exact")}
    assert set(names[~there[1]]) == {n for n in PUBLISHED if n.startswith("exact")} | {"second_answer", "-8", "-7"}
    assert set(names[~there[2]]) == {"exact_answer_after_last", "-8", "-7", "-6", "-5"}


def test_exact_answer_at_the_first_token_has_the_last_prompt_token_before_it():
    table = locate([TokenizedAnswer(5, 9, (5, 6))], ("exact_answer_before_first", "last_q"))
    assert table.tolist() == [[4, 4]]


def test_names_come_in_map_order_and_aliases_are_known():
    assert resolve_positions(["-1", "last_token", "end_question", "first_answer"]) == ("last_q", "first_answer", "-1")
    assert resolve_positions(None) == PUBLISHED


def test_unknown_name_says_the_nearest():
    with pytest.raises(UnknownNameError, match="'exact_answer_lst'. Did you mean 'exact_answer_last'"):
        resolve_positions(["exact_answer_lst"])
    with pytest.raises(UsageError, match="No position"):
        resolve_positions([])
