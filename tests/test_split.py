from probebench.tasks.split import split_examples, split_of
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
