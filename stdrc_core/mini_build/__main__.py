"""`python -m stdrc_core.mini_build`: the miniature's weights, made from nothing but a seed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..commands import docstring_of, exit_on_failure, parse_arguments, set_up_terminal
from . import arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the build; input that cannot be used is one sentence on stderr and exit status 2."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description=docstring_of(".build", __package__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.build(parser)
    args = parse_arguments(parser, argv)
    set_up_terminal()
    # Until here nothing heavy is imported, so that --help comes at once.
    from . import build

    with exit_on_failure(parser, parser.prog):
        build.main(args)


if __name__ == "__main__":
    main()
