"""Saved probes: the same decisions to the last bit, and every damage is said."""

import hashlib
import json
import pickletools
import warnings

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from probebench.errors import BadFileError, StatesError, UnknownNameError, UsageError
from probebench.probes.disk import load_probe, paths, save_probe
from probebench.probes.estimators import L2Logistic
from probebench.probes.kinds import PROBES, get_probe
from probebench.probes.parts import OneScale
from probebench.probes.saved import ProbeMeta

WIDTH = 24
META = ProbeMeta(
    probe="logistic",
    C=0.01,
    site="resid",
    layer=7,
    layer_convention="layer k is the residual stream after block k",
    position="exact_answer_last",
    position_rule="last token of the exact answer",
    model="tiny",
    revision="abc123",
    dtype="float32",
    attention="eager",
    version="0.1.0",
)


def data(n=90, width=WIDTH, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return (3 * rng.normal(size=(n, width)) + 40 + y[:, None]).astype(np.float32), y


def fitted(estimator, width=WIDTH):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(*data(width=width))


@pytest.fixture
def stem(tmp_path):
    """A saved probe to damage."""
    save_probe(tmp_path / "probe", fitted(get_probe("mass-mean").make(1.0, WIDTH)), META)
    return tmp_path / "probe"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("name", sorted(PROBES))
def test_decisions_come_back_to_the_last_bit(tmp_path, name, dtype):
    model = fitted(get_probe(name).make(1e-2, WIDTH))
    save_probe(tmp_path / "x", model, META)
    probe = load_probe(tmp_path / "x")
    X = data(seed=1)[0].astype(dtype)
    if (name, dtype) != (
        "orgad2025",
        np.float16,
    ):  # scikit-learn multiplies float16 by its float32 weights as they are
        np.testing.assert_array_equal(probe.decision_function(X), model.decision_function(X))
        assert probe.decision_function(X).dtype == model.decision_function(X).dtype
    np.testing.assert_allclose(
        probe.decision_function(X), model.decision_function(X), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(probe.predict(X), model.predict(X))
    assert probe.meta == META
    assert probe.width == WIDTH


def test_tensors_of_any_type_of_numbers_are_taken(tmp_path):
    save_probe(tmp_path / "x", fitted(make_pipeline(StandardScaler(), LogisticRegression())), META)
    probe, X = load_probe(tmp_path / "x"), data(seed=1)[0]
    for kind in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        given = torch.tensor(X, requires_grad=True).to(kind)
        plain = given.detach().double().numpy()
        found = probe.decision_function(given)
        np.testing.assert_allclose(found, probe.decision_function(plain), rtol=1e-3, atol=1e-4)
        assert (probe.predict(given) == (found > 0)).all()
    exact = probe.decision_function(X)
    np.testing.assert_array_equal(probe.decision_function(torch.tensor(X)), exact)


def test_a_probe_shows_itself_in_a_line(tmp_path):
    save_probe(tmp_path / "x", fitted(make_pipeline(StandardScaler(), LogisticRegression())), META)
    probe = load_probe(tmp_path / "x")
    what = f"logistic on {META.model}: resid, layer 7, exact_answer_last"
    assert repr(probe) == f"<SavedProbe {what}; {WIDTH} features>"
    assert repr(probe.meta) == f"<ProbeMeta {what}>"


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(StandardScaler(), OneScale(), L2Logistic()),
    ],
)
def test_other_affine_pipelines_are_folded(tmp_path, estimator):
    model = fitted(estimator)
    save_probe(tmp_path / "x", model, META)
    X = data(seed=1)[0]
    np.testing.assert_allclose(
        load_probe(tmp_path / "x").decision_function(X),
        model.decision_function(X),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(5), make_pipeline(PolynomialFeatures(2), LogisticRegression())],
)
def test_what_would_need_pickle_is_refused(tmp_path, estimator):
    with pytest.raises(
        UsageError,
        match=r"(RandomForest|PolynomialFeatures \+ Logistic).* is not an affine map.*pickle",
    ):
        save_probe(tmp_path / "x", fitted(estimator), META)
    assert not list(tmp_path.iterdir())


def test_files_hold_no_pickle_and_are_the_same_each_time(tmp_path):
    model = fitted(get_probe("mlp").make(0.1, WIDTH))
    first = [path.read_bytes() for path in save_probe(tmp_path / "a", model, META)]
    again = [path.read_bytes() for path in save_probe(tmp_path / "b", model, META)]
    assert first == again
    for content in first:
        with pytest.raises(ValueError):
            list(pickletools.genops(content))


def test_description_is_readable(stem):
    weights, description = paths(stem)
    head = json.loads(description.read_text())
    assert head["schema_version"] == 1
    assert head["position_rule"] == META.position_rule
    assert head["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert set(load_file(weights)) == {"0.weight", "0.bias", "centre", "scale"}
    # either file names the probe
    assert load_probe(weights).meta == load_probe(str(description)).meta == META


def test_a_dot_in_the_name_stays(tmp_path):
    model = fitted(get_probe("lda").make(1.0, WIDTH))
    assert [p.name for p in save_probe(tmp_path / "llama-3.1", model, META)] == [
        "llama-3.1.safetensors",
        "llama-3.1.json",
    ]


def test_no_choice_of_c_is_null(tmp_path):
    given = {
        **{name: getattr(META, name) for name in META.__slots__},
        "C": np.float64("nan"),
        "layer": np.int64(3),
    }
    save_probe(tmp_path / "x", fitted(get_probe("mass-mean").make(1.0, WIDTH)), given)
    meta = load_probe(tmp_path / "x").meta
    assert meta.C is None
    assert meta.layer == 3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"positon": "x"}, UnknownNameError, "Did you mean 'position'"),
        ({"layer": "7"}, UsageError, "layer must be int; got '7'"),
        ({"layer": True}, UsageError, "layer must be int; got True"),
        ({"C": "0.1"}, UsageError, "C must be float or int or None; got '0.1'"),
        ({"model": None}, UsageError, "model must be str; got None"),
        ({"classes": (0, 1, 2)}, UsageError, "classes must be two"),
        (
            {"classes": (1, 0)},
            UsageError,
            r"meta says the classes are \(1, 0\); the fitted probe tells \(0, 1\)",
        ),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, change, error, message):
    given = {name: getattr(META, name) for name in META.__slots__}
    with pytest.raises(error, match=message):
        save_probe(tmp_path / "x", fitted(get_probe("lda").make(1.0, WIDTH)), {**given, **change})


