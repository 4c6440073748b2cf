"""The help of a command with many options, under headings."""

from __future__ import annotations

import click

HEADINGS: dict[str, tuple[str, ...]] = {
    "The model": (
        "model",
        "gguf_file",
        "revision",
        "dtype",
        "device",
        "device_map",
        "attention",
        "quantization",
        "peft",
        "trust_remote_code",
        "offline",
    ),
    "What it is asked": (
        "tasks",
        "data",
        "answers",
        "limit",
        "thinking",
        "max_new_tokens",
        "generation",
    ),
    "Labels": ("judge_model", "label_noise", "exact_answer", "extractor_model"),
    "What is read": ("positions", "sites", "layers", "attribution", "batching"),
    "Probes": ("probe", "solver", "shuffles", "width", "train_sizes", "seed"),
    "What stands beside them": ("encoder", "controls", "neutral", "skip"),
    "Hidden states": ("states", "states_dtype", "discard_states"),
    "The run": ("out", "dry_run", "as_json", "quiet"),
}
"""Parameters of `eval` by heading, in the order of its help. What is not named here stands under
the last heading."""


class Headed(click.Command):
    """A command whose options are listed under `HEADINGS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each option once."""
        left = {
            p.name: line
            for p in self.get_params(ctx)
            if (line := p.get_help_record(ctx)) is not None
        }
        for heading, names in HEADINGS.items():
            lines = [left.pop(name) for name in names if name in left]
            if heading == list(HEADINGS)[-1]:
                lines += left.values()
            with formatter.section(heading):
                formatter.write_dl(lines)
