"""The documentation site: built strictly and offline, asking nobody for anything, readable on a
phone."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytest.importorskip("sphinx", reason="Sphinx is not installed; it builds the documentation site")
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""What a page asks for by itself, and where it says so; a link is asked for when it is clicked."""
STYLE = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("manual")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", folder / "trees"]
    built = subprocess.run(
        [*command, ROOT / "docs", folder / "site"], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return folder / "site"


class Loads(HTMLParser):
    """Addresses that a page loads."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "link" and not set((given.get("rel") or "").split()) & {"next", "prev", "search"}:
            self.found.append(given["href"])
        if (address := given.get(LOADS.get(tag, ""))) is not None:
            self.found.append(address)


def loads(page):
    parser = Loads()
    parser.feed(page.read_text())
    return [*parser.found, *STYLE.findall(page.read_text())]


def test_pages_ask_nobody_for_anything(site):
    pages = sorted(site.rglob("*.html"))
    found = {(p.name, address) for p in pages for address in loads(p)}
    found |= {(p.name, a) for p in site.rglob("*.css") for a in STYLE.findall(p.read_text())}
    assert len(pages) > 20 and len(found) > 100
    assert [f for f in found if re.match(r"(?:https?:)?//", f[1])] == []


def test_the_reference_is_whole(site):
    """Every command with its options, the public names, every name of a registry, every part of
    the record."""
    from probebench.cli.main import main
    from probebench.states.positions import POSITIONS

    commands = (site / "reference/command-line.html").read_text()
    assert [name for name in main.commands if f'id="{name}"' not in commands] == []
    assert "--repeat-splits" in commands and "Of the stored vectors" in commands
    names = (site / "reference/names.html").read_text()
    assert [p for p in POSITIONS if f">{p}</span>" not in names] == []
    record = (site / "reference/record.html").read_text()
    assert "Content key of everything that decides a number." in record
    assert 'id="selectionfacts"' in record and 'id="resamples"' not in record
    python = (site / "reference/python.html").read_text()
    assert "probebench.Run.matrix" in python and "LabelError" in python


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed; it drives the browser"
    )
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path (chromium, chromium-browser or google-chrome)")
    with api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_the_window_and_asks_only_its_own_files(site, browser, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    asked, wide = [], []
    page.on("request", lambda request: asked.append(request.url))
    for path in sorted(site.rglob("*.html")):
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(path.relative_to(site).as_posix())
    page.close()
    assert wide == []
    assert asked and [url for url in asked if not url.startswith((site.as_uri(), "data:"))] == []
