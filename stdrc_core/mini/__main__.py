"""`python -m stdrc_core.mini COMMAND`: the miniature world's own commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..commands import run_command

# Command -> (its module, what it does).
COMMANDS = {
    "draw": (".photo", "draws the photo of a person whom the miniature has never seen"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; input that cannot be used is one sentence on stderr and exit status 2."""
    run_command(__package__, __doc__, COMMANDS, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
