"""`python -m stdrc_core.experiments`: every table and picture of the docs, from one build.

Each part measures the weights of BUILD, the folder of `python -m stdrc_core.mini_build`, on persons
whom no training saw:

    shipped      the shipped weights beside their base and true clips
    ablation     trains the paper's rows and scores them beside these
    sweeps       scores over s_r and over s_y
    guidance     what guidance over time saves and costs
    one-pass     the distilled student against exact guidance and cheaper ways
    photos       likeness with one to four photos of a person
    two-people   two persons in one clip, each recognised
    staged       staged clips against direct ones, and the best of N of both
    drift        likeness over long clips, with and without the reference
    page         the page alone, of the numbers that are there

It writes OUT/numbers/PART.json, OUT/pictures and OUT/miniature.md. The same command again goes on
where it was stopped, and measures anew what was measured with other weights or settings. Several
processes may share OUT, each with its own parts.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import shlex
from pathlib import Path
from typing import Any

from ..files import sha256_of, write_json, write_text
from ..mini_build.build import REPORT
from ..text_files import read_json
from .arguments import PARTS, build_flags, check
from .page import BUILD_NUMBERS, PAGE_NAME, page, read_numbers
from .workplace import NUMBERS, Part, Workplace

log = logging.getLogger(__name__)

_BUILD_COMMAND = ("python", "-m", "stdrc_core.mini_build", "--out", "BUILD")


def main(args: argparse.Namespace) -> None:
    """Measures the parts that are asked for and missing, and writes the page.

    Raises ValueError for numbers out of range and for a build that lacks what a part needs, before
    anything is measured.
    """
    check(args)
    names = [name for name in PARTS if args.only is None or name in args.only]
    if names:
        parts = [open_part(name) for name in names]
        _check_build(args, parts)
        args.out.mkdir(parents=True, exist_ok=True)
        write_json(args.out / NUMBERS / BUILD_NUMBERS, build_numbers(args))
        for part in parts:
            _measure(args, part)
    write_page(args.out)


def open_part(name: str) -> Part:
    """The part of that name, of `arguments.PARTS`; its module is imported now."""
    return importlib.import_module(f".{name.replace('-', '_')}", __package__).PART


def write_page(out: Path) -> None:
    """Writes OUT/miniature.md of what is in OUT/numbers.

    Raises ValueError where there are no numbers.
    """
    numbers = read_numbers(out / NUMBERS)
    write_text(out / PAGE_NAME, page(numbers))
    # Another process may have finished a part meanwhile, and must not be left out.
    while (now := read_numbers(out / NUMBERS)) != numbers:
        numbers = now
        write_text(out / PAGE_NAME, page(numbers))
    log.info("%s", out / PAGE_NAME)


def build_numbers(args: argparse.Namespace) -> dict[str, Any]:
    """What the page tells of the build: its report, and the sizes and digests of its weights."""
    build = args.build
    path = build / REPORT
    report = read_json(path) if path.is_file() else {}
    options = build_flags(report.get("options", {}))
    files = sorted([*build.glob("stdrc_mini*.safetensors"), *build.glob("faces/*.onnx")])
    return {
        "build_command": shlex.join([*_BUILD_COMMAND, *options]),
        "report": report,
        "files": {
            path.relative_to(build).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
            for path in files
        },
    }


def _measure(args: argparse.Namespace, part: Part) -> None:
    place = Workplace(args, part)
    if place.is_done:
        log.info("%s: is there", part.name)
        return
    log.info("%s: is measured", part.name)
    results = part.measure(place)
    write_json(place.numbers_file, place.numbers(results))
    write_page(args.out)


def _check_build(args: argparse.Namespace, parts: list[Part]) -> None:
    build: Path | None = args.build
    if build is None:
        raise ValueError(
            "build was left out; needs the folder that `python -m stdrc_core.mini_build` made."
        )
    for part in parts:
        for name in part.files:
            if not (build / name).is_file():
                raise ValueError(
                    f"build {build} has no {name}, which the part {part.name} is measured with; "
                    "needs a whole build: run `python -m stdrc_core.mini_build` to its end, or "
                    "name other parts with --only."
                )
        part.check(args)
