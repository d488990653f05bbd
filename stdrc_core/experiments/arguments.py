"""The arguments of `python -m stdrc_core.experiments`; nothing heavy is imported here."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..mini_build.arguments import add_speed_arguments, build, num_cores

# The parts, in the order in which they are measured and stand on the page.
PARTS = (
    *("shipped", "ablation", "sweeps", "guidance", "one-pass", "photos", "two-people", "staged"),
    "drift",
)
PAGE = "page"
# How many steps clips are sampled with, and those of guidance and one pass: as many as
# `python -m stdrc_core.generate` takes by default.
NUM_STEPS, NUM_GUIDED_STEPS = 20, 30


def experiments(parser: argparse.ArgumentParser) -> None:
    """Adds all arguments."""
    add = parser.add_argument
    add("--build", type=Path, help="OUT of `python -m stdrc_core.mini_build`; the page needs none")
    add("--out", type=Path, required=True, help="folder for numbers, pictures and page")
    parts = (*PARTS, PAGE)
    add("--only", nargs="+", choices=parts, metavar="PART", help=f"of {', '.join(parts)}")
    add_settings(parser)
    add("--num-processes", type=int, default=num_cores(), help="that prepare the ablation's clips")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that decide what is measured."""
    add = parser.add_argument
    add("--num-persons", type=int, default=100, help="unseen persons of a part")
    add("--num-swept", type=int, default=50, help="unseen persons of sweeps")
    add("--num-pairs", type=int, default=60, help="of unseen persons, of two-people")
    add("--num-drifting", type=int, default=12, help="unseen persons of drift")
    add("--seed", type=int, default=1234, help="of persons and scenes")
    add(
        "--num-trainings",
        type=int,
        default=3,
        help="of each row of the ablation, and seeds of noise",
    )
    add("--num-seeds", type=int, default=3, help="of the noise of one-pass")
    add("--num-few-seeds", type=int, default=2, help="of the noise of photos and two-people")
    add("--steps", type=int, default=NUM_STEPS, help="of the sampler")
    add("--guided-steps", type=int, default=NUM_GUIDED_STEPS, help="of guidance and one-pass")
    add("--training-steps", type=int, help="of the ablation's rows; by default as in their recipes")
    add("--num-copies", type=int, default=4000, help="clips that the ablation is trained on")
    add("--second-persons", type=int, default=4000, help="of the second recogniser's portraits")
    add("--second-steps", type=int, default=900, help="of the second recogniser's training")
    add("--drift-frames", type=int, default=241, help="of a clip of drift, 8n + 1")
    add_speed_arguments(parser)


def flags(args: argparse.Namespace) -> list[str]:
    """The words of a command line that asks for these settings, without those at their default."""
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return _words(vars(args), vars(parser.parse_args([])))


def build_flags(options: Mapping[str, Any]) -> list[str]:
    """The words of a command line of `stdrc_core.mini_build` that asks for a report's `options`,
    without those at their default; the folder of earlier weights is named EARLIER."""
    parser = argparse.ArgumentParser()
    build(parser)
    earlier = None if options.get("start_from") is None else "EARLIER"
    named = {**options, "start_from": earlier}
    defaults = vars(parser.parse_args(["--out", "BUILD"]))
    return _words(named, {name: own for name, own in defaults.items() if name in named})


def _words(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for name, default in defaults.items():
        if values[name] != default:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if values[name] is True else [str(values[name])]
    return words


def check(args: argparse.Namespace) -> None:
    """Raises ValueError for numbers that nothing can be measured with."""
    least = {
        **dict.fromkeys(("num_persons", "num_swept", "num_pairs", "num_drifting"), 2),
        **dict.fromkeys(("num_trainings", "num_seeds", "num_few_seeds", "num_processes"), 1),
        **dict.fromkeys(("steps", "guided_steps", "num_copies", "second_steps"), 1),
        "second_persons": 2,
        "drift_frames": 33,
    }
    for name, smallest in least.items():
        value = getattr(args, name)
        if value < smallest:
            shown = name.replace("_", "-")
            raise ValueError(f"{shown} was {value}; needs {smallest} or more.")
    if args.training_steps is not None and args.training_steps < 1:
        raise ValueError(f"training-steps was {args.training_steps}; needs 1 or more.")
    if args.drift_frames % 8 != 1:
        raise ValueError(f"drift-frames was {args.drift_frames}; needs 8n + 1, for example 241.")
