"""`python -m stdrc_core.experiments COMMAND`: each makes one of the docs' tables and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..commands import run_command

# Command -> (its module, what it does).
COMMANDS = {
    "ablation": (".ablation", "trains, samples and scores the paper's ablation in small"),
    "guidance": (".guidance_costs", "measures what guidance over time saves and costs"),
    "staged": (".staged", "compares staged clips with direct ones, and the best of N of both"),
    "two-people": (".two_people", "trains and measures two people in one clip, each recognised"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; input that cannot be used is one sentence on stderr and exit status 2."""
    run_command(__package__, __doc__, COMMANDS, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    main()
