"""`python -m stdrc_core.train COMMAND`; a command is a module with `add_arguments` and `main`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..commands import FAILURES, run_command
from .diverged import DivergedError

# Command -> (its module, what it does).
COMMANDS = {
    "prepare": (".prepare_command", "turns a dataset into the cache that training reads"),
    "run": (".run", "trains on a cache; `python -m stdrc_core.train CONFIG.yaml` is the same"),
    "export": (".export_command", "writes a checkpoint of a run as weights that ComfyUI loads"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command.

    One sentence on stderr and exit status 2 for input that cannot be used and files that cannot
    be written; the same and 3 for a run that diverged.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and _means_run(argv[0]):
        argv.insert(0, "run")
    run_command(__package__, __doc__, COMMANDS, argv, FAILURES | {DivergedError: 3})


def _means_run(first: str) -> bool:
    """Whether the first argument is a recipe, or an option before one, and no command."""
    is_option = first.startswith("-") and first not in ("-h", "--help")
    return is_option or first.endswith((".yaml", ".yml"))


if __name__ == "__main__":
    main()
