"""Larger batches against the fixed one where a model answers on a processor.

    python scripts/bench_batches.py                                            # the embedded model
    python scripts/bench_batches.py MODEL --task math --n 256 --dtype bfloat16 --tokens 8192 65536

One row for each budget: how many tokens, prompts and the room of their answers, may be in memory at
once, with up to `--largest` rows. Budgets take turns; ratios are medians over rounds, against the
first one. Resident memory is the peak of the process, weights included. Equal answers are counted
against those of the first one, because in half precision the size of a batch moves the last bits.
"""

from __future__ import annotations

import argparse
from functools import partial

from side_by_side import Rounds, Subject, forget_peak, head, model_options, row, status

from probebench.models.generate import generate, requests, stop_texts, stop_tokens
from probebench.models.passes.batches import BATCH_TOKENS, HOST_EXAMPLES, HOST_TOKENS, Budget


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model_options(parser, "people", 256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[BATCH_TOKENS, HOST_TOKENS // 4, HOST_TOKENS]
    )
    parser.add_argument("--largest", type=int, default=HOST_EXAMPLES, help="rows of a batch")
    args = parser.parse_args()
    subject = Subject.of(args)
    handle, how = subject.loaded.handle, subject.task.generation
    wanted = requests([e.id for e in subject.examples], subject.prompts, handle)
    stops, texts = stop_tokens(handle, how), stop_texts(handle, how)

    peaks: dict[int, float] = {}

    def answers(tokens: int) -> list[tuple[int, ...]]:
        forget_peak()
        found = generate(
            subject.loaded,
            wanted,
            how.max_new_tokens,
            stops,
            texts,
            budget=Budget(tokens, args.largest),
        )
        peaks[tokens] = max(status("VmHWM"), peaks.get(tokens, 0.0))
        return [a.answer_ids for a in found]

    print(f"{subject}, median of {args.rounds}\n")
    result = Rounds.of({str(n): partial(answers, n) for n in args.tokens}, args.rounds)
    first = str(args.tokens[0])
    head("tokens", "seconds", "processor, s", "faster, clock", "processor", "resident, MB", "equal")
    for n in args.tokens:
        taken, ratio = result.median(str(n)), result.ratio(first, str(n))
        pairs = zip(result.found[first], result.found[str(n)], strict=True)
        row(
            f"{n:,}",
            f"{taken.wall:.1f}",
            f"{taken.cpu:.1f}",
            f"{ratio.wall:.2f}",
            f"{ratio.cpu:.2f}",
            f"{peaks[n] / 1e6:,.0f}",
            f"{sum(a == b for a, b in pairs)} of {len(wanted)}",
        )


if __name__ == "__main__":
    main()
