"""The arguments of the commands of `python -m stdrc_core.experiments`, a function for each command.

Nothing heavy is imported here, so that `--help` comes at once (commands).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..mini.shipped import CHECKPOINT, FACES
from ..mini_build.arguments import add_speed_arguments

# How many steps the clips of `staged` and `two-people` are sampled with, and those of `guidance`:
# as many as `python -m stdrc_core.generate` takes by default.
NUM_STEPS, NUM_GUIDED_STEPS = 20, 30


def ablation(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--build", type=Path, required=True, help="OUT of `python -m stdrc_core.mini_build`")
    add("--out", type=Path, required=True, help="folder for the table and pictures")
    add_speed_arguments(parser)
    add("--num-persons", type=int, default=100)
    add("--num-seeds", type=int, default=3)
    add("--num-swept", type=int, default=50, help="persons of the sweeps over the scales")
    add("--seed", type=int, default=1234, help="of persons and scenes")


def guidance(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for table and plot")
    add("--num-persons", type=int, default=100)
    add("--persons-seed", type=int, default=4321, help="of persons and scenes")
    add("--steps", type=int, default=NUM_GUIDED_STEPS, help="of the sampler")
    _add_miniature(parser)
    _add_reader(parser)
    add("--num-seeds", type=int, default=1, help="clips of each person and setting")
    add("--distilled", type=Path, metavar="LORA", help="a student that is measured too")
    add("--only", nargs="+", metavar="SETTING", help="of the table's; by default all")


def staged(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for the table and its parts")
    add("--num-persons", type=int, default=100)
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the noise")
    add("--persons-seed", type=int, default=1234, help="of persons and scenes")
    add("--steps", type=int, default=NUM_STEPS, help="of the sampler, in both stages")
    _add_miniature(parser)
    _add_reader(parser)


def two_people(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for all that is made")
    _add_miniature(parser)
    add("--num-clips", type=int, default=4000, help="that the transformer learns from")
    add("--seed", type=int, default=0, help="of the clips and of the training")
    add("--num-pairs", type=int, default=60, help="of unseen persons")
    add("--pairs-seed", type=int, default=2345, help="of unseen persons and their scenes")
    add("--num-seeds", type=int, default=2, help="clips of each pair and row")
    add("--steps", type=int, default=NUM_STEPS, help="of the sampler")
    add_speed_arguments(parser)
    cores = len(os.sched_getaffinity(0))
    add("--num-processes", type=int, default=cores, help="that draw and prepare clips")


def _add_miniature(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--checkpoint", type=Path, default=CHECKPOINT, help="a miniature; by default the shipped")
    add("--faces", type=Path, default=FACES, help="face pack; by default the miniature's")


def _add_reader(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reader", type=Path, help="reader.pt of captions, of a build; else trained into OUT"
    )
