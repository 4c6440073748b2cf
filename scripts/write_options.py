"""Write what follows from the definition of the options: docs/options.md, and the types of
`probebench.evaluate`."""

from pathlib import Path

from probebench.job.options import OPTIONS
from probebench.options.page import options_page, types_module

ROOT = Path(__file__).parent.parent
WRITTEN = {"docs/options.md": options_page, "probebench/job/asked.py": types_module}

if __name__ == "__main__":
    for name, text in WRITTEN.items():
        (ROOT / name).write_text(text(OPTIONS))
        print(name)
