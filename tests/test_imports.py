"""Imported states held against our own pass: each way in which they can be another's is planted,
found and named."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from decoders import forward
from safetensors.torch import save_file

from probebench.cli.main import main
from probebench.errors import BadFileError, MemoryLimitError, StatesError, UnknownNameError
from probebench.models.blocks.sites import plan_sites
from probebench.models.loading import ModelSpec, find_model, load_model
from probebench.states.exchange.find import open_states
from probebench.states.exchange.reuse import source_facts
from probebench.states.extract import Extractor
from probebench.states.importing.conventions import NO_EMBEDDING, entries_of
from probebench.states.importing.importer import import_states
from probebench.states.importing.recomputed import precision
from probebench.states.reader import StatesReader
from probebench.types import EMB

N, L = 40, 3
POSITIONS = ("last_q", "first_answer", "-2", "-1")


@pytest.fixture(scope="module")
def made(model_folder, tmp_path_factory):
    """A model, answers with their ids (four of them as long as the longest), and the states of each
    in every convention."""
    folder, rng = tmp_path_factory.mktemp("imports"), np.random.default_rng(0)
    rows, ids = [], {}
    for i in range(N):
        prompt, answer = (
            [1, 5, 6, 7, *rng.integers(8, 300, size=3 + i % 10)],
            [*rng.integers(8, 300, size=10), 2],
        )
        rows.append(
            {
                "id": f"a{i}",
                "prompt_ids": [int(k) for k in prompt],
                "answer_ids": [int(k) for k in answer],
                "label": i % 2,
            }
        )
        ids[f"a{i}"] = (*rows[-1]["prompt_ids"], *rows[-1]["answer_ids"])
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = model_folder("llama")
    return (
        model,
        folder / "answers.jsonl",
        ids,
        dict(zip(ids, forward(model, ids.values()), strict=True)),
    )


def bring(made, path, change=None, convention="blocks", out=None, dtype=None, **options):
    """Import the arrays of a convention, `change(name, values, all of them)` applied to each; the
    file names `layers` if asked."""
    model, answers, ids, arrays = made
    named, tensors = options.pop("named", None), {}
    for name in ids:
        kind = "tl" if convention == "vllm" else convention
        values = arrays[name][kind]
        values = (
            change(name, values.copy(), {k: a[kind] for k, a in arrays.items()})
            if change
            else values
        )
        tensors |= {name: values, f"{name}.ids": np.array(ids[name])}
    if named is not None:
        tensors["layers"] = np.array(named)
    np.savez(path / "states.npz", **tensors)
    out = out or path / "out"
    return import_states(
        path / "states.npz",
        ModelSpec(str(model), device="cpu"),
        answers,
        out,
        convention,
        positions=POSITIONS,
        dtype="float32",
        **options,
    )


def cell(done, layer, position="-1"):
    return StatesReader.open(done.folder).cell(layer, position)


# -- one file per request --------------------------------------------------------------------------


def requests(
    made,
    folder,
    entries=None,
    names=lambda name, i: f"req-{N - i:03d}",
    change=lambda values, ids: (values, ids),
):
    """Files as vLLM writes them, in another order than the answers."""
    _, _, ids, arrays = made
    folder.mkdir()
    for i, name in enumerate(ids):
        values = arrays[name]["tl"][list(entries)] if entries is not None else arrays[name]["tl"]
        values, tokens = change(values.swapaxes(0, 1).copy(), np.array(ids[name]))
        tensors = {
            "hidden_states": torch.tensor(values).contiguous(),
            "token_ids": torch.tensor(tokens),
        }
        save_file(tensors, folder / f"{names(name, i)}.safetensors")
        (folder / f"{names(name, i)}.safetensors.lock").touch()
    return folder


def from_requests(made, folder, **options):
    model, answers, _, _ = made
    return import_states(
        folder,
        ModelSpec(str(model), device="cpu"),
        answers,
        folder.parent / "out",
        "vllm",
        positions=POSITIONS,
        dtype="float32",
        **options,
    )


@pytest.mark.parametrize(
    ("entries", "layers", "kept"),
    [
        (None, None, (EMB, 0, 1, 2)),
        ((1, 2, 3), None, (0, 1, 2)),
        ((2, 3), (1, 2), (1, 2)),
        (None, (EMB, 1), (EMB, 1)),
    ],
)
def test_requests_are_found_by_their_token_ids(made, tmp_path, entries, layers, kept):
    done = from_requests(made, requests(made, tmp_path / "in", entries), layers=layers)
    assert done.layers == kept
    assert (done.compared.whole, done.compared.lowest) == (8, N - 8)
    whole = bring(made, tmp_path, convention="tl")
    for layer in kept:
        np.testing.assert_array_equal(cell(done, layer), cell(whole, layer))
    assert set(done.absent) == {EMB, 0, 1, 2} - set(kept)


def test_requests_may_be_named_after_answers_or_in_a_table(made, tmp_path):
    named = from_requests(made, requests(made, tmp_path / "in", names=lambda name, i: name))
    table = requests(made, tmp_path / "table")
    rows = [
        {"id": f"a{i}", "file": f"req-{N - i:03d}.safetensors", "layers": ["emb", 0, 1, 2]}
        for i in range(N)
    ]
    (table / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = from_requests(made, table)
    assert named.layers == done.layers == (EMB, 0, 1, 2)
    np.testing.assert_array_equal(cell(named, 1), cell(done, 1))
    save_file(
        {"hidden_states": torch.ones(2, 4, 32), "token_ids": torch.tensor([1, 2])},
        tmp_path / "in" / "other.safetensors",
    )
    assert from_requests(made, tmp_path / "in").notes == (
        "1 arrays are of no answer in answers.jsonl and were left out.",
    )


def beginning_not_computed(values, tokens):
    values[:9] = 0
    return values, tokens


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            beginning_not_computed,
            "vectors are all zero, the first at entry 0, token 0.*Tokens 0 to 8 have none: "
            "chunked prefill",
        ),
        (
            lambda v, t: (v[:-11], t[:-11]),
            "40 of 40 answers have no states.*, the first 'a0': one holds its first 7 tokens",
        ),
        (
            lambda v, t: (v[:-1], t[:-1]),
            "all its tokens but the last, which is never fed while generating.*max_tokens=1",
        ),
        (
            lambda v, t: (v[-5:], t[-5:]),
            "one holds its last 5 tokens only: its beginning was cut off",
        ),
        (lambda v, t: (v, t[::-1].copy()), "none holds its token ids"),
        (
            lambda v, t: (v[-6:], t),
            r"shape \(6, 4, 32\), but 18 token ids came with them. 12 tokens have none: "
            "chunked prefill",
        ),
        (
            lambda v, t: (v.swapaxes(0, 1), t),
            r"The axes look exchanged: \(token, layer, width\) is the order",
        ),
        (
            lambda v, t: (v[:, :2], t),
            "2 entries.*vllm. has 3 or 4 for 3 blocks.*id k is the stream before block k, so ids "
            "1,2,3",
        ),
    ],
)
def test_requests_that_are_not_of_the_answers_are_refused(made, tmp_path, change, message):
    with pytest.raises((BadFileError, StatesError), match=message):
        from_requests(made, requests(made, tmp_path / "in", change=change))


def test_a_folder_without_requests_says_so(made, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "req.safetensors.zst").touch()
    with pytest.raises(
        BadFileError,
        match=r"no .safetensors file of vLLM's, one per request. req.safetensors.zst is compressed",
    ):
        from_requests(made, tmp_path / "in")
    save_file({"states": torch.ones(2, 4, 32)}, tmp_path / "in" / "req.safetensors")
    with pytest.raises(
        BadFileError,
        match="no tensor 'token_ids'. Each answer needs 'hidden_states' and 'token_ids'",
    ):
        from_requests(made, tmp_path / "in")


# -- some of the layers ----------------------------------------------------------------------------


def test_a_part_of_the_layers_is_named_by_the_file_or_by_the_option(made, tmp_path):
    whole = bring(made, tmp_path, convention="tl", out=tmp_path / "whole")
    take = lambda name, values, all_: values[[0, 2]]  # noqa: E731
    by_file = bring(made, tmp_path, take, convention="tl", named=(EMB, 1), out=tmp_path / "a")
    by_option = bring(made, tmp_path, take, convention="tl", layers=(EMB, 1), out=tmp_path / "b")
    kept = bring(made, tmp_path, convention="tl", layers=(EMB, 1), out=tmp_path / "c")
    turned = bring(
        made,
        tmp_path,
        lambda n, v, a: v[[2, 0]],
        convention="tl",
        named=(1, EMB),
        out=tmp_path / "d",
    )
    for done in (by_file, by_option, kept, turned):
        assert done.layers == (EMB, 1)
        for layer in done.layers:
            np.testing.assert_array_equal(cell(done, layer), cell(whole, layer))
    assert bring(
        made, tmp_path, take, convention="tl", named=(EMB, 1), layers=(1,), out=tmp_path / "e"
    ).layers == (1,)
    assert by_file.absent == {0: "the arrays do not have it", 2: "the arrays do not have it"}
    assert "not among the layers named" in kept.absent[0]


def test_names_of_layers_that_cannot_be_are_refused(made, tmp_path):
    for change, options, error, message in (
        (
            lambda n, v, a: v[:2],
            {},
            BadFileError,
            r"2 entries.*blocks. has 3 for 3 blocks.*name them, one for each entry: layers=",
        ),
        (
            lambda n, v, a: v[:2],
            {"layers": (0, 1, 2)},
            BadFileError,
            "2 entries along the layer axis, and 3 layers are named",
        ),
        (lambda n, v, a: v[:2], {"layers": (0, 3)}, UnknownNameError, "Unknown layer '3'"),
        (lambda n, v, a: v[:2], {"layers": (1, 1)}, BadFileError, "named twice among 1, 1"),
        (
            lambda n, v, a: v[:2],
            {"named": (0, 1, 2)},
            BadFileError,
            "The file names 3 layers and has 2 entries",
        ),
        (
            lambda n, v, a: v[:2],
            {"named": (0, 1), "layers": (2,)},
            UnknownNameError,
            "layer of the file '2'",
        ),
        (
            lambda n, v, a: v[:1],
            {"named": ("x",)},
            BadFileError,
            "they must be block numbers, and emb or -1",
        ),
    ):
        with pytest.raises(error, match=message):
            bring(made, tmp_path, change, **options)


def test_entries_that_are_named():
    assert entries_of("hf", 2, 4, (1, 3)).layers == (1,)
    assert "after the final norm" in entries_of("hf", 2, 4, (1, 3)).absent[3]
    assert entries_of("hf", 5, 4, model_type="mamba").at == (0, 1, 2, 3)
    with pytest.raises(BadFileError, match="nothing is left to import"):
        entries_of("hf", 1, 4, (3,))


# -- where hidden_states begin and end -------------------------------------------------------------


@pytest.mark.parametrize("kind", NO_EMBEDDING)
def test_models_whose_hidden_states_begin_after_block_0_are_read_by_their_own_convention(
    kind, made, tmp_path
):
    import transformers as t
    from conftest import byte_level_tokenizer

    more = {
        "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
        "rwkv": {"rescale_every": 2, "attention_hidden_size": 32},
    }
    config = {
        "mamba": t.MambaConfig,
        "mamba2": t.Mamba2Config,
        "falcon_mamba": t.FalconMambaConfig,
        "rwkv": t.RwkvConfig,
    }[kind](
        vocab_size=400,
        hidden_size=32,
        num_hidden_layers=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **more.get(kind, {}),
        **({} if kind == "rwkv" else {"state_size": 8}),
    )
    torch.manual_seed(0)
    model = t.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 2 and "A_log" not in name:
                p.normal_(0, 0.25)
    model.save_pretrained(tmp_path / kind)
    byte_level_tokenizer(chat=False).save_pretrained(tmp_path / kind)
    model = t.AutoModelForCausalLM.from_pretrained(tmp_path / kind).eval()
    arrays = {}
    for name, ids in made[2].items():
        with torch.inference_mode():
            hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        arrays |= {name: torch.cat(hidden).numpy(), f"{name}.ids": np.array(ids)}
    np.savez(tmp_path / "x.npz", **arrays)
    words = (
        tmp_path / "x.npz",
        ModelSpec(str(tmp_path / kind), device="cpu"),
        made[1],
        tmp_path / "out",
    )
    done = import_states(*words, "hf", positions=POSITIONS)
    assert done.layers == (0, 1, 2, 3)
    assert done.absent == {EMB: f"hidden_states of {kind} begin after block 0"}
    loaded = load_model(find_model(words[1]))
    own = Extractor(loaded, plan_sites(loaded.base, 4, ["resid"], (0, 1, 2, 3)), "float32", "exact")
    ends = np.array([[[len(ids) - 1] * 2] for ids in made[2].values()])
    expected = own(list(made[2].values()), ends, ["-1"])["resid"][:, 0]
    for layer in done.layers:
        np.testing.assert_allclose(cell(done, layer), expected[layer], atol=1e-2, rtol=1e-2)
    with pytest.raises(
        StatesError, match="after the final norm|shifted by one|not the stream before block 0"
    ):
        import_states(*words, "tl", positions=POSITIONS)
    few = {
        name: values if name.endswith(".ids") else values[[1, 2]] for name, values in arrays.items()
    }
    np.savez(tmp_path / "few.npz", **few)
    part = import_states(
        tmp_path / "few.npz",
        words[1],
        made[1],
        tmp_path / "few",
        "hf",
        positions=POSITIONS,
        layers=(1, 2),
    )
    for layer in (1, 2):
        np.testing.assert_array_equal(cell(part, layer), cell(done, layer))


def test_a_last_entry_before_the_final_norm_is_kept(made, tmp_path):
    """As from a fork of transformers, or hooks, that list the stream itself to the end."""
    model, answers, ids, arrays = made
    streams = {name: {"hf": arrays[name]["tl"]} for name in ids}
    done = bring((model, answers, ids, streams), tmp_path, convention="hf")
    assert done.layers == (EMB, 0, 1, 2)
    assert not done.absent
    assert done.notes == (
        "The last entry is layer 2 before the final norm, as our own pass has it, and was kept.",
    )
    np.testing.assert_array_equal(
        cell(done, 2), cell(bring(made, tmp_path, convention="tl", out=tmp_path / "tl"), 2)
    )
    assert bring(made, tmp_path, convention="hf", out=tmp_path / "hf").layers == (EMB, 0, 1)


def test_a_last_entry_that_was_not_asked_for_is_not_kept(made, tmp_path):
    model, answers, ids, arrays = made
    streams = {name: {"hf": arrays[name]["tl"]} for name in ids}
    done = bring((model, answers, ids, streams), tmp_path, convention="hf", layers=(0, 1))
    assert done.layers == (0, 1)
    assert set(done.absent) == {EMB, 2}
    assert not done.notes


def test_entries_named_again_in_another_order_are_read_again(made, tmp_path):
    """Whoever sees that the layers were named wrongly must not find the shards of the first
    import."""
    first = bring(made, tmp_path, check=False, layers=(0, 2, 1))
    done = bring(made, tmp_path, check=False, layers=(0, 1, 2))
    assert first.layers == done.layers
    np.testing.assert_array_equal(cell(done, 1), cell(first, 2))
    np.testing.assert_array_equal(cell(done, 2), cell(first, 1))
    assert not np.array_equal(cell(done, 1), cell(done, 2))


# -- states of something else ----------------------------------------------------------------------


def again(model, ids):
    return forward(model, [ids])[0]


def every(change):
    """The same change of every answer."""
    return lambda name, values, all_: change(values)


def only(which, change):
    return lambda name, values, all_: change(values, all_) if name == which else values


def lower_half(values):
    values[:, : values.shape[1] // 2] = values[:, values.shape[1] // 2 :][:, : values.shape[1] // 2]
    return values


SHIFTED = (
    "layer 0 of the file is our layer 1, and 1 more are others too: shifted by one. "
    r".* layers=\[1, 2\]"
)
LOOKS = {
    "one on": ({"convention": "blocks", "layers": (0, 1)}, every(lambda v: v[1:]), SHIFTED),
    "one before": (
        {"layers": (1, 2)},
        every(lambda v: v[:2]),
        r"layer 1 of the file is our layer 0.* shifted by one.*layers=\[0, 1\]",
    ),
    "turned": (
        {},
        every(lambda v: v[[1, 0, 2]]),
        "layer 0 of the file is our layer 1, and 1 more .*: in another order",
    ),
    "one layer": (
        {},
        every(lambda v: v[[0, 2, 2]]),
        "layer 1 of the file is our layer 2: shifted by one",
    ),
    "two requests": (
        {},
        lambda n, v, a: a[{"a13": "a33", "a33": "a13"}.get(n, n)],
        "'a(13|33)' .* those of 'a(33|13)'. Requests",
    ),
    "two with the embedding": (
        {"convention": "tl"},
        lambda n, v, a: a[{"a13": "a33", "a33": "a13"}.get(n, n)],
        "'a(13|33)' .* those of 'a(33|13)'.",
    ),
    "last chunk": (
        {},
        every(lower_half),
        r"tokens 0 to \d+ are something else, .* from \d+ on are right: only the last chunk",
    ),
    "token": (
        {},
        every(lambda v: np.roll(v, 1, axis=1)),
        "each token has the vectors of the one before it",
    ),
    "factor": ({}, every(lambda v: v * 3), "layer 0 of the file is ours times 3"),
    "noise": (
        {},
        every(
            lambda v: (
                v + np.random.default_rng(0).normal(size=v.shape).astype(np.float32) * v.std() * 0.3
            )
        ),
        r"they differ by \d+% at layer \d, where 1% is allowed for float32, .* give check=False",
    ),
    "one token": (
        {},
        only("a21", lambda v, a: np.concatenate([v[:, :-1], v[:, -2:-1]], axis=1)),
        "'a21' .*something else",
    ),
}


@pytest.mark.parametrize("name", LOOKS)
def test_states_of_something_else_are_named(made, tmp_path, name):
    options, change, message = LOOKS[name]
    with pytest.raises(StatesError, match=message):
        bring(made, tmp_path, change, **options)
    assert not list(tmp_path.glob("out/**/*.safetensors")), "nothing is written before"


@pytest.mark.parametrize("start", [1, 4])
def test_a_pass_that_did_not_see_the_beginning_is_named(made, tmp_path, start):
    model, _, ids, _ = made

    def change(name, values, all_):
        values[:, start:] = again(model, ids[name][start:])["blocks"]
        return values

    longest = max(ids, key=lambda name: len(ids[name]))
    with pytest.raises(
        StatesError,
        match=f"from token {start} on they are those of a pass that did not see the {start} tokens",
    ):
        bring(made, tmp_path, lambda n, v, a: change(n, v, a) if n == longest else v)


def test_other_weights_are_told_from_rounding(made, tmp_path):
    for dtype in (torch.bfloat16, torch.float16):
        done = bring(
            made,
            tmp_path,
            every(lambda v, d=dtype: torch.tensor(v).to(d).float().numpy()),
            out=tmp_path / str(dtype),
        )
        assert done.compared.tolerance == {torch.bfloat16: 0.05, torch.float16: 0.02}[dtype]
        assert 0 < done.compared.largest < 0.01
    rng = np.random.default_rng(0)
    noisy = every(lambda v: v * (1 + 0.03 * rng.normal(size=v.shape).astype(np.float32)))
    with pytest.raises(StatesError, match="1% is allowed for float32"):
        bring(made, tmp_path, noisy)
    rounded = every(lambda v: torch.tensor(noisy("", v, {})).bfloat16().float().numpy())
    assert bring(made, tmp_path, rounded).compared.largest > 0.02, (
        "as much as computing in bfloat16 may cost"
    )


def test_precision_is_seen_in_the_numbers():
    x = torch.randn(50, 8)
    assert precision(x.numpy()) == "float32"
    assert precision(x.half().float().numpy()) == precision(x.half().numpy()) == "float16"
    assert (
        precision(x.bfloat16().float().numpy())
        == precision(x.bfloat16().half().numpy())
        == "bfloat16"
    )


# -- without a comparison --------------------------------------------------------------------------


def test_what_was_not_compared_is_recorded(made, tmp_path):
    done = bring(made, tmp_path, every(lambda v: v * 3), check=False)
    assert done.compared is None
    assert "Not compared with our own pass (--no-check)" in done.notes[-1]
    assert open_states(done.folder).inputs["compared"] is False
    assert json.loads((done.folder / "source.json").read_text())["compared"] is None
    checked = bring(made, tmp_path, out=tmp_path / "checked")
    assert json.loads((checked.folder / "source.json").read_text())["compared"]["whole"] == 8
    assert source_facts(open_states(done.folder), "x")["compared"] is False
    assert source_facts(open_states(checked.folder), "x")["compared"] is True


def test_a_model_that_cannot_be_loaded_says_how_to_do_without(made, tmp_path, monkeypatch):
    def load(handle, offline):
        raise MemoryLimitError("The weights do not fit.")

    monkeypatch.setattr("probebench.states.importing.importer.load_model", load)
    with pytest.raises(
        MemoryLimitError, match="do not fit.*check=False imports without, and is recorded"
    ):
        bring(made, tmp_path)
    assert bring(made, tmp_path, check=False).layers == (0, 1, 2)


def test_from_the_command_line(made, tmp_path):
    model, answers, _, _ = made
    folder = requests(made, tmp_path / "in", (1, 3))
    words = [
        "states",
        "import",
        str(folder),
        "--model",
        str(model),
        "--answers",
        str(answers),
        "--out",
        str(tmp_path / "out"),
        "--convention",
        "vllm",
        "--device",
        "cpu",
    ]
    result = CliRunner().invoke(main, [*words, "--layers", "0,2"])
    assert result.exit_code == 0, result.output
    assert "40 examples, layers 0, 2" in result.output
    assert (
        "8 answers are those of our own pass at every layer, 32 more at the lowest" in result.output
    )
    result = CliRunner().invoke(main, [*words, "--layers", "1,2"])
    assert result.exit_code == 1
    assert "layer 1 of the file is our layer 0: shifted by one" in result.output
    result = CliRunner().invoke(main, [*words, "--layers", "1,2", "--no-check"])
    assert result.exit_code == 0
    assert "Not compared with our own pass" in result.output
