"""What is written of the options into files: `docs/options.md`, and the types of the Python
functions for type checkers. `python scripts/write_options.py` writes both."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from probebench.options.field import Option
from probebench.options.python import WIDTH, in_python, type_words
from probebench.options.values import accepted

CHANGES = {
    "numbers": "numbers",
    "source": "another run",
    "adds": "adds only",
    "model": "of the model",
    "nothing": "nothing",
}
INTRO = """# Options

Everything that can be asked of a run, as `probebench eval` and `probebench.evaluate` take it. This
page is written from their definition by `python scripts/write_options.py`.

The last column says what another value changes. *numbers*: they are no longer the protocol's, the
record lists the option under `settings.overrides`, and the run has a folder of its own. *another
run*: the protocol's numbers from another source, in a folder of their own; of what was answered, or
read, elsewhere no row is ranked. *adds only*: the same numbers and more. *nothing*: where and how,
not what. *of the model*: which model and how it is run; it stands in the record and in the row, has
a folder of its own, and is ranked like any other, but for models that run code of their own.
"""


def options_page(options: Sequence[Option]) -> str:
    """`docs/options.md`: one table a group."""
    return "\n".join([INTRO, *_tables(options)])


def _tables(options: Sequence[Option]) -> Iterator[str]:
    for group in dict.fromkeys(o.group for o in options):
        yield f"## {group}\n"
        yield "| command line | Python | default | | changes |"
        yield "|---|---|---|---|---|"
        for o in (o for o in options if o.group == group):
            text = f"{help_words(o)} {o.more}".strip().replace("|", "\\|")
            changes = "adds, in a folder of its own" if o.apart else CHANGES[o.changes]
            yield f"| `{usage(o)}` | `{o.argument}` | {default_words(o)} | {text} | {changes} |"
        yield ""


def usage(option: Option) -> str:
    """The option with what follows it: `--limit N`."""
    if option.types == (bool,):
        return f"{option.flag}/--no-{option.flag[2:]}" if option.optional else option.flag
    values = "\\|".join(option.choices)
    return f"{option.flag} {values or option.metavar}"


def help_words(option: Option) -> str:
    """The sentence of `--help`."""
    return f"{option.help}{' Repeat for several.' * (option.read == 'repeated')}"


def default_words(option: Option) -> str:
    """The default as the command line takes it; empty where there is none."""
    value = option.default
    if value is None or isinstance(value, bool) or value == ():
        return "required" if option.required else ""
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def types_module(options: Sequence[Option]) -> str:
    """The module `probebench.job.asked`: one key an option."""
    lines = [
        '"""Types of what `evaluate` takes, for type checkers. Written by `python',
        'scripts/write_options.py` from the definition of the options."""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping, Sequence",
        "from pathlib import Path",
        "from typing import TypedDict",
        "",
        "",
        "class Asked(TypedDict, total=False):",
        '    """Options of `evaluate` and `evaluate_all`, by argument."""',
    ]
    for o in (o for o in options if o.argument not in ("model", "task")):
        told = textwrap.fill(f'"""{in_python(o.help, options)}"""', WIDTH - 4)
        lines += ["", f"    {o.argument}: {type_words(accepted(o))}", textwrap.indent(told, "    ")]
    return "\n".join(lines) + "\n"