def test_a_description_that_lacks_something(tmp_path):
    given = {name: getattr(META, name) for name in META.__slots__ if name not in ("model", "site")}
    with pytest.raises(UsageError, match="meta lacks site, model"):
        save_probe(tmp_path / "x", fitted(get_probe("lda").make(1.0, WIDTH)), given)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = fitted(get_probe("mlp").make(0.1, WIDTH))
    model[-1].layers_[0][0][0, 0] = np.nan
    with pytest.raises(StatesError, match=r"0\.weight has values that are not finite"):
        save_probe(tmp_path / "x", model, META)


def test_wrong_vectors(stem):
    probe = load_probe(stem)
    with pytest.raises(
        StatesError,
        match=r"\(example, 24\) vectors of tiny, site resid, layer 7; "
        r"got an array of shape \(3, 23\)",
    ):
        probe.decision_function(np.zeros((3, 23)))
    with pytest.raises(StatesError, match=r"shape \(24,\)"):
        probe.predict(np.zeros(24))
    X = np.zeros((3, 24))
    X[1, 2] = np.nan
    with pytest.raises(StatesError, match="1 of 3 vectors are not finite"):
        probe.decision_function(X)


def rewrite(stem, tensors=None, **head):
    """Change a saved probe as its writer could have: arrays with their checksum, fields of the
    description."""
    weights, description = paths(stem)
    if tensors is not None:
        weights.write_bytes(save(tensors))
        head["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    description.write_text(json.dumps({**json.loads(description.read_text()), **head}))


def test_missing_files(stem):
    with pytest.raises(BadFileError, match=r"other.json is not there"):
        load_probe(stem.with_name("other"))
    paths(stem)[0].unlink()
    with pytest.raises(BadFileError, match=r"probe.safetensors is not there"):
        load_probe(stem)
    paths(stem)[0].mkdir()
    with pytest.raises(BadFileError, match="Cannot read"):
        load_probe(stem)


def test_damaged_weights(stem):
    weights, _ = paths(stem)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BadFileError, match="damaged, or from another probe"):
        load_probe(stem)


def test_weights_that_are_no_safetensors(stem):
    paths(stem)[0].write_bytes(b"\x80\x04K\x01.")
    rewrite(stem, weights_sha256=hashlib.sha256(b"\x80\x04K\x01.").hexdigest())
    with pytest.raises(BadFileError, match="no safetensors file"):
        load_probe(stem)


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_damaged_description(stem, text):
    paths(stem)[1].write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadFileError, match="is not JSON|holds a list"):
        load_probe(stem)


@pytest.mark.parametrize("version", [2, None, "1"])
def test_unknown_schema_version(stem, version):
    rewrite(stem, schema_version=version)
    with pytest.raises(
        BadFileError,
        match=rf"schema version {version!r}; this version of probebench reads 1.*0\.1\.0",
    ):
        load_probe(stem)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"kind": "forest"}, "kind must be one of affine, hidden; got 'forest'"),
        ({"kind": "hidden"}, "do not fit together"),
        ({"width": 25}, "says width 25; the weights are for 24"),
        ({"layer": None}, "layer must be int"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_descriptions_that_do_not_fit(stem, head, message):
    rewrite(stem, **head)
    with pytest.raises(BadFileError, match=message):
        load_probe(stem)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"0.weight": np.full((1, 24), np.inf)}, StatesError, "not finite"),
        ({"0.weight": np.ones((1, 24), dtype=np.int64)}, BadFileError, "0.weight is int64"),
        ({"0.weight": np.ones(24)}, BadFileError, "do not fit together"),
        ({"0.weight": np.ones((2, 24))}, BadFileError, "do not fit together"),
        ({"0.bias": np.ones(2)}, BadFileError, "do not fit together"),
        ({"0.bias": None}, BadFileError, "does not hold the arrays of one affine probe"),
        ({"0.weight": None}, BadFileError, "does not hold the arrays of one affine probe"),
        (
            {"1.weight": np.ones((1, 1)), "1.bias": np.ones(1)},
            BadFileError,
            "does not hold the arrays of one affine probe",
        ),
        ({"more": np.ones(1)}, BadFileError, "does not hold the arrays"),
        ({"scale": None}, BadFileError, "does not hold the arrays"),
        ({"scale": np.zeros(1)}, BadFileError, "one number above 0"),
        ({"centre": np.zeros(3)}, BadFileError, r"centre and scale must be \(24,\)"),
    ],
)
def test_weights_that_do_not_fit(stem, change, error, message):
    tensors = load_file(paths(stem)[0]) | change
    rewrite(stem, {name: values for name, values in tensors.items() if values is not None})
    with pytest.raises(error, match=message):
        load_probe(stem)
