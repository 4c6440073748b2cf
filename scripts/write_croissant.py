"""Writes the Croissant descriptions of our own data sets, each beside its file.

python scripts/write_croissant.py
"""

import hashlib
import json
from datetime import datetime
from pathlib import Path

import mlcroissant
import yaml

from probebench.tasks.schema import load_task

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "probebench" / "tiny"
NAMES = ("people", "places", "north")
COLUMNS = {
    "id": ("Text", "Name of the row."),
    "question": ("Text", "What is asked."),
    "answers": ("Text", "Accepted answers."),
    "group": ("Text", "What must not be cut by a split into training and test."),
    "relation": ("Text", "Which fact is asked for."),
    "phrasing": ("Integer", "Which of the relation's phrasings the question has."),
}
"""Column -> its type and what it holds."""


def described(name: str) -> dict:
    """The description of one data set."""
    task, file = load_task(name), FOLDER / f"{name}.jsonl"
    released = yaml.safe_load((ROOT / "CITATION.cff").read_text())["date-released"]
    kinds = {"Text": mlcroissant.DataType.TEXT, "Integer": mlcroissant.DataType.INTEGER}
    version = mlcroissant.Context(conforms_to="http://mlcommons.org/croissant/1.1")
    metadata = mlcroissant.Metadata(
        ctx=version,
        name=name,
        description=" ".join(task.description.split()),
        license="https://spdx.org/licenses/MIT.html",
        cite_as=" ".join(task.citation.split()),
        date_published=datetime.combine(released, datetime.min.time()),
        version=f"{task.version}.0.0",
        in_language="en",
        distribution=[
            mlcroissant.FileObject(
                id=file.name,
                name=file.name,
                content_url=file.name,
                encoding_formats=["application/jsonlines"],
                sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            )
        ],
        record_sets=[
            mlcroissant.RecordSet(
                id="questions",
                name="questions",
                description="One question a row.",
                key="questions/id",
                fields=[
                    mlcroissant.Field(
                        id=f"questions/{column}",
                        name=column,
                        description=words,
                        data_types=[kinds[kind]],
                        is_array=True if column == "answers" else None,
                        array_shape="-1" if column == "answers" else None,
                        source=mlcroissant.Source(
                            file_object=file.name, extract=mlcroissant.Extract(column=column)
                        ),
                    )
                    for column, (kind, words) in COLUMNS.items()
                ],
            )
        ],
    )
    if metadata.issues.errors:
        raise SystemExit(f"{name}: {metadata.issues.report()}")
    return metadata.to_json()


def text_of(name: str) -> str:
    """The file of one data set."""
    return json.dumps(described(name), indent=2, ensure_ascii=False, default=str) + "\n"


if __name__ == "__main__":
    for name in NAMES:
        (FOLDER / f"{name}.croissant.json").write_text(text_of(name))
        print(FOLDER / f"{name}.croissant.json")
