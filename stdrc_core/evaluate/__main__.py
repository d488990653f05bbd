"""Measures clips of persons: `python -m stdrc_core.evaluate --videos DIR --pairs FILE --out DIR`.

Each pair is a JSON line of `video` (a path below DIR), `prompt`, `reference` (a photo, from the
file's own folder, or a list of photos of one person) and perhaps `identity` (who it is; by default
each photo is a person of its own).
The same command again goes on where it was stopped: a clip that is scored stays scored. Several
GPUs share the clips with `accelerate launch -m stdrc_core.evaluate ...`. Nothing is downloaded.

    python -m stdrc_core.evaluate --compare A B --out DIR
        puts two finished evaluations side by side, clip by clip
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..commands import exit_on_failure, parse_arguments, set_up_terminal
from .metric_registry import COLUMNS

if TYPE_CHECKING:
    from .options import Options

PROGRAM = "python -m stdrc_core.evaluate"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs what is asked for; a failure is one sentence on stderr and exit status 2."""
    parser = make_parser()
    args = parse_arguments(parser, argv)
    set_up_terminal()
    with exit_on_failure(parser, parser.prog):
        if args.compare is None:
            from .run import evaluate

            evaluate(read_options(args))
        else:
            from .compare import compare

            compare(*args.compare, args.out)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--videos", type=Path, help="folder of the clips")
    add("--pairs", type=Path, help="JSON lines of video, prompt and reference")
    add("--metrics", nargs="+", metavar="METRIC", help=f"some of {', '.join(COLUMNS)}")
    add("--out", type=Path, required=True, help="folder for scores and reports")
    add("--faces", type=Path, help="folder of an InsightFace pack, such as buffalo_l")
    add("--weights", type=Path, help="folder of all other weights; by default ./weights")
    add(
        "--frames",
        type=int,
        help="of a clip for FaceSim, TIC and CLIP; by default 16, 0 is all",
    )
    add("--batch-size", type=int, help="frames that a network takes at once; by default 16")
    add("--clips-at-once", type=int, help="clips whose frames may share a batch; by default 8")
    add(
        "--gallery",
        help="with several photos of a person, FaceSim is with their mean embedding (mean, the "
        "default) or with the nearest photo of each frame (nearest)",
    )
    add("--device", help="cpu, cuda, cuda:1, ...; by default cuda where there is one")
    add("--vbench-python", type=Path, help="Python of the environment that VBench is in, for ms")
    add(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="folders of two finished evaluations",
    )
    return parser


def read_options(args: argparse.Namespace) -> Options:
    """The options that were given, and defaults for the others.

    Raises ValueError, in one sentence, for an option that is missing or cannot be used.
    """
    # Nothing heavy is imported before the arguments are read, so that --help comes at once.
    from pydantic import ValidationError

    from .options import Options

    given = {key: value for key, value in vars(args).items() if value is not None}
    given.pop("compare", None)
    for name in ("videos", "pairs"):
        if name not in given:
            raise ValueError(f"{name} is missing; needs --videos, --pairs and --out, or --compare.")
    if "device" not in given:
        from ..device import default_device

        given["device"] = default_device()
    try:
        return Options(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        own = first["type"] == "value_error"
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(
            message if own else f"{name} was {first['input']!r} ({message}); needs another value."
        ) from error


if __name__ == "__main__":
    main()
