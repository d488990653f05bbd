"""The arguments of `python -m stdrc_core.mini_build`; nothing heavy is imported here."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# The results of the stages, in their order.
STAGE_NAMES = (
    *("faces", "vae.safetensors", "data/manifest.jsonl", "start.safetensors", "cache"),
    *("base.safetensors", "stdrc_mini.safetensors", "stdrc_mini_one_pass.safetensors"),
)


def build(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for all that is made")
    add("--until", choices=STAGE_NAMES, help="the last stage to run; by default all of them")
    add("--start-from", type=Path, metavar="DIR", help="of an earlier build, to go on from")
    add("--seed", type=int, default=0)
    add("--num-persons", type=int, default=4000, help="of the face pack's portraits")
    add("--recognizer-steps", type=int, default=900)
    add("--detector-steps", type=int, default=1500)
    add("--vae-steps", type=int, default=7000)
    add_speed_arguments(parser)
    add("--num-clips", type=int, default=12_000, help="that the transformer learns from")
    add(
        "--num-processes",
        type=int,
        default=num_cores(),
        help="at once, where a stage can be shared",
    )


def num_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def add_speed_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that make training faster on some machines and change its results by
    rounding."""
    add = parser.add_argument
    add("--bfloat16", action="store_true", help="of the VAE: faster where the CPU has it")
    add("--compile", action="store_true", help="the transformer: needs a C++ compiler on a CPU")
