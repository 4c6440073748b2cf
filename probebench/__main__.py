"""`python -m probebench`."""

from probebench.cli.main import main

main(prog_name="probebench")
