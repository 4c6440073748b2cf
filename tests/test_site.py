"""The built site in a real browser: from a disk and from a server, by mouse, keyboard and phone."""

import os
import re
import shutil
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from rows_made import HOSTILE, build_site, paper_entry, run_entry

from probebench.leaderboard.board.gather import gather
from probebench.leaderboard.board.models import safe_slug

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed; it drives the browser"
)
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="no Chromium on the path (chromium, chromium-browser or google-chrome)",
    ),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ROWS = "#rows tbody tr"


def places_entries():
    return [
        run_entry("org/model-00", "places", seed=5),
        run_entry("org/model-01", "places", seed=6, tier="rerun"),
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of 71 models on people, one of them hostile, and published figures on triviaqa."""
    folder = tmp_path_factory.mktemp("built")
    entries = [
        run_entry(
            f"org/model-{i:02d}",
            strength=0.3 + i / 25,
            n=200,
            seed=i,
            family=("Llama", "Qwen2")[i % 2],
            n_parameters=5e8 if i < 10 else 7e9,
        )
        for i in range(70)
    ]
    bad = replace(
        run_entry(HOSTILE, slug="../../etc/passwd", n=200, seed=99),
        warnings=(HOSTILE,),
        family=HOSTILE,
        revision=HOSTILE,
    )
    entries += [
        replace(bad, detectors=(replace(bad.detectors[0], label=HOSTILE), bad.detectors[1]))
    ]
    entries += places_entries()
    entries += [paper_entry("org/Paper-7B", 0.85), paper_entry("org/Other-8B", 0.7)]
    return build_site(folder, entries) / "site"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        found = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if root else []
        )
        yield found
        found.close()


@pytest.fixture(scope="module", params=["file", "http"])
def address(request, site):
    """Where the site lies: on a disk, and on a server."""
    if request.param == "file":
        yield site.as_uri()
        return

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def visit(browser, address):
    """Opens pages; afterwards no request has left, and the console is silent: no error, no
    violation of the policy."""
    contexts, troubles, asked = [], [], []

    def go(path, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15000)
        page.on(
            "console", lambda m: troubles.append(m.text) if m.type in {"error", "warning"} else None
        )
        page.on("pageerror", lambda e: troubles.append(str(e)))
        page.on("request", lambda r: asked.append(r.url))
        page.goto(f"{address}/{path}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert troubles == []
    assert asked and all(url.startswith(address) for url in asked)


def texts(page, selector):
    return [t.strip() for t in page.locator(selector).all_inner_texts()]


def test_every_page_is_quiet_and_the_console_too(visit, site):
    for path in (
        "index.html",
        "compare.html",
        "about.html",
        "tasks/people.html",
        "tasks/triviaqa.html",
        "models/org__Paper-7B.html",
    ):
        page = visit(path)
        assert page.locator("h1").count() == 1 and page.title().endswith("probebench")


def test_rows_are_paged_and_grouped(visit):
    page = visit("tasks/people.html")
    assert page.locator(ROWS).count() == 50
    assert "1–50 of 71 rows" in page.inner_text("#rows .status")
    page.click("text=Next")
    assert page.locator(ROWS).count() == 21
    page.click("text=Previous")
    groups = [int(t) for t in texts(page, f"{ROWS} .rank")]
    assert groups == sorted(groups) and groups[0] == 1 and groups[-1] > 1
    assert page.locator(f"{ROWS}.edge").count() == len(set(groups)) - 1


def test_sort_goes_down_up_and_back(visit):
    page = visit("tasks/people.html")
    values = lambda: [float(t) for t in texts(page, f"{ROWS} td .figure .num")]  # noqa: E731
    button = page.locator("#rows thead button", has_text="AUROC")
    before = texts(page, f"{ROWS} th")
    button.click()
    assert values() == sorted(values(), reverse=True)
    assert page.locator("#rows thead th[aria-sort=descending]").inner_text().startswith("AUROC")
    button.press("Enter")
    assert values() == sorted(values()) and values()[0] < 0.7
    button.click()
    assert (
        texts(page, f"{ROWS} th") == before
        and page.locator("#rows thead th[aria-sort]").count() == 0
    )


def test_filters_and_search(visit):
    page = visit("tasks/people.html")
    page.fill("#rows input[type=search]", "MODEL-07")
    assert texts(page, f"{ROWS} th a") == ["org/model-07"]
    page.fill("#rows input[type=search]", "")
    page.select_option("#rows select[name=size]", "under 1 B")
    assert len(texts(page, ROWS)) == 10
    page.select_option("#rows select[name=family]", "Qwen")
    assert all(int(t[-2:]) % 2 for t in texts(page, f"{ROWS} th a")) and len(texts(page, ROWS)) == 5
    page.select_option("#rows select[name=detector]", "length")
    assert set(texts(page, f"{ROWS} th .interval")) == {"length (shorter)"}
    page.select_option("#rows select[name=tier]", "rerun")
    assert (
        texts(page, ROWS) == ["No row matches. Loosen a filter."]
        and page.inner_text("#rows .status") == "0 rows"
    )


def test_models_of_the_overview(visit):
    page = visit("index.html")
    page.select_option("#models select[name=tier]", "published")
    assert sorted(texts(page, "#models tbody th")) == ["org/Other-8B", "org/Paper-7B"]
    assert "1 of 1 [0.21, 1.00]" in page.inner_text("#models tbody tr:first-child")
    page.click("text=org/Paper-7B >> nth=-1")
    page.wait_for_url("**/models/org__Paper-7B.html")
    assert page.locator("#map").count() == 0
    assert "0.85 ± 0.004" in page.inner_text("#rows")


def test_hovering_a_cell_shows_auroc_interval_and_n(visit):
    page = visit("models/org__model-03.html")
    cell = page.locator("rect.cell[data-layer='2'][data-position=last_q]")
    cell.hover()
    tip = page.locator(".tip")
    assert tip.is_visible()
    value = float(tip.inner_text().split("AUROC ")[1].split()[0])
    assert (
        f"[{value - 0.04:.2f}, {value + 0.04:.2f}]" in tip.inner_text()
        and "n = 400" in tip.inner_text()
    )
    assert "layer 2 · last_q" in tip.inner_text()
    page.mouse.move(5, 5)
    assert tip.is_hidden()
    page.locator("rect.cell[data-layer='0'][data-position='-1']").hover()
    assert "absent: fewer than 10 examples of a class" in tip.inner_text()


def test_the_keyboard_walks_the_map(visit):
    page = visit("models/org__model-03.html")

    def here():
        return page.evaluate(
            "[document.activeElement.dataset.layer, document.activeElement.dataset.position]"
        )

    page.locator("select[name=metric]").focus()
    page.keyboard.press("Tab")
    assert here() == ["1", "exact_answer_last"]  # one stop in the tab order: the selected cell
    assert "selected on validation" in page.evaluate(
        "document.activeElement.getAttribute('aria-label')"
    )
    assert page.locator(".tip").is_visible() and page.locator(".ring").is_visible()
    for key, place in (
        ("ArrowUp", ["0", "exact_answer_last"]),
        ("ArrowLeft", ["0", "last_q"]),
        ("ArrowLeft", ["0", "last_q"]),
        ("Control+Home", ["emb", "last_q"]),
        ("ArrowUp", ["emb", "last_q"]),
        ("Control+End", ["2", "-1"]),
        ("ArrowDown", ["2", "-1"]),
        ("Home", ["2", "last_q"]),
    ):
        page.keyboard.press(key)
        assert here() == place, key
    assert page.locator("rect.cell[tabindex='0']").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


def test_the_map_is_a_table_too(visit):
    page = visit("models/org__model-03.html")
    page.click("summary:has-text('The map as a table')")
    table = page.locator("#map table")
    assert texts(page, "#map table thead th") == ["Layer", "last_q", "exact_answer_last", "-1"]
    assert (
        table.locator("tbody tr").count() == 4
        and table.locator("td", has_text="absent").count() == 1
    )
    assert "(selected)" in table.locator("td.selected").inner_text()


def test_another_metric_recolours_the_map(visit):
    page = visit("models/org__model-03.html")
    cell = page.locator("rect.cell[data-layer='2'][data-position=last_q]")
    before = cell.get_attribute("fill")
    page.select_option("select[name=metric]", "selectivity")
    page.wait_for_function(
        "before => document.querySelector(\"rect.cell[data-layer='2']\").getAttribute('fill') !== "
        "before",
        arg=before,
    )
    assert "selectivity" in cell.get_attribute("aria-label")


def test_dark_follows_the_system_and_the_button(visit):
    ground = "getComputedStyle(document.body).backgroundColor"
    page = visit("models/org__model-03.html", color_scheme="dark")
    dark, fill = page.evaluate(ground), page.locator("rect.cell").first.get_attribute("fill")
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    page.click("#theme")
    assert page.evaluate(ground) != dark and page.get_attribute("#theme", "aria-pressed") == "false"
    page.wait_for_function(
        "fill => document.querySelector('rect.cell').getAttribute('fill') !== fill", arg=fill
    )
    light = page.evaluate(ground)
    page.reload()
    assert page.evaluate(ground) == light  # the choice is kept
    assert visit("index.html", color_scheme="light").evaluate(ground) == light


@pytest.mark.parametrize(
    "path",
    [
        "index.html",
        "tasks/people.html",
        "models/org__model-00.html",
        "compare.html",
        "about.html",
        "HOSTILE",
    ],
)
def test_a_phone_never_scrolls_the_page_sideways(visit, path):
    path = f"models/{safe_slug('../../etc/passwd')}.html" if path == "HOSTILE" else path
    page = visit(path, width=360)
    page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("path", ["index.html", "tasks/people.html", "models/org__model-00.html"])
def test_a_phone_shows_an_auroc_without_scrolling_sideways(visit, path):
    page = visit(path, width=390)
    page.wait_for_timeout(50)
    figure = page.locator("table .num", has_text="0.").first.bounding_box()
    assert figure["x"] >= 0 and figure["x"] + figure["width"] <= 390
    first = page.locator(".num", has_text="0.").first.bounding_box()
    assert first["y"] < 844, "the first figure of the page needs no scrolling down"


def test_the_sentences_and_the_best_map_stand_before_the_tables(visit):
    page = visit("models/org__model-00.html")
    assert texts(page, "section h2") == [
        "What its probes read",
        "Maps",
        "Task by task",
        "All detectors",
        "How it was run",
    ]
    tasks = texts(page, "[aria-labelledby=tasks-h] tbody th")
    assert sorted(tasks) == ["people", "places"] and tasks == texts(page, ".said b")
    assert page.locator("select[name=map] option").first.inner_text().startswith(f"{tasks[0]},")


def test_the_difference_to_the_probe_stands_beside_other_detectors(visit):
    page = visit("tasks/people.html")
    heads = "#rows thead th:visible"
    assert "Probe − this" not in texts(page, heads), "the probe has none to itself"
    page.select_option("#rows select[name=detector]", "length")
    assert texts(page, heads)[3] == "Probe − this"
    assert set(texts(page, f"{ROWS} td:nth-child(4)")) == {"+0.300 [+0.20, +0.40]"}


def test_a_phone_sees_which_detector_a_figure_is_of(visit):
    page = visit("models/org__model-00.html", width=390)
    for cell in ("th", "td:nth-child(2)", "td:nth-child(3) .num"):
        box = page.locator(f"{ROWS} >> nth=1 >> {cell}").first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, cell
    assert page.locator(f"{ROWS} >> nth=1 >> td:nth-child(2)").inner_text() == "length (shorter)"


@pytest.mark.parametrize("path", ["index.html", "models/org__model-00.html"])
def test_a_phone_shows_probe_minus_baseline_in_rows_no_taller_than_they_need(visit, path):
    page = visit(path, width=390)
    rows = page.locator("[aria-labelledby=tasks-h] tbody tr")
    cell = rows.first.locator("td.pair >> nth=1")
    box, row = cell.bounding_box(), rows.first.bounding_box()
    assert cell.inner_text().split() == ["+0.300", "[+0.20,", "+0.40]"]
    assert box["x"] + box["width"] <= 390 and row["height"] < 70
    table = page.locator("main .scroll:not(.bare)").first
    shadow = table.evaluate("e => getComputedStyle(e).backgroundImage")
    assert shadow.count("linear-gradient") == 4


def test_a_colour_has_one_meaning(visit):
    """The outline of the selected cell is no other thing's, and no curve is violet, which on maps
    is below chance."""
    colour = "(e) => getComputedStyle(e).stroke"
    page = visit("models/org__model-03.html")
    outline, under = (
        page.locator(f".outline{kind}").evaluate(colour) for kind in (":not(.under)", ".under")
    )
    ground = page.locator("#rows .scroll").evaluate("e => getComputedStyle(e).backgroundColor")
    assert under == ground, "light on a dark cell, so that the outline is seen on every colour"
    page = visit("tasks/people.html")
    curves = [page.locator(f"path.c{i}").first.evaluate(colour) for i in range(4)]
    assert len({outline, *curves}) == 5
    for curve in curves:
        red, green, blue = (int(n) for n in re.findall(r"\d+", curve)[:3])
        assert not (red > green and blue > green), curve


def test_two_models_side_by_side(visit):
    page = visit("compare.html")
    page.wait_for_selector("#compare tbody tr")
    assert len(texts(page, "#compare tbody th")) == 2, "the two models that share most tasks"
    page = visit("compare.html#a=org__Paper-7B")
    page.wait_for_selector("#compare tbody tr")
    assert "b=org__Other-8B" in page.url
    page = visit("compare.html#a=org__model-00&b=org__model-01")
    page.wait_for_selector("#compare tbody tr")
    assert texts(page, "#compare thead th") == [
        "Task",
        "First minus second",
        "org/model-00",
        "org/model-01",
    ]
    assert [t.split()[0] for t in texts(page, "#compare tbody th")] == ["people", "places"]
    people, places = texts(page, "#compare tbody td:nth-child(2)")
    assert "as if independent" in people, "too many models to hold a number for every two"
    assert "as if independent" not in places
    low, high = (float(t) for t in re.findall(r"\d\.\d+", places)[1:])
    half = 1.96 * next(
        r.paired_se["org__model-01"]
        for r in gather(places_entries()).rows
        if r.detector == "probe" and r.model.slug == "org__model-00"
    )
    assert (high + low) / 2 == pytest.approx(half, abs=0.006), "the interval holds 0"
    page.select_option("#compare select >> nth=1", "org__Paper-7B")
    page.wait_for_selector("text=No task has this detector for both models.")
    page.select_option("#compare select >> nth=0", "org__Other-8B")
    page.wait_for_selector("#compare tbody tr")
    assert "−0.150" in page.inner_text("#compare tbody") and page.url.endswith(
        "#a=org__Other-8B&b=org__Paper-7B"
    )


def test_hostile_names_are_shown_as_text(visit):
    shown = " ".join(HOSTILE.split())
    for path in ("tasks/people.html", "index.html", f"models/{safe_slug('../../etc/passwd')}.html"):
        page = visit(path)
        if path != "tasks/people.html":
            page.wait_for_timeout(20)
        for box in page.locator("input[type=search]").all()[
            : 0 if path.startswith("models") else 1
        ]:
            box.fill("onerror")
        assert shown in " ".join(page.inner_text("body").split()), path
        assert page.evaluate("window.hacked") is None and page.locator("main img").count() == 0
    page = visit(f"compare.html#a={safe_slug('../../etc/passwd')}&b=org__model-00")
    page.wait_for_selector("#compare tbody tr")
    assert page.evaluate("window.hacked") is None and page.locator("main img").count() == 0


def test_an_address_cannot_name_a_script(visit):
    """What follows the # chooses among known models only."""
    page = visit("compare.html#a=../../x&b=https://example.org/x")
    page.wait_for_selector("#compare tbody tr, #compare .status:not(:empty)")
    assert page.evaluate(
        "[...document.scripts].every(s => s.src.startsWith(document.baseURI.split('compare')[0]))"
    )


def test_the_policy_is_in_force(browser, site):
    """Inline code, markup from text and scripts from elsewhere are refused: the policy is not only
    written down."""
    page = browser.new_page()
    page.goto(f"{site.as_uri()}/index.html")
    ran = page.evaluate("""() => {
        const refused = (attempt) => {
            try { attempt(); return window.ran === undefined; }
            catch (error) { return error instanceof TypeError; }
        };
        const link = document.body.appendChild(document.createElement('a'));
        const script = document.createElement('script');
        return [
            refused(() => { link.setAttribute('onclick', 'window.ran = 1'); link.click(); }),
            refused(() => { link.innerHTML = '<img src=x onerror="window.ran = 1">'; }),
            refused(() => { script.text = 'window.ran = 1'; document.head.append(script); }),
            refused(() => { script.src = 'https://example.org/x.js'; }),
            refused(() => { const style = document.createElement('style');
                            style.textContent = 'body { color: red }';
                            document.head.append(style);
                            const { color } = getComputedStyle(document.body);
                            window.ran = color === 'rgb(255, 0, 0)' || undefined; }),
        ];
    }""")
    assert ran == [True] * 5
    page.close()


def test_without_scripts_the_first_rows_are_there(visit):
    page = visit("tasks/people.html", java_script_enabled=False)
    assert page.locator(ROWS).count() == 50 and "leaderboard.csv" in page.inner_text("main")


def test_skip_link_and_focus_ring(visit):
    page = visit("index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
