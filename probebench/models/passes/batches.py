"""How much goes through a model at once: batches of similar length, within a budget that memory
decides.

The budget of a run is found once and kept, because in half precision the size of a batch moves the
last bits. Out of memory halves it for good and begins the shard again, so that a shard's numbers
depend on the budget alone and not on what failed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from probebench.errors import MemoryLimitError

BATCH_TOKENS = 8192
"""Prompt and answer tokens of one batch, padding included, where memory is not asked."""
MAX_BATCH = 128
"""Examples of one batch, where memory is not asked."""
HOST_TOKENS, HOST_EXAMPLES = 2**16, 256
"""The same of answers on a CPU that has the memory. A step of decoding reads all weights, whether
for twenty rows or for two hundred (scripts/bench_batches.py)."""
T = TypeVar("T")
E = TypeVar("E")
R = TypeVar("R", covariant=True)


def plan_batches(
    lengths: Sequence[int],
    tokens: int = BATCH_TOKENS,
    largest: int = MAX_BATCH,
    *,
    equal: bool = False,
) -> list[list[int]]:
    """Indices in batches of similar length, or of the same, `tokens` padded tokens each at most,
    longest first."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        last = batches[-1] if batches else []
        fits = last and len(last) < largest and (len(last) + 1) * lengths[last[0]] <= tokens
        if fits and (not equal or lengths[i] == lengths[last[0]]):
            last.append(i)
        else:
            batches.append([i])
    return batches


@dataclass(slots=True)
class Budget:
    """What one batch may hold. It only ever shrinks, and each time by half of what failed: there is
    no endless loop."""

    tokens: int = BATCH_TOKENS
    """Prompt and answer tokens, padding included."""
    largest: int = MAX_BATCH
    """Examples."""
    keep: Callable[[Budget], None] | None = field(default=None, repr=False)
    """Told of every change, so that a resumed run goes on with the same batches."""
    halvings: int = 0
    """How often memory ran out."""
    tell: Callable[[int], None] | None = field(default=None, repr=False, compare=False)
    """Told after every batch how many examples of the shard are through."""

    def reached(self, n: int) -> None:
        """Tell that so many examples of the shard at work are through."""
        if self.tell is not None:
            self.tell(n)

    def plan(self, lengths: Sequence[int], alike: str = "any") -> list[list[int]]:
        """Batches of these lengths; an example longer than the budget goes alone.

        Args:
            lengths: tokens of each example.
            alike: `any`: of similar length; `equal`: of the same length; `alone`: one example each.
        """
        return plan_batches(
            lengths, self.tokens, 1 if alike == "alone" else self.largest, equal=alike == "equal"
        )

    def halve(self, batch: Sequence[int], lengths: Sequence[int], what: str) -> None:
        """Take half of a batch that did not fit as the most from now on.

        Raises:
            MemoryLimitError: the batch was a single example.
        """
        if len(batch) == 1:
            raise MemoryLimitError(
                f"Out of memory with a single example of {lengths[batch[0]]:,} tokens while "
                f"{what}. Lower --max-new-tokens, use "
                f"--dtype bfloat16, or a device with more memory."
            )
        # of the batch that failed, not of the budget, which it may have used only in part; and of
        # the budget, where the batch was planned by less than these lengths: so every halving makes
        # it smaller
        half = len(batch) // 2 * max(lengths[i] for i in batch)
        self.tokens = min(half, self.tokens // 2)
        self.halvings += 1
        if self.keep is not None:
            self.keep(self)


def in_batches(
    lengths: Sequence[int],
    run: Callable[[list[int]], list[T]],
    what: str,
    budget: Budget | None = None,
    alike: str = "any",
    each: int = 1,
) -> list[T]:
    """Results of all examples in their order, computed batch by batch; out of memory begins again
    with half the budget.

    Args:
        lengths: tokens of each example, with those that it will generate.
        run: results of some examples, given by index.
        what: for messages, such as `generating`.
        budget: what a batch may hold; None: the fixed one, for this call.
        alike: which examples may go together, as in `Budget.plan`.
        each: how many of them are one example of the shard.

    Raises:
        MemoryLimitError: a single example does not fit.
    """
    budget = budget if budget is not None else Budget()
    while True:
        found: dict[int, T] = {}
        failed: list[int] | None = None
        for batch in budget.plan(lengths, alike):
            results = attempt(run, batch)
            if results is None:
                failed = batch
                break
            found.update(zip(batch, results, strict=True))
            budget.reached(len(found) // each)
        if failed is None:
            return [found[i] for i in range(len(lengths))]
        budget.halve(failed, lengths, what)


class Whole(Protocol[R]):
    """Work that is not cut into batches beforehand."""

    at_once: list[int]
    """Examples that were last in memory together."""

    def run(self) -> R:
        """Do it."""


def until_it_fits(
    make: Callable[[], Whole[R]], lengths: Sequence[int], what: str, budget: Budget
) -> R:
    """What such work gives; out of memory begins again with half the budget, which it looks at.

    Args:
        make: the work, to be done from its beginning.
        lengths: tokens of each example.
        what: for messages, such as `generating`.
        budget: what may be in memory at once.

    Raises:
        MemoryLimitError: a single example does not fit.
    """
    while True:
        work = make()
        found = attempt(lambda w: w.run(), work)
        if found is not None:
            return found
        budget.halve(work.at_once, lengths, what)


def attempt(run: Callable[[E], T], batch: E) -> T | None:
    """`run(batch)`, or None when memory ran out; by then the failed batch's tensors are free."""
    import torch

    results: T | None
    try:
        results = run(batch)
    except (torch.OutOfMemoryError, MemoryError):
        results = None
    except RuntimeError as error:  # what PyTorch's CPU allocator raises, and cuBLAS in capitals
        if "alloc" not in str(error).lower():
            raise
        results = None
    # out of the except block, whose traceback holds on to tensors
    if results is None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return results


def halving(batch: list[int], run: Callable[[list[int]], list[T]], what: str) -> Iterator[T]:
    """Run one batch; out of memory halves it, down to one example, then gives up with advice."""
    results = attempt(run, batch)
    if results is not None:
        yield from results
        return
    if len(batch) == 1:
        raise MemoryLimitError(
            f"Out of memory with a single example while {what}. Lower the task's max_new_tokens, "
            "use --dtype bfloat16, or a device with more memory."
        )
    half = len(batch) // 2
    yield from halving(batch[:half], run, what)
    yield from halving(batch[half:], run, what)
