"""`python -m stdrc_core.mini`: writes the miniature, random weights; `build` trains its faces."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from .weights import write_miniature

DEFAULT_NAME = "stdrc_mini.safetensors"

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Input that cannot be used is one sentence on stderr and exit status 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ["build"]:
        # Only now: the rest needs neither the trainer nor InsightFace.
        from .build import build

        build(argv[1:])
        return
    parser = argparse.ArgumentParser(prog="python -m stdrc_core.mini", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(DEFAULT_NAME),
        help="file to write, for example ComfyUI/models/checkpoints/stdrc_mini.safetensors",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights")
    args = parser.parse_args(argv)
    out = args.out / DEFAULT_NAME if args.out.is_dir() else args.out
    path = write_miniature(out, args.seed)
    log.info(
        "%s: %.1f MB, random weights (not trained). Load it with ComfyUI's Load Checkpoint from "
        "models/checkpoints; workflows/stdrc_mini.json uses it.",
        path,
        path.stat().st_size / 1e6,
    )


if __name__ == "__main__":
    main()
