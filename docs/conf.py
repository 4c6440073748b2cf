"""The documentation site: `make docs` builds it with Sphinx from the pages of this folder.

Nothing in it is fetched, while building or while reading: no font, script or picture of others.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math import latex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import made  # noqa: E402

import probebench  # noqa: E402

project = "probebench"
author = "The probebench maintainers"
version = release = probebench.__version__
language = "en"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

# Pages are Markdown as GitHub shows it; their links to headings are GitHub's.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]

# Blocks of code are commands where they name no language; single backticks in docstrings are code.
highlight_language = "bash"
default_role = "code"
smartquotes = False  # options begin with two dashes
pygments_style = "friendly"
pygments_dark_style = "github-dark"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_use_type_comments = False
python_use_unqualified_type_names = True
maximum_signature_line_length = 80

html_theme = "furo"
html_show_copyright = False
html_title = f"probebench {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = True
html_math_renderer = "mathml"


NAMED_BY_FILE = re.compile(r"\[(?:docs/)?[\w/-]+\.md\](?=\([\w./-]+\.md(?:#[\w-]+)?\))")
"""A link whose words are the name of the page's file, as a reader of the repository wants them."""


def named_by_title(app: Sphinx, page: str, *source: object) -> None:
    """Here such a link has the page's title, or the heading's."""
    text = source[-1]
    assert isinstance(text, list)
    text[0] = NAMED_BY_FILE.sub("[]", text[0])


def block_of_math(page: HTML5Translator, node: nodes.math_block) -> None:
    """A formula as MathML, which browsers set by themselves."""
    page.body.append(latex2mathml.tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def math_in_a_line(page: HTML5Translator, node: nodes.math) -> None:
    """The same inside a sentence."""
    page.body.append(latex2mathml.tex2mathml(node.astext()))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """What the pages need beside Sphinx itself."""
    app.connect("source-read", named_by_title)
    app.connect("include-read", named_by_title)
    app.add_html_math_renderer("mathml", (math_in_a_line, None), (block_of_math, None))
    app.add_directive("commands", made.Commands)
    app.add_directive("registry", made.Registry)
    app.add_directive("record", made.RecordParts)
