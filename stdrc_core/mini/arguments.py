"""The arguments of the commands of `python -m stdrc_core.mini`, a function for each command."""

from __future__ import annotations

import argparse
from pathlib import Path


def draw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("person.png"), help="PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="whom to draw")
