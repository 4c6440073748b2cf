from probebench.tasks.split import (
    FOLDS,
    official_split,
    split_again,
    split_by_fold,
    split_examples,
    split_folds,
    split_of,
)
from probebench.types import Example


def examples(groups, split=None):
    return [Example(str(i), f"q{i}", ("a",), g, split) for i, g in enumerate(groups)]


def test_a_group_never_crosses():
    groups = [f"g{i % 400}" for i in range(2000)]
    where = {}
    for group, split in zip(groups, split_examples(examples(groups)), strict=True):
        assert where.setdefault(group, split) == split


def test_shares_are_60_20_20():
    splits = [split_of(f"group {i}") for i in range(20_000)]
    for name, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        assert abs(splits.count(name) / len(splits) - share) < 0.012  # 3.5 standard errors


def test_a_group_keeps_its_place_whatever_else_is_there():
    few, many = examples(["a", "b"]), examples([f"x{i}" for i in range(50)] + ["a", "b"])
    assert split_examples(few) == split_examples(many)[-2:]


def test_seed_moves_groups_and_official_split_wins():
    groups = [f"g{i}" for i in range(200)]
    assert split_examples(examples(groups), 0) != split_examples(examples(groups), 1)
    assert set(split_examples(examples(groups, "test"))) == {"test"}


def test_known_hashes_do_not_move():
    assert [split_of(g) for g in ("Paris", "London", "Rome", "Tokyo", "Lima")] == [
        "validation",
        "validation",
        "validation",
        "train",
        "validation",
    ]


def test_another_split_is_that_of_a_run_with_its_seed():
    some = examples([f"g{i % 90}" for i in range(300)])
    assert split_again(some, 7) == split_examples(some, 7) != split_examples(some, 0)


def test_an_official_test_split_stays_and_the_rest_is_shared_out_anew():
    groups = [f"g{i // 2}" for i in range(2000)]
    names = ["test" if i >= 1600 else official_split(g) for i, g in enumerate(groups)]
    some = [e for g, name in zip(groups, names, strict=True) for e in examples([g], name)]
    again = split_again(some, 1)
    assert again[1600:] == ["test"] * 400
    assert "test" not in again[:1600]
    assert abs(again.count("validation") / 1600 - 0.25) < 0.06
    assert again != names
    assert again != split_again(some, 2)
    assert len({*zip(groups, again, strict=True)}) == len({*groups}), "a group crosses"


def test_folds_hold_whole_groups_and_as_many_examples_each():
    groups = [f"g{i}" for i in range(60) for _ in range(1 + i % 4)]
    folds = split_folds(groups, 3)
    assert folds != split_folds(groups, 4)
    assert len({*zip(groups, folds, strict=True)}) == 60, "a group crosses"
    sizes = [folds.count(k) for k in range(FOLDS)]
    assert max(sizes) - min(sizes) <= 4


def test_every_example_is_tested_in_one_fold():
    folds = split_folds([str(i) for i in range(100)])
    ways = [split_by_fold(folds, k) for k in range(FOLDS)]
    for one in zip(*ways, strict=True):
        assert sorted(one) == ["test", "train", "train", "train", "validation"]
