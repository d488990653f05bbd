"""`python -m stdrc_core.mini`: writes the miniature LTX-2.3 as one checkpoint file."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from .weights import write_miniature

DEFAULT_NAME = "stdrc_mini.safetensors"


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m stdrc_core.mini", description=__doc__)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(DEFAULT_NAME),
        help="file to write, for example ComfyUI/models/checkpoints/stdrc_mini.safetensors",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights")
    args = parser.parse_args()
    out = args.out / DEFAULT_NAME if args.out.is_dir() else args.out
    path = write_miniature(out, args.seed)
    logging.info(
        "%s: %.1f MB, random weights (not trained). Load it with ComfyUI's Load Checkpoint from "
        "models/checkpoints; workflows/stdrc_mini.json uses it.",
        path,
        path.stat().st_size / 1e6,
    )


if __name__ == "__main__":
    main()
