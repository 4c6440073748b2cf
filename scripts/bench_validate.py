"""Time and memory of `probebench leaderboard validate` on invented submissions: 100 of them against
1,000.

    python scripts/bench_validate.py [--counts 100,1000] [--workers 2]

Each count runs in a process of its own. A few submissions are computed, the others are copies under
other names, which costs the check as much. Memory is the largest resident set of the parent and of
any worker.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from made import hashed, make_submission

from probebench.leaderboard.check.validate import validate

DISTINCT = 4


def fill(root: Path, n: int) -> None:
    """`n` submissions on the embedded task people."""
    originals = [make_submission(root / "made", model=f"org/m{k}", seed=k) for k in range(DISTINCT)]
    for i in range(n):
        source = originals[i % DISTINCT]
        folder = root / "leaderboards" / "v1" / f"org__model{i:04d}" / source.name
        shutil.copytree(source, folder)
        record = json.loads((folder / "record.json").read_text())
        record["model"]["name"], record["key"] = f"org/model{i:04d}", hashed(i)
        (folder / "record.json").write_text(json.dumps(record))


def measure(n: int, workers: int) -> dict[str, float]:
    """Seconds and megabytes for `n` submissions."""
    import resource  # POSIX only, as megabytes are

    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), n)
        started, before = time.perf_counter(), cpu()
        reports = [report.ok for report in validate(Path(folder) / "leaderboards", workers=workers)]
        seconds = time.perf_counter() - started
        if not all(reports) or len(reports) != n:
            raise SystemExit(f"{reports.count(False)} of {len(reports)} failed")
        peaks = {
            who: resource.getrusage(kind).ru_maxrss / 1024
            for who, kind in (
                ("parent_mb", resource.RUSAGE_SELF),
                ("worker_mb", resource.RUSAGE_CHILDREN),
            )
        }
        return {"n": n, "seconds": seconds, "cpu_seconds": cpu() - before, **peaks}


def cpu() -> float:
    """Processor seconds of this process and its finished workers."""
    return sum(os.times()[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="100,1000")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.workers)))
        return
    print(
        f"{'n':>6} {'seconds':>9} {'per one':>8} {'cpu s':>8} {'parent MB':>10} {'worker MB':>10}"
    )
    for n in map(int, options.counts.split(",")):
        command = [sys.executable, __file__, "--one", str(n), "--workers", str(options.workers)]
        r = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        )
        print(
            f"{r['n']:>6} {r['seconds']:>9.1f} {r['seconds'] / r['n']:>8.2f} "
            f"{r['cpu_seconds']:>8.1f} {r['parent_mb']:>10.0f} {r['worker_mb']:>10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
