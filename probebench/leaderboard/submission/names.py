"""Names of submissions: folders that cannot leave their place, whatever a record says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from probebench.errors import BadFileError
from probebench.record.parts.measured import SUITE_NAME

LONGEST = 128
"""Characters of a folder name."""
PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
"""One half of a model name, and a whole folder name: ASCII, no leading dot or dash, no closing
dot."""
DETECTOR = re.compile(SUITE_NAME)
RESERVED = frozenset(
    ["con", "prn", "aux", "nul", *(f"{kind}{k}" for kind in ("com", "lpt") for k in range(10))]
)
"""Device names of Windows, with any ending: such a folder cannot be checked out there."""
VARIANTS = {"bitsandbytes-8bit": "int8", "bitsandbytes-4bit-nf4": "int4"}


def folder_problem(name: str) -> str:
    """Why this cannot be the name of a folder, or an empty string."""
    if len(name) > LONGEST:
        return f"at most {LONGEST} characters"
    if ".." in name or not PART.fullmatch(name):
        return (
            "letters, digits, '.', '_' and '-' of ASCII, beginning with a letter or digit, "
            "without '..' and without a closing dot"
        )
    if name.split(".")[0].casefold() in RESERVED:
        return "not a device name such as 'con' or 'nul'"
    return ""


def model_problem(name: str) -> str:
    """Why this cannot be the name of a model, or an empty string."""
    parts = name.split("/")
    if len(parts) > 2:
        return "a name, or owner/name"
    if any("__" in part for part in parts[:1]) and len(parts) == 2:
        return "no '__' in the owner: it stands for '/' in folder names"
    for part in parts:
        if (problem := folder_problem(part)) or "--" in part:
            return problem or "no '--': it begins a variant in folder names"
    return folder_problem("__".join(parts))


def variant_of(model: Mapping[str, Any]) -> str:
    """What distinguishes a changed model from the plain one of its name: `int8`, `int4`,
    `peft-<hash>`, or nothing.

    Args:
        model: `record["model"]`.
    """
    words = []
    if (kind := model.get("quantization")) not in (None, "none"):
        words.append(VARIANTS.get(str(kind), str(kind)))
    if (adapter := model.get("peft")) is not None:
        words.append("peft-" + str(adapter).removeprefix("sha256:")[:8])
    return "-".join(words)


def model_folder(model: Mapping[str, Any]) -> str:
    """Folder of a model: `/` as `__`, its variant after `--`.

    Args:
        model: `record["model"]`.

    Raises:
        BadFileError: a name that cannot be a folder, or could be one outside its place.
    """
    name, variant = str(model.get("name")), variant_of(model)
    if problem := model_problem(name):
        raise BadFileError(
            f"The model name {name!r} cannot be the name of a submission; allowed: {problem}."
        )
    slug = name.replace("/", "__") + (f"--{variant}" if variant else "")
    if problem := folder_problem(slug):
        raise BadFileError(
            f"The model folder {slug!r} cannot be the name of a submission; allowed: {problem}."
        )
    return slug


def task_folder(name: str, version: int) -> str:
    """Folder of a task: its name, from version 2 on with `@version`, so that rows of older versions
    stay where they are.

    Raises:
        BadFileError: a name that cannot be a folder.
    """
    if (problem := folder_problem(name)) or version < 1:
        raise BadFileError(
            f"The task {name!r}, version {version}, cannot be the name of a submission; allowed: "
            f"{problem or '1 and up'}."
        )
    return name if version == 1 else f"{name}@{version}"
