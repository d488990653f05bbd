"""`python -m stdrc_core.mini_build`: the miniature's weights, made from nothing but a seed."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from ..commands import exit_on_failure, parse_arguments
from . import build


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the build; input that cannot be used is one sentence on stderr and exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description=build.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_arguments(parser)
    args = parse_arguments(parser, argv)
    with exit_on_failure(parser, parser.prog):
        build.main(args)


if __name__ == "__main__":
    main()
