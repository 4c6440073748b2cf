"""`python -m probebench`."""

from probebench.cli import main

main(prog_name="probebench")
