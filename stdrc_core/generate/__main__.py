"""`python -m stdrc_core.generate`: makes clips of photos and prompts, without ComfyUI.

Its flags and files are described in `arguments`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..commands import exit_on_failure, parse_arguments, set_up_terminal
from .arguments import make_parser


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the clips.

    Input that cannot be used and files that cannot be written are one sentence on stderr and exit
    status 2.
    """
    parser = make_parser()
    args = parse_arguments(parser, argv)
    set_up_terminal()
    # Until here nothing heavy is imported, so that --help comes at once.
    from .run import run

    with exit_on_failure(parser, parser.prog):
        run(args)


if __name__ == "__main__":
    main()
