import numpy as np
import pytest
import torch
from conftest import FAMILIES

from probebench.errors import RunError, StatesError, UnknownNameError
from probebench.models.blocks.sites import check_sites, plan_sites, resolve_layers
from probebench.models.blocks.taps import find_blocks
from probebench.models.passes.batches import Budget
from probebench.states.extract import Extractor as SiteExtractor
from probebench.states.extract import plan_shards
from probebench.states.gather import _finite
from probebench.states.reader import INDEX, SiteLayout, StatesReader
from probebench.states.shards import (
    Shard,
    from_bfloat16,
    shard_size,
    states_bytes,
    to_bfloat16,
    widened,
)
from probebench.types import EMB

LAYERS = (EMB, 0, 1, 2)
NAMES = ("a", "b", "c")


def Extractor(loaded, layers, dtype="float16"):
    """One that reads the residual stream alone and returns its array."""
    extract = SiteExtractor(loaded, plan_sites(loaded.base, 3, ["resid"], layers), dtype)
    return lambda *args: extract(*args)["resid"]


def sequences(loaded, n=9):
    rng = np.random.default_rng(0)
    return [
        tuple(rng.integers(5, len(loaded.tokenizer), size=int(k)).tolist())
        for k in rng.integers(4, 40, size=n)
    ]


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
            # embedding output and blocks 0 and 1; the last entry comes after the final norm
            for row in range(3):
                np.testing.assert_allclose(
                    values[row, j, i], hidden[row][0, token].numpy(), atol=2e-5, rtol=1e-4
                )


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
        np.testing.assert_allclose(
            normed, after[places(seqs)[i, :, 0]].numpy(), atol=1e-4, rtol=1e-3
        )
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
    seqs = [
        tuple(rng.integers(5, model.model.config.vocab_size, size=int(k)).tolist())
        for k in rng.choice([7, 16, 33], size=24)
    ]
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
            np.testing.assert_allclose(
                values[row, 0, i], hidden[row][0, :3].mean(0).numpy(), atol=2e-5, rtol=1e-4
            )
            np.testing.assert_allclose(
                values[row, 1, i], hidden[row][0, 1:].mean(0).numpy(), atol=2e-5, rtol=1e-4
            )
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
        with pytest.raises(
            StatesError, match="first at layer 1, position 'a'.*--states-dtype bfloat16"
        ):
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

    from probebench.models.blocks.sites import watch

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
    reader = StatesReader(
        tuple(files), order, {"resid": SiteLayout((EMB, 0), (4, 4))}, NAMES, present
    )
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
    for ask in (again.there, lambda name: again.cell(0, name)):
        with pytest.raises(UnknownNameError, match="position 'nope'"):
            ask("nope")
    assert repr(again.load()) == (
        "<HiddenStates of resid: 5 examples x 2 layers x 3 positions x 4, float16>"
    )


def test_a_position_that_is_a_number_is_named_as_text():
    reader = StatesReader((), (), {"resid": SiteLayout((3,), (4,))}, ("-1",), np.ones((1, 1)))
    for ask in (reader.there, lambda name: reader.cell(3, name)):
        with pytest.raises(UnknownNameError) as said:
            ask(-1)
        assert str(said.value) == "Unknown position -1. Did you mean '-1'? Names are text."


@pytest.mark.parametrize("lost", [INDEX, "0.safetensors"])
def test_states_that_are_gone_are_said_once(tmp_path, lost):
    part = np.ones((1, 1, 1, 4), dtype=np.float16)
    file = tmp_path / "0.safetensors"
    file.write_bytes(states_bytes({"resid": part}, (0,)))
    layout = {"resid": SiteLayout((0,), (4,))}
    reader = StatesReader((str(file),), ((0,),), layout, ("a",), np.ones((1, 1), dtype=bool))
    (tmp_path / INDEX).write_bytes(reader.index())
    (tmp_path / lost).unlink()
    with pytest.raises(StatesError) as said:
        StatesReader.open(tmp_path)
    assert str(said.value) == (
        f"The hidden states in {tmp_path / lost} are not there or not whole (No such file or "
        "directory). Run the same command again to make them."
    )


def test_layers_of_different_width_come_back_as_wide_as_they_are(tmp_path):
    values = np.arange(2 * 1 * 3 * 4, dtype=np.float32).reshape(2, 1, 3, 4)
    (tmp_path / "0.safetensors").write_bytes(states_bytes({"attn.q": values}, (0, 1, 2)))
    layout = {"attn.q": SiteLayout((1, 5), (4, 2))}
    reader = StatesReader(
        (str(tmp_path / "0.safetensors"),),
        ((0, 1, 2),),
        layout,
        ("a",),
        np.ones((3, 1), dtype=bool),
    )
    assert (reader.cell(1, "a", "attn.q") == values[0, 0]).all()
    assert (reader.cell(5, "a", "attn.q") == values[1, 0, :, :2]).all()


