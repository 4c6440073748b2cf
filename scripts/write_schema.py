"""Writes docs/record.schema.json, the JSON schema of a run's record, from its one model."""

import json
from pathlib import Path

from probebench.record.schema import Record

SCHEMA = Path(__file__).parent.parent / "docs" / "record.schema.json"


def schema() -> str:
    """The JSON schema, as the file has it."""
    return json.dumps(Record.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
