import numpy as np
import pytest
import torch
from conftest import FAMILIES

from probebench.errors import RunError, StatesError, UnknownNameError
from probebench.models.sites import check_sites, find_blocks, plan_sites, resolve_layers
from probebench.states.extract import Extractor as SiteExtractor
from probebench.states.extract import plan_shards
from probebench.states.reader import SiteLayout, StatesReader, states_bytes
from probebench.types import EMB

LAYERS = (EMB, 0, 1, 2)
NAMES = ("a", "b", "c")


def Extractor(loaded, layers, dtype="float16"):
    """One that reads the residual stream alone and returns its array."""
    extract = SiteExtractor(loaded, plan_sites(loaded.base, 3, ["resid"], layers), dtype)
    return lambda *args: extract(*args)["resid"]


def sequences(loaded, n=9):
    rng = np.random.default_rng(0)
    return [tuple(rng.integers(5, len(loaded.tokenizer), size=int(k)).tolist()) for k in rng.integers(4, 40, size=n)]


def places(seqs):
    """(example, position, 2): single tokens."""
    return np.array([[[k, k] for k in (0, len(s) // 2, len(s) - 1)] for s in seqs], dtype=np.int64)


@pytest.mark.parametrize("kind", FAMILIES)
def test_equals_output_hidden_states_of_one_example(loaded, kind):
    model = loaded(kind)
    seqs = sequences(model)
    values = Extractor(model, LAYERS, "float32")(seqs, places(seqs), NAMES)
    for i, s in enumerate(seqs):
        with torch.inference_mode():
            hidden = model.model(torch.tensor([s]), output_hidden_states=True).hidden_states
        for j, token in enumerate(places(seqs)[i, :, 0]):
            for row in range(3):  # embedding output and blocks 0 and 1; the last entry comes after the final norm
                np.testing.assert_allclose(values[row, j, i], hidden[row][0, token].numpy(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_last_row_is_the_stream_before_the_final_norm(loaded, kind):
    model = loaded(kind)
    seqs = sequences(model, 3)
    values = Extractor(model, LAYERS, "float32")(seqs, places(seqs), NAMES)
    norm = getattr(model.model.base_model, "norm", None) or model.model.base_model.ln_f
    for i, s in enumerate(seqs):
        with torch.inference_mode():
            after = model.model(torch.tensor([s]), output_hidden_states=True).hidden_states[-1][0]
            normed = norm(torch.from_numpy(values[3, :, i])).numpy()
        np.testing.assert_allclose(normed, after[places(seqs)[i, :, 0]].numpy(), atol=1e-4, rtol=1e-3)
        assert np.abs(values[3, :, i] - after[places(seqs)[i, :, 0]].numpy()).max() > 1e-2


@pytest.mark.parametrize("kind", FAMILIES)
def test_batch_of_many_equals_batch_of_one(loaded, kind):
    model = loaded(kind)
    seqs = sequences(model)
    extract = Extractor(model, LAYERS, "float32")
    many = extract(seqs, places(seqs), NAMES)
    for i, s in enumerate(seqs):
        one = extract([s], places([s]), NAMES)
        np.testing.assert_allclose(many[:, :, i], one[:, :, 0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_exact_batching_is_one_example_at_a_time_to_the_last_bit(loaded, kind):
    model = loaded(kind)
    rng = np.random.default_rng(1)
    seqs = [tuple(rng.integers(5, model.model.config.vocab_size, size=int(k)).tolist()) for k in rng.choice([7, 16, 33], size=24)]
    plan = plan_sites(model.base, 3, ["all"], LAYERS)
    extract = SiteExtractor(model, plan, "float32", "exact")
    many = extract(seqs, places(seqs), NAMES)
    for i, s in enumerate(seqs):
        one = extract([s], places([s]), NAMES)
        for site, values in many.items():
            assert (values[:, :, i] == one[site][:, :, 0]).all(), site
    assert extract.deviation(seqs[:4], places(seqs[:4])) == 0
    assert 0 <= SiteExtractor(model, plan).deviation(seqs[:4], places(seqs[:4])) < 1e-4


def test_absent_positions_are_zero_and_take_nothing(loaded):
    model = loaded("llama")
    seqs = sequences(model)
    table = places(seqs)
    table[2, 1] = -1
    values = Extractor(model, LAYERS)(seqs, table, NAMES)
    assert (values[:, 1, 2] == 0).all()
    assert (values[:, 1, 3] != 0).any()
    assert values.dtype == np.float16


@pytest.mark.parametrize("kind", FAMILIES)
def test_means_are_taken_over_the_tokens_of_a_stretch(loaded, kind):
    model = loaded(kind)
    seqs = sequences(model)
    table = np.array([[[0, 2], [1, len(s) - 1], [-1, -1]] for s in seqs], dtype=np.int64)
    values = Extractor(model, LAYERS, "float32")(seqs, table, NAMES)
    for i, s in enumerate(seqs):
        with torch.inference_mode():
            hidden = model.model(torch.tensor([s]), output_hidden_states=True).hidden_states
        for row in range(3):
            np.testing.assert_allclose(values[row, 0, i], hidden[row][0, :3].mean(0).numpy(), atol=2e-5, rtol=1e-4)
            np.testing.assert_allclose(values[row, 1, i], hidden[row][0, 1:].mean(0).numpy(), atol=2e-5, rtol=1e-4)
    assert (values[:, 2] == 0).all()


def test_some_layers_only(loaded):
    model = loaded("llama")
    seqs = sequences(model)
    everything = Extractor(model, LAYERS, "float32")(seqs, places(seqs), NAMES)
    some = Extractor(model, (EMB, 1), "float32")(seqs, places(seqs), NAMES)
    assert (some == everything[[0, 2]]).all()


def test_no_hook_is_left(loaded):
    model = loaded("llama")
    seqs = sequences(model)

    def hooks():  # transformers keeps some of its own
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())

    before = hooks()
    Extractor(model, LAYERS)(seqs, places(seqs), NAMES)
    assert hooks() == before


def test_non_finite_states_name_layer_and_position(loaded):
    model = loaded("llama")
    seqs = sequences(model)
    block = model.model.model.layers[1]
    hook = block.register_forward_hook(lambda m, a, out: out * float("inf"))
    try:
        with pytest.raises(StatesError, match="first at layer 1, position 'a'.*--states-dtype float32"):
            Extractor(model, LAYERS)(seqs, places(seqs), NAMES)
    finally:
        hook.remove()


def test_blocks_returning_tuples_are_read_too(loaded):
    model = loaded("llama")
    seqs = sequences(model, 2)
    plain = Extractor(model, LAYERS, "float32")(seqs, places(seqs), NAMES)

    class OldStyle(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, hidden_states, *args, **kwargs):
            return (self.block(hidden_states, *args, **kwargs), None)

    from probebench.models.sites import watch

    seen = {}
    blocks = [OldStyle(b) for b in model.model.model.layers]
    wrapped = torch.nn.Module()
    wrapped.layers, wrapped.config = torch.nn.ModuleList(blocks), model.model.config
    plan = plan_sites(wrapped, 3, ["resid"], LAYERS)
    hooks = watch(plan, lambda site, layer, states: seen.__setitem__(layer, states))
    with torch.inference_mode():
        base = model.model.model
        x = base.embed_tokens(torch.tensor([seqs[0]]))
        positions = base.rotary_emb(x, torch.arange(len(seqs[0]))[None])
        for block in blocks:
            x = block(x, position_embeddings=positions, attention_mask=None)[0]
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(seen[2][0, 0].numpy(), plain[3, 0, 0], atol=1e-4, rtol=1e-3)


def test_shards_hold_every_example_once_by_length():
    lengths = [int(x) for x in np.random.default_rng(0).integers(1, 500, size=700)]
    shards = plan_shards(lengths)
    assert [len(s) for s in shards] == [256, 256, 188]
    assert sorted(i for s in shards for i in s) == list(range(700))
    assert max(lengths[i] for i in shards[1]) <= min(lengths[i] for i in shards[0])


def test_stored_cells_come_back(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 3, 5, 4)).astype(np.float16)
    order = ((4, 0), (2, 1, 3))
    files = []
    for k, (rows, part) in enumerate(zip(order, (values[:, :, :2], values[:, :, 2:]), strict=True)):
        (tmp_path / f"{k}.safetensors").write_bytes(states_bytes({"resid": part}, rows))
        files.append(str(tmp_path / f"{k}.safetensors"))
    present = np.ones((5, 3), dtype=bool)
    reader = StatesReader(tuple(files), order, {"resid": SiteLayout((EMB, 0), (4, 4))}, NAMES, present)
    (tmp_path / "index.safetensors").write_bytes(reader.index())
    again = StatesReader.open(tmp_path)
    cell = again.cell(0, "b")
    for column, example in enumerate((4, 0, 2, 1, 3)):
        assert (cell[example] == values[1, 1, column]).all()
    assert (again.load().values[:, 1, 1] == cell).all()
    assert again.site("resid").layers == (EMB, 0)
    with pytest.raises(UnknownNameError, match="site 'attn.q'"):
        again.cell(0, "b", "attn.q")
    with pytest.raises(UnknownNameError, match="layer of resid '7'"):
        again.cell(7, "b")


def test_layers_of_different_width_come_back_as_wide_as_they_are(tmp_path):
    values = np.arange(2 * 1 * 3 * 4, dtype=np.float32).reshape(2, 1, 3, 4)
    (tmp_path / "0.safetensors").write_bytes(states_bytes({"attn.q": values}, (0, 1, 2)))
    layout = {"attn.q": SiteLayout((1, 5), (4, 2))}
    reader = StatesReader((str(tmp_path / "0.safetensors"),), ((0, 1, 2),), layout, ("a",), np.ones((3, 1), dtype=bool))
    assert (reader.cell(1, "a", "attn.q") == values[0, 0]).all()
    assert (reader.cell(5, "a", "attn.q") == values[1, 0, :, :2]).all()


def test_missing_states_say_what_to_do(tmp_path):
    with pytest.raises(StatesError, match="Run the same command again"):
        StatesReader.open(tmp_path)


def test_layers_and_sites_are_checked():
    assert resolve_layers(None, 3) == (EMB, 0, 1, 2)
    assert resolve_layers([2, 0], 3) == (EMB, 0, 2)
    with pytest.raises(UnknownNameError, match="layer '3'"):
        resolve_layers([3], 3)
    with pytest.raises(UnknownNameError, match="Did you mean 'resid'"):
        check_sites(["resids"])
    with pytest.raises(RunError, match="no list of 7 blocks"):
        find_blocks(torch.nn.Linear(2, 2), 7)