def test_bfloat16_rounds_as_torch_does():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=20_000) * 10.0 ** rng.integers(-40, 39, size=20_000)).astype(np.float32)
    ties = np.array(
        [1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 3.4e38, np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45],
        dtype=np.float32,
    )
    x = np.concatenate([x, ties])
    expected = torch.from_numpy(x).to(torch.bfloat16)
    ours = from_bfloat16(to_bfloat16(x))
    np.testing.assert_array_equal(ours, expected.float().numpy())
    assert (np.signbit(ours) == np.signbit(expected.float().numpy()))[~np.isnan(x)].all()
    wide = x.reshape(2, -1)[:, ::2]  # not contiguous
    np.testing.assert_array_equal(to_bfloat16(wide), to_bfloat16(x).reshape(2, -1)[:, ::2])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_stored_types_come_back_without_torch_and_others_read_them(loaded, tmp_path, dtype):
    from safetensors.torch import load_file

    model = loaded("llama")
    seqs = sequences(model)
    plan = plan_sites(model.base, 3, ["resid", "attn.q"], LAYERS)
    exact = SiteExtractor(model, plan, "float32")(seqs, places(seqs), NAMES)
    values = SiteExtractor(model, plan, dtype)(seqs, places(seqs), NAMES)
    content = states_bytes(values, range(len(seqs)))
    assert len(content) == shard_size(
        {site: v.shape for site, v in values.items()}, dtype, len(seqs)
    )
    (tmp_path / "0.safetensors").write_bytes(content)
    theirs = load_file(tmp_path / "0.safetensors")
    layout = {"resid": SiteLayout(LAYERS, (32,) * 4), "attn.q": SiteLayout(LAYERS[1:], (32,) * 3)}
    rows = tuple(range(len(seqs)))
    reader = StatesReader(
        (str(tmp_path / "0.safetensors"),),
        (rows,),
        layout,
        NAMES,
        np.ones((len(seqs), 3), dtype=bool),
    )
    for site in layout:
        expected = torch.from_numpy(exact[site]).to(getattr(torch, dtype))
        assert theirs[site].dtype == getattr(torch, dtype)
        assert torch.equal(theirs[site], expected)
        cell = reader.cell(1, "b", site)
        assert cell.dtype == np.float32
        assert (cell == expected[layout[site].layers.index(1), 1].float().numpy()).all()
        loaded_values = reader.load(site).values
        assert loaded_values.dtype == (np.float32 if dtype == "bfloat16" else np.dtype(dtype))
        assert (loaded_values[:, 2 if site == "resid" else 1, 1] == cell).all()


def test_finiteness_from_the_bits_is_that_of_torch():
    every = torch.arange(2**16, dtype=torch.int32).to(torch.int16)  # all numbers of 16 bits
    some = torch.tensor(
        [0.0, -0.0, 3.4e38, -3.4e38, 1e-45, torch.inf, -torch.inf, torch.nan, -torch.nan]
    )
    for values in (every.view(torch.float16), every.view(torch.bfloat16), some):
        assert [bool(_finite(x[None])) for x in values[::7]] == torch.isfinite(values[::7]).tolist()
        assert bool(_finite(values)) == bool(torch.isfinite(values).all())
    assert bool(_finite(torch.zeros(0, 4)))


def test_vectors_beyond_float16_are_kept_by_bfloat16(loaded):
    model = loaded("llama")
    seqs = sequences(model)
    plan = plan_sites(model.base, 3, ["resid"], LAYERS)
    hook = model.model.model.layers[1].register_forward_hook(lambda m, a, out: out * 1e6)
    try:
        with pytest.raises(
            StatesError, match="--states-dtype bfloat16 .or float32.: float16 ends at 65,504"
        ):
            SiteExtractor(model, plan)(seqs, places(seqs), NAMES)
        values = widened(SiteExtractor(model, plan, "bfloat16")(seqs, places(seqs), NAMES)["resid"])
    finally:
        hook.remove()
    assert np.isfinite(values).all()
    assert np.abs(values).max() > 65_504


def test_out_of_memory_shrinks_the_batches_of_the_whole_shard_for_good(loaded, monkeypatch):
    model = loaded("llama")
    seqs = [(s * 20)[:20] for s in sequences(model)]
    plan = plan_sites(model.base, 3, ["resid"], LAYERS)
    kept = []
    budget = Budget(10_000, keep=lambda b: kept.append((b.tokens, b.halvings)))
    extract = SiteExtractor(model, plan, "float32", budget=budget)
    whole, sizes = SiteExtractor._batch, []

    def small(self, some, table, last):
        sizes.append(len(some))
        if len(some) > 3:
            raise torch.OutOfMemoryError("no")
        return whole(self, some, table, last)

    monkeypatch.setattr(SiteExtractor, "_batch", small)
    first = extract(seqs, places(seqs), NAMES)
    assert sizes == [9, 4, 2, 2, 2, 2, 1]
    assert kept == [(80, 1), (40, 2)]
    sizes.clear()
    again = extract(seqs, places(seqs), NAMES)  # no failure any more, and the same batches
    assert sizes == [2, 2, 2, 2, 1]
    assert (first["resid"] == again["resid"]).all()


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[:-3],
        lambda c: c + b"x",
        lambda c: b"",
        lambda c: c[:8] + b"[" + c[9:],
        lambda c: (2**40).to_bytes(8, "little") + c[8:],
        lambda c: c[:8] + b" " * 200,
    ],
)
def test_damaged_shards_are_one_clear_error(tmp_path, damage):
    content = states_bytes({"resid": np.ones((1, 1, 3, 4), dtype=np.float16)}, (0, 1, 2))
    (tmp_path / "0.safetensors").write_bytes(damage(content))
    with pytest.raises(StatesError, match="not there or not whole"):
        Shard(tmp_path / "0.safetensors")


def test_damaged_indexes_are_one_clear_error(tmp_path):
    from safetensors.numpy import save

    for metadata in (
        None,
        {"index": "7"},
        {"index": "{"},
        {"index": '{"files": 3}'},
        {"index": '{"files": [], "sites": []}'},
    ):
        (tmp_path / INDEX).write_bytes(
            save({"present": np.ones((1, 1), dtype=bool)}, metadata=metadata)
        )
        with pytest.raises(StatesError, match="Run the same command again"):
            StatesReader.open(tmp_path)


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
