"""Foreign text made safe: what data sets, models and strangers wrote stays text in Markdown and
LaTeX."""

from __future__ import annotations

import re
import unicodedata

DIRECTION_MARKS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "\u2212": "$-$",
    "\u2013": "--",
    "\u2014": "---",
    "\u2026": r"\ldots{}",
    "\u00a0": "~",
    "\u00d7": r"$\times$",
    "\u2192": r"$\rightarrow$",
}
"""Characters that mean something to LaTeX, or that its fonts lack."""


def readable_text(text: str) -> str:
    """Text without what a page cannot hold: control characters become pictures, direction marks are
    dropped."""
    kept = []
    for c in text.replace("\r\n", "\n").replace("\r", "\n"):
        if c in "\n\t":
            kept.append(c)
        elif ord(c) < 32:
            kept.append(chr(0x2400 + ord(c)))
        elif unicodedata.category(c) in ("Cc", "Cs"):
            kept.append("\ufffd")
        elif c not in DIRECTION_MARKS:
            kept.append(c)
    return "".join(kept)


def one_line(text: str) -> str:
    """Readable text without line breaks."""
    return " ".join(readable_text(text).split())


def markdown(text: str) -> str:
    """One line that Markdown reads as the same text: no emphasis, link, mention, code, cell,
    formula, HTML, list or heading."""
    text = re.sub(r"([\\`*_{}\[\]<>|#~$!@])", r"\\\1", one_line(text))
    text = text.replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")
    text = re.sub(r"^([-+=])(?=[-+=\s]|$)", r"\\\1", text)
    text = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", text)
    return re.sub(
        r"(?i)\b(https?|ftp|www)(:|\.)", r"\1&#8203;\2", text
    )  # bare addresses of foreign texts do not become links


def latex(text: str) -> str:
    """One line that LaTeX sets as the same text.

    Letters beyond ASCII are kept: LaTeX reads UTF-8 and names those that the font lacks. Other
    signs become question marks.
    """
    told = "".join(
        SPECIAL.get(c) or (c if c.isascii() or unicodedata.category(c)[0] in "LMN" else "?")
        for c in one_line(text)
    )
    return re.sub("-(?=-)", "-{}", told)  # two would be set as a dash
