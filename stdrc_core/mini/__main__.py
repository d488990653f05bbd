"""`python -m stdrc_core.mini COMMAND`: the miniature world's own commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from ..commands import make_parser

# Command -> (its module, what it does).
COMMANDS = {
    "draw": (".photo", "draws the photo of a person whom the miniature has never seen"),
    "build": (".build", "makes the miniature's weights, from nothing but a seed"),
    "ablation": (".ablation", "trains, samples and scores the paper's ablation in small"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a command; input that cannot be used is one sentence on stderr and exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser(__package__, __doc__, COMMANDS, argv)
    args = parser.parse_args(argv)
    try:
        args.main(args)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog} {args.command}: {error}\n")


if __name__ == "__main__":
    main()
