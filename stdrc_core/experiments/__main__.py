"""`python -m stdrc_core.experiments`: every table and picture of the docs, from one build."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..commands import docstring_of, exit_on_failure, parse_arguments, set_up_terminal
from . import arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the parts; input that cannot be used is one sentence on stderr and exit status 2."""
    parser = make_parser()
    args = parse_arguments(parser, argv)
    set_up_terminal()
    # Until here nothing heavy is imported, so that --help comes at once.
    from . import run

    with exit_on_failure(parser, parser.prog):
        run.main(args)


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description=docstring_of(".run", __package__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.experiments(parser)
    return parser


if __name__ == "__main__":
    main()
