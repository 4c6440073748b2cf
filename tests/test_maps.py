"""The four maps, from runs of small models: shapes, ticks, labels, files; and what each refuses."""

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from dumped import answers_in

import probebench
from probebench.across.draw import draw
from probebench.cli.main import main
from probebench.errors import BadFileError, UnknownNameError, UsageError
from probebench.maps.axes import GAP, thinned, two_digits
from probebench.maps.colours import LIGHT, Scale, _contrast, _luminance, below_chance
from probebench.maps.heatmap import plot_components, plot_positions, plot_sublayers, plot_transfer
from probebench.maps.style import save_figure, style
from probebench.models.blocks.layouts import COMPONENTS
from probebench.record.claims import p_words
from probebench.record.maps import components_map, positions_map
from probebench.record.run import Run
from probebench.record.shown.components import shown_components
from probebench.record.shown.positions import shown_positions
from probebench.record.tables import best_of_layers, sublayers_table
from probebench.report.sections.maps import component_figures
from probebench.states.exchange.export import export
from probebench.states.exchange.verify import verify
from probebench.studies.attribution import _estimates
from probebench.studies.registry import Concern


@pytest.fixture(scope="module")
def run(model_folder, tmp_path_factory):
    """A small random model with every site and attribution, on answers made elsewhere."""
    folder = tmp_path_factory.mktemp("maps")
    return probebench.evaluate(
        str(model_folder("llama")),
        answers=answers_in(folder),
        sites=("all",),
        positions=("exact_answer_last", "-1"),
        attribution=True,
        out=folder / "run",
        device="cpu",
    )


