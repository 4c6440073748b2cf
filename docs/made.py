"""Reference pages made while the site is built: the command line and the names of the registries,
from the code that answers `--help` and reads the names, and the record, from its schema."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from probebench.cli.main import Later, main

AS_IT_STANDS = "\b"
"""Where click's help texts leave a paragraph's lines as they are."""


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command below a group with its whole name, a group before what is in it."""
    for name, listed in group.commands.items():
        command = listed.found() if isinstance(listed, Later) else listed
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def plain(text: str) -> str:
    """A help text in one line of Markdown."""
    return re.sub(r"([*_<\[\]])", r"\\\1", " ".join(text.split()))


def about(command: click.Command) -> Iterator[str]:
    """What a command says of itself, paragraph by paragraph."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith(AS_IT_STANDS):
            yield f"```text\n{paragraph.removeprefix(AS_IT_STANDS).strip()}\n```"
        else:
            yield plain(paragraph)


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Its options as lists, under their headings where it has any."""
    before = None
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if not record or not record[1] or "--help" in parameter.opts:
            continue
        if (heading := getattr(parameter, "group", before)) != before:
            yield f"\n*{heading}*\n"
            before = heading
        yield f"- `{record[0]}`: {plain(record[1])}"


def section(name: str, command: click.Command) -> str:
    """One command in Markdown."""
    context = click.Context(command, info_name=f"probebench {name}")
    lines = [f"## {name}", f"    {command.get_usage(context).removeprefix('Usage: ')}"]
    listed = "\n".join(options(command, context))
    return "\n\n".join([*lines, *about(command), *([listed] if listed else [])])


class Commands(SphinxDirective):
    """Every command as a section, in the words of its `--help`."""

    def run(self) -> list[nodes.Node]:
        text = "\n\n".join(section(*found) for found in commands(main))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def first_paragraph(thing: Any) -> str:
    """What a docstring says first."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def rows(registry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names of a registry with what their functions say of themselves."""
    for name, entry in registry.items():
        yield name, first_paragraph(next(filter(inspect.isfunction, fields(entry)), entry))


def fields(entry: Any) -> Iterator[Any]:
    """An entry, and what a row of a registry holds."""
    yield entry
    yield from (getattr(entry, f) for f in getattr(type(entry), "__dataclass_fields__", ()))


class Registry(SphinxDirective):
    """The names of a registry, `module:NAME`, as a table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        registry = getattr(importlib.import_module(module), name)
        lines = [f"| `{name}` | {text} |" for name, text in rows(registry)]
        return self.parse_text_to_nodes("\n".join(["| name | |", "|---|---|", *lines]))


SCHEMA = Path(__file__).parent / "record.schema.json"
Schema = Mapping[str, Any]


def kind(schema: Schema) -> str:
    """What a value of a schema is, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return "anything" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(kind, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    of = schema.get("items") or schema.get("additionalProperties")
    if schema.get("type") in ("array", "object") and isinstance(of, Mapping):
        return f"{'list' if schema['type'] == 'array' else 'names'} of {kind(of)}"
    return str(schema.get("type", "anything"))


def part(name: str, schema: Schema) -> str:
    """One part of the record: a line for each field."""
    lines = [
        f"- `{field}`: {plain(facts.get('description', ''))} *{kind(facts)}*"
        for field, facts in schema["properties"].items()
    ]
    return "\n".join([f"## {name}", "", plain(schema.get("description", "")), "", *lines])


class RecordParts(SphinxDirective):
    """Every part of the record as a section, the whole first."""

    def run(self) -> list[nodes.Node]:
        schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
        parts = {"Record": schema} | schema["$defs"]
        text = "\n\n".join(part(*p) for p in parts.items() if "properties" in p[1])
        return self.parse_text_to_nodes(text, allow_section_headings=True)
