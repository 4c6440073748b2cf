"""What a dry run says: bytes to the last one, memory as it is counted in a real run, and time with what it assumes."""

import re

import pytest

from probebench.cells import Cells, plan_run
from probebench.models.bare import LiveBytes
from probebench.models.loading import ModelSpec, find_model
from probebench.preview import costs, preview
from probebench.progress import Progress
from probebench.settings import Settings
from probebench.stages import Stages
from probebench.tasks.schema import load_task


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_disk_is_exact_and_memory_within_a_fifth(tmp_path, dtype):
    settings = Settings(ModelSpec("tiny", device="cpu"), "people", limit=300, states_dtype=dtype, out=str(tmp_path))
    stages = Stages(settings, load_task("people"), find_model(settings.model), Progress())
    asked = plan_run(stages)
    said = costs(stages, asked[1])
    assert stages._loaded is None  # no weights were read
    assert stages.loaded is not None
    with LiveBytes() as live:
        answers = stages.labelled()
        cells = Cells(stages, answers, asked)
        cells.states()
    assert said.disk == sum(p.stat().st_size for p in cells.states_stage.folder.glob("0*.safetensors"))
    assert said.memory.largest == pytest.approx(live.peak, rel=0.2)
    low, mid, high = said.total
    assert 0 < low <= mid <= high
    assert set(said.seconds) == {"answers", "hidden states", "probes", "p(True)"}


def test_the_text_says_what_is_assumed(tmp_path):
    shown = preview(Settings(ModelSpec("tiny", device="cpu"), "people", limit=100, out=str(tmp_path / "run")))
    assert re.search(r"disk +[\d,]+ bytes of hidden states", shown)
    assert re.search(r"memory +[\d.]+ MB on cpu: weights 5.8, and", shown)
    assert "An estimate, for answers of 16 tokens until a batch ends" in shown
