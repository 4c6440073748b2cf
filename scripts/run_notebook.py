"""Executes docs/notebook.ipynb and keeps what it shows, so that it can be read without running it.

python scripts/run_notebook.py
"""

import base64
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from results_pictures import fewer_colours

EMBEDDED = "data:image/png;base64,"
NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"


def executed(folder: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run of its own; what it writes goes into `folder`."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    client = NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(folder)}}, record_timing=False
    )
    client.execute()
    for cell in notebook.cells:  # what libraries say on standard error is of the machine at hand
        if "outputs" in cell:
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            for output in cell.outputs:
                once(output.get("data", {}))
    return notebook


def once(shown: dict[str, str]) -> None:
    """Drop a picture that the HTML beside it, which every viewer prefers, holds too, and keep that
    one small."""
    if EMBEDDED in shown.get("text/html", ""):
        shown.pop("image/png", None)
        before, _, rest = shown["text/html"].partition(EMBEDDED)
        picture, end, after = rest.partition('"')
        few = base64.b64encode(fewer_colours(base64.b64decode(picture))).decode()
        shown["text/html"] = f"{before}{EMBEDDED}{few}{end}{after}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found = executed(Path(place))
    found.metadata.pop("language_info", None)  # of the Python at hand
    nbformat.write(found, NOTEBOOK)
