"""Devices: which ones this machine has, and which part of a model goes where."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from probebench.errors import BadFileError, UnknownNameError, UsageError
from probebench.models.optional import need

if TYPE_CHECKING:
    import torch
    from torch import nn

SPREADS = ("auto", "balanced", "balanced_low_0", "sequential")
"""Ways in which transformers spreads a model over what there is."""
DISK = "disk"
"""Weights that stay in their file and are read when they are needed."""
UNSAFE = {
    "mps": "PyTorch's MPS backend gives silently wrong matrix products that depend on what was "
    "computed before (pytorch/pytorch#193487, open for 2.7 to 2.13), so a check at the start would "
    "not show them"
}
"""Devices that PyTorch has and no number of ours may come from, with the reason."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model's weights go."""

    device: torch.device
    """The device; with a map the first GPU in it, or the CPU."""
    map: str | dict[str, str] | None
    """One of `SPREADS`, or module name to device; None: everything on `device`."""

    @property
    def key(self) -> str | None:
        """The map as text that is the same however it was given."""
        return (
            self.map
            if self.map is None or isinstance(self.map, str)
            else json.dumps(self.map, sort_keys=True)
        )

    @property
    def shown(self) -> str:
        """Names of the devices, GPUs by model."""
        import torch

        if isinstance(self.map, dict):
            used = sorted(set(self.map.values()))
        elif self.map is not None and self.device.type == "cuda":
            used = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        else:
            used = [str(self.device)]
        names = Counter(
            torch.cuda.get_device_name(name) if name.startswith("cuda") else name for name in used
        )
        return ", ".join(f"{n} x {name}" if n > 1 else name for name, n in names.items())


def place(device: str, device_map: str | None) -> Placement:
    """Where a model goes by `--device` and `--device-map`.

    Raises:
        UnknownNameError: no such device or way to spread.
        UsageError: both are given, a GPU that this machine does not have, or accelerate is not
            installed.
        BadFileError: a map that is not a JSON object of modules and devices.
    """
    if device_map is None:
        return Placement(pick_device(device), None)
    if device != "auto":
        raise UsageError(
            f"--device {device} and --device-map exclude each other: the map says where each part "
            "goes."
        )
    need("--device-map", "accelerate")
    if device_map in SPREADS:
        return Placement(pick_device("auto"), device_map)
    modules = read_map(device_map)
    gpus = sorted(where for where in modules.values() if where.startswith("cuda"))
    return Placement(pick_device(gpus[0] if gpus else "cpu"), modules)


def read_map(text: str) -> dict[str, str]:
    """Module name to device, from a JSON object or a file that holds one.

    Raises:
        UnknownNameError: neither JSON, a file nor a way to spread, or a device that does not exist.
        UsageError: a GPU that this machine does not have.
        BadFileError: JSON that is no object of modules and devices.
    """
    source = "--device-map"
    if not text.lstrip().startswith("{"):
        if not Path(text).is_file():
            raise UnknownNameError(
                "device map", text, SPREADS, "Or give a JSON file or object of modules and devices."
            )
        source, text = text, Path(text).read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadFileError(f"{source} is not JSON: {error}.") from None
    if not isinstance(found, dict) or not found:
        raise BadFileError(
            f'{source} must be a JSON object of modules and devices such as {{"": "cpu"}}; got '
            f"{found!r}."
        )
    return {module: _device_name(source, module, where) for module, where in found.items()}


def _device_name(source: str, module: str, where: object) -> str:
    if isinstance(where, int) and not isinstance(where, bool):
        where = f"cuda:{where}"
    if not isinstance(where, str) or where == "auto":
        raise BadFileError(
            f"{source}: {module!r} must go to cpu, disk, a GPU's number or cuda:N; got {where!r}."
        )
    if where == DISK:
        return where
    device = pick_device(where, "--device-map")
    return f"cuda:{device.index or 0}" if device.type == "cuda" else device.type


def check_map(modules: Mapping[str, str], model: nn.Module) -> None:
    """Complain about a map that does not fit a model.

    Args:
        modules: module name to device; the empty name stands for the whole model.
        model: the model, with or without its weights.

    Raises:
        UnknownNameError: a module that the model does not have.
        UsageError: a part of the model that goes nowhere.
    """
    names = {name for name, _ in model.named_modules()} | {
        name for name, _ in model.named_parameters()
    }
    for module in modules:
        if module not in names:
            raise UnknownNameError(
                "module in --device-map", module, sorted(n for n in names if n.count(".") < 3)
            )
    if "" in modules:
        return
    for name, _ in model.named_parameters():
        parts = name.split(".")
        if not any(".".join(parts[:k]) in modules for k in range(1, len(parts) + 1)):
            raise UsageError(
                f"--device-map does not say where {name} goes. Name its module, or add "
                '"": "cpu" for all the rest.'
            )


def hardware(device: torch.device) -> str:
    """The device by its maker's name, a CPU with the threads that PyTorch takes of it."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration, IndexError):
        name = platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads != 1)}"


def pick_device(name: str, option: str = "--device") -> torch.device:
    """The device of that name; `auto` is the first GPU when there is one.

    Args:
        name: `auto`, `cpu`, `cuda` or `cuda:N`.
        option: where it was given, for messages.

    Raises:
        UnknownNameError: no such device.
        UsageError: a GPU that this machine does not have, or a device whose numbers are not to be
            trusted.
    """
    import torch

    if (kind := name.partition(":")[0]) in UNSAFE:
        raise UsageError(f"{option} {name}: {UNSAFE[kind]}. Use {option} cpu.")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UnknownNameError("device", name, ["auto", "cpu", "cuda", "cuda:0"])
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        here = (
            f"{torch.cuda.device_count()} CUDA GPUs" if torch.cuda.is_available() else "no CUDA GPU"
        )
        raise UsageError(
            f"{option} {name}: this machine has {here} that PyTorch can use. Use {option} auto or "
            "cpu."
        )
    return device