@pytest.fixture(autouse=True)
def closed():
    """No picture is left open."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


def tick_labels(axis):
    return [t.get_text() for t in axis.get_ticklabels()]


def test_what_goes_into_the_mlp_is_read_drawn_and_exported_but_is_no_component(run, tmp_path):
    assert sorted(run.record["sites"]["mlp.in"]["layers"]) == ["0", "1", "2"]
    assert run.plot(site="mlp.in").get_ylim() == (3, 0)
    assert run.matrix("auroc", site="mlp.in").notna().all().all()
    assert tuple(t.split("\n")[0] for t in tick_labels(run.plot("components").xaxis)) == COMPONENTS
    assert "mlp.in" not in set(run.attribution.site)
    assert all(check.ok for check in verify(run.folder))
    array = np.load(export(run.folder, "npy", tmp_path / "npy", sites=["mlp.in"]) / "mlp.in.npy")
    np.testing.assert_array_equal(
        array[:, 1, 1], run.states().cell(1, "-1", site="mlp.in").astype(np.float16)
    )


@pytest.mark.parametrize(
    ("n_layers", "last"),
    [(28, ["24", "27"]), (36, ["33", "35"]), (40, ["36", "39"]), (48, ["45", "47"])],
)
def test_published_depths_have_the_published_shapes_and_ticks(tmp_path, n_layers, last):
    import torch
    from conftest import byte_level_tokenizer
    from transformers import AutoModelForCausalLM, LlamaConfig

    tokenizer = byte_level_tokenizer(chat=False)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    run = probebench.evaluate(
        str(tmp_path / "model"),
        answers=answers_in(tmp_path),
        sites=("resid", *COMPONENTS),
        positions=("exact_answer_last",),
        out=tmp_path / "run",
        device="cpu",
        probe="mass-mean",
        skip=("p-true", "ensembles"),
    )
    ax = run.plot()
    assert ax.get_ylim() == (n_layers + 1, 0), "the embedding row and every block, downwards"
    even = [str(k) for k in range(0, n_layers, 2)]
    assert tick_labels(ax.yaxis) == ["emb", *even, str(n_layers - 1)], "the last layer too"
    ax = run.plot("components")
    assert ax.get_ylim() == (n_layers, 0)
    assert tick_labels(ax.yaxis)[:2] == ["0", "3"]
    assert tick_labels(ax.yaxis)[-2:] == last
    assert [t.split("\n")[0] for t in tick_labels(ax.xaxis)] == list(COMPONENTS)
    assert [t.split("\n")[1] for t in tick_labels(ax.xaxis)] == [
        "16",
        "8",
        "8",
        "16",
        "24",
        "16",
        "24",
    ]
    strip = run.sublayers()
    assert len(strip) == 2 * n_layers
    assert strip.sublayer.tolist() == list(range(1, 2 * n_layers + 1))
    assert set(strip[strip.kind == "MLP"].sublayer) == set(range(2, 2 * n_layers + 1, 2))
    assert strip.selected.sum() == 10
    # random weights carry the words of the answer and nothing of its truth: their probes lie near
    # the text's own baseline
    text = next(d["auroc"] for d in run.record["detectors"] if d["name"] == "text")
    assert abs(float(run.matrix("auroc").loc["0":].mean().mean()) - text) < 0.15


def test_selected_sublayers_are_the_best_by_validation(run):
    strip = run.sublayers(top=3)
    assert strip.selected.sum() == 3
    assert (
        strip[strip.selected].validation_auroc.min()
        >= strip[~strip.selected].validation_auroc.max()
    )
    assert set(strip.site) == {"attn.o", "mlp.down"}


def test_significant_sublayers_are_those_of_a_small_false_discovery_rate(run):
    scores = run.scores
    at = (
        (scores.detector == "cell")
        & (scores.split == "test")
        & (scores.site == "mlp.down")
        & (scores.layer == "1")
    )
    planted = scores.assign(p=scores.p.where(~at, 1e-9))
    strip = sublayers_table(run.record, planted, position="-1", significant=True)
    assert strip[strip.selected].sublayer.tolist() == [4]
    with pytest.raises(UsageError, match="no shuffled-label fits.*--shuffles 100"):
        sublayers_table(run.record, scores.assign(p=np.nan), position="-1", significant=True)


def test_sublayers_without_a_score_at_this_token_are_not_called_unread(run):
    blank = run.scores.assign(value=np.nan)
    with pytest.raises(UsageError, match="No sublayer output was scored at -1.*of exact_answer_la"):
        sublayers_table(run.record, blank, position="-1")


def judged(run, **changed):
    """The run with another word on its attribution."""
    facts = run.record.attribution.plain()
    rows = [{**row, **changed} for row in facts["agreement"]]
    return Run(run.folder, run.record.changed(attribution={**facts, "agreement": rows}))


def test_attribution_is_drawn_where_it_ranks_as_replacing_does(run):
    kept = judged(run, ranks=True, spearman=0.9)
    for score in ("attribution", "ablation"):
        changes = kept.components(f"{score}_logprob")
        assert list(changes.columns) == list(COMPONENTS)
        assert (changes.to_numpy() > 0).all()
        ax, table = kept.plot_with_table("components", score=score)
        pd.testing.assert_frame_equal(table, changes)
    own = run.attribution
    assert set(own[own.score == "ablation"].n) == {8}
    assert set(own[own.score == "attribution"].n) == {run.record.attribution.n_means}
    with pytest.raises(UnknownNameError, match="target 'logprobs'. Did you mean 'logprob'"):
        run.components("attribution_logprobs")


def words_of(ax):
    return " ".join(t.get_text() for t in [*ax.texts, *ax.figure.texts])


def test_the_map_says_so_where_attribution_ranks_otherwise(run):
    other = judged(run, ranks=False, spearman=0.31)
    ax, table = other.plot_with_table("components", score="attribution")
    assert table.isna().to_numpy().all()
    said = words_of(ax).replace("\n", " ")
    assert "do not rank components as replacing them does" in said
    assert "0.31" in said and "below the 0.8" in said
    ax, table = other.plot_with_table("components", score="ablation")
    assert table.notna().to_numpy().all()


def test_changes_above_one_are_written_as_they_are():
    ax = plot_components(pd.DataFrame({"attn.q": [12.34, 0.5]}, index=["0", "1"]))
    assert {"12.3", ".50"} <= {t.get_text() for t in ax.texts}


def test_a_report_and_the_warnings_go_by_the_same_bar(run):
    for ranks, word in ((True, "estimated"), (False, "Measured, since estimates rank otherwise")):
        told = judged(run, ranks=ranks, spearman=0.9 if ranks else 0.31)
        drawn = [figure.caption for figure, _ in component_figures(told)]
        own = [caption for caption in drawn if "replaced by its mean" in caption]
        assert len(own) == 2 and all(word in caption for caption in own)
        concerns = list(_estimates(Concern(told.record, [], None)))
        assert len(concerns) == (0 if ranks else 2)
        assert all("0.31" in sentence for sentence in concerns)


def test_attribution_of_an_earlier_version_still_opens(run):
    old = Run(run.folder, run.record.changed(attribution=None))
    rows = run.attribution[lambda t: t.score == "attribution"]
    table = rows.drop(columns=["score", "se", "mean"]).assign(share=1 / 7)
    ax, shown = components_map(old.record, run.scores, table, score="attribution")
    assert (shown == 1 / 7).to_numpy().all()
    assert "By an earlier version" in words_of(ax)
    with pytest.raises(UsageError, match="earlier version, which replaced no component"):
        components_map(old.record, run.scores, table, score="ablation")


def test_all_maps_in_all_formats(run, tmp_path):
    wanted = {
        "positions": {"hatch": True, "site": "mlp.act"},
        "components": {"score": "ablation", "target": "probe"},
        "sublayers": {"top": 2},
    }
    for kind, options in wanted.items():
        for name in ("publication", "screen"):
            paths = draw([run], tmp_path / name, kind=kind, style_name=name, **options)
            assert {p.suffix for p in paths} >= {".png", ".svg", ".pdf"}
            assert all(p.stat().st_size > 1000 for p in paths if p.suffix != ".csv")
    svg = (tmp_path / "publication" / "components_ablation_probe.svg").read_text()
    assert "units of the decision" in svg
    table = pd.read_csv(tmp_path / "publication" / "sublayers_top2.csv")
    assert table.selected.sum() == 2
    again = draw([run], tmp_path / "again", kind="components", **wanted["components"])
    for path in again:
        assert path.read_bytes() == (tmp_path / "publication" / path.name).read_bytes(), (
            "the same numbers give the same bytes"
        )


def test_maps_draw_without_torch(run):
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from probebench.record.run import Run; from probebench.across.draw import draw\n"
        f"run = Run.load({str(run.folder)!r})\n"
        "for kind in ('positions', 'components', 'sublayers'): draw([run], run.folder, kind=kind, "
        "formats=('svg',))\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_plot_refuses_what_a_map_does_not_take(run):
    def fails(*words):
        done = CliRunner().invoke(main, ["plot", str(run.folder), *words])
        assert done.exit_code == 2
        return done.output

    assert "--hatch means nothing to the map of sublayers" in fails("--map", "sublayers", "--hatch")
    assert "needs two runs or more" in fails("--map", "transfer")
    assert "Unknown layer '9'" in fails("--layers", "9")
    assert "Unknown position 'exact_answer_lst'. Did you mean 'exact_answer_last'" in fails(
        "--positions", "exact_answer_lst"
    )
    assert "Unknown site 'attn.w'" in fails("--site", "attn.w")
    assert "Unknown format 'gif'" in fails("--formats", "gif")
    assert "names nothing" in fails("--formats", ",")
    assert "runs backwards; write 1-3" in fails("--layers", "3-1")
    for words in ("1-", "-1", "²", "1--2", "0,2-"):
        assert "is not a layer or a range of layers" in fails("--layers", words)
    assert "--vmax 0.4 is not above 0.5, where the colours begin" in fails("--vmax", "0.4")
    components = fails("--map", "components", "--vmin", "1")
    assert "--vmin 1 is not below 1, where the colours end" in components
    assert "below --vmax, both of them numbers; got --vmin 0.7, --vmax 0.7" in fails(
        "--vmin", "0.7", "--vmax", "0.7"
    )
    assert "numbers; got --vmax inf" in fails("--vmax", "inf")
    assert "such as 3 or 10-15 (the embedding row has no place here)" in fails("--layers", "emb")
    assert "--vmin means nothing to the map of sublayers" in fails(
        "--map", "sublayers", "--vmin", "0.5"
    )
    assert "--top takes a number from 1 on" in fails("--map", "sublayers", "--top", "0")
    assert "--top takes a number from 1 on, without --significant" in fails(
        "--map", "sublayers", "--top", "3", "--significant"
    )
    assert "--target goes with --score attribution or ablation" in fails(
        "--map", "components", "--target", "probe"
    )
    assert "Cannot write into /proc/x" in fails("--out", "/proc/x")
    fails("--positions", "nowhere", "--out", str(run.folder / "fresh"))
    assert not (run.folder / "fresh").exists(), "no folder for what is refused"


def test_aliases_name_positions_in_maps_too(run, tmp_path):
    assert draw([run], tmp_path, positions=["last_token"], formats=("png",))[0].name.startswith(
        "heatmap_positions"
    )
    assert run.components(position="last_token").equals(run.components(position="-1"))


def test_hatching_needs_shuffles_and_a_second_run_has_a_folder_of_its_own(
    run, model_folder, tmp_path
):
    out = tmp_path / "run"
    words = {
        "answers": answers_in(tmp_path),
        "out": out,
        "device": "cpu",
        "shuffles": 0,
        "positions": ("-1",),
        "skip": ("p-true", "ensembles"),
    }
    first = probebench.evaluate(
        str(model_folder("llama")), sites=("resid", "attn.q"), ablation=True, **words
    )
    assert first.attribution is not None
    assert set(first.attribution.n) == {first.record.attribution.n_means}
    assert {a.n for a in first.record.attribution.agreement} == {first.record.attribution.n_means}
    assert first.probe().meta.site == "resid"
    with pytest.raises(UsageError, match="no shuffled-label fits"):
        first.plot(hatch=True)
    with pytest.raises(
        UsageError, match="holds a finished run that this one would replace.*; width"
    ):
        probebench.evaluate(
            str(model_folder("llama")), sites=("attn.q", "mlp.down"), width=8, **words
        )
    assert (out / "probe.json").exists()
    words["out"] = tmp_path / "second"
    second = probebench.evaluate(
        str(model_folder("llama")), sites=("attn.q", "mlp.down"), width=8, **words
    )
    assert second.record["selection"]["site"] in ("attn.q", "mlp.down")
    assert second.attribution is None
    with pytest.raises(BadFileError, match="keeps no probe"):
        second.probe()
    assert not (tmp_path / "second" / "probe.json").exists()
    words["out"] = tmp_path / "third"
    with pytest.raises(
        UsageError, match="width=8 projects components, and this run reads resid only"
    ):
        probebench.evaluate(str(model_folder("llama")), width=8, **words)
    with pytest.raises(UsageError, match="width=100 is wider than attn.k, which has 16"):
        probebench.evaluate(str(model_folder("llama")), sites=("all",), width=100, **words)


def test_runs_without_components_say_how_to_get_them(model_folder, answers_file, tmp_path):
    plain = probebench.evaluate(
        str(model_folder("llama")),
        answers=answers_file(),
        positions=("-1",),
        out=tmp_path / "r",
        device="cpu",
        skip=("p-true", "ensembles", "shuffles"),
    )
    for kind, words in (
        ("components", "read no component"),
        ("sublayers", "read no sublayer outputs"),
    ):
        with pytest.raises(UsageError, match=f"{words}.*sites="):
            plain.plot(kind)
    with pytest.raises(UsageError, match="measured no attribution.*with attribution=True"):
        plain.plot("components", score="attribution")
    assert not (tmp_path / "r" / "components.png").exists()


def test_narrowed_maps(run):
    ax = run.plot(layers=[0, 2], positions=["-1"], title="mine", vmin=0.4, vmax=0.9)
    assert tick_labels(ax.yaxis) == ["emb", "0", "2"]
    assert tick_labels(ax.xaxis) == ["-1"]
    assert ax.get_title(loc="left") == "mine"
    assert ax.collections[0].get_clim() == (0.4, 0.9)


def test_the_caption_of_a_part_counts_what_is_on_it(run):
    scores = run.scores.copy()
    stuck = (scores.layer == "2") & scores.site.isin(["resid", "attn.q"])
    scores.loc[stuck, "converged"] = False
    resid = [shown_positions(run.record, scores, "resid", layers) for layers in (None, [0, 1], [2])]
    assert ["did not converge" in shown.caption for shown in resid] == [True, False, True]
    assert [len(shown.flagged) for shown in resid] == [2, 0, 2]
    whole, part = (shown_components(run.record, scores, None, layers) for layers in (None, [0, 1]))
    assert "1 fits did not converge, the first: attn.q, layer 2." in whole.caption
    assert "did not converge" not in part.caption
    cells = re.search(r"best of (\d+) cells \(", whole.caption)[1]
    assert f"best of {cells} cells of the whole map (" in part.caption


def test_maps_draw_on_given_axes_and_mark_what_they_should(tmp_path):
    import matplotlib.pyplot as plt

    with style("screen"):
        figure, axes = plt.subplots(2, 2, layout="constrained")
        matrix = pd.DataFrame(
            [[0.5, np.nan], [0.9, 0.7]], index=["emb", "0"], columns=["last_q", "-1"]
        )
        hatched = pd.DataFrame(
            [[True, False], [False, False]], index=["emb", "0"], columns=["last_q", "-1"]
        )
        ax = plot_positions(
            matrix, ("0", "last_q"), ax=axes[0, 0], hatched=hatched, flagged=[("0", "-1")]
        )
        assert ax is axes[0, 0]
        assert sum(bool(p.get_hatch()) for p in ax.patches) == 1
        assert "!" in [t.get_text() for t in ax.texts]
        marked = [p for p in ax.patches if not p.get_hatch()]
        assert [p.get_xy() for p in marked] == [(0, 1)]
        components = pd.DataFrame(
            np.linspace(0.4, 0.8, 14).reshape(2, 7), index=["0", "1"], columns=list(COMPONENTS)
        )
        assert plot_components(components, ax=axes[0, 1]).collections[0].get_clim() == (0.4, 1.0)
        strip = pd.DataFrame(
            {
                "sublayer": [1, 2],
                "kind": ["ATT", "MLP"],
                "selected": [True, False],
                "auroc": [0.7, np.nan],
            }
        )
        patches = plot_sublayers(strip, ax=axes[1, 0]).patches
        assert [p.get_xy()[1] for p in patches] == [1, 0], "MLP stands above ATT"
        assert [bool(p.get_hatch()) for p in patches] == [False, True]
        transfer = pd.DataFrame([[0.9, 0.6], [0.55, 0.8]], index=["a", "b"], columns=["a", "b"])
        assert {t.get_text() for t in plot_transfer(transfer, ax=axes[1, 1]).texts} == {
            ".90",
            ".60",
            ".55",
            ".80",
        }
        save_figure(axes[0, 0], tmp_path, "all", ["png"])
    with pytest.raises(UnknownNameError, match="style 'print'"), style("print"):
        pass


def colours_of(ax):
    """Colour of each value of a map, as the picture has it."""
    mesh = ax.collections[0]
    return mesh.cmap(mesh.norm(mesh.get_array().filled(np.nan).ravel()))[:, :3]


def test_below_chance_has_a_colour_of_its_own():
    matrix = pd.DataFrame([[0.21, 0.5, 0.79]], index=["0"], columns=["a", "b", "c"])
    for plot in (plot_positions, plot_transfer):
        below, chance, above = colours_of(plot(matrix))
        assert chance.min() > 0.95, "white"
        assert below.mean() < 0.8 and above.mean() < 0.8
        assert below[0] > above[0] + 0.1, "more red in it than in blue"
    assert plot_positions(matrix).collections[0].get_clim() == (0.2, 1.0)
    assert plot_positions(matrix.clip(lower=0.5)).collections[0].get_clim() == (0.5, 1.0)
    assert colours_of(plot_positions(matrix, vmin=0.79))[-1].min() > 0.95, "white is what one says"
    for low in (0.5, 0.6):  # and violet what is below chance, all the same
        below, chance, above = colours_of(plot_positions(matrix, vmin=low))
        assert chance.min() > 0.95 and below[0] > below[1] and above[0] < above[1]
    at_chance = plot_positions(matrix, vmin=0.5)
    np.testing.assert_array_equal(colours_of(at_chance), colours_of(plot_positions(matrix)))
    below, chance, above = colours_of(plot_components(matrix))
    assert chance.min() > 0.95 and below[0] > above[0]


def test_what_is_printed_as_below_chance_shows_and_nothing_else():
    """.4951 is printed as .50: no violet, no colours below .5, no word of it; .48 is violet, though
    a ramp from white would hardly leave it."""
    for low, printed in ((0.4951, ".50"), (0.4949, ".49"), (0.48, ".48")):
        matrix = pd.DataFrame([[low, 0.9]], index=["0"], columns=["a", "b"])
        below = printed != ".50"
        assert below_chance(matrix) == below
        for plot in (plot_positions, plot_transfer, plot_components):
            ax = plot(matrix)
            assert printed in {t.get_text() for t in ax.texts}
            assert ax.collections[0].get_clim() == (0.4 if below else 0.5, 1.0)
            shade = colours_of(ax)[0]
            assert (shade.min() < 0.95) == below and (shade[0] < shade[2] - 0.02) == below
    assert not below_chance(matrix * np.nan)


def test_every_caption_says_what_is_violet(run):
    scores = run.scores
    cells = scores.detector == "cell"
    for value, said in ((0.42, True), (0.62, False)):
        planted = scores.assign(value=scores.value.mask(cells, value))
        for ax in (
            positions_map(run.record, planted),
            components_map(run.record, planted, None)[0],
        ):
            assert ("Violet: below chance." in words_of(ax)) == said


def test_components_are_centred_on_chance_and_amounts_on_nothing():
    high = pd.DataFrame({"attn.q": [0.7, 0.8]}, index=["0", "1"])
    assert plot_components(high).collections[0].get_clim() == (0.5, 1.0), "as all maps of AUROC"
    assert plot_components(high, vmax=0.9).collections[0].get_clim() == (0.5, 0.9)
    assert plot_components(high, middle=None).collections[0].get_clim() == (0.0, 0.8)
    _, dark = colours_of(plot_components(high, middle=None))
    assert dark.argmax() == 1, "green"
    shares = colours_of(plot_components(high / 8, middle=1 / 7))
    assert shares[0][0] > shares[0][1], "violet: below the share that all would have"


def test_tall_maps_carry_numbers_and_both_ends_have_a_tick():
    rows = ["emb", *map(str, range(3, 30))]
    matrix = pd.DataFrame(np.linspace(0.3, 0.9, 28)[:, None], index=rows, columns=["-1"])
    ax = plot_positions(matrix)
    assert {".30", ".90"} <= {t.get_text() for t in ax.texts}
    ticks = tick_labels(ax.yaxis)
    assert ticks[:3] == ["emb", "3", "4"] and ticks[-2:] == ["28", "29"]


@pytest.mark.parametrize("plot", [plot_positions, plot_components])
def test_maps_too_tall_for_numbers_have_a_strip_of_each_layers_best(plot):
    rows = list(map(str, range(80)))
    values = np.linspace(0.5, 0.9, 80)
    matrix = pd.DataFrame({"a": values, "b": values - 0.1}, index=rows)
    best = pd.Series(values - 0.05, rows, name="best by validation")
    ax = plot(matrix, best=best)
    said = [t for t in ax.texts if t.get_text().startswith(".")]
    assert [t.get_text() for t in said] == [two_digits(v) for v in best]
    assert {t.get_position()[0] for t in said} == {2 + GAP + 0.5}, "beside the map"
    assert "best by\nvalidation" in [t.get_text() for t in ax.texts]
    assert not set(words_of(plot(matrix.head(40), best=best)).split()) & {"best", "validation"}
    assert {".90", "highest"} <= {t.get_text() for t in plot(matrix).texts}
    assert ".86" in {t.get_text() for t in plot(matrix.T.reindex(range(17)).T.fillna(0.86)).texts}


def test_numbers_of_a_strip_do_not_collide():
    assert thinned([3, 0, 5, *range(6)], 1) == list(range(6))
    assert thinned([5, 0, 9, 3, 6], 3) == [0, 5, 9]
    assert thinned([8, 0, 9, 3, 6], 3) == [0, 3, 8], "the selected row comes first"
    rows = ["emb", *map(str, range(199))]
    ax = plot_positions(pd.DataFrame({"-1": 0.7}, index=rows), ("101", "-1"))
    shown = sorted(t.get_position()[1] for t in ax.texts if t.get_text() == ".70")
    assert {0.5, 102.5, 199.5} <= set(shown), "first, selected and last"
    assert min(np.diff(shown)) > 1
    assert tick_labels(ax.yaxis)[:: len(ax.get_yticks()) - 1] == ["emb", "198"]
    assert min(np.diff(ax.get_yticks())) > 1


def test_the_best_of_a_layer_is_chosen_on_validation():
    test = pd.DataFrame([[0.9, 0.6, 0.7], [0.8, np.nan, 0.7], [0.5, 0.5, 0.5]], columns=list("abc"))
    validation = pd.DataFrame([[0.6, 0.8, 0.8], [0.5, 0.9, 0.6], [np.nan] * 3], columns=list("abc"))
    best = best_of_layers(test, validation)
    assert best[0] == 0.6 and best[1] == 0.7 and np.isnan(best[2])


def test_a_fit_that_did_not_converge_has_no_colour_of_its_own():
    matrix = pd.DataFrame([[0.51, 0.99]], index=["0"], columns=["a", "b"])
    ax = plot_positions(matrix, flagged=[("0", "a"), ("0", "b")])
    marks = [t for t in ax.texts if t.get_text() == "!"]
    assert [t.get_color() for t in marks] == [LIGHT.near, LIGHT.far], "as the numbers"


def test_the_strip_of_sublayers_has_edges_of_its_page():
    rows = pd.DataFrame({"sublayer": [1], "kind": ["ATT"], "selected": [True], "auroc": [0.7]})
    for name in ("publication", "screen"):
        with style(name):
            ax = plot_sublayers(rows)
            assert ax.patches[0].get_edgecolor() == ax.figure.get_facecolor()


def test_a_map_of_components_names_its_p(run):
    own = run.scores[lambda t: t.site.isin(COMPONENTS) & (t.position == "exact_answer_last")]
    p = min(1.0, own.p.count() * own.p.min())
    said = words_of(run.plot("components")).replace("\n", " ")
    assert f"shuffles of the labels, Student's t: {p_words(p)} for the best of" in said
    unknown, _ = components_map(run.record, run.scores.assign(p=np.nan), None)
    assert "shuffles" not in words_of(unknown)


def test_the_strip_has_values_and_a_key():
    strip = pd.DataFrame(
        {"sublayer": [1, 2], "kind": ["ATT", "MLP"], "selected": [True, False], "auroc": [0.7, 0.6]}
    )
    ax = plot_sublayers(strip)
    assert {"1", "2", ".70", ".60"} == {t.get_text() for t in ax.texts}
    assert _key(ax) == ["attention, selected", "not selected"], "of what is there"
    assert _key(plot_sublayers(strip.assign(selected=True))) == [
        "MLP, selected",
        "attention, selected",
    ]


def _key(ax):
    return [t.get_text() for t in ax.get_legend().get_texts()]


LONG = "Some-Model-1.5B-Instruct-Q4_K_M.gguf on cities: " + "so " * 20


@pytest.mark.parametrize("columns", [1, 7])
def test_a_long_title_stands_on_its_picture(columns):
    table = pd.DataFrame(0.7, index=list(map(str, range(4))), columns=list("abcdefg")[:columns])
    ax = plot_components(table, title=LONG)
    figure = ax.get_figure()
    figure.canvas.draw()
    assert ax._left_title.get_window_extent().x1 <= figure.bbox.x1


def test_a_long_title_ends_before_the_next_picture():
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    table = pd.DataFrame(0.7, index=list(map(str, range(4))), columns=list("abcdefg"))
    plot_components(table, ax=left, title=LONG)
    figure.canvas.draw()
    assert left._left_title.get_window_extent().x1 <= right.get_window_extent().x0


def test_a_caption_names_what_is_on_the_picture(run):
    said = words_of(run.plot()).replace("\n", " ")
    p = run.record.controls.permutation.max_statistic_p
    assert f"p = {p:.3f}" in said
    assert (run.record.data.origin or "a file") in said or "(--" in said
    matrix = run.matrix()
    assert ("Grey" in said) == bool(matrix.isna().to_numpy().any())
    assert ("Violet" in said) == below_chance(matrix)


def test_the_caption_of_a_part_of_a_map_is_of_that_part(run):
    selection = run.record.selection
    marked = f"Marked: cell selected on validation, layer {selection.layer}, {selection.position}"
    others = [p for p in run.record.positions if p != selection.position]
    for positions, there in ((others, False), ([selection.position], True)):
        said = words_of(run.plot(positions=positions)).replace("\n", " ")
        assert (marked in said) == there
        assert "Best cell of the whole map against" in said
    cells = run.scores[lambda t: (t.detector == "cell") & (t.site == "resid") & (t.masked == "")]
    few = cells[(cells.split == "test") & (cells.position == others[0])].n
    said = words_of(run.plot(positions=others[:1])).replace("\n", " ")
    assert f"n = {few.min():,}" in said and ("to" in said) >= (few.min() != few.max())
    assert "Best cell against" in words_of(run.plot()).replace("\n", " ")


@pytest.mark.parametrize("look", ["publication", "screen"])
@pytest.mark.parametrize("amounts", [False, True])
def test_numbers_stand_out_from_their_cells(look, amounts):
    """A contrast of 4 everywhere, where black and white would have 4.6 at the least."""
    with style(look):
        scale = Scale(0.0, 1.0, 0.0 if amounts else 0.5, amounts)
        worst = min(
            _contrast(_luminance(scale.ink(v)), _luminance(scale.colour(v)))
            for v in np.linspace(0, 1, 101)
        )
    assert worst > 4


def test_a_name_with_dollar_signs_is_a_name(tmp_path):
    table = pd.DataFrame(0.7, index=["0", "1"], columns=["a", "b"])
    for look in ("publication", "screen"):
        with style(look):
            ax = plot_positions(table, title=r"ti$n^y$ on $\frac{$", caption=r"data: $\frac{$.csv")
            (path,) = save_figure(ax, tmp_path, look, ("svg",))
        text = path.read_text()
        assert r"ti$n^y$ on $\frac{$" in text and r"$\frac{$.csv" in text
    ax = plot_positions(table, title=r"$\frac{$", caption=r"$\frac{$")
    ax.get_figure().canvas.draw()  # in a look of one's own too


def test_hatched_numbers_have_a_rim():
    table = pd.DataFrame([[0.6, 0.9]], index=["0"], columns=["a", "b"])
    ax = plot_positions(table, hatched=pd.DataFrame([[True]], index=["0"], columns=["a"]))
    rims = {t.get_text(): bool(t.get_path_effects()) for t in ax.texts}
    assert rims == {".60": True, ".90": False}


def test_a_site_that_is_not_there_is_nan_with_a_reason_everywhere(model_folder, tmp_path):
    from probebench.report.terminal.summary import absent_sites

    run = probebench.evaluate(
        str(model_folder("gpt2")),
        answers=answers_in(tmp_path),
        sites=("attn.q", "mlp.gate"),
        positions=("-1",),
        shuffles=0,
        skip=("p-true", "ensembles"),
        out=tmp_path / "run",
        device="cpu",
    )
    assert run.record["selection"]["site"] == "attn.q"
    assert run.record["selection"]["rule"].endswith("of attn.q")
    facts = run.record["sites"]["mlp.gate"]
    assert facts["layers"] == []
    assert list(facts["absent"]) == ["0", "1", "2"]
    assert run.matrix(site="mlp.gate").isna().all().all()
    masked = run.scores[lambda t: t.site == "mlp.gate"]
    assert set(masked.masked) == {facts["absent"]["0"]}
    assert (masked.n == 0).all()
    (line,) = absent_sites(run.record["sites"])
    assert line.startswith("mlp.gate in 3 layers: ")
    assert run.components().loc["1", "mlp.gate"] != run.components().loc["1", "mlp.gate"], "NaN"
