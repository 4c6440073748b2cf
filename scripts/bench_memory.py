"""Peak host memory of extraction and storage with N and 100 N examples, each in a process of its
own.

    python scripts/bench_memory.py                    # 1,280 and 128,000 answers of 12 tokens, 4
    layers x 256

The path is that of a run: shards are read by the extractor, packed, and written in the background
while the next is read. What may grow with the number of examples are their token ids and the table
of places; the states may not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from side_by_side import fresh, status
from transformers import AutoModelForCausalLM, LlamaConfig

from probebench.models.blocks.sites import plan_sites
from probebench.models.handles import LoadedModel
from probebench.progress import Progress
from probebench.stages.engine import Models, Work
from probebench.stages.stage import LocalRunner
from probebench.stages.states import Sequences, StatesStage
from probebench.states.extract import Extractor, site_layouts
from probebench.states.positions import PUBLISHED, locate
from probebench.types import EMB, TokenizedAnswer

LAYERS, WIDTH, TOKENS = 4, 256, 12


def measure(n: int, out: Path) -> dict[str, int]:
    """Extract and store the states of `n` answers; memory before, and at its peak."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1000,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    loaded = LoadedModel(AutoModelForCausalLM.from_config(config).eval(), None)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    ids = [tuple(row) for row in rng.integers(5, 1000, size=(n, TOKENS)).tolist()]
    table = locate([TokenizedAnswer(6, TOKENS, (7, 8))] * n, PUBLISHED)
    plan = plan_sites(loaded.base, LAYERS, ["resid"], [EMB, *range(LAYERS)])
    extract = Extractor(loaded, plan, "float16")
    extract(ids[:256], table[:256], PUBLISHED)  # what PyTorch takes once, whatever follows
    before = status("VmRSS")

    class Read(StatesStage):
        name: ClassVar[str] = "states"
        title: ClassVar[str] = "Reading"
        inputs: ClassVar[dict[str, Any]] = {"n": n}

        def extractor(self, work: Work) -> Extractor:
            return extract

    places = Sequences(tuple(ids), table, tuple(PUBLISHED))
    runner = LocalRunner(out, Progress(), Models(Progress()))
    runner.run(Read(None, places, site_layouts(plan)))  # type: ignore[arg-type]
    written = sum(p.stat().st_size for p in out.rglob("*.safetensors"))
    return {"before": before, "peak": status("VmHWM"), "written": written}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=1280)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(args.one, Path(folder))))
        return
    found = {}
    for n in (args.examples, args.examples * args.times):
        found[n] = fresh(__file__, ["--one", str(n)])
    print(
        "| examples | hidden states written, MB | memory before, MB | peak, MB | peak above "
        "before, MB |\n|---|---|---|---|---|"
    )
    for n, at in found.items():
        parts = (at["written"], at["before"], at["peak"], at["peak"] - at["before"])
        print(f"| {n:,} | " + " | ".join(f"{part / 1e6:,.1f}" for part in parts) + " |")
    few, many = found.values()
    times = (many["peak"] - many["before"]) / max(few["peak"] - few["before"], 1)
    shard = few["written"] / max(args.examples / 256, 1)
    print(
        f"\npeak above before: {times:.2f} times that of the few; one shard is {shard / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
