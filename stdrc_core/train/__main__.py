"""`python -m stdrc_core.train COMMAND`: prepares a cache, trains on it, exports weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..commands import FAILURES, run_command

# Command -> (its module, what it does); the module has `main`, `arguments` what it takes.
COMMANDS = {
    "prepare": (".prepare_command", "turns a dataset into the cache that training reads"),
    "run": (".run", "trains on a cache; `python -m stdrc_core.train CONFIG.yaml` is the same"),
    "export": (".export_command", "writes a checkpoint of a run as weights that ComfyUI loads"),
    "configuration": (".configuration_page", "prints what every key of a recipe does"),
}
# `loop.DivergedError` by its base class: loop imports torch, for which --help should not wait.
_DIVERGED = {FloatingPointError: 3}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command that `argv`, by default the process's own arguments, names.

    Input that cannot be used and files that cannot be written end it with one sentence on stderr
    and exit status 2; a run that diverged ends with one sentence and exit status 3.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv and _means_run(argv[0]):
        argv.insert(0, "run")
    run_command(__package__, __doc__, COMMANDS, argv, FAILURES | _DIVERGED)


def _means_run(first: str) -> bool:
    """Whether the first argument is a recipe, or an option before one, and not a command."""
    is_option = first.startswith("-") and first not in ("-h", "--help")
    return is_option or first.endswith((".yaml", ".yml"))


if __name__ == "__main__":
    main()
